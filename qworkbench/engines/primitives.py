"""Live Qiskit objects as engines: any ``BackendV2``, any V2 sampler, any V2 estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from qiskit import transpile
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.primitives import BaseEstimatorV2, BaseSamplerV2
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import PassManager, generate_preset_pass_manager

from qworkbench.engines.base import (
    Expectation,
    NothingToClose,
    Overlap,
    Program,
    Sampler,
    Usage,
    check_gradient,
    check_observables,
)
from qworkbench.engines.devices import finished, placed, simulator_target
from qworkbench.engines.gradients import EvaluatedProgram
from qworkbench.engines.mitigation import Mitigation, fold
from qworkbench.engines.runners import CircuitEngine, Read, Run
from qworkbench.lowering import LoweredCircuit, free_parameters

DEFAULT_SHOTS = 1024
TRANSPILER_SEED = 20119
Translation = Callable[[QuantumCircuit], QuantumCircuit]
"""To a target's own gates and layout."""


def from_qiskit_backend(
    backend: BackendV2, shots: int = DEFAULT_SHOTS, seed: int | None = None, mitigation: Mitigation | None = None
) -> CircuitEngine:
    """An engine on a live Qiskit backend: bound circuits in, counts out.

    Args:
        backend: Any ``BackendV2``; circuits are transpiled to its target once.
        shots: Shots a circuit.
        seed: Passed on to simulators that take ``seed_simulator``.
        mitigation: For instance ``Mitigation(readout=True, scales=(1, 3))``.
    """
    name = backend.name or type(backend).__name__
    return CircuitEngine(BackendRunner(backend), shots, seed, name, mitigation)


def from_primitives(
    estimator: BaseEstimatorV2 | None = None,
    sampler: BaseSamplerV2 | None = None,
    *,
    shots: int | None = None,
    pass_manager: PassManager | None = None,
) -> Any:
    """An engine on Qiskit V2 primitives.

    Args:
        estimator: Gives expectation values; without it they come from the sampler's counts.
        sampler: Gives counts; needed for kernels and probabilities.
        shots: Shots a circuit; for the estimator the precision ``1/sqrt(shots)``. By default the estimator's own
            precision, and 1,024 shots of the sampler.
        pass_manager: Turns circuits into the target's own gates and layout; by default that of the primitive's own
            backend, if it has one.

    Raises:
        ValueError: If both primitives are missing.
    """
    if estimator is None and sampler is None:
        raise ValueError("expected an estimator, a sampler or both, got neither")
    counting = None
    if sampler is not None:
        runner = SamplerRunner(sampler, _translation(sampler, pass_manager))
        counting = CircuitEngine(runner, shots or DEFAULT_SHOTS, None, "sampler")
    if estimator is None:
        return counting
    return EstimatorEngine(estimator, counting, shots, _translation(estimator, pass_manager))


def _translation(primitive: Any, pass_manager: PassManager | None) -> Translation:
    backend: Any = getattr(primitive, "_backend", None)
    if pass_manager is None and not isinstance(backend, BackendV2):
        return lambda circuit: circuit
    if pass_manager is None and type(backend).__module__.startswith("qiskit_aer") and backend.coupling_map is None:
        return lambda circuit: transpile(
            circuit, target=simulator_target(backend, circuit.num_qubits), optimization_level=0
        )
    manager = pass_manager or generate_preset_pass_manager(1, backend=backend, seed_transpiler=TRANSPILER_SEED)
    return manager.run


def wrap(backend: Any) -> Any:
    """The engine of a live Qiskit object; see ``open_engine``."""
    if isinstance(backend, BackendV2):
        return from_qiskit_backend(backend, int(getattr(backend.options, "shots", None) or DEFAULT_SHOTS))
    if isinstance(backend, BaseEstimatorV2):
        return from_primitives(backend)
    if isinstance(backend, BaseSamplerV2):
        return from_primitives(sampler=backend)
    if isinstance(backend, tuple) and len(backend) == 2:
        return from_primitives(*backend)
    raise TypeError(
        "expected a backend URI, a Backend, a Qiskit BackendV2, a V2 primitive or a pair (estimator, sampler), "
        f"got {type(backend).__name__}"
    )


def _measured(circuit: QuantumCircuit, read: Read) -> QuantumCircuit:
    full = circuit.copy()
    if read.change is not None:
        full.compose(read.change, inplace=True)
    full.measure_all()
    return full


class BackendRunner:
    """Counts by ``backend.run(...).result().get_counts()``, which every vendor gets right.

    ``BackendSamplerV2`` is not used: on vendors without per-shot memory it returns all zeros and no error.
    """

    exact_reads: frozenset[str] = frozenset()
    mitigates = frozenset({"fold", "readout"})

    def __init__(self, backend: BackendV2) -> None:
        self.usage = Usage()
        self._backend = backend
        self._seeded = hasattr(backend.options, "seed_simulator")
        self._place, self._basis = (
            generate_preset_pass_manager(level, backend=backend, seed_transpiler=TRANSPILER_SEED) for level in (1, 0)
        )

    def prepare(self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]) -> Run:
        """See ``Runner``."""
        self.usage.add(transpilations=1)
        # Placed once, so that all bases and the calibration of the readout are measured on the same qubits.
        base, place = placed(circuit, self._backend, self._place)
        circuits = [finished(base, place, read, self._basis) for read in reads]

        def run(values: np.ndarray, shots: int | None, seed: int) -> list[list[Any]]:
            bound = [_bind(c, slots, row) for c in circuits for row in values]
            options = {"seed_simulator": seed} if self._seeded else {}
            result = self._backend.run(bound, shots=shots, **options).result()
            counts = [_binary_keys(result.get_counts(k)) for k in range(len(bound))]
            return [counts[k * len(values) : (k + 1) * len(values)] for k in range(len(circuits))]

        return run


