"""Sort records into results: scores, paired comparisons, ladders and verdicts, before any formatting."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats as distributions

from qworkbench.report.results import (
    CONFIDENCE,
    ROPE,
    RUNG_ORDER,
    Cell,
    Comparison,
    DatasetResult,
    Evidence,
    ExperimentRow,
    Failure,
    ModelResult,
    Rung,
)
from qworkbench.runs import RunRecord
from qworkbench.stats import Estimate, corrected_resampled_t, holm, verdict


def collect(records: Iterable[RunRecord]) -> Evidence:
    """Sort records into results.

    Raises:
        ValueError: If a record lacks a required key; its id and the key are named.
    """
    everything = tuple(records)
    by_kind: dict[str, list[RunRecord]] = defaultdict(list)
    for record in everything:
        by_kind[record.kind].append(record)
    experiments, withheld = _experiments(by_kind["experiment"])
    return Evidence(
        datasets=_datasets(by_kind),
        experiments=experiments,
        withheld_experiments=withheld,
        failures=tuple(_failure(r) for r in by_kind["failure"] if not r.info.get("resolved")),
        sessions=tuple(r.info for r in by_kind["session"]),
        records=everything,
    )


def _need(record: RunRecord, key: str) -> Any:
    for part in (record.spec, record.metrics, record.info):
        if key in part:
            return part[key]
    raise ValueError(f"record {record.run_id} of kind {record.kind!r} lacks {key!r}: see qworkbench.report")


def _datasets(by_kind: dict[str, list[RunRecord]]) -> tuple[DatasetResult, ...]:
    groups: dict[tuple[str, str, str], dict[str, list[RunRecord]]] = {}
    for kind in ("fold", "rung", "trial"):
        for record in by_kind[kind]:
            protocol = json.dumps(record.spec.get("protocol", {}), sort_keys=True)
            key = (_need(record, "dataset"), str(record.spec.get("dataset_fingerprint")), protocol)
            groups.setdefault(key, defaultdict(list))[kind].append(record)
    sources: dict[str, str] = {}
    for session in by_kind["session"]:
        sources |= session.info.get("sources") or {}
    names = [key[0] for key, group in groups.items() if group["fold"] or group["rung"]]
    seen: dict[str, int] = defaultdict(int)
    results = []
    for (name, _, _), group in groups.items():
        if not group["fold"] and not group["rung"]:  # tuning was cut short: nothing to show yet
            continue
        seen[name] += 1
        title = name if names.count(name) == 1 else f"{name} (protocol {seen[name]})"
        results.append(_dataset(title, group, sources.get(name)))
    return _with_verdicts(results)


def _dataset(title: str, group: dict[str, list[RunRecord]], source: str | None) -> DatasetResult:
    folds = group["fold"]
    first = (folds or group["rung"])[0]
    ratio = _test_to_train(folds or group["rung"])
    cells = _by_model(folds)
    models = [m for m in (_model(label, rows, ratio) for label, rows in cells.items()) if m.scores]
    models.sort(key=lambda m: (-m.mean, m.name))
    has_classical = any(not m.quantum for m in models)
    unopposed = [m.name for m in models if m.quantum] or [str(r.spec["model"]) for r in group["rung"]]
    shown = tuple(m for m in models if has_classical or not m.quantum)
    facts = {k: first.spec.get(k) for k in ("n_samples", "n_features", "task", "dataset_fingerprint")}
    facts["test_to_train"] = ratio
    info_source = next((r.info["source"] for r in folds if r.info.get("source")), None)
    return DatasetResult(
        title=title,
        dataset=first.spec["dataset"],
        facts=facts,
        protocol=first.spec.get("protocol", {}),
        source=source or info_source,
        models=shown,
        comparisons=_comparisons(shown, ratio),
        rungs=_rungs(group["rung"], folds, ratio) if has_classical else (),
        trials=_trials(group["trial"]),
        withheld=() if has_classical else tuple(dict.fromkeys(unopposed)),
        repeated=len(folds) - sum(len({_cell(r) for r in rows}) for rows in cells.values()),
    )


def backend_label(uri: str | None) -> str:
    """A backend URI without its seed, which differs between folds."""
    if not uri:
        return ""
    name, _, query = uri.partition("?")
    options = [part for part in query.split("&") if part and not part.startswith("seed=")]
    return f"{name}?{'&'.join(options)}" if options else name


def _cell(record: RunRecord) -> Cell:
    return int(record.spec.get("repeat", 0)), int(_need(record, "fold"))


def _by_model(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Records by model name, with the backend and the settings added where one name stands for several."""
    backends: dict[str, set[str]] = defaultdict(set)
    variants: dict[str, set[str]] = defaultdict(set)
    for record in records:
        model = _need(record, "model")
        backends[model].add(backend_label(record.spec.get("backend")))
        variants[model].add(_variant(record))
    rows: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        model, backend = record.spec["model"], backend_label(record.spec.get("backend"))
        label = f"{model} on {backend}" if len(backends[model]) > 1 else model
        rows[f"{label} ({_variant(record)})" if len(variants[model]) > 1 else label].append(record)
    return rows


