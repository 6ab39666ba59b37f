"""Passes against the reference, which knows gates alone: both executors run the same passes and may err alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit.circuit import Gate, ParameterVector, QuantumCircuit
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.quantum_info import SparsePauliOp, random_unitary
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from circuits import ParameterizedCircuit, hardware_efficient
from qworkbench import reference
from qworkbench.engines.registry import open_engine
from qworkbench.engines.statevector import states
from qworkbench.engines.statevector.passes import compile_passes
from qworkbench.gates import GENERATORS
from qworkbench.lowering import Angles, lower
from qworkbench.testing import random_circuit

EXECUTORS = ["statevector", "statevector?executor=torch"]
FIXED = {
    name: gate
    for name, gate in get_standard_gate_name_mapping().items()
    if isinstance(gate, Gate) and not gate.params and gate.num_qubits
} | {f"unitary{n}": UnitaryGate(random_unitary(2**n, seed=n)) for n in (1, 2, 3, 4)}
BOUND = {torch.float64: 1e-11, torch.float32: 2e-5}


def observables(n_qubits: int, seed: int) -> list[SparsePauliOp]:
    """Random sums of Pauli strings, of Zs alone and of all kinds."""
    rng = np.random.default_rng(seed)
    letters = ["IZ", "IXYZ", "IXYZ"]
    return [
        SparsePauliOp(["".join(rng.choice(list(kind), n_qubits)) for _ in range(3)], rng.normal(size=3))
        for kind in letters
    ]


def point(circuit: ParameterizedCircuit, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-2, 2, (n_rows, circuit.n_inputs)), rng.uniform(-2, 2, circuit.n_weights)


def assert_agrees(circuit: ParameterizedCircuit, backend: str, dtype: torch.dtype, n_rows: int, seed: int) -> None:
    """Means, probabilities and fidelities of one executor, with the circuit's split of angles and without any."""
    inputs, weights = point(circuit, n_rows, seed)
    measured, lowered, engine = observables(circuit.n_qubits, seed), lower(circuit), open_engine(backend)
    expected = reference.expectation(circuit, measured, inputs, weights)
    kets = np.array([reference.state(circuit.bind(row, weights)) for row in inputs])
    angles = lowered.angles(torch.tensor(inputs, dtype=dtype), torch.tensor(weights, dtype=dtype))
    for split in (angles, Angles(angles.shared[:0], angles.rows())):
        close(engine.compile(lowered, measured).run(split).mean, expected)
        close(engine.compile_sampler(lowered).probabilities(split).mean, np.abs(kets) ** 2)
        close(engine.compile_overlap(lowered).fidelities(split).mean, np.abs(kets.conj() @ kets.T) ** 2)


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=BOUND[found.dtype])


@pytest.mark.parametrize("backend", EXECUTORS)
@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("n_qubits", [1, 2, 3, 4, 5])
def test_random_circuits_of_every_gate_kind(n_qubits, dtype, backend):
    for seed in range(4):
        assert_agrees(random_circuit(n_qubits, 15 * (seed + 1), 2, 3, seed), backend, dtype, 3, seed)


@pytest.mark.parametrize("backend", EXECUTORS)
@pytest.mark.parametrize("name", GENERATORS)
def test_every_gate_with_an_angle_on_every_order_of_qubits(name, backend):
    """Of a weight and of an input: a part of the batch and a part of each sample."""
    width = len(GENERATORS[name]).bit_length() - 1
    for first in range(3):
        x, w = ParameterVector("x", 4), ParameterVector("w", 1)
        circuit = QuantumCircuit(3)
        for qubit in range(3):
            circuit.u(x[qubit], 0.4, w[0], qubit)
        for angle in (w[0], x[3]):
            getattr(circuit, name)(angle, *[(first + k) % 3 for k in range(width)])
            circuit.ry(0.3, first)
        assert_agrees(ParameterizedCircuit(circuit, tuple(x), tuple(w)), backend, torch.float64, 3, first)


@pytest.mark.parametrize("backend", EXECUTORS)
@pytest.mark.parametrize("name", FIXED)
def test_every_standard_gate_without_an_angle_on_every_order_of_qubits(name, backend):
    gate, x = FIXED[name], ParameterVector("x", 4)
    for first in range(4):
        circuit = QuantumCircuit(4)
        for qubit in range(4):
            circuit.u(x[qubit], 0.4, 1.1, qubit)
        circuit.append(gate, [(first + k) % 4 for k in range(gate.num_qubits)])
        circuit.rx(x[0], first)
        assert_agrees(ParameterizedCircuit(circuit, tuple(x)), backend, torch.float64, 2, first)


