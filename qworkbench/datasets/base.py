"""The data set as a checked value, and the choice of rows from a larger one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qworkbench.errors import unknown_name

TASKS = ("classification", "regression", "anomaly")
NORMAL, ANOMALY = "normal", "anomaly"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A table of numbers with a target, and where it comes from.

    Raises:
        ValueError: If shapes disagree, a value is not finite, the task is unknown, the target does not vary
            (one class), or an anomaly target holds anything but ``"normal"`` and ``"anomaly"``.
    """

    name: str
    """The name, with every option that was not left at its default, e.g. ``moons?noise=0.2``."""
    X: NDArray[np.float64]
    """Features, shape ``(n_samples, n_features)``."""
    y: NDArray
    """Target, shape ``(n_samples,)``: class labels (numbers or strings), or floats for regression."""
    task: str
    """``"classification"``, ``"regression"`` or ``"anomaly"``."""
    feature_names: tuple[str, ...]
    """One name a column of ``X``."""
    source: str
    """Provenance and licence."""

    def __post_init__(self) -> None:
        X, y = np.ascontiguousarray(self.X, dtype=np.float64), np.asarray(self.y)
        names = tuple(map(str, self.feature_names))
        if X.ndim != 2 or y.shape != X.shape[:1] or len(names) != X.shape[1] or not names:
            raise ValueError(
                f"expected X (n_samples, n_features), y (n_samples,) and a name for each feature, "
                f"got X {X.shape}, y {y.shape} and {len(names)} names"
            )
        if self.task not in TASKS:
            raise unknown_name("task", self.task, TASKS)
        bad = [names[column] for column in np.flatnonzero(~np.isfinite(X).all(axis=0))]
        if bad:
            raise ValueError(f"expected finite features, got NaN or infinity in {', '.join(map(repr, bad))}")
        for field, value in (("X", X), ("y", _checked_target(y, self.task)), ("feature_names", names)):
            object.__setattr__(self, field, value)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the shape, the feature names, ``X`` and ``y``."""
        digest = hashlib.sha256(repr((self.X.shape, self.feature_names)).encode())
        digest.update(self.X.astype("<f8").tobytes())
        # Labels as text: the bytes of a string array depend on the longest label that is present.
        digest.update(repr(self.y.tolist()).encode())
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        rows, columns = self.X.shape
        classes = "" if self.task == "regression" else f", {len(np.unique(self.y))} classes"
        return f"Dataset({self.name!r}: {rows} x {columns}, {self.task}{classes})"


def _checked_target(y: NDArray, task: str) -> NDArray:
    if task == "regression":
        if y.dtype.kind not in "iufb":
            raise ValueError(f"expected numbers as a regression target, got {y.dtype}")
        y = y.astype(np.float64)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("expected a finite target, got NaN or infinity")
    if y.dtype.kind == "O":
        y = y.astype(str)
    values = np.unique(y)
    if len(values) < 2:
        raise ValueError(f"expected at least 2 different values in the target, got {values.tolist()}")
    if task == "anomaly" and values.tolist() != [ANOMALY, NORMAL]:
        raise ValueError(f"expected an anomaly target of {NORMAL!r} and {ANOMALY!r}, got {values[:5].tolist()}")
    return y


def subset(dataset: Dataset, n_samples: int, seed: int = 0) -> Dataset:
    """Some rows of a data set, in random order; class shares are kept to within one row a class.

    Args:
        dataset: The data set.
        n_samples: How many rows to keep.
        seed: Chooses the rows.

    Raises:
        ValueError: If there are fewer rows, or a class would be lost.
    """
    rows = choose_rows(dataset.y, n_samples, seed, stratify=dataset.task != "regression")
    return dataclasses.replace(dataset, X=dataset.X[rows], y=dataset.y[rows])


def choose_rows(y: NDArray, n_samples: int | None, seed: int, *, stratify: bool = True) -> NDArray[np.intp]:
    """Row numbers, shape ``(n_samples,)``: all in order for None, else a random stratified choice.

    Raises:
        ValueError: If there are fewer rows, or a class would be lost.
    """
    if n_samples is None:
        return np.arange(len(y))
    if not 2 <= n_samples <= len(y):
        raise ValueError(f"expected n_samples from 2 to {len(y)}, the rows there are, got {n_samples}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    if not stratify:
        return order[:n_samples]
    # Evenly spaced picks from rows grouped by class take each class by its share.
    order = order[np.argsort(y[order], kind="stable")]
    picks = order[((np.arange(n_samples) + 0.5) * len(y) / n_samples).astype(int)]
    lost = np.setdiff1d(y, y[picks])
    if len(lost):
        raise ValueError(f"n_samples={n_samples} leaves no row of class {lost[0]!s}; ask for more rows")
    return rng.permutation(picks)


def class_rows(y: NDArray, classes: Iterable[str], names: tuple[str, ...] = ()) -> NDArray[np.intp]:
    """Rows whose label is one of ``classes``, given as text; with ``names`` also by the number of a name.

    Raises:
        ValueError: If a class is unknown.
    """
    labels = np.unique(y)
    known = {str(label): label for label in labels}
    numbered = {str(number): name for number, name in enumerate(names)}
    wanted = []
    for text in classes:
        label = known.get(numbered.get(text, text))
        if label is None:
            raise unknown_name("class", text, known)
        wanted.append(label)
    return np.flatnonzero(np.isin(y, np.asarray(wanted, dtype=labels.dtype)))


def rejection_sample(
    draw: Callable[[], NDArray], accept: Callable[[NDArray], NDArray], n_samples: int
) -> NDArray[np.float64]:
    """The first ``n_samples`` accepted rows out of at most 500 draws.

    Raises:
        ValueError: If too few rows are accepted.
    """
    kept: list[NDArray] = []
    for _ in range(500):
        rows = draw()
        kept.append(rows[accept(rows)])
        if sum(map(len, kept)) >= n_samples:
            return np.concatenate(kept)[:n_samples]
    raise ValueError(f"fewer than {n_samples} points keep the distance asked for; lower the gap or margin")
