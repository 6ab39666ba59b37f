"""``detect``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qworkbench.cli.console import interruptible, note, print_json, print_table
from qworkbench.cli.options import STANDARDIZE, BackendOption, Budget, Json, Param, Preprocessing, Seed
from qworkbench.cli.shared import ROWS_SHOWN, allow_spending, build, check_width, parsed, present
from qworkbench.runs import check_writable

if TYPE_CHECKING:
    from qworkbench.cli.detectors import Fitted
    from qworkbench.cli.rows import Rows, RowStream
    from qworkbench.cli.tally import Tally

SUFFIX, MODEL = ".qwb", "qgan"
MOST_JSON = 100_000
"""Rows that go to stdout as JSON."""
PATIENCE = 10.0
"""Seconds between signs of life."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(detect)


def detect(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Background rows, or a saved detector.")],
    score: Annotated[list[str] | None, typer.Argument(metavar="[SCORE]...", help="Files of rows to score.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="See qworkbench models.", show_default=MODEL)
    ] = None,
    contamination: Annotated[
        float | None, typer.Option(help="Share of the training rows that lies beyond the threshold.")
    ] = None,
    false_alarms: Annotated[
        float | None,
        typer.Option(help="Share of normal rows beyond the threshold, set on 30 % held out from training."),
    ] = None,
    max_train: Annotated[
        int | None, typer.Option(min=2, help="Train on so many rows, drawn from all.", show_default="all")
    ] = None,
    param: Param = None,
    backend: BackendOption = None,
    budget: Budget = None,
    preprocessing: Preprocessing = STANDARDIZE,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="File for the scores: .csv, .csv.gz or .parquet.")] = None,
    explain: Annotated[bool, typer.Option(help="Write what each feature adds to each row's score, too.")] = False,
    report: Annotated[Path | None, typer.Option(help="HTML page: plots, most anomalous rows and why.")] = None,
    save: Annotated[Path | None, typer.Option(help="File for the trained detector.")] = None,
    as_json: Json = False,
) -> None:
    """Learn what is normal from TRAIN, then score the rows of SCORE: the higher, the more normal.

    Data are names or files: CSV, Parquet, HDF5, npz. Files to score are read piece by piece, however long. Of a
    labelled data set (task=anomaly) only normal rows train. Without SCORE, the normal rows held out and all
    anomalies are scored; of an unlabelled table, the rows themselves.
    """
    allow_spending(backend, budget)
    for path in (out, report, save):
        check_writable(path)
    if explain and out is None:
        raise ValueError("--explain writes columns beside the scores; add --out FILE")
    with interruptible():
        if train.endswith(SUFFIX):
            names = ("model", "contamination", "false-alarms", "max-train", "save", "param")
            given = zip(names, (model, contamination, false_alarms, max_train, save, param), strict=True)
            fitted, streams = _from_file(train, score, backend, [name for name, value in given if value is not None])
        else:
            from qworkbench.cli.detectors import background_and_scored, trained, with_contamination

            model = model or MODEL
            background, streams = background_and_scored(train, score, seed, max_train)
            params = with_contamination(model, parsed(param), contamination)
            detector = build(model, "anomaly", params, preprocessing, backend, seed)
            fitted = trained(detector, background, (contamination, false_alarms), model, seed, save)
        start = time.perf_counter()
        tally, columns = _score(fitted, streams, out, explain, seed, keep_all=as_json and out is None)
    seconds = time.perf_counter() - start
    metrics = _metrics(tally)
    from qworkbench.models.safeguard import safeguard_summary

    if report is not None:
        from qworkbench.cli.detection_record import detection_record
        from qworkbench.report.detection import write_detection

        record = detection_record(fitted, tally, metrics, [stream.name for stream in streams], seconds)
        write_detection(record, report)
    files = {"file": out, "report": report, "detector": save}
    written = {key: str(path) for key, path in files.items() if path is not None}
    _deliver(tally, columns, metrics, written, as_json, safeguard_summary(fitted.pipeline))


