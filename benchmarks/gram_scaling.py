"""Tiles of a Gram matrix on Dask: two workers against one, in turn.

    python -m benchmarks.gram_scaling                  # some minutes on two idle cores; needs the extra dask

Clusters are started before the clock, and a small matrix warms each up. Prints seconds a tile, medians and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np

from circuits import zz_feature_map
from qworkbench import QuantumKernel, gram_matrix


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.gram_scaling", description=__doc__)
    parser.add_argument("--qubits", type=int, default=12)
    parser.add_argument("--points", type=int, default=7200)
    parser.add_argument("--tile", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    import distributed

    X = np.random.default_rng(0).normal(size=(arguments.points, arguments.qubits))
    kernel = QuantumKernel(zz_feature_map(arguments.qubits), bandwidth=0.3)
    n_tiles = -(-arguments.points // arguments.tile)
    n_tiles = n_tiles * (n_tiles + 1) // 2
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(arguments.rounds):
        for n_workers, found in seconds.items():
            with distributed.LocalCluster(
                n_workers=n_workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
            ) as cluster:
                gram_matrix(kernel, X[: 2 * n_workers], tile=1, scheduler=cluster.scheduler_address)
                start = time.perf_counter()
                gram_matrix(kernel, X, tile=arguments.tile, scheduler=cluster.scheduler_address)
                found.append(time.perf_counter() - start)
    medians = {n: statistics.median(found) for n, found in seconds.items()}
    print(f"{arguments.points} points, {arguments.qubits} qubits, {n_tiles} tiles")
    print(f"{medians[1] / n_tiles:.2f} s a tile on one worker")
    print(f"one worker {medians[1]:.1f} s, two {medians[2]:.1f} s: {medians[1] / medians[2]:.2f} times")


if __name__ == "__main__":
    main()
