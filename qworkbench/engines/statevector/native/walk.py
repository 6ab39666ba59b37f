"""The compiled walk over the operations of a plan: forward, observables, and back.

Nothing here knows a circuit: operations are read from the plan, so a new circuit compiles nothing. A chunk of samples,
a power of two, lies in one of three pairs of planes: the state in ``p``, the co-state in ``co``, and a spare. Several
threads may walk over the same chunk: each works on its share of blocks, keeps sums of its own, and meets the others
after each operation.

The same few pointers go through all functions: ``code`` and ``numbers`` (see ``Plan``), ``shared`` and ``sampled``
(cosine and sine of the rows, ``(rows, 2)`` and ``(rows, 2, samples)``), ``place`` (who works on which chunk, and where
scratch lies; see ``FIRST``), ``planes``, ``scratch`` in the precision of the state, ``sums`` in double precision, and
``arrivals``, where threads meet.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from qworkbench.engines.statevector.native import phases, rotations
from qworkbench.engines.statevector.native.meeting import meet
from qworkbench.engines.statevector.native.plan import DENSE, PAIR, PHASE, PRODUCT, ROTATE
from qworkbench.engines.statevector.native.registers import (
    JIT,
    after,
    cached,
    fill,
    lanes_of,
    load,
    pointer,
    store,
    total,
)

FIRST, SAMPLES, SIZE, BLOCK, N_QUBITS, THREAD, THREADS, PADDED = range(8)
"""Entries of ``place``: the chunk's first sample, samples, numbers of a plane, log2 of a block's numbers, qubits, this
thread, how many share the chunk, samples of all chunks. Then where parts of ``scratch`` begin, and of ``sums``."""
MATRICES, TABLE, FACTOR, COSINE, SINE, ALONE, REGISTER, WORK = range(8, 16)
RUN_SUMS, PRODUCT_SUMS = range(16, 18)


@njit(**JIT)
def log2(number):
    """Of a power of two."""
    bits = 0
    while number > 1:
        number >>= 1
        bits += 1
    return bits


@njit(**JIT)
def pair_of(planes, place, pair):
    """The real and the imaginary plane of a pair."""
    size = place[SIZE]
    return after(planes, 2 * pair * size), after(planes, (2 * pair + 1) * size)


@njit(**JIT)
def share(pieces, place):
    """This thread's part of some pieces."""
    return pieces * place[THREAD] // place[THREADS], pieces * (place[THREAD] + 1) // place[THREADS]


@njit(**JIT)
def run_width(code, run, place, lanes):
    """Numbers in a row of a run's matrix."""
    return max(place[SAMPLES], lanes) if code[run + 2] else lanes


@njit(**JIT)
def cosine_sine(shared, sampled, place, row, own, lane):
    """Of a row, for a sample of the chunk."""
    if own:
        at = 2 * row * place[PADDED] + place[FIRST] + lane
        return sampled[at], sampled[at + place[PADDED]]
    return shared[2 * row], shared[2 * row + 1]


@njit(**JIT)
def cosines_sines(shared, sampled, place, row, own, t, room):
    """Of a row, for the samples of register ``t``; few samples are repeated until they fill it."""
    samples, lanes = place[SAMPLES], lanes_of(room)
    if not own:
        return fill(room, shared[2 * row]), fill(room, shared[2 * row + 1])
    at, below = 2 * row * place[PADDED] + place[FIRST] + t, place[PADDED]
    if samples >= lanes:
        return load(sampled, at), load(sampled, at + below)
    for lane in range(lanes):
        room[lane] = sampled[at + lane % samples]
    cosine = load(room, 0)
    for lane in range(lanes):
        room[lane] = sampled[at + below + lane % samples]
    return cosine, load(room, 0)


