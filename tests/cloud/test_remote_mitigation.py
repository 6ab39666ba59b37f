"""Mitigation on remote backends: what arrives at the vendor, what it costs, and what is refused beforehand."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp

from circuits import hardware_efficient, z_each
from qworkbench import QuantumLayer, VariationalClassifier, open_engine
from qworkbench.backend import Backend
from qworkbench.cloud.errors import RefusedError
from qworkbench.cloud.ibm import IBMAdapter
from qworkbench.cloud.journal import Journal
from qworkbench.comparison.planning import plan
from qworkbench.engines.runners import CircuitEngine
from qworkbench.lowering import Angles, lower

CIRCUIT = lower(hardware_efficient(2, n_layers=2))
ANGLES = Angles(torch.linspace(-1, 2, CIRCUIT.n_shared).double(), torch.zeros((1, CIRCUIT.n_per_sample)).double())
OBSERVABLES = z_each(2)
SHOTS = 4000


def opened(uri: str) -> CircuitEngine:
    engine = open_engine(uri)
    assert isinstance(engine, CircuitEngine)
    return engine


def values(uri: str) -> torch.Tensor:
    return open_engine(uri).compile(CIRCUIT, OBSERVABLES).run(ANGLES).mean


def pairs(circuit) -> int:
    return sum(len(gate.qubits) == 2 and gate.name != "barrier" for gate in circuit.data)


class TestIBM:
    ibm = pytest.importorskip("qiskit_ibm_runtime")

    def uri(self, options="", shots=SHOTS):
        from ibm_stub import DEVICE

        return f"ibm:{DEVICE}?shots={shots}&budget=1000&rate=1000&grace=0{options}"

    def programs(self, ibm):
        from ibm_stub import program_of

        return [program_of(job["body"]) for job in ibm.jobs.values()]

    def test_folds_and_calibration_arrive_on_the_same_qubits(self, ibm, clean_environment):
        engine = opened(self.uri("&mitigation=readout,zne&zne_scales=1,3,5"))
        engine.compile(CIRCUIT, OBSERVABLES).run(ANGLES)
        calibration, data = self.programs(ibm)
        circuits = [item.circuit for item in data.items]
        assert [pairs(c) / pairs(circuits[0]) for c in circuits] == [1, 3, 5]
        assert [item.circuit.count_ops().get("x", 0) for item in calibration.items] == [0, 2]

        def measured(circuit):
            return [circuit.find_bit(gate.qubits[0]).index for gate in circuit.data if gate.name == "measure"]

        assert len({tuple(measured(item.circuit)) for item in (*calibration.items, *data.items)}) == 1
        used = sum(program.shots * len(program.items) for program in (calibration, data))
        assert 0.98 * SHOTS < used <= SHOTS
        assert engine.usage.shots == used
        assert Journal(clean_environment / "jobs.sqlite").spent("default") == pytest.approx(2 * 2 * 1.60)

    def test_the_values_are_better_and_a_gradient_is_still_one_job(self, ibm):
        exact = values("statevector")
        plain, mitigated = values(self.uri(shots=40000)), values(self.uri("&mitigation=readout,zne", shots=40000))
        assert (mitigated - exact).abs().mean() < 0.5 * (plain - exact).abs().mean()
        program = open_engine(self.uri("&mitigation=zne", shots=100)).compile(CIRCUIT, OBSERVABLES)
        before = len(ibm.jobs)
        program.vjp(ANGLES, torch.ones((1, 2)).double())
        assert len(ibm.jobs) == before + 1

    def test_one_compiled_circuit_serves_every_scale_and_basis(self, ibm, clean_environment):
        circuit = lower(hardware_efficient(2, n_layers=3))  # one that no other test has compiled in this process
        for options in ("", "&mitigation=zne", "&noise_scale=3", "&mitigation=readout"):
            open_engine(self.uri(options, shots=100)).compile(circuit, [*OBSERVABLES, SparsePauliOp("XY")])
        assert len(list((clean_environment / "cache").glob("*.qpy"))) == 1

    def test_another_fit_of_the_same_counts_sends_nothing(self, ibm):
        linear = values(self.uri("&mitigation=zne&zne_scales=1,3,5"))
        exponential = values(self.uri("&mitigation=zne&zne_scales=1,3,5&zne_fit=exponential"))
        assert len(ibm.jobs) == 1 and not torch.equal(linear, exponential)
        values(self.uri("&mitigation=zne&zne_scales=1,3"))
        assert len(ibm.jobs) == 2

    @pytest.mark.parametrize(
        ("option", "gates", "measure"), [("on", True, True), ("gates", True, False), ("measure", False, True)]
    )
    def test_twirling_arrives_with_at_most_the_shots_that_were_asked_for(self, ibm, option, gates, measure):
        found = values(self.uri(f"&twirling={option}", shots=1000))
        assert (found - values("statevector")).abs().max() < 0.3
        (program,) = self.programs(ibm)
        twirling = program.passthrough_data["post_processor"]["options"]["twirling"]
        assert (twirling["enable_gates"], twirling["enable_measure"]) == (gates, measure)
        (item,) = program.items
        assert item.shape[0] == 15 and 985 <= item.shape[0] * program.shots <= 1000

    def test_a_number_of_randomizations_may_be_given(self, ibm):
        values(self.uri("&twirling=on&randomizations=50", shots=1000))
        (program,) = self.programs(ibm)
        assert (program.items[0].shape[0], program.shots) == (50, 20)

    def test_dynamical_decoupling_arrives_as_pulses_in_idle_times(self, ibm):
        wide = lower(hardware_efficient(4, n_layers=1))
        angles = Angles(torch.ones(wide.n_shared).double(), torch.zeros((1, wide.n_per_sample)).double())
        counts = {}
        for options in ("", "&dynamical_decoupling=XY4", "&dynamical_decoupling=XpXm&twirling=on"):
            open_engine(self.uri(options, shots=100)).compile(wide, z_each(4)).run(angles)
            counts[options] = self.programs(ibm)[-1].items[0].circuit.count_ops()
        assert counts[""].get("delay", 0) == 0
        for options in list(counts)[1:]:
            assert counts[options]["delay"] > 0 and counts[options]["x"] >= 2

    def test_a_twirled_readout_is_calibrated_under_the_same_twirl(self, ibm):
        exact = values("statevector")
        plain = values(self.uri("&twirling=measure", shots=20000))
        corrected = values(self.uri("&twirling=measure&mitigation=readout", shots=20000))
        assert (corrected - exact).abs().mean() < 0.6 * (plain - exact).abs().mean()
        assert all(hasattr(item, "samplex") for program in self.programs(ibm) for item in program.items)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("&resilience_level=1", "mitigation=readout&twirling=measure corrects the readout as TREX does"),
            ("&twirling=yes", "unknown value of twirling"),
            ("&dynamical_decoupling=xx", "did you mean 'XX'|known: XX"),
            ("&randomizations=5", "with twirling"),
            ("&twirling=on&randomizations=0", "at least 1"),
            ("&plan=opn", "did you mean 'open'"),
            ("&mitigation=zen", "did you mean 'zne'"),
            ("&mitigation=pec", "unknown mitigation method"),
        ],
    )
    def test_what_it_cannot_do_is_refused_at_once(self, ibm, options, message):
        with pytest.raises(ValueError, match=message):
            open_engine(self.uri(options))
        assert not ibm.log

    def test_a_plan_is_believed_only_if_ibm_says_the_same(self, ibm):
        free = self.uri("&plan=open").replace("&budget=1000", "")
        values(free)
        for actual in ("Pay-as-you-go", None):
            ibm.plan = actual
            sent = len(ibm.jobs)
            with pytest.raises(RefusedError, match=r"not 'open'; leave plan=open out and give a budget"):
                values(free + "&run=b")
            assert len(ibm.jobs) == sent
        ibm.plan = "Pay-as-you-go"
        with pytest.raises(RefusedError, match="'pay-as-you-go', not 'flex'"):
            values(self.uri("&plan=flex&run=c"))
        values(self.uri("&run=d"))


class TestBraket:
    braket = pytest.importorskip("qiskit_braket_provider")

    def test_the_local_simulator_folds_and_calibrates(self, clean_environment):
        exact = values("statevector")
        found = values("braket-local:sv?shots=20000&seed=1&mitigation=readout,zne")
        assert (found - exact).abs().max() < 0.06

    def test_folds_arrive_at_the_simulator_of_the_service(self, braket):
        uri = "braket:sv1?shots=300&budget=1&grace=0&mitigation=zne"
        values(uri)
        (task,) = braket.tasks.values()
        sources = [program["source"] for program in json.loads(task["sent"]["action"])["programs"]]
        folds = [sum(source.count(gate) for gate in ("cnot ", "cz ", "cphaseshift(")) for source in sources]
        assert folds[0] > 0 and folds[1] == 3 * folds[0]
        assert task["sent"]["shots"] == 300

    def test_a_quantum_computer_there_would_cancel_the_folds(self, clean_environment):
        arn = "arn%3Aaws%3Abraket%3Aeu-north-1%3A%3Adevice/qpu/iqm/Garnet"
        for method in ("zne", "readout"):
            with pytest.raises(ValueError, match="the other side compiles what it is sent"):
                open_engine(f"braket:{arn}?budget=5&mitigation={method}")
        with pytest.raises(ValueError, match=r"needs \(fold\)"):
            open_engine(f"braket:{arn}?budget=5&noise_scale=3")


def test_ionq_would_cancel_the_folds(clean_environment):
    pytest.importorskip("qiskit_ionq")
    with pytest.raises(ValueError, match="the other side compiles what it is sent"):
        open_engine("ionq:simulator?mitigation=zne")
    with pytest.raises(ValueError, match="the other side compiles what it is sent"):
        plan(VariationalClassifier(epochs=1), np.eye(2), [0, 1], "ionq:simulator?mitigation=zne")


@pytest.mark.parametrize("options", ["", "&mitigation=zne", "&mitigation=readout,zne&zne_scales=1,3,5"])
def test_a_plan_counts_what_mitigation_runs(options, clean_environment):
    settings = {"epochs": 2, "n_layers": 1, "random_state": 0}
    X, y = np.random.default_rng(0).random((10, 2)), [0, 1] * 5
    fitted = VariationalClassifier(**settings, backend=f"generic:2?shots=100{options}").fit(X, y)
    asked, _, fewer = plan(VariationalClassifier(**settings), X, y, f"ibm:ibm_torino?shots=100{options}")[0]
    assert (asked.circuits, asked.shots) == (fitted.usage_["circuits"], fitted.usage_["shots"])
    assert asked.tasks == fitted.usage_["submissions"]
    assert 0.2 * asked.shots < fewer.shots <= 0.25 * asked.shots


def test_a_layer_with_mitigation_trains_on_it(clean_environment):
    pytest.importorskip("qiskit_braket_provider")
    uri = "braket-local:sv?shots=400&seed=1&mitigation=zne"
    layer = QuantumLayer(hardware_efficient(2, n_layers=1), z_each(2), uri, dtype=torch.float64)
    layer(torch.zeros((1, 0), dtype=torch.float64)).sum().backward()
    assert layer.weights.grad.abs().sum() > 0
    assert layer.usage["submissions"] == 2


def test_an_adapter_that_says_nothing_is_not_mitigated(ibm, monkeypatch):
    from qworkbench.engines import remote

    silent = SimpleNamespace(billable=False, remote=False, limits=IBMAdapter(Backend.parse("ibm:x")).limits)
    monkeypatch.setattr(remote, "open_adapter", lambda backend: silent)
    with pytest.raises(ValueError, match="cannot do what the mitigation needs"):
        open_engine("ibm:x?budget=1&mitigation=zne")
