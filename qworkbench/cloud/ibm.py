"""IBM Quantum through qiskit-ibm-runtime's executor primitives: ``ibm:ibm_torino?shots=4096&budget=5``.

Credentials: ``QISKIT_IBM_TOKEN`` and ``QISKIT_IBM_INSTANCE``, the keyring, or the account that ``save_account`` left.
Counts come from the ``Sampler``, whose options run client-side: ``dynamical_decoupling=XpXm``, ``twirling=on`` (or
``gates``, ``measure``) with ``randomizations=N``.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from qiskit.primitives import BitArray
from qiskit.transpiler import Target

from qworkbench.backend import Backend
from qworkbench.cloud.adapter import (
    CANCELLED,
    DONE,
    FAILED,
    QUEUED,
    RUNNING,
    Batch,
    Counts,
    JobStatus,
    Limits,
    known_state,
    outcome,
)
from qworkbench.cloud.errors import (
    CloudError,
    RateLimitedError,
    RefusedError,
    TransientError,
    UnknownJobError,
    UnreachableError,
    chain,
    retry_after,
)
from qworkbench.cloud.prices import tariff
from qworkbench.cloud.secrets import check_private, mask, read_credential, register
from qworkbench.cloud.settings import DEFAULT_SHOTS, check_options, read_settings
from qworkbench.errors import require, unknown_name

OWN_OPTIONS = ("dynamical_decoupling", "instance", "mode", "plan", "randomizations", "twirling")
CHOICES = {
    "dynamical_decoupling": ("XX", "XpXm", "XY4"),
    "mode": ("job", "batch", "session"),
    "plan": ("open", "flex", "premium"),
    "twirling": ("gates", "measure", "on"),
}
"""Options with few values; ``twirling=on`` is that of gates and measurements."""
ESTIMATOR_OPTIONS = ("resilience_level", "measure_mitigation", "zne_mitigation", "pec_mitigation")
"""What IBM's Estimator has and its Sampler has not."""
RANDOMIZATIONS, SHOTS_EACH = 32, 64
"""By default a circuit is twirled at most so often, each time with at least so many shots, as IBM does it."""
MAX_EXECUTIONS = 10_000_000
"""Circuits times shots of a Sampler job (IBM's guide to job limits)."""
LONGEST_JOB = 3 * 3600
"""Seconds; IBM's own limit."""
STATES = {
    "INITIALIZING": QUEUED,
    "QUEUED": QUEUED,
    "RUNNING": RUNNING,
    "DONE": DONE,
    "ERROR": FAILED,
    "CANCELLED": CANCELLED,
}


