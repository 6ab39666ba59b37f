"""What a comparison found: its records, rows of scores, a table for the terminal, and the report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qworkbench.runs import RunRecord

if TYPE_CHECKING:
    from qworkbench.report.tables import Table

WIDTH = 200
"""Characters in a line of ``Comparison.table``, at most: nothing may be cut off."""
WRAPPED = ("backend", "cell", "error")
"""Columns whose text may take several lines."""
_COLUMNS = ("dataset", "task", "model", "quantum", "repeat", "fold", "params")
_COSTS = ("tune_seconds", "fit_seconds", "predict_seconds", "circuits", "shots", "n_parameters", "trials")


@dataclass(frozen=True)
class Comparison:
    """The outcome of ``compare``."""

    run_dir: Path
    """Where the records are, and the trained quantum models in ``models/``."""
    records: tuple[RunRecord, ...] = field(repr=False)
    """Those of this comparison, whether measured now or found; the directory may hold others."""

    def scores(self) -> list[dict[str, Any]]:
        """One row a model and fold: score, metrics and costs; ``pandas.DataFrame`` takes them."""
        return [
            {key: record.spec[key] for key in _COLUMNS}
            | {"score": record.metrics["score"]}
            | dict(sorted(record.metrics.items()))
            | {key: record.info.get(key) for key in _COSTS}
            for record in self.records
            if record.kind == "fold"
        ]

    def failures(self) -> list[str]:
        """What raised, one line each."""
        failed = [record for record in self.records if record.kind == "failure"]
        return [f"{r.spec['dataset']} · {r.spec['model']} · fold {r.spec['fold']}: {r.info['error']}" for r in failed]

    def table(self) -> str:
        """The tables as text: scores, differences to the best classical model, the ladder, failures.

        Intervals are at 95 %, with the variance corrected for folds that share training data (Nadeau & Bengio
        2003); verdicts are corrected for the number of comparisons (Holm).
        """
        from rich import box
        from rich.console import Console

        from qworkbench.report.tables import to_rich

        text = io.StringIO()
        console = Console(file=text, width=WIDTH)
        for table in self.tables():
            shown = to_rich(table)
            shown.box, shown.padding, shown.caption_justify = box.SIMPLE_HEAD, (0, 0, 0, 1), "left"
            for column in shown.columns:
                column.overflow = "fold"
                column.no_wrap = str(column.header) not in WRAPPED
            console.print(shown)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"

    def tables(self) -> list[Table]:
        """The same as values: ``qworkbench.report.tables`` makes rich or Markdown tables of them."""
        from qworkbench.comparison.tables import tables

        return tables(self.records)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the HTML page about this comparison; ``qworkbench report`` shows all that a directory holds.

        Args:
            out: The file or folder; by default ``report.html`` in the run directory.
        """
        from qworkbench.report.html import write_page

        return write_page(self.records, self.run_dir if out is None else out, [str(self.run_dir)])

    @classmethod
    def joined(cls, parts: Sequence[Comparison]) -> Comparison:
        """Several comparisons in one run directory as one."""
        records = {record.run_id: record for part in parts for record in part.records}
        return cls(parts[-1].run_dir, tuple(records.values()))
