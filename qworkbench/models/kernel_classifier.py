"""A support vector machine on a quantum kernel."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data

from circuits import ParameterizedCircuit
from qworkbench.kernels import Kernel
from qworkbench.models.kernel_machine import KernelMachine
from qworkbench.models.variational import encode_labels


class QuantumKernelClassifier(ClassifierMixin, KernelMachine):
    """Support vector classification on a quantum kernel.

    By default ``k(x, y) = |<phi(b x)|phi(b y)>|**2`` (Havlicek et al. 2019).
    With shots the Gram matrix is made positive semidefinite by the repair that changes it least; ``gram_report_`` says
    which, and how large the errors are.

    Args:
        feature_map: A name (``circuits.FEATURE_MAPS``) or a circuit with one input a feature.
        n_qubits: Width of a named map; by default the number of features, at least 2 and at most 4 (further
            features are uploaded in turn).
        n_layers: Repetitions of a named map.
        bandwidth: The factor ``b`` on the data; small ones keep the kernel from concentrating (Shaydulin & Wild 2022).
        kernel: A name with options (``qworkbench.kernels.spec.KERNELS``) such as
            ``projected?n_body=2&outer=matern``, whose ``gamma`` follows from the training data unless given;
            ``train=alignment`` or ``train=svc`` trains the map's weights and the bandwidth. Or a ``Kernel``, which
            brings its own feature map and backend.
        C: Inverse strength of the SVM's regularisation.
        backend: Where it runs, in ``fit`` and in ``predict``.
        random_state: Seed of initial weights, batches and shots.
    """

    def __init__(
        self,
        feature_map: str | ParameterizedCircuit = "iqp",
        *,
        n_qubits: int | None = None,
        n_layers: int = 1,
        bandwidth: float = 0.5,
        kernel: str | Kernel = "fidelity",
        C: float = 10.0,
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.C = C
        self.backend = backend
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on ``X`` of shape ``(N, F)`` and labels ``y`` of shape ``(N,)``, numbers or strings.

        Raises:
            ValueError: If the data are not finite, the target is continuous or has one class, or a setting is wrong.
        """
        data, labels = validate_data(self, X, y, dtype=np.float64)
        self.classes_, index = encode_labels(labels)
        solver = SVC(kernel="precomputed", C=self.C, break_ties=True)
        self.svc_ = solver.fit(self._fit_gram(solver, data, index), index)
        self.n_parameters_ = int(self.svc_.dual_coef_.size + len(self.svc_.intercept_)) + self._n_trained()
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Signed distance ``(N,)`` for two classes, else one-against-rest scores ``(N, n_classes)``."""
        check_is_fitted(self)
        return self.svc_.decision_function(self._cross(X, self.svc_.support_))

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Decision values and their standard errors, shaped as those; see ``models.base.with_errors``."""
        return self._with_errors("decision_function", X, groups)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Labels of shape ``(N,)``."""
        check_is_fitted(self)
        return self.classes_[self.svc_.predict(self._cross(X, self.svc_.support_))]
