"""Statistics against other libraries, closed forms and their own promise about error rates."""

from __future__ import annotations

import math

import baycomp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from MLstatkit import Delong_test
from numpy.typing import NDArray
from scipy import stats

from qworkbench.stats import (
    Estimate,
    auc_difference,
    auc_interval,
    corrected_resampled_t,
    correlated_bayes_t,
    delong,
    friedman_nemenyi,
    holm,
    mcnemar_exact,
    verdict,
    wilcoxon_over_datasets,
    wilson_interval,
)


def fold_scores(seed: int, shift: float = 0.02, size: int = 15) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    b = rng.normal(0.8, 0.04, size)
    return b + rng.normal(shift, 0.03, size), b


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("folds", "repeats"), [(5, 3), (3, 5), (15, 1)])
def test_corrected_t_and_bayesian_twin_agree_with_baycomp(seed: int, folds: int, repeats: int) -> None:
    a, b = fold_scores(seed)
    ratio = 1 / (folds - 1)
    one_sided = min(baycomp.two_on_single(b, a, rope=0, runs=repeats))
    assert corrected_resampled_t(a - b, ratio).p_value / 2 == pytest.approx(one_sided, rel=1e-9)
    left, rope, right = baycomp.two_on_single(b, a, rope=0.01, runs=repeats)
    ours = correlated_bayes_t(a - b, ratio, rope=0.01)
    assert (ours.b_better, ours.equivalent, ours.a_better) == pytest.approx((left, rope, right), abs=1e-12)


def test_corrected_interval_closed_form() -> None:
    # K = 4, mean 0.03, s^2 = 0.0005/3, factor 1/4 + 1/3; t quantile 3.182446 (tables, 3 degrees of freedom)
    gap = corrected_resampled_t([0.02, 0.03, 0.02, 0.05], 1 / 3)
    scale = math.sqrt(0.0006 / 3 * (1 / 4 + 1 / 3))
    assert gap.mean == pytest.approx(0.03)
    assert gap.std_error == pytest.approx(scale)
    assert (gap.low, gap.high) == pytest.approx((0.03 - 3.182446 * scale, 0.03 + 3.182446 * scale), rel=1e-6)


def test_tiny_test_fraction_gives_the_ordinary_t_test_of_scipy() -> None:
    a, b = fold_scores(3)
    plain = stats.ttest_rel(a, b)
    gap = corrected_resampled_t(a - b, 1e-15, confidence=0.9)
    interval = plain.confidence_interval(0.9)
    assert gap.p_value == pytest.approx(plain.pvalue, rel=1e-9)
    assert (gap.low, gap.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_equal_differences_have_no_width() -> None:
    assert corrected_resampled_t([0.1, 0.1, 0.1], 0.5) == Estimate(0.1, 0.0, 0.1, 0.1, 1.0)
    assert corrected_resampled_t([0.0, 0.0], 0.5).p_value == 1.0
    assert correlated_bayes_t([0.0, 0.0], 0.5).equivalent == 1.0
    assert correlated_bayes_t([-0.1, -0.1], 0.5).b_better == 1.0


@pytest.mark.parametrize("bad", [[0.1], [], [0.1, math.nan], [[0.1, 0.2]]])
def test_what_cannot_be_compared_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        corrected_resampled_t(bad, 0.25)
    with pytest.raises(ValueError, match="expected"):
        correlated_bayes_t(bad, 0.25)


def test_nonsense_options_are_refused() -> None:
    with pytest.raises(ValueError, match="n_test / n_train > 0, got 0"):
        corrected_resampled_t([0.1, 0.2], 0)
    with pytest.raises(ValueError, match=r"rope: expected a number >= 0, got -0.1"):
        correlated_bayes_t([0.1, 0.2], 0.25, rope=-0.1)


def rejection_rates(differences: NDArray[np.float64], ratio: float) -> tuple[float, float]:
    """Rates of p < 0.05 of the corrected test and of the naive paired t, over rows of (R, K) differences."""
    corrected = np.mean([corrected_resampled_t(row, ratio).p_value < 0.05 for row in differences])
    naive = np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05)
    return float(corrected), float(naive)


