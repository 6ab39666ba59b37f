"""``backends``, ``datasets`` and ``models``: what there is, from the tables that the library itself uses."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qworkbench.cli.console import note, print_json, print_table
from qworkbench.cli.options import Budget, Json
from qworkbench.cli.shared import allow_spending

MAX_CLASSES = 12
"""Classes counted one by one in ``datasets NAME``."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    backends_app = typer.Typer()
    backends_app.callback(invoke_without_command=True)(backends)
    backends_app.command("check")(check)
    app.add_typer(backends_app, name="backends", help="List the backends, or check one.")
    app.command()(datasets)
    app.command()(models)


def backends(context: typer.Context, as_json: Json = False) -> None:
    """List the backends: what circuits can run on, and what each costs."""
    if context.invoked_subcommand is not None:
        return
    from importlib.util import find_spec

    from qworkbench.backend import Backend
    from qworkbench.cloud.prices import tariff
    from qworkbench.cloud.registry import installed_adapters
    from qworkbench.engines.registry import ENGINES

    listed = []
    for name, entry in ENGINES.items():
        installed = entry.requires is None or find_spec(entry.requires) is not None
        hint = None if installed else f"pip install 'qworkbench[{entry.extra}]'"
        prices = tariff(Backend.parse(entry.example))
        listed.append(
            {
                "name": name,
                "summary": entry.summary,
                "example": entry.example,
                "installed": installed,
                "install": hint,
                "billable": prices is None or str(prices) != "free",
                "price": None if prices is None else str(prices),
                "source": None if prices is None else f"{prices.source}, {prices.as_of}",
            }
        )
    for name in installed_adapters():
        listed.append({"name": name, "summary": "brought by another package", "installed": True})
    if as_json:
        print_json(listed)
        return
    print_table(
        "Backends",
        ("name", "what it is", "example", "installed", "price of the example"),
        [
            (
                row["name"],
                row["summary"],
                row.get("example"),
                "yes" if row["installed"] else row["install"],
                row.get("price", "-") or "the vendor quotes it",
            )
            for row in listed
        ],
    )
    note("Sources of the prices: qworkbench backends --json. The cost of a training: qworkbench plan")


def check(
    backend: Annotated[str, typer.Argument(metavar="URI", help="Such as aer?shots=1024&seed=1.")],
    budget: Budget = None,
    as_json: Json = False,
) -> None:
    """Check on small circuits that a backend keeps every promise; one that charges runs a dozen small jobs."""
    from qworkbench.backend import Backend
    from qworkbench.cloud.registry import open_adapter
    from qworkbench.engines.registry import is_remote
    from qworkbench.testing import check_adapter, check_engine

    allow_spending(backend, budget)
    passed: list[str] = []
    described = Backend.parse(backend)
    if is_remote(described.name):
        adapter = open_adapter(described)
        passed += check_adapter(described, adapter)
        if adapter.billable:
            # Every engine check is dozens of jobs, and the engine is the same for all adapters.
            note("the engine's own promises are checked only where jobs are free")
    if not is_remote(described.name) or not adapter.billable:
        passed += check_engine(backend)
    if as_json:
        print_json({"backend": backend, "passed": passed})
        return
    for promise in passed:
        print(f"ok  {promise}")
    print(f"{backend} keeps all {len(passed)} promises")


def datasets(
    name: Annotated[str | None, typer.Argument(help="A name, with options as in moons?noise=0.2.")] = None,
    as_json: Json = False,
) -> None:
    """List the data sets, or describe one: options, size, classes and source."""
    from qworkbench.datasets import DATASETS

    if name is not None:
        _describe(_dataset(name), as_json)
        return
    rows = [(key, entry.task, entry.summary) for key, entry in DATASETS.items()]
    if as_json:
        print_json([dict(zip(("name", "task", "summary"), row, strict=True)) for row in rows])
        return
    print_table("Data sets", ("name", "task", "what it is"), rows)
    note("Tables of your own: path/to/table.csv?target=COLUMN. More about one: qworkbench datasets NAME")


def _dataset(name: str) -> dict[str, Any]:
    import numpy as np

    from qworkbench.datasets import DATASETS, load_dataset

    entry = DATASETS.get(name.partition("?")[0])
    described: dict[str, Any] = {"name": name}
    if entry is not None:
        described |= {"summary": entry.summary, "options": entry.options}
    try:
        dataset = load_dataset(name)
    except (ValueError, OSError) as error:
        if entry is None or name not in DATASETS:
            raise
        return described | {"needs": str(error)}  # such as the directory of the full MNIST
    described |= {"task": dataset.task, "rows": len(dataset.y), "features": list(dataset.feature_names)}
    if dataset.task != "regression":
        labels, counts = np.unique(dataset.y, return_counts=True)
        described["classes"] = {str(k): int(n) for k, n in zip(labels, counts, strict=True)}
    return described | {"source": dataset.source}


def models(
    name: Annotated[str | None, typer.Argument(help="The name of a model.")] = None, as_json: Json = False
) -> None:
    """List the models, quantum and classical, or describe one: parameters and search space."""
    from qworkbench.comparison.contestants import known_models

    known = known_models()
    if name is not None:
        _describe(_model(name, known), as_json)
        return
    rows = [(key, entry.task, entry.quantum, entry.summary) for key, entry in known.items()]
    if as_json:
        print_json([dict(zip(("name", "task", "quantum", "summary"), row, strict=True)) for row in rows])
        return
    columns = ("name", "task", "kind", "what it is")
    print_table("Models", columns, [(n, t, "quantum" if q else "classical", s) for n, t, q, s in rows])
    note("More about one: qworkbench models NAME")


def _model(name: str, known: dict[str, Any]) -> dict[str, Any]:
    from qworkbench.errors import unknown_name

    if name not in known:
        raise unknown_name("model", name, known)
    entry = known[name]
    return {
        "name": name,
        "summary": entry.summary,
        "task": entry.task,
        "kind": "quantum" if entry.quantum else "classical",
        "parameters": {key: _setting(value) for key, value in entry.factory(0).get_params().items()},
        "search space": {key: _setting(value) for key, value in entry.space.items()},
    }


def _setting(value: Any) -> Any:
    """A JSON value for a parameter or for where to search it."""
    if hasattr(value, "dist"):  # a frozen distribution of scipy
        return f"{value.dist.name}{value.args}"
    return value if isinstance(value, list | str | int | float | None) else str(value)


def _describe(described: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(described)
        return
    rows: list[tuple[str, str]] = []
    for key, value in described.items():
        if isinstance(value, dict):
            shown = [f"{k}={v!r}" if key == "options" else f"{k}: {v}" for k, v in value.items()]
            shown = shown if len(shown) <= MAX_CLASSES or key != "classes" else [f"{len(shown)} of them"]
            rows.append((key, "\n".join(shown)))
        else:
            rows.append((key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    print_table(str(described["name"]), ("", ""), rows)
