"""What a stream of scores leaves behind in bounded memory, and the file that it is written to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qworkbench.datasets.streams import EXTRA, PARQUET
from qworkbench.errors import require

MOST_SCORES = 1_000_000
"""Scores kept for metrics and histograms; of more rows, a uniform sample."""
MOST_ROWS = 1_000
"""Rows kept to say what flagged rows, and the others, have in common."""
WORST = 20
"""Most anomalous rows kept."""


class Reservoir:
    """A uniform sample, without replacement, of rows that come piece by piece; all of them while there is room.

    Each row draws a key, and the rows of the smallest keys stay (Efraimidis & Spirakis 2006, without weights).

    Args:
        size: Rows to keep.
        rng: Source of the keys.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self._rng = size, rng
        self._keys = np.empty(0)
        self.columns: tuple[NDArray, ...] = ()
        """Kept rows of each column, in the order in which they came."""

    def add(self, *columns: NDArray) -> None:
        """Offer rows, as columns of one length."""
        keys = self._rng.random(len(columns[0]))
        if len(self._keys) == self.size:
            fresh = keys < self._keys.max()
            keys, columns = keys[fresh], tuple(column[fresh] for column in columns)
        self._keys = np.concatenate([self._keys, keys])
        self.columns = tuple(
            np.concatenate(pair) for pair in zip(self.columns or [c[:0] for c in columns], columns, strict=True)
        )
        if len(self._keys) > self.size:
            kept = np.sort(np.argpartition(self._keys, self.size)[: self.size])
            self._keys, self.columns = self._keys[kept], tuple(column[kept] for column in self.columns)


@dataclass
class Tally:
    """Exact counts, samples, and the most anomalous rows."""

    threshold: float
    seed: int
    n_rows: int = 0
    n_flagged: int = 0
    labelled: bool = True
    """Whether every row had a label."""
    worst: list[tuple[float, str, int, NDArray]] = field(default_factory=list)
    """Score, file, row number and features, most anomalous first."""

    def __post_init__(self) -> None:
        rngs = np.random.default_rng(self.seed).spawn(3)
        self._scores = Reservoir(MOST_SCORES, rngs[0])
        self._rows = {flag: Reservoir(MOST_ROWS, rng) for flag, rng in zip((True, False), rngs[1:], strict=True)}

    def add(self, name: str, start: int, X: NDArray, scores: NDArray, labels: NDArray | None) -> None:
        """Count the rows ``start``, ... of a file."""
        flags = scores < self.threshold
        self.n_rows += len(scores)
        self.n_flagged += int(flags.sum())
        self.labelled &= labels is not None
        kinds = np.zeros(len(scores), np.int8)
        if labels is not None:
            kinds[labels == "normal"], kinds[labels == "anomaly"] = 1, 2
        self._scores.add(scores, kinds)
        for flag, reservoir in self._rows.items():
            reservoir.add(X[flags == flag])
        lowest = np.argpartition(scores, WORST - 1)[:WORST] if len(scores) > WORST else np.arange(len(scores))
        found = [(float(scores[i]), name, start + int(i), X[i].copy()) for i in lowest]
        self.worst = sorted([*self.worst, *found], key=lambda row: row[0])[:WORST]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Sampled scores."""
        return self._scores.columns[0]

    @property
    def is_anomaly(self) -> NDArray[np.bool_] | None:
        """Labels of the sampled scores; None unless all rows are labelled, with at least two of either kind."""
        kinds = self._scores.columns[1]
        unknown, *counts = np.bincount(kinds, minlength=3)
        return kinds == 2 if self.labelled and not unknown and min(counts) >= 2 else None

    def rows(self, *, flagged: bool) -> NDArray[np.float64]:
        """Sampled rows on one side of the threshold, shape ``(n, F)``."""
        return self._rows[flagged].columns[0]


class Sink(Protocol):
    """Takes columns piece by piece."""

    def __call__(self, columns: dict[str, Any]) -> None:
        """Write some rows more."""


@contextmanager
def writing(file: Path | None) -> Iterator[Sink]:
    """A sink to a CSV or, by its ending, a Parquet file, which appears when all is written.

    Raises:
        MissingExtraError: If Parquet is wanted and cannot be written here.
    """
    if file is None:
        yield lambda columns: None
        return
    draft = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        with _parquet(draft, file) if file.name.lower().endswith(PARQUET) else _csv(draft) as sink:
            yield _uniform(sink)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _uniform(sink: Sink) -> Sink:
    """Refuse rows of other columns than the first: files with labels and files without do not go into one."""
    first: list[str] = []

    def checked(columns: dict[str, Any]) -> None:
        first.extend(columns if not first else ())
        if list(columns) != first:
            raise ValueError(
                f"expected the columns {', '.join(first)} for every file, got {', '.join(columns)}; score files with a "
                "target and files without apart"
            )
        sink(columns)

    return checked


@contextmanager
def _csv(draft: Path) -> Iterator[Sink]:
    import gzip

    import pandas as pd

    opened = gzip.open(draft, "wt") if draft.suffix == ".gz" else draft.open("w")
    with opened as stream:
        header = True

        def sink(columns: dict[str, Any]) -> None:
            nonlocal header
            pd.DataFrame(columns).to_csv(stream, index=False, header=header)
            header = False

        yield sink


@contextmanager
def _parquet(draft: Path, file: Path) -> Iterator[Sink]:
    pyarrow = require("pyarrow", EXTRA, f"writing {file.name}")
    parquet = require("pyarrow.parquet", EXTRA, f"writing {file.name}")
    writer = None

    def sink(columns: dict[str, Any]) -> None:
        nonlocal writer
        table = pyarrow.table(columns)
        writer = writer or parquet.ParquetWriter(draft, table.schema)
        writer.write_table(table)

    try:
        yield sink
    finally:
        if writer is not None:
            writer.close()
