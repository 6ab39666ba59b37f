"""Figures of a report, as matplotlib ``Figure`` objects; no pyplot, no global state, no display.

Quantum models are blue filled circles, classical ones grey open squares: they differ in colour, brightness,
shape and fill, so they stay apart for colour-blind readers and on a black-and-white print.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from qworkbench.report.results import CONFIDENCE, RUNG_ORDER, DatasetResult, ModelResult, Rung
from qworkbench.report.tables import clipped, duration, is_share, number, words

BLUE, GREY, INK, RULE = "#0072B2", "#6b6b6b", "#222222", "#d9d9d9"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito
MARKERS = "oD^vPX"
WIDTH = 8.6
ROUND_TIMES = (1e-3, 1e-2, 0.1, 1, 10, 60, 600, 3600, 36_000)  # seconds


def png(figure: Figure, dpi: int = 170) -> bytes:
    """The figure as PNG bytes on a white ground."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def literal(text: str) -> str:
    """Text whose dollar signs are no mathematics."""
    return text.replace("$", r"\$")


def bare(axes: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """One look for all panels: two spines, light grid, small quiet text."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#8a8a8a")
    axes.tick_params(colors=INK, labelsize=9, length=3, color="#8a8a8a")
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, fontsize=9.5, color=INK)
    axes.set_ylabel(ylabel, fontsize=9.5, color=INK)
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=8)


def _style(quantum: bool) -> dict[str, Any]:
    colour = BLUE if quantum else GREY
    return {
        "marker": "o" if quantum else "s",
        "color": colour,
        "markerfacecolor": colour if quantum else "white",
        "markeredgecolor": colour,
        "markeredgewidth": 1.6,
        "markersize": 7,
    }


def score_figure(result: DatasetResult) -> Figure:
    """Scores with intervals and raw folds (left); paired differences to the best classical model (right)."""
    models = result.models[::-1]
    layout = ConstrainedLayoutEngine(w_pad=0.1)
    figure = Figure(figsize=(WIDTH, 1.35 + 0.36 * len(models)), layout=layout)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
    for y, model in enumerate(models):
        _dot(left, y, model, is_share(result))
    left.set_yticks(range(len(models)), [literal(m.name) for m in models])
    left.set_ylim(-0.6, len(models) - 0.4)
    left.grid(axis="x", color=RULE, linewidth=0.6)
    bare(left, words(result.metric), title="Score: mean, interval, single folds")
    _plain_ticks(left, 7)
    for label, model in zip(left.get_yticklabels(), models, strict=True):
        label.set_color(BLUE if model.quantum else INK)
    _differences(right, result, [m.name for m in models])
    return figure


def _dot(axes: Axes, y: int, model: ModelResult, share: bool) -> None:
    folds = list(model.scores.values())
    colour = BLUE if model.quantum else GREY
    axes.plot(folds, [y - 0.24] * len(folds), "|", color=colour, alpha=0.55, markersize=5)
    if model.estimate:
        axes.plot(clipped(model.estimate, share), [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot([model.mean], [y], linestyle="none", **_style(model.quantum))


def _differences(axes: Axes, result: DatasetResult, order: Sequence[str]) -> None:
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    for c in result.comparisons:
        y = order.index(c.model)
        colour = BLUE if c.quantum else GREY
        if c.gap:
            axes.plot([c.gap.low, c.gap.high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
        if c.differences:
            axes.plot([np.mean(c.differences)], [y], linestyle="none", **_style(c.quantum))
    best = result.best(quantum=False)
    if best:
        axes.text(0, order.index(best.name), " reference ", fontsize=8, color=GREY, va="center", ha="left")
    bare(
        axes,
        "worse  \N{LEFTWARDS ARROW}   difference   \N{RIGHTWARDS ARROW}  better",
        title="Paired difference",
    )
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _plain_ticks(axes, 6)


def _plain_ticks(axes: Axes, most: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)


def ladder_figure(result: DatasetResult) -> Figure:
    """Scores of trained quantum models from exact to shots and noise; the best classical one is a line."""
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.subplots()
    steps = list(dict.fromkeys((r.rung, r.backend) for r in result.rungs))
    steps.sort(key=lambda s: RUNG_ORDER.index(s[0]) if s[0] in RUNG_ORDER else len(RUNG_ORDER))
    best = result.best(quantum=False)
    if best:
        if best.estimate:
            axes.axhspan(*clipped(best.estimate, is_share(result)), color=GREY, alpha=0.13, linewidth=0)
        axes.axhline(best.mean, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)))
    models = list(dict.fromkeys(r.model for r in result.rungs))
    for i, model in enumerate(models):
        shift = 0.08 * (i - (len(models) - 1) / 2)
        rungs = [r for r in result.rungs if r.model == model]
        xs = [steps.index((r.rung, r.backend)) + shift for r in rungs]
        _ladder_line(axes, xs, rungs, i, is_share(result))
    # An option a line, or the names of neighbouring backends would run into each other.
    names = [literal(f"{rung}\n" + backend.replace("?", "\n").replace("&", "\n")) for rung, backend in steps]
    axes.set_xticks(range(len(steps)), names, fontsize=8)
    axes.set_xlim(-0.4, len(steps) - 0.6 + 0.9)
    if best:
        name = literal(f"best classical:\n{best.name} {number(best.mean)}")
        text = axes.annotate(name, (1, best.mean), (-4, 4), ("axes fraction", "data"), "offset points", ha="right")
        text.set(fontsize=8.5, color=GREY, va="bottom")
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    bare(axes, ylabel=words(result.metric))
    figure.legend(frameon=False, fontsize=9, loc="outside upper left", ncols=min(4, len(models)))
    return figure


def _ladder_line(axes: Axes, xs: Sequence[float], rungs: Sequence[Rung], i: int, share: bool) -> None:
    colour, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
    for x, rung in zip(xs, rungs, strict=True):
        if rung.estimate:
            axes.plot([x, x], clipped(rung.estimate, share), color=colour, linewidth=1.6)
    means = [r.mean for r in rungs]
    axes.plot(xs, means, color=colour, marker=marker, markersize=7, linewidth=1, label=literal(rungs[0].model))


def cost_figure(result: DatasetResult) -> Figure:
    """Mean score against seconds for one fold (tuning, fitting and prediction), on a logarithmic axis."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    points = [m for m in result.models if m.costs.get("seconds", 0) > 0]
    for m in points:
        axes.plot([m.costs["seconds"]], [m.mean], linestyle="none", **_style(m.quantum))
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.16)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.14)
    axes.xaxis.set_major_locator(FixedLocator(ROUND_TIMES))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: duration(x).replace(".0 ", " ")))
    axes.minorticks_off()
    axes.grid(color=RULE, linewidth=0.6)
    bare(axes, "time for one fold: tuning, fitting, prediction", words(result.metric))
    _label_points(figure, axes, points)
    return figure


