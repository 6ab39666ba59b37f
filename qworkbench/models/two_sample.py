"""Are two samples from one distribution? What shows a generator that misses events or collapses to a few modes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

PERMUTATIONS = 199
"""Of the energy test; the least p-value is one over one more than these."""
NEIGHBOURS = 5
"""Of the coverage: a real event's own neighbourhood reaches to so many others."""
LARGEST_SAMPLE = 500
"""Rows of each sample that are compared at most; the cost grows with their square."""


def energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """``2 E|X - Y| - E|X - X'| - E|Y - Y'|``, 0 for equal distributions (Szekely & Rizzo 2013).

    Args:
        x: Shape ``(N, K)``.
        y: Shape ``(M, K)``.
    """
    return float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())


def energy_test(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The energy distance and its p-value by permutation of the labels, for ``x`` ``(N, K)`` and ``y`` ``(M, K)``."""
    distances = cdist(both := np.concatenate([x, y]), both)
    labels = np.zeros((1 + PERMUTATIONS, len(both)))
    for row in labels:
        row[: len(x)] = 1
    for row in labels[1:]:
        rng.shuffle(row)
    # With a = 1/N on x and b = 1/M on y the distance is -(a - b) D (a - b).
    weights = labels / len(x) - (1 - labels) / len(y)
    found = -((weights @ distances) * weights).sum(axis=1)
    return float(found[0]), float((found >= found[0] - 1e-12).mean())


def coverage(real: np.ndarray, made: np.ndarray) -> float:
    """Share of real events with a generated one nearer than their ``NEIGHBOURS``-th real neighbour.

    Naeem et al. 2020 (arXiv:2002.09797, eq. 4). For equal distributions and sizes about ``1 - 2**-NEIGHBOURS``.

    Args:
        real: Shape ``(N, K)``, N above ``NEIGHBOURS``.
        made: Shape ``(M, K)``.
    """
    reach = cKDTree(real).query(real, k=NEIGHBOURS + 1)[0][:, -1]
    return float((cKDTree(made).query(real)[0] <= reach).mean())


def two_sample_measures(real: np.ndarray, made: np.ndarray, seed: int) -> dict[str, Any]:
    """Tests of one distribution, and measures of mode collapse, from equal numbers of real and generated events.

    Args:
        real: Events that no side has trained on, shape ``(N, K)``, N above ``NEIGHBOURS``.
        made: Generated events, shape ``(M, K)``.
        seed: Of the permutations.

    Returns:
        ``n``, the events on each side; ``energy_distance`` and ``energy_p``; for each component ``ks`` and ``ks_p``
        of the Kolmogorov-Smirnov test and ``spread``, the generated standard deviation over the real one;
        ``coverage``. A collapsed generator has low coverage and spread; small p-values tell the samples apart.
    """
    n = min(len(real), len(made), LARGEST_SAMPLE)
    real, made = real[:n], made[:n]
    distance, p_value = energy_test(real, made, np.random.default_rng(seed))
    tests = [ks_2samp(a, b) for a, b in zip(real.T, made.T, strict=True)]
    widths = real.std(axis=0)
    return {
        "n": n,
        "energy_distance": distance,
        "energy_p": p_value,
        "ks": [float(test.statistic) for test in tests],
        "ks_p": [float(test.pvalue) for test in tests],
        "spread": [float(s) for s in made.std(axis=0) / np.where(widths > 0, widths, 1.0)],
        "coverage": coverage(real, made),
    }
