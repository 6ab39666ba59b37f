"""PennyLane devices as engines, and PennyLane functions as circuits."""

import numpy as np
import pytest
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from circuits import ParameterizedCircuit, hardware_efficient, z_each
from qworkbench.engines.registry import open_engine
from qworkbench.errors import CircuitTooLargeError
from qworkbench.gates import GENERATORS
from qworkbench.layer import QuantumLayer
from qworkbench.lowering import Angles, lower

qml = pytest.importorskip("pennylane")

from qworkbench.engines.pennylane import from_pennylane  # noqa: E402

DEVICE = qml.device("default.qubit", wires=3)
RNG = np.random.default_rng(0)


def elementary(x, w):
    qml.RX(x[0], 0)
    qml.RY(2 * x[1] + w[0], 1)
    qml.RZ(x[0] * w[1], 2)
    qml.PhaseShift(w[2], 0)
    qml.CNOT([0, 1])
    qml.CRX(w[0] - 0.3, [1, 2])
    qml.IsingXX(x[1] ** 2, [0, 2])
    qml.ControlledPhaseShift(w[1], [2, 0])
    qml.Toffoli([0, 1, 2])


def composite(x, w):
    qml.AngleEmbedding(x, wires=[0, 1, 2])
    qml.StronglyEntanglingLayers(w, wires=[0, 1, 2])
    qml.Rot(x[0], w[0, 0, 0], 0.3, wires=2)
    qml.ctrl(qml.RX, control=0)(w[0, 1, 1], wires=1)
    qml.adjoint(qml.S)(wires=0)
    qml.QubitUnitary(np.array([[0, 1], [1, 0]]), wires=1)


def functions(x, w):
    qml.RX(np.sin(x[0]), 0)
    qml.RY(np.exp(-x[1]) * w[0], 1)
    qml.RZ(np.pi * np.log(1 + x[0] ** 2) ** 0.5, 2)
    qml.RX(np.abs(x[1]) - np.cos(w[0]), 2)
    qml.RY(np.arctan(w[1]) / 2, 2)
    qml.CZ([0, 2])
    qml.RX(1.5, 1)


def nothing_trainable(x):
    qml.Hadamard(0)
    qml.IQPEmbedding(x, wires=[0, 1, 2])


CASES = [(elementary, 2, 3), (composite, 3, (1, 3, 3)), (functions, 2, 2), (nothing_trainable, 3, ())]


@pytest.mark.parametrize(("function", "n_inputs", "shape"), CASES, ids=lambda v: getattr(v, "__name__", None))
@pytest.mark.parametrize("as_qnode", [False, True])
def test_a_pennylane_function_gives_pennylanes_result(function, n_inputs, shape, as_qnode):
    def measured(*arguments):
        function(*arguments)
        return [qml.expval(qml.Z(q)) for q in range(3)] + [qml.expval(qml.X(0) @ qml.Y(1))]

    node = qml.QNode(measured, DEVICE)
    circuit = from_pennylane(node if as_qnode else function, n_inputs, shape)
    n_weights = int(np.prod(shape)) if shape != () else 0
    assert (circuit.n_qubits, circuit.n_inputs, circuit.n_weights) == (3, n_inputs, n_weights)
    inputs, weights = RNG.uniform(-1, 1, (2, n_inputs)), RNG.uniform(-1, 1, shape)
    layer = QuantumLayer(circuit, [*z_each(3), SparsePauliOp("IYX")], dtype=torch.float64)
    layer.weights.data = torch.tensor(np.reshape(weights, -1)[:n_weights])
    arguments = (weights,) if n_weights else ()
    expected = [node(row, *arguments) for row in inputs]
    assert np.allclose(layer(torch.tensor(inputs)).detach().numpy(), expected, atol=1e-9)


def test_what_a_pennylane_function_may_not_do():
    def on_named_wires(x):
        qml.RX(x[0], "a")

    with pytest.raises(ValueError, match="wires 0, 1, 2"):
        from_pennylane(on_named_wires, 1)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_adjoint_gradient_of_every_gate(name):
    x, w = ParameterVector("x", 1), ParameterVector("w", 1)
    circuit = QuantumCircuit(2)
    circuit.ry(0.9, 0)
    circuit.rx(w[0], 1)
    circuit.iswap(0, 1)
    getattr(circuit, name)(x[0], *range(len(GENERATORS[name]).bit_length() - 1))
    lowered = lower(ParameterizedCircuit(circuit, tuple(x), tuple(w)))
    observables = [SparsePauliOp(p) for p in ("XI", "ZY", "IX")]
    angles = Angles(torch.tensor([0.4]).double(), torch.tensor([[0.7], [2.0]]).double())
    cotangent = torch.tensor([[1.0, -0.5, 0.3], [0.2, 1.0, 1.0]]).double()
    found, expected = (
        open_engine(uri).compile(lowered, observables).vjp(angles, cotangent)
        for uri in ("pennylane:lightning.qubit", "statevector")
    )
    assert torch.allclose(found.per_sample, expected.per_sample, atol=1e-9)
    assert torch.allclose(found.shared, expected.shared, atol=1e-9)


def test_a_gradient_method_can_be_asked_for():
    lowered = lower(hardware_efficient(2, n_layers=1))
    angles = Angles(torch.linspace(-1, 1, lowered.n_shared).double(), torch.zeros((2, 0)).double())
    cotangent = torch.ones((2, 2)).double()
    found = []
    for gradient in ("adjoint", "parameter-shift"):
        engine = open_engine("pennylane:lightning.qubit")
        found.append(engine.compile(lowered, z_each(2), gradient).vjp(angles, cotangent).shared)
        assert engine.usage.submissions == 1
    assert torch.allclose(found[0], found[1], atol=1e-9)
    with pytest.raises(ValueError, match="adjoint"):
        open_engine("pennylane:lightning.qubit?shots=10").compile(lowered, z_each(2), "adjoint")


@pytest.mark.parametrize(
    ("uri", "message"), [("pennylane", "pennylane:DEVICE"), ("pennylane:lightning.cubit", "lightning.cubit")]
)
def test_an_unknown_device_is_refused(uri, message):
    with pytest.raises(ValueError, match=message):
        open_engine(uri)


def test_forty_qubits_are_refused_before_allocation():
    with pytest.raises(CircuitTooLargeError, match="40 qubits"):
        open_engine("pennylane:lightning.qubit").compile(lower(hardware_efficient(40, n_layers=1)), z_each(40))
