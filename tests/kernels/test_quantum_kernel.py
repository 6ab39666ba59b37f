"""Quantum kernels through their public face."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from circuits import iqp_encoding, real_amplitudes, zz_feature_map
from qworkbench import ProjectedKernel, QuantumKernel
from qworkbench.kernels.lowrank import random_features
from qworkbench.kernels.repair import repair_psd

X = np.random.default_rng(8157).uniform(-1, 1, (5, 3))
Y = np.random.default_rng(3319).uniform(-1, 1, (4, 3))


def by_qiskit(circuit, x, y):
    left = [Statevector(circuit.bind(row)) for row in x]
    right = [Statevector(circuit.bind(row)) for row in y]
    return np.array([[abs(a.inner(b)) ** 2 for b in right] for a in left])


@pytest.mark.parametrize("backend", ["statevector", "statevector?executor=torch", "aer", "pennylane:default.qubit"])
@pytest.mark.parametrize("circuit", [zz_feature_map(3), iqp_encoding(3, 2)])
def test_exact_backends_give_the_fidelity(backend, circuit):
    kernel = QuantumKernel(circuit, backend)
    np.testing.assert_allclose(kernel(X, Y), by_qiskit(circuit, X, Y), atol=1e-12)
    gram, error = kernel.estimate(X)
    np.testing.assert_allclose(gram, by_qiskit(circuit, X, X), atol=1e-12)
    assert np.linalg.eigvalsh(gram).min() > -1e-12
    assert not error.any()


def test_blocks_of_a_large_gram_matrix_fit_together():
    x = np.random.default_rng(12).uniform(-1, 1, (300, 3))
    kernel = QuantumKernel(zz_feature_map(3))
    states = np.array([Statevector(zz_feature_map(3).bind(row)).data for row in x])
    dense = np.abs(states.conj() @ states.T) ** 2
    gram, error = kernel.estimate(x)
    np.testing.assert_allclose(gram, dense, atol=1e-12)
    np.testing.assert_array_equal(gram, gram.T)
    np.testing.assert_allclose(kernel(x, x[:200]), dense[:, :200], atol=1e-12)
    assert error.shape == (300, 300) and not error.any()


@pytest.mark.parametrize("backend", ["statevector?shots=2000&seed=5", "aer?shots=2000&seed=5"])
def test_sampled_entries_lie_within_their_errors(backend):
    circuit = zz_feature_map(3)
    exact = by_qiskit(circuit, X, X)
    gram, error = QuantumKernel(circuit, backend).estimate(X)
    np.testing.assert_array_equal(gram, gram.T)
    np.testing.assert_array_equal(np.diag(gram), 1)
    bound = 5 * np.sqrt(exact * (1 - exact) / 2000) + 1e-12
    assert (np.abs(gram - exact) <= bound).all()
    assert (np.abs(gram - exact)[np.triu_indices(5, 1)] > 0).any()
    assert (error[np.triu_indices(5, 1)] > 0).all()


def test_one_submission_and_only_the_upper_half_on_sampling_backends():
    kernel = QuantumKernel(zz_feature_map(2), "aer?shots=100&seed=1")
    kernel(X[:, :2])
    assert kernel.usage["circuits"] == 10
    assert kernel.usage["submissions"] == 1
    assert kernel.usage["transpilations"] == 1


def test_weights_are_part_of_the_map():
    circuit = iqp_encoding(3).compose(real_amplitudes(3, n_layers=1)).compose(iqp_encoding(3))
    weights = np.random.default_rng(11).normal(size=circuit.n_weights)
    ours = QuantumKernel(circuit, weights=weights)(X, Y)
    left = [Statevector(circuit.bind(x, weights)) for x in X]
    right = [Statevector(circuit.bind(y, weights)) for y in Y]
    np.testing.assert_allclose(ours, [[abs(a.inner(b)) ** 2 for b in right] for a in left], atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantumKernel(zz_feature_map(3))(X[:, :2]), r"shape \(N, 3\), got \(5, 2\)"),
        (lambda: QuantumKernel(zz_feature_map(3))(X * np.nan), "NaN or infinity"),
        (lambda: QuantumKernel(real_amplitudes(2)), "weights for the feature map"),
        (lambda: QuantumKernel(zz_feature_map(45)), "GiB"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises((ValueError, MemoryError), match=message):
        make()


@pytest.mark.parametrize("kernel", [QuantumKernel, ProjectedKernel])
def test_plain_circuits_and_complex_data_are_refused(kernel):
    with pytest.raises(TypeError, match=r"circuits\.from_qiskit"):
        kernel(QuantumCircuit(2))
    for data in (np.ones((2, 2)) * 1j, torch.ones(2, 2) * 1j):
        with pytest.raises(ValueError, match="complex"):
            kernel(iqp_encoding(2))(data)


def test_what_cannot_be_sketched_or_repaired_is_refused():
    with pytest.raises(TypeError, match="nystroem"):
        random_features(ProjectedKernel(iqp_encoding(2)), 4)
    with pytest.raises(ValueError, match=r"standard errors of shape \(2, 2\), got \(3, 3\)"):
        repair_psd(np.eye(2), std_error=np.eye(3))
    with pytest.raises(ValueError, match=r"'statevector\?shots=1&seed=3'"):
        ProjectedKernel(iqp_encoding(2), "statevector?seed=3", shadows=4)
