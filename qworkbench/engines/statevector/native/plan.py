"""Passes and observables as flat arrays: what the compiled walk reads. Made once a circuit, with numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from qiskit.quantum_info import SparsePauliOp

from qworkbench.engines.statevector.passes import PAULIS, Element, Linear, Pass

PRODUCT, ROTATE, PHASE, PAIR, DENSE = range(5)
SPOT_BITS = 12
"""A block of amplitudes has at most this many bits; within it the targets of a move are looked up."""


class Plan(NamedTuple):
    """A circuit as one array of integers and one of floating-point numbers, which compiled functions pass on cheaply.

    ``starts`` says where each operation's record begins in ``code``; ``@`` is a position in ``code``, ``#`` one in
    ``numbers``::

        PRODUCT or ROTATE  kind, runs, any angle?, @run, @run, ...
        run                qubit, elements, per sample?, real?, any angle?, element, ...
        element            axis, row, per sample?, 0; or -1, 0, 0, # if fixed
        PHASE              kind, products, flags (1 per sample, 2 angle), @move or -1, @table, (row, per sample?), ...
        table              (n, n): which product is Z_q Z_p (Z_q if equal), or -1
        move               shift, where each bit goes, where the lowest amplitudes go
        PAIR               kind, @run, places, pairs, place, ..., (zero, one, sign), ...
        DENSE              kind, #, places, size, place, ..., offset, ...

    A *row* is a number ``sum_t coefficient_t angle_t`` whose cosine and sine a pass needs; those of shared angles
    alone are numbered apart from those that differ between samples. A fixed element has its matrix in ``numbers``
    (``a b c d`` real, then imaginary) and then what undoing it does to a Bloch vector, (3, 3).
    """

    starts: np.ndarray
    code: np.ndarray
    numbers: np.ndarray
    most_products: int
    """In one pass."""
    largest_dense: int
    """Rows of the largest matrix of a dense gate, or 0."""


class Rows(NamedTuple):
    """The terms of the rows: ``row[t] += coefficient[t] * angle[slot[t]]``, or ``coefficient[t]`` if the slot is -1."""

    n_shared: int
    n_sampled: int
    row: np.ndarray
    sampled: np.ndarray
    slot: np.ndarray
    coefficient: np.ndarray


class Strings(NamedTuple):
    """Observables as distinct Pauli strings: ``mean = offset + values @ weights``; first come those in ``products``."""

    products: np.ndarray
    """Index of the string ``Z_q Z_p``, flat ``(n, n)``, or -1."""
    others: np.ndarray
    """``(x, z, turns)`` of the rest."""
    weights: np.ndarray
    """Shape ``(strings, O)``."""
    offset: np.ndarray
    move: np.ndarray
    """A reordering before products are read, as in ``Plan``; ``[-1]`` if there is none."""


def absorb_last(passes: Sequence[Pass], strings: Strings) -> tuple[Sequence[Pass], Strings]:
    """Leave out a last phase that only products of Zs follow: they see its reordering and nothing else of it."""
    last = passes[-1]
    if last.kind != "phase" or len(strings.others):
        return passes, strings
    move = np.array([-1] if last.move is None else move_code(last.move), np.int64)
    return passes[:-1], strings._replace(move=move)


def make_strings(observables: Sequence[SparsePauliOp]) -> Strings:
    """Collect equal strings; identities go into the offset."""
    n_qubits = int(observables[0].num_qubits or 0)
    offset = np.zeros(len(observables))
    strings: dict[tuple[int, int, int], np.ndarray] = {}
    for column, observable in enumerate(observables):
        paulis = observable.paulis
        for x, z, phase, factor in zip(paulis.x, paulis.z, paulis.phase, observable.coeffs, strict=True):
            flip, sign = (int(sum(1 << int(q) for q in np.flatnonzero(part))) for part in (x, z))
            # P = (-i)**(phase + number of Ys) Z^z X^x, and X acts first.
            key = (flip, sign, (int(phase) + int(np.count_nonzero(x & z))) % 4)
            if flip == sign == 0:
                offset[column] += factor.real * (-1.0) ** (key[2] // 2)
            else:
                strings.setdefault(key, np.zeros(len(observables)))[column] += factor.real
    simple = [key for key in strings if key[0] == key[2] == 0 and key[1].bit_count() <= 2]
    rest = [key for key in strings if key not in set(simple)]
    weights = np.array([strings[key] for key in [*simple, *rest]]).reshape(len(strings), len(observables))
    others = np.array(rest, np.int64).reshape(-1, 3)
    return Strings(product_table([key[1] for key in simple], n_qubits).ravel(), others, weights, offset, np.array([-1]))


def product_table(masks: Sequence[int], n_qubits: int) -> np.ndarray:
    """``table[q, p]``, ``p <= q``: the index of the mask of ``Z_q Z_p`` (of ``Z_q`` if equal), or -1."""
    table = np.full((n_qubits, n_qubits), -1, np.int64)
    for row, mask in enumerate(masks):
        table[mask.bit_length() - 1, (mask & -mask).bit_length() - 1] = row
    return table


def make_plan(passes: Sequence[Pass], n_shared: int, n_qubits: int) -> tuple[Plan, Rows]:
    """Flatten passes.

    Args:
        passes: Of a circuit.
        n_shared: Slots below this number are shared by the batch.
        n_qubits: Width of the circuit.
    """
    builder = _Builder(n_shared, n_qubits)
    for step in passes:
        builder.starts.append(getattr(builder, step.kind)(step))
    most = max([0, *(len({mask for mask, *_ in step.terms}) for step in passes)])
    largest = max([0, *(len(step.matrix) for step in passes)])
    code, numbers = np.array(builder.code, np.int64), np.array(builder.numbers, np.float64)
    return Plan(np.array(builder.starts, np.int64), code, numbers, most, largest), builder.rows()


class _Builder:
    def __init__(self, n_shared: int, n_qubits: int) -> None:
        self._n_shared, self._n_qubits = n_shared, n_qubits
        self.starts: list[int] = []
        self.code: list[int] = []
        self.numbers: list[float] = []
        self._terms: list[tuple[int, bool, int, float]] = []
        self._counts = [0, 0]
        self._moves: dict[tuple[int, ...], int] = {}

    def _put(self, *integers: int) -> int:
        self.code += integers
        return len(self.code) - len(integers)

    def _put_numbers(self, *arrays: np.ndarray) -> int:
        at = len(self.numbers)
        self.numbers += [float(x) for array in arrays for x in array.flat]
        return at

    def _row(self, terms: Sequence[tuple[int, float]]) -> tuple[int, int]:
        sampled = any(slot >= self._n_shared for slot, _ in terms)
        row = self._counts[sampled]
        self._counts[sampled] += 1
        self._terms += [(row, sampled, slot, coefficient) for slot, coefficient in terms]
        return row, int(sampled)

    def _run(self, qubit: int, elements: Sequence[Element]) -> tuple[int, bool]:
        body: list[int] = []
        for element in elements:
            if element.matrix is None:
                body += (element.axis, *self._row([(element.slot, 0.5)]), 0)
            else:
                m = element.matrix
                body += (-1, 0, 0, self._put_numbers(m.real, m.imag, bloch_matrix(m)))
        real, turns = all(e.is_real for e in elements), any(e.matrix is None for e in elements)
        return self._put(qubit, len(elements), int(any(body[2::4])), int(real), int(turns), *body), turns

    def product(self, step: Pass) -> int:
        runs = [self._run(qubit, step.runs.get(qubit, [])) for qubit in range(self._n_qubits)]
        return self._put(PRODUCT, len(runs), int(any(turns for _, turns in runs)), *(at for at, _ in runs))

    def rotate(self, step: Pass) -> int:
        # Real runs that all samples share stand side by side, so that one sweep does two of them.
        def apart(run: tuple[int, Sequence[Element]]) -> tuple[bool, int]:
            slots = (e.slot for e in run[1] if e.matrix is None)
            return not all(e.is_real for e in run[1]) or any(slot >= self._n_shared for slot in slots), run[0]

        runs = [self._run(qubit, elements) for qubit, elements in sorted(step.runs.items(), key=apart)]
        return self._put(ROTATE, len(runs), int(any(turns for _, turns in runs)), *(at for at, _ in runs))

    def phase(self, step: Pass) -> int:
        masks: dict[int, list[tuple[int, float]]] = {}
        for mask, slot, coefficient in step.terms:
            masks.setdefault(mask, []).append((slot, coefficient))
        rows = [self._row(terms) for terms in masks.values()]
        table = self._put(*product_table(list(masks), self._n_qubits).flat)
        move = -1 if step.move is None else self._move(step.move)
        flags = int(any(sampled for _, sampled in rows)) + 2 * int(any(slot >= 0 for _, slot, _ in step.terms))
        return self._put(PHASE, len(rows), flags, move, table, *(n for row in rows for n in row))

    def _move(self, move: Linear) -> int:
        """The position of a reordering; layers that repeat one share it."""
        key = (move.shift, *move.columns)
        if key not in self._moves:
            self._moves[key] = self._put(*move_code(move))
        return self._moves[key]

    def pair(self, step: Pass) -> int:
        run, _ = self._run(-1, [step.element])
        places, offsets = self._placed(step.qubits)
        pairs = [n for zero, one, sign in step.pairs for n in (offsets[zero], offsets[one], sign)]
        return self._put(PAIR, run, len(places), len(step.pairs), *places, *pairs)

    def dense(self, step: Pass) -> int:
        places, offsets = self._placed(step.qubits)
        numbers = self._put_numbers(step.matrix.real, step.matrix.imag)
        return self._put(DENSE, numbers, len(places), len(offsets), *places, *offsets)

    @staticmethod
    def _placed(qubits: Sequence[int]) -> tuple[list[int], list[int]]:
        """Ascending qubits, and the amplitude of each local index."""
        local = range(2 ** len(qubits))
        return sorted(qubits), [sum(((i >> k) & 1) << q for k, q in enumerate(qubits)) for i in local]

    def rows(self) -> Rows:
        row, sampled, slot, coefficient = list(zip(*self._terms, strict=True)) or [(), (), (), ()]
        return Rows(
            self._counts[0],
            self._counts[1],
            np.array(row, np.int64),
            np.array(sampled, np.bool_),
            np.array(slot, np.int64),
            np.array(coefficient, np.float64),
        )


def move_code(move: Linear) -> list[int]:
    """A reordering as integers: shift, where each bit goes, where the lowest amplitudes go."""
    return [move.shift, *move.columns, *low_targets(move)]


def low_targets(move: Linear) -> list[int]:
    """Where the lowest amplitudes of a block go, apart from the shift."""
    target = [0]
    for column in move.columns[:SPOT_BITS]:
        target += [t ^ column for t in target]
    return target


def bloch_matrix(matrix: np.ndarray) -> np.ndarray:
    """``R`` with ``before = R after`` for the vector ``Im <l|sigma|p>`` around a unitary."""
    turned = np.einsum("ba,kbc,cd->kad", matrix.conj(), PAULIS, matrix)
    return np.asarray(np.real(np.einsum("jab,kba->jk", PAULIS, turned)) / 2)
