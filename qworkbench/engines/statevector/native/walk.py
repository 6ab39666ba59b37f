"""The compiled walk over the operations of a plan: forward, observables, and back.

Nothing here knows a circuit: operations are read from the plan, so a new circuit compiles nothing. A chunk of samples,
a power of two, lies in one of three pairs of planes: the state in ``p``, the co-state in ``co``, and a spare. Several
threads may walk over the same chunk: each works on its share of blocks, keeps sums of its own, and meets the others
after each operation.

The same few pointers go through all functions: ``code`` and ``numbers`` (see ``Plan``), ``shared`` and ``sampled``
(cosine and sine of the rows, ``(rows, 2)`` and ``(rows, 2, samples)``), ``place`` (who works on which chunk, and where
scratch lies; see ``places``), ``planes``, ``scratch`` in the precision of the state, ``sums`` in double precision, and
``arrivals``, where threads meet.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from qworkbench.engines.statevector.native.meeting import meet
from qworkbench.engines.statevector.native.phasing import phase, unphase
from qworkbench.engines.statevector.native.places import (
    BLOCK,
    FIRST,
    N_QUBITS,
    NORM,
    PRODUCT_SUMS,
    SAMPLES,
    SIZE,
    THREADS,
    pair_of,
    share,
)
from qworkbench.engines.statevector.native.plan import DENSE, PAIR, PHASE, PRODUCT, ROTATE
from qworkbench.engines.statevector.native.readout import seed_costate, string_values
from qworkbench.engines.statevector.native.registers import JIT, after, cached, pointer
from qworkbench.engines.statevector.native.turning import dense, product, rotate, turn_pair, unpair, unproduct, unrotate


@njit(**JIT)
def walk(starts, n_operations, code, numbers, shared, sampled, place, planes, scratch, sums, arrivals):
    """All operations forward; the number of the pair of planes that holds the state."""
    # Numbers in call arguments are written so that numba does not compile a function anew for each of them.
    p, s, forwards = np.int64(0), np.int64(1), np.bool_(False)
    sums[place[NORM]] = 1.0
    for operation in range(n_operations):
        o = starts[operation]
        kind = code[o]
        if kind == PRODUCT:
            n_qubits = place[N_QUBITS]
            product(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, n_qubits)
        elif kind == ROTATE:
            rotate(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p)
        elif kind == PHASE:
            moved = phase(code, o, shared, sampled, place, planes, scratch, p, s)
            p, s = moved, p + s - moved
        elif kind == PAIR:
            re, im = pair_of(planes, place, p)
            for k in range(code[o + 3]):
                turn_pair(code, o, k, numbers, shared, sampled, place, re, im, scratch, sums, forwards)
        elif kind == DENSE:
            dense(code, o, numbers, place, planes, scratch, p, forwards)
        meet(arrivals, place[THREADS])
    return p


@njit(**JIT)
def walk_back(
    starts, n_operations, code, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co, by_shared,
    by_sampled,
):  # fmt: skip
    """All operations backward from a state and a co-state; adds the slopes of the rows."""
    s, backwards = 3 - p - co, np.bool_(True)
    sums[place[NORM]] = 1.0
    for operation in range(n_operations - 1, -1, -1):
        o = starts[operation]
        kind = code[o]
        if kind == PRODUCT:
            unproduct(
                code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co, by_shared, by_sampled
            )
        elif kind == ROTATE:
            unrotate(
                code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co, by_shared, by_sampled
            )
        elif kind == PHASE:
            p, co, s = unphase(
                code, o, shared, sampled, place, planes, scratch, sums, arrivals, p, co, s, by_shared, by_sampled
            )
        elif kind == PAIR:
            unpair(code, o, numbers, shared, sampled, place, planes, scratch, sums, p, co, by_shared, by_sampled)
        elif kind == DENSE:
            dense(code, o, numbers, place, planes, scratch, p, backwards)
            dense(code, o, numbers, place, planes, scratch, co, backwards)
        meet(arrivals, place[THREADS])


@njit(**JIT)
def enter(place, chunks, index):
    """Makes ``place`` speak of a chunk; the block is at most the chunk."""
    place[FIRST], place[SAMPLES] = chunks[2 * index], chunks[2 * index + 1]
    place[SIZE] = place[SAMPLES] << place[N_QUBITS]
    while (1 << place[BLOCK]) > place[SIZE]:
        place[BLOCK] -= 1


@njit(**JIT)
def copy_state(source, target, place, norm):
    """This thread's share of a chunk's pair of planes, times ``norm``."""
    first, last = share(place[SIZE], place)
    for start in (0, place[SIZE]):
        for j in range(start + first, start + last):
            target[j] = norm * source[j]


@njit(**JIT)
def place_in(kept, place):
    """Where a chunk's state is kept."""
    return after(kept, 2 * (place[FIRST] << place[N_QUBITS]))


@cached
def probe():
    """Nothing: shows whether numba works."""
    return 0


