"""Who takes part: models by name, and estimators of the user's own, as rows of one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sklearn.base import clone
from sklearn.utils import get_tags

from qworkbench.catalog import ModelEntry
from qworkbench.errors import unknown_name

Given = str | tuple[str, Any]
"""A name from the tables, or ``(name, estimator)``."""

_TASKS = {"classifier": "classification", "regressor": "regression", "outlier_detector": "anomaly"}


@dataclass(frozen=True)
class Contestant:
    """A model under the name that records show."""

    name: str
    entry: ModelEntry

    def build(self, seed: int, backend: str | None, params: Mapping[str, Any] | None = None) -> Any:
        """The unfitted estimator with ``params``, on ``backend`` if given and if the model runs circuits."""
        model = self.entry.factory(seed).set_params(**(params or {}))
        if backend is not None and self.entry.quantum:
            model.set_params(**dict.fromkeys(backend_parameters(model), backend))
        return model


def backend_parameters(model: Any) -> list[str]:
    """The parameters, nested ones included, that say where circuits run."""
    return [key for key in model.get_params() if key.rpartition("__")[2] == "backend"]


def known_models() -> dict[str, ModelEntry]:
    """Quantum models and classical baselines by name."""
    from qworkbench.baselines import BASELINES
    from qworkbench.models.registry import MODELS

    return MODELS | BASELINES


def contestants(models: Iterable[Given] | Mapping[str, Any] | None, tasks: Sequence[str]) -> list[Contestant]:
    """The models to compare, checked; for None all that fit the tasks and need no extra.

    Raises:
        ValueError: If a name is unknown or occurs twice, a search space does not fit its model, or a task has
            no model or a model no task.
        TypeError: If an estimator is none.
    """
    known = known_models()
    if models is None:
        found = [
            Contestant(name, entry) for name, entry in known.items() if entry.task in tasks and entry.extra is None
        ]
    else:
        found = [_contestant(item, known) for item in _items(models)]
    _check_names([c.name for c in found])
    for contestant in found:
        _check_space(contestant)
        if contestant.entry.task not in tasks:
            raise ValueError(
                f"the model {contestant.name!r} is for {contestant.entry.task}, but the data sets are for "
                f"{', '.join(sorted(set(tasks)))}"
            )
    for task in tasks:
        if not any(c.entry.task == task for c in found):
            fitting = [name for name, entry in known.items() if entry.task == task]
            raise ValueError(f"no model was given for {task}; expected one of {', '.join(fitting)}")
    return found


def _items(models: Iterable[Given] | Mapping[str, Any]) -> Iterable[Given]:
    if isinstance(models, Mapping):
        return models.items()
    return [models] if isinstance(models, str) else models


def _contestant(item: Given, known: Mapping[str, ModelEntry]) -> Contestant:
    name, value = (item, item) if isinstance(item, str) else item
    if isinstance(value, str):
        if value not in known:
            raise unknown_name("model", value, known)
        return Contestant(name, known[value])
    if isinstance(value, ModelEntry):
        return Contestant(name, value)
    return Contestant(name, _entry_of(name, value))


def _entry_of(name: str, estimator: Any) -> ModelEntry:
    if isinstance(estimator, type) or not hasattr(estimator, "get_params") or not hasattr(estimator, "fit"):
        raise TypeError(f"expected a scikit-learn estimator or a ModelEntry for {name!r}, got {estimator!r}")
    kind = get_tags(estimator).estimator_type
    if kind not in _TASKS:
        raise TypeError(
            f"expected a classifier, regressor or outlier detector for {name!r}, got "
            f"{type(estimator).__name__}; "
            "inherit from one of scikit-learn's mixins, or pass a ModelEntry, which names the task"
        )
    return ModelEntry(
        partial(_seeded_clone, estimator),
        _TASKS[kind],
        f"{type(estimator).__name__}, given by the user",
        quantum=bool(backend_parameters(estimator)),
    )


def _seeded_clone(estimator: Any, seed: int) -> Any:
    """A clone; a ``random_state`` that the user left open becomes ``seed``."""
    made = clone(estimator)
    params = made.get_params()
    left_open = [key for key in params if key.rpartition("__")[2] == "random_state" and params[key] is None]
    return made.set_params(**dict.fromkeys(left_open, seed))


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected each model name once, got twice: {', '.join(twice)}")


def _check_space(contestant: Contestant) -> None:
    params = contestant.build(0, None).get_params()
    for key in contestant.entry.space:
        if key not in params:
            raise unknown_name(f"parameter in the search space of {contestant.name!r}", key, params)
