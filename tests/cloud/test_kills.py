"""Training on the stub under SIGKILL: no finished job lost, none sent twice, the same weights in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from qworkbench.cloud.journal import ABANDONED, DONE, Journal

pytest.importorskip("qiskit_ibm_runtime")
KILLS = 25
FATE_UNKNOWN = 3


def environment(stub, folder):
    here = {"OMP_NUM_THREADS": "1", "HOME": str(folder), "QWORKBENCH_CACHE": str(folder / "cache")}
    return {**os.environ, **stub.environment, **here, "PYTHONPATH": str(Path(__file__).parents[2])}


def start(stub, folder, *arguments):
    trainee = Path(__file__).with_name("trainee.py")
    done = subprocess.run(
        [sys.executable, trainee, folder, *map(str, arguments)],
        env=environment(stub, folder),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def sent(stub):
    """How often each tag was accepted."""
    return Counter(tag for job in stub.jobs.values() for tag in job["raw"]["tags"])


@pytest.mark.slow
def test_a_training_run_survives_25_kills(tmp_path, ibm):
    ibm.delay = 0.02
    story = start(ibm, tmp_path / "killed", KILLS, 1)
    assert story["killed"] == KILLS
    journal = Journal(tmp_path / "killed" / "jobs.sqlite")
    kept = [job for job in journal.jobs() if job.state != ABANDONED]
    assert {job.state for job in kept} == {DONE}
    # One accepted job for each journal row that counts, and one row for each content: nothing lost, nothing twice.
    assert sent(ibm) == Counter(job.tag for job in kept)
    assert len({(job.run, job.key, job.occurrence) for job in kept}) == len(kept)
    n_jobs = len(ibm.jobs)

    calm = start(ibm, tmp_path / "calm", 0, 1)
    assert calm["killed"] == 0
    undisturbed = json.loads((tmp_path / "calm" / "run0.json").read_text())
    assert json.loads((tmp_path / "killed" / "run0.json").read_text()) == undisturbed
    assert n_jobs == len(story["runs"]) * (len(ibm.jobs) - n_jobs)


def test_a_kill_right_before_or_after_each_step_of_a_job(tmp_path, ibm):
    story = start(ibm, tmp_path)
    assert len(story) == 6
    for point, codes in story.items():
        # Killed once, in the middle of the epoch; only what was surely or perhaps not accepted asks the user.
        asked = [FATE_UNKNOWN] if point == "before the submit" else []
        assert codes == [-signal.SIGKILL, *asked, 0], point
        assert json.loads((tmp_path / f"{point}.json").read_text()) == json.loads(
            (tmp_path / "after the result.json").read_text()
        )
    kept = [job for job in Journal(tmp_path / "jobs.sqlite").jobs() if job.state != ABANDONED]
    assert len(kept) == 6 * 6
    assert sent(ibm) == Counter(job.tag for job in kept)
