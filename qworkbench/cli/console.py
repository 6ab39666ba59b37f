"""What commands print: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

PLAIN_WIDTH = 160
"""Characters a line where there is no terminal to ask."""


def print_json(value: Any) -> None:
    """One JSON document; NumPy values become plain ones."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table; long cells are wrapped, never cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))  # "[1, 2]" is no markup
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(Text(title, style="bold"), table, sep="\n", end="")


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def note(text: str) -> None:
    """A remark that is no result: on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Control-C ends the program with 130 and says what is safe."""
    try:
        yield
    except KeyboardInterrupt as stop:
        note(str(stop) or "interrupted")
        raise typer.Exit(130) from None
