"""A support vector machine on a quantum fidelity kernel."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data

from circuits import FEATURE_MAPS, ParameterizedCircuit
from qworkbench.kernels import QuantumKernel
from qworkbench.models.base import draw_seed, resolve_circuit, seeded, with_errors
from qworkbench.models.variational import encode_labels


class QuantumKernelClassifier(ClassifierMixin, BaseEstimator):
    """Support vector classification with ``k(x, y) = |<phi(b x)|phi(b y)>|**2`` (Havlicek et al. 2019).

    Args:
        feature_map: A name (``circuits.FEATURE_MAPS``) or a circuit with inputs only, one a feature.
        n_qubits: Width of a named map; by default the number of features, at least 2 and at most 4 (further
            features are uploaded in turn).
        n_layers: Repetitions of a named map.
        bandwidth: The factor ``b`` on the data; small ones keep the kernel from concentrating (Shaydulin & Wild 2022).
        C: Inverse strength of the SVM's regularisation.
        backend: Where it runs, in ``fit`` and in ``predict``.
        random_state: Seed of shots.
    """

    def __init__(
        self,
        feature_map: str | ParameterizedCircuit = "iqp",
        *,
        n_qubits: int | None = None,
        n_layers: int = 1,
        bandwidth: float = 0.5,
        C: float = 10.0,
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.C = C
        self.backend = backend
        self.random_state = random_state

    def _kernel(self) -> QuantumKernel:
        return QuantumKernel(self.circuit_, seeded(self.backend, self._seed))

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on ``X`` of shape ``(N, F)`` and labels ``y`` of shape ``(N,)``, numbers or strings.

        Raises:
            ValueError: If the data are not finite, the target is continuous or has one class, or a setting is wrong.
        """
        data, labels = validate_data(self, X, y, dtype=np.float64)
        self.classes_, index = encode_labels(labels)
        if not self.bandwidth > 0:
            raise ValueError(f"expected a positive bandwidth, got {self.bandwidth}")
        self._seed = draw_seed(self.random_state)
        self.circuit_ = resolve_circuit(self.feature_map, FEATURE_MAPS, data.shape[1], self.n_qubits, self.n_layers)
        if self.circuit_.n_weights:
            raise ValueError(f"expected a feature map without weights, got {self.circuit_.n_weights}")
        self.bandwidth_, kernel = self.bandwidth, self._kernel()
        # The data stay here: a kernel machine is its training data.
        self.X_fit_ = data * self.bandwidth
        self.svc_ = SVC(kernel="precomputed", C=self.C, break_ties=True).fit(kernel(self.X_fit_), index)
        self.usage_, self.n_parameters_ = kernel.usage, int(self.svc_.dual_coef_.size + len(self.svc_.intercept_))
        return self

    def _gram(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        support = self.svc_.support_
        gram = np.zeros((data.shape[0], len(self.X_fit_)))
        gram[:, support] = self._kernel()(data * self.bandwidth_, self.X_fit_[support])
        return gram

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Signed distance ``(N,)`` for two classes, else one-against-rest scores ``(N, n_classes)``."""
        gram = self._gram(X)
        return self.svc_.decision_function(gram)

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Decision values and their standard errors, shaped as those; see ``models.base.with_errors``."""
        return with_errors(self, "decision_function", X, groups)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Labels of shape ``(N,)``."""
        gram = self._gram(X)
        return self.classes_[self.svc_.predict(gram)]
