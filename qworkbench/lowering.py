"""Lowering: every gate angle becomes its own slot, and torch computes the angles.

Qiskit lets one parameter sit in several gates and inside expressions. After lowering each angle occurs once,
so an engine owes nothing but d outputs / d angles; the chain rule to inputs and weights is torch's. An angle
that depends on weights alone is *shared* by the batch; one that depends on an input is *per sample*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from qiskit.circuit import (
    AnnotatedOperation,
    Barrier,
    ControlledGate,
    Delay,
    Gate,
    Instruction,
    Parameter,
    ParameterExpression,
    QuantumCircuit,
)
from qiskit.circuit.library import IGate
from qiskit.exceptions import QiskitError
from qiskit.transpiler import PassManager
from qiskit.transpiler.passes import HighLevelSynthesis

from circuits import ParameterizedCircuit
from qworkbench.expressions import AngleMap
from qworkbench.gates import GENERATORS

MAX_FIXED_QUBITS = 3
_SKIPPED = (Barrier, Delay, IGate)
_STANDARD_GATES = "qiskit.circuit.library.standard_gates"


class Angles(NamedTuple):
    """Gate angles in radians: what an engine takes, and the form of a gradient with respect to them."""

    shared: torch.Tensor
    """Shape ``(S,)``: one value for the whole batch."""
    per_sample: torch.Tensor
    """Shape ``(N, P)``: one row a sample."""

    def rows(self) -> torch.Tensor:
        """Shape ``(N, S + P)``: every angle of every sample, shared ones first."""
        n_samples = self.per_sample.shape[0]
        return torch.cat([self.shared.expand(n_samples, -1), self.per_sample], dim=1)


@dataclass(frozen=True)
class LoweredGate:
    """One gate: fixed, or with the angle that stands in ``slot``."""

    name: str
    """A key of ``GENERATORS`` if ``slot`` is set, else the name of the fixed gate."""
    qubits: tuple[int, ...]
    slot: int | None = None
    """Column of ``Angles.rows()``."""
    operation: Gate | None = None
    """The Qiskit gate, if fixed."""

    @cached_property
    def matrix(self) -> np.ndarray:
        """The unitary of a fixed gate, shape ``(2**k, 2**k)``, first qubit least significant."""
        if self.operation is None:
            raise ValueError(f"the gate {self.name!r} has an angle, so it has no fixed matrix")
        # Qiskit's matrices may be in Fortran order, which some native simulators refuse.
        return np.array(self.operation.to_matrix(), dtype=complex, order="C")


@dataclass(frozen=True, eq=False)
class LoweredCircuit:
    """A circuit whose every angle is its own slot; slots ``0 .. n_shared - 1`` are the shared ones."""

    circuit: ParameterizedCircuit
    gates: tuple[LoweredGate, ...]
    shared_map: AngleMap
    per_sample_map: AngleMap

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self.circuit.n_qubits

    @property
    def n_shared(self) -> int:
        """Number of angles that depend on weights alone."""
        return self.shared_map.n_angles

    @property
    def n_per_sample(self) -> int:
        """Number of angles that depend on an input."""
        return self.per_sample_map.n_angles

    def angles(self, inputs: torch.Tensor, weights: torch.Tensor) -> Angles:
        """The angles of a batch, differentiable by torch.

        Args:
            inputs: Shape ``(N, n_inputs)``.
            weights: Shape ``(n_weights,)``.

        Raises:
            RuntimeError: Inside a transform of ``torch.func``, which would have to see into the engine.
        """
        if any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in (inputs, weights)):
            raise RuntimeError(
                "expected plain tensors, got those of a torch.func transform (vmap, grad, jacrev, ...); pass samples "
                "as one batch, and differentiate with torch.autograd"
            )
        shared = weights if self.shared_map.copies == "weights" else self.shared_map(inputs[:0], weights, 1)[0]
        if self.per_sample_map.copies == "inputs":
            return Angles(shared, inputs)
        return Angles(shared, self.per_sample_map(inputs, weights, inputs.shape[0]))

    @cached_property
    def slot_gates(self) -> tuple[str, ...]:
        """Gate name of each slot, in slot order."""
        names = {gate.slot: gate.name for gate in self.gates if gate.slot is not None}
        return tuple(names[slot] for slot in range(self.n_shared + self.n_per_sample))

    def to_qiskit(self, parameters: Sequence[Any], *, inverse: bool = False) -> QuantumCircuit:
        """The lowered circuit in Qiskit, with ``parameters[slot]`` as angles.

        Args:
            parameters: One parameter or number a slot.
            inverse: Build the inverse circuit instead.
        """
        result = QuantumCircuit(self.n_qubits)
        for gate in reversed(self.gates) if inverse else self.gates:
            if gate.slot is None:
                assert gate.operation is not None
                result.append(gate.operation.inverse() if inverse else gate.operation, gate.qubits)
            else:
                angle = parameters[gate.slot]
                # RZ is P up to a global phase, whose symbolic form makes Qiskit's basis translation take minutes.
                name = "rz" if gate.name == "p" else gate.name
                getattr(result, name)(-angle if inverse else angle, *gate.qubits)
        return result


Angle: TypeAlias = float | ParameterExpression
_REWRITES: dict[str, Callable[..., list[tuple[str, Angle]]]] = {
    # Each up to a global phase, as a product of rotations on the same qubit, first gate first.
    "u": lambda theta, phi, lam: [("p", lam), ("ry", theta), ("p", phi)],
    "u1": lambda lam: [("p", lam)],
    "u2": lambda phi, lam: [("p", lam), ("ry", np.pi / 2), ("p", phi)],
    "u3": lambda theta, phi, lam: [("p", lam), ("ry", theta), ("p", phi)],
    "r": lambda theta, phi: [("rz", -1.0 * phi), ("rx", theta), ("rz", phi)],
    "cu1": lambda lam: [("cp", lam)],
}


def check_circuit(circuit: Any, expected: str = "a ParameterizedCircuit") -> None:
    """Refuse what is no ``ParameterizedCircuit``, in words that say what is ``expected``.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(circuit, ParameterizedCircuit):
        raise TypeError(
            f"expected {expected}, got {type(circuit).__name__}; wrap a Qiskit circuit with "
            "circuits.from_qiskit(circuit, inputs=..., weights=...)"
        )


