"""Observables that read a circuit out, as lists of Pauli sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qiskit.quantum_info import PauliList, SparsePauliOp

from circuits._pieces import whole

MAX_TERMS = 2**16


def z_each(n_qubits: int) -> list[SparsePauliOp]:
    """``Z_0, Z_1, ...``: one number for each qubit."""
    n_qubits = whole("n_qubits", n_qubits)
    return [SparsePauliOp.from_sparse_list([("Z", [q], 1.0)], n_qubits) for q in range(n_qubits)]


def z_first(n_qubits: int) -> list[SparsePauliOp]:
    """``Z_0`` alone."""
    return [SparsePauliOp.from_sparse_list([("Z", [0], 1.0)], whole("n_qubits", n_qubits))]


def parity(n_qubits: int) -> list[SparsePauliOp]:
    """``Z Z ... Z``: +1 for an even number of ones, -1 for an odd one."""
    return [SparsePauliOp("Z" * whole("n_qubits", n_qubits))]


def projectors(n_qubits: int, bitstrings: Sequence[str] | None = None) -> list[SparsePauliOp]:
    """``|b><b| = prod_q (1 + (-1)^{b_q} Z_q) / 2`` for each bit string: its expectation is a probability.

    Args:
        n_qubits: Number of qubits.
        bitstrings: Basis states in Qiskit's order (qubit 0 is the rightmost bit); all of them by default.

    Raises:
        ValueError: If a bit string does not fit, or the sums would have more than 65,536 terms in all.
    """
    n_qubits = whole("n_qubits", n_qubits)
    n_states = 2**n_qubits if bitstrings is None else len(bitstrings)
    if n_states * 2**n_qubits > MAX_TERMS:
        raise ValueError(
            f"expected at most {MAX_TERMS:,} Pauli terms, got {n_states:,} projectors of 2**{n_qubits} "
            "terms each; name fewer bitstrings or read fewer qubits"
        )
    wanted = [f"{k:0{n_qubits}b}" for k in range(n_states)] if bitstrings is None else list(bitstrings)
    for bits in wanted:
        if len(bits) != n_qubits or set(bits) - {"0", "1"}:
            raise ValueError(f"expected bit strings of {n_qubits} zeros and ones, got {bits!r}")
    masks = np.arange(2**n_qubits)
    z = (masks[:, None] >> np.arange(n_qubits)) & 1 == 1
    paulis = PauliList.from_symplectic(z, np.zeros_like(z))
    return [
        SparsePauliOp(paulis, np.where(np.bitwise_count(masks & int(bits, 2)) % 2, -1.0, 1.0) / 2**n_qubits)
        for bits in wanted
    ]


def pauli_each(n_qubits: int) -> list[SparsePauliOp]:
    """X, Y and Z of each qubit: its Bloch vector, three numbers a qubit, measured in three bases."""
    n_qubits = whole("n_qubits", n_qubits)
    return [SparsePauliOp.from_sparse_list([(p, [q], 1.0)], n_qubits) for q in range(n_qubits) for p in "XYZ"]


def z_strings(n_qubits: int) -> list[SparsePauliOp]:
    """All ``2**n`` products of Z, the identity first: string k has Z where the bits of k are 1.

    Their expectation values are the Walsh-Hadamard transform of the outcomes' probabilities, and all are measured at
    once.

    Raises:
        ValueError: If there would be more than 65,536.
    """
    n_qubits = whole("n_qubits", n_qubits)
    if 2**n_qubits > MAX_TERMS:
        raise ValueError(f"expected at most {MAX_TERMS.bit_length() - 1} qubits, got {n_qubits}")
    z = (np.arange(2**n_qubits)[:, None] >> np.arange(n_qubits)) & 1 == 1
    return [SparsePauliOp(pauli) for pauli in PauliList.from_symplectic(z, np.zeros_like(z))]
