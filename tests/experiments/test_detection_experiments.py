"""Verdicts in words follow the records; detectors come from the registry; settings reach the measurement."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import credit_and_friends, qgan_hep
from experiments._detection import Setting, by_seed, detectors, difference, dominated, fewer_data, part, split
from experiments._rows import records
from qworkbench import baselines
from qworkbench.catalog import ModelEntry
from qworkbench.datasets import anomalies
from qworkbench.errors import MissingExtraError
from qworkbench.models import QGANDetector
from qworkbench.models.density_detectors import MahalanobisDetector
from qworkbench.runs import RunRecord

FORM = "collider_dijets?task=anomaly&features=physics&n_samples=400"


def record(model: str, setting: str, seed: int, score: float | None, quantum: bool, **info: object) -> RunRecord:
    spec = {"model": model, "setting": setting, "problem": seed, "quantum": quantum, "row": f"{model}, {setting}"}
    return RunRecord("experiment", spec, {"score": score}, {"delong_to_qgan": {}} | info)


def scores(model: str, setting: str, mean: float, *, quantum: bool = False, spread: float = 0.01) -> list[RunRecord]:
    offsets = np.linspace(-spread, spread, 10)
    return [record(model, setting, seed, mean + offset, quantum) for seed, offset in enumerate(offsets)]


@pytest.mark.parametrize(
    ("qgan", "gan_small", "word", "twin"),
    [(0.80, 0.60, "reproduced", False), (0.80, 0.80, "reproduced", True), (0.70, 0.70, "not reproduced", False)],
)
def test_fewer_data_is_judged_by_its_interval(qgan: float, gan_small: float, word: str, twin: bool) -> None:
    measured = scores("qgan", "small", qgan, quantum=True) + scores("gan", "small", gan_small)
    measured += scores("gan", "large", 0.8, spread=0.0)
    line = fewer_data(measured, "small", "large")
    assert line.startswith(f"{word}: ") and ("so does the classical twin" in line) is twin


def test_a_wide_interval_is_undecided() -> None:
    measured = scores("qgan", "small", 0.8, quantum=True, spread=0.2) + scores("gan", "small", 0.8)
    assert fewer_data(measured + scores("gan", "large", 0.8), "small", "large").startswith("undecided: ")


def test_the_best_classical_detector_dominates_or_not() -> None:
    tests = {"qgan": {"": [0.0, -1, 1, 1.0]}, "gmm": {"": [0.05, 0.01, 0.09, 0.01]}}
    qgan = [record("qgan", "s", seed, 0.7 + 0.001 * seed, True, delong_to_qgan=tests["qgan"]) for seed in range(10)]
    better = [record("gmm", "s", seed, 0.75, False, delong_to_qgan=tests["gmm"]) for seed in range(10)]
    line = dominated([*qgan, *better, *scores("gan", "s", 0.6)], "s")
    assert line.startswith("dominated by gmm: s: ")
    assert "DeLong p < 0.05 for it in 10 and against it in 0 of 10" in line and "1 of 2 classical detectors" in line
    assert dominated(qgan + scores("gan", "s", 0.6), "s").startswith("not dominated: ")
    assert dominated(qgan + scores("gan", "s", 0.705, spread=0.2), "s").startswith("undecided against gan: ")
    assert "no quantum or no classical" in dominated(qgan, "s")


def test_choosing_the_opponent_widens_the_interval() -> None:
    a, b = {0: 1.0, 1: 1.2, 2: 1.1}, {0: 0.9, 1: 1.0, 2: 1.05}
    _, mean, low, high = difference(a, b)
    assert mean == pytest.approx(0.35 / 3) and difference(a, b, family=5)[2] < low < high
    with pytest.raises(ValueError, match="no seed has both"):
        difference({0: 1.0}, {1: 1.0})


def test_detectors_of_the_registry_take_part_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(seed: int) -> None:
        raise MissingExtraError("pip install ...")

    entry = baselines.BASELINES["gmm"]
    monkeypatch.setitem(baselines.BASELINES, "newcomer", entry)
    monkeypatch.setitem(baselines.BASELINES, "absent", ModelEntry(missing, "anomaly", ""))
    assert {"newcomer", "qgan", "mahalanobis"} <= set(detectors(())) and "absent" not in detectors(())
    with pytest.raises(ValueError, match="unknown detector 'gnn'"):
        detectors(("gnn",))


def test_a_detector_that_does_not_fit_is_left_out_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    class Refusing(MahalanobisDetector):
        def fit(self, X, y=None):
            raise ValueError("expected 7 features")

    models = detectors(("mahalanobis",)) | {"refusing": ModelEntry(lambda seed: Refusing(), "anomaly", "")}
    problem = split(FORM, 50)
    shared = {"experiment": "e", "problem": 0}
    good, bad = records(shared, "", [part(problem, Setting("s", 40), 0, models, None)], {})
    assert good.metrics["score"] > 0.5 and bad.metrics == {"score": None} and "7 features" in bad.info["error"]
    assert "left out: refusing, s: expected 7 features" in capsys.readouterr().out
    assert by_seed([good, bad], "refusing", "s") == {}


def test_shots_change_the_scores_and_count_circuits() -> None:
    problem = split(FORM, 50)
    small = {"n_qubits": 2, "n_layers": 1, "epochs": 1, "bank_size": 8}
    models = {"qgan": ModelEntry(lambda seed: QGANDetector(**small, random_state=seed), "anomaly", "", quantum=True)}
    settings = [Setting("s", 40, n_test=20, backend=backend) for backend in (None, "statevector?shots=64")]
    (exact,), (shots,) = (records({"problem": 0}, "", [part(problem, s, 0, models, None)], {}) for s in settings)
    assert exact.run_id != shots.run_id and exact.metrics["score"] != shots.metrics["score"]
    assert shots.info["shots"] > 0 and exact.spec["n_test"] == [20, 20]


def test_no_test_event_is_trained_on() -> None:
    problem = qgan_hep.collider("physics", 500)
    tested = {tuple(row) for row in problem.test_background}
    assert len(problem.test_background) == 500 and not tested & {tuple(row) for row in problem.background}
    spare = {tuple(row) for row in problem.anomalies}
    assert all(not spare & {tuple(row) for row in rows} for rows in problem.test_anomalies.values())
    assert set(problem.test_anomalies) == {"WW", "HH"}


def test_at_least_four_real_tables_need_no_extra(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(anomalies.importlib.util, "find_spec", lambda name: None)
    usable = [table for table in credit_and_friends.TABLES if credit_and_friends._problem(table, 100) is not None]
    assert usable == [table for table in credit_and_friends.TABLES if not table.startswith("keel")] and len(usable) >= 4
    assert "pip install 'qworkbench[tables]'" in capsys.readouterr().out
