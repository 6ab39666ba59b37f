"""The tables of a comparison for a terminal: one line a model, then the ladder."""

from __future__ import annotations

from collections.abc import Iterable

from qworkbench.report.evidence import collect
from qworkbench.report.results import Comparison, DatasetResult, ModelResult, Rung
from qworkbench.report.tables import (
    NONE,
    OUTCOME_WORDS,
    Table,
    count,
    duration,
    failure_table,
    kind,
    mitigation_note,
    number,
    words,
)
from qworkbench.runs import RunRecord
from qworkbench.stats import Estimate


def tables(records: Iterable[RunRecord]) -> list[Table]:
    """Scores and ladder of each data set, and the failures; empty ones left out."""
    evidence = collect(records)
    made = [table for result in evidence.datasets for table in (_scores(result), _ladder(result))]
    return [table for table in [*made, failure_table(evidence)] if table.rows]


def _scores(result: DatasetResult) -> Table:
    against = {c.model: c for c in result.comparisons}
    reference = result.comparisons[0].reference if result.comparisons else "classical"
    size = f"{result.facts['n_samples']:,} samples, {result.facts['n_features']} features"
    headers = ("model", "kind", words(result.metric), f"against {reference}", "verdict")
    return Table(
        title=f"{result.title}: {size}",
        headers=(*headers, "trials", "parameters", "circuits", "time"),
        rows=tuple(_row(result, model, against.get(model.name)) for model in result.models),
        marks=tuple(kind(model.quantum) for model in result.models),
        text_columns=frozenset({0, 1, 4}),
        note=_note(result),
    )


def _row(result: DatasetResult, model: ModelResult, comparison: Comparison | None) -> tuple[str, ...]:
    gap, word = NONE, NONE
    if comparison is not None and comparison.gap is not None:
        gap = number(comparison.gap.mean, sign=True) + _half_width(comparison.gap)
        word = OUTCOME_WORDS[comparison.verdict.outcome] if comparison.verdict else NONE
    costs = model.costs
    return (
        model.name,
        kind(model.quantum),
        number(model.mean) + _half_width(model.estimate),
        gap,
        word,
        count(result.trials.get(model.name)),
        count(costs.get("n_parameters")),
        count(costs.get("circuits")),
        duration(costs.get("seconds")),
    )


def _half_width(estimate: Estimate | None) -> str:
    return "" if estimate is None else f" ± {number((estimate.high - estimate.low) / 2)}"


def _note(result: DatasetResult) -> str:
    notes = ["± is half of the 95 % interval; circuits and time are those of one fold, tuning included."]
    wanted = int(result.protocol.get("trials", 1))
    fewer = [name for name, tried in result.trials.items() if tried < wanted]
    if fewer:
        notes.append(f"Fewer than {wanted} trials, the whole search space: {', '.join(fewer)}.")
    if result.withheld:
        notes.append(f"Withheld, since no classical model ran: {', '.join(result.withheld)}.")
    return " ".join(notes)


def _ladder(result: DatasetResult) -> Table:
    return Table(
        title=f"{result.title}: the trained quantum models on other backends",
        headers=(
            "model",
            "rung",
            "backend",
            "rows",
            words(result.metric),
            "change",
            "loss",
            "output change",
            "circuits",
            "shots",
            "time",
        ),
        rows=tuple(map(_rung_row, result.rungs)),
        marks=("quantum",) * len(result.rungs),
        text_columns=frozenset({0, 1, 2}),
        note="Rows: test rows scored on each fold. Change: against the exact rung on the same rows. "
        "Output change: the mean absolute one. " + mitigation_note(result),
    )


def _rung_row(rung: Rung) -> tuple[str, ...]:
    changed = number(rung.change_mean, sign=True) + _half_width(rung.change)
    output = number(rung.extras.get("mean_abs_output_change"))
    costs = (*(count(rung.extras.get(key)) for key in ("circuits", "shots")), duration(rung.extras.get("seconds")))
    lost = number(rung.loss_mean) + _half_width(rung.loss)
    rows = count(rung.extras.get("ladder_samples"))
    return rung.model, rung.rung, rung.backend or NONE, rows, number(rung.mean), changed, lost, output, *costs
