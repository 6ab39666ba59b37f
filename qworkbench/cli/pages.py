"""``report`` and ``run``: pages of finished runs, and the experiments of a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qworkbench.cli.console import print_json, print_table
from qworkbench.cli.options import Json

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""Whatever follows the experiment's name is the experiment's."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(report)
    app.command(context_settings=_PASS_ON)(run)


def report(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Run directories.")],
    out: Annotated[Path | None, typer.Option(help="The page; by default report.html in the first directory.")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about one or more run directories."""
    from qworkbench.report import write_report

    first = run_dirs[0] if run_dirs[0].is_dir() else run_dirs[0].parent
    path = write_report(run_dirs, first / "report.html" if out is None else out)
    if as_json:
        print_json({"report": str(path)})
    else:
        print(path)


def run(
    context: typer.Context,
    experiment: Annotated[str | None, typer.Argument(help="The experiment's name.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
    as_json: Json = False,
) -> None:
    """Run an experiment of this checkout; what follows its name goes to it (try NAME --help)."""
    names = _experiments()
    if listed or experiment is None:
        if as_json:
            print_json(names)
        else:
            print_table("Experiments", ("name", "what it is"), names.items())
        return
    if experiment not in names:
        from qworkbench.errors import unknown_name

        raise unknown_name("experiment", experiment, names)
    import sys
    from importlib import import_module

    # An installed program does not look for modules in the current directory.
    sys.path.insert(0, str(Path.cwd()))
    try:
        import_module("experiments._cli").main(experiment, context.args)
    finally:
        sys.path.remove(str(Path.cwd()))


def _experiments() -> dict[str, str]:
    """Name -> first line of the module's docstring, read without running it."""
    import ast

    folder = Path("experiments")
    files = sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))
    if not files:
        raise FileNotFoundError(
            f"no experiments in {folder.absolute()}: they are not installed with the package; "
            "run this in the root of a checkout of the repository"
        )
    texts = {file.stem: ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for file in files}
    return {name: (text or "").partition("\n")[0] for name, text in texts.items()}