@njit(**JIT)
def run_matrix(code, run, numbers, shared, sampled, place, inverse, m, at, width, room):
    """The matrix of a run (or its inverse) into eight rows of ``m`` from ``at``; ``room`` holds a register."""
    for t in range(0, width, lanes_of(m)):
        ar, br, cr, dr = fill(m, 1.0), fill(m, 0.0), fill(m, 0.0), fill(m, 1.0)
        ai, bi, ci, di = fill(m, 0.0), fill(m, 0.0), fill(m, 0.0), fill(m, 0.0)
        for e in range(run + 5, run + 5 + 4 * code[run + 1], 4):
            axis = code[e]
            if axis < 0:
                f = after(numbers, code[e + 3])
                p, q, r, s = fill(m, f[0]), fill(m, f[1]), fill(m, f[2]), fill(m, f[3])
                u, v, x, y = fill(m, f[4]), fill(m, f[5]), fill(m, f[6]), fill(m, f[7])
                ar, ai, cr, ci = (
                    p * ar - u * ai + q * cr - v * ci, p * ai + u * ar + q * ci + v * cr,
                    r * ar - x * ai + s * cr - y * ci, r * ai + x * ar + s * ci + y * cr,
                )  # fmt: skip
                br, bi, dr, di = (
                    p * br - u * bi + q * dr - v * di, p * bi + u * br + q * di + v * dr,
                    r * br - x * bi + s * dr - y * di, r * bi + x * br + s * di + y * dr,
                )  # fmt: skip
                continue
            x, y = cosines_sines(shared, sampled, place, code[e + 1], code[e + 2], t, room)
            if axis == 0:
                ar, cr, ai, ci = x * ar + y * ci, x * cr + y * ai, x * ai - y * cr, x * ci - y * ar
                br, dr, bi, di = x * br + y * di, x * dr + y * bi, x * bi - y * dr, x * di - y * br
            elif axis == 1:
                ar, cr, ai, ci = x * ar - y * cr, y * ar + x * cr, x * ai - y * ci, y * ai + x * ci
                br, dr, bi, di = x * br - y * dr, y * br + x * dr, x * bi - y * di, y * bi + x * di
            else:
                ar, ai, br, bi = x * ar + y * ai, x * ai - y * ar, x * br + y * bi, x * bi - y * br
                cr, ci, dr, di = x * cr - y * ci, x * ci + y * cr, x * dr - y * di, x * di + y * dr
        if inverse:
            none = fill(m, 0.0)
            br, cr, ai, bi, ci, di = cr, br, none - ai, none - ci, none - bi, none - di
        k = at + t
        store(m, k, ar)
        store(m, k + width, br)
        store(m, k + 2 * width, cr)
        store(m, k + 3 * width, dr)
        store(m, k + 4 * width, ai)
        store(m, k + 5 * width, bi)
        store(m, k + 6 * width, ci)
        store(m, k + 7 * width, di)


@njit(**JIT)
def run_slopes(code, run, numbers, shared, sampled, place, sums, at, width, room, by_shared, by_sampled):
    """Adds the slopes of a run's rows, from three rows of ``sums``: x, y, z after the run."""
    if code[run + 2] and place[SAMPLES] >= lanes_of(room):
        many_slopes(code, run, numbers, shared, sampled, place, sums, at, width, room, by_shared, by_sampled)
        return
    wide = place[SAMPLES] if code[run + 2] else 1
    for lane in range(wide):
        x, y, z = 0.0, 0.0, 0.0
        for k in range(at + lane, at + width, wide):
            x += sums[k]
            y += sums[width + k]
            z += sums[2 * width + k]
        for e in range(run + 1 + 4 * code[run + 1], run + 1, -4):
            axis, row, own, at_number = code[e], code[e + 1], code[e + 2], code[e + 3]
            if axis < 0:
                r = after(numbers, at_number + 8)
                u, v, w = x, y, z
                x, y = r[0] * u + r[1] * v + r[2] * w, r[3] * u + r[4] * v + r[5] * w
                z = r[6] * u + r[7] * v + r[8] * w
                continue
            slope = 2 * (x if axis == 0 else (y if axis == 1 else z))
            if own:
                by_sampled[row * place[PADDED] + place[FIRST] + lane] += slope
            else:
                by_shared[row] += slope
            c, s = cosine_sine(shared, sampled, place, row, own, lane)
            # The vector turns by twice the angle of the row, and undoing turns it backwards.
            c, s = c * c - s * s, 2 * c * s
            if axis == 0:
                y, z = c * y + s * z, c * z - s * y
            elif axis == 1:
                z, x = c * z + s * x, c * x - s * z
            else:
                x, y = c * x + s * y, c * y - s * x


