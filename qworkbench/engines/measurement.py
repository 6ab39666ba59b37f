"""From observables to measured bases and back: counts to means with standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
