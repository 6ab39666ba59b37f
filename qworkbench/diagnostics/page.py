"""The page of ``assess_kernel``: six or eight pictures, sentences and a table."""

from __future__ import annotations

import base64
import importlib.resources
from dataclasses import replace
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist

from qworkbench.diagnostics.geometry import Difference
from qworkbench.diagnostics.kernels import KernelAssessment
from qworkbench.report.figures import BLUE, GREY, INK, png

TEMPLATE = "kernel.html.j2"
PALE = "#D0D0D0"
SHOWN = 8
"""Classical kernels in the picture of geometric differences."""


def page_file(out: str | Path) -> Path:
    """Where the page goes: an HTML file, or a ``kernel.html`` in a directory."""
    return Path(out) if Path(out).suffix in (".html", ".htm") else Path(out) / "kernel.html"


def write_page(found: KernelAssessment, data: np.ndarray, out: str | Path) -> KernelAssessment:
    """Write the page.

    Args:
        found: The assessment.
        data: What it is about, shape ``(N, F)``.
        out: An HTML file, or a directory that gets a ``kernel.html``.

    Returns:
        The assessment with its ``page``.

    Raises:
        OSError: If the page cannot be written.
    """
    target = page_file(out)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = importlib.resources.files("qworkbench.diagnostics").joinpath(TEMPLATE).read_text(encoding="utf-8")
    picture = base64.b64encode(png(figure_of(found, data))).decode("ascii")
    text = environment.from_string(source).render(found=found, rows=rows_of(found), picture=picture)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return replace(found, page=target)


def rows_of(found: KernelAssessment) -> list[tuple[str, str, str]]:
    """Question, the quantum kernel's number, the tuned RBF kernel's number."""
    spread, nearest = found.concentration, found.differences[0]
    floor = "" if spread.floor is None else f"random states: {spread.floor:.3g}"
    error = f" \N{PLUS-MINUS SIGN} {spread.std_error:.2g} by shots" if spread.std_error else ""
    effect = [
        (
            f"{found.measure} with {row.shots:,} shots a circuit",
            f"{row.score:.3f} ({row.interval[0]:.3f} to {row.interval[1]:.3f})",
            f"one measurement scatters by {row.spread:.3f}",
        )
        for row in found.shot_scores
    ]
    exact = [] if found.exact_score is None else [(f"{found.measure} without shots", f"{found.exact_score:.3f}", "")]
    return [
        ("mean off-diagonal entry", f"{spread.mean:.4g}", floor),
        ("spread of off-diagonal entries", f"{spread.std:.3g}{error}", ""),
        ("shots a circuit to resolve them", "not known" if spread.shots is None else f"{spread.shots:,.0f}", ""),
        ("effective rank", f"{found.effective_rank:.1f} of {found.n_samples}", f"{found.rbf_effective_rank:.1f}"),
        ("alignment with the nearest RBF kernel", f"{found.fit[1]:.3f}", found.fit[0]),
        ("geometric difference g", f"{nearest.g:.3g}", f"from {nearest.classical}"),
        ("square root of N, what g is compared with", f"{np.sqrt(found.n_samples):.1f}", ""),
        ("ridge of g, and its training error", f"{nearest.ridge:.2g}, {nearest.training:.3f}", ""),
        ("model complexity s", f"{found.complexity.s:.3g}", f"{found.rbf_complexity.s:.3g}"),
        (
            "leave-one-out error of ridge regression",
            f"{found.complexity.error:.3f}",
            f"{found.rbf_complexity.error:.3f}",
        ),
        ("alignment with the target", f"{found.alignment:.3f}", f"{found.rbf_alignment:.3f}"),
        (f"cross-validated {found.measure}", f"{found.score:.3f}", f"{found.rbf_score:.3f} ({found.tuned_rbf})"),
        *effect,
        *exact,
    ]


def figure_of(found: KernelAssessment, data: np.ndarray) -> Figure:
    """Gram matrix, entries, eigenvalues, entries by distance, geometric differences, scores, and those by shots."""
    figure = Figure(figsize=(10.5, 12.6 if found.shot_scores else 9.6), layout="constrained")
    axes = figure.subplots(4 if found.shot_scores else 3, 2)
    _matrix(axes[0, 0], found)
    _entries(axes[0, 1], found)
    _eigenvalues(axes[1, 0], found)
    _by_distance(axes[1, 1], found, data)
    _differences(axes[2, 0], found)
    _scores(axes[2, 1], found)
    if found.shot_scores:
        _by_shots(axes[3, 0], found)
        _scatter(axes[3, 1], found)
    return figure


def _panel(axes: Axes, title: str, xlabel: str = "", ylabel: str = "") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    axes.set_xlabel(xlabel, fontsize=9.5)
    axes.set_ylabel(ylabel, fontsize=9.5)
    axes.set_title(title, fontsize=10.5, loc="left", color=INK)


def _matrix(axes: Axes, found: KernelAssessment) -> None:
    order = np.argsort(found.targets, kind="stable")
    shown = axes.imshow(found.gram[np.ix_(order, order)], cmap="cividis", interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes, shrink=0.9)
    _panel(axes, "Gram matrix, samples sorted by target")


