"""Live Qiskit objects: backends, samplers, estimators."""

import numpy as np
import pytest
import torch
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2, StatevectorEstimator, StatevectorSampler
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2, SamplerV2

from circuits import z_each
from qworkbench.engines.primitives import from_primitives, from_qiskit_backend
from qworkbench.engines.registry import open_engine
from qworkbench.lowering import lower
from qworkbench.testing import assert_within_sigma, random_circuit

OBSERVABLES = [*z_each(3), SparsePauliOp(["XYZ", "III"], [0.5, 0.25])]


def problem(n_rows=3):
    lowered = lower(random_circuit(3, 60, 1, 2, seed=1))
    inputs = torch.linspace(-1, 1, n_rows, dtype=torch.float64)[:, None]
    return lowered, lowered.angles(inputs, torch.tensor([0.4, -0.9], dtype=torch.float64))


def exact(lowered, angles):
    return open_engine("statevector").compile(lowered, OBSERVABLES).run(angles).mean


@pytest.mark.parametrize("estimator", [StatevectorEstimator(), EstimatorV2()], ids=["statevector", "aer"])
def test_an_exact_estimator_runs_every_kind_of_gate(estimator):
    lowered, angles = problem()
    found = open_engine(estimator).compile(lowered, OBSERVABLES).run(angles)
    assert torch.allclose(found.mean, exact(lowered, angles), atol=1e-9)
    assert not found.std_error.any()


@pytest.mark.parametrize("sampler", [StatevectorSampler(), SamplerV2()], ids=["statevector", "aer"])
def test_a_sampler_runs_every_kind_of_gate(sampler):
    lowered, angles = problem()
    engine = from_primitives(sampler=sampler, shots=2000)
    found = engine.compile(lowered, OBSERVABLES).run(angles)
    assert_within_sigma(found.mean, exact(lowered, angles), 1 / np.sqrt(2000))
    assert engine.usage.as_dict() == {"circuits": 6, "submissions": 1, "transpilations": 1, "shots": 12000}


def test_shots_of_an_estimator_are_its_precision():
    lowered, angles = problem()
    found = from_primitives(EstimatorV2(), shots=400).compile(lowered, OBSERVABLES).run(angles)
    assert torch.allclose(found.std_error, torch.tensor(0.05).double())
    assert_within_sigma(found.mean, exact(lowered, angles), 0.05)


def test_a_live_backend_takes_shots_and_a_seed():
    lowered, angles = problem()
    found = [
        from_qiskit_backend(AerSimulator(), shots=300, seed=s).compile(lowered, OBSERVABLES).run(angles).mean
        for s in (1, 1, 2)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert_within_sigma(found[0], exact(lowered, angles), 1 / np.sqrt(300))


def test_a_primitive_on_a_device_gets_circuits_in_its_own_gates():
    device = GenericBackendV2(4, seed=1)
    lowered, angles = problem(1)
    pair = (BackendEstimatorV2(backend=device), BackendSamplerV2(backend=device))
    by_itself = open_engine(pair).compile(lowered, OBSERVABLES).run(angles)
    manager = generate_preset_pass_manager(1, backend=device, seed_transpiler=3)
    by_hand = from_primitives(*pair, pass_manager=manager).compile(lowered, OBSERVABLES).run(angles)
    for found in (by_itself, by_hand):
        assert_within_sigma(found.mean, exact(lowered, angles), 1 / np.sqrt(1000), slack=0.3)


def test_an_estimator_alone_cannot_count():
    lowered, _ = problem()
    engine = open_engine(StatevectorEstimator())
    for compile_counts in (engine.compile_sampler, engine.compile_overlap):
        with pytest.raises(ValueError, match=r"pair \(estimator, sampler\)"):
            compile_counts(lowered)


def test_neither_primitive():
    with pytest.raises(ValueError, match="neither"):
        from_primitives()


@pytest.mark.parametrize("backend", [None, 7, object(), (1, 2, 3)])
def test_what_is_no_backend(backend):
    with pytest.raises(TypeError, match="expected a backend URI"):
        open_engine(backend)
