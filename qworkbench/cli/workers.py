"""``workers``: environments of their own for vendors whose packages clash with ours."""

from __future__ import annotations

from typing import Annotated

import typer

from qworkbench.cli.console import note, print_json, print_table
from qworkbench.cli.options import Json

app = typer.Typer(help="Make and list environments for worker:NAME/DEVICE backends.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    app.command()(create)
    app.command("list")(list_workers)
    parent.add_typer(app, name="workers")


def create(
    recipe: Annotated[str, typer.Argument(help="iqm, aqt or alice-bob.")],
    name: Annotated[str | None, typer.Option(help="Its name.", show_default="the recipe's")] = None,
    as_json: Json = False,
) -> None:
    """Make an environment with a vendor's packages; takes minutes and some hundred MB."""
    from qworkbench.cloud.worker import RECIPES, create_worker

    if recipe in RECIPES:
        note(f"installing {' '.join(RECIPES[recipe])} ...")
    folder = create_worker(recipe, name)
    if as_json:
        print_json({"worker": folder.name, "folder": str(folder)})
    else:
        print(f"made: worker:{folder.name}/... in {folder}")


def list_workers(as_json: Json = False) -> None:
    """List the environments and the devices that may run in them."""
    from qworkbench.cloud.worker import DEVICES, RECIPES, workers

    found = workers()
    if as_json:
        print_json({"workers": found, "recipes": RECIPES, "devices": list(DEVICES)})
        return
    if found:
        print_table("Workers", ("name",), [(name,) for name in found])
    else:
        print(f"no workers yet; qworkbench workers create {'|'.join(RECIPES)} makes one")
    print("devices: " + ", ".join(example for example, _ in DEVICES.values()))
