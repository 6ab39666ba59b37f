"""How the default backend behaves: first steps, memory, growth with batch and gates, error of float32.

    python -m benchmarks.behaviour --out runs/benchmarks          # all of it, with one thread
    python -m benchmarks.behaviour first_step memory --quick

Whatever depends on what a process did before is measured in processes of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import record
from benchmarks.workloads import CIRCUITS, Size, Workload
from qworkbench.runs import RunDirectory, RunRecord

GIB = 2.0**30


def one_step(circuit: str, size: Sequence[int], dtype: str) -> dict[str, float]:
    """Build a layer and do one step in this process: seconds by clock and CPU, those of imports that a first step
    brings with it, bytes held before and at the peak."""
    import torch

    from benchmarks.contestants import qworkbench_layer

    torch.set_num_threads(1)
    start = time.perf_counter()
    import scipy.linalg  # noqa: F401  # by numba, like the next
    from numba.core.entrypoints import init_all

    # Whatever is installed that extends numba, such as awkward, is imported when numba first compiles or loads.
    init_all()
    imports = time.perf_counter() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    workload = CIRCUITS[circuit][0](Size(*size))
    start, cpu = time.perf_counter(), time.process_time()
    qworkbench_layer(workload, getattr(torch, dtype))()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "import_seconds": imports,
        "before": before * unit,
        "peak": peak * unit,
    }


def _in_new_process(
    calls: Sequence[tuple[str, Sequence[int], str]], cache: str | None = None
) -> list[dict[str, float]]:
    """``one_step`` for each call, in order, in one fresh process."""
    code = (
        "import json, sys, qworkbench.layer\nfrom benchmarks.behaviour import one_step\n"
        "found = [one_step(*call) for call in json.loads(sys.argv[1])]\nprint('\\n' + json.dumps(found))"
    )
    environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": cache})
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(calls)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    result: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return result


def first_step(quick: bool) -> Iterator[RunRecord]:
    """Seconds from a circuit to its first gradients, imports apart, before and after the kernels are compiled."""
    calls = [("ansatz", Size(8, 3, 32), "float32"), ("random", Size(8, 30, 32), "float32")]
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = _in_new_process(calls, cache), _in_new_process(calls, cache)
    for when, call, found in (
        ("nothing compiled yet", calls[0], cold[0]),
        ("kernels cached, new process", calls[0], warm[0]),
        ("kernels cached, next circuit", calls[1], warm[1]),
    ):
        spec = {"when": when, "circuit": call[0], "size": list(call[1]), "dtype": call[2]}
        yield record("first_step", spec, {k: found[k] for k in ("seconds", "cpu_seconds", "import_seconds")})


def memory(quick: bool) -> Iterator[RunRecord]:
    """Memory of a forward and backward pass: the largest circuit, and the same width at several depths."""
    largest = Size(20, 1, 1) if quick else Size(24, 1, 1)
    depths = [Size(14, layers, 8) for layers in ((2, 8) if quick else (2, 8, 32))]
    for size in (largest, *depths):
        # A small step first: what the kernels themselves hold is no part of the state.
        *_, found = _in_new_process([("ansatz", Size(4, 1, 2), "float32"), ("ansatz", size, "float32")])
        growth = found["peak"] - found["before"]
        metrics = {"peak_gib": found["peak"] / GIB, "growth_mib": growth / 2**20}
        yield record("memory", {"circuit": "ansatz", "size": list(size), "dtype": "float32"}, metrics)


def growth(quick: bool) -> Iterator[RunRecord]:
    """CPU time by batch and by gates, and the power with which it grows at the end: 1 is linear."""
    batches = [Size(8, 3, b) for b in ((64, 256) if quick else (64, 256, 1024, 4096))]
    layers = [Size(8, d, 256) for d in ((4, 16) if quick else (4, 8, 16, 32))]
    for by, sizes in (("batch", batches), ("gates", layers)):
        workloads = [CIRCUITS["ansatz"][0](size) for size in sizes]
        seconds = _cpu_medians(workloads, 3 if quick else 9)
        amounts = [w.size.batch if by == "batch" else len(w.gates) for w in workloads]
        # Of the two largest, where fixed costs weigh least.
        exponent = float(np.diff(np.log(seconds[-2:]))[0] / np.diff(np.log(amounts[-2:]))[0])
        for amount, size, median in zip(amounts, sizes, seconds, strict=True):
            spec = {"by": by, "circuit": "ansatz", "size": list(size), "dtype": "float32"}
            yield record("growth", spec, {"amount": amount, "cpu_ms": 1e3 * median, "exponent": exponent})


def _cpu_medians(workloads: Sequence[Workload], rounds: int) -> list[float]:
    import torch

    from benchmarks.contestants import qworkbench_layer

    torch.set_num_threads(1)
    steps = [qworkbench_layer(w, torch.float32) for w in workloads]
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds + 1):
        for step, found in zip(steps, times, strict=True):
            start = time.process_time()
            step()
            found.append(time.process_time() - start)
    return [float(np.median(found[1:])) for found in times]


def accuracy(quick: bool) -> Iterator[RunRecord]:
    """The largest error of float32 outputs and gradients against float64."""
    import torch

    from benchmarks.contestants import qworkbench_layer

    for circuit, size in (("ansatz", Size(12, 2, 1) if quick else Size(20, 2, 1)), ("random", Size(12, 30, 2))):
        workload = CIRCUITS[circuit][0](size)
        single, double = (qworkbench_layer(workload, d)() for d in (torch.float32, torch.float64))
        errors = [float(np.abs(a - b).max()) for a, b in zip(single, double, strict=True)]
        metrics = dict(zip(("outputs", "input_gradients", "weight_gradients"), errors, strict=True))
        yield record("accuracy", {"circuit": circuit, "size": list(size), "dtype": "float32"}, metrics)


BENCHMARKS: Mapping[str, Callable[[bool], Iterator[RunRecord]]] = {
    "first_step": first_step,
    "memory": memory,
    "growth": growth,
    "accuracy": accuracy,
}
"""Name -> what measures it, in a quick form or in full."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory for the records")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"unknown benchmarks {sorted(unknown)}; known: {list(BENCHMARKS)}")
    for measured in (r for name in arguments.names or BENCHMARKS for r in BENCHMARKS[name](arguments.quick)):
        spec: dict[str, Any] = {k: v for k, v in measured.spec.items() if k != "benchmark"}
        shown = ", ".join(f"{k} {v:.3g}" for k, v in measured.metrics.items() if v is not None)
        print(f"{measured.spec['benchmark']} {' '.join(map(str, spec.values()))}: {shown}", flush=True)
        if arguments.out is not None:
            with RunDirectory(arguments.out) as directory:
                directory.append(measured)


if __name__ == "__main__":
    main()
