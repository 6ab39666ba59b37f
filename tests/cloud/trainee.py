"""Training runs on the stub that are killed, at random moments or chosen points, until they are through.

Each attempt is a forked process of its own, killed by SIGKILL; forking saves importing the libraries every time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from functools import partial
from pathlib import Path

import qiskit_ibm_runtime.executor_sampler  # noqa: F401 - imported here once, not after every fork
import torch
from qiskit.transpiler import generate_preset_pass_manager

from circuits import data_reuploading, z_first
from qworkbench import QuantumLayer
from qworkbench.cloud import ibm, jobs
from qworkbench.cloud.adapter import Limits
from qworkbench.cloud.errors import AmbiguousJobError
from qworkbench.cloud.ibm import IBMAdapter
from qworkbench.cloud.journal import AMBIGUOUS, DONE, SUBMITTED, Journal
from qworkbench.training import train

torch.optim.Adam([torch.zeros(1)])  # imports half of torch, here once and not after every fork
generate_preset_pass_manager(1, basis_gates=["cx", "rz", "sx", "x"])  # loads its plugins
ibm.Limits = partial(Limits, first_poll=0.01)  # the stub is quicker than IBM
FATE_UNKNOWN = 3
POINTS = {
    "the submit": (IBMAdapter, "submit", None),
    "the id": (Journal, "update", SUBMITTED),
    "the result": (Journal, "update", DONE),
}
"""What may be killed right before or right after: owner, method, and the state that it must be about to write."""


def learn(folder: Path, run: str, epochs: int = 2) -> None:
    """Epochs of three steps, each a forward and a gradient: six jobs an epoch."""
    uri = f"ibm:ibm_stubville?shots=64&budget=1000&rate=10000&grace=0.2&run={run}&journal={folder / 'jobs.sqlite'}"
    generator = torch.Generator().manual_seed(5)
    circuit = data_reuploading(n_features=2, n_qubits=2, n_layers=1)
    layer = QuantumLayer(circuit, z_first(2), uri, generator=generator, dtype=torch.float64)
    inputs = torch.rand(6, 2, generator=generator, dtype=torch.float64)
    targets = (inputs[:, :1] > 0.5).double()
    train(
        layer,
        torch.nn.functional.mse_loss,
        inputs,
        targets,
        epochs=epochs,
        batch_size=2,
        generator=generator,
        checkpoint=folder / f"{run}.checkpoint",
    )
    (folder / f"{run}.json").write_text(json.dumps(layer.weights.tolist()))


def kill_at(point: str) -> None:
    """Let this process die when its third job, in the middle of an epoch, comes to a point."""
    when, _, what = point.partition(" ")
    owner, name, state = POINTS[what]
    real, seen = getattr(owner, name), []

    def wrapped(self, *args, **kwargs):
        seen.extend([1] if state is None or args[1] == state else [])
        deadly = len(seen) == 3 and (state is None or args[1] == state)
        if deadly and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(self, *args, **kwargs)
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, wrapped)


def attempt(folder: Path, run: str, kill_after: float | None = None, point: str | None = None, epochs: int = 2) -> int:
    """Exit code of one attempt; negative if it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if point is not None:
                kill_at(point)
            learn(folder, run, epochs)
            code = 0
        except AmbiguousJobError:
            code = FATE_UNKNOWN
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if kill_after is not None:
        deadline = time.monotonic() + kill_after
        while time.monotonic() < deadline:
            if (done := os.waitpid(child, os.WNOHANG))[0]:
                return os.waitstatus_to_exitcode(done[1])
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def answer(folder: Path) -> int:
    """Play the user who was asked: look at the vendor's list again, and allow what is not there to be sent anew."""
    journal = Journal(folder / "jobs.sqlite")
    unsettled = journal.jobs(state=AMBIGUOUS)
    for job in unsettled:
        jobs.resume(journal, job.tag, resend=True, grace=0.5)
    journal.close()
    return len(unsettled)


def at_points(folder: Path) -> dict[str, list[int]]:
    """Exit codes of the attempts that the training needed for each point where it was killed."""
    story = {}
    for what in POINTS:
        for point in (f"before {what}", f"after {what}"):
            codes = [attempt(folder, point, point=point, epochs=1)]
            while codes[-1] != 0 and len(codes) < 5:
                if codes[-1] == FATE_UNKNOWN:
                    answer(folder)
                codes.append(attempt(folder, point, epochs=1))
            story[point] = codes
    return story


def at_random(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Runs until so many kills have hit, and what happened."""
    chance = random.Random(seed)
    done, killed, asked, runs = False, 0, 0, []
    while killed < kills or not done:
        if done or not runs:
            runs.append(f"run{len(runs)}")
        code = attempt(folder, runs[-1], chance.uniform(0.1, 2.0) if killed < kills else None)
        killed += code == -signal.SIGKILL
        if code == FATE_UNKNOWN:
            asked += answer(folder)
        elif code not in (0, -signal.SIGKILL):
            raise SystemExit(f"an attempt ended with {code}")
        done = code == 0
    return {"killed": killed, "asked": asked, "runs": runs}


if __name__ == "__main__":
    warnings.simplefilter("error")
    place = Path(sys.argv[1])
    print(json.dumps(at_random(place, *map(int, sys.argv[2:])) if sys.argv[2:] else at_points(place)))
