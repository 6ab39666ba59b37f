"""The page of one run of ``detect``, made from its record: scores, threshold, rejection, reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qworkbench.report.figures import BLUE, GREY, INK, PALETTE, RULE, WIDTH, bare, literal
from qworkbench.report.pages import embedded, replace_page, template
from qworkbench.report.tables import NONE, Table, number
from qworkbench.runs import RunRecord

ANOMALY = PALETTE[1]
MOST_FEATURES = 20
"""Features in the figure of reasons."""
METHODS = {
    "residual": "value minus the nearest normal row of the detector, in standard deviations of the training rows",
    "occlusion": "rise of the score when this feature alone is set to the median of the training rows",
}
UNITS = {"residual": "standard deviations of the training rows", "occlusion": "units of the score"}
WORDS = {
    "roc_auc": "area under the ROC curve",
    "average_precision": "average precision",
    "rejection_0.1": "background rejection 1/\N{GREEK SMALL LETTER EPSILON}_B at 10 % signal efficiency",
    "rejection_0.3": "background rejection 1/\N{GREEK SMALL LETTER EPSILON}_B at 30 % signal efficiency",
    "rejection_0.5": "background rejection 1/\N{GREEK SMALL LETTER EPSILON}_B at 50 % signal efficiency",
    "significance": "largest significance improvement",
    "significance_at": "signal efficiency of that",
}
CAPTIONS = {
    "scores": "Scores: the higher, the more normal. Rows left of the dashed threshold are flagged. The outermost bins "
    "hold what lies beyond; counts are on a logarithmic axis.",
    "curves": "Left: one of so many background rows passes a cut that keeps this share of the anomalies, with the 95 % "
    "interval; dotted: a score without information. Right: the factor by which the cut changes S/\N{SQUARE ROOT}B; "
    "cuts that fewer than 25 background rows pass are left out.",
    "shares": "Mean size of each feature's part: {method}.",
    "losses": "Training loss by epoch. A GAN's discriminator that cannot tell real from generated rows has "
    "2 log 2 = 1.39 with the non-saturating loss.",
}


def write_detection(record: RunRecord, out: str | Path) -> Path:
    """Write the page of a record of kind ``"detection"``.

    Args:
        record: What ``qworkbench detect`` measured.
        out: The HTML file, or a directory that gets a ``report.html``.

    Raises:
        OSError: If ``out`` cannot be written.
    """
    info = record.info
    figures = {"scores": score_figure(record)}
    if info["curves"] and info["curves"]["efficiency"]:
        figures["curves"] = curve_figure(info["curves"])
    if info["shares"]:
        figures["shares"] = share_figure(record)
    if any(len(curve) > 1 for curve in info["losses"].values()):
        figures["losses"] = loss_figure(info["losses"])
    method = METHODS[info["method"]]
    page = template("detection.html.j2").render(
        record=record,
        share=info["flagged"] / info["rows"],
        metrics=metric_table(record),
        worst=worst_table(record),
        method=method,
        pictures={
            name: embedded(figure, f"detection: {name}", CAPTIONS[name].format(method=method))
            for name, figure in figures.items()
        },
    )
    return replace_page(page, out)


def metric_table(record: RunRecord) -> Table:
    """What the labels say; empty without labels."""
    rows = []
    for name, text in WORDS.items():
        if name in record.metrics:
            value, low, high = (record.metrics.get(f"{name}{end}") for end in ("", "_low", "_high"))
            limits = f"[{number(low)}, {number(high)}]" if low is not None and high is not None else NONE
            if value is None and low is not None:
                limits = f"above {number(low)}"
            rows.append((text, number(value), limits))
    return Table("Against the labels", ("measure", "value", "95% interval"), tuple(rows))


def worst_table(record: RunRecord) -> Table:
    """The most anomalous rows, each with its largest reasons."""
    names = record.spec["features"]
    several = len(record.spec["files"]) > 1
    rows = []
    for row in record.info["worst"]:
        why = [f"{names[w['feature']]} = {w['value']:.4g} ({number(w['share'], 2, sign=True)})" for w in row["why"]]
        rows.append((*([row["file"]] if several else []), str(row["row"]), number(row["score"]), "; ".join(why)))
    headers = (*(["file"] if several else []), "row", "score", "largest reasons")
    return Table(
        "Most anomalous rows",
        headers,
        tuple(rows),
        text_columns=frozenset({len(headers) - 1, *([0] if several else [])}),
    )


def score_figure(record: RunRecord) -> Figure:
    """Histogram of the scores, by label where known, with the threshold."""
    histogram = record.info["histogram"]
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    edges = np.asarray(histogram["edges"])
    for name, counts in histogram["counts"].items():
        filled = name != "anomaly"
        colour = GREY if filled else ANOMALY
        axes.stairs(counts, edges, fill=filled, color=colour, alpha=0.45 if filled else 1, linewidth=1.6, label=name)
    axes.axvline(record.spec["threshold"], color=INK, linestyle=(0, (5, 3)), linewidth=1.2, label="threshold")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    bare(axes, "score (higher is more normal)", f"rows in the sample of {record.info['sampled']:,}")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def curve_figure(curves: dict[str, Any]) -> Figure:
    """Background rejection (left) and significance improvement (right) by signal efficiency."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    efficiency = np.asarray(curves["efficiency"])
    value, low, high = np.asarray(curves["rejection"])
    left.fill_between(efficiency, low, high, color=BLUE, alpha=0.18, linewidth=0)
    left.plot(efficiency, value, color=BLUE, linewidth=1.8)
    left.plot(efficiency, 1 / efficiency, color=GREY, linewidth=1, linestyle=":")
    left.set_yscale("log")
    right.plot(curves["significance_efficiency"], curves["significance"], color=BLUE, linewidth=1.8)
    right.axhline(1, color=GREY, linewidth=1, linestyle=":")
    for axes in (left, right):
        axes.set_xlim(0, 1)
        axes.grid(color=RULE, linewidth=0.6)
    bare(left, "signal efficiency", "1 / background efficiency", "Background rejection")
    bare(right, "signal efficiency", "factor on S/\N{SQUARE ROOT}B", "Significance improvement")
    return figure


