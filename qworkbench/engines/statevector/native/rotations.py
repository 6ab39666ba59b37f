"""Loops for 2 x 2 matrices on one qubit, or on pairs of amplitudes.

Layout: real and imaginary parts lie apart; the samples of a chunk, a power of two, are innermost. A qubit is then one
bit of the flat index, ``bit``. ``width`` numbers are a row: of a matrix that all samples share a register is a row, of
one matrix a sample a row holds each sample (or several times all of them, if they do not fill a register). A matrix is
eight rows, ``a b c d`` real and then imaginary.

A gradient needs three sums of a state ``p`` and a co-state ``l`` for each matrix, ``Im <l|sigma_k|p>``, k = x, y, z:
the slope of ``exp(-i t sigma_k)`` is twice the k-th, and undoing a rotation turns the three like a Bloch vector. A real
matrix can only turn about y and needs that one alone. Sums run over at most ``FLUSH`` rows in the state's precision and
then in double precision; brackets keep the chain of dependent additions short.
"""

from __future__ import annotations

from numba import njit

from qworkbench.engines.statevector.native.registers import JIT, exchange, fill, lanes_of, load, store

FLUSH = 64


@njit(**JIT)
def row_without(index, bit):
    """``index`` with a zero put in at ``bit``."""
    low = index & ((1 << bit) - 1)
    return ((index - low) << 1) | low


@njit(**JIT)
def four(m, at, width):
    """The same register of four rows."""
    return load(m, at), load(m, at + width), load(m, at + 2 * width), load(m, at + 3 * width)


@njit(**JIT)
def add_lanes(sums, start, width, t, register, room):
    """Add a register to ``sums[start + t ...]``, which is in double precision."""
    store(room, 0, register)
    for lane in range(lanes_of(room)):
        sums[start + t + lane] += room[lane]


@njit(**JIT)
def turn_real(re, im, first, last, bit, width, m, at):
    """A real matrix on ``bit`` (counted in rows) of the row pairs ``first .. last``."""
    distance = width << bit
    for t in range(0, width, lanes_of(re)):
        a, b, c, d = four(m, at + t, width)
        for f in range(first, last):
            i = row_without(f, bit) * width + t
            j = i + distance
            x, y, u, v = load(re, i), load(re, j), load(im, i), load(im, j)
            store(re, i, a * x + b * y)
            store(re, j, c * x + d * y)
            store(im, i, a * u + b * v)
            store(im, j, c * u + d * v)


@njit(**JIT)
def turn_complex(re, im, first, last, bit, width, m, at):
    """A complex matrix; see ``turn_real``."""
    distance = width << bit
    for t in range(0, width, lanes_of(re)):
        ar, br, cr, dr = four(m, at + t, width)
        ai, bi, ci, di = four(m, at + 4 * width + t, width)
        for f in range(first, last):
            i = row_without(f, bit) * width + t
            j = i + distance
            x, y, u, v = load(re, i), load(re, j), load(im, i), load(im, j)
            store(re, i, ar * x - ai * u + br * y - bi * v)
            store(im, i, ar * u + ai * x + br * v + bi * y)
            store(re, j, cr * x - ci * u + dr * y - di * v)
            store(im, j, cr * u + ci * x + dr * v + di * y)


@njit(**JIT)
def undo_real(pr, pi, lr, li, first, last, bit, width, m, at, sums, start, room):
    """Adds the y sum to ``sums[start + width ...]``, then applies ``m``, the inverse, to state and co-state."""
    distance = width << bit
    for t in range(0, width, lanes_of(pr)):
        a, b, c, d = four(m, at + t, width)
        for begin in range(first, last, FLUSH):
            total = fill(pr, 0.0)
            for f in range(begin, min(begin + FLUSH, last)):
                i = row_without(f, bit) * width + t
                j = i + distance
                x, y, u, v = load(pr, i), load(pr, j), load(pi, i), load(pi, j)
                e, f1, g, h = load(lr, i), load(lr, j), load(li, i), load(li, j)
                total = total + ((f1 * x + h * u) - (e * y + g * v))
                store(pr, i, a * x + b * y)
                store(pr, j, c * x + d * y)
                store(pi, i, a * u + b * v)
                store(pi, j, c * u + d * v)
                store(lr, i, a * e + b * f1)
                store(lr, j, c * e + d * f1)
                store(li, i, a * g + b * h)
                store(li, j, c * g + d * h)
            add_lanes(sums, start + width, width, t, total, room)


