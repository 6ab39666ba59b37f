"""From exact to device: the backends on which trained quantum models are scored again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qworkbench.backend import Backend
from qworkbench.comparison.costs import running_on
from qworkbench.comparison.scoring import Outputs, measure, outputs
from qworkbench.datasets.base import choose_rows
from qworkbench.errors import MissingExtraError, unknown_name

EXACT = "exact"


@dataclass(frozen=True)
class Rung:
    """One step of the ladder."""

    name: str
    backend: Backend


def rungs(names: Iterable[str], shots: int, noise_backend: str) -> list[Rung]:
    """The steps, the exact one first, since the others are measured against it.

    Args:
        names: ``"exact"`` (Aer without shots), ``"shots"``, ``"noise"``, or the URI of any backend.
        shots: Shots a circuit of ``"shots"``, and of ``"noise"`` unless its URI says.
        noise_backend: The URI of ``"noise"``.

    Raises:
        ValueError: If a name is neither a step nor the URI of a backend.
    """
    if not isinstance(shots, int) or shots < 1:
        raise ValueError(f"expected shots as a whole number of at least 1, got {shots!r}")
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        return []
    noisy = Backend.parse(noise_backend)
    table = {
        EXACT: Backend("aer"),
        "shots": Backend("aer", shots=shots),
        "noise": noisy if noisy.shots else replace(noisy, shots=shots),
    }
    names = dict.fromkeys([EXACT, *wanted])
    made = [Rung(name, table[name] if name in table else Backend.parse(name)) for name in names]
    for rung in made:
        check_backend(rung.backend, (*table,) if rung.name not in table else ())
    return made


def check_backend(backend: str | Backend, also: Iterable[str] = ()) -> None:
    """Refuse an unknown backend, option or device now rather than after the training.

    An extra that is not installed is no reason to refuse: each score that needs it is recorded as failed.

    Args:
        backend: The backend.
        also: Other names to suggest.

    Raises:
        ValueError: If a name is unknown or an option wrong.
    """
    from qworkbench.engines.registry import ENGINES, is_remote, open_engine

    described = Backend.parse(backend)
    if described.name not in ENGINES and not is_remote(described.name):
        raise unknown_name("backend", described.name, [*ENGINES, *also])
    try:
        with open_engine(described):
            pass
    except MissingExtraError:
        return


def rung_rows(y: NDArray, limit: int, task: str, seed: int) -> NDArray[np.intp]:
    """At most ``limit`` row numbers of a test fold, class shares kept; the same for every rung and model."""
    return np.sort(choose_rows(y, min(limit, len(y)), seed, stratify=task != "regression"))


def climb(
    model: Any, rung: Rung, rows: tuple[NDArray[np.float64], NDArray], task: str, seed: int
) -> tuple[dict[str, float | None], dict[str, Any], Outputs]:
    """Score a fitted model on a rung.

    Args:
        model: The fitted pipeline.
        rung: Where.
        rows: Test rows and their target.
        task: What the model is for.
        seed: Of the shots, unless the backend has one.

    Returns:
        Metrics, information and outputs.

    Raises:
        ValueError: If the model ran no circuit there, since then its score says nothing about the backend.
    """
    X, y = rows
    start = time.perf_counter()
    with running_on(model, rung.backend, seed) as usage:
        answer = outputs(model, X, task, one_call=True)
    seconds = time.perf_counter() - start
    if not usage["circuits"]:
        raise ValueError(
            f"the fitted model ran no circuit on {rung.backend}: expected one whose set_params(backend=...) "
            "takes effect after fit"
        )
    return measure(task, y, answer), {"seconds": seconds, **usage}, answer


def change(answer: NDArray[np.float64], exact: NDArray[np.float64]) -> float:
    """Mean absolute change of the outputs."""
    return float(np.abs(answer - exact).mean())
