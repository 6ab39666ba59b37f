"""The table of data sets, and loading by name, by URI or from a file."""

from __future__ import annotations

import dataclasses
import inspect
import math
import operator
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, overload
from urllib.parse import quote

from numpy.typing import NDArray

from qworkbench.backend import parse_uri
from qworkbench.datasets import anomalies, generators, images, tables
from qworkbench.datasets.base import Dataset
from qworkbench.datasets.files import read_table
from qworkbench.errors import unknown_name


@dataclass(frozen=True)
class DatasetEntry:
    """A row of :data:`DATASETS`; the options are the keyword arguments of the loader."""

    loader: Callable[..., Dataset]
    """Options -> data set."""
    task: str
    """The task by default."""
    summary: str
    """One line for ``qworkbench datasets``."""

    @property
    def options(self) -> dict[str, Any]:
        """Option -> default."""
        return {key: parameter.default for key, parameter in _parameters(self.loader).items()}


def _classes(loader: Callable[..., Dataset], summary: str) -> DatasetEntry:
    return DatasetEntry(loader, "classification", summary)


DATASETS: dict[str, DatasetEntry] = {
    "iris": _classes(partial(tables.sklearn_classes, "iris"), "three species of iris by 4 sizes; 150 rows"),
    "wine": _classes(partial(tables.sklearn_classes, "wine"), "three growers by 13 analyses; 178 rows"),
    "breast_cancer": _classes(
        partial(tables.sklearn_classes, "breast_cancer"), "malignant or benign by 30 measurements; 569 rows"
    ),
    "digits": _classes(partial(tables.sklearn_classes, "digits"), "handwritten digits of 8 x 8 pixels; 1,797 rows"),
    "diabetes": DatasetEntry(tables.diabetes, "regression", "disease progression by 10 measurements; 442 rows"),
    "collider_dijets": _classes(
        tables.collider_dijets, "proton collisions: QCD against a graviton, 16 features; also task=anomaly"
    ),
    "fashion_mnist": _classes(images.fashion_mnist, "clothes of 28 x 28 pixels; 2,500 shipped, all by path="),
    "mnist": _classes(images.mnist, "handwritten digits of 28 x 28 pixels; by path= only"),
    "shuttle": DatasetEntry(anomalies.shuttle, "anomaly", "space shuttle by 9 sensors; 49,097 rows, 7 % anomalies"),
    "quark_gluon_jets": _classes(
        anomalies.quark_gluon_jets, "jets of quarks and gluons, 13 features; extra hep; also task=anomaly"
    ),
    "lhc_olympics": DatasetEntry(anomalies.lhc_olympics, "anomaly", "LHC Olympics 2020 features; by path= only"),
    "keel": DatasetEntry(anomalies.keel, "anomaly", "table= of the KEEL repository, one class normal; extra tables"),
    "ad_hoc": _classes(generators.ad_hoc, "made for the ZZ kernel (Havlicek et al. 2019)"),
    "moons": _classes(generators.moons, "two half circles"),
    "circles": _classes(generators.circles, "a circle in a circle"),
    "blobs": _classes(generators.blobs, "Gaussian clouds"),
    "linearly_separable": _classes(generators.linearly_separable, "sign of the sum of the features"),
    "hidden_manifold": _classes(generators.hidden_manifold, "a random network of hidden coordinates"),
    "two_curves": _classes(generators.two_curves, "two close curves in many dimensions"),
    "hyperplanes": _classes(generators.hyperplanes, "parity of the hyperplanes below a point"),
    "bars_and_stripes": _classes(generators.bars_and_stripes, "noisy images of columns or rows"),
}


@overload
def load_dataset(name: str | os.PathLike[str], *, return_X_y: Literal[False] = False, **options: Any) -> Dataset: ...
@overload
def load_dataset(
    name: str | os.PathLike[str], *, return_X_y: Literal[True], **options: Any
) -> tuple[NDArray, NDArray]: ...
def load_dataset(
    name: str | os.PathLike[str], *, return_X_y: bool = False, **options: Any
) -> Dataset | tuple[NDArray, NDArray]:
    """A data set by name, or from a file.

    ``load_dataset("moons?noise=0.2&seed=3")`` or ``load_dataset("moons", noise=0.2, seed=3)``; for a table of
    your own ``load_dataset("path/to/table.csv?target=label")``, whose options are those of
    :func:`~qworkbench.datasets.files.read_table`.

    Args:
        name: A key of :data:`DATASETS` or a file, with options as in a URI.
        return_X_y: Return the two arrays instead.
        **options: Further options; they win over those in ``name``.

    Raises:
        ValueError: If the name or an option is unknown (with the nearest), or a value does not fit.
        FileNotFoundError: If a file does not exist.
    """
    base, _, query = os.fspath(name).strip().partition("?")
    # A file name may hold a colon, which in a backend's URI would be the target.
    given = (parse_uri(f"file?{query}")[2] if query else {}) | options
    loader: Callable[..., Dataset]
    if _is_file(base):
        title, loader = Path(base).name, partial(read_table, base)
    elif base in DATASETS:
        title, loader = base, DATASETS[base].loader
    else:
        raise unknown_name("data set", base, DATASETS)
    known = _parameters(loader)
    values = {key: _converted(title, key, value, known) for key, value in given.items()}
    dataset = loader(**values)
    changed = {k: v for k, v in sorted(values.items()) if v != known[k].default and k != "path"}
    query = "&".join(f"{key}={quote(_text(value), safe=',.-')}" for key, value in changed.items())
    dataset = dataclasses.replace(dataset, name=f"{title}?{query}" if query else title)
    return (dataset.X, dataset.y) if return_X_y else dataset


def _is_file(base: str) -> bool:
    return "." in base or "/" in base or os.sep in base


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _parameters(loader: Callable[..., Dataset]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(loader, eval_str=True).parameters)


def _converted(title: str, key: str, value: Any, known: dict[str, inspect.Parameter]) -> Any:
    if key not in known:
        listed = ", ".join(f"{k}={p.default!r}" for k, p in known.items())
        raise ValueError(f"{unknown_name('option', key, known)}; options of {title}: {listed}")
    hint = known[key].annotation
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    kind = kinds[0]
    try:
        converted = _CONVERTERS.get(kind, _names)(value)
    except (TypeError, ValueError):
        raise ValueError(f"expected {_EXPECTED.get(kind, 'names')} for {key!r}, got {value!r}") from None
    lowest = 1 if kind is int and key != "seed" else 0
    if kind in (int, float) and not lowest <= converted < math.inf:
        raise ValueError(f"expected {key} of at least {lowest}, got {value!r}")
    return converted


def _integer(value: Any) -> int:
    return int(value) if isinstance(value, str) else operator.index(value)


def _names(value: str | Iterable[Any]) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts)


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {int: _integer, float: float, str: os.fspath}
_EXPECTED = {int: "a whole number", float: "a number", str: "text"}
