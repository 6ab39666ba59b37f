"""One command line for every experiment: flags from its ``Config``, records to a directory, a table at the end."""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

from rich.console import Console

from qworkbench.report import write_report
from qworkbench.report.tables import tables_of, to_rich
from qworkbench.runs import RunDirectory, RunRecord, session_record


def main(name: str, argv: Sequence[str] | None = None) -> None:
    """Run an experiment; a number that the directory holds already is not measured again.

    Args:
        name: Module in ``experiments``.
        argv: What follows the name; ``sys.argv[1:]`` by default.

    Raises:
        RunDirectoryError: If the directory cannot be written; nothing was measured then.
        ValueError: If a setting is wrong.
    """
    module = import_module(f"experiments.{name}")
    given = list(sys.argv[1:] if argv is None else argv)
    flags = vars(_parser(name, module).parse_args(given))
    out, smoke = flags.pop("out"), flags.pop("smoke")
    config = module.Config.smoke(**flags) if smoke else module.Config(**flags)
    out = out or Path("runs") / (f"{name}-smoke" if smoke else name)
    with RunDirectory(out) as directory:
        directory.append(session_record(" ".join(["python -m", f"experiments.{name}", *given])))
        records = _collect(module.run(config, directory.records()), directory)
        if not records:
            raise ValueError("these settings leave nothing to measure: expected at least one problem")
        others = sum(r.kind == "experiment" and r not in records for r in directory.records().values())
    for table in tables_of(records):
        # A pipe has no width; the table must not be cut for want of one.
        Console(width=None if sys.stdout.isatty() else 200).print(to_rich(table))
    print(*module.verdicts(records), sep="\n")
    if others:
        print(f"note: the report also averages {others} records of other settings found in {out}")
    print(f"report: {write_report([out], out)}")


def _collect(measured: Iterable[RunRecord], directory: RunDirectory) -> list[RunRecord]:
    """Store what is new and print a line about each record."""
    start, records = time.perf_counter(), []
    for record in measured:
        new = directory.get(record.run_id) is None
        if new:
            directory.append(record)
        records.append(record)
        shown = ", ".join(f"{key} {value:.3f}" for key, value in record.metrics.items() if value is not None)
        age = f"{time.perf_counter() - start:6.1f} s" if new else "   known"
        print(f"{age}  problem {record.spec['problem'] + 1:2d}  {record.spec['row']}: {shown}", flush=True)
    return records


def _parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        f"qworkbench run {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="run directory (default runs/NAME)")
    parser.add_argument("--smoke", action="store_true", default=False, help="a few seconds' worth, to see that it runs")
    types, texts = get_type_hints(module.Config), _field_texts(module.Config)
    for field in fields(module.Config):
        many = get_args(types[field.name])  # tuple[float, ...] -> (float, ...)
        options: dict[str, Any] = {"type": many[0], "nargs": "+"} if many else {"type": types[field.name]}
        assert field.default is not MISSING, "every setting of an experiment has a default"
        default = " ".join(map(str, field.default)) if many else str(field.default)
        text = f"{texts[field.name]} (default {default})".replace("%", "%%")
        parser.add_argument(f"--{field.name.replace('_', '-')}", metavar=field.name.upper(), help=text, **options)
    return parser


def _field_texts(config: type) -> dict[str, str]:
    """The string under each field of a dataclass."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for statement, after in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = after.value if isinstance(after, ast.Expr) else None
            assert isinstance(text, ast.Constant), f"{statement.target.id} has no text under it"
            texts[statement.target.id] = " ".join(str(text.value).split())
    return texts