@njit(**JIT)
def narrow(sums, at, room):
    """A register of sums in the precision of the state."""
    for lane in range(lanes_of(room)):
        room[lane] = sums[at + lane]
    return load(room, 0)


@njit(**JIT)
def many_slopes(code, run, numbers, shared, sampled, place, sums, at, width, room, by_shared, by_sampled):
    """``run_slopes`` for a matrix a sample, a register of samples at a time."""
    for t in range(0, width, lanes_of(room)):
        x, y, z = narrow(sums, at + t, room), narrow(sums, at + width + t, room), narrow(sums, at + 2 * width + t, room)
        for e in range(run + 1 + 4 * code[run + 1], run + 1, -4):
            axis, row, own = code[e], code[e + 1], code[e + 2]
            if axis < 0:
                r = after(numbers, code[e + 3] + 8)
                x, y, z = (
                    fill(room, r[0]) * x + fill(room, r[1]) * y + fill(room, r[2]) * z,
                    fill(room, r[3]) * x + fill(room, r[4]) * y + fill(room, r[5]) * z,
                    fill(room, r[6]) * x + fill(room, r[7]) * y + fill(room, r[8]) * z,
                )
                continue
            slope = x if axis == 0 else (y if axis == 1 else z)
            if own:
                to = row * place[PADDED] + place[FIRST] + t
                store(by_sampled, to, load(by_sampled, to) + slope + slope)
            else:
                by_shared[row] += 2 * total(slope)
            c, s = cosines_sines(shared, sampled, place, row, own, t, room)
            c, s = c * c - s * s, c * s + c * s
            if axis == 0:
                y, z = c * y + s * z, c * z - s * y
            elif axis == 1:
                z, x = c * z + s * x, c * x - s * z
            else:
                x, y = c * x + s * y, c * y - s * x


@njit(**JIT)
def run_matrices(code, o, numbers, shared, sampled, place, inverse, scratch, lanes, stride):
    """The matrices of all runs of an operation, in the form that ``turn`` wants."""
    shift = log2(place[SAMPLES])
    for k in range(code[o + 1]):
        run, at = code[o + 3 + k], place[MATRICES] + k * stride
        width = run_width(code, run, place, lanes)
        room = after(scratch, place[REGISTER])
        run_matrix(code, run, numbers, shared, sampled, place, inverse, scratch, at, width, room)
        if (1 << (code[run] + shift)) < lanes:
            rotations.near_rows(scratch, at, code[run] + shift, lanes, code[run + 3])


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
def rotate(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p):
    """Rotations, forward: those on low bits block by block in the nearest cache, then the others one by one."""
    re, im = pair_of(planes, place, p)
    lanes, shift, block_bits = lanes_of(re), log2(place[SAMPLES]), place[BLOCK]
    stride = 8 * max(place[SAMPLES], lanes)
    run_matrices(code, o, numbers, shared, sampled, place, np.bool_(False), scratch, lanes, stride)
    begin, end = share(place[SIZE] >> block_bits, place)
    for block in range(begin, end):
        for k in range(code[o + 1]):
            run, at = code[o + 3 + k], place[MATRICES] + k * stride
            bit, width = code[run] + shift, run_width(code, run, place, lanes)
            if bit < block_bits:
                turn(re, im, bit, width, code[run + 3], scratch, at, block << block_bits, (block + 1) << block_bits)
    for k in range(code[o + 1]):
        run, at = code[o + 3 + k], place[MATRICES] + k * stride
        bit, width = code[run] + shift, run_width(code, run, place, lanes)
        if bit >= block_bits:
            meet(arrivals, place[THREADS])
            turn(re, im, bit, width, code[run + 3], scratch, at, begin << block_bits, end << block_bits)


