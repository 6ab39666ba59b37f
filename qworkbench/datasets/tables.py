"""Real tables: scikit-learn's own and those shipped with the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qworkbench.datasets.base import ANOMALY, NORMAL, Dataset, choose_rows, class_rows
from qworkbench.errors import unknown_name

SIGNALS = ("graviton_ww", "graviton_hh")
PHYSICS_FEATURES = ("mass_j1", "tau21_j1", "mass_j2", "tau21_j2")
"""Mass and two-prong substructure of both jets: what the field's taggers cut on."""

_SKLEARN_SOURCES = {
    "iris": "Fisher, Ann. Eugenics 7, 179 (1936), by way of UCI",
    "wine": "Forina et al., PARVUS (1988), by way of UCI",
    "breast_cancer": "Street, Wolberg and Mangasarian, SPIE 1905, 861 (1993), by way of UCI",
    "digits": "Alpaydin and Kaynak, optical recognition of handwritten digits (1998), by way of UCI",
    "diabetes": "Efron et al., Ann. Statist. 32, 407 (2004)",
}


def shipped(file: str) -> dict[str, NDArray]:
    """The arrays of an ``.npz`` file that ships with the package."""
    resource = files("qworkbench.datasets").joinpath("data", file)
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return dict(arrays)


def _from_sklearn(name: str) -> tuple[Any, str]:
    from sklearn import datasets

    source = f"{_SKLEARN_SOURCES[name]}; ships with scikit-learn (BSD-3-Clause)."
    return getattr(datasets, f"load_{name}")(), source


def sklearn_classes(
    name: str,
    classes: tuple[str, ...] | None = None,
    normal: tuple[str, ...] | None = None,
    n_samples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """One of scikit-learn's classification tables.

    Args:
        name: ``"iris"``, ``"wine"``, ``"breast_cancer"`` or ``"digits"``.
        classes: Labels to keep, by name or number; None keeps all.
        normal: Labels that are normal, by name or number, which makes it a task of anomaly detection: all others
            are anomalies.
        n_samples: Rows to keep, stratified; None keeps all.
        seed: Chooses the rows.

    Raises:
        ValueError: If a label is unknown.
    """
    bunch, source = _from_sklearn(name)
    names = () if name == "digits" else tuple(map(str, bunch.target_names))
    y = np.asarray(names)[bunch.target] if names else bunch.target
    rows = np.arange(len(y)) if classes is None else class_rows(y, classes, names)
    task = "classification"
    if normal is not None:
        is_normal = np.isin(np.arange(len(y)), class_rows(y, normal, names))
        y, task = np.where(is_normal, NORMAL, ANOMALY), "anomaly"
    rows = rows[choose_rows(y[rows], n_samples, seed)]
    return Dataset(name, bunch.data[rows], y[rows], task, tuple(bunch.feature_names), source)


def diabetes(n_samples: int | None = None, seed: int = 0) -> Dataset:
    """Disease progression after one year from ten measurements of 442 patients."""
    bunch, source = _from_sklearn("diabetes")
    rows = choose_rows(bunch.target, n_samples, seed, stratify=False)
    X, y = bunch.data[rows], bunch.target[rows]
    return Dataset("diabetes", X, y, "regression", tuple(bunch.feature_names), source)


def collider_dijets(
    signal: tuple[str, ...] = ("graviton_ww",),
    task: str = "classification",
    n_samples: int | None = None,
    features: tuple[str, ...] = ("all",),
    seed: int = 0,
) -> Dataset:
    """Two-jet events of 13 TeV proton collisions: the strong interaction against a 1.5 TeV graviton.

    Args:
        signal: ``graviton_ww``, ``graviton_hh``, or both.
        task: ``"classification"``: ``qcd`` and each signal in equal numbers; ``"anomaly"``: all 8,000
            ``qcd`` rows are normal and the signal rows anomalies, shares kept by ``n_samples``.
        n_samples: Rows to keep; None keeps all.
        features: ``all`` 16, the four of ``physics`` (:data:`PHYSICS_FEATURES`), or names.
        seed: Chooses the rows and their order.

    Raises:
        ValueError: If a signal, feature or task is unknown.
    """
    arrays = shipped("collider_dijets.npz")
    names = tuple(map(str, arrays["feature_names"]))
    for process in signal:
        if process not in SIGNALS:
            raise unknown_name("signal", process, SIGNALS)
    if task not in ("classification", "anomaly"):
        raise unknown_name("task of collider_dijets", task, ("classification", "anomaly"))
    columns = columns_of(names, features)
    rng = np.random.default_rng(seed)
    processes = ("qcd", *dict.fromkeys(signal))
    labels = processes if task == "classification" else (NORMAL, *(ANOMALY for _ in processes[1:]))
    events = [rng.permutation(arrays[process]) for process in processes]
    if task == "classification":
        events = [rows[: min(map(len, events))] for rows in events]
    y = np.repeat(np.asarray(labels), [len(rows) for rows in events])
    X = np.concatenate(events)[:, columns]
    chosen = choose_rows(y, len(y) if n_samples is None else n_samples, seed)
    source = (
        "Simulated for this project with Pythia 8.3 (arXiv:2203.11601) and FastJet (arXiv:1111.6097); "
        "licence of QWorkbench (Apache-2.0)."
    )
    return Dataset("collider_dijets", X[chosen], y[chosen], task, tuple(names[i] for i in columns), source)


def columns_of(names: tuple[str, ...], features: tuple[str, ...]) -> list[int]:
    """Numbers of the features that are asked for: by name, ``all`` of them or those of ``physics``."""
    groups: dict[tuple[str, ...], tuple[str, ...]] = {("all",): names, ("physics",): PHYSICS_FEATURES}
    wanted = groups.get(features, features)
    for feature in wanted:
        if feature not in names:
            raise unknown_name("feature", feature, (*names, "all", "physics"))
    return [names.index(feature) for feature in wanted]
