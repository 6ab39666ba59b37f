"""A lowered circuit as a short table of passes over the state, made once a circuit.

- ``product``: the first rotations of each qubit act on ``|0>``, so they make a product state.
- ``rotate``: runs of gates, each on one qubit and merged into one 2 x 2 matrix.
- ``phase``: everything diagonal and every CX / X / SWAP network between two rounds of rotations, as one phase and one
  reordering. A diagonal gate that follows a reordering is carried in front of it, so that for instance the
  ``CX P CX`` of a ZZ feature map turns into a phase on a pair of qubits.
- ``pair``: a gate that turns pairs of amplitudes: controlled rotations, two-qubit Pauli rotations, Toffoli gates.
- ``dense``: any other gate, which has no angle then, as a small matrix.

A diagonal gate is kept as a sum of products of Z on at most two qubits: ``exp(-i sum_m a_m Z_m)``. Global phases are
left out everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qworkbench.gates import GENERATORS
from qworkbench.lowering import LoweredCircuit, LoweredGate

PAULIS = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
_TOLERANCE = 1e-14


@dataclass(frozen=True)
class Element:
    """A turn ``exp(-i t/2 sigma)`` by the angle ``t`` in ``slot`` about an axis x, y or z; or a fixed 2 x 2 matrix."""

    slot: int = -1
    axis: int = -1
    matrix: np.ndarray | None = None

    @property
    def is_real(self) -> bool:
        """Whether its matrix is real: then the real and imaginary parts of the state do not mix."""
        return self.axis == 1 if self.matrix is None else not np.iscomplex(self.matrix).any()


@dataclass
class Pass:
    """One sweep over the state."""

    kind: str
    qubits: tuple[int, ...] = ()
    """Of a pair or a dense gate, first the least significant."""
    runs: dict[int, list[Element]] = field(default_factory=dict)
    """Of a product or rotations: the elements of each qubit."""
    element: Element = field(default_factory=Element)
    """Of a pair."""
    pairs: tuple[tuple[int, int, int], ...] = ()
    """Of a pair: local amplitudes that play ``|0>`` and ``|1>``, and -1 if the angle counts backwards."""
    matrix: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """Of a dense gate."""
    terms: list[tuple[int, int, float]] = field(default_factory=list)
    """Of a phase: ``(mask, slot or -1, coefficient)``; the angle of a mask is the sum over its terms."""
    move: Linear | None = None
    """Of a phase: the reordering that follows it."""


class Linear:
    """A reordering of amplitudes ``k -> A k xor shift`` over bits: what CX, X and SWAP make."""

    def __init__(self, n_qubits: int) -> None:
        self.columns = [1 << q for q in range(n_qubits)]
        self.shift = 0

    def apply(self, local: Linear, qubits: Sequence[int]) -> None:
        """Append a reordering of some qubits."""
        self.columns = [local.on(column, qubits, 0) for column in self.columns]
        self.shift = local.on(self.shift, qubits, local.shift)

    def on(self, index: int, qubits: Sequence[int], shift: int) -> int:
        """``A`` and ``shift`` on those bits of ``index`` that belong to ``qubits``."""
        result, rest = shift, index
        for local, qubit in enumerate(qubits):
            if (index >> qubit) & 1:
                result ^= self.columns[local]
            rest &= ~(1 << qubit)
        return rest | sum(((result >> local) & 1) << qubit for local, qubit in enumerate(qubits))

    def pull(self, mask: int) -> tuple[int, float]:
        """The product of Zs before the reordering, with its sign, that equals ``mask`` after it."""
        before = sum(((mask & column).bit_count() & 1) << q for q, column in enumerate(self.columns))
        return before, -1.0 if (mask & self.shift).bit_count() & 1 else 1.0

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return self.shift == 0 and self.columns == [1 << q for q in range(len(self.columns))]


def as_linear(gate: LoweredGate) -> Linear | None:
    """A fixed gate as a reordering of its own qubits, or None if it is none."""
    if gate.slot is not None:
        return None
    matrix, n_qubits = gate.matrix, len(gate.qubits)
    target = np.argmax(np.abs(matrix), axis=0)
    if not np.allclose(matrix, np.eye(len(matrix))[:, target], rtol=0, atol=_TOLERANCE):
        return None
    result = Linear(n_qubits)
    result.shift = int(target[0])
    result.columns = [int(target[1 << q]) ^ result.shift for q in range(n_qubits)]
    found = [result.on(k, range(n_qubits), result.shift) for k in range(len(matrix))]
    return result if found == target.tolist() else None


def z_terms(gate: LoweredGate) -> list[tuple[int, int, float]] | None:
    """A diagonal gate as ``exp(-i t sum_m c_m Z_m)``: ``(mask, slot or -1 for t = 1, c)``; None if it is not diagonal.

    Only gates on one or two qubits; the constant part is a global phase and left out.
    """
    if len(gate.qubits) > 2:
        return None
    matrix = gate.matrix if gate.slot is None else GENERATORS[gate.name]
    if np.count_nonzero(matrix - np.diag(np.diag(matrix))):
        return None
    energies = -np.angle(np.diag(matrix)) if gate.slot is None else np.real(np.diag(matrix))
    terms = []
    for local in range(1, len(energies)):
        signs = 1.0 - 2.0 * (np.bitwise_count(np.arange(len(energies)) & local) & 1)
        coefficient = float(np.mean(energies * signs))
        if abs(coefficient) > _TOLERANCE:
            mask = sum(1 << q for k, q in enumerate(gate.qubits) if (local >> k) & 1)
            terms.append((mask, -1 if gate.slot is None else gate.slot, coefficient))
    return terms


def compile_passes(circuit: LoweredCircuit) -> list[Pass]:
    """The passes of a circuit; the first is always ``product``."""
    scheduler = _Scheduler(circuit.n_qubits)
    for gate in circuit.gates:
        scheduler.add(gate)
    scheduler.flush()
    return [Pass("product", runs=scheduler.first), *scheduler.passes]


class _Scheduler:
    """Gates are gathered in two stages, rotations first and one phase after them, and written out when they must be."""

    def __init__(self, n_qubits: int) -> None:
        self._n_qubits = n_qubits
        self.passes: list[Pass] = []
        self.first: dict[int, list[Element]] = {}
        self._fresh = set(range(n_qubits))
        self._rotations: dict[int, list[Element]] = {}
        self._clear_phase()

    def _clear_phase(self) -> None:
        self._terms: list[tuple[int, int, float]] = []
        self._linear = Linear(self._n_qubits)
        self._touched: set[int] = set()

    def add(self, gate: LoweredGate) -> None:
        terms, linear = z_terms(gate), as_linear(gate)
        if linear is not None:
            self._linear.apply(linear, gate.qubits)
            self._touched.update(gate.qubits)
        elif len(gate.qubits) == 1 and (terms is None or self._is_complex(gate.qubits[0])):
            self._rotate(gate)
        elif terms is not None:
            self._phase(gate, terms)
        else:
            self._wide(gate)

    def _is_complex(self, qubit: int) -> bool:
        """Whether a diagonal gate costs nothing more inside the qubit's rotation."""
        run = self._rotations.get(qubit, [])
        return qubit not in self._touched and not all(element.is_real for element in run)

    def _rotate(self, gate: LoweredGate) -> None:
        (qubit,) = gate.qubits
        if qubit in self._touched:
            self.flush()
        self._rotations.setdefault(qubit, []).append(one_qubit_element(gate))

    def _phase(self, gate: LoweredGate, terms: list[tuple[int, int, float]]) -> None:
        pulled = [(*self._linear.pull(mask), slot, c) for mask, slot, c in terms]
        if any(before.bit_count() > 2 for before, *_ in pulled):
            self.flush()
            pulled = [(mask, 1.0, slot, c) for mask, slot, c in terms]
        self._terms += [(before, slot, sign * c) for before, sign, slot, c in pulled]
        self._touched.update(gate.qubits)
        for before, *_ in pulled:
            self._touched.update(q for q in range(self._n_qubits) if (before >> q) & 1)

    def _wide(self, gate: LoweredGate) -> None:
        if self._touched & set(gate.qubits):
            self.flush()
        self._write_rotations(gate.qubits)
        self._fresh -= set(gate.qubits)
        self.passes.append(_pair_pass(gate) or Pass("dense", gate.qubits, matrix=gate.matrix))

    def _write_rotations(self, qubits: Sequence[int]) -> None:
        """Write out the rotations of some qubits; those that meet ``|0>`` go into the product state."""
        runs = {q: self._rotations.pop(q) for q in sorted(qubits) if q in self._rotations}
        self.first |= {q: run for q, run in runs.items() if q in self._fresh}
        rest = {q: run for q, run in runs.items() if q not in self._fresh}
        self._fresh -= runs.keys()
        if rest:
            self.passes.append(Pass("rotate", runs=rest))

    def flush(self) -> None:
        """Write out both stages."""
        self._write_rotations(range(self._n_qubits))
        self._fresh -= self._touched
        if self._terms or not self._linear.is_identity:
            move = None if self._linear.is_identity else self._linear
            self.passes.append(Pass("phase", terms=self._terms, move=move))
        self._clear_phase()


