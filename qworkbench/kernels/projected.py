"""Projected kernels: a classical kernel on reduced density matrices of the encoded state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from qiskit.quantum_info import SparsePauliOp

from circuits import ParameterizedCircuit
from qworkbench.backend import Backend
from qworkbench.engines.base import Expectation
from qworkbench.errors import unknown_name
from qworkbench.kernels.base import Kernel, positive, seeds_of_shots, weight_parameter
from qworkbench.kernels.shadows import ShadowFeatures
from qworkbench.kernels.shots import never_certain
from qworkbench.layer import QuantumLayer
from qworkbench.lowering import check_circuit

KEPT = ("kept_rows", "kept_mean", "kept_error", "kept_at")
"""Rows that were measured once and for all, their features, and the weights and bandwidth at which they were."""
NEAR_ZERO = 1e-24
"""Squared distance below which the Matern kernel is flat: the slope of a square root at 0 is infinite."""
MATERN = (0.5, 1.5, 2.5)


def _gaussian(scaled: torch.Tensor, shape: float) -> torch.Tensor:
    return torch.exp(-scaled)


def _rational_quadratic(scaled: torch.Tensor, shape: float) -> torch.Tensor:
    return (1 + scaled / shape) ** -shape


def _matern(scaled: torch.Tensor, shape: float) -> torch.Tensor:
    if shape not in MATERN:
        raise ValueError(f"expected a Matern kernel of shape (nu) {MATERN}, got {shape}")
    t = torch.sqrt(4 * shape * scaled.clamp_min(NEAR_ZERO))
    polynomials = {0.5: torch.ones_like(t), 1.5: 1 + t, 2.5: 1 + t + t**2 / 3}
    return polynomials[shape] * torch.exp(-t)


OUTER: dict[str, tuple[Callable[[torch.Tensor, float], torch.Tensor], float]] = {
    "gaussian": (_gaussian, 1.0),
    "matern": (_matern, 1.5),
    "rational-quadratic": (_rational_quadratic, 1.0),
}
"""Name -> function of ``gamma d**2`` and its shape, and the default shape.