def test_type_one_error_where_the_assumed_correlation_holds() -> None:
    # equicorrelated normal differences with rho = n_test / n: the corrected statistic is exactly Student's t
    rng = np.random.default_rng(11)
    repetitions, size, folds = 2000, 25, 5
    rho = 1 / folds
    shared = rng.normal(size=(repetitions, 1))
    differences = math.sqrt(rho) * shared + math.sqrt(1 - rho) * rng.normal(size=(repetitions, size))
    corrected, naive = rejection_rates(differences, 1 / (folds - 1))
    standard_error = math.sqrt(0.05 * 0.95 / repetitions)
    assert abs(corrected - 0.05) < 4 * standard_error
    assert naive > 0.3


def nearest_mean_accuracy(x: NDArray[np.float64], y: NDArray[np.int64], train: NDArray[np.bool_]) -> float:
    low, high = (x[train & (y == c)].mean(axis=0) for c in (0, 1))
    guess = ((x[~train] - high) ** 2).sum(axis=1) < ((x[~train] - low) ** 2).sum(axis=1)
    return float(np.mean(guess == y[~train]))


def test_type_one_error_of_two_equal_classifiers_in_repeated_cross_validation() -> None:
    # two nearest-mean classifiers on exchangeable halves of the features: truly equal on average
    rng = np.random.default_rng(5)
    data_sets, n, folds, repeats = 300, 60, 5, 5
    y = np.repeat([0, 1], n // 2)
    differences = np.empty((data_sets, folds * repeats))
    for row in differences:
        x = rng.normal(size=(n, 6)) + 0.45 * y[:, None]
        for k in range(repeats):
            fold_of = rng.permutation(n) % folds
            for f in range(folds):
                train = fold_of != f
                pair = [nearest_mean_accuracy(x[:, s], y, train) for s in (slice(0, 3), slice(3, 6))]
                row[k * folds + f] = pair[0] - pair[1]
    corrected, naive = rejection_rates(differences, 1 / (folds - 1))
    assert corrected < 0.05 + 4 * math.sqrt(0.05 * 0.95 / data_sets)
    assert naive > 0.25


def test_verdict_says_each_of_its_four_words() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 15)
    noise -= noise.mean()
    names = ("qsvc", "rbf_svm")
    better = verdict(noise + 0.1, 0.25, names=names)
    assert better.outcome == "A better" and better.sentence.startswith("qsvc is better than rbf_svm")
    worse = verdict(noise - 0.1, 0.25, names=names)
    assert worse.outcome == "B better" and worse.sentence.startswith("rbf_svm is better than qsvc")
    assert "-0.100" in worse.sentence
    assert verdict(noise / 10, 0.25, names=names).outcome == "equivalent"
    open_case = verdict(noise * 5, 0.25, names=names)
    assert open_case.outcome == "undecided" and open_case.sentence.startswith("Undecided between")


def test_verdict_obeys_a_corrected_p_value() -> None:
    a, b = fold_scores(1, shift=0.08)
    assert verdict(a - b, 0.25).outcome == "A better"
    assert verdict(a - b, 0.25, p_value=0.2).outcome == "undecided"


def test_holm_by_hand_and_in_the_order_given() -> None:
    # 4 * 0.005, 3 * 0.01, 2 * 0.03, max(1 * 0.04, 0.06)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_raw_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    raw = np.array(p)
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(1, len(p) * raw) + 1e-15).all()
    assert adjusted.min() == pytest.approx(min(1.0, len(p) * min(p)))


def test_wilson_closed_form() -> None:
    z, p, n = 1.959963984540054, 0.9, 20
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert wilson_interval(18, 20) == pytest.approx((centre - half, centre + half), rel=1e-9)
    assert wilson_interval(20, 20)[1] == 1.0


