"""Our exact engine: batched state vectors with adjoint differentiation, in native kernels or in torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qiskit.quantum_info import SparsePauliOp

from qworkbench.backend import Backend
from qworkbench.engines.base import NothingToClose, Program, Usage, check_gradient, check_observables
from qworkbench.engines.gradients import EvaluatedProgram
from qworkbench.engines.statevector.programs import (
    SampledExpectation,
    Shots,
    StatevectorOverlap,
    StatevectorProgram,
    StatevectorSampler,
)
from qworkbench.lowering import LoweredCircuit

__all__ = ["StatevectorEngine"]


class StatevectorEngine(NothingToClose):
    """Exact by default; with ``shots`` it samples from the exact probabilities.

    URI: ``statevector`` or ``statevector?shots=1024&seed=7``; ``executor=torch`` leaves the native kernels out.
    """

    def __init__(self, backend: Backend) -> None:
        self._executor = backend.option("executor", "auto") or "auto"
        if {k for k, _ in backend.options} - {"executor"} or backend.target or self._executor not in ("auto", "torch"):
            raise ValueError(
                f"expected 'statevector' with no options but shots, seed and executor=torch, got {str(backend)!r}"
            )
        self.usage = Usage()
        self._rng = np.random.default_rng(backend.seed)
        self._shots = None if backend.shots is None else Shots(backend.shots, self._rng, self.usage)

    def compile(self, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], gradient: str = "auto") -> Program:
        """See ``Engine``; ``auto`` is ``adjoint`` when exact and ``parameter-shift`` with shots."""
        check_gradient(gradient, ["adjoint"] if self._shots is None else [])
        observables = check_observables(observables, circuit.n_qubits)
        self.usage.add(transpilations=1)
        seed = int(self._rng.integers(2**32))
        if self._shots is not None:
            sampled = SampledExpectation(circuit, observables, self.usage, self._shots, self._executor)
            return EvaluatedProgram(circuit, sampled, gradient, seed)
        exact = StatevectorProgram(circuit, observables, self.usage, self._executor)
        return exact if gradient in ("auto", "adjoint") else EvaluatedProgram(circuit, exact.evaluate, gradient, seed)

    def compile_sampler(self, circuit: LoweredCircuit) -> StatevectorSampler:
        """See ``Engine``."""
        self.usage.add(transpilations=1)
        return StatevectorSampler(circuit, self.usage, self._shots, self._executor)

    def compile_overlap(self, circuit: LoweredCircuit) -> StatevectorOverlap:
        """See ``Engine``."""
        self.usage.add(transpilations=1)
        return StatevectorOverlap(circuit, self.usage, self._shots, self._executor)
