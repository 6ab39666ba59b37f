"""Which features make a row an anomaly: by the residual of a detector that reconstructs, else by occlusion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

RESIDUAL, OCCLUSION = "residual", "occlusion"


def method_of(model: Any) -> str:
    """``"residual"`` if the detector, the last step of a pipeline, has ``residuals(X)``; else ``"occlusion"``."""
    detector = model[-1] if isinstance(model, Pipeline) else model
    invertible = not isinstance(model, Pipeline) or all(hasattr(step, "inverse_transform") for step in model[:-1])
    return RESIDUAL if hasattr(detector, "residuals") and invertible else OCCLUSION


def attribute(model: Any, X: NDArray[np.float64], *, centre: ArrayLike, spread: ArrayLike) -> NDArray[np.float64]:
    """The share of each feature in a row's score, shape ``(N, F)``.

    By residual: value minus what the detector takes for the nearest normal row, in standard deviations of the
    training rows; the scalers of a pipeline are undone. By occlusion: the rise of the score, i.e. towards normal,
    when this feature alone is set to its centre; it takes F further calls of ``score_samples``.

    Args:
        model: A fitted detector, or a pipeline that ends in one.
        X: Rows, shape ``(N, F)``.
        centre: (F,) medians of the training rows.
        spread: (F,) standard deviations of the training rows, 1 for a constant feature.
    """
    if method_of(model) == OCCLUSION:
        return _occluded(model, X, np.asarray(centre))
    if not isinstance(model, Pipeline):
        return model.residuals(X) / np.asarray(spread)
    steps, detector = model[:-1], model[-1]
    scaled = steps.transform(X)
    return (X - steps.inverse_transform(scaled - detector.residuals(scaled))) / np.asarray(spread)


def _occluded(model: Any, X: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    before = model.score_samples(X)
    rises = np.empty_like(X)
    for feature in range(X.shape[1]):
        changed = X.copy()
        changed[:, feature] = centre[feature]
        rises[:, feature] = model.score_samples(changed) - before
    return rises