def roc_data(seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 80)
    a = labels + rng.normal(0, 1.2, 80)
    return labels, a, np.round(0.5 * a + labels + rng.normal(0, 1.0, 80), 1)  # rounding makes ties


@pytest.mark.parametrize("seed", range(4))
def test_delong_agrees_with_mlstatkit_and_scipy(seed: int) -> None:
    labels, a, b = roc_data(seed)
    theirs = Delong_test(labels, a, b, n_boot=0)
    gap = auc_difference(labels, a, b)
    assert gap.p_value == pytest.approx(theirs[1], rel=1e-9)
    for scores in (a, b):
        u = stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
        area = auc_interval(labels, scores)
        assert area.mean == pytest.approx(u / ((labels == 1).sum() * (labels == 0).sum()))
        assert area.low < area.mean < area.high


def test_delong_covariance_equals_the_definition() -> None:
    labels, a, b = roc_data(9)
    areas, covariance = delong(labels, np.stack([a, b]))
    kernels = []
    for s in (a, b):
        x, y = s[labels == 1][:, None], s[labels == 0][None, :]
        kernels.append((x > y) + 0.5 * (x == y))
    components = [np.array([k.mean(axis=axis) for k in kernels]) for axis in (1, 0)]
    expected = sum(np.cov(v) / v.shape[1] for v in components)
    assert areas == pytest.approx([k.mean() for k in kernels])
    assert covariance == pytest.approx(expected)


def test_perfect_ranking_has_no_width_and_bad_roc_input_is_refused() -> None:
    area = auc_interval([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert (area.mean, area.low, area.high) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="at least 2 positives and 2 negatives, got 1 and 3"):
        auc_interval([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match="expected finite scores"):
        auc_interval([0, 0, 1, 1], [0.1, math.nan, 0.3, 0.4])


def test_mcnemar_closed_form() -> None:
    a = np.array([True] * 8 + [False] * 1 + [True] * 10)
    b = np.array([False] * 8 + [True] * 1 + [True] * 10)
    assert mcnemar_exact(a, b) == pytest.approx(2 * (1 + 9) / 2**9)
    assert mcnemar_exact(a, a) == 1.0


def test_friedman_and_nemenyi_reproduce_demsar_and_scipy() -> None:
    # critical values q_0.05 / sqrt(2) of Demsar (2006), table 5a: 2.343 for 3 models, 2.569 for 4
    rng = np.random.default_rng(2)
    for n_models, q in ((3, 2.343), (4, 2.569)):
        scores = rng.normal(size=(12, n_models)) + 0.8 * np.arange(n_models)
        ranked = friedman_nemenyi(scores)
        assert ranked.critical_difference == pytest.approx(
            q * math.sqrt(n_models * (n_models + 1) / (6 * 12)), abs=2e-3
        )
        assert ranked.friedman_p == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
        assert ranked.mean_ranks.argmin() == n_models - 1
        assert ranked.mean_ranks.sum() == pytest.approx(n_models * (n_models + 1) / 2)
        apart = np.abs(ranked.mean_ranks[:, None] - ranked.mean_ranks) > ranked.critical_difference
        assert ((ranked.nemenyi_p < 0.05) == apart).all()
        assert np.diag(ranked.nemenyi_p) == pytest.approx(np.ones(n_models))


def test_all_models_equal_everywhere_gives_no_difference() -> None:
    ranked = friedman_nemenyi(np.ones((6, 3)))
    assert ranked.friedman_p == 1.0
    assert wilcoxon_over_datasets(np.ones(6), np.ones(6)) == 1.0


def test_wilcoxon_is_scipys_and_few_data_sets_are_refused() -> None:
    a, b = fold_scores(4, size=8)
    assert wilcoxon_over_datasets(a, b) == stats.wilcoxon(a, b).pvalue
    with pytest.raises(ValueError, match="at least 5 data sets for a statement over data sets, got 4"):
        wilcoxon_over_datasets(a[:4], b[:4])
    with pytest.raises(ValueError, match="got 4"):
        friedman_nemenyi(np.arange(12.0).reshape(4, 3))
