"""Time one training step: forward and backward, weights and inputs, of every contestant in turn in one process.

    python -m benchmarks.training_step --threads 1 --circuit ansatz --sizes 8,3,32 8,3,256

Contestants take turns (A B C A B C ...), so that a busy machine slows all of them alike: compare ratios, not
milliseconds. Each result is checked against the first float64 one; the exit status is 1 if one differs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.records import record
from benchmarks.step_times import BOUND, HEAD
from benchmarks.workloads import CIRCUITS, Size, Workload
from qworkbench.runs import RunDirectory, RunRecord

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant, Step, StepResult

BLOCK_SECONDS, BLOCK_STEPS = 0.05, 30
"""A turn is one step, or as many as fit into this: a short step is measured with warm caches, as in training."""
TOLERANCE = {"float64": 1e-7, "float32": 1e-3}
"""Of outputs and gradients, absolute. lightning's own float64 error is 3e-8; peers in float32 lose 3e-4 at 20 qubits,
and a wrong circuit is seen in float64 anyhow."""


@dataclass
class Entry:
    """A contestant at one workload and what was measured of it."""

    name: str
    dtype: str
    workload: Workload
    """Maybe of fewer samples than asked."""
    step: Step
    result: StepResult
    first_seconds: float
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """Time a few steps."""
        estimate = min(self.wall, default=self.first_seconds)
        n_steps = max(1, min(BLOCK_STEPS, int(BLOCK_SECONDS / estimate)))
        if n_steps > 1:
            self.step()  # fetches back what the others drove out of the caches
        for _ in range(n_steps):
            cpu, wall = time.process_time(), time.perf_counter()
            self.step()
            self.wall.append(time.perf_counter() - wall)
            self.cpu.append(time.process_time() - cpu)

    def record(self, size: Size, reference: StepResult | None, session: str) -> RunRecord:
        """Its times, in milliseconds for the whole batch, and its largest difference from ``reference``."""
        scale = 1e3 * size.batch / self.workload.size.batch
        error = None
        if reference is not None:
            error = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(self.result, reference, strict=True))
        metrics = {
            "median_ms": scale * statistics.median(self.wall),
            "p10_ms": scale * float(np.quantile(self.wall, 0.1)),
            "cpu_ms": scale * statistics.median(self.cpu),
            "first_seconds": self.first_seconds,
            "error": error,
        }
        counts = {"steps": len(self.wall), "samples": self.workload.size.batch}
        return record(
            "training_step",
            step_spec(self.workload.circuit, size, self.name, self.dtype),
            metrics,
            session=session,
            **counts,
        )


def step_spec(circuit: str, size: Size, contestant: str, dtype: str) -> dict[str, Any]:
    """What identifies a measurement of a step."""
    import torch

    return {
        "circuit": circuit,
        "size": list(size),
        "contestant": contestant,
        "dtype": dtype,
        "threads": torch.get_num_threads(),
    }


def prepare(
    workload: Workload, chosen: Mapping[str, Contestant], dtypes: Sequence[str], free_bytes: int
) -> list[Entry]:
    """The contestants that can, each after its first step."""
    import torch

    entries = []
    n_qubits = workload.size.n_qubits
    for name, contestant in chosen.items():
        if n_qubits > contestant.max_qubits or workload.circuit not in contestant.circuits:
            continue
        # Backprop keeps every state of the forward pass, and as much again going back.
        kept = 2.5 * len(workload.gates) * 16 * workload.size.batch * 2.0**n_qubits
        if name == "default.qubit" and kept > free_bytes:
            print(f"  {name}: left out, needs about {kept / 1e9:.0f} GB", file=sys.stderr)
            continue
        for dtype in [d for d in dtypes if d in contestant.dtypes]:
            own = workload.first(contestant.samples)
            start = time.perf_counter()
            step = contestant.make(own, getattr(torch, dtype))
            result = step()
            entries.append(Entry(name, dtype, own, step, result, time.perf_counter() - start))
            print(f"  {name} {dtype}: first step {entries[-1].first_seconds:.2f} s", file=sys.stderr, flush=True)
    return entries


def measure(
    workload: Workload, chosen: Mapping[str, Contestant], dtypes: Sequence[str], rounds: int, budget: float
) -> list[RunRecord]:
    """One record a contestant and one a bound, fastest first.

    Args:
        workload: What to compute.
        chosen: The contestants.
        dtypes: ``float32``, ``float64``.
        rounds: Turns of each contestant.
        budget: Seconds after which a contestant gets no further turn; each gets one.
    """
    import psutil
    import torch

    from benchmarks.bounds import bound_seconds

    entries = prepare(workload, chosen, dtypes, int(0.7 * psutil.virtual_memory().available))
    for _ in range(rounds):
        for entry in entries:
            if not entry.wall or sum(entry.wall) < budget:
                entry.turn()
    references = _references(workload, entries)
    session = uuid.uuid4().hex
    found = [
        e.record(workload.size, None if e.name == HEAD else references[e.workload.size.batch], session) for e in entries
    ]
    for dtype in dtypes:
        spec = step_spec(workload.circuit, workload.size, BOUND, dtype)
        seconds = bound_seconds(workload, getattr(torch, dtype))
        found.append(record("training_step", spec, {"median_ms": 1e3 * seconds}, session=session))
    return sorted(found, key=lambda r: r.metrics["median_ms"] or 0)


def _references(workload: Workload, entries: Sequence[Entry]) -> dict[int, StepResult]:
    """By batch: the first float64 result of the whole batch; where there is none, our own."""
    import torch

    from benchmarks.contestants import CONTESTANTS

    found: dict[int, StepResult] = {}
    circuits = [e for e in entries if e.name != HEAD]
    for entry in circuits:
        if entry.workload is workload and entry.dtype == "float64":
            found.setdefault(workload.size.batch, entry.result)
    for entry in circuits:
        if entry.workload.size.batch not in found:
            ours = CONTESTANTS["qworkbench"].make(entry.workload, torch.float64)
            found[entry.workload.size.batch] = ours()
    return found


def agrees(measured: RunRecord) -> bool:
    """Whether outputs and gradients are those of the others, to the precision of its numbers."""
    error = measured.metrics.get("error")
    return error is None or error <= TOLERANCE[measured.spec["dtype"]]


def table(records: Sequence[RunRecord]) -> str:
    """The records of one workload, with times over that of the fastest circuit."""
    fastest = min(r.metrics["median_ms"] or 0 for r in records if r.spec["contestant"] not in (HEAD, BOUND))
    lines = [f"{'contestant':24} {'dtype':8} {'median ms':>10} {'p10 ms':>10} {'CPU ms':>10} {'ratio':>9} {'error':>8}"]
    for r in records:
        times = [r.metrics.get(name) for name in ("median_ms", "p10_ms", "cpu_ms")]
        shown = " ".join(f"{'':10}" if t is None else f"{t:10.3f}" for t in times)
        error = r.metrics.get("error")
        text = "" if error is None else f"{error:8.0e}" + ("" if agrees(r) else " DISAGREES")
        lines.append(f"{r.spec['contestant']:24} {r.spec['dtype']:8} {shown} {(times[0] or 0) / fastest:9.2f} {text}")
    return "\n".join(lines)


def _size(text: str) -> Size:
    size = Size(*(int(part) for part in text.split(",")))
    if min(size) < 1:
        raise ValueError(f"expected three numbers from 1 on, got {text}")
    return size


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--circuit", choices=CIRCUITS, default="ansatz")
    parser.add_argument("--sizes", type=_size, nargs="+", metavar="QUBITS,DEPTH,BATCH", help="default: all")
    parser.add_argument("--threads", type=int, default=1, help="of torch, numba and OpenMP (default 1)")
    parser.add_argument("--dtypes", nargs="+", choices=TOLERANCE, default=["float64", "float32"])
    parser.add_argument("--contestants", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each contestant (default 10)")
    parser.add_argument("--budget", type=float, default=10, help="seconds a contestant and size (default 10)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory for the records")
    arguments = parser.parse_args(argv)
    if min(arguments.threads, arguments.rounds) < 1:
        parser.error(f"expected --threads and --rounds from 1 on, got {arguments.threads} and {arguments.rounds}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print tables; 1 if a result disagrees with the others."""
    arguments = _arguments(argv)
    # OpenMP and BLAS read these when they load, which is why nothing heavy is imported before.
    for name in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{name}_NUM_THREADS"] = str(arguments.threads)
    # JAX has no such variable: it takes as many threads as the process has CPUs.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    import numba
    import torch

    from benchmarks.contestants import contestants

    torch.set_num_threads(arguments.threads)
    numba.set_num_threads(min(arguments.threads, numba.get_num_threads()))
    known = contestants()
    if unknown := set(arguments.contestants or []) - set(known):
        raise SystemExit(f"unknown contestants {sorted(unknown)}; known here: {list(known)}")
    chosen = {name: known[name] for name in arguments.contestants or known}
    make, sizes = CIRCUITS[arguments.circuit]
    # Opened first: an hour of measurements must not end at a directory that cannot be written.
    with contextlib.nullcontext() if arguments.out is None else RunDirectory(arguments.out) as directory:
        agreed = True
        for size in arguments.sizes or sizes:
            title = f"{arguments.circuit} {tuple(size)}, threads: {arguments.threads}"
            print(title, file=sys.stderr)
            records = measure(make(size), chosen, arguments.dtypes, arguments.rounds, arguments.budget)
            agreed &= all(map(agrees, records))
            print(f"\n{title}\n{table(records)}\n", flush=True)
            if directory is not None:
                for measured in records:
                    directory.append(measured)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
