"""IonQ's and Amazon's real clients against stubs, with faults."""

from __future__ import annotations

import pytest
import torch

from circuits import angle_encoding, z_each
from qworkbench import QuantumLayer, open_engine
from qworkbench.cloud import jobs
from qworkbench.cloud.errors import AmbiguousJobError, BudgetError, JobFailedError, JobTimeoutError, RefusedError
from qworkbench.cloud.journal import CANCELLED, Journal

X = torch.tensor([[0.3, 1.9], [2.8, 0.4]], dtype=torch.float64)


def run(uri):
    return QuantumLayer(angle_encoding(2), z_each(2), uri, dtype=torch.float64)(X)


def near(values):
    return bool((values - torch.cos(X)).abs().max() < 0.2)


class TestIonQ:
    pytest.importorskip("qiskit_ionq")
    FREE = "ionq:simulator?shots=2000&seed=1&grace=0"
    PAID = "ionq:qpu.forte-1?shots=2000&budget=1000&grace=0"
    JOBS = "/v0.4/jobs"

    def test_a_batch_is_one_job(self, ionq):
        assert near(run(self.FREE))
        assert len(ionq.jobs) == 1

    def test_an_answer_without_an_id_is_no_refusal(self, ionq):
        from loopback import Fault

        ionq.fail("POST", self.JOBS, Fault(200, {}, accepted=True))
        assert near(run(self.PAID))
        assert len(ionq.jobs) == 1

    def test_a_quote_is_asked_for_again(self, ionq):
        from loopback import Fault

        ionq.fail("GET", "/v0.4/jobs/estimate", Fault(503))
        assert near(run(self.PAID))
        assert ionq.count("GET", "/v0.4/jobs/estimate") == 2

    def test_the_vendor_itself_names_the_price(self, ionq, clean_environment):
        with pytest.raises(BudgetError, match="no budget was given"):
            run("ionq:qpu.forte-1?shots=2000")
        with pytest.raises(BudgetError, match=r"estimated at 25.00 USD"):
            run("ionq:qpu.forte-1?shots=2000&budget=20")
        assert near(run(self.PAID))
        assert Journal(clean_environment / "jobs.sqlite").spent("default") == 25.0

    def test_debiasing_is_said_and_quoted(self, ionq):
        for options, said, quoted in (
            ("shots=1000", None, "true"),
            ("shots=1000&debiasing=off", False, "false"),
            ("shots=1000&debiasing=on", True, "true"),
            ("shots=100", None, "false"),
        ):
            run(f"ionq:qpu.forte-1?{options}&budget=1000&grace=0")
            settings = list(ionq.jobs.values())[-1]["sent"].get("settings", {})
            assert settings.get("error_mitigation", {}).get("debiasing") is said
            assert ionq.estimates[-1]["error_mitigation"] == [quoted]

    def test_answers_that_get_lost(self, ionq):
        from loopback import DROP_AFTER, Fault

        ionq.fail("POST", self.JOBS, DROP_AFTER)
        assert near(run(self.PAID))
        assert ionq.count("POST", self.JOBS) == 1
        # The client would send it five times at once; a 502 says nothing about acceptance.
        ionq.fail("POST", self.JOBS, Fault(502, accepted=True))
        assert near(run(self.PAID + "&run=b"))
        assert ionq.count("POST", self.JOBS) == 2
        ionq.fail("POST", self.JOBS, Fault(502))
        with pytest.raises(AmbiguousJobError):
            run(self.PAID + "&run=c")
        assert len(ionq.jobs) == 2

    def test_refusals_and_patience(self, ionq):
        from loopback import Fault

        ionq.fail("POST", self.JOBS, Fault(401, {"statusCode": 401, "error": "Unauthorized", "message": "bad key"}))
        with pytest.raises(RefusedError, match="401: bad key"):
            run(self.FREE)
        ionq.fail("POST", self.JOBS, Fault(429, {"statusCode": 429, "message": "slow"}))
        assert near(run(self.FREE))
        ionq.outcome = "fail"
        with pytest.raises(JobFailedError, match="QuotaExhausted: no more"):
            run(self.FREE + "&run=b")
        ionq.outcome = "hang"
        with pytest.raises(JobTimeoutError):
            run(self.FREE + "&run=c&timeout=0.2")

    def test_a_missing_key_is_named(self, ionq, monkeypatch):
        monkeypatch.delenv("IONQ_API_KEY")
        with pytest.raises(RefusedError, match="IONQ_API_KEY"):
            run(self.FREE)

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("ionq", "expected ionq:DEVICE"),
            ("ionq:simulator?noise=x", "did you mean .*'noise_model'"),
            (PAID + "&noise_model=x", "alone"),
            (PAID + "&debiasing=maybe", "expected debiasing=on or off"),
            (FREE + "&debiasing=on", "one of IonQ's computers"),
            ("ionq:qpu.forte-1?shots=100&budget=1&debiasing=on", "from 500 shots on, got 100"),
        ],
    )
    def test_wrong_uris_are_refused(self, uri, message):
        with pytest.raises(ValueError, match=message):
            open_engine(uri)


