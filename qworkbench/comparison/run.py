"""``compare``: data sets x models x folds, tuned alike, resumed after a stop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qworkbench.backend import Backend
from qworkbench.comparison.cells import Cell
from qworkbench.comparison.contestants import Contestant, Given, contestants
from qworkbench.comparison.journal import Journal, Progress
from qworkbench.comparison.ladder import MITIGATION, Rung, check_backend, rungs
from qworkbench.comparison.protocol import Protocol
from qworkbench.comparison.result import Comparison
from qworkbench.comparison.work import run_cell
from qworkbench.datasets import Dataset, load_dataset
from qworkbench.runs import RunDirectory, session_record

DatasetGiven = str | os.PathLike[str] | Dataset


def compare(
    datasets: DatasetGiven | Iterable[DatasetGiven],
    models: Iterable[Given] | Mapping[str, Any] | None = None,
    *,
    out: str | os.PathLike[str] = "runs/compare",
    folds: int = 5,
    repeats: int = 1,
    trials: int = 8,
    inner_folds: int = 3,
    preprocessing: Sequence[str] = ("standardize",),
    metric: str | None = None,
    max_samples: int | None = None,
    seed: int = 0,
    backend: str | Backend | None = None,
    ladder: Iterable[str] | None = None,
    shots: int = 1024,
    noise_backend: str = "aer?noise=fake_torino",
    mitigation: str = MITIGATION,
    device: str | None = None,
    ladder_samples: int = 64,
    progress: Progress | None = None,
) -> Comparison:
    """Compare models on data sets: the same folds, preprocessing and number of tuning trials for each.

    Every trial, fold and rung is written to ``out`` as soon as it is measured. Calling again with the same
    arguments goes on where an earlier call stopped and repeats nothing; further models, data sets or rungs
    add to what is there. A changed setting is another comparison and gets records of its own. A model that
    raises is recorded as failed, tried again in the next call, and does not stop the others.

    In each outer fold a model's defaults and ``trials - 1`` random draws from its search space are scored by
    ``inner_folds``-fold cross-validation on the training rows; the best is fitted on all of them and scored
    on the test rows. Detectors of anomalies train on the normal rows only and are tuned without seeing an
    anomaly (see ``comparison.tuning.inner_folds``). Then the trained quantum models are scored again on each
    rung of the ladder.

    Args:
        datasets: Names (``"moons?noise=0.2"``), files, or ``Dataset`` objects.
        models: Names from ``qworkbench models``, pairs ``("mine", estimator)``, or a mapping of names to
            estimators; an estimator is scikit-learn's or of that kind, or a ``ModelEntry`` with a search
            space. By default all that fit the data.
        out: The run directory.
        folds: Outer folds, stratified.
        repeats: Times that the outer folds are drawn anew.
        trials: Settings tried for each model in each fold, the defaults among them; 1 means no tuning.
        inner_folds: Folds that score a trial.
        preprocessing: Steps fitted on the training rows: ``standardize``, ``minmax``, ``pca:K``.
        metric: Primary metric; by default accuracy, r2, or roc_auc for anomalies.
        max_samples: Rows to take of larger data sets, class shares kept.
        seed: Of everything random.
        backend: Where the quantum models train; by default the exact engine, or what the estimator says.
        ladder: ``exact``, ``shots``, ``transpiled``, ``noise``, ``mitigated`` (all Aer), ``device``, or the URI of any
            backend; empty for none. By default all that the next arguments allow.
        shots: Of the ladder; a mitigated circuit gets no more of them than a noisy one.
        noise_backend: What ``noise`` means; ``transpiled`` and ``mitigated`` follow it.
        mitigation: What ``mitigated`` does: ``zne``, ``readout`` or both joined by a comma.
        device: The URI of the rung ``device``.
        ladder_samples: Test rows scored on each rung and fold, at most.
        progress: Called with steps done, steps in all, and what comes next.

    Returns:
        The records and what can be made of them; ``print(result.table())``, ``result.report()``.

    Raises:
        ValueError: If a name, number or backend is wrong, or a data set too small for the folds; before any
            work.
        TypeError: If a model is no estimator; before any work.
        RunDirectoryError: If ``out`` cannot be written, or another process is writing to it.
        KeyboardInterrupt: If the user stops it; says what is safe.
    """
    protocol = Protocol(folds, repeats, trials, inner_folds, tuple(preprocessing), metric, max_samples, seed)
    if shots < 1:
        raise ValueError(f"expected shots of at least 1, got {shots}")
    if max_samples is not None and max_samples < 2:
        raise ValueError(f"expected max_samples of at least 2, got {max_samples}")
    if ladder_samples < 2:
        raise ValueError(f"expected ladder_samples of at least 2, got {ladder_samples}")
    tables = [protocol.prepare(dataset) for dataset in _datasets(datasets)]
    found = contestants(models, [table.task for table in tables])
    steps: list[Rung] = []
    if any(contestant.entry.quantum for contestant in found):
        if backend is not None:
            check_backend(backend)
        steps = rungs(ladder, shots, noise_backend, mitigation, device)
    uri = None if backend is None else str(backend)
    cells = _cells(tables, found, protocol, uri, steps, ladder_samples)
    return _run(cells, tables, out, progress)


def _datasets(given: DatasetGiven | Iterable[DatasetGiven]) -> list[Dataset]:
    items = [given] if isinstance(given, str | os.PathLike | Dataset) else list(given)
    if not items:
        raise ValueError("expected at least one data set, got none")
    loaded = [item if isinstance(item, Dataset) else load_dataset(item) for item in items]
    names = [dataset.name for dataset in loaded]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected each data set once, got twice: {', '.join(twice)}")
    return loaded


def _cells(
    tables: Sequence[Dataset],
    found: Sequence[Contestant],
    protocol: Protocol,
    backend: str | None,
    steps: Sequence[Rung],
    ladder_samples: int,
) -> list[Cell]:
    """Data set by data set and fold by fold, so that a run that is stopped has compared what it has."""
    return [
        Cell(table, one, split, protocol, backend, tuple(steps) if one.entry.quantum else (), ladder_samples)
        for table in tables
        for split in protocol.splits(table)
        for one in found
        if one.entry.task == table.task
    ]


def _run(
    cells: Sequence[Cell], tables: Sequence[Dataset], out: str | os.PathLike[str], progress: Progress | None
) -> Comparison:
    with RunDirectory(os.fspath(out)) as directory:
        journal = Journal(directory, sum(cell.steps for cell in cells), progress)
        journal.write(session_record(sources={table.name: table.source for table in tables}))
        try:
            for cell in cells:
                run_cell(cell, journal)
        except KeyboardInterrupt:
            count = len(directory.records())
            raise KeyboardInterrupt(
                f"stopped; {count} records are safe in {directory.path}. Run the same again to go on."
            ) from None
        journal.finish()
        return Comparison(directory.path, tuple(journal.records.values()))
