"""The application: its commands, and how an error ends it."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from qworkbench import __version__
from qworkbench.cli import assessing, catalogues, comparing, detecting, gram, jobs, learning, pages, planning, workers
from qworkbench.cloud.secrets import mask

EXPECTED = (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError, AssertionError)
"""What the library raises on purpose; their messages stand alone."""

app = typer.Typer(
    name="qworkbench",
    help="Hybrid quantum-classical machine learning: any model, on any backend, with an honest answer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
comparing.register(app)
learning.register(app)
detecting.register(app)
assessing.register(app)
gram.register(app)
catalogues.register(app)
pages.register(app)
jobs.register(app)
planning.register(app)
workers.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qworkbench {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """The options of every command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 an error, 2 wrong usage, 130 interrupted.

    Args:
        arguments: What follows the program's name; ``sys.argv`` by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            app([argument for argument in given if argument != "--debug"], prog_name="qworkbench")
    except Exception as error:
        if debug:
            print(mask(traceback.format_exc()), end="", file=sys.stderr)
        print(f"error: {mask(_one_line(error, debug))}", file=sys.stderr)
        sys.exit(1)


def _show_warning(message: Warning | str, *where: Any, **options: Any) -> None:
    print(f"warning: {mask(' '.join(str(message).split()))}", file=sys.stderr)


def _one_line(error: Exception, debug: bool) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.strerror}: {error.filename}"
    else:
        text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, EXPECTED):
        return text
    return f"unexpected {type(error).__name__}: {text}" + ("" if debug else "; --debug shows where")
