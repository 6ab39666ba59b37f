"""Overlap circuits, QGAN circuits, the tables by name, and observables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.quantum_info import SparsePauliOp, Statevector

import circuits
from circuits import (
    CIRCUITS,
    FEATURE_MAPS,
    ParameterizedCircuit,
    angle_encoding,
    compute_uncompute,
    data_reuploading,
    parity,
    projectors,
    qgan_discriminator,
    qgan_generator,
    real_amplitudes,
    swap_test,
    variational,
    z_each,
    z_first,
)

RNG = np.random.default_rng(7729103345512)


def fidelity(circuit: ParameterizedCircuit, x: object, y: object, w: object = ()) -> float:
    a, b = (Statevector(circuit.bind(v, w)).data for v in (x, y))  # type: ignore[arg-type]
    return float(abs(np.vdot(a, b)) ** 2)


@pytest.mark.parametrize("name", sorted(FEATURE_MAPS))
def test_both_overlap_circuits_measure_the_fidelity(name: str) -> None:
    circuit = FEATURE_MAPS[name](2, None, 2)
    x, y = RNG.uniform(-1, 1, (2, 2))
    want = fidelity(circuit, x, y)
    zeros = abs(Statevector(compute_uncompute(circuit).bind([*x, *y])).data[0]) ** 2
    swapped = swap_test(circuit)
    ancilla = Statevector(swapped.bind([*x, *y])).expectation_value(z_first(swapped.n_qubits)[0]).real
    assert swapped.n_qubits == 2 * circuit.n_qubits + 1
    assert zeros == pytest.approx(want)
    assert ancilla == pytest.approx(want)


@pytest.mark.parametrize("build", [compute_uncompute, swap_test])
def test_overlap_halves_share_the_weights(build: object) -> None:
    circuit = data_reuploading(3, 2, n_layers=1)
    overlap = build(circuit)  # type: ignore[operator]
    assert [p.name for p in overlap.inputs] == ["x[0]", "x[1]", "x[2]", "y[0]", "y[1]", "y[2]"]
    assert overlap.n_weights == circuit.n_weights
    x, y, w = RNG.normal(size=3), RNG.normal(size=3), RNG.normal(size=circuit.n_weights)
    psi = Statevector(overlap.bind([*x, *y], w))
    got = psi.expectation_value(z_first(5)[0]).real if overlap.n_qubits == 5 else abs(psi.data[0]) ** 2
    assert got == pytest.approx(fidelity(circuit, x, y, w))


@pytest.mark.parametrize("name", sorted(CIRCUITS))
@pytest.mark.parametrize(("n_features", "n_qubits"), [(2, None), (2, 3), (6, 3)])
def test_every_named_circuit_builds_and_uses_all_it_declares(name: str, n_features: int, n_qubits: int | None) -> None:
    circuit = CIRCUITS[name](n_features, n_qubits, 2)
    assert circuit.n_inputs == n_features
    assert n_qubits is None or circuit.n_qubits == n_qubits
    assert circuit.n_weights > 0
    assert set(circuit.quantum_circuit.parameters) == {*circuit.inputs, *circuit.weights}
    assert CIRCUITS[name](n_features, n_qubits, 3).n_weights > circuit.n_weights


def test_amplitude_rows_need_enough_qubits() -> None:
    with pytest.raises(ValueError, match="n_qubits >= 2 to hold 3 amplitudes, got 1"):
        FEATURE_MAPS["amplitude"](3, 1, 1)


def test_variational_refuses_what_does_not_fit() -> None:
    assert variational(angle_encoding(2), real_amplitudes(2)).n_weights == 6
    with pytest.raises(ValueError, match="ansatz on all 3 qubits of the encoding, got 2"):
        variational(angle_encoding(3), real_amplitudes(2))
    with pytest.raises(ValueError, match="got 0 and 0 inputs"):
        variational(real_amplitudes(2), real_amplitudes(2))


def test_generator_has_a_qubit_for_each_feature() -> None:
    generator = qgan_generator(3, n_latent=2, n_layers=2)
    assert (generator.n_qubits, generator.n_inputs) == (3, 2)
    assert qgan_generator(3).n_inputs == 3
    with pytest.raises(ValueError, match="n_latent >= 1"):
        qgan_generator(3, n_latent=0)


@pytest.mark.parametrize("n_features", [1, 2, 3, 6])
def test_discriminator_hears_every_feature_in_one_layer(n_features: int) -> None:
    circuit = qgan_discriminator(n_features, n_layers=1)
    x, w = RNG.uniform(0.3, 1.0, n_features), RNG.uniform(0.3, 1.0, circuit.n_weights)
    z = z_first(n_features)[0]

    def score(point: np.ndarray) -> float:
        return float(Statevector(circuit.bind(point, w)).expectation_value(z).real)

    changes = [abs(score(x + 0.1 * e) - score(x)) for e in np.eye(n_features)]
    assert min(changes) > 1e-6


@given(n_qubits=st.integers(1, 4), seed=st.integers(0, 1000))
def test_observables_against_probabilities(n_qubits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    psi = Statevector(rng.normal(size=2**n_qubits) + 1j * rng.normal(size=2**n_qubits))
    psi = psi / np.linalg.norm(psi.data)
    p = psi.probabilities()
    bits = (np.arange(2**n_qubits)[:, None] >> np.arange(n_qubits)) & 1

    def means(observables: list[SparsePauliOp]) -> list[float]:
        return [psi.expectation_value(o).real for o in observables]

    assert np.allclose(means(z_each(n_qubits)), p @ (1 - 2 * bits))
    assert np.allclose(means(z_first(n_qubits)), p @ (1 - 2 * bits[:, 0]))
    assert np.allclose(means(parity(n_qubits)), p @ (-1.0) ** bits.sum(axis=1))
    assert np.allclose(means(projectors(n_qubits)), p)


def test_projectors_by_bitstring() -> None:
    psi = Statevector.from_label("011")
    assert [psi.expectation_value(o).real for o in projectors(3, ["011", "110"])] == [1.0, 0.0]
    assert len(projectors(12, ["0" * 12])) == 1
    with pytest.raises(ValueError, match="bit strings of 3 zeros and ones, got '01'"):
        projectors(3, ["01"])
    with pytest.raises(ValueError, match=r"at most 65,536 Pauli terms, got 8,192 projectors of 2\*\*13"):
        projectors(13)
    with pytest.raises(ValueError, match="n_qubits >= 1"):
        z_each(0)


def test_public_names_are_sorted_and_real() -> None:
    assert sorted(circuits.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n)) == circuits.__all__
    assert all(hasattr(circuits, name) for name in circuits.__all__)
