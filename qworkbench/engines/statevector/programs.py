"""What the exact engine compiles to: expectation values, probabilities, fidelities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp

from qworkbench.engines.base import Expectation, Usage, check_finite, check_memory
from qworkbench.engines.measurement import MeasurementPlan, basis_change, measured_pairs
from qworkbench.engines.statevector.executors import Executors
from qworkbench.engines.statevector.observables import PauliSums
from qworkbench.engines.statevector.passes import Element, Pass, one_qubit_element
from qworkbench.engines.statevector.states import StateSimulator
from qworkbench.lowering import Angles, LoweredCircuit, LoweredGate

if TYPE_CHECKING:
    from qworkbench.engines.statevector.native import NativeExecutor


class _NativeStates(torch.autograd.Function):
    """State vectors of the native executor; the gradient is one adjoint sweep, whatever is computed from them."""

    @staticmethod
    def forward(ctx: Any, shared: torch.Tensor, per_sample: torch.Tensor, native: NativeExecutor) -> torch.Tensor:
        ctx.save_for_backward(shared, per_sample)
        ctx.native = native
        return native.states(Angles(shared, per_sample))

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "second derivatives of kernels and probabilities need torch's graph: 'statevector?executor=torch'"
            )
        return (*ctx.native.states_gradient(Angles(*ctx.saved_tensors), cotangent), None)


class States:
    """State vectors of a circuit, in the native executor or in torch; differentiable either way."""

    def __init__(self, circuit: LoweredCircuit, executor: str) -> None:
        self._n_qubits, self._executors = circuit.n_qubits, Executors(circuit, executor)

    def __call__(self, angles: Angles) -> torch.Tensor:
        """Shape ``(N, 2**n)``, each state up to a global phase."""
        check_memory(self._n_qubits, len(angles.per_sample), 2 * angles.per_sample.element_size())
        native = self._executors.native(angles)
        if native is None:
            simulator = self._executors.simulator(angles)
            return torch.cat([simulator.states(chunk) for _, chunk in simulator.chunks(angles)])
        states: torch.Tensor = _NativeStates.apply(*angles, native)
        return states

    def chunks(self, angles: Angles) -> Iterator[tuple[slice, torch.Tensor]]:
        """The states in pieces that stay small, with the rows of each."""
        for rows, chunk in self._executors.simulator(angles).chunks(angles):
            yield rows, self(chunk)


class Shots:
    """A fixed number of shots, drawn from exact probabilities."""

    def __init__(self, shots: int, rng: np.random.Generator, usage: Usage) -> None:
        self.shots, self._rng, self._usage = shots, rng, usage

    def frequencies(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Relative frequencies of shape ``(M, K)`` for probabilities of that shape."""
        self._usage.add(shots=self.shots * len(probabilities))
        exact = probabilities.double().cpu().numpy().clip(0)
        counts = self._rng.multinomial(self.shots, exact / exact.sum(1, keepdims=True))
        return torch.as_tensor(counts / self.shots).to(probabilities)

    def estimate(self, probabilities: torch.Tensor) -> Expectation:
        """Frequencies with their standard errors."""
        mean = self.frequencies(probabilities)
        return Expectation(mean, self.standard_error(mean * (1 - mean)))

    def standard_error(self, variance: torch.Tensor) -> torch.Tensor:
        """Standard error of a mean over the shots, from the variance within the sample."""
        return torch.sqrt(variance.clamp(min=0) / max(self.shots - 1, 1))


def exactly(value: torch.Tensor) -> Expectation:
    """A value without statistical error."""
    return Expectation(value, torch.zeros_like(value))