def _upper(found: KernelAssessment) -> np.ndarray:
    return found.gram[np.triu_indices(found.n_samples, 1)]


def _entries(axes: Axes, found: KernelAssessment) -> None:
    axes.hist(_upper(found), bins=50, color=BLUE)
    axes.axvline(found.concentration.mean, color=INK, linewidth=1, label=f"mean {found.concentration.mean:.3g}")
    if found.concentration.floor is not None:
        label = f"random states, {found.concentration.floor:.3g}"
        axes.axvline(found.concentration.floor, color="#D55E00", linestyle="--", linewidth=1.2, label=label)
    axes.legend(fontsize=8.5, framealpha=0.7, edgecolor="none")
    _panel(axes, "Off-diagonal entries", "k(x, y)", "pairs")


def _eigenvalues(axes: Axes, found: KernelAssessment) -> None:
    for values, colour, marker, label in (
        (found.eigenvalues, BLUE, "o", "quantum"),
        (found.rbf_eigenvalues, GREY, "s", "tuned RBF"),
    ):
        kept = values[values > 1e-12]
        axes.loglog(np.arange(1, len(kept) + 1), kept, marker, markersize=3.2, color=colour, label=label)
    axes.legend(fontsize=8.5, frameon=False)
    _panel(axes, "Eigenvalues over their sum", "rank", "share")


def _by_distance(axes: Axes, found: KernelAssessment, data: np.ndarray) -> None:
    distances = pdist(data)
    axes.plot(distances, _upper(found), ".", markersize=2, alpha=0.35, color=BLUE, rasterized=True)
    gamma = float(found.fit[0].rpartition(" ")[2])
    line = np.linspace(0, distances.max(), 200)
    # The alignment is blind to offset and scale, so the curve has those that fit best.
    radial = np.exp(-gamma * distances**2)
    scale, offset = np.linalg.lstsq(np.stack([radial, np.ones_like(radial)], axis=1), _upper(found))[0]
    label = f"{found.fit[0]}, scale and offset fitted"
    axes.plot(line, offset + scale * np.exp(-gamma * line**2), color=INK, linewidth=1.4, label=label)
    axes.legend(fontsize=8.5, frameon=False)
    _panel(axes, f"Nearest RBF kernel: alignment {found.fit[1]:.3f}", "distance of x and y", "k(x, y)")


def _differences(axes: Axes, found: KernelAssessment) -> None:
    best: dict[str, Difference] = {}
    for row in found.differences:
        best.setdefault(row.classical.partition(",")[0], row)
    chosen = list(best.values())[:SHOWN][::-1]
    names = [row.classical if row.fits else f"{row.classical}\n(cannot imitate it)" for row in chosen]
    colours = [GREY if row.fits else PALE for row in chosen]
    axes.barh(names, [row.g for row in chosen], color=colours, height=0.6)
    root = np.sqrt(found.n_samples)
    axes.axvline(root, color="#D55E00", linestyle="--", linewidth=1.2)
    _panel(axes, f"Geometric difference from each kind; dashed: sqrt(N) = {root:.1f}", "g")


def _scores(axes: Axes, found: KernelAssessment) -> None:
    names = [found.measure, "alignment"]
    ours, theirs = [found.score, found.alignment], [found.rbf_score, found.rbf_alignment]
    place = np.arange(len(names))
    for shift, values, colour, label in ((0.18, ours, BLUE, "quantum"), (-0.18, theirs, GREY, "tuned RBF")):
        bars = axes.barh(place + shift, values, 0.32, color=colour, label=label)
        axes.bar_label(bars, fmt="%.3f", fontsize=8.5, padding=3)
    axes.set_yticks(place, names)
    axes.set_xlim(min(0, *ours, *theirs), 1.3)
    axes.legend(fontsize=8.5, frameon=False, loc="upper right")
    _panel(axes, f"Cross-validated {found.measure}, alignment with the target")


def _by_shots(axes: Axes, found: KernelAssessment) -> None:
    rows = found.shot_scores
    shots, means = [row.shots for row in rows], np.array([row.score for row in rows])
    reach = np.abs(np.array([row.interval for row in rows]).T - means)
    label = "measured, 95% interval of the mean"
    axes.errorbar(shots, means, reach, fmt="o-", color=BLUE, markersize=4, capsize=3, linewidth=1.2, label=label)
    assert found.exact_score is not None
    axes.axhline(found.exact_score, color=INK, linewidth=1, label=f"exact, {found.exact_score:.3f}")
    axes.axhline(found.rbf_score, color=GREY, linestyle="--", linewidth=1.2, label=f"tuned RBF, {found.rbf_score:.3f}")
    axes.set_xscale("log")
    axes.legend(fontsize=8.5, framealpha=0.7, edgecolor="none", loc="best")
    _panel(axes, f"{found.measure} by shots", "shots a circuit", f"cross-validated {found.measure}")


def _scatter(axes: Axes, found: KernelAssessment) -> None:
    axes.semilogx([row.shots for row in found.shot_scores], [row.spread for row in found.shot_scores], "o-", color=BLUE)
    axes.set_ylim(bottom=0)
    _panel(axes, f"How far one measurement moves the {found.measure}", "shots a circuit", "standard deviation")
