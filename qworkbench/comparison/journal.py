"""Measure what is missing, write it down at once, and never hide what failed."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from typing import Any

from qworkbench.runs import RunDirectory, RunDirectoryError, RunRecord

Measurement = tuple[dict[str, float | None], dict[str, Any]]
"""Metrics and information of a record."""
Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what comes next."""


class Journal:
    """The records of one comparison as they come about.

    Args:
        directory: Where they are kept.
        total: How many steps there are.
        progress: Is told of each.
    """

    def __init__(self, directory: RunDirectory, total: int, progress: Progress | None = None) -> None:
        self.directory, self.total, self.progress = directory, total, progress
        self.records: dict[str, RunRecord] = {}
        self._done = 0
        self._session: str | None = None

    def write(self, record: RunRecord) -> RunRecord:
        """Append a record to the directory and to this comparison; it names the session that measured it."""
        if record.kind == "session":
            self._session = record.run_id
        else:
            record = RunRecord(record.kind, record.spec, record.metrics, record.info | {"session": self._session})
        self.directory.append(record)
        self.records[record.run_id] = record
        return record

    def skip(self, steps: int) -> None:
        """Count steps that cannot be taken because an earlier one failed."""
        self._done += steps

    def measured(
        self, kind: str, spec: dict[str, Any], work: Callable[[], Measurement], title: str
    ) -> RunRecord | None:
        """The record of this kind and spec: found, or measured now and written.

        An error of the work becomes a record of kind ``"failure"``, and None is returned; the next run tries
        again. Warnings are kept in the record.

        Raises:
            RunDirectoryError: If the record cannot be written.
        """
        self._tell(title)
        self._done += 1
        found = self.directory.get(RunRecord(kind, spec).run_id)
        if found is not None:
            self.records[found.run_id] = found
            return found
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                metrics, info = work()
        except RunDirectoryError:
            raise
        except Exception as error:  # whatever a model raises, the other cells go on
            self.write(_failure(kind, spec, error))
            return None
        if caught:
            said = dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught)
            info = info | {"warnings": list(said)}
        record = self.write(RunRecord(kind, spec, metrics, info))
        self._settle(kind, spec)
        return record

    def finish(self) -> None:
        """Tell the progress that all is done."""
        self._done = self.total
        self._tell("done")

    def _tell(self, title: str) -> None:
        if self.progress is not None:
            self.progress(self._done, self.total, title)

    def _settle(self, kind: str, spec: dict[str, Any]) -> None:
        """An earlier failure of what has now worked is marked as resolved."""
        failed = self.directory.get(RunRecord("failure", _failed(kind, spec)).run_id)
        if failed is not None and not failed.info.get("resolved"):
            self.directory.append(RunRecord("failure", failed.spec, {}, failed.info | {"resolved": True}))


def _failed(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return spec | {"failed": kind}


def _failure(kind: str, spec: dict[str, Any], error: Exception) -> RunRecord:
    place = f"trial {spec['trial'] + 1} with {spec['params']}: " if kind == "trial" else ""
    info = {
        "error": f"{place}{type(error).__name__}: {error}",
        "traceback": [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)],
    }
    return RunRecord("failure", _failed(kind, spec), {}, info)
