"""The same number of tuning trials for every model, drawn so that a run can stop and go on anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import ParameterSampler

from qworkbench.comparison.identity import derive_seed, describe
from qworkbench.comparison.protocol import NORMAL, Protocol, Split
from qworkbench.comparison.scoring import ANOMALY
from qworkbench.datasets import Dataset

Rows = tuple[NDArray[np.float64], NDArray]


def candidates(model: Any, space: dict[str, Any], trials: int, seed: int) -> list[dict[str, Any]]:
    """Settings to try: the model's defaults, then distinct draws from the space, ``trials`` in all.

    A space of lists that holds fewer settings is tried as a whole instead.

    Args:
        model: The unfitted estimator, whose parameters are the defaults.
        space: Search space in the form of ``ParameterSampler``.
        trials: How many to give, at most.
        seed: Chooses the draws.
    """
    params = model.get_params()
    default = {key: params[key] for key in space}
    made, seen = [default], [describe(default)]
    # One draw more than needed makes up for one that equals the defaults.
    for drawn in _draws(space, trials + 1, seed) if space and trials > 1 else ():
        ordered = {key: drawn[key] for key in space}
        if describe(ordered) not in seen and len(made) < trials:
            made.append(ordered)
            seen.append(describe(ordered))
    return made


def _draws(space: dict[str, Any], count: int, seed: int) -> Sequence[dict[str, Any]]:
    """At most ``count`` settings in random order; from lists no setting comes twice."""
    listed = all(not hasattr(values, "rvs") for values in space.values())
    size = math.prod(len(values) for values in space.values()) if listed else count
    return list(ParameterSampler(space, min(count, size), random_state=seed))


def best(scores: Sequence[float | None]) -> int:
    """The number of the highest score, the earlier of equals; 0, the defaults, if none is defined."""
    known = [(score, -number) for number, score in enumerate(scores) if score is not None]
    return -max(known)[1] if known else 0


def inner_folds(protocol: Protocol, dataset: Dataset, split: Split) -> list[tuple[Rows, Rows]]:
    """Training and validation rows of each inner fold, the same for every model.

    Detectors must be tuned without anomalies, or they are no longer detectors of the unknown. They are asked
    to tell held-out normal rows from as many rows of noise: half uniform in the box that the training rows
    span (Tax & Duin, J. Mach. Learn. Res. 2, 155 (2001)), half with each feature drawn independently from the
    training rows (Shi & Horvath, J. Comput. Graph. Stat. 15, 118 (2006)), which only a model of the
    correlations can tell.
    """
    X, y = dataset.X, dataset.y
    folds = []
    for number, (train, held_out) in enumerate(protocol.inner_splits(dataset, split)):
        validation = X[held_out], y[held_out]
        if dataset.task == "anomaly":
            seed = derive_seed("noise", protocol.seed, dataset.fingerprint, split.repeat, split.fold, number)
            strange = noise(X[train], len(held_out), seed)
            labels = np.repeat([NORMAL, ANOMALY], len(held_out))
            validation = np.concatenate([X[held_out], strange]), labels
        folds.append(((X[train], y[train]), validation))
    return folds


def noise(X: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    """Rows ``(count, F)`` that look like no row of ``X`` ``(N, F)``: see ``inner_folds``."""
    rng = np.random.default_rng(seed)
    uniform = rng.uniform(X.min(axis=0), X.max(axis=0), (count - count // 2, X.shape[1]))
    shuffled = np.stack([rng.choice(column, count // 2) for column in X.T], axis=1)
    return np.concatenate([uniform, shuffled])
