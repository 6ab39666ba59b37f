"""What our path costs over Aer's own: a compiled program against ``AerSimulator.run`` of the same circuits.

All run in one process, in turn. Aer's side repeats the very call that our engine makes: the same transpiled circuit,
bindings, shots and options. It is timed until the result is there, and once more with ``get_counts``, without which no
user has a number. Ours ends with expectation values and standard errors of one observable a qubit.

    python benchmarks/aer_overhead.py      # 8 qubits, 256 bindings, 1,024 shots: at most 1.2 times bare Aer
    python benchmarks/aer_overhead.py --qubits 4 --bindings 16 --repeats 5
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from qiskit_aer import AerSimulator

from circuits import data_reuploading, z_each
from qworkbench.engines.registry import open_engine
from qworkbench.lowering import lower

BOUND = 1.2
"""Times bare Aer, at most."""
BARE = "bare run"


def contenders(n_qubits: int, n_bindings: int, n_layers: int, shots: int) -> dict[str, Callable[[], Any]]:
    """The three by name, each a function without arguments."""
    circuit = lower(data_reuploading(n_qubits, n_qubits=n_qubits, n_layers=n_layers))
    rng = np.random.default_rng(0)
    inputs = torch.tensor(rng.uniform(-2, 2, (n_bindings, n_qubits)))
    angles = circuit.angles(inputs, torch.tensor(rng.uniform(-2, 2, circuit.circuit.n_weights)))
    program = open_engine(f"aer?shots={shots}&seed=1").compile(circuit, z_each(n_qubits))

    calls: list[tuple[Any, ...]] = []
    original = AerSimulator.run

    def watched(simulator: AerSimulator, *arguments: Any, **options: Any) -> Any:
        calls.append((simulator, arguments, options))
        return original(simulator, *arguments, **options)

    with patch.object(AerSimulator, "run", watched):
        program.run(angles)
    ((simulator, arguments, options),) = calls

    def bare() -> Any:
        return simulator.run(*arguments, **options).result()

    return {BARE: bare, "bare run + get_counts": lambda: bare().get_counts(), "ours": lambda: program.run(angles)}


def seconds(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median wall and processor time of each, interleaved."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            wall, processor = time.perf_counter(), time.process_time()
            function()
            found[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {name: (statistics.median(w for w, _ in t), statistics.median(p for _, p in t)) for name, t in found.items()}


def main() -> None:
    """Print the medians and their ratios; exit code 1 if ours takes more than ``BOUND`` times bare Aer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("qubits", 8), ("bindings", 256), ("layers", 2), ("shots", 1024), ("repeats", 15)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    given = parser.parse_args()
    functions = contenders(given.qubits, given.bindings, given.layers, given.shots)
    found = seconds(functions, given.repeats)
    print(f"{given.qubits} qubits, {given.bindings} bindings, {given.shots} shots, median of {given.repeats}")
    for name, (wall, processor) in found.items():
        ratio = wall / found[BARE][0]
        print(f"{name:22} {1e3 * wall:8.1f} ms wall {1e3 * processor:8.1f} ms processor  {ratio:5.2f} x")
    sys.exit(found["ours"][0] > BOUND * found[BARE][0])


if __name__ == "__main__":
    main()
