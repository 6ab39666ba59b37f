"""The native executor against its slow twin in torch."""

from __future__ import annotations

import copy
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from qiskit.circuit import Gate, ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, random_unitary

from circuits import (
    ParameterizedCircuit,
    data_reuploading,
    efficient_su2,
    qcnn,
    strongly_entangling,
    z_each,
    zz_feature_map,
)
from qworkbench.backend import Backend
from qworkbench.engines.statevector import StatevectorEngine, native
from qworkbench.engines.statevector.native import team
from qworkbench.engines.statevector.native.registers import pointer
from qworkbench.engines.statevector.native.team import OPENMP, call_team, meet, release_team, usable_threads
from qworkbench.engines.statevector.passes import compile_passes
from qworkbench.layer import QuantumLayer
from qworkbench.lowering import Angles, lower
from qworkbench.testing import random_circuit

CASES = {
    "reuploading": data_reuploading(5, 3, n_layers=2),
    "zz_entangling": zz_feature_map(4).compose(strongly_entangling(4, n_layers=2)),
    "qcnn": zz_feature_map(4, n_layers=1).compose(qcnn(4)),
    "su2": efficient_su2(3),
}


def observables(n_qubits: int):
    rest = "I" * (n_qubits - 2)
    mixed = [("XY" + rest, 0.5), ("ZZ" + rest, -0.7), ("I" * n_qubits, 0.3), ("Z" * n_qubits, 0.2), ("YY" + rest, 1.0)]
    return [*z_each(n_qubits), SparsePauliOp.from_list(mixed)]


def both(circuit, n_samples: int, dtype: torch.dtype, seed: int = 0):
    lowered, generator = lower(circuit), torch.Generator().manual_seed(seed)
    inputs = torch.randn((n_samples, circuit.n_inputs), generator=generator, dtype=dtype)
    weights = torch.randn(circuit.n_weights, generator=generator, dtype=dtype)
    angles, measured = lowered.angles(inputs, weights), observables(circuit.n_qubits)
    cotangent = torch.randn((n_samples, len(measured)), generator=generator, dtype=dtype)
    for uri in ("statevector", "statevector?executor=torch"):
        program = StatevectorEngine(Backend.parse(uri)).compile(lowered, measured)
        mean = program.run(angles).mean
        gradient = program.vjp(angles, cotangent)
        yield mean, gradient.shared, gradient.per_sample


