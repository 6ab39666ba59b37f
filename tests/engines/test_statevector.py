"""The exact engine: gradients by three methods, memory, chunks, shots."""

import tracemalloc
import weakref

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from circuits import hardware_efficient, z_each
from qworkbench import reference
from qworkbench.engines.registry import open_engine
from qworkbench.engines.statevector import states
from qworkbench.errors import CircuitTooLargeError
from qworkbench.lowering import Angles, lower
from qworkbench.testing import assert_within_sigma, random_circuit

EXECUTORS = ["statevector", "statevector?executor=torch"]
OBSERVABLES = [*z_each(3), SparsePauliOp(["XYZ", "YYI", "III", "ZIZ"], [0.5, -0.3, 0.2, 1.0])]


def problem(seed, n_rows=3, dtype=torch.float64):
    circuit = random_circuit(3, 60, 2, 3, seed)
    lowered = lower(circuit)
    rng = np.random.default_rng(seed)
    inputs, weights = (torch.tensor(rng.uniform(-1, 1, s), dtype=dtype) for s in ((n_rows, 2), 3))
    cotangent = torch.tensor(rng.normal(size=(n_rows, len(OBSERVABLES))), dtype=dtype)
    return lowered, lowered.angles(inputs, weights), cotangent, (inputs, weights)


def compiled(lowered, gradient="auto", backend="statevector", observables=OBSERVABLES):
    return open_engine(backend).compile(lowered, observables, gradient)


@pytest.mark.parametrize("backend", EXECUTORS)
@pytest.mark.parametrize("seed", range(3))
def test_adjoint_parameter_shift_and_autograd_agree(seed, backend):
    lowered, angles, cotangent, _ = problem(seed)
    adjoint = compiled(lowered, "adjoint", backend).vjp(angles, cotangent)
    shifted = compiled(lowered, "parameter-shift", backend).vjp(angles, cotangent)
    leaves = Angles(*(part.clone().requires_grad_() for part in angles))
    (compiled(lowered, backend=backend).expectation(leaves) * cotangent).sum().backward()
    for a, b, leaf in zip(adjoint, shifted, leaves, strict=True):
        assert leaf.grad is not None
        assert torch.allclose(a, b, atol=1e-10)
        assert torch.allclose(a, leaf.grad, atol=1e-10)


@pytest.mark.parametrize("backend", EXECUTORS)
def test_adjoint_agrees_with_finite_differences_of_the_reference(backend):
    circuit = random_circuit(2, 12, 1, 2, seed=9)
    lowered = lower(circuit)
    observables = [SparsePauliOp("XZ"), SparsePauliOp(["YI", "II"], [0.4, 1.0])]
    inputs = torch.tensor([[0.3], [-0.8]], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.5, 0.9], dtype=torch.float64, requires_grad=True)
    angles = lowered.angles(inputs, weights)
    gradient = compiled(lowered, backend=backend, observables=observables).vjp(
        Angles(*(a.detach() for a in angles)), torch.ones((2, 2), dtype=torch.float64)
    )
    torch.autograd.backward(angles, gradient)
    by_input, by_weight = reference.gradient(
        circuit, observables, inputs.detach().numpy(), weights.detach().numpy(), step=1e-4
    )
    assert inputs.grad is not None and weights.grad is not None
    assert np.allclose(inputs.grad.numpy(), by_input.sum(1), atol=1e-6)
    assert np.allclose(weights.grad.numpy(), by_weight.sum((0, 1)), atol=1e-6)


@pytest.mark.parametrize("backend", EXECUTORS)
def test_single_precision_stays_single_and_close(backend):
    lowered, angles, cotangent, _ = problem(1)
    single = Angles(*(a.float() for a in angles))
    program = compiled(lowered, backend=backend)
    assert program.run(single).mean.dtype == torch.float32
    assert torch.allclose(program.run(single).mean.double(), program.run(angles).mean, atol=2e-5)
    for a, b in zip(program.vjp(single, cotangent.float()), program.vjp(angles, cotangent), strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a.double(), b, atol=2e-4)


