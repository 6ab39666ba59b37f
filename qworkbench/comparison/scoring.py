"""What a fitted model says about test rows, and how good that is; of a primary metric more is better."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from qworkbench.detection import EFFICIENCIES, background_rejection

METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc"),
    "regression": ("r2", "neg_mean_absolute_error", "neg_root_mean_squared_error"),
    "anomaly": ("roc_auc", "average_precision"),
}
"""Task -> what can be its primary metric; the first is the default."""

ANOMALY = "anomaly"


class Outputs(NamedTuple):
    """A model's answer for ``N`` rows."""

    values: NDArray[np.float64]
    """Probabilities ``(N, C)``, decision values ``(N,)`` or ``(N, C)``, predictions ``(N,)`` of regression;
    of anomalies the score ``(N,)``, higher meaning more normal."""
    labels: NDArray | None
    """Predicted classes ``(N,)``."""
    classes: NDArray | None
    probabilities: bool
    """Whether ``values`` are class probabilities."""


def outputs(model: Any, X: NDArray[np.float64], task: str, *, one_call: bool = False) -> Outputs:
    """Ask a fitted model about ``X`` of shape ``(N, F)``.

    Args:
        model: The fitted model or pipeline.
        X: The rows.
        task: What the model is for.
        one_call: Take the labels from the scores instead of calling ``predict`` too, which on a device would
            run every circuit twice and draw other shots. Right for models whose ``predict`` is the arg max.

    Raises:
        TypeError: If a detector scores nothing.
    """
    if task == "regression":
        return Outputs(np.asarray(model.predict(X), dtype=np.float64), None, None, False)
    if task == "anomaly":
        score = getattr(model, "score_samples", None) or getattr(model, "decision_function", None)
        if score is None:
            raise TypeError(f"expected a detector with score_samples or decision_function, got {model!r}")
        return Outputs(np.asarray(score(X), dtype=np.float64), None, None, False)
    probabilities = hasattr(model, "predict_proba")
    score = model.predict_proba if probabilities else getattr(model, "decision_function", None)
    if score is None:
        labels = np.asarray(model.predict(X))
        return Outputs((labels[:, None] == model.classes_).astype(np.float64), labels, model.classes_, False)
    values = np.asarray(score(X), dtype=np.float64)
    labels = best_labels(values, model.classes_) if one_call else np.asarray(model.predict(X))
    return Outputs(values, labels, model.classes_, probabilities)


def best_labels(values: NDArray[np.float64], classes: NDArray) -> NDArray:
    """The class of the highest value of each row, or that on its side of 0; shape ``(N,)``."""
    index = (values > 0).astype(int) if values.ndim == 1 else values.argmax(axis=1)
    return classes[index]


def measure(task: str, y: NDArray, answer: Outputs) -> dict[str, float | None]:
    """All metrics of the task by name; None where one is undefined.

    Raises:
        ValueError: If the answer is not finite.
    """
    if not np.isfinite(answer.values).all():
        raise ValueError("expected finite outputs from the model, got NaN or infinity")
    found = _MEASURES[task](y, answer)
    return {name: float(v) if v is not None and math.isfinite(v) else None for name, v in found.items()}


def loss(task: str, y: NDArray, answer: Outputs) -> float | None:
    """Mean loss of the answer: less is better; None where a target says nothing about it, as for anomalies.

    Cross entropy of probabilities, the hinge loss of decision values, the squared error of regression.
    """
    if task == "regression":
        return float(sk.mean_squared_error(y, answer.values))
    if task != "classification" or answer.classes is None:
        return None
    if answer.probabilities:
        return float(sk.log_loss(y, answer.values, labels=answer.classes))
    return float(np.maximum(0, 1 - _margins(y, answer.values, answer.classes)).mean())


def _margins(y: NDArray, values: NDArray[np.float64], classes: NDArray) -> NDArray[np.float64]:
    """By how much each row's true class leads, shape ``(N,)`` (Crammer & Singer 2001 for more than two classes)."""
    if values.ndim == 1:
        return np.where(y == classes[1], values, -values)
    true = y[:, None] == classes
    return values[true] - np.where(true, -np.inf, values).max(axis=1)


def _classification(y: NDArray, answer: Outputs) -> dict[str, float | None]:
    return {
        "accuracy": sk.accuracy_score(y, answer.labels),
        "balanced_accuracy": sk.balanced_accuracy_score(y, answer.labels),
        "f1_macro": sk.f1_score(y, answer.labels, average="macro", zero_division=0),
        "roc_auc": _roc_auc(y, answer),
        "log_loss": sk.log_loss(y, answer.values, labels=answer.classes) if answer.probabilities else None,
    }


def _roc_auc(y: NDArray, answer: Outputs) -> float | None:
    """One against the rest, averaged over classes; beyond two classes it takes probabilities."""
    assert answer.classes is not None
    if len(answer.classes) == 2:
        scores = answer.values if answer.values.ndim == 1 else answer.values[:, 1]
        return float(sk.roc_auc_score(y == answer.classes[1], scores))
    if not answer.probabilities:
        return None
    return float(sk.roc_auc_score(y, answer.values, multi_class="ovr", labels=answer.classes))


def _regression(y: NDArray, answer: Outputs) -> dict[str, float | None]:
    return {
        "r2": sk.r2_score(y, answer.values),
        "neg_mean_absolute_error": -sk.mean_absolute_error(y, answer.values),
        "neg_root_mean_squared_error": -sk.root_mean_squared_error(y, answer.values),
    }


def _anomaly(y: NDArray, answer: Outputs) -> dict[str, float | None]:
    is_anomaly, scores = y == ANOMALY, -answer.values
    found: dict[str, float | None] = {
        "roc_auc": sk.roc_auc_score(is_anomaly, scores),
        "average_precision": sk.average_precision_score(is_anomaly, scores),
    }
    enough = min(is_anomaly.sum(), (~is_anomaly).sum()) >= 2
    for share in EFFICIENCIES:
        found[f"rejection_{share:g}"] = background_rejection(is_anomaly, scores, share).value if enough else None
    return found


_MEASURES = {"classification": _classification, "regression": _regression, "anomaly": _anomaly}
