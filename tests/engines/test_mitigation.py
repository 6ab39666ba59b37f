"""Mitigation: folds that keep the unitary, extrapolations, readout, and never more shots than were asked for."""

import numpy as np
import pytest
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.primitives import StatevectorSampler
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import Operator, SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from scipy.optimize import curve_fit

from circuits import ParameterizedCircuit, hardware_efficient, z_each, zz_feature_map
from qworkbench import QuantumKernel
from qworkbench.engines.mitigation import Mitigation, Readout, extrapolate, fold
from qworkbench.engines.primitives import SamplerRunner, from_qiskit_backend
from qworkbench.engines.registry import open_engine
from qworkbench.engines.runners import CircuitEngine
from qworkbench.lowering import Angles, lower
from qworkbench.testing import assert_within_sigma

OBSERVABLES = [*z_each(3), SparsePauliOp(["XXI", "IYY", "III"], [0.5, 1.0, 0.25])]
N_BASES = 3


def problem(n_rows=2):
    circuit = lower(hardware_efficient(3, n_layers=2))
    rng = np.random.default_rng(1)
    shared = torch.tensor(rng.uniform(-2, 2, circuit.n_shared))
    return circuit, Angles(shared, torch.zeros((n_rows, circuit.n_per_sample)).double())


def values(uri, n_rows=2):
    circuit, angles = problem(n_rows)
    return open_engine(uri).compile(circuit, OBSERVABLES).run(angles)


def entangled():
    x = ParameterVector("x", 2)
    circuit = QuantumCircuit(2, 2)
    circuit.ry(x[0], 0)
    for _ in range(4):
        circuit.cx(0, 1)
        circuit.sx(1)
    circuit.rzz(x[1], 0, 1)
    circuit.ecr(1, 0)
    circuit.measure([0, 1], [1, 0])
    return circuit, x


@pytest.mark.parametrize(("scale", "pairs"), [(1, 6), (5 / 3, 10), (3, 18), (4, 24), (5, 30)])
def test_folding_keeps_the_unitary_the_measurement_and_counts_its_pairs(scale, pairs):
    circuit, x = entangled()
    folded = fold(circuit, scale)
    assert sum(len(gate.qubits) == 2 for gate in folded.data) == pairs
    assert folded.data[-2:] == circuit.data[-2:]
    bound = [
        c.assign_parameters({x[0]: 0.4, x[1]: 1.3}).remove_final_measurements(inplace=False) for c in (circuit, folded)
    ]
    assert Operator(bound[0]) == Operator(bound[1])


def test_folds_are_spread_over_the_circuit():
    gates = [gate.name for gate in fold(entangled()[0], 1 + 2 * 2 / 6).data if len(gate.qubits) == 2]
    assert gates == ["cx"] * 5 + ["cx", "rzz", "ecr", "ecr", "ecr"]


def test_a_scale_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"steps of 2/6 .* got 2\.2"):
        fold(entangled()[0], 2.2)


def test_circuits_without_pairs_fold_their_other_gates():
    w = ParameterVector("w", 2)
    circuit = QuantumCircuit(1)
    circuit.ry(w[0], 0)
    circuit.rz(w[1], 0)
    circuit.sx(0)
    lowered = lower(ParameterizedCircuit(circuit, (), tuple(w)))
    angles = Angles(torch.tensor([0.4, 1.1]).double(), torch.zeros((1, 0)).double())

    def z(uri):
        return open_engine(uri).compile(lowered, z_each(1)).run(angles).mean.item()

    exact, noise = z("statevector"), "aer?noise=depolarizing:0.05"
    assert z(f"{noise}&noise_scale=3") == pytest.approx(0.95**9 * exact)
    assert z(f"{noise}&mitigation=zne&zne_fit=exponential") == pytest.approx(exact)
    assert fold(QuantumCircuit(2), 3) == QuantumCircuit(2)


def test_inverses_of_one_qubit_gates_become_gates_of_the_target():
    circuit = QuantumCircuit(1)
    circuit.sx(0)
    circuit.rz(0.3, 0)
    target = GenericBackendV2(2).target
    folded = fold(circuit, 3, generate_preset_pass_manager(0, target=target, initial_layout=[0]).run)
    assert set(folded.count_ops()) <= set(target.operation_names)
    assert folded.count_ops()["sx"] >= 3
    wide = QuantumCircuit(2)
    wide.compose(circuit, [0], inplace=True)
    assert Operator(folded).equiv(Operator(wide))


