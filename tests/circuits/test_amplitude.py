"""Amplitude encoding: the state, the gate's life in Qiskit, and gradients of its angle map."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from qiskit import transpile
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import Operator, Statevector

from circuits import AmplitudeEncodingGate, amplitude_encoding, compute_uncompute, real_amplitudes

VALUES = st.sampled_from([0.0, 0.0, 1.0, -1.0, 1e-150, -1e150]) | st.floats(-10, 10)


@given(st.lists(VALUES, min_size=2, max_size=17))
def test_the_state_is_the_normalised_vector(values: list[float]) -> None:
    x = np.array(values)
    assume(np.abs(x).max() > 1e-160)
    circuit = amplitude_encoding(len(x))
    prepared = Statevector(circuit.bind(x)).data
    assert circuit.n_qubits == int(np.ceil(np.log2(len(x))))
    scaled = x / np.abs(x).max()
    expected = np.zeros(len(prepared))
    expected[: len(x)] = scaled / np.linalg.norm(scaled)
    assert np.allclose(prepared, expected, atol=1e-12)


@given(st.lists(st.floats(-3, 3), min_size=8, max_size=8))
def test_numpy_and_torch_give_the_same_angles(values: list[float]) -> None:
    x = np.array(values)
    assume(x.any())
    gate = AmplitudeEncodingGate([0.0] * 8)
    angles = gate.angle_map(np.stack([x, np.ones(8)]), np)
    assert angles.shape == (2, 7)
    assert np.allclose(gate.angle_map(torch.tensor(np.stack([x, np.ones(8)])), torch).numpy(), angles)


def test_the_sequence_consumes_every_angle_once() -> None:
    for n_qubits in range(1, 6):
        gate = AmplitudeEncodingGate([1.0] * 2**n_qubits)
        names = [name for name, _ in gate.elementary]
        assert names.count("ry") == 2**n_qubits - 1
        assert names.count("cx") == 2**n_qubits - 2


def _torch_state(gate: AmplitudeEncodingGate, values: torch.Tensor) -> torch.Tensor:
    """The prepared amplitudes by plain matrix products, differentiable."""
    n, angles = gate.num_qubits, iter(gate.angle_map(values, torch))
    psi = torch.zeros(2**n, dtype=values.dtype)
    psi[0] = 1.0
    index = torch.arange(2**n)
    for name, qubits in gate.elementary:
        if name == "cx":
            control, target = qubits
            psi = psi[index ^ (((index >> control) & 1) << target)]
        else:
            half = next(angles) / 2
            sign = (2 * ((index >> qubits[0]) & 1) - 1).to(values.dtype)
            psi = torch.cos(half) * psi + sign * torch.sin(half) * psi[index ^ (1 << qubits[0])]
    return psi


@pytest.mark.parametrize(
    "values", [[1.0, -2.0, 0.5, 3.0, -1.0, 0.3, 0.2, -0.7], [1.0, 0.0, 0.0, 2.0, -3.0, 0.0, 0.0, -0.1]]
)
def test_gradients_are_those_of_normalisation(values: list[float]) -> None:
    gate = AmplitudeEncodingGate([0.0] * 8)
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    got = torch.autograd.functional.jacobian(lambda v: _torch_state(gate, v), x)
    want = torch.autograd.functional.jacobian(lambda v: v / v.norm(), x)
    assert torch.allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_stay_finite_where_subtrees_are_zero(dtype: torch.dtype) -> None:
    gate = AmplitudeEncodingGate([0.0] * 8)
    x = torch.zeros(2, 8, dtype=dtype)
    x[0, 0], x[1, 3], x[1, 6] = -2.0, 1.0, 0.5
    x.requires_grad_()
    angles = gate.angle_map(x, torch)
    assert angles.dtype == dtype
    angles.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert x.grad[0, 1] != 0


@pytest.mark.parametrize("xp", [np, torch])
def test_a_row_of_zeros_is_refused(xp: Any) -> None:
    gate = AmplitudeEncodingGate([0.0] * 4)
    with pytest.raises(ValueError, match="non-zero vector"):
        gate.angle_map(xp.asarray([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), xp)
    with pytest.raises(ValueError, match="expected 4 amplitudes, got 2"):
        gate.angle_map(xp.asarray([1.0, 0.0]), xp)


@pytest.mark.parametrize("size", [0, 1, 3, 6])
def test_wrong_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"amplitudes, got {size}"):
        AmplitudeEncodingGate([1.0] * size)


def test_one_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="n_features >= 2, got 1"):
        amplitude_encoding(1)


def test_the_gate_survives_copy_pickle_compose_and_draw() -> None:
    x = [0.5, -1.0, 2.0]
    circuit = amplitude_encoding(3)
    expected = Statevector(circuit.bind(x))
    for twin in (
        copy.deepcopy(circuit.quantum_circuit),
        pickle.loads(pickle.dumps(circuit)).quantum_circuit,
        QuantumCircuit(2).compose(circuit.quantum_circuit),
    ):
        assert isinstance(twin.data[0].operation, AmplitudeEncodingGate)
        assert Statevector(twin.assign_parameters(x)).equiv(expected)
    both = circuit.compose(real_amplitudes(2))
    assert isinstance(both.quantum_circuit.data[0].operation, AmplitudeEncodingGate)
    assert "encoding" in str(circuit.draw()).lower()


def test_binding_part_by_part() -> None:
    x = ParameterVector("x", 4)
    circuit = QuantumCircuit(2)
    circuit.append(AmplitudeEncodingGate(list(x)), [0, 1])
    half = circuit.assign_parameters({x[0]: 1.0, x[2]: -2.0})
    assert half.data[0].operation.definition is None
    full = half.assign_parameters({x[1]: 0.5, x[3]: 0.0})
    assert np.allclose(Statevector(full).data, np.array([1.0, 0.5, -2.0, 0.0]) / np.sqrt(5.25))


def test_bound_gates_transpile() -> None:
    x = [1.0, -2.0, 0.0, 0.5, 3.0]
    bound = amplitude_encoding(5).bind(x)
    lowered = transpile(bound, basis_gates=["rz", "sx", "cx"], optimization_level=1)
    assert set(lowered.count_ops()) <= {"rz", "sx", "cx"}
    assert Statevector(lowered).equiv(Statevector(bound))


def test_inverse_free_and_bound() -> None:
    x = [1.0, -2.0, 0.0, 0.5]
    gate = AmplitudeEncodingGate(x)
    assert np.allclose(Operator(gate.inverse()).data @ Operator(gate).data, np.eye(4))
    assert gate.inverse().inverse() == gate
    overlap = compute_uncompute(amplitude_encoding(4))
    y = [0.3, 0.3, -1.0, 2.0]
    want = (np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y)) ** 2
    assert abs(Statevector(overlap.bind([*x, *y])).data[0]) ** 2 == pytest.approx(want)
