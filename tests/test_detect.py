"""``qworkbench detect`` on files of every format, in bounded memory, with threshold, reasons and a page."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qworkbench import load, save
from qworkbench.cli import main
from qworkbench.cli import rows as row_module
from qworkbench.cli.tally import Reservoir
from qworkbench.detection import detection_metrics
from qworkbench.models.density_detectors import MahalanobisDetector

h5py = pytest.importorskip("h5py")
pytest.importorskip("pyarrow")

RNG = np.random.default_rng(2)
NAMES = ["e", "p", "m"]
BACKGROUND = pd.DataFrame(RNG.normal([10, 0, 1], [2, 1, 0.1], (400, 3)), columns=NAMES)
NEW = pd.DataFrame(RNG.normal([10, 0, 1], [2, 1, 0.1], (300, 3)), columns=NAMES)
NEW.loc[250:, "p"] += 8
LABELS = np.where(np.arange(300) < 250, "ok", "odd")
Detect = Callable[..., Any]


@pytest.fixture
def detect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Detect:
    """Runs ``detect`` in a folder with the files; the JSON, or the message of an error."""
    monkeypatch.chdir(tmp_path)
    BACKGROUND.to_csv("background.csv", index=False)
    NEW.to_csv("new.csv", index=False)
    NEW.assign(kind=LABELS).to_csv("labelled.csv", index=False)

    def call(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as stop:
            main(["detect", *arguments, "--json"])
        printed = capsys.readouterr()
        return json.loads(printed.out) if stop.value.code in (0, None) else printed.err

    return call


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "h5", "npz"])
def test_every_format_gives_the_same_scores(detect: Detect, ending: str) -> None:
    for name, frame in {"background": BACKGROUND, "new": NEW}.items():
        if ending == "parquet":
            frame.to_parquet(f"{name}.parquet")
        elif ending == "h5":
            with h5py.File(f"{name}.h5", "w") as content:
                content["events"] = frame.to_records(index=False)
        elif ending == "npz":
            np.savez(f"{name}.npz", X=frame.to_numpy(), feature_names=NAMES)
        else:
            frame.to_csv(f"{name}.{ending}", index=False)
    found = detect(f"background.{ending}", f"new.{ending}", "-m", "gmm")
    known = detect("background.csv", "new.csv", "-m", "gmm")
    assert np.allclose(found["score"], known["score"], rtol=1e-9)
    assert found["anomaly"][250:] == [1] * 50


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_scores_written_piece_by_piece_are_those_of_one_piece(
    detect: Detect, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = detect("background.csv", "labelled.csv?target=kind&normal=ok", "-m", "mahalanobis")
    monkeypatch.setattr(row_module, "MOST_ROWS", 37)
    cut = detect("background.csv", "labelled.csv?target=kind&normal=ok", "-m", "mahalanobis", "--out", f"s.{ending}")
    written = pd.read_parquet("s.parquet") if ending == "parquet" else pd.read_csv(f"s.{ending}")
    assert "score" not in cut and cut["file"] == f"s.{ending}"
    assert np.allclose(written["score"], whole["score"], rtol=1e-12)
    assert written["row"].tolist() == list(range(300))
    assert (written["label"] == np.where(LABELS == "ok", "normal", "anomaly")).all()
    assert cut["metrics"] == whole["metrics"]
    assert whole["metrics"] == detection_metrics(LABELS == "odd", -np.array(whole["score"]))
    assert cut["flagged"] == written["anomaly"].sum() and cut["rows"] == 300
    assert not list(Path().glob(".*"))


def test_the_threshold_comes_from_rows_held_out_of_training(detect: Detect) -> None:
    found = detect("background.csv", "background.csv", "-m", "gmm", "--false-alarms", "0.1", "--save", "d.qwb")
    # Of 120 rows held out 12 lie beyond; all 400 rows scatter around that by sqrt(0.1 * 0.9 / 120), here 4 sigma.
    assert found["flagged"] / 400 == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / 120))
    again = detect("d.qwb", "background.csv")
    assert (again["threshold"], again["flagged"]) == (found["threshold"], found["flagged"])
    assert (load("d.qwb").predict(BACKGROUND.to_numpy()) == -1).sum() == found["flagged"]


def test_contamination_sets_the_threshold_of_every_model(detect: Detect) -> None:
    for model in ("gmm", "one_class_svm", "isolation_forest"):
        found = detect("background.csv", "-m", model, "--contamination", "0.05")
        assert found["flagged"] == 20, model


def test_reasons_point_at_the_feature_that_is_off(detect: Detect) -> None:
    for options in (("-m", "gmm"), ("-m", "qgan", "--param", "epochs=2", "--param", "bank_size=64")):
        detect("background.csv", "new.csv", *options, "--explain", "--out", "s.csv")
        scores = pd.read_csv("s.csv")
        why = scores[[f"why {name}" for name in NAMES]].to_numpy()
        assert (np.abs(why[250:]).argmax(axis=1) == 1).mean() > 0.9


def test_the_page_shows_what_was_found(detect: Detect) -> None:
    NEW.assign(kind=np.roll(LABELS, 20)).to_csv("mixed.csv", index=False)
    options = ("--report", "page.html", "--out", "s.csv")
    detect("background.csv", "mixed.csv?target=kind&normal=ok", "-m", "gmm", *options)
    page = Path("page.html").read_text(encoding="utf-8")
    flagged = int(pd.read_csv("s.csv")["anomaly"].sum())
    assert f"<h1>{flagged} of 300 rows flagged" in page
    for text in ("Against the labels", "background rejection", "Most anomalous rows", "p = ", "DeLong"):
        assert text in page
    assert page.count("<img") == 3 and "http" not in page.replace("http-equiv", "")
    detect("background.csv", "new.csv", "-m", "qgan", "--param", "epochs=2", "--report", "qgan.html", "--out", "s.csv")
    page = Path("qgan.html").read_text(encoding="utf-8")
    assert "Against the labels" not in page and "Training" in page


@pytest.mark.filterwarnings("ignore:the detector by itself:sklearn.exceptions.ConvergenceWarning")
def test_a_classical_part_of_the_score_is_said(detect: Detect) -> None:
    corners = pd.DataFrame(np.random.default_rng(0).choice([-1.0, 1.0], (200, 2)), columns=["a", "b"])
    corners.to_csv("corners.csv", index=False)
    options = ("-m", "quantum_one_class_svm", "--report", "page.html", "--out", "s.csv")
    guard = detect("corners.csv", *options)["safeguard"]
    assert guard["own_auc"] < 0.5 < guard["noise_auc"]
    text = f"{100 * guard['classical_share']:.0f} % of the score's spread"
    assert text in " ".join(Path("page.html").read_text(encoding="utf-8").split())
    assert detect("background.csv", "-m", "gmm")["safeguard"] is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2,3", "1,2,3,4"], "Expected 3 fields in line 3, saw 4"),
        (["0,1,2,3", "1,1,2,3"], "Expected 3 fields in line 2, saw 4"),
        (["7,1,2,3"], "Expected 3 fields in line 2, saw 4"),
        (["1,2,3", "1,2"], "NaN or infinity in row 1"),
        (["1,,3"], "column 'p', got NaN or infinity in row 0"),
        (["1,x,3"], "expected numbers in the column 'p', got 'x' in row 0"),
        ([], "expected rows to score in rows.csv, got none"),
    ],
)
def test_malformed_rows_are_refused_and_leave_no_output(detect: Detect, lines: list[str], message: str) -> None:
    Path("rows.csv").write_text("\n".join(["e,p,m", *lines]), encoding="utf-8")
    assert message in " ".join(detect("background.csv", "rows.csv", "-m", "mahalanobis", "--out", "s.csv").split())
    assert not Path("s.csv").exists() and not list(Path().glob(".*"))


def test_several_files_are_scored_in_turn(detect: Detect) -> None:
    found = detect("background.csv", "new.csv", "background.csv", "-m", "mahalanobis")
    assert found["source"] == ["new.csv"] * 300 + ["background.csv"] * 400
    assert found["row"] == [*range(300), *range(400)] and found["rows"] == 700


def test_training_rows_are_drawn_from_all(detect: Detect) -> None:
    some = detect("background.csv", "new.csv", "-m", "mahalanobis", "--max-train", "50")
    assert some["score"] != detect("background.csv", "new.csv", "-m", "mahalanobis")["score"]
    assert some == detect("background.csv", "new.csv", "-m", "mahalanobis", "--max-train", "50")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("background.csv", "absent.parquet"), "no such file: absent.parquet"),
        (("background.csv", "labelled.csv?normal=ok"), "add target=COLUMN"),
        (("background.csv", "labelled.csv?traget=kind"), "did you mean 'target'"),
        (
            ("background.csv", "new.csv", "labelled.csv?target=kind", "--out", "s.csv"),
            "a target and files without apart",
        ),
        (("background.csv", "new.csv", "--explain"), "add --out FILE"),
        (("background.csv", "new.csv", "--contamination", "0.1", "--false-alarms", "0.1"), "give one"),
        (("background.csv", "new.csv", "--false-alarms", "0.001"), "at least 3334 training rows"),
        (("background.csv", "new.csv", "-m", "one_class_svm", "--contamination", "0.9"), "in \\(0, 0.5\\]"),
    ],
)
def test_bad_requests_are_refused(detect: Detect, arguments: tuple[str, ...], message: str) -> None:
    error = detect(*arguments, *(() if "-m" in arguments else ("-m", "gmm")))
    assert isinstance(error, str) and error.startswith("error: ")
    with pytest.raises(ValueError, match=message):
        raise ValueError(error)


def test_a_bad_cell_is_named_by_row_and_leaves_no_file(detect: Detect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_module, "MOST_ROWS", 50)
    bad = NEW.copy()
    bad.loc[201, "m"] = np.nan
    bad.to_csv("bad.csv", index=False)
    error = detect("background.csv", "bad.csv", "-m", "gmm", "--out", "s.csv")
    assert "column 'm', got NaN or infinity in row 201" in error
    assert not Path("s.csv").exists() and not list(Path().glob(".*"))


def test_text_among_numbers_is_named_by_row(detect: Detect) -> None:
    bad = NEW.astype(object)
    bad.loc[30, "p"] = "oops"
    bad.to_csv("bad.csv", index=False)
    error = detect("background.csv", "bad.csv", "-m", "gmm", "--out", "s.csv")
    assert "expected numbers in the column 'p', got 'oops' in row 30" in error
    assert not Path("s.csv").exists()


def test_normal_rows_of_a_table_train_without_naming_the_task(detect: Detect) -> None:
    files = "labelled.csv?target=kind&normal=ok", "new.csv"
    named = detect(files[0] + "&task=anomaly", files[1], "-m", "gmm")
    assert detect(*files, "-m", "gmm")["score"] == named["score"]
    NEW[:250].to_csv("ok.csv", index=False)
    assert detect("ok.csv", "new.csv", "-m", "gmm")["score"] == pytest.approx(named["score"])


def test_a_normal_label_that_no_row_has_is_told(detect: Detect, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as stop:
            main(["detect", "background.csv", "labelled.csv?target=kind&normal=OK", "-m", "mahalanobis"])
    assert not stop.value.code
    told = capsys.readouterr().err
    assert "warning: no row of labelled.csv has kind=OK, so all of them count as anomalies; found: odd, ok" in told


def test_a_saved_detector_takes_no_training(detect: Detect) -> None:
    detect("background.csv", "new.csv", "-m", "gmm", "--save", "d.qwb")
    assert "leave out --model" in detect("d.qwb", "new.csv", "-m", "gmm")
    assert "leave out --contamination" in detect("d.qwb", "new.csv", "--contamination", "0.1")
    NEW[["e", "m"]].to_csv("narrow.csv", index=False)
    assert "narrow.csv lacks the column 'p'" in detect("d.qwb", "narrow.csv")
    shuffled = NEW[["m", "e", "p"]]
    shuffled.to_csv("shuffled.csv", index=False)
    assert detect("d.qwb", "shuffled.csv")["score"] == detect("d.qwb", "new.csv")["score"]


def test_a_detector_saved_from_python_scores_too(detect: Detect) -> None:
    model = MahalanobisDetector().fit(BACKGROUND.to_numpy())
    save(model, "bare.qwb")
    found = detect("bare.qwb", "new.csv", "--report", "page.html")
    assert found["score"] == model.score_samples(NEW.to_numpy()).tolist()
    assert found["anomaly"] == (model.predict(NEW.to_numpy()) == -1).astype(int).tolist()


def test_a_reservoir_is_a_uniform_sample() -> None:
    counts = np.zeros(60)
    for seed in range(600):
        sample = Reservoir(15, np.random.default_rng(seed))
        for start in range(0, 60, 12):
            sample.add(np.arange(start, start + 12), np.arange(start, start + 12) * 2)
        rows, doubled = sample.columns
        assert len(rows) == 15 and (np.diff(rows) > 0).all() and (doubled == 2 * rows).all()
        counts[rows] += 1
    # Each row is kept with probability 1/4: 4 standard errors of 600 draws.
    assert np.abs(counts / 600 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 600)


@pytest.mark.slow
def test_ten_million_rows_stream_through(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    BACKGROUND.to_csv(tmp_path / "background.csv", index=False)
    rng, schema = np.random.default_rng(0), pyarrow.schema([(name, pyarrow.float32()) for name in NAMES])
    for name, n_groups in {"some": 4, "many": 20}.items():
        with parquet.ParquetWriter(tmp_path / f"{name}.parquet", schema) as writer:
            for _ in range(n_groups):
                rows = rng.normal([10, 0, 1], [2, 1, 0.1], (500_000, 3)).astype(np.float32)
                writer.write_table(pyarrow.table(dict(zip(NAMES, rows.T, strict=True)), schema))
    script = (
        "import resource, sys; from qworkbench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    options = ["-m", "qgan", "--param", "epochs=1", "--out", "scores.parquet", "--json"]
    peaks = []
    for name in ("some", "many"):
        arguments = [sys.executable, "-c", script, "detect", "background.csv", f"{name}.parquet", *options]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=600)
        peaks.append(int(done.stderr.split()[-1]) / 1024)
    assert json.loads(done.stdout)["rows"] == 10_000_000
    assert parquet.ParquetFile(tmp_path / "scores.parquet").metadata.num_rows == 10_000_000
    # Eight million rows more are 192 MB as float64, their scores 64.
    assert peaks[1] - peaks[0] < 40, peaks