def test_probabilities_are_mitigated_and_add_up():
    pytest.importorskip("qiskit_ibm_runtime")
    circuit, angles = problem(n_rows=1)
    exact = open_engine("statevector").compile_sampler(circuit).probabilities(angles).mean

    def found(options):
        engine = open_engine(f"ibm-fake:manila?shots=60000&seed=3{options}")
        return engine.compile_sampler(circuit).probabilities(angles)

    plain, both = found(""), found("&mitigation=readout,zne&zne_fit=exponential")
    assert both.mean.sum().item() == pytest.approx(1)
    assert (both.mean - exact).abs().mean() < 0.3 * (plain.mean - exact).abs().mean()
    assert (both.std_error > plain.std_error).all()
    # Without gate errors left out, the readout's correction alone must find the exact noisy probabilities.
    truth = open_engine("ibm-fake:manila").compile_sampler(circuit).probabilities(angles).mean
    readout = found("&mitigation=readout")
    assert_within_sigma(readout.mean, truth, readout.std_error)


def test_extrapolations_of_a_decay_and_their_errors():
    scales, ideal, rate = (1.0, 3.0, 5.0), np.array([0.8, -0.35]), 0.08
    decayed = np.array([ideal * np.exp(-rate * s) for s in scales])
    errors = np.full_like(decayed, 0.01)
    exponential, spread = extrapolate(decayed, errors, scales, "exponential")
    assert np.allclose(exponential, ideal)
    linear, linear_error = extrapolate(decayed[:2], errors[:2], scales[:2])
    assert np.allclose(linear, 1.5 * decayed[0] - 0.5 * decayed[1])
    assert np.allclose(linear_error, 0.01 * np.hypot(1.5, 0.5))
    richardson, richardson_error = extrapolate(decayed, errors, scales, "richardson")
    assert np.allclose(richardson, (15 * decayed[0] - 10 * decayed[1] + 3 * decayed[2]) / 8)
    assert np.allclose(richardson_error, 0.01 * np.sqrt(15**2 + 10**2 + 3**2) / 8)
    # The delta method against brute force.
    draws = decayed[:, None] + 0.01 * np.random.default_rng(0).standard_normal((3, 20000, 2))
    found = extrapolate(draws, np.full_like(draws, 0.01), scales, "exponential")[0]
    assert np.allclose(found.std(axis=0), spread, rtol=0.05)


def test_a_decay_is_fitted_as_scipy_fits_it():
    scales, rng = (1.0, 2.0, 3.0, 5.0, 8.0), np.random.default_rng(2)
    errors = rng.uniform(0.01, 0.03, (5, 6))
    ideal, rate = rng.uniform(-1, 1, 6), rng.uniform(0.1, 0.4, 6)
    ideal += 0.5 * np.sign(ideal)
    measured = ideal * np.exp(-np.outer(scales, rate)) + errors * rng.standard_normal((5, 6))
    found, spread = extrapolate(measured, errors, scales, "exponential")
    for k in range(6):
        best, covariance = curve_fit(
            lambda s, a, b: a * np.exp(-b * s),
            scales,
            measured[:, k],
            (ideal[k], 0.2),
            errors[:, k],
            absolute_sigma=True,
        )
        assert found[k] == pytest.approx(best[0], rel=1e-4)
        assert spread[k] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-3)
    assert np.abs((found - ideal) / spread).max() < 4


def test_a_decay_is_read_from_resolved_values_only():
    drowned = np.array([[0.02, 0.9], [-0.01, 0.8]])
    errors = np.full_like(drowned, 0.02)
    found, _ = extrapolate(drowned, errors, (1, 3), "exponential")
    assert found[0] == pytest.approx(1.5 * 0.02 + 0.5 * 0.01)
    assert found[1] == pytest.approx(0.9**1.5 / 0.8**0.5)


