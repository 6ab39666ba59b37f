"""What turns amplitudes, forward and backward: rotations, pairs, dense gates, and the product state at the start."""

from __future__ import annotations

import numpy as np
from numba import njit

from qworkbench.engines.statevector.native import fused, rotations
from qworkbench.engines.statevector.native.places import (
    BLOCK,
    MATRICES,
    N_QUBITS,
    NORM,
    REGISTER,
    RUN_SUMS,
    SAMPLES,
    SIZE,
    THREAD,
    THREADS,
    WORK,
    log2,
    pair_of,
    share,
)
from qworkbench.engines.statevector.native.registers import JIT, PART, after, lanes_of
from qworkbench.engines.statevector.native.runs import run_matrices, run_matrix, run_slopes, run_width, runs_together
from qworkbench.engines.statevector.native.team import meet

LEAST_NORM = 2.0**-30
"""Below it the planes are multiplied, long before squares of their numbers, of single precision, overflow."""


@njit(**JIT)
def turn(re, im, bit, width, real, scratch, at, first, last):
    """A run's matrix on the numbers that go with the blocks' numbers ``first .. last``."""
    lanes = lanes_of(re)
    if (1 << bit) < lanes:
        rotations.turn_near(re, im, first, last, bit, scratch, at, real)
    elif real:
        rotations.turn_real(re, im, first // (2 * width), last // (2 * width), bit - log2(width), width, scratch, at)
    else:
        rotations.turn_complex(re, im, first // (2 * width), last // (2 * width), bit - log2(width), width, scratch, at)


@njit(**JIT)
def unturn(pr, pi, lr, li, bit, width, real, turns, scratch, at, register, sums, sums_at, first, last):
    """Adds a run's sums, if it has angles, and undoes it on state and co-state."""
    lanes = lanes_of(pr)
    if (1 << bit) < lanes:
        if turns and real:
            rotations.undo_near_real(pr, pi, lr, li, first, last, bit, scratch, at, sums, sums_at, register)
            return
        if turns:
            rotations.sum_near(pr, pi, lr, li, first, last, bit, sums, sums_at, register)
    elif turns:
        begin, end, row_bit = first // (2 * width), last // (2 * width), bit - log2(width)
        if real:
            rotations.undo_real(
                pr, pi, lr, li, begin, end, row_bit, width, scratch, at, sums, sums_at, register
            )  # fmt: skip
            return
        rotations.sum_pairs(pr, pi, lr, li, begin, end, row_bit, width, sums, sums_at, register)
    turn(pr, pi, bit, width, real, scratch, at, first, last)
    turn(lr, li, bit, width, real, scratch, at, first, last)


@njit(**JIT)
def rows_of_two(code, o, k, place, lanes, first, last):
    """For ``fused``: the bits of two runs and the groups of four rows of ``first .. last``, counted in registers."""
    lift = log2(place[SAMPLES]) - log2(lanes)
    low, high = code[code[o + 3 + k]] + lift, code[code[o + 4 + k]] + lift
    return low, high, first // (4 * lanes), last // (4 * lanes)


@njit(**JIT)
def turn_runs(code, o, k, together, place, re, im, scratch, first, last):
    """The ``k``-th run of an operation, or two ``together``, on the numbers of ``first .. last``."""
    lanes, shift = lanes_of(re), log2(place[SAMPLES])
    stride, run = 8 * max(place[SAMPLES], lanes), code[o + 3 + k]
    at = place[MATRICES] + k * stride
    if together == 2:
        low, high, begin, end = rows_of_two(code, o, k, place, lanes, first, last)
        fused.turn_two(re, im, begin, end, low, high, lanes, scratch, at, at + stride)
    else:
        turn(re, im, code[run] + shift, run_width(code, run, place, lanes), code[run + 3], scratch, at, first, last)


@njit(**PART)
def rotate(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p):
    """Rotations, forward: those on low bits block by block in the nearest cache, then the others sweep by sweep."""
    re, im = pair_of(planes, place, p)
    lanes, shift, block_bits = lanes_of(re), log2(place[SAMPLES]), place[BLOCK]
    stride = 8 * max(place[SAMPLES], lanes)
    run_matrices(code, o, numbers, shared, sampled, place, np.bool_(False), scratch, lanes, stride)
    begin, end = share(place[SIZE] >> block_bits, place)
    for block in range(begin, end):
        k = np.int64(0)
        while k < code[o + 1]:
            together = runs_together(code, o, k, place, lanes)
            if code[code[o + 3 + k]] + shift < block_bits:
                first, last = block << block_bits, (block + 1) << block_bits
                turn_runs(code, o, k, together, place, re, im, scratch, first, last)
            k += together
    k = np.int64(0)
    while k < code[o + 1]:
        together = runs_together(code, o, k, place, lanes)
        if code[code[o + 3 + k]] + shift >= block_bits:
            meet(arrivals, place[THREADS])
            turn_runs(code, o, k, together, place, re, im, scratch, begin << block_bits, end << block_bits)
        if together == 2:
            leave_out(place, scratch, sums, place[MATRICES] + k * stride, stride)
        k += together
    # Threads that share a chunk have the same norm to the bit, so all meet here or none.
    if abs(sums[place[NORM]]) < LEAST_NORM:
        meet(arrivals, place[THREADS])
        renormalize(place, sums, re, im)
        sums[place[NORM]] = 1.0


@njit(**JIT)
def leave_out(place, scratch, sums, at, stride):
    """Notes the factors that ``turn_two`` leaves out."""
    lanes = lanes_of(scratch)
    sums[place[NORM]] *= fused.factor_of(scratch, at, lanes) * fused.factor_of(scratch, at + stride, lanes)


@njit(**JIT)
def renormalize(place, sums, re, im):
    """This thread's share of a pair of planes as it should be."""
    first, last = share(place[SIZE], place)
    for i in range(first, last):
        re[i] *= sums[place[NORM]]
        im[i] *= sums[place[NORM]]


@njit(**JIT)
def unturn_runs(code, o, k, together, place, pr, pi, lr, li, scratch, sums, first, last):
    """``turn_runs`` backward: adds the sums of the runs, and undoes them on state and co-state."""
    lanes, shift = lanes_of(pr), log2(place[SAMPLES])
    stride, run = 8 * max(place[SAMPLES], lanes), code[o + 3 + k]
    at, sums_at, register = place[MATRICES] + k * stride, place[RUN_SUMS] + k * stride, after(scratch, place[REGISTER])
    if together == 1:
        bit, width = code[run] + shift, run_width(code, run, place, lanes)
        unturn(
            pr, pi, lr, li, bit, width, code[run + 3], code[run + 4], scratch, at, register, sums, sums_at, first, last
        )  # fmt: skip
    elif code[run + 4] or code[code[o + 4 + k] + 4]:
        low, high, begin, end = rows_of_two(code, o, k, place, lanes, first, last)
        fused.undo_two(
            pr, pi, lr, li, begin, end, low, high, lanes, scratch, at, at + stride, sums, sums_at, sums_at + stride,
            register,
        )  # fmt: skip
    else:
        turn_runs(code, o, k, together, place, pr, pi, scratch, first, last)
        turn_runs(code, o, k, together, place, lr, li, scratch, first, last)


@njit(**PART)
def unrotate(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co, by_shared, by_sampled):
    """Rotations, backward, in the order of ``rotate``: they commute."""
    pr, pi = pair_of(planes, place, p)
    lr, li = pair_of(planes, place, co)
    lanes, shift, block_bits = lanes_of(pr), log2(place[SAMPLES]), place[BLOCK]
    stride, register = 8 * max(place[SAMPLES], lanes), after(scratch, place[REGISTER])
    run_matrices(code, o, numbers, shared, sampled, place, np.bool_(True), scratch, lanes, stride)
    for k in range(place[RUN_SUMS], place[RUN_SUMS] + code[o + 1] * stride):
        sums[k] = 0
    begin, end = share(place[SIZE] >> block_bits, place)
    for block in range(begin, end):
        k = np.int64(0)
        while k < code[o + 1]:
            together = runs_together(code, o, k, place, lanes)
            if code[code[o + 3 + k]] + shift < block_bits:
                first, last = block << block_bits, (block + 1) << block_bits
                unturn_runs(code, o, k, together, place, pr, pi, lr, li, scratch, sums, first, last)
            k += together
    k = np.int64(0)
    while k < code[o + 1]:
        together = runs_together(code, o, k, place, lanes)
        if code[code[o + 3 + k]] + shift >= block_bits:
            meet(arrivals, place[THREADS])
            first, last = begin << block_bits, end << block_bits
            unturn_runs(code, o, k, together, place, pr, pi, lr, li, scratch, sums, first, last)
        # The norm that a run's sums have met: those that leave one out are blocks' runs, done in this order.
        norm = sums[place[NORM]]
        for j in range(k, k + together):
            run, sums_at = code[o + 3 + j], place[RUN_SUMS] + j * stride
            if code[run + 4]:
                width = run_width(code, run, place, lanes)
                run_slopes(
                    code, run, numbers, shared, sampled, place, sums, sums_at, width, norm * norm, register, by_shared,
                    by_sampled,
                )  # fmt: skip
        if together == 2:
            leave_out(place, scratch, sums, place[MATRICES] + k * stride, stride)
        k += together
    # Threads that share a chunk have the same norm to the bit, so all meet here or none.
    if abs(sums[place[NORM]]) < LEAST_NORM:
        meet(arrivals, place[THREADS])
        renormalize(place, sums, pr, pi)
        renormalize(place, sums, lr, li)
        sums[place[NORM]] = 1.0


@njit(**JIT)
def turn_pair(code, o, k, numbers, shared, sampled, place, re, im, scratch, sums, inverse):
    """The ``k``-th kind of pairs of a gate, forward or ``inverse``."""
    run, n_places, samples, at = code[o + 1], code[o + 2], place[SAMPLES], place[MATRICES]
    places, entry = after(code, o + 4), o + 4 + n_places + 3 * k
    zero, one, backwards = code[entry], code[entry + 1], inverse != (code[entry + 2] < 0)
    lanes, register = lanes_of(re), after(scratch, place[REGISTER])
    if (samples << places[0]) < lanes:
        run_matrix(code, run, numbers, shared, sampled, place, backwards, scratch, at, lanes, register)
        first, last = share(1 << (place[N_QUBITS] - n_places), place)
        rotations.turn_few(re, im, first, last, places, n_places, np.int64(0), zero, one, samples, scratch, at, lanes)
        return
    width = run_width(code, run, place, lanes)
    run_matrix(code, run, numbers, shared, sampled, place, backwards, scratch, at, width, register)
    first, last = share((place[SIZE] // width) >> n_places, place)
    lift, zero, one = log2(samples) - log2(width), zero * samples // width, one * samples // width
    rotations.turn_some(re, im, first, last, places, n_places, lift, zero, one, width, scratch, at)


@njit(**JIT)
def sum_pair(code, o, k, place, pr, pi, lr, li, scratch, sums):
    """Adds the sums of the ``k``-th kind of pairs of a gate; the numbers in a row of them."""
    run, n_places, samples, at = code[o + 1], code[o + 2], place[SAMPLES], place[RUN_SUMS]
    places, entry = after(code, o + 4), o + 4 + n_places + 3 * k
    zero, one, sign = code[entry], code[entry + 1], float(code[entry + 2])
    lanes = lanes_of(pr)
    if (samples << places[0]) < lanes:
        wide = samples if code[run + 2] else 1
        first, last = share(1 << (place[N_QUBITS] - n_places), place)
        rotations.sum_few(
            pr, pi, lr, li, first, last, places, n_places, np.int64(0), zero, one, samples, wide, sign, sums, at
        )
        return wide
    width, register = run_width(code, run, place, lanes), after(scratch, place[REGISTER])
    first, last = share((place[SIZE] // width) >> n_places, place)
    lift, zero, one = log2(samples) - log2(width), zero * samples // width, one * samples // width
    rotations.sum_some(pr, pi, lr, li, first, last, places, n_places, lift, zero, one, width, sign, sums, at, register)
    return width


@njit(**JIT)
def unpair(code, o, numbers, shared, sampled, place, planes, scratch, sums, p, co, by_shared, by_sampled):
    """A gate on pairs of amplitudes, backward."""
    pr, pi = pair_of(planes, place, p)
    lr, li = pair_of(planes, place, co)
    run, width, backwards = code[o + 1], np.int64(0), np.bool_(True)
    if code[run + 4]:
        for k in range(place[RUN_SUMS], place[RUN_SUMS] + 3 * max(place[SAMPLES], lanes_of(pr))):
            sums[k] = 0
    for k in range(code[o + 3]):
        if code[run + 4]:
            width = sum_pair(code, o, k, place, pr, pi, lr, li, scratch, sums)
        turn_pair(code, o, k, numbers, shared, sampled, place, pr, pi, scratch, sums, backwards)
        turn_pair(code, o, k, numbers, shared, sampled, place, lr, li, scratch, sums, backwards)
    if code[run + 4]:
        at, register, norm = place[RUN_SUMS], after(scratch, place[REGISTER]), sums[place[NORM]]
        run_slopes(
            code, run, numbers, shared, sampled, place, sums, at, width, norm * norm, register, by_shared, by_sampled
        )


@njit(**JIT)
def dense(code, o, numbers, place, planes, scratch, p, inverse):
    """A fixed gate without structure, or its inverse."""
    n_places, size = code[o + 2], code[o + 3]
    places, offsets = after(code, o + 4), after(code, o + 4 + n_places)
    first, last = share(1 << (place[N_QUBITS] - n_places), place)
    re, im = pair_of(planes, place, p)
    work = after(scratch, place[WORK])
    rotations.apply_dense(
        re,
        im,
        first,
        last,
        places,
        n_places,
        np.int64(0),
        offsets,
        size,
        place[SAMPLES],
        numbers,
        code[o + 1],
        inverse,
        work,
    )


@njit(**JIT)
def grow(place, planes, scratch, arrivals, p, width, n_qubits):
    """The product state of the lowest ``n_qubits``."""
    re, im = pair_of(planes, place, p)
    if place[THREAD] == 0:
        for lane in range(place[SAMPLES]):
            re[lane], im[lane] = 1, 0
    for qubit in range(n_qubits):
        meet(arrivals, place[THREADS])
        at = place[MATRICES] + qubit * 8 * width
        rotations.grow_product(re, im, place[SAMPLES], qubit, width, scratch, at, place[THREAD], place[THREADS])


@njit(**JIT)
def product(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, n_qubits):
    """The product state of the lowest ``n_qubits``: of each qubit's run the column that meets ``|0>`` counts."""
    width = max(place[SAMPLES], lanes_of(planes))
    for k in range(code[o + 1]):
        at = place[MATRICES] + 8 * width * k
        room = after(scratch, place[REGISTER])
        run_matrix(code, code[o + 3 + k], numbers, shared, sampled, place, np.bool_(False), scratch, at, width, room)
        # The rows a b c d (real, imaginary) become a c, real and imaginary in turn.
        for lane in range(at, at + width):
            ai, cr, ci = scratch[lane + 4 * width], scratch[lane + 2 * width], scratch[lane + 6 * width]
            scratch[lane + width], scratch[lane + 2 * width], scratch[lane + 3 * width] = ai, cr, ci
    grow(place, planes, scratch, arrivals, p, width, n_qubits)
    return width


@njit(**PART)
def unproduct(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co, by_shared, by_sampled):
    """Slopes of the product state; the co-state is contracted qubit by qubit, and both are used up."""
    if not code[o + 2]:
        return
    pr, pi = pair_of(planes, place, p)
    lr, li = pair_of(planes, place, co)
    width = product(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, np.int64(0))
    v, summed = scratch, place[RUN_SUMS]
    register = after(scratch, place[REGISTER])
    for qubit in range(place[N_QUBITS] - 1, -1, -1):
        grow(place, planes, scratch, arrivals, p, width, qubit)
        meet(arrivals, place[THREADS])
        for k in range(summed, summed + 4 * width):
            sums[k] = 0
        at = place[MATRICES] + 8 * width * qubit
        rotations.fold_product(
            pr, pi, lr, li, place[SAMPLES], qubit, width, v, at, sums, summed, register, place[THREAD], place[THREADS]
        )
        meet(arrivals, place[THREADS])
        run = code[o + 3 + qubit]
        if code[run + 4]:
            # With (a, c) what the run makes of |0>, and S_b = sum conj(co-state_b) rest: conj(l_b) p_0 = S_b a.
            for lane in range(summed, summed + width):
                k = at + lane - summed
                s0, s1, s2, s3 = sums[lane], sums[lane + width], sums[lane + 2 * width], sums[lane + 3 * width]
                ar, ai, cr, ci = v[k], v[k + width], v[k + 2 * width], v[k + 3 * width]
                sums[lane] = s0 * ci + s1 * cr + s2 * ai + s3 * ar
                sums[lane + width] = s2 * ar - s3 * ai - s0 * cr + s1 * ci
                sums[lane + 2 * width] = s0 * ai + s1 * ar - s2 * ci - s3 * cr
            # The product is made anew, so that only the co-state lacks its norm.
            run_slopes(
                code, run, numbers, shared, sampled, place, sums, summed, width, sums[place[NORM]], register, by_shared,
                by_sampled,
            )  # fmt: skip
