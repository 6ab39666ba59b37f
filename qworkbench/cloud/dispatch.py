"""Every job exactly once: written down, paid for within the budget, sent, awaited, and found again after a kill."""

from __future__ import annotations

import math
import queue
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_random

from qworkbench.cloud import journal as states
from qworkbench.cloud.adapter import CANCELLED, FAILED, FINAL, Adapter, Batch, Counts, JobStatus
from qworkbench.cloud.errors import (
    AmbiguousJobError,
    CloudError,
    JobCancelledError,
    JobFailedError,
    JobTimeoutError,
    RateLimitedError,
    RefusedError,
    TransientError,
    UnknownJobError,
    UnreachableError,
)
from qworkbench.cloud.journal import Job, Journal, write_counts
from qworkbench.cloud.prices import Tariff
from qworkbench.cloud.secrets import mask
from qworkbench.cloud.settings import Settings

REQUEST_SECONDS = 120.0
"""Deadline of one request."""
SUBMIT_SECONDS = 600.0
"""Deadline of a submit, which includes translating the circuits."""
RETRY_SECONDS = 300.0
"""How long one request is tried again before the run stops; the journal lets it go on later."""
LONGEST_POLL = 60.0
SAME_JOB_SECONDS = 3600.0
"""How long a vendor is trusted to remember the tag of an idempotent submit."""
SUBMITS = 3
"""Attempts at a job of which the vendor never heard."""
LOOK_UPS = 4
"""How often a job of unknown fate is looked for within the grace: lists may lag behind submits."""
WRITE_SECONDS = 3.0
"""How long another process is given to write down the result that it has got."""
UNSETTLED = (states.SENDING, states.AMBIGUOUS)
Answer = TypeVar("Answer")


