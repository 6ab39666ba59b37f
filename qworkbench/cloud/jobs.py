"""What a person may do with the jobs in a journal: look, wait, adopt, cancel, export."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from qworkbench.backend import Backend
from qworkbench.cloud import journal as states
from qworkbench.cloud.adapter import Batch
from qworkbench.cloud.dispatch import UNSETTLED, Dispatcher, patiently
from qworkbench.cloud.errors import JobCancelledError, UnknownJobError
from qworkbench.cloud.journal import Job, Journal
from qworkbench.cloud.prices import tariff
from qworkbench.cloud.registry import open_adapter
from qworkbench.cloud.secrets import mask, mask_logs
from qworkbench.cloud.settings import read_settings


def resume(journal: Journal, name: str, *, resend: bool = False, timeout: float = 60.0, grace: float = 30.0) -> Job:
    """Find out how a job is, and store its result if it has one.

    Args:
        journal: The journal.
        name: The job's tag, the vendor's id, or the beginning of one of them.
        resend: The user's word that a job of unknown fate, a cancelled or a failed one, or one whose result is lost,
            may be sent again; the next run that needs it does. What it has cost still counts.
        timeout: Seconds to wait for it.
        grace: Seconds during which a job of unknown fate is looked up by its tag.

    Raises:
        ValueError: If there is no such job.
        AmbiguousJobError: If the vendor does not know it, and ``resend`` was not given.
        JobTimeoutError: If it still runs.
        UnknownJobError: If its result is lost, and ``resend`` was not given.
    """
    job = _still(journal, name)
    dispatcher = _dispatcher(journal, job, timeout, grace)
    batch = Batch.from_bytes(journal.payload(job.tag))
    if job.state in (states.INTENT, states.CANCELLED, states.FAILED):
        if resend or job.state == states.INTENT:
            _give_up(journal, job)
        return journal.get(job.tag)
    if job.state in UNSETTLED:
        job = dispatcher.settle(job, batch, resend=resend)
    if job.state == states.SUBMITTED:
        try:
            dispatcher.collect(job, batch)
        except UnknownJobError:
            if not resend:
                raise
            _give_up(journal, job)
    return journal.get(job.tag)


def adopt(journal: Journal, name: str, job_id: str) -> Job:
    """Tell the journal that a job of unknown fate is the vendor's job ``job_id``.

    Raises:
        ValueError: If the job's fate is known, or another one has this id.
        UnknownJobError: If the vendor does not know the id.
    """
    job = _still(journal, name)
    if job.state not in (*UNSETTLED, states.ABANDONED):
        raise ValueError(f"expected a job of unknown fate, got {job.tag}, which is {job.state}")
    taken = [other.tag for other in journal.jobs() if other.job_id == job_id]
    if taken:
        raise ValueError(f"the vendor's job {job_id} already belongs to {taken[0]}")
    adapter = open_adapter(Backend.parse(job.backend))
    patiently(lambda: adapter.status(job_id))
    journal.update(job.tag, states.SUBMITTED, job_id=job_id, error=None)
    return journal.get(job.tag)


def cancel(journal: Journal, name: str) -> Job:
    """Cancel a job at the vendor; it is then never sent again by itself.

    Raises:
        ValueError: If it was not submitted or has ended.
    """
    job = _still(journal, name)
    if job.state == states.INTENT:
        # Nothing of it was sent, so nothing of the budget stays reserved for it.
        journal.update(job.tag, states.CANCELLED, only_from=(states.INTENT,), cost=0.0)
        job = journal.get(job.tag)
        if job.state == states.CANCELLED:
            return job
    if job.state != states.SUBMITTED or job.job_id is None:
        hint = "; qworkbench jobs resume finds out whether the vendor has it" if job.state in UNSETTLED else ""
        raise ValueError(f"expected a job that is with the vendor, got {job.tag}, which is {job.state}{hint}")
    adapter, job_id = open_adapter(Backend.parse(job.backend)), job.job_id
    patiently(lambda: adapter.cancel(job_id))
    status = patiently(lambda: adapter.status(job_id))
    if status.state != states.CANCELLED:
        with contextlib.suppress(JobCancelledError):  # vendors may take a while over it
            return resume(journal, job.tag)  # it had ended: keep its result
        return journal.get(job.tag)
    journal.update(job.tag, states.CANCELLED, seconds=status.seconds, cost=status.usd)
    return journal.get(job.tag)


def export(journal: Journal, jobs: Iterable[Job], file: Path) -> int:
    """Write jobs with their counts as JSON lines, without circuits; returns how many."""
    lines = []
    for job in jobs:
        counts = journal.result(job.tag) if job.state == states.DONE else None
        lines.append(mask(json.dumps({**asdict(job), "counts": counts})) + "\n")
    file.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def _give_up(journal: Journal, job: Job) -> None:
    """Allow sending anew; what the vendor had is paid all the same."""
    charged = job.cost if job.cost is not None or job.job_id is None else job.estimate
    journal.update(job.tag, states.ABANDONED, cost=charged)


def _still(journal: Journal, name: str) -> Job:
    """A job that no other process is busy sending."""
    job = journal.get(name)
    if job.owned_by_another:
        raise ValueError(f"job {job.tag} is just being sent by {job.owner}; wait for it")
    return job


def _dispatcher(journal: Journal, job: Job, timeout: float, grace: float) -> Dispatcher:
    mask_logs()
    backend = Backend.parse(job.backend)
    adapter = open_adapter(backend)
    settings = replace(read_settings(backend, remote=adapter.remote), run=job.run, timeout=timeout, grace=grace)
    return Dispatcher(adapter, job.backend, settings, journal, tariff(backend))
