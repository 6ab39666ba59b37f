"""What the experiments on anomaly detection share: detectors of the registry, one measurement, verdicts in words."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from experiments._rows import Measured, Part, Row
from qworkbench.catalog import ModelEntry
from qworkbench.comparison.contestants import Contestant, known_models
from qworkbench.comparison.costs import n_parameters, running_on
from qworkbench.comparison.identity import describe
from qworkbench.comparison.preprocessing import pipeline
from qworkbench.datasets import load_dataset
from qworkbench.detection import contaminated, detection_metrics, seed_spread
from qworkbench.errors import MissingExtraError, unknown_name
from qworkbench.models.safeguard import safeguard_summary
from qworkbench.runs import RunRecord
from qworkbench.stats import auc_difference

QGAN, GAN = "qgan", "gan"
TWINS = (QGAN, GAN)
"""The two that learn in the same way; the number of qubits is the number of components of both."""
THRESHOLD_SHARE = 0.05
"""Share of the training rows beyond the threshold of the F1 score."""
Scored = tuple[NDArray[np.float64] | None, dict[str, Any]]
"""Scores of the test rows, None where the detector does not fit the setting, and information."""
MARGIN = 0.02
"""A smaller loss of AUC or F1 is "comparable"."""


@dataclass(frozen=True)
class Problem:
    """Background to train on, and test rows of background and of one or more kinds of anomalies."""

    name: str
    fingerprint: str
    background: NDArray[np.float64]
    test_background: NDArray[np.float64]
    test_anomalies: Mapping[str, NDArray[np.float64]]
    anomalies: NDArray[np.float64]
    """To contaminate the training with; none of them is tested."""


@dataclass(frozen=True)
class Setting:
    """How detectors are trained on a problem, beside the seed."""

    label: str
    n_train: int
    steps: tuple[str, ...] = ("standardize",)
    n_qubits: int | None = None
    """Of the GANs; None leaves their default."""
    contamination: float = 0.0
    backend: str | None = None
    """Where the trained quantum detectors score; None is where they trained."""
    n_test: int | None = None
    """Test rows of each kind; None takes all."""
    sweeps: Mapping[str, float] = field(default_factory=dict)
    """Quantity -> value, for the figures."""


def detectors(names: Sequence[str]) -> dict[str, ModelEntry]:
    """The detectors of the registry; all whose packages are installed, unless named.

    Raises:
        ValueError: If a name is unknown.
    """
    known = {name: entry for name, entry in known_models().items() if entry.task == "anomaly"}
    for name in names:
        if name not in known:
            raise unknown_name("detector", name, known)
    return {name: known[name] for name in names or known if _installed(known[name])}


def _installed(entry: ModelEntry) -> bool:
    try:
        entry.factory(0)
    except MissingExtraError:
        return False
    return True


def split(data: str, test: int, seed: int = 0) -> Problem:
    """A problem from any data set with task=anomaly.

    Args:
        data: As for ``load_dataset``.
        test: Test rows of either kind, at most half of those there are.
        seed: Of the split.

    Raises:
        ValueError: If the data set is for another task.
    """
    dataset = load_dataset(data)
    if dataset.task != "anomaly":
        raise ValueError(f"expected a data set with task=anomaly, got {dataset.name} for {dataset.task}")
    normal, odd = (_shuffled(dataset.X[dataset.y == kind], seed) for kind in ("normal", "anomaly"))
    n_normal, n_odd = min(test, len(normal) // 2), min(test, len(odd) // 2) if len(odd) > 3 else len(odd)
    return Problem(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        background=normal[n_normal:],
        test_background=normal[:n_normal],
        test_anomalies={"": odd[:n_odd]},
        anomalies=odd[n_odd:],
    )


def _shuffled(rows: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).permutation(rows)


def part(
    problem: Problem, setting: Setting, seed: int, models: Mapping[str, ModelEntry], published: str | None
) -> Part:
    """Rows of one setting, one a detector, on the same training and test rows.

    Args:
        problem: The data.
        setting: Of the training.
        seed: Of the training rows, the weights and the shots.
        models: The detectors.
        published: What the paper says, shown beside the row of the QGAN.
    """
    built = {name: _built(name, entry, setting, seed) for name, entry in models.items()}
    sizes = [len(problem.test_background), *map(len, problem.test_anomalies.values())]
    shared = {
        "n_train": setting.n_train,
        "contamination": setting.contamination,
        "n_test": [min(size, setting.n_test or size) for size in sizes],
        "held_out": sizes,
        "dataset_fingerprint": problem.fingerprint,
    }
    rows = [
        Row(
            f"{name}, {setting.label}",
            models[name].quantum,
            {**shared, "model": name, "setting": setting.label, "estimator": describe(model), "rung": setting.backend},
            published if name == QGAN else None,
        )
        for name, model in built.items()
    ]
    return rows, partial(_measure, problem, setting, seed, built, models)


def _built(name: str, entry: ModelEntry, setting: Setting, seed: int) -> Any:
    params = {"n_qubits": setting.n_qubits} if name in TWINS and setting.n_qubits else {}
    return pipeline(setting.steps, Contestant(name, entry).build(seed, None, params))


def _measure(
    problem: Problem, setting: Setting, seed: int, built: Mapping[str, Any], models: Mapping[str, ModelEntry]
) -> list[Measured]:
    rng = np.random.default_rng(seed)
    train = contaminated(problem.background, problem.anomalies, setting.n_train, setting.contamination, rng)
    background = problem.test_background[: setting.n_test]
    kinds = {kind: rows[: setting.n_test] for kind, rows in problem.test_anomalies.items()}
    test = np.concatenate([background, *kinds.values()])
    found: dict[str, Scored] = {}
    for name, model in built.items():
        backend = setting.backend if models[name].quantum else None
        try:
            found[name] = _scores(model, train, test, backend, seed)
        except ValueError as error:  # e.g. one whose circuit does not fit these features
            print(f"left out: {name}, {setting.label}: {error}", flush=True)
            found[name] = None, {"error": str(error)}
    ends = np.cumsum([len(background), *map(len, kinds.values())])
    slices = {kind: np.r_[0 : ends[0], ends[i] : ends[i + 1]].astype(int) for i, kind in enumerate(kinds)}
    qgan = found[QGAN][0] if QGAN in found else None
    swept = {"sweeps": dict(setting.sweeps)}
    return [_measured(scores, qgan, slices, ends[0], info | swept) for scores, info in found.values()]


def _scores(
    model: Any, train: NDArray[np.float64], test: NDArray[np.float64], backend: str | None, seed: int
) -> Scored:
    """Fit, and score the test rows: higher is more anomalous; ``cut`` is the threshold of the F1 score."""
    start = time.perf_counter()
    model.fit(train)
    fitted = time.perf_counter()
    cut = -float(np.quantile(model.score_samples(train), THRESHOLD_SHARE))
    if backend is None:
        scores, usage = -model.score_samples(test), {}
    else:
        with running_on(model, backend, seed) as usage:
            scores = -model.score_samples(test)
    info = {
        "n_parameters": n_parameters(model),
        "fit_seconds": fitted - start,
        "cut": cut,
        "safeguard": safeguard_summary(model),
    }
    return scores, {**info, **usage}


def _measured(
    scores: NDArray[np.float64] | None,
    qgan: NDArray[np.float64] | None,
    slices: Mapping[str, NDArray[np.intp]],
    n_background: int,
    info: dict[str, Any],
) -> Measured:
    """Metrics of one detector for each kind of anomaly, and DeLong's paired test against the QGAN."""
    if scores is None:
        return {"score": None}, info
    metrics: dict[str, float | None] = {}
    measured, tests = {}, {}
    for kind, rows in slices.items():
        labels = np.arange(len(rows)) >= n_background
        found = detection_metrics(labels, scores[rows])
        shown = {"AUC": "roc_auc", "AP": "average_precision", "1/eps_B(0.3)": "rejection_0.3", "SIC": "significance"}
        values = {name: found[key] for name, key in shown.items()}
        values["F1"] = float(f1_score(labels, scores[rows] > info["cut"]))
        # Of a single kind the area is the score.
        metrics |= {f"{name} {kind}".strip(): v for name, v in values.items() if kind or name != "AUC"}
        measured[kind or "anomaly"] = found
        if qgan is not None:
            gap = auc_difference(labels, scores[rows], qgan[rows])
            tests[kind or "anomaly"] = [gap.mean, gap.low, gap.high, gap.p_value]
    score = float(np.mean([found["roc_auc"] for found in measured.values()]))
    return {"score": score, **metrics}, info | {"measured": measured, "delong_to_qgan": tests}


