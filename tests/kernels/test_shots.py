"""Shots by variance, positive semidefinite repairs, depolarisation undone, and the effect on a classifier."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import transpile
from qiskit.quantum_info import DensityMatrix, Operator, SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error
from sklearn.datasets import make_moons

from circuits import angle_encoding, iqp_encoding, zz_feature_map
from qworkbench import gram_matrix
from qworkbench.kernels import ProjectedKernel, QuantumKernel
from qworkbench.kernels.repair import REPAIRS, repair_psd
from qworkbench.kernels.shots import (
    ShotEstimate,
    _proportional,
    allocate_shots,
    classifier_spread,
    correct_depolarising,
    frequency_error,
    measure_diagonal,
    undo_depolarising,
)

X = np.random.default_rng(5).uniform(-1, 1, (8, 2))
CIRCUIT = iqp_encoding(2)


@pytest.mark.parametrize("backend", ["statevector?shots=20&seed=2", "aer?shots=20&seed=2"])
@pytest.mark.parametrize("y", [None, X[:3] + 0.1])
def test_allocated_shots_add_up_and_follow_the_standard_deviation(backend, y):
    kernel, exact = QuantumKernel(CIRCUIT, backend), QuantumKernel(CIRCUIT)(X, y)
    found = allocate_shots(kernel, X, y, rounds=40, pilot=4)
    entries = np.triu_indices(8, 1) if y is None else np.indices(exact.shape).reshape(2, -1)
    shots = found.shots[tuple(entries)]
    assert shots.sum() == kernel.usage["shots"] == 40 * 20 * len(shots)
    assert shots.min() >= 4 * 20
    spread = np.sqrt(exact * (1 - exact))[tuple(entries)]
    assert np.corrcoef(shots, spread)[0, 1] > 0.9
    assert (np.abs(found.mean - exact) <= 5 * np.sqrt(exact * (1 - exact) / found.shots.clip(1)) + 1e-2).all()
    if y is None:
        np.testing.assert_array_equal(found.mean, found.mean.T)
        np.testing.assert_array_equal(np.diag(found.mean), 1)
        np.testing.assert_array_equal(np.diag(found.shots), 0)


def test_exact_backends_that_run_a_circuit_a_pair_run_those_that_are_asked_for():
    kernel = QuantumKernel(CIRCUIT, "pennylane:default.mixed")
    gram, error = kernel.estimate(X[:3], repeats=np.array([[0, 5, 0], [0, 0, 1], [0, 0, 0]]))
    assert kernel.usage["circuits"] == 2
    assert np.isnan(gram[0, 2]) and np.isnan(error[0, 2])
    exact = QuantumKernel(CIRCUIT)(X[:3])
    np.testing.assert_allclose([gram[0, 1], gram[1, 2]], [exact[0, 1], exact[1, 2]], atol=1e-7)


def test_exact_backends_that_compare_states_ignore_repeats():
    for backend in ("statevector", "aer"):
        kernel = QuantumKernel(CIRCUIT, backend)
        gram, error = kernel.estimate(X[:3], repeats=np.zeros((3, 3), dtype=int))
        np.testing.assert_allclose(gram, QuantumKernel(CIRCUIT)(X[:3]), atol=1e-12)
        assert not error.any()


def test_allocation_beats_equal_shots():
    sharp = zz_feature_map(2)  # entries near 0 and near 1/2
    exact, upper = QuantumKernel(sharp)(X), np.triu_indices(8, 1)
    errors = {"equal": 0.0, "allocated": 0.0}
    for seed in range(40):
        equal = QuantumKernel(sharp, f"statevector?shots=400&seed={seed}")(X)
        allocated = allocate_shots(QuantumKernel(sharp, f"statevector?shots=10&seed={seed}"), X, rounds=40, pilot=8)
        errors["equal"] += ((equal - exact)[upper] ** 2).sum()
        errors["allocated"] += ((allocated.mean - exact)[upper] ** 2).sum()
    deviation = np.sqrt(exact * (1 - exact))[upper]
    ideal = deviation.mean() ** 2 / (deviation**2).mean()
    assert ideal < 0.9
    assert errors["allocated"] / errors["equal"] < (1 + ideal) / 2


def test_whole_portions_keep_total_and_minimum():
    assert _proportional(np.array([0.0, 1.0, 3.0, 0.1]), 21, 2).tolist() == [2, 4, 13, 2]
    assert _proportional(np.ones(3), 10, 1).sum() == 10


def test_errors_of_the_flat_prior_are_those_of_the_beta_distribution():
    from scipy.stats import beta

    for shots, frequency in ((50, 0.0), (50, 0.2), (50, 1.0), (1, 1.0), (2, 0.5)):
        left = beta(shots * frequency + 1, shots * (1 - frequency) + 1)
        expected = np.sqrt(left.expect(lambda p, shots=shots: p * (1 - p) / shots))
        assert frequency_error(np.array(frequency), np.array(shots)) == pytest.approx(expected)


@pytest.fixture(scope="module")
def noisy():
    points = np.random.default_rng(1).uniform(-1, 1, (30, 2))
    return QuantumKernel(iqp_encoding(2), "statevector?shots=100&seed=9", bandwidth=0.5).estimate(points)


@pytest.mark.parametrize("method", ["auto", *REPAIRS])
def test_repairs_are_positive_with_the_same_diagonal(method, noisy):
    gram, error = noisy
    repair = repair_psd(gram, method, error)
    assert np.linalg.eigvalsh(gram)[0] == pytest.approx(repair.min_eigenvalue)
    assert repair.min_eigenvalue < -0.01 and repair.n_negative > 3
    assert np.linalg.eigvalsh(repair.gram)[0] > -1e-8
    np.testing.assert_allclose(np.diag(repair.gram), 1, atol=1e-12)
    assert 0 < repair.change < 12
    scaled = repair_psd(4 * gram, method, 4 * error)
    np.testing.assert_allclose(scaled.gram, 4 * repair.gram, atol=1e-8)


def test_the_nearest_is_nearest_and_auto_takes_the_least_change(noisy):
    gram, error = noisy
    distances = {m: np.linalg.norm(repair_psd(gram, m).gram - gram) for m in REPAIRS}
    assert min(distances, key=lambda m: distances[m]) == "nearest"
    changes = {m: repair_psd(gram, m, error).change for m in REPAIRS}
    chosen = repair_psd(gram, "auto", error)
    assert chosen.change == min(changes.values()) and changes[chosen.method] == chosen.change


def test_what_is_positive_is_left_alone():
    gram = QuantumKernel(CIRCUIT)(X)
    repair = repair_psd(gram)
    assert repair.method == "none" and repair.gram is gram and repair.change == 0


def test_a_depolarised_gram_matrix_is_restored():
    # The oracle applies the noise to density matrices: each encoding and its inverse keeps the state with s_i.
    survival, n = np.random.default_rng(3).uniform(0.6, 0.95, len(X)), 2
    states = [DensityMatrix(CIRCUIT.bind(x)).data for x in X]
    noisy = np.array(
        [
            [
                np.trace((a * b * left + (1 - a * b) * np.eye(4) / 4) @ right).real
                for b, right in zip(survival, states, strict=True)
            ]
            for a, left in zip(survival, states, strict=True)
        ]
    )
    corrected, growth = correct_depolarising(noisy, np.diag(noisy), n)
    np.testing.assert_allclose(corrected, QuantumKernel(CIRCUIT)(X), atol=1e-12)
    np.testing.assert_allclose(growth, 1 / np.outer(survival, survival), atol=1e-12)
    part, _ = correct_depolarising(noisy[:3], np.diag(noisy)[:3], n, np.diag(noisy))
    np.testing.assert_allclose(part, QuantumKernel(CIRCUIT)(X[:3], X), atol=1e-12)


def test_the_correction_lowers_the_error_on_a_noisy_simulator():
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.03, 2), ["cx"])
    simulator = AerSimulator(
        noise_model=model, basis_gates=["cx", "rz", "sx", "x", "h"], shots=30_000, seed_simulator=1
    )
    assert Operator(transpile(CIRCUIT.bind(X[0]), simulator)).is_unitary()
    kernel = QuantumKernel(CIRCUIT, simulator)
    exact, measured = QuantumKernel(CIRCUIT)(X), kernel(X)
    diagonal = measure_diagonal(kernel, X, rounds=4)
    assert (diagonal.mean < 0.97).all() and (diagonal.std_error > 0).all()
    corrected, _ = correct_depolarising(measured, diagonal.mean, 2)
    upper = np.triu_indices(len(X), 1)
    assert np.abs(corrected - exact)[upper].mean() < 0.6 * np.abs(measured - exact)[upper].mean()


@pytest.mark.parametrize("y", [None, X[:3] + 0.1])
@pytest.mark.parametrize("backend", ["statevector?shots=160&seed=2", "aer?shots=160&seed=2"])
def test_a_kernel_shares_out_its_shots_by_variance(backend, y):
    kernel, exact = QuantumKernel(CIRCUIT, backend, bandwidth=0.7, allocation="variance"), QuantumKernel(CIRCUIT)
    mean, error = kernel.estimate(X, y)
    wanted = exact(0.7 * X, None if y is None else 0.7 * y)
    n_measured = 28 if y is None else 24
    assert kernel.usage["shots"] == 160 * n_measured
    assert (np.abs(mean - wanted) <= 5 * np.maximum(error, 1e-12)).all()
    np.testing.assert_array_equal(
        gram_matrix(kernel, X, y),
        gram_matrix(QuantumKernel(CIRCUIT, backend, bandwidth=0.7, allocation="variance"), X, y),
    )
    plain = QuantumKernel(CIRCUIT, backend, bandwidth=0.7)
    assert (gram_matrix(kernel, X, y) != gram_matrix(plain, X, y)).any()


@pytest.mark.parametrize(("shots", "used"), [(8, 8), (15, 15), (23, 22), (1023, 1023), (17, 16)])
def test_few_shots_are_left_over(shots, used):
    # In 8 to 15 portions: 23 in 11 and 17 in 8, the others without a remainder.
    kernel = QuantumKernel(CIRCUIT, f"statevector?shots={shots}&seed=1", allocation="variance")
    kernel.estimate(X)
    assert kernel.usage["shots"] == used * 28


@pytest.mark.parametrize("y", [None, X[:3] + 0.1])
@pytest.mark.parametrize("method", ["auto", "swap-test"])
@pytest.mark.parametrize("backend", ["statevector", "aer"])
@pytest.mark.parametrize("shots", [1, 7, 50, 101])
def test_no_entry_is_certain_after_shots(shots, backend, method, y):
    mean, error = QuantumKernel(CIRCUIT, f"{backend}?shots={shots}&seed=2", bandwidth=0.05, method=method).estimate(
        X, y
    )
    unit = 2.0 if method == "swap-test" else 1.0
    entries = np.triu_indices(8, 1) if y is None else np.indices(mean.shape).reshape(2, -1)
    agreed = np.isclose(np.abs(mean[tuple(entries)]), 1, atol=1e-9) | (shots == 1)
    assert agreed.any()
    wanted = unit * np.sqrt((shots + 1) / ((shots + 2) * (shots + 3) * shots))
    np.testing.assert_allclose(error[tuple(entries)][agreed], wanted)
    assert (error[tuple(entries)] > wanted / 2).all()
    if y is None:
        assert not np.diag(error).any() and (error == error.T).all()


@pytest.mark.parametrize("options", [{}, {"shadows": 200}, {"observables": [SparsePauliOp("ZZ")]}])
def test_no_measured_feature_is_certain_after_shots(options):
    # Rounding leaves sqrt(1e-16) where the shots agree: whatever the number of shots, no error is far below one flip's.
    for shots in (1, 3, 7, 10, 33, 101):
        kernel = ProjectedKernel(
            angle_encoding(2), f"statevector?shots={shots}&seed=4", bandwidth=1e-3, gamma=0.1, **options
        )
        features = kernel.features(X)
        assert (features.std_error > 1e-2 / shots / options.get("shadows", 1)).all()
    assert kernel.estimate(X[:2])[1][0, 1] > 0
    many = ProjectedKernel(angle_encoding(2), "statevector?shots=3000&seed=4", bandwidth=1e-3, **options).features(X)
    assert many.std_error.mean() < 0.3 * features.std_error.mean()


@pytest.mark.parametrize("shots", [1, 5, 20, 100])
def test_errors_are_never_too_small_where_most_shots_agree(shots):
    # Fidelities of 0.98: up to 100 shots a quarter of the entries or more have no disagreeing shot at all.
    exact, upper = QuantumKernel(CIRCUIT, bandwidth=0.2)(X), np.triu_indices(8, 1)
    ratios = []
    for seed in range(200):
        mean, error = QuantumKernel(CIRCUIT, f"statevector?shots={shots}&seed={seed}", bandwidth=0.2).estimate(X)
        assert (mean[upper] == 1).any() and (error[upper] > 0).all()
        ratios.append(((mean - exact) ** 2)[upper].sum() / (error**2)[upper].sum())
    assert np.mean(ratios) < 1 + 5 * np.std(ratios) / np.sqrt(200)


def test_shares_by_variance_and_the_diagonal_have_other_random_numbers():
    kernel = QuantumKernel(CIRCUIT, "statevector?shots=80&seed=4", allocation="variance", correction="depolarising")
    kernel.estimate(X)
    assert kernel._portions.backend.seed not in (None, 4)
    unseeded = QuantumKernel(CIRCUIT, "statevector?shots=80", allocation="variance")
    assert unseeded._portions.backend.seed is None


@pytest.mark.parametrize("shots", [100, 1000])
def test_the_error_of_near_projected_samples_is_that_of_their_scatter(shots):
    near = X[0] + np.array([[0.0, 0.0], [1e-3, 0.0], [0.0, 2e-3], [0.3, -0.2]])
    found = []
    for seed in range(150):
        kernel = ProjectedKernel(CIRCUIT, f"statevector?shots={shots}&seed={seed}", gamma=0.5)
        found.append(kernel.estimate(near))
    upper = np.triu_indices(4, 1)
    means, errors = (np.array([pair[k][upper] for pair in found]) for k in range(2))
    ratio = np.sqrt((errors**2).mean(0)) / means.std(0, ddof=1)
    # At no distance the variance of 6 Paulis is estimated at its least or above, never below: errors are too large by
    # sqrt(1 + 2 E[(Q - 6)+] / 6) = 1.20 with Q chi-square of 6. The scatter of 150 such squares is known to 8 %. With
    # nothing taken off the factor would be sqrt(3).
    assert 0.9 < ratio.mean() < 1.2 and ratio.max() < 1.6


def test_one_sample_has_nothing_to_allocate():
    for allocation in ("equal", "variance"):
        kernel = QuantumKernel(CIRCUIT, "aer?shots=80&seed=1", allocation=allocation, correction="depolarising")
        mean, error = kernel.estimate(X[:1])
        assert mean.tolist() == [[1.0]] and error.tolist() == [[0.0]]


def test_a_kernel_undoes_depolarisation_and_its_errors_hold():
    # Sampled frequencies of the noisy law, many times over: pulls of unit variance, within 5 standard errors of theirs.
    rng, survival, shots, n = np.random.default_rng(8), 0.8, 400, 30
    points = rng.uniform(-1, 1, (n, 2))
    exact = QuantumKernel(CIRCUIT)(points)
    pulls = []
    for _ in range(40):
        law = survival**2 * exact + (1 - survival**2) / 4
        upper = np.triu(rng.binomial(shots, law) / shots, 1)
        gram = upper + upper.T + np.eye(n)
        own = rng.binomial(4 * shots, np.diag(law)) / (4 * shots)
        diagonal = ShotEstimate(own, frequency_error(own, np.full(n, 4 * shots)), np.full(n, 4 * shots))
        error = frequency_error(gram, np.full((n, n), shots))
        np.fill_diagonal(error, 0)
        mean, error, left = undo_depolarising(gram, error, 2, diagonal)
        assert left == pytest.approx(survival**2, abs=5 * 0.5 / np.sqrt(4 * shots * n))
        np.testing.assert_array_equal(np.diag(mean), 1)
        # Entries of different rows and columns, which share no diagonal, are independent.
        first, second = np.arange(0, n, 2), np.arange(1, n, 2)
        pulls.append(((mean - exact) / error.clip(1e-12))[first, second])
    z = np.concatenate(pulls)
    assert abs(z.mean()) < 5 / np.sqrt(len(z))
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / len(z))


@pytest.mark.parametrize("shots", ["", "&shots=2000"])
def test_a_kernel_measures_its_own_noise(shots):
    backend = f"generic:5?seed=3{shots}"
    exact = QuantumKernel(CIRCUIT)(X)
    plain, corrected = (QuantumKernel(CIRCUIT, backend, correction=name) for name in ("none", "depolarising"))
    upper = np.triu_indices(len(X), 1)
    mean, error = corrected.estimate(X)
    assert 0.5 < corrected.survival < 1
    assert np.abs(mean - exact)[upper].mean() < np.abs(plain(X) - exact)[upper].mean()
    assert corrected.usage["circuits"] == 28 + 8 * (4 if shots else 1)
    assert error.any() == bool(shots)
    clean = QuantumKernel(CIRCUIT, correction="depolarising")
    np.testing.assert_allclose(clean(X), exact, atol=1e-12)
    assert clean.survival == 1 and clean.usage["circuits"] == len(X)


def test_spread_of_a_classifier_shrinks_with_the_errors():
    points, labels = make_moons(60, noise=0.2, random_state=2)
    train, test = slice(0, 40), slice(40, None)
    spreads = []
    for shots in (30, 30_000):
        kernel = QuantumKernel(iqp_encoding(2), f"statevector?shots={shots}&seed=1")
        gram, cross = kernel.estimate(points[train]), kernel.estimate(points[test], points[train])
        spreads.append(classifier_spread(*gram, labels[train], *cross, labels[test], C=10.0))
    assert spreads[0].flips > 3 * spreads[1].flips and spreads[0].std_error > spreads[1].std_error
    assert spreads[1].score > 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: allocate_shots(QuantumKernel(CIRCUIT), X), "sampling backend"),
        (lambda: allocate_shots(QuantumKernel(CIRCUIT, "aer?shots=9"), X, rounds=2, pilot=2), "pilot < rounds"),
        (lambda: allocate_shots(QuantumKernel(CIRCUIT, "aer?shots=9"), X, rounds=4.5), "whole numbers"),
        (lambda: measure_diagonal(QuantumKernel(CIRCUIT, "aer?shots=9"), X, rounds=0), "at least 1 round"),
        (lambda: classifier_spread(*[np.eye(3)] * 2, [0, 1, 0], *[np.eye(3)] * 2, [0, 1]), "two of .2, 3."),
        (lambda: classifier_spread(*[np.eye(2)] * 2, [0, 1], *[np.eye(2)] * 2, [0, 1], n_draws=1), "2 draws"),
        (lambda: repair_psd(np.zeros((0, 0))), "square"),
        (lambda: ProjectedKernel(CIRCUIT, n_body=1.5), "n_body between 1 and 2"),
        (lambda: ProjectedKernel(CIRCUIT, shape=2.0), "no shape of a Gaussian"),
        (lambda: QuantumKernel(CIRCUIT, allocation="varience"), "did you mean 'variance'"),
        (lambda: QuantumKernel(CIRCUIT, correction="depolarizing"), "did you mean 'depolarising'"),
        (lambda: QuantumKernel(CIRCUIT, "aer?shots=7", allocation="variance"), "at least 8 shots"),
        (lambda: QuantumKernel(CIRCUIT, AerSimulator(), allocation="variance"), "backend as a URI"),
        (lambda: QuantumKernel(CIRCUIT, method="swap-test", correction="depolarising"), "swap test"),
        (lambda: repair_psd(np.zeros((2, 3))), "square"),
        (lambda: repair_psd(np.array([[1, 2], [0, 1.0]])), "symmetric"),
        (lambda: repair_psd(np.array([[1, 2], [2, 1.0]]), "clipp"), "did you mean 'clip'"),
        (lambda: correct_depolarising(np.eye(2), [0.9, 0.2], 2), "no signal"),
        (lambda: correct_depolarising(np.eye(2), [0.9], 2), "fit shape"),
        (
            lambda: QuantumKernel(CIRCUIT, "aer?shots=9").estimate(X, repeats=np.ones((2, 2), dtype=int)),
            r"repeats of shape \(8, 8\)",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_needs_pairs_refuses_projected_kernels():
    for call in (allocate_shots, measure_diagonal):
        with pytest.raises(TypeError, match=r"expected a QuantumKernel, .* got ProjectedKernel"):
            call(ProjectedKernel(CIRCUIT, "statevector?shots=9"), X)
