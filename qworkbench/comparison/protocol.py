"""The rules of a comparison: everything, besides the data and the models, that affects a number."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, RepeatedKFold, RepeatedStratifiedKFold, StratifiedKFold

from qworkbench.comparison.identity import derive_seed
from qworkbench.comparison.preprocessing import components
from qworkbench.comparison.scoring import METRICS
from qworkbench.datasets import Dataset, subset
from qworkbench.errors import unknown_name

NORMAL = "normal"


class Split(NamedTuple):
    """One outer fold, the same for every model."""

    repeat: int
    fold: int
    train: NDArray[np.intp]
    """Rows to train on; of an anomaly task the normal rows only."""
    test: NDArray[np.intp]


@dataclass(frozen=True)
class Protocol:
    """Settings that hold for every model alike.

    Raises:
        ValueError: If a number is out of range or a name is unknown.
    """

    folds: int = 5
    repeats: int = 1
    trials: int = 8
    """Settings tried for each model in each fold, the defaults first; 1 means no tuning."""
    inner_folds: int = 3
    preprocessing: tuple[str, ...] = ("standardize",)
    metric: str | None = None
    """Primary metric; None takes the task's."""
    max_samples: int | None = None
    """Rows taken of a larger data set, class shares kept."""
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "preprocessing", tuple(self.preprocessing))
        lowest = {"folds": 2, "repeats": 1, "trials": 1, "inner_folds": 2, "seed": 0}
        for name, bound in lowest.items():
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < bound:
                raise ValueError(f"expected {name} as a whole number of at least {bound}, got {value!r}")
        for step in self.preprocessing:
            components(step)
        known = {name for names in METRICS.values() for name in names}
        if self.metric is not None and self.metric not in known:
            raise unknown_name("metric", self.metric, known)

    def metric_of(self, task: str) -> str:
        """The primary metric of a task.

        Raises:
            ValueError: If the chosen metric does not belong to the task.
        """
        if self.metric is None:
            return METRICS[task][0]
        if self.metric not in METRICS[task]:
            raise ValueError(
                f"expected a metric for {task} ({', '.join(METRICS[task])}), got {self.metric!r}; "
                "compare data sets of different tasks one by one"
            )
        return self.metric

    def as_spec(self, task: str) -> dict[str, Any]:
        """What stands in every record: equal for all models of a data set."""
        spec = asdict(self) | {"metric": self.metric_of(task), "preprocessing": ", ".join(self.preprocessing)}
        if task == "anomaly":
            spec["tuning"] = "held-out normal rows against noise; no anomaly is seen"
        return spec

    def prepare(self, dataset: Dataset) -> Dataset:
        """The rows to use, checked to be enough for the folds.

        Raises:
            ValueError: If a class, or the whole, has too few rows, or PCA asks for too many components.
        """
        self.metric_of(dataset.task)
        if self.max_samples is not None and self.max_samples < len(dataset.y):
            dataset = subset(dataset, self.max_samples, self.seed)
        for name, count, each in _groups(dataset):
            needed, left = each * self.folds, count - math.ceil(count / self.folds)
            if count < needed:
                raise ValueError(
                    f"{dataset.name}: expected at least {needed} {name} for {self.folds} folds, got {count}; "
                    "ask for fewer folds or more rows"
                )
            if self.trials > 1 and left < each * self.inner_folds:
                raise ValueError(
                    f"{dataset.name}: expected at least {each * self.inner_folds} {name} in a training fold, "
                    f"for {self.inner_folds} inner folds, got {left}; ask for trials=1 or more rows"
                )
        self._check_components(dataset)
        return dataset

    def _check_components(self, dataset: Dataset) -> None:
        rows = int(np.sum(dataset.y == NORMAL)) if dataset.task == "anomaly" else len(dataset.y)
        rows -= math.ceil(rows / self.folds)
        if self.trials > 1:
            rows -= math.ceil(rows / self.inner_folds)
        width = dataset.X.shape[1]
        for step in self.preprocessing:
            count = components(step)
            most = min(width, rows)
            if count is not None and count > most:
                raise ValueError(
                    f"{dataset.name}: expected at most {most} components, got {step!r}; there are {width} "
                    f"features and {rows} rows in the smallest training fold"
                )
            width = width if count is None else count

    def splits(self, dataset: Dataset) -> list[Split]:
        """The outer folds: stratified but for regression, and a function of the seed and the target alone."""
        kind = RepeatedKFold if dataset.task == "regression" else RepeatedStratifiedKFold
        made = kind(n_splits=self.folds, n_repeats=self.repeats, random_state=self.seed)
        splits = []
        for number, (train, test) in enumerate(made.split(dataset.X, dataset.y)):
            if dataset.task == "anomaly":
                train = train[dataset.y[train] == NORMAL]
            splits.append(Split(*divmod(number, self.folds), train, test))
        return splits

    def inner_splits(self, dataset: Dataset, split: Split) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Row numbers of the inner folds, all of them within ``split.train``."""
        kind = StratifiedKFold if dataset.task == "classification" else KFold
        seed = derive_seed("inner folds", self.seed, dataset.fingerprint, split.repeat, split.fold)
        inner = kind(self.inner_folds, shuffle=True, random_state=seed)
        rows = split.train
        return [(rows[a], rows[b]) for a, b in inner.split(dataset.X[rows], dataset.y[rows])]


def _groups(dataset: Dataset) -> list[tuple[str, int, int]]:
    """What folds must share out: name, rows, and rows that each fold needs (r2 needs two)."""
    if dataset.task == "regression":
        return [("rows", len(dataset.y), 2)]
    classes, counts = np.unique(dataset.y, return_counts=True)
    return [(f"rows of class {name!s}", int(n), 1) for name, n in zip(classes, counts, strict=True)]
