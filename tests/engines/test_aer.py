"""Aer: what it costs, noise of the qubits in use, matrix product states, refusals."""

import numpy as np
import pytest
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import PassManager, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from circuits import ParameterizedCircuit, hardware_efficient, z_each
from qworkbench.engines.aer import TRANSPILER_SEED
from qworkbench.engines.registry import open_engine
from qworkbench.errors import CircuitTooLargeError
from qworkbench.lowering import Angles, free_parameters, lower
from qworkbench.testing import assert_within_sigma

OBSERVABLES = [*z_each(3), SparsePauliOp(["XXI", "IYY"], [0.5, 1.0])]


def problem(n_rows=2):
    circuit = lower(hardware_efficient(3, n_layers=1))
    rng = np.random.default_rng(1)
    shared = torch.tensor(rng.uniform(-2, 2, circuit.n_shared))
    return circuit, Angles(shared, torch.zeros((n_rows, circuit.n_per_sample)).double())


def spy(monkeypatch, owner, name):
    """A list that grows by one with every call."""
    calls: list[int] = []
    original = getattr(owner, name)

    def counted(*arguments, **options):
        calls.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


def test_one_run_a_forward_and_one_a_gradient_whatever_the_sizes(monkeypatch):
    runs, transpilations = spy(monkeypatch, AerSimulator, "run"), spy(monkeypatch, PassManager, "run")
    circuit, angles = problem(n_rows=5)
    with open_engine("aer?shots=30&seed=1") as engine:
        program = engine.compile(circuit, OBSERVABLES)
        compiled = len(transpilations)
        program.run(angles)
        program.vjp(angles, torch.ones((5, 4)).double())
    assert len(runs) == 2
    assert compiled >= 1
    assert len(transpilations) == compiled


@pytest.mark.parametrize("name", ["crx", "cry", "crz", "cp"])
def test_controlled_rotations_are_bound(name):
    # Aer itself leaves the angle of a controlled rotation at 0 when it binds parameters (qiskit-aer issue 2323).
    x = ParameterVector("x", 1)
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.ry(0.3, 1)
    getattr(circuit, name)(x[0], 0, 1)
    lowered = lower(ParameterizedCircuit(circuit, tuple(x)))
    observables = [SparsePauliOp(p) for p in ("XI", "YI", "ZI", "IX", "IY")]
    angles = Angles(torch.zeros(0).double(), torch.tensor([[0.5], [1.5], [2.5]]).double())
    exact = open_engine("statevector").compile(lowered, observables).run(angles).mean
    assert torch.allclose(open_engine("aer").compile(lowered, observables).run(angles).mean, exact, atol=1e-9)
    assert exact.std(0).max() > 0.1


def test_numbers_do_not_depend_on_the_thread_count():
    circuit, angles = problem(n_rows=6)
    found = [
        open_engine(f"aer?shots=50&seed=3&max_parallel_threads={n}").compile(circuit, OBSERVABLES).run(angles).mean
        for n in (1, 2)
    ]
    assert torch.equal(*found)


def test_another_seed_gives_other_numbers():
    circuit, angles = problem()
    found = [open_engine(f"aer?shots=50&seed={s}").compile(circuit, OBSERVABLES).run(angles).mean for s in (1, 2)]
    assert not torch.equal(*found)


def full_device(circuit, angles, device):
    """By hand: the device's whole noise model and a circuit as wide as the device."""
    slots = free_parameters(len(circuit.slot_gates))
    manager = generate_preset_pass_manager(1, target=device.target, seed_transpiler=TRANSPILER_SEED)
    done = manager.run(circuit.to_qiskit(slots))
    place = done.layout.final_index_layout()
    bound = done.assign_parameters(dict(zip(slots, angles.rows()[0].tolist(), strict=True)))
    return bound, place, AerSimulator(noise_model=NoiseModel.from_backend(device), method="density_matrix")


def test_noise_of_the_qubits_in_use_equals_the_whole_noise_model():
    device = pytest.importorskip("qiskit_ibm_runtime.fake_provider").FakeManilaV2()
    circuit, angles = problem(n_rows=1)
    bound, place, simulator = full_device(circuit, angles, device)
    for k, observable in enumerate(OBSERVABLES):
        bound.save_expectation_value(observable, place, label=str(k))
    data = simulator.run(bound).result().data()
    expected = torch.tensor([[float(data[str(k)]) for k in range(len(OBSERVABLES))]], dtype=torch.float64)
    found = open_engine("ibm-fake:manila").compile(circuit, OBSERVABLES).run(angles).mean
    ideal = open_engine("statevector").compile(circuit, OBSERVABLES).run(angles).mean
    assert torch.allclose(found, expected, atol=1e-9)
    assert (found - ideal).abs().max() > 0.01


def test_counts_have_the_readout_error_of_the_whole_noise_model():
    device = pytest.importorskip("qiskit_ibm_runtime.fake_provider").FakeManilaV2()
    circuit, angles = problem(n_rows=1)
    bound, place, simulator = full_device(circuit, angles, device)
    measured = QuantumCircuit(bound.num_qubits, 3)
    measured.compose(bound, inplace=True)
    measured.measure(place, range(3))
    shots = 20000
    counts = simulator.run(measured, shots=shots, seed_simulator=1).result().get_counts()
    expected = np.array([counts.get(f"{k:03b}", 0) / shots for k in range(8)])
    engine = open_engine(f"aer?noise=fake_manila&shots={shots}&seed=2")
    found = engine.compile_sampler(circuit).probabilities(angles).mean[0]
    assert_within_sigma(found, expected, np.sqrt(2 * expected * (1 - expected) / shots))
    without = open_engine("statevector").compile_sampler(circuit).probabilities(angles).mean[0]
    assert (found - without).abs().max() > 0.01


