"""Tables of the user's own, whole and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qworkbench.datasets.base import ANOMALY, NORMAL, TASKS, Dataset, choose_rows
from qworkbench.datasets.streams import TableFile, open_table
from qworkbench.errors import unknown_name

if TYPE_CHECKING:
    import pandas as pd

PIECE = 100_000
"""Rows read at a time."""
MAX_FLOAT_CLASSES = 20
"""Without ``task=``, a target of floats with more different values than this is a regression target."""


def read_table(
    path: str,
    target: str | None = None,
    task: str | None = None,
    features: tuple[str, ...] | None = None,
    normal: str | None = None,
    sep: str = ",",
    key: str | None = None,
    n_samples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A data set from a file.

    Args:
        path: A file of one of the formats of :func:`~qworkbench.datasets.streams.open_table`.
        target: The column to predict; of ``X`` and ``y`` (npz, HDF5) it is ``y`` unless given, else it is needed.
        task: ``classification``, ``regression`` or ``anomaly``; None decides by the target: floats of
            more than 20 different values are regression, all else is classification.
        features: Columns to use; None takes all but the target.
        normal: For ``task="anomaly"``: the target value of normal rows; all others are anomalies.
        sep: Separator of a CSV file.
        key: The group or array of an HDF5 file that holds more than one.
        n_samples: Rows to keep (stratified unless regression); None keeps all.
        seed: Chooses the rows.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingExtraError: If the reader of Parquet or HDF5 is not installed.
        ValueError: If the file cannot be read, a column is unknown, not numeric or has missing or infinite
            values, or the target has one value only.
    """
    file = Path(path)
    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if normal is not None and task != "anomaly":
        raise ValueError("normal= names the normal rows of task='anomaly'; add task='anomaly' or leave it out")
    X, y, names = _read_frame(open_table(file, sep=sep, key=key), target, features, sep)
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


def _read_frame(
    table: TableFile, target: str | None, features: tuple[str, ...] | None, sep: str
) -> tuple[NDArray, NDArray, tuple[str, ...]]:
    import pandas as pd

    columns, name = table.columns, table.file.name
    target = target or table.target
    if target is None and table.arrays:
        raise ValueError(f"expected the arrays 'X' and 'y' in {name}, got 'X' alone")
    if target is None:
        raise ValueError(f"expected target=COLUMN for {name}; its columns are {', '.join(columns)}")
    if len(columns) == 1:
        raise ValueError(f"expected several columns in {name}, got {columns[0]!r}; is sep={sep!r} right?")
    names = features or tuple(column for column in columns if column not in (target, table.target))
    for column in (target, *names):
        if column not in columns:
            raise unknown_name("column", column, columns)
    if target in names:
        raise ValueError(f"the target {target!r} cannot be one of the features")
    pieces = list(table.read([*names, target], PIECE))
    if not sum(map(len, pieces)):
        raise ValueError(f"expected rows in {name}, got none")
    frame = pd.concat(pieces, ignore_index=True)
    _check_cells(frame, names, target)
    return frame[list(names)].to_numpy(np.float64), frame[target].to_numpy(), names


def _check_cells(frame: pd.DataFrame, features: tuple[str, ...], target: str) -> None:
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
