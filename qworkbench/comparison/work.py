"""The measurements of a cell: tuning trials, the fold, the rungs of the ladder; each gives a record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qworkbench.backend import Backend
from qworkbench.comparison.cells import Cell
from qworkbench.comparison.contestants import backend_parameters
from qworkbench.comparison.costs import COUNTED, added, fit_usage, n_parameters, running_on
from qworkbench.comparison.identity import describe
from qworkbench.comparison.journal import Journal, Measurement
from qworkbench.comparison.ladder import EXACT, Rung, change, climb
from qworkbench.comparison.preprocessing import MODEL, pipeline
from qworkbench.comparison.scoring import Outputs, measure, outputs
from qworkbench.comparison.tuning import Rows, best, inner_folds
from qworkbench.runs import RunRecord

Params = Mapping[str, Any]
MODELS_FOLDER = "models"
"""Folder of a run directory that holds the trained quantum models."""


class Scored(NamedTuple):
    """A model fitted on some rows and scored on others."""

    model: Any
    metrics: dict[str, float | None]
    fit_seconds: float
    predict_seconds: float
    usage: dict[str, int]


def run_cell(cell: Cell, journal: Journal) -> None:
    """Measure what the journal does not hold yet: each trial, then the fold, then each rung."""
    trials = [_trial_record(cell, journal, number) for number in range(len(cell.candidates))]
    params = cell.candidates[best([None if t is None else t.metrics["score"] for t in trials])]
    spec = cell.spec | {"params": describe(params)}
    path = journal.directory.path / MODELS_FOLDER / f"{RunRecord('fold', spec).run_id}.qwb"
    work = partial(_fold, cell, params, [t for t in trials if t is not None], path)
    fold = journal.measured("fold", spec, work, f"{cell.title} · training")
    if fold is None:
        journal.skip(len(cell.rungs))
    else:
        _ladder(cell, params, spec, path, journal)
    cell.model = None  # the next cells need the memory


def _trial_record(cell: Cell, journal: Journal, number: int) -> RunRecord | None:
    params = cell.candidates[number]
    spec = cell.spec | {"params": describe(params), "trial": number}
    title = f"{cell.title} · trial {number + 1}/{len(cell.candidates)}"
    return journal.measured("trial", spec, partial(_trial, cell, params), title)


def _trial(cell: Cell, params: Params) -> Measurement:
    """Mean score of some settings over the inner folds; None if it is undefined in one of them."""
    if len(cell.candidates) == 1:
        return {"score": None}, {"note": "the only settings there are: nothing to choose between"}
    start = time.perf_counter()
    folds = [_scored(cell, params, *rows) for rows in inner_folds(cell.protocol, cell.dataset, cell.split)]
    scores = [fold.metrics[cell.protocol.metric_of(cell.task)] for fold in folds]
    known = [score for score in scores if score is not None]
    usage = added(*(fold.usage for fold in folds))
    info = {"seconds": time.perf_counter() - start, "inner_scores": scores, **usage}
    return {"score": float(np.mean(known)) if len(known) == len(scores) else None}, info


def _scored(cell: Cell, params: Params, train: Rows, test: Rows) -> Scored:
    start = time.perf_counter()
    model = _fitted(cell, params, train)
    fit_seconds = time.perf_counter() - start
    answer, asked = _ask(cell, model, test[0])
    predict_seconds = time.perf_counter() - start - fit_seconds
    metrics = measure(cell.task, test[1], answer)
    return Scored(model, metrics, fit_seconds, predict_seconds, added(fit_usage(model), asked))


def _fitted(cell: Cell, params: Params, train: Rows) -> Any:
    """A pipeline that has seen ``train`` alone, the preprocessing included."""
    model = pipeline(cell.protocol.preprocessing, cell.contestant.build(cell.seed, cell.backend, params))
    X, y = train
    return model.fit(X) if cell.task == "anomaly" else model.fit(X, y)


def _ask(cell: Cell, model: Any, X: NDArray[np.float64]) -> tuple[Outputs, dict[str, int]]:
    """The answer, and the circuits it took if the model runs any on a backend with a name."""
    params = model.get_params()
    backends = [params[key] for key in backend_parameters(model)] if cell.contestant.entry.quantum else []
    if len(backends) != 1 or not isinstance(backends[0], str | Backend):
        return outputs(model, X, cell.task), {}
    with running_on(model, backends[0], cell.seed) as usage:
        answer = outputs(model, X, cell.task, one_call=True)
    return answer, usage


def _fold(cell: Cell, params: Params, trials: Sequence[RunRecord], path: Path) -> Measurement:
    """Fit the chosen settings on the whole training fold, score the test fold, keep the model."""
    fold = _scored(cell, params, cell.train_rows, cell.test_rows)
    cell.model = fold.model
    metrics = {"score": fold.metrics[cell.protocol.metric_of(cell.task)], **fold.metrics}
    tuning = added(*({key: int(t.info[key]) for key in COUNTED if key in t.info} for t in trials))
    info: dict[str, Any] = {
        "fit_seconds": fold.fit_seconds,
        "predict_seconds": fold.predict_seconds,
        "tune_seconds": sum(t.info.get("seconds", 0.0) for t in trials),
        "trials": len(trials),
        "n_parameters": n_parameters(fold.model),
        "n_train": len(cell.split.train),
        "n_test": len(cell.split.test),
        "source": cell.dataset.source,
        **added(tuning, fold.usage),
    }
    curve = getattr(fold.model.named_steps[MODEL], "loss_curve_", None)
    if isinstance(curve, list) and all(isinstance(loss, int | float) for loss in curve):
        info["loss_curve"] = curve
    if cell.contestant.entry.quantum:
        info["tune_circuits"] = tuning.get("circuits", 0)
        info["saved_model"] = _save(cell, path)
    return metrics, info


def _save(cell: Cell, path: Path) -> str | None:
    """Keep the fitted pipeline beside the records; None for a model that a file cannot hold."""
    from qworkbench.bundle import save

    path.parent.mkdir(exist_ok=True)
    table = cell.dataset
    about = {"dataset": table.name, "task": table.task, "features": list(table.feature_names)}
    try:
        save(cell.model, path, info=about | {"model": cell.contestant.name})
    except TypeError:
        return None
    return f"{MODELS_FOLDER}/{path.name}"


def _ladder(cell: Cell, params: Params, fold_spec: dict[str, Any], path: Path, journal: Journal) -> None:
    exact: RunRecord | None = None
    for rung in map(cell.seeded, cell.rungs):
        spec = cell.rung_spec(fold_spec, rung)
        work = partial(_rung, cell, params, path, rung, exact)
        record = journal.measured("rung", spec, work, f"{cell.title} · {rung.name}")
        exact = record if rung.name == EXACT else exact


def _rung(cell: Cell, params: Params, path: Path, rung: Rung, exact: RunRecord | None) -> Measurement:
    """Score the trained model on a rung; its outputs on the exact one are kept to compare the others with."""
    if cell.model is None:
        cell.model = _load(path) or _fitted(cell, params, cell.train_rows)
    metrics, info, answer = climb(cell.model, rung, cell.ladder_rows, cell.task, cell.seed)
    metrics = {"score": metrics[cell.protocol.metric_of(cell.task)], **metrics}
    if rung.name == EXACT:
        return metrics, info | {"outputs": answer.values}
    if exact is not None:
        metrics["mean_abs_output_change"] = change(answer.values, np.asarray(exact.info["outputs"]))
        if metrics["score"] is not None and exact.metrics["score"] is not None:
            metrics["score_change"] = metrics["score"] - exact.metrics["score"]
    return metrics, info


def _load(path: Path) -> Any:
    """The saved model, or None if it cannot be read: training again gives the same one."""
    from qworkbench.bundle import load

    try:
        return load(path)
    except (OSError, ValueError, TypeError):
        return None
