"""Several threads and processes at one journal, clocks that are set, cancelled intents: no job twice, none for free."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from circuits import angle_encoding, z_each
from qworkbench import QuantumLayer
from qworkbench.cloud import jobs, journal
from qworkbench.cloud.errors import AmbiguousJobError, BudgetError, JobCancelledError
from qworkbench.cloud.ibm import IBMAdapter
from qworkbench.cloud.journal import ABANDONED, AMBIGUOUS, CANCELLED, INTENT, SENDING, SUBMITTED, Journal

pytest.importorskip("qiskit_ibm_runtime")
from ibm_stub import DEVICE

X = torch.tensor([[0.3, 1.9]], dtype=torch.float64)
JOB = {"run": "r", "backend": "ibm:x", "circuits": 1, "shots": 1, "payload": b""}


def layer(options=""):
    uri = f"ibm:{DEVICE}?shots=50&budget=100&rate=1000&grace=0{options}"
    return QuantumLayer(angle_encoding(2), z_each(2), uri, dtype=torch.float64)


def intend(book, estimate=3.0, budget=5.0, key="k"):
    return book.intend(key, 0, estimate=estimate, budget=budget, **JOB)


def at_once(models):
    """What each model gives, all called at the same time in threads of their own."""
    with ThreadPoolExecutor(len(models)) as pool:
        return list(pool.map(lambda model: model(X), models, timeout=60))


@pytest.fixture
def book(tmp_path):
    return Journal(tmp_path / "jobs.sqlite")


def test_threads_of_one_process_share_a_job(ibm, monkeypatch):
    real = IBMAdapter.submit

    def slow(self, batch, tag):
        time.sleep(0.3)
        return real(self, batch, tag)

    monkeypatch.setattr(IBMAdapter, "submit", slow)
    found = at_once([layer() for _ in range(3)])
    assert len(ibm.jobs) == 1 and all(torch.equal(each, found[0]) for each in found)


def test_processes_at_one_journal_share_a_job(ibm):
    ibm.delay = 0.3
    code = f"""
import torch
from circuits import angle_encoding, z_each
from qworkbench import QuantumLayer
uri = "ibm:{DEVICE}?shots=50&budget=4&rate=1000&grace=5"
layer = QuantumLayer(angle_encoding(2), z_each(2), uri, dtype=torch.float64)
print(layer(torch.tensor([[0.3, 1.9]], dtype=torch.float64)).tolist())
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [process.communicate(timeout=120)[0] for process in started]
    assert {process.returncode for process in started} == {0}
    assert len(set(found)) == 1 and len(ibm.jobs) == 1


def test_an_accepted_job_is_kept_whatever_the_client_stumbles_over_afterwards(ibm):
    ibm.accepts_as = "ibm_elsewhere"  # the client now asks for that device, which there is not
    first = layer()(X)
    assert len(ibm.jobs) == 1
    ibm.accepts_as = DEVICE
    assert torch.equal(layer()(X), first) and len(ibm.jobs) == 1


def test_a_cancelled_intent_reserves_nothing_and_is_not_sent(book):
    first = intend(book)
    with pytest.raises(BudgetError):
        intend(book, key="other")
    assert jobs.cancel(book, first.tag).state == CANCELLED
    assert book.spent("r") == 0.0
    assert intend(book) is None, "it is not written down anew"
    with pytest.raises(JobCancelledError, match="nothing was sent"):
        book.take_turn("ibm:x", first.tag, None)
    assert intend(book, key="other").state == INTENT


def test_an_orphaned_intent_gives_its_money_back_to_its_successor(book, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_owner", lambda: f"{socket.gethostname()}:{2**22 + 1}:0.0")  # no such process
        first = intend(book)
    second = intend(book)
    assert (book.get(first.tag).state, second.state) == (ABANDONED, INTENT)
    assert book.spent("r") == 3.0


def test_who_knows_less_does_not_overwrite_who_knows_more(book):
    job = intend(book)
    book.take_turn("ibm:x", job.tag, None)
    book.update(job.tag, SUBMITTED, only_from=(SENDING, AMBIGUOUS), job_id="v1")
    for state in (ABANDONED, AMBIGUOUS):
        book.update(job.tag, state, only_from=(SENDING, AMBIGUOUS))
        assert book.get(job.tag).state == SUBMITTED


def test_a_clock_that_is_set_back_holds_nobody_up(book, monkeypatch):
    job = intend(book)
    book.take_turn("ibm:x", job.tag, 1)
    other = intend(book, estimate=0.0, key="other")
    assert book.take_turn("ibm:x", other.tag, 1) > 50
    now = time.time()
    monkeypatch.setattr(journal.time, "time", lambda: now - 7200)
    assert book.take_turn("ibm:x", other.tag, 1) == 0.0


def test_a_token_that_may_be_forgotten_is_not_relied_on(braket, monkeypatch):
    """Amazon forgets a client token some day; each resend must not make it look younger."""
    from loopback import DROP_BEFORE

    from qworkbench.cloud import dispatch

    braket.fail("POST", "/quantum-task", *[DROP_BEFORE] * 20)
    monkeypatch.setattr(dispatch, "SAME_JOB_SECONDS", 0.0)
    model = QuantumLayer(angle_encoding(2), z_each(2), "braket:sv1?shots=10&budget=1&grace=0", dtype=torch.float64)
    with pytest.raises(AmbiguousJobError):
        model(X)
    assert not braket.tasks
