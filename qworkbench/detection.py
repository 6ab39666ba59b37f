"""How good a detector is, in the terms of those who search for rare things: rejection, significance, precision.

Everywhere ``labels`` are true for anomalies (the signal) and ``scores`` are higher for what is more anomalous; of a
detector that follows scikit-learn pass ``-score_samples(X)``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as distributions
from sklearn.metrics import average_precision_score

from qworkbench.stats import auc_interval

EFFICIENCIES = (0.1, 0.3, 0.5)
"""Signal efficiencies at which background rejection is read."""
MIN_BACKGROUND = 25
"""Background events that must pass for the significance improvement: fewer have a relative error above 20 %."""


class Interval(NamedTuple):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


class Significance(NamedTuple):
    """The significance improvement characteristic, by rising signal efficiency."""

    efficiency: NDArray[np.float64]
    """(P,) share of the anomalies that pass."""
    improvement: NDArray[np.float64]
    """(P,) ``eps_S / sqrt(eps_B)``."""

    def best(self) -> tuple[float, float]:
        """Efficiency and improvement of the maximum; being a maximum, it is biased upwards."""
        at = int(self.improvement.argmax())
        return float(self.efficiency[at]), float(self.improvement[at])


class Spread(NamedTuple):
    """Repetitions of one measurement under different seeds."""

    mean: float
    low: float
    """Student t interval of the mean."""
    high: float
    std: float
    """Sample standard deviation: what one seed may be off."""
    minimum: float
    maximum: float


def _split(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sorted scores of signal and background."""
    is_signal, values = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or is_signal.shape != values.shape or not np.isfinite(values).all():
        raise ValueError(f"expected finite scores (N,) and labels (N,), got {values.shape} and {is_signal.shape}")
    signal, background = np.sort(values[is_signal]), np.sort(values[~is_signal])
    if min(len(signal), len(background)) < 2:
        raise ValueError(f"expected at least 2 anomalies and 2 others, got {len(signal)} and {len(background)}")
    return signal, background


def background_rejection(
    labels: ArrayLike, scores: ArrayLike, efficiency: float, *, confidence: float = 0.95
) -> Interval:
    """``1/eps_B`` at a signal efficiency: one background event in so many passes the cut that keeps the signal.

    The cut is the highest one that at least ``efficiency`` of the anomalies pass; events at the cut pass, so ties
    never flatter. Two things are uncertain, the count of background events behind the cut (Clopper-Pearson) and
    the cut itself, which comes from a finite signal (binomial limits of its order statistics). Their
    distances from ``eps_B`` add in quadrature (Zou & Donner, Stat. Med. 27, 1693 (2008), eq. 3). If no background
    event passes, value and upper limit are infinite and the lower limit still holds.

    Args:
        labels: (N,) true for anomalies.
        scores: (N,) higher is more anomalous.
        efficiency: Signal efficiency eps_S, in (0, 1].
        confidence: Level of the interval.

    Raises:
        ValueError: If the efficiency is none, shapes differ, or a class has fewer than two rows.
    """
    if not 0 < efficiency <= 1:
        raise ValueError(f"expected a signal efficiency in (0, 1], got {efficiency!r}")
    signal, background = _split(labels, scores)
    n_signal, n_background = len(signal), len(background)
    tail = (1 - confidence) / 2

    def passing(n_kept: float) -> int:
        """Background events at or above the cut that keeps the highest ``n_kept`` anomalies."""
        kept = min(max(math.ceil(n_kept - 1e-9), 1), n_signal)
        return n_background - int(np.searchsorted(background, signal[n_signal - kept], side="left"))

    def share(count: int, level: float) -> float:
        """One-sided Clopper-Pearson limit of ``count`` in all the background."""
        edge = 0 if level < 0.5 else 1
        if count == edge * n_background:
            return float(edge)
        return float(distributions.beta.ppf(level, count + edge, n_background - count + 1 - edge))

    count = passing(efficiency * n_signal)
    eps = count / n_background
    few, many = distributions.binom.ppf([tail, 1 - tail], n_signal, efficiency)
    below = math.hypot(eps - share(count, tail), eps - passing(few) / n_background)
    above = math.hypot(share(count, 1 - tail) - eps, passing(many + 1) / n_background - eps)
    low, high = min(1.0, eps + above), max(0.0, eps - below)
    return Interval(*(1 / rate if rate else math.inf for rate in (eps, low, high)))


