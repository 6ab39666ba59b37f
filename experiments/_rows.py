"""Rows of a reproduction as records: what is known is passed on, what is not is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import qworkbench
from qworkbench.runs import RunRecord


@dataclass(frozen=True)
class Row:
    """One line of the table that puts the published numbers beside ours."""

    label: str
    quantum: bool
    settings: Mapping[str, Any]
    """Everything that affects its numbers, beside the problem."""
    published: str | None = None


Measured = tuple[Mapping[str, float | None], dict[str, Any]]
"""Metrics and information of one row."""
Part = tuple[Sequence[Row], Callable[[], Sequence[Measured]]]
"""Rows that are measured together, and how."""


def records(
    shared: Mapping[str, Any], source: str, parts: Iterable[Part], known: Mapping[str, RunRecord]
) -> Iterator[RunRecord]:
    """One record a row, in order; parts whose rows are all in ``known`` are not measured again.

    Args:
        shared: What the specs of all rows hold: ``experiment``, ``problem``, the fingerprint of its data.
        source: The paper.
        parts: What to measure.
        known: Records by id.
    """
    for rows, measure in parts:
        blanks = [_blank(row, shared, source) for row in rows]
        if all(blank.run_id in known for blank in blanks):
            yield from (known[blank.run_id] for blank in blanks)
            continue
        start = time.perf_counter()
        results = measure()
        seconds = (time.perf_counter() - start) / len(rows)
        for blank, (metrics, info) in zip(blanks, results, strict=True):
            yield replace(blank, metrics=metrics, info=blank.info | {"seconds": seconds} | info)


def _blank(row: Row, shared: Mapping[str, Any], source: str) -> RunRecord:
    spec = {**shared, **row.settings, "row": row.label, "quantum": row.quantum, "version": qworkbench.__version__}
    return RunRecord("experiment", spec, {}, {"published": row.published, "source": source})


def values(records: Iterable[RunRecord], row: str, metric: str = "score") -> np.ndarray:
    """A metric of a row over its problems, shape ``(n_problems,)``.

    Raises:
        ValueError: If no record has it.
    """
    found = [v for r in records if r.spec["row"] == row and (v := r.metrics.get(metric)) is not None]
    if not found:
        raise ValueError(f"no record of the row {row!r} has {metric!r}")
    return np.array(found)


def verdict(claim: str, holds: bool | np.bool_) -> str:
    """One line: the claim with its numbers, and whether it was reproduced."""
    return f"{'reproduced' if holds else 'not reproduced'}: {claim}"