def within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """The answer of a call that may hang: vendors' clients wait, or try again, without an end.

    Raises:
        TimeoutError: If it takes longer; the call itself is left behind in its thread.
    """
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((True, call()))
        except BaseException as error:
            answers.put((False, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        good, answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if good:
        return answer
    if isinstance(answer, CloudError):
        answer.__context__ = None  # our texts are masked; those of the vendor's error behind it are not
    raise answer


def patiently(request: Callable[[], Answer], seconds: float = RETRY_SECONDS) -> Answer:
    """Try a safe request again while it fails transiently, with exponential pauses and jitter, for so many seconds."""

    def once() -> Answer:
        try:
            return within(REQUEST_SECONDS, request)
        except TimeoutError as error:
            raise TransientError(str(error)) from None

    return _retrying(seconds)(once)


_pause = wait_exponential(multiplier=0.2, max=30.0) + wait_random(0, 0.5)


def _retrying(seconds: float) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=lambda state: max(_pause(state), _asked_for(state)),
        stop=lambda state: (state.seconds_since_start or 0.0) + _asked_for(state) >= seconds,
        reraise=True,
    )


def _asked_for(state: RetryCallState) -> float:
    """The pause that the vendor asks for; one beyond the time that is left ends the attempts at once."""
    error = None if state.outcome is None else state.outcome.exception()
    return error.wait if isinstance(error, RateLimitedError) else 0.0


def _check_counts(counts: Counts, batch: Batch) -> None:
    """Refuse a result that lacks circuits or shots, which would make numbers out of nothing."""
    sizes = [len(rows) for rows in counts]
    whole = sizes == [len(batch.values)] * len(batch.circuits)
    if not whole or not all(sum(row.values()) for rows in counts for row in rows):
        raise UnknownJobError(
            f"expected counts of {len(batch.circuits)} circuits with {len(batch.values)} rows each and "
            f"{batch.shots} shots in every one, got rows {sizes}, or some without a shot"
        )


class Dispatcher:
    """Runs batches on one adapter through the journal.

    A run is the sequence of its jobs. Whoever asks for the same content as often as before gets what the journal
    holds; only what is new is sent.

    Args:
        adapter: The vendor.
        backend: The backend's identity, for the journal; see ``settings.identity``.
        settings: Budget, run, deadlines.
        journal: Open journal.
        tariff: Prices; None if unknown, which a billable adapter does not get past.
    """

    def __init__(
        self, adapter: Adapter, backend: str, settings: Settings, journal: Journal, tariff: Tariff | None
    ) -> None:
        self.journal, self._adapter = journal, adapter
        self._backend, self._settings, self._tariff = backend, settings, tariff
        self._seen: Counter[str] = Counter()

    def run(self, batches: Sequence[tuple[str, Batch]]) -> list[Counts]:
        """Counts of each batch, given with the hash of its content. All are sent before the first is awaited.

        Raises:
            BudgetError: If a job does not fit into the budget; nothing of it was sent.
            AmbiguousJobError: If nobody knows whether a billable job was accepted.
            JobFailedError: If the vendor reports a failure.
            JobCancelledError: If the job was cancelled.
            JobTimeoutError: If waiting took too long; the job lives on and the next call finds it.
        """
        jobs = [self._sent(key, batch) for key, batch in batches]
        return [self.collect(job, batch) for job, (_, batch) in zip(jobs, batches, strict=True)]

    def _sent(self, key: str, batch: Batch) -> Job:
        """The job of this content that is with the vendor, sent now if it is not yet."""
        occurrence = self._seen[key]
        self._seen[key] += 1
        for _ in range(SUBMITS):
            job = self._settled(key, occurrence)
            if job is None or job.state in (states.INTENT, states.FAILED):
                job = self._new(key, occurrence, batch)
                if job is None:
                    continue  # another process was faster; look again
                job = self._send(job, batch)
            elif job.state in (states.SENDING, states.AMBIGUOUS):
                job = self.settle(job, batch)
            if job.state == states.CANCELLED:
                raise JobCancelledError(
                    f"job {job.tag} ({job.job_id}) was cancelled and is not sent again by itself; "
                    f"qworkbench jobs resume {job.tag} --resend allows it, another run=NAME starts anew"
                )
            if job.state != states.ABANDONED:
                return job
        raise CloudError(f"{self._backend} gave no answer to {SUBMITS} submits and lists none of them")

    def _settled(self, key: str, occurrence: int) -> Job | None:
        """The journal's job once no other living process is busy sending it."""
        deadline = time.monotonic() + self._settings.timeout
        while True:
            job = self.journal.find(self._settings.run, key, occurrence)
            if job is None or not job.owned_by_another:
                return job
            if time.monotonic() > deadline:
                raise JobTimeoutError(f"job {job.tag} is still being sent by {job.owner}")
            time.sleep(0.2)

    def _new(self, key: str, occurrence: int, batch: Batch) -> Job | None:
        return self.journal.intend(
            key,
            occurrence,
            run=self._settings.run,
            backend=self._backend,
            circuits=batch.executions,
            shots=batch.shots,
            estimate=self.estimate(batch),
            budget=self._settings.budget,
            payload=batch.to_bytes(),
        )

    def estimate(self, batch: Batch) -> float:
        """US dollars that a batch will cost.

        Raises:
            RefusedError: If the adapter charges and nobody knows how much.
        """
        quote = getattr(self._adapter, "quote", None)
        price = patiently(lambda: quote(batch)) if quote is not None else None
        if price is None and self._tariff is not None:
            price = self._tariff.usd(batch.executions, batch.shots)
        free = self._tariff is not None and self._tariff.usd(1, 1) == 0
        believable = price is not None and math.isfinite(price) and (price > 0 or (price == 0 and free))
        if self._adapter.billable and not believable:
            known = "no price is known" if price is None else f"the price of {price} USD cannot be right"
            raise RefusedError(f"{known} for {self._backend}, so no budget can be kept; nothing was sent")
        return float(price or 0.0)

    def _send(self, job: Job, batch: Batch) -> Job:
        """Submit a job that is written down; returns it submitted, or abandoned if surely nothing was accepted."""

        doubtful = False
        # A simulator on this machine does its work within the submit.
        deadline = SUBMIT_SECONDS if self._adapter.remote else self._settings.timeout

        def attempt() -> str:
            nonlocal doubtful
            # A failure that should mean "not accepted" is not taken at its word, nor is a list that may lag.
            if doubtful and (found := self._look_up(job.tag)):
                return found[0]
            while pause := self.journal.take_turn(self._backend, job.tag, self._per_minute()):
                time.sleep(min(pause, 5.0))
            try:
                return within(deadline, lambda: self._adapter.submit(batch, job.tag))
            except TransientError as error:
                surely_not = isinstance(error, RateLimitedError | UnreachableError)
                doubtful = doubtful or not (surely_not or self._adapter.limits.idempotent)
                raise
            except TimeoutError as error:
                raise AmbiguousJobError(str(error)) from None

        try:
            job_id = _retrying(RETRY_SECONDS)(attempt)
        except JobCancelledError:
            return self.journal.get(job.tag)  # somebody else has decided about it
        except Exception as error:
            nothing_sent = isinstance(error, RefusedError | TransientError) and not doubtful
            if nothing_sent or not self._adapter.remote:
                self.journal.update(job.tag, states.ABANDONED, error=mask(str(error)))
                raise
            # No answer: accepted or not? Only the vendor knows.
            self.journal.update(job.tag, states.AMBIGUOUS, error=mask(f"{type(error).__name__}: {error}"))
            return self.settle(self.journal.get(job.tag), batch)
        else:
            self.journal.update(job.tag, states.SUBMITTED, job_id=job_id)
            return self.journal.get(job.tag)
        finally:
            self.journal.release(job.tag)

    def _per_minute(self) -> int | None:
        return self._settings.rate or self._adapter.limits.per_minute

    def settle(self, job: Job, batch: Batch, *, resend: bool = False) -> Job:
        """Find out what became of a job whose submit ended without an answer.

        Args:
            job: The job, in the state ``sending`` or ``ambiguous``.
            batch: Its batch.
            resend: The user's word that it may be taken as lost if the vendor does not know it.

        Returns:
            The job, ``submitted`` if the vendor knows it, ``abandoned`` if it may be sent anew.

        Raises:
            AmbiguousJobError: If the vendor does not know it, but it could still have been accepted and charged.
        """
        found = self._look_up(job.tag)
        if found:
            if len(found) > 1:
                warnings.warn(
                    f"{self._backend} runs job {job.tag} {len(found)} times: {', '.join(found)}; the first one is "
                    "kept, cancel the others",
                    stacklevel=2,
                )
            self.journal.update(job.tag, states.SUBMITTED, only_from=UNSETTLED, job_id=found[0], error=None)
        elif self._adapter.limits.idempotent and 0 <= time.time() - job.created < SAME_JOB_SECONDS and not resend:
            return self._send(job, batch)
        elif resend or not self._adapter.billable or self._settings.ambiguous == "resend":
            # Whoever looked knows that nothing runs; who resends by default may pay twice, within the budget.
            feared = None if resend or not self._adapter.billable else job.estimate
            self.journal.update(job.tag, states.ABANDONED, only_from=UNSETTLED, cost=feared)
        else:
            self.journal.update(job.tag, states.AMBIGUOUS, only_from=UNSETTLED)
            if self.journal.get(job.tag).state != states.AMBIGUOUS:
                return self.journal.get(job.tag)  # another process knew better
            raise AmbiguousJobError(
                f"job {job.tag} was being sent to {self._backend} when the connection or this program broke off; "
                f"the vendor lists no such job after {self._settings.grace:g} s, yet it may have been accepted and "
                f"charged; look at the vendor's list of jobs; then 'qworkbench jobs adopt {job.tag} ID' if it is "
                f"there, or 'qworkbench jobs resume {job.tag} --resend' if it is not, and run again"
            )
        return self.journal.get(job.tag)

    def _look_up(self, tag: str) -> list[str]:
        for attempt in range(LOOK_UPS):
            found = patiently(lambda: self._adapter.find(tag))
            if found:
                return found
            if attempt + 1 < LOOK_UPS:
                time.sleep(self._settings.grace / (LOOK_UPS - 1))
        return []

    def collect(self, job: Job, batch: Batch) -> Counts:
        """Wait for a job and return its counts, which then stand in the journal."""
        if job.state == states.DONE:
            return self.journal.result(job.tag)
        assert job.job_id is not None
        job_id, status = job.job_id, self._await(job)
        charged: dict[str, Any] = {"seconds": status.seconds, "cost": self._cost(status)}
        if status.state == FAILED:
            self.journal.update(job.tag, states.FAILED, error=mask(status.message), **charged)
            raise JobFailedError(f"job {job_id} ({job.tag}) failed on {self._backend}: {mask(status.message)}")
        if status.state == CANCELLED:
            self.journal.update(job.tag, states.CANCELLED, error=mask(status.message), **charged)
            raise JobCancelledError(f"job {job_id} ({job.tag}) was cancelled on {self._backend}; it is not sent again")
        try:
            counts = patiently(lambda: self._adapter.fetch(job_id, batch))
            _check_counts(counts, batch)
        except UnknownJobError as error:
            if self._fetched_elsewhere(job.tag):
                return self.journal.result(job.tag)
            raise UnknownJobError(
                f"{error}; if it is lost, qworkbench jobs resume {job.tag} --resend allows sending the job anew, "
                "which is charged again"
            ) from None
        self.journal.update(job.tag, states.DONE, result=write_counts(counts), **charged)
        return counts

    def _fetched_elsewhere(self, tag: str) -> bool:
        """Whether another process got a result that is given out once, and has written it down by now."""
        deadline = time.monotonic() + WRITE_SECONDS
        while (job := self.journal.get(tag)).state == states.SUBMITTED and time.monotonic() < deadline:
            time.sleep(0.1)
        return job.state == states.DONE

    def _await(self, job: Job) -> JobStatus:
        assert job.job_id is not None
        job_id, pause = job.job_id, self._adapter.limits.first_poll
        deadline = time.monotonic() + self._settings.timeout
        while True:
            left = deadline - time.monotonic()
            status = patiently(lambda: self._adapter.status(job_id), min(RETRY_SECONDS, max(left, 0.0)))
            if status.state in FINAL:
                return status
            if left <= 0:
                raise JobTimeoutError(
                    f"job {job_id} ({job.tag}) on {self._backend} is still {status.state} after "
                    f"{self._settings.timeout:g} s; it goes on there, and running this again waits for it without "
                    "sending it again"
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_POLL)

    def _cost(self, status: JobStatus) -> float | None:
        if status.usd is not None or status.seconds is None or self._tariff is None:
            return status.usd
        return self._tariff.per_second * status.seconds if self._tariff.per_second else None
