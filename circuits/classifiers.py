"""Whole circuits by name: what models look up. A new method is a row in a table."""

from __future__ import annotations

from collections.abc import Callable

from qiskit.circuit import QuantumCircuit

from circuits import ansatze, encodings
from circuits.circuit import ParameterizedCircuit

CircuitBuilder = Callable[[int, int | None, int], ParameterizedCircuit]
"""``(n_features, n_qubits or None, n_layers)`` to a circuit."""
AnsatzBuilder = Callable[[int, int], ParameterizedCircuit]
"""``(n_qubits, n_layers)`` to a circuit without inputs."""


def variational(encoding: ParameterizedCircuit, ansatz: ParameterizedCircuit) -> ParameterizedCircuit:
    """Encode, then transform: the circuit of a variational model.

    Args:
        encoding: A circuit with inputs; it may have weights too.
        ansatz: A circuit of the same width without inputs.

    Raises:
        ValueError: If the encoding has no inputs, the ansatz has some, or the ansatz is the narrower one.
    """
    if encoding.n_inputs == 0 or ansatz.n_inputs:
        raise ValueError(
            "expected an encoding with inputs and an ansatz without, "
            f"got {encoding.n_inputs} and {ansatz.n_inputs} inputs"
        )
    if ansatz.n_qubits < encoding.n_qubits:
        raise ValueError(f"expected an ansatz on all {encoding.n_qubits} qubits of the encoding, got {ansatz.n_qubits}")
    return encoding.compose(ansatz)


def _amplitude(n_features: int, n_qubits: int | None, n_layers: int) -> ParameterizedCircuit:
    """Amplitude encoding on the lowest qubits; it has no layers, so ``n_layers`` does not matter."""
    encoded = encodings.amplitude_encoding(n_features)
    if n_qubits is None or n_qubits == encoded.n_qubits:
        return encoded
    if n_qubits < encoded.n_qubits:
        raise ValueError(f"expected n_qubits >= {encoded.n_qubits} to hold {n_features} amplitudes, got {n_qubits}")
    wide = ParameterizedCircuit(QuantumCircuit(n_qubits))
    return wide.compose(encoded)


FEATURE_MAPS: dict[str, CircuitBuilder] = {
    "amplitude": _amplitude,
    "angle": lambda f, q, layers: encodings.angle_encoding(f, q, n_layers=layers),
    "dense_angle": lambda f, q, layers: encodings.dense_angle_encoding(f, q, n_layers=layers),
    "hamiltonian": lambda f, q, layers: encodings.hamiltonian_encoding(f, q, n_trotter=layers),
    "iqp": lambda f, q, layers: encodings.iqp_encoding(f, q, n_layers=layers),
    "pauli": lambda f, q, layers: encodings.pauli_feature_map(f, q, paulis=("Z", "YY"), n_layers=layers),
    "zz": lambda f, q, layers: encodings.zz_feature_map(f, q, n_layers=layers),
}
"""Circuits with inputs only, for kernels and as the first half of a variational circuit."""

ANSATZE: dict[str, AnsatzBuilder] = {
    "brickwork": lambda q, layers: ansatze.brickwork(q, n_layers=layers),
    "efficient_su2": lambda q, layers: ansatze.efficient_su2(q, n_layers=layers),
    "hardware_efficient": lambda q, layers: ansatze.hardware_efficient(q, n_layers=layers),
    "qcnn": lambda q, layers: ansatze.qcnn(q, n_layers=layers),
    "real_amplitudes": lambda q, layers: ansatze.real_amplitudes(q, n_layers=layers),
    "strongly_entangling": lambda q, layers: ansatze.strongly_entangling(q, n_layers=layers),
    "tree_tensor": lambda q, layers: ansatze.tree_tensor(q, n_layers=layers),
}
"""Trainable circuits without inputs."""


def _pair(feature_map: str, ansatz: str, encoding_layers: int = 1) -> CircuitBuilder:
    """The feature map, uploaded ``encoding_layers`` times, then ``n_layers`` of the ansatz."""

    def build(n_features: int, n_qubits: int | None, n_layers: int) -> ParameterizedCircuit:
        encoding = FEATURE_MAPS[feature_map](n_features, n_qubits, encoding_layers)
        return variational(encoding, ANSATZE[ansatz](encoding.n_qubits, n_layers))

    return build


CIRCUITS: dict[str, CircuitBuilder] = {
    "amplitude_strongly_entangling": _pair("amplitude", "strongly_entangling"),
    "angle_brickwork": _pair("angle", "brickwork"),
    "angle_efficient_su2": _pair("angle", "efficient_su2"),
    "angle_hardware_efficient": _pair("angle", "hardware_efficient"),
    "angle_strongly_entangling": _pair("angle", "strongly_entangling"),
    "data_reuploading": lambda f, q, layers: encodings.data_reuploading(f, q, n_layers=layers),
    "dense_angle_hardware_efficient": _pair("dense_angle", "hardware_efficient"),
    "iqp_strongly_entangling": _pair("iqp", "strongly_entangling"),
    "qcnn": _pair("angle", "qcnn"),
    "tree_tensor": _pair("angle", "tree_tensor"),
    "zz_real_amplitudes": _pair("zz", "real_amplitudes", encoding_layers=2),
}
"""Circuits with inputs and weights, for variational models."""
