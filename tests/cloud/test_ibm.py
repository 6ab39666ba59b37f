"""IBM's real client against a stub, with faults."""

from __future__ import annotations

import pytest
import torch

from circuits import ParameterizedCircuit, angle_encoding, data_reuploading, z_each
from qworkbench import QuantumLayer, VariationalClassifier, open_engine
from qworkbench.cloud import dispatch, jobs
from qworkbench.cloud.errors import (
    AmbiguousJobError,
    BudgetError,
    JobCancelledError,
    JobFailedError,
    JobTimeoutError,
    RefusedError,
    UnknownJobError,
)
from qworkbench.cloud.journal import AMBIGUOUS, CANCELLED, DONE, FAILED, Journal
from qworkbench.lowering import Angles, lower

pytest.importorskip("qiskit_ibm_runtime")
from ibm_stub import DEVICE, JOBS
from loopback import DROP_AFTER, DROP_BEFORE, Fault

CIRCUIT = angle_encoding(2)
X = torch.tensor([[0.3, 1.9], [2.8, 0.4]], dtype=torch.float64)


def layer(circuit: ParameterizedCircuit = CIRCUIT, options: str = "") -> QuantumLayer:
    uri = f"ibm:{DEVICE}?shots=500&budget=1000&rate=1000&grace=0.1{options}"
    return QuantumLayer(circuit, z_each(circuit.n_qubits), uri, dtype=torch.float64)


def near(values: torch.Tensor) -> bool:
    """Whether they are cos(x) up to the device's noise and shots; zeros and swapped bits are far off."""
    return bool((values - torch.cos(X)).abs().max() < 0.3)


def journal(folder):
    return Journal(folder / "jobs.sqlite")


def test_a_batch_is_one_job_and_so_is_its_gradient(ibm):
    circuit = data_reuploading(n_features=2, n_qubits=2, n_layers=2)
    model = layer(circuit)
    model(X).sum().backward()
    assert len(ibm.jobs) == 2
    exact = QuantumLayer(circuit, z_each(2), dtype=torch.float64)
    exact.load_state_dict(model.state_dict())
    exact(X).sum().backward()
    assert torch.corrcoef(torch.stack([model.weights.grad, exact.weights.grad]))[0, 1] > 0.95


def test_a_second_process_pays_nothing_for_what_is_in_the_journal(ibm, clean_environment):
    first = layer()(X)
    assert near(first)
    assert torch.equal(layer()(X), first)
    assert len(ibm.jobs) == 1
    model = layer()
    assert torch.equal(model(X), first)
    assert not torch.equal(model(X), first) or len(ibm.jobs) == 2
    assert len(ibm.jobs) == 2  # the second time in one program is a new measurement
    layer(options="&run=other")(X)
    assert len(ibm.jobs) == 3
    spent = journal(clean_environment).spent("default")
    assert spent == pytest.approx(2 * 2 * 1.60)  # the stub charges 2 s a job


@pytest.mark.parametrize(
    ("faults", "accepted"),
    [
        ([Fault(500), Fault(502)], 1),
        ([Fault(429)] * 2, 1),
        ([DROP_AFTER], 1),
        ([Fault(504, accepted=True)], 1),
        ([Fault(500), DROP_AFTER], 1),
    ],
    ids=["5xx", "429", "dropped after acceptance", "5xx after acceptance", "5xx, then dropped"],
)
def test_a_submit_that_goes_wrong_is_one_job_in_the_end(ibm, faults, accepted, recwarn):
    ibm.fail("POST", JOBS, *faults)
    assert near(layer()(X))
    assert len(ibm.jobs) == accepted


def test_a_lagging_list_is_asked_again(ibm):
    ibm.fail("POST", JOBS, DROP_AFTER)
    ibm.lag = 2
    assert near(layer()(X))
    assert len(ibm.jobs) == 1


@pytest.mark.parametrize("status", [500, 504])
def test_a_lagging_list_does_not_double_a_job_that_a_5xx_hid(ibm, status):
    ibm.fail("POST", JOBS, Fault(status, accepted=True))
    ibm.lag = 2
    assert near(layer()(X))
    assert len(ibm.jobs) == 1


