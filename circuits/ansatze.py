"""Trainable circuits without data; weights are ``ParameterVector("w", K)`` in gate order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit import library as qiskit_library

from circuits._pieces import ENTANGLEMENTS, ENTANGLERS, ROTATIONS, Pairs, entangle, one_of, rotate, whole
from circuits.circuit import ParameterizedCircuit


def hardware_efficient(
    n_qubits: int,
    *,
    n_layers: int = 2,
    rotations: Sequence[str] = ("ry", "rz"),
    entangler: str = "cx",
    entanglement: str = "linear",
) -> ParameterizedCircuit:
    """Rotations on every qubit, entanglers between neighbours, ``n_layers`` times; then rotations again.

    Kandala et al. 2017 (Nature 549, 242; arXiv:1704.05018). ``len(rotations) * n_qubits * (n_layers + 1)``
    weights.

    Args:
        n_qubits: Number of qubits.
        n_layers: Number of entangling layers.
        rotations: Rotations of each qubit in a layer, in order.
        entangler: ``"cx"``, ``"cz"``, ``"iswap"`` or ``"none"``.
        entanglement: linear, reverse_linear, circular, full or pairwise.

    Raises:
        ValueError: If a size is below 1 or a name is unknown.
    """
    n_qubits, n_layers = whole("n_qubits", n_qubits), whole("n_layers", n_layers)
    rotations = _rotations(rotations)
    pairs = ENTANGLEMENTS[one_of("entanglement", entanglement, ENTANGLEMENTS)](n_qubits)
    one_of("entangler", entangler, ENTANGLERS)
    w = ParameterVector("w", len(rotations) * n_qubits * (n_layers + 1))
    weights = iter(w)
    circuit = QuantumCircuit(n_qubits)
    for layer in range(n_layers + 1):
        if layer:
            entangle(circuit, pairs, entangler)
        for rotation in rotations:
            for qubit in range(n_qubits):
                rotate(circuit, rotation, next(weights), qubit)
    return ParameterizedCircuit(circuit, weights=tuple(w))


def efficient_su2(n_qubits: int, *, n_layers: int = 2, entanglement: str = "reverse_linear") -> ParameterizedCircuit:
    """Qiskit's EfficientSU2: RY and RZ on every qubit between layers of CX.

    ``2 n_qubits (n_layers + 1)`` weights.

    Raises:
        ValueError: If a size is below 1 or the entanglement is unknown.
    """
    return _from_library(qiskit_library.efficient_su2, n_qubits, n_layers, entanglement)


def real_amplitudes(n_qubits: int, *, n_layers: int = 2, entanglement: str = "reverse_linear") -> ParameterizedCircuit:
    """Qiskit's RealAmplitudes: RY on every qubit between layers of CX.

    ``n_qubits (n_layers + 1)`` weights.

    Raises:
        ValueError: If a size is below 1 or the entanglement is unknown.
    """
    return _from_library(qiskit_library.real_amplitudes, n_qubits, n_layers, entanglement)


def strongly_entangling(n_qubits: int, *, n_layers: int = 2, entangler: str = "cx") -> ParameterizedCircuit:
    """``RZ RY RZ`` on every qubit, then entanglers from each to the r-th next; r grows by layer.

    Schuld et al. 2020 (Phys. Rev. A 101, 032308; arXiv:1804.00633) with the range
    ``r = l mod (n_qubits - 1) + 1`` of PennyLane's ``StronglyEntanglingLayers``; ``w`` is that template's
    array of shape ``(n_layers, n_qubits, 3)``, flattened.

    Raises:
        ValueError: If a size is below 1 or the entangler is unknown.
    """
    n_qubits, n_layers = whole("n_qubits", n_qubits), whole("n_layers", n_layers)
    one_of("entangler", entangler, ENTANGLERS)
    w = ParameterVector("w", 3 * n_qubits * n_layers)
    weights = iter(w)
    circuit = QuantumCircuit(n_qubits)
    for layer in range(n_layers):
        for qubit in range(n_qubits):
            for rotation in ("rz", "ry", "rz"):
                rotate(circuit, rotation, next(weights), qubit)
        if n_qubits > 1:
            reach = layer % (n_qubits - 1) + 1
            entangle(circuit, [(q, (q + reach) % n_qubits) for q in range(n_qubits)], entangler)
    return ParameterizedCircuit(circuit, weights=tuple(w))


def brickwork(n_qubits: int, *, n_layers: int = 2, entangler: str = "cx") -> ParameterizedCircuit:
    """Two-qubit blocks on the even pairs, then on the odd pairs, in turn.

    The alternating layered ansatz of Cerezo et al. 2021 (Nat. Commun. 12, 1791; arXiv:2001.00550). A block is
    RY and RZ on both qubits, then the entangler; two qubits have one pair, which every layer uses.

    Raises:
        ValueError: If ``n_qubits`` is below 2, ``n_layers`` below 1 or the entangler unknown.
    """
    n_qubits, n_layers = whole("n_qubits", n_qubits, minimum=2), whole("n_layers", n_layers)
    one_of("entangler", entangler, ENTANGLERS)
    starts = [layer % 2 if n_qubits > 2 else 0 for layer in range(n_layers)]
    pairs = [(q, q + 1) for start in starts for q in range(start, n_qubits - 1, 2)]
    w = ParameterVector("w", 4 * len(pairs))
    weights = iter(w)
    circuit = QuantumCircuit(n_qubits)
    for pair in pairs:
        for qubit in pair:
            circuit.ry(next(weights), qubit)
            circuit.rz(next(weights), qubit)
        entangle(circuit, [pair], entangler)
    return ParameterizedCircuit(circuit, weights=tuple(w))


def tree_tensor(n_qubits: int, *, n_layers: int = 1, rotations: Sequence[str] = ("ry",)) -> ParameterizedCircuit:
    """A tree tensor network: neighbours are joined pair by pair until one qubit is left. Read qubit 0.

    Grant et al. 2018 (npj Quantum Inf. 4, 65; arXiv:1804.03680). A node turns both qubits and puts a CX
    towards the one that stays; an odd qubit passes to the next level. ``rotations=("ry",)`` is the real tree.
    ``len(rotations) * (2 n_layers (n_qubits - 1) + 1)`` weights.

    Args:
        n_qubits: Number of qubits; need not be a power of two.
        n_layers: How often the block is repeated in each node.
        rotations: Rotations of each qubit in a block, in order.

    Raises:
        ValueError: If a size is below 1 or a rotation is unknown.
    """
    n_qubits, n_layers = whole("n_qubits", n_qubits), whole("n_layers", n_layers)
    rotations = _rotations(rotations)
    w = ParameterVector("w", len(rotations) * (2 * n_layers * (n_qubits - 1) + 1))
    weights = iter(w)
    circuit = QuantumCircuit(n_qubits)
    for pairs in _tree_levels(n_qubits):
        for keep, drop in pairs:
            for _ in range(n_layers):
                for qubit in (keep, drop):
                    for rotation in rotations:
                        rotate(circuit, rotation, next(weights), qubit)
                circuit.cx(drop, keep)
    for rotation in rotations:
        rotate(circuit, rotation, next(weights), 0)
    return ParameterizedCircuit(circuit, weights=tuple(w))


def qcnn(n_qubits: int, *, n_layers: int = 1) -> ParameterizedCircuit:
    """A quantum convolutional network: convolution and pooling until one qubit is left. Read qubit 0.

    Cong et al. 2019 (Nat. Phys. 15, 1273; arXiv:1810.03787). A convolution puts one block
    ``RY RY - CZ - RY RY`` on all even, then all odd neighbours of the qubits still active; the blocks of a
    convolution share their four weights. Pooling drops every second qubit; instead of measuring it, its
    neighbour is turned by RZ(w) if it is 1 and by RX(w) if it is 0 (deferred measurement; the form of Hur et
    al. 2022, arXiv:2108.00661); the pairs of a pooling share their two weights. An odd qubit stays.
    ``(4 n_layers + 2) * ceil(log2(n_qubits))`` weights.

    Args:
        n_qubits: Number of qubits, at least 2; need not be a power of two.
        n_layers: Convolutions before each pooling.

    Raises:
        ValueError: If ``n_qubits`` is below 2 or ``n_layers`` below 1.
    """
    n_qubits, n_layers = whole("n_qubits", n_qubits, minimum=2), whole("n_layers", n_layers)
    levels = _tree_levels(n_qubits)
    w = ParameterVector("w", (4 * n_layers + 2) * len(levels))
    weights = iter(w)
    circuit = QuantumCircuit(n_qubits)
    active = list(range(n_qubits))
    for pairs in levels:
        for _ in range(n_layers):
            _convolve(circuit, active, [next(weights) for _ in range(4)])
        phase, flip = next(weights), next(weights)
        for keep, drop in pairs:
            _pool(circuit, keep, drop, phase, flip)
        active = active[::2]
    return ParameterizedCircuit(circuit, weights=tuple(w))


def _convolve(circuit: QuantumCircuit, active: list[int], weights: list[Parameter]) -> None:
    neighbours = list(pairwise(active))
    for a, b in neighbours[::2] + neighbours[1::2]:
        circuit.ry(weights[0], a)
        circuit.ry(weights[1], b)
        circuit.cz(a, b)
        circuit.ry(weights[2], a)
        circuit.ry(weights[3], b)


def _pool(circuit: QuantumCircuit, keep: int, drop: int, phase: Parameter, flip: Parameter) -> None:
    circuit.crz(phase, drop, keep)
    circuit.x(drop)
    circuit.crx(flip, drop, keep)
    circuit.x(drop)


def _tree_levels(n_qubits: int) -> list[Pairs]:
    """The pairs (kept, dropped) of each level; the qubits left at level l are the multiples of ``2**l``."""
    active, levels = list(range(n_qubits)), []
    while len(active) > 1:
        levels.append(list(zip(active[::2], active[1::2], strict=False)))
        active = active[::2]
    return levels


def _rotations(rotations: Sequence[str]) -> tuple[str, ...]:
    names = (rotations,) if isinstance(rotations, str) else tuple(rotations)
    if not names:
        raise ValueError(f"expected at least one rotation among {', '.join(ROTATIONS)}, got none")
    return tuple(one_of("rotations", name, ROTATIONS) for name in names)


def _from_library(
    build: Callable[..., QuantumCircuit], n_qubits: int, n_layers: int, entanglement: str
) -> ParameterizedCircuit:
    one_of("entanglement", entanglement, ENTANGLEMENTS)
    circuit = build(
        whole("n_qubits", n_qubits),
        reps=whole("n_layers", n_layers),
        entanglement=entanglement,
        parameter_prefix="w",
    )
    # A vector's own elements sort by index, so Qiskit's order is the order of the vector here.
    return ParameterizedCircuit(circuit, weights=tuple(circuit.parameters))
