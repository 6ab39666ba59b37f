"""Where a thread works: entries of ``place``, its planes, its share, and the turns of its samples."""

from __future__ import annotations

from numba import njit

from qworkbench.engines.statevector.native.registers import JIT, after, fill, lanes_of, load

FIRST, SAMPLES, SIZE, BLOCK, N_QUBITS, THREAD, THREADS, PADDED = range(8)
"""Entries of ``place``: the chunk's first sample, samples, numbers of a plane, log2 of a block's numbers, qubits, this
thread, how many share the chunk, samples of all chunks. Then where parts of ``scratch`` begin, and of ``sums``. What
``sums`` has at ``NORM`` times the planes is the state, and the co-state; see ``fused.turn_two``."""
MATRICES, TABLE, FACTOR, COSINE, SINE, ALONE, REGISTER, WORK = range(8, 16)
RUN_SUMS, PRODUCT_SUMS, NORM = range(16, 19)
STATE = 19
"""The entry that says in which pair of planes the last walk forward has left the state."""


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
