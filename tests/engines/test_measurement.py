"""Measured bases, estimates from counts, and standard errors that mean what they say."""

import numpy as np
import pytest
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, random_statevector

from circuits import ParameterizedCircuit, z_each
from qworkbench.engines.measurement import MeasurementPlan, basis_change
from qworkbench.engines.registry import open_engine
from qworkbench.lowering import Angles, lower

MIXED = [
    SparsePauliOp(["ZIZ", "III", "IZZ"], [0.5, 0.3, -1.0]),
    SparsePauliOp(["XXI", "YIY"], [1.0, 0.25]),
    SparsePauliOp(["IIZ", "IIZ", "XII"], [0.5, 0.5, 0.1]),
]


def test_commuting_strings_share_a_basis():
    assert len(MeasurementPlan(z_each(4)).bases) == 1
    assert len(MeasurementPlan([SparsePauliOp(p) for p in ("XI", "IX", "XX")]).bases) == 1
    assert len(MeasurementPlan([SparsePauliOp(p) for p in ("X", "Y", "Z")]).bases) == 3
    assert MeasurementPlan([SparsePauliOp("II", 0.7)]).bases == ()


@pytest.mark.parametrize("seed", range(3))
def test_exact_frequencies_give_exact_values(seed):
    plan = MeasurementPlan(MIXED)
    state = random_statevector(8, seed=seed)
    shots = 10**9
    counts = []
    for basis in plan.bases:
        probabilities = state.evolve(basis_change(basis)).probabilities()
        counts.append([{k: round(shots * p) for k, p in enumerate(probabilities)}])
    mean, error = plan.estimate(counts, 1)
    assert np.allclose(mean[0], [np.real(state.expectation_value(o)) for o in MIXED], atol=1e-6)
    assert (error < 1e-4).all()


def test_a_constant_has_no_error_and_needs_no_counts():
    mean, error = MeasurementPlan([SparsePauliOp("II", 0.7)]).estimate([], 3)
    assert mean.tolist() == [[0.7]] * 3
    assert not error.any()


def test_means_and_errors_by_hand():
    plan = MeasurementPlan([SparsePauliOp("IZ"), SparsePauliOp("ZZ", 2.0)])
    mean, error = plan.estimate([[{0b00: 6, 0b01: 2, 0b11: 2}, {0b10: 10}]], 2)
    assert mean.tolist() == [[pytest.approx(0.2), pytest.approx(1.2)], [1.0, -2.0]]
    sample = np.repeat([1.0, -1.0], [6, 4])
    assert error[0, 0] == pytest.approx(sample.std(ddof=1) / np.sqrt(10))
    assert error[1].tolist() == [0, 0]


def test_too_many_qubits_are_refused():
    with pytest.raises(ValueError, match="63"):
        MeasurementPlan(z_each(64))


@pytest.mark.parametrize(
    ("uri", "n_rows"),
    [
        ("statevector?shots=500&seed=2", 2000),
        ("aer?shots=200&seed=2", 200),
        ("pennylane:default.qubit?shots=200&seed=2", 100),
    ],
)
def test_standard_errors_are_calibrated(uri, n_rows):
    w = ParameterVector("w", 3)
    circuit = QuantumCircuit(3)
    for q in range(3):
        circuit.ry(w[q], q)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    lowered = lower(ParameterizedCircuit(circuit, (), tuple(w)))
    angles = Angles(torch.tensor([0.7, 1.2, 1.9]).double(), torch.zeros((n_rows, 0)).double())
    exact = open_engine("statevector").compile(lowered, MIXED).run(angles).mean
    found = open_engine(uri).compile(lowered, MIXED).run(angles)
    z = ((found.mean - exact) / found.std_error).numpy()
    # The variance of n standard normal numbers scatters by sqrt(2/n), their mean by 1/sqrt(n).
    assert (np.abs(z.var(0) - 1) < 5 * np.sqrt(2 / n_rows)).all()
    assert (np.abs(z.mean(0)) < 5 / np.sqrt(n_rows)).all()


def test_eigenvalues_of_a_perfect_readout_change_nothing_and_others_multiply():
    plan = MeasurementPlan([SparsePauliOp(["ZIZ", "IXI", "III"], [0.5, 2.0, 1.0]), SparsePauliOp("IIZ")])
    outcomes = np.arange(8)
    perfect = np.tile([1.0, -1.0], (3, 1))
    found = np.random.default_rng(0).normal(size=(3, 2))
    for basis in range(len(plan.bases)):
        assert np.allclose(plan.values(basis, outcomes, perfect), plan.values(basis, outcomes))
    # One basis takes them all: Z on the outer qubits, X in the middle.
    first, middle, last = (found[q][(outcomes >> q) & 1] for q in range(3))
    assert np.allclose(plan.values(0, outcomes, found), np.stack([0.5 * first * last + 2 * middle, first], axis=1))
