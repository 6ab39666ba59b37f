"""Phases and reorderings, forward and backward, block by block."""

from __future__ import annotations

import numpy as np
from numba import njit

from qworkbench.engines.statevector.native import phases
from qworkbench.engines.statevector.native.places import (
    ALONE,
    BLOCK,
    COSINE,
    FACTOR,
    FIRST,
    N_QUBITS,
    NORM,
    PADDED,
    PRODUCT_SUMS,
    SAMPLES,
    SINE,
    TABLE,
    THREADS,
    WORK,
    cosine_sine,
    log2,
    pair_of,
    share,
)
from qworkbench.engines.statevector.native.registers import JIT, PART, after, lanes_of
from qworkbench.engines.statevector.native.team import meet


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


@njit(**PART)
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


@njit(**PART)
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
    norm = sums[place[NORM]]
    for k in range(code[o + 1]):
        row, own = code[o + 5 + 2 * k], code[o + 6 + 2 * k]
        for lane in range(own_wide):
            slope = 2 * norm * norm * own_sums[k * own_wide + lane]
            if own:
                by_sampled[row * place[PADDED] + place[FIRST] + lane] += slope
            else:
                by_shared[row] += slope
    return newp, newl, rest
