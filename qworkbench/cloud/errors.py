"""What can go wrong between us and a vendor, by what may be done next."""

from __future__ import annotations


class CloudError(RuntimeError):
    """Something about a remote job; the base of all others."""


class RefusedError(CloudError):
    """The vendor refused for good: not authorised, quota used up, circuit invalid. Nothing runs."""


class TransientError(CloudError):
    """Nothing was accepted, or only a read failed: trying again later is safe."""


class RateLimitedError(TransientError):
    """Too many requests; nothing was accepted."""


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