@njit(**JIT)
def sum_pairs(pr, pi, lr, li, first, last, bit, width, sums, start, room):
    """Adds the x, y and z sums to three rows of ``sums`` from ``start``."""
    distance = width << bit
    for t in range(0, width, lanes_of(pr)):
        for begin in range(first, last, FLUSH):
            sx, sy, sz = fill(pr, 0.0), fill(pr, 0.0), fill(pr, 0.0)
            for f in range(begin, min(begin + FLUSH, last)):
                i = row_without(f, bit) * width + t
                j = i + distance
                x, y, u, v = load(pr, i), load(pr, j), load(pi, i), load(pi, j)
                e, f1, g, h = load(lr, i), load(lr, j), load(li, i), load(li, j)
                sx = sx + ((e * v - g * y) + (f1 * u - h * x))
                sy = sy + ((f1 * x + h * u) - (e * y + g * v))
                sz = sz + ((e * u - g * x) - (f1 * v - h * y))
            add_lanes(sums, start, width, t, sx, room)
            add_lanes(sums, start + width, width, t, sy, room)
            add_lanes(sums, start + 2 * width, width, t, sz, room)


@njit(**JIT)
def near_rows(m, at, bit, width, real):
    """Rewrites a matrix for ``turn_near``: rows ``A`` and ``B`` with ``new = A v + B exchange(v)``, in place.

    ``width`` is a register, and ``bit`` counts within it.
    """
    for part in range(1 if real else 2):
        for lane in range(width):
            if (lane >> bit) & 1:
                k = at + 4 * part * width + lane
                m[k], m[k + width] = m[k + 3 * width], m[k + 2 * width]


@njit(**JIT)
def turn_near(re, im, first, last, bit, m, at, real):
    """A matrix on a bit inside a register, on the numbers ``first .. last``."""
    width = lanes_of(re)
    a, b = load(m, at), load(m, at + width)
    if real:
        for i in range(first, last, width):
            x, u = load(re, i), load(im, i)
            store(re, i, a * x + b * exchange(x, bit))
            store(im, i, a * u + b * exchange(u, bit))
    else:
        c, d = load(m, at + 4 * width), load(m, at + 5 * width)
        for i in range(first, last, width):
            x, u = load(re, i), load(im, i)
            y, v = exchange(x, bit), exchange(u, bit)
            store(re, i, a * x - c * u + b * y - d * v)
            store(im, i, a * u + c * x + b * v + d * y)


@njit(**JIT)
def sum_near(pr, pi, lr, li, first, last, bit, sums, start, room):
    """As ``sum_pairs`` for a bit inside a register."""
    width = lanes_of(pr)
    for lane in range(width):
        room[lane] = -1.0 if (lane >> bit) & 1 else 1.0
    sign, t = load(room, 0), first - first
    for begin in range(first, last, FLUSH * width):
        sx, sy, sz = fill(pr, 0.0), fill(pr, 0.0), fill(pr, 0.0)
        for i in range(begin, min(begin + FLUSH * width, last), width):
            x, u, e, g = load(pr, i), load(pi, i), load(lr, i), load(li, i)
            y, v = exchange(x, bit), exchange(u, bit)
            sx = sx + (e * v - g * y)
            sy = sy - (e * y + g * v)
            sz = sz + (e * u - g * x)
        add_lanes(sums, start, width, t, sx, room)
        add_lanes(sums, start + width, width, t, sign * sy, room)
        add_lanes(sums, start + 2 * width, width, t, sign * sz, room)


@njit(**JIT)
def undo_near_real(pr, pi, lr, li, first, last, bit, m, at, sums, start, room):
    """As ``undo_real`` for a bit inside a register."""
    width, t = lanes_of(pr), first - first
    a, b = load(m, at), load(m, at + width)
    for lane in range(width):
        room[lane] = 1.0 if (lane >> bit) & 1 else -1.0
    sign = load(room, 0)
    for begin in range(first, last, FLUSH * width):
        total = fill(pr, 0.0)
        for i in range(begin, min(begin + FLUSH * width, last), width):
            x, u, e, g = load(pr, i), load(pi, i), load(lr, i), load(li, i)
            y, v = exchange(x, bit), exchange(u, bit)
            total = total + (e * y + g * v)
            store(pr, i, a * x + b * y)
            store(pi, i, a * u + b * v)
            store(lr, i, a * e + b * exchange(e, bit))
            store(li, i, a * g + b * exchange(g, bit))
        add_lanes(sums, start + width, width, t, sign * total, room)


