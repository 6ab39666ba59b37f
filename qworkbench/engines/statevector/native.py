"""The native executor: interprets a table of passes over chunks of samples, so that a new circuit compiles nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numba import njit
from qiskit.quantum_info import SparsePauliOp

from qworkbench.engines.base import check_memory
from qworkbench.engines.statevector import kernels
from qworkbench.engines.statevector.kernels import JIT
from qworkbench.engines.statevector.passes import Pass, compile_passes, is_real
from qworkbench.lowering import Angles, LoweredCircuit

CHUNK_NUMBERS = 2**16
"""Real numbers of one plane of a chunk: with its scratch it stays in the cache of a core."""
MIN_LANES = 8
"""Samples worked on together at least: a vector register full."""
KEPT_BYTES = 2**26
"""States of a forward pass that are kept for the backward pass, at most."""


@njit(**JIT)
def element_matrix(q, slot, omega, angle, u):
    """The unitary of an element at ``angle`` into ``u``: ``I + (cos(wt) - 1) Q^2 - i sin(wt) Q``, or fixed."""
    size = len(q)
    c, s = np.cos(omega * angle) - 1, np.sin(omega * angle)
    for a in range(size):
        for b in range(size):
            if slot < 0:
                u[a, b] = q[a, b]
            else:
                square = 0j
                for m in range(size):
                    square += q[a, m] * q[m, b]
                u[a, b] = c * square - 1j * s * q[a, b] + (1 if a == b else 0)


@njit(**JIT)
def multiply(a, b, out):
    """``out = a @ b`` of small square matrices; ``out`` is neither."""
    size = len(a)
    for i in range(size):
        for j in range(size):
            total = 0j
            for m in range(size):
                total += a[i, m] * b[m, j]
            out[i, j] = total


@njit(**JIT)
def angle_of(slot, shared, sample, lane):
    """The angle in a slot; 0 for a fixed element."""
    n_shared = len(shared)
    if slot < 0:
        return 0.0
    return shared[slot] if slot < n_shared else sample[lane, slot - n_shared]


@njit(**JIT)
def run_matrices(slots, omegas, matrices, shared, sample, wide, real, imaginary):
    """The product of a run's elements for each of ``wide`` lanes, into two arrays ``(d, d, lanes)``."""
    size = matrices.shape[1]
    total = np.empty((size, size), np.complex128)
    u, work = np.empty_like(total), np.empty_like(total)
    for lane in range(wide):
        for a in range(size):
            for b in range(size):
                total[a, b] = 1 if a == b else 0
        for e in range(len(slots)):
            element_matrix(matrices[e], slots[e], omegas[e], angle_of(slots[e], shared, sample, lane), u)
            multiply(u, total, work)
            total[:] = work
        for a in range(size):
            for b in range(size):
                real[a, b, lane] = total[a, b].real
                imaginary[a, b, lane] = total[a, b].imag


@njit(**JIT)
def run_slopes(slots, omegas, matrices, shared, sample, wide, g, gshared, gsample):
    """Adds the slope of each angle of a run.

    It is ``2 Re sum_ab M_ab g_ab`` with ``M = W (-i w Q) W^dagger`` and W the product of the later elements.

    Args:
        slots: Of the run's elements, as ``omegas`` and ``matrices``.
        omegas: See ``slots``.
        matrices: See ``slots``.
        shared: Shape ``(S,)``.
        sample: Shape ``(lanes, P)``.
        wide: Number of lanes of ``g``.
        g: ``sum conj(costate_a) state_b`` after the run, shape ``(d, d, wide)``.
        gshared: Shape ``(S,)``.
        gsample: Shape ``(lanes, P)``.
    """
    size, n_shared = matrices.shape[1], len(shared)
    later, u = np.empty((size, size), np.complex128), np.empty((size, size), np.complex128)
    work = np.empty((size, size), np.complex128)
    for lane in range(wide):
        for a in range(size):
            for b in range(size):
                later[a, b] = 1 if a == b else 0
        for e in range(len(slots) - 1, -1, -1):
            slot = slots[e]
            if slot >= 0:
                multiply(later, matrices[e], work)
                slope = 0.0
                for a in range(size):
                    for b in range(size):
                        m = 0j
                        for c in range(size):
                            m += work[a, c] * np.conj(later[b, c])
                        m *= -1j * omegas[e]
                        slope += 2 * (m.real * g[a, b, lane].real - m.imag * g[a, b, lane].imag)
                if slot < n_shared:
                    gshared[slot] += slope
                else:
                    gsample[lane, slot - n_shared] += slope
            element_matrix(matrices[e], slot, omegas[e], angle_of(slot, shared, sample, lane), u)
            multiply(later, u, work)
            later[:] = work


