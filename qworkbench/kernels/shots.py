"""What shots and noise do to a kernel: errors, where to spend shots, depolarisation, the effect on a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.svm import SVC

from qworkbench.kernels.repair import repair_psd

if TYPE_CHECKING:
    from qworkbench.kernels.fidelity import QuantumKernel

ROUNDING = 1e-6
"""Errors of frequencies below this are rounding, unless there are a million shots."""


@dataclass(frozen=True)
class ShotEstimate:
    """A sampled kernel matrix; all arrays of shape ``(N, M)``."""

    mean: np.ndarray
    std_error: np.ndarray
    shots: np.ndarray
    """Shots that each entry got; 0 on the diagonal of a Gram matrix, which is 1 by definition."""


def frequency_error(frequency: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """Standard error of a frequency in so many shots; never 0.

    The usual ``sqrt(p (1 - p) / n)`` is 0 where all shots agree, which is most entries of a concentrated kernel. This
    is the root of its mean square over what a flat prior leaves of ``p``, which is Beta(hits + 1, misses + 1).
    """
    n = np.maximum(shots, 1.0)
    hits = np.clip(frequency, 0, 1) * n  # mitigated ones may leave that range
    return np.sqrt((hits + 1) * (n - hits + 1) / ((n + 2) * (n + 3) * n))


def never_certain(
    error: np.ndarray, shots: np.ndarray | int, measured: np.ndarray, reach: ArrayLike = 1.0
) -> np.ndarray:
    """Errors that are 0 because all shots agree, replaced by those of a flat prior (``frequency_error``).

    Args:
        error: Standard errors of the sample; rounding leaves 1e-8 where it should be 0.
        shots: That each value has got.
        measured: Whether it was measured; others keep their 0.
        reach: The distance of the two outcomes: 1 of a frequency, 2 of a Pauli's mean.
    """
    unit = np.asarray(reach, dtype=float)
    least = unit * frequency_error(np.ones(()), np.asarray(shots))
    # One shot that disagrees makes an error of about ``least``, so half of it is none.
    return np.where(measured & (error < np.minimum(least / 2, ROUNDING * unit)), least, error)


def allocate_shots(
    kernel: QuantumKernel, x: ArrayLike, y: ArrayLike | None = None, *, rounds: int = 8, pilot: int = 2
) -> ShotEstimate:
    """The kernel matrix with shots where the variance is.

    First every entry gets ``pilot`` rounds of the backend's shots; then the rest of the budget, ``rounds`` an entry on
    average, goes to entries in proportion to their standard deviation ``sqrt(p (1 - p))`` (Neyman 1934), which
    minimises the sum of variances at that total. Give the backend few shots: its shots are the smallest portion. All
    shots of an entry are pooled; since the second portion depends on the first, the mean has a bias of the order of
    ``1 / shots``, small against its error.

    Args:
        kernel: A fidelity kernel on a sampling backend.
        x: Shape ``(N, n_inputs)``.
        y: Shape ``(M, n_inputs)``; ``x`` by default, and then the upper half is measured.
        rounds: Portions an entry, on average.
        pilot: Portions that every entry gets first.

    Raises:
        ValueError: If the backend is exact, or ``rounds`` is not above ``pilot``.
    """
    _check_fidelity(kernel)
    whole = all(isinstance(number, int | np.integer) for number in (pilot, rounds))
    if not whole or not 1 <= pilot < rounds:
        raise ValueError(f"expected whole numbers 1 <= pilot < rounds, got pilot {pilot} and rounds {rounds}")
    shape = (len(np.asarray(x)), len(np.asarray(x if y is None else y)))
    measured = np.triu(np.ones(shape, dtype=bool), 1) if y is None else np.ones(shape, dtype=bool)
    first, portion = _measure(kernel, x, y, np.where(measured, pilot, 0))
    smoothed = (first * pilot * portion + 1) / (pilot * portion + 2)
    total = rounds * int(measured.sum())
    wanted = _proportional(np.sqrt(smoothed * (1 - smoothed))[measured], total, pilot)
    further = np.zeros(shape, dtype=np.int64)
    further[measured] = wanted - pilot
    second, _ = _measure(kernel, x, y, further)
    counts = portion * (further + np.where(measured, pilot, 0))
    hits = portion * (pilot * first + further * np.nan_to_num(second))
    mean = np.divide(hits, counts, out=np.zeros(shape), where=measured)
    error = np.where(measured, frequency_error(mean, counts), 0.0)
    if y is None:
        mean, error, counts = (part + part.T for part in (np.triu(mean, 1), np.triu(error, 1), np.triu(counts, 1)))
        np.fill_diagonal(mean, 1.0)
    return ShotEstimate(mean, error, counts)


def _check_fidelity(kernel: Any) -> None:
    if not hasattr(kernel, "noiseless"):
        raise TypeError(
            f"expected a QuantumKernel, whose entries are measured pair by pair, got {type(kernel).__name__}"
        )


def _measure(kernel: QuantumKernel, x: ArrayLike, y: ArrayLike | None, repeats: np.ndarray) -> tuple[np.ndarray, int]:
    """Frequencies, and the backend's shots as the engine has counted them."""
    if not repeats.any():
        return np.zeros(repeats.shape), 0
    before = kernel.usage["shots"]
    mean, _ = kernel.estimate(x, y, repeats)
    portion = (kernel.usage["shots"] - before) // int(repeats.sum())
    if portion == 0:
        raise ValueError(f"expected a sampling backend such as 'aer?shots=100', got {str(kernel.backend)!r}, exact")
    return np.nan_to_num(mean), portion


