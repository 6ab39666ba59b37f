"""Every experiment runs, resumes and reports; noise is extrapolated away where the answer is known."""

from __future__ import annotations

import pkgutil
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import Operator

import experiments
from circuits import ParameterizedCircuit, zz_feature_map
from experiments import _cli
from experiments._havlicek import ad_hoc_problem, feature_map
from experiments._rows import Measured, Part, Row, records
from experiments._zne import extrapolate, fold
from qworkbench.datasets.generators import zz_states
from qworkbench.kernels import QuantumKernel
from qworkbench.runs import RunRecord, read_records

NAMES = [m.name for m in pkgutil.iter_modules(experiments.__path__) if not m.name.startswith("_")]


def test_no_experiment_is_left_out() -> None:
    files = [file for file in Path(experiments.__path__[0]).glob("*.py") if not file.name.startswith("_")]
    assert len(NAMES) >= len(files) >= 2


def measured(directory: Path) -> dict[str, RunRecord]:
    return {key: r for key, r in read_records(directory).items() if r.kind == "experiment"}


@pytest.mark.parametrize("name", NAMES)
def test_smoke_run_reports_resumes_and_repeats(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _cli.main(name, ["--smoke", "--out", str(tmp_path / "a")])
    first = measured(tmp_path / "a")
    assert {r.spec["experiment"] for r in first.values()} == {name}
    assert {r.spec["quantum"] for r in first.values()} == {True, False}
    assert all(0 <= r.metrics["score"] <= 1 for r in first.values() if r.metrics["score"] is not None)
    assert any(r.info["published"] for r in first.values())

    shown = capsys.readouterr().out
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    for text in (shown, page):
        assert all(word in text for word in ("published", "ours", "arXiv:"))
        assert all(r.spec["row"] in text for r in first.values())
    assert any(f"{word}: " in shown for word in ("reproduced", "not reproduced", "undecided"))
    assert shown.splitlines()[-1] == f"report: {tmp_path / 'a' / 'report.html'}"

    # The second time nothing is measured; of a run that was cut short, only what is missing.
    monkeypatch.setattr("experiments._rows.time", None)
    _cli.main(name, ["--smoke", "--out", str(tmp_path / "a")])
    assert measured(tmp_path / "a") == first
    assert capsys.readouterr().out.count("   known  problem") == len(first)


def test_a_run_cut_short_goes_on_where_it_stopped() -> None:
    calls: list[str] = []

    def part(label: str, score: float) -> Part:
        def measure() -> list[Measured]:
            calls.append(label)
            return [({"score": score}, {})]

        return [Row(label, True, {})], measure

    shared = {"experiment": "trial", "problem": 0}
    (one,) = records(shared, "a paper", [part("a", 0.5)], {})
    both = list(records(shared, "a paper", [part("a", 0.9), part("b", 0.7)], {one.run_id: one}))
    assert calls == ["a", "b"]
    assert [r.metrics["score"] for r in both] == [0.5, 0.7]


def test_flags_come_from_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        _cli.main("adhoc_kernel", ["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--n-train N_TRAIN training points a class (default 20)" in shown
    assert "--scales SCALES [SCALES ...]" in shown and "(default 1.0 1.5 3.0)" in shown


@pytest.mark.parametrize("argv", [["--shots", "many"], ["--colour", "red"]])
def test_a_wrong_flag_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        _cli.main("adhoc_kernel", argv)
    assert argv[0] in capsys.readouterr().err


@pytest.mark.parametrize("scales", [["1"], ["1.5", "3"], ["1", "1.2"]])
def test_noise_scales_that_cannot_be_are_refused(scales: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="noise scale"):
        _cli.main("adhoc_kernel", ["--smoke", "--out", str(tmp_path), "--scales", *scales])


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to measure"):
        _cli.main("adhoc_vqc", ["--n-problems", "0", "--out", str(tmp_path)])


def test_the_tests_of_a_problem_are_balanced_and_apart_from_training() -> None:
    problem = ad_hoc_problem(3, 0.3, n_train=4, n_tests=3, n_test=2)
    assert problem.X.shape == (8, 2) and problem.y.sum() == 0
    assert (problem.y_test.reshape(3, 4).sum(axis=1) == 0).all()
    assert not {tuple(x) for x in problem.X} & {tuple(x) for x in problem.X_test}
    assert ad_hoc_problem(4, 0.3, 4, 3, 2).fingerprint != problem.fingerprint


def test_the_feature_map_makes_the_states_that_label_the_data() -> None:
    X = np.random.default_rng(5).uniform(0, 2 * np.pi, (6, 2))
    states = zz_states(X)
    assert np.allclose(QuantumKernel(feature_map())(X), np.abs(states.conj() @ states.T) ** 2)


@pytest.mark.parametrize(
    ("scale", "achieved", "n_pairs"), [(1, 1, 4), (1.5, 1.5, 6), (2.3, 2.5, 10), (3, 3, 12), (4.5, 4.5, 18)]
)
def test_folding_keeps_the_unitary_and_counts_its_pairs(scale: float, achieved: float, n_pairs: int) -> None:
    circuit = zz_feature_map(2)
    folded, real = fold(circuit, scale)
    assert real == achieved
    assert sum(len(gate.qubits) == 2 for gate in folded.quantum_circuit.data) == n_pairs
    x = [0.7, 2.9]
    assert Operator(folded.bind(x)) == Operator(circuit.bind(x))
    assert folded.inputs == circuit.inputs


def test_one_qubit_circuits_fold_by_all_their_gates() -> None:
    w = ParameterVector("w", 2)
    circuit = QuantumCircuit(1, global_phase=0.4)
    circuit.ry(w[0], 0)
    circuit.rz(w[1], 0)
    folded, real = fold(ParameterizedCircuit(circuit, weights=tuple(w)), 2)
    assert real == 2 and folded.quantum_circuit.size() == 4
    assert Operator(folded.bind(weights=[0.3, 1.1])) == Operator(circuit.assign_parameters([0.3, 1.1]))


def test_a_scale_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1, got 0\.5"):
        fold(zz_feature_map(2), 0.5)


def test_folds_survive_the_transpiler_and_add_noise() -> None:
    X = np.random.default_rng(1).uniform(0, 2 * np.pi, (5, 2))
    exact = QuantumKernel(feature_map())(X)
    noisy = "generic:2?shots=20000&seed=3&optimization_level=0"
    errors = [np.abs(QuantumKernel(fold(feature_map(), s)[0], noisy)(X) - exact).mean() for s in (1, 3)]
    assert errors[1] > 2 * errors[0]


def test_a_depolarised_expectation_is_extrapolated_to_its_noiseless_value() -> None:
    # After d gates of depolarising probability p each: E(scale) = (1 - p)**(d scale) E(0).
    ideal, p, d = np.array([0.8, -0.35]), 0.01, 6
    scales = [1.0, 1.5, 3.0]
    noisy = [(1 - p) ** (d * s) * ideal for s in scales]
    linear, growth = extrapolate([noisy[0], noisy[2]], [1.0, 3.0])
    assert np.allclose(linear, 1.5 * noisy[0] - 0.5 * noisy[2])
    assert growth == pytest.approx(np.hypot(1.5, 0.5))
    richardson, _ = extrapolate(noisy, scales, order=2)
    errors = [np.abs(v - ideal).max() for v in (noisy[0], linear, richardson)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2] / 2
    # The remainder of interpolation at 0 is f'''(s) / 3! times the product of the scales.
    rate = d * np.log(1 - p)
    assert errors[2] < 0.8 * abs(rate) ** 3 / 6 * np.prod(scales) * 1.001


def test_extrapolation_needs_enough_different_scales() -> None:
    for values, scales, order in (([1.0, 0.9], [1, 1], 1), ([1.0, 0.9], [1, 2], 2), ([1.0], [1, 2], 1)):
        with pytest.raises(ValueError, match="different scales"):
            extrapolate(values, scales, order)


def test_modules_run_as_scripts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "experiments.adhoc_vqc", raising=False)
    monkeypatch.setattr(sys, "argv", ["adhoc_vqc", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("experiments.adhoc_vqc", run_name="__main__")
    assert "--spsa-epochs" in capsys.readouterr().out
