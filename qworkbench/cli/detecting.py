"""``detect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qworkbench.cli.console import interruptible, note
from qworkbench.cli.options import STANDARDIZE, BackendOption, Budget, Json, Param, Preprocessing, Seed
from qworkbench.cli.shared import allow_spending, build, check_width, check_writable, deliver, parsed

SUFFIX = ".qwb"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(detect)


def detect(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Background rows, or a saved detector.")],
    score: Annotated[str | None, typer.Argument(metavar="[SCORE]", help="Rows to score.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="See qworkbench models.")] = "qgan",
    contamination: Annotated[
        float | None, typer.Option(help="Share of the training rows that lies beyond the threshold.")
    ] = None,
    param: Param = None,
    backend: BackendOption = None,
    budget: Budget = None,
    preprocessing: Preprocessing = STANDARDIZE,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="CSV file for the scores.")] = None,
    save: Annotated[Path | None, typer.Option(help="File for the trained detector.")] = None,
    as_json: Json = False,
) -> None:
    """Learn what is normal from TRAIN, then score the rows of SCORE: the higher, the more normal.

    Of a labelled data set (task=anomaly) only normal rows train. Without SCORE, the normal rows held out and
    all anomalies are scored; of an unlabelled table, the rows themselves.
    """
    allow_spending(backend, budget)
    check_writable(out)
    check_writable(save)
    with interruptible():
        if train.endswith(SUFFIX):
            if score is None:
                raise ValueError(f"expected the rows to score: qworkbench detect {train} SCORE")
            fitted, rows = _saved_detector(train, score, backend)
        else:
            background, rows = _background(train, score, seed)
            params = parsed(param) | ({} if contamination is None else {"contamination": contamination})
            detector = build(model, "anomaly", params, preprocessing, backend, seed)
            fitted = _trained(detector, background, model, save)
        check_width(fitted, rows.X.shape[1])
        scores, flags = fitted.score_samples(rows.X), fitted.predict(rows.X) == -1
    columns = {"score": scores, "anomaly": flags.astype(int)}
    if rows.y is not None:
        columns["label"] = rows.y
    title = f"{len(flags)} rows, {int(flags.sum())} flagged as anomalies"
    deliver(columns, _detection(rows.y, scores), out, as_json, title)


def _trained(detector: Any, background: Any, model: str, save: Path | None) -> Any:
    if save is None:
        return detector.fit(background.X)
    from qworkbench.bundle import check_savable
    from qworkbench.bundle import save as write

    check_savable(detector)
    detector.fit(background.X)
    info = {"model": model, "features": background.names, "target": None, "task": "anomaly"}
    note(f"detector: {write(detector, save, info=info)}")
    return detector


def _saved_detector(file: str, score: str, backend: str | None) -> Any:
    from qworkbench.bundle import load, read_info
    from qworkbench.cli.rows import read_rows

    info = read_info(file)
    if info.get("task", "anomaly") != "anomaly":
        raise ValueError(f"{file} is no detector of anomalies: qworkbench predict {file} {score}")
    rows = read_rows(score, info.get("features"))
    return load(file, backend=backend), rows


def _background(train: str, score: str | None, seed: int) -> Any:
    """Rows to train on and rows to score."""
    from sklearn.model_selection import train_test_split

    from qworkbench.cli.rows import Rows, is_csv, read_rows, target_of
    from qworkbench.datasets import load_dataset

    if is_csv(train) and target_of(train) is None:
        background = read_rows(train)
        return background, background if score is None else read_rows(score, background.names)
    dataset = load_dataset(train)
    if dataset.task != "anomaly":
        raise ValueError(
            f"{dataset.name} is for {dataset.task}; a data set to detect anomalies in has task=anomaly, "
            "a CSV file also normal=LABEL"
        )
    import numpy as np

    normal = np.flatnonzero(dataset.y == "normal")
    names = dataset.feature_names
    if score is not None:
        return Rows(dataset.X[normal], names, None), read_rows(score, names)
    kept, held_out = train_test_split(normal, test_size=0.3, random_state=seed)
    scored = np.sort(np.concatenate([held_out, np.flatnonzero(dataset.y != "normal")]))
    return Rows(dataset.X[kept], names, None), Rows(dataset.X[scored], names, dataset.y[scored])


def _detection(y: Any, scores: Any) -> dict[str, float]:
    if y is None or set(y) != {"normal", "anomaly"}:
        return {}
    from sklearn.metrics import roc_auc_score

    return {"roc_auc": float(roc_auc_score(y == "anomaly", -scores))}
