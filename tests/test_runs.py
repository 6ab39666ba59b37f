"""Run records and directories: identity, durability, repair, locking."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qworkbench.runs
from qworkbench.runs import (
    RECORDS,
    SCHEMA,
    NewerSchemaError,
    RunDirectory,
    RunDirectoryError,
    RunRecord,
    read_records,
    session_record,
    versions,
)

ROOT = Path(qworkbench.runs.__file__).parents[1]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def fold(number: int, **info: Any) -> RunRecord:
    return RunRecord("fold", {"dataset": "moons", "fold": number}, {"score": 0.5 + number / 100}, info)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.text())
def test_record_equals_its_json_round_trip(spec: dict[str, Any], kind: str) -> None:
    record = RunRecord(kind, spec, {"score": 0.25, "roc_auc": None}, {"note": spec})
    line = record.to_json()
    assert "\n" not in line
    assert RunRecord.from_json(line) == record


def test_identity_ignores_key_order_and_info_but_nothing_else() -> None:
    record = RunRecord("fold", {"a": 1, "b": 2}, {"score": 0.5})
    assert record.run_id == RunRecord("fold", {"b": 2, "a": 1}, {"score": 0.9}, {"seconds": 3}).run_id
    assert record.run_id != RunRecord("rung", {"a": 1, "b": 2}).run_id
    assert record.run_id != RunRecord("fold", {"a": 1, "b": 3}).run_id


def test_run_id_is_stable_between_versions_of_the_library() -> None:
    # sha256('{"kind":"fold","spec":{"a":1,"b":[0.5,"x"]}}'), computed with coreutils' sha256sum
    assert RunRecord("fold", {"b": [0.5, "x"], "a": 1}).run_id == "07e2633c39f09e11"


def test_numpy_values_become_plain() -> None:
    spec = {"C": np.float64(0.5), "n": np.int64(3), "grid": np.arange(2), "pair": (1, np.True_)}
    record = RunRecord("trial", spec, {"score": np.float32(0.5)})  # type: ignore[dict-item]
    assert record.spec == {"C": 0.5, "n": 3, "grid": [0, 1], "pair": [1, True]}
    assert type(record.metrics["score"]) is float


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float64("nan")])
def test_nan_is_refused_where_it_counts_and_null_in_info(bad: float) -> None:
    with pytest.raises(ValueError, match=r"metrics\['score'\]: expected a finite number"):
        RunRecord("fold", {}, {"score": bad})
    with pytest.raises(ValueError, match=r"spec\['C'\]"):
        RunRecord("fold", {"C": bad})
    assert RunRecord("fold", {}, {"score": None}, {"loss_curve": [1.0, bad]}).info == {"loss_curve": [1.0, None]}


def test_values_without_json_form_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"spec\['model'\]: expected a JSON value, got type"):
        RunRecord("fold", {"model": dict})
    with pytest.raises(TypeError, match="expected string keys, got 3"):
        RunRecord("fold", {"params": {3: "x"}})
    with pytest.raises(TypeError, match="expected a number or None, got str"):
        RunRecord("fold", {}, {"score": "high"})  # type: ignore[dict-item]


def test_records_resume_and_the_later_line_of_one_id_counts(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "a" / "b") as runs:
        for number in range(3):
            runs.append(fold(number))
        runs.append(fold(1, seconds=2.0))
    with RunDirectory(tmp_path / "a" / "b") as runs:
        assert list(runs.records()) == [fold(n).run_id for n in range(3)]
        again = runs.get(fold(1).run_id)
        assert again is not None and again.info == {"seconds": 2.0}
        assert runs.get("0" * 16) is None
        assert runs.records() == read_records(tmp_path / "a" / "b")


def test_merge_adds_only_what_is_new(tmp_path: Path) -> None:
    for name, numbers in {"one": (0, 1), "two": (1, 2), "three": (3,)}.items():
        with RunDirectory(tmp_path / name) as runs:
            for number in numbers:
                runs.append(fold(number, origin=name))
    with RunDirectory(tmp_path / "one") as runs:
        assert runs.merge([tmp_path / "two", tmp_path / "three" / RECORDS]) == 2
        assert runs.merge([tmp_path / "two"]) == 0
    merged = read_records(tmp_path / "one")
    assert [r.info["origin"] for r in merged.values()] == ["one", "one", "two", "three"]


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_torn_tail_is_removed_with_a_warning_and_writing_goes_on(tmp_path: Path, cut: int) -> None:
    with RunDirectory(tmp_path) as runs:
        runs.append(fold(0))
        runs.append(fold(1))
    whole = (tmp_path / RECORDS).read_bytes()
    with (tmp_path / RECORDS).open("ab") as file:
        file.write(fold(2).to_json().encode()[:cut])
    assert list(read_records(tmp_path)) == [fold(0).run_id, fold(1).run_id]  # a reader changes nothing
    with pytest.warns(UserWarning, match=f"unfinished last line of {cut} bytes"):
        runs = RunDirectory(tmp_path)
    assert (tmp_path / RECORDS).read_bytes() == whole
    with runs:
        runs.append(fold(2))
    assert list(read_records(tmp_path)) == [fold(n).run_id for n in range(3)]


def test_last_line_that_lost_only_its_line_end_is_kept(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_text(fold(0).to_json())
    with RunDirectory(tmp_path) as runs:
        runs.append(fold(1))
    assert list(read_records(tmp_path)) == [fold(0).run_id, fold(1).run_id]


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    edited = fold(1).to_json().replace('"fold":1', '"fold":9')
    (tmp_path / RECORDS).write_text(f"{fold(0).to_json()}\n{edited}\n\n{fold(2).to_json()}\n")
    with pytest.warns(UserWarning, match=r"line 2: left out.*hashes to"):
        records = read_records(tmp_path)
    assert list(records) == [fold(0).run_id, fold(2).run_id]


def test_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    line = json.loads(fold(0).to_json()) | {"schema": SCHEMA + 1}
    (tmp_path / RECORDS).write_text(json.dumps(line) + "\n")
    with pytest.raises(NewerSchemaError, match="upgrade qworkbench"):
        RunDirectory(tmp_path)


def test_second_writer_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path)
    with pytest.raises(RunDirectoryError, match=f"being written by process {os.getpid()}"):
        RunDirectory(tmp_path)
    first.close()
    first.close()
    RunDirectory(tmp_path).close()
    with pytest.raises(RunDirectoryError, match="is closed"):
        first.append(fold(0))


def test_unwritable_places_are_refused_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"cannot write to the run directory .*file/x: Not a directory"):
        RunDirectory(tmp_path / "file" / "x")
    (tmp_path / "runs" / RECORDS).mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match=r"cannot write to .*records.jsonl: Is a directory"):
        RunDirectory(tmp_path / "runs")
    with pytest.raises(FileNotFoundError, match=r"no records in .*nothing"):
        read_records(tmp_path / "nothing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(RunDirectoryError, match="Permission denied"):
        RunDirectory(tmp_path)


def test_failed_append_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunDirectory(tmp_path) as runs:
        runs.append(fold(0))
        before = (tmp_path / RECORDS).read_bytes()
        write = os.write

        def half_then_full(stream: int, data: memoryview) -> int:
            if len(data) < 40:
                raise OSError(28, "No space left on device")
            return write(stream, data[: len(data) // 2])

        monkeypatch.setattr(os, "write", half_then_full)
        with pytest.raises(RunDirectoryError, match="No space left on device; its 1 records are safe"):
            runs.append(fold(1))
        monkeypatch.undo()
        assert (tmp_path / RECORDS).read_bytes() == before
        runs.append(fold(2))
    assert list(read_records(tmp_path)) == [fold(0).run_id, fold(2).run_id]


WRITER = """
import sys
from qworkbench.runs import RunDirectory, RunRecord
with RunDirectory(sys.argv[1]) as runs:
    number = len(runs.records())
    while True:
        runs.append(RunRecord("fold", {"fold": number}, {"score": number / 7}, {"pad": "x" * 300_000}))
        print(number, flush=True)
        number += 1