def _variant(record: RunRecord) -> str:
    """A short digest of what a model was before tuning, leaving out seeds and the backend."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in ("random_state", "backend")}
        return [plain(v) for v in value] if isinstance(value, list) else value

    settings = json.dumps([plain(record.spec.get("estimator")), record.spec.get("version")], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:6]


def _test_to_train(folds: Sequence[RunRecord]) -> float | None:
    """n_test / n_train of one fold; None if there is one fold only and sizes are not recorded."""
    sizes = [(r.info.get("n_test") or 0, r.info.get("n_train") or 0) for r in folds]
    if all(test > 0 and train > 0 for test, train in sizes):
        return float(np.mean([test / train for test, train in sizes]))
    count = int(folds[0].spec.get("protocol", {}).get("folds") or 1 + max(_cell(r)[1] for r in folds))
    return 1 / (count - 1) if count > 1 else None


def _estimate(values: Sequence[float], ratio: float | None) -> Estimate | None:
    if ratio is None or len(values) < 2:
        return None
    return corrected_resampled_t(values, ratio, confidence=CONFIDENCE)


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(v) for v in values if isinstance(v, int | float)]
    return float(np.mean(known)) if known else None


def _means(rows: Sequence[dict[str, Any]], names: Iterable[str]) -> dict[str, float]:
    means = {name: _mean(row.get(name) for row in rows) for name in names}
    return {name: value for name, value in means.items() if value is not None}


def _model(label: str, records: Sequence[RunRecord], ratio: float | None) -> ModelResult:
    latest = {_cell(r): r for r in records}
    scores = {cell: s for cell, r in sorted(latest.items()) if (s := _need(r, "score")) is not None}
    infos = [r.info for r in latest.values()]
    seconds = _means(infos, ("tune_seconds", "fit_seconds", "predict_seconds"))
    costs = _means(infos, ("circuits", "shots", "n_parameters"))
    others = sorted({name for r in latest.values() for name in r.metrics} - {"score"})
    curves = (tuple(v for v in i["loss_curve"] if v is not None) for i in infos if i.get("loss_curve"))
    return ModelResult(
        name=label,
        quantum=bool(_need(records[0], "quantum")),
        scores=scores,
        mean=float(np.mean(list(scores.values()))) if scores else float("nan"),
        estimate=_estimate(list(scores.values()), ratio),
        others=_means([dict(r.metrics) for r in latest.values()], others),
        costs=costs | ({"seconds": sum(seconds.values())} if seconds else {}),
        loss_curves=tuple(curve for curve in curves if len(curve) > 1),
        undefined=len(latest) - len(scores),
    )


def _comparisons(models: Sequence[ModelResult], ratio: float | None) -> tuple[Comparison, ...]:
    reference = next((m for m in models if not m.quantum), None)
    found = []
    for model in models if reference else ():
        if reference is None or model is reference:
            continue
        shared = [cell for cell in model.scores if cell in reference.scores]
        differences = tuple(model.scores[c] - reference.scores[c] for c in shared)
        gap = _estimate(differences, ratio)
        found.append(Comparison(model.name, reference.name, model.quantum, differences, gap))
    return tuple(found)


def _with_verdicts(results: Sequence[DatasetResult]) -> tuple[DatasetResult, ...]:
    """Add Holm-corrected p-values: on each data set a family of the quantum, one of the classical comparisons.

    A family does not reach across data sets, so that a comparison reads the same alone and beside others.
    """
    adjusted: dict[tuple[int, str], float] = {}
    for i, result in enumerate(results):
        for quantum in (True, False):
            alike = [c for c in result.comparisons if c.quantum == quantum]
            family = [(c.model, c.gap.p_value) for c in alike if c.gap is not None]
            if family:
                corrected = holm([p for _, p in family])
                adjusted |= {(i, name): float(p) for (name, _), p in zip(family, corrected, strict=True)}
    return tuple(
        replace(
            result,
            comparisons=tuple(_decide(c, adjusted.get((i, c.model)), result) for c in result.comparisons),
        )
        for i, result in enumerate(results)
    )


def _decide(comparison: Comparison, p_holm: float | None, result: DatasetResult) -> Comparison:
    ratio = result.facts["test_to_train"]
    if p_holm is None or ratio is None:
        return comparison
    decided = verdict(
        comparison.differences,
        ratio,
        names=(comparison.model, comparison.reference),
        rope=ROPE,
        confidence=CONFIDENCE,
        p_value=p_holm,
    )
    return replace(comparison, p_holm=p_holm, verdict=decided)


def _rungs(records: Sequence[RunRecord], folds: Sequence[RunRecord], ratio: float | None) -> tuple[Rung, ...]:
    groups: dict[tuple[str, str, str], dict[Cell, RunRecord]] = defaultdict(dict)
    exact: dict[tuple[str, Cell], float] = {}
    for record in records:
        rung = str(_need(record, "rung"))
        model = str(_need(record, "model"))
        groups[model, rung, backend_label(record.spec.get("backend"))][_cell(record)] = record
        score = _need(record, "score")
        if rung == "exact" and score is not None:
            exact[model, _cell(record)] = score
    models = list(dict.fromkeys(str(r.spec["model"]) for r in folds))
    noisy = {_alike(r): r for r in records if r.spec["rung"] == "noise"}
    rungs = [r for key, cells in groups.items() if (r := _rung(key, cells, exact, noisy, ratio)) is not None]
    return tuple(sorted(rungs, key=lambda r: (_place(r.model, models), _place(r.rung, RUNG_ORDER))))


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _rung(
    key: tuple[str, str, str],
    cells: dict[Cell, RunRecord],
    exact: dict[tuple[str, Cell], float],
    noisy: dict[tuple[Any, ...], RunRecord],
    ratio: float | None,
) -> Rung | None:
    model, rung, backend = key
    scores = {c: float(s) for c, r in cells.items() if (s := r.metrics["score"]) is not None}
    if not scores:
        return None
    changes = []
    for cell, score in scores.items():
        change = cells[cell].metrics.get("score_change")
        if change is None and (model, cell) in exact:
            change = score - exact[model, cell]
        if change is not None and rung != "exact":
            changes.append(float(change))
    rows = [{**r.spec, **r.metrics, **r.info} for r in cells.values()]
    losses = [float(v) for row in rows if (v := row.get("loss")) is not None]
    gains = [g for r in cells.values() if (g := _gain(r, noisy)) is not None] if rung == "mitigated" else []
    return Rung(
        model,
        rung,
        backend,
        mean=float(np.mean(list(scores.values()))),
        estimate=_estimate(list(scores.values()), ratio),
        change=_estimate(changes, ratio),
        change_mean=_mean(changes),
        loss=_estimate(losses, ratio),
        loss_mean=_mean(losses),
        gain=_estimate(gains, ratio),
        extras=_means(rows, ("std_error", "mean_abs_output_change", "circuits", "seconds", "shots", "ladder_samples")),
    )


def _alike(record: RunRecord) -> tuple[Any, ...]:
    """What a noisy and a mitigated record must share to be compared: all but the mitigation and the seed."""
    spec = record.spec
    name, _, query = str(spec.get("backend")).partition("?")
    options = sorted(o for o in query.split("&") if not o.startswith(("mitigation=", "zne_", "seed=")))
    return spec["model"], _cell(record), spec.get("shots"), spec.get("ladder_samples"), name, *options


def _gain(record: RunRecord, noisy: dict[tuple[Any, ...], RunRecord]) -> float | None:
    other = noisy.get(_alike(record))
    both = [None if r is None else r.metrics.get("mean_abs_output_change") for r in (other, record)]
    return None if both[0] is None or both[1] is None else both[0] - both[1]


def _trials(records: Sequence[RunRecord]) -> dict[str, int]:
    counts: dict[tuple[str, Cell], int] = defaultdict(int)
    for record in records:
        counts[str(_need(record, "model")), _cell(record)] += 1
    fullest: dict[str, int] = {}
    for (model, _), count in counts.items():
        fullest[model] = max(count, fullest.get(model, 0))
    return fullest


def _failure(record: RunRecord) -> Failure:
    names = ("experiment", "row", "dataset", "model", "rung", "repeat", "fold")
    parts = [str(v) if n in names[:4] else f"{n} {v}" for n in names if (v := record.spec.get(n)) is not None]
    return Failure(", ".join(parts) or record.run_id, str(_need(record, "error")))


def _experiments(
    records: Sequence[RunRecord],
) -> tuple[dict[str, tuple[ExperimentRow, ...]], tuple[str, ...]]:
    tables: dict[str, dict[str, list[RunRecord]]] = {}
    for record in records:
        rows = tables.setdefault(str(_need(record, "experiment")), {})
        rows.setdefault(str(_need(record, "row")), []).append(record)
    shown: dict[str, tuple[ExperimentRow, ...]] = {}
    withheld = []
    for name, rows in tables.items():
        made = tuple(_experiment_row(label, found) for label, found in rows.items())
        flags = {row.quantum for row in made}
        if True in flags and False not in flags:
            withheld.append(name)
        else:
            shown[name] = made
    return shown, tuple(withheld)


def _experiment_row(label: str, records: Sequence[RunRecord]) -> ExperimentRow:
    info = {k: v for r in records for k, v in r.info.items()}
    names = list(dict.fromkeys(name for r in records for name in r.metrics))
    names.sort(key=lambda name: name != "score")
    metrics = {}
    for name in names:
        values = [v for r in records if (v := r.metrics.get(name)) is not None]
        if values:
            metrics[name] = (float(np.mean(values)), _half_width(values))
    quantum = records[0].spec.get("quantum")
    model, sweeps = records[0].spec.get("model"), info.get("sweeps") or {}
    published, source = info.get("published"), info.get("source")
    return ExperimentRow(label, published, source, metrics, len(records), quantum, model, sweeps)


def _half_width(values: Sequence[float]) -> float | None:
    """Half the Student t interval of the mean of independent problems."""
    if len(values) < 2:
        return None
    quantile = distributions.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)
    return float(quantile * np.std(values, ddof=1) / np.sqrt(len(values)))
