"""Quantum kernel estimation on ad hoc data: Havlicek et al. 2019, exact to mitigated noise, beside an RBF-SVM.

A support vector machine on the fidelity kernel of the ZZ feature map, over random two-qubit problems that this map
can separate by construction. Rows that sample take the first test of each problem only: every kernel entry is a
circuit of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from experiments._cli import main
from experiments._havlicek import SOURCE, Problem, ad_hoc_problem, feature_map, sampled, tuned_svm
from experiments._rows import Measured, Part, Row, records, values, verdict
from experiments._zne import extrapolate, fold
from qworkbench.kernels import QuantumKernel
from qworkbench.runs import RunRecord

EXACT, RBF = "quantum kernel, exact", "RBF-SVM on raw x"
SHOTS, NOISE, ZNE = "quantum kernel, ideal", "quantum kernel, noise", "quantum kernel, ZNE"
PUBLISHED = "1.000, 1.000, 0.948 (three problems on a device; 50,000 shots, mitigated)"


@dataclass(frozen=True)
class Config:
    """Settings of the experiment."""

    n_problems: int = 20
    """random problems"""
    gap: float = 0.3
    """half-width of the band without points"""
    n_train: int = 20
    """training points a class"""
    n_tests: int = 10
    """tests a problem"""
    n_test: int = 10
    """points a class in each test"""
    shots: int = 1024
    """shots a kernel entry, at each noise scale"""
    noise: str = "aer?noise=fake_manila"
    """URI of the noisy backend"""
    scales: tuple[float, ...] = (1.0, 1.5, 3.0)
    """noise scales of the extrapolation, the first one 1"""
    seed: int = 0
    """seed of shots and of cross-validation"""

    @classmethod
    def smoke(cls, **changes: object) -> Self:
        """A few seconds' worth; the noisy device needs no extra package."""
        small = cls(n_problems=2, n_train=5, n_tests=2, n_test=3, shots=128, noise="generic:2")
        return replace(small, **changes)  # type: ignore[arg-type]