The rational quadratic one is ``(1 + gamma d**2 / alpha)**-alpha``; Matern's has the length ``1 / sqrt(2 gamma)``. Both
tend to ``exp(-gamma d**2)`` for a large shape (Rasmussen & Williams 2006, chapter 4).
"""


def reduced_paulis(n_qubits: int, n_body: int = 1) -> tuple[list[SparsePauliOp], np.ndarray]:
    """The Paulis of all ``n_body``-qubit reduced density matrices, and what each adds to their squared distance.

    ``sum_S ||rho_S - sigma_S||_F**2 = sum_P w_P (<P>_rho - <P>_sigma)**2`` over subsets S of ``n_body`` qubits, where
    ``w_P`` is the number of subsets that contain P, over ``2**n_body``.

    Returns:
        Paulis, and their ``w_P`` of shape ``(n_paulis,)``.

    Raises:
        ValueError: If ``n_body`` is not between 1 and ``n_qubits``.
    """
    if not isinstance(n_body, int | np.integer) or not 1 <= n_body <= n_qubits:
        raise ValueError(f"expected n_body between 1 and {n_qubits}, the number of qubits, got {n_body}")
    paulis, shares = [], []
    for weight in range(1, n_body + 1):
        for support in combinations(range(n_qubits), weight):
            for letters in product("XYZ", repeat=weight):
                paulis.append(SparsePauliOp.from_sparse_list([("".join(letters), support, 1.0)], n_qubits))
                shares.append(math.comb(n_qubits - weight, n_body - weight) / 2**n_body)
    return paulis, np.array(shares)


class ProjectedKernel(Kernel):
    """A classical kernel of the distance between reduced density matrices (Huang et al. 2021, arXiv:2011.01938).

    ``k(x, y) = f(gamma sum_S ||rho_S(b x) - rho_S(b y)||_F**2)`` over all sets S of ``n_body`` qubits, or the squared
    distance of the expectation values of your own ``observables``. A sample is measured once, so ``N`` samples cost
    ``N`` circuits (a measured basis), not ``N**2``. With shots the matrix stays positive semidefinite, but noise
    adds to every distance: entries are biased downwards by about ``2 gamma sum(std_error**2)``.

    Args:
        circuit: The feature map.
        backend: See ``open_engine``.
        weights: Values of the circuit's weights, shape ``(n_weights,)``, if it has any.
        bandwidth: The factor ``b`` on the data, one for all features or one each.
        n_body: Qubits of a reduced density matrix.
        outer: ``gaussian``, ``matern`` or ``rational-quadratic``; see ``OUTER``.
        gamma: Inverse squared length.
        shape: ``nu`` of a Matern kernel (0.5, 1.5 or 2.5), ``alpha`` of a rational quadratic one.
        observables: Measured instead of the reduced density matrices.
        shadows: Number of random Pauli bases, each with the backend's shots, from which all Paulis are estimated
            together (Huang, Kueng & Preskill 2020, arXiv:2002.08953); by default each is measured in a basis of its
            own group.

    Raises:
        ValueError: If a setting does not fit, or the backend is unknown.
    """

    _scale: torch.Tensor
    kept_rows: torch.Tensor | None
    kept_mean: torch.Tensor | None
    kept_error: torch.Tensor | None
    kept_at: torch.Tensor | None

    def __init__(
        self,
        circuit: ParameterizedCircuit,
        backend: Any = "statevector",
        weights: ArrayLike = (),
        *,
        bandwidth: ArrayLike = 1.0,
        n_body: int = 1,
        outer: str = "gaussian",
        gamma: float = 1.0,
        shape: float | None = None,
        observables: Sequence[SparsePauliOp] | None = None,
        shadows: int | None = None,
    ) -> None:
        super().__init__()
        check_circuit(circuit)
        if outer not in OUTER:
            raise unknown_name("outer kernel", outer, OUTER)
        self.n_inputs, self.outer = circuit.n_inputs, outer
        if outer == "gaussian" and shape is not None:
            raise ValueError(f"expected no shape of a Gaussian kernel, got {shape}")
        self.shape = OUTER[outer][1] if shape is None else float(shape)
        if not 0 < self.shape < math.inf:
            raise ValueError(f"expected a positive shape, got {shape}")
        OUTER[outer][0](torch.zeros(1), self.shape)  # refuses a shape that it does not know
        self.log_bandwidth = positive("bandwidth", bandwidth, ((), (circuit.n_inputs,)))
        self.log_gamma = positive("gamma", gamma)
        paulis, shares = reduced_paulis(circuit.n_qubits, n_body) if observables is None else (observables, np.ones(1))
        start = torch.Generator().manual_seed(0)
        self.layer = QuantumLayer(circuit, paulis, backend, generator=start, dtype=torch.float64)
        self.layer.weights = weight_parameter(circuit, weights)
        self.register_buffer("_scale", torch.as_tensor(np.sqrt(shares)), persistent=False)
        for name in KEPT:
            self.register_buffer(name, None)
        self.shadows = shadows
        self._live_shadows: ShadowFeatures | None = None
        self._open_shadows()

    def _open_shadows(self) -> ShadowFeatures | None:
        if self.shadows is not None and self._live_shadows is None:
            measured = self.circuit, self.layer.observables, self.layer.backend
            self._live_shadows = ShadowFeatures(*measured, self.shadows)
        return self._live_shadows

    def with_backend(self, backend: Any) -> Self:
        """See ``Kernel``; an exact backend takes no shadows, and nothing that is kept comes with it."""
        other = copy.deepcopy(self)
        other.keep(None)
        other.layer = self.layer.with_backend(backend)
        described = Backend.parse(backend) if isinstance(backend, str | Backend) else None
        if described is not None and described.shots is None:
            other.shadows = None
        other._open_shadows()
        return other

    @property
    def repeatable(self) -> bool:
        """See ``Kernel``."""
        return True

    @property
    def seeds(self) -> frozenset[int]:
        """See ``Kernel``."""
        return seeds_of_shots(self.layer.backend)

    def reseeded(self, seed: int) -> Self:
        """See ``Kernel``."""
        backend = replace(Backend.parse(self.layer.backend), seed=seed)
        other = copy.copy(self)  # the parameters stay the same objects
        other._buffers = dict(self._buffers)
        other.keep(None)
        other._modules = {"layer": self.layer.with_backend(backend)}
        other.layer.weights = self.layer.weights
        return other

    @property
    def circuit(self) -> ParameterizedCircuit:
        """The feature map."""
        return self.layer.circuit

    @property
    def weights(self) -> torch.nn.Parameter:
        """The weights of the feature map."""
        return self.layer.weights

    @property
    def bandwidth(self) -> np.ndarray:
        """The factor on the data, shape ``()`` or ``(n_inputs,)``."""
        return self.log_bandwidth.detach().exp().numpy()

    @property
    def gamma(self) -> float:
        """The inverse squared length."""
        return float(self.log_gamma.detach().exp())

    @property
    def scale(self) -> np.ndarray:
        """The factor on each measured value, shape ``(n_observables,)`` or ``(1,)``."""
        return self._scale.numpy()

    @property
    def usage(self) -> dict[str, int]:
        """What the engines have run for this kernel: circuits, submissions, transpilations, shots."""
        shadows = self._open_shadows()
        if shadows is None:
            return self.layer.usage
        return {key: value + shadows.usage[key] for key, value in self.layer.usage.items()}

    def keep(self, x: ArrayLike | None) -> None:
        """See ``Kernel``."""
        if x is None:
            self.kept_rows = self.kept_mean = self.kept_error = self.kept_at = None
            return
        rows = self._checked(x).detach().clone()
        self.kept_mean, self.kept_error = self.features(rows)  # what is kept already is not measured again
        self.kept_rows, self.kept_at = rows, self._point()

    def _point(self) -> torch.Tensor:
        return torch.cat([self.weights.detach().double(), self.log_bandwidth.detach().reshape(-1)])

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # Torch compares shapes, which follow the rows here, and expects what is None to be left out.
        found = {name: state_dict.get(prefix + name) for name in KEPT}
        mean = found["kept_mean"]
        if mean is not None and mean.shape[1] != len(self.layer.observables):
            raise ValueError(f"expected features of {len(self.layer.observables)} observables, got {mean.shape[1]}")
        for name, value in found.items():
            setattr(self, name, None if value is None else value.clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def features(self, x: ArrayLike | torch.Tensor) -> Expectation:
        """What is measured of each sample, scaled so that squared distances are those of the density matrices.

        Rows that are kept (``keep``) are not measured again.

        Returns:
            Means and standard errors of shape ``(N, n_paulis)``.
        """
        data = self._checked(x).detach()
        if self.kept_at is None or not torch.equal(self.kept_at, self._point()):
            return self._measured(data)
        assert self.kept_rows is not None and self.kept_mean is not None and self.kept_error is not None
        # Adding 0 makes -0.0 the 0.0 that it equals.
        places = {row.tobytes(): place for place, row in enumerate(self.kept_rows.numpy() + 0.0)}
        found = np.array([places.get(row.tobytes(), -1) for row in data.numpy() + 0.0], dtype=np.int64)
        mean, error = (kept[found.clip(0)] for kept in (self.kept_mean, self.kept_error))
        if (new := found < 0).any():
            mean[new], error[new] = self._measured(data[new])
        return Expectation(mean, error)

    def _measured(self, rows: torch.Tensor) -> Expectation:
        data, shadows, before = rows * self.log_bandwidth.exp(), self._open_shadows(), self.usage
        with torch.no_grad():
            estimate = self.layer.estimate(data) if shadows is None else shadows.estimate(data, self.weights)
        error = estimate.std_error
        spent = {key: value - before[key] for key, value in self.usage.items()}
        if shadows is None and spent["shots"]:
            shots = spent["shots"] // max(1, spent["circuits"])
            reach = 2 * np.array([_reach(observable) for observable in self.layer.observables])
            error = torch.from_numpy(never_certain(error.numpy(), shots, np.ones(error.shape, bool), reach)).to(error)
        return Expectation(estimate.mean * self._scale, error * self._scale)

    def scale_gamma(self, x: ArrayLike) -> float:
        """``1 / (n_features var)`` of the measured features, the rule of scikit-learn's ``gamma="scale"``."""
        spread = float(self.features(x).mean.var(dim=0, unbiased=False).sum())
        return 1.0 / spread if spread > NEAR_ZERO else 1.0

    def set_gamma(self, gamma: float) -> None:
        """Replace ``gamma``.

        Raises:
            ValueError: If it is not positive and finite.
        """
        with torch.no_grad():
            self.log_gamma.copy_(positive("gamma", gamma))

    def matrix(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """See ``Kernel``.

        Raises:
            RuntimeError: If a gradient is asked of classical shadows.
        """
        tracked = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters()))
        if self.shadows is not None and tracked:
            raise RuntimeError("classical shadows have no gradient; train with shadows=None")
        if self.shadows is not None or (self.kept_at is not None and not tracked):
            left, right = self.features(x).mean, None if y is None else self.features(y).mean
        else:
            left, right = self._tracked(x), None if y is None else self._tracked(y)
        return self._of_distance(_squared_distances(left, left if right is None else right))

    def _tracked(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x * self.log_bandwidth.exp()) * self._scale

    def _of_distance(self, squared: torch.Tensor) -> torch.Tensor:
        return OUTER[self.outer][0](squared * self.log_gamma.exp(), self.shape)

    def estimate(self, x: ArrayLike, y: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See ``Kernel``; errors of the features, taken as independent, are propagated to the entries."""
        left = self.features(x)
        right = left if y is None else self.features(y)
        with torch.no_grad():
            squared = _squared_distances(left.mean, right.mean)
            value = self._of_distance(squared)
            if not left.std_error.any() and not right.std_error.any():
                return value.numpy(), np.zeros(value.shape)
            variance = _distance_variance(left, right)
        with torch.enable_grad():
            point = squared.clone().requires_grad_()
            (slope,) = torch.autograd.grad(self._of_distance(point).sum(), point)
        error = slope.abs() * variance.sqrt()
        if y is None:
            error.fill_diagonal_(0.0)
        return value.numpy(), error.numpy()

    def __getstate__(self) -> dict[str, Any]:
        # Live engines hold simulators and sessions; the description opens them again.
        return {**self.__dict__, "_live_shadows": None}

    def extra_repr(self) -> str:
        """What ``print(kernel)`` shows."""
        return f"outer={self.outer!r}, shape={self.shape}"


def _reach(observable: SparsePauliOp) -> float:
    """Half the distance of an observable's outcomes, at most."""
    pauli = observable.paulis.x.any(axis=1) | observable.paulis.z.any(axis=1)
    return float(np.abs(observable.coeffs[pauli]).sum())


def _squared_distances(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    norms = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :]
    squared = (norms - 2 * left @ right.T).clamp_min(0)
    # Rounding leaves 1e-16 where a sample meets itself.
    return squared * (1 - torch.eye(len(left), dtype=squared.dtype)) if left is right else squared


def _distance_variance(left: Expectation, right: Expectation) -> torch.Tensor:
    """Variance of ``sum_a (l_a - r_a)**2`` with ``s_a**2`` of each difference: ``sum_a 4 d_a**2 s_a**2 + 2 s_a**4``.

    Measured ``d_a**2`` are too large by ``s_a**2`` on average, which is taken off; what is left where there is no
    distance at all is the least.
    """
    total = torch.empty(len(left.mean), len(right.mean), dtype=left.mean.dtype)
    for i in range(len(total)):
        spread = left.std_error[i] ** 2 + right.std_error**2
        least = 2 * (spread**2).sum(1)
        total[i] = torch.maximum((4 * (left.mean[i] - right.mean) ** 2 * spread).sum(1) - least, least)
    return total