def test_gates_depolarise_as_they_should():
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    lowered, p = lower(ParameterizedCircuit(bell)), 0.04
    engine = open_engine(f"aer?noise=depolarizing:{p}")
    angles = Angles(torch.zeros(0).double(), torch.zeros((1, 0)).double())
    found = engine.compile(lowered, [SparsePauliOp("ZZ"), SparsePauliOp("XX")]).run(angles).mean[0]
    # A mixed qubit before the CX still gives ZZ = 1; XX needs the coherence.
    assert torch.allclose(found, torch.tensor([1 - p, (1 - p) ** 2]).double(), atol=1e-9)


# Gates on one qubit are not folded: where they are as noisy as the others, their share of the error stays.
@pytest.mark.parametrize(
    ("uri", "left"), [("generic:3", 0.5), ("aer?noise=depolarizing:0.01", 0.9), ("ibm-fake:manila", 0.5)]
)
def test_extrapolation_removes_noise_and_equals_the_one_by_hand(uri, left):
    if "fake" in uri:
        pytest.importorskip("qiskit_ibm_runtime")
    join = "&" if "?" in uri else "?"
    exact = values("statevector").mean
    noisy, tripled = (values(f"{uri}{join}noise_scale={s}").mean for s in (1, 3))
    found = values(f"{uri}{join}mitigation=zne").mean
    assert torch.equal(noisy, values(uri).mean)
    assert torch.allclose(found, 1.5 * noisy - 0.5 * tripled, atol=1e-12)
    assert (found - exact).abs().mean() < left * (noisy - exact).abs().mean()


def test_the_device_without_errors_gives_exact_values():
    exact, placed = values("statevector").mean, values("aer?device=generic:3").mean
    assert torch.allclose(exact, placed, atol=1e-9)
    assert (values("aer?noise=generic:3").mean - exact).abs().max() > 1e-3


def test_corrected_readout_is_unbiased_and_its_errors_are_right():
    pytest.importorskip("qiskit_ibm_runtime")
    # Exact noisy values hold no readout error, so they are what the correction must find.
    shots, device = 20000, "ibm-fake:manila"
    truth = values(device).mean
    plain, corrected = (values(f"{device}?shots={shots}&seed=5{o}") for o in ("", "&mitigation=readout"))
    assert ((plain.mean - truth) / plain.std_error).abs().max() > 8
    assert_within_sigma(corrected.mean, truth, corrected.std_error)
    # The spread of whole repetitions, each with a calibration of its own that is as noisy as the data.
    engine, (circuit, angles) = open_engine(f"{device}?shots=400&seed=1&mitigation=readout"), problem(n_rows=1)
    draws = [engine.compile(circuit, OBSERVABLES).run(angles) for _ in range(60)]
    spread = torch.cat([draw.mean for draw in draws]).std(0)
    assert torch.allclose(spread, torch.cat([draw.std_error for draw in draws]).mean(0), rtol=0.3)


def test_a_coin_toss_is_no_readout():
    with pytest.raises(ValueError, match="measured qubit 1: its readout"):
        Readout.calibrated({0b00: 50, 0b10: 50}, {0b11: 50, 0b01: 50}, 2)


@pytest.mark.parametrize(
    ("options", "submissions"),
    [("mitigation=zne", 1), ("mitigation=readout,zne", 2), ("mitigation=zne&zne_scales=1,3,5&zne_fit=exponential", 1)],
)
def test_mitigation_takes_no_more_shots_than_asked_for(options, submissions):
    circuit, angles = problem(n_rows=2)
    engine = open_engine(f"generic:3?shots=301&seed=1&{options}")
    program = engine.compile(circuit, OBSERVABLES)
    program.run(angles)
    budget = 2 * N_BASES * 301
    assert engine.usage.submissions == submissions
    assert 0.98 * budget < engine.usage.shots <= budget
    before = engine.usage.submissions
    program.vjp(angles, torch.ones((2, 4)).double())
    assert engine.usage.submissions == before + 1


