"""One model on one outer fold of one data set: what it is, told apart from all others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from qworkbench import __version__
from qworkbench.comparison.contestants import Contestant, backend_parameters
from qworkbench.comparison.identity import derive_seed, describe
from qworkbench.comparison.ladder import EXACT, Rung, rung_rows
from qworkbench.comparison.protocol import Protocol, Split
from qworkbench.comparison.tuning import Rows, candidates
from qworkbench.datasets import Dataset


@dataclass
class Cell:
    """A data set, a model and an outer fold, under the rules of a protocol."""

    dataset: Dataset
    contestant: Contestant
    split: Split
    protocol: Protocol
    backend: str | None
    """URI for the quantum models, or None to leave each on its own."""
    rungs: tuple[Rung, ...] = ()
    """Steps of the ladder; none for a classical model."""
    ladder_samples: int = 64
    """Test rows scored on each rung, at most."""
    model: Any = field(default=None, init=False)
    """The pipeline that was fitted on the whole training fold, once this process has it."""

    @property
    def task(self) -> str:
        """The task of the data set."""
        return self.dataset.task

    @cached_property
    def seed(self) -> int:
        """Of the model, the same in every trial and in the fold."""
        return self.seed_for("model", self.contestant.name)

    def seed_for(self, *purpose: Any) -> int:
        """A seed for something in this fold; equal for all models unless the purpose names one."""
        place = (self.protocol.seed, self.dataset.fingerprint, self.split.repeat, self.split.fold)
        return derive_seed(*purpose, *place)

    @cached_property
    def candidates(self) -> list[dict[str, Any]]:
        """The settings to try, the defaults first."""
        model = self.contestant.build(self.seed, self.backend)
        seed = self.seed_for("trials", self.contestant.name)
        return candidates(model, self.contestant.entry.space, self.protocol.trials, seed)

    @property
    def steps(self) -> int:
        """How many records the cell gives."""
        return len(self.candidates) + 1 + len(self.rungs)

    @property
    def title(self) -> str:
        """For the progress line."""
        folds = self.protocol.folds * self.protocol.repeats
        number = self.split.repeat * self.protocol.folds + self.split.fold + 1
        return f"{self.dataset.name} · {self.contestant.name} · fold {number}/{folds}"

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What all records of the cell share: all that affects their numbers but the parameters tried."""
        model = self.contestant.build(self.seed, self.backend)
        params = model.get_params()
        quantum = self.contestant.entry.quantum
        backends = dict.fromkeys(_text(params[key]) for key in backend_parameters(model) if quantum)
        return {
            "dataset": self.dataset.name,
            "dataset_fingerprint": self.dataset.fingerprint,
            "n_samples": len(self.dataset.y),
            "n_features": self.dataset.X.shape[1],
            "task": self.task,
            "model": self.contestant.name,
            "quantum": quantum,
            "estimator": describe(model),
            "backend": ", ".join(backends) or None,
            "repeat": self.split.repeat,
            "fold": self.split.fold,
            "seed": self.seed,
            "protocol": self.protocol.as_spec(self.task),
            "version": __version__,
        }

    @property
    def train_rows(self) -> Rows:
        """The training rows of the fold and their target."""
        return self.dataset.X[self.split.train], self.dataset.y[self.split.train]

    @property
    def test_rows(self) -> Rows:
        """The test rows of the fold and their target."""
        return self.dataset.X[self.split.test], self.dataset.y[self.split.test]

    @cached_property
    def ladder_rows(self) -> Rows:
        """The test rows that every rung scores, the same for every model."""
        X, y = self.test_rows
        rows = rung_rows(y, self.ladder_samples, self.task, self.seed_for("ladder rows"))
        return X[rows], y[rows]

    def seeded(self, rung: Rung) -> Rung:
        """The rung with a seed for its shots, unless its URI has one; the exact one needs none."""
        if rung.name == EXACT or rung.backend.seed is not None:
            return rung
        seed = self.seed_for("rung", self.contestant.name, str(rung.backend))
        return Rung(rung.name, replace(rung.backend, seed=seed))

    def rung_spec(self, fold_spec: dict[str, Any], rung: Rung) -> dict[str, Any]:
        """The spec of a seeded rung's record."""
        place = {"rung": rung.name, "backend": str(rung.backend), "shots": rung.backend.shots}
        return fold_spec | place | {"ladder_samples": len(self.ladder_rows[1])}


def _text(backend: Any) -> str:
    return backend if isinstance(backend, str) else str(describe(backend))