@njit(**JIT)
def spread(index, places, n_places, lift):
    """``index`` with a zero put in at each of the (ascending) ``places``, moved up by ``lift``."""
    for k in range(n_places):
        index = row_without(index, places[k] + lift)
    return index


@njit(**JIT)
def turn_some(re, im, first, last, places, n_places, lift, zero, one, width, m, at):
    """A matrix on the amplitudes ``zero`` and ``one`` (in rows) of every setting of the other bits.

    ``places`` are the bits that ``zero`` and ``one`` fix, ascending; ``first .. last`` count the settings of the rest.
    """
    for t in range(0, width, lanes_of(re)):
        ar, br, cr, dr = four(m, at + t, width)
        ai, bi, ci, di = four(m, at + 4 * width + t, width)
        for f in range(first, last):
            k = spread(f, places, n_places, lift)
            i, j = (k | zero) * width + t, (k | one) * width + t
            x, y, u, v = load(re, i), load(re, j), load(im, i), load(im, j)
            store(re, i, ar * x - ai * u + br * y - bi * v)
            store(im, i, ar * u + ai * x + br * v + bi * y)
            store(re, j, cr * x - ci * u + dr * y - di * v)
            store(im, j, cr * u + ci * x + dr * v + di * y)


@njit(**JIT)
def sum_some(pr, pi, lr, li, first, last, places, n_places, lift, zero, one, width, sign, sums, start, room):
    """As ``sum_pairs`` for the amplitudes of ``turn_some``, times ``sign``."""
    scale = fill(pr, sign)
    for t in range(0, width, lanes_of(pr)):
        for begin in range(first, last, FLUSH):
            sx, sy, sz = fill(pr, 0.0), fill(pr, 0.0), fill(pr, 0.0)
            for f in range(begin, min(begin + FLUSH, last)):
                k = spread(f, places, n_places, lift)
                i, j = (k | zero) * width + t, (k | one) * width + t
                x, y, u, v = load(pr, i), load(pr, j), load(pi, i), load(pi, j)
                e, f1, g, h = load(lr, i), load(lr, j), load(li, i), load(li, j)
                sx = sx + ((e * v - g * y) + (f1 * u - h * x))
                sy = sy + ((f1 * x + h * u) - (e * y + g * v))
                sz = sz + ((e * u - g * x) - (f1 * v - h * y))
            add_lanes(sums, start, width, t, scale * sx, room)
            add_lanes(sums, start + width, width, t, scale * sy, room)
            add_lanes(sums, start + 2 * width, width, t, scale * sz, room)


@njit(**JIT)
def turn_few(re, im, first, last, places, n_places, lift, zero, one, samples, m, at, wide):
    """``turn_some`` number by number, for bits inside a register: ``m`` has ``wide`` numbers a row."""
    for f in range(first, last):
        k = spread(f, places, n_places, lift)
        for lane in range(samples):
            i, j, t = (k | zero) * samples + lane, (k | one) * samples + lane, at + lane % wide
            x, y, u, v = re[i], re[j], im[i], im[j]
            re[i] = m[t] * x - m[4 * wide + t] * u + m[wide + t] * y - m[5 * wide + t] * v
            im[i] = m[t] * u + m[4 * wide + t] * x + m[wide + t] * v + m[5 * wide + t] * y
            re[j] = m[2 * wide + t] * x - m[6 * wide + t] * u + m[3 * wide + t] * y - m[7 * wide + t] * v
            im[j] = m[2 * wide + t] * u + m[6 * wide + t] * x + m[3 * wide + t] * v + m[7 * wide + t] * y


@njit(**JIT)
def sum_few(pr, pi, lr, li, first, last, places, n_places, lift, zero, one, samples, wide, sign, sums, start):
    """``sum_some`` number by number."""
    for f in range(first, last):
        k = spread(f, places, n_places, lift)
        for lane in range(samples):
            i, j, t = (k | zero) * samples + lane, (k | one) * samples + lane, start + lane % wide
            x, y, u, v, e, f1, g, h = pr[i], pr[j], pi[i], pi[j], lr[i], lr[j], li[i], li[j]
            sums[t] += sign * (e * v - g * y + f1 * u - h * x)
            sums[t + wide] += sign * (f1 * x + h * u - e * y - g * v)
            sums[t + 2 * wide] += sign * (e * u - g * x - f1 * v + h * y)