class PeakMemory(TorchDispatchMode):
    """The largest number of bytes in live torch storages; numpy's arrays are traced by tracemalloc."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def _free(self, size):
        self.live -= size

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self._seen:
                storage = tensor.untyped_storage()
                self._seen.add(storage)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
                self.peak = max(self.peak, self.live)
        return result


N_QUBITS, N_ROWS = 9, 16


def peak_of_a_gradient(backend, n_layers, through_the_graph=False):
    lowered = lower(hardware_efficient(N_QUBITS, n_layers=n_layers))
    weights = torch.linspace(-1, 1, lowered.n_shared, dtype=torch.float64)
    angles = Angles(weights, torch.zeros((N_ROWS, 0), dtype=torch.float64))
    program = compiled(lowered, backend=backend, observables=z_each(N_QUBITS))
    cotangent = torch.ones((N_ROWS, N_QUBITS), dtype=torch.float64)
    with PeakMemory():
        # Whatever is made once, such as compiled kernels and torch's lazy imports, is no part of a gradient.
        program.run(angles)
        program.vjp(angles, cotangent)
    program = compiled(lowered, backend=backend, observables=z_each(N_QUBITS))
    tracemalloc.start()
    try:
        with PeakMemory() as memory:
            if through_the_graph:
                program.expectation(Angles(weights.requires_grad_(), angles.per_sample)).sum().backward()
            else:
                program.run(angles)
                program.vjp(angles, cotangent)
        return memory.peak + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("backend", EXECUTORS)
def test_memory_of_the_adjoint_does_not_grow_with_depth(backend):
    shallow, deep = peak_of_a_gradient(backend, 2), peak_of_a_gradient(backend, 8)
    assert shallow > 2 * N_ROWS * 2**N_QUBITS * 16
    assert deep < 1.5 * shallow


def test_the_yardstick_sees_memory_that_grows_with_depth():
    shallow, deep = (peak_of_a_gradient("statevector?executor=torch", n, True) for n in (2, 8))
    assert deep > 2 * shallow


@pytest.mark.parametrize("backend", EXECUTORS)
def test_chunks_change_nothing(backend, monkeypatch):
    native = pytest.importorskip("qworkbench.engines.statevector.native")
    lowered, angles, cotangent, _ = problem(2, n_rows=21)
    whole = compiled(lowered, backend=backend)
    expected = [whole.run(angles).mean, *whole.vjp(angles, cotangent)]
    monkeypatch.setattr(states, "CHUNK_BYTES", 3 * 16 * 2**3)
    monkeypatch.setattr(native, "CHUNK_BYTES", 1)
    monkeypatch.setattr(native, "REGISTER_CHUNK_BYTES", 1)
    pieces = compiled(lowered, backend=backend)
    found = [pieces.run(angles).mean, *pieces.vjp(angles, cotangent)]
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(found, expected, strict=True))


def test_shots_in_chunks_have_the_same_statistics(monkeypatch):
    lowered, angles, _, _ = problem(2, n_rows=21)
    exact = compiled(lowered).run(angles).mean
    monkeypatch.setattr(states, "CHUNK_BYTES", 3 * 16 * 2**3)
    found = compiled(lowered, backend="statevector?shots=400&seed=4").run(angles).mean
    assert_within_sigma(found, exact, 2 / np.sqrt(400))


def test_counting_work():
    lowered, angles, cotangent, _ = problem(0)
    with open_engine("statevector?shots=50") as engine:
        program = engine.compile(lowered, z_each(3))
        program.run(angles)
        assert engine.usage.as_dict() == {"circuits": 3, "submissions": 1, "transpilations": 1, "shots": 150}
    with open_engine("statevector") as engine:
        program = engine.compile(lowered, z_each(3))
        program.run(angles)
        program.vjp(angles, cotangent[:, :3])
        assert engine.usage.as_dict() == {"circuits": 6, "submissions": 2, "transpilations": 1, "shots": 0}


def test_fidelities_can_be_differentiated():
    lowered, _, _, (inputs, weights) = problem(3)
    overlap = open_engine("statevector").compile_overlap(lowered)
    inputs.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: overlap.fidelities(lowered.angles(x, weights)).mean, (inputs,))


@pytest.mark.parametrize("what", ["compile", "compile_sampler", "compile_overlap"])
@pytest.mark.parametrize("backend", ["statevector", "statevector?shots=10"])
def test_forty_qubits_are_refused_before_allocation(backend, what):
    wide = lower(hardware_efficient(40, n_layers=1))
    arguments = (z_each(40),) if what == "compile" else ()
    with pytest.raises(CircuitTooLargeError, match=r"40 qubits need .* GiB .* are available"):
        getattr(open_engine(backend), what)(wide, *arguments)


def test_a_gram_matrix_that_does_not_fit_is_refused():
    overlap = open_engine("statevector").compile_overlap(lower(hardware_efficient(22, n_layers=1)))
    huge = Angles(torch.zeros(0), torch.zeros((1, 0)).expand(10**6, 0))
    with pytest.raises(CircuitTooLargeError, match="22 qubits"):
        overlap.fidelities(huge)


@pytest.mark.parametrize("uri", ["statevector:gpu", "statevector?precision=single", "statevector?executor=other"])
def test_options_that_do_not_exist_are_refused(uri):
    with pytest.raises(ValueError, match="no options but"):
        open_engine(uri)


@pytest.mark.parametrize(
    ("observables", "error", "message"),
    [
        ([], ValueError, "at least one"),
        (["ZZZ"], TypeError, "SparsePauliOp"),
        ([SparsePauliOp("ZZ")], ValueError, "3 qubits"),
        ([SparsePauliOp("ZZZ", 1j)], ValueError, "real"),
        ([SparsePauliOp("ZZZ", np.nan)], ValueError, "finite"),
    ],
)
def test_bad_observables_are_refused(observables, error, message):
    with pytest.raises(error, match=message):
        compiled(lower(random_circuit(3, 5, 0, 0, 0)), observables=observables)


def test_a_sampled_program_has_no_adjoint():
    lowered = lower(random_circuit(3, 5, 0, 1, 0))
    with pytest.raises(ValueError, match="adjoint"):
        compiled(lowered, "adjoint", "statevector?shots=100")
