"""The page: self-contained, well-formed, honest, and with the numbers of the records on it."""

from __future__ import annotations

import base64
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import qworkbench.runs
from qworkbench.report import write_report
from qworkbench.report.evidence import collect
from qworkbench.report.figures import CAPTIONS, figures_of, png
from qworkbench.report.html import headline, render
from qworkbench.runs import RunDirectory, RunRecord
from qworkbench.stats import Verdict

Make = Callable[..., list[RunRecord]]
Spec = Callable[..., dict[str, Any]]

VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})


class Page(HTMLParser):
    """Collects text, pictures and references, and checks that tags nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.pictures: list[bytes] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.feed(source)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                assert value is not None
                self.references.append(value[:22])
                if value.startswith("data:image/png;base64,"):
                    self.pictures.append(base64.b64decode(value[22:], validate=True))
            if name == "id":
                self.ids.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def size(picture: bytes) -> tuple[int, int]:
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


@pytest.fixture(scope="module")
def full_source(everything: list[RunRecord]) -> str:
    return render(everything, places=["runs/demo"])


def test_page_has_every_part_and_loads_nothing_from_elsewhere(everything: list[RunRecord], full_source: str) -> None:
    source = full_source
    page = Page(source)
    assert all(r.startswith(("data:image/png;base64,", "#")) for r in page.references)
    assert {r[1:] for r in page.references if r.startswith("#")} <= set(page.ids)
    assert not {"script", "link", "iframe"} & page.tags
    assert "url(" not in source and "@import" not in source and "http" not in source.replace("http-equiv", "")
    assert len(page.pictures) == 4 + 3 + 3
    assert all(min(size(p)) > 200 and len(p) > 5_000 for p in page.pictures)
    for words in (
        "runs/demo",
        "8 trials on each outer fold, each scored on 3 inner folds",
        "Simulated dijet events, Zenodo 7673769, CC-BY 4.0.",
        "qworkbench compare collider_dijets two_moons iris",
        "Havlíček et al., Nature 567, 209 (2019)",
        "iris, mlp, fold 3",
        "ValueError: expected 4 features, got 3",
        "1 cell failed",
        "aer?noise=fake_torino&shots=1024",
        "numpy",
        everything[0].run_id,
    ):
        assert words in page.text


def test_numbers_of_the_records_are_on_the_page(everything: list[RunRecord], full_source: str) -> None:
    page = Page(full_source)
    for result in collect(everything).datasets:
        for model in result.models:
            assert f"{model.mean:.3f}" in page.text
        for comparison in result.comparisons:
            assert comparison.gap is not None
            assert f"{comparison.gap.mean:+.3f}".replace("-", "\N{MINUS SIGN}") in page.text
        for rung in result.rungs:
            assert f"{rung.mean:.3f}" in page.text
    assert "0.995 ± " in page.text  # exact row of the reproduction: 1.0 and 0.99 twice each
    assert "96,000" in page.text


def test_headlines_stand_on_the_page(everything: list[RunRecord], full_source: str) -> None:
    page = Page(full_source)
    for result in collect(everything).datasets:
        said = headline(result)
        assert f"{said.title} {said.word} {said.sentence}" in page.text


@pytest.mark.parametrize(("shift", "word"), [(0.0, "Classical wins"), (0.08, "Quantum wins"), (0.021, "Undecided")])
def test_headline_says_plainly_who_wins(make: Make, shift: float, word: str) -> None:
    models = ["rbf_svm", "logistic_regression", "quantum_kernel"]
    (result,) = collect(make("moons", models, shift=shift, seed=3)).datasets
    said = headline(result)
    assert said.word == word
    best = result.best()
    assert best is not None and said.sentence.startswith(f"Best model: {best.name}")
    assert f"{best.mean:.3f}" in said.sentence and "Holm-corrected p" in said.sentence


@pytest.mark.parametrize(("wobble", "word"), [(0.0005, "Equivalent"), (0.0, "Undecided")])
def test_equivalence_needs_a_spread_to_judge_by(fold_spec: Spec, wobble: float, word: str) -> None:
    records = [
        RunRecord("fold", fold_spec("moons", m, 0, f), {"score": 0.9 + 0.001 * f + wobble * (m == "hybrid") * (f % 2)})
        for m in ("rbf_svm", "hybrid")
        for f in range(5)
    ]
    said = headline(collect(records).datasets[0])
    assert said.word == word
    assert ("equivalent within ±0.01" if wobble else "the same on every fold") in said.sentence


def test_undecided_only_by_correction_says_so(make: Make) -> None:
    records = make("moons", rungs=False, seed=0)
    results = collect(records).datasets
    pair = results[0].comparisons
    quantum = next(c for c in pair if c.model == results[0].best(quantum=True).name)  # type: ignore[union-attr]
    assert quantum.gap is not None and quantum.gap.high < 0
    doubtful = replace(quantum, p_holm=0.2, verdict=Verdict("undecided", "Undecided."))
    said = headline(replace(results[0], comparisons=tuple(doubtful if c is quantum else c for c in pair)))
    assert said.word == "Undecided"
    assert "excludes zero, but correction" in said.sentence


def test_quantum_alone_is_withheld_and_classical_alone_says_so(make: Make) -> None:
    page = Page(render(make("moons", ["hybrid"])))
    assert "No comparison" in page.text and "Withheld: hybrid" in page.text
    assert "0.90" not in page.text and page.pictures == []
    assert "Classical only" in Page(render(make("moons", ["rbf_svm", "mlp"]))).text


def test_one_fold_gives_no_interval_and_no_verdict(make: Make) -> None:
    page = Page(render(make("moons", ["rbf_svm", "hybrid"], repeats=1, folds=1)))
    assert "No verdict" in page.text and "Too few folds" in page.text and "too few folds" in page.text
    assert len(page.pictures) == 4


def test_failures_only_and_experiments_only(everything: list[RunRecord]) -> None:
    failures = Page(render([r for r in everything if r.kind == "failure"]))
    assert "expected 4 features, got 3" in failures.text and failures.pictures == []
    experiments = Page(render([r for r in everything if r.kind == "experiment"]))
    assert "RBF-SVM" in experiments.text and "published" in experiments.text
    lone = [RunRecord("experiment", {"experiment": "bare", "row": "vqc", "quantum": True}, {"score": 0.987})]
    page = Page(render(lone))
    assert "Withheld: bare" in page.text and "0.987" not in page.text


def test_names_with_html_characters_are_shown_and_never_run(tmp_path: Path, fold_spec: Spec) -> None:
    evil = "<script>alert('x')</script> & \"co\""
    records = [
        RunRecord("fold", fold_spec(evil, m, 0, f), {"score": 0.9 - 0.01 * f}, {"fit_seconds": 1.0, "source": evil})
        for m in ("rbf_svm", "$\\frac{1$ <b>net</b>")
        for f in range(3)
    ]
    records.append(RunRecord("failure", {"dataset": evil}, {}, {"error": f"ValueError: {evil}"}))
    page = Page(render(records, places=[evil]))
    assert not {"script", "b"} & page.tags
    assert page.text.count("<script>alert('x')</script>") >= 4
    assert len(page.pictures) == 2


def test_missing_rungs_costs_and_curves_leave_out_their_parts(make: Make) -> None:
    records = [RunRecord("fold", r.spec, r.metrics) for r in make("moons", rungs=False)]
    page = Page(render(records))
    assert len(page.pictures) == 1
    assert "hardware-like" not in page.text and "Source not recorded." in page.text


def test_budget_tells_unequal_trials(make: Make, fold_spec: Spec) -> None:
    records = make("moons", ["rbf_svm", "mlp"])
    for model, trials in (("rbf_svm", 5), ("mlp", 9)):
        specs = [fold_spec("moons", model, 0, 0, trial=t) for t in range(trials)]
        records += [RunRecord("trial", spec, {"score": 0.9}) for spec in specs]
    text = Page(render(records)).text
    assert "Fewer trials were recorded" in text and "rbf_svm 5" in text
    assert "more trials than allowed were recorded for mlp 9" in text


def test_every_figure_has_a_caption_and_is_a_picture(make: Make) -> None:
    (result,) = collect(make("moons")).datasets
    figures = figures_of(result)
    assert figures.keys() == CAPTIONS.keys()
    for figure in figures.values():
        picture = png(figure, dpi=60)
        assert min(size(picture)) > 80 and len(set(picture)) > 100


def test_write_report_merges_directories_and_replaces_the_page(tmp_path: Path, make: Make) -> None:
    for name, models in (("one", ["rbf_svm"]), ("two", ["hybrid"])):
        with RunDirectory(tmp_path / name) as runs:
            for record in make("moons", models, repeats=1, rungs=False):
                runs.append(record)
    out = write_report([tmp_path / "one", tmp_path / "two"], tmp_path / "page")
    assert out == tmp_path / "page" / "report.html"
    text = Page(out.read_text(encoding="utf-8")).text
    assert "rbf_svm" in text and "hybrid" in text and "Withheld" not in text
    assert write_report([tmp_path / "one"], tmp_path / "page" / "x.html").name == "x.html"
    assert "hybrid" not in (tmp_path / "page" / "x.html").read_text(encoding="utf-8")
    assert sorted(p.name for p in (tmp_path / "page").iterdir()) == ["report.html", "x.html"]


def test_nothing_to_report_and_nowhere_to_write_are_one_clear_line(tmp_path: Path, make: Make) -> None:
    with RunDirectory(tmp_path / "empty"):
        pass
    with pytest.raises(ValueError, match="nothing to report"):
        write_report([tmp_path / "empty"], tmp_path)
    with RunDirectory(tmp_path / "runs") as runs:
        runs.append(make("moons", ["rbf_svm"])[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write the report to .*file.report\.html"):
        write_report([tmp_path / "runs"], tmp_path / "file")


def test_report_loads_no_quantum_package_and_its_import_no_matplotlib() -> None:
    code = (
        "import sys, qworkbench.report; assert 'matplotlib' not in sys.modules;"
        "import qworkbench.report.html;"
        "assert not {'qiskit', 'torch', 'pennylane', 'sklearn', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    root = str(Path(qworkbench.runs.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": root})
