"""The contract suite on every adapter that works offline, and on adapters that break it."""

from __future__ import annotations

import pytest

from qworkbench.backend import Backend
from qworkbench.cloud.registry import open_adapter
from qworkbench.testing import ADAPTER_CHECKS, check_adapter, check_engine


def test_ibm(ibm):
    assert len(check_adapter("ibm:ibm_stubville?budget=1000&rate=1000&grace=0")) == len(ADAPTER_CHECKS)


@pytest.mark.parametrize("uri", ["ionq:simulator", "ionq:qpu.forte-1?budget=1e5"])
def test_ionq(ionq, uri):
    assert len(check_adapter(uri)) == len(ADAPTER_CHECKS)


@pytest.mark.parametrize("program_sets", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_braket(braket, program_sets):
    braket.program_sets = program_sets
    assert len(check_adapter("braket:sv1?budget=100")) == len(ADAPTER_CHECKS)


def test_braket_local(clean_environment):
    pytest.importorskip("qiskit_braket_provider")
    # Nothing of it outlives a process, so no other one can fetch it.
    assert len(check_adapter("braket-local:sv")) == len(ADAPTER_CHECKS) - 1
    assert check_engine("braket-local:sv?shots=200&seed=1")


class Broken:
    """An adapter with one verb spoilt."""

    def __init__(self, uri, **spoilt):
        self._inner = open_adapter(Backend.parse(uri))
        self.limits, self.billable, self.remote = self._inner.limits, self._inner.billable, self._inner.remote
        self._spoilt = spoilt

    def __getattr__(self, name):
        return self._spoilt.get(name) or getattr(self._inner, name)


@pytest.mark.parametrize(
    ("verb", "spoil", "promise"),
    [
        ("fetch", lambda job_id, batch: batch.grouped([{0: batch.shots}] * batch.executions), "made up of zeros"),
        ("find", lambda tag: [], "found by its tag"),
        ("status", lambda job_id: ("done", "", None, None), "an id that the vendor does not know"),
        ("quote", lambda batch: 3.0, "a job has a price if and only if"),
    ],
)
def test_a_broken_adapter_fails_with_the_promise_it_broke(verb, spoil, promise, clean_environment):
    pytest.importorskip("qiskit_braket_provider")
    from qworkbench.cloud.adapter import JobStatus

    if verb == "status":
        answer = spoil
        spoil = lambda job_id: JobStatus(*answer(job_id))  # noqa: E731
    with pytest.raises(AssertionError, match=promise):
        check_adapter("braket-local:sv?budget=100", Broken("braket-local:sv", **{verb: spoil}))
