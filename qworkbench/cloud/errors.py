"""What can go wrong between us and a vendor, by what may be done next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class CloudError(RuntimeError):
    """Something about a remote job; the base of all others."""


class RefusedError(CloudError):
    """The vendor refused for good: not authorised, quota used up, circuit invalid. Nothing runs."""


class TransientError(CloudError):
    """Nothing was accepted, or only a read failed: trying again later is safe."""


class RateLimitedError(TransientError):
    """Too many requests; nothing was accepted.

    Args:
        message: What the vendor said.
        wait: Seconds until it wants to hear of us again; 0 if it did not say.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class UnreachableError(TransientError):
    """No connection came about, so nothing was accepted."""


class AmbiguousJobError(CloudError):
    """A submit ended without an answer: the vendor may or may not run, and charge, the job."""


class BudgetError(CloudError):
    """A job would cost more than the budget leaves; nothing was sent."""


class JobFailedError(CloudError):
    """The vendor ran the job and reports a failure."""


class JobCancelledError(CloudError):
    """The job was cancelled; it is never sent again by itself."""


class JobTimeoutError(CloudError):
    """We stopped waiting; the job itself goes on."""


class UnknownJobError(CloudError):
    """The vendor does not know the job's id (any more)."""


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from, nearest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def retry_after(error: BaseException) -> float:
    """Seconds in the header ``Retry-After`` of the answer behind an error; 0 if there is none."""
    for link in chain(error):
        answer: Any = getattr(link, "response", link)
        headers = getattr(answer, "headers", None)
        if isinstance(answer, dict):  # botocore's
            headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders")
        for name, value in dict(headers or {}).items():
            if name.lower() == "retry-after" and str(value).isdecimal():
                return float(value)
    return 0.0
