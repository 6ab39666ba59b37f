"""The states of a lowered circuit, in batches that stay small."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from qworkbench.engines.base import check_memory
from qworkbench.engines.statevector.gates import StateGate, Tables
from qworkbench.lowering import Angles, LoweredCircuit

CHUNK_BYTES = 2**25
"""Size of the batch of states that is worked on at a time; more rows are done in turn."""
STATES_HELD = 4
"""States alive at once in the adjoint sweep: state, co-state and their successors."""


class StateSimulator:
    """Applies a lowered circuit to ``|0...0>``.

    The split of ``Angles`` need not be the circuit's own: with no shared angles, ``per_sample`` holds every slot.
    """

    def __init__(self, circuit: LoweredCircuit) -> None:
        self.n_qubits = circuit.n_qubits
        check_memory(self.n_qubits, STATES_HELD, 8)
        tables: Tables = {}
        self.gates = tuple(StateGate(gate, self.n_qubits, tables) for gate in circuit.gates)

    @staticmethod
    def angle(gate: StateGate, angles: Angles) -> torch.Tensor | None:
        """The gate's angle: a scalar if shared, of shape ``(N,)`` if per sample, None if fixed."""
        if gate.slot is None:
            return None
        if gate.slot < len(angles.shared):
            return angles.shared[gate.slot]
        return angles.per_sample[:, gate.slot - len(angles.shared)]

    def states(self, angles: Angles) -> torch.Tensor:
        """State vectors of shape ``(N, 2**n)``, differentiable by torch; complex64 for float32 angles."""
        n_rows, device = len(angles.per_sample), angles.per_sample.device
        dtype = torch.complex64 if angles.per_sample.dtype == torch.float32 else torch.complex128
        state = torch.zeros((n_rows, 2**self.n_qubits), dtype=dtype, device=device)
        state[:, 0] = 1
        for gate in self.gates:
            state = gate.apply(state, self.angle(gate, angles))
        return state

    def chunks(self, angles: Angles) -> Iterator[tuple[slice, Angles]]:
        """The batch in pieces whose states stay small; an empty batch is one empty piece."""
        n_rows, itemsize = len(angles.per_sample), 2 * angles.per_sample.element_size()
        check_memory(self.n_qubits, STATES_HELD, itemsize)
        step = max(1, CHUNK_BYTES // (itemsize * 2**self.n_qubits))
        for start in range(0, max(n_rows, 1), step):
            rows = slice(start, min(start + step, n_rows))
            yield rows, Angles(angles.shared, angles.per_sample[rows])
