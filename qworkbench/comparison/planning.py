"""What a whole training will cost on a vendor's machine, counted before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from qiskit.circuit import Parameter, QuantumCircuit
from sklearn.base import clone

from qworkbench.backend import Backend
from qworkbench.cloud.prices import Tariff, tariff
from qworkbench.comparison.contestants import backend_parameters
from qworkbench.engines.base import Usage
from qworkbench.engines.remote import DEFAULT_SHOTS
from qworkbench.engines.runners import CircuitEngine, Read, Run

FEWER_SHOTS = 4
"""The plan shows besides what this fraction of the shots would cost."""


class CountingRunner:
    """A ``Runner`` that runs nothing: it counts, and answers that every qubit was 0."""

    exact_reads: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.usage = Usage()
        self.sizes: Counter[int] = Counter()
        """Circuits of a submission -> how many submissions were of this size."""

    def prepare(self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]) -> Run:
        """See ``Runner``."""
        self.usage.add(transpilations=1)

        def run(values: np.ndarray, shots: int | None, seed: int) -> list[list[Any]]:
            self.sizes[len(values) * len(reads)] += 1
            return [[{0: shots}] * len(values) for _ in reads]

        return run


@dataclass(frozen=True)
class PlanRow:
    """What one way to train needs."""

    name: str
    circuits: int
    shots: int
    """All shots together."""
    tasks: int
    """Jobs at the vendor."""
    seconds: float | None
    """QPU seconds; None if nobody knows."""
    usd: float | None
    """US dollars; None if the vendor publishes no price."""


def plan(
    model: Any, X: ArrayLike, y: ArrayLike | None, backend: str | Backend, X_test: ArrayLike | None = None
) -> tuple[list[PlanRow], Tariff | None]:
    """Count what fitting a model on a backend, and predicting ``X_test`` there, would need and cost.

    The model really goes through its training, on a backend that runs nothing and answers zeros, so the counts are
    those of the training itself; one that stops early needs less.

    Args:
        model: An unfitted estimator or pipeline with a ``backend`` parameter.
        X: Shape ``(N, F)``.
        y: Targets, if the model takes some.
        backend: Where it is meant to run.
        X_test: Shape ``(M, F)``.

    Returns:
        The rows: as asked, with SPSA gradients if the model has gradients, and with a quarter of the shots; and the
        tariff that was used, None if the vendor publishes none.

    Raises:
        ValueError: If the model runs no circuits.
    """
    described = Backend.parse(backend)
    if not backend_parameters(model):
        raise ValueError("expected a model that runs circuits, got one without a backend parameter")
    prices = tariff(described)
    shots = described.shots or DEFAULT_SHOTS
    sizes = _submissions(model, X, y, X_test, shots)
    rows = [_row("as asked", sizes, shots, prices)]
    gradients = [key for key in model.get_params() if key.rpartition("__")[2] == "gradient"]
    if gradients and any(model.get_params()[key] != "spsa" for key in gradients):
        spsa = clone(model).set_params(**dict.fromkeys(gradients, "spsa"))
        rows.append(_row("gradient=spsa", _submissions(spsa, X, y, X_test, shots), shots, prices))
    fewer = max(1, shots // FEWER_SHOTS)
    rows.append(_row(f"shots={fewer}", sizes, fewer, prices))
    return rows, prices


def _submissions(model: Any, X: ArrayLike, y: ArrayLike | None, X_test: ArrayLike | None, shots: int) -> Counter[int]:
    runner = CountingRunner()
    engine = CircuitEngine(runner, shots, 0, "plan")
    trial = clone(model)
    # After clone, which would copy the engine and its counter.
    trial.set_params(**dict.fromkeys(backend_parameters(trial), engine))
    trial.fit(X, y)
    if X_test is not None:
        scores = next(name for name in ("predict_proba", "score_samples", "predict") if hasattr(trial, name))
        getattr(trial, scores)(X_test)
    return runner.sizes


def _row(name: str, sizes: Counter[int], shots: int, prices: Tariff | None) -> PlanRow:
    limit = None if prices is None else prices.executions_per_task
    tasks: Counter[int] = Counter()
    for size, times in sizes.items():
        whole, rest = divmod(size, limit or size)
        tasks[limit or size] += whole * times
        tasks[rest] += times if rest else 0
    tasks = +tasks
    circuits = sum(size * times for size, times in sizes.items())
    return PlanRow(
        name,
        circuits,
        circuits * shots,
        sum(tasks.values()),
        None if prices is None else sum(prices.seconds(size, shots) * times for size, times in tasks.items()) or None,
        None if prices is None else sum(prices.usd(size, shots) * times for size, times in tasks.items()),
    )
