"""Low-rank kernels against the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest

from circuits import iqp_encoding
from qworkbench.kernels import ProjectedKernel, QuantumKernel
from qworkbench.kernels.lowrank import low_rank_error, nystroem, random_features

CIRCUIT = iqp_encoding(3)
X = np.random.default_rng(5).normal(size=(80, 3))


@pytest.mark.parametrize("kernel", [QuantumKernel(CIRCUIT, bandwidth=0.5), ProjectedKernel(CIRCUIT, bandwidth=0.5)])
def test_all_points_as_landmarks_give_the_whole_matrix(kernel):
    features = nystroem(kernel, X, len(X))(X)
    np.testing.assert_allclose(features @ features.T, kernel(X), atol=1e-7)


def test_a_fidelity_kernel_of_three_qubits_has_at_most_rank_64():
    kernel = QuantumKernel(CIRCUIT)
    features = nystroem(kernel, X, 70, seed=1)
    assert features(X).shape[1] <= 64
    np.testing.assert_allclose(features(X) @ features(X).T, kernel(X), atol=1e-6)


def test_more_landmarks_err_less_and_the_estimate_says_so():
    kernel = QuantumKernel(CIRCUIT, bandwidth=0.6)
    errors = []
    # Beyond, the few points that landmarks miss hold nearly all of the error, and a sample rarely meets them.
    for n_landmarks in (2, 5, 12):
        features = nystroem(kernel, X, n_landmarks, seed=2)
        estimate = low_rank_error(kernel, features, X, n_points=60, seed=3)
        gap = (features(X) @ features(X).T - kernel(X))[np.triu_indices(len(X), 1)]
        assert abs(estimate.rms - np.sqrt((gap**2).mean())) < 4 * estimate.std_error + 1e-9
        errors.append(estimate.rms)
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("kind", [QuantumKernel, ProjectedKernel])
def test_noise_of_the_landmarks_is_not_inverted(kind):
    exact = kind(CIRCUIT, bandwidth=0.5)(X)
    errors = []
    for shots in (100, 1000, 10_000):
        kernel = kind(CIRCUIT, f"statevector?shots={shots}&seed=2", bandwidth=0.5)
        features = nystroem(kernel, X, 40)(X)
        errors.append(np.sqrt(np.mean((features @ features.T - exact) ** 2)))
        assert (features**2).sum(1).max() < 1.6
    assert 0.15 > errors[0] > errors[1] > errors[2] and errors[2] < 0.03
    # Where everything is noise the largest eigenvalue stays, so that there are features. Landmarks that are kept have
    # one and the same noise everywhere, and nothing is left out.
    rank = nystroem(kind(CIRCUIT, "statevector?shots=1&seed=2"), X, 40)(X).shape[1]
    assert 1 <= rank <= 3 if kind is QuantumKernel else rank > 30


def test_random_features_are_unbiased_and_err_as_one_over_the_root():
    kernel = QuantumKernel(CIRCUIT)
    points, n_features, repeats = X[:6], 200, 60
    grams = []
    for seed in range(repeats):
        features = random_features(kernel, n_features, seed=seed)(points)
        grams.append(features @ features.T)
    mean, spread = np.mean(grams, axis=0), np.std(grams, axis=0, ddof=1)
    assert (np.abs(mean - kernel(points)) < 5 * spread / np.sqrt(repeats)).all()
    wide = [random_features(kernel, 16 * n_features, seed=s)(points) for s in range(repeats)]
    ratio = spread.mean() / np.std([f @ f.T for f in wide], axis=0, ddof=1).mean()
    # A standard deviation of 60 draws is known to 9 %, the mean over 36 correlated entries somewhat better.
    assert 4 / 1.4 < ratio < 4 * 1.4


def test_features_do_not_depend_on_the_pieces(monkeypatch):
    kernel = QuantumKernel(CIRCUIT)
    whole = random_features(kernel, 10, seed=1)(X)
    monkeypatch.setattr("qworkbench.kernels.lowrank.ROWS", 7)
    np.testing.assert_allclose(random_features(kernel, 10, seed=1)(X), whole, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nystroem(QuantumKernel(CIRCUIT), X, 81), "from 1 to 80 landmarks"),
        (lambda: nystroem(QuantumKernel(CIRCUIT), X * np.nan, 5), "finite"),
        (lambda: nystroem(QuantumKernel(CIRCUIT), X, 2.5), "got 2.5"),
        (lambda: low_rank_error(QuantumKernel(CIRCUIT), lambda rows: rows, X, n_points=2), "at least 3 rows"),
        (lambda: random_features(QuantumKernel(CIRCUIT), 5), "even number"),
        (lambda: random_features(QuantumKernel(CIRCUIT), 4.0), "even number"),
        (lambda: random_features(QuantumKernel(CIRCUIT, "statevector?shots=10"), 4), "without shots"),
        (lambda: random_features(QuantumKernel(CIRCUIT, "aer"), 4), "on 'statevector'"),
        (lambda: low_rank_error(QuantumKernel(CIRCUIT), lambda rows: rows, X[:2]), "at least 3 rows"),
    ],
)
def test_bad_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
