"""The benchmarks: the same circuit for everyone, results that are compared, bounds, and a page made of records."""

from __future__ import annotations

import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from benchmarks import behaviour, goals, kernels, page
from benchmarks.bounds import bound_seconds, work
from benchmarks.contestants import CONTESTANTS, Contestant, Step, StepResult
from benchmarks.peers import CONTESTANTS as PEERS
from benchmarks.peers import pauli_rotations
from benchmarks.records import record
from benchmarks.step_times import steps_of
from benchmarks.training_step import agrees, measure, table
from benchmarks.workloads import FIXED, TURNING, GateCall, Size, Workload, ansatz, random
from qworkbench.gates import GENERATORS
from qworkbench.runs import RunRecord, read_records

PAULI = {"x": np.array([[0, 1], [1, 0]]), "y": np.array([[0, -1j], [1j, 0]]), "z": np.diag([1, -1])}


def test_contenders_of_the_kernel_benchmark_agree(capsys: pytest.CaptureFixture[str]) -> None:
    kernels.compare(2, 20, 1)
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("ours", "states + one zgemm", "PennyLane"))
    kernels.memory(2, 20)
    assert "20 points x 2 qubits" in capsys.readouterr().out


def test_the_ansatz_has_the_gates_it_says() -> None:
    workload = ansatz(Size(4, 2, 3))
    names = [gate.name for gate in workload.gates]
    assert names == ["ry"] * 4 + (["ry"] * 4 + ["rz"] * 4 + ["cx"] * 3) * 2
    assert workload.inputs.shape == (3, 4) and workload.weights.shape == (16,)
    assert sorted(g.weight for g in workload.gates if g.weight is not None) == list(range(16))


def test_a_random_circuit_has_every_kind_that_lowering_knows() -> None:
    workload = random(Size(4, 30, 2))
    assert TURNING.keys() == GENERATORS.keys()
    assert {gate.name for gate in workload.gates} == TURNING.keys() | FIXED.keys()
    turned = [g for g in workload.gates if g.name in TURNING]
    assert all((g.input is None) != (g.weight is None) for g in turned)
    assert {g.input for g in turned} == {0, 1, 2, 3, None}
    assert random(Size(4, 30, 2)).gates == workload.gates != random(Size(4, 30, 2), seed=1).gates


def test_fewer_samples_of_a_workload_are_the_same_circuit() -> None:
    workload = ansatz(Size(3, 1, 5))
    assert workload.first(None) is workload
    assert workload.first(2).size == (3, 1, 2) and workload.first(2).gates == workload.gates


