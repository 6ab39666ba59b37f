"""Sums of Pauli strings on a batch of state vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp


class PauliSums:
    """``O`` observables on ``n`` qubits, applied without forming matrices.

    Strings of I and Z are gathered into one table of diagonals ``(2**n, O)``. Any other string is
    ``P|k> = phase(k) |k xor mask>``; strings of the same mask share one reordering of the state.
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
                signs = 1.0 - 2.0 * (np.bitwise_count((amplitude ^ flip) & sign) & 1)
                table = tables.setdefault(flip, np.zeros((len(amplitude), self.n_observables), complex))
                # Row k holds the factor that the amplitude k takes on its way to k xor flip.
                table[:, column] += factor.real * (-1j) ** quarter_turns * signs
        self._tables = tables
        self._diagonal = tables.pop(0, None)
        self._cache: dict[tuple[str, torch.dtype, torch.device], torch.Tensor] = {}

    def _tensor(self, key: str, value: np.ndarray, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        found = self._cache.get((key, dtype, device))
        if found is None:
            found = self._cache[(key, dtype, device)] = torch.tensor(value).to(dtype=dtype, device=device)
        return found

    def _parts(self, state: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs (reordering, factor table): the amplitude ``k`` of ``O state`` is ``table[k'] state[k']``."""
        parts = []
        for flip, table in self._tables.items():
            source = np.arange(len(table)) ^ flip
            parts.append(
                (
                    self._tensor(f"source{flip}", source, torch.long, state.device),
                    self._tensor(f"table{flip}", table[source], state.dtype, state.device),
                )
            )
        return parts

    def expectation(self, state: torch.Tensor) -> torch.Tensor:
        """``<state|O|state>`` of shape ``(N, O)``."""
        mean = state.real.new_zeros((len(state), self.n_observables))
        if self._diagonal is not None:
            density = state.real**2 + state.imag**2
            mean = mean + density @ self._tensor("diagonal", self._diagonal.real, density.dtype, state.device)
        for source, table in self._parts(state):
            mean = mean + ((state.conj() * state[:, source]) @ table).real
        return mean

    def apply(self, state: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """``sum_o weights[:, o] O_o state``; weights of shape ``(N, O)``, real."""
        result = torch.zeros_like(state)
        if self._diagonal is not None:
            result = state * (weights @ self._tensor("diagonal", self._diagonal.real, weights.dtype, state.device).T)
        for source, table in self._parts(state):
            result = result + state[:, source] * (weights.to(state.dtype) @ table.T)
        return result