@njit(**JIT)
def apply_dense(re, im, first, last, places, n_places, lift, offsets, size, samples, numbers, at, inverse, work):
    """A fixed ``d x d`` matrix (or its inverse), real and then imaginary part in ``numbers`` from ``at``.

    ``offsets`` are the amplitudes of its rows; ``work`` has room for ``2 d samples`` numbers.
    """
    for f in range(first, last):
        k = spread(f, places, n_places, lift)
        for a in range(size):
            row = (k | offsets[a]) * samples
            for j in range(samples):
                work[2 * a * samples + j] = re[row + j]
                work[(2 * a + 1) * samples + j] = im[row + j]
        for a in range(size):
            row = (k | offsets[a]) * samples
            for j in range(samples):
                re[row + j] = 0
                im[row + j] = 0
            for b in range(size):
                entry = at + (b * size + a if inverse else a * size + b)
                x, y = numbers[entry], numbers[entry + size * size] * (-1.0 if inverse else 1.0)
                if x != 0 or y != 0:
                    for j in range(samples):
                        u, v = work[2 * b * samples + j], work[(2 * b + 1) * samples + j]
                        re[row + j] += x * u - y * v
                        im[row + j] += x * v + y * u


@njit(**JIT)
def grow_product(re, im, samples, n_qubits, width, v, at, thread, threads):
    """One doubling of a product state: qubit ``n_qubits`` is added above ``n_qubits`` ones, ``v`` as in ``product``."""
    half = samples << n_qubits
    if half < width:
        if thread == 0:
            for i in range(half):
                x, u, t = re[i], im[i], at + i % samples
                re[half + i] = x * v[2 * width + t] - u * v[3 * width + t]
                im[half + i] = u * v[2 * width + t] + x * v[3 * width + t]
                re[i] = x * v[t] - u * v[width + t]
                im[i] = u * v[t] + x * v[width + t]
        return
    rows = half // width
    first, last = rows * thread // threads, rows * (thread + 1) // threads
    for t in range(0, width, lanes_of(re)):
        ar, ai, cr, ci = four(v, at + t, width)
        for row in range(first, last):
            i = row * width + t
            x, u = load(re, i), load(im, i)
            store(re, half + i, cr * x - ci * u)
            store(im, half + i, cr * u + ci * x)
            store(re, i, ar * x - ai * u)
            store(im, i, ar * u + ai * x)


@njit(**JIT)
def fold_product(pr, pi, lr, li, samples, n_qubits, width, v, at, sums, start, room, thread, threads):
    """Contracts qubit ``n_qubits`` of the co-state; ``pr, pi`` hold the product of the qubits below it.

    Adds ``sum conj(co-state_b) product`` for b = 0, 1, real and imaginary, to four rows of ``sums``.
    """
    half = samples << n_qubits
    if half < width:
        if thread == 0:
            for i in range(half):
                t, x, u = i % samples, pr[i], pi[i]
                c, d, e, f = lr[i], li[i], lr[half + i], li[half + i]
                sums[start + t] += c * x + d * u
                sums[start + width + t] += c * u - d * x
                sums[start + 2 * width + t] += e * x + f * u
                sums[start + 3 * width + t] += e * u - f * x
                a, b, g, h = v[at + t], v[at + width + t], v[at + 2 * width + t], v[at + 3 * width + t]
                lr[i] = a * c + b * d + g * e + h * f
                li[i] = a * d - b * c + g * f - h * e
        return
    rows = half // width
    first, last = rows * thread // threads, rows * (thread + 1) // threads
    for t in range(0, width, lanes_of(pr)):
        ar, ai, cr, ci = four(v, at + t, width)
        for begin in range(first, last, FLUSH):
            s0, s1, s2, s3 = fill(pr, 0.0), fill(pr, 0.0), fill(pr, 0.0), fill(pr, 0.0)
            for row in range(begin, min(begin + FLUSH, last)):
                i = row * width + t
                x, u = load(pr, i), load(pi, i)
                c, d, e, f = load(lr, i), load(li, i), load(lr, half + i), load(li, half + i)
                s0 = s0 + (c * x + d * u)
                s1 = s1 + (c * u - d * x)
                s2 = s2 + (e * x + f * u)
                s3 = s3 + (e * u - f * x)
                store(lr, i, ar * c + ai * d + cr * e + ci * f)
                store(li, i, ar * d - ai * c + cr * f - ci * e)
            add_lanes(sums, start, width, t, s0, room)
            add_lanes(sums, start + width, width, t, s1, room)
            add_lanes(sums, start + 2 * width, width, t, s2, room)
            add_lanes(sums, start + 3 * width, width, t, s3, room)
