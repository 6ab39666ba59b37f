"""What a report shows, as plain values: results of models, data sets, ladders and reproductions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qworkbench.runs import RunRecord
from qworkbench.stats import Estimate, Verdict

CONFIDENCE = 0.95
"""Level of every interval and decision."""
ROPE = 0.01
"""Half-width of the region of practical equivalence, in units of the score."""
RUNG_ORDER = ("exact", "shots", "transpiled", "noise", "mitigated", "device")
"""From ideal to real; rungs of other names follow."""
Cell = tuple[int, int]
"""(repeat, fold)"""


@dataclass(frozen=True)
class ModelResult:
    """One model on one data set; costs are means over its folds."""

    name: str
    quantum: bool
    scores: dict[Cell, float]
    """(repeat, fold) -> primary metric."""
    mean: float
    estimate: Estimate | None
    """None with fewer than two folds."""
    others: dict[str, float]
    """Means of the other metrics."""
    costs: dict[str, float]
    """``seconds`` (tune + fit + predict), ``circuits``, ``shots``, ``n_parameters``; those recorded."""
    loss_curves: tuple[tuple[float, ...], ...]
    undefined: int
    """Folds whose score was recorded as undefined."""


@dataclass(frozen=True)
class Comparison:
    """One model against the best classical one on the folds both have."""

    model: str
    reference: str
    quantum: bool
    differences: tuple[float, ...]
    gap: Estimate | None
    p_holm: float | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Rung:
    """A trained model re-scored on one backend, averaged over folds."""

    model: str
    rung: str
    backend: str
    mean: float
    estimate: Estimate | None
    change: Estimate | None
    change_mean: float | None
    loss: Estimate | None
    loss_mean: float | None
    gain: Estimate | None
    """Of a mitigated rung: how much closer its outputs are to the exact ones than the noisy rung's at equal shots."""
    extras: dict[str, float]
    """Means of ``std_error``, ``mean_abs_output_change``, ``circuits``, ``seconds``, ``shots``."""


@dataclass(frozen=True)
class DatasetResult:
    """Everything measured on one data set under one protocol; models from best to worst."""

    title: str
    dataset: str
    facts: dict[str, Any]
    protocol: dict[str, Any]
    source: str | None
    models: tuple[ModelResult, ...]
    comparisons: tuple[Comparison, ...]
    rungs: tuple[Rung, ...]
    trials: dict[str, int]
    """Model -> recorded tuning trials of its fullest fold."""
    withheld: tuple[str, ...]
    """Quantum models that have no classical opponent on this data set."""
    repeated: int
    """Older records of a fold that was measured again."""

    @property
    def metric(self) -> str:
        return str(self.protocol.get("metric", "score"))

    def best(self, quantum: bool | None = None) -> ModelResult | None:
        """The model of the highest mean score, among all, the quantum or the classical ones."""
        return next((m for m in self.models if quantum is None or m.quantum == quantum), None)


@dataclass(frozen=True)
class ExperimentRow:
    """One row of a reproduction."""

    label: str
    published: str | float | None
    source: str | None
    metrics: dict[str, tuple[float, float | None]]
    """Name -> mean and half-width of its interval (None for a single record)."""
    count: int
    quantum: bool | None
    model: str | None = None
    sweeps: dict[str, float] = field(default_factory=dict)
    """Quantity -> its value in this row, for the figures of sweeps."""


@dataclass(frozen=True)
class Failure:
    """A cell that raised."""

    where: str
    error: str


@dataclass(frozen=True)
class Evidence:
    """All that a report shows."""

    datasets: tuple[DatasetResult, ...]
    experiments: dict[str, tuple[ExperimentRow, ...]]
    withheld_experiments: tuple[str, ...]
    failures: tuple[Failure, ...]
    sessions: tuple[dict[str, Any], ...]
    records: tuple[RunRecord, ...] = field(repr=False)
