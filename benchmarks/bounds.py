"""What the machine could do at best: a bound on the time of a step, from the circuit and two measured rates.

Arithmetic, in fused multiply-adds an amplitude of one real plane pair (tan-scaled rotations: one a plane):

- a rotation: 2 forward, 4 going back (state and co-state), 2 for its slope; half of it if controlled;
- all diagonal gates between two rounds of rotations together, one phase: 4 forward, 8 back, 2 for the slopes;
- X, CX, SWAP and their like, and signs and factors of i: nothing;
- gates that meet a qubit in ``|0>`` make a product state, gates that commute with the read-out are left out: nothing;
- product state, probabilities, Z of every qubit, co-state, slopes of the product state: 12.

Memory: each phase is one sweep over the state forward, and over state and co-state back, each read and written. The
bound is the larger of both times. It is a bound for a state vector; a shallow chain can be contracted faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from benchmarks.workloads import TURNING, Workload

_DIAGONAL = {"rz", "p", "rzz", "crz", "cp", "t"}
_FREE = {"x", "y", "z", "s", "cx", "cy", "cz", "swap", "iswap", "ccx", "cswap"}
_CONTROLLED = {"crx", "cry", "ch"}
_FIXED_PART, _SLOPE = 12.0, 2.0
_ROTATION, _PHASE = 6.0, 12.0


class Work(NamedTuple):
    """What a step needs at least, an amplitude and sample."""

    multiply_adds: float
    sweeps: int


class Machine(NamedTuple):
    """Measured rates with the present number of threads."""

    multiply_adds: float
    """A second, in the precision asked for."""
    bytes_moved: float
    """A second, read and written, over a working set of the size asked for."""


def work(workload: Workload) -> Work:
    """The bound's operation count; see the module."""
    fresh = set(range(workload.size.n_qubits))
    phase: set[int] = set()
    total, sweeps, last_phase = _FIXED_PART, 1, 0.0
    for gate in workload.gates:
        if len(gate.qubits) == 1 and gate.qubits[0] in fresh:
            continue
        fresh -= set(gate.qubits)
        slope = _SLOPE if gate.name in TURNING else 0.0
        if gate.name in _FREE:
            if phase & set(gate.qubits):
                phase |= set(gate.qubits)
        elif gate.name in _DIAGONAL:
            if not phase:
                last_phase, sweeps = _PHASE + _SLOPE, sweeps + 1
                total += last_phase
            phase |= set(gate.qubits)
        else:
            total += (_ROTATION + slope) * (0.5 if gate.name in _CONTROLLED else 1.0)
            if phase & set(gate.qubits):
                phase = set()
    if phase:
        total, sweeps = total - last_phase, sweeps - 1
    return Work(total, sweeps)


def _best(action: Callable[[], object], seconds: float = 0.1) -> float:
    action()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def machine(dtype: torch.dtype, working_set: int) -> Machine:
    """Measure a matrix product and an in-place product with a number.

    Args:
        dtype: Of the numbers.
        working_set: Bytes.
    """
    side = 768
    a, b = (torch.rand(side, side, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    # Below a mebibyte a call of torch costs more than the bytes do; all of it is cache, and arithmetic is the bound.
    v = torch.ones(max(working_set, 2**20) // dtype.itemsize, dtype=dtype)
    return Machine(
        side**3 / _best(lambda: torch.mm(a, b, out=out)), 2 * v.numel() * dtype.itemsize / _best(lambda: v.mul_(1.0))
    )


def bound_seconds(workload: Workload, dtype: torch.dtype) -> float:
    """The bound with the present number of threads, by rates measured now."""
    needed, amplitudes = work(workload), workload.size.batch * 2.0**workload.size.n_qubits
    # A sample's state and co-state, each two real planes, must stay somewhere.
    working_set = 4 * dtype.itemsize * 2**workload.size.n_qubits
    rates = machine(dtype, working_set)
    arithmetic = needed.multiply_adds * amplitudes / rates.multiply_adds
    # One state forward, two back, each two planes read and written.
    memory = needed.sweeps * 3 * 2 * 2 * dtype.itemsize * amplitudes / rates.bytes_moved
    return max(arithmetic, memory)
