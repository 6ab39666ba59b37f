"""The torch layer: derivatives, dtypes, state, composition, refusals."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparsePauliOp
from torch import nn

from circuits import (
    ParameterizedCircuit,
    angle_encoding,
    data_reuploading,
    from_qasm,
    strongly_entangling,
    z_each,
    zz_feature_map,
)
from qworkbench import reference
from qworkbench.errors import CircuitTooLargeError
from qworkbench.layer import QuantumLayer
from qworkbench.testing import assert_within_sigma, random_circuit

CIRCUIT = zz_feature_map(2).compose(strongly_entangling(2, n_layers=1))
OBSERVABLES = [*z_each(2), SparsePauliOp(["XY", "II"], [0.5, 0.2])]


def layer(backend="statevector", seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return QuantumLayer(CIRCUIT, OBSERVABLES, backend, generator=generator, **({"dtype": torch.float64} | options))


def inputs(n_rows=3, dtype=torch.float64):
    return torch.linspace(-1, 1, 2 * n_rows, dtype=torch.float64).reshape(n_rows, 2).to(dtype)


def functional(model):
    """The layer as a function of inputs and weights."""
    return lambda x, w: torch.func.functional_call(model, {"weights": w}, (x,))


@pytest.mark.parametrize("backend", ["statevector", "statevector?executor=torch", "aer", "pennylane:lightning.qubit"])
def test_gradcheck(backend):
    model = layer(backend)
    arguments = (inputs(2).requires_grad_(), model.weights.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(functional(model), arguments)


@pytest.mark.parametrize("seed", range(3))
def test_gradcheck_of_random_circuits(seed):
    model = QuantumLayer(random_circuit(3, 30, 2, 2, seed), z_each(3), dtype=torch.float64)
    arguments = (inputs(2).requires_grad_(), model.weights.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(functional(model), arguments)


def test_gradgradcheck():
    model = layer()
    arguments = (inputs(2).requires_grad_(), model.weights.detach().clone().requires_grad_())
    assert torch.autograd.gradgradcheck(functional(model), arguments)


def test_second_derivatives_are_refused_where_there_are_none():
    x = inputs().requires_grad_()
    out = layer("aer")(x).sum()
    with pytest.raises(RuntimeError, match="train on 'statevector'"):
        torch.autograd.grad(out, x, create_graph=True)


def test_values_are_those_of_the_reference():
    model = layer()
    expected = reference.expectation(CIRCUIT, OBSERVABLES, inputs().numpy(), model.weights.detach().numpy())
    assert np.allclose(model(inputs()).detach().numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_the_dtype_of_the_input_is_kept(dtype, weights):
    exact, model = layer(), layer(dtype=weights)
    model.load_state_dict(exact.state_dict())
    x = inputs(dtype=dtype).requires_grad_()
    out = model(x)
    out.sum().backward()
    assert (out.dtype, x.grad.dtype, model.weights.grad.dtype) == (dtype, dtype, weights)
    expected = exact(x.detach().double())
    assert torch.allclose(out.double(), expected, atol=0.05 if dtype.itemsize == 2 else 1e-5)


def test_only_what_needs_a_gradient_is_computed():
    model = layer("aer?shots=10&seed=1")
    model(inputs()).sum().backward()
    frozen = layer("aer?shots=10&seed=1")
    frozen.weights.requires_grad_(False)
    frozen(inputs().requires_grad_()).sum().backward()
    both = layer("aer?shots=10&seed=1")
    both(inputs().requires_grad_()).sum().backward()
    forward = 3 * 2
    assert frozen.usage["circuits"] + model.usage["circuits"] - forward == both.usage["circuits"]
    with torch.no_grad():
        model(inputs())
    assert not layer()(inputs()).detach().requires_grad


@pytest.mark.parametrize("gradient", ["adjoint", "parameter-shift"])
def test_the_gradient_method_can_be_chosen(gradient):
    expected, found = layer(), layer(gradient=gradient)
    for model in (expected, found):
        model(inputs()).square().sum().backward()
    assert torch.allclose(found.weights.grad, expected.weights.grad, atol=1e-9)


def test_spsa_in_a_layer():
    exact, model = layer(), layer("statevector?seed=1", gradient="spsa")
    exact(inputs()).sum().backward()
    slopes = []
    for _ in range(400):
        model.zero_grad()
        model(inputs()).sum().backward()
        slopes.append(model.weights.grad.clone())
    draws = torch.stack(slopes)
    scale = float(exact.weights.grad.abs().max())
    assert_within_sigma(draws.mean(0), exact.weights.grad, draws.std(0) / 20, slack=0.05 * scale)


def test_a_method_that_a_backend_lacks_is_refused():
    with pytest.raises(ValueError, match="adjoint"):
        layer("aer", gradient="adjoint")
    with pytest.raises(ValueError, match="'parameter-shift'"):
        layer(gradient="parameter_shift")


def test_the_state_dict_holds_the_weights_alone_and_moves_between_backends():
    model = layer(seed=3)
    assert list(model.state_dict()) == ["weights"]
    for backend in ("aer", "pennylane:default.qubit", (StatevectorEstimator(), StatevectorSampler())):
        other = layer(backend, seed=4)
        assert not torch.allclose(other(inputs()), model(inputs()))
        other.load_state_dict(model.state_dict())
        assert torch.allclose(other(inputs()), model(inputs()), atol=1e-9)


def test_with_backend_copies_the_weights_and_leaves_torchs_generator_alone():
    model = layer()
    state = torch.random.get_rng_state()
    other = model.with_backend("aer")
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(other.weights, model.weights)
    with torch.no_grad():
        other.weights.add_(1.0)
    assert not torch.equal(other.weights, model.weights)


@pytest.mark.parametrize("backend", ["statevector", "aer?shots=50&seed=2"])
def test_copies_and_pickles_are_independent_and_equal(backend):
    model = layer(backend)
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(stored, weights_only=False)]
    expected = model(inputs())
    for other in copies:
        assert torch.equal(other(inputs()), expected)
        with torch.no_grad():
            other.weights.add_(1.0)
        assert not torch.equal(other.weights, model.weights)


def test_it_composes_in_a_network_and_learns():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 2), layer(dtype=torch.float32), nn.Linear(3, 1))
    x, y = torch.randn(16, 4), torch.randn(16, 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        losses.append(loss.item())
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_initial_weights_come_from_the_generator():
    assert torch.equal(layer(seed=1).weights, layer(seed=1).weights)
    assert not torch.equal(layer(seed=1).weights, layer(seed=2).weights)
    weights = QuantumLayer(strongly_entangling(4, n_layers=20), z_each(4)).weights
    assert weights.dtype == torch.get_default_dtype()
    assert -np.pi <= weights.min() < -2.5 < 2.5 < weights.max() < np.pi


def test_estimate_gives_standard_errors_and_no_graph():
    found = layer("aer?shots=100&seed=1").estimate(inputs())
    assert found.mean.shape == found.std_error.shape == (3, 3)
    assert (found.std_error > 0).all()
    assert not found.mean.requires_grad
    assert not layer().estimate(inputs()).std_error.any()


def test_an_empty_batch():
    model = layer()
    out = model(inputs(1)[:0])
    assert out.shape == (0, 3)
    out.sum().backward()
    assert not model.weights.grad.any()


def test_circuits_without_inputs_or_without_weights():
    only_weights = QuantumLayer(strongly_entangling(2, n_layers=1), z_each(2), dtype=torch.float64)
    assert only_weights(torch.zeros((4, 0), dtype=torch.float64)).shape == (4, 2)
    only_inputs = QuantumLayer(zz_feature_map(2), z_each(2))
    assert only_inputs.weights.numel() == 0
    x = inputs().requires_grad_()
    only_inputs(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_an_openqasm_circuit():
    program = """
    OPENQASM 3.0;
    include "stdgates.inc";
    input float[64] theta;
    input float[64] x0;
    qubit[2] q;
    ry(x0) q[0];
    cx q[0], q[1];
    rx(2 * theta) q[1];
    """
    pytest.importorskip("qiskit_qasm3_import")
    model = QuantumLayer(from_qasm(program, inputs="x0"), z_each(2), dtype=torch.float64)
    with torch.no_grad():
        model.weights.fill_(0.3)
    found = model(torch.tensor([[0.8]], dtype=torch.float64))
    assert found.tolist() == [[pytest.approx(np.cos(0.8)), pytest.approx(np.cos(0.8) * np.cos(0.6))]]


def test_an_openqasm_2_circuit_is_a_constant():
    text = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; u3(0.4,0.1,0.2) q[0]; cu1(0.5) q[0],q[1]; x q[1];'
    model = QuantumLayer(from_qasm(text), z_each(2), dtype=torch.float64)
    assert model(torch.zeros((1, 0), dtype=torch.float64)).tolist() == [[pytest.approx(np.cos(0.4)), pytest.approx(-1)]]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (torch.tensor([[np.nan, 0.0]]), ValueError, "finite inputs"),
        (torch.tensor([[0.0, np.inf]]), ValueError, "finite inputs"),
        (torch.zeros((2, 3)), ValueError, r"\(B, 2\), got \(2, 3\)"),
        (torch.zeros(2), ValueError, r"\(B, 2\), got \(2,\)"),
        (torch.zeros((2, 2), dtype=torch.long), TypeError, "floating torch tensor, got torch.int64"),
        (np.zeros((2, 2)), TypeError, "got ndarray"),
    ],
    ids=["nan", "inf", "width", "one-dimensional", "integer", "numpy"],
)
def test_bad_inputs_are_refused(bad, error, message):
    with pytest.raises(error, match=message):
        layer()(bad)


@pytest.mark.parametrize("backend", ["statevector", "statevector?executor=torch", "aer", "pennylane:lightning.qubit"])
def test_what_is_not_finite_is_refused_by_name_and_counts_nothing(backend):
    model = layer(backend)
    with pytest.raises(ValueError, match="finite inputs"):
        model(inputs() * torch.inf)
    with torch.no_grad():
        model.weights[-1] = torch.nan
    for call in (model, model.estimate):
        with pytest.raises(ValueError, match="finite weights"):
            call(inputs())
    assert model.usage["circuits"] == 0


@pytest.mark.parametrize("backend", ["statevector", "statevector?executor=torch"])
def test_finite_numbers_whose_sum_overflows_are_taken(backend):
    model = QuantumLayer(angle_encoding(2), z_each(2), backend)
    assert torch.isfinite(model(torch.full((2, 2), 3e38))).all()


def test_angles_that_are_not_finite_are_refused():
    x = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.rx(1 / x, 0)
    model = QuantumLayer(ParameterizedCircuit(circuit, (x,)), z_each(1))
    with pytest.raises(ValueError, match="finite angles"):
        model(torch.zeros((1, 1)))


def test_a_layer_too_wide_for_memory_is_refused_when_made():
    with pytest.raises(CircuitTooLargeError):
        QuantumLayer(data_reuploading(40, 40, n_layers=1), z_each(40))


def test_one_observable_needs_no_list():
    assert QuantumLayer(zz_feature_map(2), SparsePauliOp("ZZ"))(inputs()).shape == (3, 1)


def test_what_print_shows():
    assert "statevector" in repr(layer())
    assert "2 inputs" in repr(layer())


EXECUTORS = ["statevector", "statevector?executor=torch"]


@pytest.mark.parametrize("backend", EXECUTORS)
def test_a_layer_first_used_in_inference_mode_can_be_trained(backend):
    model, expected = layer(backend), layer(backend)
    with torch.inference_mode():
        evaluated = model(inputs())
    for each in (model, expected):
        each(inputs()).sum().backward()
    assert torch.equal(evaluated, expected(inputs()).detach())
    assert torch.equal(model.weights.grad, expected.weights.grad)


@pytest.mark.parametrize("backend", EXECUTORS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_angles_and_states_in_full_precision(backend, dtype):
    model, x = layer(backend, dtype=torch.float32), inputs(dtype=torch.float32)
    expected = model(x)
    with torch.autocast("cpu", dtype=dtype):
        found = model(x)
        estimated = model.estimate(x).mean
        assert model(x.to(dtype)).dtype == dtype
    assert found.dtype == torch.float32
    assert torch.equal(found, expected) and torch.equal(estimated, expected)
    gradients = [torch.autograd.grad(mean.square().sum(), model.weights) for mean in (expected, found)]
    assert torch.equal(*(gradient for (gradient,) in gradients))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad, torch.func.jacrev, torch.func.jacfwd])
def test_transforms_that_cannot_see_into_a_circuit_are_refused_and_harm_nothing(transform):
    model = layer()
    expected = layer()(inputs())
    with pytest.raises(RuntimeError, match=r"torch\.func transform"):
        x = inputs(4)
        transform(lambda x: model(x).sum())(x.reshape(2, 2, 2) if transform is torch.func.vmap else x)
    assert torch.equal(copy.deepcopy(model)(inputs()), expected)


def test_a_layer_survives_a_failed_export():
    model = layer("statevector?executor=torch")
    with pytest.raises(Exception, match="data-dependent"):
        torch.export.export(model, (inputs(),))
    assert torch.equal(copy.deepcopy(model)(inputs()), layer("statevector?executor=torch")(inputs()))
