"""How far a quantum kernel is from classical ones: best fits, geometric difference, model complexity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform

from qworkbench.kernels.training import alignment

TRAINING_LIMIT = 0.045
"""Largest share of training error that the regularisation may cost; see ``geometric_difference``."""
RIDGES = np.logspace(-8, 1, 28)
NULL = 1e-12
"""Eigenvalues below this share of the largest are rounding."""
WIDTHS = np.logspace(-2, 2, 17)
"""Factors on ``1 / median squared distance``: where the width of radial kernels is looked for."""


def classical_family(X: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> Gram matrix of linear, polynomial, RBF and Laplacian kernels on the data as they are."""
    inner, squared = X @ X.T, squareform(pdist(X, "sqeuclidean"))
    unit, block = 1 / median_distance(squared), squareform(pdist(X, "cityblock"))
    family = {"linear": inner} | {f"polynomial, degree {d}": (1 + inner / X.shape[1]) ** d for d in (2, 3)}
    family |= {f"RBF, gamma {unit * w:.3g}": np.exp(-unit * w * squared) for w in WIDTHS}
    slope = 1 / median_distance(block)
    return family | {f"Laplacian, gamma {slope * w:.3g}": np.exp(-slope * w * block) for w in WIDTHS[::2]}


def median_distance(distances: np.ndarray) -> float:
    """The median of the positive distances between different samples; 1 if there is none."""
    positive = distances[distances > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def aligned(first: np.ndarray, second: np.ndarray) -> float:
    """Centred alignment of two Gram matrices."""
    return float(alignment(torch.as_tensor(first), torch.as_tensor(second)))


def normalised(gram: np.ndarray) -> np.ndarray:
    """The matrix scaled to trace ``N``.

    Raises:
        ValueError: If the trace is not positive.
    """
    trace = float(np.trace(gram))
    if not trace > 0:
        raise ValueError(f"expected a Gram matrix of positive trace, got {trace:g}")
    return gram * (len(gram) / trace)


@dataclass(frozen=True)
class Difference:
    """Geometric difference of the quantum kernel from one classical kernel."""

    classical: str
    g: float
    """``s_classical <= g**2 s_quantum`` whatever the labels are, where s is the model complexity."""
    ridge: float
    training: float
    """What the ridge costs in training error, at most ``TRAINING_LIMIT`` if possible."""

    @property
    def fits(self) -> bool:
        """Whether the classical kernel can represent the quantum one at all; if not, ``g`` is that of a part of it."""
        return self.training <= TRAINING_LIMIT


def geometric_difference(quantum: np.ndarray, classical: np.ndarray, name: str = "classical") -> Difference:
    """Huang et al. 2021 (arXiv:2011.01938), with the ridge chosen: the smallest ``g`` that leaves the training error.

    ``g(l)**2 = |sqrt(Q) sqrt(C) (C + l)**-2 sqrt(C) sqrt(Q)|`` falls with the ridge ``l`` while the training error
    ``l |sqrt(Q) (C + l)**-2 sqrt(Q)|**(1/2)`` grows; without a ridge a nearly singular ``C`` inflates ``g``. Both
    matrices are scaled to trace ``N``. Compare ``g`` with ``sqrt(N)``. A kernel of few dimensions, such as the linear
    one, leaves a training error at every ridge; then ``g`` compares what lies in its range, and ``fits`` is false.

    Args:
        quantum: Shape ``(N, N)``, positive semidefinite.
        classical: Shape ``(N, N)``, positive semidefinite.
        name: Of the classical kernel.
    """
    values, vectors = np.linalg.eigh(normalised(classical))
    values = np.where(values > NULL * values[-1], values, 0.0)
    turned = vectors.T @ normalised(quantum) @ vectors
    rows = []
    for ridge in RIDGES:
        weight = np.sqrt(values) / (values + ridge)
        g = np.sqrt(max(np.linalg.eigvalsh(weight[:, None] * turned * weight[None, :])[-1], 0))
        rest = ridge / (values + ridge)
        training = np.sqrt(max(np.linalg.eigvalsh(rest[:, None] * turned * rest[None, :])[-1], 0))
        rows.append(Difference(name, float(g), float(ridge), float(training)))
    allowed = [row for row in rows if row.fits]
    return min(allowed, key=lambda row: row.g) if allowed else rows[0]


def smallest_difference(quantum: np.ndarray, family: Mapping[str, np.ndarray]) -> tuple[Difference, ...]:
    """The difference from each kernel of the family, smallest first; those within the training limit before others."""
    found = [geometric_difference(quantum, gram, name) for name, gram in family.items()]
    return tuple(sorted(found, key=lambda row: (not row.fits, row.g)))


def best_fit(quantum: np.ndarray, family: Mapping[str, np.ndarray]) -> tuple[str, float]:
    """The kernel of the family that is most aligned with the quantum one, and the centred alignment."""
    scores = {name: aligned(quantum, gram) for name, gram in family.items()}
    best = max(scores, key=lambda name: scores[name])
    return best, scores[best]


@dataclass(frozen=True)
class Complexity:
    """How complicated the labels are for a kernel."""

    s: float
    """``y (K + l)**-1 K (K + l)**-1 y``, the squared norm of the fitted function; small against ``N`` is simple."""
    ridge: float
    """``l``, the one of the smallest leave-one-out error."""
    error: float
    """Leave-one-out mean squared error of the kernel ridge regression, in units of the target's variance."""


def model_complexity(gram: np.ndarray, targets: np.ndarray) -> Complexity:
    """Complexity of ``targets`` for the kernel, at the ridge that generalises best (leave one out, in closed form).

    Args:
        gram: Shape ``(N, N)``.
        targets: Shape ``(N, T)``, centred.
    """
    values, vectors = np.linalg.eigh(normalised(gram))
    values, turned = values.clip(0), vectors.T @ targets
    best = Complexity(np.inf, np.nan, np.inf)
    for ridge in RIDGES[6:] * len(gram) ** 0.5:
        inverse = (vectors / (values + ridge)) @ vectors.T
        left_out = (inverse @ targets) / np.diag(inverse)[:, None]
        error = float(np.mean(left_out**2) / np.mean(targets**2))
        if error < best.error:
            s = float((values[:, None] / (values + ridge)[:, None] ** 2 * turned**2).sum())
            best = Complexity(s, float(ridge), error)
    return best
