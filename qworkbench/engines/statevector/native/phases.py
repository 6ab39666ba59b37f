"""Loops for what is diagonal and for what reorders: phases, products of Zs, and moves of amplitudes.

A diagonal is a sum over products of at most two Zs, and ``pairs[q * n + p]`` for ``p <= q`` says which coefficient
belongs to ``Z_q Z_p`` (``Z_q`` alone if equal), or -1. All loops go block by block, ``2**low`` amplitudes that share
their higher bits ``high``: within a block a table is made by doubling and a signed sum by halving, about two operations
an amplitude whatever the number of products. ``wide`` is how many samples a table tells apart: one if all share it.
"""

from __future__ import annotations

from numba import njit

from qworkbench.engines.statevector.native.registers import JIT, PART, after, fill, lanes_of, load, store


@njit(**JIT)
def sign_of(high, bit):
    """The value of Z on a bit of the block's number."""
    return 1.0 - 2.0 * ((high >> bit) & 1)


@njit(**JIT)
def repeat(x, width):
    """The first ``width`` numbers once more."""
    for j in range(width):
        x[width + j] = x[j]


@njit(**JIT)
def scale(xr, xi, yr, yi, count, c, s, wide, sign):
    """``y[j] = x[j] (c + i sign s)[j % wide]`` for ``j < count``; ``y`` may be ``x``."""
    lanes = lanes_of(xr)
    if count < lanes or (wide < lanes and wide > 1):
        for j in range(count):
            a, b, k = xr[j], xi[j], j % wide
            yr[j] = a * c[k] - sign * b * s[k]
            yi[j] = a * s[k] * sign + b * c[k]
        return
    turn = fill(xr, sign)
    if wide == 1:
        x, y = fill(xr, c[0]), turn * fill(xr, s[0])
        for j in range(0, count, lanes):
            a, b = load(xr, j), load(xi, j)
            store(yr, j, a * x - b * y)
            store(yi, j, a * y + b * x)
        return
    for start in range(0, count, wide):
        for k in range(0, wide, lanes):
            a, b = load(xr, start + k), load(xi, start + k)
            x, y = load(c, k), turn * load(s, k)
            store(yr, start + k, a * x - b * y)
            store(yi, start + k, a * y + b * x)


@njit(**JIT)
def scale_by(re, im, count, c, s, row, wide, sign):
    """``scale`` in place, by the row of ``wide`` numbers of ``c`` and ``s``."""
    scale(re, im, re, im, count, after(c, row * wide), after(s, row * wide), wide, sign)


@njit(**JIT)
def crosses(low, n_qubits, pairs):
    """Whether a product joins a bit of the block's number with one inside the block."""
    for q in range(low, n_qubits):
        for p in range(low):
            if pairs[q * n_qubits + p] >= 0:
                return True
    return False


@njit(**JIT)
def high_phase(low, n_qubits, high, wide, pairs, c, s, tr, ti):
    """The part of a block's phase that its number alone decides, into the first ``wide`` numbers of ``tr, ti``."""
    for lane in range(wide):
        tr[lane], ti[lane] = 1, 0
    for q in range(low, n_qubits):
        for p in range(low, q + 1):
            if pairs[q * n_qubits + p] >= 0:
                sign = sign_of(high, q - low) * (sign_of(high, p - low) if p < q else 1.0)
                scale_by(tr, ti, wide, c, s, pairs[q * n_qubits + p], wide, -sign)


@njit(**JIT)
def phase_table(low, n_qubits, high, wide, pairs, c, s, tr, ti, fr, fi):
    """``exp(-i sum_m a_m Z_m)`` of a block: widens its first ``wide`` numbers (``high_phase``) to ``2**low * wide``.

    ``c, s`` hold the cosine and sine of each product's angle, ``wide`` numbers each; ``fr, fi`` is room for half a
    table.
    """
    for q in range(low):
        half = wide << q
        for lane in range(wide):
            fr[lane], fi[lane] = 1, 0
        if pairs[q * n_qubits + q] >= 0:
            scale_by(fr, fi, wide, c, s, pairs[q * n_qubits + q], wide, -1.0)
        for p in range(low, n_qubits):
            if pairs[p * n_qubits + q] >= 0:
                scale_by(fr, fi, wide, c, s, pairs[p * n_qubits + q], wide, -sign_of(high, p - low))
        width = factor_below(q, n_qubits, wide, pairs, c, s, fr, fi)
        while width < half and width < lanes_of(tr):
            repeat(fr, width)
            repeat(fi, width)
            width *= 2
        scale(tr, ti, after(tr, half), after(ti, half), half, fr, fi, width, -1.0)
        scale(tr, ti, tr, ti, half, fr, fi, width, 1.0)