@njit(**JIT)
def mask_angles(slots, rows, coefficients, shared, sample, wide, n_masks, cosine, sine):
    """Cosine and sine of each mask's angle, shape ``(masks, wide)``."""
    angle = np.zeros((n_masks, wide))
    for e in range(len(slots)):
        for lane in range(wide):
            turn = 1.0 if slots[e] < 0 else angle_of(slots[e], shared, sample, lane)
            angle[rows[e], lane] += coefficients[e] * turn
    for m in range(n_masks):
        for lane in range(wide):
            cosine[m, lane] = np.cos(angle[m, lane])
            sine[m, lane] = np.sin(angle[m, lane])


@njit(**JIT)
def mask_slopes(slots, rows, coefficients, sums, n_shared, gshared, gsample):
    """Adds the slope of each term: twice its coefficient times the signed sum of its mask."""
    for e in range(len(slots)):
        slot = slots[e]
        if slot >= 0:
            for lane in range(sums.shape[1]):
                slope = 2 * coefficients[e] * sums[rows[e], lane]
                if slot < n_shared:
                    gshared[slot] += slope
                else:
                    gsample[lane, slot - n_shared] += slope


@njit(**JIT)
def tree_values(n_qubits, lanes, pairs, re, im, values):
    """Expectation values of products of at most two Zs, added to ``values`` of shape ``(masks, lanes)``."""
    p = re * re + im * im
    kernels.signed_sums(n_qubits, lanes, pairs, p, np.empty(max(p.size // 2, lanes), p.dtype), values)


@njit(**JIT)
def tree_costate(n_qubits, lanes, pairs, weight, re, im, outr, outi):
    """``out = (sum_m weight_m Z_m) state``."""
    w = np.empty_like(re)
    kernels.weight_table(n_qubits, lanes, pairs, weight, w, np.empty(max(w.size // 2, lanes), w.dtype))
    for j in range(re.size):
        outr[j] = w[j] * re[j]
        outi[j] = w[j] * im[j]


class Chunk:
    """The state (and co-state) of up to ``lanes`` samples while passes go over them."""

    def __init__(self, n_qubits: int, lanes: int, dtype: type, shared: np.ndarray, sample: np.ndarray) -> None:
        self.n_qubits, self.lanes, self.dtype = n_qubits, lanes, dtype
        self.shared, self.sample = shared, sample
        size = 2**n_qubits * lanes
        self.state = np.empty((2, size), dtype)
        self.spare = np.empty((2, size), dtype)
        self.costate: np.ndarray = np.empty((2, 0), dtype)

    def room(self, *shape: int) -> np.ndarray:
        """Scratch in the chunk's precision."""
        return np.empty(shape, self.dtype)

    def move(self, forward: bool, *arguments: object) -> None:
        """Send the state, and going back the co-state too, through a phase and a reordering."""
        kernel = kernels.phase_and_move if forward else kernels.move_and_unphase
        kernel(*self.state, *self.spare, self.lanes, *arguments)
        self.state, self.spare = self.spare, self.state
        if not forward:
            kernel(*self.costate, *self.spare, self.lanes, *arguments)
            self.costate, self.spare = self.spare, self.costate


@dataclass
class Slopes:
    """Where gradients are added: shapes ``(S,)`` and ``(lanes, P)``, float64."""

    shared: np.ndarray
    sample: np.ndarray


class Run:
    """The elements of a dense pass as arrays."""

    def __init__(self, step: Pass, n_shared: int, indices: Sequence[int] | None = None) -> None:
        chosen = [step.elements[i] for i in (range(len(step.elements)) if indices is None else indices)]
        self.slots = np.array([e.slot for e in chosen], np.int64)
        self.omegas = np.array([e.omega for e in chosen])
        self.matrices = np.array([e.matrix for e in chosen], complex) if chosen else np.zeros((0, 2, 2), complex)
        self.sampled = bool((self.slots >= n_shared).any())
        self.real = all(is_real(e) for e in chosen)

    def make(self, chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
        """The matrix, ``(d, d, lanes)`` or ``(d, d, 1)`` if shared, real and imaginary part."""
        size, wide = self.matrices.shape[1], chunk.lanes if self.sampled else 1
        real, imaginary = chunk.room(size, size, wide), chunk.room(size, size, wide)
        run_matrices(self.slots, self.omegas, self.matrices, chunk.shared, chunk.sample, wide, real, imaginary)
        return real, imaginary

    def slopes(self, chunk: Chunk, g: np.ndarray, slopes: Slopes) -> None:
        """Add the slopes from ``g`` of shape ``(d, d, wide)``."""
        elements = (self.slots, self.omegas, self.matrices)
        run_slopes(*elements, chunk.shared, chunk.sample, g.shape[2], g, slopes.shared, slopes.sample)


class OnePass:
    """A run of gates on one qubit."""

    def __init__(self, step: Pass, n_shared: int) -> None:
        self._run, self._qubit = Run(step, n_shared), step.qubits[0]
        self._matrix = (np.empty(0), np.empty(0))

    def forward(self, chunk: Chunk) -> None:
        """Apply."""
        self._apply(chunk, chunk.state, *self._run.make(chunk))

    def _apply(self, chunk: Chunk, state: np.ndarray, mr: np.ndarray, mi: np.ndarray) -> None:
        length = 2**self._qubit * chunk.lanes
        if self._run.sampled:
            flat = np.stack([mr, mi], axis=2).reshape(8, chunk.lanes)
            kernels.rotate_lanes(*state, length, chunk.lanes, flat)
        elif self._run.real:
            numbers = mr.reshape(4)
            kernels.rotate_real(state[0], length, *numbers)
            kernels.rotate_real(state[1], length, *numbers)
        else:
            kernels.rotate_complex(*state, length, *np.stack([mr, mi], axis=2).reshape(8))

    def backward(self, chunk: Chunk, slopes: Slopes) -> None:
        """Add the slopes and undo."""
        length, wide = 2**self._qubit * chunk.lanes, chunk.lanes if self._run.sampled else 1
        xyz = np.zeros((3, wide))
        if self._run.sampled:
            room = chunk.room(3, wide)
            kernels.overlap_lanes(*chunk.state, *chunk.costate, length, chunk.lanes, xyz, room)
        elif self._run.real:
            xyz[1] = kernels.overlap_real(*chunk.state, *chunk.costate, length)
        else:
            xyz[:, 0] = kernels.overlap_shared(*chunk.state, *chunk.costate, length)
        # Any G with these three combinations gives the same slopes; Im(G00 + G11) is 0, as <state|O|state> is real.
        g = np.zeros((2, 2, wide), complex)
        g[0, 0], g[1, 1], g[0, 1] = 0.5j * xyz[2], -0.5j * xyz[2], xyz[1] + 1j * xyz[0]
        self._run.slopes(chunk, g, slopes)
        mr, mi = self._run.make(chunk)
        inverse = np.ascontiguousarray(mr.transpose(1, 0, 2)), -np.ascontiguousarray(mi.transpose(1, 0, 2))
        self._apply(chunk, chunk.state, *inverse)
        self._apply(chunk, chunk.costate, *inverse)


class ManyPass:
    """A dense gate on two or three qubits."""

    def __init__(self, step: Pass, n_shared: int) -> None:
        self._run = Run(step, n_shared)
        self._places = np.array(sorted(step.qubits), np.int64)
        local = np.arange(2 ** len(step.qubits))
        self._offsets = np.array(sum(((local >> b) & 1) << q for b, q in enumerate(step.qubits)), np.int64)

    def _apply(self, chunk: Chunk, state: np.ndarray, mr: np.ndarray, mi: np.ndarray) -> None:
        work = chunk.room(2, len(self._offsets), chunk.lanes)
        kernels.apply_many(*state, chunk.lanes, self._places, self._offsets, mr, mi, self._run.sampled, work)

    def forward(self, chunk: Chunk) -> None:
        """Apply."""
        self._apply(chunk, chunk.state, *self._run.make(chunk))

    def backward(self, chunk: Chunk, slopes: Slopes) -> None:
        """Add the slopes and undo."""
        shape = (len(self._offsets), len(self._offsets), chunk.lanes)
        gr, gi = np.zeros(shape), np.zeros(shape)
        kernels.overlap_many(*chunk.state, *chunk.costate, chunk.lanes, self._places, self._offsets, gr, gi)
        g = gr + 1j * gi
        self._run.slopes(chunk, g if self._run.sampled else g.sum(2, keepdims=True), slopes)
        mr, mi = self._run.make(chunk)
        inverse = np.ascontiguousarray(mr.transpose(1, 0, 2)), -np.ascontiguousarray(mi.transpose(1, 0, 2))
        self._apply(chunk, chunk.state, *inverse)
        self._apply(chunk, chunk.costate, *inverse)


class PhasePass:
    """Everything diagonal, then a reordering."""

    def __init__(self, step: Pass, n_shared: int, n_qubits: int) -> None:
        masks = list(dict.fromkeys(mask for mask, _, _ in step.terms))
        self._n_masks, self._n_shared = len(masks), n_shared
        self._pairs = pair_table(masks, n_qubits)
        self._rows = np.array([masks.index(mask) for mask, _, _ in step.terms], np.int64)
        self._slots = np.array([slot for _, slot, _ in step.terms], np.int64)
        self._coefficients = np.array([factor for _, _, factor in step.terms])
        self._sampled = bool((self._slots >= n_shared).any())
        self._moves = step.source is not None
        self._source = np.zeros(0, np.int32) if step.source is None else step.source.astype(np.int32)

    def _table(self, chunk: Chunk) -> tuple[int, np.ndarray]:
        wide = chunk.lanes if self._sampled else 1
        size = 2**chunk.n_qubits * wide
        table = chunk.room(2, size)
        if self._n_masks:
            cosine, sine = chunk.room(2, self._n_masks, wide)
            terms = (self._slots, self._rows, self._coefficients)
            mask_angles(*terms, chunk.shared, chunk.sample, wide, self._n_masks, cosine, sine)
            half = chunk.room(2, max(size // 2, wide))
            kernels.phase_table(chunk.n_qubits, wide, self._pairs, cosine, sine, *table, *half)
        return wide, table

    def forward(self, chunk: Chunk) -> None:
        """Apply."""
        wide, table = self._table(chunk)
        chunk.move(True, wide, *table, self._n_masks > 0, self._source, self._moves)

    def backward(self, chunk: Chunk, slopes: Slopes) -> None:
        """Undo and add the slopes."""
        wide, table = self._table(chunk)
        chunk.move(False, wide, *table, self._n_masks > 0, self._source, self._moves)
        if (self._slots >= 0).any():
            t = table[0]
            kernels.imaginary_overlap(*chunk.state, *chunk.costate, chunk.lanes, wide, t)
            sums = np.zeros((self._n_masks, wide))
            kernels.signed_sums(chunk.n_qubits, wide, self._pairs, t, table[1], sums)
            terms = (self._slots, self._rows, self._coefficients)
            mask_slopes(*terms, sums, self._n_shared, slopes.shared, slopes.sample)


class ProductPass:
    """The first rotations of each qubit: a product state."""

    def __init__(self, step: Pass, n_shared: int, n_qubits: int) -> None:
        owners = [[i for i, owner in enumerate(step.owners) if owner == q] for q in range(n_qubits)]
        self._runs = [Run(step, n_shared, indices) for indices in owners]

    def _vectors(self, chunk: Chunk) -> np.ndarray:
        v = chunk.room(chunk.n_qubits, 4, chunk.lanes)
        for q, run in enumerate(self._runs):
            mr, mi = run.make(chunk)
            v[q, 0], v[q, 1], v[q, 2], v[q, 3] = mr[0, 0], mi[0, 0], mr[1, 0], mi[1, 0]
        return v

    def forward(self, chunk: Chunk) -> None:
        """Make the state."""
        kernels.product_state(*chunk.state, chunk.lanes, chunk.n_qubits, self._vectors(chunk))

    def backward(self, chunk: Chunk, slopes: Slopes) -> None:
        """Add the slopes; the state is used up."""
        v = self._vectors(chunk)
        found = np.zeros(v.shape)
        kernels.product_gradient(*chunk.state, *chunk.costate, chunk.lanes, chunk.n_qubits, v, found)
        for q, run in enumerate(self._runs):
            if len(run.slots):
                left = found[q, 0::2] + 1j * found[q, 1::2]
                right = v[q, 0::2].astype(float) + 1j * v[q, 1::2]
                g = left[:, None] * right[None]
                run.slopes(chunk, g if run.sampled else g.sum(2, keepdims=True), slopes)


class PauliStrings:
    """Observables as distinct Pauli strings: ``mean = offset + values @ weights``."""

    def __init__(self, observables: Sequence[SparsePauliOp]) -> None:
        self.n_qubits = int(observables[0].num_qubits or 0)
        self.offset = np.zeros(len(observables))
        strings: dict[tuple[int, int, int], np.ndarray] = {}
        for column, observable in enumerate(observables):
            paulis = observable.paulis
            for x, z, phase, factor in zip(paulis.x, paulis.z, paulis.phase, observable.coeffs, strict=True):
                flip, sign = (int(sum(1 << int(q) for q in np.flatnonzero(part))) for part in (x, z))
                key = (flip, sign, (int(phase) + int(np.count_nonzero(x & z))) % 4)
                if flip == sign == 0:
                    self.offset[column] += factor.real * (-1.0) ** (key[2] // 2)
                else:
                    strings.setdefault(key, np.zeros(len(observables)))[column] += factor.real
        tree = [key for key in strings if key[0] == key[2] == 0 and key[1].bit_count() <= 2]
        rest = [key for key in strings if key not in set(tree)]
        self._rest = list(enumerate(rest, start=len(tree)))
        self._tree, self._pairs = len(tree), pair_table([key[1] for key in tree], self.n_qubits)
        self.weights = np.array([strings[key] for key in [*tree, *rest]]).reshape(len(strings), len(observables))

    def values(self, chunk: Chunk) -> np.ndarray:
        """Expectation value of each string, shape ``(strings, lanes)``, float64."""
        values = np.zeros((len(self.weights), chunk.lanes))
        if self._tree:
            tree_values(self.n_qubits, chunk.lanes, self._pairs, *chunk.state, values)
        for row, (x, z, turns) in self._rest:
            kernels.pauli_value(*chunk.state, chunk.lanes, x, z, turns, values[row])
        return values

    def seed(self, chunk: Chunk, cotangent: np.ndarray) -> None:
        """Set the co-state to ``sum_o cotangent[:, o] O_o state``."""
        weight = np.ascontiguousarray((cotangent @ self.weights.T).T)
        chunk.costate = np.zeros_like(chunk.state)
        if self._tree:
            tree_costate(self.n_qubits, chunk.lanes, self._pairs, weight, *chunk.state, *chunk.costate)
        for row, (x, z, turns) in self._rest:
            kernels.pauli_add(*chunk.state, chunk.lanes, x, z, turns, weight[row], *chunk.costate)


def pair_table(masks: Sequence[int], n_qubits: int) -> np.ndarray:
    """``table[q, p]``, ``p <= q``: the index of the mask of ``Z_q Z_p`` (of ``Z_q`` if equal), or -1."""
    table = np.full((n_qubits, n_qubits), -1, np.int32)
    for row, mask in enumerate(masks):
        table[mask.bit_length() - 1, (mask & -mask).bit_length() - 1] = row
    return table


Runnable = ProductPass | OnePass | ManyPass | PhasePass


def make_passes(passes: Sequence[Pass], n_shared: int, n_qubits: int) -> list[Runnable]:
    """Passes that can be run."""
    kinds: dict[str, Callable[[Pass], Runnable]] = {
        "product": lambda step: ProductPass(step, n_shared, n_qubits),
        "one": lambda step: OnePass(step, n_shared),
        "many": lambda step: ManyPass(step, n_shared),
        "phase": lambda step: PhasePass(step, n_shared, n_qubits),
    }
    return [kinds[step.kind](step) for step in passes]


class NativeExecutor:
    """States, expectation values and adjoint gradients of a lowered circuit on the CPU.

    Args:
        circuit: The circuit.
        n_shared: How many slots stand in ``Angles.shared``: the circuit's own number, or 0 if every slot is per sample.
        observables: What ``mean`` and ``gradient`` are about; ``states`` needs none.
    """

    def __init__(self, circuit: LoweredCircuit, n_shared: int, observables: Sequence[SparsePauliOp] = ()) -> None:
        self._n_qubits = circuit.n_qubits
        self._passes = make_passes(compile_passes(circuit), n_shared, circuit.n_qubits)
        if observables:
            self._strings = PauliStrings(observables)
        self._kept: tuple[Angles, list[Chunk]] | None = None
        announce_compilation()

    def _chunks(self, angles: Angles) -> Iterator[tuple[slice, Chunk]]:
        per_sample = np.ascontiguousarray(angles.per_sample.detach().double().numpy())
        shared = np.ascontiguousarray(angles.shared.detach().double().numpy())
        dtype = np.float32 if angles.per_sample.dtype == torch.float32 else np.float64
        step, n_rows = max(MIN_LANES, CHUNK_NUMBERS >> self._n_qubits), len(per_sample)
        check_memory(self._n_qubits, 4 * min(step, n_rows), 2 * angles.per_sample.element_size())
        for start in range(0, n_rows, step):
            rows = slice(start, min(start + step, n_rows))
            part = per_sample[rows]
            yield rows, Chunk(self._n_qubits, len(part), dtype, shared, part)

    def states(self, angles: Angles) -> torch.Tensor:
        """State vectors of shape ``(N, 2**n)``."""
        dtype = np.complex64 if angles.per_sample.dtype == torch.float32 else np.complex128
        result = np.empty((len(angles.per_sample), 2**self._n_qubits), dtype)
        for rows, chunk in self._chunks(angles):
            for step in self._passes:
                step.forward(chunk)
            planes = chunk.state.reshape(2, -1, chunk.lanes)
            result[rows] = (planes[0] + 1j * planes[1]).T
        return torch.from_numpy(result)

    def mean(self, angles: Angles, keep: bool) -> torch.Tensor:
        """Expectation values of shape ``(N, O)``; with ``keep`` the states stay for the gradient at the same point."""
        result = np.empty((len(angles.per_sample), len(self._strings.offset)))
        size = 2**self._n_qubits * len(angles.per_sample) * 2 * angles.per_sample.element_size()
        chunks: list[Chunk] = []
        for rows, chunk in self._chunks(angles):
            for step in self._passes:
                step.forward(chunk)
            result[rows] = self._strings.offset + self._strings.values(chunk).T @ self._strings.weights
            chunks.append(chunk) if keep and size <= KEPT_BYTES else None
        self._kept = (Angles(*(a.detach().clone() for a in angles)), chunks) if chunks else None
        return torch.from_numpy(result).to(angles.per_sample.dtype)

    def gradient(self, angles: Angles, cotangent: torch.Tensor) -> Angles:
        """The gradient of ``(cotangent * mean).sum()``."""
        weights, kept = cotangent.detach().double().numpy(), self._take_kept(angles)
        shared, per_sample = np.zeros(len(angles.shared)), np.zeros(angles.per_sample.shape)
        for index, (rows, fresh) in enumerate(self._chunks(angles)):
            chunk = fresh if kept is None else kept[index]
            if kept is None:
                for step in self._passes:
                    step.forward(chunk)
            self._strings.seed(chunk, weights[rows])
            slopes = Slopes(np.zeros(len(shared)), per_sample[rows])
            for step in reversed(self._passes):
                step.backward(chunk, slopes)
            shared += slopes.shared
        dtype = angles.per_sample.dtype
        return Angles(torch.from_numpy(shared).to(dtype), torch.from_numpy(per_sample).to(dtype))

    def _take_kept(self, angles: Angles) -> list[Chunk] | None:
        kept, self._kept = self._kept, None
        if kept is None or not all(torch.equal(a, b) for a, b in zip(kept[0], angles, strict=True)):
            return None
        return kept[1]


def announce_compilation() -> None:
    """Say on standard error that the kernels are compiled now, if no compiled ones are on disk."""
    cache = Path(kernels.rotate_real.stats.cache_path)
    if not any(cache.glob("kernels.rotate_real-*.nbi")) and not kernels.rotate_real.signatures:
        print("qworkbench: compiling the native kernels, once on this machine ...", file=sys.stderr, flush=True)