def _label_points(figure: Figure, axes: Axes, points: Sequence[ModelResult]) -> None:
    """Names beside the points, moved up or down until they overlap neither each other nor a point."""
    figure.draw_without_rendering()
    pixel = figure.dpi / 72
    height, gap = 11 * pixel, 8 * pixel
    places = {m.name: axes.transData.transform((m.costs["seconds"], m.mean)) for m in points}
    taken = [(x - gap / 2, y, gap) for x, y in places.values()]
    for m in sorted(points, key=lambda m: m.mean):
        x, y = places[m.name]
        width = 0.6 * height * len(m.name)
        offset = min(
            (k * height / 2 for k in range(-6, 7)),
            key=lambda d: (sum(_overlap((x + gap, y + d, width), box, height) for box in taken), abs(d)),
        )
        taken.append((x + gap, y + offset, width))
        axes.annotate(
            literal(m.name),
            (m.costs["seconds"], m.mean),
            xytext=(8, offset / pixel),
            textcoords="offset points",
            fontsize=8.5,
            va="center",
            color=BLUE if m.quantum else INK,
        )


def _overlap(a: tuple[float, float, float], b: tuple[float, float, float], height: float) -> bool:
    """Whether two boxes (left, middle, width) of one height meet."""
    return abs(a[1] - b[1]) < height and a[0] < b[0] + b[2] and b[0] < a[0] + a[2]


def training_figure(result: DatasetResult) -> Figure:
    """Training loss of each model that recorded one: thin lines are folds, the thick one is their median."""
    models = [m for m in result.models if m.loss_curves]
    columns = min(3, len(models))
    rows = math.ceil(len(models) / columns)
    width = WIDTH * max(columns, 1.6) / 3
    figure = Figure(figsize=(width, 0.5 + 1.9 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axes, model in zip(panels, models, strict=False):
        colour = BLUE if model.quantum else GREY
        for curve in model.loss_curves:
            axes.plot(range(1, len(curve) + 1), curve, color=colour, linewidth=0.7, alpha=0.35)
        length = min(map(len, model.loss_curves))
        median = np.median([curve[:length] for curve in model.loss_curves], axis=0)
        axes.plot(range(1, length + 1), median, color=colour, linewidth=2)
        axes.grid(color=RULE, linewidth=0.6)
        bare(axes, "epoch", "training loss", literal(model.name))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes in panels[len(models) :]:
        axes.set_visible(False)
    return figure


CAPTIONS = {
    "scores": "Left: mean score with its {level} interval; ticks below a line are single folds. "
    "Right: difference to the best classical model on the same folds. "
    "Blue circles are quantum, grey squares classical.",
    "ladder": "The same trained weights scored exactly, with shots, and with device noise. "
    "The dashed line and grey band are the best classical model with its interval.",
    "cost": "What a point of score costs. Wall-clock time as recorded; a device would add queueing.",
    "training": "Training loss: thin lines are folds, the thick line is their median.",
}


def figures_of(result: DatasetResult) -> dict[str, Figure]:
    """The figures that this result can fill, by name (the keys of ``CAPTIONS``)."""
    figures = {}
    if result.models:
        figures["scores"] = score_figure(result)
    if result.rungs:
        figures["ladder"] = ladder_figure(result)
    if any(m.costs.get("seconds", 0) > 0 for m in result.models):
        figures["cost"] = cost_figure(result)
    if any(m.loss_curves for m in result.models):
        figures["training"] = training_figure(result)
    return figures


def caption(name: str) -> str:
    """The words under a figure."""
    return CAPTIONS[name].format(level=f"{CONFIDENCE:.0%}")
