"""The fidelity kernel: similarity as the overlap of two encoded states."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.func import functional_call

from circuits import ParameterizedCircuit, compute_uncompute, projectors, swap_test, z_first
from qworkbench.backend import Backend
from qworkbench.engines.base import Engine, Overlap
from qworkbench.engines.registry import open_engine
from qworkbench.errors import unknown_name
from qworkbench.kernels.base import (
    Kernel,
    derived_seed,
    from_pairs,
    positive,
    seeds_of_shots,
    upper_pairs,
    weight_parameter,
)
from qworkbench.kernels.shots import allocate_shots, measure_diagonal, never_certain, undo_depolarising
from qworkbench.layer import QuantumLayer
from qworkbench.lowering import Angles, check_circuit, lower

METHODS = ("auto", "swap-test")
ALLOCATIONS = ("equal", "variance")
CORRECTIONS = ("none", "depolarising")
PORTIONS = range(8, 16)
"""``allocation="variance"`` shares out shots in so many portions, the number that leaves the fewest over."""
PILOT = 2
"""Portions that every entry gets first."""
DIAGONAL_ROUNDS = 4
"""Shots of a sample's own fidelity, in units of the backend's: its error is in a whole row of entries."""


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
        allocation: ``equal`` shots for all entries, or by their ``variance`` at the same total (``allocate_shots``;
            at least 8 shots, in 8 to 15 portions, whose remainder is not used). Arrays only, as the next: tensors,
            which torch may differentiate, get plain entries.
        correction: ``depolarising`` measures each sample's fidelity with itself, one circuit of four times the shots a
            sample and call, and undoes the noise that it shows (``correct_depolarising``); or ``none``.

    Raises:
        ValueError: If the weights or the bandwidth do not fit, a setting is unknown, or shots cannot be shared out.
    """

    def __init__(
        self,
        circuit: ParameterizedCircuit,
        backend: Any = "statevector",
        weights: ArrayLike = (),
        *,
        bandwidth: ArrayLike = 1.0,
        method: str = "auto",
        allocation: str = "equal",
        correction: str = "none",
    ) -> None:
        super().__init__()
        check_circuit(circuit)
        for kind, name, known in (
            ("method", method, METHODS),
            ("allocation", allocation, ALLOCATIONS),
            ("correction", correction, CORRECTIONS),
        ):
            if name not in known:
                raise unknown_name(kind, name, known)
        if method != "auto" and (allocation, correction) != (ALLOCATIONS[0], CORRECTIONS[0]):
            raise ValueError("expected neither allocation nor correction with the swap test; use method='auto'")
        self.circuit, self.backend, self.method = circuit, backend, method
        self.allocation, self.correction = allocation, correction
        self.survival: float | None = None
        """How much of the last corrected samples the noise has left, on average: 1 without noise."""
        self.n_inputs = circuit.n_inputs
        self.weights = weight_parameter(circuit, weights)
        self.log_bandwidth = positive("bandwidth", bandwidth, ((), (circuit.n_inputs,)))
        self._lowered = lower(circuit)
        self._live: tuple[Engine, Overlap] | None = None
        self._pairs: QuantumLayer | None = None
        self._portions: QuantumKernel | None = None
        self._open()
        if allocation == "variance":
            self._in_portions()

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

    def _in_portions(self) -> tuple[QuantumKernel, int] | None:
        """The kernel with a portion of the shots, on an engine that lives as long as this one; None if exact.

        And the number of portions.
        """
        if not isinstance(self.backend, str | Backend):
            raise ValueError(
                "expected the backend as a URI with allocation='variance', so that shots can be shared out"
            )
        backend = Backend.parse(self.backend)
        if backend.shots is None:
            return None
        if (shots := backend.shots) < PORTIONS[0]:
            raise ValueError(f"expected at least {PORTIONS[0]} shots with allocation='variance', got {shots}")
        rounds = min((n for n in PORTIONS if n <= shots), key=lambda n: shots % n)
        if self._portions is None:
            # The measured diagonal has the backend's seed.
            seed = None if backend.seed is None else derived_seed(backend.seed, rounds)
            portion = replace(backend, shots=shots // rounds, seed=seed)
            object.__setattr__(self, "_portions", QuantumKernel(self.circuit, portion, self.weights.detach()))
        assert self._portions is not None
        self._portions.weights, self._portions.log_bandwidth = self.weights, self.log_bandwidth
        return self._portions, rounds

    def reseeded(self, seed: int) -> Self:
        """See ``Kernel``."""
        other = copy.copy(self)  # opens an engine of its own; the parameters stay the same objects
        other.backend = replace(Backend.parse(self.backend), seed=seed)
        return other

    @property
    def seeds(self) -> frozenset[int]:
        """See ``Kernel``."""
        return seeds_of_shots(self.backend)

    def with_backend(self, backend: Any) -> Self:
        """See ``Kernel``."""
        settings = {"method": self.method, "allocation": self.allocation, "correction": self.correction}
        weights = self.weights.detach()
        return type(self)(self.circuit, backend, weights, bandwidth=self.bandwidth, **settings)

    @property
    def noiseless(self) -> bool:
        """Whether entries come from states, so that each sample's fidelity with itself is 1."""
        return self.method == "auto" and getattr(self._overlap, "noiseless", False)

    @property
    def bandwidth(self) -> np.ndarray:
        """The factor on the data, shape ``()`` or ``(n_inputs,)``."""
        return self.log_bandwidth.detach().exp().numpy()

    @property
    def usage(self) -> dict[str, int]:
        """What the engine has run for this kernel: circuits, submissions, transpilations, shots."""
        total = self._open()[0].usage.as_dict()
        if self._portions is not None:
            total = {key: value + self._portions.usage[key] for key, value in total.items()}
        return total

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
                with 0 come back as NaN. Then ``allocation`` and ``correction`` are left aside. See
                ``qworkbench.kernels.shots``.
        """
        data, other = self._checked(x), None if y is None else self._checked(y)
        portions = self._in_portions() if self.allocation == "variance" and repeats is None else None
        if portions is not None:
            found = allocate_shots(portions[0], data, other, rounds=portions[1], pilot=PILOT)
            mean, error = found.mean, found.std_error
        else:
            mean, error = self._plain(data, other, repeats)
        if self.correction == "none" or repeats is not None:
            return mean, error
        diagonals = [measure_diagonal(self, part, DIAGONAL_ROUNDS) for part in (data, other) if part is not None]
        mean, error, self.survival = undo_depolarising(mean, error, self.circuit.n_qubits, *diagonals)
        return mean, error

    def _plain(
        self, data: torch.Tensor, other: torch.Tensor | None, repeats: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        before = self.usage["shots"]
        mean, error = self._sampled(data, other, repeats)
        if not (shots := self.usage["shots"] - before):
            return mean, error
        # How often each entry was measured; a mirrored one is counted once in the shots.
        times = np.ones(mean.shape, dtype=np.int64) if repeats is None else repeats
        measured = times > 0
        if other is None:
            upper = np.triu(times, 1)
            times, measured = upper + upper.T, (upper + upper.T) > 0
            shots *= 2
        each = shots // max(1, int(times.sum()))
        return mean, never_certain(error, each * times, measured, 2.0 if self.method == "swap-test" else 1.0)

    def _sampled(
        self, data: torch.Tensor, other: torch.Tensor | None, repeats: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
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
        symmetric = other is None
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
        return {**self.__dict__, "_live": None, "_pairs": None, "_portions": None}

    def extra_repr(self) -> str:
        """What ``print(kernel)`` shows."""
        return f"{self.circuit!r}, backend={str(self.backend)!r}, method={self.method!r}"
