"""Runs of gates on one qubit: their matrices, and the slopes of their angles; see ``Plan`` for the records."""

from __future__ import annotations

import numpy as np
from numba import njit

from qworkbench.engines.statevector.native import fused, rotations
from qworkbench.engines.statevector.native.places import (
    BLOCK,
    FIRST,
    MATRICES,
    PADDED,
    REGISTER,
    SAMPLES,
    cosine_sine,
    cosines_sines,
    log2,
)
from qworkbench.engines.statevector.native.registers import JIT, PART, after, fill, lanes_of, load, store, total


@njit(**JIT)
def run_width(code, run, place, lanes):
    """Numbers in a row of a run's matrix."""
    return max(place[SAMPLES], lanes) if code[run + 2] else lanes


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
def run_slopes(code, run, numbers, shared, sampled, place, sums, at, width, scale, room, by_shared, by_sampled):
    """Adds the slopes of a run's rows, from three rows of ``sums`` times ``scale``: x, y, z after the run."""
    if code[run + 2] and place[SAMPLES] >= lanes_of(room):
        many_slopes(code, run, numbers, shared, sampled, place, sums, at, width, scale, room, by_shared, by_sampled)
        return
    wide = place[SAMPLES] if code[run + 2] else 1
    for lane in range(wide):
        x, y, z = 0.0, 0.0, 0.0
        for k in range(at + lane, at + width, wide):
            x += scale * sums[k]
            y += scale * sums[width + k]
            z += scale * sums[2 * width + k]
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
def narrow(sums, at, scale, room):
    """A register of sums, times ``scale``, in the precision of the state."""
    for lane in range(lanes_of(room)):
        room[lane] = scale * sums[at + lane]
    return load(room, 0)


@njit(**PART)
def many_slopes(code, run, numbers, shared, sampled, place, sums, at, width, scale, room, by_shared, by_sampled):
    """``run_slopes`` for a matrix a sample, a register of samples at a time."""
    for t in range(0, width, lanes_of(room)):
        x, y = narrow(sums, at + t, scale, room), narrow(sums, at + width + t, scale, room)
        z = narrow(sums, at + 2 * width + t, scale, room)
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
def runs_together(code, o, k, place, lanes):
    """How many runs, from the ``k``-th of an operation on, one sweep does: 2 for ``fused.turn_two``, or 1.

    Two stand side by side in ascending order of their qubits; see ``_Builder.rotate``.
    """
    if k + 1 == code[o + 1]:
        return 1
    near, far, shift = code[o + 3 + k], code[o + 4 + k], log2(place[SAMPLES])
    if code[near + 2] or code[far + 2] or not (code[near + 3] and code[far + 3]):
        return 1
    low, high = code[near] + shift, code[far] + shift
    return 2 if (1 << low) >= lanes and high < place[BLOCK] else 1


@njit(**JIT)
def run_matrices(code, o, numbers, shared, sampled, place, inverse, scratch, lanes, stride):
    """The matrices of all runs of an operation, in the form that ``turn`` or ``turn_two`` wants."""
    shift, room = log2(place[SAMPLES]), after(scratch, place[REGISTER])
    for k in range(code[o + 1]):
        run, at = code[o + 3 + k], place[MATRICES] + k * stride
        width = run_width(code, run, place, lanes)
        run_matrix(code, run, numbers, shared, sampled, place, inverse, scratch, at, width, room)
        if (1 << (code[run] + shift)) < lanes:
            rotations.near_rows(scratch, at, code[run] + shift, lanes, code[run + 3])
    k = np.int64(0)
    while k < code[o + 1]:
        together, at = runs_together(code, o, k, place, lanes), place[MATRICES] + k * stride
        if together == 2:
            fused.bare_rows(scratch, at, lanes)
            fused.bare_rows(scratch, at + stride, lanes)
        k += together
