"""A lowered circuit as a short table of passes over the state, made once a circuit.

- ``product``: the first rotations of each qubit act on ``|0>``, so they make a product state.
- ``one``: a run of gates on one qubit, merged into one 2 x 2 matrix.
- ``phase``: everything diagonal and every CX / X / SWAP network between two rounds of rotations, as one phase and one
  reordering. A diagonal gate that follows a reordering is carried in front of it, so that for instance the
  ``CX P CX`` of a ZZ feature map turns into a phase on a pair of qubits.
- ``many``: any other gate, with the rotations in front of it on the same qubits, as one dense small matrix.

A diagonal gate is kept as a sum of products of Z on at most two qubits: ``exp(-i sum_m a_m Z_m)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qworkbench.gates import GENERATORS
from qworkbench.lowering import LoweredCircuit, LoweredGate

Masks = dict[int, float]
"""Bit mask of a product of Zs -> coefficient."""


@dataclass(frozen=True)
class Element:
    """A gate inside a dense pass: fixed, or ``exp(-i w t Q)`` with ``Q**3 = Q`` and ``t`` in ``slot``."""

    matrix: np.ndarray
    """``Q``, or the unitary of a fixed gate; on the qubits of the pass."""
    slot: int = -1
    omega: float = 0.0


@dataclass
class Pass:
    """One sweep over the state."""

    kind: str
    qubits: tuple[int, ...] = ()
    elements: list[Element] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """Of a product: the qubit of each element, ascending."""
    terms: list[tuple[int, int, float]] = field(default_factory=list)
    """Of a phase: ``(mask, slot or -1, coefficient)``; the angle of a mask is the sum over its terms."""
    source: np.ndarray | None = None
    """Of a phase: amplitude ``j`` of the result comes from ``source[j]``; None if nothing moves."""


class Linear:
    """A reordering ``k -> A k xor b`` over bits: what CX, X and SWAP make."""

    def __init__(self, n_qubits: int) -> None:
        self.rows = [1 << q for q in range(n_qubits)]
        self.shift = 0

    def apply(self, gate: LoweredGate) -> None:
        """Append a gate."""
        qubits = gate.qubits
        if gate.name == "x":
            self.shift ^= 1 << qubits[0]
        elif gate.name == "cx":
            self.rows[qubits[1]] ^= self.rows[qubits[0]]
            self.shift ^= ((self.shift >> qubits[0]) & 1) << qubits[1]
        else:
            a, b = qubits
            self.rows[a], self.rows[b] = self.rows[b], self.rows[a]
            bit_a, bit_b = (self.shift >> a) & 1, (self.shift >> b) & 1
            self.shift = self.shift & ~(1 << a) & ~(1 << b) | bit_a << b | bit_b << a

    def pull(self, mask: int) -> tuple[int, float]:
        """The product of Zs before the reordering, with its sign, that equals ``mask`` after it."""
        before, sign = 0, 1.0
        for q, row in enumerate(self.rows):
            if (mask >> q) & 1:
                before ^= row
                sign *= -1.0 if (self.shift >> q) & 1 else 1.0
        return before, sign

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return self.shift == 0 and self.rows == [1 << q for q in range(len(self.rows))]

    def source(self) -> np.ndarray:
        """For each amplitude after the reordering, where it was before."""
        n_qubits = len(self.rows)
        target = np.full(1, self.shift, dtype=np.int64)
        for q in range(n_qubits):
            column = sum(((self.rows[r] >> q) & 1) << r for r in range(n_qubits))
            target = np.concatenate([target, target ^ column])
        source = np.empty_like(target)
        source[target] = np.arange(2**n_qubits)
        return source


def z_masks(gate: LoweredGate) -> tuple[int, list[tuple[int, float]]] | None:
    """A diagonal gate as ``exp(-i t sum_m c_m Z_m)``: slot (-1: ``t = 1``) and terms; None if it is not diagonal.

    Only gates on one or two qubits; the constant part is a global phase and left out.
    """
    if len(gate.qubits) > 2:
        return None
    if gate.slot is None:
        matrix = gate.matrix
        if np.count_nonzero(matrix - np.diag(np.diag(matrix))):
            return None
        energies = -np.angle(np.diag(matrix))
    else:
        generator = GENERATORS[gate.name]
        if np.count_nonzero(generator - np.diag(np.diag(generator))):
            return None
        energies = np.real(np.diag(generator))
    terms = []
    for local in range(1, len(energies)):
        signs = 1.0 - 2.0 * (np.bitwise_count(np.arange(len(energies)) & local) & 1)
        coefficient = float(np.mean(energies * signs))
        if abs(coefficient) > 1e-15:
            terms.append((sum(1 << q for k, q in enumerate(gate.qubits) if (local >> k) & 1), coefficient))
    return (-1 if gate.slot is None else gate.slot), terms


def compile_passes(circuit: LoweredCircuit) -> list[Pass]:
    """The passes of a circuit; the first is always ``product``."""
    scheduler = _Scheduler(circuit.n_qubits)
    for gate in circuit.gates:
        scheduler.add(gate)
    scheduler.flush()
    return [scheduler.product(), *scheduler.passes]


class _Scheduler:
    """Gates are gathered in two stages, rotations first and one phase after them, and written out when they must be."""

    def __init__(self, n_qubits: int) -> None:
        self._n_qubits = n_qubits
        self.passes: list[Pass] = []
        self._first: dict[int, list[Element]] = {}
        self._fresh = set(range(n_qubits))
        self._rotations: dict[int, list[Element]] = {}
        self._clear_phase()

    def _clear_phase(self) -> None:
        self._terms: list[tuple[int, int, float]] = []
        self._linear = Linear(self._n_qubits)
        self._touched: set[int] = set()

    def add(self, gate: LoweredGate) -> None:
        diagonal = z_masks(gate)
        if len(gate.qubits) == 1 and not (diagonal or gate.name == "x"):
            self._rotate(gate)
        elif len(gate.qubits) == 1 and diagonal and self._is_complex(gate.qubits[0]):
            self._rotations[gate.qubits[0]].append(_element(gate))
        elif diagonal:
            self._phase(gate, *diagonal)
        elif gate.slot is None and gate.name in ("x", "cx", "swap"):
            self._linear.apply(gate)
            self._touched.update(gate.qubits)
        else:
            self._dense(gate)

    def _is_complex(self, qubit: int) -> bool:
        """Whether a diagonal gate costs nothing more inside the qubit's rotation."""
        run = self._rotations.get(qubit)
        return bool(run) and qubit not in self._touched and not all(is_real(e) for e in run or [])

    def _rotate(self, gate: LoweredGate) -> None:
        (qubit,) = gate.qubits
        if qubit in self._touched:
            self.flush()
        self._rotations.setdefault(qubit, []).append(_element(gate))

    def _phase(self, gate: LoweredGate, slot: int, terms: list[tuple[int, float]]) -> None:
        pulled = [(*self._linear.pull(mask), coefficient) for mask, coefficient in terms]
        if any(before.bit_count() > 2 for before, _, _ in pulled):
            self.flush()
            pulled = [(mask, 1.0, coefficient) for mask, coefficient in terms]
        self._terms += [(before, slot, sign * coefficient) for before, sign, coefficient in pulled]
        self._touched.update(gate.qubits)
        for before, _, _ in pulled:
            self._touched.update(q for q in range(self._n_qubits) if (before >> q) & 1)

    def _dense(self, gate: LoweredGate) -> None:
        if self._touched & set(gate.qubits):
            self.flush()
        elements: list[Element] = []
        for local, qubit in enumerate(gate.qubits):
            run = self._rotations.pop(qubit, [])
            if qubit in self._fresh:
                self._first[qubit], run = run, []
            for element in run:
                matrix = _embed(element.matrix, (local,), len(gate.qubits))
                elements.append(Element(matrix, element.slot, element.omega))
        self._fresh -= set(gate.qubits)
        last = self.passes[-1] if self.passes else None
        new = _element(gate)
        if last is not None and last.kind == "many" and set(last.qubits) == set(gate.qubits) and len(gate.qubits) == 2:
            order = tuple(last.qubits.index(q) for q in gate.qubits)
            last.elements += [Element(_permuted(e.matrix, order), e.slot, e.omega) for e in [*elements, new]]
        else:
            self.passes.append(Pass("many", gate.qubits, [*elements, new]))

    def product(self) -> Pass:
        """The rotations that met a qubit in ``|0>``."""
        first = [(qubit, element) for qubit, run in sorted(self._first.items()) for element in run]
        return Pass("product", elements=[e for _, e in first], owners=[q for q, _ in first])

    def flush(self) -> None:
        """Write out both stages."""
        for qubit, run in sorted(self._rotations.items()):
            if qubit in self._fresh:
                self._first[qubit] = run
            else:
                self.passes.append(Pass("one", (qubit,), run))
        self._fresh -= self._rotations.keys() | self._touched
        self._rotations = {}
        if self._terms or not self._linear.is_identity:
            source = None if self._linear.is_identity else self._linear.source()
            self.passes.append(Pass("phase", terms=self._terms, source=source))
        self._clear_phase()


def is_real(element: Element) -> bool:
    """Whether the element's unitary is real: then the real and imaginary parts of the state do not mix."""
    if element.slot < 0:
        return not np.iscomplex(element.matrix).any()
    return not np.real(element.matrix).any()


def _element(gate: LoweredGate) -> Element:
    if gate.slot is None:
        return Element(gate.matrix)
    generator = GENERATORS[gate.name]
    omega = float(np.abs(np.linalg.eigvalsh(generator)).max())
    return Element(generator / omega, gate.slot, omega)


def _embed(matrix: np.ndarray, places: tuple[int, ...], width: int) -> np.ndarray:
    """A one-qubit matrix on qubit ``places[0]`` of ``width``."""
    result = np.ones((1, 1), complex)
    for q in reversed(range(width)):
        result = np.kron(result, matrix if q == places[0] else np.eye(2))
    return result


def _permuted(matrix: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """A two-qubit matrix with its qubits renumbered: qubit ``k`` becomes ``order[k]``."""
    if order == (0, 1):
        return matrix
    swap = np.array([0, 2, 1, 3])
    return matrix[np.ix_(swap, swap)]
