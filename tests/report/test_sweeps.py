"""Sweeps of a reproduction become figures of its page."""

from __future__ import annotations

from qworkbench.report.evidence import collect
from qworkbench.report.html import render
from qworkbench.report.sweeps import sweep_figures
from qworkbench.runs import RunRecord


def row(model: str, n: float, seed: int, score: float | None) -> RunRecord:
    spec = {"experiment": "e", "row": f"{model}, {n}", "model": model, "quantum": model == "qgan", "problem": seed}
    return RunRecord("experiment", spec, {"score": score}, {"sweeps": {"training rows": n}})


def test_scores_are_drawn_by_the_number_that_was_swept() -> None:
    measured = [row(m, n, s, 0.5 + 0.1 * s) for m in ("qgan", "gan") for n in (100, 3000) for s in (0, 1)]
    ((_, rows),) = collect(measured).experiments.items()
    (figure,) = sweep_figures(rows).values()
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and [t.get_text() for t in axes.get_xticklabels()] == ["100", "3000"]
    lines = axes.containers
    assert [line.get_label() for line in lines] == ["qgan", "gan"]
    assert lines[0].lines[0].get_ydata().tolist() == [0.55, 0.55]
    assert "Score by training rows" in render(measured)


def test_one_value_is_no_sweep() -> None:
    measured = [row(m, 100, 0, score) for m, score in (("qgan", 0.5), ("gan", None))]
    ((_, rows),) = collect(measured).experiments.items()
    assert sweep_figures(rows) == {}
    assert "<img" not in render(measured)