def _bind(circuit: QuantumCircuit, slots: Sequence[Parameter], row: np.ndarray) -> QuantumCircuit:
    present = set(circuit.parameters)
    return circuit.assign_parameters({p: float(v) for p, v in zip(slots, row, strict=True) if p in present})


def _binary_keys(counts: dict[str, int]) -> dict[int, int]:
    return {int(key.replace(" ", ""), 2): int(count) for key, count in counts.items()}


class SamplerRunner:
    """Counts from a V2 sampler: one PUB a measured basis, bindings as an array."""

    exact_reads: frozenset[str] = frozenset()
    mitigates = frozenset({"fold"})

    def __init__(self, sampler: BaseSamplerV2, translate: Translation) -> None:
        self.usage = Usage()
        self._sampler, self._translate = sampler, translate

    def prepare(self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]) -> Run:
        """See ``Runner``."""
        self.usage.add(transpilations=1)
        circuits = [fold(self._translate(_measured(circuit, read)), read.scale) for read in reads]

        def run(values: np.ndarray, shots: int | None, seed: int) -> list[list[Any]]:
            pubs = [pub for c in circuits for pub in _pubs((c,), slots, values)]
            results = self._sampler.run(pubs, shots=shots).result()
            bits = [result.data.meas for result in results]
            counts = [_binary_keys(b.get_counts(k if b.shape else None)) for b in bits for k in range(max(b.size, 1))]
            return [counts[k * len(values) : (k + 1) * len(values)] for k in range(len(circuits))]

        return run


def _pubs(head: tuple[Any, ...], slots: Sequence[Parameter], values: np.ndarray) -> list[tuple[Any, ...]]:
    """One PUB with all rows, bound by name (Qiskit's own parameter order is alphabetical).

    A circuit without parameters makes one PUB a row, since Aer's primitives run it once whatever the number of rows.
    """
    columns = [k for k, p in enumerate(slots) if p in head[0].parameters]
    if not columns:
        return [head] * len(values)
    return [(*head, {tuple(slots[k].name for k in columns): values[:, columns]})]


class EstimatorEngine(NothingToClose):
    """Expectation values from a V2 estimator; everything else from the sampler, if there is one."""

    def __init__(
        self,
        estimator: BaseEstimatorV2,
        counting: CircuitEngine | None,
        shots: int | None,
        translate: Translation,
    ) -> None:
        self.usage = Usage() if counting is None else counting.usage
        self._estimator, self._counting, self._translate = estimator, counting, translate
        self._precision = None if shots is None else 1 / np.sqrt(shots)

    def compile(self, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], gradient: str = "auto") -> Program:
        """See ``Engine``; ``auto`` is ``parameter-shift``, at the same precision as the forward."""
        check_gradient(gradient, [])
        observables = check_observables(observables, circuit.n_qubits)
        slots = free_parameters(len(circuit.slot_gates))
        lowered = self._translate(circuit.to_qiskit(slots))
        self.usage.add(transpilations=1)
        nested = [[o.apply_layout(lowered.layout)] for o in observables]

        def evaluate(rows: torch.Tensor) -> Expectation:
            values = rows.detach().double().cpu().numpy()
            if not len(values):
                return Expectation(*(rows.new_zeros((0, len(observables))) for _ in range(2)))
            self.usage.add(submissions=1, circuits=len(values))
            pubs = _pubs((lowered, nested), slots, values)
            data = [result.data for result in self._estimator.run(pubs, precision=self._precision).result()]
            shape = (len(observables), len(values))
            # (O, N) of one PUB, or a column (O, 1) of each.
            parts = (np.hstack([d.evs for d in data]), np.hstack([d.stds for d in data]))
            mean, error = (torch.as_tensor(part.reshape(shape).T.copy()) for part in parts)
            return Expectation(mean.to(rows), error.to(rows))

        return EvaluatedProgram(circuit, evaluate, gradient, seed=0)

    def compile_sampler(self, circuit: LoweredCircuit) -> Sampler:
        """See ``Engine``."""
        return self._sampling().compile_sampler(circuit)

    def compile_overlap(self, circuit: LoweredCircuit) -> Overlap:
        """See ``Engine``."""
        return self._sampling().compile_overlap(circuit)

    def _sampling(self) -> CircuitEngine:
        if self._counting is None:
            raise ValueError("kernels and probabilities need counts: hand over a pair (estimator, sampler)")
        return self._counting
