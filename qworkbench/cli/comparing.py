"""``compare`` and ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qworkbench.cli.console import interruptible, note, print_json
from qworkbench.cli.options import STANDARDIZE, BackendOption, Budget, Json, Preprocessing, Seed
from qworkbench.cli.shared import allow_spending
from qworkbench.progress import progress_bar

PHYSICS = "collider_dijets?features=physics"
CLASSIFIERS = (
    "variational",
    "hybrid",
    "quantum_kernel",
    "logistic_regression",
    "rbf_svm",
    "random_forest",
    "gradient_boosting",
    "mlp",
)
DETECTORS = ("qgan", "gan", "mahalanobis", "isolation_forest", "gmm")
DEMO: dict[bool, tuple[dict[str, Any], ...]] = {
    False: (
        {"datasets": f"{PHYSICS}&n_samples=160", "models": CLASSIFIERS},
        {
            "datasets": "fashion_mnist?classes=pullover,shirt&n_samples=120",
            "models": CLASSIFIERS,
            "preprocessing": ("standardize", "pca:4", "standardize"),
            "ladder": ("exact", "shots"),
        },
        {"datasets": "moons?n_samples=100&noise=0.25", "models": CLASSIFIERS, "ladder": ("exact", "shots", "noise")},
        {"datasets": f"{PHYSICS}&task=anomaly&n_samples=240", "models": DETECTORS, "ladder": ("exact", "shots")},
    ),
    True: (
        {"datasets": f"{PHYSICS}&n_samples=90", "models": CLASSIFIERS},
        {"datasets": f"{PHYSICS}&task=anomaly&n_samples=150", "models": DETECTORS, "ladder": ()},
    ),
}
"""What the demo compares, in full and (True) with ``--quick``."""
DEMO_PROTOCOL: dict[bool, dict[str, Any]] = {
    False: {"folds": 5, "trials": 1, "ladder_samples": 10},
    True: {"folds": 3, "trials": 1, "ladder_samples": 10},
}
"""Untuned, for the demo has three minutes; defaults against defaults is fair as well."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(compare)
    app.command()(demo)


def compare(
    datasets: Annotated[list[str], typer.Argument(help="Names (moons?noise=0.2) or files (a.csv?target=y).")],
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="May be repeated.", show_default="all that fit")
    ] = None,
    folds: Annotated[int, typer.Option(help="Outer folds.")] = 5,
    repeats: Annotated[int, typer.Option(help="Times that the folds are drawn anew.")] = 1,
    trials: Annotated[int, typer.Option(help="Settings tried for each model and fold; 1: no tuning.")] = 8,
    preprocessing: Preprocessing = STANDARDIZE,
    metric: Annotated[str | None, typer.Option(help="Primary metric.", show_default="the task's")] = None,
    backend: BackendOption = None,
    budget: Budget = None,
    ladder: Annotated[bool, typer.Option(help="Score trained quantum models with shots and noise.")] = True,
    rung: Annotated[
        list[str] | None,
        typer.Option(help="Step of the ladder or backend URI; may be repeated.", show_default="all"),
    ] = None,
    shots: Annotated[int, typer.Option(help="Shots of the ladder.")] = 1024,
    noise: Annotated[str, typer.Option(help="The ladder's noisy backend.")] = "aer?noise=fake_torino",
    mitigation: Annotated[str, typer.Option(help="The ladder's mitigation: zne, readout.")] = "readout,zne",
    device: Annotated[str | None, typer.Option(help="URI of the ladder's device.")] = None,
    max_samples: Annotated[int | None, typer.Option(help="Rows to take of larger data sets.")] = None,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/compare"),
    report: Annotated[bool, typer.Option(help="Write the HTML page.")] = True,
    as_json: Json = False,
) -> None:
    """Compare quantum and classical models on the same folds, tuned alike.

    Run the same again to go on after a stop: what is measured already is not measured again.
    """
    allow_spending(backend, budget)
    settings = {
        "models": model or None,
        "folds": folds,
        "repeats": repeats,
        "trials": trials,
        "preprocessing": preprocessing,
        "metric": metric,
        "backend": backend,
        "ladder": (rung or None) if ladder else (),
        "shots": shots,
        "noise_backend": noise,
        "mitigation": mitigation,
        "device": device,
        "max_samples": max_samples,
        "seed": seed,
    }
    _compare(({"datasets": datasets, **settings},), out, report, as_json)


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="A smaller one, in well under a minute.")] = False,
    out: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/demo"),
    as_json: Json = False,
) -> None:
    """Compare quantum and classical models on shipped real data; ends with tables and a report."""
    _compare([DEMO_PROTOCOL[quick] | part for part in DEMO[quick]], out, True, as_json)


def _compare(parts: Any, out: Path, report: bool, as_json: bool) -> None:
    """Each part is one call of ``compare``; all go to one directory and into one report."""
    from qworkbench.comparison import Comparison
    from qworkbench.comparison import compare as run

    with interruptible():
        with progress_bar() as progress:
            found = [run(**part, out=out, progress=progress) for part in parts]
        whole = Comparison.joined(found)
        page = whole.report() if report else None
    failures = [line for each in found for line in each.failures()]
    if as_json:
        scores = [row for each in found for row in each.scores()]
        written = None if page is None else str(page)
        print_json({"run_dir": str(out), "report": written, "scores": scores, "failures": failures})
    else:
        print(whole.table())
        print(f"records: {out}" + ("" if page is None else f"\nreport:  {page}"))
    if failures:
        note(f"error: {len(failures)} measurements failed, the first: {failures[0]}")
        raise typer.Exit(1)
