"""What adapters share whose jobs run at once, while ``submit`` waits: simulators on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from qworkbench.cloud.adapter import DONE, Batch, Counts, JobStatus, Limits
from qworkbench.cloud.errors import UnknownJobError


class ImmediateAdapter:
    """All of ``Adapter`` but ``target``, on top of one function. Abstract."""

    billable = False
    remote = False
    limits = Limits()

    def __init__(self) -> None:
        self._done: dict[str, tuple[str, Counts]] = {}

    def run(self, batch: Batch) -> Sequence[dict[int, int]]:
        """Counts of each bound circuit, in the order of ``batch.bound()``."""
        raise NotImplementedError

    def submit(self, batch: Batch, tag: str) -> str:
        """See ``Adapter``; the job has run when this returns."""
        counts = batch.grouped(self.run(batch))
        job_id = f"local-{len(self._done)}"
        self._done[job_id] = tag, counts
        return job_id

    def status(self, job_id: str) -> JobStatus:
        """See ``Adapter``."""
        if job_id not in self._done:
            raise UnknownJobError(f"no job {job_id} ran in this process")
        return JobStatus(DONE)

    def fetch(self, job_id: str, batch: Batch) -> Counts:
        """See ``Adapter``; a result is given out once, since the journal keeps it."""
        tag, counts = self._done.get(job_id, ("", []))
        if not counts:
            raise UnknownJobError(f"no job {job_id} with a result ran in this process")
        self._done[job_id] = tag, []
        return counts

    def find(self, tag: str) -> list[str]:
        """See ``Adapter``."""
        return [job_id for job_id, (known, _) in self._done.items() if known == tag]

    def cancel(self, job_id: str) -> None:
        """See ``Adapter``; a job has always ended."""
