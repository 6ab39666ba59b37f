"""An engine made of a runner: anything that runs bound Qiskit circuits and reads them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from qworkbench.engines.mitigation import Mitigation, Readout, extrapolate
from qworkbench.engines.mps import MPSOverlap
from qworkbench.lowering import Angles, LoweredCircuit, free_parameters

MAX_PROBABILITY_QUBITS = 16
"""Beyond it the list of all basis states is no sensible answer."""


@dataclass(frozen=True)
class Read:
    """What is read at the end of a circuit.

    ``counts`` measures all qubits after ``change``; ``expectation`` gives exact values of ``observables``;
    ``probabilities``, ``statevector``, ``matrix_product_state`` (one tensor a qubit) and ``zeros`` (the probabilities
    of all zeros and of the rest) are exact.
    ``readout`` measures the same qubits after ``change`` alone, without the circuit.
    """

    kind: str
    change: QuantumCircuit | None = None
    observables: tuple[SparsePauliOp, ...] = ()
    scale: float = 1.0
    """Noise scale: the compiled circuit is folded by it; see ``mitigation.fold``."""

    @property
    def sampled(self) -> bool:
        """Whether it takes shots."""
        return self.kind in ("counts", "readout")


Run = Callable[[np.ndarray, int | None, int], list[list[Any]]]
"""Values ``(M, K)``, shots, seed -> one list a read with one result a row; a single submission.

