"""Regression on a quantum kernel: support vectors and ridge."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVR
from sklearn.utils.validation import check_is_fitted, validate_data

from circuits import ParameterizedCircuit
from qworkbench.kernels import Kernel
from qworkbench.models.base import location_and_scale
from qworkbench.models.kernel_machine import KernelMachine


class KernelRegressor(RegressorMixin, KernelMachine):
    """A solver that is fitted to the standardised target. Abstract."""

    def _solver(self) -> Any:
        """The unfitted scikit-learn solver of a precomputed Gram matrix."""
        raise NotImplementedError

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on ``X`` of shape ``(N, F)`` and targets ``y`` of shape ``(N,)``.

        Raises:
            ValueError: If the data are not finite or a setting is wrong.
        """
        data, values = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.target_mean_, self.target_scale_ = location_and_scale(values)
        solver, standardised = self._solver(), (values - self.target_mean_) / self.target_scale_
        self.solver_ = solver.fit(self._fit_gram(solver, data, standardised), standardised)
        self.n_parameters_ = int(np.size(self.solver_.dual_coef_)) + self._n_trained()
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Targets of shape ``(N,)``."""
        check_is_fitted(self)
        standardised = self.solver_.predict(self._cross(X, getattr(self.solver_, "support_", None)))
        return standardised * self.target_scale_ + self.target_mean_

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Targets and their standard errors, each ``(N,)``; see ``models.base.with_errors``."""
        return self._with_errors("predict", X, groups)


class QuantumKernelRegressor(KernelRegressor):
    """Support vector regression on a quantum kernel, of the standardised target.

    Args:
        feature_map: See ``QuantumKernelClassifier``, as for all but the next two.
        n_qubits: Width of a named map.
        n_layers: Repetitions of a named map.
        bandwidth: The factor on the data.
        kernel: A name with options, of which ``train=alignment`` trains it, or a ``Kernel``.
        C: Inverse strength of the regularisation.
        epsilon: Half-width of the tube without penalty, in standard deviations of the target.
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
        C: float = 10.0,
        epsilon: float = 0.1,
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.C = C
        self.epsilon = epsilon
        self.backend = backend
        self.random_state = random_state

    def _solver(self) -> SVR:
        return SVR(kernel="precomputed", C=self.C, epsilon=self.epsilon)


class QuantumKernelRidge(KernelRegressor):
    """Kernel ridge regression on a quantum kernel, of the standardised target.

    Args:
        feature_map: See ``QuantumKernelClassifier``, as for all but the next.
        n_qubits: Width of a named map.
        n_layers: Repetitions of a named map.
        bandwidth: The factor on the data.
        kernel: A name with options, of which ``train=alignment`` trains it, or a ``Kernel``.
        alpha: Strength of the regularisation: added to the diagonal of the Gram matrix.
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
        alpha: float = 0.1,
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.alpha = alpha
        self.backend = backend
        self.random_state = random_state

    def _solver(self) -> KernelRidge:
        return KernelRidge(kernel="precomputed", alpha=self.alpha)