@pytest.mark.parametrize("workload", [ansatz(Size(3, 2, 2)), random(Size(4, 16, 2))], ids=["ansatz", "random"])
def test_contestants_compute_the_same(workload: Workload) -> None:
    found = measure(workload, CONTESTANTS, ["float64", "float32"], rounds=1, budget=1)
    assert {r.spec["contestant"] for r in found} == {*CONTESTANTS, "bound"}
    circuits = [r for r in found if r.spec["contestant"] not in ("head alone", "bound")]
    assert all(r.metrics["error"] is not None and agrees(r) for r in circuits), table(found)
    assert len({r.info["session"] for r in found}) == 1
    assert all((r.metrics["median_ms"] or 0) > 0 for r in found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workload", [ansatz(Size(3, 2, 2)), random(Size(4, 12, 2))], ids=["ansatz", "random"])
def test_further_peers_compute_the_same(workload: Workload) -> None:
    for module in ("tensorcircuit", "jax", "qulacs", "qiskit_machine_learning"):
        pytest.importorskip(module, reason="needs the extra bench")
    found = measure(workload, {"qworkbench": CONTESTANTS["qworkbench"]} | PEERS, ["float64", "float32"], 1, 1)
    asked = {name for name, peer in PEERS.items() if workload.circuit in peer.circuits}
    assert asked < {r.spec["contestant"] for r in found}
    assert all(map(agrees, found)), table(found)


def test_a_wrong_result_is_seen() -> None:
    def wrong(workload: Workload, dtype: torch.dtype) -> Step:
        right = CONTESTANTS["qworkbench"].make(workload, dtype)

        def step() -> StepResult:
            outputs, inputs, weights = right()
            return StepResult(outputs, inputs, weights + 1e-2)

        return step

    chosen = {"qworkbench": CONTESTANTS["qworkbench"], "wrong": Contestant(wrong)}
    found = measure(ansatz(Size(2, 1, 2)), chosen, ["float64"], rounds=1, budget=1)
    assert {r.spec["contestant"]: agrees(r) for r in found} == {"qworkbench": True, "wrong": False, "bound": True}
    assert "DISAGREES" in table(found)


def test_fewer_samples_are_multiplied_up_and_checked() -> None:
    chosen = {"part": Contestant(CONTESTANTS["default.qubit"].make, samples=1)}
    (part,) = [r for r in measure(ansatz(Size(2, 1, 8)), chosen, ["float64"], 1, 1) if r.spec["contestant"] == "part"]
    assert part.info["samples"] == 1 and part.spec["size"] == [2, 1, 8]
    assert agrees(part) and part.metrics["error"] is not None


@pytest.mark.parametrize("name", TURNING)
def test_products_of_pauli_rotations_are_the_gate(name: str) -> None:
    angle, width = 0.83, TURNING[name]
    product = np.eye(2**width, dtype=complex)
    for letters, qubits, factor in pauli_rotations(GateCall(name, tuple(range(width)), weight=0)):
        places = [np.eye(2)] * width
        for letter, qubit in zip(letters, qubits, strict=True):
            places[qubit] = PAULI[letter]
        # The first qubit is the least significant bit.
        product = expm(-0.5j * factor * angle * reduce(np.kron, reversed(places))) @ product
    overlap = np.trace(product.conj().T @ expm(-1j * angle * GENERATORS[name])) / 2**width
    assert abs(overlap) == pytest.approx(1, abs=1e-12)


def test_the_bound_counts_what_must_be_done() -> None:
    # 12 always; the first layer and the last RZ and CX are free; what is left is RY on each qubit, 8 each.
    assert work(ansatz(Size(5, 1, 1))) == (12, 1)
    assert work(ansatz(Size(5, 2, 1))) == (12 + 5 * 8, 1)
    assert work(ansatz(Size(5, 3, 1))) == (12 + 2 * 5 * 8 + 14, 2)
    workload = ansatz(Size(6, 3, 4))
    assert 0 < bound_seconds(workload, torch.float32) < 1


def step_record(contestant: str, dtype: str, ms: float, size: tuple[int, ...], session: str = "a") -> RunRecord:
    spec = {"circuit": "ansatz", "size": list(size), "contestant": contestant, "dtype": dtype, "threads": 1}
    # On a busy machine the clock runs on while the step waits.
    return record("training_step", spec, {"median_ms": ms * 1.7, "cpu_ms": ms, "first_seconds": 0.5}, session=session)


def test_goals_compare_with_the_faster_device_in_one_session() -> None:
    size = (8, 3, 32)
    found = [
        step_record("qworkbench", "float32", 0.2, size),
        step_record("qworkbench", "float64", 0.5, size),
        step_record("default.qubit", "float64", 22.0, size),
        step_record("lightning.qubit", "float32", 90.0, size),
        step_record("tensorcircuit jax", "float32", 0.1, size, session="b"),
        record("memory", {"size": [24, 1, 1]}, {"peak_gib": 3.5}),
    ]
    by_text = {goal.text: goal for goal in goals.goals(found)}
    single = by_text["ansatz (8, 3, 32) float32: times PennyLane, threads: 1"]
    double = by_text["ansatz (8, 3, 32) float64: times PennyLane, threads: 1"]
    (steps,) = steps_of(found)
    assert steps.milliseconds("qworkbench", "float32", size) == 0.2
    assert single.measured == pytest.approx(110) and single.verdict == "yes"
    assert double.measured == pytest.approx(44) and double.verdict == "no"
    # Times of different sessions are not comparable.
    assert by_text["ansatz (8, 3, 32) float32: times JAX, threads: 1"].measured is None
    assert by_text["24 qubits forward and backward, GiB"].verdict == "no"
    assert by_text["ansatz (16, 4, 8) float32: times PennyLane, threads: 1"].verdict == "–"  # noqa: RUF001


def test_the_command_line_writes_records_and_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.training_step", "--sizes", "3,1,2", "--rounds", "1"]
    chosen = ["--contestants", "qworkbench", "default.qubit", "--dtypes", "float64"]
    done = subprocess.run([*command, *chosen, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (steps,) = steps_of(read_records(tmp_path).values())
    assert steps.sizes == [(3, 1, 2)] and steps.threads == 1
    assert steps.contestants == [("bound", "float64"), ("qworkbench", "float64"), ("default.qubit", "float64")]

    out = tmp_path / "performance.md"
    out.write_text(f"# Kept\n\n{page.START}\nold\n{page.END}\nkept too\n", encoding="utf-8")
    page.main([str(tmp_path), "--out", str(out)])
    once = out.read_text(encoding="utf-8")
    assert once.startswith("# Kept\n") and once.endswith("\nkept too\n") and "old" not in once
    assert "| default.qubit, float64 |" in once and "(performance.svg)" in once
    drawn = out.with_suffix(".svg").read_bytes()
    page.main([str(tmp_path), "--out", str(out)])
    assert out.read_text(encoding="utf-8") == once and out.with_suffix(".svg").read_bytes() == drawn


def test_an_unknown_contestant_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.training_step", "--contestants", "abacus", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "abacus" in done.stderr and "qworkbench" in done.stderr


def test_a_page_without_markers_or_records_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "records.jsonl").write_text(record("memory", {}, {}).to_json() + "\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        page.main([str(tmp_path)])
    assert "no step times" in capsys.readouterr().err


def test_float32_is_close_to_float64() -> None:
    for found in behaviour.accuracy(quick=True):
        assert all(0 < (error or 0) < 5e-6 for error in found.metrics.values()), found.metrics


@pytest.mark.slow
def test_first_steps_memory_and_growth_are_measured() -> None:
    found = {name: list(behaviour.BENCHMARKS[name](True)) for name in ("first_step", "memory", "growth")}
    cold, cached, following = (r.metrics["seconds"] or 0 for r in found["first_step"])
    assert cold > cached > 0 and following > 0
    assert all((r.metrics["peak_gib"] or 0) > (r.metrics["growth_mib"] or 0) / 1024 for r in found["memory"])
    assert {r.spec["by"] for r in found["growth"]} == {"batch", "gates"}