class IBMAdapter:
    """See ``Adapter``.

    Raises:
        ValueError: If there is no device in the URI, or an option is unknown.
        MissingExtraError: If qiskit-ibm-runtime is absent.
    """

    billable = True
    remote = True
    mitigates = frozenset({"fold", "readout"})

    def __init__(self, backend: Backend) -> None:
        require("qiskit_ibm_runtime", "ibm", "the backend 'ibm'")
        if backend.target is None:
            raise ValueError("expected ibm:DEVICE, for instance ibm:ibm_torino")
        _check(backend)
        self._backend, self._mode_name = backend, backend.option("mode", "job")
        self.limits = Limits(max(1, MAX_EXECUTIONS // (backend.shots or DEFAULT_SHOTS)), MAX_EXECUTIONS, per_minute=5)
        self._jobs: dict[str, Any] = {}
        self._accepted = threading.local()  # a submit that was given up waiting for goes on in its thread

    @cached_property
    def _service(self) -> Any:
        from qiskit_ibm_runtime import QiskitRuntimeService

        check_private(Path("~/.qiskit/qiskit-ibm.json").expanduser())
        given: dict[str, Any] = {}
        if instance := self._backend.option("instance"):
            given["instance"] = instance
        if not os.environ.get("QISKIT_IBM_TOKEN") and (token := read_credential("ibm", "QISKIT_IBM_TOKEN")):
            given["token"] = token
            # With a token in hand, IBM's client asks the environment for nothing else.
            for key in ("channel", "instance", "url"):
                if key not in given and (value := os.environ.get(f"QISKIT_IBM_{key.upper()}")):
                    given[key] = value
        try:
            with _mapped():
                service = QiskitRuntimeService(**given)
        except RefusedError as error:
            if "Unable to find account" not in str(error):
                raise
            raise RefusedError(
                "IBM needs an API key: set QISKIT_IBM_TOKEN (and QISKIT_IBM_INSTANCE), keep it in the keyring, or save "
                "an account with qiskit-ibm-runtime"
            ) from None
        register((service.active_account() or {}).get("token"))
        self._guard(service)
        return service

    def _guard(self, service: Any) -> None:
        """Mend all of the service's clients, of which there is one an instance."""
        for client in service._get_api_clients().values():
            _repeat_reads_alone(client._session)
            if self._note_acceptance not in client._session.hooks["response"]:
                client._session.hooks["response"].append(self._note_acceptance)

    def _note_acceptance(self, response: Any, *_: Any, **__: Any) -> None:
        """Keep the id of a job that IBM has accepted, whatever its client stumbles over afterwards."""
        if response.request.method == "POST" and response.ok and response.request.path_url.endswith("/jobs"):
            with contextlib.suppress(ValueError, AttributeError):
                self._accepted.id = response.json().get("id")

    @cached_property
    def _device(self) -> Any:
        from qiskit.providers.exceptions import QiskitBackendNotFoundError

        with _mapped():
            try:
                device = self._service.backend(self._backend.target)
            except QiskitBackendNotFoundError:
                known = ", ".join(device.name for device in self._service.backends()) or "none"
                raise RefusedError(
                    f"IBM has no device {self._backend.target!r} for this account, which may use: {known}"
                ) from None
            self._guard(self._service)
            self._check_plan(device)
            return device

    def _check_plan(self, device: Any) -> None:
        """Refuse a ``plan`` that makes jobs look cheaper than the account is charged for them."""
        claimed, instance = self._backend.option("plan"), device._instance or self._service.active_instance()
        if claimed is None:
            return
        plans = {each["crn"]: each["plan"] for each in self._service.instances()}
        actual = plans.get(instance, "unknown")
        if claimed not in actual.lower():
            raise RefusedError(
                f"IBM says that the plan of the instance in use is {actual!r}, not {claimed!r}; leave plan={claimed} "
                "out and give a budget, or name another instance by instance=NAME; nothing was sent"
            )

    @cached_property
    def _mode(self) -> Any:
        """The device, or a batch or session on it."""
        if self._mode_name == "job":
            return self._device
        from qiskit_ibm_runtime import Batch as BatchMode
        from qiskit_ibm_runtime import Session

        with _mapped():
            return (BatchMode if self._mode_name == "batch" else Session)(backend=self._device)

    def target(self) -> Target:
        """See ``Adapter``."""
        return self._device.target

    def submit(self, batch: Batch, tag: str) -> str:
        """See ``Adapter``; a session or batch that has closed is given up for single jobs."""
        self._accepted.id = None
        with _mapped(sending=True):
            try:
                job = self._sampler(tag, batch.shots).run(_pubs(batch), shots=batch.shots)
            except Exception as error:
                if self._accepted.id:
                    return str(self._accepted.id)
                if self._mode is self._device or not re.search(r"session.*closed|\b1217\b", str(error), re.IGNORECASE):
                    raise
                warnings.warn("the session is closed; further jobs are sent one by one", stacklevel=2)
                self._mode = self._device
                job = self._sampler(tag, batch.shots).run(_pubs(batch), shots=batch.shots)
        self._jobs[job.job_id()] = job
        return str(job.job_id())

    def _sampler(self, tag: str, shots: int) -> Any:
        from qiskit_ibm_runtime.executor_sampler import Sampler

        sampler = Sampler(mode=self._mode)
        sampler.options.environment.job_tags = [tag]
        sampler.options.max_execution_time = self._longest()
        if sequence := self._backend.option("dynamical_decoupling"):
            sampler.options.dynamical_decoupling.enable = True
            sampler.options.dynamical_decoupling.sequence_type = sequence
        if twirled := self._backend.option("twirling"):
            twirling = sampler.options.twirling
            twirling.enable_gates, twirling.enable_measure = twirled != "measure", twirled != "gates"
            twirling.num_randomizations = self._randomizations(shots)
            # IBM rounds up, which would be more shots than were asked, and paid, for.
            twirling.shots_per_randomization = shots // twirling.num_randomizations
        return sampler

    def _randomizations(self, shots: int) -> int:
        if given := self._backend.option("randomizations"):
            if int(given) > shots:
                # Mitigation and schedules split shots; to stop in the middle of a run would be worse.
                warnings.warn(f"{given} randomizations of {shots} shots cannot be: {shots} are made", stacklevel=2)
            return min(int(given), shots)
        return max(1, min(RANDOMIZATIONS, shots // SHOTS_EACH))

    def _longest(self) -> int:
        """Seconds after which IBM itself ends a job: what the whole budget could buy, at most its own limit."""
        prices, budget = tariff(self._backend), read_settings(self._backend, remote=True).budget
        if prices is None or prices.per_second == 0:
            return LONGEST_JOB
        return max(1, min(LONGEST_JOB, int(budget / prices.per_second)))

    def _job(self, job_id: str) -> Any:
        if job_id not in self._jobs:
            with _mapped():
                self._jobs[job_id] = self._service.job(job_id)
        return self._jobs[job_id]

    def status(self, job_id: str) -> JobStatus:
        """See ``Adapter``."""
        job = self._job(job_id)
        with _mapped():
            state = known_state("IBM", STATES, str(job.status()))
            if state not in (DONE, FAILED, CANCELLED):
                return JobStatus(state)
            seconds = (job.metrics().get("usage") or {}).get("qpu_charge_time_seconds")
            return JobStatus(state, str(job.error_message() or "") if state == FAILED else "", seconds)

    def fetch(self, job_id: str, batch: Batch) -> Counts:
        """See ``Adapter``."""
        with _mapped():
            results = self._job(job_id).result()
        if results is None:
            raise UnknownJobError(f"IBM no longer has the result of job {job_id}: a private job's is given out once")
        flat = [
            {outcome(key): count for key, count in bits.get_counts(k if bits.shape else None).items()}
            for bits in (_bits(result.data) for result in results)
            for k in range(max(bits.size, 1))
        ]
        return batch.grouped(flat)

    def find(self, tag: str) -> list[str]:
        """See ``Adapter``."""
        with _mapped():
            jobs = self._service.jobs(job_tags=[tag], limit=None, descending=False)
        return [str(job.job_id()) for job in jobs]

    def cancel(self, job_id: str) -> None:
        """See ``Adapter``."""
        from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError

        with _mapped():
            try:
                self._job(job_id).cancel()
            except RuntimeInvalidStateError:
                return


def _check(backend: Backend) -> None:
    """Refuse options and values that IBM's Sampler does not have."""
    for key in ESTIMATOR_OPTIONS:
        if backend.option(key) is not None:
            raise ValueError(
                f"{key} belongs to IBM's Estimator, and here counts are read: mitigation=readout&twirling=measure "
                "corrects the readout as TREX does, mitigation=zne extrapolates to zero noise"
            )
    check_options(backend, *OWN_OPTIONS)
    for key, known in CHOICES.items():
        if (value := backend.option(key)) is not None and value not in known:
            raise unknown_name(f"value of {key} for ibm", value, known)
    if (number := backend.option("randomizations")) is not None:
        if not number.isdecimal() or int(number) < 1 or backend.option("twirling") is None:
            raise ValueError(f"expected randomizations as a whole number of at least 1, with twirling, got {backend}")
        if int(number) > (backend.shots or DEFAULT_SHOTS):
            raise ValueError(
                f"expected at most as many randomizations as shots, got {number} for {backend.shots or DEFAULT_SHOTS}"
            )


def _repeat_reads_alone(session: Any) -> None:
    """Keep IBM's client from repeating a submit after a 5xx by itself; the journal asks for the tag first."""
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    reads = Retry(total=5, connect=3, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504, 520, 521, 522, 524))
    for prefix in ("http://", "https://"):
        session.mount(prefix, HTTPAdapter(max_retries=reads))


def _bits(data: Any) -> BitArray:
    """All classical registers side by side; the first one holds the lowest bits."""
    registers = [*data.values()]
    return registers[0] if len(registers) == 1 else BitArray.concatenate_bits(registers)


def _pubs(batch: Batch) -> list[tuple[Any, ...]]:
    """One PUB a circuit with all rows as an array; a circuit without parameters is one PUB a row."""
    pubs: list[tuple[Any, ...]] = []
    for circuit in batch.circuits:
        columns = batch.columns(circuit)
        names = tuple(batch.parameters[k] for k in columns)
        pubs += [(circuit, {names: batch.values[:, columns]})] if columns else [(circuit,)] * len(batch.values)
    return pubs


@contextmanager
def _mapped(*, sending: bool = False) -> Iterator[None]:
    """IBM's errors as ours; one of a submit that leaves its fate open passes through."""
    from qiskit_ibm_runtime.exceptions import RuntimeJobNotFound

    try:
        yield
    except CloudError:
        raise
    except RuntimeJobNotFound as error:
        raise UnknownJobError(f"IBM: {mask(str(error))}") from None
    except Exception as error:
        code, text = _status_code(error), f"IBM: {mask(str(error))}"
        if code == 429:
            raise RateLimitedError(text, retry_after(error)) from None
        if _never_connected(error):
            raise UnreachableError(text) from None
        if code >= 500:
            # "The IBM Quantum API guarantees that retrying on specific 5xx errors is safe", says its client's source.
            raise TransientError(text) from None
        # The client stumbles so over an answer without the fields that it needs, which says nothing about acceptance.
        unread = sending and isinstance(error, KeyError | TypeError | AttributeError)
        if code == 0 and (unread or _connection(error)):
            raise (CloudError if sending else TransientError)(text) from None
        raise RefusedError(text) from None


def _status_code(error: Exception) -> int:
    for link in chain(error):
        if (code := getattr(link, "status_code", 0)) and code > 0:
            return int(code)
        if found := re.search(r"too many (\d{3}) error responses|^(\d{3}) (?:Client|Server) Error", str(link)):
            return int(found[1] or found[2])
    return 0


def _connection(error: Exception) -> bool:
    from requests.exceptions import RequestException

    return any(isinstance(link, RequestException | OSError | TimeoutError) for link in chain(error))


def _never_connected(error: Exception) -> bool:
    return any(type(link).__name__ in ("NewConnectionError", "ConnectTimeoutError") for link in chain(error))
