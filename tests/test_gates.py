"""The generators: matrices as Qiskit's, shift rules as the derivative."""

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import random_hermitian, random_statevector
from scipy.linalg import expm

from qworkbench.gates import GENERATORS, shift_rule

ANGLES = [-2.3, 0.0, 0.4, 3.0, 7.1]


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("angle", ANGLES)
def test_the_exponential_of_the_generator_is_qiskits_gate(name, angle):
    n_qubits = len(GENERATORS[name]).bit_length() - 1
    circuit = QuantumCircuit(n_qubits)
    getattr(circuit, name)(angle, *range(n_qubits))
    expected = circuit.data[0].operation.to_matrix()
    assert np.allclose(expm(-1j * angle * GENERATORS[name]), expected, atol=1e-12)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_shift_rule_is_the_derivative(name):
    generator = GENERATORS[name]
    state = random_statevector(len(generator), seed=3).data
    observable = random_hermitian(len(generator), seed=4).data

    def value(angle):
        turned = expm(-1j * angle * generator) @ state
        return np.real(turned.conj() @ observable @ turned)

    for angle in ANGLES:
        shifted = sum(c * value(angle + s) for s, c in shift_rule(name))
        assert shifted == pytest.approx((value(angle + 1e-5) - value(angle - 1e-5)) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_rule_has_two_terms_or_four_and_no_constant_part(name):
    rule = shift_rule(name)
    assert len(rule) == (4 if name in ("crx", "cry", "crz") else 2)
    assert sum(c for _, c in rule) == pytest.approx(0, abs=1e-12)
    period = 4 * np.pi if len(rule) == 4 else 2 * np.pi
    assert all(abs(s) <= period / 2 + 1e-12 for s, _ in rule)


def test_a_gate_without_a_rule_is_refused_by_name():
    with pytest.raises(ValueError, match="'rv'"):
        shift_rule("rv")
