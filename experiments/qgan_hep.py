"""A QGAN finds gravitons: Bermot et al. 2023, beside its classical twin and every other detector of the workbench.

Trained on QCD dijets alone, tested on a 1.5 TeV graviton that decays to WW or to HH. Four sweeps: the number of
training events; the features, principal components or masses and substructure; signal among the training events; and
the trained detectors scored with shots and with a device's noise. All detectors see the same events and features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np

from experiments._cli import main
from experiments._detection import (
    QGAN,
    Problem,
    Setting,
    by_seed,
    classical_parts,
    detectors,
    difference,
    dominated,
    fewer_data,
    part,
)
from experiments._rows import records
from qworkbench.datasets import load_dataset
from qworkbench.runs import RunRecord

SOURCE = (
    "Bermot et al., IEEE QCE 2023, arXiv:2304.14439: with ten times fewer training samples accuracy comparable to the "
    "classical counterpart, for Graviton and Higgs (abstract; their events are others, and no table of AUC was at hand)"
)
CLAIM = "as gan with 10 N"
SIGNALS = {"WW": "graviton_ww", "HH": "graviton_hh"}
PHYSICS = "physics"
CONTAMINATION = "share of signal among the training events"


@dataclass(frozen=True)
class Config:
    """Settings of the experiment."""

    n_seeds: int = 10
    """seeds of the sweep over sizes; each draws training events and weights anew"""
    n_side_seeds: int = 5
    """seeds of the other sweeps"""
    sizes: tuple[int, ...] = (100, 300, 1000, 3000)
    """training events of the first sweep, on the physics features"""
    size: int = 1000
    """training events of the other sweeps"""
    components: tuple[int, ...] = (3, 4, 6, 8)
    """principal components of all 16 features, one qubit each"""
    contaminations: tuple[float, ...] = (0.01, 0.05, 0.1)
    """shares of signal among the training events"""
    n_test: int = 2000
    """test events of QCD and of each signal"""
    n_device_test: int = 60
    """of each in the sweep over backends"""
    shots: int = 1024
    """shots a circuit"""
    noise: str = "aer?noise=fake_torino"
    """URI of the noisy backend"""
    models: tuple[str, ...] = ()
    """detectors (all of the registry)"""

    @classmethod
    def smoke(cls, **changes: object) -> Self:
        """A few seconds' worth; the noisy device needs no extra package."""
        small = cls(
            n_seeds=2,
            n_side_seeds=1,
            sizes=(10, 100),
            size=50,
            components=(3,),
            contaminations=(0.1,),
            n_test=200,
            n_device_test=10,
            shots=32,
            noise="generic:4",
            models=("qgan", "gan", "mahalanobis"),
        )
        return replace(small, **changes)  # type: ignore[arg-type]


def run(config: Config, known: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
    """One record a seed, setting and detector, as they are made; those in ``known`` are passed on."""
    models = detectors(config.models)
    quantum = {name: entry for name, entry in models.items() if entry.quantum}
    physics, everything = (collider(chosen, config.n_test) for chosen in (PHYSICS, "all"))
    side = [(everything, setting, models) for setting in features(config)]
    side += [(physics, setting, models) for setting in contaminations(config)]
    side += [(physics, setting, models if setting.backend is None else quantum) for setting in rungs(config)]
    work = [(seed, physics, setting, models) for seed in range(config.n_seeds) for setting in sizes(config)]
    work += [(seed, *rest) for seed in range(config.n_side_seeds) for rest in side]
    for seed, problem, setting, some in work:
        shared = {"experiment": "qgan_hep", "problem": seed}
        published = CLAIM if setting in sizes(config) else None
        yield from records(shared, SOURCE, [part(problem, setting, seed, some, published)], known)


def collider(chosen: str, n_test: int) -> Problem:
    """QCD events to train on, and test events of QCD and both signals.

    Args:
        chosen: ``physics`` or ``all``.
        n_test: Test events of each kind; the other signal events serve to contaminate.
    """
    sets = {
        kind: load_dataset(f"collider_dijets?task=anomaly&signal={signal}", features=chosen)
        for kind, signal in SIGNALS.items()
    }
    qcd = next(iter(sets.values()))
    background = np.random.default_rng(0).permutation(qcd.X[qcd.y == "normal"])
    signals = {kind: np.random.default_rng(1).permutation(data.X[data.y == "anomaly"]) for kind, data in sets.items()}
    return Problem(
        name=f"collider_dijets, {chosen}",
        fingerprint=" ".join(data.fingerprint for data in sets.values()),
        background=background[n_test:],
        test_background=background[:n_test],
        test_anomalies={kind: rows[:n_test] for kind, rows in signals.items()},
        anomalies=np.concatenate([rows[n_test:] for rows in signals.values()]),
    )


def sizes(config: Config) -> list[Setting]:
    """The sweep over training events."""
    clean = {CONTAMINATION: 0.0}
    return [
        Setting(f"{PHYSICS}, N = {n}", n, sweeps={"training events": n} | (clean if n == config.size else {}))
        for n in config.sizes
    ]


def features(config: Config) -> list[Setting]:
    """The sweep over principal components."""
    n = config.size
    return [
        Setting(f"PCA-{k}, N = {n}", n, ("standardize", f"pca:{k}"), n_qubits=k, sweeps={"principal components": k})
        for k in config.components
    ]


def contaminations(config: Config) -> list[Setting]:
    """The sweep over signal among the training events."""
    n = config.size
    return [
        Setting(f"{PHYSICS}, N = {n}, {share:.0%} signal", n, contamination=share, sweeps={CONTAMINATION: share})
        for share in config.contaminations
    ]


def rungs(config: Config) -> list[Setting]:
    """The same trained detectors on one test subset: exact, with shots, with noise; classical ones exact alone."""
    join = "&" if "?" in config.noise else "?"
    backends = {
        "exact": None,
        f"{config.shots} shots": f"aer?shots={config.shots}",
        f"{config.shots} shots and noise": f"{config.noise}{join}shots={config.shots}",
    }
    return [
        Setting(f"{config.n_device_test} test events, {name}", config.size, backend=uri, n_test=config.n_device_test)
        for name, uri in backends.items()
    ]


def verdicts(measured: Sequence[RunRecord]) -> list[str]:
    """The claim of the paper against the records, who beats the QGAN, and what shots and noise cost."""
    settings = list(dict.fromkeys(record.spec["setting"] for record in measured))
    swept = sorted({r.spec["n_train"] for r in measured if r.spec["setting"] == f"{PHYSICS}, N = {r.spec['n_train']}"})
    lines = []
    for small in swept:
        if 10 * small in swept:
            for kind in SIGNALS:
                names = (f"{PHYSICS}, N = {small}", f"{PHYSICS}, N = {10 * small}")
                lines.append(fewer_data(measured, *names, f"AUC {kind}"))
    exact = [name for name in settings if not name.endswith(("shots", "noise"))]
    lines += [dominated(measured, name) for name in exact]
    ladder = [name for name in settings if "test events" in name]
    for before, after in pairwise(ladder):
        text = difference(by_seed(measured, QGAN, after), by_seed(measured, QGAN, before))[0]
        lines.append(f"measured: mean AUC of qgan, {after} minus {before.split(', ')[-1]} = {text}")
    return [*lines, classical_parts(measured)]


if __name__ == "__main__":
    main(Path(__file__).stem)