@pytest.mark.parametrize("backend", EXECUTORS)
def test_gradients_of_random_circuits(backend):
    for seed in range(3):
        circuit = random_circuit(4, 40, 2, 3, seed)
        inputs, weights = point(circuit, 2, seed)
        measured = observables(4, seed)
        leaves = [torch.tensor(values, requires_grad=True) for values in (inputs, weights)]
        angles = lower(circuit).angles(*leaves)
        cotangent = torch.ones((2, len(measured)), dtype=torch.float64)
        found = (
            open_engine(backend).compile(lower(circuit), measured).vjp(Angles(*(a.detach() for a in angles)), cotangent)
        )
        by_leaf = torch.autograd.grad(angles, leaves, found)
        by_input, by_weight = reference.gradient(circuit, measured, inputs, weights)
        np.testing.assert_allclose(by_leaf[0].numpy(), by_input.sum(1), rtol=0, atol=1e-6)
        np.testing.assert_allclose(by_leaf[1].numpy(), by_weight.sum((0, 1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", EXECUTORS)
def test_an_empty_batch_comes_back_empty(backend):
    lowered, measured = lower(random_circuit(4, 60, 2, 3, 1)), observables(4, 1)
    angles = lowered.angles(torch.ones((0, 2), dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    program = open_engine(backend).compile(lowered, measured)
    gradient = program.vjp(angles, torch.ones((0, 3), dtype=torch.float64))
    assert program.run(angles).mean.shape == (0, 3)
    assert open_engine(backend).compile_sampler(lowered).probabilities(angles).mean.shape == (0, 16)
    assert gradient.per_sample.shape == angles.per_sample.shape
    assert torch.equal(gradient.shared, torch.zeros_like(angles.shared))


@pytest.mark.parametrize("needs", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("backend", EXECUTORS)
def test_only_the_wanted_part_of_a_gradient_comes_back(backend, needs):
    lowered = lower(random_circuit(3, 40, 2, 3, 1))
    angles = lowered.angles(torch.ones((2, 2), dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    program = open_engine(backend).compile(lowered, observables(3, 1))
    cotangent = torch.ones((2, 3), dtype=torch.float64)
    whole, part = program.vjp(angles, cotangent), program.vjp(angles, cotangent, needs)
    for need, everything, found in zip(needs, whole, part, strict=True):
        torch.testing.assert_close(found, everything if need else torch.zeros_like(everything), rtol=0, atol=1e-14)


def test_torch_differentiates_twice():
    lowered = lower(random_circuit(3, 30, 2, 2, 5))
    inputs, weights = (torch.tensor(values, requires_grad=True) for values in point(lowered.circuit, 2, 5))
    engine = open_engine("statevector?executor=torch")
    program, sampler, overlap = (
        engine.compile(lowered, observables(3, 5)),
        engine.compile_sampler(lowered),
        engine.compile_overlap(lowered),
    )

    def everything(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        angles = lowered.angles(x, w)
        parts = program.expectation(angles), sampler.probabilities(angles).mean, overlap.fidelities(angles).mean
        return sum(part.square().sum() for part in parts)

    assert torch.autograd.gradcheck(everything, (inputs, weights))
    assert torch.autograd.gradgradcheck(everything, (inputs, weights))


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of several devices, which some kernels of the device ``meta`` let pass."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        devices = {x.device.type for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        assert len(devices) <= 1, (function, devices)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", BOUND)
def test_every_tensor_of_the_torch_executor_lies_on_the_device_of_the_angles(dtype):
    """No accelerator is at hand; the device ``meta`` computes nothing, but has the same operations and precisions."""
    lowered = lower(random_circuit(4, 60, 2, 3, 2))
    program = open_engine("statevector").compile(lowered, observables(4, 2))
    sampler = open_engine("statevector").compile_sampler(lowered)
    shapes = (lowered.n_shared,), (3, lowered.n_per_sample)
    with OneDevice():
        angles = Angles(*(torch.zeros(shape, dtype=dtype, device="meta") for shape in shapes))
        mean, probabilities = program.run(angles).mean, sampler.probabilities(angles).mean
        gradient = program.vjp(angles, torch.zeros_like(mean))
    for found, shape in zip((mean, probabilities, *gradient), ((3, 3), (3, 16), *shapes), strict=True):
        assert (found.device.type, found.dtype, tuple(found.shape)) == ("meta", dtype, shape)


def test_single_precision_is_as_good_as_its_angles():
    """The whole road, sums over amplitudes included, loses no more than an angle rounded to single precision."""
    circuit = hardware_efficient(10, n_layers=3)
    lowered, (_, weights) = lower(circuit), point(circuit, 1, 0)
    program = open_engine("statevector?executor=torch").compile(lowered, observables(10, 0))
    means = [
        program.run(Angles(torch.tensor(weights, dtype=dtype), torch.zeros((1, 0), dtype=dtype))).mean.double()
        for dtype in BOUND
    ]
    torch.testing.assert_close(*means, rtol=0, atol=2e-6)


@pytest.mark.parametrize("backend", EXECUTORS)
def test_a_large_angle_takes_no_digits_from_the_others(backend):
    x, circuit = ParameterVector("x", 3), QuantumCircuit(3)
    circuit.h(range(3))
    for qubit in range(3):
        circuit.rz(x[qubit], qubit)
    circuit.rzz(x[0], 0, 2)
    circuit.rx(1.1, range(3))
    circuit, measured = ParameterizedCircuit(circuit, tuple(x)), observables(3, 0)
    inputs = np.array([[1e14, 0.3, -0.7]])
    expected = reference.expectation(circuit, measured, inputs, [])
    angles = lower(circuit).angles(torch.tensor(inputs), torch.zeros(0, dtype=torch.float64))
    close(open_engine(backend).compile(lower(circuit), measured).run(angles).mean, expected)


def test_what_is_small_counts_towards_the_size_of_a_piece(monkeypatch):
    """Many gates on one qubit: matrices of the samples outweigh their states."""
    x = ParameterVector("x", 1)
    circuit = QuantumCircuit(1)
    for _ in range(100):
        circuit.rx(x[0], 0)
        circuit.rz(x[0], 0)
    passes = compile_passes(lower(ParameterizedCircuit(circuit, tuple(x))))
    simulator = states.StateSimulator(passes, 1, 0)
    monkeypatch.setattr(states, "CHUNK_BYTES", 8 * 64 * 200 * 10)
    rows = [rows.stop - rows.start for rows, _ in simulator.chunks(Angles(torch.zeros(0), torch.zeros((100, 200))))]
    assert sum(rows) == 100
    assert max(rows) <= 20
