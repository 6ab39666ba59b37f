"""A QGAN on everyday tables: Herr, Obert and Rosenkranz 2021, beside every other detector of the workbench.

The paper had credit-card fraud, which cannot be shipped: ``--credit creditcard.csv`` adds it. The other tables are
space shuttle sensors, tumours, handwritten digits and wines, which come with the package, and network intrusion, yeast
and wine quality of KEEL (extra ``tables``; left out without it). Every detector sees all features (``all``), and again
no more than the principal components that fit the qubits (``PCA-4``). F1 is at a threshold that training rows set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from experiments._cli import main
from experiments._detection import (
    MARGIN,
    Problem,
    Setting,
    by_seed,
    classical_parts,
    detectors,
    difference,
    dominated,
    part,
    split,
)
from experiments._rows import records
from qworkbench.errors import MissingExtraError
from qworkbench.runs import RunRecord

SOURCE = (
    "Herr, Obert & Rosenkranz, Quantum Sci. Technol. 6 (2021), arXiv:2010.10492: on credit-card fraud on par with "
    "classical methods in terms of F1 (abstract; another QGAN than ours, with a classical discriminator)"
)
CLAIM = "F1 on par"
CREDIT = "?target=Class&task=anomaly&normal=0"
TABLES = (
    "shuttle",
    "breast_cancer?normal=benign",
    "digits?normal=1,2,3,4,5,6,7,8,9",
    "wine?normal=class_1,class_2",
    "keel?table=kddcup-buffer_overflow_vs_back",
    "keel?table=yeast4",
    "keel?table=winequality-red-4",
)
STEPS = {"all": ("standardize",), "PCA-4": ("standardize", "pca:4")}


@dataclass(frozen=True)
class Config:
    """Settings of the experiment."""

    n_seeds: int = 5
    """seeds; each draws training rows and weights anew"""
    n_train: int = 500
    """training rows, at most four fifths of those that are normal and not tested"""
    n_test: int = 2000
    """test rows of either kind, at most half of those there are"""
    tables: tuple[str, ...] = TABLES
    """data sets with task=anomaly"""
    credit: str = ""
    """the file creditcard.csv of the ULB group (Kaggle), 284,807 rows"""
    models: tuple[str, ...] = ()
    """detectors (all of the registry)"""

    @classmethod
    def smoke(cls, **changes: object) -> Self:
        """A few seconds' worth."""
        small = cls(
            n_seeds=2,
            n_train=60,
            n_test=100,
            tables=("breast_cancer?normal=benign", "wine?normal=class_1,class_2"),
            models=("qgan", "gan", "mahalanobis"),
        )
        return replace(small, **changes)  # type: ignore[arg-type]


def run(config: Config, known: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
    """One record a seed, table, choice of features and detector; those in ``known`` are passed on."""
    models = detectors(config.models)
    tables = [*config.tables, *([config.credit + CREDIT] if config.credit else [])]
    for problem in filter(None, (_problem(table, config.n_test) for table in tables)):
        n_train = min(config.n_train, int(0.8 * len(problem.background)))
        shared = {"experiment": "credit_and_friends", "dataset": problem.name}
        for seed in range(config.n_seeds):
            settings = [Setting(f"{_short(problem.name)}, {name}", n_train, steps) for name, steps in STEPS.items()]
            parts = [part(problem, setting, seed, models, CLAIM) for setting in settings]
            yield from records(shared | {"problem": seed}, SOURCE, parts, known)


def _problem(table: str, n_test: int) -> Problem | None:
    try:
        return split(table, n_test)
    except MissingExtraError as error:
        print(f"left out: {table}: {error}", flush=True)
        return None


def _short(name: str) -> str:
    """A table's name without its options; of KEEL the table."""
    base, _, query = name.partition("?")
    return dict(pair.split("=") for pair in query.split("&") if pair).get("table", "kddcup") if base == "keel" else base


def verdicts(measured: Sequence[RunRecord]) -> list[str]:
    """The claim on each table and over all of them, and who beats whom."""
    settings = list(dict.fromkeys(record.spec["setting"] for record in measured))
    lines, words = [], []
    for setting in settings:
        text, low, high = _f1(measured, setting)
        words.append("reproduced" if low > -MARGIN else "not reproduced" if high < -MARGIN else "undecided")
        lines.append(f"{words[-1]}: {text}")
    lines += [dominated(measured, setting) for setting in settings]
    word = next((w for w in ("not reproduced", "undecided") if w in words), "reproduced")
    counts = ", ".join(f"{words.count(w)} {w}" for w in dict.fromkeys(words))
    lines.append(classical_parts(measured))
    return [*lines, f"{word}: F1 on par with the best classical detector on every table: {counts}"]


def _f1(measured: Sequence[RunRecord], setting: str) -> tuple[str, float, float]:
    """F1 of the QGAN minus that of the classical detector with the best mean F1."""
    rows = [record for record in measured if record.spec["setting"] == setting]
    classical = {record.spec["model"] for record in rows if not record.spec["quantum"]}
    means = {name: np.mean(list(by_seed(rows, name, setting, "F1").values())) for name in classical}
    best = max(means, key=means.__getitem__)
    gap = difference(by_seed(rows, "qgan", setting, "F1"), by_seed(rows, best, setting, "F1"), family=len(means))
    return f"{setting}: F1 of qgan minus {best}, the best classical detector = {gap[0]}", gap[2], gap[3]


if __name__ == "__main__":
    main(Path(__file__).stem)
