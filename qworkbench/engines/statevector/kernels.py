"""Compiled loops over a chunk of states. Real and imaginary parts lie apart, the samples of a chunk innermost.

An array of ``2**n * lanes`` numbers is treated as flat: the two halves of a rotation on qubit ``q`` are contiguous runs
of ``2**q * lanes``, which the compiler turns into vector instructions.
"""

from __future__ import annotations

from typing import Any

from numba import njit

JIT: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy"}


@njit(**JIT)
def rotate_real(v, run, a, b, c, d):
    """A real shared 2 x 2 matrix on one plane."""
    for base in range(0, v.size, 2 * run):
        lo, hi = v[base : base + run], v[base + run : base + 2 * run]
        for j in range(run):
            x, y = lo[j], hi[j]
            lo[j] = a * x + b * y
            hi[j] = c * x + d * y


@njit(**JIT)
def rotate_complex(re, im, run, ar, ai, br, bi, cr, ci, dr, di):
    """A complex shared 2 x 2 matrix."""
    for base in range(0, re.size, 2 * run):
        lr, hr = re[base : base + run], re[base + run : base + 2 * run]
        li, hi = im[base : base + run], im[base + run : base + 2 * run]
        for j in range(run):
            xr, xi, yr, yi = lr[j], li[j], hr[j], hi[j]
            lr[j] = ar * xr - ai * xi + br * yr - bi * yi
            li[j] = ar * xi + ai * xr + br * yi + bi * yr
            hr[j] = cr * xr - ci * xi + dr * yr - di * yi
            hi[j] = cr * xi + ci * xr + dr * yi + di * yr


@njit(**JIT)
def rotate_lanes(re, im, run, lanes, m):
    """A 2 x 2 matrix a sample: ``m`` of shape ``(8, lanes)``."""
    ar, ai, br, bi, cr, ci, dr, di = m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7]
    for base in range(0, re.size, 2 * run):
        for row in range(base, base + run, lanes):
            lr, hr = re[row : row + lanes], re[row + run : row + run + lanes]
            li, hi = im[row : row + lanes], im[row + run : row + run + lanes]
            for j in range(lanes):
                xr, xi, yr, yi = lr[j], li[j], hr[j], hi[j]
                lr[j] = ar[j] * xr - ai[j] * xi + br[j] * yr - bi[j] * yi
                li[j] = ar[j] * xi + ai[j] * xr + br[j] * yi + bi[j] * yr
                hr[j] = cr[j] * xr - ci[j] * xi + dr[j] * yr - di[j] * yi
                hi[j] = cr[j] * xi + ci[j] * xr + dr[j] * yi + di[j] * yr


@njit(**JIT)
def overlap_shared(pr, pi, lr, li, run):
    """The three numbers that every angle's slope needs, summed over amplitudes and samples.

    With ``G[a, b] = sum conj(costate_a) state_b``: ``Im(G01 + G10), Re(G01 - G10), Im(G00 - G11)``.
    """
    x, y, z = 0.0, 0.0, 0.0
    step = min(run, 512)
    for base in range(0, pr.size, 2 * run):
        for start in range(base, base + run, step):
            p0r, p1r = pr[start : start + step], pr[start + run : start + run + step]
            p0i, p1i = pi[start : start + step], pi[start + run : start + run + step]
            l0r, l1r = lr[start : start + step], lr[start + run : start + run + step]
            l0i, l1i = li[start : start + step], li[start + run : start + run + step]
            sx, sy, sz = pr[0] * 0, pr[0] * 0, pr[0] * 0
            for j in range(min(step, base + run - start)):
                sx += l0r[j] * p1i[j] - l0i[j] * p1r[j] + l1r[j] * p0i[j] - l1i[j] * p0r[j]
                sy += l0r[j] * p1r[j] + l0i[j] * p1i[j] - l1r[j] * p0r[j] - l1i[j] * p0i[j]
                sz += l0r[j] * p0i[j] - l0i[j] * p0r[j] - l1r[j] * p1i[j] + l1i[j] * p1r[j]
            x += sx
            y += sy
            z += sz
    return x, y, z


