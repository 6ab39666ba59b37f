"""What a vendor's adapter takes and gives: a batch of compiled circuits in, counts out, submit and fetch apart."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from qiskit import qpy
from qiskit.circuit import QuantumCircuit
from qiskit.transpiler import Target

from qworkbench.cloud.errors import CloudError

Counts: TypeAlias = list[list[dict[int, int]]]
"""``counts[circuit][row]``: outcome -> shots; bit ``q`` of an outcome is classical bit ``q``."""

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
FINAL = (DONE, FAILED, CANCELLED)


def known_state(vendor: str, states: Mapping[str, str], word: str) -> str:
    """Our word for a vendor's.

    Raises:
        CloudError: If there is none; the job stays as it is.
    """
    if word not in states:
        raise CloudError(f"{vendor} reports the state {word!r}, expected one of {', '.join(states)}")
    return states[word]


class JobStatus(NamedTuple):
    """What a vendor says about a job."""

    state: str
    message: str = ""
    """Why it failed."""
    seconds: float | None = None
    """QPU seconds charged, once known."""
    usd: float | None = None
    """Money charged, where the vendor says."""


@dataclass(frozen=True)
class Limits:
    """What a vendor takes."""

    executions: int | None = None
    """Bound circuits a job, at most."""
    shots: int | None = None
    """Shots a circuit, at most."""
    per_minute: int | None = None
    """Submissions a minute, at most."""
    idempotent: bool = False
    """Whether a second submit with the same tag starts no second job."""
    first_poll: float = 0.1
    """Seconds until a job's status is asked again; grows from there."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One job: circuits in the target's gates with final measurements, and the values of their parameters.

    Every circuit runs with every row of values.
    """

    circuits: tuple[QuantumCircuit, ...]
    parameters: tuple[str, ...]
    """Names of the parameters, in the order of the values' columns."""
    values: np.ndarray
    """Shape ``(M, K)``, radians."""
    shots: int
    seed: int = 0
    """For simulators that take one."""

    @property
    def executions(self) -> int:
        """Number of bound circuits."""
        return len(self.circuits) * len(self.values)

    def columns(self, circuit: QuantumCircuit) -> list[int]:
        """The columns whose parameter occurs in a circuit."""
        present = {parameter.name for parameter in circuit.parameters}
        return [k for k, name in enumerate(self.parameters) if name in present]

    def bound(self) -> list[QuantumCircuit]:
        """The bound circuits: all rows of the first circuit, then of the second, ..."""
        made = []
        for circuit in self.circuits:
            columns = self.columns(circuit)
            for row in self.values:
                made.append(circuit.assign_parameters({self.parameters[k]: float(row[k]) for k in columns}))
        return made

    def grouped(self, flat: Sequence[dict[int, int]]) -> Counts:
        """Counts of ``bound()`` by circuit and row."""
        n_rows = len(self.values)
        return [list(flat[k * n_rows : (k + 1) * n_rows]) for k in range(len(self.circuits))]

    def pieces(self, limit: int | None) -> Iterator[tuple[slice, slice, Batch]]:
        """The batch in parts of at most ``limit`` executions, each with its slices of circuits and rows."""
        n_circuits, n_rows = len(self.circuits), len(self.values)
        limit = limit or max(self.executions, 1)
        width = min(n_circuits, limit)
        height = max(1, limit // max(width, 1))
        for c in range(0, n_circuits, width):
            for r in range(0, n_rows, height):
                circuits, rows = slice(c, c + width), slice(r, r + height)
                yield circuits, rows, replace(self, circuits=self.circuits[circuits], values=self.values[rows])

    def to_bytes(self) -> bytes:
        """What the journal keeps: QPY, values and settings in one npz."""
        body, packed = io.BytesIO(), io.BytesIO()
        qpy.dump(list(self.circuits), body, version=qpy.common.QPY_COMPATIBILITY_VERSION)
        settings = json.dumps({"parameters": self.parameters, "shots": self.shots, "seed": self.seed})
        arrays: dict[str, Any] = {"qpy": np.frombuffer(body.getvalue(), np.uint8), "values": self.values}
        np.savez_compressed(packed, settings=np.array(settings), **arrays)
        return packed.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Batch:
        """Read what ``to_bytes`` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            settings = json.loads(str(arrays["settings"]))
            circuits = tuple(qpy.load(io.BytesIO(arrays["qpy"].tobytes())))
            return cls(circuits, tuple(settings["parameters"]), arrays["values"], settings["shots"], settings["seed"])


class Adapter(Protocol):
    """A vendor behind six verbs; opened with the ``Backend`` it stands for, it connects when it first has to.

    One whose vendor runs circuits as they are sent may have an attribute ``mitigates``, a set of ``fold`` (the vendor
    cancels no gates) and ``readout`` (it moves no qubits); without it such mitigation is refused.

    Every verb raises the errors of ``qworkbench.cloud.errors``: ``RefusedError``, ``TransientError`` or
    ``RateLimitedError`` where surely nothing was accepted, ``UnknownJobError``; whatever else a submit raises
    counts as ambiguous.
    """

    limits: Limits
    billable: bool
    """Whether the vendor charges for a job."""
    remote: bool
    """Whether its jobs outlive this process, so that their journal belongs on disk."""

    def target(self) -> Target | None:
        """The device's gates and coupling; None if the other side compiles by itself."""
        ...

    def submit(self, batch: Batch, tag: str) -> str:
        """Send a job that carries ``tag``; returns the vendor's id as soon as it is known."""
        ...

    def status(self, job_id: str) -> JobStatus:
        """How a job is."""
        ...

    def fetch(self, job_id: str, batch: Batch) -> Counts:
        """The counts of a finished job."""
        ...

    def find(self, tag: str) -> list[str]:
        """Ids of all jobs that carry ``tag``, from whatever process."""
        ...

    def cancel(self, job_id: str) -> None:
        """Stop a job; one that has ended stays as it is."""
        ...


def outcome(key: str) -> int:
    """A bit string of Qiskit's counts (``"0 1"``, ``"01"`` or ``"0x1"``) as a number."""
    text = key.replace(" ", "")
    return int(text, 16) if text.startswith("0x") else int(text, 2)