@njit(**JIT)
def unrotate(code, o, numbers, shared, sampled, place, planes, scratch, sums, arrivals, p, co, by_shared, by_sampled):
    """Rotations, backward."""
    pr, pi = pair_of(planes, place, p)
    lr, li = pair_of(planes, place, co)
    lanes, shift, block_bits = lanes_of(pr), log2(place[SAMPLES]), place[BLOCK]
    stride, register = 8 * max(place[SAMPLES], lanes), after(scratch, place[REGISTER])
    run_matrices(code, o, numbers, shared, sampled, place, np.bool_(True), scratch, lanes, stride)
    for k in range(place[RUN_SUMS], place[RUN_SUMS] + code[o + 1] * stride):
        sums[k] = 0
    begin, end = share(place[SIZE] >> block_bits, place)
    for block in range(begin, end):
        for k in range(code[o + 1]):
            run, at, sums_at = code[o + 3 + k], place[MATRICES] + k * stride, place[RUN_SUMS] + k * stride
            bit, width = code[run] + shift, run_width(code, run, place, lanes)
            if bit < block_bits:
                first, last = block << block_bits, (block + 1) << block_bits
                unturn(
                    pr, pi, lr, li, bit, width, code[run + 3], code[run + 4], scratch, at, register, sums, sums_at,
                    first, last,
                )  # fmt: skip
    for k in range(code[o + 1]):
        run, at, sums_at = code[o + 3 + k], place[MATRICES] + k * stride, place[RUN_SUMS] + k * stride
        bit, width = code[run] + shift, run_width(code, run, place, lanes)
        if bit >= block_bits:
            meet(arrivals, place[THREADS])
            first, last = begin << block_bits, end << block_bits
            unturn(
                pr, pi, lr, li, bit, width, code[run + 3], code[run + 4], scratch, at, register, sums, sums_at,
                first, last,
            )  # fmt: skip
        if code[run + 4]:
            run_slopes(
                code, run, numbers, shared, sampled, place, sums, sums_at, width, register, by_shared, by_sampled
            )


@njit(**JIT)
def table_shape(own, place, lanes):
    """Samples that a phase table tells apart, and the bits of its blocks of amplitudes."""
    if not own and place[SAMPLES] >= lanes:
        return 1, min(place[N_QUBITS], place[BLOCK] - log2(lanes))
    if not own and place[SAMPLES] == 1:
        return 1, min(place[N_QUBITS], place[BLOCK])
    return place[SAMPLES], max(min(place[N_QUBITS], place[BLOCK] - log2(place[SAMPLES])), 0)


@njit(**JIT)
def product_turns(code, o, shared, sampled, place, scratch, wide):
    """Cosine and sine of each product's angle, ``wide`` numbers each, into scratch."""
    c, s = after(scratch, place[COSINE]), after(scratch, place[SINE])
    for k in range(code[o + 1]):
        row, own = code[o + 5 + 2 * k], code[o + 6 + 2 * k]
        for lane in range(wide):
            c[k * wide + lane], s[k * wide + lane] = cosine_sine(shared, sampled, place, row, own, lane)
    return c, s


@njit(**JIT)
def halves(scratch, begin, end):
    """A part of scratch as real and imaginary part."""
    middle = (begin + end) // 2
    return after(scratch, begin), after(scratch, middle)


@njit(**JIT)
def make_table(code, o, place, scratch, c, s, block, low, wide, alone):
    """A block's phases; ``alone`` without the part that its number decides."""
    tr, ti = halves(scratch, place[TABLE], place[FACTOR])
    fr, fi = halves(scratch, place[FACTOR], place[COSINE])
    products, n_qubits = after(code, code[o + 4]), place[N_QUBITS]
    phases.high_phase(low, low if alone else n_qubits, block, wide, products, c, s, tr, ti)
    phases.phase_table(low, n_qubits, block, wide, products, c, s, tr, ti, fr, fi)


@njit(**JIT)
def apply_phase(code, o, place, planes, scratch, c, s, block, low, wide, whole, pair, sign):
    """Multiplies a block by its phases: by its own table if it is ``whole``, else by the common one and a factor."""
    re, im = pair_of(planes, place, pair)
    samples = place[SAMPLES]
    tr, ti = halves(scratch, place[TABLE], place[FACTOR])
    phases.apply_table(re, im, block << low, 1 << low, samples, wide, tr, ti, sign)
    if not whole:
        fr, fi = halves(scratch, place[FACTOR], place[COSINE])
        phases.high_phase(low, place[N_QUBITS], block, wide, after(code, code[o + 4]), c, s, fr, fi)
        width = phases.fill_register(fr, fi, wide)
        xr, xi = after(re, (block << low) * samples), after(im, (block << low) * samples)
        phases.scale(xr, xi, xr, xi, samples << low, fr, fi, width, sign)


