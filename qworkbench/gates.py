"""The gates with an angle that every engine knows, by their generators.

Each gate is ``U(t) = exp(-i t H)`` with a Hermitian ``H`` whose matrix is given in Qiskit's order: the first
qubit of the gate is the least significant bit of the row index. Everything else follows from ``H``: the
matrix, the adjoint derivative ``dU/dt = -i H U`` and the parameter-shift rule.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_I, _X = np.eye(2), np.array([[0, 1], [1, 0]], complex)
_Y, _Z = np.array([[0, -1j], [1j, 0]]), np.diag([1.0 + 0j, -1.0])
_ONE: np.ndarray = np.diag([0.0 + 0j, 1.0])

GENERATORS: dict[str, np.ndarray] = {
    "rx": _X / 2,
    "ry": _Y / 2,
    "rz": _Z / 2,
    "p": -_ONE,
    "rxx": np.kron(_X, _X) / 2,
    "ryy": np.kron(_Y, _Y) / 2,
    "rzz": np.kron(_Z, _Z) / 2,
    "rzx": np.kron(_X, _Z) / 2,
    "crx": np.kron(_X / 2, _ONE),
    "cry": np.kron(_Y / 2, _ONE),
    "crz": np.kron(_Z / 2, _ONE),
    "cp": -np.kron(_ONE, _ONE),
}
"""Gate name -> generator ``H``, shape ``(2**k, 2**k)``."""


@cache
def shift_rule(name: str) -> tuple[tuple[float, float], ...]:
    """Parameter-shift rule of a gate: pairs ``(shift, coefficient)``.

    ``df/dt = sum_j c_j f(t + s_j)`` holds exactly for every expectation value ``f``, a trigonometric
    polynomial whose frequencies are the differences of the generator's eigenvalues (Wierichs et al. 2022,
    "General parameter-shift rules for quantum gradients", eq. 6: equidistant frequencies).

    Raises:
        ValueError: If the gate has no known rule.
    """
    if name not in GENERATORS:
        raise ValueError(f"no parameter-shift rule is known for the gate {name!r}; known: {sorted(GENERATORS)}")
    energies = np.linalg.eigvalsh(GENERATORS[name])
    gaps = np.unique(np.round(np.abs(energies[:, None] - energies[None, :]), 12))
    frequencies = gaps[gaps > 0]
    unit, count = float(frequencies[0]), len(frequencies)
    if not np.allclose(frequencies / unit, np.arange(1, count + 1)):
        raise ValueError(f"the frequencies {frequencies} of the gate {name!r} are not equidistant")
    angles = (2 * np.arange(1, 2 * count + 1) - 1) * np.pi / (2 * count)
    signs = np.where(np.arange(2 * count) % 2 == 0, 1.0, -1.0)
    coefficients = unit * signs / (4 * count * np.sin(angles / 2) ** 2)
    # Shifts beyond half a turn go the short way round, which keeps angles small on hardware.
    period = 2 * np.pi / unit
    shifts = (angles / unit + period / 2) % period - period / 2
    return tuple((float(s), float(c)) for s, c in zip(shifts, coefficients, strict=True))
