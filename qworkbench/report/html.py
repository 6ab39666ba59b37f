"""One self-contained HTML page: no script, no external asset, pictures inside."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qworkbench.report import sweeps
from qworkbench.report.evidence import collect
from qworkbench.report.figures import caption, figures_of
from qworkbench.report.pages import embedded, replace_page, template
from qworkbench.report.results import (
    CONFIDENCE,
    ROPE,
    Comparison,
    DatasetResult,
    Evidence,
    ExperimentRow,
    ModelResult,
)
from qworkbench.report.tables import (
    difference_table,
    experiment_table,
    failure_table,
    fold_table,
    interval,
    is_share,
    kind,
    ladder_table,
    number,
    probability,
    score_table,
    words,
)
from qworkbench.runs import RunRecord

TEMPLATE = "page.html.j2"
WORDS = {
    "A better": "Quantum wins",
    "B better": "Classical wins",
    "equivalent": "Equivalent",
    "undecided": "Undecided",
}


@dataclass(frozen=True)
class Headline:
    """The answer for one data set."""

    title: str
    word: str
    tone: str
    """``"quantum"``, ``"classical"`` or ``"open"``: how the word is coloured."""
    sentence: str


def write_page(records: Iterable[RunRecord], out: str | Path, places: Sequence[str] = ()) -> Path:
    """Render, and replace ``out`` in one step; see ``qworkbench.report.write_report``."""
    return replace_page(render(records, places=places), out)


def render(records: Iterable[RunRecord], *, places: Sequence[str] = ()) -> str:
    """The page as text.

    Args:
        records: All records to report.
        places: Where they came from, named on the page.
    """
    evidence = collect(records)
    return template(TEMPLATE).render(
        headlines=[headline(result) for result in evidence.datasets],
        sections=[_section(i, result) for i, result in enumerate(evidence.datasets)],
        experiments=[
            (experiment_table(name, rows), _sweeps(name, rows)) for name, rows in evidence.experiments.items()
        ],
        withheld_experiments=evidence.withheld_experiments,
        failures=failure_table(evidence),
        provenance=_provenance(evidence, places),
        level=f"{CONFIDENCE:.0%}",
        rope=f"{ROPE:g}",
    )


def headline(result: DatasetResult) -> Headline:
    """The verdict in words: best model overall, then best quantum against best classical."""
    quantum, classical = result.best(quantum=True), result.best(quantum=False)
    best = result.best()
    if classical is None or best is None:
        text = "No classical baseline ran on these folds, so the quantum results are withheld."
        return Headline(result.title, "No comparison", "open", text)
    overall = f"Best model: {best.name} ({kind(best.quantum)}), {_score(result, best)}."
    if quantum is None:
        return Headline(result.title, "Classical only", "open", f"{overall} No quantum model ran.")
    pair = next(c for c in result.comparisons if c.model == quantum.name)
    other = _score(result, quantum) if best is classical else _score(result, classical)
    runner = f"Best quantum: {quantum.name}" if best is classical else f"Best classical: {classical.name}"
    if pair.verdict is None or pair.gap is None:
        text = f"{overall} {runner}, {other}. Too few folds for an interval, hence no verdict."
        return Headline(result.title, "No verdict", "open", text)
    gap = f"Paired difference {number(pair.gap.mean, sign=True)}, {CONFIDENCE:.0%} interval "
    gap += f"{interval(pair.gap, sign=True)}, Holm-corrected p {_equals(pair.p_holm)}."
    outcome = pair.verdict.outcome
    tone = {"A better": "quantum", "B better": "classical"}.get(outcome, "open")
    text = f"{overall} {runner}, {other}. {gap} {_reading(pair, quantum, classical)}"
    return Headline(result.title, WORDS[outcome], tone, text)


def _score(result: DatasetResult, model: ModelResult) -> str:
    shown = f"{words(result.metric)} {number(model.mean)}"
    return f"{shown} {interval(model.estimate, share=is_share(result))}" if model.estimate else shown


def _equals(p: float | None) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def _reading(pair: Comparison, quantum: ModelResult, classical: ModelResult) -> str:
    outcome = pair.verdict.outcome if pair.verdict else "undecided"
    if pair.gap and pair.gap.std_error == 0:
        return "The difference is the same on every fold, so its spread says nothing about chance."
    if outcome == "undecided" and pair.gap and pair.gap.low * pair.gap.high > 0:
        return "The interval excludes zero, but correction for the number of comparisons leaves the case open."
    if outcome == "undecided":
        return "The interval covers zero: these folds do not tell the two apart."
    if outcome == "equivalent":
        return f"The two are equivalent within ±{ROPE:g}."
    winner, loser = (quantum, classical) if outcome == "A better" else (classical, quantum)
    return f"{winner.name} is better than {loser.name}."


def _section(index: int, result: DatasetResult) -> dict[str, Any]:
    pictures = {
        name: embedded(figure, f"{result.title}: {name}", caption(name)) for name, figure in figures_of(result).items()
    }
    return {
        "anchor": f"data-{index + 1}",
        "result": result,
        "headline": headline(result),
        "facts": _facts(result),
        "budget": budget(result),
        "scores": score_table(result),
        "differences": difference_table(result),
        "ladder": ladder_table(result),
        "folds": fold_table(result),
        "pictures": pictures,
    }


def _sweeps(name: str, rows: Sequence[ExperimentRow]) -> list[dict[str, Any]]:
    figures = sweeps.sweep_figures(rows).items()
    return [embedded(figure, f"{name} by {swept}", sweeps.caption(swept)) for swept, figure in figures]


def _facts(result: DatasetResult) -> str:
    facts, protocol = result.facts, result.protocol
    parts = []
    if facts["n_samples"] and facts["n_features"]:
        parts.append(f"{facts['n_samples']:,} samples, {facts['n_features']} features")
    if facts["task"]:
        parts.append(str(facts["task"]))
    if protocol.get("folds"):
        parts.append(f"{protocol.get('repeats', 1)} \N{MULTIPLICATION SIGN} {protocol['folds']} outer folds")
    if protocol.get("preprocessing"):
        parts.append(f"preprocessing inside the fold: {protocol['preprocessing']}")
    return "; ".join(parts)


def budget(result: DatasetResult) -> str:
    """What each model was allowed to tune, and whether the records bear it out."""
    trials = result.protocol.get("trials")
    if trials is None:
        return "The tuning budget was not recorded."
    if int(trials) == 1:
        return "Nothing was tuned: every model, quantum or classical, ran with its defaults."
    inner = result.protocol.get("inner_folds")
    text = f"Every model, quantum or classical, had the same tuning budget: {trials} trials on each outer fold"
    text += f", each scored on {inner} inner folds of the training part." if inner else "."
    fewer = [f"{name} {n}" for name, n in result.trials.items() if n < int(trials)]
    more = [f"{name} {n}" for name, n in result.trials.items() if n > int(trials)]
    if fewer:
        text += f" Fewer trials were recorded (small search space, or a run cut short) for {', '.join(fewer)}."
    if more:
        text += f" NOTE: more trials than allowed were recorded for {', '.join(more)}."
    return text


def _provenance(evidence: Evidence, places: Sequence[str]) -> dict[str, Any]:
    versions: dict[str, set[str]] = {}
    for info in [*evidence.sessions, *(r.info for r in evidence.records if r.kind != "session")]:
        for name, version in (info.get("versions") or {}).items():
            versions.setdefault(name, set()).add(str(version))
    seeds = sorted({r.spec["seed"] for r in evidence.records if isinstance(r.spec.get("seed"), int)})
    sessions = [
        " · ".join(str(s[k]) for k in ("started", "command", "platform") if s.get(k)) for s in evidence.sessions
    ]
    return {
        "written": datetime.datetime.now(datetime.UTC).strftime("%d %B %Y, %H:%M UTC"),
        "places": places,
        "count": len(evidence.records),
        "kinds": _kinds(evidence.records),
        "sources": [
            (d.title, d.source or "Source not recorded.", d.facts["dataset_fingerprint"]) for d in evidence.datasets
        ],
        "versions": [(name, ", ".join(sorted(found))) for name, found in versions.items()],
        "seeds": _few(seeds),
        "sessions": sessions,
        "run_ids": [r.run_id for r in evidence.records],
    }


def _kinds(records: Iterable[RunRecord]) -> str:
    counts: dict[str, int] = {}
    for record in records:
        counts[record.kind] = counts.get(record.kind, 0) + 1
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _few(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds[:12]))
    return f"{shown}, ... ({len(seeds)} in all)" if len(seeds) > 12 else shown or "not recorded"
