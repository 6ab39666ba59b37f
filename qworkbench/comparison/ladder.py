"""From exact to device: the backends on which trained quantum models are scored again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qworkbench.backend import Backend
from qworkbench.comparison.costs import running_on
from qworkbench.comparison.scoring import Outputs, loss, measure, outputs
from qworkbench.datasets.base import choose_rows
from qworkbench.errors import MissingExtraError, unknown_name

EXACT = "exact"
MITIGATION = "readout,zne"


@dataclass(frozen=True)
class Rung:
    """One step of the ladder."""

    name: str
    backend: Backend


def rungs(
    names: Iterable[str] | None, shots: int, noise_backend: str, mitigation: str = MITIGATION, device: str | None = None
) -> list[Rung]:
    """The steps, the exact one first, since the others are measured against it.

    Args:
        names: ``"exact"`` (Aer without shots), ``"shots"``, ``"transpiled"`` (the noisy device's gates and coupling,
            exact), ``"noise"``, ``"mitigated"`` (the same noise and shots, mitigated), ``"device"``, or the URI of any
            backend; None for all that the other settings allow.
        shots: Shots a circuit of ``"shots"``, and of the others unless their URI says.
        noise_backend: The URI of ``"noise"``.
        mitigation: What ``"mitigated"`` does; see ``Mitigation.of``.
        device: The URI of ``"device"``.

    Raises:
        ValueError: If a name is neither a step nor the URI of a backend, or the noise is that of no device.
    """
    if not isinstance(shots, int) or shots < 1:
        raise ValueError(f"expected shots as a whole number of at least 1, got {shots!r}")
    noisy = _with_shots(noise_backend, shots)
    if names is None:
        names = _possible(noisy, device)
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        return []
    if {"transpiled", "noise", "mitigated"} & set(wanted):
        check_backend(noisy)
    table: dict[str, Callable[[], Backend]] = {
        EXACT: lambda: Backend("aer"),
        "shots": lambda: Backend("aer", shots=shots),
        "transpiled": lambda: _without_errors(noisy),
        "noise": lambda: noisy,
        "mitigated": lambda: replace(noisy, options=tuple({**dict(noisy.options), "mitigation": mitigation}.items())),
        "device": lambda: _with_shots(_named_device(device), shots),
    }
    names = dict.fromkeys([EXACT, *wanted])
    made = [Rung(name, table[name]() if name in table else Backend.parse(name)) for name in names]
    for rung in made:
        check_backend(rung.backend, (*table,) if rung.name not in table else ())
    return made


def _possible(noisy: Backend, device: str | None) -> list[str]:
    """The steps by default: what takes a device where the noise is that of one, and ``device`` where it is given."""
    steps = [EXACT, "shots"]
    if _device_name(noisy) is not None:
        steps.append("transpiled")
    steps.append("noise")
    if noisy.name in ("aer", "generic", "ibm-fake"):
        steps.append("mitigated")
    return [*steps, "device"] if device else steps


def _with_shots(backend: str, shots: int) -> Backend:
    described = Backend.parse(backend)
    return described if described.shots else replace(described, shots=shots)


def _named_device(device: str | None) -> str:
    if device is None:
        raise ValueError("expected the URI of a backend in device= (--device) for the rung 'device', got none")
    return device


def _device_name(noisy: Backend) -> str | None:
    """The device whose noise it is, as Aer's option ``device`` takes it; None if it is that of none."""
    if noisy.name in ("generic", "ibm-fake"):
        return f"generic:{noisy.target}" if noisy.name == "generic" else noisy.target
    named = noisy.option("noise") if noisy.name == "aer" else None
    return None if named is None or named.startswith("depolarizing") else named


def _without_errors(noisy: Backend) -> Backend:
    """The same gates and coupling map, exact: what changes is the transpiler's doing."""
    named = _device_name(noisy)
    if named is None:
        raise ValueError(
            f"expected the noise of a device for the rung 'transpiled', got {str(noisy)!r}; leave that rung out"
        )
    kept = [(key, value) for key, value in noisy.options if key == "optimization_level"]
    return Backend("aer", options=(("device", named), *kept))


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
    return measure(task, y, answer) | {"loss": loss(task, y, answer)}, {"seconds": seconds, **usage}, answer


def change(answer: NDArray[np.float64], exact: NDArray[np.float64]) -> float:
    """Mean absolute change of the outputs."""
    return float(np.abs(answer - exact).mean())
