"""Plain tables made from the evidence, and their Markdown and rich renderings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qworkbench.report.results import (
    CONFIDENCE,
    Comparison,
    DatasetResult,
    Evidence,
    ExperimentRow,
    ModelResult,
    Rung,
)
from qworkbench.runs import RunRecord
from qworkbench.stats import Estimate

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
SHARE = frozenset({"accuracy", "balanced_accuracy", "roc_auc", "average_precision", "f1", "f1_macro"})
OUTCOME_WORDS = {
    "A better": "better",
    "B better": "worse",
    "equivalent": "equivalent",
    "undecided": "undecided",
}


@dataclass(frozen=True)
class Table:
    """Text cells under headers; ``text_columns`` are left-aligned, the rest are numbers."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...] = ()
    """One style word for each row: ``"quantum"``, ``"classical"`` or ``""``."""
    text_columns: frozenset[int] = frozenset({0})
    note: str = ""


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """``-0.12`` as text with a real minus sign; a dash for None."""
    if value is None:
        return NONE
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", MINUS)


def interval(estimate: Estimate | None, *, sign: bool = False, share: bool = False) -> str:
    """``[low, high]``; cut to [0, 1] for a share, which cannot leave it."""
    if estimate is None:
        return NONE
    low, high = clipped(estimate, share)
    return f"[{number(low, sign=sign)}, {number(high, sign=sign)}]"


def clipped(estimate: Estimate, share: bool) -> tuple[float, float]:
    """The interval, within [0, 1] if the metric is a share."""
    return (max(0.0, estimate.low), min(1.0, estimate.high)) if share else (estimate.low, estimate.high)


def count(value: float | None) -> str:
    """A count with thousands separators."""
    return NONE if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as a short text with its unit."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def probability(p: float | None) -> str:
    """A p-value, never shown as zero."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def kind(quantum: bool) -> str:
    """``"quantum"`` or ``"classical"``."""
    return "quantum" if quantum else "classical"


def is_share(result: DatasetResult) -> bool:
    """Whether the primary metric lies in [0, 1]."""
    return result.metric in SHARE


def words(name: str) -> str:
    """A metric's name for a reader."""
    return name.replace("_", " ")


def _present(models: Iterable[ModelResult], name: str) -> bool:
    return any(name in m.costs for m in models)


def score_table(result: DatasetResult) -> Table:
    """Every model with score, interval, other metrics and what it cost."""
    others = list(dict.fromkeys(name for m in result.models for name in m.others if name != result.metric))
    costs = [("n_parameters", "parameters"), ("circuits", "circuits / fold"), ("shots", "shots / fold")]
    costs = [(name, header) for name, header in costs if _present(result.models, name)]
    headers = (
        "model",
        "kind",
        words(result.metric),
        f"{CONFIDENCE:.0%} interval",
        "folds",
        *map(words, others),
    )
    rows = []
    for m in result.models:
        cells = [m.name, kind(m.quantum), number(m.mean), interval(m.estimate, share=is_share(result))]
        cells += [str(len(m.scores)) + (f" (+{m.undefined} undefined)" if m.undefined else "")]
        cells += [number(m.others.get(name)) for name in others]
        cells += [count(m.costs.get(name)) for name, _ in costs]
        rows.append((*cells, duration(m.costs.get("seconds"))))
    return Table(
        title=f"{result.title}: scores",
        headers=(*headers, *(header for _, header in costs), "time / fold"),
        rows=tuple(rows),
        marks=tuple(kind(m.quantum) for m in result.models),
        text_columns=frozenset({0, 1}),
    )


def difference_table(result: DatasetResult) -> Table:
    """Every model against the best classical one on the same folds."""
    reference = result.comparisons[0].reference if result.comparisons else NONE
    return Table(
        title=f"{result.title}: difference to {reference}, the best classical model",
        headers=("model", "kind", "difference", f"{CONFIDENCE:.0%} interval", "p (Holm)", "verdict"),
        rows=tuple(_difference_row(c) for c in result.comparisons),
        marks=tuple(kind(c.quantum) for c in result.comparisons),
        text_columns=frozenset({0, 1, 5}),
    )


def _difference_row(c: Comparison) -> tuple[str, ...]:
    mean = sum(c.differences) / len(c.differences) if c.differences else None
    word = OUTCOME_WORDS[c.verdict.outcome] if c.verdict else "too few folds"
    gap = interval(c.gap, sign=True)
    return c.model, kind(c.quantum), number(mean, sign=True), gap, probability(c.p_holm), word


def ladder_table(result: DatasetResult) -> Table:
    """What each step away from exact simulation costs, with the best classical score as the yardstick."""
    level = f"{CONFIDENCE:.0%} interval"
    scores = ("model", "rung", "backend", "rows / fold", words(result.metric), f"change, {level}", f"loss, {level}")
    costs = ("output change", "circuits / fold", "shots / fold", "time / fold")
    rows = [_rung_row(r) for r in result.rungs]
    best = result.best(quantum=False)
    marks = ["quantum"] * len(rows)
    if best and rows:
        rows.append((best.name, "classical", NONE, "all", number(best.mean), *[NONE] * 6))
        marks.append("classical")
    return Table(
        f"{result.title}: from exact to hardware-like",
        scores + costs,
        tuple(rows),
        tuple(marks),
        _LADDER_TEXT,
        mitigation_note(result),
    )


