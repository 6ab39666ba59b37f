"""The native executor against its slow twin in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import SparsePauliOp

from circuits import data_reuploading, efficient_su2, qcnn, strongly_entangling, z_each, zz_feature_map
from qworkbench.backend import Backend
from qworkbench.engines.statevector import StatevectorEngine
from qworkbench.engines.statevector.passes import compile_passes
from qworkbench.lowering import lower
from qworkbench.testing import random_circuit

CASES = {
    "reuploading": data_reuploading(5, 3, n_layers=2),
    "zz_entangling": zz_feature_map(4).compose(strongly_entangling(4, n_layers=2)),
    "qcnn": zz_feature_map(4, n_layers=1).compose(qcnn(4)),
    "su2": efficient_su2(3),
}


def observables(n_qubits: int):
    rest = "I" * (n_qubits - 2)
    mixed = [("XY" + rest, 0.5), ("ZZ" + rest, -0.7), ("I" * n_qubits, 0.3), ("Z" * n_qubits, 0.2), ("YY" + rest, 1.0)]
    return [*z_each(n_qubits), SparsePauliOp.from_list(mixed)]


def both(circuit, n_samples: int, dtype: torch.dtype, seed: int = 0):
    lowered, generator = lower(circuit), torch.Generator().manual_seed(seed)
    inputs = torch.randn((n_samples, circuit.n_inputs), generator=generator, dtype=dtype)
    weights = torch.randn(circuit.n_weights, generator=generator, dtype=dtype)
    angles, measured = lowered.angles(inputs, weights), observables(circuit.n_qubits)
    cotangent = torch.randn((n_samples, len(measured)), generator=generator, dtype=dtype)
    for uri in ("statevector", "statevector?executor=torch"):
        program = StatevectorEngine(Backend.parse(uri)).compile(lowered, measured)
        mean = program.run(angles).mean
        gradient = program.vjp(angles, cotangent)
        yield mean, gradient.shared, gradient.per_sample


def assert_close(results, bound: float) -> None:
    native, slow = results
    for a, b in zip(native, slow, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("n_samples", [1, 3, 40])
def test_values_and_gradients_agree(name, n_samples):
    assert_close(both(CASES[name], n_samples, torch.float64), 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_single_precision_agrees_to_its_own_accuracy(name):
    assert_close(both(CASES[name], 9, torch.float32), 2e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(5, 40))
def test_random_circuits_of_every_gate_kind_agree(seed, n_qubits, n_gates):
    circuit = random_circuit(max(n_qubits, 3), n_gates, 3, 4, seed)
    assert_close(both(circuit, 4, torch.float64, seed), 1e-11)


def test_many_samples_are_worked_on_in_chunks_without_a_seam():
    circuit = data_reuploading(2, 10, n_layers=1)
    lowered = lower(circuit)
    inputs = torch.linspace(-1, 1, 300, dtype=torch.float64).reshape(150, 2)
    weights = torch.linspace(-1, 1, circuit.n_weights, dtype=torch.float64)
    program = StatevectorEngine(Backend("statevector")).compile(lowered, z_each(10))
    whole = program.run(lowered.angles(inputs, weights)).mean
    alone = torch.cat([program.run(lowered.angles(row[None], weights)).mean for row in inputs[::29]])
    torch.testing.assert_close(whole[::29], alone, rtol=0, atol=1e-13)


def test_the_same_call_gives_the_same_bits():
    first, second = (next(both(CASES["zz_entangling"], 40, torch.float32)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_a_feature_map_becomes_few_passes():
    kinds = [step.kind for step in compile_passes(lower(zz_feature_map(6, n_layers=2)))]
    assert kinds == ["product", "phase", "rotate", "phase"]


def test_float32_sums_stay_accurate_at_sixteen_qubits():
    circuit = efficient_su2(16, n_layers=2)
    weights = torch.linspace(-2, 2, circuit.n_weights, dtype=torch.float64)
    means = []
    for dtype in (torch.float32, torch.float64):
        lowered = lower(circuit)
        program = StatevectorEngine(Backend("statevector")).compile(lowered, z_each(16))
        means.append(program.run(lowered.angles(torch.zeros((1, 0), dtype=dtype), weights.to(dtype))).mean.double())
    assert np.abs((means[0] - means[1]).numpy()).max() < 1e-6
