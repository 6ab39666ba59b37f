"""Features to few numbers of known range and back: what stands before every narrow model of a detector."""

from __future__ import annotations

from typing import Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator

QUANTILES = (0.02, 0.98)
"""The training range of a component between these quantiles is its main range, ..."""
MAIN_RANGE = 0.8
"""... which becomes this part of ``[-1, 1]``: an expectation value comes near 1 for few states only."""
ANGLE_RANGE = 1.5
"""Scaled components are clipped here before they become angles, since angles are periodic."""
LARGEST = 1e150
"""Standardised features are clipped here, so that their squares stay finite."""

Values = TypeVar("Values", np.ndarray, torch.Tensor)


class ComponentScaler(BaseEstimator):
    """Standardised features, turned to their first principal components, each scaled to ``[-0.8, 0.8]``.

    Fitted it has ``mean_`` and ``scale_`` ``(F,)``, ``components_`` ``(K, F)`` with orthonormal rows, and ``centre_``
    and ``width_`` ``(K,)``.

    Args:
        n_components: Number of components; as many as features, at most.
    """

    def __init__(self, n_components: int) -> None:
        self.n_components = n_components

    def fit(self, X: np.ndarray) -> Self:
        """Learn the scales from finite events of shape ``(N, F)``."""
        self.mean_, spread = X.mean(axis=0), X.std(axis=0)
        # Rounding leaves a constant feature with a spread that is tiny against its value.
        self.scale_ = np.where(spread > 1e-12 * np.abs(self.mean_), spread, 1.0)
        standard = self.standardise(X)
        directions = np.linalg.eigh(standard.T @ standard)[1][:, ::-1][:, : self.n_components].T
        rows = np.arange(len(directions))
        signs = np.sign(directions[rows, np.abs(directions).argmax(axis=1)])
        self.components_ = directions * signs[:, None]
        low, high = np.quantile(standard @ self.components_.T, QUANTILES, axis=0)
        self.centre_, width = (low + high) / 2, (high - low) / 2 / MAIN_RANGE
        self.width_ = np.where(width > 1e-9, width, 1.0)
        return self

    def standardise(self, X: np.ndarray) -> np.ndarray:
        """Features in standard deviations from their mean, shape ``(N, F)``."""
        return np.clip((X - self.mean_) / self.scale_, -LARGEST, LARGEST)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Scaled components of shape ``(N, K)``."""
        return (self.standardise(X) @ self.components_.T - self.centre_) / self.width_

    def unscale(self, scaled: Values) -> Values:
        """Scaled components to components in standard deviations of the features, shape ``(N, K)``."""
        if isinstance(scaled, torch.Tensor):
            return scaled * torch.as_tensor(self.width_) + torch.as_tensor(self.centre_)
        return scaled * self.width_ + self.centre_

    def left_out(self, X: np.ndarray, limit: float = np.inf) -> np.ndarray:
        """How far events are from what a model sees of them, shape ``(N,)``, in standard deviations.

        The root mean square, over all features, of what the components leave out and what of them, scaled, lies beyond
        ``[-limit, limit]``.
        """
        seen = self.unscale(np.clip(self.transform(X), -limit, limit)) @ self.components_
        return np.sqrt(((self.standardise(X) - seen) ** 2).mean(axis=1))

    def restore(self, components: np.ndarray) -> np.ndarray:
        """Unscaled components to features in the units of the data, shape ``(N, F)``."""
        return components @ self.components_ * self.scale_ + self.mean_