def one_qubit_element(gate: LoweredGate) -> Element:
    """A gate on one qubit; a fixed one is made real if a global phase can do it."""
    if gate.slot is not None:
        return Element(gate.slot, {"rx": 0, "ry": 1, "rz": 2, "p": 2}[gate.name])
    largest = gate.matrix.flat[np.argmax(np.abs(gate.matrix))]
    turned = gate.matrix * (abs(largest) / largest)
    if np.abs(turned.imag).max() < _TOLERANCE:
        turned = turned.real.astype(complex)
    return Element(matrix=turned)


def _pair_pass(gate: LoweredGate) -> Pass | None:
    if gate.slot is None:
        matrix = gate.matrix
        wrong = np.flatnonzero(np.abs(matrix - np.eye(len(matrix))).max(axis=0) > _TOLERANCE)
        if len(wrong) == 1:
            wrong = np.sort([wrong[0], int(wrong[0] == 0)])
        if len(wrong) != 2:
            return None
        element = Element(matrix=matrix[np.ix_(wrong, wrong)])
        return Pass("pair", gate.qubits, element=element, pairs=((int(wrong[0]), int(wrong[1]), 1),))
    generator = GENERATORS[gate.name]
    zeros, ones = np.nonzero(np.triu(generator, 1))
    values = 2 * generator[zeros, ones]
    axis = 0 if np.isrealobj(values) or not np.imag(values).any() else 1
    signs = np.real(values / PAULIS[axis][0, 1])
    known = np.count_nonzero(generator) == 2 * len(values) and np.array_equal(np.abs(signs), np.ones(len(signs)))
    if not known:
        raise ValueError(f"the gate {gate.name!r} has a generator that turns no pairs of amplitudes")
    pairs = tuple((int(i), int(j), int(s)) for i, j, s in zip(zeros, ones, signs, strict=True))
    return Pass("pair", gate.qubits, element=Element(gate.slot, axis), pairs=pairs)
