"""The compiled walk over the operations of a plan: forward, observables, and back.

Nothing here knows a circuit: operations are read from the plan, so a new circuit compiles nothing. A chunk of samples,
a power of two, lies in one of three pairs of planes: the state in ``p``, the co-state in ``co``, and a spare. Several
threads may walk over the same chunk: each works on its share of blocks, keeps sums of its own, and meets the others
after each operation.

The same few pointers go through all functions: ``code`` and ``numbers`` (see ``Plan``), ``shared`` and ``sampled``
(cosine and sine of the rows, ``(rows, 2)`` and ``(rows, 2, samples)``), ``place`` (who works on which chunk, and where
scratch lies; see ``places``), ``planes``, ``scratch`` in the precision of the state, ``sums`` in double precision, and
``arrivals``, where threads meet.

Python calls the functions at the end with the arrays of a ``Workspace`` and with addresses of torch's numbers, which
are contiguous and of the precision of the state: to make numpy arrays of tensors costs more than a small circuit.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from qworkbench.engines.statevector.native.phasing import phase, unphase
from qworkbench.engines.statevector.native.places import (
    BLOCK,
    FIRST,
    N_QUBITS,
    NORM,
    PRODUCT_SUMS,
    SAMPLES,
    SIZE,
    STATE,
    THREAD,
    THREADS,
    pair_of,
    share,
)
from qworkbench.engines.statevector.native.plan import DENSE, PAIR, PHASE, PRODUCT, ROTATE
from qworkbench.engines.statevector.native.readout import seed_costate, string_values
from qworkbench.engines.statevector.native.registers import JIT, PART, after, cached, pointer, pointer_at
from qworkbench.engines.statevector.native.team import call_team, meet, release_team
from qworkbench.engines.statevector.native.turning import dense, product, rotate, turn_pair, unpair, unproduct, unrotate


@njit(**PART)
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


@njit(**PART)
def walk_back(
    starts, n_operations, code, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co, by_shared,
    by_sampled,
):  # fmt: skip
    """All operations backward from a state and a co-state; adds the slopes of the rows."""
    s, backwards = 3 - p - co, np.bool_(True)
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
def enter(place, chunks, index, block):
    """Makes ``place`` speak of a chunk; the block is at most the chunk."""
    place[FIRST], place[SAMPLES], place[BLOCK] = chunks[2 * index], chunks[2 * index + 1], block
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


@njit(**PART)
def means_of(values, terms, first, last, means):
    """Means of some samples, from the values of strings that each thread has found on its share."""
    begins, string, coefficient, offset = terms
    for o in range(len(offset)):
        for sample in range(first, last):
            mean = offset[o]
            for t in range(begins[o], begins[o + 1]):
                for thread in range(len(values)):
                    mean += coefficient[t] * values[thread, string[t], sample]
            means[sample * len(offset) + o] = mean


@njit(**PART)
def weights_of(cotangent, terms, samples, first, last, weights):
    """Weights of strings for some samples of a chunk: the transpose of ``means_of``; 0 for samples that pad it."""
    begins, string, coefficient, offset = terms
    for o in range(len(offset)):
        for t in range(begins[o], begins[o + 1]):
            for sample in range(first, last):
                at = string[t] * samples + sample - first
                weights[at] += coefficient[t] * cotangent[sample * len(offset) + o]


@cached
def probe():
    """Nothing: shows whether numba works."""
    return 0


@njit(**JIT)
def room_of(rooms, thread, state, double):
    """What a thread works in; ``state`` and ``double`` point to numbers of these precisions."""
    own = after(pointer(rooms), thread * rooms.shape[1])
    planes, scratch, sums = pointer_at(own[1], state), pointer_at(own[2], state), pointer_at(own[3], double)
    return pointer_at(own[0], own), planes, scratch, sums, pointer_at(own[4], own), own[5], own[6], own[7]


@cached
def forward(plan, strings, terms, turns, chunks, values, rooms, openmp, kept, means_at, caller):
    """Walks over all chunks, each thread over its own.

    Puts means, ``(samples, O)``, where ``means_at`` says, unless it is 0, and states into ``kept``, if it has room.
    """
    member = call_team(caller, pointer(openmp), len(rooms))
    starts, code, numbers = pointer(plan[0]), pointer(plan[1]), pointer(plan[2])
    shared, sampled, products, others = pointer(turns[2]), pointer(turns[3]), pointer(strings[0]), pointer(strings[1])
    place, planes, scratch, sums, arrivals, own, step, block = room_of(rooms, member, shared, pointer(values))
    out, n_strings = after(sums, place[PRODUCT_SUMS]), values.shape[1]
    n_others, move = len(strings[1]), pointer(strings[2])
    for index in range(own, len(chunks), step):
        enter(place, pointer(chunks), index, block)
        p = walk(starts, len(plan[0]), code, numbers, shared, sampled, place, planes, scratch, sums, arrivals)
        place[STATE], norm = p, sums[place[NORM]]
        if means_at:
            first, samples = place[FIRST], place[SAMPLES]
            for k in range(n_strings * samples):
                out[k] = 0
            string_values(
                products, n_strings - n_others, others, n_others, move, place, planes, scratch, arrivals, p, out
            )
            for k in range(n_strings):
                for lane in range(samples):
                    values[place[THREAD], k, first + lane] = norm * norm * out[k * samples + lane]
            meet(arrivals, place[THREADS])
            if place[THREAD] == 0:
                last = min(first + samples, len(turns[1]))
                means_of(values, terms, first, last, pointer_at(means_at, planes))
        if kept.size:
            copy_state(pair_of(planes, place, p)[0], place_in(pointer(kept), place), place, norm)
            meet(arrivals, place[THREADS])
    release_team(caller, pointer(openmp), len(rooms))


@cached
def backward(
    plan, strings, terms, turns, chunks, values, rooms, openmp, kept, cotangent_at, given, by_shared, by_sampled,
    caller,
):  # fmt: skip
    """Walks back over all chunks, each thread over its own.

    Slopes of the rows go to ``by_shared[thread, chunk]`` and ``by_sampled[thread]``, of the threads that share a chunk.
    The states are those that ``forward`` has ``kept``, or that of the only chunk is where it was left. The co-state
    comes from the cotangent of the means, ``(samples, O)``, or is ``given``, laid out like the states.
    """
    member = call_team(caller, pointer(openmp), len(rooms))
    starts, code, numbers = pointer(plan[0]), pointer(plan[1]), pointer(plan[2])
    shared, sampled, products, others = pointer(turns[2]), pointer(turns[3]), pointer(strings[0]), pointer(strings[1])
    place, planes, scratch, sums, arrivals, own, step, block = room_of(rooms, member, shared, pointer(values))
    chosen, n_strings = after(sums, place[PRODUCT_SUMS]), values.shape[1]
    n_others, move = len(strings[1]), pointer(strings[2])
    for index in range(own, len(chunks), step):
        enter(place, pointer(chunks), index, block)
        p, co, first, samples = place[STATE], np.int64(2), place[FIRST], place[SAMPLES]
        thread, n_rows, padded = place[THREAD], by_sampled.shape[1], by_sampled.shape[2]
        to_shared = after(pointer(by_shared), (thread * len(chunks) + index) * by_shared.shape[2])
        to_sampled = after(pointer(by_sampled), thread * n_rows * padded)
        for r in range(by_shared.shape[2]):
            to_shared[r] = 0
        for r in range(n_rows):
            for lane in range(samples):
                to_sampled[r * padded + first + lane] = 0
        if kept.size:
            copy_state(place_in(pointer(kept), place), pair_of(planes, place, p)[0], place, 1.0)
            sums[place[NORM]] = 1.0
            meet(arrivals, place[THREADS])
        if given.size:
            copy_state(place_in(pointer(given), place), pair_of(planes, place, co)[0], place, 1.0)
            meet(arrivals, place[THREADS])
        else:
            for k in range(n_strings * samples):
                chosen[k] = 0
            last = min(first + samples, len(turns[1]))
            weights_of(pointer_at(cotangent_at, planes), terms, samples, first, last, chosen)
            seed_costate(
                products, n_strings - n_others, others, n_others, move, place, planes, scratch, arrivals, p, co, chosen
            )  # fmt: skip
        walk_back(
            starts, len(plan[0]), code, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co,
            to_shared, to_sampled,
        )  # fmt: skip
    release_team(caller, pointer(openmp), len(rooms))


@cached
def rows_of(rows, turns, shared_at, samples_at):
    """Notes the angles of a batch in ``turns``, adds them up to rows, and takes cosines and sines.

    Returns whether all angles are finite.
    """
    row, own, slot, coefficient = rows
    shared, per_sample = pointer(turns[0]), pointer(turns[1])
    n_shared, (n_samples, n_angles) = len(turns[0]), turns[1].shape
    finite = note(pointer_at(shared_at, shared), shared, n_shared)
    finite &= note(pointer_at(samples_at, shared), per_sample, n_samples * n_angles)
    shared_rows, sampled_rows, padded = pointer(turns[2]), pointer(turns[3]), turns[3].shape[2]
    for j in range(turns[2].size):
        shared_rows[j] = 0
    for j in range(turns[3].size):
        sampled_rows[j] = 0
    for t in range(len(row)):
        k, factor, angle = slot[t], coefficient[t], 1.0
        if k < n_shared:
            angle = shared[k] if k >= 0 else 1.0
            if not own[t]:
                shared_rows[2 * row[t]] += factor * angle
                continue
        for n in range(n_samples):
            if k >= n_shared:
                angle = per_sample[n * n_angles + k - n_shared]
            sampled_rows[2 * row[t] * padded + n] += factor * angle
    turn(shared_rows, len(turns[2]), np.int64(1))
    turn(sampled_rows, len(turns[3]), padded)
    return finite


@njit(**JIT)
def note(source, target, size):
    """Copies numbers; whether all are finite."""
    finite = True
    for j in range(size):
        target[j] = source[j]
        finite &= math.isfinite(source[j])
    return finite


@njit(**JIT)
def turn(rows, n_rows, width):
    """Cosines and sines take the place of angles, and of the room behind each ``width`` of them."""
    for r in range(n_rows):
        for j in range(2 * r * width, (2 * r + 1) * width):
            angle = rows[j]
            rows[j], rows[j + width] = math.cos(angle), math.sin(angle)


@njit(**JIT)
def equal(numbers, others, size):
    """Whether they are, one by one."""
    for j in range(size):
        if numbers[j] != others[j]:
            return False
    return True


@cached
def same_angles(turns, shared_at, samples_at):
    """Whether the angles are still those that ``rows_of`` has noted."""
    shared, per_sample = pointer(turns[0]), pointer(turns[1])
    return equal(shared, pointer_at(shared_at, shared), turns[0].size) and equal(
        per_sample, pointer_at(samples_at, shared), turns[1].size
    )


@cached
def slots_of(rows, turns, by_shared, by_sampled, by_slot, shared_at, samples_at):
    """From slopes of the rows, of all threads and chunks, to slopes of the angles: the transpose of ``rows_of``."""
    row, own, slot, coefficient = rows
    shared_rows, sampled_rows, slopes = pointer(by_shared), pointer(by_sampled), pointer(by_slot)
    n_shared, n_rows, padded = len(by_slot), by_shared.shape[2], by_sampled.shape[2]
    for j in range(n_rows, by_shared.size):
        shared_rows[j % n_rows] += shared_rows[j]
    size = by_sampled.shape[1] * padded
    for j in range(size, by_sampled.size):
        sampled_rows[j % size] += sampled_rows[j]
    n_samples, n_angles = turns[1].shape
    to_shared, to_samples = pointer_at(shared_at, sampled_rows), pointer_at(samples_at, sampled_rows)
    for k in range(n_shared):
        slopes[k] = 0
    for j in range(n_samples * n_angles):
        to_samples[j] = 0
    for t in range(len(row)):
        k, factor, at = slot[t], coefficient[t], row[t] * padded
        if k < 0:
            continue
        if not own[t]:
            slopes[k] += factor * shared_rows[row[t]]
        elif k < n_shared:
            summed = 0.0
            for n in range(n_samples):
                summed += sampled_rows[at + n]
            slopes[k] += factor * summed
        else:
            for n in range(n_samples):
                to_samples[n * n_angles + k - n_shared] += factor * sampled_rows[at + n]
    for k in range(n_shared):
        to_shared[k] = slopes[k]