@cached
def forward(plan, turns, strings, chunks, step, room, values, kept):
    """Walks over a thread's chunks, of which the first is given in its place and the others follow by ``step``.

    Adds string values to ``values`` (strings, samples), if there are any, and puts states into ``kept``, if it has
    room.
    """
    starts, code, numbers = pointer(plan[0]), pointer(plan[1]), pointer(plan[2])
    shared, sampled, products, others = pointer(turns[0]), pointer(turns[1]), pointer(strings[0]), pointer(strings[1])
    place, planes, scratch, sums = pointer(room[0]), pointer(room[1]), pointer(room[2]), pointer(room[3])
    arrivals, out, n_strings = pointer(room[4]), after(sums, place[PRODUCT_SUMS]), len(values)
    n_others, move = len(strings[1]), pointer(strings[2])
    for index in range(place[FIRST], len(chunks), step):
        enter(place, pointer(chunks), index)
        p = walk(starts, len(plan[0]), code, numbers, shared, sampled, place, planes, scratch, sums, arrivals)
        norm = sums[place[NORM]]
        if n_strings:
            samples = place[SAMPLES]
            for k in range(n_strings * samples):
                out[k] = 0
            string_values(
                products, n_strings - n_others, others, n_others, move, place, planes, scratch, arrivals, p, out
            )
            for k in range(n_strings):
                for lane in range(samples):
                    values[k, place[FIRST] + lane] += norm * norm * out[k * samples + lane]
        if kept.size:
            copy_state(pair_of(planes, place, p)[0], place_in(pointer(kept), place), place, norm)
            meet(arrivals, place[THREADS])


@cached
def backward(plan, turns, strings, chunks, step, room, weights, given, kept, by_shared, by_sampled):
    """Walks back over a thread's chunks; slopes are added to ``by_shared[chunk]`` and ``by_sampled``.

    The states are those that ``forward`` has ``kept``. The co-state comes from the ``weights`` of the strings, or is
    ``given``, laid out like them.
    """
    starts, code, numbers = pointer(plan[0]), pointer(plan[1]), pointer(plan[2])
    shared, sampled, products, others = pointer(turns[0]), pointer(turns[1]), pointer(strings[0]), pointer(strings[1])
    place, planes, scratch, sums = pointer(room[0]), pointer(room[1]), pointer(room[2]), pointer(room[3])
    arrivals, chosen, n_strings = pointer(room[4]), after(sums, place[PRODUCT_SUMS]), len(weights)
    n_others, move = len(strings[1]), pointer(strings[2])
    for index in range(place[FIRST], len(chunks), step):
        enter(place, pointer(chunks), index)
        p, co, samples = np.int64(0), np.int64(2), place[SAMPLES]
        copy_state(place_in(pointer(kept), place), pair_of(planes, place, p)[0], place, 1.0)
        meet(arrivals, place[THREADS])
        if given.size:
            copy_state(place_in(pointer(given), place), pair_of(planes, place, co)[0], place, 1.0)
            meet(arrivals, place[THREADS])
        else:
            for k in range(n_strings):
                for lane in range(samples):
                    chosen[k * samples + lane] = weights[k, place[FIRST] + lane]
            seed_costate(
                products, n_strings - n_others, others, n_others, move, place, planes, scratch, arrivals, p, co, chosen
            )  # fmt: skip
        walk_back(
            starts, len(plan[0]), code, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co,
            after(pointer(by_shared), index * by_shared.shape[1]), pointer(by_sampled),
        )  # fmt: skip


@cached
def rows_of(row, own, slot, coefficient, shared, per_sample, shared_rows, sampled_rows):
    """Adds up the rows of a batch; ``per_sample`` has shape ``(N, P)``, ``sampled_rows`` a column a sample."""
    n_shared = len(shared)
    for t in range(len(row)):
        k, factor = slot[t], coefficient[t]
        if not own[t]:
            shared_rows[row[t], 0] += factor * (shared[k] if k >= 0 else 1.0)
            continue
        for n in range(len(per_sample)):
            if k >= n_shared:
                sampled_rows[row[t], 0, n] += factor * per_sample[n, k - n_shared]
            else:
                sampled_rows[row[t], 0, n] += factor * (shared[k] if k >= 0 else 1.0)


@cached
def slots_of(row, own, slot, coefficient, shared_rows, sampled_rows, shared, per_sample):
    """From slopes of the rows to slopes of the angles: the transpose of ``rows_of``."""
    n_shared = len(shared)
    for t in range(len(row)):
        k, factor = slot[t], coefficient[t]
        if k < 0:
            continue
        if not own[t]:
            shared[k] += factor * shared_rows[row[t]]
        elif k < n_shared:
            summed = 0.0
            for n in range(len(per_sample)):
                summed += sampled_rows[row[t], n]
            shared[k] += factor * summed
        else:
            for n in range(len(per_sample)):
                per_sample[n, k - n_shared] += factor * sampled_rows[row[t], n]
