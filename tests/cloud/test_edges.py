"""What vendors, disks and users do at the edges: nothing is paid twice, nothing is made up, nothing secret is shown."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest
import torch

from circuits import angle_encoding, hardware_efficient, z_each
from qworkbench import QuantumLayer, open_engine
from qworkbench.backend import Backend
from qworkbench.cli import main
from qworkbench.cloud import dispatch
from qworkbench.cloud.errors import CloudError, RateLimitedError, RefusedError, UnknownJobError, chain
from qworkbench.cloud.ionq import IonQAdapter
from qworkbench.cloud.journal import ABANDONED, DONE, SUBMITTED, Journal
from qworkbench.cloud.registry import open_adapter
from qworkbench.cloud.secrets import mask_logs
from qworkbench.testing import check_adapter, check_engine

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_ionq")
from ibm_stub import DEVICE, JOBS
from ionq_stub import JOBS as IONQ_JOBS
from ionq_stub import TOKEN as IONQ_TOKEN
from loopback import Fault
from test_adapters import Broken
from test_races import at_once

X = torch.tensor([[0.3, 1.9]], dtype=torch.float64)
JOB = {"run": "r", "circuits": 1, "shots": 1, "estimate": 0.0, "budget": 0.0}


def layer(options=""):
    uri = f"ibm:{DEVICE}?shots=100&budget=100&rate=1000&grace=0{options}"
    return QuantumLayer(angle_encoding(2), z_each(2), uri, dtype=torch.float64)


@pytest.fixture
def book(clean_environment):
    return Journal(clean_environment / "jobs.sqlite")


@pytest.mark.parametrize(
    "uri",
    [
        "ibm:x?a=1&a=2&token=hush-hush-1",
        "ibm:x?shots&token=hush-hush-1",
        "ibm:?api_key=hush-hush-1",
        "x?%74oken=hush-1",
    ],
)
def test_a_wrong_uri_with_a_credential_is_refused_without_showing_it(uri, capsys):
    with pytest.raises(SystemExit):
        main(["backends", "check", uri])
    shown = "".join(capsys.readouterr())
    assert "looks like a credential" in shown and "hush" not in shown


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("braket-local:sv?optimization_level=9", "optimization_level of 0 to 3, got '9'"),
        ("braket-local:sv?optimization_level=high", "optimization_level of 0 to 3, got 'high'"),
        ("braket-local:sv?timeout=inf", "positive timeout"),
        ("braket-local:sv?rate=nan", "whole number for 'rate', got 'nan'"),
        ("ibm:x?budget=5&shots=100&twirling=on&randomizations=101", "at most as many randomizations as shots"),
        ("ibm:x?budget=5&twirling=on&randomizations=1025", "got 1025 for 1024"),
        ("ibm:x?budget=5&journal=:memory:", "must outlive this process"),
    ],
)
def test_options_that_cannot_be_kept_are_refused_at_once(uri, message, clean_environment):
    pytest.importorskip("qiskit_braket_provider")
    with pytest.raises(ValueError, match=message):
        open_engine(uri)


def test_fewer_randomizations_are_said(ibm):
    model = QuantumLayer(
        hardware_efficient(2, n_layers=1),
        z_each(2),
        f"ibm:{DEVICE}?shots=100&budget=100&rate=1000&twirling=on&randomizations=100&mitigation=zne",
    )
    with pytest.warns(UserWarning, match="100 randomizations of 50 shots cannot be: 50 are made"):
        model(torch.zeros((1, 0)))


def test_a_schedule_takes_no_more_shots_than_the_vendor(ionq):
    model = QuantumLayer(angle_encoding(2), z_each(2), "ionq:simulator?shots=100", dtype=torch.float64)
    model(X)
    model.set_shots(10_001)
    with pytest.raises(ValueError, match="at most 10000 shots"):
        model(X)
    assert len(ionq.jobs) == 1


def test_a_vendor_that_asks_for_a_pause_gets_it(ibm):
    ibm.fail("POST", JOBS, Fault(429, headers=(("Retry-After", "2"),)))
    model = layer()
    start = time.monotonic()
    model(X)
    assert time.monotonic() - start >= 2
    assert len(ibm.jobs) == 1


def test_a_pause_longer_than_our_patience_ends_the_run_now(ibm, book):
    ibm.fail("POST", JOBS, Fault(429, headers=(("Retry-After", "86400"),)))
    start = time.monotonic()
    with pytest.raises(RateLimitedError):
        layer()(X)
    assert time.monotonic() - start < 30
    assert [job.state for job in book.jobs()] == [ABANDONED]
    layer()(X)
    assert len(ibm.jobs) == 1


def test_the_rate_is_that_of_the_vendor_whatever_the_device_and_shots(book):
    backends = ("ibm:a?shots=1", "ibm:b?shots=2", "braket:sv1", "braket-local:sv")
    tags = [book.intend(name, 0, backend=name, payload=b"", **JOB).tag for name in backends]
    waits = [book.take_turn(name, tag, 1) for name, tag in zip(backends, tags, strict=True)]
    assert waits[0] == waits[2] == waits[3] == 0 and waits[1] > 50


def test_a_result_that_is_given_out_once_reaches_everybody_who_waits(ibm, monkeypatch):
    ibm.read_once, ibm.delay = True, 0.5
    update = Journal.update

    def slow(self, tag, state, **columns):
        time.sleep(0.5 if state == DONE else 0)
        update(self, tag, state, **columns)

    monkeypatch.setattr(Journal, "update", slow)
    found = at_once([layer() for _ in range(3)])
    assert len(ibm.jobs) == 1 and all(torch.equal(each, found[0]) for each in found)


def test_how_a_job_is_queued_does_not_define_its_result(ibm):
    first = layer()(X)
    assert torch.equal(layer("&mode=batch")(X), first) and torch.equal(layer("&plan=open")(X), first)
    assert len(ibm.jobs) == 1


def test_a_full_disk_stops_the_run_and_loses_no_job(ibm, clean_environment):
    code = f"""
