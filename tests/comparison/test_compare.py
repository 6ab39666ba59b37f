"""``compare`` from end to end: real data, the user's own estimators, failures, bad input."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, OutlierMixin
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from qworkbench.catalog import ModelEntry
from qworkbench.comparison import Comparison, compare
from qworkbench.datasets import Dataset, load_dataset
from qworkbench.report import write_report
from qworkbench.runs import RunDirectory, RunDirectoryError, RunRecord, read_records

QUICK: dict[str, Any] = {"folds": 3, "trials": 1, "inner_folds": 2, "ladder": ()}
SVM = ModelEntry(
    lambda seed: SVC(random_state=seed),
    "classification",
    "SVM",
    {"C": [0.1, 1.0, 10.0], "gamma": [0.01, 0.1, 1.0]},
)

Seen = list[tuple[str, NDArray[np.float64]]]


class Witness(ClassifierMixin, BaseEstimator):
    """Predicts the first class; keeps every array it is given under its name."""

    seen: ClassVar[dict[str, Seen]] = {}

    def __init__(self, name: str = "witness", broken: str = "", setting: int = 0) -> None:
        self.name = name
        self.broken = broken
        self.setting = setting

    def fit(self, X: Any, y: Any) -> Self:
        if self.broken:
            raise RuntimeError(self.broken)
        self.classes_ = np.unique(y)
        self.seen.setdefault(self.name, []).append(("fit", np.array(X)))
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        self.seen[self.name].append(("predict", np.array(X)))
        return np.full(len(X), self.classes_[0])


class Guard(OutlierMixin, BaseEstimator):
    """Scores by the distance from the mean; keeps every array it is given."""

    seen: ClassVar[Seen] = []

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def fit(self, X: Any, y: Any = None) -> Self:
        assert y is None
        self.seen.append(("fit", np.array(X)))
        self.mean_ = np.mean(X, axis=0)
        return self

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        self.seen.append(("score", np.array(X)))
        return -(np.abs(X - self.mean_) ** self.power).sum(axis=1)

    def predict(self, X: Any) -> NDArray[np.int_]:
        return np.ones(len(X), dtype=int)


def of_kind(result: Comparison, kind: str) -> list[RunRecord]:
    return [record for record in result.records if record.kind == kind]


@pytest.fixture(autouse=True)
def forgetful() -> None:
    Witness.seen.clear()
    Guard.seen.clear()


def test_scores_are_those_of_a_plain_scikit_learn_loop(tmp_path: Path) -> None:
    iris = load_dataset("iris")
    mine = LogisticRegression(C=0.3)
    result = compare(iris, {"mine": mine}, out=tmp_path, folds=4, repeats=2, trials=1, seed=5, ladder=())
    rows = result.scores()
    splits = RepeatedStratifiedKFold(n_splits=4, n_repeats=2, random_state=5).split(iris.X, iris.y)
    for row, (train, test) in zip(rows, splits, strict=True):
        model = make_pipeline(StandardScaler(), mine).fit(iris.X[train], iris.y[train])
        probabilities = model.predict_proba(iris.X[test])
        assert row["score"] == row["accuracy"] == accuracy_score(iris.y[test], model.predict(iris.X[test]))
        assert row["roc_auc"] == pytest.approx(roc_auc_score(iris.y[test], probabilities, multi_class="ovr"))
        assert row["log_loss"] == pytest.approx(log_loss(iris.y[test], probabilities))
        assert row["n_parameters"] == 3 * 4 + 3
    assert [(row["repeat"], row["fold"]) for row in rows] == [(r, f) for r in range(2) for f in range(4)]


def test_every_model_sees_the_same_rows(tmp_path: Path) -> None:
    space = {"setting": [0, 1, 2, 3]}
    witnesses = {
        "first": ModelEntry(lambda seed: Witness("first"), "classification", "", space),
        "second": ModelEntry(lambda seed: Witness("second"), "classification", "", space),
    }
    result = compare("iris?n_samples=60", witnesses, out=tmp_path, folds=3, trials=3, inner_folds=2, ladder=())
    first, second = Witness.seen["first"], Witness.seen["second"]
    assert len(first) == 2 * 3 * (3 * 2 + 1)  # fit and predict, 3 folds, 3 trials of 2 inner folds and the fold
    for (what, rows), (other, others) in zip(first, second, strict=True):
        assert what == other
        np.testing.assert_array_equal(rows, others)
    trials = of_kind(result, "trial")
    assert {(t.spec["model"], t.spec["fold"]) for t in trials} == {(n, f) for n in Witness.seen for f in range(3)}
    assert len(trials) == 2 * 3 * 3


def test_preprocessing_is_fitted_on_training_rows_alone(tmp_path: Path) -> None:
    entry = ModelEntry(lambda seed: Witness(), "classification", "", {"setting": [0, 1]})
    compare("wine?n_samples=60", {"witness": entry}, out=tmp_path, folds=3, trials=2, inner_folds=2, ladder=())
    for what, rows in Witness.seen["witness"]:
        offset = np.abs(rows.mean(axis=0)).max()
        assert offset < 1e-9 if what == "fit" else offset > 1e-3


def test_components_are_kept_after_scaling(tmp_path: Path) -> None:
    steps = ("standardize", "pca:3", "standardize")
    compare("wine?n_samples=60", {"w": Witness()}, out=tmp_path, preprocessing=steps, **QUICK)
    fitted = [rows for what, rows in Witness.seen["witness"] if what == "fit"]
    assert all(rows.shape == (40, 3) for rows in fitted)
    np.testing.assert_allclose([rows.std(axis=0) for rows in fitted], 1.0)


def test_tuning_never_sees_test_rows(tmp_path: Path) -> None:
    data = load_dataset("iris?n_samples=60")
    entry = ModelEntry(lambda seed: Witness(), "classification", "", {"setting": [0, 1]})
    compare(data, {"w": entry}, out=tmp_path, folds=3, trials=2, inner_folds=2, preprocessing=(), ladder=())
    calls = Witness.seen["witness"]
    for fold in range(3):
        mine = calls[fold * 10 : (fold + 1) * 10]  # (2 trials x 2 inner folds + 1) x (fit, predict)
        test = {tuple(row) for row in mine[-1][1]}
        train = {tuple(row) for row in mine[-2][1]}
        for _, rows in mine[:-2]:
            assert {tuple(row) for row in rows} <= train
        assert len(test) and not (test - train) & {tuple(row) for _, rows in mine[:-2] for row in rows}


def test_baselines_beside_an_estimator_of_ones_own(tmp_path: Path) -> None:
    models: list[Any] = ["logistic_regression", ("mine", SVM)]
    result = compare("moons?n_samples=60&noise=0.2", models, out=tmp_path, folds=3, trials=4, inner_folds=2, ladder=())
    assert {row["model"] for row in result.scores()} == {"logistic_regression", "mine"}
    for fold in range(3):
        mine = [t for t in of_kind(result, "trial") if t.spec["model"] == "mine" and t.spec["fold"] == fold]
        best = max(mine, key=lambda t: t.metrics["score"] or 0)
        chosen = next(row for row in result.scores() if row["model"] == "mine" and row["fold"] == fold)
        assert mine[0].spec["params"] == {"C": 1.0, "gamma": "scale"}, "the defaults come first"
        assert len({str(t.spec["params"]) for t in mine}) == 4
        assert chosen["params"] == best.spec["params"]
    text = result.table()
    assert "mine" in text and "logistic_regression" in text and "±" in text
    page = result.report()
    assert page == tmp_path / "report.html" and "mine" in page.read_text(encoding="utf-8")


def test_regression_in_r2(tmp_path: Path) -> None:
    models = {"ridge": Ridge(), "mean": DummyRegressor()}
    result = compare("diabetes?n_samples=120", models, out=tmp_path, **QUICK)
    scores = {name: [r["score"] for r in result.scores() if r["model"] == name] for name in models}
    assert min(scores["ridge"]) > 0.2 and max(scores["mean"]) <= 0
    assert all(row["score"] == row["r2"] for row in result.scores())


def test_the_metric_can_be_chosen(tmp_path: Path) -> None:
    result = compare("moons?n_samples=60", {"svm": SVC()}, out=tmp_path, metric="roc_auc", **QUICK)
    assert all(row["score"] == row["roc_auc"] for row in result.scores())


def test_detectors_train_and_tune_without_anomalies(tmp_path: Path) -> None:
    data = load_dataset("collider_dijets?task=anomaly&n_samples=150&features=physics")
    entry = ModelEntry(lambda seed: Guard(), "anomaly", "", {"power": [0.5, 1.0, 2.0]})
    result = compare(
        data, {"guard": entry}, out=tmp_path, folds=3, trials=2, inner_folds=2, preprocessing=(), ladder=()
    )
    strange = {tuple(row) for row in data.X[data.y == "anomaly"]}
    calls = Guard.seen
    assert len(calls) == 3 * 10
    for number, (what, rows) in enumerate(calls):
        held = {tuple(row) for row in rows} & strange
        assert bool(held) == (number % 10 == 9), f"call {number} ({what})"
    for fold, row in enumerate(result.scores()):
        fitted, asked = calls[10 * fold + 8][1], calls[10 * fold + 9][1]
        power = row["params"]["power"]
        distance = (np.abs(asked - fitted.mean(axis=0)) ** power).sum(axis=1)
        truth = [tuple(x) in strange for x in asked]
        assert row["score"] == row["roc_auc"] == pytest.approx(roc_auc_score(truth, distance))
        assert 0 < row["average_precision"] <= 1
        assert row["rejection_0.1"] is None or row["rejection_0.1"] >= 1


def test_a_failure_is_recorded_and_tried_again(tmp_path: Path) -> None:
    models: dict[str, Any] = {"broken": Witness(broken="no such luck"), "sound": Witness()}
    result = compare("iris?n_samples=30", models, out=tmp_path, **QUICK)
    assert {row["model"] for row in result.scores()} == {"sound"}
    assert len(result.failures()) == 3
    assert "RuntimeError: no such luck" in result.failures()[0]
    assert "no such luck" in result.table()
    assert any("_fitted:" in line for line in of_kind(result, "failure")[0].info["traceback"])
    assert not any("/" in line for line in of_kind(result, "failure")[0].info["traceback"])


def test_what_failed_once_and_then_worked_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    working = Witness.predict
    monkeypatch.setattr(Witness, "predict", lambda self, X: 1 / 0)
    assert len(compare("iris?n_samples=30", {"w": Witness()}, out=tmp_path, **QUICK).failures()) == 3
    monkeypatch.setattr(Witness, "predict", working)
    again = compare("iris?n_samples=30", {"w": Witness()}, out=tmp_path, **QUICK)
    assert again.failures() == [] and len(again.scores()) == 3
    kept = [record for record in read_records(tmp_path).values() if record.kind == "failure"]
    assert len(kept) == 3 and all(record.info["resolved"] for record in kept)


def test_a_trial_that_fails_leaves_the_others(tmp_path: Path) -> None:
    entry = ModelEntry(lambda seed: SVC(), "classification", "", {"C": [-1.0, 0.5]})
    result = compare("iris?n_samples=30", {"svm": entry}, out=tmp_path, folds=3, trials=3, inner_folds=2, ladder=())
    assert len(result.scores()) == 3 and all(row["params"]["C"] > 0 for row in result.scores())
    assert len(result.failures()) == 3 and "'C': -1.0" in result.failures()[0]


def test_warnings_of_a_model_are_kept(tmp_path: Path) -> None:
    result = compare("wine?n_samples=60", {"hasty": LogisticRegression(max_iter=2)}, out=tmp_path, **QUICK)
    assert all("ConvergenceWarning" in fold.info["warnings"][0] for fold in of_kind(result, "fold"))


def test_an_interrupt_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, X: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Witness, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"safe in .*Run the same again"):
        compare("iris?n_samples=30", {"svm": SVC(), "w": Witness()}, out=tmp_path, **QUICK)
    RunDirectory(tmp_path).close()  # the lock was given back
    assert [record.kind for record in read_records(tmp_path).values()] == [
        "session",
        "trial",
        "fold",
        "trial",
    ]


def test_progress_counts_every_step(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    compare("iris?n_samples=30", {"svm": SVM}, out=tmp_path, progress=lambda *step: told.append(step), **QUICK)
    assert [done for done, _, _ in told] == list(range(7))
    assert {total for _, total, _ in told} == {6}
    assert "svm" in told[0][2] and "fold 1/3" in told[0][2] and told[-1][2] == "done"


FEW = Dataset("few", np.arange(12.0)[:, None], np.array(["a"] * 9 + ["b"] * 3), "classification", ("x",), "made up")
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "data set": (lambda: compare("irs"), "did you mean 'iris'"),
    "no data set": (lambda: compare([]), "at least one data set"),
    "a data set twice": (lambda: compare(["iris", "iris"]), "each data set once"),
    "model": (lambda: compare("iris", ["logistic_regresion"]), "did you mean 'logistic_regression'"),
    "model of another task": (lambda: compare("diabetes", {"svm": SVC()}), "for classification"),
    "task without a model": (
        lambda: compare(["iris", "diabetes"], {"svm": SVC()}),
        "no model was given for regression",
    ),
    "no models": (lambda: compare("iris", []), "no model was given for classification"),
    "a model twice": (lambda: compare("iris", [("m", SVC()), ("m", SVC())]), "each model name once"),
    "folds": (lambda: compare("iris", folds=1), "folds as a whole number of at least 2"),
    "trials": (lambda: compare("iris", trials=0), "trials as a whole number of at least 1"),
    "metric": (lambda: compare("iris", metric="acuracy"), "did you mean 'accuracy'"),
    "metric of another task": (lambda: compare("iris", metric="r2"), "a metric for classification"),
    "preprocessing": (lambda: compare("iris", preprocessing=("standardise",)), "did you mean 'standardize'"),
    "pca": (lambda: compare("iris", preprocessing=("pca:9",)), "at most 4 components"),
    "rows": (lambda: compare(FEW, {"svm": SVC()}, folds=4), "at least 4 rows of class b for 4 folds, got 3"),
    "inner rows": (
        lambda: compare(FEW, {"svm": SVC()}, folds=3),
        "at least 3 rows of class b in a training fold",
    ),
    "backend": (lambda: compare("iris", ["variational"], backend="stat"), "did you mean 'statevector'"),
    "rung": (lambda: compare("iris", ["variational"], ladder=("exakt",)), "did you mean 'exact'"),
    "device": (lambda: compare("iris", ["variational"], noise_backend="aer?noise=fake_torinoo"), "torino"),
    "shots": (lambda: compare("iris", ["variational"], shots=0), "shots"),
    "ladder rows": (lambda: compare("iris", ladder_samples=1), "ladder_samples"),
    "space": (
        lambda: compare("iris", {"m": ModelEntry(lambda seed: SVC(), "classification", "", {"gama": [1.0]})}),
        "did you mean 'gamma'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_work(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("thing", [SVC, "svm", 3, StandardScaler()])
def test_what_is_no_estimator_is_refused(thing: Any, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match=r"'m'|unknown model"):
        compare("iris", {"m": thing}, out=tmp_path / "run")


def test_an_unwritable_directory_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="cannot write"):
        compare("iris", {"w": Witness()}, out=tmp_path / "file" / "run", **QUICK)
    assert not Witness.seen


VARIANT = r"mine \([0-9a-f]{6}\)"


def test_the_page_shows_this_comparison_and_no_other_of_the_name(tmp_path: Path) -> None:
    scores = []
    for model in (SVC(), SVC(C=1e-6), SVC()):
        result = compare("iris?n_samples=60", {"mine": model}, out=tmp_path, **QUICK)
        mean = float(np.mean([row["score"] for row in result.scores()]))
        scores.append(mean)
        page = result.report().read_text(encoding="utf-8")
        assert f"{mean:.3f}" in page and not re.search(VARIANT, page)
    assert scores[0] == scores[2] != scores[1]
    assert f"{scores[1]:.3f}" not in page
    both = write_report([tmp_path], tmp_path / "all.html").read_text(encoding="utf-8")
    assert len(set(re.findall(VARIANT, both))) == 2
