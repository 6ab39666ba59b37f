"""Sums of Pauli strings on a batch of state vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp

from qworkbench.engines.statevector.constants import Constants


class PauliSums:
    """``O`` observables on ``n`` qubits, applied without forming matrices.

    Strings of I and Z are gathered into one table of diagonals ``(2**n, O)``. Any other string is
    ``<k|P = phase(k) <k xor mask|``; strings of the same mask share one reordering of the state.
    """

    def __init__(self, observables: Sequence[SparsePauliOp]) -> None:
        n_qubits, self.n_observables = int(observables[0].num_qubits or 0), len(observables)
        amplitude = np.arange(2**n_qubits)
        tables: dict[int, np.ndarray] = {}
        for column, observable in enumerate(observables):
            paulis = observable.paulis
            for x, z, phase, factor in zip(paulis.x, paulis.z, paulis.phase, observable.coeffs, strict=True):
                flip, sign = (int(sum(1 << int(q) for q in np.flatnonzero(bits))) for bits in (x, z))
                # P = (-i)**(phase + number of Ys) Z^z X^x, and X acts first.
                quarter_turns = int(phase) + int(np.count_nonzero(x & z))
                signs = 1.0 - 2.0 * (np.bitwise_count(amplitude & sign) & 1)
                table = tables.setdefault(flip, np.zeros((len(amplitude), self.n_observables), complex))
                table[:, column] += factor.real * (-1j) ** quarter_turns * signs
        self._tables = tables
        self._diagonal = tables.pop(0, None)
        self._constants = Constants()

    def _signs(self, like: torch.Tensor) -> torch.Tensor:
        assert self._diagonal is not None
        return self._constants("diagonal", self._diagonal.real.copy, like)

    def _parts(self, state: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs (reordered states, factor table), whose products make up ``O state``."""
        for flip, table in self._tables.items():
            order = partial(np.bitwise_xor, np.arange(len(table)), flip)
            source = self._constants(("order", flip), order, state, torch.long)
            yield state.gather(1, source.expand(len(state), -1)), self._constants(("table", flip), table.copy, state)

    def expectation(self, state: torch.Tensor) -> torch.Tensor:
        """``<state|O|state>`` of shape ``(N, O)``."""
        mean = state.real.new_zeros((len(state), self.n_observables))
        if self._diagonal is not None:
            density = state.real**2 + state.imag**2
            mean = mean + density @ self._signs(density)
        for moved, table in self._parts(state):
            mean = mean + ((state.conj() * moved) @ table).real
        return mean

    def apply(self, state: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """``sum_o weights[:, o] O_o state``; weights of shape ``(N, O)``, real."""
        result = torch.zeros_like(state)
        if self._diagonal is not None:
            result = state * (weights @ self._signs(weights).T)
        for moved, table in self._parts(state):
            result = result + moved * (weights.to(state.dtype) @ table.T)
        return result
