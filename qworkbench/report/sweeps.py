"""Figures of the rows of a reproduction that differ in one number, such as the size of the training set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from matplotlib.figure import Figure

from qworkbench.report.figures import MARKERS, PALETTE, RULE, WIDTH, bare, literal
from qworkbench.report.results import CONFIDENCE, ExperimentRow

LOGARITHMIC = 20
"""From this ratio of the largest to the smallest value on, the axis is logarithmic."""


def sweep_figures(rows: Sequence[ExperimentRow]) -> dict[str, Figure]:
    """One figure for each quantity that was swept, by its name; none with fewer than two values.

    Score by value, a line a model; quantum ones are solid and thick, classical ones thin and dashed.
    """
    sweeps: dict[str, dict[str, dict[float, ExperimentRow]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        for name, value in row.sweeps.items():
            if row.model is not None and "score" in row.metrics:
                sweeps[name][row.model][value] = row
    figures = {}
    for name, models in sweeps.items():
        if max(map(len, models.values())) > 1:
            figures[name] = _figure(name, models)
    return figures


def _figure(name: str, models: dict[str, dict[float, ExperimentRow]]) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.subplots()
    values = sorted({value for points in models.values() for value in points})
    logarithmic = values[0] > 0 and values[-1] / values[0] >= LOGARITHMIC
    for i, (model, points) in enumerate(sorted(models.items(), key=lambda item: not _quantum(item[1]))):
        quantum, colour = _quantum(points), PALETTE[i % len(PALETTE)]
        xs = sorted(points)
        # Side by side, so that intervals at one value do not hide each other.
        shift = (i - (len(models) - 1) / 2) * 0.012
        places = [x * 10 ** (2 * shift) if logarithmic else x + shift * (values[-1] - values[0]) for x in xs]
        means = [points[x].metrics["score"][0] for x in xs]
        halves = [points[x].metrics["score"][1] or 0.0 for x in xs]
        axes.errorbar(
            places,
            means,
            halves,
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            markersize=6 if quantum else 4.5,
            linewidth=2.2 if quantum else 1.1,
            linestyle="-" if quantum else (0, (4, 2)),
            elinewidth=1.2,
            label=literal(model),
        )
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.grid(color=RULE, linewidth=0.6)
    bare(axes, name, "score")
    figure.legend(frameon=False, fontsize=9, loc="outside right upper")
    return figure


def _quantum(points: dict[float, ExperimentRow]) -> bool:
    return bool(next(iter(points.values())).quantum)


def caption(name: str) -> str:
    """The words under a figure."""
    return (
        f"Score by {name}; bars are {CONFIDENCE:.0%} intervals over the seeds, shifted sideways to be told apart. "
        "Thick solid lines are quantum, thin dashed ones classical."
    )