def mitigation_note(result: DatasetResult) -> str:
    """Whether mitigation was worth its shots: one sentence a model; empty without a mitigated rung."""
    sentences = []
    for rung in result.rungs:
        if rung.gain is None:
            continue
        word = "helps" if rung.gain.low > 0 else "hurts" if rung.gain.high < 0 else "makes no clear difference"
        gain = f"{number(rung.gain.mean, sign=True)} {interval(rung.gain, sign=True)}"
        sentences.append(f"{rung.model}: mitigation {word}; outputs are {gain} closer to the exact ones.")
    return f"At equal shots, with {CONFIDENCE:.0%} intervals: {' '.join(sentences)}" if sentences else ""


_LADDER_TEXT = frozenset({0, 1, 2})


def _rung_row(r: Rung) -> tuple[str, ...]:
    return (
        r.model,
        r.rung,
        r.backend or NONE,
        count(r.extras.get("ladder_samples")),
        number(r.mean),
        number(r.change_mean, sign=True) + (f" {interval(r.change, sign=True)}" if r.change else ""),
        number(r.loss_mean) + (f" {interval(r.loss)}" if r.loss else ""),
        number(r.extras.get("mean_abs_output_change")),
        count(r.extras.get("circuits")),
        count(r.extras.get("shots")),
        duration(r.extras.get("seconds")),
    )


def experiment_table(name: str, rows: Sequence[ExperimentRow]) -> Table:
    """Published and our numbers side by side."""
    names = list(dict.fromkeys(metric for row in rows for metric in row.metrics))
    ours = ["ours" if metric == "score" else words(metric) for metric in names]
    return Table(
        title=name,
        headers=("row", "published", *ours, "records"),
        rows=tuple(
            (row.label, _published(row), *(_measured(row, metric) for metric in names), str(row.count)) for row in rows
        ),
        marks=tuple("" if row.quantum is None else kind(row.quantum) for row in rows),
        note="; ".join(dict.fromkeys(row.source for row in rows if row.source)),
    )


def _published(row: ExperimentRow) -> str:
    return number(row.published) if isinstance(row.published, int | float) else row.published or NONE


def _measured(row: ExperimentRow, metric: str) -> str:
    if metric not in row.metrics:
        return NONE
    mean, half = row.metrics[metric]
    return number(mean) if half is None else f"{number(mean)} ± {number(half)}"


def failure_table(evidence: Evidence) -> Table:
    """Cells that raised."""
    rows = tuple((f.where, f.error) for f in evidence.failures)
    return Table("Failures", ("cell", "error"), rows, text_columns=frozenset({0, 1}))


def fold_table(result: DatasetResult) -> Table:
    """Every raw fold score, so that anybody can redo the statistics."""
    cells = sorted({cell for m in result.models for cell in m.scores})
    headers = ("model", *(f"{repeat + 1}.{fold + 1}" for repeat, fold in cells))
    rows = tuple((m.name, *(number(m.scores.get(cell)) for cell in cells)) for m in result.models)
    marks = tuple(kind(m.quantum) for m in result.models)
    return Table(f"{result.title}: every fold (repeat.fold)", headers, rows, marks)


def all_tables(evidence: Evidence) -> list[Table]:
    """The tables a terminal shows, in the order of the page; empty ones left out."""
    tables = []
    for result in evidence.datasets:
        tables += [score_table(result), difference_table(result), ladder_table(result)]
    tables += [experiment_table(name, rows) for name, rows in evidence.experiments.items()]
    tables.append(failure_table(evidence))
    return [table for table in tables if table.rows]


def to_markdown(table: Table) -> str:
    """GitHub-flavoured Markdown."""
    rule = " | ".join(":--" if i in table.text_columns else "--:" for i in range(len(table.headers)))
    head, *body = (" | ".join(map(_one_line, line)) for line in (table.headers, *table.rows))
    lines = [f"| {line} |" for line in (head, rule, *body)]
    return f"**{table.title}**\n\n" + "\n".join(lines) + "\n" + (f"\n{table.note}\n" if table.note else "")


def _one_line(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def to_rich(table: Table) -> RichTable:
    """A rich table; quantum rows in colour. Text is shown as it is, never read as markup."""
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(title=Text(table.title, style="bold"), title_justify="left", caption=table.note or None)
    for i, header in enumerate(table.headers):
        left = i in table.text_columns
        shown.add_column(Text(header), justify="left" if left else "right", no_wrap=i == 0)
    marks = table.marks or ("",) * len(table.rows)
    for row, mark in zip(table.rows, marks, strict=True):
        shown.add_row(*map(Text, row), style="cyan" if mark == "quantum" else None)
    return shown


def tables_of(records: Iterable[RunRecord]) -> list[Table]:
    """All tables of some records: ``for t in tables_of(read_records(path).values()): print(to_rich(t))``."""
    from qworkbench.report.evidence import collect

    return all_tables(collect(records))
