"""Preprocessing by name. Every step is fitted on the training rows of a fold, never on its test rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from qworkbench.errors import unknown_name

MODEL = "model"
"""Name of the last step of every pipeline."""

PREPROCESSING: dict[str, Callable[[], Any]] = {
    "standardize": StandardScaler,  # zero mean, unit variance
    "minmax": lambda: MinMaxScaler((-1.0, 1.0)),
}
"""Name -> transformer; besides these, ``pca:K`` keeps the first K principal components."""


def components(step: str) -> int | None:
    """K of ``pca:K``, or None for another step.

    Raises:
        ValueError: If the step is unknown, or K is no positive number.
    """
    name, colon, count = step.partition(":")
    if step in PREPROCESSING:
        return None
    if name != "pca":
        raise unknown_name("preprocessing", step, [*PREPROCESSING, "pca:K"])
    if not colon or not count.isdigit() or int(count) < 1:
        raise ValueError(f"expected pca:K with a positive number of components, e.g. 'pca:4', got {step!r}")
    return int(count)


def pipeline(steps: Sequence[str], model: Any) -> Pipeline:
    """The steps in order, then the model; a step may come twice."""
    made: list[tuple[str, Any]] = []
    for number, step in enumerate(steps, start=1):
        count = components(step)
        # The full decomposition: the randomised one would need a seed.
        transformer = PREPROCESSING[step]() if count is None else PCA(count, svd_solver="full")
        made.append((f"{number} {step}", transformer))
    return Pipeline([*made, (MODEL, model)])
