"""Records with realistic numbers, made from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from qworkbench.runs import RunRecord, session_record

PROTOCOL = {
    "folds": 5,
    "repeats": 2,
    "trials": 8,
    "inner_folds": 3,
    "metric": "accuracy",
    "preprocessing": "standardise, PCA to 4",
    "max_train": 400,
    "seed": 0,
}
MODELS: dict[str, tuple[bool, float, float, float]] = {  # quantum, mean score, seconds, circuits
    "rbf_svm": (False, 0.924, 0.4, 0),
    "gradient_boosting": (False, 0.917, 3.1, 0),
    "random_forest": (False, 0.909, 2.2, 0),
    "mlp": (False, 0.905, 5.0, 0),
    "logistic_regression": (False, 0.861, 0.1, 0),
    "hybrid": (True, 0.903, 41.0, 96_000),
    "quantum_kernel": (True, 0.893, 12.0, 61_000),
    "variational": (True, 0.852, 64.0, 210_000),
}
RUNGS = (
    ("exact", "statevector", None, 0.0),
    ("shots", "aer?shots=1024", 1024, -0.006),
    ("noise", "aer?noise=fake_torino&shots=1024", 1024, -0.041),
)
Make = Callable[..., list[RunRecord]]


def spec_of(dataset: str, model: str, repeat: int, fold: int, **more: Any) -> dict[str, Any]:
    quantum = MODELS.get(model, (False, 0, 0, 0))[0]
    return {
        "dataset": dataset,
        "dataset_fingerprint": f"{dataset[:4]}c0ffee",
        "n_samples": 500,
        "n_features": 12,
        "model": model,
        "quantum": quantum,
        "task": "classification",
        "fold": fold,
        "repeat": repeat,
        "seed": 100 * repeat + fold,
        "backend": f"statevector?seed={fold}" if quantum else None,
        "params": {"C": 1.0},
        "protocol": PROTOCOL,
        **more,
    }


def _fold(dataset: str, model: str, cell: tuple[int, int], score: float, rng: np.random.Generator) -> RunRecord:
    quantum, _, seconds, circuits = MODELS[model]
    info: dict[str, Any] = {
        "tune_seconds": 0.8 * seconds * rng.uniform(0.9, 1.1),
        "fit_seconds": 0.15 * seconds,
        "predict_seconds": 0.05 * seconds,
        "n_parameters": 48 if quantum else None,
    }
    if circuits:
        info["circuits"] = circuits
    if quantum and model != "quantum_kernel":
        decay = 0.62 * np.exp(-np.arange(30) / 9) + 0.24
        info["loss_curve"] = decay + rng.normal(0, 0.012, 30)
    metrics = {"score": score, "balanced_accuracy": score - 0.004, "roc_auc": min(0.995, score + 0.045)}
    return RunRecord("fold", spec_of(dataset, model, *cell), metrics, info)


def _rungs(dataset: str, model: str, cell: tuple[int, int], score: float, rng: np.random.Generator) -> list[RunRecord]:
    made = []
    for rung, backend, shots, loss in RUNGS:
        change = 0.0 if rung == "exact" else loss + rng.normal(0, 0.008)
        spec = spec_of(dataset, model, *cell, rung=rung, backend=f"{backend}", shots=shots)
        metrics: dict[str, float | None] = {"score": score + change, "score_change": change}
        if rung != "exact":
            metrics |= {"std_error": 0.031, "mean_abs_output_change": 0.02 - loss}
        made.append(RunRecord("rung", spec, metrics, {"seconds": 2.0 + 40 * (rung == "noise"), "circuits": 100}))
    return made


@pytest.fixture(scope="session")
def fold_spec() -> Callable[..., dict[str, Any]]:
    """``fold_spec(dataset, model, repeat, fold, **more)`` -> the spec of a fold."""
    return spec_of


@pytest.fixture(scope="session")
def make() -> Make:
    """``make(dataset, models, shift=..., repeats=..., folds=..., rungs=...)`` -> records."""

    def made(
        dataset: str,
        models: Sequence[str] = tuple(MODELS),
        *,
        shift: float = 0.0,
        repeats: int = 2,
        folds: int = 5,
        rungs: bool = True,
        seed: int = 0,
    ) -> list[RunRecord]:
        rng = np.random.default_rng(seed)
        records = []
        for cell in [(r, f) for r in range(repeats) for f in range(folds)]:
            common = rng.normal(0, 0.015)
            for model in models:
                quantum, mean, _, _ = MODELS[model]
                score = mean + common + rng.normal(0, 0.009) + shift * quantum
                records.append(_fold(dataset, model, cell, round(score, 4), rng))
                if quantum and rungs:
                    records += _rungs(dataset, model, cell, round(score, 4), rng)
        return records

    return made


@pytest.fixture(scope="session")
def everything(make: Make) -> list[RunRecord]:
    """Three data sets, a reproduction, failures, trials and a session."""
    few = ["rbf_svm", "logistic_regression", "hybrid"]
    records = make("collider_dijets") + make("two_moons", few, shift=0.06, seed=1, rungs=False)
    records += make("iris", few, shift=0.02, seed=2, rungs=False)
    rows = (("exact", True, "1.00"), ("1,024 shots", True, None), ("RBF-SVM", False, "not given"))
    for seed in range(4):
        for row, quantum, published in rows:
            spec = {"experiment": "adhoc_kernel", "row": row, "quantum": quantum, "seed": seed}
            info = {"published": published, "source": "Havlíček et al., Nature 567, 209 (2019)"}
            score = {"exact": 1.0, "1,024 shots": 0.995, "RBF-SVM": 0.62}[row] - 0.01 * (seed % 2)
            records.append(RunRecord("experiment", spec, {"score": score, "margin": 0.3}, info))
    for trial in range(8):
        spec = spec_of("collider_dijets", "rbf_svm", 0, 0, trial=trial, params={"C": 2.0**trial})
        records.append(RunRecord("trial", spec, {"score": 0.9}, {"seconds": 0.1}))
    spec = {"dataset": "iris", "model": "mlp", "fold": 3}
    records.append(RunRecord("failure", spec, {}, {"error": "ValueError: expected 4 features, got 3"}))
    sources = {"collider_dijets": "Simulated dijet events, Zenodo 7673769, CC-BY 4.0."}
    records.append(session_record("qworkbench compare collider_dijets two_moons iris", sources=sources))
    return records
