"""Rows to predict or to score: data sets, and tables of which nobody knows the answers yet."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qworkbench.backend import parse_uri
from qworkbench.cli.tally import Reservoir
from qworkbench.datasets.streams import TableFile, is_table, open_table
from qworkbench.errors import unknown_name

if TYPE_CHECKING:
    import pandas as pd

CELLS = 2**21
"""Numbers held at a time while a file is read: 16 MB."""
LABELS = 8
"""Labels that are shown where the normal one is missing."""
MOST_ROWS = 2**16
"""Rows read at a time, at most."""
OPTIONS = ("sep", "key", "target", "normal", "task")


@dataclass(frozen=True)
class Rows:
    """Features ``X`` (N, F), their names, and the target ``y`` (N,) if there is one."""

    X: NDArray[np.float64]
    names: tuple[str, ...]
    y: NDArray | None


@dataclass(frozen=True)
class RowStream:
    """Rows that come piece by piece."""

    name: str
    names: tuple[str, ...]
    pieces: Callable[[], Iterator[Rows]]
    """Starts again at the first row with each call."""


def labelled(data: str) -> bool:
    """Whether ``data`` is a data set with a target, rather than the bare rows of a file."""
    if not is_table(data):
        return True
    options = _options(data)
    return "target" in options or "task" in options or _table(data, options).target is not None


def _table(data: str, options: dict[str, str]) -> TableFile:
    return open_table(data.partition("?")[0], sep=options.get("sep", ","), key=options.get("key"))


def target_of(data: str) -> str | None:
    """The ``target=`` of a file's options."""
    return _options(data).get("target") if is_table(data) else None


def says_normal(data: str) -> bool:
    """Whether ``data`` is a file with ``normal=`` and no task yet; there is one task in which that has a meaning."""
    return is_table(data) and "normal" in (options := _options(data)) and "task" not in options


def open_rows(data: str, features: Sequence[str] | None = None, target: str | None = None) -> RowStream:
    """The rows of a file, whose target may be absent, or of a data set.

    Args:
        data: As for ``load_dataset``; a file takes the options ``sep``, ``key``, ``target`` and ``normal``, the
            value of the target that is normal while all others are anomalies.
        features: The columns that the model was trained on, in its order; None takes all but the target.
        target: The column that the model predicts; read if it is there.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column is missing or the features are others; while reading, if a column is not numeric
            or not finite.
    """
    if is_table(data):
        return _open_file(data, features, target)
    from qworkbench.datasets import load_dataset

    dataset = load_dataset(data)
    names = dataset.feature_names
    if set(features or ()) - set(names):
        raise ValueError(f"expected the features {_some(features or ())} of the model, got {_some(names)}")
    wanted = tuple(features or names)
    rows = Rows(dataset.X[:, [names.index(name) for name in wanted]], wanted, dataset.y)
    return in_memory(data, rows)


def read_rows(data: str, features: Sequence[str] | None = None, target: str | None = None) -> Rows:
    """All the rows of ``open_rows`` at once.

    Raises:
        ValueError: As there, and if there are none.
    """
    stream = open_rows(data, features, target)
    pieces = list(stream.pieces())
    if not pieces:
        raise ValueError(f"expected at least one row in {stream.name}, got none")
    labels = [piece.y for piece in pieces if piece.y is not None]
    # In C order, as load_dataset gives them: sums over rows, such as a scaler's, depend on it in their last bits.
    X = np.ascontiguousarray(np.concatenate([piece.X for piece in pieces]))
    return Rows(X, stream.names, np.concatenate(labels) if labels else None)


def sample_rows(stream: RowStream, limit: int | None, seed: int) -> Rows:
    """All features of a stream, or of a uniform sample of its rows, in the order of the file.

    Raises:
        ValueError: If there are no rows.
    """
    if limit is None:
        pieces = [piece.X for piece in stream.pieces()]
    else:
        sample = Reservoir(limit, np.random.default_rng(seed))
        for piece in stream.pieces():
            sample.add(piece.X)
        pieces = list(sample.columns)
    if not pieces:
        raise ValueError(f"expected at least one row in {stream.name}, got none")
    return Rows(np.concatenate(pieces), stream.names, None)


