"""One call that says whether a quantum kernel is of any use on given data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils import check_X_y

from qworkbench.backend import Backend
from qworkbench.diagnostics.geometry import (
    Complexity,
    Difference,
    aligned,
    best_fit,
    classical_family,
    model_complexity,
    normalised,
    smallest_difference,
)
from qworkbench.kernels import Kernel, QuantumKernel
from qworkbench.kernels.repair import repair_psd
from qworkbench.kernels.training import encoded_target, ideal_gram
from qworkbench.runs import check_writable

C_GRID = (0.1, 1.0, 10.0, 100.0, 1000.0)
RESOLUTION = 3.0
"""Spread of the entries in units of their shot error, at which entries count as resolved."""
ROUNDING = 1e-13
"""Spread of the entries, in units of the largest, that is no more than rounding."""
PILOT_SHOTS, PILOT_ROUNDS, MOST_SHOTS = 10_000, 3, 10**15
"""Shots at which the errors of other kernels than the fidelity are looked at first; then at those that would do."""
SAME = 1e-5
"""How far an engine in single precision may be from the exact kernel; farther is noise, or another approximation."""
MIN_SAMPLES = 10
SIMULABLE_QUBITS = 30
SHOTS, REPETITIONS = (10, 30, 100, 300, 1000, 10_000), 8
STATE_QUBITS = 16
"""Wider kernels are not repeated with shots: each repetition computes all states."""
SCORE_LOSS = 0.01
CONCENTRATED = 0.01
"""Spread of the off-diagonal entries below which thousands of shots are needed to tell them apart."""


@dataclass(frozen=True)
class Concentration:
    """How much the off-diagonal entries of the Gram matrix differ from each other."""

    mean: float
    std: float
    floor: float | None
    """``2**-n``, the mean fidelity of random states; None for kernels that are no fidelity."""
    shots: float | None
    """Shots a circuit until the error of an entry is a third of ``std``; None if that cannot be said.

    ``9 mean(k (1 - k)) / std**2`` for fidelities, ``9 mean(1 - k**2) / std**2`` for the swap test; for other kernels
    from the errors of a simulation with many shots, if their circuits have at most 16 qubits and no shadows. Errors are
    standard errors: the bias of projected entries comes on top.
    """
    std_error: float
    """Mean standard error of the entries as measured, 0 on an exact backend."""

    @property
    def resolved(self) -> bool:
        """Whether the entries differ by more than their errors, as far as that is known."""
        return self.std > 0


@dataclass(frozen=True)
class ShotScore:
    """The cross-validated score of a kernel that is measured with shots, over repetitions of the measurement."""

    shots: int
    """Shots a circuit: an entry of a fidelity kernel, a measured basis of a projected one."""
    score: float
    """Mean over the repetitions."""
    interval: tuple[float, float]
    """95 percent interval of the mean (Student's t)."""
    spread: float
    """Standard deviation of a single measurement."""


@dataclass(frozen=True)
class KernelAssessment:
    """What ``assess_kernel`` finds; ``page`` is where the pictures are."""

    task: str
    """``classification`` or ``regression``."""
    n_samples: int
    n_qubits: int | None
    concentration: Concentration
    eigenvalues: np.ndarray
    """Of the Gram matrix over its trace, largest first; shape ``(N,)``."""
    rbf_eigenvalues: np.ndarray
    effective_rank: float
    """``1 / sum(eigenvalues**2)``: 1 if all samples look alike, ``N`` if none do."""
    rbf_effective_rank: float
    fit: tuple[str, float]
    """The RBF kernel that is most like the quantum one, and their centred alignment."""
    tuned_rbf: str
    """The RBF kernel of the best cross-validated score."""
    differences: tuple[Difference, ...]
    """Geometric difference from each classical kernel, smallest first."""
    complexity: Complexity
    rbf_complexity: Complexity
    alignment: float
    """Centred alignment with the target."""
    rbf_alignment: float
    score: float
    """Best cross-validated score over C; see ``measure``."""
    rbf_score: float
    exact_score: float | None
    """The score without shots and noise; None if the states are too large to compute."""
    shot_scores: tuple[ShotScore, ...]
    """The score by shots, without other noise; empty if not asked for or the states are too large."""
    computed: bool
    """Whether all but ``score`` is of the exact matrix, though the kernel was measured with shots or noise.

    Noise looks like structure that no classical kernel has, and would count as a difference from them.
    """
    gram: np.ndarray
    """What all but ``score`` is of."""
    targets: np.ndarray
    page: Path | None = None

    @property
    def g(self) -> float:
        """The smallest geometric difference over the classical family."""
        return self.differences[0].g

    @property
    def measure(self) -> str:
        """What a score is: ``accuracy``, or ``R2`` of a regression."""
        return "R2" if self.task == "regression" else "accuracy"

    def verdicts(self) -> list[str]:
        """What the numbers say, in sentences."""
        spread = self.concentration
        noisy = bool(spread.std_error) and not self.computed
        lines = [f"The entries have a spread of {spread.std:.2g}."]
        if spread.shots is not None:
            lines = [
                f"Resolving the entries takes about {spread.shots:,.0f} shots a circuit (spread {spread.std:.2g})."
            ]
        elif not spread.resolved:
            cause = f"of {spread.std_error:.2g}: take more shots" if noisy else "of rounding: it is a constant"
            lines = [f"The entries do not differ by more than their errors {cause}."]
        if spread.std < CONCENTRATED and (spread.resolved or not noisy):
            cure = "raise the bandwidth" if spread.mean > 0.5 else "lower the bandwidth or the number of qubits"
            lines[0] += f" The kernel has concentrated around {spread.mean:.2g}; {cure}."
        if self.fit[1] > 0.95:
            better = "" if self.fit[0] == self.tuned_rbf else f", or the tuned {self.tuned_rbf}"
            lines.append(f"It is nearly an {self.fit[0]} (alignment {self.fit[1]:.3f}); use that instead{better}.")
        else:
            lines.append(f"The nearest RBF kernel ({self.fit[0]}) has alignment {self.fit[1]:.3f}.")
        if noisy:
            lines.append("With shot noise, geometric difference and complexity say nothing about the kernel itself.")
        else:
            lines += self._difference()
        lines.append(
            f"Cross-validated {self.measure} {self.score:.3f}, tuned RBF {self.rbf_score:.3f}; "
            f"alignment with the target {self.alignment:.3f}, RBF {self.rbf_alignment:.3f}."
        )
        if self.exact_score is not None:
            enough = [row for row in self.shot_scores if row.score >= self.exact_score - SCORE_LOSS]
            lines.append(
                f"Exactly computed it scores {self.exact_score:.3f}; "
                + (
                    f"{enough[0].shots:,} shots a circuit come within {SCORE_LOSS:g} of that "
                    f"({enough[0].score:.3f}, one measurement scatters by {enough[0].spread:.3f})."
                    if enough
                    else f"{self.shot_scores[-1].shots:,} shots a circuit still lose more than {SCORE_LOSS:g}."
                )
            )
        if self.n_qubits is not None and self.n_qubits <= SIMULABLE_QUBITS:
            lines.append(f"At {self.n_qubits} qubits the kernel is computed exactly on a classical machine.")
        if self.computed:
            lines.append("The score as measured aside, all of this is of the exact kernel, without shots and noise.")
        return lines

    def _difference(self) -> list[str]:
        """How far the kernel is from classical ones, and what that means for these labels."""
        root, nearest = math.sqrt(self.n_samples), self.differences[0]
        far = nearest.g > root / 3
        lines = [
            f"Geometric difference g = {nearest.g:.2f} against sqrt(N) = {root:.1f} (nearest: {nearest.classical}): "
            + (
                "labels exist that are far simpler for the quantum kernel, "
                if far
                else "whatever the labels, for that "
            )
            + ("not necessarily these." if far else f"kernel they are at most {nearest.g**2:.3g} times as complex.")
        ]
        if far:
            simple = self.complexity.s < self.rbf_complexity.s
            lines.append(
                f"For these labels the quantum model is {'less' if simple else 'not less'} complex than the RBF one: "
                f"s = {self.complexity.s:.3g} against {self.rbf_complexity.s:.3g}."
            )
        return lines


def assess_kernel(
    kernel: Kernel,
    X: ArrayLike,
    y: ArrayLike,
    *,
    task: str | None = None,
    folds: int = 5,
    seed: int = 0,
    shots: Sequence[int] = SHOTS,
    out: str | Path | None = None,
) -> KernelAssessment:
    """Put the usual questions to a kernel, and answer them on one page.

    Concentration of the entries (Thanasilp et al. 2022, arXiv:2208.11060), eigenvalues beside those of a tuned RBF
    kernel, the RBF kernel that it is most like, geometric difference from a classical family and model complexity
    (Huang et al. 2021, arXiv:2011.01938), alignment with the target, and cross-validated scores of a support vector
    machine, or of kernel ridge regression (of the standardised target, so that its unit does not matter). C, or the
    ridge 1 / C, is tuned on the same folds for both kernels; the RBF kernel's width is tuned too, the quantum kernel is
    taken as it is. Scores are those of the best setting, so both are a little too good; ``qworkbench.compare`` is the
    honest test.

    A kernel on a backend with shots or noise is scored as measured. All else is of the exact kernel, if it has at most
    16 qubits: noise is as far from every classical kernel as anything can be.

    The effect of shots on the score: the kernel is measured anew with each number of shots, several times, on
    ``statevector``, and C is tuned again. Training blocks are made positive semidefinite by ``clip``; the models choose
    among repairs, which takes longer.

    A kernel that was trained, with labels, must be assessed on other rows: on its own it is flattered.

    Args:
        kernel: Any kernel.
        X: Data as the kernel sees them, shape ``(N, n_inputs)``; scale them first.
        y: Labels or numbers, shape ``(N,)``.
        task: ``classification`` or ``regression``; by default numbers that are not all whole are a regression.
        folds: Of the cross-validation.
        seed: Of the folds, and of the shots.
        shots: Shots a circuit at which the score is measured, for kernels up to 16 qubits without a swap test, of
            which each entry would be a simulation; none leaves this out.
        out: Where the page goes: an HTML file, or a directory that gets a ``kernel.html``; no page by default.

    Raises:
        ValueError: If the data are not finite, there are fewer than 10 rows, the target is constant, a class has
            fewer members than folds, the task is unknown, or a number of shots is below 1.
        TypeError: If the kernel is none.
        OSError: If the page cannot be written.
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"expected a Kernel such as a QuantumKernel, got {type(kernel).__name__}")
    if any(int(count) < 1 for count in shots):
        raise ValueError(f"expected numbers of shots from 1, got {list(shots)}")
    data, labels = check_X_y(X, y, dtype=np.float64, ensure_min_samples=MIN_SAMPLES)
    if out is not None:
        from qworkbench.diagnostics.page import page_file

        check_writable(page_file(out))
    encoded = encoded_target(labels, task)
    numbers, answers, ideal = encoded.is_floating_point(), encoded.numpy(), ideal_gram(encoded).numpy()
    targets = answers[:, None] if numbers else _indicators(answers)
    splits = _folds(answers, folds, seed, numbers)
    measured, error = kernel.estimate(data)
    exact = _exactly(kernel, data)
    computed = exact is not None and (bool(error.any()) or not np.allclose(measured, exact, rtol=0, atol=SAME))
    gram = exact if exact is not None and computed else repair_psd(measured, "auto", error).gram
    family = classical_family(data)
    radial = {name: matrix for name, matrix in family.items() if name.startswith("RBF")}
    machine = KernelRidge(kernel="precomputed") if numbers else SVC(kernel="precomputed")
    scores = {name: _score(machine, matrix, answers, splits) for name, matrix in radial.items()}
    tuned = max(scores, key=lambda name: scores[name])
    circuit = getattr(kernel, "circuit", None)
    spectra = [_spectrum(matrix) for matrix in (gram, radial[tuned])]
    repeated = _is_simulable(kernel) and exact is not None
    shot_scores = _by_shots(kernel, data, answers, machine, splits, shots, seed) if repeated else ()
    found = KernelAssessment(
        task="regression" if numbers else "classification",
        n_samples=len(data),
        n_qubits=None if circuit is None else circuit.n_qubits,
        concentration=_concentration(kernel, data, gram if computed else measured, error, computed, seed, repeated),
        eigenvalues=spectra[0],
        rbf_eigenvalues=spectra[1],
        effective_rank=float(1 / (spectra[0] ** 2).sum()),
        rbf_effective_rank=float(1 / (spectra[1] ** 2).sum()),
        fit=best_fit(gram, radial),
        tuned_rbf=tuned,
        differences=smallest_difference(gram, family),
        complexity=model_complexity(gram, targets),
        rbf_complexity=model_complexity(radial[tuned], targets),
        alignment=aligned(gram, ideal),
        rbf_alignment=aligned(radial[tuned], ideal),
        # As measured: a repair of the whole matrix would carry test rows into training ones.
        score=_score(machine, measured, answers, splits),
        rbf_score=scores[tuned],
        exact_score=_score(machine, exact, answers, splits) if exact is not None and shot_scores else None,
        shot_scores=shot_scores,
        computed=computed,
        gram=gram,
        targets=labels,
    )
    if out is None:
        return found
    from qworkbench.diagnostics.page import write_page

    return write_page(found, data, out)


def _indicators(index: np.ndarray) -> np.ndarray:
    """A column a class (one for two classes), centred and of unit variance, from the index of each row's class."""
    columns = (index[:, None] == np.unique(index)[None, :]).astype(float)
    columns = columns[:, 1:] if columns.shape[1] == 2 else columns
    return (columns - columns.mean(0)) / columns.std(0)


def _folds(labels: np.ndarray, folds: int, seed: int, numbers: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    if not numbers and (smallest := np.unique(labels, return_counts=True)[1].min()) < folds:
        raise ValueError(
            f"expected at least {folds} rows of each class, one a fold, got {smallest}; "
            "if the labels are numbers to predict, say task=regression"
        )
    splitter = (KFold if numbers else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels))


def _score(machine: SVC | KernelRidge, gram: np.ndarray, labels: np.ndarray, folds: list) -> float:
    """Best cross-validated score over C, the training block of each fold made positive semidefinite."""
    scores, scaled = [], normalised(gram)
    for train, test in folds:
        fitted = repair_psd(scaled[np.ix_(train, train)], "clip").gram
        asked = scaled[np.ix_(test, train)]
        settings: list[dict[str, float]] = [
            {"alpha": 1 / C} if isinstance(machine, KernelRidge) else {"C": C} for C in C_GRID
        ]
        scores.append(
            [machine.set_params(**one).fit(fitted, labels[train]).score(asked, labels[test]) for one in settings]
        )
    return float(np.mean(scores, axis=0).max())


def _exactly(kernel: Kernel, data: np.ndarray) -> np.ndarray | None:
    """The matrix without shots and noise; None if the states are too large, or the kernel has one backend only."""
    if isinstance(kernel, QuantumKernel) and kernel.method != "auto" and kernel.circuit.n_qubits <= STATE_QUBITS:
        return QuantumKernel(kernel.circuit, weights=kernel.weights.detach(), bandwidth=kernel.bandwidth)(data)
    try:
        return kernel.with_backend("statevector")(data) if _is_simulable(kernel) else None
    except NotImplementedError:
        return None


def _by_shots(
    kernel: Kernel,
    data: np.ndarray,
    labels: np.ndarray,
    machine: SVC | KernelRidge,
    folds: list,
    shots: Sequence[int],
    seed: int,
) -> tuple[ShotScore, ...]:
    """The score of the kernel as it is measured at each number of shots."""
    seeds = iter(np.random.SeedSequence(seed).generate_state(len(shots) * REPETITIONS))
    rows = []
    for count in sorted(int(count) for count in shots):
        found = []
        for _ in range(REPETITIONS):
            noisy = kernel.with_backend(Backend("statevector", shots=count, seed=int(next(seeds))))
            found.append(_score(machine, noisy(data), labels, folds))
        mean, spread = float(np.mean(found)), float(np.std(found, ddof=1))
        half = float(student_t.ppf(0.975, REPETITIONS - 1)) * spread / math.sqrt(REPETITIONS)
        rows.append(ShotScore(count, mean, (mean - half, mean + half), spread))
    return tuple(rows)


def _is_simulable(kernel: Kernel) -> bool:
    """Whether the kernel's circuits are small enough for repetitions with shots: one state a sample, not one a pair."""
    parts = [part for part in kernel.modules() if isinstance(part, Kernel)]
    circuits = [circuit for part in parts if (circuit := getattr(part, "circuit", None)) is not None]
    if not circuits or any(getattr(part, "method", "auto") != "auto" for part in parts):
        return False
    return max(circuit.n_qubits for circuit in circuits) <= STATE_QUBITS


def _spectrum(gram: np.ndarray) -> np.ndarray:
    values = np.linalg.eigvalsh(gram)[::-1].clip(0)
    return values / values.sum()


def _concentration(
    kernel: Kernel, data: np.ndarray, gram: np.ndarray, error: np.ndarray, computed: bool, seed: int, repeated: bool
) -> Concentration:
    entries, errors = (part[np.triu_indices(len(gram), 1)] for part in (gram, error))
    # What shots add to the spread says nothing about the kernel.
    added = 0.0 if computed else float((errors**2).mean())
    variance = float(entries.var()) - added
    # Three standard errors of the variance of so many normal numbers: less is no spread that can be told from none.
    std = math.sqrt(variance) if variance > 3 * added * math.sqrt(2 / len(entries)) else 0.0
    std = std if std > ROUNDING * np.abs(entries).max() else 0.0
    floor, shots = None, None
    if isinstance(kernel, QuantumKernel):
        floor = 2.0**-kernel.circuit.n_qubits
        one_shot = 1 - entries**2 if kernel.method == "swap-test" else entries * (1 - entries)
        shots = float(one_shot.clip(0).mean()) * (RESOLUTION / std) ** 2 if std else None
    elif repeated and std:
        shots = _shots_to_resolve(kernel, data, std / RESOLUTION, seed)
    return Concentration(float(entries.mean()), std, floor, shots, float(errors.mean()))


def _shots_to_resolve(kernel: Kernel, data: np.ndarray, wanted: float, seed: int) -> float | None:
    """Shots a circuit at which the root mean square error of the entries is ``wanted``; without other noise."""
    if any(getattr(part, "shadows", None) for part in kernel.modules()):
        return None  # more shots a basis do not make up for few random bases
    shots, upper = PILOT_SHOTS, np.triu_indices(len(data), 1)
    for _ in range(PILOT_ROUNDS):
        sampled = kernel.with_backend(Backend("statevector", shots=shots, seed=seed))
        ratio = float((sampled.estimate(data)[1][upper] ** 2).mean()) / wanted**2
        shots = min(max(1, round(shots * ratio)), MOST_SHOTS)
    return float(shots)
