"""Errors that say what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class MissingExtraError(ImportError):
    """A feature needs a package that is installed by one of the extras."""


class CircuitTooLargeError(MemoryError):
    """A circuit needs more memory than the machine has; raised before anything is allocated."""


class NotFiniteError(ValueError):
    """An angle is NaN or infinite."""

    def __init__(self, what: str = "angles") -> None:
        super().__init__(f"expected finite {what}, got NaN or infinity; check the data and the learning rate")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """A ``ValueError`` for an unknown name, with the nearest known names.

    Args:
        kind: What the name stands for, e.g. ``"data set"``.
        name: The name that was given.
        known: All valid names.
    """
    names = sorted(known)
    begun = [known for known in names if name and known.startswith(name)]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6) or begun[:3]
    hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"known: {', '.join(names)}"
    return ValueError(f"unknown {kind} {name!r}; {hint}")


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or say which extra brings it.

    Raises:
        MissingExtraError: If the package is absent, with the install line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs the package {module.split('.')[0]!r}, which is not installed: "
            f"pip install 'qworkbench[{extra}]'"
        ) from error