def ghz(n_qubits):
    w = ParameterVector("w", 1)
    circuit = QuantumCircuit(n_qubits)
    circuit.ry(w[0], 0)
    for q in range(n_qubits - 1):
        circuit.cx(q, q + 1)
    return lower(ParameterizedCircuit(circuit, (), tuple(w)))


@pytest.mark.parametrize("shots", ["", "&shots=200&seed=1"])
def test_matrix_product_states_reach_forty_qubits(shots):
    circuit = ghz(40)
    angles = Angles(torch.tensor([1.0]).double(), torch.zeros((2, 0)).double())
    observables = [SparsePauliOp.from_sparse_list([("ZZ", [0, 39], 1.0)], 40), z_each(40)[20]]
    engine = open_engine(f"aer?method=matrix_product_state{shots}")
    found = engine.compile(circuit, observables).run(angles).mean
    assert_within_sigma(found[:, 0], 1.0, 0)
    assert_within_sigma(found[:, 1], np.cos(1.0), np.sin(1.0) / np.sqrt(200) if shots else 0)


def test_fidelities_of_forty_qubits():
    x = ParameterVector("x", 1)
    circuit = QuantumCircuit(40)
    circuit.ry(x[0], 0)
    for q in range(39):
        circuit.cx(q, q + 1)
    lowered = lower(ParameterizedCircuit(circuit, tuple(x)))
    angles = Angles(torch.zeros(0).double(), torch.tensor([[0.2], [1.1], [1.1]]).double())
    gram = open_engine("aer?method=matrix_product_state").compile_overlap(lowered).fidelities(angles).mean
    # Aer cuts Schmidt values whose squares add up to 1e-16.
    assert gram[0, 1].item() == pytest.approx(np.cos(0.45) ** 2, abs=1e-7)
    assert gram[1, 2].item() == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("uri", ["aer", "aer?shots=10", "generic:40?shots=10", "aer?method=density_matrix"])
def test_forty_qubits_are_refused_before_allocation(uri):
    wide = lower(hardware_efficient(40, n_layers=1))
    with pytest.raises(CircuitTooLargeError, match="GiB"):
        open_engine(uri).compile(wide, z_each(40))


def test_a_list_of_all_basis_states_ends_somewhere():
    with pytest.raises(ValueError, match="at most 16 qubits"):
        open_engine("aer?method=matrix_product_state").compile_sampler(ghz(20))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("aer?nosie=fake_manila", "'noise'"),
        ("aer?method=matrix_product_stat", "'matrix_product_state'"),
        ("aer:gpu", "without a target"),
        ("generic:many", "generic:N"),
        ("generic:1", "at least 2"),
        ("generic", "generic:N"),
        ("generic:3?noise=fake_manila", "its own noise"),
        ("ibm-fake", "ibm-fake:NAME"),
    ],
)
def test_a_wrong_uri_is_refused_with_the_remedy(uri, message):
    with pytest.raises(ValueError, match=message):
        open_engine(uri)


@pytest.mark.parametrize("name", ["manila", "fake_manila", "FakeManilaV2", "FakeManila"])
def test_a_device_has_many_spellings(name):
    pytest.importorskip("qiskit_ibm_runtime")
    assert open_engine(f"ibm-fake:{name}").compile(problem()[0], z_each(3))


def test_an_unknown_device_gives_the_nearest():
    pytest.importorskip("qiskit_ibm_runtime")
    with pytest.raises(ValueError, match="'manila'"):
        open_engine("ibm-fake:manilla")


def test_a_circuit_wider_than_the_device():
    with pytest.raises(ValueError, match="at most 2 qubits"):
        open_engine("generic:2").compile(problem()[0], z_each(3))


def test_a_made_up_device_is_the_same_every_time():
    circuit, angles = problem()
    found = [open_engine("generic:4").compile(circuit, OBSERVABLES).run(angles).mean for _ in range(2)]
    assert torch.equal(*found)


@pytest.mark.parametrize("uri", ["generic:3?method=statevector", "aer?noise=fake_manila&method=matrix_product_state"])
def test_a_noisy_trajectory_is_no_exact_value(uri):
    with pytest.raises(ValueError, match="needs shots"):
        open_engine(uri)
    with open_engine(f"{uri}&shots=10"):
        pass


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("aer?precision=foo", "expected precision among double, single, got 'foo'"),
        ("aer?max_parallel_threads=two", "expected a whole number of at least 0 for max_parallel_threads, got 'two'"),
        ("generic:3?optimization_level=9", "expected optimization_level among 0, 1, 2, 3, got '9'"),
        ("aer?shot=5", "did you mean 'shots'"),
    ],
)
def test_bad_option_values_are_refused(uri, message):
    with pytest.raises(ValueError, match=message):
        open_engine(uri)