# Verdicts


def by_seed(measured: Iterable[RunRecord], model: str, setting: str, metric: str = "score") -> dict[int, float]:
    """Seed -> metric of a detector in a setting."""
    return {
        record.spec["problem"]: float(value)
        for record in measured
        if (record.spec["model"], record.spec["setting"]) == (model, setting)
        and (value := record.metrics.get(metric)) is not None
    }


def difference(a: Mapping[int, float], b: Mapping[int, float], *, family: int = 1) -> tuple[str, float, float, float]:
    """Mean of ``a - b`` over the seeds that both have, in words and numbers: text, mean, low, high.

    Args:
        a: Seed -> value.
        b: Seed -> value.
        family: Number of comparisons that this one was chosen from; the interval is Bonferroni's.

    Raises:
        ValueError: If no seed is common.
    """
    seeds = sorted(set(a) & set(b))
    if not seeds:
        raise ValueError("no seed has both results")
    gaps = [a[seed] - b[seed] for seed in seeds]
    if len(gaps) == 1:
        return f"{gaps[0]:+.3f} (one seed)", gaps[0], -np.inf, np.inf
    spread = seed_spread(gaps, confidence=1 - 0.05 / family)
    text = f"{spread.mean:+.3f} [{spread.low:+.3f}, {spread.high:+.3f}] over {len(gaps)} seeds"
    return text, spread.mean, spread.low, spread.high


