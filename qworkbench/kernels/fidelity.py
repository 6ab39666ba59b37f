"""The fidelity kernel: similarity as the overlap of two encoded states."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.func import functional_call

from circuits import ParameterizedCircuit, compute_uncompute, projectors, swap_test, z_first
from qworkbench.engines.base import Engine, Overlap
from qworkbench.engines.registry import open_engine
from qworkbench.errors import unknown_name
from qworkbench.kernels.base import Kernel, from_pairs, positive, upper_pairs, weight_parameter
from qworkbench.layer import QuantumLayer
from qworkbench.lowering import Angles, lower

METHODS = ("auto", "swap-test")


class QuantumKernel(Kernel):
    """The fidelity kernel ``k(x, y) = |<phi(b x)|phi(b y)>|**2`` (Havlicek et al. 2019, Nature 567, 209).

    Exact engines make one batch of states and one matrix product; sampling engines run one compute-uncompute
    circuit a pair (the symmetric half only; the diagonal is 1 by definition) and count all-zeros outcomes.
    Torch differentiates exact fidelities through the states, sampled ones by the parameter-shift rule, one circuit a
    pair and shift (then at most 16 qubits).

    Args:
        circuit: The feature map: any circuit, also your own.
        backend: See ``open_engine``.
        weights: Values of the circuit's weights, shape ``(n_weights,)``, if it has any.
        bandwidth: The factor ``b`` on the data, one for all features or one each (Shaydulin & Wild 2022,
            arXiv:2111.05451).
        method: ``auto``, or ``swap-test`` for ``2 n + 1`` qubits and one ancilla read out (``2 F - 1`` is measured, so
            its standard error does not vanish with the fidelity, and an entry may be below 0).

    Raises:
        ValueError: If the weights or the bandwidth do not fit, or the backend or method is unknown.
    """

    def __init__(
        self,
        circuit: ParameterizedCircuit,
        backend: Any = "statevector",
        weights: ArrayLike = (),
        *,
        bandwidth: ArrayLike = 1.0,
        method: str = "auto",
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        self.circuit, self.backend, self.method = circuit, backend, method
        self.n_inputs = circuit.n_inputs
        self.weights = weight_parameter(circuit, weights)
        self.log_bandwidth = positive("bandwidth", bandwidth, ((), (circuit.n_inputs,)))
        self._lowered = lower(circuit)
        self._live: tuple[Engine, Overlap] | None = None
        self._pairs: QuantumLayer | None = None
        self._open()

    def _open(self) -> tuple[Engine, Overlap]:
        if self._live is None:
            engine = open_engine(self.backend)
            self._live = engine, engine.compile_overlap(self._lowered)
        return self._live

    @property
    def _overlap(self) -> Overlap:
        return self._open()[1]

    def _pair_layer(self) -> QuantumLayer:
        if self._pairs is None:
            swapped = self.method == "swap-test"
            both = swap_test(self.circuit) if swapped else compute_uncompute(self.circuit)
            n = self.circuit.n_qubits
            read = z_first(both.n_qubits) if swapped else projectors(n, ["0" * n])
            start = torch.Generator().manual_seed(0)  # thrown away: the kernel's weights take their place
            layer = QuantumLayer(both, read, self._open()[0], generator=start, dtype=torch.float64)
            # Not a child: it has no parameters of its own.
            object.__setattr__(self, "_pairs", layer)
        assert self._pairs is not None
        return self._pairs

    @property
    def bandwidth(self) -> np.ndarray:
        """The factor on the data, shape ``()`` or ``(n_inputs,)``."""
        return self.log_bandwidth.detach().exp().numpy()

    @property
    def usage(self) -> dict[str, int]:
        """What the engine has run for this kernel: circuits, submissions, transpilations, shots."""
        return self._open()[0].usage.as_dict()

    def matrix(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """See ``Kernel``."""
        left, right = self._angles(x), None if y is None else self._angles(y)
        tracked = any(part.requires_grad for part in (*left, *(right or ())))
        if self.method == "auto" and (not tracked or getattr(self._overlap, "differentiable", False)):
            return self._overlap.fidelities(left, right).mean
        rows, shape = self._rows(x, y)
        values = functional_call(self._pair_layer(), {"weights": self.weights}, (rows,))[:, 0]
        return from_pairs(values, shape, y is None, 1.0)

    def estimate(
        self, x: ArrayLike, y: ArrayLike | None = None, repeats: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``Kernel``.

        Args:
            x: Shape ``(N, n_inputs)``.
            y: Shape ``(M, n_inputs)``; ``x`` itself by default.
            repeats: How many times the backend's shots each entry gets, whole numbers of shape ``(N, M)``; entries
                with 0 come back as NaN. See ``qworkbench.kernels.shots``.
        """
        data, other = self._checked(x), None if y is None else self._checked(y)
        with torch.no_grad():
            if self.method == "auto":
                right = None if other is None else self._angles(other)
                chosen = {} if repeats is None else {"repeats": repeats}
                mean, error = self._overlap.fidelities(self._angles(data), right, **chosen)
                return mean.numpy(), error.numpy()
            if repeats is not None:
                raise ValueError("expected no repeats with the swap test; use method='auto'")
            rows, shape = self._rows(data, other)
            layer = self._pair_layer()
            layer.weights.copy_(self.weights)
            mean, error = (part[:, 0] for part in layer.estimate(rows))
        symmetric = y is None
        return from_pairs(mean, shape, symmetric, 1.0).numpy(), from_pairs(error, shape, symmetric, 0.0).numpy()

    def _rows(self, x: torch.Tensor, y: torch.Tensor | None) -> tuple[torch.Tensor, tuple[int, int]]:
        other = x if y is None else y
        first, second = upper_pairs(len(x), len(other), y is None)
        factor = self.log_bandwidth.exp()
        return torch.cat([x[first] * factor, other[second] * factor], dim=1), (len(x), len(other))

    def _angles(self, x: ArrayLike | torch.Tensor) -> Angles:
        return self._lowered.angles(self._checked(x) * self.log_bandwidth.exp(), self.weights)

    def __getstate__(self) -> dict[str, Any]:
        # Live engines hold simulators and sessions; the description opens them again.
        return {**self.__dict__, "_live": None, "_pairs": None}

    def extra_repr(self) -> str:
        """What ``print(kernel)`` shows."""
        return f"{self.circuit!r}, backend={str(self.backend)!r}, method={self.method!r}"