class TestBraket:
    pytest.importorskip("qiskit_braket_provider")
    URI = "braket:sv1?shots=1000&budget=1&grace=0"

    def test_amazon_keeps_a_spending_limit_if_asked_to(self, braket):
        qpu = "braket:arn%3Aaws%3Abraket%3Aus-east-1%3A%3Adevice/qpu/iqm/Garnet?shots=10&budget=50&grace=0"
        run(qpu)
        assert not braket.limits
        run(f"{qpu}&spending_limit=20.50&run=b")
        (limit,) = braket.limits
        assert limit["spendingLimit"] == "20.50" and limit["deviceArn"].endswith("qpu/iqm/Garnet")
        run(f"{qpu}&spending_limit=30&run=c")  # there is one now, and it is the user's
        assert len(braket.limits) == 1 and len(braket.tasks) == 3

    def test_no_job_without_the_spending_limit(self, braket):
        from loopback import Fault

        braket.fail("POST", "/spending-limits", Fault(403, {"message": "no", "__type": "AccessDeniedException"}))
        with pytest.raises(RefusedError, match="AccessDeniedException"):
            run(
                "braket:arn%3Aaws%3Abraket%3Aus-east-1%3A%3Adevice/qpu/iqm/Garnet"
                "?shots=10&budget=50&grace=0&spending_limit=20"
            )
        assert not braket.tasks

    def test_with_program_sets_a_gradient_is_one_task(self, braket):
        layer = QuantumLayer(angle_encoding(2), z_each(2), self.URI, dtype=torch.float64)
        inputs = X.clone().requires_grad_()
        layer(inputs).sum().backward()
        assert (inputs.grad + torch.sin(X)).abs().max() < 0.2
        assert len(braket.tasks) == 2
        assert layer.usage["submissions"] == 2

    def test_without_program_sets_each_circuit_is_a_task_and_counted_as_such(self, braket):
        braket.program_sets = False
        layer = QuantumLayer(angle_encoding(2), z_each(2), self.URI, dtype=torch.float64)
        assert near(layer(X))
        assert len(braket.tasks) == layer.usage["submissions"] == 2

    def test_answers_that_get_lost(self, braket):
        from loopback import DROP_AFTER, DROP_BEFORE, Fault

        throttled = Fault(429, {"message": "slow", "__type": "ThrottlingException"})
        braket.fail("POST", "/quantum-task", DROP_AFTER, DROP_BEFORE, Fault(500), throttled)
        assert near(run(self.URI))
        assert len(braket.tasks) == 1

    def test_refusals_failures_and_patience(self, braket):
        from loopback import Fault

        braket.fail(
            "POST", "/quantum-task", Fault(400, {"message": "spending limit exceeded", "__type": "ValidationException"})
        )
        with pytest.raises(RefusedError, match="spending limit exceeded"):
            run(self.URI)
        braket.outcome = "fail"
        with pytest.raises(JobFailedError, match="device is on fire"):
            run(self.URI)
        braket.outcome = "hang"
        with pytest.raises(JobTimeoutError):
            run(self.URI + "&run=b&timeout=0.2")

    def test_a_vendor_may_take_a_while_to_cancel(self, braket, clean_environment):
        braket.outcome = "hang"
        with pytest.raises(JobTimeoutError):
            run(self.URI + "&timeout=0.2")
        book = Journal(clean_environment / "jobs.sqlite")
        (job,) = book.jobs()
        assert jobs.cancel(book, job.tag).state == CANCELLED
        (task,) = braket.tasks.values()
        assert task["status"] == "CANCELLED"

    def test_a_second_process_pays_nothing(self, braket):
        first = run(self.URI)
        assert torch.equal(run(self.URI), first)
        assert len(braket.tasks) == 1

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("braket:sv3?budget=1", "expected braket:ARN"),
            ("braket-local:svv", "did you mean 'sv'"),
            (URI + "&spending_limit=5", "Amazon knows none on simulators"),
            (URI + "&x=1", "unknown option"),
        ],
    )
    def test_wrong_uris_are_refused(self, uri, message):
        with pytest.raises(ValueError, match=message):
            open_engine(uri)
