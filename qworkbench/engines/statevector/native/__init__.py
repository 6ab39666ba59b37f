"""The native executor: interprets a table of passes over chunks of samples, so that a new circuit compiles nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp

from qworkbench.engines.base import check_memory
from qworkbench.engines.statevector.native import places, walk
from qworkbench.engines.statevector.native.plan import absorb_last, make_plan, make_strings
from qworkbench.engines.statevector.native.registers import REGISTER_BYTES
from qworkbench.engines.statevector.passes import Pass, compile_passes
from qworkbench.lowering import Angles, LoweredCircuit

CHUNK_BYTES = 2**15
"""Of a plane of a chunk: with its twins it stays close to the core."""
REGISTER_CHUNK_BYTES = 2**18
"""Of a plane with as many samples as a register has lanes: up to here they are worth more than a smaller chunk."""
BLOCK_BYTES = 2**14
"""A plane's part that stays in the nearest cache, with its twins of the other planes, while several rotations pass."""
KEPT_BYTES = 2**28
"""States of a forward pass that are kept for the backward pass, at most."""
THREADED_WORK = 2**21
"""Numbers times passes below which a second thread costs more than it saves."""
SHARED_NUMBERS = 2**15
"""Numbers of a chunk from which threads share it."""


class Batch(NamedTuple):
    """A batch ready for the walk."""

    shared: np.ndarray
    """Cosine and sine of the rows of shared angles, ``(rows, 2)``."""
    sampled: np.ndarray
    """Of the others, ``(rows, 2, padded)``."""
    chunks: np.ndarray
    """``(first sample, samples)``; padded to powers of two."""
    dtype: type
    padded: int


class Room(NamedTuple):
    """What one thread works in; see ``walk``."""

    place: np.ndarray
    planes: np.ndarray
    scratch: np.ndarray
    sums: np.ndarray
    arrivals: np.ndarray


