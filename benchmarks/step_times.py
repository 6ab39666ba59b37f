"""Records of training steps, asked for by size and contestant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qworkbench.runs import RunRecord

OURS, HEAD, BOUND = "qworkbench", "head alone", "bound"
_FIRST = (BOUND, HEAD, OURS)
PENNYLANE = ("default.qubit", "lightning.qubit", "lightning.qubit vjp")


@dataclass(frozen=True)
class Steps:
    """The step times of one circuit family and thread count."""

    circuit: str
    threads: int
    records: tuple[RunRecord, ...]

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Those measured, smallest register first."""
        return sorted({tuple(r.spec["size"]) for r in self.records})

    @property
    def contestants(self) -> list[tuple[str, str]]:
        """Names and precisions: bound, head and ourselves first, then as measured."""
        names = list(dict.fromkeys(r.spec["contestant"] for r in self.records))
        names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
        present = {(r.spec["contestant"], r.spec["dtype"]) for r in self.records}
        return [(n, d) for n in names for d in ("float32", "float64") if (n, d) in present]

    @property
    def clock(self) -> str:
        """CPU time for one thread, since other work on the machine lengthens long steps most; else wall."""
        return "CPU" if self.threads == 1 else "wall"

    def milliseconds(self, contestant: str, dtype: str, size: Sequence[int]) -> float | None:
        """The median by ``clock``, or None if it was not measured."""
        found = self._find(contestant, dtype, size)
        if found is None:
            return None
        cpu = found.metrics.get("cpu_ms") if self.clock == "CPU" else None
        return found.metrics["median_ms"] if cpu is None else cpu

    def value(self, contestant: str, dtype: str, size: Sequence[int], metric: str) -> float | None:
        """A metric, or None if it was not measured."""
        found = self._find(contestant, dtype, size)
        return None if found is None else found.metrics.get(metric)

    def ratio(self, contestant: str, dtype: str, size: Sequence[int], ours: str = "float32") -> float | None:
        """Its median over that of our layer in precision ``ours``; None unless both were measured in one session."""
        theirs, mine = self._find(contestant, dtype, size), self._find(OURS, ours, size)
        if theirs is None or mine is None or theirs.info["session"] != mine.info["session"]:
            return None
        return (self.milliseconds(contestant, dtype, size) or 0) / (self.milliseconds(OURS, ours, size) or 1)

    def best_ratio(self, contestants: Iterable[str], size: Sequence[int], ours: str = "float32") -> float | None:
        """The smallest ratio of these contestants in any precision."""
        ratios = [self.ratio(c, d, size, ours) for c in contestants for d in ("float32", "float64")]
        return min((r for r in ratios if r is not None), default=None)

    def _find(self, contestant: str, dtype: str, size: Sequence[int]) -> RunRecord | None:
        wanted = (contestant, dtype, list(size))
        return next(
            (r for r in self.records if (r.spec["contestant"], r.spec["dtype"], r.spec["size"]) == wanted), None
        )


def steps_of(records: Iterable[RunRecord]) -> list[Steps]:
    """The step times by circuit and threads."""
    groups: dict[tuple[str, int], list[RunRecord]] = {}
    for r in records:
        if r.spec["benchmark"] == "training_step":
            groups.setdefault((r.spec["circuit"], r.spec["threads"]), []).append(r)
    return [Steps(*key, tuple(found)) for key, found in sorted(groups.items())]
