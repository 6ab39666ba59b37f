"""What the builders share: checks of their arguments, the placing of features, entangling patterns."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable

from qiskit.circuit import QuantumCircuit

Pairs = list[tuple[int, int]]

ENTANGLERS: dict[str, Callable[[QuantumCircuit, int, int], object]] = {
    "cx": lambda circuit, a, b: circuit.cx(a, b),
    "cz": lambda circuit, a, b: circuit.cz(a, b),
    "iswap": lambda circuit, a, b: circuit.iswap(a, b),
    "none": lambda circuit, a, b: None,
}
"""Fixed two-qubit gates by name; ``"none"`` is the ablation without entanglement."""

ROTATIONS = ("rx", "ry", "rz")


def whole(name: str, value: int, minimum: int = 1) -> int:
    """``value`` as an int of at least ``minimum``.

    Raises:
        ValueError: If it is not a whole number or too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"expected {name} to be a whole number, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"expected {name} >= {minimum}, got {number}")
    return number


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """``value`` if it is among ``known``.

    Raises:
        ValueError: If it is not, with the known names.
    """
    names = sorted(known)
    if value not in names:
        raise ValueError(f"expected {name} to be one of {', '.join(names)}; got {value!r}")
    return value


def columns(n_features: int, n_qubits: int, per_qubit: int = 1) -> list[list[tuple[int, ...]]]:
    """Which features each qubit takes, column after column.

    Too many features for one column go on in the next; too few repeat over the qubits.

    Returns:
        For each column, for its qubits 0, 1, ..., the (at most ``per_qubit``) feature indices. The last
        column may cover fewer qubits.
    """
    groups = [tuple(range(i, min(i + per_qubit, n_features))) for i in range(0, n_features, per_qubit)]
    if len(groups) <= n_qubits:
        return [[groups[q % len(groups)] for q in range(n_qubits)]]
    return [groups[i : i + n_qubits] for i in range(0, len(groups), n_qubits)]


def separate(circuit: QuantumCircuit, entangler: str = "cz") -> None:
    """Keep two columns of rotations apart: ``RY(a) RY(b)`` on one qubit would be just ``RY(a + b)``.

    A chain of entanglers does it. Where there is none, S does: it turns X and Y into each other, and a column
    of RZ begins with H or RY anyway.
    """
    if circuit.num_qubits > 1 and entangler != "none":
        entangle(circuit, descending(circuit.num_qubits), entangler)
        return
    for qubit in range(circuit.num_qubits):
        circuit.s(qubit)


def entangle(circuit: QuantumCircuit, pairs: Pairs, entangler: str) -> None:
    """Put the named entangler on each pair, in order.

    Raises:
        ValueError: If the name is unknown.
    """
    gate = ENTANGLERS[one_of("entangler", entangler, ENTANGLERS)]
    for a, b in pairs:
        gate(circuit, a, b)


def descending(n_qubits: int) -> Pairs:
    """The chain ``(n-1, n-2), ..., (1, 0)``: with CX, Z on qubit 0 then sees the whole register at once."""
    return [(q + 1, q) for q in reversed(range(n_qubits - 1))]


def ring(n_qubits: int) -> Pairs:
    """The descending chain, closed by ``(0, n-1)`` from three qubits on."""
    return descending(n_qubits) + ([(0, n_qubits - 1)] if n_qubits > 2 else [])


def _linear(n_qubits: int) -> Pairs:
    return [(q, q + 1) for q in range(n_qubits - 1)]


def _circular(n_qubits: int) -> Pairs:
    return ([(n_qubits - 1, 0)] if n_qubits > 2 else []) + _linear(n_qubits)


def _full(n_qubits: int) -> Pairs:
    return [(a, b) for a in range(n_qubits) for b in range(a + 1, n_qubits)]


def _pairwise(n_qubits: int) -> Pairs:
    chain = _linear(n_qubits)
    return chain[::2] + chain[1::2]


ENTANGLEMENTS: dict[str, Callable[[int], Pairs]] = {
    "linear": _linear,
    "reverse_linear": lambda n_qubits: _linear(n_qubits)[::-1],
    "circular": _circular,
    "full": _full,
    "pairwise": _pairwise,
}
"""Which pairs an entangling layer couples; the names and orders are Qiskit's."""


def rotate(circuit: QuantumCircuit, rotation: str, angle: object, qubit: int) -> None:
    """Put RX, RY or RZ by name."""
    getattr(circuit, rotation)(angle, qubit)
