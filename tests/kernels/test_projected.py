"""Projected kernels against density matrices from Qiskit, exact, sampled and from classical shadows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp, Statevector, partial_trace
from sklearn.gaussian_process.kernels import Matern, RationalQuadratic

from circuits import iqp_encoding, real_amplitudes
from qworkbench.kernels import ProjectedKernel
from qworkbench.kernels.projected import reduced_paulis

X = np.random.default_rng(41).uniform(-1, 1, (5, 3))
Y = np.random.default_rng(42).uniform(-1, 1, (4, 3))
CIRCUIT = iqp_encoding(3, n_layers=2)


def squared_distances(x, y, n_body):
    """Sum over subsets of squared Frobenius distances of partial traces."""

    def matrices(rows):
        states = [Statevector(CIRCUIT.bind(row)) for row in rows]
        return [
            [partial_trace(s, [q for q in range(3) if q not in kept]).data for kept in combinations(range(3), n_body)]
            for s in states
        ]

    return np.array(
        [[sum(np.linalg.norm(a - b) ** 2 for a, b in zip(r, s, strict=True)) for s in matrices(y)] for r in matrices(x)]
    )


@pytest.mark.parametrize("n_body", [1, 2, 3])
def test_the_gaussian_of_the_distance_of_density_matrices(n_body):
    kernel = ProjectedKernel(CIRCUIT, n_body=n_body, gamma=0.7)
    expected = np.exp(-0.7 * squared_distances(X, Y, n_body))
    np.testing.assert_allclose(kernel(X, Y), expected, atol=1e-12)
    gram, error = kernel.estimate(X)
    np.testing.assert_array_equal(np.diag(gram), 1)
    assert np.linalg.eigvalsh(gram).min() > -1e-12
    assert not error.any()


@pytest.mark.parametrize(
    ("outer", "shape", "peer"),
    [
        ("matern", 0.5, Matern(1 / np.sqrt(1.4), nu=0.5)),
        ("matern", 1.5, Matern(1 / np.sqrt(1.4), nu=1.5)),
        ("matern", 2.5, Matern(1 / np.sqrt(1.4), nu=2.5)),
        # scikit-learn's is (1 + d^2 / (2 a l^2))^-a.
        ("rational-quadratic", 0.8, RationalQuadratic(1 / np.sqrt(1.4), alpha=0.8)),
    ],
)
def test_outer_kernels_are_those_of_scikit_learn(outer, shape, peer):
    kernel = ProjectedKernel(CIRCUIT, outer=outer, shape=shape, gamma=0.7)
    features = kernel.features(X).mean.numpy(), kernel.features(Y).mean.numpy()
    np.testing.assert_allclose(kernel(X, Y), peer(*features), atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"shadows": 600}])
def test_sampled_entries_lie_within_their_errors(settings):
    exact = ProjectedKernel(CIRCUIT, n_body=2)(X)
    shots = 8 if settings else 4000
    kernel = ProjectedKernel(CIRCUIT, f"statevector?shots={shots}&seed=3", n_body=2, **settings)
    gram, error = kernel.estimate(X)
    upper = np.triu_indices(5, 1)
    assert (error[upper] > 0).all()
    # Noise lengthens every distance by the variance of the features; see the class.
    features = kernel.features(X).std_error.numpy()
    lengthened = (features**2).sum(1)
    bias = exact * (lengthened[:, None] + lengthened[None, :])
    assert (np.abs(gram - exact)[upper] < 5 * error[upper] + 1.5 * bias[upper]).all()
    assert (np.abs(gram - exact)[upper] > 0).all()
    assert np.linalg.eigvalsh(gram).min() > -1e-12


def test_errors_of_entries_are_their_spread_over_seeds():
    grams, errors = zip(
        *(ProjectedKernel(CIRCUIT, f"statevector?shots=500&seed={s}").estimate(X) for s in range(120)), strict=True
    )
    upper = np.triu_indices(5, 1)
    ratio = np.std(grams, axis=0)[upper] / np.mean(errors, axis=0)[upper]
    # The relative error of a standard deviation from 120 values is 6.5 %; Paulis of one basis are correlated.
    assert (np.abs(ratio - 1) < 0.45).all()
    assert np.abs(ratio.mean() - 1) < 0.2


@pytest.mark.parametrize("pauli", ["XYZ", "IIY", "ZXI", "IZI"])
def test_shadows_estimate_single_paulis(pauli):
    observable = SparsePauliOp([pauli], [0.5])
    kernel = ProjectedKernel(CIRCUIT, "aer?shots=1&seed=5", observables=[observable], shadows=1200)
    mean, error = kernel.features(X)
    exact = [[Statevector(CIRCUIT.bind(x)).expectation_value(observable).real] for x in X]
    assert (np.abs(mean.numpy() - exact) < 5 * error.numpy()).all()
    hits = 1200 / 3 ** (3 - pauli.count("I"))
    assert error.numpy().max() < 0.5 * 1.3 / np.sqrt(hits)
    assert kernel.usage["submissions"] == 1


def test_gradients_agree_with_differences():
    circuit = iqp_encoding(3).compose(real_amplitudes(3, n_layers=1)).compose(iqp_encoding(3))
    weights = np.random.default_rng(2).normal(size=circuit.n_weights)
    for outer in ("gaussian", "matern", "rational-quadratic"):
        kernel = ProjectedKernel(circuit, weights=weights, bandwidth=[0.5, 0.7, 0.9], outer=outer)
        kernel.matrix(torch.tensor(X)).square().sum().backward()
        for parameter in kernel.parameters():
            flat, slopes = parameter.detach().reshape(-1), parameter.grad.reshape(-1)
            for i in range(len(flat)):
                kept, values = flat[i].item(), []
                for step in (1e-5, -1e-5):
                    flat[i] = kept + step
                    values.append((kernel(X) ** 2).sum())
                flat[i] = kept
                assert slopes[i].item() == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-5)


def test_scale_gamma_makes_the_mean_squared_distance_two():
    kernel = ProjectedKernel(CIRCUIT)
    features = kernel.features(X).mean.numpy()
    distances = ((features[:, None] - features[None]) ** 2).sum(-1)
    assert kernel.scale_gamma(X) * distances.mean() == pytest.approx(2)


def test_paulis_and_shares_of_reduced_density_matrices():
    paulis, shares = reduced_paulis(3, 2)
    assert len(paulis) == 9 + 27
    assert shares.tolist() == [0.5] * 9 + [0.25] * 27


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_body": 4}, "between 1 and 3"),
        ({"outer": "gausian"}, "did you mean 'gaussian'"),
        ({"outer": "matern", "shape": 2.0}, "Matern"),
        ({"gamma": -1.0}, "positive gamma"),
        ({"bandwidth": [1.0, 2.0]}, r"bandwidth \(a number or shape \(3,\)\)"),
        ({"shadows": 10}, "need shots"),
        ({"backend": "aer?shots=1", "shadows": 1}, "at least 2 bases"),
        (
            {
                "backend": "aer?shots=1",
                "shadows": 9,
                "observables": [SparsePauliOp(["XII", "IZI"], [1, 1])],
            },
            "single Paulis",
        ),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ProjectedKernel(CIRCUIT, **settings)


def test_too_few_bases_are_refused_and_shadows_have_no_gradient():
    kernel = ProjectedKernel(CIRCUIT, "statevector?shots=1&seed=1", n_body=3, shadows=9)
    with pytest.raises(ValueError, match="use more bases"):
        kernel(X)
    with pytest.raises(RuntimeError, match="no gradient"):
        kernel(torch.tensor(X))
