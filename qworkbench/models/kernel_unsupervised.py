"""Without labels: one-class support vectors, principal components and spectral clusters of a quantum kernel."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.cluster import SpectralClustering
from sklearn.decomposition import KernelPCA
from sklearn.svm import OneClassSVM
from sklearn.utils.validation import validate_data

from circuits import ParameterizedCircuit
from qworkbench.kernels import Kernel
from qworkbench.models.components import LARGEST
from qworkbench.models.detector import ThresholdedDetector
from qworkbench.models.kernel_machine import KernelMachine
from qworkbench.models.safeguard import Safeguard, draw_trial

MOST_SIMULATED = 16
"""Qubits up to which the check against noise is simulated where shots cost something."""
PLAIN = ("fidelity", "projected")
"""Kernels whose check can be: those without settings of their own, which may ask for shots."""


class QuantumOneClassSVM(KernelMachine, ThresholdedDetector):
    """A one-class support vector machine on a quantum kernel (Scholkopf et al. 2001).

    Angles are periodic: an event outside the box of the training events is moved to its rim, and its distance from
    there counts; see ``Safeguard``, whose check a backend with shots does not run: the exact simulator does, up to 16
    qubits and for kernels by name without options. Beyond that it is up to 1,000 events against each support vector.

    Args:
        feature_map: See ``QuantumKernelClassifier``, as for all but the next two.
        n_qubits: Width of a named map.
        n_layers: Repetitions of a named map.
        bandwidth: The factor on the data.
        kernel: A name with options, without training, or a ``Kernel``.
        nu: Upper bound on the share of training events outside, lower bound on that of support vectors.
        contamination: Share of the training events beyond the threshold; ``auto`` is 0.1.
        backend: Where it runs.
        random_state: Seed.
    """

    def __init__(
        self,
        feature_map: str | ParameterizedCircuit = "iqp",
        *,
        n_qubits: int | None = None,
        n_layers: int = 1,
        bandwidth: float = 0.5,
        kernel: str | Kernel = "fidelity",
        nu: float = 0.1,
        contamination: float | str = "auto",
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.nu = nu
        self.contamination = contamination
        self.backend = backend
        self.random_state = random_state

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        solver = OneClassSVM(kernel="precomputed", nu=self.nu)
        gram = self._fit_gram(solver, X)
        self.solver_ = solver.fit(gram)
        self.n_parameters_ = int(self.solver_.dual_coef_.size)
        self.spread_ = np.where((spread := X.std(axis=0)) > 0, spread, 1.0)
        trial = draw_trial(X, self._seed)
        self.safeguard_ = Safeguard().fit(X, trial, *self._unbilled()._parts(trial.rows))
        return -self.safeguard_.oddness(X, -self.solver_.score_samples(gram), np.zeros(len(X)))

    def _unbilled(self) -> Self:
        """What answers the check against noise: the exact simulator in place of a backend with shots, as far as it can.

        The check asks for up to 1,000 rows against each support vector, whose number no plan can know. What a projected
        kernel has measured of the training rows stays: it is half of every score.
        """
        plain = self.kernel_spec_ in PLAIN and self.circuit_ is not None and self.circuit_.n_qubits <= MOST_SIMULATED
        if not self.usage_["shots"] or not plain:
            return self
        exact = copy.copy(self)
        exact.backend = "statevector"
        return exact

    def _parts(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Oddness of the part inside the box of the training events, and the distance from there, both ``(N,)``."""
        inside = np.clip(X, self.X_fit_.min(axis=0), self.X_fit_.max(axis=0))
        with np.errstate(over="ignore"):
            beyond = np.clip((X - inside) / self.spread_, -LARGEST, LARGEST)
        own = -self.solver_.score_samples(self._cross(inside, self.solver_.support_))
        return own, np.sqrt((beyond**2).mean(axis=1))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return -self.safeguard_.oddness(X, *self._parts(X))

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Scores and their standard errors, each ``(N,)``; see ``models.base.with_errors``."""
        return self._with_errors("score_samples", X, groups)


class QuantumKernelPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, KernelMachine):
    """Principal components in the feature space of a quantum kernel (Scholkopf, Smola & Muller 1998).

    Args:
        feature_map: See ``QuantumKernelClassifier``, as for all but the next.
        n_qubits: Width of a named map.
        n_layers: Repetitions of a named map.
        bandwidth: The factor on the data.
        kernel: A name with options, without training, or a ``Kernel``.
        n_components: Number of components.
        backend: Where it runs.
        random_state: Seed.
    """

    def __init__(
        self,
        feature_map: str | ParameterizedCircuit = "iqp",
        *,
        n_qubits: int | None = None,
        n_layers: int = 1,
        bandwidth: float = 0.5,
        kernel: str | Kernel = "fidelity",
        n_components: int = 2,
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.n_components = n_components
        self.backend = backend
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit to ``X`` of shape ``(N, F)``; ``y`` is ignored.

        Raises:
            ValueError: If the data are not finite or a setting is wrong.
        """
        self._components(X)
        return self

    def fit_transform(self, X: ArrayLike, y: Any = None) -> np.ndarray:
        """Fit, and the components of the training data, shape ``(N, n_components)``; ``y`` is ignored."""
        gram = self._components(X)
        return self.solver_.transform(gram)

    def _components(self, X: ArrayLike) -> np.ndarray:
        data = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        solver = KernelPCA(self.n_components, kernel="precomputed", eigen_solver="dense")
        gram = self._fit_gram(solver, data)
        self.solver_ = solver.fit(gram)
        self._n_features_out = self.solver_.eigenvalues_.shape[0]
        self.n_parameters_ = int(self.solver_.eigenvectors_.size)
        return gram

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Components of shape ``(N, n_components)``."""
        cross = self._cross(X)
        return self.solver_.transform(cross)

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Components and their standard errors, each ``(N, n_components)``; see ``models.base.with_errors``."""
        return self._with_errors("transform", X, groups)


class QuantumSpectralClustering(ClusterMixin, KernelMachine):
    """Spectral clustering with a quantum kernel as affinity (Ng, Jordan & Weiss 2001).

    A fitted one has ``labels_``. New data have no cluster, as in scikit-learn.

    Args:
        feature_map: See ``QuantumKernelClassifier``, as for all but the next.
        n_qubits: Width of a named map.
        n_layers: Repetitions of a named map.
        bandwidth: The factor on the data.
        kernel: A name with options, without training, or a ``Kernel``.
        n_clusters: Number of clusters.
        backend: Where it runs.
        random_state: Seed.
    """

    def __init__(
        self,
        feature_map: str | ParameterizedCircuit = "iqp",
        *,
        n_qubits: int | None = None,
        n_layers: int = 1,
        bandwidth: float = 0.5,
        kernel: str | Kernel = "fidelity",
        n_clusters: int = 2,
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.n_clusters = n_clusters
        self.backend = backend
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Cluster ``X`` of shape ``(N, F)``; ``y`` is ignored.

        Raises:
            ValueError: If the data are not finite, there are fewer rows than clusters, or a setting is wrong.
        """
        data = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        solver = SpectralClustering(self.n_clusters, affinity="precomputed")
        solver._validate_params()
        if not 1 <= self.n_clusters < len(data):
            raise ValueError(f"expected between 1 and {len(data) - 1} clusters, got {self.n_clusters}")
        # An affinity has no negative entries; noise and repairs can make some.
        gram = self._fit_gram(solver, data).clip(0)
        self.labels_ = solver.set_params(random_state=self._seed).fit(gram).labels_
        return self
