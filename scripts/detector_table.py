"""The table of docs/detectors.md: every detector of the registry with its defaults, on collider dijets, ten seeds.

    python scripts/detector_table.py

It takes about three minutes of one core, and needs the extra pyod.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from qworkbench.baselines import BASELINES
from qworkbench.datasets import load_dataset
from qworkbench.models.registry import MODELS

SEEDS, N_TRAIN, N_TEST, N_NOISE, N_SPEED = 10, 1000, 3000, 1000, 100_000
SIGNALS = ("graviton_ww", "graviton_hh")


def auc(model: Any, normal: np.ndarray, odd: np.ndarray) -> float:
    """Area under the ROC curve of normal rows against odd ones."""
    scores = model.score_samples(np.concatenate([normal, odd]))
    return float(roc_auc_score(np.repeat([1, 0], [len(normal), len(odd)]), scores))


def with_interval(values: list[float]) -> str:
    """Mean over the seeds and half the width of its 95 % interval."""
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.3f} ± {half:.3f}"


def row(name: str, entry: Any, background: np.ndarray, signals: list[np.ndarray]) -> str:
    """One line of the table."""
    found: list[list[float]] = [[] for _ in signals]
    noise, seconds = [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(background))
        train, test = background[order[:N_TRAIN]], background[order[N_TRAIN : N_TRAIN + N_TEST]]
        start = time.perf_counter()
        model = make_pipeline(StandardScaler(), entry.factory(seed)).fit(train)
        seconds.append(time.perf_counter() - start)
        for values, signal in zip(found, signals, strict=True):
            values.append(auc(model, test, signal))
        box = rng.uniform(train.min(axis=0), train.max(axis=0), (N_NOISE, train.shape[1]))
        noise.append(auc(model, train, box))
    many = np.resize(test, (N_SPEED, test.shape[1]))
    start = time.perf_counter()
    model.score_samples(many)
    scored = time.perf_counter() - start
    cells = [f"`{name}`", entry.summary, *map(with_interval, found), f"{min(noise):.2f}"]
    return f"| {' | '.join(cells)} | {np.median(seconds):.1f} | {scored:.1f} |"


def main() -> None:
    """Print the rows."""
    sets = [load_dataset(f"collider_dijets?task=anomaly&features=physics&signal={signal}") for signal in SIGNALS]
    background = sets[0].X[sets[0].y == "normal"]
    signals = [data.X[data.y == "anomaly"] for data in sets]
    for name, entry in (MODELS | BASELINES).items():
        if entry.task == "anomaly":
            print(row(name, entry, background, signals), flush=True)


if __name__ == "__main__":
    main()
