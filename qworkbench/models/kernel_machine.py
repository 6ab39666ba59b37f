"""What the models on a kernel share: the kernel by name, its training, the Gram matrix and its repair."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils.validation import check_is_fitted, validate_data

from circuits import FEATURE_MAPS, ParameterizedCircuit
from qworkbench.backend import Backend
from qworkbench.kernels.base import Kernel, derived_seed
from qworkbench.kernels.projected import ProjectedKernel
from qworkbench.kernels.repair import repair_psd
from qworkbench.kernels.spec import KernelSpec
from qworkbench.kernels.training import train_kernel
from qworkbench.models.base import INITIAL_SPREAD, draw_seed, resolve_circuit, seeded, with_errors

OF_A_NAME = ("feature_map", "n_qubits", "n_layers", "bandwidth", "backend")
"""Settings of a kernel by name; a kernel object brings its own."""


def state_of(kernel: Kernel) -> dict[str, np.ndarray]:
    """Parameters and kept features of a kernel, as arrays."""
    return {name: value.detach().numpy().copy() for name, value in kernel.state_dict().items()}


class KernelMachine(BaseEstimator):
    """A scikit-learn solver on the Gram matrix of a quantum kernel. Abstract.

    Every one takes ``feature_map``, ``n_qubits``, ``n_layers``, ``bandwidth``, ``kernel``, ``backend`` and
    ``random_state``; see ``QuantumKernelClassifier``. A fitted one has ``circuit_`` (None for a kernel object),
    ``kernel_state_`` (the kernel's parameters, trained or not), ``X_fit_`` (a kernel machine is its training data),
    ``gram_report_`` (what shots did to the Gram matrix), ``usage_`` and ``n_parameters_``.
    """

    def _fit_gram(self, solver: Any, data: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Make (and train) the kernel; the training Gram matrix, positive semidefinite, of shape ``(N, N)``."""
        # Scikit-learn looks at the settings of its solvers in their fit. That is after the shots.
        solver._validate_params()
        kernel = self.make_kernel(data, labels)
        kernel.keep(data)
        gram, error = kernel.estimate(data)
        self.usage_ = kernel.usage
        self.kernel_state_ = state_of(kernel)
        self.X_fit_ = data
        self._n_kernel_parameters = sum(parameter.numel() for parameter in kernel.parameters())
        sampled, survival = bool(self.usage_["shots"]), getattr(kernel, "survival", None)
        self.gram_report_: dict[str, Any] = {"sampled": sampled}
        if survival is not None:
            self.gram_report_["survival"] = survival
        if not sampled and survival is None:
            return gram
        # A correction of noise overshoots where the noise is not the one it assumes, without any shots.
        repair = repair_psd(gram, "auto", error if sampled else None)
        self.gram_report_ |= {
            "min_eigenvalue": repair.min_eigenvalue,
            "n_negative_eigenvalues": repair.n_negative,
            "repair": repair.method,
        }
        if sampled:
            off_diagonal = error[np.triu_indices(len(error), 1)]
            self.gram_report_ |= {
                "mean_std_error": float(off_diagonal.mean()),
                "change_in_std_errors": repair.change,
            }
        return repair.gram

    def make_kernel(self, data: np.ndarray, labels: np.ndarray | None = None) -> Kernel:
        """The kernel that ``fit`` would use for these data, trained if its name asks for that.

        Args:
            data: Shape ``(N, F)``.
            labels: Shape ``(N,)``, or the numbers of a regressor, for training.

        Raises:
            ValueError: If a setting is wrong or does not fit the data.
        """
        self._seed = draw_seed(self.random_state)
        self.kernel_spec_: str | None = None
        self.circuit_: ParameterizedCircuit | None = None
        if isinstance(self.kernel, Kernel):
            if self.kernel.n_inputs != data.shape[1]:
                raise ValueError(
                    f"expected a kernel of {data.shape[1]} inputs, one a feature, got {self.kernel.n_inputs}"
                )
            self._refuse_unheeded()
            return copy.deepcopy(self.kernel)
        if not isinstance(self.kernel, str):
            raise TypeError(f"expected a kernel by name or a Kernel, got {type(self.kernel).__name__}")
        spec = KernelSpec.parse(self.kernel)
        circuit = resolve_circuit(self.feature_map, FEATURE_MAPS, data.shape[1], self.n_qubits, self.n_layers)
        if circuit.n_weights and not spec.training:
            raise ValueError(
                f"expected a feature map without weights, or a kernel that trains them such as "
                f"'{spec.name}?train=alignment', got {circuit.n_weights} weights"
            )
        if spec.training and labels is None:
            raise ValueError(
                f"expected a kernel without training, since this model learns no target, got {self.kernel!r}"
            )
        generator = torch.Generator().manual_seed(self._seed)
        weights = INITIAL_SPREAD * torch.randn(circuit.n_weights, generator=generator, dtype=torch.float64)
        kernel = spec.make(circuit, seeded(self.backend, self._seed), weights.numpy(), bandwidth=self.bandwidth)
        if isinstance(kernel, ProjectedKernel) and "gamma" not in spec.options:
            kernel.keep(data)
            kernel.set_gamma(kernel.scale_gamma(data))
        if spec.training:
            assert labels is not None
            task = "regression" if is_regressor(self) else "classification"
            train_kernel(kernel, data, labels, task=task, generator=generator, **spec.training)
        self.kernel_spec_, self.circuit_ = self.kernel, circuit
        return kernel

    def _refuse_unheeded(self) -> None:
        """Settings beside a kernel object would be left aside in silence, a paid backend among them."""
        signature = inspect.signature(type(self).__init__).parameters
        for name in OF_A_NAME:
            given = getattr(self, name)
            if str(given) != str(signature[name].default):
                way = "kernel.with_backend(...)" if name == "backend" else "the kernel's own"
                raise ValueError(f"expected no {name}= beside a kernel object, got {given!r}; use {way}")

    def _asks_for_shots(self) -> bool:
        """Whether the backend, as far as it is described, samples; before anything runs."""
        parts = self.kernel.modules() if isinstance(self.kernel, Kernel) else [self]
        backends = [getattr(part, "backend", None) for part in parts]
        return any(isinstance(one, str | Backend) and Backend.parse(one).shots is not None for one in backends)

    def _kernel(self) -> Kernel:
        """The fitted kernel on the backend that is set now; a kernel object stays on its own."""
        if self.kernel_spec_ is None:
            self._refuse_unheeded()
            kernel: Kernel = copy.deepcopy(self.kernel)
        else:
            assert self.circuit_ is not None
            kernel = KernelSpec.parse(self.kernel_spec_).make(
                self.circuit_,
                seeded(self.backend, self._seed),
                np.zeros(self.circuit_.n_weights),
                bandwidth=np.exp(self.kernel_state_["log_bandwidth"]),
            )
        if kernel.seeds:
            # The random numbers of the fit again would tie the noise of new rows to that of training rows.
            kernel = kernel.reseeded(derived_seed(*sorted(kernel.seeds), 1))
        kernel.load_state_dict({name: torch.as_tensor(value) for name, value in self.kernel_state_.items()})
        return kernel

    def _cross(self, X: ArrayLike, columns: np.ndarray | None = None) -> np.ndarray:
        """Rows of ``X`` against the training data, shape ``(M, N)``; only ``columns`` are computed, others are 0."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        if columns is None:
            return self._kernel()(data, self.X_fit_)
        gram = np.zeros((len(data), len(self.X_fit_)))
        gram[:, columns] = self._kernel()(data, self.X_fit_[columns])
        return gram

    def _with_errors(self, method: str, X: ArrayLike, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """``models.base.with_errors``, whatever the kernel."""
        check_is_fitted(self)
        if self.kernel_spec_ is None:
            if not self.gram_report_["sampled"]:
                exact = np.asarray(getattr(self, method)(X))
                return exact, np.zeros_like(exact, dtype=float)
            # A kernel object keeps its own backend, whose shots are not ours to split. One copy of it answers all
            # groups: a copy each would repeat its seed.
            asked, kernel = copy.copy(self), self._kernel()
            asked.backend, asked._kernel = self.kernel, lambda: kernel  # type: ignore[method-assign]
            return with_errors(asked, method, X, groups, together=False)
        spec = KernelSpec.parse(self.kernel_spec_)
        # Projected features and measured diagonals of the training data, and a budget of shots, are shared by all rows.
        alone = spec.name == "fidelity" and not {"allocation", "correction"} & spec.options.keys()
        return with_errors(self, method, X, groups, together=alone)

    def _n_trained(self) -> int:
        """Number of weights that were trained."""
        trained = self.kernel_spec_ is not None and KernelSpec.parse(self.kernel_spec_).training
        return self._n_kernel_parameters if trained else 0
