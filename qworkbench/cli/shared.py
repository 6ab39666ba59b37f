"""What commands share: models by name, circuits from files, checks before work, results by row."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

from qworkbench.cli.console import print_json, print_table

ROWS_SHOWN = 10


def build(
    name: str, task: str, params: dict[str, Any], preprocessing: list[str], backend: str | None, seed: int
) -> Any:
    """The unfitted pipeline of a model by name.

    Raises:
        ValueError: If the model, a parameter, the preprocessing or the backend is unknown, or does not fit.
    """
    from qworkbench.comparison.contestants import Contestant, known_models
    from qworkbench.comparison.ladder import check_backend
    from qworkbench.comparison.preprocessing import pipeline
    from qworkbench.errors import unknown_name

    known = known_models()
    if name not in known:
        raise unknown_name("model", name, known)
    entry = known[name]
    if entry.task != task:
        fitting = ", ".join(key for key, other in known.items() if other.task == task)
        raise ValueError(f"the model {name!r} is for {entry.task}, the data for {task}: take one of {fitting}")
    if backend is not None and not entry.quantum:
        raise ValueError(f"the model {name!r} is classical and runs no circuits; leave out --backend")
    contestant = Contestant(name, entry)
    settings = contestant.build(seed, None).get_params()
    for key in params:
        if key not in settings:
            raise unknown_name(f"parameter of {name}", key, settings)
    if backend is not None:
        check_backend(backend)
    return pipeline(preprocessing, contestant.build(seed, backend, params))


def allow_spending(backend: str | None, budget: float | None) -> None:
    """Set the budget of this process.

    It goes to the environment and not into the URI, so that records do not depend on it.

    Raises:
        ValueError: If there is a budget but no backend that could charge.
    """
    from qworkbench.backend import Backend
    from qworkbench.cloud.settings import BUDGET_VARIABLE
    from qworkbench.engines.registry import is_remote

    if budget is None:
        return
    if backend is None or not is_remote(Backend.parse(backend).name):
        raise ValueError("--budget is for a --backend whose vendor charges, such as ibm:ibm_torino")
    os.environ[BUDGET_VARIABLE] = f"{budget:g}"


def parsed(pairs: list[str] | None) -> dict[str, Any]:
    """``["epochs=5", "circuit=qcnn"]`` as numbers, tuples, None, booleans or else text.

    Raises:
        ValueError: If one has no key or no value.
    """
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not key or not equals or not text:
            raise ValueError(f"expected --param KEY=VALUE, got {pair!r}")
        try:
            settings[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            settings[key] = text
    return settings


def feature_map_of(text: str) -> Any:
    """A feature map's name as it is, or the circuit in a file: ``map.qasm``, ``map.qasm?weights=w0,w1``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no OpenQASM program that can be read, or an option or a weight is unknown.
    """
    name, _, query = text.partition("?")
    if not name.endswith(".qasm"):
        return text
    from circuits.interop import declared_inputs, from_qasm
    from qworkbench.backend import parse_uri
    from qworkbench.errors import unknown_name

    options = parse_uri(f"file?{query}")[2] if query else {}
    for option in options:
        if option != "weights":
            raise unknown_name("option of a circuit's file", option, ("weights",))
    declared = declared_inputs(Path(name))
    weights = options["weights"].split(",") if "weights" in options else []
    for weight in weights:
        if weight not in declared:
            raise unknown_name("input of the circuit", weight, declared)
    return from_qasm(Path(name), inputs=[one for one in declared if one not in weights], weights=weights)


def check_width(fitted: Any, width: int) -> None:
    """Refuse rows of another width than the model's.

    Raises:
        ValueError: If the widths differ.
    """
    expected = getattr(fitted, "n_features_in_", width)
    if width != expected:
        raise ValueError(f"expected {expected} features, as many as the model was trained on, got {width}")


def deliver(columns: dict[str, Any], metrics: dict[str, float], out: Path | None, as_json: bool, title: str) -> None:
    """Row by row to a CSV file or to stdout: the first rows as a table, or all of them as JSON."""
    if out is not None:
        import pandas as pd

        pd.DataFrame(columns).to_csv(out, index_label="row")
    if as_json:
        print_json({**columns, "metrics": metrics, "file": None if out is None else str(out)})
        return
    present(columns, len(next(iter(columns.values()))), title, out is not None)
    for name, value in metrics.items():
        print(f"{name}: {value:.4f}")
    if out is not None:
        print(f"written: {out}")


def present(columns: dict[str, Any], n_rows: int, title: str, written: bool) -> None:
    """The first of ``n_rows`` rows as a table."""
    count = min(ROWS_SHOWN, len(next(iter(columns.values()))))
    rows = [tuple(_plain(values[i]) for values in columns.values()) for i in range(count)]
    if "row" not in columns:
        columns, rows = {"row": None, **columns}, [(i, *row) for i, row in enumerate(rows)]
    print_table(title, tuple(columns), rows)
    if n_rows > count:
        print(f"{n_rows - count:,} more rows" + ("" if written else "; --out FILE.csv writes all of them"))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
