"""Values of Pauli strings, and the co-state that they start the way back with."""

from __future__ import annotations

from numba import njit

from qworkbench.engines.statevector.native import phases
from qworkbench.engines.statevector.native.places import (
    ALONE,
    BLOCK,
    FACTOR,
    N_QUBITS,
    SAMPLES,
    TABLE,
    THREADS,
    log2,
    pair_of,
    share,
)
from qworkbench.engines.statevector.native.registers import JIT, PART, after
from qworkbench.engines.statevector.native.team import meet


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


@njit(**PART)
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


@njit(**PART)
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