def in_memory(name: str, rows: Rows) -> RowStream:
    """Rows that are there already, as a stream."""

    def pieces() -> Iterator[Rows]:
        size = _piece(rows.X.shape[1])
        for start in range(0, len(rows.X), size):
            part = slice(start, start + size)
            yield Rows(rows.X[part], rows.names, None if rows.y is None else rows.y[part])

    return RowStream(name, rows.names, pieces)


def _piece(n_columns: int) -> int:
    return min(MOST_ROWS, max(1, CELLS // max(1, n_columns)))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown}, ... ({len(names)})" if len(names) > 8 else shown


def _options(data: str) -> dict[str, str]:
    query = data.partition("?")[2]
    return parse_uri(f"file?{query}")[2] if query else {}


def _open_file(data: str, features: Sequence[str] | None, target: str | None) -> RowStream:
    options = _options(data)
    for key in options:
        if key not in OPTIONS:
            raise unknown_name("option for the rows of a file", key, OPTIONS)
    table = _table(data, options)
    target = options.get("target", target) or table.target
    normal = options.get("normal")
    if normal is not None and target not in table.columns:
        raise ValueError(f"normal={normal} is a value of the target; add target=COLUMN")
    names = tuple(features or (name for name in table.columns if name != target))
    for name in (*names, *([target] if "target" in options and target else [])):
        if name not in table.columns:
            raise ValueError(
                f"{table.file.name} lacks the column {name!r}, which the model needs; it has {_some(table.columns)}"
            )
    if not names:
        raise ValueError(f"expected columns of features in {table.file.name}, got none")
    labels = target if target in table.columns else None
    return RowStream(table.file.name, names, lambda: _pieces(table, names, labels, normal))


def _pieces(table: TableFile, names: tuple[str, ...], target: str | None, normal: str | None) -> Iterator[Rows]:
    columns = [*names, *([target] if target else [])]
    start, labels, any_normal = 0, set[str](), False
    for frame in table.read(columns, _piece(len(table.columns))):
        if len(frame):
            y = None if target is None else frame[target].to_numpy()
            if normal is not None and y is not None:
                text = _as_text(y)
                is_normal = text == normal
                any_normal |= bool(is_normal.any())
                if not any_normal and len(labels) < LABELS:
                    labels |= set(np.unique(text)[:LABELS].tolist())
                y = np.where(is_normal, "normal", "anomaly")
            yield Rows(_numbers(frame[list(names)], start), names, y)
        start += len(frame)
    if labels and not any_normal:
        found = ", ".join(sorted(labels)[:LABELS])
        warnings.warn(
            f"no row of {table.file.name} has {target}={normal}, so all of them count as anomalies; found: {found}",
            stacklevel=2,
        )


def _as_text(y: NDArray) -> NDArray:
    return (y.astype(np.int64) if y.dtype.kind == "f" and (y == np.rint(y)).all() else y).astype(str)


def _numbers(frame: pd.DataFrame, start: int) -> NDArray[np.float64]:
    """The cells as numbers; ``start`` is the number of the first row, for the error."""
    import pandas as pd

    for name, column in frame.items():
        if column.dtype.kind not in "iufb":
            first = int(np.argmax(pd.to_numeric(column, errors="coerce").isna() & column.notna()))
            raise ValueError(
                f"expected numbers in the column {name!r}, got {str(column.iloc[first])!r} in row {start + first}; "
                f"if it is the target, add ?target={name} to the file"
            )
        bad = np.flatnonzero(~np.isfinite(column.to_numpy(np.float64)))
        if len(bad):
            row = start + int(bad[0])
            raise ValueError(f"expected finite numbers in the column {name!r}, got NaN or infinity in row {row}")
    return frame.to_numpy(np.float64)
