"""Gaussian processes on a quantum kernel, with scikit-learn's marginal likelihood and Laplace approximation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from scipy.special import expit
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Hyperparameter, WhiteKernel
from sklearn.gaussian_process.kernels import Kernel as ProcessKernel
from sklearn.utils.validation import check_is_fitted, validate_data

from circuits import ParameterizedCircuit
from qworkbench.kernels import Kernel
from qworkbench.models.base import location_and_scale
from qworkbench.models.kernel_machine import KernelMachine, state_of
from qworkbench.models.variational import encode_labels

SCALES = (0.05, 20.0)
"""Where the factor on the bandwidth is looked for."""
AMPLITUDES, NOISES = (1e-3, 1e4), (1e-6, 1e1)
STEP = 1e-4
"""Of the central difference with respect to the logarithm of the bandwidth."""
NODES = np.linspace(-8, 8, 641)
"""Standard deviations at which the logistic function is averaged; dense enough for a deviation of 30."""

Gram = Callable[[np.ndarray, float], np.ndarray]
"""Training data and factor on the bandwidth -> Gram matrix."""


class GramKernel(ProcessKernel):
    """A Gram matrix as a kernel of scikit-learn's Gaussian processes; its hyper-parameter is a factor on the bandwidth.

    Args:
        gram: See ``Gram``; a function, so that scikit-learn's copies share its compiled circuit.
        scale: The factor.
        scale_bounds: Where it may go, or ``"fixed"``.
        diagonal: The kernel of a sample with itself.
    """

    def __init__(
        self, gram: Gram, scale: float = 1.0, scale_bounds: tuple[float, float] | str = SCALES, diagonal: float = 1.0
    ) -> None:
        self.gram, self.scale, self.scale_bounds, self.diagonal = gram, scale, scale_bounds, diagonal

    @property
    def hyperparameter_scale(self) -> Hyperparameter:
        """See scikit-learn."""
        return Hyperparameter("scale", "numeric", self.scale_bounds)

    def __call__(self, X: np.ndarray, Y: np.ndarray | None = None, eval_gradient: bool = False) -> Any:
        """The Gram matrix, and its derivative with respect to the logarithm of the scale, ``(N, N, 0 or 1)``."""
        if Y is not None:
            raise ValueError("only training Gram matrices are asked for here")
        value = self.gram(X, self.scale)
        if not eval_gradient:
            return value
        if self.hyperparameter_scale.fixed:
            return value, np.empty((*value.shape, 0))
        ends = [self.gram(X, self.scale * np.exp(step)) for step in (STEP, -STEP)]
        return value, ((ends[0] - ends[1]) / (2 * STEP))[..., None]

    def diag(self, X: np.ndarray) -> np.ndarray:
        """See scikit-learn."""
        return np.full(len(X), self.diagonal)

    def is_stationary(self) -> bool:
        """See scikit-learn."""
        return False


class KernelProcess(KernelMachine):
    """Hyper-parameters by marginal likelihood: amplitude, noise, and a factor on the bandwidth. Abstract."""

    def __init__(
        self,
        feature_map: str | ParameterizedCircuit = "iqp",
        *,
        n_qubits: int | None = None,
        n_layers: int = 1,
        bandwidth: float = 0.5,
        kernel: str | Kernel = "fidelity",
        tune_bandwidth: bool | None = None,
        n_restarts: int = 0,
        backend: Any = "statevector",
        random_state: int | None = None,
    ) -> None:
        self.feature_map = feature_map
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.tune_bandwidth = tune_bandwidth
        self.n_restarts = n_restarts
        self.backend = backend
        self.random_state = random_state

    def _priors(self, process: type, data: np.ndarray, labels: np.ndarray | None = None) -> list[GramKernel]:
        """The quantum kernel of the training data: at its own bandwidth, and then with a free one if that is tuned."""
        # Before the shots, as far as the backend is described; a live one shows after its first.
        refused = ValueError("expected an exact backend with tune_bandwidth=True: shot noise has no slope to follow")
        if self.tune_bandwidth and self._asks_for_shots():
            raise refused
        measured = self._fit_gram(process(n_restarts_optimizer=self.n_restarts), data, labels)
        sampled = bool(self.gram_report_["sampled"])
        if self.tune_bandwidth and sampled:
            raise refused
        kernel = self._kernel()

        def gram(rows: np.ndarray, scale: float) -> np.ndarray:
            return measured if scale == 1.0 else kernel(rows * scale)

        tuned = not sampled if self.tune_bandwidth is None else self.tune_bandwidth
        steps: list[Any] = ["fixed", SCALES] if tuned else ["fixed"]
        return [GramKernel(gram, 1.0, bounds, float(measured[0, 0])) for bounds in steps]

    def _keep(self, scales: set[float]) -> None:
        """Keep the training rows at the scales that were chosen, as ``fit`` has kept them at scale 1."""
        if scales != {1.0}:
            kernel = self._kernel()
            kernel.keep(np.concatenate([self.X_fit_ * scale for scale in sorted(scales)]))
            self.kernel_state_ = state_of(kernel)

    def _cross_scaled(self, data: np.ndarray, scale: float) -> np.ndarray:
        return self._kernel()(data * scale, self.X_fit_ * scale)


class QuantumGPRegressor(RegressorMixin, KernelProcess):
    """Gaussian process regression on a quantum kernel (Rasmussen & Williams 2006, algorithm 2.1).

    A fitted one has ``log_marginal_likelihood_`` and the hyper-parameters ``amplitude_``, ``noise_`` (variances, in
    units of the target's) and ``scale_``, the factor on ``bandwidth``.

    Args:
        feature_map: See ``QuantumKernelClassifier``, as for all but the next two.
        n_qubits: Width of a named map.
        n_layers: Repetitions of a named map.
        bandwidth: The factor on the data, where the search starts.
        kernel: A name with options, of which ``train=alignment`` trains it, or a ``Kernel``.
        tune_bandwidth: Whether the likelihood also chooses the bandwidth; by default on exact backends.
        n_restarts: Further starts of the search.
        backend: Where it runs.
        random_state: Seed.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on ``X`` of shape ``(N, F)`` and targets ``y`` of shape ``(N,)``.

        Raises:
            ValueError: If the data are not finite, a setting is wrong, or the bandwidth is to be tuned from shots.
        """
        data, values = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.target_mean_, self.target_scale_ = location_and_scale(values)
        self.amplitude_, self.noise_ = 1.0, 0.1
        for gram in self._priors(GaussianProcessRegressor, data, values):
            # The second search starts where the first has ended: alone it may end lower.
            prior = ConstantKernel(self.amplitude_, AMPLITUDES) * gram + WhiteKernel(self.noise_, NOISES)
            process = GaussianProcessRegressor(prior, n_restarts_optimizer=self.n_restarts, random_state=self._seed)
            _quietly(process.fit, data, (values - self.target_mean_) / self.target_scale_)
            product, white = process.kernel_.k1, process.kernel_.k2
            self.amplitude_, self.noise_ = float(product.k1.constant_value), float(white.noise_level)
        self.scale_, self._diagonal = float(product.k2.scale), float(product.k2.diagonal)
        self.dual_coef_, self._cholesky = process.alpha_.copy(), process.L_.copy()
        self.log_marginal_likelihood_ = float(process.log_marginal_likelihood_value_)
        self.n_parameters_ = int(self.dual_coef_.size) + self._n_trained()
        self._keep({self.scale_})
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Means of shape ``(N,)``, and on request the standard deviations of new targets, noise included."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        cross = self.amplitude_ * self._cross_scaled(data, self.scale_)
        mean = cross @ self.dual_coef_ * self.target_scale_ + self.target_mean_
        if not return_std:
            return mean
        reduced = solve_triangular(self._cholesky, cross.T, lower=True)
        variance = self.amplitude_ * self._diagonal + self.noise_ - (reduced**2).sum(0)
        return mean, np.sqrt(variance.clip(0)) * self.target_scale_

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Means and the errors that shots leave in them, each ``(N,)``; see ``models.base.with_errors``."""
        return self._with_errors("predict", X, groups)


class QuantumGPClassifier(ClassifierMixin, KernelProcess):
    """Gaussian process classification on a quantum kernel.

    Laplace approximation, logistic link, one class against the rest (Rasmussen & Williams 2006, algorithms 3.1 and
    3.2). A fitted one has ``log_marginal_likelihood_`` (the mean over the classes) and ``latent_``, by class the
    hyper-parameters and the posterior.

    Args:
        feature_map: See ``QuantumKernelClassifier``, as for all but the next two.
        n_qubits: Width of a named map.
        n_layers: Repetitions of a named map.
        bandwidth: The factor on the data, where the search starts.
        kernel: A name with options, or a ``Kernel``.
        tune_bandwidth: Whether the likelihood also chooses the bandwidth; by default on exact backends.
        n_restarts: Further starts of the search.
        backend: Where it runs.
        random_state: Seed.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on ``X`` of shape ``(N, F)`` and labels ``y`` of shape ``(N,)``, numbers or strings.

        Raises:
            ValueError: If the data are not finite, the target is continuous or has one class, a setting is wrong, or
                the bandwidth is to be tuned from shots.
        """
        data, labels = validate_data(self, X, y, dtype=np.float64)
        self.classes_, index = encode_labels(labels)
        amplitude = 1.0
        for gram in self._priors(GaussianProcessClassifier, data, index):
            prior = ConstantKernel(amplitude, AMPLITUDES) * gram
            process = GaussianProcessClassifier(prior, n_restarts_optimizer=self.n_restarts, random_state=self._seed)
            _quietly(process.fit, data, index)
            fitted = process.base_estimator_
            self.latent_ = [_latent(part) for part in ([fitted] if len(self.classes_) == 2 else fitted.estimators_)]
            amplitude = float(np.exp(np.mean([np.log(part["amplitude"]) for part in self.latent_])))
        self.log_marginal_likelihood_ = float(process.log_marginal_likelihood_value_)
        self.n_parameters_ = len(self.latent_) * len(data) + self._n_trained()
        self._keep({part["scale"] for part in self.latent_})
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Class probabilities of shape ``(N, n_classes)``, columns as in ``classes_``."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        chances = np.stack([self._chance(data, latent) for latent in self.latent_], axis=1)
        if len(self.classes_) == 2:
            return np.hstack([1 - chances, chances])
        return chances / chances.sum(1, keepdims=True)

    def _chance(self, data: np.ndarray, latent: dict[str, Any]) -> np.ndarray:
        cross = latent["amplitude"] * self._cross_scaled(data, latent["scale"])
        mean = cross @ latent["residual"]
        reduced = solve_triangular(latent["cholesky"], latent["root"][:, None] * cross.T, lower=True)
        variance = (latent["amplitude"] * latent["diagonal"] - (reduced**2).sum(0)).clip(0)
        weights = np.exp(-(NODES**2) / 2)
        return expit(mean[:, None] + np.sqrt(variance)[:, None] * NODES) @ (weights / weights.sum())

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Labels of shape ``(N,)``."""
        chances = self.predict_proba(X)
        return self.classes_[chances.argmax(1)]

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities and their standard errors, each ``(N, n_classes)``; see ``models.base.with_errors``."""
        return self._with_errors("predict_proba", X, groups)


def _latent(process: Any) -> dict[str, Any]:
    """What a fitted binary process of scikit-learn holds, as plain values."""
    amplitude, gram = process.kernel_.k1, process.kernel_.k2
    return {
        "amplitude": float(amplitude.constant_value),
        "scale": float(gram.scale),
        "diagonal": float(gram.diagonal),
        "residual": process.y_train_ - process.pi_,
        "root": process.W_sr_.copy(),
        "cholesky": process.L_.copy(),
    }


def _quietly(fit: Callable[..., Any], *data: np.ndarray) -> None:
    """Fit; a hyper-parameter at its bound (no noise, say) is a result, no reason for a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit(*data)
