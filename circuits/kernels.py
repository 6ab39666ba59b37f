"""Overlap circuits: the fidelity ``|<phi(y)|phi(x)>|^2`` of two encoded samples as a measurable number.

Both take any circuit and give one with twice the inputs, first the x sample, then the y sample, named
``x[...]`` and ``y[...]``. Weights are shared by the two halves.
"""

from __future__ import annotations

from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit

from circuits.circuit import ParameterizedCircuit, _renamed


def compute_uncompute(circuit: ParameterizedCircuit) -> ParameterizedCircuit:
    """``U(x)``, then ``U(y)^dagger``: the probability of reading all zeros is the fidelity.

    Havlicek et al. 2019 (Nature 567, 209; arXiv:1804.11326). As deep as two circuits, no extra qubits.

    Args:
        circuit: The encoding U; ``n_inputs`` features.
    """
    first, second, inputs, weights = _halves(circuit)
    result = QuantumCircuit(circuit.n_qubits)
    result.compose(first, inplace=True)
    result.compose(second.inverse(), inplace=True)
    return ParameterizedCircuit(result, inputs, weights)


def swap_test(circuit: ParameterizedCircuit) -> ParameterizedCircuit:
    """The swap test on ``2 n + 1`` qubits: ``<Z_0>`` is the fidelity.

    Buhrman et al. 2001 (Phys. Rev. Lett. 87, 167902; quant-ph/0102001). Qubit 0 is the ancilla, with
    ``P(0) = (1 + fidelity) / 2``; qubits ``1 .. n`` hold the x sample and ``n + 1 .. 2 n`` the y sample.

    Args:
        circuit: The encoding U; ``n_inputs`` features.
    """
    first, second, inputs, weights = _halves(circuit)
    n = circuit.n_qubits
    result = QuantumCircuit(2 * n + 1)
    result.compose(first, range(1, n + 1), inplace=True)
    result.compose(second, range(n + 1, 2 * n + 1), inplace=True)
    result.h(0)
    for qubit in range(1, n + 1):
        result.cswap(0, qubit, qubit + n)
    result.h(0)
    return ParameterizedCircuit(result, inputs, weights)


def _halves(
    circuit: ParameterizedCircuit,
) -> tuple[QuantumCircuit, QuantumCircuit, tuple[Parameter, ...], tuple[Parameter, ...]]:
    x, y = ParameterVector("x", circuit.n_inputs), ParameterVector("y", circuit.n_inputs)
    w = ParameterVector("w", circuit.n_weights)
    weights = dict(zip(circuit.weights, w, strict=True))
    first, second = (
        _renamed(circuit.quantum_circuit, dict(zip(circuit.inputs, names, strict=True)) | weights) for names in (x, y)
    )
    return first, second, (*x, *y), tuple(w)
