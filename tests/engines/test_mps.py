"""Fidelities of matrix product states against state vectors and against the circuits of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from circuits import data_reuploading, iqp_encoding, zz_feature_map
from qworkbench import QuantumKernel
from qworkbench.engines.mps import MPSOverlap
from qworkbench.engines.registry import open_engine
from qworkbench.lowering import Angles, lower

MPS = "aer?method=matrix_product_state"
CIRCUITS = [zz_feature_map(5), iqp_encoding(4, n_layers=2), data_reuploading(n_features=3, n_qubits=4, n_layers=2)]


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_contraction_gives_the_fidelity(circuit) -> None:
    rng = np.random.default_rng(4471)
    weights = rng.uniform(0, 3, circuit.n_weights)
    x, y = rng.uniform(-2, 2, (7, circuit.n_inputs)), rng.uniform(-2, 2, (4, circuit.n_inputs))
    found, exact = QuantumKernel(circuit, MPS, weights), QuantumKernel(circuit, "statevector", weights)
    # Aer drops Schmidt weights below 1e-16, amplitudes below 1e-8: 1e-9 is far above what that leaves in a fidelity.
    np.testing.assert_allclose(found(x), exact(x), atol=1e-9)
    np.testing.assert_allclose(found(x, y), exact(x, y), atol=1e-9)
    assert found.usage["circuits"] == 7 + 7 + 4


def test_forty_qubits_agree_with_the_circuits_of_pairs() -> None:
    circuit = zz_feature_map(40, entanglement="linear")
    rows = np.random.default_rng(2203).uniform(0, 0.15, (4, 40))
    with open_engine(MPS) as engine:
        overlap = engine.compile_overlap(lower(circuit))
    assert isinstance(overlap, MPSOverlap)
    kernel = QuantumKernel(circuit, MPS)
    gram = kernel(rows)
    shots = 4000
    sampled = QuantumKernel(circuit, f"{MPS}&shots={shots}&seed=5")(rows)  # compute-uncompute circuits
    upper = np.triu_indices(4, 1)
    error = np.sqrt(np.maximum(gram * (1 - gram), 1 / shots) / shots)[upper]
    assert (np.abs(gram - sampled)[upper] < 5 * error).all()
    np.testing.assert_allclose(np.diag(gram), 1, atol=1e-9)
    assert (np.linalg.eigvalsh(gram) > -1e-9).all()


def test_a_bound_on_the_bond_truncates() -> None:
    circuit, rows = zz_feature_map(8), np.random.default_rng(1).uniform(-1, 1, (3, 8))
    exact = QuantumKernel(circuit)(rows)
    loose, tight = (
        QuantumKernel(circuit, f"{MPS}&matrix_product_state_max_bond_dimension={bond}")(rows) for bond in (16, 2)
    )
    np.testing.assert_allclose(loose, exact, atol=1e-9)
    assert np.abs(tight - exact).max() > 1e-3
    with pytest.raises(ValueError, match="expected a number for the truncation threshold, got 'small'"):
        open_engine(f"{MPS}&matrix_product_state_truncation_threshold=small")


def test_no_rows_are_no_trouble() -> None:
    with open_engine(MPS) as engine:
        overlap = engine.compile_overlap(lower(zz_feature_map(2)))
    empty = Angles(torch.zeros(0), torch.zeros((0, 5), dtype=torch.float64))
    assert overlap.fidelities(empty).mean.shape == (0, 0)