def run(config: Config, known: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
    """One record a problem and row, as they are made; those in ``known`` are passed on."""
    for number in range(config.n_problems):
        problem = ad_hoc_problem(number, config.gap, config.n_train, config.n_tests, config.n_test)
        split = {"gap": config.gap, "n_train": config.n_train, "n_tests": config.n_tests, "n_test": config.n_test}
        shared = {"experiment": "adhoc_kernel", "problem": number, "dataset_fingerprint": problem.fingerprint, **split}
        yield from records(shared | {"seed": config.seed}, SOURCE, _parts(config, problem), known)


def _parts(config: Config, problem: Problem) -> list[Part]:
    shots = f" ({config.shots:,} shots an entry)"
    noisy = {"backend": config.noise, "shots": config.shots}
    mitigated = [
        Row(f"{ZNE} {name}", True, noisy | {"scales": list(scales)}, None if k else PUBLISHED)
        for k, (name, scales) in enumerate(_fits(config).items())
    ]
    return [
        ([Row(EXACT, True, {"backend": "statevector"})], lambda: [_exact(problem, config.seed)]),
        ([Row(RBF, False, {})], lambda: [_control(problem, config.seed)]),
        ([Row(SHOTS + shots, True, {"backend": "aer", "shots": config.shots})], lambda: [_ideal(problem, config)]),
        ([Row(NOISE + shots, True, noisy), *mitigated], lambda: _noisy(problem, config)),
    ]


def _fits(config: Config) -> dict[str, tuple[float, ...]]:
    """Name -> noise scales of each extrapolation: lines from the first to each other scale, and through all."""
    first, *rest = config.scales
    if first != 1 or not rest:
        raise ValueError(f"expected at least two noise scales, the first one 1, got {config.scales}")
    lines = [(first, other) for other in rest]
    kinds = {scales: "linear" for scales in lines} | ({config.scales: "Richardson"} if len(rest) > 1 else {})
    return {
        f"{', '.join(f'{s:g}' for s in scales)} {kind} ({len(scales) * config.shots:,} shots an entry)": scales
        for scales, kind in kinds.items()
    }


def _exact(problem: Problem, seed: int) -> Measured:
    kernel = QuantumKernel(feature_map())
    hits = _hits(_gram(kernel, problem, len(problem.X_test)), problem, seed)
    return _scores(hits, problem), dict(kernel.usage)


def _control(problem: Problem, seed: int) -> Measured:
    model = tuned_svm("rbf", problem.X, problem.y, seed)
    return _scores(model.predict(problem.X_test) == problem.y_test, problem), {"params": model.best_params_}


def _scores(hits: NDArray[np.bool_], problem: Problem) -> dict[str, float]:
    return {"score": float(hits.mean()), "score_first_test": float(hits[: problem.n_first].mean())}


def _ideal(problem: Problem, config: Config) -> Measured:
    kernel = QuantumKernel(feature_map(), sampled("aer", config.shots, config.seed, problem.number))
    return _against_exact(_gram(kernel, problem, problem.n_first), problem, config.seed), dict(kernel.usage)


def _noisy(problem: Problem, config: Config) -> list[Measured]:
    """The kernel at noise scale 1, then each extrapolation from the same measurements."""
    grams: dict[float, NDArray[np.float64]] = {}
    usages: dict[float, dict[str, int]] = {}
    for k, scale in enumerate(config.scales):
        # Folding both halves of compute-uncompute folds the whole circuit by the same scale.
        folded, achieved = fold(feature_map(), scale)
        if not np.isclose(achieved, scale):
            raise ValueError(f"expected noise scales in steps of 0.5, which this circuit can have, got {scale}")
        kernel = QuantumKernel(folded, sampled(config.noise, config.shots, config.seed, problem.number, k + 1))
        grams[scale], usages[scale] = _gram(kernel, problem, problem.n_first), dict(kernel.usage)
    found: list[Measured] = [(_against_exact(grams[1.0], problem, config.seed), usages[1.0])]
    for scales in _fits(config).values():
        gram, growth = extrapolate([grams[s] for s in scales], scales, order=len(scales) - 1)
        cost = {key: sum(usages[s][key] for s in scales) for key in usages[1.0]}
        found.append((_against_exact(gram.clip(0, 1), problem, config.seed), cost | {"error_growth": growth}))
    return found


def _against_exact(gram: NDArray[np.float64], problem: Problem, seed: int) -> dict[str, float]:
    exact = _gram(QuantumKernel(feature_map()), problem, problem.n_first)
    # The diagonal of the training block is 1 by definition, never measured.
    measured = np.eye(*gram.shape) == 0
    error = float(np.abs(gram - exact)[measured].mean())
    return {"score": float(_hits(gram, problem, seed).mean()), "kernel_error": error}


def _gram(kernel: QuantumKernel, problem: Problem, n_test: int) -> NDArray[np.float64]:
    """Training points, then the first test points, against the training points: ``(n_train + n_test, n_train)``."""
    return np.vstack([kernel(problem.X), kernel(problem.X_test[:n_test], problem.X)])


def _hits(gram: NDArray[np.float64], problem: Problem, seed: int) -> NDArray[np.bool_]:
    n_train = len(problem.y)
    model = tuned_svm("precomputed", gram[:n_train], problem.y, seed)
    return model.predict(gram[n_train:]) == problem.y_test[: len(gram) - n_train]


def verdicts(measured: Sequence[RunRecord]) -> list[str]:
    """The claims of the paper against the records, in words."""
    exact, control = values(measured, EXACT).mean(), values(measured, RBF).mean()
    text = f"exact kernel {exact:.3f} (expected >= 0.98), RBF-SVM {control:.3f} (expected <= 0.75)"
    lines = [verdict(text, exact >= 0.98 and control <= 0.75)]
    labels = list(dict.fromkeys(record.spec["row"] for record in measured))
    (noise,) = (label for label in labels if label.startswith(NOISE))
    before = values(measured, noise, "kernel_error")
    for label in (label for label in labels if label.startswith(ZNE)):
        after = values(measured, label, "kernel_error")
        text = f"{label}: mean absolute error of the entries falls, {before.mean():.4f} -> {after.mean():.4f}"
        lower = f"lower in {(after < before).sum()} of {len(after)} problems"
        lines.append(verdict(f"{text}, {lower}", after.mean() < before.mean()))
    return lines


if __name__ == "__main__":
    main(Path(__file__).stem)