@njit(**JIT)
def phase(code, o, shared, sampled, place, planes, scratch, p, s):
    """A phase and a reordering, forward; the number of the pair of planes that holds the result."""
    re, im = pair_of(planes, place, p)
    newr, newi = pair_of(planes, place, s)
    n_qubits, samples, move = place[N_QUBITS], place[SAMPLES], code[o + 3]
    wide, low = table_shape(code[o + 2] & 1, place, lanes_of(re))
    count = 1 << low
    cosine, sine = product_turns(code, o, shared, sampled, place, scratch, wide)
    whole = low == n_qubits or phases.crosses(low, n_qubits, after(code, code[o + 4]))
    begin, end = share(1 << (n_qubits - low), place)
    if code[o + 1] and not whole:
        make_table(code, o, place, scratch, cosine, sine, np.int64(0), low, wide, np.bool_(True))
    for block in range(begin, end):
        if code[o + 1]:
            if whole:
                make_table(code, o, place, scratch, cosine, sine, block, low, wide, np.bool_(False))
            apply_phase(code, o, place, planes, scratch, cosine, sine, block, low, wide, whole, p, 1.0)
        if move >= 0:
            target = phases.target_of(block, low, n_qubits, after(code, move))
            spots = after(code, move + 1 + n_qubits)
            phases.scatter(after(re, (block << low) * samples), newr, target, spots, count, samples)
            phases.scatter(after(im, (block << low) * samples), newi, target, spots, count, samples)
    return s if move >= 0 else p


@njit(**JIT)
def unphase(code, o, shared, sampled, place, planes, scratch, sums, arrivals, p, co, spare, by_shared, by_sampled):
    """A phase and a reordering, backward: the numbers of the pairs of planes of state, co-state and the spare."""
    n_qubits, samples, move = place[N_QUBITS], place[SAMPLES], code[o + 3]
    wide, low = table_shape(code[o + 2] & 1, place, lanes_of(planes))
    count = 1 << low
    cosine, sine = product_turns(code, o, shared, sampled, place, scratch, wide)
    # A table that all samples share is one number a row, but sums over the rows are cheaper a register at a time.
    own_sums, own_wide = after(sums, place[PRODUCT_SUMS]), min(samples, lanes_of(planes)) if wide == 1 else wide
    for k in range(code[o + 1] * own_wide):
        own_sums[k] = 0
    whole = low == n_qubits or phases.crosses(low, n_qubits, after(code, code[o + 4]))
    begin, end = share(1 << (n_qubits - low), place)
    newp, newl, rest = (spare, p, co) if move >= 0 else (p, co, spare)
    pr, pi = pair_of(planes, place, newp)
    lr, li = pair_of(planes, place, newl)
    if move >= 0:
        oldr, oldi = pair_of(planes, place, p)
        for block in range(begin, end):
            target, spots = phases.target_of(block, low, n_qubits, after(code, move)), after(code, move + 1 + n_qubits)
            at = (block << low) * samples
            phases.gather(oldr, target, spots, after(pr, at), count, samples)
            phases.gather(oldi, target, spots, after(pi, at), count, samples)
        meet(arrivals, place[THREADS])
    if code[o + 1] and not whole:
        make_table(code, o, place, scratch, cosine, sine, np.int64(0), low, wide, np.bool_(True))
    oldr, oldi = pair_of(planes, place, co)
    for block in range(begin, end):
        base = block << low
        if move >= 0:
            target, spots = phases.target_of(block, low, n_qubits, after(code, move)), after(code, move + 1 + n_qubits)
            at = base * samples
            phases.gather(oldr, target, spots, after(lr, at), count, samples)
            phases.gather(oldi, target, spots, after(li, at), count, samples)
        if code[o + 2] & 2:
            t, work = after(scratch, place[WORK]), after(scratch, place[FACTOR])
            phases.imaginary_overlap(pr, pi, lr, li, base, count, samples, own_wide, t)
            table, alone = after(code, code[o + 4]), after(scratch, place[ALONE])
            phases.signed_sums(low, n_qubits, block, own_wide, table, t, work, alone, own_sums)
        if code[o + 1]:
            if whole:
                make_table(code, o, place, scratch, cosine, sine, block, low, wide, np.bool_(False))
            apply_phase(code, o, place, planes, scratch, cosine, sine, block, low, wide, whole, newp, -1.0)
            apply_phase(code, o, place, planes, scratch, cosine, sine, block, low, wide, whole, newl, -1.0)
    for k in range(code[o + 1]):
        row, own = code[o + 5 + 2 * k], code[o + 6 + 2 * k]
        for lane in range(own_wide):
            if own:
                by_sampled[row * place[PADDED] + place[FIRST] + lane] += 2 * own_sums[k * own_wide + lane]
            else:
                by_shared[row] += 2 * own_sums[k * own_wide + lane]
    return newp, newl, rest


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
        at, register = place[RUN_SUMS], after(scratch, place[REGISTER])
        run_slopes(code, run, numbers, shared, sampled, place, sums, at, width, register, by_shared, by_sampled)


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