def aligned(count: int, dtype: type) -> np.ndarray:
    """Uninitialized numbers that begin at a cache line: a register elsewhere costs two of them."""
    size = np.dtype(dtype).itemsize
    room = np.empty(count + REGISTER_BYTES // size, dtype)
    start = -room.__array_interface__["data"][0] % REGISTER_BYTES // size
    return room[start : start + count]


class NativeExecutor:
    """States, expectation values and adjoint gradients of a lowered circuit on the CPU.

    Args:
        circuit: The circuit.
        n_shared: How many slots stand in ``Angles.shared``: the circuit's own number, or 0 if every slot is per sample.
        observables: What ``mean`` and ``gradient`` are about; ``states`` needs none.
    """

    def __init__(self, circuit: LoweredCircuit, n_shared: int, observables: Sequence[SparsePauliOp] = ()) -> None:
        self._n_qubits = circuit.n_qubits
        passes: Sequence[Pass] = compile_passes(circuit)
        self._strings = make_strings(observables or [SparsePauliOp("I" * circuit.n_qubits)])
        if observables:
            passes, self._strings = absorb_last(passes, self._strings)
        self._plan, self._rows = make_plan(passes, n_shared, circuit.n_qubits)
        self._rooms: list[tuple[tuple[object, ...], list[Room]]] = []
        self._last_chunks: tuple[tuple[int, int], np.ndarray, int] | None = None
        self._kept: tuple[Angles, Batch, np.ndarray] | None = None

    def _batch(self, angles: Angles) -> Batch:
        shared, per_sample = (np.ascontiguousarray(part.detach().numpy()) for part in angles)
        chunks, padded = self._chunks(len(per_sample), per_sample.itemsize)
        dtype = per_sample.dtype
        shared_rows = np.zeros((self._rows.n_shared, 2), dtype)
        sampled_rows = np.zeros((self._rows.n_sampled, 2, padded), dtype)
        walk.rows_of(*self._rows[2:], shared, per_sample, shared_rows, sampled_rows)
        for rows in (shared_rows, sampled_rows):
            np.sin(rows[:, 0], out=rows[:, 1])
            np.cos(rows[:, 0], out=rows[:, 0])
        return Batch(shared_rows, sampled_rows, chunks, dtype.type, padded)

    def _chunks(self, n_samples: int, itemsize: int) -> tuple[np.ndarray, int]:
        """``(first sample, samples)`` of each chunk, and the samples of all: the last one is padded."""
        # Another thread may put its own batch in place at any time, so the attribute is read once.
        last = self._last_chunks
        if last is None or last[0] != (n_samples, itemsize):
            least = max(1, REGISTER_BYTES // itemsize >> self._n_qubits)
            most = max(least, CHUNK_BYTES // itemsize >> self._n_qubits)
            if most < REGISTER_BYTES // itemsize and REGISTER_BYTES << self._n_qubits <= REGISTER_CHUNK_BYTES:
                most = REGISTER_BYTES // itemsize
            whole = [(start, most) for start in range(0, n_samples - most + 1, most)]
            done = len(whole) * most
            if done < n_samples:
                whole.append((done, max(least, 1 << (n_samples - done - 1).bit_length())))
            chunks = np.array(whole or [(0, least)], np.int64)
            last = self._last_chunks = ((n_samples, itemsize), chunks, int(chunks[:, 1].sum()))
        return last[1:]

    def _threads(self, batch: Batch) -> tuple[int, int]:
        """Threads, and how many of them share a chunk."""
        threads, largest = torch.get_num_threads(), int(batch.chunks[0, 1]) << self._n_qubits
        work = (batch.padded << self._n_qubits) * len(self._plan.starts)
        if threads == 1 or work < THREADED_WORK:
            return 1, 1
        if len(batch.chunks) >= threads:
            return threads, 1
        return (threads, threads) if largest >= SHARED_NUMBERS else (min(threads, len(batch.chunks)), 1)

    def _run(self, batch: Batch, function: Callable[[int, Room], None]) -> None:
        threads, sharing = self._threads(batch)
        key = (int(batch.chunks[0, 1]), batch.dtype, threads, sharing)
        rooms = self._take_rooms(key) or self._make_rooms(*key)
        for thread, room in enumerate(rooms):
            room.place[places.FIRST], room.place[places.PADDED] = 0 if sharing > 1 else thread, batch.padded
            room.place[places.BLOCK] = (BLOCK_BYTES // np.dtype(batch.dtype).itemsize).bit_length() - 1
        work = [partial(function, thread if sharing > 1 else 0, room) for thread, room in enumerate(rooms)]
        run_together(work, lambda: rooms[0].arrivals.__setitem__(1, 1))
        self._rooms.append((key, rooms))

    def _take_rooms(self, key: tuple[object, ...]) -> list[Room] | None:
        try:
            found, rooms = self._rooms.pop()
        except IndexError:
            return None
        return rooms if found == key else None

    def _make_rooms(self, samples: int, dtype: type, threads: int, sharing: int) -> list[Room]:
        """One room a thread; those that share a chunk share planes, too."""
        n_qubits, itemsize = self._n_qubits, np.dtype(dtype).itemsize
        check_memory(n_qubits, 3 * samples * (1 if sharing > 1 else threads), 2 * itemsize)
        lanes, block = REGISTER_BYTES // itemsize, max(BLOCK_BYTES // itemsize, samples)
        width, products = max(samples, lanes), max(len(self._strings.weights), self._plan.most_products, 1)
        runs, terms = n_qubits * 8 * width, products * width
        parts = np.cumsum([0, runs, 2 * block, 2 * block, terms, terms, n_qubits * width, lanes])
        scratch_size = int(parts[-1]) + max(block, 2 * self._plan.largest_dense * samples)
        in_sums = np.array([0, runs, runs + terms])
        planes: np.ndarray = np.empty(0, dtype)
        arrivals, rooms = np.zeros(2, np.int64), list[Room]()
        for thread in range(threads):
            if sharing == 1 or thread == 0:
                planes, arrivals = aligned(6 * (samples << n_qubits), dtype), np.zeros(2, np.int64)
            own = (0, samples, samples << n_qubits, 0, n_qubits, thread if sharing > 1 else 0, sharing, 0)
            place = np.array([*own, *parts, *in_sums], np.int64)
            scratch = aligned(scratch_size, dtype)
            rooms.append(Room(place, planes, scratch, np.empty(int(in_sums[-1]) + 1), arrivals))
        return rooms

    def _arguments(self, batch: Batch) -> tuple[object, ...]:
        threads, sharing = self._threads(batch)
        plan, strings = self._plan, self._strings
        turns = (batch.shared, batch.sampled)
        return (
            tuple(plan[:3]),
            turns,
            (strings.products, strings.others, strings.move),
            batch.chunks,
            threads // sharing,
        )

    def _forward(self, batch: Batch, measured: bool, keep: bool) -> tuple[np.ndarray, np.ndarray]:
        """String values ``(strings, samples)`` and, one chunk after the other, planes of the states."""
        _, sharing = self._threads(batch)
        values = np.zeros((sharing, len(self._strings.weights) if measured else 0, batch.padded))
        kept = aligned(2 * (batch.padded << self._n_qubits) if keep else 0, batch.dtype)
        arguments = self._arguments(batch)

        def run(part: int, room: Room) -> None:
            walk.forward(*arguments, room, values[part], kept)

        self._run(batch, run)
        return values.sum(0) if sharing > 1 else values[0], kept

    def states(self, angles: Angles) -> torch.Tensor:
        """State vectors of shape ``(N, 2**n)``, each up to a global phase."""
        batch = self._batch(angles)
        _, kept = self._forward(batch, measured=False, keep=True)
        result = np.empty((batch.padded, 2**self._n_qubits), np.complex64 if batch.dtype == np.float32 else complex)
        for rows, planes in self._by_chunk(batch, kept):
            result[rows].real, result[rows].imag = planes[0].T, planes[1].T
        return torch.from_numpy(result[: angles.per_sample.shape[0]])

    def _by_chunk(self, batch: Batch, kept: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The rows of each chunk, and its planes ``(2, 2**n, samples)`` in ``kept``."""
        for first, samples in batch.chunks:
            start, stop = (int(row) << (self._n_qubits + 1) for row in (first, first + samples))
            yield slice(first, first + samples), kept[start:stop].reshape(2, -1, samples)

    def _fits(self, batch: Batch) -> bool:
        """Whether the states of a batch may be kept."""
        return 2 * (batch.padded << self._n_qubits) * np.dtype(batch.dtype).itemsize <= KEPT_BYTES

    def mean(self, angles: Angles, keep: bool) -> torch.Tensor:
        """Expectation values of shape ``(N, O)``; with ``keep`` the states stay for the gradient at the same point."""
        batch = self._batch(angles)
        keep = keep and self._fits(batch)
        values, kept = self._forward(batch, measured=True, keep=keep)
        self._kept = (Angles(*(part.detach().clone() for part in angles)), batch, kept) if keep else None
        result = self._strings.offset + values.T[: angles.per_sample.shape[0]] @ self._strings.weights
        return torch.from_numpy(result.astype(batch.dtype, copy=False))

    def gradient(self, angles: Angles, cotangent: torch.Tensor) -> Angles:
        """The gradient of ``(cotangent * mean).sum()``."""
        kept, self._kept = self._kept, None
        if kept is not None and all(torch.equal(a, b) for a, b in zip(kept[0], angles, strict=True)):
            _, batch, states = kept
        else:
            batch, n_rows = self._batch(angles), angles.per_sample.shape[0]
            if n_rows > 1 and not self._fits(batch):
                halves = (slice(0, n_rows // 2), slice(n_rows // 2, n_rows))
                parts = [self.gradient(Angles(angles.shared, angles.per_sample[h]), cotangent[h]) for h in halves]
                return Angles(parts[0].shared + parts[1].shared, torch.cat([part.per_sample for part in parts]))
            _, states = self._forward(batch, measured=False, keep=True)
        weights = np.zeros((len(self._strings.weights), batch.padded))
        weights[:, : cotangent.shape[0]] = self._strings.weights @ cotangent.detach().numpy().T
        return self._backward(angles, batch, weights, np.empty(0, batch.dtype), states)

    def states_gradient(self, angles: Angles, cotangent: torch.Tensor) -> Angles:
        """The gradient of a loss with the derivative ``cotangent`` (torch's, complex) by the states, ``(N, 2**n)``."""
        batch, given = self._batch(angles), cotangent.detach().resolve_conj().resolve_neg().numpy()
        costate: np.ndarray = np.zeros(2 * (batch.padded << self._n_qubits), batch.dtype)
        for rows, planes in self._by_chunk(batch, costate):
            # Torch's derivative of <state|O|state> is 2 O state; the co-state of the walk is O state.
            part = given[rows] / 2
            planes[0, :, : len(part)], planes[1, :, : len(part)] = part.real.T, part.imag.T
        _, states = self._forward(batch, measured=False, keep=True)
        return self._backward(angles, batch, np.zeros((0, batch.padded)), costate, states)

    def _backward(
        self, angles: Angles, batch: Batch, weights: np.ndarray, given: np.ndarray, kept: np.ndarray
    ) -> Angles:
        _, sharing = self._threads(batch)
        shared = np.zeros((sharing, len(batch.chunks), self._rows.n_shared))
        sampled: np.ndarray = np.zeros((sharing, self._rows.n_sampled, batch.padded), batch.dtype)
        arguments = self._arguments(batch)

        def run(part: int, room: Room) -> None:
            walk.backward(*arguments, room, weights, given, kept, shared[part], sampled[part])

        self._run(batch, run)
        by_slot = np.zeros(angles.shared.shape[0])
        by_sample: np.ndarray = np.zeros(tuple(angles.per_sample.shape), batch.dtype)
        by_row = sampled.sum(0) if sharing > 1 else sampled[0]
        walk.slots_of(*self._rows[2:], shared.sum((0, 1)), by_row, by_slot, by_sample)
        return Angles(torch.from_numpy(by_slot.astype(batch.dtype, copy=False)), torch.from_numpy(by_sample))


def run_together(functions: Sequence[Callable[[], object]], abandon: Callable[[], object]) -> None:
    """Each function in a thread, the first in this one. A thread costs some 50 microseconds; a pool would not outlive
    a fork. If one fails or cannot start, ``abandon`` is called, so that none waits for it."""
    errors: list[BaseException] = []

    def guarded(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)
            abandon()

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions[1:]]

    def start() -> None:
        for thread in threads:
            thread.start()
        functions[0]()

    guarded(start)
    for thread in threads:
        # One that has not started, or not yet when an interrupt came, cannot be joined.
        if thread.is_alive():
            thread.join()
    if errors:
        raise errors[0]


def check_numba() -> None:
    """Compile the least that there is, and say so if the kernels are compiled now.

    Raises:
        Exception: Whatever numba raises if it does not work on this machine.
    """
    walk.probe()
    if not walk.forward.signatures and not any(Path(walk.forward.stats.cache_path).glob("walk.forward-*.nbi")):
        print("qworkbench: compiling the native kernels, once on this machine ...", file=sys.stderr, flush=True)