def assert_close(results, bound: float) -> None:
    native, slow = results
    for a, b in zip(native, slow, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("n_samples", [1, 3, 40])
def test_values_and_gradients_agree(name, n_samples):
    assert_close(both(CASES[name], n_samples, torch.float64), 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_single_precision_agrees_to_its_own_accuracy(name):
    assert_close(both(CASES[name], 9, torch.float32), 2e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(5, 40))
def test_random_circuits_of_every_gate_kind_agree(seed, n_qubits, n_gates):
    circuit = random_circuit(max(n_qubits, 3), n_gates, 3, 4, seed)
    assert_close(both(circuit, 4, torch.float64, seed), 1e-11)


def test_many_samples_are_worked_on_in_chunks_without_a_seam():
    circuit = data_reuploading(2, 10, n_layers=1)
    lowered = lower(circuit)
    inputs = torch.linspace(-1, 1, 300, dtype=torch.float64).reshape(150, 2)
    weights = torch.linspace(-1, 1, circuit.n_weights, dtype=torch.float64)
    program = StatevectorEngine(Backend("statevector")).compile(lowered, z_each(10))
    whole = program.run(lowered.angles(inputs, weights)).mean
    alone = torch.cat([program.run(lowered.angles(row[None], weights)).mean for row in inputs[::29]])
    torch.testing.assert_close(whole[::29], alone, rtol=0, atol=1e-13)


def test_the_same_call_gives_the_same_bits():
    first, second = (next(both(CASES["zz_entangling"], 40, torch.float32)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_a_feature_map_becomes_few_passes():
    kinds = [step.kind for step in compile_passes(lower(zz_feature_map(6, n_layers=2)))]
    assert kinds == ["product", "phase", "rotate", "phase"]


def test_float32_sums_stay_accurate_at_sixteen_qubits():
    circuit = efficient_su2(16, n_layers=2)
    weights = torch.linspace(-2, 2, circuit.n_weights, dtype=torch.float64)
    means = []
    for dtype in (torch.float32, torch.float64):
        lowered = lower(circuit)
        program = StatevectorEngine(Backend("statevector")).compile(lowered, z_each(16))
        means.append(program.run(lowered.angles(torch.zeros((1, 0), dtype=dtype), weights.to(dtype))).mean.double())
    assert np.abs((means[0] - means[1]).numpy()).max() < 1e-6


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(native, "THREADED_WORK", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    # On Linux torch brings OpenMP, so there a missing library is a failure.
    if team._LIBRARY is None and sys.platform != "linux":
        torch.set_num_threads(before)
        pytest.skip("torch has no OpenMP threads here")
    assert usable_threads() == 2
    yield
    torch.set_num_threads(before)


def gradient_of(circuit, n_samples, dtype=torch.float64):
    """Means and gradients by the native executor alone."""
    return next(both(circuit, n_samples, dtype))


WIDE = data_reuploading(3, 9, n_layers=2).compose(strongly_entangling(9, n_layers=1))


@pytest.mark.parametrize("n_samples", [1, 2, 5, 40])
@pytest.mark.parametrize("block_bytes", [2**7, 2**14])
@pytest.mark.parametrize("chunk_bytes", [1, 2**13, 2**18])
def test_chunks_of_every_width_and_small_blocks_agree(n_samples, block_bytes, chunk_bytes, monkeypatch):
    monkeypatch.setattr(native, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(native, "REGISTER_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(native, "BLOCK_BYTES", block_bytes)
    assert_close(both(WIDE, n_samples, torch.float64), 1e-11)


@pytest.mark.parametrize("seed", range(8))
def test_random_circuits_on_few_wide_states_shared_by_threads(seed, two_threads, monkeypatch):
    monkeypatch.setattr(native, "SHARED_NUMBERS", 1)
    monkeypatch.setattr(native, "CHUNK_BYTES", 1)
    monkeypatch.setattr(native, "REGISTER_CHUNK_BYTES", 1)
    monkeypatch.setattr(native, "BLOCK_BYTES", 2**7)
    assert_close(both(random_circuit(7, 60, 3, 4, seed), 1, torch.float64, seed), 1e-11)


@pytest.mark.parametrize("circuit", [CASES["zz_entangling"], WIDE])
def test_threads_over_chunks_change_no_bit(circuit, two_threads, monkeypatch):
    monkeypatch.setattr(native, "CHUNK_BYTES", 2**10)
    monkeypatch.setattr(native, "REGISTER_CHUNK_BYTES", 1)
    threaded = gradient_of(circuit, 40)
    torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(threaded, gradient_of(circuit, 40), strict=True))


def test_threads_over_amplitudes_repeat_their_bits_and_agree_with_one(two_threads):
    circuit = efficient_su2(16, n_layers=2)
    first, second = gradient_of(circuit, 1), gradient_of(circuit, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.set_num_threads(1)
    for a, b in zip(first, gradient_of(circuit, 1), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_team_has_the_members_that_were_called(size, two_threads):
    seen = np.zeros(size, np.int64)
    for turn in range(1, 50):
        arrivals = np.zeros(1, np.int64)
        sign_in(seen, arrivals, OPENMP, -1)
        assert (seen == turn).all()
        assert arrivals[0] == size


@njit(nogil=True)
def sign_in(seen, arrivals, openmp, caller):
    member = call_team(caller, pointer(openmp), len(seen))
    meet(pointer(arrivals), len(seen))
    seen[member] += 1
    release_team(caller, pointer(openmp), len(seen))


def test_threads_of_the_user_have_teams_of_their_own(two_threads):
    circuit, found = efficient_su2(16, n_layers=1), {}

    def run(name):
        found[name] = [gradient_of(circuit, 1) for _ in range(5)]

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = gradient_of(circuit, 1)
    for results in found.values():
        for result in results:
            assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))
    assert len(found) == 3


def test_without_torchs_threads_one_walks_alone(two_threads, monkeypatch):
    assert usable_threads() == 2
    with monkeypatch.context() as patch:
        patch.setattr(team, "_members", lambda threads: 1)
        assert usable_threads() == 1
    monkeypatch.setattr(team, "_LIBRARY", None)
    assert usable_threads() == 1


ALONE = """
import os, sys, torch
import qworkbench
torch.set_num_threads(2)
if sys.argv[1] == "fork":
    torch.log_softmax(torch.zeros(8, 2), 1)
    if os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
from circuits import efficient_su2, z_each
from qworkbench.engines.statevector.native.team import usable_threads
layer = qworkbench.QuantumLayer(efficient_su2(16, n_layers=1), z_each(16))
layer(torch.zeros(1, 0)).sum().backward()
assert usable_threads() == 1 and torch.isfinite(layer.weights.grad).all()
os._exit(0)
"""


@pytest.mark.parametrize(
    ("how", "setting"),
    [
        ("fork", {}),
        ("start", {"OMP_MAX_ACTIVE_LEVELS": "0"}),
        ("start", {"OMP_DYNAMIC": "true"}),
        ("start", {"OMP_THREAD_LIMIT": "1"}),
    ],
)
def test_one_walks_alone_where_a_team_would_lack_members(how, setting):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ALONE, how], env=os.environ | setting, timeout=120)
    assert done.returncode == 0


@pytest.mark.parametrize(("threads", "n_samples"), [(3, 1), (4, 1), (4, 3), (3, 2)])
def test_more_threads_than_chunks_share_each(threads, n_samples, two_threads, monkeypatch):
    monkeypatch.setattr(native, "SHARED_NUMBERS", 1)
    monkeypatch.setattr(native, "CHUNK_BYTES", 1)
    monkeypatch.setattr(native, "REGISTER_CHUNK_BYTES", 1)
    torch.set_num_threads(threads)
    assert usable_threads() == threads
    assert_close(both(random_circuit(7, 60, 3, 4, threads), n_samples, torch.float64), 1e-11)


class Bare(Gate):
    """A gate that has a matrix and nothing else."""

    def __init__(self, n_qubits: int):
        super().__init__("bare", n_qubits, [])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(random_unitary(2**self.num_qubits, seed=1).data, dtype)


@pytest.mark.parametrize("width", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("n_samples", [1, 3, 100])
def test_gates_of_any_width_agree(width, n_samples):
    x, circuit = ParameterVector("x", 7), QuantumCircuit(7)
    for qubit in range(7):
        circuit.ry(x[qubit], qubit)
    circuit.append(Bare(width), list(range(7))[::-1][:width])
    for qubit in range(7):
        circuit.rx(x[qubit], qubit)
    assert_close(both(ParameterizedCircuit(circuit, tuple(x)), n_samples, torch.float64), 1e-12)


def in_four_threads(work: Callable[[int], bool]) -> list[bool]:
    """What ``work`` says of 0 to 3, each in a thread, with switches between them as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(work, range(4)))
    finally:
        sys.setswitchinterval(interval)


def test_threads_of_the_user_share_one_layer():
    layer = QuantumLayer(data_reuploading(4, 6, n_layers=2), z_each(6), dtype=torch.float64)
    batches = [torch.randn(n, 4, dtype=torch.float64) for n in (1, 3, 17, 100, 333)]
    alone = [layer(batch) for batch in batches]

    def work(shift: int) -> bool:
        order = [(shift + step) % len(batches) for step in range(100)]
        return all(torch.equal(layer(batches[k]), alone[k]) for k in order)

    assert all(in_four_threads(work))


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_probabilities_and_fidelities_agree_with_autograd(name):
    circuit = CASES[name]
    lowered, generator = lower(circuit), torch.Generator().manual_seed(3)
    inputs = torch.randn((5, circuit.n_inputs), generator=generator, dtype=torch.float64)
    weights = torch.randn(circuit.n_weights, generator=generator, dtype=torch.float64)
    found = []
    for uri in ("statevector", "statevector?executor=torch"):
        engine = StatevectorEngine(Backend.parse(uri))
        leaves = [inputs.clone().requires_grad_(), weights.clone().requires_grad_()]
        angles = lowered.angles(*leaves)
        probabilities = engine.compile_sampler(lowered).probabilities(angles).mean
        fidelities = (
            engine.compile_overlap(lowered).fidelities(angles, Angles(angles.shared, angles.per_sample[:2])).mean
        )
        loss = (probabilities**2).sum() + (fidelities**3).sum()
        found.append([probabilities, fidelities, *torch.autograd.grad(loss, leaves, allow_unused=True)])
    for a, b in zip(*found, strict=True):
        # A circuit without inputs has no derivative by them, or an empty one.
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_second_derivatives_of_probabilities_are_refused():
    lowered = lower(CASES["su2"])
    weights = torch.zeros(lowered.n_shared, dtype=torch.float64, requires_grad=True)
    angles = Angles(weights, torch.zeros((2, 0), dtype=torch.float64))
    loss = StatevectorEngine(Backend("statevector")).compile_sampler(lowered).probabilities(angles).mean[:, 0].sum()
    with pytest.raises(RuntimeError, match="executor=torch"):
        torch.autograd.grad(loss, weights, create_graph=True)


def test_a_kept_state_is_not_taken_for_another_point():
    lowered = lower(CASES["su2"])
    program = StatevectorEngine(Backend("statevector")).compile(lowered, z_each(3))
    weights = torch.full((lowered.n_shared,), 0.3, dtype=torch.float64, requires_grad=True)
    angles, cotangent = Angles(weights, torch.zeros((1, 0), dtype=torch.float64)), torch.ones((1, 3)).double()
    program.run(angles)
    weights.data += 0.5
    moved = program.vjp(angles, cotangent).shared
    assert torch.equal(moved, program.vjp(angles, cotangent).shared)


def test_without_numba_circuits_run_in_torch_with_one_warning(monkeypatch):
    monkeypatch.setattr(native, "check_numba", lambda: (_ for _ in ()).throw(RuntimeError("no locator available")))
    lowered = lower(CASES["su2"])
    program = StatevectorEngine(Backend("statevector")).compile(lowered, z_each(3))
    angles = Angles(torch.zeros(lowered.n_shared), torch.zeros((2, 0)))
    with pytest.warns(RuntimeWarning, match="circuits run in torch") as caught:
        mean = program.run(angles).mean
        program.vjp(angles, torch.ones((2, 3)))
    assert len(caught) == 1
    assert torch.allclose(mean, torch.ones((2, 3)))


def test_observables_of_z_alone_see_nothing_of_a_last_phase():
    circuit = efficient_su2(5, n_layers=1)
    executor = native.NativeExecutor(lower(circuit), lower(circuit).n_shared, z_each(5))
    other = native.NativeExecutor(lower(circuit), lower(circuit).n_shared, [SparsePauliOp("XIIII")])
    assert len(executor._plan.starts) == len(other._plan.starts) - 1


def test_compiled_code_is_kept_under_the_digest_of_all_kernels():
    folder = Path(native.__file__).parent
    digest = sha256(b"".join(file.read_bytes() for file in sorted(folder.glob("*.py")))).hexdigest()
    assert native.walk.forward._cache._cache_file._source_stamp[1] == digest


def test_float32_is_accurate_at_twenty_qubits():
    circuit = efficient_su2(20, n_layers=1)
    weights = torch.linspace(-2, 2, circuit.n_weights, dtype=torch.float64)
    found = []
    for dtype in (torch.float32, torch.float64):
        program = StatevectorEngine(Backend("statevector")).compile(lower(circuit), z_each(20))
        angles = Angles(weights.to(dtype), torch.zeros((1, 0), dtype=dtype))
        found.append((program.run(angles).mean, program.vjp(angles, torch.ones((1, 20), dtype=dtype)).shared))
    for a, b in zip(*found, strict=True):
        assert (a.double() - b).abs().max() < 1e-6


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-11), (torch.float32, 2e-3)])
@pytest.mark.parametrize("angle", [0.0, math.pi / 4, math.pi / 2, 0.99 * math.pi, math.pi, -3 * math.pi / 2])
def test_norms_left_out_of_many_rotations_come_back(angle, dtype, bound):
    """At pi/2 a rotation leaves out most, the square root of 2, which 4 x 150 of them would make infinite.

    The bounds are 600 rotations, each rounded, times slopes that add up over 20 samples.
    """
    circuit, w, x = QuantumCircuit(4), ParameterVector("w", 600), ParameterVector("x", 4)
    for qubit in range(4):
        circuit.ry(x[qubit], qubit)
    for layer in range(150):
        for qubit in range(4):
            if (layer + qubit) % 7 == 0:
                circuit.h(qubit)
            circuit.ry(w[4 * layer + qubit], qubit)
        circuit.cz(layer % 4, (layer + 1) % 4)
    lowered = lower(ParameterizedCircuit(circuit, tuple(x), tuple(w)))
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    inputs, weights, cotangent = draw((20, 4)).to(dtype), (angle + 0.01 * draw(600)).to(dtype), draw((20, 5)).to(dtype)
    results = []
    for uri in ("statevector", "statevector?executor=torch"):
        engine, angles = StatevectorEngine(Backend.parse(uri)), lowered.angles(inputs, weights)
        program = engine.compile(lowered, observables(4))
        results.append((program.run(angles).mean, *program.vjp(angles, cotangent)))
    assert_close(results, bound)


def test_threads_of_the_user_train_on_one_program():
    lowered = lower(CASES["reuploading"])
    program = StatevectorEngine(Backend("statevector")).compile(lowered, observables(3))
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    points = [
        (Angles(draw(lowered.n_shared).requires_grad_(), draw((n, lowered.n_per_sample))), draw((n, 4)))
        for n in (1, 3, 17, 17, 100)
    ]

    def step(k: int) -> tuple[torch.Tensor, ...]:
        angles, cotangent = points[k]
        return program.run(angles).mean, *program.vjp(angles, cotangent)

    alone = [step(k) for k in range(len(points))]

    def work(shift: int) -> bool:
        order = [(shift + i) % len(points) for i in range(60)]
        return all(torch.equal(a, b) for k in order for a, b in zip(step(k), alone[k], strict=True))

    assert all(in_four_threads(work))


def executor_and_point(n_samples: int = 3):
    lowered, generator = lower(CASES["reuploading"]), torch.Generator().manual_seed(1)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    angles = Angles(draw(lowered.n_shared), draw((n_samples, lowered.n_per_sample)))
    return native.NativeExecutor(lowered, lowered.n_shared, observables(3)), angles, draw((n_samples, 4))


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.repeat_interleave(2, -1)[..., ::2],
        lambda t: t.t().contiguous().t(),
        lambda t: torch.complex(torch.zeros_like(t), -t).conj().imag,
    ],
    ids=["strided", "transposed", "negative"],
)
def test_numbers_are_read_from_any_view(view):
    executor, angles, cotangent = executor_and_point()
    expected = executor.mean(angles, keep=False), *executor.gradient(angles, cotangent)
    seen = Angles(*(view(part) for part in angles))
    found = executor.mean(seen, keep=True), *executor.gradient(seen, view(cotangent))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_zeros_that_take_no_memory_are_read():
    executor, angles, cotangent = executor_and_point()
    found = executor.gradient(angles, torch._efficientzerotensor(cotangent.shape, dtype=torch.float64))
    assert not found.shared.any() and not found.per_sample.any()


def test_tensors_that_cannot_be_read_are_refused():
    executor, angles, cotangent = executor_and_point()
    with pytest.raises(ValueError, match=r"shape \(\d+,\) and \(N, \d+\)"):
        executor.mean(Angles(angles.shared, angles.per_sample[:, 1:]), keep=False)
    with pytest.raises(ValueError, match="cotangent of shape"):
        executor.gradient(angles, cotangent[:, :1])
    with pytest.raises(TypeError, match=r"float64, got torch\.float16"):
        executor.mean(Angles(*(part.half() for part in angles)), keep=False)
    with pytest.raises(ValueError, match="on the CPU, got one on meta"):
        executor.mean(Angles(angles.shared.to("meta"), angles.per_sample), keep=False)


def test_kept_states_survive_neither_a_copy_nor_another_batch():
    executor, angles, cotangent = executor_and_point()
    executor.mean(angles, keep=True)
    twins = [copy.deepcopy(executor), pickle.loads(pickle.dumps(executor)), executor]
    other = Angles(angles.shared + 1, angles.per_sample[:2])
    fresh = executor_and_point()[0]
    for twin in twins:
        assert torch.equal(twin.gradient(other, cotangent[:2]).shared, fresh.gradient(other, cotangent[:2]).shared)
        assert torch.equal(twin.gradient(angles, cotangent).shared, fresh.gradient(angles, cotangent).shared)


def test_few_workspaces_are_held():
    executor, angles, cotangent = executor_and_point(60)
    for n in range(60):
        part = Angles(angles.shared, angles.per_sample[:n])
        executor.mean(part, keep=True)
        executor.gradient(part, cotangent[:n])
    assert sum(map(len, executor._free.values())) <= native.WORKSPACES_HELD


def test_a_forked_process_goes_on_by_itself(two_threads):
    executor, angles, cotangent = executor_and_point(40)
    mean = executor.mean(angles, keep=True)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(
        target=lambda: queue.put([part.numpy() for part in executor.gradient(angles, cotangent)]), daemon=True
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert torch.equal(executor.mean(angles, keep=False), mean)
    for a, b in zip(queue.get(), executor.gradient(angles, cotangent), strict=True):
        assert np.array_equal(a, b.numpy())
