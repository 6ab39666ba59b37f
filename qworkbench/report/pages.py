"""Templates, embedded pictures, and files that are replaced in one step."""

from __future__ import annotations

import base64
import importlib.resources
import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from qworkbench.report.figures import WIDTH, png


def template(name: str) -> Template:
    """A template that ships with this package; what it shows is escaped."""
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def _source(name: str) -> str:
    return importlib.resources.files("qworkbench.report").joinpath(name).read_text(encoding="utf-8")


def embedded(figure: Figure, alt: str, caption: str) -> dict[str, Any]:
    """What the macro ``picture`` shows."""
    return {
        "data": base64.b64encode(png(figure)).decode("ascii"),
        "caption": caption,
        "alt": alt,
        "width": round(100 * figure.get_figwidth() / WIDTH),
    }


def replace_page(page: str, out: str | Path) -> Path:
    """Write a page to a file, or to ``report.html`` in a directory.

    Raises:
        OSError: If it cannot be written.
    """
    target = Path(out) if Path(out).suffix in (".html", ".htm") else Path(out) / "report.html"
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(page, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        raise OSError(f"cannot write the report to {target}: {error.strerror}") from None
    return target
