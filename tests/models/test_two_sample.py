"""Two-sample tests: against slow twins, under the null, and on generators that have collapsed."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.stats import energy_distance as energy_of_scipy

from qworkbench.models.two_sample import coverage, energy_distance, energy_test, two_sample_measures


def test_the_energy_distance_is_that_of_scipy_and_of_all_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 1)), rng.normal(0.5, 2, size=(20, 1))
    # SciPy gives the square root of it, in one dimension.
    np.testing.assert_allclose(energy_distance(x, y), energy_of_scipy(x[:, 0], y[:, 0]) ** 2)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(6, 3))

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([np.linalg.norm(p - q) for p, q in itertools.product(a, b)]))

    np.testing.assert_allclose(energy_distance(x, y), 2 * mean(x, y) - mean(x, x) - mean(y, y))
    np.testing.assert_allclose(energy_test(x, y, rng)[0], energy_distance(x, y))


def test_p_values_are_uniform_under_the_null_and_small_apart():
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(40, 2)), rng.normal(size=(30, 2))
        p_values.append(energy_test(x, y, rng)[1])
        assert energy_test(x, y + 1.5, rng)[1] == 1 / 200
    # The mean of 60 uniform values has a standard deviation of 0.037.
    assert abs(np.mean(p_values) - 0.5) < 3 * 0.037


def test_coverage_falls_when_modes_are_missed():
    rng = np.random.default_rng(1)
    modes = np.array([[0, 0], [5, 0], [0, 5], [5, 5]])
    real, made = (modes[rng.integers(4, size=400)] + 0.3 * rng.normal(size=(400, 2)) for _ in range(2))
    collapsed = modes[0] + 0.3 * rng.normal(size=(400, 2))
    # 1 - 2**-5 = 0.97, with a standard deviation of 0.009.
    assert coverage(real, made) > 0.94
    assert 0.2 < coverage(real, collapsed) < 0.3


def test_measures_of_a_collapsed_generator():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(200, 3))
    good = two_sample_measures(real, rng.normal(size=(300, 3)), 0)
    bad = two_sample_measures(real, 0.05 * rng.normal(size=(300, 3)), 0)
    assert good["n"] == 200
    assert good["energy_p"] > 0.05 > bad["energy_p"]
    assert min(good["ks_p"]) > 0.01 > max(bad["ks_p"])
    assert max(bad["spread"]) < 0.1 < min(good["spread"])
    assert bad["coverage"] < 0.2 < 0.9 < good["coverage"]
    assert two_sample_measures(real, rng.normal(size=(300, 3)), 0)["energy_p"] <= 1
