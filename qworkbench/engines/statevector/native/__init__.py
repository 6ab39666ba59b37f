"""The native executor: interprets a table of passes over chunks of samples, so that a new circuit compiles nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp

from qworkbench.engines.base import check_memory
from qworkbench.engines.statevector.native import walk
from qworkbench.engines.statevector.native.plan import absorb_last, make_plan, make_strings
from qworkbench.engines.statevector.native.registers import REGISTER_BYTES
from qworkbench.engines.statevector.native.team import OPENMP, usable_threads
from qworkbench.engines.statevector.passes import Pass, compile_passes
from qworkbench.errors import NotFiniteError
from qworkbench.lowering import Angles, LoweredCircuit

CHUNK_BYTES = 2**15
"""Of a plane of a chunk: with its twins it stays close to the core."""
REGISTER_CHUNK_BYTES = 2**18
"""Of a plane with as many samples as a register has lanes: up to here they are worth more than a smaller chunk."""
BLOCK_BYTES = 2**14
"""A plane's part that stays in the nearest cache, with its twins of the other planes, while several rotations pass."""
KEPT_BYTES = 2**28
"""States of a forward pass that are kept for the backward pass, at most."""
THREADED_WORK = 2**19
"""Numbers times passes below which a second thread is not used: it saves little, and a busy processor holds both up."""
SHARED_NUMBERS = 2**16
"""Numbers of a chunk from which threads share it."""
WORKSPACES_HELD, BYTES_HELD = 8, 2**25
"""Idle workspaces, and bytes of them, beyond which all are let go before another one is made."""
DTYPES: dict[torch.dtype, np.dtype] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


class Workspace(NamedTuple):
    """Memory for batches of one size. One call at a time works in it; to make it takes longer than a small circuit."""

    key: tuple[int, torch.dtype, int]
    """Samples, precision, usable threads."""
    padded: int
    """Samples of all chunks, which are filled up to powers of two."""
    chunks: np.ndarray
    """``(first sample, samples)``."""
    turns: tuple[np.ndarray, ...]
    """The shared and the per-sample angles, and cosine and sine of the rows: ``(rows, 2)`` of those of shared angles,
    ``(rows, 2, padded)`` of the others."""
    slopes: tuple[np.ndarray, ...]
    """Of the rows, ``(sharing, chunks, rows)`` and ``(sharing, rows, padded)``, and of the shared slots."""
    arguments: tuple[object, ...]
    """What ``walk.forward`` and ``walk.backward`` take first."""
    rooms: list[tuple[np.ndarray, ...]]
    """Of each thread: place, planes, scratch, sums, arrivals, to whose addresses ``arguments`` point."""
    n_bytes: int