@njit(**JIT)
def overlap_real(pr, pi, lr, li, run):
    """``Re(G01 - G10)`` alone: all that a real rotation needs."""
    y = 0.0
    step = min(run, 512)
    for base in range(0, pr.size, 2 * run):
        for start in range(base, base + run, step):
            p0r, p1r = pr[start : start + step], pr[start + run : start + run + step]
            p0i, p1i = pi[start : start + step], pi[start + run : start + run + step]
            l0r, l1r = lr[start : start + step], lr[start + run : start + run + step]
            l0i, l1i = li[start : start + step], li[start + run : start + run + step]
            sy = pr[0] * 0
            for j in range(min(step, base + run - start)):
                sy += l0r[j] * p1r[j] + l0i[j] * p1i[j] - l1r[j] * p0r[j] - l1i[j] * p0i[j]
            y += sy
    return y


@njit(**JIT)
def overlap_lanes(pr, pi, lr, li, run, lanes, g, sums):
    """As ``overlap_shared`` for each sample: added to ``g`` of shape ``(3, lanes)``, float64.

    ``sums`` of shape ``(3, lanes)`` gathers a few rows at a time in the state's own precision.
    """
    x, y, z = sums[0], sums[1], sums[2]
    gathered = 0
    sums[:] = 0
    for base in range(0, pr.size, 2 * run):
        for row in range(base, base + run, lanes):
            p0r, p1r = pr[row : row + lanes], pr[row + run : row + run + lanes]
            p0i, p1i = pi[row : row + lanes], pi[row + run : row + run + lanes]
            l0r, l1r = lr[row : row + lanes], lr[row + run : row + run + lanes]
            l0i, l1i = li[row : row + lanes], li[row + run : row + run + lanes]
            for j in range(lanes):
                x[j] += l0r[j] * p1i[j] - l0i[j] * p1r[j] + l1r[j] * p0i[j] - l1i[j] * p0r[j]
                y[j] += l0r[j] * p1r[j] + l0i[j] * p1i[j] - l1r[j] * p0r[j] - l1i[j] * p0i[j]
                z[j] += l0r[j] * p0i[j] - l0i[j] * p0r[j] - l1r[j] * p1i[j] + l1i[j] * p1r[j]
            gathered += 1
            if gathered == 64:
                for m in range(3):
                    for j in range(lanes):
                        g[m, j] += sums[m, j]
                sums[:] = 0
                gathered = 0
    for m in range(3):
        for j in range(lanes):
            g[m, j] += sums[m, j]


@njit(**JIT)
def spread(index, qubits):
    """``index`` with a zero bit put in at each of the (ascending) ``qubits``."""
    for q in qubits:
        low = index & ((1 << q) - 1)
        index = ((index >> q) << (q + 1)) | low
    return index