def test_a_5xx_at_the_last_attempt_is_of_unknown_fate(ibm, clean_environment, monkeypatch):
    ibm.fail("POST", JOBS, Fault(500, accepted=True))
    ibm.lag = 1000
    with monkeypatch.context() as patch, pytest.raises(AmbiguousJobError):
        patch.setattr(dispatch, "RETRY_SECONDS", 0.0)
        layer()(X)
    assert [job.state for job in journal(clean_environment).jobs()] == [AMBIGUOUS]
    ibm.lag = 0
    assert near(layer()(X))
    assert len(ibm.jobs) == 1


@pytest.mark.parametrize("body", [{}, [], "ok"])
def test_an_answer_that_cannot_be_read_is_no_refusal(ibm, body):
    ibm.fail("POST", JOBS, Fault(200, body, accepted=True))
    assert near(layer()(X))
    assert len(ibm.jobs) == 1


def test_a_billable_job_of_unknown_fate_is_not_sent_again_without_asking(ibm, clean_environment):
    ibm.fail("POST", JOBS, DROP_BEFORE)
    with pytest.raises(AmbiguousJobError, match=r"jobs adopt qwb-\w+ ID.*jobs resume qwb-\w+ --resend"):
        layer()(X)
    with pytest.raises(AmbiguousJobError):
        layer()(X)
    assert not ibm.jobs
    assert [job.state for job in journal(clean_environment).jobs()] == [AMBIGUOUS]
    book = journal(clean_environment)
    feared = book.spent("default")
    assert feared > 0
    assert near(layer(options="&ambiguous=resend")(X))  # the user's word
    assert len(ibm.jobs) == 1
    assert book.spent("default") == pytest.approx(feared + 2 * 1.60)  # both may have to be paid


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [(401, 1, "401"), (403, 1, "403"), (400, 1517, "1517"), (409, 1, "409")],
)
def test_a_refusal_says_why_and_costs_nothing(ibm, clean_environment, status, code, message):
    ibm.fail("POST", JOBS, Fault(status, {"error": {"code": code, "message": "no"}}))
    with pytest.raises(RefusedError, match=message):
        layer()(X)
    assert journal(clean_environment).spent("default") == 0
    assert near(layer()(X))


def test_reads_are_tried_again(ibm):
    model = layer()
    model(X)
    name = next(iter(ibm.jobs))
    path = f"{JOBS}/{name}"
    ibm.fail("GET", path, DROP_BEFORE, Fault(429))
    ibm.fail("GET", f"{path}/results", DROP_BEFORE)
    from qworkbench.backend import Backend
    from qworkbench.cloud.dispatch import patiently
    from qworkbench.cloud.ibm import IBMAdapter

    adapter = IBMAdapter(Backend.parse(f"ibm:{DEVICE}?shots=500"))
    assert patiently(lambda: adapter.status(name)).state == "done"


def test_a_failed_job_says_why_and_may_be_tried_again(ibm, clean_environment):
    ibm.outcome = "fail"
    with pytest.raises(JobFailedError, match="Circuit is too large"):
        layer()(X)
    book = journal(clean_environment)
    (failed,) = book.jobs()
    assert failed.state == FAILED
    charged = book.spent("default")
    assert charged > 0
    jobs.resume(book, failed.tag, resend=True)
    assert book.spent("default") == charged  # sending it anew gives no money back
    ibm.outcome = "ok"
    assert near(layer()(X))
    assert len(ibm.jobs) == 2
    assert book.spent("default") == 2 * charged


def test_a_job_outlives_our_patience(ibm):
    ibm.outcome = "hang"
    with pytest.raises(JobTimeoutError, match="it goes on there"):
        layer(options="&timeout=0.3")(X)
    ibm.outcome = "ok"
    (job,) = ibm.jobs.values()
    ibm._work(job)
    assert near(layer()(X))
    assert len(ibm.jobs) == 1


def test_a_cancelled_job_is_never_sent_again(ibm, clean_environment):
    ibm.outcome = "hang"
    with pytest.raises(JobTimeoutError):
        layer(options="&timeout=0.3")(X)
    (job,) = ibm.jobs.values()
    job["state"] = "Cancelled"  # on the vendor's page
    for _ in range(2):
        with pytest.raises(JobCancelledError, match="cancelled"):
            layer()(X)
    assert len(ibm.jobs) == 1
    assert [row.state for row in journal(clean_environment).jobs()] == [CANCELLED]