class NativeExecutor:
    """States, expectation values and adjoint gradients of a lowered circuit on the CPU.

    Args:
        circuit: The circuit.
        n_shared: How many slots stand in ``Angles.shared``: the circuit's own number, or 0 if every slot is per sample.
        observables: What ``mean`` and ``gradient`` are about; ``states`` needs none.
    """

    def __init__(self, circuit: LoweredCircuit, n_shared: int, observables: Sequence[SparsePauliOp] = ()) -> None:
        self._n_qubits, self._n_shared = circuit.n_qubits, n_shared
        self._n_per_sample = circuit.n_shared + circuit.n_per_sample - n_shared
        passes: Sequence[Pass] = compile_passes(circuit)
        self._strings = make_strings(observables or [SparsePauliOp("I" * circuit.n_qubits)])
        if observables:
            passes, self._strings = absorb_last(passes, self._strings)
        self._plan, self._rows = make_plan(passes, n_shared, circuit.n_qubits)
        observable, string = np.nonzero(self._strings.weights.T)
        begins = np.searchsorted(observable, np.arange(len(self._strings.offset) + 1))
        self._terms = (begins, string, self._strings.weights[string, observable], self._strings.offset)
        self._free: dict[object, list[Workspace]] = {}
        self._kept: list[tuple[Workspace, np.ndarray]] = []

    def __getstate__(self) -> dict[str, Any]:
        # Of two copies each must work in memory of its own.
        return {**self.__dict__, "_free": {}, "_kept": []}

    def _key(self, samples: torch.Tensor) -> tuple[int, torch.dtype, int]:
        """Of the workspace for some samples, now and in this process."""
        return samples.shape[0], samples.dtype, usable_threads()

    def _take(self, samples: torch.Tensor) -> Workspace:
        """A workspace that nobody else uses: lists are popped and appended to by one thread of the user at a time."""
        key = self._key(samples)
        try:
            return self._free[key].pop()
        except (KeyError, IndexError):
            return self._make_workspace(*key)

    def _give(self, space: Workspace) -> None:
        self._free.setdefault(space.key, []).append(space)

    def _make_workspace(self, n_samples: int, dtype: torch.dtype, threads: int) -> Workspace:
        if dtype not in DTYPES:
            raise TypeError(f"expected angles of torch.float32 or torch.float64, got {dtype}")
        number = DTYPES[dtype]
        held = [space for spaces in list(self._free.values()) for space in spaces]
        if len(held) >= WORKSPACES_HELD or sum(space.n_bytes for space in held) > BYTES_HELD:
            self._free = {}
        chunks, rows, strings = self._chunks(n_samples, number.itemsize), self._rows, self._strings
        padded = int(chunks[:, 1].sum())
        used, sharing = self._threads(chunks, padded, threads)
        rooms, table = self._make_rooms(int(chunks[0, 1]), padded, number, used, sharing)
        turns = (
            np.empty(self._n_shared, number),
            np.empty((n_samples, self._n_per_sample), number),
            np.empty((rows.n_shared, 2), number),
            np.empty((rows.n_sampled, 2, padded), number),
        )
        slopes = (
            np.empty((sharing, len(chunks), rows.n_shared)),
            np.empty((sharing, rows.n_sampled, padded), number),
            np.empty(self._n_shared),
        )
        read = (strings.products, strings.others, strings.move)
        values = np.empty((sharing, len(strings.weights), padded))
        arguments = (tuple(self._plan[:3]), read, self._terms, turns, chunks, values, table, OPENMP)
        n_bytes = sum(part.nbytes for part in (*rooms[0] * len(rooms), *turns, *slopes, values))
        return Workspace((n_samples, dtype, threads), padded, chunks, turns, slopes, arguments, rooms, n_bytes)

    def _chunks(self, n_samples: int, itemsize: int) -> np.ndarray:
        """``(first sample, samples)`` of each chunk; the last one is padded."""
        least = max(1, REGISTER_BYTES // itemsize >> self._n_qubits)
        most = max(least, CHUNK_BYTES // itemsize >> self._n_qubits)
        if most < REGISTER_BYTES // itemsize and REGISTER_BYTES << self._n_qubits <= REGISTER_CHUNK_BYTES:
            most = REGISTER_BYTES // itemsize
        whole = [(start, most) for start in range(0, n_samples - most + 1, most)]
        done = len(whole) * most
        if done < n_samples:
            whole.append((done, max(least, 1 << (n_samples - done - 1).bit_length())))
        return np.array(whole or [(0, least)], np.int64)

    def _threads(self, chunks: np.ndarray, padded: int, threads: int) -> tuple[int, int]:
        """Threads, and how many of them share a chunk."""
        largest, work = int(chunks[0, 1]) << self._n_qubits, (padded << self._n_qubits) * len(self._plan.starts)
        if threads == 1 or work < THREADED_WORK:
            return 1, 1
        if len(chunks) >= threads:
            return threads, 1
        return (threads, threads) if largest >= SHARED_NUMBERS else (min(threads, len(chunks)), 1)

    def _make_rooms(
        self, samples: int, padded: int, dtype: np.dtype, threads: int, sharing: int
    ) -> tuple[list[tuple[np.ndarray, ...]], np.ndarray]:
        """One room a thread; those that share a chunk share planes, too. And as ``walk`` takes them: a row a thread, of
        the addresses, its first chunk, the step to the next one, and log2 of a block's numbers."""
        n_qubits, itemsize = self._n_qubits, dtype.itemsize
        check_memory(n_qubits, 3 * samples * (1 if sharing > 1 else threads), 2 * itemsize)
        lanes, block = REGISTER_BYTES // itemsize, max(BLOCK_BYTES // itemsize, samples)
        width, products = max(samples, lanes), max(len(self._strings.weights), self._plan.most_products, 1)
        runs, terms = n_qubits * 8 * width, products * width
        parts = np.cumsum([0, runs, 2 * block, 2 * block, terms, terms, n_qubits * width, lanes])
        scratch_size = int(parts[-1]) + max(block, 2 * self._plan.largest_dense * samples)
        in_sums = np.array([0, runs, runs + terms])
        planes: np.ndarray = np.empty(0, dtype)
        arrivals, rooms, table = np.zeros(1, np.int64), list[tuple[np.ndarray, ...]](), []
        block_bits = (BLOCK_BYTES // itemsize).bit_length() - 1
        for thread in range(threads):
            if sharing == 1 or thread == 0:
                planes, arrivals = aligned(6 * (samples << n_qubits), dtype), np.zeros(1, np.int64)
            own = (0, samples, samples << n_qubits, 0, n_qubits, thread if sharing > 1 else 0, sharing, padded)
            place = np.array([*own, *parts, *in_sums, 0], np.int64)
            scratch = aligned(scratch_size, dtype)
            sums: np.ndarray = np.empty(int(in_sums[-1]) + 1)
            rooms.append((place, planes, scratch, sums, arrivals))
            where = [part.ctypes.data for part in rooms[-1]]
            table.append([*where, 0 if sharing > 1 else thread, threads // sharing, block_bits])
        return rooms, np.array(table, np.int64)

    def _plain(self, angles: Angles) -> Angles:
        """Angles that compiled code can read from their address: contiguous and of one precision, on the CPU."""
        shared, per_sample = angles
        if shared.shape != (self._n_shared,) or per_sample.shape[1:] != (self._n_per_sample,):
            expected, got = f"({self._n_shared},) and (N, {self._n_per_sample})", [tuple(part.shape) for part in angles]
            raise ValueError(f"expected angles of shape {expected}, got {got[0]} and {got[1]}")
        return Angles(plain(shared, per_sample.dtype), plain(per_sample, per_sample.dtype))

    def _forward(self, space: Workspace, angles: Angles, copied: bool, means: torch.Tensor | None = None) -> np.ndarray:
        """Fills ``means``, if given; returns planes of the states, one chunk after the other, or nothing."""
        if not walk.rows_of(self._rows[2:], space.turns, *addresses(angles)):
            self._give(space)
            raise NotFiniteError
        kept = aligned(self._n_kept(space) if copied else 0, DTYPES[space.key[1]])
        walk.forward(*space.arguments, kept, 0 if means is None else means.data_ptr(), -1)
        return kept

    def _n_kept(self, space: Workspace) -> int:
        """Numbers of the states of a batch."""
        return 2 * (space.padded << self._n_qubits)

    def _fits(self, space: Workspace) -> bool:
        """Whether the states of a batch may be kept."""
        return not self._copied(space) or self._n_kept(space) * space.key[1].itemsize <= KEPT_BYTES

    def _copied(self, space: Workspace) -> bool:
        """Whether states are kept by a copy: that of a single chunk stays in the planes, which nobody else works in."""
        return len(space.chunks) > 1

    def states(self, angles: Angles) -> torch.Tensor:
        """State vectors of shape ``(N, 2**n)``, each up to a global phase."""
        angles = self._plain(angles)
        space = self._take(angles.per_sample)
        kept = self._forward(space, angles, copied=True)
        result = np.empty((space.padded, 2**self._n_qubits), np.result_type(kept, np.complex64))
        for rows, planes in self._by_chunk(space, kept):
            result[rows].real, result[rows].imag = planes[0].T, planes[1].T
        self._give(space)
        return torch.from_numpy(result[: angles.per_sample.shape[0]])

    def _by_chunk(self, space: Workspace, kept: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The rows of each chunk, and its planes ``(2, 2**n, samples)`` in ``kept``."""
        for first, samples in space.chunks:
            start, stop = (int(row) << (self._n_qubits + 1) for row in (first, first + samples))
            yield slice(first, first + samples), kept[start:stop].reshape(2, -1, samples)

    def mean(self, angles: Angles, keep: bool) -> torch.Tensor:
        """Expectation values of shape ``(N, O)``; with ``keep`` the states stay for the gradient at the same point."""
        angles, last = self._plain(angles), popped(self._kept)
        if last is not None:
            self._give(last[0])
        space = self._take(angles.per_sample)
        means = torch.empty((angles.per_sample.shape[0], len(self._strings.offset)), dtype=angles.per_sample.dtype)
        keep = keep and self._fits(space)
        kept = self._forward(space, angles, keep and self._copied(space), means)
        if keep:
            self._kept.append((space, kept))
        else:
            self._give(space)
        return means

    def gradient(self, angles: Angles, cotangent: torch.Tensor) -> Angles:
        """The gradient of ``(cotangent * mean).sum()``."""
        angles, n_samples, n_means = self._plain(angles), angles.per_sample.shape[0], len(self._strings.offset)
        if cotangent.shape != (n_samples, n_means):
            raise ValueError(f"expected a cotangent of shape {(n_samples, n_means)}, got {tuple(cotangent.shape)}")
        cotangent, last = plain(cotangent, angles.per_sample.dtype), popped(self._kept)
        if last is not None:
            space, kept = last
            # The numbers are compared, since a tensor may be the same and hold others.
            if space.key == self._key(angles.per_sample) and walk.same_angles(space.turns, *addresses(angles)):
                return self._backward(space, angles, kept, cotangent)
            self._give(space)
        space = self._take(angles.per_sample)
        if n_samples > 1 and not self._fits(space):
            self._give(space)
            halves = (slice(0, n_samples // 2), slice(n_samples // 2, n_samples))
            parts = [self.gradient(Angles(angles.shared, angles.per_sample[h]), cotangent[h]) for h in halves]
            return Angles(parts[0].shared + parts[1].shared, torch.cat([part.per_sample for part in parts]))
        return self._backward(space, angles, self._forward(space, angles, self._copied(space)), cotangent)

    def states_gradient(self, angles: Angles, cotangent: torch.Tensor) -> Angles:
        """The gradient of a loss with the derivative ``cotangent`` (torch's, complex) by the states, ``(N, 2**n)``."""
        angles, derivative = self._plain(angles), cotangent.detach().resolve_conj().resolve_neg().numpy()
        space = self._take(angles.per_sample)
        kept = self._forward(space, angles, copied=True)
        costate = np.zeros_like(kept)
        for rows, planes in self._by_chunk(space, costate):
            # Torch's derivative of <state|O|state> is 2 O state; the co-state of the walk is O state.
            part = derivative[rows] / 2
            planes[0, :, : len(part)], planes[1, :, : len(part)] = part.real.T, part.imag.T
        return self._backward(space, angles, kept, None, costate)

    def _backward(
        self,
        space: Workspace,
        angles: Angles,
        kept: np.ndarray,
        cotangent: torch.Tensor | None,
        costate: np.ndarray | None = None,
    ) -> Angles:
        """The gradient from kept states and either the cotangent of the means or a co-state; gives up the workspace."""
        given = kept[:0] if costate is None else costate
        at = 0 if cotangent is None else cotangent.data_ptr()
        walk.backward(*space.arguments, kept, at, given, space.slopes[0], space.slopes[1], -1)
        gradient = Angles(torch.empty_like(angles.shared), torch.empty_like(angles.per_sample))
        walk.slots_of(self._rows[2:], space.turns, *space.slopes, *addresses(gradient))
        self._give(space)
        return gradient


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """Memory that begins where a register does: one that lies across two cache lines takes twice as long."""
    memory = np.empty(size * dtype.itemsize + REGISTER_BYTES, np.uint8)
    start = -memory.ctypes.data % REGISTER_BYTES
    return memory[start : start + size * dtype.itemsize].view(dtype)


def plain(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Numbers that compiled code can read from their address: contiguous, as they are, on the CPU."""
    if not values.is_cpu:
        raise ValueError(f"expected all tensors on the CPU, got one on {values.device}")
    # Of torch's zeros that take no memory nothing can be read.
    held = values.data_ptr() or not values.numel()
    if values.dtype is dtype and values.is_contiguous() and held and not values.is_neg():
        return values
    return values.detach().resolve_neg().to(dtype, copy=True).contiguous()


def addresses(angles: Angles) -> tuple[int, int]:
    """Where their numbers are, for as long as the tensors live."""
    return angles.shared.data_ptr(), angles.per_sample.data_ptr()


def popped(items: list[Any]) -> Any:
    """The last item, or None; safe while other threads do the same."""
    try:
        return items.pop()
    except IndexError:
        return None


def check_numba() -> None:
    """Compile the least that there is, and say so if the kernels are compiled now.

    Raises:
        Exception: Whatever numba raises if it does not work on this machine.
    """
    walk.probe()
    if not walk.forward.signatures and not any(Path(walk.forward.stats.cache_path).glob("walk.forward-*.nbi")):
        print("qworkbench: compiling the native kernels, once on this machine ...", file=sys.stderr, flush=True)
