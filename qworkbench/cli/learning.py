"""``train`` and ``predict``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from qworkbench.cli.console import interruptible, note, print_json, print_table
from qworkbench.cli.options import STANDARDIZE, BackendOption, Budget, Json, Param, Preprocessing, Seed
from qworkbench.cli.shared import allow_spending, build, check_width, deliver, parsed
from qworkbench.runs import check_writable


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)
    app.command()(predict)


def train(
    data: Annotated[str, typer.Argument(help="A name (moons?noise=0.2) or a file (a.csv?target=y).")],
    model: Annotated[str, typer.Option("--model", "-m", help="See qworkbench models.")] = "variational",
    param: Param = None,
    backend: BackendOption = None,
    budget: Budget = None,
    preprocessing: Preprocessing = STANDARDIZE,
    test_size: Annotated[float, typer.Option(help="Share of the rows held out for the score.")] = 0.25,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="The trained model.", show_default="model.qwb")] = None,
    runs: Annotated[Path, typer.Option(help="Run directory that gets the record.")] = Path("runs/train"),
    as_json: Json = False,
) -> None:
    """Train one model, score it on rows held out, and save it to a file."""
    from qworkbench.bundle import check_savable, save
    from qworkbench.cli.rows import target_of
    from qworkbench.datasets import load_dataset
    from qworkbench.runs import RunDirectory

    allow_spending(backend, budget)
    dataset = load_dataset(data)
    _check_classes(dataset)
    estimator = build(model, dataset.task, parsed(param), preprocessing, backend, seed)
    try:
        check_savable(estimator)
        out = out or Path("model.qwb")
        check_writable(out)
    except TypeError as error:
        if out is not None:
            raise
        note(f"the model is not kept: {str(error).partition(';')[0]}")
    with interruptible(), RunDirectory(runs) as directory:
        record, names = _fit_and_score(estimator, dataset, model, test_size, seed)
        kept = {"model": model, "features": names, "target": target_of(data), "task": dataset.task}
        directory.append(record)
        if out is not None:
            save(estimator, out, info={**kept, "dataset": dataset.name, "metrics": dict(record.metrics)})
    if as_json:
        shown = {"run_id": record.run_id, "metrics": record.metrics, "info": record.info}
        print_json({"model": None if out is None else str(out), **shown})
        return
    _print_training(record, out, runs)


def _check_classes(dataset: Any) -> None:
    """Refuse classes of a single row, of which nothing could be held out."""
    import numpy as np

    if dataset.task != "classification":
        return
    labels, counts = np.unique(dataset.y, return_counts=True)
    if len(labels) > len(dataset.y) / 2:
        raise ValueError(
            f"the target of {dataset.name} has {len(labels)} different values in {len(dataset.y)} rows and seems "
            "to be continuous; expected classes, or task=regression"
        )
    if counts.min() < 2:
        raise ValueError(
            f"expected at least 2 rows of each class, got 1 of {labels[counts.argmin()]!s} in {dataset.name}"
        )


def _fit_and_score(estimator: Any, dataset: Any, model: str, test_size: float, seed: int) -> Any:
    """The record of one training run, and the names of the features."""
    from sklearn.model_selection import train_test_split

    from qworkbench.comparison.costs import fit_usage, n_parameters
    from qworkbench.comparison.identity import describe
    from qworkbench.comparison.scoring import measure, outputs
    from qworkbench.runs import RunRecord

    classes = dataset.y if dataset.task != "regression" else None
    parts = train_test_split(dataset.X, dataset.y, test_size=test_size, random_state=seed, stratify=classes)
    X, X_test, y, y_test = parts
    start = time.perf_counter()
    estimator.fit(X, y)
    seconds = time.perf_counter() - start
    metrics = measure(dataset.task, y_test, outputs(estimator, X_test, dataset.task))
    spec = {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "model": model,
        "settings": describe(estimator),
        "test_size": test_size,
        "seed": seed,
    }
    usage = {"n_parameters": n_parameters(estimator), **fit_usage(estimator)}
    sizes = {"n_train": len(y), "n_test": len(y_test), "n_features": X.shape[1]}
    info = {"fit_seconds": seconds, **usage, **sizes, "source": dataset.source}
    return RunRecord("train", spec, metrics, info), dataset.feature_names


def _print_training(record: Any, out: Path | None, runs: Path) -> None:
    info, spec = record.info, record.spec
    title = f"{spec['model']} on {spec['dataset']}: {info['n_train']} rows to train, {info['n_test']} held out"
    rows = [(name, value) for name, value in record.metrics.items() if value is not None]
    costs = {"seconds of training": "fit_seconds", "parameters": "n_parameters", "circuits run": "circuits"}
    rows += [(name, info[key]) for name, key in costs.items() if info.get(key) is not None]
    print_table(title, ("held-out score", ""), rows)
    print(f"record: {runs}" + ("" if out is None else f"\nmodel:  {out}"))


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL.qwb", help="What train saved.")],
    data: Annotated[str, typer.Argument(help="A data set or file; a CSV file needs no target.")],
    backend: Annotated[str | None, typer.Option(help="Run circuits here, not where they trained.")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Standard errors that shots leave in the numbers.")] = False,
    budget: Budget = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for the predictions.")] = None,
    as_json: Json = False,
) -> None:
    """Predict row by row with a saved model, on any backend; scores too if the table has the target."""
    import numpy as np

    from qworkbench.bundle import load, read_info
    from qworkbench.cli.rows import read_rows
    from qworkbench.comparison.scoring import outputs

    allow_spending(backend, budget)
    info = read_info(model)
    task = info.get("task", "classification")
    if task == "anomaly":
        raise ValueError(f"{model} is a detector of anomalies: qworkbench detect {model} {data}")
    rows = read_rows(data, info.get("features"), info.get("target"))
    check_writable(out)
    with interruptible():
        fitted = load(model, backend=backend)
        check_width(fitted, rows.X.shape[1])
        if errors:
            answer, spread = _estimated(fitted, rows.X, task)
        else:
            # One call: on a device labels and probabilities are of the same shots.
            answer, spread = outputs(fitted, rows.X, task, one_call=True), None
    columns: dict[str, Any] = {"prediction": answer.values if task == "regression" else answer.labels}
    if answer.probabilities and answer.classes is not None:
        columns |= {f"p({name})": answer.values[:, i] for i, name in enumerate(answer.classes)}
    elif task != "regression" and hasattr(fitted, "decision_function"):
        names = ["decision"] if answer.values.ndim == 1 else [f"decision({c})" for c in fitted.classes_]
        columns |= dict(zip(names, np.atleast_2d(answer.values.T), strict=True))
    if spread is not None:
        numbers = [name for name in columns if task == "regression" or name != "prediction"]
        columns |= {f"error({name})": part for name, part in zip(numbers, np.atleast_2d(spread.T), strict=True)}
    score = None if rows.y is None else _score(task, rows.y, columns["prediction"])
    deliver(columns, {} if score is None else score, out, as_json, f"{len(rows.X)} rows")


def _estimated(fitted: Any, X: Any, task: str) -> tuple[Any, Any]:
    """The answer as the mean over groups of shots, and its standard errors."""
    from qworkbench.comparison.scoring import Outputs, best_labels

    model = fitted[-1]
    if not hasattr(model, "estimate"):
        raise ValueError(f"expected a quantum model for --errors, got {type(model).__name__}, which takes no shots")
    mean, error = model.estimate(fitted[:-1].transform(X) if len(fitted) > 1 else X)
    if task == "regression":
        return Outputs(mean, None, None, False), error
    probabilities = hasattr(model, "predict_proba")
    return Outputs(mean, best_labels(mean, model.classes_), model.classes_, probabilities), error


def _score(task: str, y: Any, predicted: Any) -> dict[str, float]:
    import numpy as np
    from sklearn.metrics import r2_score

    if task == "regression":
        return {"r2": float(r2_score(np.asarray(y, float), predicted))}
    known = np.asarray(y).astype(str if predicted.dtype.kind in "OU" else predicted.dtype)
    return {"accuracy": float(np.mean(known == predicted.astype(known.dtype)))}
