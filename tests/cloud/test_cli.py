"""The commands about remote jobs, and the secrets that none of them may spill."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
import warnings

import pytest
import torch

from circuits import angle_encoding, z_each
from qworkbench import QuantumLayer, VariationalClassifier
from qworkbench.cli import main
from qworkbench.cloud.errors import AmbiguousJobError, JobTimeoutError, RefusedError
from qworkbench.cloud.secrets import mask, mask_logs
from qworkbench.comparison.planning import plan

pytest.importorskip("qiskit_ibm_runtime")
from ibm_stub import DEVICE, JOBS, TOKEN
from loopback import DROP_BEFORE, Fault

URI = f"ibm:{DEVICE}?shots=100&budget=1000&rate=1000&grace=0"
X = torch.tensor([[0.3, 1.9]], dtype=torch.float64)


def layer(options=""):
    return QuantumLayer(angle_encoding(2), z_each(2), URI + options, dtype=torch.float64)


@pytest.fixture
def command(capsys, monkeypatch):
    """Run a command; its exit code, stdout and stderr."""
    monkeypatch.setenv("QWORKBENCH_BUDGET", "0")  # so that a command's own setting is undone afterwards

    def run(*arguments):
        capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run


def jobs_of(command):
    return json.loads(command("jobs", "list", "--json")[1])


def test_jobs_are_listed_shown_and_exported(ibm, command, clean_environment):
    assert "no job journal at" in command("jobs", "list")[2]
    layer()(X)
    (job,) = jobs_of(command)
    assert (job["state"], job["backend"]) == ("done", f"ibm:{DEVICE}?shots=100")
    shown = command("jobs", "list")[1]
    assert job["tag"][:12] in shown and "USD spent or reserved" in shown
    assert sum(json.loads(command("jobs", "show", job["tag"][:9], "--json")[1])["counts"][0][0].values()) == 100
    assert command("jobs", "export", clean_environment / "jobs.jsonl")[0] == 0
    line = json.loads((clean_environment / "jobs.jsonl").read_text())
    assert line["tag"] == job["tag"] and line["counts"]
    code, _, error = command("jobs", "show", "nonsense")
    assert code == 1 and "found none" in error
    assert "did you mean 'submitted'" in command("jobs", "list", "--state", "submited")[2]


def test_a_job_of_unknown_fate_is_adopted_or_released(ibm, command):
    ibm.fail("POST", JOBS, DROP_BEFORE)
    with pytest.raises(AmbiguousJobError):
        layer()(X)
    (lost,) = jobs_of(command)
    assert "adopt" in command("jobs", "resume", lost["tag"], "--grace", "0")[2]
    assert "Job not found" in command("jobs", "adopt", lost["tag"], "no-such-id")[2]
    layer("&run=other")(X)  # another job with the same content
    vendor_id = next(iter(ibm.jobs))
    assert "already belongs to" in command("jobs", "adopt", lost["tag"], vendor_id)[2]
    copy = dict(ibm.jobs[vendor_id], id="made-by-hand")
    ibm.jobs["made-by-hand"] = copy
    assert command("jobs", "adopt", lost["tag"], "made-by-hand")[0] == 0
    assert command("jobs", "resume", lost["tag"])[0] == 0
    before = len(ibm.jobs)
    layer()(X)
    assert len(ibm.jobs) == before

    ibm.fail("POST", JOBS, DROP_BEFORE)
    with pytest.raises(AmbiguousJobError):
        layer("&run=third")(X)
    assert command("jobs", "resume", jobs_of(command)[-1]["tag"], "--resend", "--grace", "0")[0] == 0
    layer("&run=third")(X)
    assert len(ibm.jobs) == before + 1


def test_cancel_and_resume(ibm, command):
    ibm.outcome = "hang"
    with pytest.raises(JobTimeoutError):
        layer("&timeout=0.2")(X)
    (job,) = jobs_of(command)
    assert "still running" in command("jobs", "resume", job["tag"], "--timeout", "0.2")[2]
    assert command("jobs", "cancel", job["tag"])[0] == 0
    assert jobs_of(command)[0]["state"] == "cancelled"
    assert next(iter(ibm.jobs.values()))["state"] == "Cancelled"
    assert "expected a job that is with the vendor" in command("jobs", "cancel", job["tag"])[2]
    ibm.outcome = "ok"
    command("jobs", "resume", job["tag"], "--resend")
    layer()(X)
    assert len(ibm.jobs) == 2


def test_backends_are_listed_with_their_prices(ibm, command):
    listed = {row["name"]: row for row in json.loads(command("backends", "--json")[1])}
    assert listed["ibm"]["billable"] and listed["ibm"]["price"] == "1.6 USD a QPU second"
    assert "2026" in listed["ibm"]["source"]
    assert not listed["aer"]["billable"]
    uri = f"ibm:{DEVICE}?rate=1000&grace=0"
    code, _, error = command("backends", "check", uri)
    assert code == 1 and "budget of 0.00 USD; nothing was sent" in error and not ibm.jobs


@pytest.mark.slow
def test_backends_check_runs_the_suite_within_the_budget(ibm, command):
    code, shown, _ = command("backends", "check", f"ibm:{DEVICE}?rate=1000&grace=0", "--budget", "1000")
    assert code == 0 and "a job is found by its tag" in shown


def test_train_needs_and_keeps_a_budget(ibm, command, clean_environment):
    small = ("--param", "epochs=1", "--param", "n_layers=1", "--runs", clean_environment / "runs")
    small += ("--out", clean_environment / "m.qwb")
    arguments = ("train", "moons?n_samples=8", "--backend", f"ibm:{DEVICE}?shots=50&rate=1000", *small)
    code, _, error = command(*arguments)
    assert code == 1 and "--budget USD" in error
    code, _, error = command(*arguments, "--budget", "2")
    assert code == 1 and "of its budget of 2.00 USD; nothing was sent" in error and not ibm.jobs
    assert command(*arguments, "--budget", "100")[0] == 0
    sent = len(ibm.jobs)
    assert command(*arguments, "--budget", "100")[0] == 0
    assert len(ibm.jobs) == sent > 0
    assert "--budget is for" in command("train", "moons", "--budget", "3")[2]


def test_a_plan_counts_what_training_runs(clean_environment, command):
    model = VariationalClassifier(epochs=2, n_layers=1, random_state=0, backend="aer?shots=10")
    data, labels = torch.rand(10, 2, generator=torch.Generator().manual_seed(0)).numpy(), [0, 1] * 5
    fitted = model.fit(data, labels)
    rows, tariff = plan(model, data, labels, "ibm:ibm_torino?shots=10")
    assert (rows[0].circuits, rows[0].tasks) == (fitted.usage_["circuits"], fitted.usage_["submissions"])
    assert rows[0].shots == fitted.usage_["shots"]
    assert rows[0].usd == pytest.approx(1.6 * rows[0].seconds)
    assert [row.name for row in rows] == ["as asked", "gradient=spsa", "shots=2"]
    assert rows[1].usd < rows[0].usd and rows[2].usd < rows[0].usd
    assert tariff.source and tariff.as_of

    code, text, error = command("plan", "moons", "--backend", "ibm:ibm_torino?shots=10", "--param", "epochs=1")
    (source,) = [line for line in text.splitlines() if line.startswith("source: ")]
    assert code == 0 and "days ago, so compare with https://www.ibm.com/quantum/pricing" in source
    assert "warning" not in error

    shown = json.loads(command("plan", "moons", "--backend", "braket:sv1", "--param", "epochs=1", "--json")[1])
    asked = shown["plan"][0]
    assert asked["tasks"] == asked["circuits"]
    assert "did you mean 'ibm'" in command("plan", "moons", "--backend", "imb:x")[2]
    assert "expected a model that runs circuits" in command("plan", "moons", "-m", "rbf_svm", "--backend", "aer")[2]


def test_no_artefact_of_a_run_holds_the_token(ibm, command, clean_environment, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    runs, saved = clean_environment / "runs", clean_environment / "model.qwb"
    options = ("--budget", "100", "--param", "epochs=1", "--runs", runs, "--out", saved)
    backend = f"ibm:{DEVICE}?shots=50&rate=1000&grace=0"
    leak = {"error": {"code": 1, "message": f"Authorization: apikey {TOKEN} is not good enough"}}
    ibm.fail("POST", JOBS, Fault(400, leak))
    code, out, error = command("train", "moons?n_samples=8", "--backend", backend, *options, "--debug")
    assert code == 1 and "***" in error
    assert TOKEN not in out + error
    assert command("train", "moons?n_samples=8", "--backend", backend, *options)[0] == 0
    assert command("jobs", "export", runs / "jobs.jsonl")[0] == 0
    logging.getLogger("somebody").warning("header %s", {"Authorization": f"Bearer {TOKEN}"})
    with pytest.raises(RefusedError) as caught:
        ibm.fail("POST", JOBS, Fault(403, leak))
        layer("&run=x")(X)
    assert TOKEN not in str(caught.value) + caplog.text + "".join(capsys.readouterr())
    files = [file for file in clean_environment.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".jsonl", ".qwb", ".sqlite", ".qpy"}
    for file in files:
        assert TOKEN.encode() not in file.read_bytes(), file
    dumped = "\n".join(sqlite3.connect(clean_environment / "jobs.sqlite").iterdump())
    assert TOKEN not in dumped and TOKEN.encode().hex() not in dumped.lower()


def test_errors_warnings_and_tracebacks_of_commands_hold_no_secret(command, clean_environment, monkeypatch):
    monkeypatch.setenv("IONQ_API_KEY", TOKEN)

    def leak(*_):
        warnings.simplefilter("always")  # main undoes it
        warnings.warn(f"the key {TOKEN} is old", stacklevel=1)
        raise RuntimeError(f"bad key {TOKEN}")

    monkeypatch.setattr("qworkbench.datasets.load_dataset", leak)
    code, out, error = command("train", "moons", "--debug")
    assert code == 1 and TOKEN not in out + error
    assert error.count("bad key ***") == 2 and "Traceback" in error and "the key *** is old" in error


def test_a_readable_file_of_credentials_is_warned_about(ibm, clean_environment):
    file = clean_environment / ".qiskit" / "qiskit-ibm.json"
    file.parent.mkdir()
    file.write_text("{}")
    file.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600"):
        layer()
    file.chmod(0o600)
    layer()


def test_masking_knows_the_environment_and_headers(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh12345678")
    assert mask("key abcdefgh12345678 there") == "key *** there"
    assert mask("{'Authorization': 'Bearer xyz.abc'}") == "{'Authorization': 'Bearer ***'}"
    assert mask("nothing to hide") == "nothing to hide"


def test_a_logged_traceback_holds_no_secret(clean_environment, monkeypatch):
    monkeypatch.setenv("IONQ_API_KEY", TOKEN)
    before = logging.getLogRecordFactory()
    mask_logs()
    logger, stream = logging.getLogger("vendor"), io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        raise ValueError(f"bad key {TOKEN}")
    except ValueError:
        logger.exception("refused")
    finally:
        logger.removeHandler(handler)
        logging.setLogRecordFactory(before)
    assert "bad key ***" in stream.getvalue() and TOKEN not in stream.getvalue()
