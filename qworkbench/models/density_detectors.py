"""Anomaly detection by a density: the classical opponents that are hard to beat on tables."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.covariance import ShrunkCovariance
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted, validate_data

from qworkbench.models.base import draw_seed

AUTO_CONTAMINATION = 0.1
"""Share of the training events beyond the threshold with ``contamination="auto"``."""


def contamination_share(contamination: float | str) -> float:
    """The share of the training events that lies beyond the threshold.

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
        """Fit, and return the scores of the training events, shape ``(N,)``."""
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


class MahalanobisDetector(ThresholdedDetector):
    """One ellipsoid: ``-(x - mean) C^-1 (x - mean)`` (Mahalanobis 1936), with C shrunk if asked.

    Args:
        shrinkage: Weight, from 0 to 1, of a round covariance of the same trace.
        contamination: Share of the training events beyond the threshold; ``auto`` is 0.1.
    """

    def __init__(self, *, shrinkage: float = 0.0, contamination: float | str = "auto") -> None:
        self.shrinkage = shrinkage
        self.contamination = contamination

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        self.density_ = ShrunkCovariance(shrinkage=self.shrinkage).fit(X)
        return self._score(X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return -self.density_.mahalanobis(X)


class GaussianMixtureDetector(ThresholdedDetector):
    """The log density of a mixture of Gaussians.

    Args:
        n_components: Number of Gaussians; fewer for fewer events.
        covariance_type: ``full``, ``tied``, ``diag`` or ``spherical``.
        reg_covar: Added to the variances.
        contamination: Share of the training events beyond the threshold; ``auto`` is 0.1.
        random_state: Seed of the start.
    """

    def __init__(
        self,
        n_components: int = 3,
        *,
        covariance_type: str = "full",
        reg_covar: float = 1e-4,
        contamination: float | str = "auto",
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.contamination = contamination
        self.random_state = random_state

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        mixture = GaussianMixture(
            min(self.n_components, len(X)),
            covariance_type=self.covariance_type,
            reg_covar=self.reg_covar,
            max_iter=500,
            random_state=draw_seed(self.random_state),
        )
        self.density_ = mixture.fit(X)
        return self._score(X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.density_.score_samples(X)