@njit(**JIT)
def apply_many(re, im, lanes, places, offsets, mr, mi, per_lane, work):
    """A dense ``d x d`` matrix: ``mr``, ``mi`` of shape ``(d, d, lanes)`` if ``per_lane``, else ``(d, d, 1)``.

    ``places`` are the qubits, ascending; ``offsets`` the amplitude offset of each local index.
    """
    size = len(offsets)
    for group in range((re.size // lanes) // size):
        first = spread(group, places)
        for a in range(size):
            row = (first + offsets[a]) * lanes
            for j in range(lanes):
                work[0, a, j] = re[row + j]
                work[1, a, j] = im[row + j]
        for a in range(size):
            row = (first + offsets[a]) * lanes
            outr, outi = re[row : row + lanes], im[row : row + lanes]
            for j in range(lanes):
                outr[j] = 0
                outi[j] = 0
            for b in range(size):
                wr, wi = work[0, b], work[1, b]
                if per_lane:
                    ur, ui = mr[a, b], mi[a, b]
                    for j in range(lanes):
                        outr[j] += ur[j] * wr[j] - ui[j] * wi[j]
                        outi[j] += ur[j] * wi[j] + ui[j] * wr[j]
                else:
                    sr, si = mr[a, b, 0], mi[a, b, 0]
                    if sr != 0 or si != 0:
                        for j in range(lanes):
                            outr[j] += sr * wr[j] - si * wi[j]
                            outi[j] += sr * wi[j] + si * wr[j]


@njit(**JIT)
def overlap_many(pr, pi, lr, li, lanes, places, offsets, gr, gi):
    """``G[a, b] = sum conj(costate_a) state_b`` for each sample, added to arrays of shape ``(d, d, lanes)``."""
    size = len(offsets)
    for group in range((pr.size // lanes) // size):
        first = spread(group, places)
        for a in range(size):
            row = (first + offsets[a]) * lanes
            ar, ai = lr[row : row + lanes], li[row : row + lanes]
            for b in range(size):
                row = (first + offsets[b]) * lanes
                br, bi = pr[row : row + lanes], pi[row : row + lanes]
                xr, xi = gr[a, b], gi[a, b]
                for j in range(lanes):
                    xr[j] += ar[j] * br[j] + ai[j] * bi[j]
                    xi[j] += ar[j] * bi[j] - ai[j] * br[j]


@njit(**JIT)
def phase_table(n_qubits, wide, pairs, cosine, sine, tr, ti, fr, fi):
    """``exp(-i sum_m a_m Z_m)`` of every amplitude by doubling: about two products an amplitude.

    Args:
        n_qubits: Number of qubits.
        wide: Lanes of the table: the samples' number, or 1 if all share it.
        pairs: ``pairs[q, p]`` for ``p <= q`` is the row of ``cosine`` that belongs to ``Z_q Z_p`` (``Z_q`` if equal),
            or -1.
        cosine: Of the masks' angles, shape ``(masks, wide)``.
        sine: Likewise.
        tr: The table, flat ``2**n * wide``; with ``ti`` the imaginary part.
        ti: See ``tr``.
        fr: Room for half a table; with ``fi``.
        fi: See ``fr``.
    """
    tr[:wide] = 1
    ti[:wide] = 0
    for q in range(n_qubits):
        half = (1 << q) * wide
        row = pairs[q, q]
        if row < 0:
            fr[:wide] = 1
            fi[:wide] = 0
        else:
            fr[:wide] = cosine[row]
            fi[:wide] = -sine[row]
        last = -1
        for p in range(q):
            if pairs[q, p] >= 0:
                last = p
        width = wide
        for p in range(last + 1):
            row = pairs[q, p]
            if row < 0:
                fr[width : 2 * width] = fr[:width]
                fi[width : 2 * width] = fi[:width]
            else:
                for start in range(0, width, wide):
                    turn_both(
                        fr[start : start + wide], fi[start : start + wide],
                        fr[width + start : width + start + wide], fi[width + start : width + start + wide],
                        cosine[row], sine[row],
                    )  # fmt: skip
            width *= 2
        for start in range(0, half, width):
            spread_phase(
                tr[start : start + width], ti[start : start + width],
                tr[half + start : half + start + width], ti[half + start : half + start + width], fr, fi,
            )  # fmt: skip


@njit(**JIT)
def turn_both(xr, xi, yr, yi, c, s):
    """``x, y = x e^{-ia}, x e^{ia}``."""
    for j in range(len(xr)):
        a, b = xr[j], xi[j]
        xr[j] = a * c[j] + b * s[j]
        xi[j] = b * c[j] - a * s[j]
        yr[j] = a * c[j] - b * s[j]
        yi[j] = b * c[j] + a * s[j]


@njit(**JIT)
def spread_phase(xr, xi, yr, yi, fr, fi):
    """``x, y = x f, x conj(f)``."""
    for j in range(len(xr)):
        a, b, c, d = xr[j], xi[j], fr[j], fi[j]
        xr[j] = a * c - b * d
        xi[j] = a * d + b * c
        yr[j] = a * c + b * d
        yi[j] = b * c - a * d


@njit(**JIT)
def signed_sums(n_qubits, wide, pairs, t, work, out):
    """``sum_k Z_m(k) t_k`` of every mask by halving; ``t`` is used up.

    Args:
        n_qubits: Number of qubits.
        wide: Lanes.
        pairs: See ``phase_table``.
        t: Flat ``2**n * wide``.
        work: Room for half of it.
        out: Added to, shape ``(masks, wide)``.
    """
    for q in range(n_qubits - 1, -1, -1):
        half = (1 << q) * wide
        needed = False
        for p in range(q + 1):
            if pairs[q, p] >= 0:
                needed = True
        if needed:
            for j in range(half):
                work[j] = t[j] - t[half + j]
            width = half
            for p in range(q - 1, -1, -1):
                width //= 2
                row = pairs[q, p]
                if row >= 0:
                    for start in range(0, width, wide):
                        for j in range(wide):
                            out[row, j] += work[start + j] - work[width + start + j]
                for j in range(width):
                    work[j] += work[width + j]
            if pairs[q, q] >= 0:
                for j in range(wide):
                    out[pairs[q, q], j] += work[j]
        for j in range(half):
            t[j] += t[half + j]


@njit(**JIT)
def phase_and_move(re, im, newr, newi, lanes, wide, tr, ti, has_phase, source, moves):
    """``new[j] = phase[source[j]] * old[source[j]]``."""
    for k in range(re.size // lanes):
        origin = source[k] if moves else k
        xr, xi = re[origin * lanes : (origin + 1) * lanes], im[origin * lanes : (origin + 1) * lanes]
        yr, yi = newr[k * lanes : (k + 1) * lanes], newi[k * lanes : (k + 1) * lanes]
        if not has_phase:
            for j in range(lanes):
                yr[j] = xr[j]
                yi[j] = xi[j]
        elif wide == 1:
            c, s = tr[origin], ti[origin]
            for j in range(lanes):
                a, b = xr[j], xi[j]
                yr[j] = a * c - b * s
                yi[j] = a * s + b * c
        else:
            c, s = tr[origin * lanes : (origin + 1) * lanes], ti[origin * lanes : (origin + 1) * lanes]
            for j in range(lanes):
                a, b = xr[j], xi[j]
                yr[j] = a * c[j] - b * s[j]
                yi[j] = a * s[j] + b * c[j]


@njit(**JIT)
def move_and_unphase(newr, newi, re, im, lanes, wide, tr, ti, has_phase, source, moves):
    """Undoes ``phase_and_move``."""
    for k in range(re.size // lanes):
        origin = source[k] if moves else k
        xr, xi = newr[k * lanes : (k + 1) * lanes], newi[k * lanes : (k + 1) * lanes]
        yr, yi = re[origin * lanes : (origin + 1) * lanes], im[origin * lanes : (origin + 1) * lanes]
        if not has_phase:
            for j in range(lanes):
                yr[j] = xr[j]
                yi[j] = xi[j]
        elif wide == 1:
            c, s = tr[origin], -ti[origin]
            for j in range(lanes):
                a, b = xr[j], xi[j]
                yr[j] = a * c - b * s
                yi[j] = a * s + b * c
        else:
            c, s = tr[origin * lanes : (origin + 1) * lanes], ti[origin * lanes : (origin + 1) * lanes]
            for j in range(lanes):
                a, b = xr[j], xi[j]
                yr[j] = a * c[j] + b * s[j]
                yi[j] = b * c[j] - a * s[j]


@njit(**JIT)
def imaginary_overlap(pr, pi, lr, li, lanes, wide, t):
    """``Im(conj(costate) state)`` of every amplitude, summed over the samples if ``wide`` is 1."""
    if wide == lanes:
        for j in range(pr.size):
            t[j] = lr[j] * pi[j] - li[j] * pr[j]
        return
    for k in range(pr.size // lanes):
        row, total = k * lanes, pr[0] * 0
        for j in range(row, row + lanes):
            total += lr[j] * pi[j] - li[j] * pr[j]
        t[k] = total


@njit(**JIT)
def product_state(re, im, lanes, n_qubits, v):
    """The tensor product of one-qubit states: ``v`` of shape ``(n, 4, lanes)`` holds re0, im0, re1, im1."""
    for j in range(lanes):
        re[j] = 1
        im[j] = 0
    for q in range(n_qubits):
        half = (1 << q) * lanes
        ar, ai, br, bi = v[q, 0], v[q, 1], v[q, 2], v[q, 3]
        for row in range(0, half, lanes):
            xr, xi = re[row : row + lanes], im[row : row + lanes]
            yr, yi = re[half + row : half + row + lanes], im[half + row : half + row + lanes]
            for j in range(lanes):
                a, b = xr[j], xi[j]
                yr[j] = a * br[j] - b * bi[j]
                yi[j] = a * bi[j] + b * br[j]
                xr[j] = a * ar[j] - b * ai[j]
                xi[j] = a * ai[j] + b * ar[j]


@njit(**JIT)
def product_gradient(pr, pi, lr, li, lanes, n_qubits, v, g):
    """``g[q, b] = sum conj(costate) (state with qubit q replaced by |b>)``, shape ``(n, 4, lanes)`` as in ``v``.

    ``pr, pi`` are overwritten by partial products, the costate by its contractions.
    """
    # The product of the qubits below q is made anew for each q: together that is as much work as one state.
    for q in range(n_qubits - 1, -1, -1):
        half = (1 << q) * lanes
        product_state(pr, pi, lanes, q, v)
        ar, ai, br, bi = v[q, 0], v[q, 1], v[q, 2], v[q, 3]
        g0r, g0i, g1r, g1i = g[q, 0], g[q, 1], g[q, 2], g[q, 3]
        for row in range(0, half, lanes):
            xr, xi = pr[row : row + lanes], pi[row : row + lanes]
            l0r, l0i = lr[row : row + lanes], li[row : row + lanes]
            l1r, l1i = lr[half + row : half + row + lanes], li[half + row : half + row + lanes]
            for j in range(lanes):
                a, b, c, d, e, f = xr[j], xi[j], l0r[j], l0i[j], l1r[j], l1i[j]
                g0r[j] += c * a + d * b
                g0i[j] += c * b - d * a
                g1r[j] += e * a + f * b
                g1i[j] += e * b - f * a
                l0r[j] = ar[j] * c + ai[j] * d + br[j] * e + bi[j] * f
                l0i[j] = ar[j] * d - ai[j] * c + br[j] * f - bi[j] * e


@njit(**JIT)
def weight_table(n_qubits, lanes, pairs, weight, w, work):
    """``sum_m weight_m Z_m(k)`` of every amplitude by doubling; the additive twin of ``phase_table``."""
    for j in range(lanes):
        w[j] = 0
    for q in range(n_qubits):
        half = (1 << q) * lanes
        last = -1
        for p in range(q):
            if pairs[q, p] >= 0:
                last = p
        row = pairs[q, q]
        for j in range(lanes):
            work[j] = weight[row, j] if row >= 0 else 0
        width = lanes
        for p in range(q):
            if p > last:
                # Nothing depends on the higher bits any more, but the table must be as long as the half.
                work[width : 2 * width] = work[:width]
            else:
                row = pairs[q, p]
                if row < 0:
                    work[width : 2 * width] = work[:width]
                else:
                    for start in range(0, width, lanes):
                        for j in range(lanes):
                            a = work[start + j]
                            work[start + j] = a + weight[row, j]
                            work[width + start + j] = a - weight[row, j]
            width *= 2
        for j in range(half):
            a, b = w[j], work[j]
            w[j] = a + b
            w[half + j] = a - b


@njit(**JIT)
def pauli_value(pr, pi, lanes, x, z, turns, out):
    """``<P>`` of each sample, added to ``out``, for ``P = (-i)**turns Z^z X^x``."""
    for k in range(pr.size // lanes):
        sign = 1.0 if parity(k & z) == 0 else -1.0
        row, other = k * lanes, (k ^ x) * lanes
        for j in range(lanes):
            a, b, c, d = pr[row + j], pi[row + j], pr[other + j], pi[other + j]
            # Real part of conj(a + ib) (-i)**turns (c + id).
            if turns % 2 == 0:
                value = a * c + b * d
            else:
                value = a * d - b * c
            out[j] += -sign * value if turns == 2 or turns == 3 else sign * value


@njit(**JIT)
def pauli_add(pr, pi, lanes, x, z, turns, weight, lr, li):
    """``costate += weight P state`` with ``weight`` of shape ``(lanes,)``."""
    for k in range(pr.size // lanes):
        sign = 1.0 if parity(k & z) == 0 else -1.0
        row, other = k * lanes, (k ^ x) * lanes
        for j in range(lanes):
            c, d, w = pr[other + j], pi[other + j], weight[j] * sign
            if turns == 0:
                lr[row + j] += w * c
                li[row + j] += w * d
            elif turns == 1:
                lr[row + j] += w * d
                li[row + j] -= w * c
            elif turns == 2:
                lr[row + j] -= w * c
                li[row + j] -= w * d
            else:
                lr[row + j] -= w * d
                li[row + j] += w * c


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
