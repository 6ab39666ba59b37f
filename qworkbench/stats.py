"""Statistics for comparing models on resampled scores: who is better, by how much, and how sure we are.

Scores of cross-validation folds share training data, so they are not independent and a plain paired t-test
calls equal models different far too often. The corrected tests here allow for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

MIN_DATASETS = 5
Outcome = Literal["A better", "B better", "equivalent", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error, confidence interval and two-sided p-value against zero."""

    mean: float
    std_error: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class RopeProbabilities:
    """Posterior probabilities that sum to one: A better, practically equivalent, B better."""

    a_better: float
    equivalent: float
    b_better: float


@dataclass(frozen=True)
class Verdict:
    """The answer in one word (``outcome``) and in one sentence."""

    outcome: Outcome
    sentence: str


@dataclass(frozen=True)
class RankComparison:
    """Models ranked over data sets; rank 1 is the best."""

    mean_ranks: NDArray[np.float64]
    """(M,)"""
    friedman_p: float
    nemenyi_p: NDArray[np.float64]
    """(M, M), symmetric with unit diagonal."""
    critical_difference: float
    """Mean ranks further apart than this differ at the chosen level."""


def corrected_resampled_t(values: ArrayLike, test_to_train: float, *, confidence: float = 0.95) -> Estimate:
    """Mean of resampled scores or paired differences, with the corrected variance of Nadeau and Bengio.

    ``variance of the mean = s^2 (1/K + n_test/n_train)`` with ``s^2`` the sample variance of the K values and
    K - 1 degrees of freedom (Nadeau & Bengio, Machine Learning 52, 239 (2003)). For k-fold
    cross-validation, repeated or not, ``n_test/n_train = 1/(k - 1)``. If all values are equal, as a few small folds
    easily are, their spread says nothing about chance: the interval has no width, but the p-value is 1.

    Args:
        values: (K,) paired differences A - B (or scores of one model), one for each fold of each repeat.
        test_to_train: ``n_test / n_train`` of one fold.
        confidence: Level of the interval.

    Raises:
        ValueError: If K < 2, a value is not finite, or ``test_to_train`` is not positive.
    """
    data = _finite(values, "values")
    mean, scale = _corrected_mean(data, test_to_train)
    quantile = float(stats.t.ppf(0.5 + confidence / 2, data.size - 1))
    p_value = 1.0 if scale == 0 else float(2 * stats.t.sf(abs(mean) / scale, data.size - 1))
    return Estimate(mean, scale, mean - quantile * scale, mean + quantile * scale, p_value)


def correlated_bayes_t(differences: ArrayLike, test_to_train: float, *, rope: float = 0.01) -> RopeProbabilities:
    """Bayesian correlated t-test with a region of practical equivalence (ROPE).

    The posterior of the mean difference is Student's t with K - 1 degrees of freedom, centred at the mean,
    with the scale of ``corrected_resampled_t``, i.e. ``s^2 (1/K + rho/(1 - rho))`` for a correlation
    ``rho = n_test/n`` between folds (Corani & Benavoli, Machine Learning 100, 285 (2015)).

    Args:
        differences: (K,) paired score differences A - B.
        test_to_train: ``n_test / n_train`` of one fold.
        rope: Half-width of the region in which a difference does not matter, in units of the score.

    Raises:
        ValueError: If K < 2, a value is not finite, or ``rope`` is negative.
    """
    if rope < 0:
        raise ValueError(f"rope: expected a number >= 0, got {rope}")
    data = _finite(differences, "differences")
    mean, scale = _corrected_mean(data, test_to_train)
    if scale == 0:
        a_better, b_better = float(mean > rope), float(mean < -rope)
    else:
        a_better = float(stats.t.sf((rope - mean) / scale, data.size - 1))
        b_better = float(stats.t.cdf((-rope - mean) / scale, data.size - 1))
    return RopeProbabilities(a_better, max(0.0, 1 - a_better - b_better), b_better)


def _corrected_mean(data: NDArray[np.float64], test_to_train: float) -> tuple[float, float]:
    if data.size < 2:
        raise ValueError(f"expected at least 2 folds to compare, got {data.size}")
    if not test_to_train > 0:
        raise ValueError(f"test_to_train: expected n_test / n_train > 0, got {test_to_train}")
    if np.ptp(data) == 0:  # exactly, where the variance of equal floats need not be
        return float(data[0]), 0.0
    return float(data.mean()), math.sqrt(data.var(ddof=1) * (1 / data.size + test_to_train))


