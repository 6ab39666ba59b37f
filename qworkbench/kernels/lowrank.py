"""Kernel matrices as products of thin ones, for more points than a whole matrix can hold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from qworkbench.kernels.base import Kernel
from qworkbench.kernels.fidelity import QuantumKernel

FeatureMap = Callable[[ArrayLike], np.ndarray]
"""``(M, F) -> (M, r)``: rows whose inner products are approximate kernel values."""
ROWS = 512
"""Points whose states are held at a time."""
SMALL = 1e-10
"""Eigenvalues of the landmarks below this share of the largest are rounding, and left out."""


class ErrorEstimate(NamedTuple):
    """The root mean square error of an entry, estimated from sampled pairs, and its standard error."""

    rms: float
    std_error: float


def nystroem(kernel: Kernel, X: ArrayLike, n_landmarks: int, *, seed: int = 0) -> FeatureMap:
    """Nystroem's approximation ``K = C W^-1 C^T`` from randomly chosen landmarks (Williams & Seeger 2000, NIPS 13).

    The kernel is evaluated between points and landmarks alone, so ``N`` points cost ``N n_landmarks`` entries. Exact
    between landmarks, on exact backends.

    Args:
        kernel: Any kernel, also with shots. Landmarks of a projected one are measured once. Where pairs are measured,
            eigenvalues of ``W`` that noise alone could make are left out, those up to ``2 sqrt(n_landmarks)`` standard
            errors (Wigner's semicircle); with few shots little remains.
        X: Shape ``(N, F)``: where landmarks are drawn from.
        n_landmarks: From 1 to ``N``.
        seed: Of the choice.

    Raises:
        ValueError: If the data do not fit the kernel, or the number of landmarks does not fit the data.
    """
    data = np.asarray(X, dtype=np.float64)
    if not isinstance(n_landmarks, int | np.integer) or not 1 <= n_landmarks <= len(data):
        raise ValueError(f"expected from 1 to {len(data)} landmarks, one a row at most, got {n_landmarks!r}")
    kernel._checked(data)
    landmarks = data[np.sort(np.random.default_rng(seed).choice(len(data), n_landmarks, replace=False))]
    own = copy.deepcopy(kernel)
    own.keep(landmarks)
    gram, error = own.estimate(landmarks)
    values, vectors = np.linalg.eigh(gram)
    noise = 0.0 if own.repeatable else 2 * np.sqrt((error**2).sum() / n_landmarks)
    kept = values >= min(max(SMALL * values[-1], noise), values[-1])
    root = vectors[:, kept] / np.sqrt(values[kept])
    return lambda rows: np.asarray(own(rows, landmarks) @ root)


def random_features(kernel: QuantumKernel, n_features: int, *, seed: int = 0) -> FeatureMap:
    """Features whose inner product is the fidelity on average: the sketch of a square (Pham & Pagh 2013, KDD).

    With complex normal vectors ``g`` and ``h`` the number ``c(x) = <phi(x)|g><h|phi(x)>`` has
    ``E[c(x) conj(c(y))] = |<phi(x)|phi(y)>|**2``. The error of an entry falls as ``1 / sqrt(n_features)``, whatever the
    number of qubits; no kernel value is computed.

    Args:
        kernel: On ``statevector``, without shots: the features are made from states.
        n_features: Even; a complex number is two features.
        seed: Of the vectors.

    Raises:
        TypeError: If the kernel is of another kind.
        ValueError: If the kernel has no states to offer, or ``n_features`` is odd or below 2.
    """
    if not isinstance(n_features, int | np.integer) or n_features < 2 or n_features % 2:
        raise ValueError(f"expected an even number of features from 2, got {n_features!r}")
    if not isinstance(kernel, QuantumKernel):
        raise TypeError(f"expected a QuantumKernel, got {type(kernel).__name__}; nystroem takes any kernel")
    states_of = getattr(kernel._overlap, "states", None)
    if states_of is None or not getattr(kernel._overlap, "differentiable", False) or kernel.method != "auto":
        raise ValueError(f"expected a kernel on 'statevector' without shots, got {kernel.backend!r}")
    rng, size = np.random.default_rng(seed), (2**kernel.circuit.n_qubits, n_features // 2)
    g, h = ((rng.normal(size=size) + 1j * rng.normal(size=size)) / np.sqrt(2) for _ in range(2))

    def features(rows: ArrayLike) -> np.ndarray:
        data = kernel._checked(rows)
        result = np.empty((len(data), n_features))
        for start in range(0, len(data), ROWS):
            with torch.no_grad():
                states = states_of(kernel._angles(data[start : start + ROWS])).numpy()
            sketch = (states.conj() @ g) * (states @ h.conj())
            result[start : start + ROWS] = np.concatenate([sketch.real, sketch.imag], axis=1)
        return result / np.sqrt(n_features // 2)

    return features


def low_rank_error(
    kernel: Kernel, feature_map: FeatureMap, X: ArrayLike, *, n_points: int = 100, seed: int = 1
) -> ErrorEstimate:
    """How far inner products of features are from the kernel, on a random sample of points.

    Args:
        kernel: What is approximated; one with shots adds its own noise to the difference.
        feature_map: Of ``nystroem`` or ``random_features``.
        X: Shape ``(N, F)``, at least 3 rows.
        n_points: Size of the sample, at least 3; its pairs are compared.
        seed: Of the sample; not that of the landmarks, which would be the sample and without error. Where landmarks are
            a large part of the data, take points that were not offered to them.

    Returns:
        The error; its standard error counts points, not pairs, by leaving out one point after the other (jackknife).
    """
    data = np.asarray(X, dtype=np.float64)
    if min(len(data), n_points) < 3:
        raise ValueError(f"expected at least 3 rows to compare, got {min(len(data), n_points)}")
    chosen = data[np.random.default_rng(seed).choice(len(data), min(n_points, len(data)), replace=False)]
    features = feature_map(chosen)
    squares = (features @ features.T - kernel(chosen)) ** 2
    np.fill_diagonal(squares, 0)
    n = len(chosen)
    total, own = squares.sum(), squares.sum(axis=1)
    without = np.sqrt((total - 2 * own) / ((n - 1) * (n - 2)))
    error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    return ErrorEstimate(float(np.sqrt(total / (n * (n - 1)))), float(error))
