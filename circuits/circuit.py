"""The parameterized circuit: a frozen value with named slots for data and for trainable weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.controlflow import ControlFlowOp

NON_UNITARY = {"measure", "reset", "initialize", "store", "kraus", "superop", "quantum_channel"}


@dataclass(frozen=True, eq=False)
class ParameterizedCircuit:
    """A unitary Qiskit circuit that knows which parameters are data and which are trainable.

    Parameters are addressed by position in ``inputs`` and ``weights``, never by Qiskit's own order
    (which sorts by name). A declared parameter that no gate uses is allowed: its gradient is zero.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If the circuit measures, has classical bits in use, control flow or no qubits, if a
            parameter is declared twice, or if the circuit holds a parameter that is not declared.
    """

    quantum_circuit: QuantumCircuit
    """The unitary part; no measurement. A copy is kept, so later edits of the original do not matter."""
    inputs: tuple[Parameter, ...] = ()
    """Data slots in feature order."""
    weights: tuple[Parameter, ...] = ()
    """Trainable slots in the order of the weight vector."""

    def __post_init__(self) -> None:
        if not isinstance(self.quantum_circuit, QuantumCircuit):
            raise TypeError(f"expected a qiskit QuantumCircuit, got {type(self.quantum_circuit).__name__}")
        object.__setattr__(self, "quantum_circuit", self.quantum_circuit.copy())
        for field in ("inputs", "weights"):
            object.__setattr__(self, field, _parameters(field, getattr(self, field)))
        self._check_unitary()
        self._check_parameters()

    def _check_unitary(self) -> None:
        circuit = self.quantum_circuit
        if circuit.num_qubits == 0:
            raise ValueError("expected a circuit with at least one qubit, got none")
        for instruction in circuit.data:
            operation = instruction.operation
            if operation.name in NON_UNITARY or isinstance(operation, ControlFlowOp) or instruction.clbits:
                raise ValueError(
                    f"expected the unitary part only, got the instruction {operation.name!r}; take measurements, "
                    "resets and control flow out (remove_final_measurements) and name observables instead"
                )

    def _check_parameters(self) -> None:
        declared = self.inputs + self.weights
        names = [p.name for p in declared]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected each parameter once among inputs and weights, got twice: {twice}")
        missing = sorted(p.name for p in set(self.quantum_circuit.parameters) - set(declared))
        if missing:
            raise ValueError(
                f"the circuit uses parameters that are neither inputs nor weights: {missing}; "
                "list them in inputs= (data) or weights= (trainable)"
            )

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return int(self.quantum_circuit.num_qubits)

    @property
    def n_inputs(self) -> int:
        """Number of input features."""
        return len(self.inputs)

    @property
    def n_weights(self) -> int:
        """Number of trainable weights."""
        return len(self.weights)

    def compose(self, other: ParameterizedCircuit, qubits: Sequence[int] | None = None) -> ParameterizedCircuit:
        """Run ``other`` after this circuit.

        Inputs of the same name are the same feature (``x[0]`` is feature 0 wherever it stands). Weights add
        up: this circuit's come first, ``other``'s follow, and all are renamed ``w[0], w[1], ...``.

        Args:
            other: The circuit that follows.
            qubits: Where ``other``'s qubits go; by default the first ones. The result is as wide as needed.

        Raises:
            ValueError: If ``qubits`` has the wrong length or repeats a qubit.
        """
        place = list(range(other.n_qubits)) if qubits is None else [int(q) for q in qubits]
        if len(place) != other.n_qubits or len(set(place)) != len(place) or min(place) < 0:
            raise ValueError(f"expected {other.n_qubits} different qubits for the second circuit, got {place}")
        weights = ParameterVector("w", self.n_weights + other.n_weights)
        known = {p.name: p for p in self.inputs}
        inputs = self.inputs + tuple(p for p in other.inputs if p.name not in known)
        first = dict(zip(self.weights, weights, strict=False))
        second = dict(zip(other.weights, weights[self.n_weights :], strict=True))
        second |= {p: known[p.name] for p in other.inputs if p.name in known}
        result = QuantumCircuit(max(self.n_qubits, *(q + 1 for q in place)))
        result.compose(_renamed(self.quantum_circuit, first), range(self.n_qubits), inplace=True)
        result.compose(_renamed(other.quantum_circuit, second), place, inplace=True)
        return ParameterizedCircuit(result, inputs, tuple(weights))

    def bind(self, inputs: ArrayLike = (), weights: ArrayLike = ()) -> QuantumCircuit:
        """The Qiskit circuit with numbers in place of parameters.

        Args:
            inputs: Shape ``(n_inputs,)``.
            weights: Shape ``(n_weights,)``.

        Raises:
            ValueError: If a shape is wrong or a value is not finite.
        """
        values: dict[Parameter, float] = {}
        for kind, slots, given in (("inputs", self.inputs, inputs), ("weights", self.weights, weights)):
            numbers = np.asarray(given, dtype=float)
            if numbers.shape != (len(slots),):
                raise ValueError(f"expected {kind} of shape ({len(slots)},), got {numbers.shape}")
            if not np.isfinite(numbers).all():
                raise ValueError(f"expected finite {kind}, got {numbers}")
            values |= dict(zip(slots, numbers.tolist(), strict=True))
        return self.quantum_circuit.assign_parameters(
            {p: v for p, v in values.items() if p in self.quantum_circuit.parameters}
        )

    def draw(self, output: str = "text", **options: Any) -> Any:
        """Qiskit's drawing; ``output="mpl"`` gives a matplotlib figure."""
        return self.quantum_circuit.draw(output, **options)

    def __repr__(self) -> str:
        return (
            f"ParameterizedCircuit({self.n_qubits} qubits, {self.n_inputs} inputs, {self.n_weights} weights, "
            f"{self.quantum_circuit.size()} gates)"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParameterizedCircuit):
            return NotImplemented
        return (self.inputs, self.weights) == (other.inputs, other.weights) and bool(
            self.quantum_circuit == other.quantum_circuit
        )

    def __hash__(self) -> int:
        return hash((self.n_qubits, self.inputs, self.weights, self.quantum_circuit.size()))


def _parameters(field: str, value: Iterable[Parameter]) -> tuple[Parameter, ...]:
    parameters = tuple(value)
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"expected {field} to hold qiskit Parameters, got {type(parameter).__name__}")
    return parameters


def _renamed(circuit: QuantumCircuit, names: dict[Parameter, Parameter]) -> QuantumCircuit:
    present = set(circuit.parameters)
    # Two steps: a new name may equal an old one that is still in the circuit.
    aside = {old: Parameter(f"_aside{i}") for i, old in enumerate(names) if old in present}
    moved = circuit.assign_parameters(aside)
    return moved.assign_parameters({aside[old]: new for old, new in names.items() if old in present})
