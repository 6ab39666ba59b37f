"""How many training events a QGAN needs: the claim of Bermot et al. 2023 by itself, on any data set.

AUC of the QGAN, of its classical twin and of all other detectors by the number of training rows, over ten
seeds. The claim holds if the QGAN loses nothing to the twin that has ten times its rows. Run it on a table of your own:
``--data "table.csv?target=label&task=anomaly&normal=ok"``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from experiments._cli import main
from experiments._detection import Setting, classical_parts, detectors, dominated, fewer_data, part, split
from experiments._rows import records
from qworkbench.runs import RunRecord

SOURCE = (
    "Bermot et al., IEEE QCE 2023, arXiv:2304.14439: with ten times fewer training samples accuracy comparable to the "
    "classical counterpart (abstract)"
)
CLAIM = "as gan with 10 N"


@dataclass(frozen=True)
class Config:
    """Settings of the experiment."""

    data: str = "collider_dijets?task=anomaly&signal=graviton_hh&features=physics"
    """data set with task=anomaly"""
    n_seeds: int = 10
    """seeds; each draws training rows and weights anew"""
    sizes: tuple[int, ...] = (10, 30, 100, 300, 1000)
    """training rows"""
    n_test: int = 2000
    """test rows of either kind, at most half of those there are"""
    models: tuple[str, ...] = ()
    """detectors (all of the registry)"""

    @classmethod
    def smoke(cls, **changes: object) -> Self:
        """A few seconds' worth."""
        small = cls(n_seeds=2, sizes=(10, 100), n_test=200, models=("qgan", "gan", "mahalanobis"))
        return replace(small, **changes)  # type: ignore[arg-type]


def run(config: Config, known: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
    """One record a seed, size and detector, as they are made; those in ``known`` are passed on."""
    problem, models = split(config.data, config.n_test), detectors(config.models)
    shared = {"experiment": "qgan_vs_size", "dataset": problem.name}
    for seed in range(config.n_seeds):
        parts = [
            part(problem, Setting(f"N = {n}", n, sweeps={"training rows": n}), seed, models, CLAIM)
            for n in config.sizes
        ]
        yield from records(shared | {"problem": seed}, SOURCE, parts, known)


def verdicts(measured: Sequence[RunRecord]) -> list[str]:
    """The claim at every size that has a tenfold one, and who beats the best quantum detector."""
    swept = sorted({record.spec["n_train"] for record in measured})
    lines = [fewer_data(measured, f"N = {n}", f"N = {10 * n}") for n in swept if 10 * n in swept]
    return [*lines, *(dominated(measured, f"N = {n}") for n in swept), classical_parts(measured)]


if __name__ == "__main__":
    main(Path(__file__).stem)