@njit(**PART)
def factor_below(q, n_qubits, wide, pairs, c, s, fr, fi):
    """Widens the factor of qubit ``q`` by its pairs with lower qubits; its period."""
    last, width = -1, wide
    for p in range(q):
        if pairs[q * n_qubits + p] >= 0:
            last = p
    for p in range(last + 1):
        if pairs[q * n_qubits + p] < 0:
            repeat(fr, width)
            repeat(fi, width)
        else:
            at = pairs[q * n_qubits + p] * wide
            scale(fr, fi, after(fr, width), after(fi, width), width, after(c, at), after(s, at), wide, 1.0)
            scale(fr, fi, fr, fi, width, after(c, at), after(s, at), wide, -1.0)
        width *= 2
    return width


@njit(**JIT)
def weight_table(low, n_qubits, high, wide, pairs, w, table, f):
    """``sum_m w_m Z_m`` of a block: the additive twin of ``phase_table``."""
    for lane in range(wide):
        value = 0.0
        for q in range(low, n_qubits):
            for p in range(low, q + 1):
                if pairs[q * n_qubits + p] >= 0:
                    sign = sign_of(high, q - low) * (sign_of(high, p - low) if p < q else 1.0)
                    value += sign * w[pairs[q * n_qubits + p] * wide + lane]
        table[lane] = value
    for q in range(low):
        half = wide << q
        for lane in range(wide):
            value = w[pairs[q * n_qubits + q] * wide + lane] if pairs[q * n_qubits + q] >= 0 else 0.0
            for p in range(low, n_qubits):
                if pairs[p * n_qubits + q] >= 0:
                    value += sign_of(high, p - low) * w[pairs[p * n_qubits + q] * wide + lane]
            f[lane] = value
        width = wide
        for p in range(q):
            if pairs[q * n_qubits + p] < 0:
                repeat(f, width)
            else:
                for start in range(0, width, wide):
                    for lane in range(wide):
                        value, more = f[start + lane], w[pairs[q * n_qubits + p] * wide + lane]
                        f[start + lane] = value + more
                        f[width + start + lane] = value - more
            width *= 2
        for j in range(half):
            a, b = table[j], f[j]
            table[j] = a + b
            table[half + j] = a - b


@njit(**JIT)
def signed_sums(low, n_qubits, high, wide, pairs, t, work, alone, sums):
    """Adds ``sum_k Z_m(k) t_k`` over a block to ``sums[m]`` for every product; ``t`` is used up.

    Args:
        low: See the module, as ``high``, ``wide`` and ``pairs``.
        n_qubits: Number of qubits.
        high: See ``low``.
        wide: See ``low``.
        pairs: See ``low``.
        t: Length ``2**low * wide``.
        work: Room for half of it.
        alone: Room for ``n * wide`` sums of single Zs.
        sums: ``wide`` numbers a product, double precision.
    """
    for q in range(low - 1, -1, -1):
        half = wide << q
        for j in range(half):
            work[j] = t[j] - t[half + j]
            t[j] += t[half + j]
        width = half
        for p in range(q - 1, -1, -1):
            width //= 2
            if pairs[q * n_qubits + p] >= 0:
                add_difference(work, width, wide, sums, pairs[q * n_qubits + p] * wide)
            for j in range(width):
                work[j] += work[width + j]
        for lane in range(wide):
            alone[q * wide + lane] = work[lane]
    for q in range(n_qubits):
        for p in range(q + 1):
            row = pairs[q * n_qubits + p]
            if row >= 0 and (p == q or q >= low):
                above = 1.0 if q < low else sign_of(high, q - low)
                if p >= low and p < q:
                    above *= sign_of(high, p - low)
                for lane in range(wide):
                    sums[row * wide + lane] += above * (alone[p * wide + lane] if p < low else t[lane])


@njit(**PART)
def add_difference(work, width, wide, out, at):
    """Adds ``sum work[:width] - work[width:2 width]`` of each sample to ``out`` from ``at``."""
    for start in range(0, width, wide):
        for lane in range(wide):
            out[at + lane] += work[start + lane] - work[width + start + lane]


@njit(**JIT)
def target_of(high, low, n_qubits, move):
    """Where the first amplitude of a block goes; ``move`` is the shift, and then where each bit goes."""
    target = move[0]
    for q in range(low, n_qubits):
        if (high >> (q - low)) & 1:
            target ^= move[1 + q]
    return target


