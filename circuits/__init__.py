"""WHAT runs: parameterized circuits and their builders, on Qiskit and numpy alone."""

from circuits.amplitude import AmplitudeEncodingGate
from circuits.ansatze import (
    brickwork,
    efficient_su2,
    hardware_efficient,
    qcnn,
    real_amplitudes,
    strongly_entangling,
    tree_tensor,
)
from circuits.circuit import ParameterizedCircuit
from circuits.classifiers import ANSATZE, CIRCUITS, FEATURE_MAPS, variational
from circuits.encodings import (
    amplitude_encoding,
    angle_encoding,
    data_reuploading,
    dense_angle_encoding,
    hamiltonian_encoding,
    iqp_encoding,
    pauli_feature_map,
    zz_feature_map,
)
from circuits.interop import from_qasm, from_qiskit
from circuits.kernels import compute_uncompute, swap_test
from circuits.observables import parity, pauli_each, projectors, z_each, z_first, z_strings
from circuits.one_class import born_machine, quantum_autoencoder, trash_fidelity
from circuits.qgan import qgan_discriminator, qgan_generator

__all__ = [
    "ANSATZE",
    "CIRCUITS",
    "FEATURE_MAPS",
    "AmplitudeEncodingGate",
    "ParameterizedCircuit",
    "amplitude_encoding",
    "angle_encoding",
    "born_machine",
    "brickwork",
    "compute_uncompute",
    "data_reuploading",
    "dense_angle_encoding",
    "efficient_su2",
    "from_qasm",
    "from_qiskit",
    "hamiltonian_encoding",
    "hardware_efficient",
    "iqp_encoding",
    "parity",
    "pauli_each",
    "pauli_feature_map",
    "projectors",
    "qcnn",
    "qgan_discriminator",
    "qgan_generator",
    "quantum_autoencoder",
    "real_amplitudes",
    "strongly_entangling",
    "swap_test",
    "trash_fidelity",
    "tree_tensor",
    "variational",
    "z_each",
    "z_first",
    "z_strings",
    "zz_feature_map",
]
