"""Trained quantum models on other backends: same weights, counted circuits, saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import hinge_loss
from sklearn.multiclass import OneVsRestClassifier

from qworkbench import VariationalClassifier, load
from qworkbench.comparison import Comparison, compare
from qworkbench.comparison.ladder import rungs as ladder_rungs
from qworkbench.comparison.scoring import Outputs, loss
from qworkbench.datasets import load_dataset
from qworkbench.report.evidence import collect
from qworkbench.runs import RunRecord

DATA = "iris?n_samples=24&classes=setosa,versicolor"
TINY = VariationalClassifier(n_qubits=2, n_layers=1, epochs=2)
SETTINGS: dict[str, Any] = {"folds": 2, "trials": 1, "shots": 500}
MODELS: dict[str, Any] = {"tiny": TINY, "classical": LogisticRegression()}


def rungs(result: Comparison) -> dict[tuple[int, str], RunRecord]:
    """Those of the model ``tiny``, by fold and rung."""
    found = [r for r in result.records if r.kind == "rung" and r.spec["model"] == "tiny"]
    return {(r.spec["fold"], r.spec["rung"]): r for r in found}


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    out = tmp_path_factory.mktemp("climbed")
    steps = ("shots", "generic:2?shots=500&seed=4")
    return compare(DATA, MODELS | {"kernel": "quantum_kernel"}, out=out, ladder=steps, **SETTINGS)


def test_the_exact_rung_repeats_the_score_of_the_fold(climbed: Comparison) -> None:
    exact = [r for r in climbed.records if r.kind == "rung" and r.spec["rung"] == "exact"]
    folds = {(r.spec["model"], r.spec["fold"]): r for r in climbed.records if r.kind == "fold"}
    assert len(exact) == 4
    for record in exact:
        fold = folds[record.spec["model"], record.spec["fold"]]
        assert record.metrics["score"] == fold.metrics["score"]
        assert record.metrics["roc_auc"] == fold.metrics["roc_auc"]
        assert record.spec["backend"] == "aer" and record.spec["ladder_samples"] == 12
        assert record.spec["protocol"] == fold.spec["protocol"]


def test_shots_move_the_outputs_a_little(climbed: Comparison) -> None:
    tiny = rungs(climbed)
    for fold in range(2):
        exact, shots = tiny[fold, "exact"], tiny[fold, "shots"]
        moved = shots.metrics["mean_abs_output_change"]
        # An expectation value of 500 shots has a standard error of at most 0.045; the read-out is no steeper.
        assert moved is not None and 0 < moved < 0.1
        score, change, before = shots.metrics["score"], shots.metrics["score_change"], exact.metrics["score"]
        assert score is not None and change is not None and score - change == pytest.approx(before)
        assert shots.info["circuits"] == 12 and shots.info["shots"] == 12 * 500
        assert shots.spec["shots"] == 500 and shots.spec["backend"].startswith("aer?shots=500&seed=")
        assert exact.info["shots"] == 0


def test_quantum_folds_count_circuits_and_keep_the_model(climbed: Comparison) -> None:
    data = load_dataset(DATA)
    for record in (r for r in climbed.records if r.kind == "fold"):
        assert record.spec["quantum"] == (record.spec["model"] != "classical")
        if not record.spec["quantum"]:
            assert "circuits" not in record.info and record.spec["backend"] is None
            continue
        assert record.info["circuits"] > 12 and record.spec["backend"] == "statevector"
        model = load(climbed.run_dir / record.info["saved_model"])
        assert set(model.predict(data.X)) <= set(data.y)
    assert "generic:2" in climbed.table()


def test_the_ladder_can_be_climbed_later_without_training(climbed: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VariationalClassifier, "fit", None)
    more = compare(DATA, MODELS, out=climbed.run_dir, ladder=("shots", "aer?shots=100&seed=1"), **SETTINGS)
    assert more.failures() == []
    assert {rung for _, rung in rungs(more)} == {"exact", "shots", "aer?shots=100&seed=1"}
    assert rungs(more)[0, "shots"] == rungs(climbed)[0, "shots"]


def test_a_lost_model_is_trained_again(climbed: Comparison) -> None:
    fold = next(r for r in climbed.records if r.kind == "fold" and r.spec["model"] == "tiny")
    (climbed.run_dir / fold.info["saved_model"]).write_bytes(b"not a model")
    step = "pennylane:default.qubit"
    more = compare(DATA, MODELS, out=climbed.run_dir, ladder=(step,), **SETTINGS)
    assert more.failures() == []
    for number in range(2):
        assert rungs(more)[number, step].metrics["mean_abs_output_change"] == pytest.approx(0, abs=1e-9)


def test_a_model_that_ignores_its_backend_fails_the_ladder(tmp_path: Path) -> None:
    models = {"wrapped": OneVsRestClassifier(TINY), "classical": LogisticRegression()}
    result = compare(DATA, models, out=tmp_path, ladder=("shots",), **SETTINGS)
    assert len([row for row in result.scores() if row["model"] == "wrapped"]) == 2
    assert len(result.failures()) == 4 and "ran no circuit" in result.failures()[0]


def test_training_with_shots_on_a_named_backend(tmp_path: Path) -> None:
    result = compare(DATA, MODELS, out=tmp_path, backend="statevector?shots=50", ladder=(), folds=2, trials=1)
    fold = next(r for r in result.records if r.kind == "fold" and r.spec["quantum"])
    assert fold.spec["backend"] == "statevector?shots=50" and fold.info["shots"] > 0
    assert np.isfinite(fold.info["loss_curve"]).all() and len(fold.info["loss_curve"]) == 2


LADDER = ("exact", "shots", "transpiled", "noise", "mitigated", "device")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    settings = SETTINGS | {"noise_backend": "generic:2", "device": "generic:3?seed=5"}
    return compare(DATA, MODELS, out=tmp_path_factory.mktemp("whole"), ladder=LADDER, **settings)


def test_every_rung_has_a_loss_and_the_mitigated_one_no_more_shots(whole: Comparison) -> None:
    found = rungs(whole)
    assert whole.failures() == [] and {rung for _, rung in found} == set(LADDER)
    for fold in range(2):
        assert all((found[fold, rung].metrics["loss"] or 0) > 0 for rung in LADDER)
        assert found[fold, "transpiled"].metrics["mean_abs_output_change"] == pytest.approx(0, abs=1e-9)
        assert found[fold, "transpiled"].spec["backend"].startswith("aer?device=generic:2")
        spent = [found[fold, rung].info["shots"] for rung in ("noise", "mitigated", "device")]
        assert spent[0] == spent[2] == 12 * 500 and 0.98 * spent[0] < spent[1] <= spent[0]
        assert found[fold, "device"].spec["backend"] == "generic:3?shots=500&seed=5"


def test_mitigation_is_judged_against_noise_on_the_same_folds(whole: Comparison) -> None:
    (result,) = collect(whole.records).datasets
    by_name = {rung.rung: rung for rung in result.rungs}
    assert list(by_name) == list(LADDER)
    found = rungs(whole)
    gains = [
        (found[f, "noise"].metrics["mean_abs_output_change"] or 0)
        - (found[f, "mitigated"].metrics["mean_abs_output_change"] or 0)
        for f in range(2)
    ]
    gain = by_name["mitigated"].gain
    assert gain is not None and gain.mean == pytest.approx(np.mean(gains))
    assert all(rung.gain is None for name, rung in by_name.items() if name != "mitigated")
    assert "mitigation" in whole.table() and "At equal shots" in whole.table()


@pytest.mark.parametrize(
    ("noise", "device", "expected"),
    [
        ("generic:2", None, LADDER[:-1]),
        ("generic:2", "generic:3", LADDER),
        ("aer?noise=depolarizing:0.01", None, ("exact", "shots", "noise", "mitigated")),
        ("pennylane:default.mixed", None, ("exact", "shots", "noise")),
    ],
)
def test_the_default_ladder_is_what_can_be_climbed(noise: str, device: str | None, expected: tuple[str, ...]) -> None:
    assert tuple(rung.name for rung in ladder_rungs(None, 100, noise, device=device)) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ladder": ("device",)}, "device="),
        ({"ladder": ("transpiled",), "noise_backend": "aer?noise=depolarizing:0.01"}, "noise of a device"),
        ({"ladder": ("mitigated",), "mitigation": "zen"}, "'zne'"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused_before_training(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(DATA, MODELS, out=tmp_path / "none", **settings)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_loss_of_decision_values_is_the_hinge_loss(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    classes, y = np.arange(n_classes), rng.integers(0, n_classes, 40)
    values = rng.normal(size=40 if n_classes == 2 else (40, n_classes))
    expected = hinge_loss(y, values, labels=classes)
    assert loss("classification", y, Outputs(values, y, classes, False)) == pytest.approx(expected)
    one_hot = (y[:, None] == classes).astype(float)
    assert loss("classification", y, Outputs(one_hot, y, classes, False)) == 0
    assert loss("anomaly", y, Outputs(values, None, None, False)) is None
    assert loss("regression", y, Outputs(y + 2.0, None, None, False)) == pytest.approx(4)


@pytest.mark.parametrize("noise", ["aer?noise=fake_manila", "ibm-fake:manila", "generic:5"])
def test_a_device_model_is_mitigated_by_default(noise: str) -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    steps = ladder_rungs(None, 100, noise)
    assert [step.name for step in steps] == ["exact", "shots", "transpiled", "noise", "mitigated"]
