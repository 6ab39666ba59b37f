"""Amazon Braket: ``braket-local:sv``, ``braket-local:dm``, ``braket:sv1``, ``braket:arn%3Aaws%3A...?budget=50``.

Credentials are found by AWS's own chain. On devices with program sets a whole batch is one task. A second submit with
the same tag is no second task, since the tag is AWS's client token too.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
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
    retry_after,
)
from qworkbench.cloud.immediate import ImmediateAdapter
from qworkbench.cloud.secrets import mask, register
from qworkbench.cloud.settings import check_options
from qworkbench.errors import require, unknown_name

ARN = "arn:aws:braket:::device/quantum-simulator/amazon/{}"
SIMULATORS = ("sv1", "dm1", "tn1")
BOTH = frozenset({"fold", "readout"})
LOCAL = {"sv": "braket_sv", "dm": "braket_dm"}
LISTED = 1000
"""Tasks, newest first, that are searched for a tag."""
STATES = {
    "CREATED": QUEUED,
    "QUEUED": QUEUED,
    "RUNNING": RUNNING,
    "CANCELLING": RUNNING,
    "COMPLETED": DONE,
    "FAILED": FAILED,
    "CANCELLED": CANCELLED,
}


def _check(backend: Backend, *own: str) -> None:
    require("braket.aws", "braket", f"the backend {backend.name!r}")
    require("qiskit_braket_provider", "braket", f"the backend {backend.name!r}")
    check_options(backend, *own)


class BraketLocalAdapter(ImmediateAdapter):
    """Braket's simulators on this machine; see ``Adapter``.

    Raises:
        ValueError: If the simulator or an option is unknown.
        MissingExtraError: If Braket's packages are absent.
    """

    mitigates = BOTH

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        _check(backend)
        name = backend.target or "sv"
        if name not in LOCAL:
            raise unknown_name("local simulator of Braket", name, LOCAL)
        from qiskit_braket_provider import BraketLocalBackend

        # It logs a warning a circuit about language features that the translation from Qiskit itself uses.
        logging.getLogger("braket.default_simulator.openqasm.interpreter").setLevel(logging.ERROR)
        self._device = BraketLocalBackend(name=LOCAL[name])

    def target(self) -> Target:
        """See ``Adapter``."""
        return self._device.target

    def run(self, batch: Batch) -> list[dict[int, int]]:
        """See ``ImmediateAdapter``."""
        with _seeded(self._device, batch.seed), warnings.catch_warnings():
            # Whoever names the density matrix simulator does not want to hear that the other one is quicker.
            warnings.filterwarnings("ignore", message="You are running a noise-free circuit on the density matrix")
            result = self._device.run(batch.bound(), shots=batch.shots).result()
        return _spread(batch, [result.get_counts(i) for i in range(batch.executions)])


def _spread(batch: Batch, tables: Sequence[Mapping[str, int]]) -> list[dict[int, int]]:
    """Counts of ``batch.bound()`` by our outcomes: Braket's hold the measured bits alone, without gaps."""
    spread = []
    for index, table in enumerate(tables):
        circuit = batch.circuits[index // len(batch.values)]
        bits = sorted({circuit.find_bit(bit).index for gate in circuit.data for bit in gate.clbits})
        spread.append(
            {
                sum((packed >> k & 1) << bit for k, bit in enumerate(bits)): int(n)
                for packed, n in ((outcome(key), n) for key, n in table.items())
            }
        )
    return spread


@contextmanager
def _seeded(device: Any, seed: int) -> Iterator[None]:
    """Braket's local simulators draw from a generator of their own, made anew for each circuit; here from one seed."""
    simulator, rng = device._device._delegate, np.random.default_rng(seed)
    original = simulator.initialize_simulation

    def initialize(**kwargs: Any) -> Any:
        simulation = original(**kwargs)
        simulation._rng_generator = rng
        return simulation

    simulator.initialize_simulation = initialize
    try:
        yield
    finally:
        del simulator.initialize_simulation


class BraketAdapter:
    """Amazon's service; see ``Adapter``.

    Raises:
        ValueError: If the device or an option is unknown.
        MissingExtraError: If Braket's packages are absent.
    """

    billable = True
    remote = True

    def __init__(self, backend: Backend) -> None:
        _check(backend, "spending_limit")
        name = backend.target or ""
        if name not in SIMULATORS and not name.startswith("arn:"):
            raise ValueError(f"expected braket:ARN (percent-encoded) or one of {', '.join(SIMULATORS)}, got {name!r}")
        self._arn = ARN.format(name) if name in SIMULATORS else name
        # Amazon compiles what it sends to quantum computers, and places it; its simulators run gates as they are.
        self.mitigates: frozenset[str] = BOTH if "quantum-simulator" in self._arn else frozenset()
        self._sending = threading.local()  # a submit that was given up waiting for goes on in its thread
        self._limit = _spending_limit(backend, self._arn)

    @cached_property
    def _session(self) -> Any:
        from braket.aws import AwsSession

        with _mapped():
            session = AwsSession()
            credentials = session.boto_session.get_credentials()
            if credentials is None:
                raise RefusedError("AWS: no credentials found; run 'aws configure' or set AWS_ACCESS_KEY_ID and so on")
            for secret in (credentials.secret_key, credentials.token):
                register(secret)
        return session

    @cached_property
    def _device(self) -> Any:
        from braket.aws import AwsDevice
        from qiskit_braket_provider import BraketAwsBackend

        with _mapped():
            device = AwsDevice(self._arn, aws_session=self._session)
            # Its own run_batch works on copies of the session, so without our tokens, and pays failed tasks again.
            device.run_batch = lambda circuits, **options: SimpleNamespace(
                tasks=[device.run(circuit, **options) for circuit in circuits]
            )
            backend = BraketAwsBackend(device=device)
        # Boto draws a client token for each call, which protects its own repetitions, not ours. Registered last, since
        # the provider and Braket's SDK make new clients on the way here.
        device.aws_session.braket_client.meta.events.register(
            "provide-client-params.braket.CreateQuantumTask",
            lambda params, **_: {**params, "clientToken": self._sending.tag},
        )
        return backend

    @property
    def limits(self) -> Limits:
        """A task holds as many circuits as the device's program sets, or one."""
        connected = self.__dict__.get("_device")
        largest = None if connected is None else connected._max_program_set_executables or 1
        return Limits(executions=largest, per_minute=1200, idempotent=True)

    def target(self) -> Target:
        """See ``Adapter``."""
        return self._device.target

    def submit(self, batch: Batch, tag: str) -> str:
        """See ``Adapter``."""
        self._sending.tag = tag
        if self._limit is not None:
            self._set_limit(self._limit)
            self._limit = None
        with _mapped(sending=True):
            return str(self._device.run(batch.bound(), shots=batch.shots, tags={"qworkbench": tag}).task_id())

    def _set_limit(self, usd: str) -> None:
        """Let Amazon itself refuse tasks on this device beyond a sum, unless it has a limit for the device already."""
        client = self._device._device.aws_session.braket_client
        of_device = [{"name": "deviceArn", "operator": "EQUAL", "values": [self._arn]}]
        try:
            with _mapped():
                if not client.search_spending_limits(filters=of_device)["spendingLimits"]:
                    token = hashlib.sha256(f"{self._arn} {usd}".encode()).hexdigest()
                    client.create_spending_limit(deviceArn=self._arn, spendingLimit=usd, clientToken=token)
        except UnknownJobError as error:
            raise RefusedError(str(error)) from None

    def _task(self, job_id: str) -> Any:
        from braket.aws import AwsQuantumTask

        return AwsQuantumTask(job_id, aws_session=self._device._device.aws_session)

    def status(self, job_id: str) -> JobStatus:
        """See ``Adapter``."""
        with _mapped():
            metadata = self._task(job_id).metadata()
        return JobStatus(known_state("Amazon", STATES, metadata["status"]), metadata.get("failureReason", ""))

    def fetch(self, job_id: str, batch: Batch) -> Counts:
        """See ``Adapter``; Braket's first letter is qubit 0."""
        with _mapped():
            result = self._task(job_id).result()
        many = hasattr(result, "programs") or not hasattr(result, "measurement_counts")
        tables = [program[0].counts for program in result] if many else [result.measurement_counts]
        return batch.grouped(_spread(batch, [{key[::-1]: n for key, n in table.items()} for table in tables]))

    def find(self, tag: str) -> list[str]:
        """See ``Adapter``."""
        with _mapped():
            pages = self._device._device.aws_session.braket_client.get_paginator("search_quantum_tasks").paginate(
                filters=[{"name": "deviceArn", "operator": "EQUAL", "values": [self._arn]}]
            )
            tasks = (task for page in pages for task in page["quantumTasks"])
            return [
                task["quantumTaskArn"]
                for task in islice(tasks, LISTED)
                if (task.get("tags") or {}).get("qworkbench") == tag
            ]

    def cancel(self, job_id: str) -> None:
        """See ``Adapter``."""
        with _mapped():
            if self._task(job_id).state() not in ("COMPLETED", "FAILED", "CANCELLED"):
                self._task(job_id).cancel()


def _spending_limit(backend: Backend, arn: str) -> str | None:
    given = backend.option("spending_limit")
    if given is not None and (re.fullmatch(r"\d+(\.\d{1,2})?", given) is None or "/qpu/" not in arn):
        raise ValueError(
            "expected spending_limit in US dollars, on a quantum computer (Amazon knows none on simulators), got "
            f"{given!r} on {arn}"
        )
    return given


@contextmanager
def _mapped(*, sending: bool = False) -> Iterator[None]:
    """AWS's errors as ours. Boto itself repeats a request with the same client token, so 5xx are safe to try again."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except CloudError:
        raise
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        text = f"AWS: {code}: {mask(error.response['Error'].get('Message', ''))}"
        if code == "ThrottlingException" or status == 429:
            raise RateLimitedError(text, retry_after(error)) from None
        if code == "ResourceNotFoundException" and not sending:
            raise UnknownJobError(text) from None
        if status >= 500:
            raise TransientError(text) from None
        raise RefusedError(text) from None
    except BotoCoreError as error:
        text = f"AWS: {type(error).__name__}: {mask(str(error))}"
        if type(error).__name__ in ("NoCredentialsError", "NoRegionError", "ProfileNotFound"):
            raise RefusedError(text) from None
        raise (CloudError if sending else TransientError)(text) from None
