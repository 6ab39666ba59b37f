"""IonQ through qiskit-ionq: ``ionq:simulator``, ``ionq:simulator?noise_model=forte-1``, ``ionq:qpu.forte-1?budget=50``.

Credentials: ``IONQ_API_KEY`` or the keyring. Its client sends a job up to five times and reads for ever; here each
request is made once and tried again by our own rules.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
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
    UnreachableError,
    retry_after,
)
from qworkbench.cloud.secrets import mask, read_credential
from qworkbench.cloud.settings import check_options
from qworkbench.errors import require

OWN_OPTIONS = ("debiasing", "noise_model")
DEBIASED_SHOTS = 500
"""From so many shots on IonQ debiases what runs on its computers, which changes the price, unless told not to."""
TOKENS = ("IONQ_API_KEY", "QISKIT_IONQ_API_TOKEN", "IONQ_API_TOKEN")
MAX_SHOTS = 10_000
PAGES = 40
"""Pages of the list of jobs that are searched for a tag, newest first."""
STATES = {
    "submitted": QUEUED,
    "ready": QUEUED,
    "started": RUNNING,
    "completed": DONE,
    "failed": FAILED,
    "canceled": CANCELLED,
}


class IonQAdapter:
    """See ``Adapter``.

    Raises:
        ValueError: If there is no device in the URI, or an option is unknown.
        MissingExtraError: If qiskit-ionq is absent.
    """

    remote = True
    limits = Limits(shots=MAX_SHOTS, per_minute=60)

    def __init__(self, backend: Backend) -> None:
        require("qiskit_ionq", "ionq", "the backend 'ionq'")
        if backend.target is None:
            raise ValueError("expected ionq:DEVICE, for instance ionq:simulator or ionq:qpu.forte-1")
        check_options(backend, *OWN_OPTIONS)
        self.billable = backend.target != "simulator"
        if self.billable and backend.option("noise_model"):
            raise ValueError("expected noise_model with ionq:simulator alone")
        self._debiasing = _debiasing(backend)
        self._name, self._noise = backend.target, backend.option("noise_model", "ideal") or "ideal"

    @cached_property
    def _device(self) -> Any:
        from qiskit_ionq import IonQProvider

        token = read_credential("ionq", *TOKENS)
        if token is None:
            raise RefusedError("IonQ needs an API key: set IONQ_API_KEY, or keep it in the keyring")
        # The provider asks for the devices' sizes at once and only warns, with 4 qubits assumed, where that fails.
        with _mapped(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            device = IonQProvider(token).get_backend(self._name)
        for warning in caught:
            if f"Failed to get qubits for qpu.{self._name.removeprefix('qpu.')}:" in str(warning.message) or (
                f"Failed to get qubits for {self._name}:" in str(warning.message)
            ):
                raise TransientError(f"IonQ does not answer: {mask(str(warning.message))}")
        return device

    @property
    def _client(self) -> Any:
        return self._device.client

    def target(self) -> Target:
        """See ``Adapter``."""
        return self._device.target

    def submit(self, batch: Batch, tag: str) -> str:
        """See ``Adapter``."""
        from qiskit_ionq.ionq_job import IonQJob

        arguments: dict[str, Any] = {
            "shots": batch.shots,
            "sampler_seed": batch.seed % 2**31,
            "noise_model": self._noise,
            "extra_metadata": {"qworkbench": tag},
        }
        if self._debiasing is not None:
            arguments["job_settings"] = {"error_mitigation": {"debiasing": self._debiasing}}
        job = IonQJob(backend=self._device, circuit=batch.bound(), passed_args=arguments)
        with _mapped(sending=True):
            return str(_once(self._client, "submit_job", job)["id"])

    def status(self, job_id: str) -> JobStatus:
        """See ``Adapter``."""
        with _mapped():
            answer = _once(self._client, "retrieve_job", job_id)
        failure = answer.get("failure") or {}
        message = f"{failure.get('code', '')}: {failure.get('error', '')}" if failure else ""
        return JobStatus(known_state("IonQ", STATES, str(answer["status"])), message)

    def fetch(self, job_id: str, batch: Batch) -> Counts:
        """See ``Adapter``; the ideal simulator gives probabilities, which are sampled here."""
        with _mapped():
            result = self._device.retrieve_job(job_id).result(wait=0.1)
        n_circuits = batch.executions
        if self._name != "simulator" or self._noise != "ideal":
            flat = [{outcome(k): n for k, n in result.get_counts(i).items()} for i in range(n_circuits)]
            return batch.grouped(flat)
        # The client would sample each circuit of the job with the same seed, so with the same noise.
        rng = np.random.default_rng(batch.seed)
        tables = [result.data(i)["probabilities"] for i in range(n_circuits)]
        return batch.grouped([_sampled(table, batch.shots, rng) for table in tables])

    def find(self, tag: str) -> list[str]:
        """See ``Adapter``."""
        found: list[str] = []
        params: dict[str, Any] = {"limit": 25}
        for _ in range(PAGES):
            with _mapped():
                page = self._page(params)
            found += [job["id"] for job in page.get("jobs", []) if (job.get("metadata") or {}).get("qworkbench") == tag]
            if found or not page.get("next"):
                break
            params["next"] = page["next"]
        return found

    def _page(self, params: dict[str, Any]) -> dict[str, Any]:
        from qiskit_ionq.exceptions import IonQAPIError

        client = self._client
        answer = client.get_with_retry(client.make_path("jobs"), params=params, headers=client.api_headers)
        IonQAPIError.raise_for_status(answer)
        page: dict[str, Any] = answer.json()
        return page

    def cancel(self, job_id: str) -> None:
        """See ``Adapter``."""
        with _mapped():
            _once(self._client, "cancel_job", job_id)

    def quote(self, batch: Batch) -> float | None:
        """US dollars that IonQ itself expects; None on the simulator."""
        if not self.billable:
            return None
        total = 0.0
        for circuit in batch.circuits:
            sizes = [instruction.operation.num_qubits for instruction in circuit.data if instruction.name != "measure"]
            with _mapped():
                estimate = self._client.estimate_job(
                    backend=self._name,
                    oneq_gates=sizes.count(1),
                    twoq_gates=len(sizes) - sizes.count(1),
                    qubits=circuit.num_qubits,
                    shots=batch.shots,
                    error_mitigation=batch.shots >= DEBIASED_SHOTS and self._debiasing is not False,
                )
            if estimate.cost is None or (estimate.cost_unit or "usd").lower() != "usd":
                return None
            total += float(estimate.cost) * len(batch.values)
        return total


def _debiasing(backend: Backend) -> bool | None:
    """Whether IonQ is to debias; None leaves it to IonQ."""
    given = backend.option("debiasing")
    if given is None:
        return None
    if given not in ("on", "off") or backend.target == "simulator":
        raise ValueError(f"expected debiasing=on or off, and one of IonQ's computers, got {str(backend)!r}")
    if given == "on" and (backend.shots or DEBIASED_SHOTS) < DEBIASED_SHOTS:
        raise ValueError(f"IonQ debiases from {DEBIASED_SHOTS} shots on, got {backend.shots}")
    return given == "on"


def _once(client: Any, method: str, *arguments: Any) -> Any:
    """A client's request without the client's own repetitions."""
    return getattr(type(client), method).__wrapped__(client, *arguments)


def _sampled(probabilities: dict[str, float], shots: int, rng: np.random.Generator) -> dict[int, int]:
    weights = np.array(list(probabilities.values()))
    drawn = rng.multinomial(shots, weights / weights.sum())
    return {outcome(key): int(n) for key, n in zip(probabilities, drawn, strict=True) if n}


@contextmanager
def _mapped(*, sending: bool = False) -> Iterator[None]:
    """IonQ's errors as ours; the text of its own would show headers and bodies."""
    from qiskit_ionq.exceptions import IonQAPIError, IonQRetriableError
    from requests.exceptions import RequestException

    try:
        yield
    except CloudError:
        raise
    except Exception as error:
        cause = error._cause if isinstance(error, IonQRetriableError) else error
        status = cause.status_code if isinstance(cause, IonQAPIError) else 0
        text = f"IonQ: {status or type(cause).__name__}: {mask(str(getattr(cause, 'message', cause)))}"
        if status == 429:
            raise RateLimitedError(text, retry_after(cause)) from None
        if status == 404 and not sending:
            raise UnknownJobError(text) from None
        if "NewConnectionError" in str(cause) or "ConnectTimeout" in type(cause).__name__:
            raise UnreachableError(text) from None
        # An answer to a submit that lacks the id says nothing about acceptance.
        unread = sending and isinstance(cause, KeyError | TypeError | AttributeError)
        if status >= 500 or unread or isinstance(cause, RequestException):
            raise (CloudError if sending else TransientError)(text) from None
        raise RefusedError(text) from None
