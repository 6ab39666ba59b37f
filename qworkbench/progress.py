"""A bar for work that takes a while, for commands and for Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int, str], None]
"""Called with the number of finished steps, of all steps, and what was finished."""


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on a terminal, else a plain line a step; on stderr, so stdout stays for results."""
    if not sys.stderr.isatty():
        yield lambda done, total, text: print(f"[{done}/{total}] {text}", file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)
