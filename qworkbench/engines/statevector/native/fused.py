"""Two real matrices in one sweep, each on a bit of its own; see ``rotations`` for the layout.

A real matrix that all samples share is, up to a factor, ``x - t y`` and ``+-(y + t x)``, perhaps exchanged, with
``|t| <= 1``: one multiply-add a number, where the matrix as it stands costs two. The factor is left out: the planes
then hold a multiple of the state, which ``sums`` knows at ``NORM``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from qworkbench.engines.statevector.native.registers import JIT, fill, flip, load, store
from qworkbench.engines.statevector.native.rotations import FLUSH, add_lanes, row_without


@njit(**JIT)
def bare_rows(m, at, width):
    """Rewrites a real matrix for ``turn_two``, in place: rows ``t``, sign, whether exchanged, sign of the factor.

    The factor's sign counts: slopes of a product state are of this co-state and a state made anew.
    """
    a, b, c, d = m[at], m[at + width], m[at + 2 * width], m[at + 3 * width]
    exchanged = abs(a) < abs(b)
    t, turned = (a / b, b * c < 0) if exchanged else (-b / a, a * d < 0)
    for lane in range(width):
        m[at + lane], m[at + width + lane] = t, -0.0 if turned else 0.0
    m[at + 2 * width] = 1.0 if exchanged else 0.0
    m[at + 3 * width] = 1.0 if (a > 0 if not exchanged else (b > 0) != turned) else -1.0


@njit(**JIT)
def factor_of(m, at, width):
    """What ``turn_two`` leaves out of a matrix."""
    t = float(m[at])
    return m[at + 3 * width] / np.sqrt(1.0 + t * t)


@njit(**JIT)
def targets(m, low_at, high_at, width, low, high):
    """Where ``turn_two`` puts its four rows, in numbers from the first."""
    near = np.int64(m[low_at + 2 * width]) * low
    far = np.int64(m[high_at + 2 * width]) * high
    return near + far, low - near + far, near + high - far, low - near + high - far


@njit(**JIT)
def load_four(plane, i, low, high):
    """Registers at ``i`` and with the low, the high and both bits set."""
    return load(plane, i), load(plane, i + low), load(plane, i + high), load(plane, i + low + high)


@njit(**JIT)
def store_turned(plane, i, to, four, near, far):
    """Puts four registers where ``targets`` says, after the matrix ``near`` on the low bit and ``far`` on the high one.

    A matrix is its registers of ``t`` and of signs.
    """
    (a, b, c, d), (t, s), (u, v) = four, near, far
    a, b, c, d = a - t * b, flip(b + t * a, s), c - t * d, flip(d + t * c, s)
    a, b, c, d = a - u * c, b - u * d, flip(c + u * a, v), flip(d + u * b, v)
    store(plane, i + to[0], a)
    store(plane, i + to[1], b)
    store(plane, i + to[2], c)
    store(plane, i + to[3], d)


@njit(**JIT)
def turn_two(re, im, first, last, low_bit, high_bit, width, m, low_at, high_at):
    """Two real matrices that all samples share, up to a factor, on the groups of four rows ``first .. last``."""
    low, high = width << low_bit, width << high_bit
    near, far = (load(m, low_at), load(m, low_at + width)), (load(m, high_at), load(m, high_at + width))
    to = targets(m, low_at, high_at, width, low, high)
    for f in range(first, last):
        i = row_without(row_without(f, low_bit), high_bit) * width
        # All loads come before all stores: planes lie so that a load would wait for the store of its neighbour plane.
        x, u = load_four(re, i, low, high), load_four(im, i, low, high)
        store_turned(re, i, to, x, near, far)
        store_turned(im, i, to, u, near, far)


@njit(**JIT)
def y_terms(p, q):
    """Terms of the y sums of the low and of the high bit, from four registers of a state and of a co-state."""
    (a, b, c, d), (e, f, g, h) = p, q
    return (f * a - e * b) + (h * c - g * d), (g * a - e * c) + (h * b - f * d)


@njit(**JIT)
def undo_two(pr, pi, lr, li, first, last, low_bit, high_bit, width, m, low_at, high_at, sums, low_sum, high_sum, room):
    """Adds the y sums of both bits, then does ``turn_two`` with the inverses on state and co-state."""
    low, high = width << low_bit, width << high_bit
    near, far = (load(m, low_at), load(m, low_at + width)), (load(m, high_at), load(m, high_at + width))
    to, start = targets(m, low_at, high_at, width, low, high), first - first
    for begin in range(first, last, FLUSH // 2):
        low_total, high_total = fill(pr, 0.0), fill(pr, 0.0)
        for f in range(begin, min(begin + FLUSH // 2, last)):
            i = row_without(row_without(f, low_bit), high_bit) * width
            x, e = load_four(pr, i, low, high), load_four(lr, i, low, high)
            u, g = load_four(pi, i, low, high), load_four(li, i, low, high)
            (a, b), (c, d) = y_terms(x, e), y_terms(u, g)
            low_total, high_total = low_total + (a + c), high_total + (b + d)
            store_turned(pr, i, to, x, near, far)
            store_turned(lr, i, to, e, near, far)
            store_turned(pi, i, to, u, near, far)
            store_turned(li, i, to, g, near, far)
        add_lanes(sums, low_sum + width, width, start, low_total, room)
        add_lanes(sums, high_sum + width, width, start, high_total, room)
