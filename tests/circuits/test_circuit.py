"""ParameterizedCircuit: what it accepts, refuses, binds and composes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.quantum_info import Operator, Statevector

from circuits import ParameterizedCircuit, angle_encoding, hardware_efficient, real_amplitudes


def small() -> ParameterizedCircuit:
    a, b = Parameter("b"), Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.rz(2 * b + a, 1)
    return ParameterizedCircuit(circuit, inputs=(a,), weights=(b,))


def test_bind_goes_by_position_and_not_by_name() -> None:
    bound = small().bind([0.3], [0.5])
    assert bound.data[0].operation.params == [0.3]
    assert float(bound.data[1].operation.params[0]) == pytest.approx(1.3)
    assert not bound.parameters


def test_later_edits_of_the_original_do_not_matter() -> None:
    original = QuantumCircuit(1)
    circuit = ParameterizedCircuit(original)
    original.x(0)
    assert circuit.quantum_circuit.size() == 0


def test_sizes_and_repr() -> None:
    circuit = small()
    assert (circuit.n_qubits, circuit.n_inputs, circuit.n_weights) == (2, 1, 1)
    assert "2 qubits, 1 inputs, 1 weights" in repr(circuit)


def test_pickle_keeps_equality_and_draw_shows_parameters() -> None:
    circuit = small()
    again = pickle.loads(pickle.dumps(circuit))
    assert again == circuit
    assert hash(again) == hash(circuit)
    assert circuit != angle_encoding(2)
    assert "Ry(b)" in str(circuit.draw())


def test_an_unused_parameter_is_allowed() -> None:
    circuit = ParameterizedCircuit(QuantumCircuit(1), inputs=ParameterVector("x", 2))
    assert circuit.n_inputs == 2
    assert circuit.bind([1.0, 2.0]).size() == 0


def _measured() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    return circuit


def _branched() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    return circuit


@pytest.mark.parametrize("circuit", [_measured(), _branched()])
def test_what_is_not_unitary_is_refused_by_name(circuit: QuantumCircuit) -> None:
    with pytest.raises(ValueError, match=r"got the instruction '(measure|if_else)'"):
        ParameterizedCircuit(circuit)


def test_wrong_declarations_are_refused() -> None:
    x = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.rx(x, 0)
    with pytest.raises(ValueError, match=r"neither inputs nor weights: \['x'\]"):
        ParameterizedCircuit(circuit)
    with pytest.raises(ValueError, match="twice"):
        ParameterizedCircuit(circuit, (x,), (x,))
    with pytest.raises(TypeError, match="Parameters, got str"):
        ParameterizedCircuit(circuit, ("x",))
    with pytest.raises(TypeError, match="QuantumCircuit, got int"):
        ParameterizedCircuit(3)
    with pytest.raises(ValueError, match="at least one qubit"):
        ParameterizedCircuit(QuantumCircuit())


@pytest.mark.parametrize(("inputs", "weights"), [([1.0, 2.0], [1.0]), ([1.0], []), ([[1.0]], [1.0])])
def test_bind_refuses_wrong_shapes(inputs: list[float], weights: list[float]) -> None:
    with pytest.raises(ValueError, match="of shape"):
        small().bind(inputs, weights)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bind_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite inputs"):
        small().bind([value], [0.0])


@given(
    n_first=st.integers(1, 3),
    n_second=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_composition_is_the_product_of_the_parts(n_first: int, n_second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = angle_encoding(n_first).compose(real_amplitudes(n_first, n_layers=1))
    second = hardware_efficient(n_second, n_layers=1)
    both = first.compose(second)
    x, v, w = rng.normal(size=n_first), rng.normal(size=first.n_weights), rng.normal(size=second.n_weights)
    expected = QuantumCircuit(max(n_first, n_second))
    expected.compose(first.bind(x, v), range(n_first), inplace=True)
    expected.compose(second.bind((), w), range(n_second), inplace=True)
    assert [p.name for p in both.weights] == [f"w[{i}]" for i in range(len(v) + len(w))]
    assert np.allclose(Operator(both.bind(x, [*v, *w])).data, Operator(expected).data)


def test_composition_merges_features_of_the_same_name() -> None:
    both = angle_encoding(2).compose(angle_encoding(3, rotation="rx"))
    assert [p.name for p in both.inputs] == ["x[0]", "x[1]", "x[2]"]
    x = [0.2, -0.7, 1.1]
    expected = QuantumCircuit(3)
    for qubit in range(2):
        expected.ry(x[qubit], qubit)
    for qubit in range(3):
        expected.rx(x[qubit], qubit)
    assert Statevector(both.bind(x)).equiv(Statevector(expected))


def test_composition_on_chosen_qubits() -> None:
    wide = angle_encoding(1).compose(real_amplitudes(2, n_layers=1), qubits=[2, 0])
    assert wide.n_qubits == 3
    assert [wide.quantum_circuit.find_bit(q).index for q in wide.quantum_circuit.data[1].qubits] == [2]
    for qubits in ([0], [0, 0], [-1, 0]):
        with pytest.raises(ValueError, match="different qubits"):
            angle_encoding(1).compose(real_amplitudes(2), qubits=qubits)
