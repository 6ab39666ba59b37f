"""How many shots a circuit gets in each step of a training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qworkbench.errors import unknown_name

DEFAULT_ERROR = 0.5
"""Relative error of the gradient that ``relative`` aims at by default."""
MEMORY = 0.8
"""Weight of the past in the running estimates of a gradient's noise and size."""
STRIDE = 2.0
"""Factor by which the number of shots changes from one step to the next, at most."""


@dataclass(frozen=True)
class ShotSchedule:
    """Shots a circuit, step by step.

    Raises:
        ValueError: If the kind is unknown or a number is out of range.
    """

    kind: str
    """A key of ``SCHEDULES``."""
    start: int
    stop: int
    error: float = DEFAULT_ERROR
    """Relative standard error of the gradient that ``relative`` aims at."""

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise unknown_name("shot schedule", self.kind, SCHEDULES)
        if not 1 <= self.start <= self.stop:
            raise ValueError(f"expected shots from at least 1 up to a larger number, got {self.start}-{self.stop}")
        if not self.error > 0:
            raise ValueError(f"expected a positive relative error, got {self.error}")
        if self.halves and self.start < 2:
            raise ValueError("expected at least 2 shots, since each gradient is measured in two halves")

    @property
    def halves(self) -> bool:
        """Whether each gradient is measured in two halves, whose difference tells its error."""
        return self.kind == "relative"

    @classmethod
    def parse(cls, text: str | int | ShotSchedule) -> ShotSchedule:
        """From a number (``256``), ``growing:64-4096``, ``relative:64-4096`` or ``relative:64-4096,0.3``.

        Raises:
            ValueError: If the text is none of these.
        """
        if isinstance(text, ShotSchedule):
            return text
        if isinstance(text, int) or str(text).isdigit():
            return cls("fixed", int(text), int(text))
        kind, _, rest = str(text).partition(":")
        if kind not in SCHEDULES:
            raise unknown_name("shot schedule", kind, SCHEDULES)
        span, _, error = rest.partition(",")
        try:
            start, stop = (int(part) for part in span.split("-"))
            return cls(kind, start, stop, float(error or DEFAULT_ERROR))
        except ValueError as problem:
            if str(problem).startswith("expected"):
                raise
            raise ValueError(f"expected a shot schedule such as 256, 'growing:64-4096', got {text!r}") from None

    def __str__(self) -> str:
        if self.kind == "fixed":
            return str(self.start)
        return f"{self.kind}:{self.start}-{self.stop}" + (f",{self.error:g}" if self.halves else "")


@dataclass
class ShotState:
    """Where a schedule stands; what a checkpoint holds of it."""

    step: int = 0
    shots: int = 0
    """Shots of the next step; 0 before the first."""
    noise: float = 0.0
    """Running mean of the gradient's squared standard error."""
    signal: float = 0.0
    """Running mean of the gradient's squared size, without the noise's share."""

    @property
    def relative_error(self) -> float:
        """Of the gradient; infinite while nothing stands out of the noise."""
        return float("inf") if self.signal <= 0 else (self.noise / self.signal) ** 0.5

    def observe(self, noise: float, signal: float) -> None:
        """Take in the squared standard error and the squared size of one gradient."""
        past = MEMORY if self.noise else 0.0
        self.noise = past * self.noise + (1 - past) * noise
        self.signal = past * self.signal + (1 - past) * signal


def _fixed(schedule: ShotSchedule, state: ShotState, n_steps: int) -> float:
    return schedule.start


def _growing(schedule: ShotSchedule, state: ShotState, n_steps: int) -> float:
    """Geometric: cheap steps while the gradient is large, precise ones near the end."""
    return schedule.start * (schedule.stop / schedule.start) ** (state.step / max(n_steps - 1, 1))


def _relative(schedule: ShotSchedule, state: ShotState, n_steps: int) -> float:
    """As many as bring the gradient's relative standard error to its target: the error falls as 1/sqrt(shots).

    The norm test of Byrd et al. 2012 (Math. Program. 134, 127), with shots in the place of samples; for each
    component by itself it is iCANS (Kübler et al. 2020, Quantum 4, 263).
    """
    if not state.shots:
        return schedule.start
    wanted = state.shots * (state.relative_error / schedule.error) ** 2
    return min(max(wanted, state.shots / STRIDE), state.shots * STRIDE)


SCHEDULES: dict[str, Callable[[ShotSchedule, ShotState, int], float]] = {
    "fixed": _fixed,
    "growing": _growing,
    "relative": _relative,
}
"""Kind -> shots of the next step."""


def next_shots(schedule: ShotSchedule, state: ShotState, n_steps: int) -> int:
    """Shots a circuit of the next step.

    Args:
        schedule: The schedule.
        state: Where the run stands.
        n_steps: Steps of the whole run.
    """
    wanted = SCHEDULES[schedule.kind](schedule, state, n_steps)
    return round(min(max(wanted, schedule.start), schedule.stop))
