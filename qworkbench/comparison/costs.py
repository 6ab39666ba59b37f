"""What a fitted model cost: circuits by counting them, parameters by counting them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from qworkbench.backend import Backend
from qworkbench.comparison.contestants import backend_parameters
from qworkbench.comparison.preprocessing import MODEL

COUNTED = ("circuits", "submissions", "shots")


def fit_usage(model: Any) -> dict[str, int]:
    """Circuits, submissions and shots that ``fit`` of a pipeline's model ran; empty for a classical model."""
    usage = getattr(model.named_steps[MODEL], "usage_", None) or {}
    return {key: int(usage[key]) for key in COUNTED if key in usage}


@contextmanager
def running_on(model: Any, backend: str | Backend, seed: int) -> Iterator[dict[str, int]]:
    """The fitted model on ``backend``, its weights untouched; the yielded usage is filled in at the end.

    A backend without a seed gets ``seed``. Opening the engine here, and not in each call of the model, lets
    its counters be read.
    """
    from qworkbench.engines.registry import open_engine

    described = Backend.parse(backend)
    if described.seed is None:
        described = replace(described, seed=seed)
    params = model.get_params()
    before = {key: params[key] for key in backend_parameters(model)}
    usage: dict[str, int] = {}
    with open_engine(described) as engine:
        model.set_params(**dict.fromkeys(before, engine))
        try:
            yield usage
        finally:
            model.set_params(**before)
            usage |= {key: int(getattr(engine.usage, key)) for key in COUNTED}


def added(*usages: Mapping[str, int]) -> dict[str, int]:
    """Usages summed by key."""
    keys = dict.fromkeys(key for usage in usages for key in usage)
    return {key: sum(usage.get(key, 0) for usage in usages) for key in keys}


def n_parameters(model: Any) -> int | None:
    """How many numbers the fit determined; None where that means nothing for the model.

    Weights of networks and linear models, nodes of trees, dual coefficients and intercepts of kernel
    machines, means and covariances of Gaussians. A pipeline's count is its last step's.
    """
    if hasattr(model, "named_steps"):
        return n_parameters(model.named_steps[MODEL] if MODEL in model.named_steps else model[-1])
    if hasattr(model, "n_parameters_"):
        return int(model.n_parameters_)
    for count in (_trees, _boosted, _arrays):
        found = count(model)
        if found is not None:
            return found
    inner = getattr(model, "best_estimator_", None) or getattr(model, "regressor_", None)
    return None if inner is None else n_parameters(inner)


def _trees(model: Any) -> int | None:
    members = list(np.ravel(getattr(model, "estimators_", []))) or [model]
    trees = [tree.tree_ for tree in members if hasattr(tree, "tree_")]
    return sum(int(tree.node_count) for tree in trees) if len(trees) == len(members) else None


def _boosted(model: Any) -> int | None:
    rounds = getattr(model, "_predictors", None)
    return None if rounds is None else sum(len(tree.nodes) for trees in rounds for tree in trees)


_ARRAYS = (
    ("coefs_", "intercepts_"),
    ("dual_coef_", "intercept_"),
    ("coef_", "intercept_"),
    ("weights_", "means_", "covariances_"),
    ("location_", "covariance_"),
)
"""Fitted attributes that together are the parameters of a family of models; the first that fits counts."""


def _arrays(model: Any) -> int | None:
    for names in _ARRAYS:
        parts = [vars(model).get(name) for name in names]
        if parts[0] is not None:
            return sum(_size(part) for part in parts if part is not None)
    return None


def _size(part: Any) -> int:
    return sum(map(_size, part)) if isinstance(part, list) else int(np.size(part))