@njit(**JIT)
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
            run_slopes(code, run, numbers, shared, sampled, place, sums, summed, width, register, by_shared, by_sampled)


@njit(**JIT)
def walk(starts, n_operations, code, numbers, shared, sampled, place, planes, scratch, sums, arrivals):
    """All operations forward; the number of the pair of planes that holds the state."""
    # Numbers in call arguments are written so that numba does not compile a function anew for each of them.
    p, s, forwards = np.int64(0), np.int64(1), np.bool_(False)
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
def string_blocks(place):
    """For observables: bits of a block of amplitudes, its numbers, and this thread's blocks."""
    low = max(min(place[N_QUBITS], place[BLOCK] - log2(place[SAMPLES])), 0)
    begin, end = share(1 << (place[N_QUBITS] - low), place)
    return low, place[SAMPLES] << low, begin, end


@njit(**JIT)
def spare_plane(planes, place, p):
    """A plane that holds neither the state nor the co-state."""
    return pair_of(planes, place, 1 - p)[0]


@njit(**JIT)
def squares(pr, pi, t, start, count):
    """Probabilities of some amplitudes."""
    for j in range(count):
        x, y = pr[start + j], pi[start + j]
        t[j] = x * x + y * y


@njit(**JIT)
def string_values(products, n_products, others, n_others, move, place, planes, scratch, arrivals, p, out):
    """Adds the value of each Pauli string, on this thread's share, to ``out``: a number a sample and string."""
    pr, pi = pair_of(planes, place, p)
    samples = place[SAMPLES]
    low, count, begin, end = string_blocks(place)
    if n_products:
        t, work, alone = after(scratch, place[TABLE]), after(scratch, place[FACTOR]), after(scratch, place[ALONE])
        moved = spare_plane(planes, place, p)
        if move[0] >= 0:
            for block in range(begin, end):
                squares(pr, pi, t, block * count, count)
                target = phases.target_of(block, low, place[N_QUBITS], move)
                spots = after(move, 1 + place[N_QUBITS])
                phases.scatter(t, moved, target, spots, 1 << low, samples)
            meet(arrivals, place[THREADS])
        for block in range(begin, end):
            if move[0] >= 0:
                for j in range(count):
                    t[j] = moved[block * count + j]
            else:
                squares(pr, pi, t, block * count, count)
            phases.signed_sums(low, place[N_QUBITS], block, samples, products, t, work, alone, out)
    for k in range(n_others):
        x, z, turns, at = others[3 * k], others[3 * k + 1], others[3 * k + 2], (n_products + k) * samples
        phases.pauli_value(pr, pi, begin << low, end << low, samples, x, z, turns, out, at)