"""


@pytest.mark.filterwarnings("ignore:.*unfinished last line")
def test_sigkill_while_appending_never_loses_an_acknowledged_line(tmp_path: Path) -> None:
    moments = random.Random(20)
    acknowledged = -1
    for _ in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert int(first) > acknowledged
        time.sleep(moments.uniform(0.0, 0.15))
        process.kill()
        rest = process.stdout.read().split("\n")
        process.stdout.close()
        process.wait()
        acknowledged = int(([first, *[line for line in rest[:-1] if line]])[-1])
        with RunDirectory(tmp_path) as runs:
            numbers = [r.spec["fold"] for r in runs.records().values()]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) - 1 >= acknowledged
            assert all(r.metrics["score"] == r.spec["fold"] / 7 for r in runs.records().values())
    assert acknowledged >= 5


def test_versions_come_without_importing_the_packages() -> None:
    code = (
        "import sys; from qworkbench.runs import versions; v = versions();"
        "assert v['numpy'][0].isdigit() and v['python'], v;"
        "assert not {'numpy', 'torch', 'qiskit', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "no-such-package" not in versions(["no-such-package", "numpy"])


def test_session_records_are_distinct_and_say_what_ran() -> None:
    one, two = session_record("qworkbench compare", sources={"moons": "made here"}), session_record("x")
    assert one.run_id != two.run_id
    assert one.info["command"] == "qworkbench compare"
    assert one.info["sources"] == {"moons": "made here"}
    assert one.info["versions"]["python"] == versions()["python"]