def fewer_data(measured: Sequence[RunRecord], small: str, large: str, metric: str = "score") -> str:
    """The paper's claim in one line: QGAN with a tenth of the data against GAN with all of it, and the control.

    Reproduced if the interval lies above ``-MARGIN``, not reproduced if it lies below, else undecided. The control
    is the GAN with a tenth of its own data: where that loses nothing either, the claim says nothing of QGANs.
    """
    text, _, low, high = difference(by_seed(measured, QGAN, small, metric), by_seed(measured, GAN, large, metric))
    word = "reproduced" if low > -MARGIN else "not reproduced" if high < -MARGIN else "undecided"
    control, _, least, _ = difference(by_seed(measured, GAN, small, metric), by_seed(measured, GAN, large, metric))
    also = "; so does the classical twin" if word == "reproduced" and least > -MARGIN else ""
    name = "mean AUC" if metric == "score" else metric
    return f"{word}: {name} of qgan ({small}) minus gan ({large}) = {text}{also} (gan minus gan: {control})"


def dominated(measured: Sequence[RunRecord], setting: str, metric: str = "score") -> str:
    """Whether a classical detector with the same training rows and features beats the best quantum one.

    Both are the best by their means here; the interval allows for the choice of the opponent.
    """
    means: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for record in measured:
        if record.spec["setting"] == setting:
            found = by_seed(measured, record.spec["model"], setting, metric)
            if found:
                means[record.spec["quantum"]][record.spec["model"]] = float(np.mean(list(found.values())))
    if not all(means.values()):
        return f"undecided: {setting} has no quantum or no classical detector"
    best, opponent = (max(group, key=group.__getitem__) for group in (means[True], means[False]))
    a, b = (by_seed(measured, name, setting, metric) for name in (opponent, best))
    text, _, low, high = difference(a, b, family=len(means[False]))
    better = [name for name, value in means[False].items() if value > means[True][best]]
    word = f"dominated by {opponent}" if low > 0 else "not dominated" if high < 0 else f"undecided against {opponent}"
    tests = _delong(measured, setting, opponent) if best == QGAN else ""
    count = f"{len(better)} of {len(means[False])} classical detectors have the higher mean"
    return f"{word}: {setting}: {opponent} minus {best} = {text}{tests}; {count}"


def classical_parts(measured: Iterable[RunRecord]) -> str:
    """In how many trainings of guarded detectors part of the score is classical, and where the most of it is."""
    shares = {
        (record.spec["row"], record.spec["problem"]): float(guard["classical_share"])
        for record in measured
        if (guard := record.info.get("safeguard")) is not None
    }
    found = [value for value in shares.values() if value]
    text = f"measured: the safeguard added a classical part to the score in {len(found)} of {len(shares)} trainings"
    if not found:
        return text
    (row, seed), most = max(shares.items(), key=lambda item: item[1])
    return f"{text}; the largest is {most:.0%} of the spread ({row}, seed {seed})"


def _delong(measured: Iterable[RunRecord], setting: str, opponent: str) -> str:
    """In how many of the single trainings DeLong's paired test tells the opponent from the QGAN, at 5 %."""
    rows = [r for r in measured if (r.spec["model"], r.spec["setting"]) == (opponent, setting)]
    tests = [test for r in rows for test in r.info.get("delong_to_qgan", {}).values()]
    better, worse = (sum(p < 0.05 and sign * mean > 0 for mean, _, _, p in tests) for sign in (1, -1))
    return f", DeLong p < 0.05 for it in {better} and against it in {worse} of {len(tests)} tests"