@njit(**JIT)
def seed_costate(products, n_products, others, n_others, move, place, planes, scratch, arrivals, p, co, weights):
    """Sets the co-state to ``sum_s weights[s] P_s state``, on this thread's share."""
    pr, pi = pair_of(planes, place, p)
    samples = place[SAMPLES]
    lr, li = pair_of(planes, place, co)
    low, count, begin, end = string_blocks(place)
    table, factor, moved = after(scratch, place[TABLE]), after(scratch, place[FACTOR]), spare_plane(planes, place, p)
    if move[0] >= 0:
        for block in range(begin, end):
            to = after(moved, block * count)
            phases.weight_table(low, place[N_QUBITS], block, samples, products, weights, to, factor)
        meet(arrivals, place[THREADS])
    for block in range(begin, end):
        if move[0] >= 0:
            target = phases.target_of(block, low, place[N_QUBITS], move)
            phases.gather(moved, target, after(move, 1 + place[N_QUBITS]), table, 1 << low, samples)
        else:
            phases.weight_table(low, place[N_QUBITS], block, samples, products, weights, table, factor)
        for j in range(count):
            lr[block * count + j] = table[j] * pr[block * count + j]
            li[block * count + j] = table[j] * pi[block * count + j]
    for k in range(n_others):
        x, z, turns, at = others[3 * k], others[3 * k + 1], others[3 * k + 2], (n_products + k) * samples
        phases.pauli_add(pr, pi, begin << low, end << low, samples, x, z, turns, weights, at, lr, li)
    meet(arrivals, place[THREADS])


@njit(**JIT)
def enter(place, chunks, index):
    """Makes ``place`` speak of a chunk; the block is at most the chunk."""
    place[FIRST], place[SAMPLES] = chunks[2 * index], chunks[2 * index + 1]
    place[SIZE] = place[SAMPLES] << place[N_QUBITS]
    while (1 << place[BLOCK]) > place[SIZE]:
        place[BLOCK] -= 1


@njit(**JIT)
def copy_state(source, target, place):
    """This thread's share of a chunk's pair of planes."""
    first, last = share(place[SIZE], place)
    for start in (0, place[SIZE]):
        for j in range(start + first, start + last):
            target[j] = source[j]


@njit(**JIT)
def place_in(kept, place):
    """Where a chunk's state is kept."""
    return after(kept, 2 * (place[FIRST] << place[N_QUBITS]))


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
        if n_strings:
            samples = place[SAMPLES]
            for k in range(n_strings * samples):
                out[k] = 0
            string_values(
                products, n_strings - n_others, others, n_others, move, place, planes, scratch, arrivals, p, out
            )
            for k in range(n_strings):
                for lane in range(samples):
                    values[k, place[FIRST] + lane] += out[k * samples + lane]
        if kept.size:
            copy_state(pair_of(planes, place, p)[0], place_in(pointer(kept), place), place)
            meet(arrivals, place[THREADS])


@cached
def backward(plan, turns, strings, chunks, step, room, weights, given, kept, by_shared, by_sampled):
    """Walks back over a thread's chunks; slopes are added to ``by_shared[chunk]`` and ``by_sampled``.

    The co-state comes from the ``weights`` of the strings, or is ``given``, laid out as ``kept`` is.
    """
    starts, code, numbers = pointer(plan[0]), pointer(plan[1]), pointer(plan[2])
    shared, sampled, products, others = pointer(turns[0]), pointer(turns[1]), pointer(strings[0]), pointer(strings[1])
    place, planes, scratch, sums = pointer(room[0]), pointer(room[1]), pointer(room[2]), pointer(room[3])
    arrivals, chosen, n_strings = pointer(room[4]), after(sums, place[PRODUCT_SUMS]), len(weights)
    n_others, move = len(strings[1]), pointer(strings[2])
    for index in range(place[FIRST], len(chunks), step):
        enter(place, pointer(chunks), index)
        p, co, samples = np.int64(0), np.int64(2), place[SAMPLES]
        if kept.size:
            copy_state(place_in(pointer(kept), place), pair_of(planes, place, p)[0], place)
            meet(arrivals, place[THREADS])
        else:
            p = walk(starts, len(plan[0]), code, numbers, shared, sampled, place, planes, scratch, sums, arrivals)
        if given.size:
            copy_state(place_in(pointer(given), place), pair_of(planes, place, co)[0], place)
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
