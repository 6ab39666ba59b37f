"""Anomaly detection by a one-class support vector machine on a quantum kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.svm import OneClassSVM

from circuits import FEATURE_MAPS, ParameterizedCircuit
from qworkbench.kernels import QuantumKernel
from qworkbench.models.base import draw_seed, resolve_circuit, seeded
from qworkbench.models.components import ANGLE_RANGE, ComponentScaler
from qworkbench.models.detector import ThresholdedDetector

CHUNK = 10_000
"""Events whose kernel rows are held at a time."""


class QuantumOneClassSVM(ThresholdedDetector):
    """The one-class SVM (Schoelkopf et al. 2001) on ``k(x, y) = |<phi(b x)|phi(b y)>|**2``.

    For collider events Belis et al. 2024 (Commun. Phys. 7, 334; arXiv:2301.10780). The score is the support vectors'
    weighted sum of kernel entries. Features are scaled inside, as in ``QGANDetector``. A fitted detector has ``svm_``,
    ``support_vectors_``, ``circuit_``, ``scaler_``, ``offset_``, ``usage_`` and ``n_parameters_``, the support vectors.

    On sampling backends ``fit`` runs a circuit for each pair of events, and scoring one for each event and support
    vector.

    Args:
        feature_map: A name (``circuits.FEATURE_MAPS``) or a circuit with inputs only, one a component.
        n_qubits: Number of qubits, one for each of the first principal components.
        n_layers: Repetitions of a named map.
        bandwidth: The factor ``b`` on the scaled components.
        nu: Upper bound on the share of training events outside, and lower bound on that of support vectors.
        contamination: Share of the training events beyond the threshold; ``auto`` is 0.1.
        backend: Where it runs, in ``fit`` and when scoring.
        random_state: Seed of shots.
    """

    def __init__(
        self,
        feature_map: str | ParameterizedCircuit = "iqp",
        *,
        n_qubits: int = 4,
        n_layers: int = 1,
        bandwidth: float = 0.5,
        nu: float = 0.1,
        contamination: float | str = "auto",
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.nu = nu
        self.contamination = contamination
        self.backend = backend
        self.random_state = random_state

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        if not self.bandwidth > 0:
            raise ValueError(f"expected a positive bandwidth, got {self.bandwidth}")
        self._seed = draw_seed(self.random_state)
        self.scaler_ = ComponentScaler(self.n_qubits).fit(X)
        self.bandwidth_, inputs = self.bandwidth, self.scaler_.transform(X)
        self.circuit_ = resolve_circuit(self.feature_map, FEATURE_MAPS, inputs.shape[1], None, self.n_layers)
        if self.circuit_.n_weights:
            raise ValueError(f"expected a feature map without weights, got {self.circuit_.n_weights}")
        kernel, angles = self._kernel(), self._angles(X)
        gram = kernel(angles)
        self.svm_ = OneClassSVM(kernel="precomputed", nu=self.nu).fit(gram)
        self.support_vectors_ = angles[self.svm_.support_]
        self.usage_, self.n_parameters_ = kernel.usage, len(self.support_vectors_)
        return gram[:, self.svm_.support_] @ self.svm_.dual_coef_[0]

    def _kernel(self) -> QuantumKernel:
        return QuantumKernel(self.circuit_, seeded(self.backend, self._seed))

    def _angles(self, X: np.ndarray) -> np.ndarray:
        return self.bandwidth_ * np.clip(self.scaler_.transform(X), -ANGLE_RANGE, ANGLE_RANGE)

    def _score(self, X: np.ndarray) -> np.ndarray:
        kernel, weights = self._kernel(), self.svm_.dual_coef_[0]
        rows = (self._angles(X[start : start + CHUNK]) for start in range(0, len(X), CHUNK))
        return np.concatenate([kernel(part, self.support_vectors_) @ weights for part in rows])
