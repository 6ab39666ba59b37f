"""What vendors charge: rows with source and date, and the estimate of a job's cost made from them."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, replace

from qworkbench.backend import Backend

STALE_DAYS = 90


@dataclass(frozen=True)
class Tariff:
    """Prices in US dollars, and how long a QPU is taken."""

    source: str
    as_of: str
    """ISO date on which the source said so."""
    per_task: float = 0.0
    per_shot: float = 0.0
    per_second: float = 0.0
    seconds_per_task: float = 0.0
    """QPU seconds of a task whatever it holds."""
    seconds_per_shot: float = 0.0
    """QPU seconds of each shot."""
    minimum_seconds: float = 0.0
    """A task is charged for at least so long."""
    executions_per_task: int | None = None
    """Circuits that one task takes, as far as known without asking the vendor."""
    caveat: str = ""
    page: str = ""
    """Where the vendor itself says what it charges today."""

    def seconds(self, executions: int, shots: int) -> float:
        """QPU seconds of one task of ``executions`` circuits with ``shots`` shots each."""
        return max(self.minimum_seconds, self.seconds_per_task + executions * shots * self.seconds_per_shot)

    def usd(self, executions: int, shots: int) -> float:
        """US dollars of one task."""
        money = self.per_task + executions * shots * self.per_shot
        return money + self.per_second * self.seconds(executions, shots)

    def __str__(self) -> str:
        units = {"task": self.per_task, "shot": self.per_shot, "QPU second": self.per_second}
        parts = [f"{price:.6g} USD a {unit}" for unit, price in units.items() if price]
        return " + ".join(parts) or "free"

    def origin(self, today: datetime.date | None = None) -> str:
        """Source and date in one line, with what to check where the price is older than ``STALE_DAYS``."""
        age = (today or datetime.date.today()) - datetime.date.fromisoformat(self.as_of)
        old = age.days > STALE_DAYS and str(self) != "free"
        check = f"; that is {age.days} days ago, so compare with {self.page} before you spend much" if old else ""
        return f"{self.source}, {self.as_of}{check}"


FREE = Tariff("runs on this machine, or the vendor does not charge for it", "2026-11-21")

# About 2 s of overhead a job, and for each shot the usual repetition delay of 250 us, circuit and readout. IBM's own
# figure comes only after the submit (usage_estimation); what it charges in the end is what the journal keeps.
_IBM = Tariff(
    "IBM Quantum plans overview as transcribed by api-evangelist/ibm-quantum",
    "2026-05-25",
    per_second=1.60,
    seconds_per_task=2.0,
    seconds_per_shot=3.5e-4,
    page="https://www.ibm.com/quantum/pricing",
)
_BRAKET_PAGE = "https://aws.amazon.com/braket/pricing/"
_AWS = Tariff(
    "Amazon Braket price table in a public repository, checked against docs.qbraid.com",
    "2026-06-30",
    per_task=0.30,
    executions_per_task=100,
    caveat="tasks counted as program sets of 100 circuits",
    page=_BRAKET_PAGE,
)
_SV1 = Tariff(
    "Amazon Braket's usual price of SV1; the device itself tells its price once connected",
    "2026-11-21",
    per_second=0.075 / 60,
    minimum_seconds=3.0,
    seconds_per_shot=1e-4,
    executions_per_task=1,
    page=_BRAKET_PAGE,
)

TARIFFS: tuple[tuple[str, Tariff], ...] = (
    (r"ibm:.*\bplan=open\b", replace(_IBM, per_second=0.0, caveat="10 free minutes in 28 days")),
    (r"ibm:.*\bplan=flex\b", replace(_IBM, per_second=72 / 60)),
    (r"ibm:.*\bplan=premium\b", replace(_IBM, per_second=48 / 60)),
    (r"ibm:", _IBM),
    (r"braket:.*forte", replace(_AWS, per_shot=0.08)),
    (r"braket:.*garnet", replace(_AWS, per_shot=0.00145)),
    (r"braket:.*emerald", replace(_AWS, per_shot=0.0016)),
    (r"braket:.*cepheus", replace(_AWS, per_shot=0.000425)),
    (r"braket:.*ibex", replace(_AWS, per_shot=0.0235)),
    (r"braket:(.*/)?sv1\b", _SV1),
    (r"ionq:simulator\b", FREE),
    (r"(braket-local|ibm-fake|aer|generic|statevector|pennylane)\b", FREE),
    (r"worker:[^/]+/(iqm-fake|aqt-offline|ab-local|aer)\b", FREE),
)
"""Pattern of a URI -> its tariff; the first that matches counts."""


def tariff(backend: Backend) -> Tariff | None:
    """The tariff of a backend; None if no price is known."""
    text = str(backend).lower()
    return next((found for pattern, found in TARIFFS if re.match(pattern, text)), None)