def test_the_gradient_is_that_of_the_mitigated_value():
    circuit, angles = problem(n_rows=2)
    cotangent = torch.tensor(np.random.default_rng(3).normal(size=(2, 4)))

    def gradient(uri):
        return open_engine(uri).compile(circuit, OBSERVABLES).vjp(angles, cotangent).shared

    exact, noisy = gradient("statevector"), gradient("generic:3")
    found = gradient("generic:3?mitigation=zne")
    assert torch.allclose(found, 1.5 * noisy - 0.5 * gradient("generic:3?noise_scale=3"), atol=1e-10)
    assert (found - exact).norm() < 0.5 * (noisy - exact).norm()
    # A second method for noisy gradients: differences of the noisy values.
    step, program = 1e-5, open_engine("generic:3").compile(circuit, OBSERVABLES)
    for k in (0, 5):
        shift = torch.zeros_like(angles.shared)
        shift[k] = step
        ends = [
            (program.run(Angles(angles.shared + s * shift, angles.per_sample)).mean * cotangent).sum() for s in (1, -1)
        ]
        assert noisy[k].item() == pytest.approx(((ends[0] - ends[1]) / (2 * step)).item(), abs=1e-6)


def test_kernel_entries_are_mitigated_with_their_errors():
    X = np.random.default_rng(1).uniform(0, 2 * np.pi, (4, 2))
    exact = QuantumKernel(zz_feature_map(2))(X)
    noisy, mitigated = (
        QuantumKernel(zz_feature_map(2), f"generic:2?shots=40000&seed=3{option}").estimate(X)
        for option in ("", "&mitigation=readout,zne&zne_fit=exponential")
    )
    off = ~np.eye(4, dtype=bool)
    errors = [np.abs(k - exact)[off].mean() for k, _ in (noisy, mitigated)]
    assert errors[1] < 0.5 * errors[0]
    assert (np.diag(mitigated[0]) == 1).all() and (mitigated[1][off] > noisy[1][off]).all()


def test_live_backends_and_samplers_are_mitigated():
    provider = pytest.importorskip("qiskit_ibm_runtime.fake_provider")
    device, shots = provider.FakeManilaV2(), 40000
    circuit, angles = problem(n_rows=1)
    exact = values("statevector", 1).mean

    def error(mitigation):
        engine = from_qiskit_backend(device, shots, 1, mitigation)
        found = engine.compile(circuit, OBSERVABLES).run(angles)
        assert engine.usage.shots <= N_BASES * shots
        return (found.mean - exact).abs().mean()

    plain, readout, both = (error(Mitigation(*m)) for m in ((), (True,), (True, (1, 3))))
    assert both < 0.7 * readout < 0.7 * plain
    # The exact values of the same device hold the errors of its gates alone, wherever it places the circuit.
    assert abs(readout - (values("ibm-fake:manila", 1).mean - exact).abs().mean()) < 0.02
    with pytest.raises(ValueError, match="cannot do what the mitigation needs: readout"):
        CircuitEngine(SamplerRunner(StatevectorSampler(), lambda c: c), 10, 0, "sampler", Mitigation(readout=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mitigation=zen", "'zne'"),
        ("mitigation=zne&zne_fit=cubic", "expected one of|did you mean|linear"),
        ("mitigation=zne&zne_scales=1", "at least two noise scales"),
        ("mitigation=zne&zne_scales=1,1", "different noise scales"),
        ("mitigation=zne&zne_scales=0.5,1", "at least 1"),
        ("mitigation=zne&zne_scales=1,x", "numbers joined by"),
        ("zne_scales=1,3", "expected mitigation=zne with zne_scales"),
        ("mitigation=zne&noise_scale=3", "either noise_scale or mitigation=zne"),
        ("mitigation=readout", "give shots"),
        ("device=fake_manila", "its own noise"),
    ],
)
def test_options_that_are_wrong_or_idle_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        open_engine(f"generic:3?{options}")


def test_too_few_shots_for_the_scales_are_refused():
    circuit, angles = problem()
    for shots, method in ((1, "zne"), (1, "readout"), (2, "readout,zne")):
        engine = open_engine(f"generic:3?shots={shots}&mitigation={method}")
        with pytest.raises(ValueError, match="expected more shots"):
            engine.compile(circuit, z_each(3)).run(angles)
        assert engine.usage.shots == 0
    for uri in ("aer?noise=depolarizing:2", "aer?noise=depolarizing:x"):
        with pytest.raises(ValueError, match="with a probability"):
            open_engine(uri)
    with pytest.raises(ValueError, match="either device"):
        open_engine("aer?noise=generic:3&device=generic:3")
