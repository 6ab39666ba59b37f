"""Rows to predict or to score: data sets, and tables of which nobody knows the answers yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qworkbench.backend import parse_uri
from qworkbench.errors import unknown_name

if TYPE_CHECKING:
    import pandas as pd

CSV = (".csv", ".csv.gz")


@dataclass(frozen=True)
class Rows:
    """Features ``X`` (N, F), their names, and the target ``y`` (N,) if there is one."""

    X: NDArray[np.float64]
    names: tuple[str, ...]
    y: NDArray | None


def is_csv(data: str) -> bool:
    """Whether ``data`` names a CSV file, with options or without."""
    return data.partition("?")[0].lower().endswith(CSV)


def target_of(data: str) -> str | None:
    """The ``target=`` of a CSV file's options."""
    return _options(data).get("target") if is_csv(data) else None


def read_rows(data: str, features: Sequence[str] | None = None, target: str | None = None) -> Rows:
    """The rows of a CSV file, whose target may be absent, or of a data set.

    Args:
        data: As for ``load_dataset``.
        features: The columns that the model was trained on, in its order; None takes all but the target.
        target: The column that the model predicts; read if it is there.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column is missing, not numeric or not finite, or the features are others.
    """
    if is_csv(data):
        return _read_csv(data, features, target)
    from qworkbench.datasets import load_dataset

    dataset = load_dataset(data)
    names = dataset.feature_names
    if features is None or tuple(features) == names:
        return Rows(dataset.X, names, dataset.y)
    if set(features) - set(names):
        raise ValueError(f"expected the features {_some(features)} of the model, got {_some(names)}")
    return Rows(dataset.X[:, [names.index(name) for name in features]], tuple(features), dataset.y)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown}, ... ({len(names)})" if len(names) > 8 else shown


def _options(data: str) -> dict[str, str]:
    query = data.partition("?")[2]
    return parse_uri(f"file?{query}")[2] if query else {}


def _read_csv(data: str, features: Sequence[str] | None, target: str | None) -> Rows:
    import pandas as pd

    file, options = Path(data.partition("?")[0]), _options(data)
    for key in options:
        if key not in ("sep", "target"):
            raise unknown_name("option for rows of a CSV file", key, ("sep", "target"))
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    try:
        frame = pd.read_csv(file, sep=options.get("sep", ","), skipinitialspace=True)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"cannot read {file.name} as CSV: {error}") from error
    columns = [str(column) for column in frame.columns]
    frame.columns = pd.Index(columns)
    target = options.get("target", target)
    names = tuple(features or (name for name in columns if name != target))
    for name in (*names, *([target] if "target" in options else [])):
        if name not in columns:
            raise ValueError(
                f"{file.name} lacks the column {name!r}, which the model needs; it has {', '.join(columns)}"
            )
    X = _numbers(frame[list(names)])
    return Rows(X, names, frame[target].to_numpy() if target in columns else None)


def _numbers(frame: pd.DataFrame) -> NDArray[np.float64]:
    if frame.empty:
        raise ValueError("expected at least one row and one column of features, got none")
    for name, column in frame.items():
        if column.dtype.kind not in "iufb":
            raise ValueError(f"expected numbers in the column {name!r}, got {str(column.iloc[0])!r}")
        if not np.isfinite(column.to_numpy(np.float64)).all():
            raise ValueError(f"expected finite numbers in the column {name!r}, got NaN or infinity")
    return frame.to_numpy(np.float64)