@njit(**JIT)
def scatter(old, new, target, spots, count, samples):
    """``new[target ^ spots[k]] = old[k]`` for ``k < count``, in rows of ``samples``."""
    lanes = lanes_of(old)
    if samples == 1:
        for k in range(count):
            new[target ^ spots[k]] = old[k]
    elif samples < lanes:
        for k in range(count):
            for lane in range(samples):
                new[(target ^ spots[k]) * samples + lane] = old[k * samples + lane]
    else:
        for k in range(count):
            for lane in range(0, samples, lanes):
                store(new, (target ^ spots[k]) * samples + lane, load(old, k * samples + lane))


@njit(**JIT)
def gather(new, target, spots, old, count, samples):
    """Undoes ``scatter``."""
    lanes = lanes_of(old)
    if samples == 1:
        for k in range(count):
            old[k] = new[target ^ spots[k]]
    elif samples < lanes:
        for k in range(count):
            for lane in range(samples):
                old[k * samples + lane] = new[(target ^ spots[k]) * samples + lane]
    else:
        for k in range(count):
            for lane in range(0, samples, lanes):
                store(old, k * samples + lane, load(new, (target ^ spots[k]) * samples + lane))


@njit(**JIT)
def apply_table(re, im, base, count, samples, wide, tr, ti, sign):
    """Multiplies ``count`` amplitudes from ``base`` by a table (its conjugate if ``sign`` is -1)."""
    lanes = lanes_of(re)
    if wide == samples:
        xr, xi, numbers = after(re, base * samples), after(im, base * samples), count * samples
        scale(xr, xi, xr, xi, numbers, tr, ti, numbers, sign)
        return
    for k in range(count):
        x, y = fill(re, tr[k]), fill(re, sign * ti[k])
        for i in range((base + k) * samples, (base + k + 1) * samples, lanes):
            a, b = load(re, i), load(im, i)
            store(re, i, a * x - b * y)
            store(im, i, a * y + b * x)


@njit(**JIT)
def fill_register(fr, fi, wide):
    """Repeats ``wide`` numbers, if they are more than one, until they fill a register; how many there are then."""
    while 1 < wide < lanes_of(fr):
        repeat(fr, wide)
        repeat(fi, wide)
        wide *= 2
    return wide


@njit(**JIT)
def imaginary_overlap(pr, pi, lr, li, base, count, samples, wide, t):
    """``Im(conj(co-state) state)`` of ``count`` amplitudes from ``base``, ``wide`` numbers each.

    They are the samples, or partial sums over them that fill a register.
    """
    lanes = lanes_of(pr)
    if wide < lanes:
        for j in range(count * samples):
            i = base * samples + j
            t[j] = lr[i] * pi[i] - li[i] * pr[i]
        return
    for k in range(count):
        row = (base + k) * samples
        for lane in range(0, wide, lanes):
            summed = fill(pr, 0.0)
            for i in range(row + lane, row + samples, wide):
                summed = summed + load(lr, i) * load(pi, i) - load(li, i) * load(pr, i)
            store(t, k * wide + lane, summed)


@njit(**JIT)
def parity(k):
    """Number of one bits, modulo 2."""
    k ^= k >> 32
    k ^= k >> 16
    k ^= k >> 8
    k ^= k >> 4
    k ^= k >> 2
    k ^= k >> 1
    return k & 1


@njit(**JIT)
def pauli_value(pr, pi, first, last, samples, x, z, turns, out, at):
    """``<P>`` of each sample over amplitudes ``first .. last``, added to ``out`` from ``at``.

    ``P`` is ``(-i)**turns Z^z X^x``.
    """
    for k in range(first, last):
        sign = 1.0 if parity(k & z) == 0 else -1.0
        if turns == 2 or turns == 3:
            sign = -sign
        row, other = k * samples, (k ^ x) * samples
        for j in range(samples):
            a, b, c, d = pr[row + j], pi[row + j], pr[other + j], pi[other + j]
            # Real part of conj(a + ib) (-i)**turns (c + id).
            out[at + j] += sign * (a * c + b * d if turns % 2 == 0 else a * d - b * c)


@njit(**JIT)
def pauli_add(pr, pi, first, last, samples, x, z, turns, weight, at, lr, li):
    """``co-state += weight P state``, with a weight a sample from ``at``."""
    for k in range(first, last):
        sign = 1.0 if parity(k & z) == 0 else -1.0
        if turns == 2 or turns == 3:
            sign = -sign
        row, other = k * samples, (k ^ x) * samples
        for j in range(samples):
            c, d, w = pr[other + j], pi[other + j], weight[at + j] * sign
            if turns % 2 == 0:
                lr[row + j] += w * c
                li[row + j] += w * d
            else:
                lr[row + j] += w * d
                li[row + j] -= w * c
