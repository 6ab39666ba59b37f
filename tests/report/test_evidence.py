"""From records to results: grouping, pairing, verdicts, ladders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qworkbench.report.evidence import backend_label, collect
from qworkbench.runs import RunRecord
from qworkbench.stats import corrected_resampled_t

Make = Callable[..., list[RunRecord]]
Spec = Callable[..., dict[str, Any]]


def test_means_intervals_and_order_come_from_the_fold_scores(make: Make) -> None:
    records = make("moons")
    (result,) = collect(records).datasets
    scores = [r.metrics["score"] for r in records if r.kind == "fold" and r.spec["model"] == "mlp"]
    mlp = next(m for m in result.models if m.name == "mlp")
    assert mlp.mean == pytest.approx(np.mean([s for s in scores if s is not None]))
    assert mlp.estimate == corrected_resampled_t(list(mlp.scores.values()), 1 / 4)
    assert len(mlp.scores) == 10
    means = [m.mean for m in result.models]
    assert means == sorted(means, reverse=True)
    hybrid = next(m for m in result.models if m.name == "hybrid")
    assert hybrid.costs["circuits"] == 96_000
    assert hybrid.costs["seconds"] == pytest.approx(41.0, rel=0.1)
    assert mlp.others["balanced_accuracy"] == pytest.approx(mlp.mean - 0.004)


def test_verdict_for_quantum_clearly_worse_clearly_better_and_alike(make: Make) -> None:
    records = make("a_worse") + make("b_better", shift=0.08, seed=1) + make("c_alike", shift=0.023, seed=2)
    outcomes = {}
    for result in collect(records).datasets:
        pair = next(c for c in result.comparisons if c.model == "quantum_kernel")
        assert pair.verdict is not None and pair.gap is not None and pair.p_holm is not None
        assert pair.p_holm >= pair.gap.p_value
        outcomes[result.title] = pair.verdict.outcome
    assert outcomes == {"a_worse": "B better", "b_better": "A better", "c_alike": "undecided"}


def test_holm_family_is_the_quantum_comparisons_of_a_data_set(make: Make) -> None:
    alone = collect(make("moons", ["rbf_svm", "hybrid"])).datasets[0].comparisons[0]
    assert alone.gap is not None and alone.p_holm == pytest.approx(alone.gap.p_value)
    records = make("moons", ["rbf_svm", "hybrid"]) + make("iris", ["rbf_svm", "hybrid"], shift=-0.5)
    first = collect(records).datasets[0].comparisons[0]
    assert first.p_holm == pytest.approx(alone.gap.p_value)  # other data sets do not matter
    pair = collect(make("moons", ["rbf_svm", "hybrid", "variational"])).datasets[0].comparisons
    raw = sorted(c.gap.p_value for c in pair if c.gap is not None)
    assert min(c.p_holm for c in pair if c.p_holm is not None) == pytest.approx(min(1, 2 * raw[0]))


def test_pairing_uses_only_folds_that_both_models_have(make: Make) -> None:
    records = make("moons", ["rbf_svm", "hybrid"], rungs=False)
    kept = [r for r in records if not (r.spec["model"] == "hybrid" and r.spec["repeat"] == 1)]
    (result,) = collect(kept).datasets
    by = {m.name: m.scores for m in result.models}
    expected = [by["hybrid"][0, fold] - by["rbf_svm"][0, fold] for fold in range(5)]
    assert result.comparisons[0].differences == pytest.approx(expected)


def test_recorded_fold_sizes_set_the_correction(fold_spec: Spec) -> None:
    records = [
        RunRecord("fold", fold_spec("moons", m, 0, f), {"score": 0.8 + 0.01 * f}, {"n_train": 100, "n_test": 100})
        for m in ("rbf_svm", "mlp")
        for f in range(3)
    ]
    (result,) = collect(records).datasets
    assert result.facts["test_to_train"] == 1.0
    assert result.models[0].estimate == corrected_resampled_t([0.8 + 0.01 * f for f in range(3)], 1.0)


def test_quantum_without_classical_is_withheld(make: Make) -> None:
    (result,) = collect(make("moons", ["hybrid", "variational"])).datasets
    assert result.models == () and result.rungs == () and result.comparisons == ()
    assert result.withheld == ("hybrid", "variational")
    rungs_only = [r for r in make("moons", ["hybrid"]) if r.kind == "rung"]
    assert collect(rungs_only).datasets[0].withheld == ("hybrid",)


def test_different_protocols_and_fingerprints_are_never_mixed(make: Make, fold_spec: Spec) -> None:
    records = make("moons", ["rbf_svm"])
    other = fold_spec("moons", "hybrid", 0, 0)["protocol"] | {"max_train": 50}
    records += [
        RunRecord("fold", fold_spec("moons", "hybrid", 0, f, protocol=other), {"score": 0.99}) for f in range(5)
    ]
    first, second = collect(records).datasets
    assert [first.title, second.title] == ["moons (protocol 1)", "moons (protocol 2)"]
    assert [m.name for m in first.models] == ["rbf_svm"]
    assert second.withheld == ("hybrid",)


def test_one_model_on_two_backends_is_two_rows(fold_spec: Spec) -> None:
    records = [RunRecord("fold", fold_spec("moons", "rbf_svm", 0, f), {"score": 0.9}) for f in range(3)]
    for backend in ("statevector", "aer?shots=100"):
        records += [
            RunRecord("fold", fold_spec("moons", "hybrid", 0, f, backend=f"{backend}&seed={f}"), {"score": 0.8})
            for f in range(3)
            if "?" in backend
        ]
        records += [
            RunRecord("fold", fold_spec("moons", "hybrid", 0, f, backend=f"{backend}?seed={f}"), {"score": 0.8})
            for f in range(3)
            if "?" not in backend
        ]
    (result,) = collect(records).datasets
    assert {m.name for m in result.models} == {"rbf_svm", "hybrid on statevector", "hybrid on aer?shots=100"}


@pytest.mark.parametrize(
    ("uri", "label"),
    [
        (None, ""),
        ("statevector", "statevector"),
        ("statevector?seed=3", "statevector"),
        ("aer?noise=fake_torino&seed=3&shots=100", "aer?noise=fake_torino&shots=100"),
    ],
)
def test_backend_label_drops_only_the_seed(uri: str | None, label: str) -> None:
    assert backend_label(uri) == label


def test_repeated_folds_count_once_and_undefined_scores_are_told(fold_spec: Spec) -> None:
    records = [RunRecord("fold", fold_spec("moons", "mlp", 0, f), {"score": 0.9}) for f in range(4)]
    records.append(RunRecord("fold", fold_spec("moons", "mlp", 0, 0, params={"C": 2}), {"score": 0.5}))
    records.append(RunRecord("fold", fold_spec("moons", "mlp", 0, 4), {"score": None}))
    (result,) = collect(records).datasets
    assert result.repeated == 1
    assert result.models[0].scores == {(0, 0): 0.5, (0, 1): 0.9, (0, 2): 0.9, (0, 3): 0.9}
    assert result.models[0].undefined == 1


def test_ladder_is_ordered_and_computes_missing_changes(make: Make, fold_spec: Spec) -> None:
    records = [r for r in make("moons", ["rbf_svm", "hybrid"]) if r.kind == "fold"]
    for fold in range(5):
        for rung, score in (("noise", 0.7), ("mystery", 0.1), ("shots", 0.85), ("exact", 0.9 + 0.01 * fold)):
            spec = fold_spec("moons", "hybrid", 0, fold, rung=rung, backend=f"aer?noise={rung}")
            records.append(RunRecord("rung", spec, {"score": score}))
    rungs = collect(records).datasets[0].rungs
    assert [r.rung for r in rungs] == ["exact", "shots", "noise", "mystery"]
    assert rungs[0].change is None
    assert rungs[1].change_mean == pytest.approx(0.85 - 0.92)
    assert rungs[2].change == corrected_resampled_t([0.7 - (0.9 + 0.01 * f) for f in range(5)], 1 / 4)


def test_experiment_rows_average_problems_and_need_a_classical_control() -> None:
    def rows(name: str, *flags: bool | None) -> list[RunRecord]:
        return [
            RunRecord(
                "experiment",
                {"experiment": name, "row": f"row {i}", "quantum": flag, "seed": seed},
                {"score": 0.8 + 0.1 * seed},
                {"published": 0.99},
            )
            for i, flag in enumerate(flags)
            for seed in range(2)
        ]

    evidence = collect(rows("control", True, False) + rows("bare", True, True) + rows("unmarked", None))
    assert list(evidence.experiments) == ["control", "unmarked"]
    assert evidence.withheld_experiments == ("bare",)
    row = evidence.experiments["control"][0]
    mean, half = row.metrics["score"]
    assert mean == pytest.approx(0.85)
    assert half == pytest.approx(12.7062 * 0.05, rel=1e-4)  # t quantile of one degree of freedom, from tables
    assert (row.count, row.published) == (2, 0.99)


def test_trials_are_counted_for_each_fold(fold_spec: Spec) -> None:
    records = [RunRecord("fold", fold_spec("moons", "mlp", 0, f), {"score": 0.9}) for f in range(2)]
    records += [
        RunRecord("trial", fold_spec("moons", "mlp", 0, f, trial=t), {"score": 0.9}) for f in range(2) for t in range(6)
    ]
    assert collect(records).datasets[0].trials == {"mlp": 6}


@pytest.mark.parametrize("kind", ["fold", "rung", "experiment", "failure"])
def test_a_record_without_a_required_key_is_named(kind: str) -> None:
    record = RunRecord(kind, {"dataset": "moons"}, {"score": 0.5})
    with pytest.raises(ValueError, match=rf"record {record.run_id} of kind '{kind}' lacks '\w+'"):
        collect([record])


def test_unknown_kinds_are_ignored() -> None:
    assert collect([RunRecord("something", {"new": 1})]).datasets == ()