class StatevectorProgram:
    """Exact expectation values and their adjoint gradient; memory does not grow with depth.

    The native executor serves CPU tensors; torch serves every other device, and derivatives of higher order.
    """

    refuses_not_finite = True

    def __init__(
        self, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], usage: Usage, executor: str = "auto"
    ) -> None:
        self._paulis, self._usage = tuple(observables), usage
        self._executors = Executors(circuit, executor, self._paulis)

    @cached_property
    def _observables(self) -> PauliSums:
        return PauliSums(self._paulis)

    def expectation(self, angles: Angles) -> torch.Tensor:
        """Means of shape ``(N, O)`` with a torch graph through every gate: memory grows with depth."""
        return self._observables.expectation(self._executors.simulator(angles).states(angles))

    def run(self, angles: Angles) -> Expectation:
        """See ``Program``; no standard error, since the values are exact."""
        native = self._executors.native(angles)
        if native is not None:
            mean = native.mean(angles, angles.shared.requires_grad or angles.per_sample.requires_grad)
        else:
            check_finite(angles)
            with torch.no_grad():
                chunks = self._executors.simulator(angles).chunks(angles)
                mean = torch.cat([self.expectation(chunk) for _, chunk in chunks])
        self._usage.add(circuits=angles.per_sample.shape[0], submissions=1)
        return exactly(mean)

    def evaluate(self, rows: torch.Tensor) -> Expectation:
        """Expectation values with every slot given per sample, shape ``(M, K)``."""
        return self.run(Angles(rows.new_zeros(0), rows))

    def vjp(self, angles: Angles, cotangent: torch.Tensor, needs: tuple[bool, bool] = (True, True)) -> Angles:
        """See ``Program``; one backward sweep (Jones & Gacon 2020, arXiv:2009.02823)."""
        self._usage.add(circuits=angles.per_sample.shape[0], submissions=1)
        native = self._executors.native(angles)
        if native is not None:
            found = native.gradient(angles, cotangent)
            if all(needs):
                return found
            return Angles(*(part if need else torch.zeros_like(part) for part, need in zip(found, needs, strict=True)))
        gradient = Angles(torch.zeros_like(angles.shared), torch.zeros_like(angles.per_sample))
        simulator = self._executors.simulator(angles)
        with torch.no_grad():
            for rows, chunk in simulator.chunks(angles):
                # Torch's derivative of <state|O|state> is 2 O state.
                weights = 2 * cotangent[rows]
                part = simulator.gradient(chunk, partial(self._observables.apply, weights=weights), needs)
                gradient.shared.add_(part.shared)
                gradient.per_sample[rows] = part.per_sample
        return gradient


class SampledExpectation:
    """Expectation values from shots in each measured basis, drawn from the exact probabilities."""

    def __init__(
        self,
        circuit: LoweredCircuit,
        observables: Sequence[SparsePauliOp],
        usage: Usage,
        shots: Shots,
        executor: str = "auto",
    ) -> None:
        self._plan, self._usage, self._shots = MeasurementPlan(observables), usage, shots
        self._states = States(circuit, executor)
        outcomes = np.arange(2**circuit.n_qubits)
        self._bases = [
            (_to_basis(basis), torch.as_tensor(self._plan.values(index, outcomes)))
            for index, basis in enumerate(self._plan.bases)
        ]

    def __call__(self, rows: torch.Tensor) -> Expectation:
        """Expectation values with every slot given per sample, shape ``(M, K)``."""
        self._usage.add(circuits=len(rows) * len(self._bases), submissions=1)
        mean = torch.as_tensor(self._plan.offset).to(rows).repeat(len(rows), 1)
        variance = torch.zeros_like(mean)
        with torch.no_grad():
            for part, state in self._states.chunks(Angles(rows.new_zeros(0), rows)):
                for change, values in self._bases:
                    frequency = self._shots.frequencies(change.after(state).abs() ** 2)
                    first, second = frequency @ values.to(frequency), frequency @ values.to(frequency) ** 2
                    mean[part] += first
                    variance[part] += (second - first**2).clamp(min=0)
        return Expectation(mean, self._shots.standard_error(variance))


def _to_basis(basis: str) -> StateSimulator:
    change, runs = basis_change(basis), dict[int, list[Element]]()
    for step in change.data:
        qubit = change.find_bit(step.qubits[0]).index
        gate = LoweredGate(step.operation.name, (qubit,), operation=step.operation)
        runs.setdefault(qubit, []).append(one_qubit_element(gate))
    return StateSimulator([Pass("rotate", runs=runs)], len(basis), 0)