def test_a_result_that_is_given_out_once_is_kept(ibm, clean_environment, monkeypatch):
    monkeypatch.setattr(dispatch, "WRITE_SECONDS", 0.1)
    ibm.read_once = True
    first = layer()(X)
    assert torch.equal(layer()(X), first)
    book = journal(clean_environment)
    (job,) = book.jobs()
    book.update(job.tag, "submitted")  # as if killed between the two
    spent = book.spent("default")
    with pytest.raises(UnknownJobError, match=r"given out once; .*jobs resume qwb-\w+ --resend"):
        layer()(X)
    with pytest.raises(UnknownJobError):
        jobs.resume(book, job.tag)
    jobs.resume(book, job.tag, resend=True)
    assert near(layer()(X))
    assert len(ibm.jobs) == 2
    assert book.spent("default") == 2 * spent


@pytest.mark.parametrize("mode", ["session", "batch"])
def test_a_closed_session_gives_way_to_single_jobs(ibm, mode):
    model = layer(options=f"&mode={mode}")
    assert near(model(X))
    assert next(iter(ibm.jobs.values()))["raw"]["session_id"] in ibm.sessions
    for session in ibm.sessions.values():
        session |= {"accepting_jobs": False, "state": "closed"}
    with pytest.warns(UserWarning, match="session is closed"):
        assert near(model(X))
    assert len(ibm.jobs) == 2
    assert list(ibm.jobs.values())[-1]["raw"].get("session_id") is None


def test_vendor_side_limits_and_tags_are_set(ibm):
    layer(options="")(X)
    raw = next(iter(ibm.jobs.values()))["raw"]
    assert raw["tags"][0].startswith("qwb-")
    assert raw["cost"] == int(1000 / 1.60)


def test_no_budget_no_job(ibm):
    with pytest.raises(BudgetError, match="--budget USD"):
        open_engine(f"ibm:{DEVICE}")
    with pytest.raises(BudgetError, match="no budget was given"):
        VariationalClassifier(backend=f"ibm:{DEVICE}", epochs=1).fit(X.numpy(), ["a", "b"])
    model = QuantumLayer(CIRCUIT, z_each(2), f"ibm:{DEVICE}?shots=500&budget=5&rate=1000", dtype=torch.float64)
    model(X)
    with pytest.raises(BudgetError, match=r"used 3.20 of its budget of 5.00 USD; nothing was sent"):
        model(X)
    assert len(ibm.jobs) == 1


def test_an_estimator_trains_and_predicts_on_it(ibm, clean_environment):
    model = VariationalClassifier(
        circuit="data_reuploading",
        n_layers=1,
        observables="z_first",
        epochs=1,
        random_state=0,
        backend=f"ibm:{DEVICE}?shots=100&budget=100&rate=1000",
    )
    model.fit(X.numpy(), ["a", "b"])
    assert model.predict(X.numpy()).shape == (2,)
    assert {job.state for job in journal(clean_environment).jobs()} == {DONE}
    assert len(ibm.jobs) == 3


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ibm", "expected ibm:DEVICE"),
        ("ibm:x?shotss=3", "did you mean 'shots'"),
        ("ibm:x?mode=sesion", "did you mean 'session'"),
        ("ibm:x?budget=lots", "expected a number for 'budget'"),
        ("ibm:x?budget=-1", "at least 0 US dollars"),
        ("ibm:x?budget=1&ambiguous=never", "unknown way to treat ambiguous jobs"),
        ("ibm:x?token=abc", "looks like a credential"),
    ],
)
def test_wrong_uris_are_refused(uri, message, clean_environment):
    with pytest.raises(ValueError, match=message):
        open_engine(uri)


def test_missing_credentials_and_devices_are_named(ibm, monkeypatch):
    with pytest.raises(RefusedError, match="ibm_nowhere"):
        QuantumLayer(CIRCUIT, z_each(2), "ibm:ibm_nowhere?budget=1")
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    with pytest.raises(RefusedError, match="account"):
        QuantumLayer(CIRCUIT, z_each(2), "ibm:ibm_nowhere?budget=1")


def test_a_24_parameter_gradient_of_16_samples_is_one_submission():
    circuit = data_reuploading(n_features=3, n_qubits=3, n_layers=2)
    assert circuit.n_weights == 24
    lowered = lower(circuit)
    engine = open_engine("ibm-fake:manila?shots=20&seed=1")
    program = engine.compile(lowered, z_each(3))
    inputs = torch.rand(16, 3, dtype=torch.float64)
    angles = lowered.angles(inputs, torch.rand(circuit.n_weights, dtype=torch.float64))
    program.vjp(Angles(*angles), torch.ones(16, 3, dtype=torch.float64))
    assert engine.usage.submissions == 1
