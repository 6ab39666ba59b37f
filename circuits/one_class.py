"""Circuits that learn what one class of events looks like: autoencoder, one-class map, Born machine."""

from __future__ import annotations

from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from circuits._pieces import whole
from circuits.ansatze import hardware_efficient
from circuits.circuit import ParameterizedCircuit
from circuits.classifiers import variational
from circuits.encodings import angle_encoding


def quantum_autoencoder(n_features: int, n_qubits: int | None = None, *, n_layers: int = 2) -> ParameterizedCircuit:
    """The encoder half of a quantum autoencoder: angle encoding, then a trained circuit that empties the trash.

    Romero et al. 2017 (Quantum Sci. Technol. 2, 045001; arXiv:1612.02806); for collider events Ngairangbam et al. 2022
    (Phys. Rev. D 105, 095004; arXiv:2112.04958). Read with ``trash_fidelity``: the decoder, which undoes the encoder,
    restores the state exactly where the trash is ``|0...0>``.

    Args:
        n_features: Number of features.
        n_qubits: Number of qubits; ``n_features`` by default.
        n_layers: Entangling layers of the trained circuit.

    Raises:
        ValueError: If a size is below 1.
    """
    encoding = angle_encoding(n_features, n_qubits)
    return variational(encoding, hardware_efficient(encoding.n_qubits, n_layers=n_layers))


def trash_fidelity(n_qubits: int, n_trash: int) -> list[SparsePauliOp]:
    """``|0...0><0...0|`` on the last ``n_trash`` qubits: its expectation is the fidelity of the trash state.

    Raises:
        ValueError: If there is no trash qubit, or no other one.
    """
    n_qubits, n_trash = whole("n_qubits", n_qubits), whole("n_trash", n_trash)
    if n_trash >= n_qubits:
        raise ValueError(f"expected fewer trash qubits than the {n_qubits} qubits, got {n_trash}")
    terms: list[tuple[str, list[int], float]] = [("", [], 1.0)]
    for qubit in range(n_qubits - n_trash, n_qubits):
        terms = [(f"{p}{z}", [*q, *[qubit] * len(z)], c / 2) for p, q, c in terms for z in ("", "Z")]
    return [SparsePauliOp.from_sparse_list(terms, n_qubits)]


def born_machine(n_qubits: int, *, n_layers: int = 3) -> ParameterizedCircuit:
    """A circuit without inputs whose outcomes are the model's samples; weights near 0 make them nearly uniform.

    Liu & Wang 2018 (Phys. Rev. A 98, 062324; arXiv:1804.04168).

    Args:
        n_qubits: Number of qubits: one for each bit of an outcome.
        n_layers: Entangling layers.

    Raises:
        ValueError: If a size is below 1.
    """
    uniform = QuantumCircuit(whole("n_qubits", n_qubits))
    uniform.h(range(n_qubits))
    # RZ first: RY alone would turn |+> towards |0> or |1>, and only then see a phase.
    ansatz = hardware_efficient(n_qubits, n_layers=n_layers, rotations=("rz", "ry"), entanglement="circular")
    return ParameterizedCircuit(uniform).compose(ansatz)
