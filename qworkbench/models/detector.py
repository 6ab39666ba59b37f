"""What every detector of anomalies is: a score, and a threshold that comes from the training data alone."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from qworkbench.errors import unknown_name

AUTO_CONTAMINATION = 0.1
"""Share of the events beyond the threshold with ``contamination="auto"``."""
MIN_HELD_OUT = 10
"""Fewer events than these say nothing as a sample, and are not held out."""
THRESHOLDS = ("training", "validation")
"""Whose scores set the threshold: all events given to ``fit``, or those held out from training."""


def contamination_share(contamination: float | str) -> float:
    """The share of the events that lies beyond the threshold.

    Raises:
        ValueError: If it is neither ``"auto"`` nor in (0, 0.5].
    """
    if contamination == "auto":
        return AUTO_CONTAMINATION
    if isinstance(contamination, str) or not 0 < contamination <= 0.5:
        raise ValueError(f"expected contamination 'auto' or in (0, 0.5], got {contamination!r}")
    return float(contamination)


class ThresholdedDetector(OutlierMixin, BaseEstimator):
    """A score with a threshold that comes from the training data alone. Abstract.

    A fitted detector has ``offset_``, the score of the threshold.
    """

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        """Fit, and return the scores that set the threshold, shape ``(N,)``."""
        raise NotImplementedError

    def _score(self, X: np.ndarray) -> np.ndarray:
        """Scores of shape ``(N,)``; higher is more normal."""
        raise NotImplementedError

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit to events ``X`` of shape ``(N, F)``, all or most of them normal; ``y`` is ignored.

        Raises:
            ValueError: If the data are not finite, there are fewer than 2 rows, or a setting is wrong.
        """
        events: np.ndarray = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        share = contamination_share(self.contamination)
        self.offset_ = float(np.quantile(self._fit_scores(events), share))
        return self

    def _checked(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Scores of shape ``(N,)``; higher is more normal. An event's score does not depend on the others."""
        return self._score(self._checked(X))

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """``score_samples(X) - offset_``: negative for anomalies, shape ``(N,)``."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """+1 for normal events and -1 for anomalies, shape ``(N,)``."""
        return np.where(self.decision_function(X) >= 0, 1, -1)


def hold_out(detector: Any, X: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Events to train on, and ``validation_fraction`` of them kept back, by ``seed``.

    None are kept back if they would be fewer than ``MIN_HELD_OUT``.

    Raises:
        ValueError: If ``validation_fraction`` or ``threshold`` is wrong, or too few events are left for the threshold.
    """
    fraction = detector.validation_fraction
    if not 0 <= fraction <= 0.5:
        raise ValueError(f"expected validation_fraction in [0, 0.5], got {fraction!r}")
    if detector.threshold not in THRESHOLDS:
        raise unknown_name("threshold", detector.threshold, THRESHOLDS)
    count = round(fraction * len(X))
    if count < MIN_HELD_OUT:
        if detector.threshold == "validation":
            raise ValueError(
                f"threshold='validation' expects at least {MIN_HELD_OUT} events held out, got {count}: give more "
                "events or a larger validation_fraction"
            )
        count = 0
    order = np.random.default_rng(seed).permutation(len(X))
    # In the order of the data, so that without a held-out part nothing moves.
    return X[np.sort(order[count:])], X[np.sort(order[:count])]


def check_settings(detector: Any, least: Mapping[str, int]) -> None:
    """Refuse whole numbers that are none or below their minimum, and a learning rate that is not positive.

    Raises:
        ValueError: With the name and the value.
    """
    for name, minimum in least.items():
        value = getattr(detector, name)
        if not hasattr(value, "__index__") or operator.index(value) < minimum:
            raise ValueError(f"expected {name} to be a whole number of at least {minimum}, got {value!r}")
    if not 0 < detector.learning_rate < math.inf:
        raise ValueError(f"expected a positive learning_rate, got {detector.learning_rate!r}")
