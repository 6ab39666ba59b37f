"""An engine made of a runner: anything that runs bound Qiskit circuits and reads them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qworkbench.engines.base import (
    Expectation,
    NothingToClose,
    Overlap,
    Program,
    Usage,
    check_gradient,
    check_memory,
    check_observables,
)
from qworkbench.engines.gradients import EvaluatedProgram
from qworkbench.engines.measurement import MeasurementPlan, basis_change, measured_pairs
from qworkbench.lowering import Angles, LoweredCircuit, free_parameters

MAX_PROBABILITY_QUBITS = 16
"""Beyond it the list of all basis states is no sensible answer."""


@dataclass(frozen=True)
class Read:
    """What is read at the end of a circuit.

    ``counts`` measures all qubits after ``change``; ``expectation`` gives exact values of ``observables``;
    ``probabilities``, ``statevector`` and ``zeros`` (the probabilities of all zeros and of the rest) are exact.
    """

    kind: str
    change: QuantumCircuit | None = None
    observables: tuple[SparsePauliOp, ...] = ()


Run = Callable[[np.ndarray, int | None, int], list[list[Any]]]
"""Values ``(M, K)``, shots, seed -> one list a read with one result a row; a single submission.

A result is a mapping outcome -> count (or probability), a list of expectation values, a probability or an amplitude
vector.
"""


class Runner(Protocol):
    """Runs circuits somewhere."""

    usage: Usage
    exact_reads: frozenset[str]
    """The kinds of read that it offers without shots."""

    def prepare(self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]) -> Run:
        """Transpile once. ``slots`` are the circuit's parameters in the order of the values' columns."""
        ...


class CircuitEngine(NothingToClose):
    """An ``Engine`` on top of a ``Runner``.

    Every forward, every gradient and every Gram matrix is one submission; each submission has a fresh seed
    drawn from the root seed (one seed for all would repeat the same shot noise at every training step).
    """

    def __init__(self, runner: Runner, shots: int | None, seed: int | None, name: str) -> None:
        if shots is None and "expectation" not in runner.exact_reads:
            raise ValueError(f"{name} samples, so it needs shots: for instance '{name}?shots=1024'")
        self.usage = runner.usage
        self._runner, self._shots, self._name = runner, shots, name
        self._seeds = np.random.SeedSequence(seed)

    def compile(self, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], gradient: str = "auto") -> Program:
        """See ``Engine``; ``auto`` is ``parameter-shift``."""
        check_gradient(gradient, [])
        observables = check_observables(observables, circuit.n_qubits)
        slots = free_parameters(len(circuit.slot_gates))
        lowered = circuit.to_qiskit(slots)
        make = self._exact if self._shots is None else self._sampled
        return EvaluatedProgram(circuit, make(lowered, slots, observables), gradient, self._next_seed())

    def compile_sampler(self, circuit: LoweredCircuit) -> CircuitSampler:
        """See ``Engine``.

        Raises:
            ValueError: If the circuit is too wide to list all its basis states.
        """
        if circuit.n_qubits > MAX_PROBABILITY_QUBITS:
            raise ValueError(f"expected at most {MAX_PROBABILITY_QUBITS} qubits, got {circuit.n_qubits}")
        slots = free_parameters(len(circuit.slot_gates))
        run = self._probability_run(circuit.to_qiskit(slots), slots, "probabilities")
        return CircuitSampler(run, circuit.n_qubits, self._shots)

    def compile_overlap(self, circuit: LoweredCircuit) -> Overlap:
        """See ``Engine``: state vectors where the runner has them, else one compute-uncompute circuit a pair."""
        n_slots = len(circuit.slot_gates)
        if self._shots is None and "statevector" in self._runner.exact_reads:
            slots = free_parameters(n_slots)
            return StateOverlap(circuit.n_qubits, self._submit(circuit.to_qiskit(slots), slots, [Read("statevector")]))
        slots = free_parameters(2 * n_slots)
        both = circuit.to_qiskit(slots[:n_slots]).compose(circuit.to_qiskit(slots[n_slots:], inverse=True))
        assert both is not None
        return PairedOverlap(self._probability_run(both, slots, "zeros"), self._shots)

    def _next_seed(self) -> int:
        return int(self._seeds.spawn(1)[0].generate_state(1)[0]) >> 1

    def _submit(
        self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]
    ) -> Callable[[torch.Tensor], list[list[Any]]]:
        run = self._runner.prepare(circuit, slots, reads)

        def submit(rows: torch.Tensor) -> list[list[Any]]:
            if not reads or not len(rows):
                return [[] for _ in reads]
            count = len(rows) * sum(read.kind == "counts" for read in reads)
            self.usage.add(submissions=1, circuits=len(rows) * len(reads), shots=count * (self._shots or 0))
            return run(rows.detach().double().cpu().numpy(), self._shots, self._next_seed())

        return submit

    def _sampled(
        self, circuit: QuantumCircuit, slots: Sequence[Parameter], observables: Sequence[SparsePauliOp]
    ) -> Callable[[torch.Tensor], Expectation]:
        plan = MeasurementPlan(observables)
        submit = self._submit(circuit, slots, [Read("counts", basis_change(basis)) for basis in plan.bases])

        def evaluate(rows: torch.Tensor) -> Expectation:
            mean, error = plan.estimate(submit(rows), len(rows))
            return Expectation(torch.as_tensor(mean).to(rows), torch.as_tensor(error).to(rows))

        return evaluate

    def _exact(
        self, circuit: QuantumCircuit, slots: Sequence[Parameter], observables: Sequence[SparsePauliOp]
    ) -> Callable[[torch.Tensor], Expectation]:
        submit = self._submit(circuit, slots, [Read("expectation", observables=tuple(observables))])

        def evaluate(rows: torch.Tensor) -> Expectation:
            mean = torch.as_tensor(np.array(submit(rows)[0], float).reshape(len(rows), len(observables))).to(rows)
            return Expectation(mean, torch.zeros_like(mean))

        return evaluate

    def _probability_run(
        self, circuit: QuantumCircuit, slots: Sequence[Parameter], kind: str
    ) -> Callable[[torch.Tensor], list[Any]]:
        if self._shots is None and kind not in self._runner.exact_reads:
            raise ValueError(f"{self._name} has no exact probabilities; give shots")
        read = Read(kind) if self._shots is None else Read("counts", QuantumCircuit(circuit.num_qubits))
        submit = self._submit(circuit, slots, [read])
        return lambda rows: submit(rows)[0]


def _frequencies(outcome: Mapping[int, float] | np.ndarray, size: int) -> np.ndarray:
    if not isinstance(outcome, Mapping):
        return outcome
    result = np.zeros(size)
    result[list(outcome)] = list(outcome.values())
    return result / result.sum()


def _binomial(frequency: np.ndarray, shots: int | None, like: torch.Tensor) -> Expectation:
    error = np.zeros_like(frequency) if shots is None else np.sqrt(frequency * (1 - frequency) / max(shots - 1, 1))
    return Expectation(torch.as_tensor(frequency).to(like), torch.as_tensor(error).to(like))


class CircuitSampler:
    """Probabilities of all basis states: exact, or frequencies."""

    def __init__(self, run: Callable[[torch.Tensor], list[Any]], n_qubits: int, shots: int | None) -> None:
        self._run, self._size, self._shots = run, 2**n_qubits, shots

    def probabilities(self, angles: Angles) -> Expectation:
        """See ``Sampler``."""
        outcomes = self._run(angles.rows())
        check_memory(self._size.bit_length() - 1, len(outcomes), 8)
        table = np.array([_frequencies(entry, self._size) for entry in outcomes])
        return _binomial(table.reshape(len(outcomes), self._size), self._shots, angles.per_sample)


class PairedOverlap:
    """Fidelities from one compute-uncompute circuit a pair: the frequency of all zeros.

    The diagonal of a Gram matrix is set to 1, its value without noise, and costs no circuit.
    """

    def __init__(self, run: Callable[[torch.Tensor], list[Any]], shots: int | None) -> None:
        self._run, self._shots = run, shots

    def fidelities(self, x: Angles, y: Angles | None = None, repeats: np.ndarray | None = None) -> Expectation:
        """See ``Overlap``."""
        left, right = x.rows(), (x if y is None else y).rows()
        mean, error = (np.full((len(left), len(right)), np.nan) for _ in range(2))
        pairs = measured_pairs(mean.shape, y is None, None if self._shots is None else repeats)
        first, second = np.repeat(pairs.first, pairs.repeats), np.repeat(pairs.second, pairs.repeats)
        outcomes = self._run(torch.cat([left[first], right[second]], dim=1))
        zeros = np.array([entry.get(0, 0) / sum(entry.values()) for entry in outcomes])
        starts = np.cumsum(pairs.repeats) - pairs.repeats
        frequency = np.add.reduceat(zeros, starts) / pairs.repeats if len(starts) else zeros
        pairs.fill(mean, frequency, 1.0)
        trials = np.inf if self._shots is None else self._shots * pairs.repeats
        pairs.fill(error, np.sqrt(frequency * (1 - frequency) / np.maximum(trials - 1, 1)), 0.0)
        return Expectation(torch.as_tensor(mean).to(x.per_sample), torch.as_tensor(error).to(x.per_sample))


class StateOverlap:
    """Fidelities from state vectors and one matrix product."""

    def __init__(self, n_qubits: int, submit: Callable[[torch.Tensor], list[list[Any]]]) -> None:
        self._n_qubits, self._submit = n_qubits, submit

    def _states(self, rows: torch.Tensor) -> np.ndarray:
        check_memory(self._n_qubits, 2 * len(rows), 16)
        return np.array(self._submit(rows)[0], complex).reshape(len(rows), 2**self._n_qubits)

    def fidelities(self, x: Angles, y: Angles | None = None, repeats: np.ndarray | None = None) -> Expectation:
        """See ``Overlap``."""
        left = self._states(x.rows())
        right = left if y is None else self._states(y.rows())
        return _binomial(np.abs(left.conj() @ right.T) ** 2, None, x.per_sample)
