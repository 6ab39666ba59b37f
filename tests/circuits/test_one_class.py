"""Circuits and observables of the one-class models."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.quantum_info import Statevector, partial_trace, random_statevector
from scipy.linalg import hadamard

from circuits import born_machine, pauli_each, quantum_autoencoder, trash_fidelity, z_strings


@pytest.mark.parametrize(("n_qubits", "n_trash"), [(2, 1), (4, 1), (4, 2), (4, 3)])
def test_the_trash_fidelity_is_an_entry_of_its_reduced_state(n_qubits, n_trash):
    state = random_statevector(2**n_qubits, seed=n_qubits + n_trash)
    (projector,) = trash_fidelity(n_qubits, n_trash)
    kept = list(range(n_qubits - n_trash))
    expected = partial_trace(state, kept).data[0, 0].real
    assert state.expectation_value(projector).real == pytest.approx(expected)
    with pytest.raises(ValueError, match=f"fewer trash qubits than the {n_qubits} qubits"):
        trash_fidelity(n_qubits, n_qubits)


def test_z_strings_are_the_transform_of_the_probabilities():
    state = random_statevector(8, seed=1)
    found = [state.expectation_value(string).real for string in z_strings(3)]
    np.testing.assert_allclose(np.array(found) @ hadamard(8) / 8, state.probabilities())
    with pytest.raises(ValueError, match="at most 16 qubits, got 17"):
        z_strings(17)


def test_bloch_vectors_of_a_product_state_are_those_of_its_qubits():
    state = Statevector.from_label("r+0")  # qubit 0 is the rightmost
    found = np.array([state.expectation_value(pauli).real for pauli in pauli_each(3)]).reshape(3, 3)
    np.testing.assert_allclose(found, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_sizes_and_the_uniform_start():
    circuit = quantum_autoencoder(3, n_layers=2)
    assert (circuit.n_inputs, circuit.n_qubits, circuit.n_weights) == (3, 3, 18)
    machine = born_machine(3, n_layers=2)
    assert (machine.n_inputs, machine.n_weights) == (0, 18)
    bound = machine.quantum_circuit.assign_parameters(dict.fromkeys(machine.weights, 0.0))
    np.testing.assert_allclose(Statevector(bound).probabilities(), 1 / 8)
