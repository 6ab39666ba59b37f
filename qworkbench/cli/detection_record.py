"""A run of ``detect`` as a record, from which its report is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qworkbench.attribution import attribute, method_of
from qworkbench.cli.tally import Tally
from qworkbench.detection import MIN_BACKGROUND, background_rejection, significance_improvement
from qworkbench.models.safeguard import safeguard_summary
from qworkbench.runs import RunRecord, session_record

if TYPE_CHECKING:
    from qworkbench.cli.detectors import Fitted

BINS = 60
POINTS = 200
"""Points of a curve."""
REASONS = 3
"""Features named for a row."""
OCCLUSIONS = 100_000
"""Rows times features for which reasons are found, on either side of the threshold."""
OUTSIDE = 0.001
"""Share of the scores beyond each end of a histogram, counted in its last bin."""


def detection_record(
    fitted: Fitted, tally: Tally, metrics: dict[str, float | None], files: Sequence[str], seconds: float
) -> RunRecord:
    """What the report shows, and nothing that grows with the number of rows."""
    labels = tally.is_anomaly
    spec = {
        "model": fitted.model,
        "features": fitted.features or tuple(f"x{i}" for i in range(len(fitted.centre))),
        "files": list(files),
        "n_train": fitted.n_train,
        "threshold": fitted.threshold,
        "threshold_from": fitted.threshold_from,
    }
    info = {
        "rows": tally.n_rows,
        "flagged": tally.n_flagged,
        "sampled": len(tally.scores),
        "seconds": seconds,
        "histogram": _histogram(tally.scores, labels),
        "curves": None if labels is None else _curves(labels, -tally.scores),
        "losses": _losses(fitted.pipeline[-1]),
        "safeguard": safeguard_summary(fitted.pipeline),
        **_reasons(fitted, tally),
        "session": session_record().info,
    }
    return RunRecord("detection", spec, metrics, info)


def _histogram(scores: NDArray[np.float64], labels: NDArray[np.bool_] | None) -> dict[str, Any]:
    low, high = np.quantile(scores, [OUTSIDE, 1 - OUTSIDE])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    groups = {"rows": scores} if labels is None else {"normal": scores[~labels], "anomaly": scores[labels]}
    return {"edges": edges, "counts": {k: np.histogram(v.clip(low, edges[-1]), edges)[0] for k, v in groups.items()}}


def _curves(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any] | None:
    """Rejection with its interval and significance improvement, by signal efficiency."""
    if np.count_nonzero(~labels) < MIN_BACKGROUND:
        return None
    efficiency = np.linspace(0.02, 1, 50)
    rejection = np.array([background_rejection(labels, scores, e) for e in efficiency])
    known = np.isfinite(rejection).all(axis=1)
    curve = significance_improvement(labels, scores)
    points = np.unique(np.linspace(0, len(curve.efficiency) - 1, POINTS).astype(int))
    return {
        "efficiency": efficiency[known],
        "rejection": rejection[known].T,
        "significance_efficiency": curve.efficiency[points],
        "significance": curve.improvement[points],
    }


def _losses(detector: Any) -> dict[str, list[float]]:
    curves = {"discriminator": "loss_curve_", "generator": "generator_loss_curve_"}
    if not hasattr(detector, "generator_loss_curve_"):
        curves = {"training": "loss_curve_"}
    return {name: list(getattr(detector, key)) for name, key in curves.items() if hasattr(detector, key)}


def _reasons(fitted: Fitted, tally: Tally) -> dict[str, Any]:
    def shares(X: NDArray[np.float64]) -> NDArray[np.float64]:
        return attribute(fitted.pipeline, X, centre=fitted.centre, spread=fitted.spread)

    # Occlusion scores each row once a feature.
    few = max(1, OCCLUSIONS // len(fitted.centre))
    groups = {"flagged": tally.rows(flagged=True)[:few], "others": tally.rows(flagged=False)[:few]}
    worst = shares(np.stack([row[3] for row in tally.worst]))
    rows = []
    for (score, name, number, values), share in zip(tally.worst, worst, strict=True):
        largest = np.argsort(-np.abs(share))[:REASONS]
        why = [{"feature": int(i), "value": values[i], "share": share[i]} for i in largest]
        rows.append({"file": name, "row": number, "score": score, "why": why})
    return {
        "method": method_of(fitted.pipeline),
        "shares": {name: np.abs(shares(X)).mean(axis=0) for name, X in groups.items() if len(X)},
        "worst": rows,
    }
