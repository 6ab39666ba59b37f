"""From observables to measured bases and back: counts to means with standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import Pauli, PauliList, SparsePauliOp

MAX_MEASURED_QUBITS = 63


class MeasurementPlan:
    """Groups of qubit-wise commuting Paulis, each measured in one basis.

    All observables share the bases, so each bound circuit runs once a basis whatever the number of observables.
    """

    def __init__(self, observables: Sequence[SparsePauliOp]) -> None:
        self.n_qubits = int(observables[0].num_qubits or 0)
        if self.n_qubits > MAX_MEASURED_QUBITS:
            raise ValueError(
                f"expected at most {MAX_MEASURED_QUBITS} measured qubits with shots, got {self.n_qubits}; outcomes are "
                "64-bit numbers here; without shots a matrix product state takes wider circuits"
            )
        self.n_observables = len(observables)
        self.offset = np.zeros(self.n_observables)
        weights: dict[str, np.ndarray] = {}
        for column, observable in enumerate(observables):
            for label, coefficient in observable.simplify().to_list():
                if set(label) == {"I"}:
                    self.offset[column] += coefficient.real
                else:
                    weights.setdefault(label, np.zeros(self.n_observables))[column] += coefficient.real
        self._groups: list[tuple[str, np.ndarray, np.ndarray]] = []
        if weights:
            for group in PauliList(list(weights)).group_qubit_wise_commuting():
                labels = group.to_labels()
                masks = np.array([_support(label) for label in labels], dtype=np.uint64)
                self._groups.append((_common_basis(labels), masks, np.stack([weights[label] for label in labels])))

    @property
    def bases(self) -> tuple[str, ...]:
        """One Pauli label a basis (leftmost letter is the last qubit); none if every observable is constant."""
        return tuple(basis for basis, _, _ in self._groups)

    def values(self, basis: int, outcomes: np.ndarray, eigenvalues: np.ndarray | None = None) -> np.ndarray:
        """What each outcome contributes to each observable.

        Args:
            basis: Index into ``bases``.
            outcomes: Bit patterns, shape ``(U,)``, bit ``q`` is qubit ``q``.
            eigenvalues: What 0 and 1 of each qubit count for, shape ``(n_qubits, 2)``; 1 and -1 by default.

        Returns:
            Shape ``(U, O)``.
        """
        _, masks, weights = self._groups[basis]
        if eigenvalues is None:
            parity = np.bitwise_count(outcomes.astype(np.uint64)[:, None] & masks) & 1
            return (1.0 - 2.0 * parity) @ weights
        product = np.ones((len(outcomes), len(masks)))
        for qubit in range(self.n_qubits):
            measured = eigenvalues[qubit][(outcomes.astype(np.uint64) >> np.uint64(qubit)) & np.uint64(1)]
            product[:, (masks >> np.uint64(qubit)) & np.uint64(1) == 1] *= measured[:, None]
        return product @ weights

    def estimate(
        self, counts: Sequence[Sequence[Mapping[int, int]]], n_rows: int, eigenvalues: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard errors from counts.

        Args:
            counts: ``counts[basis][row]``: outcome -> number of shots.
            n_rows: Number ``M`` of rows.
            eigenvalues: See ``values``.

        Returns:
            Two arrays of shape ``(M, O)``. The error is the sample's: 0 where all shots agree.
        """
        mean = np.tile(self.offset, (n_rows, 1))
        variance = np.zeros((n_rows, self.n_observables))
        for basis, rows in enumerate(counts):
            if not rows:
                continue
            outcomes = np.fromiter(chain.from_iterable(rows), np.uint64)
            shots = np.fromiter(chain.from_iterable(entry.values() for entry in rows), float)[:, None]
            starts = np.cumsum([0, *(len(entry) for entry in rows[:-1])])
            values = self.values(basis, outcomes, eigenvalues)
            total = np.add.reduceat(shots, starts)
            first = np.add.reduceat(shots * values, starts) / total
            second = np.add.reduceat(shots * values**2, starts) / total
            mean += first
            variance += np.maximum(second - first**2, 0) / np.maximum(total - 1, 1)
        return mean, np.sqrt(variance)


@dataclass(frozen=True)
class MeasuredPairs:
    """The entries of a matrix of fidelities that are measured, and how often each."""

    first: np.ndarray
    second: np.ndarray
    repeats: np.ndarray
    symmetric: bool

    def fill(self, matrix: np.ndarray, values: np.ndarray, diagonal: float) -> None:
        """Write the values into the matrix, mirrored with ``diagonal`` if it is symmetric."""
        matrix[self.first, self.second] = values
        if self.symmetric:
            matrix[self.second, self.first] = values
            np.fill_diagonal(matrix, diagonal)


def measured_pairs(shape: tuple[int, ...], symmetric: bool, repeats: np.ndarray | None) -> MeasuredPairs:
    """The pairs to measure: the upper half without the diagonal if symmetric, and where ``repeats`` is not 0.

    Raises:
        ValueError: If ``repeats`` has another shape, or is no array of whole numbers from 0.
    """
    first, second = np.triu_indices(shape[0], 1) if symmetric else np.indices(shape).reshape(2, -1)
    if repeats is None:
        return MeasuredPairs(first, second, np.ones(len(first), dtype=np.int64), symmetric)
    repeats = np.asarray(repeats)
    if repeats.shape != tuple(shape) or repeats.dtype.kind not in "iu" or (repeats < 0).any():
        raise ValueError(
            f"expected repeats of shape {tuple(shape)} as whole numbers from 0, "
            f"got {repeats.dtype} of shape {repeats.shape}"
        )
    chosen = repeats[first, second]
    kept = chosen > 0
    return MeasuredPairs(first[kept], second[kept], chosen[kept].astype(np.int64), symmetric)


def basis_change(basis: str) -> QuantumCircuit:
    """The rotations that turn a measurement in ``basis`` into one of the computational basis."""
    circuit = QuantumCircuit(len(basis))
    for qubit, letter in enumerate(reversed(basis)):
        if letter == "Y":
            circuit.sdg(qubit)
        if letter in "XY":
            circuit.h(qubit)
    return circuit


def _support(label: str) -> int:
    pauli = Pauli(label)
    return sum(1 << int(q) for q in np.flatnonzero(pauli.x | pauli.z))


def _common_basis(labels: Sequence[str]) -> str:
    letters = (next((c for c in column if c != "I"), "Z") for column in zip(*labels, strict=True))
    return "".join(letters)
