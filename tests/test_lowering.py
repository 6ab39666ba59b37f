"""Lowering: every angle its own slot, on random circuits against two other simulators."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit import (
    AnnotatedOperation,
    ControlModifier,
    Gate,
    InverseModifier,
    Parameter,
    ParameterVector,
    QuantumCircuit,
)
from qiskit.circuit import library as qiskit_library
from qiskit.quantum_info import SparsePauliOp, Statevector

from circuits import ParameterizedCircuit, amplitude_encoding, from_qiskit, strongly_entangling, z_each, zz_feature_map
from qworkbench import reference
from qworkbench.engines.registry import open_engine
from qworkbench.gates import GENERATORS
from qworkbench.layer import QuantumLayer
from qworkbench.lowering import lower
from qworkbench.testing import random_circuit

QUICK = settings(max_examples=15, deadline=None, derandomize=True)


def observables(n_qubits):
    mixed = SparsePauliOp(["X" * n_qubits, "Y" * n_qubits, "I" * n_qubits], [0.5, -0.7, 0.1])
    return [*z_each(n_qubits), mixed]


def values(circuit, inputs, weights, backend="statevector"):
    lowered = lower(circuit)
    program = open_engine(backend).compile(lowered, observables(circuit.n_qubits))
    return program.run(lowered.angles(torch.tensor(inputs), torch.tensor(weights))).mean.numpy()


def numbers(circuit, n_rows=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n_rows, circuit.n_inputs)), rng.uniform(-1, 1, circuit.n_weights)


def by_qiskit(circuit, inputs, weights):
    # Statevector would take the exact exponential of an evolution, hardware and engines its definition.
    states = [Statevector(circuit.bind(row, weights).decompose("PauliEvolution")) for row in inputs]
    return np.array([[np.real(s.expectation_value(o)) for o in observables(circuit.n_qubits)] for s in states])


@QUICK
@given(st.integers(1, 3), st.integers(0, 15), st.integers(0, 2), st.integers(0, 3), st.integers(0, 10**6))
def test_random_circuits_against_the_slow_reference(n_qubits, n_gates, n_inputs, n_weights, seed):
    circuit = random_circuit(n_qubits, n_gates, n_inputs, n_weights, seed)
    inputs, weights = numbers(circuit, seed=seed)
    expected = reference.expectation(circuit, observables(n_qubits), inputs, weights)
    assert np.allclose(values(circuit, inputs, weights), expected, atol=1e-9)


@QUICK
@given(st.integers(3, 5), st.integers(60, 70), st.integers(0, 3), st.integers(0, 4), st.integers(0, 10**6))
def test_random_circuits_of_every_kind_against_qiskit(n_qubits, n_gates, n_inputs, n_weights, seed):
    circuit = random_circuit(n_qubits, n_gates, n_inputs, n_weights, seed)
    inputs, weights = numbers(circuit, seed=seed)
    assert np.allclose(values(circuit, inputs, weights), by_qiskit(circuit, inputs, weights), atol=1e-9)


@pytest.mark.parametrize("backend", ["aer", "pennylane:default.qubit", "pennylane:lightning.qubit"])
def test_random_circuits_on_other_engines(backend):
    for seed in range(2):
        circuit = random_circuit(3, 60, 2, 3, seed)
        inputs, weights = numbers(circuit)
        assert np.allclose(values(circuit, inputs, weights, backend), by_qiskit(circuit, inputs, weights), atol=1e-9)


@QUICK
@given(st.integers(1, 3), st.integers(5, 25), st.integers(0, 10**6))
def test_lowered_angles_are_slots_used_once(n_qubits, n_gates, seed):
    lowered = lower(random_circuit(n_qubits, n_gates, 2, 2, seed))
    slots = [gate.slot for gate in lowered.gates if gate.slot is not None]
    assert sorted(slots) == list(range(lowered.n_shared + lowered.n_per_sample))
    assert all(gate.name in GENERATORS for gate in lowered.gates if gate.slot is not None)
    assert all(gate.matrix.shape == (2 ** len(gate.qubits),) * 2 for gate in lowered.gates if gate.slot is None)


def test_the_zz_map_agrees_with_qiskits():
    circuit = zz_feature_map(3)
    inputs, _ = numbers(circuit, 3)
    theirs = qiskit_library.zz_feature_map(3, reps=2)
    for row, found in zip(inputs, values(circuit, inputs, np.zeros(0)), strict=True):
        bound = theirs.assign_parameters(dict(zip(theirs.parameters, row, strict=True)))
        state = Statevector(bound)
        assert np.allclose(found, [np.real(state.expectation_value(o)) for o in observables(3)])


def test_a_shared_parameter_has_the_full_derivative_where_a_naive_shift_gives_zero():
    x = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.rx(2 * x, 0)
    circuit.rz(0.7, 0)
    circuit.rx(2 * x, 0)
    shared = ParameterizedCircuit(circuit, (x,))
    point = np.array([[0.37]])
    exact = reference.gradient(shared, z_each(1), point, [])[0].item()
    up, down = (reference.expectation(shared, z_each(1), point + s, []).item() for s in (np.pi / 2, -np.pi / 2))
    assert abs((up - down) / 2 - exact) > 0.5
    for backend, gradient in (("statevector", "adjoint"), ("statevector", "parameter-shift"), ("aer", "auto")):
        inputs = torch.tensor(point, requires_grad=True)
        QuantumLayer(shared, z_each(1), backend, gradient=gradient)(inputs).sum().backward()
        assert inputs.grad is not None
        assert inputs.grad.item() == pytest.approx(exact, abs=1e-8)


def test_angles_are_shared_unless_they_depend_on_an_input():
    x, w = ParameterVector("x", 1), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    circuit.rx(w[0], 0)
    circuit.ry(w[1] * x[0], 1)
    circuit.crz(w[0] + w[1], 0, 1)
    lowered = lower(ParameterizedCircuit(circuit, tuple(x), tuple(w)))
    assert (lowered.n_shared, lowered.n_per_sample) == (2, 1)
    assert lowered.slot_gates == ("rx", "crz", "ry")
    angles = lowered.angles(torch.tensor([[2.0], [3.0]]), torch.tensor([0.5, 0.25]))
    assert angles.shared.tolist() == [0.5, 0.75]
    assert angles.per_sample.tolist() == [[0.5], [0.75]]
    assert angles.rows().tolist() == [[0.5, 0.75, 0.5], [0.5, 0.75, 0.75]]


def test_parameters_bind_by_position_not_by_the_alphabet():
    # Qiskit sorts by name: weights a, b before inputs y, z, and x[10] before x[2].
    z, y, b, a = (Parameter(name) for name in "zyba")
    circuit = QuantumCircuit(2)
    circuit.ry(z, 0)
    circuit.ry(y, 1)
    circuit.rx(b, 0)
    circuit.rz(a, 1)
    circuit.cx(0, 1)
    scrambled = ParameterizedCircuit(circuit, (z, y), (b, a))
    inputs, weights = np.array([[0.3, 1.1]]), np.array([0.6, -0.9])
    by_name = circuit.assign_parameters({z: 0.3, y: 1.1, b: 0.6, a: -0.9})
    expected = [np.real(Statevector(by_name).expectation_value(o)) for o in observables(2)]
    for backend in ("statevector", "aer", "pennylane:default.qubit"):
        assert np.allclose(values(scrambled, inputs, weights, backend), [expected])


def test_twelve_features_keep_their_order():
    x = ParameterVector("x", 12)
    circuit = QuantumCircuit(3)
    for k, p in enumerate(x):
        (circuit.ry if k % 2 else circuit.rx)(p, k % 3)
    many = from_qiskit(circuit, inputs="x")
    inputs, weights = numbers(many)
    assert np.allclose(values(many, inputs, weights), by_qiskit(many, inputs, weights))


@pytest.mark.parametrize("backend", ["statevector", "aer", "pennylane:lightning.qubit"])
def test_amplitude_encoding_is_differentiable(backend):
    circuit = amplitude_encoding(4).compose(strongly_entangling(2, n_layers=1))
    layer = QuantumLayer(circuit, observables(2), backend, dtype=torch.float64)
    inputs = torch.tensor([[0.5, -1.0, 0.2, 0.8], [1.0, 0.4, 0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    outputs = layer(inputs)
    weights = layer.weights.detach().numpy()
    expected = by_qiskit(circuit, inputs.detach().numpy(), weights)
    assert np.allclose(outputs.detach().numpy(), expected, atol=1e-9)
    outputs.sum().backward()
    assert inputs.grad is not None
    step = 1e-6
    for k in range(4):
        shift = step * np.eye(4)[k]
        up, down = (by_qiskit(circuit, inputs.detach().numpy() + s * shift, weights) for s in (1, -1))
        assert np.allclose(inputs.grad[:, k].numpy(), (up - down).sum(1) / (2 * step), atol=1e-6)


def test_the_inverse_circuit_undoes_the_circuit():
    circuit = random_circuit(3, 60, 1, 2, seed=4)
    lowered = lower(circuit)
    angles = lowered.angles(torch.tensor([[0.4]], dtype=torch.float64), torch.tensor([0.1, -0.8], dtype=torch.float64))
    row = angles.rows()[0].tolist()
    both = lowered.to_qiskit(row).compose(lowered.to_qiskit(row, inverse=True))
    assert abs(Statevector(both)[0]) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "gate",
    [
        qiskit_library.StatePreparation([0.6, 0, 0.8, 0]),
        qiskit_library.DiagonalGate([1, 1j, -1, 1j]),
        qiskit_library.LinearFunction([[1, 1], [0, 1]]),
        qiskit_library.PermutationGate([2, 0, 1]),
        qiskit_library.QFTGate(4),
        qiskit_library.UnitaryGate(np.eye(16)[::-1]),
        qiskit_library.MCXGate(4),
        qiskit_library.PauliGate("XYZ"),
        AnnotatedOperation(qiskit_library.HGate(), ControlModifier(2)),
        AnnotatedOperation(qiskit_library.RZZGate(0.4), [ControlModifier(3), InverseModifier()]),
    ],
    ids=lambda gate: gate.name,
)
def test_fixed_gates_of_every_library_kind(gate):
    circuit = QuantumCircuit(gate.num_qubits + 1)
    for q in range(gate.num_qubits):
        circuit.ry(0.3 + 0.4 * q, q)
    circuit.append(gate, range(1, gate.num_qubits + 1))
    fixed = ParameterizedCircuit(circuit)
    inputs, weights = np.zeros((1, 0)), np.zeros(0)
    for backend in ("statevector", "aer", "pennylane:default.qubit"):
        assert np.allclose(values(fixed, inputs, weights, backend), by_qiskit(fixed, inputs, weights), atol=1e-9)


def test_an_annotated_gate_with_a_free_angle():
    a = Parameter("a")
    circuit = QuantumCircuit(3)
    circuit.h([0, 1])
    circuit.append(AnnotatedOperation(qiskit_library.RXXGate(2 * a), ControlModifier(1)), [2, 0, 1])
    circuit.x(2)
    circuit.append(AnnotatedOperation(qiskit_library.RXGate(a), ControlModifier(1)), [2, 0])
    annotated = ParameterizedCircuit(circuit, (), (a,))
    inputs, weights = np.zeros((1, 0)), np.array([0.7])
    assert np.allclose(values(annotated, inputs, weights), by_qiskit(annotated, inputs, weights), atol=1e-9)


def test_a_composite_gate_named_like_a_rotation_is_unfolded():
    a = Parameter("a")
    inner = QuantumCircuit(1, name="rz")
    inner.h(0)
    inner.rz(a, 0)
    inner.h(0)
    circuit = QuantumCircuit(1)
    circuit.append(inner.to_gate(), [0])
    named = ParameterizedCircuit(circuit, (), (a,))
    lowered = lower(named)
    assert [gate.name for gate in lowered.gates] == ["h", "rz", "h"]
    weights = np.array([0.8])
    assert np.allclose(values(named, np.zeros((1, 0)), weights), by_qiskit(named, np.zeros((1, 0)), weights))


@pytest.mark.parametrize(
    ("gate", "name"),
    [
        (Gate("mystery", 1, [Parameter("a")]), "mystery"),
        (Gate("rx", 2, [Parameter("a")]), "rx"),
        (Gate("opaque", 2, []), "opaque"),
        (qiskit_library.RVGate(Parameter("a"), 0.1, 0.2), "rv"),
        (qiskit_library.HamiltonianGate(np.diag([1.0, 2.0]), Parameter("a")), "hamiltonian"),
    ],
    ids=["opaque-with-angle", "opaque-rx", "opaque-fixed", "rv", "hamiltonian"],
)
def test_what_has_no_known_derivative_is_refused_by_name(gate, name):
    circuit = QuantumCircuit(2)
    circuit.append(gate, range(gate.num_qubits))
    with pytest.raises(ValueError, match=f"{name!r}"):
        lower(ParameterizedCircuit(circuit, (), tuple(circuit.parameters)))


def test_a_bare_qiskit_circuit_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match="from_qiskit"):
        lower(QuantumCircuit(1))


@pytest.mark.parametrize("name", ["id", "delay", "barrier"])
def test_a_users_gate_is_not_skipped_for_its_name(name):
    inner = QuantumCircuit(1, name=name)
    inner.x(0)
    x = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.append(inner.to_gate(), [0])
    circuit.barrier()
    circuit.ry(x, 0)
    wrapped = ParameterizedCircuit(circuit, (x,))
    layer = QuantumLayer(wrapped, z_each(1), dtype=torch.float64)
    found = layer(torch.tensor([[0.4]], dtype=torch.float64)).item()
    assert found == pytest.approx(-np.cos(0.4), abs=1e-12)
    assert reference.expectation(wrapped, z_each(1), [[0.4]], [])[0, 0] == pytest.approx(found, abs=1e-12)


def test_an_angle_that_qiskit_cannot_express_is_refused_with_a_way_out():
    x = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.ry(2**x, 0)
    with pytest.raises(ValueError, match=r"a\*\*x, as \(x \* log\(a\)\)\.exp\(\)"):
        lower(ParameterizedCircuit(circuit, (x,)))