A result is a mapping outcome -> count (or probability), a list of expectation values, a probability or an amplitude
vector.
"""


class Runner(Protocol):
    """Runs circuits somewhere.

    One that can mitigate has an attribute ``mitigates``: a set of ``fold``, if it heeds ``Read.scale``, and of
    ``readout``, if it offers reads of that kind.
    """

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

    Raises:
        ValueError: If the runner needs shots and there are none, or cannot do what ``mitigation`` asks for.
    """

    def __init__(
        self, runner: Runner, shots: int | None, seed: int | None, name: str, mitigation: Mitigation | None = None
    ) -> None:
        if shots is None and "expectation" not in runner.exact_reads:
            raise ValueError(f"{name} samples, so it needs shots: for instance '{name}?shots=1024'")
        mitigation = mitigation or Mitigation()
        missing = mitigation.needs - getattr(runner, "mitigates", frozenset())
        if missing:
            raise ValueError(f"{name} cannot do what the mitigation needs: {', '.join(sorted(missing))}")
        if mitigation.readout and shots is None:
            raise ValueError("exact values hold no readout errors to mitigate; give shots, or leave 'readout' out")
        self.usage = runner.usage
        self.shots = shots
        """Shots a circuit and measured basis; may be changed between submissions, but not to or from None."""
        self._runner, self._name, self._mitigation = runner, name, mitigation
        self._seeds = np.random.SeedSequence(seed)

    @property
    def largest_submission(self) -> int | None:
        """Bound circuits that the other side takes at a time; None if any number."""
        return getattr(self._runner, "largest_submission", None)

    def compile(self, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], gradient: str = "auto") -> Program:
        """See ``Engine``; ``auto`` is ``parameter-shift``."""
        check_gradient(gradient, [])
        observables = check_observables(observables, circuit.n_qubits)
        slots = free_parameters(len(circuit.slot_gates))
        lowered = circuit.to_qiskit(slots)
        make = self._exact if self.shots is None else self._sampled
        return EvaluatedProgram(circuit, make(lowered, slots, observables), gradient, self.next_seed())

    def compile_sampler(self, circuit: LoweredCircuit) -> CircuitSampler:
        """See ``Engine``.

        Raises:
            ValueError: If the circuit is too wide to list all its basis states.
        """
        if circuit.n_qubits > MAX_PROBABILITY_QUBITS:
            raise ValueError(f"expected at most {MAX_PROBABILITY_QUBITS} qubits, got {circuit.n_qubits}")
        slots = free_parameters(len(circuit.slot_gates))
        lowered = circuit.to_qiskit(slots)
        submit = self._submission(lowered, slots, [self._zero_read("probabilities", lowered)])
        return CircuitSampler(partial(self._frequencies, submit))

    def compile_overlap(self, circuit: LoweredCircuit) -> Overlap:
        """See ``Engine``: states where the runner has them, else one compute-uncompute circuit a pair."""
        n_slots = len(circuit.slot_gates)
        if self.shots is None and "statevector" in self._runner.exact_reads:
            slots = free_parameters(n_slots)
            submit = self._submission(circuit.to_qiskit(slots), slots, [Read("statevector")])
            return StateOverlap(circuit.n_qubits, lambda rows: submit(rows)[0])
        if self.shots is None and "matrix_product_state" in self._runner.exact_reads:
            slots = free_parameters(n_slots)
            submit = self._submission(circuit.to_qiskit(slots), slots, [Read("matrix_product_state")])
            return MPSOverlap(lambda rows: submit(rows)[0])
        slots = free_parameters(2 * n_slots)
        both = circuit.to_qiskit(slots[:n_slots]).compose(circuit.to_qiskit(slots[n_slots:], inverse=True))
        assert both is not None
        submit = self._submission(both, slots, [self._zero_read("zeros", both)])
        return PairedOverlap(partial(self._zeros, submit), self.shots is not None)

    def next_seed(self) -> int:
        """A fresh seed for the next submission."""
        return int(self._seeds.spawn(1)[0].generate_state(1)[0]) >> 1

    def _zero_read(self, kind: str, circuit: QuantumCircuit) -> Read:
        """An exact read of ``kind``, or counts in the computational basis."""
        if self.shots is not None:
            return Read("counts", QuantumCircuit(circuit.num_qubits))
        if kind not in self._runner.exact_reads:
            raise ValueError(f"{self._name} has no exact probabilities; give shots")
        return Read(kind)

    def _submission(self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]) -> Submission:
        """Prepare the reads at every noise scale, and the calibration of the readout."""
        scaled = [[replace(read, scale=scale) for read in reads] for scale in self._mitigation.scales]
        run = self._runner.prepare(circuit, slots, [read for part in scaled for read in part])
        calibration = None
        if self._mitigation.readout:
            flips = QuantumCircuit(circuit.num_qubits)
            flips.x(range(circuit.num_qubits))
            changes = (QuantumCircuit(circuit.num_qubits), flips)
            calibration = self._runner.prepare(circuit, slots, [Read("readout", change) for change in changes])
        return Submission(self, run, scaled, calibration, circuit.num_qubits)

    def _sampled(
        self, circuit: QuantumCircuit, slots: Sequence[Parameter], observables: Sequence[SparsePauliOp]
    ) -> Callable[[torch.Tensor], Expectation]:
        plan = MeasurementPlan(observables)
        submit = self._submission(circuit, slots, [Read("counts", basis_change(basis)) for basis in plan.bases])

        def evaluate(rows: torch.Tensor) -> Expectation:
            scales = submit(rows)

            def estimate(eigenvalues: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
                parts = [plan.estimate(counts, len(rows), eigenvalues) for counts in scales]
                return self._extrapolated(parts, plan.offset)

            return _expectation(submit.corrected(estimate), rows)

        return evaluate

    def _exact(
        self, circuit: QuantumCircuit, slots: Sequence[Parameter], observables: Sequence[SparsePauliOp]
    ) -> Callable[[torch.Tensor], Expectation]:
        submit = self._submission(circuit, slots, [Read("expectation", observables=tuple(observables))])
        offset = MeasurementPlan(observables).offset if len(self._mitigation.scales) > 1 else np.zeros(len(observables))

        def evaluate(rows: torch.Tensor) -> Expectation:
            means = [np.array(reads[0], float).reshape(len(rows), len(observables)) for reads in submit(rows)]
            found = self._extrapolated([(mean, np.zeros_like(mean)) for mean in means], offset)
            return _expectation(found, rows)

        return evaluate

    def _frequencies(self, submit: Submission, rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of all basis states with their errors, each ``(M, 2**n)``; mitigated ones may be negative."""
        scales = submit(rows)

        def estimate(eigenvalues: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
            parts = [frequencies(outcomes, submit.n_qubits, self.shots, eigenvalues) for (outcomes,) in scales]
            mean, error = self._extrapolated(parts, np.array(0.5**submit.n_qubits))
            # Each entry is extrapolated by itself; an exponential does not keep the sum.
            return mean + (1 - mean.sum(axis=1, keepdims=True)) / mean.shape[1], error

        return submit.corrected(estimate)

    def _zeros(self, submit: Submission, rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of all zeros with their errors, each ``(M,)``."""
        scales = submit(rows)

        def estimate(eigenvalues: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
            parts = [zero_frequencies(outcomes, self.shots, eigenvalues) for (outcomes,) in scales]
            # Complete depolarisation leaves 2**-n, and a folded circuit decays towards that.
            return self._extrapolated(parts, np.array(0.5**submit.n_qubits))

        return submit.corrected(estimate)

    def _extrapolated(
        self, parts: Sequence[tuple[np.ndarray, np.ndarray]], offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means and errors at the noise scales as one; ``offset`` is the part of each mean that no noise touches."""
        means, errors = (np.stack(found) for found in zip(*parts, strict=True))
        mean, error = extrapolate(means - offset, errors, self._mitigation.scales, self._mitigation.fit)
        return mean + offset, error


def _expectation(found: tuple[np.ndarray, np.ndarray], like: torch.Tensor) -> Expectation:
    return Expectation(*(torch.as_tensor(part).to(like) for part in found))


class Submission:
    """A prepared circuit: rows of values in, one list of results a noise scale and read out."""

    def __init__(
        self,
        engine: CircuitEngine,
        run: Run,
        scaled: Sequence[Sequence[Read]],
        calibration: Run | None,
        n_qubits: int,
    ) -> None:
        self._engine, self._run, self._scaled, self._calibration = engine, run, scaled, calibration
        self.n_qubits = n_qubits
        self._readout: Readout | None = None

    def __call__(self, rows: torch.Tensor) -> list[list[list[Any]]]:
        """``results[scale][read][row]``, with at most ``rows x reads x shots`` shots in all."""
        n_reads = len(self._scaled[0])
        if not n_reads or not len(rows):
            return [[[] for _ in reads] for reads in self._scaled]
        n_circuits = len(rows) * n_reads * len(self._scaled)
        values = rows.detach().double().cpu().numpy()
        shots = None if self._engine.shots is None else self._share(values, n_circuits, self._engine.shots)
        self._engine.usage.add(submissions=1, circuits=n_circuits, shots=n_circuits * (shots or 0))
        found = self._run(values, shots, self._engine.next_seed())
        return [found[k : k + n_reads] for k in range(0, len(found), n_reads)]

    def corrected(
        self, estimate: Callable[[np.ndarray | None], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """An estimate from outcomes, by the calibrated readout if there is one; see ``Readout.corrected``."""
        return estimate(None) if self._readout is None else self._readout.corrected(estimate)

    def _share(self, values: np.ndarray, n_circuits: int, shots: int) -> int:
        """Shots for each circuit, the readout calibrated before if need be."""
        budget = n_circuits // len(self._scaled) * shots
        # A quarter at the most, since the data need the shots more.
        each = max(min(shots, budget // 8), 1) if self._calibration is not None and self._readout is None else 0
        if budget - 2 * each < n_circuits:
            raise ValueError(
                f"expected more shots: {shots} a circuit leave none for each of {len(self._scaled)} noise scales"
                f"{' and the calibration of the readout' if each else ''}"
            )
        if self._calibration is not None and each:
            self._engine.usage.add(submissions=1, circuits=2, shots=2 * each)
            (zeros,), (ones,) = self._calibration(values[:1], each, self._engine.next_seed())
            self._readout = Readout.calibrated(zeros, ones, self.n_qubits)
        return (budget - 2 * each) // n_circuits


def _totals(outcomes: Sequence[Mapping[int, float]]) -> np.ndarray:
    return np.array([sum(entry.values()) for entry in outcomes], dtype=float)


def _standard_errors(mean: np.ndarray, square: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """Of means over the shots, from the mean squares."""
    return np.sqrt((square - mean**2).clip(0) / np.maximum(shots - 1, 1))


def zero_frequencies(
    outcomes: Sequence[Mapping[int, float]], shots: int | None, eigenvalues: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How often all qubits were 0.

    Args:
        outcomes: Counts of each circuit, or exact probabilities.
        shots: None if they are exact.
        eigenvalues: What an outcome of each qubit counts for in ``<Z>``, shape ``(n_qubits, 2)``; 1 and -1 by default.

    Returns:
        Frequencies and their standard errors, each of shape ``(M,)``.
    """
    totals = _totals(outcomes)
    if eigenvalues is None:
        mean = np.array([entry.get(0, 0) for entry in outcomes], dtype=float) / totals
        square = mean
    else:
        # The projector on zero is (1 + Z) / 2 of each qubit.
        projected = [np.prod((1 + _outcome_values(entry, eigenvalues)) / 2, axis=1) for entry in outcomes]
        shares = [np.array(list(entry.values())) / total for entry, total in zip(outcomes, totals, strict=True)]
        mean = np.array([share @ value for share, value in zip(shares, projected, strict=True)])
        square = np.array([share @ value**2 for share, value in zip(shares, projected, strict=True)])
    return mean, np.zeros_like(mean) if shots is None else _standard_errors(mean, square, totals)


def _outcome_values(outcomes: Mapping[int, float], eigenvalues: np.ndarray) -> np.ndarray:
    """What each qubit of each outcome counts for, shape ``(U, n_qubits)``."""
    qubits = np.arange(len(eigenvalues))
    bits = (np.array(list(outcomes), dtype=np.uint64)[:, None] >> qubits.astype(np.uint64)) & np.uint64(1)
    return eigenvalues[qubits, bits.astype(int)]


def frequencies(
    outcomes: Sequence[Mapping[int, float] | np.ndarray],
    n_qubits: int,
    shots: int | None,
    eigenvalues: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """How often each basis state was measured.

    Args:
        outcomes: Counts of each circuit, or exact probabilities of shape ``(2**n_qubits,)``.
        n_qubits: Width of the circuits.
        shots: None if they are exact.
        eigenvalues: See ``zero_frequencies``.

    Returns:
        Frequencies and their standard errors, each of shape ``(M, 2**n_qubits)``.
    """
    check_memory(n_qubits, len(outcomes), 8)
    mean = np.zeros((len(outcomes), 2**n_qubits))
    for row, entry in zip(mean, outcomes, strict=True):
        if isinstance(entry, Mapping):
            row[list(entry)] = list(entry.values())
        else:
            row[:] = entry
    if shots is None:
        return mean, np.zeros_like(mean)
    totals = mean.sum(axis=1, keepdims=True)
    mean = square = mean / totals
    for qubit in range(0 if eigenvalues is None else n_qubits):
        assert eigenvalues is not None
        # What outcomes 0 and 1 (columns) count for in the projectors (1 + Z) / 2 and (1 - Z) / 2 (rows).
        pair = (1 + np.outer([1, -1], eigenvalues[qubit])) / 2
        shape = (len(mean), -1, 2, 2**qubit)
        mean, square = (
            np.einsum("ab,mibj->miaj", factor, table.reshape(shape)).reshape(table.shape)
            for factor, table in ((pair, mean), (pair**2, square))
        )
    return mean, _standard_errors(mean, square, totals)


class CircuitSampler:
    """Probabilities of all basis states: exact, or frequencies."""

    def __init__(self, table: Callable[[torch.Tensor], tuple[np.ndarray, np.ndarray]]) -> None:
        self._table = table

    def probabilities(self, angles: Angles) -> Expectation:
        """See ``Sampler``."""
        return _expectation(self._table(angles.rows()), angles.per_sample)


class PairedOverlap:
    """Fidelities from one compute-uncompute circuit a pair: the frequency of all zeros.

    The diagonal of a Gram matrix is set to 1, its value without noise, and costs no circuit.
    """

    def __init__(self, zeros: Callable[[torch.Tensor], tuple[np.ndarray, np.ndarray]], sampled: bool) -> None:
        self._zeros, self._sampled = zeros, sampled

    def fidelities(self, x: Angles, y: Angles | None = None, repeats: np.ndarray | None = None) -> Expectation:
        """See ``Overlap``."""
        left, right = x.rows(), (x if y is None else y).rows()
        if repeats is not None and not self._sampled:
            repeats = (repeats > 0).astype(np.int64)
        pairs = measured_pairs((len(left), len(right)), y is None, repeats)
        first, second = np.repeat(pairs.first, pairs.repeats), np.repeat(pairs.second, pairs.repeats)
        zeros, errors = self._zeros(torch.cat([left[first], right[second]], dim=1))
        mean, error = (np.full((len(left), len(right)), np.nan) for _ in range(2))
        starts = np.cumsum(pairs.repeats) - pairs.repeats
        if len(starts):
            zeros, errors = np.add.reduceat(zeros, starts), np.sqrt(np.add.reduceat(errors**2, starts))
        pairs.fill(mean, zeros / pairs.repeats, 1.0)
        pairs.fill(error, errors / pairs.repeats, 0.0)
        return Expectation(torch.as_tensor(mean).to(x.per_sample), torch.as_tensor(error).to(x.per_sample))


class StateOverlap:
    """Fidelities from state vectors and one matrix product."""

    noiseless = True

    def __init__(self, n_qubits: int, submit: Callable[[torch.Tensor], list[list[Any]]]) -> None:
        self._n_qubits, self._submit = n_qubits, submit

    def _states(self, rows: torch.Tensor) -> np.ndarray:
        check_memory(self._n_qubits, 2 * len(rows), 16)
        return np.array(self._submit(rows)[0], complex).reshape(len(rows), 2**self._n_qubits)

    def fidelities(self, x: Angles, y: Angles | None = None, repeats: np.ndarray | None = None) -> Expectation:
        """See ``Overlap``."""
        left = self._states(x.rows())
        right = left if y is None else self._states(y.rows())
        mean = torch.as_tensor(np.abs(left.conj() @ right.T) ** 2).to(x.per_sample)
        return Expectation(mean, torch.zeros_like(mean))
