"""The command line, as a user or a script meets it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import qworkbench
from qworkbench.cli import comparing, main
from qworkbench.comparison.contestants import known_models
from qworkbench.datasets import DATASETS, load_dataset
from qworkbench.engines.registry import ENGINES
from qworkbench.runs import read_records

DOCS = Path(__file__).parents[1] / "docs" / "cli.md"
QUICK = ("--param", "epochs=2", "--param", "n_layers=1")


def without_ibm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed."""
    for module in ("qiskit_ibm_runtime", "qiskit_ibm_runtime.fake_provider"):
        monkeypatch.setitem(sys.modules, module, None)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        printed = capsys.readouterr()
        code = stop.value.code
        return Outcome(0 if code is None else int(code), printed.out, printed.err)

    return call


def ok(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    return outcome


def refused(outcome: Outcome, message: str, code: int = 1) -> None:
    """One line on stderr, nothing on stdout."""
    assert outcome.code == code
    assert re.search(message, outcome.err), outcome.err
    assert re.fullmatch(r"error: [^\n]+\n", outcome.err), outcome.err
    assert outcome.out == ""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three species by two sizes as a CSV file; 75 rows."""
    X, y = load_dataset("iris", return_X_y=True)
    frame = pd.DataFrame(X[::2, 2:], columns=["width", "height"]).assign(kind=y[::2])
    path = tmp_path / "flowers.csv"
    frame.to_csv(path, index=False)
    return path


def changed(table: Path, **columns: Any) -> str:
    """The table with other columns; None takes one away."""
    frame = pd.read_csv(table)
    for name, values in columns.items():
        frame = frame.drop(columns=name) if values is None else frame.assign(**{name: values})
    path = table.with_name("changed.csv")
    frame.to_csv(path, index=False)
    return path.name


# What there is


def test_the_program_says_what_it_can(run: Run) -> None:
    commands = ("compare", "demo", "train", "predict", "detect", "backends", "datasets", "models", "report", "run")
    shown = ok(run("--help")).out
    for command in commands:
        assert re.search(rf"│ {command} ", shown), command
        assert "Usage: qworkbench" in ok(run(command, "-h")).out
    assert ok(run("--version")).out == f"qworkbench {qworkbench.__version__}\n"


@pytest.mark.parametrize(
    ("command", "known"), [("backends", ENGINES), ("datasets", DATASETS), ("models", known_models())]
)
def test_the_tables_of_the_library_are_listed(command: str, known: dict[str, Any], run: Run) -> None:
    shown = ok(run(command)).out
    assert all(name in shown for name in known)
    listed = ok(run(command, "--json")).json
    assert [row["name"] for row in listed] == list(known)
    assert all(row for row in listed)


def test_a_data_set_is_described(run: Run) -> None:
    described = ok(run("datasets", "moons?noise=0.2", "--json")).json
    assert described["options"] == {"n_samples": 200, "noise": 0.1, "seed": 0}
    assert (described["rows"], described["classes"]) == (200, {"0": 100, "1": 100})
    assert "mass_j1" in ok(run("datasets", "collider_dijets")).out
    assert "path=" in ok(run("datasets", "mnist", "--json")).json["needs"]


def test_a_model_is_described(run: Run) -> None:
    described = ok(run("models", "variational", "--json")).json
    assert described["parameters"]["backend"] == "statevector"
    assert described["search space"]["n_qubits"] == [2, 4, 6]
    assert "learning_rate" in ok(run("models", "variational")).out
    for name in known_models():
        assert ok(run("models", name, "--json")).json["name"] == name


def test_a_backend_is_checked(run: Run) -> None:
    checked = ok(run("backends", "check", "statevector", "--json")).json
    assert checked["backend"] == "statevector"
    assert len(checked["passed"]) > 5


# Train and predict


@pytest.mark.parametrize("model", ["variational", "quantum_kernel", "variational_regressor"])
def test_predictions_come_with_errors(model: str, run: Run) -> None:
    data = "moons?n_samples=12" if "regressor" not in model else "diabetes?n_samples=12"
    ok(run("train", data, "--model", model, "--out", "e.qwb"))
    plain, exact, noisy = (
        ok(run("predict", "e.qwb", data, "--json", *more)).json
        for more in ((), ("--errors",), ("--errors", "--backend", "statevector?shots=80&seed=1"))
    )
    assert exact["prediction"] == pytest.approx(plain["prediction"])
    names = [name for name in exact if name.startswith("error(")]
    assert names and all(not np.any(exact[name]) and np.all(np.array(noisy[name]) > 0) for name in names)


def test_a_classical_model_has_no_errors_of_shots(run: Run) -> None:
    ok(run("train", "moons?n_samples=12", "--model", "rbf_svm", "--out", "c.qwb"))
    refused(run("predict", "c.qwb", "moons?n_samples=12", "--errors"), "expected a quantum model for --errors, got SVC")


def test_a_trained_model_predicts_on_another_backend(run: Run) -> None:
    trained = ok(run("train", "moons", *QUICK, "--seed", "1", "--out", "m.qwb", "--json")).json
    assert trained["model"] == "m.qwb"
    assert 0.5 < trained["metrics"]["accuracy"] <= 1
    assert trained["info"]["n_test"] == 50
    exact = ok(run("predict", "m.qwb", "moons?seed=1", "--json")).json
    noisy = ok(run("predict", "m.qwb", "moons?seed=1", "--backend", "aer?shots=50&seed=1", "--json")).json
    assert len(exact["prediction"]) == 200
    p_exact, p_noisy = np.array(exact["p(1)"]), np.array(noisy["p(1)"])
    assert not np.array_equal(p_exact, p_noisy)
    assert abs(p_exact - p_noisy).mean() < 0.15
    y = load_dataset("moons?seed=1").y
    assert exact["metrics"]["accuracy"] == pytest.approx(np.mean(y == np.array(exact["prediction"])))


def test_training_leaves_a_record_and_the_same_seed_the_same_numbers(run: Run) -> None:
    ok(run("train", "moons?n_samples=40", *QUICK, "--out", "a.qwb"))
    ok(run("train", "moons?n_samples=40", *QUICK, "--out", "b.qwb"))
    ok(run("train", "moons?n_samples=40", *QUICK, "--out", "c.qwb", "--seed", "7"))
    records = list(read_records("runs/train").values())
    assert [record.kind for record in records] == ["train", "train"]
    assert records[0].spec["settings"]["class"] == "sklearn.pipeline.Pipeline"
    predictions = [ok(run("predict", f"{name}.qwb", "moons", "--json")).json["p(0)"] for name in "abc"]
    assert predictions[0] == predictions[1] != predictions[2]


def test_a_table_of_the_users_own(run: Run, table: Path) -> None:
    ok(run("train", "flowers.csv?target=kind", "-m", "quantum_kernel", "--out", "m.qwb"))
    known = ok(run("predict", "m.qwb", "flowers.csv", "--out", "p.csv", "--json")).json
    assert known["metrics"]["accuracy"] > 0.8
    other_order = changed(table, kind=None, width=None, added=1.0)
    frame = pd.read_csv(other_order).assign(width=pd.read_csv(table)["width"])
    frame.to_csv(other_order, index=False)
    unknown = ok(run("predict", "m.qwb", other_order, "--json")).json
    assert unknown["prediction"] == known["prediction"]
    assert unknown["metrics"] == {}
    decisions = [f"decision({name})" for name in ("setosa", "versicolor", "virginica")]
    written = pd.read_csv("p.csv")
    assert list(written.columns) == ["row", "prediction", *decisions]
    assert list(written["prediction"]) == known["prediction"]


def test_regression(run: Run) -> None:
    data = "diabetes?n_samples=60"
    trained = ok(run("train", data, "-m", "variational_regressor", *QUICK, "--out", "m.qwb", "--json")).json
    assert "r2" in trained["metrics"]
    predicted = ok(run("predict", "m.qwb", data, "--json")).json
    assert len(predicted["prediction"]) == 60
    assert "r2" in predicted["metrics"]


def test_a_model_without_a_file_format_is_trained_but_not_kept(run: Run) -> None:
    outcome = ok(run("train", "iris", "-m", "random_forest"))
    assert "the model is not kept: " in outcome.err
    assert "RandomForestClassifier cannot be saved" in outcome.err
    assert "accuracy" in outcome.out
    refused(run("train", "iris", "-m", "random_forest", "--out", "m.qwb"), "cannot be saved; what can: .*SVC")
    assert not list(Path().glob("*.qwb"))


# Detect


def test_anomalies_of_a_labelled_data_set(run: Run) -> None:
    data = "collider_dijets?task=anomaly&features=physics&n_samples=300"
    found = ok(run("detect", data, "-m", "mahalanobis", "--out", "s.csv", "--json")).json
    assert found["metrics"]["roc_auc"] > 0.5
    scores = pd.read_csv("s.csv")
    assert list(scores.columns) == ["row", "score", "anomaly", "label"]
    n_anomalies = int((load_dataset(data).y == "anomaly").sum())
    assert (scores["label"] == "anomaly").sum() == n_anomalies
    assert len(scores) < 300


def test_a_detector_of_a_table_is_saved_and_scores_another(run: Run, table: Path) -> None:
    background = changed(table, kind=None)
    options = ("-m", "qgan", *QUICK, "--param", "bank_size=64", "--contamination", "0.1", "--save", "d.qwb")
    first = ok(run("detect", background, background, *options, "--json")).json
    assert sum(first["anomaly"]) == pytest.approx(7, abs=1)
    assert first["metrics"] == {}
    again = ok(run("detect", "d.qwb", background, "--json")).json
    assert again["score"] == first["score"]
    far = pd.read_csv(background) + 1000
    far.to_csv("far.csv", index=False)
    assert all(ok(run("detect", "d.qwb", "far.csv", "--json")).json["anomaly"])


def test_detectors_and_predictors_are_not_mixed_up(run: Run, table: Path) -> None:
    ok(run("train", "flowers.csv?target=kind", *QUICK, "--out", "m.qwb"))
    refused(run("detect", "m.qwb", "flowers.csv"), "m.qwb is no detector of anomalies: qworkbench predict m.qwb")
    refused(run("detect", "m.qwb"), "expected the rows to score")
    refused(run("detect", "flowers.csv?target=kind"), "task=anomaly, a file also normal=LABEL")
    background = changed(table, kind=None)
    ok(run("detect", background, "-m", "qgan", *QUICK, "--param", "bank_size=16", "--save", "d.qwb"))
    refused(run("predict", "d.qwb", background), "d.qwb is a detector of anomalies: qworkbench detect d.qwb")
    refused(run("train", "moons", "-m", "qgan"), "is for anomaly, the data for classification: take one of variational")


# Compare, report, run


def test_a_comparison_resumes_and_reports(run: Run) -> None:
    command = ("compare", "moons?n_samples=40", "-m", "variational", "-m", "logistic_regression")
    settings = ("--folds", "2", "--trials", "1", "--no-ladder", "--out", "c")
    shown = ok(run(*command, *settings))
    assert "variational" in shown.out
    assert "c/report.html" in shown.out
    assert "[1/8]" in shown.err
    n_records = len(read_records("c"))
    again = ok(run(*command, *settings, "--no-report", "--json")).json
    assert again["report"] is None
    assert len(again["scores"]) == 4
    assert len(read_records("c")) == n_records + 1  # the session's
    page = Path(ok(run("report", "c", "--out", "page.html")).out.strip())
    assert page.read_text(encoding="utf-8").startswith("<!")
    assert ok(run("report", "c", "--json")).json == {"report": "c/report.html"}


def test_what_failed_is_shown_and_sets_the_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ibm(monkeypatch)
    outcome = run(
        *("compare", "moons?n_samples=40", "-m", "variational", "-m", "logistic_regression", "--folds", "2"),
        *("--trials", "1", "--no-report", "--backend", "ibm-fake:torino?shots=10", "--out", "c", "--json"),
    )
    assert outcome.code == 1
    assert len(outcome.json["scores"]) == 2  # those of the model that ran
    assert "error: " in outcome.err
    assert "pip install 'qworkbench[ibm]'" in outcome.err


def test_control_c_says_what_is_safe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt("stopped; 3 records are safe in c")

    monkeypatch.setattr("qworkbench.comparison.run.compare", stopped)
    outcome = run("compare", "moons", "--out", "c")
    assert (outcome.code, outcome.err) == (130, "stopped; 3 records are safe in c\n")


@pytest.mark.parametrize("quick", [True, False])
def test_the_demo_is_made_of_known_models_and_data(quick: bool) -> None:
    for part in comparing.DEMO[quick]:
        dataset = load_dataset(part["datasets"])
        for name in part["models"]:
            assert known_models()[name].task == dataset.task


def test_the_demo_runs_to_its_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (
        {"datasets": "moons?n_samples=30", "models": ("logistic_regression", "variational"), "ladder": ()},
        {"datasets": "circles?n_samples=30", "models": ("logistic_regression",)},
    )
    monkeypatch.setitem(comparing.DEMO, True, parts)
    shown = ok(run("demo", "--quick")).out
    assert "moons" in shown
    assert "circles" in shown
    assert Path("runs/demo/report.html").is_file()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "spin.py").write_text('"""Turns a coin.\n\nMore."""\nraise SystemExit("imported")\n')
    (folder / "_cli.py").write_text("def main(name, argv):\n    print(name, *argv)\n")
    return tmp_path


def test_an_experiment_gets_what_follows_its_name(checkout: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from qworkbench.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(DOCS.parents[1])!r}); {code}", *arguments],
            cwd=checkout,
            capture_output=True,
            text=True,
        )

    passed = call("run", "spin", "--help", "--faces", "2")
    assert (passed.returncode, passed.stdout) == (0, "spin --help --faces 2\n")
    assert "Turns a coin." in call("run", "--list").stdout
    wrong = call("run", "spni")
    assert (wrong.returncode, wrong.stderr) == (1, "error: unknown experiment 'spni'; did you mean 'spin'?\n")


def test_experiments_need_a_checkout(run: Run) -> None:
    refused(run("run", "adhoc_kernel"), "not installed with the package; run this in the root of a checkout")


# Bad input


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"width": [np.nan] + [1.0] * 74}, "missing values .*'width': 1"),
        ({"width": [np.inf] + [1.0] * 74}, "'width', got infinity"),
        ({"width": ["wide"] + ["1.0"] * 74}, "expected numbers in the column 'width'"),
        ({"kind": "cat"}, "at least 2 different values in the target"),
        ({"kind": ["cow"] + ["cat"] * 74}, "at least 2 rows of each class, got 1 of cow"),
        ({"kind": np.linspace(0, 1, 75)}, "'variational' is for classification, the data for regression"),
        ({"kind": None}, "unknown column 'kind'"),
    ],
)
def test_bad_tables_are_refused(columns: dict[str, Any], message: str, run: Run, table: Path) -> None:
    refused(run("train", f"{changed(table, **columns)}?target=kind", *QUICK), message)
    assert not Path("model.qwb").exists()


def test_a_continuous_target_is_not_taken_for_classes(run: Run, table: Path) -> None:
    data = f"{changed(table, kind=np.linspace(0, 1, 75))}?target=kind&task=classification"
    refused(run("train", data), "seems to be continuous; expected classes, or task=regression")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train mons", "unknown data set 'mons'; did you mean 'moons'"),
        ("train absent.csv?target=y", "no such file: absent.csv"),
        ("train moons?noize=1", "unknown option 'noize'; did you mean 'noise'"),
        ("train moons -m variationl", "unknown model 'variationl'; did you mean 'variational'"),
        ("train moons --backend statevektor", "unknown backend 'statevektor'; did you mean 'statevector'"),
        ("train moons --backend aer?token=abc", "'token' looks like a credential"),
        ("train moons -m logistic_regression --backend aer", "is classical and runs no circuits"),
        ("train moons --param epoch=3", "unknown parameter of variational 'epoch'; did you mean 'epochs'"),
        ("train moons --param epochs", "expected --param KEY=VALUE, got 'epochs'"),
        ("train moons --param epochs=0", "expected epochs .* of at least 1"),
        ("train moons --param epochs=many", "error: "),
        ("train moons --param circuit=qcn", "unknown circuit 'qcn'; did you mean 'qcnn'"),
        ("train moons -p pca:9", "n_components=9"),
        ("train moons -p pac:2", "unknown preprocessing 'pac:2'; did you mean 'pca:K'"),
        ("train moons --test-size 7", "test_size"),
        ("train moons --param n_qubits=60", r"60 qubits need .* GiB .* GiB are available"),
        ("predict absent.qwb moons", "No such file or directory: absent.qwb"),
        ("compare mons", "unknown data set 'mons'"),
        ("compare moons -m variationl", "unknown model 'variationl'"),
        ("compare moons --folds 1", "expected folds as a whole number of at least 2, got 1"),
        ("compare moons -m variational --noise air", "unknown backend 'air'; did you mean 'aer'"),
        ("compare moons -m qgan", "'qgan' is for anomaly"),
        ("report absent", "no records in absent"),
        ("datasets mons", "unknown data set 'mons'"),
        ("models variationl", "unknown model 'variationl'"),
        ("backends check are", "unknown backend 'are'; did you mean 'aer'"),
    ],
)
def test_bad_input_gives_one_clear_line(arguments: str, message: str, run: Run) -> None:
    refused(run(*arguments.split()), message)
    assert not Path("model.qwb").exists()


def test_rows_that_do_not_fit_the_model_are_refused(run: Run, table: Path) -> None:
    ok(run("train", "flowers.csv?target=kind", *QUICK, "--out", "m.qwb"))
    refused(run("predict", "m.qwb", "iris"), "expected the features width, height of the model, got sepal length")
    refused(
        run("predict", "m.qwb", changed(table, height=None)),
        "changed.csv lacks the column 'height', which the model needs",
    )
    bad = changed(table, height=[np.nan] + [1.0] * 74)
    refused(run("predict", "m.qwb", bad), "expected finite numbers in the column 'height'")
    refused(run("predict", "m.qwb", changed(table, height="tall")), "'height', got 'tall'")
    refused(run("predict", "m.qwb", "flowers.csv", "--backend", "are"), "unknown backend 'are'")


def test_a_damaged_model_is_refused(run: Run) -> None:
    ok(run("train", "moons?n_samples=40", *QUICK, "--out", "m.qwb"))
    damaged = bytearray(Path("m.qwb").read_bytes())
    damaged[-20] ^= 1
    Path("m.qwb").write_bytes(damaged)
    refused(run("predict", "m.qwb", "moons"), "m.qwb is damaged: its checksum does not match")


def test_a_missing_extra_is_named_with_its_install_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ibm(monkeypatch)
    message = r"needs the package 'qiskit_ibm_runtime'.*pip install 'qworkbench\[ibm\]'"
    refused(run("train", "moons", "--backend", "ibm-fake:torino?shots=10"), message)


def test_an_unwritable_place_is_found_before_the_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("began to work")

    monkeypatch.setattr("qworkbench.comparison.run.run_cell", never)
    monkeypatch.setattr("qworkbench.cli.learning._fit_and_score", never)
    Path("file").touch()
    Path("folder").mkdir()
    refused(run("compare", "moons", "--out", "file/c"), "cannot write to the run directory file/c")
    refused(run("train", "moons", "--runs", "file"), "cannot write to the run directory file")
    refused(run("train", "moons", "--out", "file/m.qwb"), "cannot write file/m.qwb")
    refused(run("train", "moons", "--out", "folder"), "expected a file to write, got the folder folder")


def test_debug_shows_the_traceback_wherever_it_stands(run: Run) -> None:
    for arguments in (("--debug", "train", "mons"), ("train", "mons", "--debug")):
        outcome = run(*arguments)
        assert outcome.code == 1
        assert outcome.err.startswith("Traceback (most recent call last)")
        assert outcome.err.splitlines()[-1].startswith("error: unknown data set 'mons'")


def test_a_bug_is_told_from_an_expected_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("qworkbench.datasets.load_dataset", broken)
    refused(run("train", "moons"), "unexpected KeyError: 'lost'; --debug shows where")


@pytest.mark.parametrize("arguments", ["trian moons", "train", "train moons --folds 3", "compare moons --folds x"])
def test_wrong_usage_exits_with_2(arguments: str, run: Run) -> None:
    outcome = run(*arguments.split())
    assert outcome.code == 2
    assert "Usage: qworkbench" in outcome.err
    assert "Traceback" not in outcome.err


def test_the_examples_of_the_page_run(run: Run) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line]
    assert {shlex.split(line)[1] for line in commands} >= {"compare", "train", "predict", "detect", "report"}
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "qworkbench"
        ok(run(*arguments))