def _proportional(shares: np.ndarray, total: int, least: int) -> np.ndarray:
    """Whole numbers of at least ``least`` that sum to ``total``, otherwise in proportion to ``shares``."""
    wanted = shares * total / shares.sum()
    # Those below the minimum get it; what is left is shared by the others.
    low = np.zeros(len(shares), dtype=bool)
    while (below := (wanted < least) & ~low).any():
        low |= below
        wanted[~low] = shares[~low] * (total - least * low.sum()) / shares[~low].sum()
    wanted[low] = least
    whole = np.floor(wanted).astype(np.int64)
    order = np.argsort(whole - wanted, kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def measure_diagonal(kernel: QuantumKernel, x: ArrayLike, rounds: int = 1) -> ShotEstimate:
    """The measured fidelity of each sample with itself, arrays of shape ``(N,)``: below 1 only by noise.

    Args:
        kernel: A fidelity kernel. Where states are compared the diagonal is 1 and nothing is run.
        x: Shape ``(N, n_inputs)``.
        rounds: Portions of the backend's shots a sample; exact backends run each circuit once, with an error of 0.
    """
    _check_fidelity(kernel)
    if rounds < 1:
        raise ValueError(f"expected at least 1 round, got {rounds}")
    n = len(np.asarray(x))
    if kernel.noiseless:
        return ShotEstimate(np.ones(n), np.zeros(n), np.zeros(n, dtype=np.int64))
    before = kernel.usage["shots"]
    mean = np.diag(kernel.estimate(x, x, np.eye(n, dtype=np.int64) * rounds)[0]).copy()
    shots = np.full(n, (kernel.usage["shots"] - before) // n)
    return ShotEstimate(mean, frequency_error(mean, shots) if shots.any() else np.zeros(n), shots)


def correct_depolarising(
    gram: ArrayLike, diagonal: ArrayLike, n_qubits: int, other_diagonal: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Undo global depolarising noise, known from the measured diagonal (Hubregtsen et al. 2021, arXiv:2105.02276).

    Each of the two encodings in a compute-uncompute circuit leaves its state with probability ``s_i``:
    ``measured_ij = s_i s_j k_ij + (1 - s_i s_j) / 2**n``, and ``s_i**2`` follows from ``k_ii = 1``.

    Args:
        gram: Measured fidelities, shape ``(N, M)``.
        diagonal: Measured fidelity of each row's sample with itself, shape ``(N,)``; see ``measure_diagonal``.
        n_qubits: Width of the feature map.
        other_diagonal: The same for the columns, shape ``(M,)``; that of the rows if not given. Then the diagonal of
            the result is 1.

    Returns:
        The corrected matrix, which may leave [0, 1] by its errors, and the factor ``1 / (s_i s_j)`` by which the
        standard error of each entry has grown; both of shape ``(N, M)``.

    Raises:
        ValueError: If a shape does not fit, or a diagonal entry is not above ``2**-n``: nothing of the state is left.
    """
    measured, rows = np.asarray(gram, dtype=float), np.asarray(diagonal, dtype=float)
    columns = rows if other_diagonal is None else np.asarray(other_diagonal, dtype=float)
    if measured.shape != (len(rows), len(columns)):
        raise ValueError(f"expected diagonals that fit shape {measured.shape}, got {len(rows)} and {len(columns)}")
    floor = 2.0**-n_qubits
    if not (np.concatenate([rows, columns]) > floor).all():
        raise ValueError(f"expected measured diagonals above 2**-{n_qubits}; with less, noise has left no signal")
    left, right = (np.sqrt((part - floor) / (1 - floor)) for part in (rows, columns))
    survival = left[:, None] * right[None, :]
    corrected = (measured - floor * (1 - survival)) / survival
    if other_diagonal is None:
        np.fill_diagonal(corrected, 1.0)
    return corrected, 1 / survival


def undo_depolarising(
    gram: np.ndarray,
    std_error: np.ndarray,
    n_qubits: int,
    diagonal: ShotEstimate,
    other_diagonal: ShotEstimate | None = None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """``correct_depolarising`` with the errors of the diagonals carried over to the entries, to first order.

    Args:
        gram: Measured fidelities, shape ``(N, M)``.
        std_error: Their errors.
        n_qubits: Width of the feature map.
        diagonal: Of ``measure_diagonal``, of the rows.
        other_diagonal: Of the columns; see ``correct_depolarising``.

    Returns:
        The corrected matrix, its errors, and the mean over rows and columns of ``s_i**2``, the share that the noise has
        left.

    Raises:
        ValueError: If noise has left no signal.
    """
    columns = diagonal if other_diagonal is None else other_diagonal
    given = None if other_diagonal is None else other_diagonal.mean
    corrected, growth = correct_depolarising(gram, diagonal.mean, n_qubits, given)
    floor = 2.0**-n_qubits
    # ds_i / s_i of each encoding; an entry falls with s_i s_j as (k - floor) / (s_i s_j).
    rows, others = (part.std_error / (2 * (part.mean - floor)) for part in (diagonal, columns))
    error = np.hypot(std_error * growth, np.abs(corrected - floor) * np.hypot(rows[:, None], others[None, :]))
    if other_diagonal is None:
        np.fill_diagonal(error, 0.0)
    left = np.concatenate([diagonal.mean, [] if given is None else given])
    return corrected, error, float(np.mean((left - floor) / (1 - floor)))


@dataclass(frozen=True)
class ClassifierSpread:
    """What the errors of the entries do to a support vector machine."""

    score: float
    """Accuracy with the matrices as measured."""
    std_error: float
    """Standard deviation of the accuracy over repetitions of the measurement."""
    flips: float
    """Share of predictions that a repetition changes, on average."""


def classifier_spread(
    gram: ArrayLike,
    std_error: ArrayLike,
    labels: ArrayLike,
    cross: ArrayLike,
    cross_error: ArrayLike,
    test_labels: ArrayLike,
    *,
    C: float = 1.0,
    repair: str = "clip",
    n_draws: int = 50,
    seed: int = 0,
) -> ClassifierSpread:
    """Repeat the measurement on paper: draw both matrices anew within their errors, train and test again.

    Args:
        gram: Training Gram matrix, shape ``(N, N)``.
        std_error: Its errors.
        labels: Training labels, shape ``(N,)``.
        cross: Test rows against training columns, shape ``(M, N)``.
        cross_error: Its errors.
        test_labels: Shape ``(M,)``.
        C: Of the machine.
        repair: See ``repair_psd``.
        n_draws: Repetitions, at least 2.
        seed: Of the draws.

    Raises:
        ValueError: If shapes do not fit, or there are fewer draws.
    """
    if n_draws < 2:
        raise ValueError(f"expected at least 2 draws, got {n_draws}")
    shapes = [np.shape(part) for part in (gram, std_error, cross, cross_error)]
    n, m = len(np.asarray(labels)), len(np.asarray(test_labels))
    if shapes != [(n, n), (n, n), (m, n), (m, n)]:
        raise ValueError(f"expected two arrays of shape {(n, n)} and two of {(m, n)}, got {shapes}")
    train, errors = np.asarray(gram, dtype=float), np.asarray(std_error, dtype=float)
    test, test_errors = np.asarray(cross, dtype=float), np.asarray(cross_error, dtype=float)
    truth, rng = np.asarray(test_labels), np.random.default_rng(seed)

    def predict(fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        machine = SVC(kernel="precomputed", C=C).fit(repair_psd(fitted, repair).gram, labels)
        return machine.predict(asked)

    base = predict(train, test)
    drawn = []
    for _ in range(n_draws):
        noise = np.triu(rng.normal(size=train.shape) * errors, 1)
        drawn.append(predict(train + noise + noise.T, test + rng.normal(size=test.shape) * test_errors))
    scores = [float(np.mean(one == truth)) for one in drawn]
    flips = np.mean([np.mean(one != base) for one in drawn])
    return ClassifierSpread(float(np.mean(base == truth)), float(np.std(scores, ddof=1)), float(flips))