class StatevectorSampler:
    """Exact probabilities, or frequencies of sampled shots."""

    def __init__(self, circuit: LoweredCircuit, usage: Usage, shots: Shots | None, executor: str = "auto") -> None:
        self._states, self._usage, self._shots = States(circuit, executor), usage, shots

    def probabilities(self, angles: Angles) -> Expectation:
        """See ``Sampler``; torch can differentiate the exact ones."""
        self._usage.add(circuits=angles.per_sample.shape[0], submissions=1)
        states = self._states(angles)
        exact = states.real**2 + states.imag**2
        return exactly(exact) if self._shots is None else self._shots.estimate(exact.detach())


class StatevectorOverlap:
    """Fidelities from one batch of states and one matrix product."""

    noiseless = True

    def __init__(self, circuit: LoweredCircuit, usage: Usage, shots: Shots | None, executor: str) -> None:
        self._states_of, self._usage, self._shots = States(circuit, executor), usage, shots
        self.differentiable = shots is None

    def states(self, angles: Angles) -> torch.Tensor:
        """State vectors of shape ``(N, 2**n)``, each up to a global phase."""
        self._usage.add(circuits=angles.per_sample.shape[0], submissions=1)
        return self._states_of(angles)

    def fidelities(self, x: Angles, y: Angles | None = None, repeats: np.ndarray | None = None) -> Expectation:
        """See ``Overlap``; torch can differentiate the exact ones."""
        left = self.states(x)
        right = None if y is None else self.states(y)
        if left.requires_grad or (right is not None and right.requires_grad):
            exact = (left.conj() @ (left if right is None else right).T).abs() ** 2
        else:
            exact = squared_products(left, right)
        if self._shots is not None:
            return self._sampled(exact, y is None, repeats)
        # NumPy's zeros take no memory until somebody writes to them.
        zeros = torch.from_numpy(np.zeros(exact.shape, np.float32 if exact.dtype == torch.float32 else np.float64))
        return Expectation(exact, zeros.to(exact.device))

    def _sampled(self, exact: torch.Tensor, symmetric: bool, repeats: np.ndarray | None) -> Expectation:
        assert self._shots is not None
        mean, error = np.full(exact.shape, np.nan), np.full(exact.shape, np.nan)
        pairs = measured_pairs(exact.shape, symmetric, repeats)
        trials = self._shots.shots * pairs.repeats
        self._usage.add(shots=int(trials.sum()))
        chance = exact.detach().double().cpu().numpy()[pairs.first, pairs.second].clip(0, 1)
        frequency = self._shots._rng.binomial(trials, chance) / trials
        pairs.fill(mean, frequency, 1.0)
        pairs.fill(error, np.sqrt(frequency * (1 - frequency) / np.maximum(trials - 1, 1)), 0.0)
        return Expectation(torch.from_numpy(mean).to(exact), torch.from_numpy(error).to(exact))


BLOCK_ROWS = 128
"""Rows of a complex block of inner products: the whole complex matrix would be twice the size of the result."""


def squared_products(left: torch.Tensor, right: torch.Tensor | None) -> torch.Tensor:
    """``|<left_i|right_j>|**2`` of shape ``(N, M)``, in blocks; without ``right`` of the upper half, mirrored."""
    other = left if right is None else right
    result = torch.empty((len(left), len(other)), dtype=left.real.dtype, device=left.device)
    for start in range(0, len(left), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        columns = slice(start if right is None else 0, None)
        parts = torch.view_as_real(left[rows].conj().resolve_conj() @ other[columns].T)
        torch.mul(parts[..., 0], parts[..., 0], out=result[rows, columns])
        result[rows, columns].addcmul_(parts[..., 1], parts[..., 1])
        if right is None:
            result[start + BLOCK_ROWS :, rows] = result[rows, start + BLOCK_ROWS :].T
    return result
