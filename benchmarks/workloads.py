"""What is timed: circuits as plain gate lists that every contestant translates for itself.

Numpy alone, so that a peer can run in an environment without Qiskit, torch or this workbench.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

TURNING = {"rx": 1, "ry": 1, "rz": 1, "p": 1, "rxx": 2, "ryy": 2, "rzz": 2, "rzx": 2} | {
    name: 2 for name in ("crx", "cry", "crz", "cp")
}
"""Gates with an angle that lowering knows (``qworkbench.gates.GENERATORS``), and their number of qubits."""
FIXED = {name: 1 for name in ("h", "x", "y", "z", "s", "t", "sx")} | {
    **{name: 2 for name in ("cx", "cy", "cz", "ch", "swap", "iswap")},
    **{name: 3 for name in ("ccx", "cswap")},
}
"""Gates without an angle."""
N_CLASSES = 2


class Size(NamedTuple):
    """Qubits, layers (gates a qubit in a random circuit), samples."""

    n_qubits: int
    depth: int
    batch: int


SIZES = tuple(Size(*s) for s in [(4, 2, 32), (8, 3, 32), (8, 3, 256), (12, 4, 32), (16, 4, 8), (20, 2, 1), (24, 1, 1)])
RANDOM_SIZES = tuple(Size(*s) for s in [(4, 30, 32), (8, 30, 32), (12, 30, 32)])


class GateCall(NamedTuple):
    """One gate under Qiskit's name; its angle is ``inputs[:, input]``, ``weights[weight]`` or absent."""

    name: str
    qubits: tuple[int, ...]
    input: int | None = None
    weight: int | None = None


@dataclass(frozen=True)
class Workload:
    """One training step: circuit, Z on each qubit, a linear head, cross entropy; gradients of inputs and weights."""

    circuit: str
    size: Size
    gates: tuple[GateCall, ...]
    seed: int = 0
    inputs: np.ndarray = field(init=False, repr=False)
    """Shape ``(batch, n_inputs)``."""
    weights: np.ndarray = field(init=False, repr=False)
    """Shape ``(n_weights,)``."""
    head: np.ndarray = field(init=False, repr=False)
    """Shape ``(2, n_qubits)``."""
    labels: np.ndarray = field(init=False, repr=False)
    """Shape ``(batch,)``."""

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        n_inputs = 1 + max((g.input for g in self.gates if g.input is not None), default=-1)
        n_weights = 1 + max((g.weight for g in self.gates if g.weight is not None), default=-1)
        values = {
            "inputs": rng.uniform(-np.pi, np.pi, (self.size.batch, n_inputs)),
            "weights": rng.uniform(-np.pi, np.pi, n_weights),
            "head": rng.normal(size=(N_CLASSES, self.size.n_qubits)),
            "labels": rng.integers(N_CLASSES, size=self.size.batch),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def first(self, n_samples: int | None) -> Workload:
        """The same circuit with a smaller batch; all of it for None."""
        batch = self.size.batch if n_samples is None else min(n_samples, self.size.batch)
        return self if batch == self.size.batch else replace(self, size=self.size._replace(batch=batch))


def ansatz(size: Size) -> Workload:
    """RY of one input a qubit, then layers of RY and RZ of weights on each qubit and a linear chain of CX."""
    n = size.n_qubits
    gates = [GateCall("ry", (q,), input=q) for q in range(n)]
    for layer in range(size.depth):
        for k, name in enumerate(("ry", "rz")):
            gates += [GateCall(name, (q,), weight=(2 * layer + k) * n + q) for q in range(n)]
        gates += [GateCall("cx", (q, q + 1)) for q in range(n - 1)]
    return Workload("ansatz", size, tuple(gates))


def random(size: Size, seed: int = 0) -> Workload:
    """``depth`` gates a qubit of every kind, on random qubits.

    Kinds are drawn without repetition until all were used. Of the angles, every fourth is an input (the inputs, one a
    qubit, are used again and again), the others are weights of their own.
    """
    rng = np.random.default_rng(seed)
    widths = {k: w for k, w in (TURNING | FIXED).items() if w <= size.n_qubits}
    gates: list[GateCall] = []
    bag: list[str] = []
    turned = weights = 0
    for _ in range(size.depth * size.n_qubits):
        bag = bag or [str(kind) for kind in rng.permutation(sorted(widths))]
        name = bag.pop()
        qubits = tuple(int(q) for q in rng.permutation(size.n_qubits)[: widths[name]])
        if name not in TURNING:
            gates.append(GateCall(name, qubits))
        elif turned % 4 == 0:
            gates.append(GateCall(name, qubits, input=turned // 4 % size.n_qubits))
        else:
            gates.append(GateCall(name, qubits, weight=weights))
            weights += 1
        turned += name in TURNING
    return Workload("random", size, tuple(gates), seed)


CIRCUITS = {"ansatz": (ansatz, SIZES), "random": (random, RANDOM_SIZES)}
"""Name -> how it is made, and the sizes of a full run."""