def share_figure(record: RunRecord) -> Figure:
    """Mean size of each feature's part, flagged rows beside the others; the largest first."""
    shares = {name: np.asarray(values) for name, values in record.info["shares"].items()}
    first = shares.get("flagged", next(iter(shares.values())))
    order = np.argsort(-first)[:MOST_FEATURES][::-1]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * len(order)), layout="constrained")
    axes = figure.subplots()
    for shift, (name, values) in zip((0.19, -0.19), shares.items(), strict=False):
        colour = ANOMALY if name == "flagged" else GREY
        axes.barh(
            np.arange(len(order)) + shift,
            values[order],
            0.36,
            color=colour,
            label="flagged rows" if name == "flagged" else "other rows",
        )
    axes.set_yticks(range(len(order)), [literal(record.spec["features"][i]) for i in order])
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    bare(axes, f"mean |{record.info['method']}|, {UNITS[record.info['method']]}")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def loss_figure(losses: dict[str, list[float]]) -> Figure:
    """Training losses by epoch."""
    figure = Figure(figsize=(WIDTH * 0.6, 2.6), layout="constrained")
    axes = figure.subplots()
    for (name, curve), colour, style in zip(losses.items(), (BLUE, ANOMALY), ("-", "--"), strict=False):
        axes.plot(range(1, len(curve) + 1), curve, color=colour, linestyle=style, linewidth=1.8, label=name)
    axes.grid(color=RULE, linewidth=0.6)
    bare(axes, "epoch", "training loss")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(frameon=False, fontsize=9)
    return figure
