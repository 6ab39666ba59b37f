"""Tables of the user's own: CSV by pandas, and ``.npz`` with X and y."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qworkbench.datasets.base import ANOMALY, NORMAL, TASKS, Dataset, choose_rows
from qworkbench.errors import unknown_name

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".npz")
MAX_FLOAT_CLASSES = 20
"""Without ``task=``, a target of floats with more different values than this is a regression target."""


def read_table(
    path: str,
    target: str | None = None,
    task: str | None = None,
    features: tuple[str, ...] | None = None,
    normal: str | None = None,
    sep: str = ",",
    n_samples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A data set from a file.

    Args:
        path: A ``.csv`` or ``.csv.gz`` file with a header line, or a ``.npz`` file with ``X`` (n, f),
            ``y`` (n,) and perhaps ``feature_names``.
        target: The column to predict (CSV only, and needed there).
        task: ``classification``, ``regression`` or ``anomaly``; None decides by the target: floats of
            more than 20 different values are regression, all else is classification.
        features: Columns to use; None takes all but the target.
        normal: For ``task="anomaly"``: the target value of normal rows; all others are anomalies.
        sep: Separator of the CSV file.
        n_samples: Rows to keep (stratified unless regression); None keeps all.
        seed: Chooses the rows.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, a column is unknown, not numeric or has missing or infinite
            values, or the target has one value only.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if not path.lower().endswith(SUFFIXES):
        raise ValueError(f"expected a file ending in {', '.join(SUFFIXES)}, got {file.name!r}")
    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if normal is not None and task != "anomaly":
        raise ValueError("normal= names the normal rows of task='anomaly'; add task='anomaly' or leave it out")
    if path.lower().endswith(".npz"):
        X, y, names = _read_npz(file, target, features)
    else:
        X, y, names = _read_csv(file, target, features, sep)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"expected a finite target in {file.name}, got NaN or infinity")
    task = task or ("regression" if _is_continuous(y) else "classification")
    if task != "regression":
        y = _labels(y, normal)
    rows = choose_rows(y, n_samples, seed, stratify=task != "regression")
    return Dataset(file.name, X[rows], y[rows], task, names, f"Read from the user's file {file.name}.")


def _is_continuous(y: NDArray) -> bool:
    return y.dtype.kind == "f" and len(np.unique(y)) > MAX_FLOAT_CLASSES


def _labels(y: NDArray, normal: str | None) -> NDArray:
    if y.dtype.kind == "f" and (y == np.rint(y)).all():
        y = y.astype(np.int64)
    elif y.dtype.kind not in "iu":
        y = y.astype(str)
    if normal is None:
        return y
    is_normal = y.astype(str) == normal
    if not is_normal.any():
        raise unknown_name("target value of normal rows", normal, map(str, np.unique(y)))
    return np.where(is_normal, NORMAL, ANOMALY)


def _read_npz(
    file: Path, target: str | None, features: tuple[str, ...] | None
) -> tuple[NDArray, NDArray, tuple[str, ...]]:
    if target is not None:
        raise ValueError(f"target={target!r} is for CSV files; in {file.name} the array 'y' is the target")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            arrays = dict(content)
    except (TypeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ValueError(f"cannot read {file.name} as .npz of plain arrays (no objects): {error}") from error
    for key in ("X", "y"):
        if key not in arrays:
            raise ValueError(f"expected the arrays 'X' and 'y' in {file.name}, got {sorted(arrays)}")
    X, y = arrays["X"], arrays["y"]
    if X.ndim != 2 or y.shape != X.shape[:1] or X.dtype.kind not in "iufb":
        raise ValueError(f"expected numbers X (n, f) and y (n,) in {file.name}, got {X.dtype} {X.shape} and {y.shape}")
    names = tuple(map(str, arrays.get("feature_names", [f"x{i}" for i in range(X.shape[1])])))
    if features is None:
        return X, y, names
    for name in features:
        if name not in names:
            raise unknown_name("column", name, names)
    return X[:, [names.index(name) for name in features]], y, features


def _read_csv(
    file: Path, target: str | None, features: tuple[str, ...] | None, sep: str
) -> tuple[NDArray, NDArray, tuple[str, ...]]:
    import pandas as pd

    try:
        frame = pd.read_csv(file, sep=sep, skipinitialspace=True)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"cannot read {file.name} as CSV: {error}") from error
    columns = [str(column) for column in frame.columns]
    frame.columns = pd.Index(columns)
    if frame.empty:
        raise ValueError(f"expected rows in {file.name}, got none")
    header = pd.read_csv(file, sep=sep, skipinitialspace=True, header=None, nrows=1, dtype=str).iloc[0].tolist()
    twice = sorted({str(name) for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"expected each column of {file.name} once, got twice: {', '.join(twice)}")
    if target is None:
        raise ValueError(f"expected target=COLUMN for {file.name}; its columns are {', '.join(columns)}")
    if len(columns) == 1:
        raise ValueError(f"expected several columns in {file.name}, got {columns[0]!r}; is sep={sep!r} right?")
    names = features or tuple(column for column in columns if column != target)
    for name in (target, *names):
        if name not in columns:
            raise unknown_name("column", name, columns)
    if target in names:
        raise ValueError(f"the target {target!r} cannot be one of the features")
    _check_cells(frame[[*names, target]], names)
    return frame[list(names)].to_numpy(np.float64), frame[target].to_numpy(), names


def _check_cells(frame: pd.DataFrame, features: tuple[str, ...]) -> None:
    counts = frame.isna().sum()
    missing = [f"{name!r}: {count}" for name, count in counts.items() if count]
    if missing:
        raise ValueError(
            f"missing values (column: count) {', '.join(missing)}; fill them, drop the rows, "
            "or choose other columns with features="
        )
    for name in features:
        column = frame[name]
        if column.dtype.kind not in "iufb":
            raise ValueError(
                f"expected numbers in the column {name!r}, got text such as {str(column.iloc[0])!r}; "
                "encode it as numbers, or choose the columns with features="
            )
        if not np.isfinite(column.to_numpy(np.float64)).all():
            raise ValueError(f"expected finite numbers in the column {name!r}, got infinity")
