"""Detectors for ``detect``: what trains them, where the threshold lies, and the saved ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qworkbench.cli.rows import Rows, RowStream

HELD_OUT = 0.3
"""Share of the normal rows held out: of a labelled data set to be scored, and for ``--false-alarms``."""


@dataclass(frozen=True)
class Fitted:
    """A trained pipeline and what is known of its training rows."""

    pipeline: Any
    model: str
    features: tuple[str, ...]
    threshold: float
    """Rows that score lower are flagged."""
    centre: list[float]
    """Medians of the training rows."""
    spread: list[float]
    """Their standard deviations, 1 where constant."""
    n_train: int
    threshold_from: str
    """How the threshold was set, in words."""


def with_contamination(model: str, params: dict[str, Any], contamination: float | None) -> dict[str, Any]:
    """The parameters, with the contamination for those models that set their threshold by it."""
    from qworkbench.cli.shared import build

    if contamination is None or "contamination" not in build(model, "anomaly", {}, [], None, 0)[-1].get_params():
        return params
    return params | {"contamination": contamination}


def trained(
    detector: Any,
    background: Rows,
    shares: tuple[float | None, float | None],
    model: str,
    seed: int,
    save: Path | None,
) -> Fitted:
    import numpy as np

    from qworkbench.models.density_detectors import ThresholdedDetector

    if save is not None:
        from qworkbench.bundle import check_savable

        check_savable(detector)
    contamination, false_alarms = shares
    held_out, X = None, background.X
    if false_alarms is not None:
        if contamination is not None:
            raise ValueError("--contamination and --false-alarms both set the threshold; give one")
        X, held_out = _hold_out(X, false_alarms, seed)
    detector.fit(X)
    threshold, words = _threshold(detector, X, held_out, shares)
    if isinstance(detector[-1], ThresholdedDetector):
        # So that its own predict says the same. (The scores of scikit-learn's OneClassSVM contain its offset.)
        detector[-1].offset_ = threshold
    spread = X.std(axis=0)
    fitted = Fitted(
        pipeline=detector,
        model=model,
        features=background.names,
        threshold=threshold,
        centre=np.median(X, axis=0).tolist(),
        # Rounding leaves a constant feature with a spread that is tiny against its value.
        spread=np.where(spread > 1e-12 * np.abs(X.mean(axis=0)), spread, 1.0).tolist(),
        n_train=len(X),
        threshold_from=words,
    )
    if save is not None:
        from qworkbench.bundle import save as write

        kept = {field.name: getattr(fitted, field.name) for field in fields(fitted) if field.name != "pipeline"}
        write(detector, save, info={**kept, "target": None, "task": "anomaly"})
    return fitted


def _hold_out(X: Any, false_alarms: float, seed: int) -> tuple[Any, Any]:
    from sklearn.model_selection import train_test_split

    if not 0 < false_alarms < 1:
        raise ValueError(f"expected --false-alarms in (0, 1), got {false_alarms}")
    n_held_out = int(HELD_OUT * len(X))
    if n_held_out * false_alarms < 1:
        raise ValueError(
            f"expected at least {int(1 / (false_alarms * HELD_OUT)) + 1} training rows to set --false-alarms "
            f"{false_alarms:g} on {HELD_OUT:.0%} of them, got {len(X)}"
        )
    return train_test_split(X, test_size=n_held_out, random_state=seed)


def _threshold(detector: Any, X: Any, held_out: Any, shares: tuple[float | None, float | None]) -> tuple[float, str]:
    import numpy as np

    contamination, false_alarms = shares
    if false_alarms is not None:
        value = np.quantile(detector.score_samples(held_out), false_alarms)
        return float(value), f"{false_alarms:g} of {len(held_out):,} normal rows held out from training lie beyond it"
    if contamination is not None and "contamination" not in detector[-1].get_params():
        if not 0 < contamination <= 0.5:
            raise ValueError(f"expected --contamination in (0, 0.5], got {contamination}")
        return float(
            np.quantile(detector.score_samples(X), contamination)
        ), f"{contamination:g} of the training rows lie beyond it"
    offset = getattr(detector[-1], "offset_", None)
    if offset is None:  # by scikit-learn's contract the decision is the score minus the offset
        offset = detector.score_samples(X[:1]) - detector.decision_function(X[:1])
    offset = float(np.ravel(offset)[0])
    if contamination is not None:
        return offset, f"{contamination:g} of the training rows lie beyond it"
    return offset, "the detector's default"


def saved(file: str, backend: str | None) -> Fitted:
    import numpy as np
    from sklearn.pipeline import Pipeline, make_pipeline

    from qworkbench.bundle import load, read_info

    info = read_info(file)
    if info.get("task", "anomaly") != "anomaly":
        raise ValueError(f"{file} is no detector of anomalies: qworkbench predict {file} SCORE")
    pipeline = load(file, backend=backend)
    if not isinstance(pipeline, Pipeline):  # saved from Python, without a scaler
        pipeline = make_pipeline(pipeline)
    width = pipeline.n_features_in_
    threshold = info.get("threshold")
    return Fitted(
        pipeline=pipeline,
        model=info.get("model", "detector"),
        features=tuple(info.get("features") or ()),
        threshold=float(np.ravel(pipeline[-1].offset_)[0]) if threshold is None else threshold,
        centre=info.get("centre") or [0.0] * width,
        spread=info.get("spread") or [1.0] * width,
        n_train=info.get("n_train", 0),
        threshold_from=info.get("threshold_from", "as saved"),
    )


def opened(score: Sequence[str], features: Sequence[str]) -> list[RowStream]:
    """All files are looked at before the first is read."""
    from qworkbench.cli.rows import open_rows

    return [open_rows(data, features or None) for data in score]


def background_and_scored(
    train: str, score: Sequence[str] | None, seed: int, max_train: int | None
) -> tuple[Rows, list[RowStream]]:
    """Rows to train on and rows to score."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    from qworkbench.cli.rows import Rows, in_memory, labelled, open_rows, sample_rows, says_normal
    from qworkbench.datasets import load_dataset

    if says_normal(train):
        train += "&task=anomaly"
    if not labelled(train):
        stream = open_rows(train)
        background = sample_rows(stream, max_train, seed)
        return background, [stream] if not score else opened(score, background.names)
    dataset = load_dataset(train)
    if dataset.task != "anomaly":
        raise ValueError(
            f"{dataset.name} is for {dataset.task}; a data set to detect anomalies in has task=anomaly, "
            "a file also normal=LABEL"
        )
    normal = np.flatnonzero(dataset.y == "normal")
    names, kept, streams = dataset.feature_names, normal, []
    if score:
        streams = opened(score, names)
    else:
        kept, held_out = train_test_split(normal, test_size=HELD_OUT, random_state=seed)
        scored = np.sort(np.concatenate([held_out, np.flatnonzero(dataset.y != "normal")]))
        streams = [in_memory(dataset.name, Rows(dataset.X[scored], names, dataset.y[scored]))]
    if max_train is not None and max_train < len(kept):
        kept = np.random.default_rng(seed).choice(kept, max_train, replace=False)
    return Rows(dataset.X[kept], names, None), streams
