"""``plan``: what a training would cost, before anything is sent."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from qworkbench.cli.console import note, print_json, print_table
from qworkbench.cli.options import STANDARDIZE, Json, Param, Preprocessing, Seed
from qworkbench.cli.shared import build, parsed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def plan(
    data: Annotated[str, typer.Argument(help="A name (moons?noise=0.2) or a file (a.csv?target=y).")],
    backend: Annotated[str, typer.Option("--backend", help="Where it would run, e.g. ibm:ibm_torino?shots=1000.")],
    model: Annotated[str, typer.Option("--model", "-m", help="See qworkbench models.")] = "variational",
    param: Param = None,
    preprocessing: Preprocessing = STANDARDIZE,
    test_size: Annotated[float, typer.Option(help="Share of the rows held out for the score.")] = 0.25,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Show what train with the same options would send and cost; sends nothing and needs no account."""
    from sklearn.model_selection import train_test_split

    from qworkbench.backend import Backend
    from qworkbench.comparison.planning import plan as count
    from qworkbench.datasets import load_dataset
    from qworkbench.engines.registry import ENGINES, is_remote
    from qworkbench.errors import unknown_name

    described = Backend.parse(backend)
    if described.name not in ENGINES and not is_remote(described.name):
        raise unknown_name("backend", described.name, ENGINES)
    dataset = load_dataset(data)
    estimator = build(model, dataset.task, parsed(param), preprocessing, None, seed)
    labels = dataset.y if dataset.task == "classification" else None
    X, X_test, y, _ = train_test_split(dataset.X, dataset.y, test_size=test_size, random_state=seed, stratify=labels)
    rows, prices = count(estimator, X, y, described, X_test)
    source = None if prices is None else {"prices": str(prices), "source": prices.source, "as_of": prices.as_of}
    if as_json:
        print_json({"backend": backend, "plan": [asdict(row) for row in rows], "tariff": source})
        return
    table = [
        (row.name, row.circuits, row.shots, row.tasks, _shown(row.seconds, "s"), _shown(row.usd, "USD")) for row in rows
    ]
    title = f"{model} on {dataset.name}: {len(X)} rows to train, {len(X_test)} to score, on {backend}"
    print_table(title, ("", "circuits", "shots", "tasks", "QPU time", "money"), table)
    if prices is None:
        quoted = described.name == "ionq"
        note(
            "no price is known for this backend; "
            + ("the vendor quotes each job before it is sent" if quoted else "if it charges, its jobs are refused")
        )
        return
    caveat = f"; {prices.caveat}" if prices.caveat else ""
    print(f"prices: {prices}{caveat}\nsource: {prices.origin()}")


def _shown(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:,.2f} {unit}"