import resource, sys, torch
from circuits import angle_encoding, z_each
from qworkbench import QuantumLayer
uri = "ibm:{DEVICE}?shots=50&budget=100&rate=1000&grace=0.5"
layer = QuantumLayer(angle_encoding(2), z_each(2), uri, dtype=torch.float64)
layer(torch.zeros((1, 2), dtype=torch.float64))  # so that the files are there
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
for k in range(1, 9):
    layer(torch.full((1, 2), k / 10, dtype=torch.float64))
"""

    def run(*arguments):
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)

    stopped = run("150000")
    assert "OSError: cannot use the job journal" in stopped.stderr, stopped.stderr
    assert 1 < len(ibm.jobs) < 9
    again = run()
    assert again.returncode == 0, again.stderr
    assert len(ibm.jobs) == 9
    assert {job.state for job in Journal(clean_environment / "jobs.sqlite").jobs()} <= {"done", ABANDONED}


def test_a_statement_that_fails_leaves_the_journal_usable(book):
    (pages,) = book._query("pragma page_count")[0]
    book._query(f"pragma max_page_count={pages + 2}")
    with pytest.raises(OSError, match=r"cannot use the job journal .*full"):
        book.intend("a", 0, backend="ibm:x", payload=bytes(10**6), **JOB)
    assert not book.jobs()
    assert book.intend("b", 0, backend="ibm:x", payload=b"", **JOB) is not None


def test_a_result_with_holes_is_no_result(clean_environment, monkeypatch):
    pytest.importorskip("qiskit_braket_provider")
    monkeypatch.setattr(dispatch, "WRITE_SECONDS", 0.1)
    for spoil in (lambda _, batch: [[{}] * len(batch.values)] * len(batch.circuits), lambda *_: []):
        with pytest.raises(UnknownJobError, match="expected counts of"):
            check_adapter("braket-local:sv", Broken("braket-local:sv", fetch=spoil))


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_cannot_be_right_is_no_price(ionq, monkeypatch, price):
    monkeypatch.setattr(IonQAdapter, "quote", lambda self, batch: price)
    model = QuantumLayer(angle_encoding(2), z_each(2), "ionq:qpu.forte-1?shots=100&budget=5", dtype=torch.float64)
    with pytest.raises(RefusedError, match="cannot be right"):
        model(X)
    assert not ionq.jobs


def test_a_state_that_nobody_knows_is_named(ionq):
    uri = "ionq:simulator?shots=100"
    QuantumLayer(angle_encoding(2), z_each(2), uri, dtype=torch.float64)(X)
    ((job_id, job),) = ionq.jobs.items()
    job["status"] = "paused"
    with pytest.raises(CloudError, match="IonQ reports the state 'paused', expected one of"):
        open_adapter(Backend.parse(uri)).status(job_id)


def test_an_empty_name_names_no_job(book, capsys):
    tag = book.intend("a", 0, backend="ibm:x", payload=b"", **JOB).tag
    with pytest.raises(SystemExit):
        main(["jobs", "cancel", "", "--journal", book.path])
    assert "empty name" in capsys.readouterr().err
    with pytest.raises(ValueError, match="found none"):
        book.get("qwb_")  # no pattern
    book.update(tag, SUBMITTED, job_id="50%_a")
    assert book.get("50%_").tag == tag


def test_a_log_call_with_wrong_arguments_stays_the_handlers_matter():
    previous = logging.getLogRecordFactory()
    try:
        mask_logs()
        record = logging.getLogger("vendor").makeRecord("vendor", 10, "f", 1, "%s and %s", ("one",), None)
    finally:
        logging.setLogRecordFactory(previous)
    assert record.args == ("one",)


@pytest.mark.parametrize("status", [400, 500])
def test_nothing_behind_an_error_shows_a_key_that_the_vendor_echoed(ionq, status):
    ionq.fail("POST", IONQ_JOBS, Fault(status, {"statusCode": status, "message": f"the key {IONQ_TOKEN} is bad"}))
    model = QuantumLayer(angle_encoding(2), z_each(2), "ionq:qpu.forte-1?shots=100&budget=50&grace=0")
    with pytest.raises(CloudError) as caught:
        model(X.float())
    links = list(chain(caught.value))
    assert "***" in str(links) and IONQ_TOKEN not in str([(str(link), link.args) for link in links])


def test_promises_count_submissions_without_a_calibration():
    with pytest.raises(ValueError, match="leave mitigation=readout out"):
        check_engine("ibm-fake:manila?shots=500&mitigation=readout,zne")
