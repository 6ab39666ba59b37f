"""Who runs a circuit: the native executor on the CPU, torch elsewhere and where torch needs the graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from qiskit.quantum_info import SparsePauliOp

from qworkbench.engines.base import check_memory
from qworkbench.engines.statevector.passes import Pass, compile_passes
from qworkbench.engines.statevector.states import STATES_HELD, StateSimulator
from qworkbench.lowering import Angles, LoweredCircuit

if TYPE_CHECKING:
    from qworkbench.engines.statevector.native import NativeExecutor


def native_executor(
    executor: str, circuit: LoweredCircuit, n_shared: int, observables: Sequence[SparsePauliOp] = ()
) -> NativeExecutor | None:
    """The native executor, unless ``executor`` is ``torch`` or numba does not work here (one warning)."""
    if executor == "torch":
        return None
    try:
        from qworkbench.engines.statevector.native import NativeExecutor, check_numba

        check_numba()
    except Exception as error:
        # Numba depends on the processor, the C library and a folder it may write to; each fails in its own way.
        text = f"numba does not work here, so circuits run in torch, which is slower: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None
    return NativeExecutor(circuit, n_shared, observables)


class Executors:
    """The executors of a circuit, each made when it is first needed, for each split of the angles.

    Raises:
        CircuitTooLargeError: If not even one sample fits.
    """

    def __init__(self, circuit: LoweredCircuit, executor: str, observables: Sequence[SparsePauliOp] = ()) -> None:
        check_memory(circuit.n_qubits, STATES_HELD, 8)
        self._circuit, self._executor, self._observables = circuit, executor, observables
        self._natives: dict[int, NativeExecutor | None] = {}
        self._simulators: dict[int, StateSimulator] = {}

    def native(self, angles: Angles) -> NativeExecutor | None:
        """The native executor, if it can serve these angles."""
        n_shared = angles.shared.shape[0]
        if angles.per_sample.device.type != "cpu":
            return None
        if n_shared not in self._natives:
            self._natives[n_shared] = native_executor(self._executor, self._circuit, n_shared, self._observables)
        return self._natives[n_shared]

    @cached_property
    def _passes(self) -> list[Pass]:
        return compile_passes(self._circuit)

    def simulator(self, angles: Angles) -> StateSimulator:
        """The torch executor."""
        n_shared = angles.shared.shape[0]
        if n_shared not in self._simulators:
            self._simulators[n_shared] = StateSimulator(self._passes, self._circuit.n_qubits, n_shared)
        return self._simulators[n_shared]
