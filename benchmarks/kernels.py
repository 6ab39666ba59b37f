"""Exact fidelity Gram matrices: ours beside the floor and the peers, interleaved in one process.

    python -m benchmarks.kernels                       # 10 qubits x 1,000 points; about a minute without Qiskit ML
    python -m benchmarks.kernels --memory 10000        # the peak memory of one large Gram matrix

The floor is "states by our engine + one complex matrix product". Peers: PennyLane's broadcast states and one matrix
product, and qiskit-machine-learning's FidelityStatevectorKernel if it is installed (it is none of our dependencies).
Ratios within one run are the result; absolute times depend on the machine and its load.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from qiskit.circuit.library import zz_feature_map as qiskit_zz

from circuits import zz_feature_map
from qworkbench import QuantumKernel

SLOW_POINTS = 500
"""Points for the peer that is slow; its time grows with their square, so it is scaled up and marked."""


def ours(n_qubits: int) -> Callable[[np.ndarray], np.ndarray]:
    """The kernel as users call it."""
    return QuantumKernel(zz_feature_map(n_qubits))


def floor(n_qubits: int) -> Callable[[np.ndarray], np.ndarray]:
    """States by our engine, one complex matrix product, squares."""
    kernel = QuantumKernel(zz_feature_map(n_qubits))

    def gram(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            states = kernel._overlap.states(kernel._angles(x)).numpy()  # type: ignore[attr-defined]
        product = states.conj() @ states.T
        return product.real**2 + product.imag**2

    return gram


def pennylane(n_qubits: int) -> Callable[[np.ndarray], np.ndarray]:
    """Broadcast states of default.qubit and one matrix product."""
    import pennylane as qml

    device = qml.device("default.qubit", wires=n_qubits)

    @qml.qnode(device)
    def states(x: np.ndarray) -> object:
        for _ in range(2):
            for i in range(n_qubits):
                qml.Hadamard(i)
                qml.PhaseShift(2 * x[:, i], i)
            for i in range(n_qubits):
                for j in range(i + 1, n_qubits):
                    qml.CNOT([i, j])
                    qml.PhaseShift(2 * (np.pi - x[:, i]) * (np.pi - x[:, j]), j)
                    qml.CNOT([i, j])
        return qml.state()

    def gram(x: np.ndarray) -> np.ndarray:
        vectors = np.asarray(states(x))
        return np.abs(vectors.conj() @ vectors.T) ** 2

    return gram


def qiskit_machine_learning(n_qubits: int) -> Callable[[np.ndarray], np.ndarray]:
    """FidelityStatevectorKernel of qiskit-machine-learning."""
    from qiskit_machine_learning.kernels import FidelityStatevectorKernel

    kernel = FidelityStatevectorKernel(feature_map=qiskit_zz(n_qubits, reps=2))

    def gram(x: np.ndarray) -> np.ndarray:
        kernel.clear_cache()
        return kernel.evaluate(x)

    return gram


def memory(n_qubits: int, n_points: int) -> None:
    """Print the time and the peak memory of one Gram matrix."""
    x = np.random.default_rng(0).uniform(-1, 1, (n_points, n_qubits))
    kernel = ours(n_qubits)
    start = time.perf_counter()
    gram = kernel(x)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{n_points:,} points x {n_qubits} qubits: {seconds:.1f} s, peak {peak:.2f} GiB, trace {np.trace(gram):.1f}")


def compare(n_qubits: int, n_points: int, rounds: int) -> None:
    """Print the median time of each contender, and its ratio to ours."""
    x = np.random.default_rng(0).uniform(-1, 1, (n_points, n_qubits))
    contenders = {"ours": ours(n_qubits), "states + one zgemm": floor(n_qubits), "PennyLane": pennylane(n_qubits)}
    try:
        contenders["qiskit-machine-learning"] = qiskit_machine_learning(n_qubits)
    except ImportError:
        print("qiskit-machine-learning is not installed; its row is left out")
    points = {name: x[:SLOW_POINTS] if name == "qiskit-machine-learning" else x for name in contenders}
    exact = contenders["ours"](x)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, gram in contenders.items():
            start = time.perf_counter()
            found = gram(points[name])
            times[name].append((time.perf_counter() - start) * (n_points / len(points[name])) ** 2)
            part = exact[: len(found), : len(found)]
            assert np.allclose(found, part, atol=1e-8), f"{name} differs by {np.abs(found - part).max():.1e}"
    base = statistics.median(times["ours"])
    print(f"{n_qubits} qubits x {n_points:,} points, ZZ map of two layers, {rounds} rounds")
    for name, values in times.items():
        scaled = f"  (scaled from {SLOW_POINTS} points)" if len(points[name]) < n_points else ""
        median = statistics.median(values)
        print(f"{name:26} median {median:9.3f} s  best {min(values):9.3f} s  ratio {median / base:8.2f}{scaled}")


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qubits", type=int, default=10)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", type=int, default=None, metavar="POINTS")
    flags = parser.parse_args()
    if flags.memory is None:
        compare(flags.qubits, flags.points, flags.rounds)
    else:
        memory(flags.qubits, flags.memory)


if __name__ == "__main__":
    main()