def _from_file(
    train: str, score: Sequence[str] | None, backend: str | None, for_training: Sequence[str]
) -> tuple[Fitted, list[RowStream]]:
    from qworkbench.cli.detectors import opened, saved

    if not score:
        raise ValueError(f"expected the rows to score: qworkbench detect {train} SCORE")
    if for_training:
        raise ValueError(f"{train} is trained and has its threshold; leave out --{', --'.join(for_training)}")
    fitted = saved(train, backend)
    return fitted, opened(score, fitted.features)


def _deliver(
    tally: Tally,
    columns: dict[str, Any],
    metrics: dict[str, float | None],
    files: dict[str, str],
    as_json: bool,
    safeguard: dict[str, float] | None,
) -> None:
    if as_json:
        counts = {"rows": tally.n_rows, "flagged": tally.n_flagged, "threshold": tally.threshold}
        rows = {} if "file" in files else columns
        print_json({**rows, **counts, "metrics": metrics, "safeguard": safeguard, **{"file": None, **files}})
        return
    title = f"{tally.n_rows:,} rows, {tally.n_flagged:,} flagged as anomalies"
    present(columns, tally.n_rows, title, "file" in files)
    table = [
        (name.replace("_", " "), value, *(metrics.get(f"{name}_{side}") for side in ("low", "high")))
        for name, value in metrics.items()
        if not name.endswith(("_low", "_high"))
    ]
    if table:
        print_table("Against the labels", ("", "value", "95 % from", "to"), table)
    if safeguard and safeguard["classical_share"]:
        part = (
            "distance from the nearest training row" if safeguard["nearest_weight"] else "densities of single features"
        )
        note(f"{safeguard['classical_share']:.0%} of the score's spread is classical: {part}; see docs/detectors.md")
    for key, path in files.items():
        print(f"{key}: {path}")


def _score(
    fitted: Fitted, streams: Sequence[RowStream], out: Path | None, explain: bool, seed: int, keep_all: bool
) -> tuple[Tally, dict[str, Any]]:
    """Score all rows; the tally, and the columns of the first rows, or of all of them."""
    import numpy as np

    from qworkbench.cli.tally import Tally, writing

    tally = Tally(fitted.threshold, seed)
    shown: list[dict[str, Any]] = []
    last = time.perf_counter()
    with writing(out) as sink:
        for stream in streams:
            check_width(fitted.pipeline, len(stream.names))
            start = 0
            for rows in stream.pieces():
                scores = np.asarray(fitted.pipeline.score_samples(rows.X), dtype=np.float64)
                columns = {"source": [stream.name] * len(scores)} if len(streams) > 1 else {}
                columns |= _columns(fitted, rows, scores, start)
                if keep_all or not shown:
                    shown.append(columns)
                sink(columns | (_reasons(fitted, rows) if explain else {}))
                tally.add(stream.name, start, rows.X, scores, rows.y)
                start += len(scores)
                if keep_all and tally.n_rows > MOST_JSON:
                    raise ValueError(f"more than {MOST_JSON:,} rows as JSON; add --out FILE")
                if time.perf_counter() - last > PATIENCE:
                    last = time.perf_counter()
                    note(f"{tally.n_rows:,} rows scored")
        if not tally.n_rows:  # within, so that no empty file is written
            raise ValueError(f"expected rows to score in {', '.join(s.name for s in streams)}, got none")
    limit = None if keep_all else ROWS_SHOWN
    return tally, {
        key: np.concatenate([np.asarray(piece[key]) for piece in shown])[:limit]
        for key in shown[0]
        if all(key in piece for piece in shown)
    }


def _columns(fitted: Fitted, rows: Rows, scores: Any, start: int) -> dict[str, Any]:
    import numpy as np

    numbers = np.arange(start, start + len(scores))
    columns = {"row": numbers, "score": scores, "anomaly": (scores < fitted.threshold).astype(int)}
    return columns if rows.y is None else columns | {"label": rows.y}


def _reasons(fitted: Fitted, rows: Rows) -> dict[str, Any]:
    from qworkbench.attribution import attribute

    parts = attribute(fitted.pipeline, rows.X, centre=fitted.centre, spread=fitted.spread)
    return {f"why {name}": parts[:, i] for i, name in enumerate(rows.names)}


def _metrics(tally: Tally) -> dict[str, float | None]:
    from qworkbench.detection import detection_metrics

    labels = tally.is_anomaly
    return {} if labels is None else detection_metrics(labels, -tally.scores)
