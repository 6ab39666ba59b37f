"""Detection metrics against hand counts, against sklearn, and in coverage on problems whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_curve

from qworkbench.detection import (
    average_precision,
    background_rejection,
    contaminated,
    detection_metrics,
    seed_spread,
    significance_improvement,
)


def shifted(n_signal: int, n_background: int, rng: np.random.Generator, shift: float = 1.5):
    """Unit Gaussians a distance apart: ``eps_B = Phi(Phi^-1(eps_S) - shift)``."""
    scores = np.concatenate([rng.normal(shift, 1, n_signal), rng.normal(0, 1, n_background)])
    return np.arange(len(scores)) < n_signal, scores


def test_rejection_of_a_small_table_counted_by_hand() -> None:
    labels = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    scores = np.array([9, 8, 7, 6, 5, 7.5, 6, 5.5, 4, 3, 2, 1, 0])
    assert background_rejection(labels, scores, 0.4).value == math.inf  # cut at 8
    assert background_rejection(labels, scores, 0.6).value == 8  # cut at 7, one of eight passes
    assert background_rejection(labels, scores, 0.8).value == 4  # cut at 6, where one of the background lies
    assert background_rejection(labels, scores, 1.0).value == pytest.approx(8 / 3)


def test_ties_never_flatter() -> None:
    labels = np.arange(20) < 10
    rejection = background_rejection(labels, np.ones(20), 0.3)
    assert rejection.value == 1 and rejection.low == 1


def test_rejection_agrees_with_the_roc_curve_of_sklearn() -> None:
    labels, scores = shifted(400, 700, np.random.default_rng(0))
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    for efficiency in (0.1, 0.3, 0.5, 0.99):
        first = np.flatnonzero(tpr >= efficiency - 1e-12)[0]
        assert background_rejection(labels, scores, efficiency).value == pytest.approx(1 / fpr[first])


@pytest.mark.parametrize(
    ("n_signal", "n_background", "efficiency"), [(100, 2000, 0.3), (2000, 200, 0.3), (500, 500, 0.1), (60, 90, 0.5)]
)
def test_rejection_intervals_cover_as_often_as_they_say(n_signal: int, n_background: int, efficiency: float) -> None:
    rng, repeats = np.random.default_rng(7), 600
    truth = 1 / stats.norm.cdf(stats.norm.ppf(efficiency) - 1.5)
    found = [background_rejection(*shifted(n_signal, n_background, rng), efficiency) for _ in range(repeats)]
    covered = np.mean([r.low <= truth <= r.high for r in found])
    # Never too short, beyond 3 standard errors of the count; nor much longer than where the estimates really lie.
    assert covered > 0.95 - 3 * math.sqrt(0.95 * 0.05 / repeats)
    real = np.ptp(np.quantile([1 / r.value for r in found], [0.025, 0.975]))
    assert np.median([1 / r.low - 1 / r.high for r in found]) < 1.6 * real


def test_without_background_behind_the_cut_the_lower_limit_still_holds() -> None:
    labels, scores = np.arange(300) < 100, np.r_[np.linspace(2, 3, 100), np.linspace(0, 1, 200)]
    rejection = background_rejection(labels, scores, 0.3)
    assert rejection.value == rejection.high == math.inf
    assert rejection.low == pytest.approx(1 / (1 - 0.025 ** (1 / 200)))  # the rule of three, two-sided
    assert detection_metrics(labels, scores)["rejection_0.3"] is None


def test_significance_of_gaussians_is_the_closed_form() -> None:
    labels, scores = shifted(40_000, 40_000, np.random.default_rng(3))
    curve = significance_improvement(labels, scores, min_background=400)
    cuts = stats.norm.isf(curve.efficiency[:-1]) + 1.5  # beyond the last signal event the cut is unknown
    exact = curve.efficiency[:-1] / np.sqrt(stats.norm.sf(cuts))
    assert np.abs(curve.improvement[:-1] / exact - 1).max() < 0.12  # 400 events: 2.5 % on the root, 5 sigma
    at, best = curve.best()
    assert best == curve.improvement.max() and 0 < at < 1
    assert curve.improvement[-1] == pytest.approx(1, abs=1e-9)  # no cut, no change


def test_significance_leaves_out_cuts_without_background() -> None:
    labels, scores = shifted(50, 100, np.random.default_rng(3))
    few, many = (significance_improvement(labels, scores, min_background=n) for n in (1, 25))
    assert len(many.efficiency) < len(few.efficiency)
    assert many.efficiency[0] >= few.efficiency[0]
    with pytest.raises(ValueError, match="min_background from 1 to 100, got 101"):
        significance_improvement(labels, scores, min_background=101)


def test_average_precision_intervals_cover() -> None:
    rng, repeats = np.random.default_rng(11), 300
    truth = average_precision(*shifted(100_000, 400_000, rng)).value
    found = [average_precision(*shifted(100, 400, rng)) for _ in range(repeats)]
    covered = np.mean([r.low <= truth <= r.high for r in found])
    assert covered > 0.95 - 3 * math.sqrt(0.95 * 0.05 / repeats)
    assert all(0 <= r.low <= r.value <= r.high <= 1 for r in found)


def test_perfect_and_small_tables_have_metrics() -> None:
    found = detection_metrics([True, True, False, False], [3.0, 2.0, 1.0, 0.0])
    assert found["roc_auc"] == found["average_precision"] == 1
    assert found["significance"] is None
    assert all(v is None or math.isfinite(v) for v in found.values())


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([True, False, False], [1.0, 2.0, 3.0], "at least 2 anomalies and 2 others, got 1 and 2"),
        ([True] * 3, [1.0, 2.0, 3.0], "got 3 and 0"),
        ([True, True, False, False], [1.0, np.nan, 2.0, 3.0], "finite scores"),
        ([True, False], [1.0], "expected finite scores"),
    ],
)
def test_bad_input_is_refused(labels: list[bool], scores: list[float], message: str) -> None:
    for function in (average_precision, significance_improvement):
        with pytest.raises(ValueError, match=message):
            function(labels, scores)
    with pytest.raises(ValueError, match=message):
        background_rejection(labels, scores, 0.5)


def test_an_efficiency_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"efficiency in \(0, 1\], got 30"):
        background_rejection([1, 1, 0, 0], [1.0, 2, 3, 4], 30)


def test_spread_over_seeds_is_students() -> None:
    values = [0.7, 0.72, 0.69, 0.75]
    spread = seed_spread(values)
    exact = stats.ttest_1samp(values, 0).confidence_interval()
    assert (spread.low, spread.high) == pytest.approx((exact.low, exact.high))
    assert (spread.minimum, spread.maximum, spread.std) == (0.69, 0.75, pytest.approx(np.std(values, ddof=1)))
    with pytest.raises(ValueError, match="at least 2 seeds"):
        seed_spread([0.7])


def test_contamination_replaces_its_share_and_keeps_the_rest() -> None:
    background, anomalies = np.arange(100.0)[:, None], -1 - np.arange(20.0)[:, None]
    clean = contaminated(background, anomalies, 50, 0.0, np.random.default_rng(5))
    dirty = contaminated(background, anomalies, 50, 0.1, np.random.default_rng(5))
    assert (clean >= 0).all() and len(np.unique(clean)) == len(np.unique(dirty)) == 50
    assert (dirty < 0).sum() == 5
    assert set(dirty[dirty >= 0]) < set(clean[:, 0])
    with pytest.raises(ValueError, match="50 background rows and 25 anomalies to draw from, got 100 and 20"):
        contaminated(background, anomalies, 50, 0.5, np.random.default_rng(5))
