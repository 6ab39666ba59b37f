"""A run that is killed, stopped or repeated: nothing is lost and nothing is measured twice."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from qworkbench.comparison import compare
from qworkbench.runs import RECORDS, RunRecord, read_records

SCRIPT = """
import sys, time
from sklearn.svm import SVC
from qworkbench.catalog import ModelEntry
from qworkbench.comparison import compare

class Slow(SVC):
    fits, pause = 0, 0.0

    def fit(self, X, y):
        Slow.fits += 1
        time.sleep(Slow.pause)
        return super().fit(X, y)

models = {"slow": ModelEntry(lambda seed: Slow(), "classification", "", {"C": [0.1, 1.0, 10.0, 100.0]})}
Slow.pause = float(sys.argv[1])
for out in sys.argv[2:]:
    Slow.fits = 0
    compare("iris?n_samples=60", models, out=out, folds=2, trials=3, inner_folds=2, ladder=())
    print(Slow.fits)
"""
FITS = 2 * (3 * 2 + 1)  # folds, trials, inner folds


def command(pause: float, *outs: Path) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(pause), *map(str, outs)]


def measured(out: Path) -> dict[str, RunRecord]:
    return {key: record for key, record in read_records(out).items() if record.kind != "session"}


def test_a_killed_run_goes_on_inside_a_cell(tmp_path: Path) -> None:
    cut, whole, root = tmp_path / "cut", tmp_path / "whole", Path(__file__).parents[2]
    process = subprocess.Popen(command(0.25, cut), cwd=root)
    try:
        deadline, records = time.monotonic() + 120, cut / RECORDS
        while not records.exists() or records.read_text().count("\n") < 3:  # the session and two trials
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait(10)
    before = measured(cut)

    run = subprocess.run(command(0.0, whole, cut), cwd=root, capture_output=True, text=True, check=True)
    fits_whole, fits_resumed = map(int, run.stdout.split())
    undisturbed, resumed = measured(whole), measured(cut)
    assert 0 < len(before) < len(undisturbed) == 2 * (3 + 1)
    assert fits_whole == FITS
    assert fits_resumed == FITS - sum({"trial": 2, "fold": 1}[record.kind] for record in before.values())
    assert {k: r.metrics for k, r in resumed.items()} == {k: r.metrics for k, r in undisturbed.items()}
    assert all(resumed[key] == record for key, record in before.items())


SETTINGS: dict[str, Any] = {"folds": 3, "trials": 1, "ladder": ()}


def test_again_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare("iris?n_samples=30", {"svm": SVC()}, out=tmp_path, **SETTINGS)
    monkeypatch.setattr(SVC, "fit", None)  # calling it would raise
    again = compare("iris?n_samples=30", {"svm": SVC()}, out=tmp_path, **SETTINGS)
    assert again.scores() == first.scores() and again.failures() == []
    more = compare("iris?n_samples=30", {"svm": SVC(), "lr": LogisticRegression()}, out=tmp_path, **SETTINGS)
    assert [row for row in more.scores() if row["model"] == "svm"] == first.scores()
    assert len(more.scores()) == 6


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"folds": 4}, {"preprocessing": ("minmax",)}, {"max_samples": 24}, {"model": SVC(C=2.0)}],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_setting_is_another_comparison(change: dict[str, Any], tmp_path: Path) -> None:
    first = compare("iris?n_samples=30", {"svm": SVC()}, out=tmp_path, **SETTINGS)
    settings = SETTINGS | {key: value for key, value in change.items() if key != "model"}
    other = compare("iris?n_samples=30", {"svm": change.get("model", SVC())}, out=tmp_path, **settings)
    assert not {r.run_id for r in first.records} & {r.run_id for r in other.records}
