"""What was asked of speed and memory, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.step_times import PENNYLANE, Steps, steps_of
from qworkbench.report.tables import NONE, Table
from qworkbench.runs import RunRecord

TIMES_PENNYLANE = {(8, 3, 32): 100, (8, 3, 256): 100, (12, 4, 32): 100, (16, 4, 8): 20, (20, 2, 1): 20}
"""Size -> how many times as fast as the faster PennyLane device in float32; float64 owes half of it."""
TIMES_RANDOM = {(8, 30, 32): 30}
TIMES_JAX = {(4, 2, 32): 1.0, (8, 3, 32): 1.0, (8, 3, 256): 1.0, (12, 4, 32): 1.0, (16, 4, 8): 1 / 1.3}
"""Size -> least ratio of warm tensorcircuit-ng in JAX to us, in the same precision."""


class Goal(NamedTuple):
    """A figure that was asked for."""

    text: str
    bound: float
    measured: float | None
    at_least: bool

    @property
    def verdict(self) -> str:
        """Yes, no, or nothing if it was not measured."""
        if self.measured is None:
            return NONE
        return "yes" if (self.measured >= self.bound if self.at_least else self.measured <= self.bound) else "no"


def goals(records: Sequence[RunRecord]) -> Iterator[Goal]:
    """All of them, measured or not."""
    for steps in steps_of(records):
        yield from _step_goals(steps)
    seconds = {r.spec["when"]: r.metrics["seconds"] for r in records if r.spec["benchmark"] == "first_step"}
    yield Goal("first step, nothing compiled yet, imports apart, s", 15, seconds.get("nothing compiled yet"), False)
    yield Goal("first step, new process, imports apart, s", 0.3, seconds.get("kernels cached, new process"), False)
    yield Goal("first step, next circuit, s", 0.3, seconds.get("kernels cached, next circuit"), False)
    yield Goal("24 qubits forward and backward, GiB", 3, _metric(records, "memory", "peak_gib", [24, 1, 1]), False)
    for by in ("batch", "gates"):
        found = [r.metrics["exponent"] for r in records if r.spec["benchmark"] == "growth" and r.spec["by"] == by]
        yield Goal(f"power of time with {by}", 1.1, found[-1] if found else None, False)
    yield Goal(
        "float32 at 20 qubits, error of outputs", 1e-6, _metric(records, "accuracy", "outputs", [20, 2, 1]), False
    )


def _metric(records: Sequence[RunRecord], benchmark: str, metric: str, size: list[int]) -> float | None:
    found = [r for r in records if r.spec["benchmark"] == benchmark and r.spec["size"] == size]
    return found[-1].metrics[metric] if found else None


def _step_goals(steps: Steps) -> Iterator[Goal]:
    where = f"threads: {steps.threads}"
    for size, times in (TIMES_PENNYLANE if steps.circuit == "ansatz" else TIMES_RANDOM).items():
        for dtype, share in (("float32", 1.0), ("float64", 0.5)):
            ratio = steps.best_ratio(PENNYLANE, size, dtype)
            yield Goal(f"{steps.circuit} {size} {dtype}: times PennyLane, {where}", times * share, ratio, True)
    for size, least in TIMES_JAX.items() if steps.circuit == "ansatz" else ():
        for dtype in ("float32", "float64"):
            ratio = steps.ratio("tensorcircuit jax", dtype, size, dtype)
            yield Goal(f"ansatz {size} {dtype}: times JAX, {where}", least, ratio, True)


def goal_table(records: Sequence[RunRecord]) -> Table:
    """One row a goal."""
    rows = []
    for goal in goals(records):
        measured = NONE if goal.measured is None else f"{goal.measured:.3g}"
        asked = f"{'at least' if goal.at_least else 'at most'} {goal.bound:.3g}"
        rows.append((goal.text, asked, measured, goal.verdict))
    return Table("Goals", ("goal", "asked", "measured", "met"), tuple(rows))