def lower(circuit: ParameterizedCircuit) -> LoweredCircuit:
    """Give every angle its own slot.

    Raises:
        TypeError: If it is no ``ParameterizedCircuit``.
        ValueError: If a gate with a free parameter is neither known nor defined by known ones; its name is given.
    """
    check_circuit(circuit)
    shared, per_sample = AngleMap(circuit.inputs, circuit.weights), AngleMap(circuit.inputs, circuit.weights)
    inputs = set(circuit.inputs)
    found: list[tuple[LoweredGate, AngleMap | None]] = []

    def add(values: Sequence[Angle], names: Sequence[tuple[str, tuple[int, ...]]], function: Any = None) -> None:
        free = {p for value in values if isinstance(value, ParameterExpression) for p in value.parameters}
        angles = per_sample if free & inputs else shared
        turning = [name in GENERATORS for name, _ in names]
        first = angles.add(values, sum(turning), function)
        for (name, qubits), turns in zip(names, turning, strict=True):
            if turns:
                found.append((LoweredGate(name, qubits, first), angles))
                first += 1
            else:
                found.append((_fixed(name, qubits), None))

    for operation, qubits in _flatten(circuit.quantum_circuit):
        if not _is_free(operation):
            # The name of a user's gate proves nothing; its matrix does.
            name = operation.name if _is_standard(operation) else "unitary"
            found.append((LoweredGate(name, qubits, operation=operation), None))
        elif hasattr(operation, "angle_map"):
            names = [(name, tuple(qubits[i] for i in local)) for name, local in operation.elementary]
            add(operation.params, names, operation.angle_map)
        else:
            add(operation.params, [(operation.name, qubits)])

    offset = {id(shared): 0, id(per_sample): shared.n_angles}
    gates = tuple(
        gate if angles is None else LoweredGate(gate.name, gate.qubits, (gate.slot or 0) + offset[id(angles)])
        for gate, angles in found
    )
    return LoweredCircuit(circuit, gates, shared, per_sample)


def _is_free(operation: Instruction) -> bool:
    return any(isinstance(p, ParameterExpression) and p.parameters for p in operation.params)


def _fixed(name: str, qubits: tuple[int, ...]) -> LoweredGate:
    scratch = QuantumCircuit(len(qubits))
    getattr(scratch, name)(*range(len(qubits)))
    return LoweredGate(name, qubits, operation=scratch.data[0].operation)


def _flatten(circuit: QuantumCircuit) -> Iterator[tuple[Instruction, tuple[int, ...]]]:
    """The circuit's gates with composite ones unfolded, down to what ``LoweredGate`` can hold."""
    index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        operation, qubits = instruction.operation, tuple(index[q] for q in instruction.qubits)
        # A gate on no qubit is a global phase, which no observable sees.
        if qubits and not isinstance(operation, _SKIPPED):
            yield from _unfold(operation, qubits)


def _unfold(operation: Instruction, qubits: tuple[int, ...]) -> Iterator[tuple[Instruction, tuple[int, ...]]]:
    free, standard = _is_free(operation), _is_standard(operation)
    open_control = isinstance(operation, ControlledGate) and operation.ctrl_state != 2**operation.num_ctrl_qubits - 1
    if free and standard and operation.name in _REWRITES and not open_control:
        for name, angle in _REWRITES[operation.name](*operation.params):
            scratch = QuantumCircuit(len(qubits))
            getattr(scratch, name)(angle, *range(len(qubits)))
            yield scratch.data[0].operation, qubits
    elif free and hasattr(operation, "angle_map"):
        yield operation, qubits
    elif free and standard and operation.name in GENERATORS and not open_control:
        yield operation, qubits
    elif not free and len(qubits) <= MAX_FIXED_QUBITS and hasattr(operation, "__array__"):
        yield operation, qubits
    elif (definition := _definition(operation)) is not None:
        for inner, local in _flatten(definition):
            yield inner, tuple(qubits[i] for i in local)
    elif not free and hasattr(operation, "__array__"):
        yield operation, qubits
    else:
        lack = "free parameters, no known derivative" if free else "no matrix"
        raise ValueError(
            f"the gate {operation.name!r} has {lack} and no definition in known gates; "
            f"known gates with an angle: {sorted(GENERATORS)}"
        )


def _is_standard(operation: Instruction) -> bool:
    return isinstance(operation, Gate) and operation.base_class.__module__.startswith(_STANDARD_GATES)


def _definition(operation: Instruction) -> QuantumCircuit | None:
    if isinstance(operation, AnnotatedOperation):
        scratch = QuantumCircuit(operation.num_qubits)
        scratch.append(operation, range(operation.num_qubits))
        return PassManager([HighLevelSynthesis()]).run(scratch)
    try:
        return operation.definition
    except (QiskitError, TypeError, AttributeError):
        # Some gates (RV, HamiltonianGate) fail instead of having no definition while a parameter is free.
        return None


def free_parameters(n_slots: int, prefix: str = "angle") -> list[Parameter]:
    """One fresh Qiskit parameter a slot, in slot order."""
    return [Parameter(f"{prefix}_{slot}") for slot in range(n_slots)]
