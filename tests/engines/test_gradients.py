"""Gradients by evaluation: parameter-shift with shots, SPSA."""

import numpy as np
import pytest
import torch

from circuits import data_reuploading, z_each
from qworkbench.engines.registry import open_engine
from qworkbench.gates import shift_rule
from qworkbench.lowering import lower
from qworkbench.testing import assert_within_sigma

CIRCUIT = lower(data_reuploading(2, 2, n_layers=1))


def problem(n_rows=3):
    rng = np.random.default_rng(0)
    circuit = CIRCUIT.circuit
    inputs, weights = (torch.tensor(rng.uniform(-1, 1, s)) for s in ((n_rows, 2), circuit.n_weights))
    return CIRCUIT.angles(inputs, weights), torch.tensor(rng.normal(size=(n_rows, 2)))


def test_spsa_is_unbiased():
    angles, cotangent = problem()
    exact = open_engine("statevector").compile(CIRCUIT, z_each(2)).vjp(angles, cotangent)
    program = open_engine("statevector?seed=5").compile(CIRCUIT, z_each(2), "spsa")
    draws = [program.vjp(angles, cotangent) for _ in range(500)]
    for k, part in enumerate(exact):
        if not part.numel():
            continue
        sample = torch.stack([draw[k] for draw in draws])
        error = sample.std(0) / np.sqrt(len(draws))
        # The finite step smooths the function: at most 1 - cos(0.2) of each other angle's share.
        assert_within_sigma(sample.mean(0), part, error, slack=0.05 * float(part.abs().max()))
        assert (error < 0.15).all()


def test_spsa_costs_two_circuits_a_sample_in_one_submission():
    angles, cotangent = problem()
    engine = open_engine("aer?shots=50&seed=1")
    program = engine.compile(CIRCUIT, z_each(2), "spsa")
    gradient = program.vjp(angles, cotangent)
    assert engine.usage.as_dict() == {"circuits": 6, "submissions": 1, "transpilations": 1, "shots": 300}
    assert gradient.shared.shape == angles.shared.shape
    assert gradient.per_sample.shape == angles.per_sample.shape


def test_spsa_repeats_with_its_seed():
    angles, cotangent = problem()
    twice = [
        open_engine("statevector?seed=3").compile(CIRCUIT, z_each(2), "spsa").vjp(angles, cotangent) for _ in range(2)
    ]
    assert torch.equal(twice[0].shared, twice[1].shared)
    other = open_engine("statevector?seed=4").compile(CIRCUIT, z_each(2), "spsa").vjp(angles, cotangent)
    assert not torch.equal(twice[0].shared, other.shared)


def test_parameter_shift_costs_what_its_rules_need():
    angles, cotangent = problem()
    engine = open_engine("aer?shots=20&seed=1")
    engine.compile(CIRCUIT, z_each(2)).vjp(angles, cotangent)
    terms = sum(len(shift_rule(name)) for name in CIRCUIT.slot_gates)
    assert engine.usage.circuits == 3 * terms
    assert engine.usage.submissions == 1


def test_only_the_wanted_part_is_evaluated():
    angles, cotangent = problem()
    engine = open_engine("aer?shots=20&seed=1")
    program = engine.compile(CIRCUIT, z_each(2))
    gradient = program.vjp(angles, cotangent, (True, False))
    terms = sum(len(shift_rule(name)) for name in CIRCUIT.slot_gates[: CIRCUIT.n_shared])
    assert engine.usage.circuits == 3 * terms
    assert not gradient.per_sample.any()
    assert gradient.shared.any()


@pytest.mark.parametrize("backend", ["statevector?shots=4000&seed=1", "aer?shots=1000&seed=1"])
def test_a_gradient_from_shots_is_unbiased_within_its_error(backend):
    angles, cotangent = problem()
    exact = open_engine("statevector").compile(CIRCUIT, z_each(2)).vjp(angles, cotangent)
    engine = open_engine(backend)
    found = engine.compile(CIRCUIT, z_each(2)).vjp(angles, cotangent)
    shots = engine.usage.shots / engine.usage.circuits
    # One shot's value of the observables weighted by the cotangent varies by at most its sum of sizes.
    per_row = cotangent.abs().sum(1) * np.sqrt(0.5 / shots)
    assert_within_sigma(found.per_sample, exact.per_sample, per_row[:, None].expand_as(exact.per_sample))
    assert_within_sigma(found.shared, exact.shared, (per_row**2).sum().sqrt())


@pytest.mark.parametrize(("method", "n_draws"), [("parameter-shift", 20), ("spsa", 250)])
def test_gradients_under_noise_and_shots_are_unbiased(method, n_draws):
    angles, cotangent = problem()
    noise = "aer?noise=depolarizing:0.02"
    exact = open_engine(noise).compile(CIRCUIT, z_each(2)).vjp(angles, cotangent).shared
    ideal = open_engine("statevector").compile(CIRCUIT, z_each(2)).vjp(angles, cotangent).shared
    assert (exact - ideal).abs().max() > 0.1
    program = open_engine(f"{noise}&shots=100&seed=8").compile(CIRCUIT, z_each(2), method)
    draws = torch.stack([program.vjp(angles, cotangent).shared for _ in range(n_draws)])
    slack = 0.05 * float(exact.abs().max()) if method == "spsa" else 0.0  # its finite step
    assert_within_sigma(draws.mean(0), exact, draws.std(0) / np.sqrt(n_draws), slack=slack)
