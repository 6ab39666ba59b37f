"""What the user says about remote jobs: budget, run, journal and waiting, as options of the backend's URI.

The environment may give the budget (``QWORKBENCH_BUDGET``) and the journal (``QWORKBENCH_JOURNAL``) instead.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from qworkbench.backend import MITIGATION, Backend
from qworkbench.errors import unknown_name

OPTIONS = ("ambiguous", "budget", "grace", "journal", "optimization_level", "rate", "run", "timeout")
"""Options of every remote backend; all but ``optimization_level`` leave the results as they are."""
BUDGET_VARIABLE = "QWORKBENCH_BUDGET"
JOURNAL_VARIABLE = "QWORKBENCH_JOURNAL"
MEMORY = ":memory:"
DEFAULT_SHOTS = 1024
"""Shots of a circuit where the URI gives none."""


@dataclass(frozen=True)
class Settings:
    """How jobs are paid, kept and awaited.

    Raises:
        ValueError: If a number is out of range or ``ambiguous`` is unknown.
    """

    budget: float = 0.0
    """US dollars that all jobs of the run may cost."""
    run: str = "default"
    """Jobs of one run are its history: running it again replays what the journal holds and pays only for the rest."""
    journal: str = MEMORY
    """File of the journal, or ``:memory:``."""
    timeout: float = 86400.0
    """Seconds to wait for a job before giving up waiting."""
    grace: float = 30.0
    """Seconds during which a job of unknown fate is looked up by its tag."""
    rate: int | None = None
    """Submissions a minute, instead of the vendor's own limit."""
    ambiguous: str = "ask"
    """``ask``: a billable job of unknown fate is left to the user; ``resend``: it is sent again after the grace."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.budget) or self.budget < 0:
            raise ValueError(f"expected a budget of at least 0 US dollars, got {self.budget}")
        waits = math.isfinite(self.timeout) and self.timeout > 0 and math.isfinite(self.grace) and self.grace >= 0
        if not waits or (self.rate is not None and self.rate < 1):
            raise ValueError(
                "expected a positive timeout, a grace of at least 0 seconds and a rate of at least 1 a minute, "
                f"got {self.timeout:g}, {self.grace:g} and {self.rate}"
            )
        if self.ambiguous not in ("ask", "resend"):
            raise unknown_name("way to treat ambiguous jobs", self.ambiguous, ("ask", "resend"))


def check_options(backend: Backend, *own: str) -> None:
    """Refuse options that neither every remote backend nor this vendor has.

    Args:
        backend: The backend.
        own: Names of the vendor's own options.

    Raises:
        ValueError: If an option is unknown, with the nearest ones.
    """
    known = (*OPTIONS, *MITIGATION, *own)
    for key, _ in backend.options:
        if key not in known:
            raise unknown_name(f"option of {backend.name}", key, (*known, "seed", "shots"))


def default_journal() -> str:
    """The journal's file: ``$QWORKBENCH_JOURNAL``, else ``runs/jobs.sqlite`` in the working directory."""
    return os.environ.get(JOURNAL_VARIABLE) or str(Path("runs") / "jobs.sqlite")


def read_settings(backend: Backend, *, remote: bool) -> Settings:
    """The settings in a backend's options.

    Args:
        backend: The backend.
        remote: Whether jobs outlive this process; if not, the journal is kept in memory by default.

    Raises:
        ValueError: If a value is no number or out of range.
    """
    options = dict(backend.options)
    if "budget" not in options and (allowed := os.environ.get(BUDGET_VARIABLE)):
        options["budget"] = allowed
    numbers = {key: _number(key, options[key]) for key in ("budget", "timeout", "grace") if key in options}
    rate = _whole("rate", options["rate"]) if "rate" in options else None
    texts = {key: options[key] for key in ("run", "ambiguous") if key in options}
    journal = options.get("journal") or (default_journal() if remote else MEMORY)
    return Settings(journal=journal, rate=rate, **numbers, **texts)  # type: ignore[arg-type]


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number for {key!r}, got {text!r}") from None


def _whole(key: str, text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"expected a whole number for {key!r}, got {text!r}")
    return int(text)


def optimization_level(backend: Backend) -> int:
    """Qiskit's level at which circuits are compiled for the backend; 1 by default.

    Raises:
        ValueError: If it is none of 0 to 3.
    """
    given = backend.option("optimization_level", "1")
    if given not in ("0", "1", "2", "3"):
        raise ValueError(f"expected an optimization_level of 0 to 3, got {given!r}")
    return int(given)


def identity(backend: Backend) -> str:
    """What of a backend finds its jobs again: the URI without budget, run and the like."""
    # The fit is applied to counts, so another one needs no other jobs.
    return _without(backend, {*OPTIONS, "zne_fit"} - {"optimization_level"})


def key_identity(backend: Backend) -> str:
    """What of a backend defines its results, so not how its jobs are queued and paid."""
    return _without(Backend.parse(identity(backend)), {"mode", "plan", "spending_limit"})


def _without(backend: Backend, left_out: set[str]) -> str:
    kept = tuple((k, v) for k, v in backend.options if k not in left_out)
    return str(replace(backend, options=kept))
