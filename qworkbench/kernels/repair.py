"""Gram matrices that shot noise has made indefinite, made positive semidefinite again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from qworkbench.errors import unknown_name

TOLERANCE = 1e-10
"""Eigenvalues above minus this, relative to the largest one, are rounding."""
HIGHAM_STEPS = 200


@dataclass(frozen=True)
class Repair:
    """A positive semidefinite matrix and what it took."""

    gram: np.ndarray
    method: str
    """What was done; ``none`` if nothing was needed."""
    min_eigenvalue: float
    """The smallest eigenvalue before."""
    n_negative: int
    """Number of negative eigenvalues before."""
    change: float
    """Root mean square change of the off-diagonal entries, in standard errors if these are known."""


def _clip(gram: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(gram)
    positive = (vectors * values.clip(0)) @ vectors.T
    norms = np.sqrt(np.diag(positive).clip(np.finfo(float).tiny))
    return positive / norms[:, None] / norms[None, :]


def _shift(gram: np.ndarray) -> np.ndarray:
    lowest = min(0.0, float(np.linalg.eigvalsh(gram)[0]))
    return (gram - lowest * np.eye(len(gram))) / (1 - lowest)


def _nearest(gram: np.ndarray) -> np.ndarray:
    # Higham 2002: projections onto the cone (with Dykstra's correction) and onto unit diagonals in turn.
    current, correction = gram.copy(), np.zeros_like(gram)
    for _ in range(HIGHAM_STEPS):
        values, vectors = np.linalg.eigh(current - correction)
        inside = (vectors * values.clip(0)) @ vectors.T
        correction = inside - (current - correction)
        previous, current = current, inside.copy()
        np.fill_diagonal(current, 1.0)
        if np.linalg.norm(current - previous) < 1e-9 * np.linalg.norm(current):
            break
    return _clip(current)


REPAIRS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"clip": _clip, "shift": _shift, "nearest": _nearest}
"""Name -> repair of a matrix of unit diagonal: negative eigenvalues to 0 and the diagonal back to 1; a multiple of the
identity added and divided out; the nearest correlation matrix (Higham 2002, IMA J. Numer. Anal. 22, 329)."""


def repair_psd(gram: ArrayLike, method: str = "auto", std_error: ArrayLike | None = None) -> Repair:
    """Make a Gram matrix positive semidefinite, its diagonal unchanged.

    Args:
        gram: Shape ``(N, N)``, symmetric, with a positive diagonal.
        method: A key of ``REPAIRS``, ``none``, or ``auto``: the one that changes the entries least, in units of their
            standard errors if these are known. A matrix that needs no repair comes back as it is.
        std_error: Standard error of each entry, shape ``(N, N)``.

    Raises:
        ValueError: If the matrix is not square, finite and symmetric, its diagonal is not positive, or the method is
            unknown.
    """
    matrix = np.asarray(gram, dtype=float)
    if matrix.ndim != 2 or not matrix.size or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(f"expected a finite square matrix, got shape {matrix.shape}")
    if not np.allclose(matrix, matrix.T, atol=1e-10) or not (np.diag(matrix) > 0).all():
        raise ValueError("expected a symmetric matrix with a positive diagonal")
    if std_error is not None and np.shape(std_error) != matrix.shape:
        raise ValueError(f"expected standard errors of shape {matrix.shape}, got {np.shape(std_error)}")
    if method not in ("auto", "none", *REPAIRS):
        raise unknown_name("repair", method, ("auto", "none", *REPAIRS))
    values = np.linalg.eigvalsh(matrix)
    lowest, n_negative = float(values[0]), int((values < -TOLERANCE * values[-1]).sum())
    if method == "none" or not n_negative:
        return Repair(matrix, "none", lowest, n_negative, 0.0)
    scale = np.sqrt(np.diag(matrix))
    unit = matrix / scale[:, None] / scale[None, :]
    names = REPAIRS if method == "auto" else (method,)
    repaired = {name: REPAIRS[name](unit) * scale[:, None] * scale[None, :] for name in names}
    changes = {name: _change(matrix, found, std_error) for name, found in repaired.items()}
    best = min(changes, key=lambda name: changes[name])
    return Repair(repaired[best], best, lowest, n_negative, changes[best])


def _change(before: np.ndarray, after: np.ndarray, std_error: ArrayLike | None) -> float:
    upper = np.triu_indices(len(before), 1)
    difference = (after - before)[upper]
    if std_error is not None:
        error = np.asarray(std_error, dtype=float)[upper]
        positive = error[error > 0]
        # Errors of 0 may come with a matrix from elsewhere, whose shots all agreed; that is no certainty.
        difference = difference / np.maximum(error, np.median(positive)) if len(positive) else difference
    return float(np.sqrt(np.mean(difference**2))) if len(difference) else 0.0
