"""Anomaly detection by a density: the classical opponents that are hard to beat on tables."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import ShrunkCovariance
from sklearn.mixture import GaussianMixture

from qworkbench.models.base import draw_seed
from qworkbench.models.detector import ThresholdedDetector


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
