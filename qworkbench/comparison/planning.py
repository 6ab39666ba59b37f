"""What a whole training will cost on a vendor's machine, counted before anything is sent."""

from __future__ import annotations

import contextlib
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
from qworkbench.cloud.registry import open_adapter
from qworkbench.cloud.settings import DEFAULT_SHOTS
from qworkbench.comparison.contestants import backend_parameters
from qworkbench.engines.base import Usage
from qworkbench.engines.mitigation import Mitigation
from qworkbench.engines.registry import is_remote
from qworkbench.engines.remote import check_mitigation
from qworkbench.engines.runners import CircuitEngine, Read, Run
from qworkbench.errors import MissingExtraError

FEWER_SHOTS = 4
"""The plan shows besides what this fraction of the shots would cost."""


class CountingRunner:
    """A ``Runner`` that runs nothing: it counts, and answers that every qubit was as it was prepared, or 0."""

    exact_reads: frozenset[str] = frozenset()
    mitigates = frozenset({"fold", "readout"})

    def __init__(self) -> None:
        self.usage = Usage()
        self.sizes: Counter[tuple[int, int]] = Counter()
        """Circuits of a submission, and shots of each -> how many submissions were like this."""

    def prepare(self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]) -> Run:
        """See ``Runner``."""
        self.usage.add(transpilations=1)
        ones = 2**circuit.num_qubits - 1
        outcomes = [ones if read.kind == "readout" and read.change and read.change.data else 0 for read in reads]

        def run(values: np.ndarray, shots: int | None, seed: int) -> list[list[Any]]:
            self.sizes[len(values) * len(reads), shots or 0] += 1
            return [[{outcome: shots}] * len(values) for outcome in outcomes]

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
        ValueError: If the model runs no circuits, or the vendor would undo the mitigation.
    """
    described = Backend.parse(backend)
    if not backend_parameters(model):
        raise ValueError("expected a model that runs circuits, got one without a backend parameter")
    prices = tariff(described)
    shots = described.shots or DEFAULT_SHOTS
    mitigation = Mitigation.of(described)
    if mitigation.needs and is_remote(described.name):
        with contextlib.suppress(MissingExtraError):  # a plan needs nothing installed
            check_mitigation(described, mitigation, open_adapter(described))
    sizes = _submissions(model, X, y, X_test, shots, mitigation)
    rows = [_row("as asked", sizes, prices)]
    gradients = [key for key in model.get_params() if key.rpartition("__")[2] == "gradient"]
    if gradients and any(model.get_params()[key] != "spsa" for key in gradients):
        spsa = clone(model).set_params(**dict.fromkeys(gradients, "spsa"))
        rows.append(_row("gradient=spsa", _submissions(spsa, X, y, X_test, shots, mitigation), prices))
    fewer: Counter[tuple[int, int]] = Counter()
    for (circuits, each), times in sizes.items():
        fewer[circuits, max(1, each // FEWER_SHOTS)] += times
    rows.append(_row(f"shots={max(1, shots // FEWER_SHOTS)}", fewer, prices))
    return rows, prices


def _submissions(
    model: Any, X: ArrayLike, y: ArrayLike | None, X_test: ArrayLike | None, shots: int, mitigation: Mitigation
) -> Counter[tuple[int, int]]:
    runner = CountingRunner()
    engine = CircuitEngine(runner, shots, 0, "plan", mitigation)
    trial = clone(model)
    # After clone, which would copy the engine and its counter.
    trial.set_params(**dict.fromkeys(backend_parameters(trial), engine))
    trial.fit(X, y)
    if X_test is not None:
        scores = next(name for name in ("predict_proba", "score_samples", "predict") if hasattr(trial, name))
        getattr(trial, scores)(X_test)
    return runner.sizes


def _row(name: str, sizes: Counter[tuple[int, int]], prices: Tariff | None) -> PlanRow:
    limit = None if prices is None else prices.executions_per_task
    tasks: Counter[tuple[int, int]] = Counter()
    for (size, shots), times in sizes.items():
        whole, rest = divmod(size, limit or size)
        tasks[limit or size, shots] += whole * times
        tasks[rest, shots] += times if rest else 0
    tasks = +tasks
    return PlanRow(
        name,
        sum(size * times for (size, _), times in sizes.items()),
        sum(size * shots * times for (size, shots), times in sizes.items()),
        sum(tasks.values()),
        None if prices is None else sum(prices.seconds(*task) * times for task, times in tasks.items()) or None,
        None if prices is None else sum(prices.usd(*task) * times for task, times in tasks.items()),
    )