def significance_improvement(
    labels: ArrayLike, scores: ArrayLike, *, min_background: int = MIN_BACKGROUND
) -> Significance:
    """``eps_S / sqrt(eps_B)``: the factor by which a cut on the score changes ``S / sqrt(B)``.

    Args:
        labels: (N,) true for anomalies.
        scores: (N,) higher is more anomalous.
        min_background: Cuts that fewer background events pass are left out; at least 1.

    Raises:
        ValueError: If no cut is left, shapes differ, or a class has fewer than two rows.
    """
    signal, background = _split(labels, scores)
    if not 1 <= min_background <= len(background):
        raise ValueError(f"expected min_background from 1 to {len(background)}, got {min_background}")
    cuts = np.unique(np.concatenate([signal, background]))[::-1]
    eps_s = 1 - np.searchsorted(signal, cuts, side="left") / len(signal)
    n_b = len(background) - np.searchsorted(background, cuts, side="left")
    kept = n_b >= min_background
    return Significance(eps_s[kept], eps_s[kept] / np.sqrt(n_b[kept] / len(background)))


def average_precision(labels: ArrayLike, scores: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Average precision with the logit interval of Boyd, Eng & Page (ECML 2013, section 3.2).

    Args:
        labels: (N,) true for anomalies.
        scores: (N,) higher is more anomalous.
        confidence: Level of the interval.
    """
    signal, _ = _split(labels, scores)
    value = float(average_precision_score(np.asarray(labels).astype(bool), scores))
    inside = min(max(value, 1e-12), 1 - 1e-12)
    half = distributions.norm.ppf(0.5 + confidence / 2) / math.sqrt(len(signal) * inside * (1 - inside))
    logit = math.log(inside / (1 - inside))
    # One anomaly among few may send the exponent out of range.
    low, high = (1 / (1 + math.exp(min(700.0, max(-700.0, -edge)))) for edge in (logit - half, logit + half))
    return Interval(value, low, high)


def detection_metrics(labels: ArrayLike, scores: ArrayLike) -> dict[str, float | None]:
    """All of them by name, as a record wants them; None where one is undefined.

    ``roc_auc`` with DeLong's ``roc_auc_low`` and ``_high``; ``average_precision``; ``rejection_0.1``, ``_0.3`` and
    ``_0.5``, None if no background event passes, and their limits; ``significance`` (the maximum) and
    ``significance_at`` (its signal efficiency), None with fewer than 25 background events.

    Args:
        labels: (N,) true for anomalies.
        scores: (N,) higher is more anomalous.
    """
    area = auc_interval(labels, scores)
    found: dict[str, float | None] = {"roc_auc": area.mean, "roc_auc_low": area.low, "roc_auc_high": area.high}
    precision = average_precision(labels, scores)
    for name, value in zip(("", "_low", "_high"), precision, strict=True):
        found[f"average_precision{name}"] = value
    for efficiency in EFFICIENCIES:
        rejection = background_rejection(labels, scores, efficiency)
        for name, value in zip(("", "_low", "_high"), rejection, strict=True):
            found[f"rejection_{efficiency:g}{name}"] = value if math.isfinite(value) else None
    enough = np.size(labels) - np.count_nonzero(labels) >= MIN_BACKGROUND
    at, best = significance_improvement(labels, scores).best() if enough else (None, None)
    return found | {"significance": best, "significance_at": at}


def seed_spread(values: ArrayLike, *, confidence: float = 0.95) -> Spread:
    """Mean and spread over seeds.

    Args:
        values: (K,) one value a seed.
        confidence: Level of the interval of the mean.

    Raises:
        ValueError: If K < 2 or a value is not finite.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size < 2 or not np.isfinite(data).all():
        raise ValueError(f"expected finite values of at least 2 seeds, got shape {data.shape} or NaN/inf")
    mean, std = float(data.mean()), float(data.std(ddof=1))
    half = float(distributions.t.ppf(0.5 + confidence / 2, data.size - 1)) * std / math.sqrt(data.size)
    return Spread(mean, mean - half, mean + half, std, float(data.min()), float(data.max()))


def contaminated(
    background: NDArray[np.float64],
    anomalies: NDArray[np.float64],
    n_rows: int,
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Training rows as one gets them without labels: background, a share of it anomalies, in random order.

    Args:
        background: (N, F) normal rows to draw from, without replacement.
        anomalies: (M, F) anomalies to draw from, without replacement.
        n_rows: Rows to draw in all.
        share: Share of anomalies, in [0, 0.5]; their number is rounded.
        rng: Source of the choice.

    Returns:
        Shape ``(n_rows, F)``. With one generator state, less contamination replaces anomalies by background
        and keeps the other rows.

    Raises:
        ValueError: If the share is none or there are too few rows.
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"expected a contamination in [0, 0.5], got {share!r}")
    n_anomalies = round(share * n_rows)
    if n_rows > len(background) or n_anomalies > len(anomalies):
        raise ValueError(
            f"expected {n_rows} background rows and {n_anomalies} anomalies to draw from, "
            f"got {len(background)} and {len(anomalies)}"
        )
    rows = background[rng.permutation(len(background))[:n_rows]]
    rows[:n_anomalies] = anomalies[rng.permutation(len(anomalies))[:n_anomalies]]
    return rows[rng.permutation(n_rows)]