def _finite(values: ArrayLike, name: str) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not np.isfinite(data).all():
        raise ValueError(f"{name}: expected finite numbers of shape (K,), got shape {data.shape} or NaN/inf")
    return data


def verdict(
    differences: ArrayLike,
    test_to_train: float,
    *,
    names: tuple[str, str] = ("A", "B"),
    rope: float = 0.01,
    confidence: float = 0.95,
    p_value: float | None = None,
) -> Verdict:
    """Say in words what paired differences A - B show; higher scores are better.

    "equivalent" if the posterior puts at least ``confidence`` inside the ROPE; else "A better" or "B better"
    if the p-value is below ``1 - confidence``; else "undecided": lack of evidence is no equivalence. Equal
    differences have no spread to judge by, so they are undecided too.

    Args:
        differences: (K,) paired score differences A - B.
        test_to_train: ``n_test / n_train`` of one fold.
        names: Names of A and B for the sentence.
        rope: Half-width of the region of practical equivalence.
        confidence: Level of the interval and of the decision.
        p_value: A p-value corrected for multiple comparisons, used instead of this comparison's own.
    """
    gap = corrected_resampled_t(differences, test_to_train, confidence=confidence)
    posterior = correlated_bayes_t(differences, test_to_train, rope=rope)
    p = gap.p_value if p_value is None else p_value
    numbers = f"difference {gap.mean:+.3f}, {confidence:.0%} interval {gap.low:+.3f} to {gap.high:+.3f}"
    winner, loser = names if gap.mean > 0 else names[::-1]
    if gap.std_error == 0:
        text = f"Undecided between {names[0]} and {names[1]}: the difference is {gap.mean:+.3f} on every fold."
        return Verdict("undecided", text)
    if posterior.equivalent >= confidence:
        text = f"{names[0]} and {names[1]} are equivalent within ±{rope:g} ({numbers})."
        return Verdict("equivalent", text)
    if p < 1 - confidence:
        text = f"{winner} is better than {loser} ({numbers}, p = {p:.2g})."
        return Verdict("A better" if gap.mean > 0 else "B better", text)
    text = f"Undecided between {names[0]} and {names[1]} ({numbers}, p = {p:.2g})."
    return Verdict("undecided", text)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p-values (Scand. J. Statist. 6, 65 (1979)), in the order given.

    Args:
        p_values: (M,) raw p-values.

    Returns:
        (M,) ``max over j <= i of (M - j + 1) p_(j)``, at most 1, where ``p_(j)`` are the sorted values.
    """
    p = _finite(p_values, "p_values")
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion measured on independent samples, e.g. hold-out accuracy."""
    interval = stats.binomtest(int(successes), int(trials)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def delong(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas under ROC curves measured on the same samples, and their covariance.

    Mann-Whitney estimates with the structural components of DeLong et al., Biometrics 44, 837 (1988),
    computed from midranks (Sun & Xu, IEEE Signal Process. Lett. 21, 1389 (2014)).

    Args:
        labels: (N,) true where the sample is positive.
        scores: (M, N) or (N,) scores, higher means more positive.

    Returns:
        The areas (M,) and their covariance (M, M).

    Raises:
        ValueError: If there are fewer than two positives or two negatives, or shapes differ.
    """
    positive = np.asarray(labels).astype(bool)
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    m, n = int(positive.sum()), int((~positive).sum())
    if positive.ndim != 1 or rows.shape[1:] != positive.shape or not np.isfinite(rows).all():
        raise ValueError(f"expected finite scores (M, N) and labels (N,), got {rows.shape} and {positive.shape}")
    if min(m, n) < 2:
        raise ValueError(f"expected at least 2 positives and 2 negatives, got {m} and {n}")
    ranks = stats.rankdata(rows, axis=1)
    among_positive = stats.rankdata(rows[:, positive], axis=1)
    among_negative = stats.rankdata(rows[:, ~positive], axis=1)
    by_positive = (ranks[:, positive] - among_positive) / n
    by_negative = 1 - (ranks[:, ~positive] - among_negative) / m
    covariance = np.atleast_2d(np.cov(by_positive)) / m + np.atleast_2d(np.cov(by_negative)) / n
    return by_positive.mean(axis=1), covariance


def auc_interval(labels: ArrayLike, scores: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """One area under the ROC curve with DeLong's interval (cut to [0, 1]) and the p-value against 1/2.

    Args:
        labels: (N,) true where the sample is positive.
        scores: (N,) higher means more positive.
    """
    areas, covariance = delong(labels, scores)
    gap = _normal_estimate(areas[0] - 0.5, covariance[0, 0], confidence)
    low, high = max(0.0, gap.low + 0.5), min(1.0, gap.high + 0.5)
    return Estimate(float(areas[0]), gap.std_error, low, high, gap.p_value)


def auc_difference(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Paired DeLong test: AUC(A) - AUC(B) on the same samples.

    Args:
        labels: (N,) true where the sample is positive.
        scores_a: (N,) scores of model A.
        scores_b: (N,) scores of model B.
    """
    areas, c = delong(labels, np.stack([np.asarray(scores_a), np.asarray(scores_b)]))
    return _normal_estimate(areas[0] - areas[1], c[0, 0] + c[1, 1] - 2 * c[0, 1], confidence)


def _normal_estimate(mean: float, variance: float, confidence: float) -> Estimate:
    scale = math.sqrt(max(0.0, float(variance)))
    quantile = float(stats.norm.ppf(0.5 + confidence / 2))
    if scale == 0:
        p_value = 1.0 if mean == 0 else 0.0
    else:
        p_value = float(2 * stats.norm.sf(abs(mean) / scale))
    return Estimate(float(mean), scale, float(mean - quantile * scale), float(mean + quantile * scale), p_value)


def mcnemar_exact(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Exact two-sided McNemar p-value of two classifiers on one hold-out set.

    Args:
        correct_a: (N,) whether A was right on each sample.
        correct_b: (N,) the same for B.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two arrays of one shape (N,), got {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def wilcoxon_over_datasets(scores_a: ArrayLike, scores_b: ArrayLike) -> float:
    """Two-sided Wilcoxon signed-rank p-value of A against B, one mean score for each data set.

    Args:
        scores_a: (D,) mean scores of A.
        scores_b: (D,) mean scores of B.

    Raises:
        ValueError: If D < 5: so few data sets support no general statement.
    """
    difference = _finite(np.asarray(scores_a) - np.asarray(scores_b), "score differences")
    _enough_datasets(difference.size)
    if not difference.any():
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def friedman_nemenyi(scores: ArrayLike, *, confidence: float = 0.95) -> RankComparison:
    """Friedman's test and Nemenyi's pairwise comparison of three or more models over data sets.

    ``p_ij = P(q > |R_i - R_j| / sqrt(M(M+1)/(12 D)))`` with q the studentized range of M groups and infinite
    degrees of freedom; critical difference as in Demsar, J. Mach. Learn. Res. 7, 1 (2006), section 3.2.2.

    Args:
        scores: (D, M) mean score of each model on each data set, higher is better.
        confidence: Level of the critical difference.

    Raises:
        ValueError: If D < 5 or M < 3.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 3 or not np.isfinite(table).all():
        raise ValueError(f"expected finite scores (data sets, models >= 3), got shape {table.shape}")
    n_datasets, n_models = table.shape
    _enough_datasets(n_datasets)
    mean_ranks = stats.rankdata(-table, axis=1).mean(axis=0)
    tied = bool((table == table[:, :1]).all())
    friedman_p = 1.0 if tied else float(stats.friedmanchisquare(*table.T).pvalue)
    scale = math.sqrt(n_models * (n_models + 1) / (12 * n_datasets))
    gaps = np.abs(mean_ranks[:, None] - mean_ranks[None, :]) / scale
    nemenyi_p = np.clip(stats.studentized_range.sf(gaps, n_models, np.inf), 0.0, 1.0)
    critical = float(stats.studentized_range.ppf(confidence, n_models, np.inf)) * scale
    return RankComparison(mean_ranks, friedman_p, nemenyi_p, critical)


def _enough_datasets(count: int) -> None:
    if count < MIN_DATASETS:
        raise ValueError(
            f"expected at least {MIN_DATASETS} data sets for a statement over data sets, got {count}; "
            "report each data set by itself"
        )
