"""A slow, obvious simulator: whole matrices from Kronecker products. The oracle of the tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from qiskit.circuit import Barrier, Delay, Instruction, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from circuits import ParameterizedCircuit


def embed(matrix: np.ndarray, qubits: Sequence[int], n_qubits: int) -> np.ndarray:
    """A gate as a ``(2**n, 2**n)`` matrix: the sum over its entries of Kronecker products of ``|a><b|``."""
    result = np.zeros((2**n_qubits, 2**n_qubits), complex)
    for row in range(len(matrix)):
        for column in range(len(matrix)):
            factors = [np.eye(2)] * n_qubits
            for k, qubit in enumerate(qubits):
                unit = np.zeros((2, 2))
                unit[(row >> k) & 1, (column >> k) & 1] = 1
                factors[n_qubits - 1 - qubit] = unit
            product: np.ndarray = np.ones((1, 1))
            for factor in factors:
                product = np.kron(product, factor)
            result += matrix[row, column] * product
    return result


def state(circuit: QuantumCircuit) -> np.ndarray:
    """The state of a bound circuit, shape ``(2**n,)``."""
    vector = np.zeros(2**circuit.num_qubits, complex)
    vector[0] = 1
    return _evolved(circuit, vector)


def _evolved(circuit: QuantumCircuit, array: np.ndarray) -> np.ndarray:
    """The circuit's unitary on a state vector or on the columns of a matrix."""
    array = array * np.exp(1j * float(circuit.global_phase))
    for instruction in circuit.data:
        if not isinstance(instruction.operation, Barrier | Delay):
            qubits = [circuit.find_bit(q).index for q in instruction.qubits]
            array = embed(_matrix(instruction.operation), qubits, circuit.num_qubits) @ array
    return array


def _matrix(operation: Instruction) -> np.ndarray:
    # A Trotterised evolution is what its definition says: that runs on hardware, not the exact exponential.
    definition = None if hasattr(operation, "__array__") else getattr(operation, "definition", None)
    if definition is None:
        return np.asarray(operation.to_matrix())
    return _evolved(definition, np.eye(2**definition.num_qubits, dtype=complex))


def expectation(
    circuit: ParameterizedCircuit, observables: Sequence[SparsePauliOp], inputs: ArrayLike, weights: ArrayLike
) -> np.ndarray:
    """Expectation values of shape ``(N, O)`` for inputs of shape ``(N, n_inputs)``."""
    rows = []
    for sample in np.asarray(inputs, float):
        vector = state(circuit.bind(sample, weights))
        rows.append([np.real(vector.conj() @ o.to_matrix() @ vector) for o in observables])
    return np.array(rows, float).reshape(len(rows), len(observables))


def gradient(
    circuit: ParameterizedCircuit,
    observables: Sequence[SparsePauliOp],
    inputs: ArrayLike,
    weights: ArrayLike,
    step: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of the expectation values.

    Returns:
        With respect to inputs, shape ``(N, O, n_inputs)``, and to weights, shape ``(N, O, n_weights)``.
    """
    x, w = np.asarray(inputs, float), np.asarray(weights, float)

    def slope(dx: np.ndarray, dw: np.ndarray) -> np.ndarray:
        up = expectation(circuit, observables, x + dx, w + dw)
        return (up - expectation(circuit, observables, x - dx, w - dw)) / (2 * step)

    by_input = [slope(step * unit[None], 0 * w) for unit in np.eye(circuit.n_inputs)]
    by_weight = [slope(0 * x, step * unit) for unit in np.eye(circuit.n_weights)]
    shape = (len(x), len(observables), 0)
    return tuple(np.stack(g, -1) if g else np.zeros(shape) for g in (by_input, by_weight))  # type: ignore[return-value]
