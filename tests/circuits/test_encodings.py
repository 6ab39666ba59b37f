"""Encodings against closed forms, Qiskit's library and PennyLane's templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.circuit import library as qiskit_library
from qiskit.quantum_info import Statevector

from circuits import (
    FEATURE_MAPS,
    ParameterizedCircuit,
    angle_encoding,
    data_reuploading,
    dense_angle_encoding,
    hamiltonian_encoding,
    iqp_encoding,
    pauli_feature_map,
    zz_feature_map,
)

RNG = np.random.default_rng(211934850127749921045)
Array = NDArray[Any]


def state(circuit: ParameterizedCircuit, x: object, w: object = ()) -> Array:
    return np.asarray(Statevector(circuit.bind(x, w)).data)  # type: ignore[arg-type]


def fidelity(a: Array, b: Array) -> float:
    return float(abs(np.vdot(a, b)) ** 2)


def product(*qubits: Array) -> Array:
    """Tensor product with qubit 0 as the last (fastest) factor."""
    result = np.ones(1, dtype=complex)
    for qubit in qubits:
        result = np.kron(qubit, result)
    return result


def turned(rotation: str, angle: float) -> Array:
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    plus = np.array([np.exp(-0.5j * angle), np.exp(0.5j * angle)]) / np.sqrt(2)
    return {"rx": np.array([c, -1j * s]), "ry": np.array([c, s]), "rz": plus}[rotation]


@pytest.mark.parametrize("rotation", ["rx", "ry", "rz"])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_angle_encoding_is_a_product_state(rotation: str, scale: float) -> None:
    x = RNG.normal(size=3)
    expected = product(*(turned(rotation, scale * v) for v in x))
    assert np.allclose(state(angle_encoding(3, rotation=rotation, scale=scale), x), expected)


def test_fewer_features_than_qubits_repeat() -> None:
    a, b = 0.4, -1.3
    expected = product(*(turned("ry", v) for v in (a, b, a)))
    assert np.allclose(state(angle_encoding(2, 3), [a, b]), expected)


def test_dense_angle_encoding_is_the_papers_state() -> None:
    x = RNG.uniform(0, 1, 4)
    qubits = [np.array([np.cos(np.pi * a), np.exp(2j * np.pi * b) * np.sin(np.pi * a)]) for a, b in x.reshape(2, 2)]
    assert fidelity(state(dense_angle_encoding(4), 2 * np.pi * x), product(*qubits)) == pytest.approx(1)


def test_dense_angle_encoding_takes_half_the_qubits() -> None:
    assert dense_angle_encoding(5).n_qubits == 3
    assert dense_angle_encoding(5, 1).n_qubits == 1


@pytest.mark.parametrize("entanglement", ["full", "linear", "circular", "pairwise", "reverse_linear"])
def test_zz_map_is_qiskits(entanglement: str) -> None:
    x = RNG.uniform(-2, 2, 4)
    theirs = qiskit_library.zz_feature_map(4, reps=2, entanglement=entanglement).assign_parameters(x)
    assert np.allclose(state(zz_feature_map(4, entanglement=entanglement), x), Statevector(theirs).data)


def test_pauli_map_is_qiskits() -> None:
    x = RNG.uniform(-2, 2, 3)
    paulis = ["X", "ZY", "ZXZ"]
    theirs = qiskit_library.pauli_feature_map(3, reps=1, paulis=paulis, alpha=1.5).assign_parameters(x)
    ours = pauli_feature_map(3, paulis=paulis, n_layers=1, alpha=1.5)
    assert np.allclose(state(ours, x), Statevector(theirs).data)


def test_pauli_map_of_one_feature_keeps_the_strings_that_fit() -> None:
    theirs = qiskit_library.z_feature_map(1, reps=2).assign_parameters([0.7])
    assert np.allclose(state(zz_feature_map(1), [0.7]), Statevector(theirs).data)
    with pytest.raises(ValueError, match=r"at most 1 letters.*\['ZZ'\]"):
        pauli_feature_map(1, paulis=["ZZ"])


@pytest.mark.parametrize("n_layers", [1, 2])
def test_iqp_encoding_is_pennylanes(n_layers: int) -> None:
    x = RNG.normal(size=3)

    @qml.qnode(qml.device("default.qubit", wires=3))
    def theirs() -> object:
        qml.IQPEmbedding(x, wires=range(3), n_repeats=n_layers)
        return qml.state()

    ours = state(iqp_encoding(3, n_layers=n_layers), x).reshape(2, 2, 2).transpose(2, 1, 0).ravel()
    assert np.allclose(ours, theirs())


def test_hamiltonian_encoding_is_the_trotterised_chain() -> None:
    x, time, steps = RNG.normal(size=2), 0.8, 3
    pauli = {"X": [[0, 1], [1, 0]], "Y": [[0, -1j], [1j, 0]], "Z": [[1, 0], [0, -1]]}
    bond = sum(np.kron(np.array(p), np.array(p)) for p in pauli.values())
    energies, vectors = np.linalg.eigh(np.asarray(bond))

    def evolve(angle: float) -> Array:
        return np.asarray((vectors * np.exp(-1j * angle * energies)) @ vectors.conj().T, dtype=complex)

    def on_bond(j: int, angle: float) -> Array:
        return np.kron(evolve(angle), np.eye(2)) if j == 1 else np.kron(np.eye(2), evolve(angle))

    circuit = hamiltonian_encoding(2, n_trotter=steps, evolution_time=time, seed=5)
    expected = state(circuit, [0.0, 0.0])
    for _ in range(steps):
        for j in range(2):
            expected = on_bond(j, time / steps * x[j]) @ expected
    assert np.allclose(state(circuit, x), expected)


def test_hamiltonian_seed_draws_the_initial_state() -> None:
    def start(seed: int) -> Array:
        return state(hamiltonian_encoding(2, n_trotter=1, seed=seed), [0.0, 0.0])

    assert np.allclose(start(1), start(1))
    assert fidelity(start(1), start(2)) < 0.99


def test_hamiltonian_encoding_has_one_qubit_more_than_features() -> None:
    assert hamiltonian_encoding(4, n_trotter=1).n_qubits == 5
    assert hamiltonian_encoding(1, n_trotter=1).n_qubits == 2
    with pytest.raises(ValueError, match="n_qubits >= 3"):
        hamiltonian_encoding(4, 2)


BUILDERS: dict[str, Callable[[int, int], ParameterizedCircuit]] = {
    "rx": lambda f, q: angle_encoding(f, q, rotation="rx"),
    "ry": lambda f, q: angle_encoding(f, q),
    "rz": lambda f, q: angle_encoding(f, q, rotation="rz"),
    "dense_angle": dense_angle_encoding,
    "zz": zz_feature_map,
    "pauli": lambda f, q: pauli_feature_map(f, q, paulis=("X", "ZY")),
    "z only": lambda f, q: pauli_feature_map(f, q, paulis=("Z",)),
    "iqp": iqp_encoding,
    "hamiltonian": lambda f, q: hamiltonian_encoding(f, q + 2, n_trotter=2),
}


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("n_qubits", [1, 2, 3])
def test_more_features_than_qubits_all_matter_separately(name: str, n_qubits: int) -> None:
    """No direction in feature space leaves the state unchanged, as x_i - x_j would if angles added up.

    The quantum metric has full rank; there are at most as many features as a real state has directions.
    """
    n_features = {1: 2, 2: 3, 3: 5}[n_qubits]
    circuit = BUILDERS[name](n_features, n_qubits)
    x = np.random.default_rng(3).uniform(0.3, 1.2, n_features)
    psi, eps = state(circuit, x), 1e-5
    slopes = np.array(
        [(state(circuit, x + eps * e) - state(circuit, x - eps * e)) / (2 * eps) for e in np.eye(n_features)]
    )
    across = slopes - np.outer(slopes @ psi.conj(), psi)
    metric = (across.conj() @ across.T).real
    assert np.linalg.eigvalsh(metric)[0] > 1e-4


def test_dense_angles_on_one_qubit_do_not_add_up() -> None:
    circuit = dense_angle_encoding(3, 1)
    x, across = np.array([0.5, 0.7, 0.9]), np.array([0.0, 0.3, -0.3])
    for direction in (across, across[[1, 0, 2]], abs(across), across[[1, 2, 0]]):
        assert fidelity(state(circuit, x), state(circuit, x + direction)) < 0.999


@pytest.mark.parametrize("n_qubits", [1, 2, 4])
def test_reuploading_near_zero_weights_is_the_plain_encoding(n_qubits: int) -> None:
    circuit = data_reuploading(4, n_qubits, n_layers=1)
    expected = QuantumCircuit(n_qubits)
    x = RNG.normal(size=4)
    plain = angle_encoding(4, n_qubits).bind(x)
    expected.compose(plain, inplace=True)
    for pair in {1: [], 2: [(1, 0)], 4: [(3, 2), (2, 1), (1, 0), (0, 3)]}[n_qubits]:
        expected.cz(*pair)
    assert fidelity(state(circuit, x, np.zeros(circuit.n_weights)), Statevector(expected).data) == pytest.approx(1)


def test_reuploading_weights_stand_in_the_documented_order() -> None:
    circuit = data_reuploading(2, n_layers=2)
    assert circuit.n_weights == 2 * (2 * 2 + 2 * 2)
    x, w = RNG.normal(size=2), RNG.normal(size=circuit.n_weights)
    expected = QuantumCircuit(2)
    for s0, s1, b0, b1, z0, y0, z1, y1 in w.reshape(2, 8):
        expected.ry((1 + s0) * x[0] + b0, 0)
        expected.ry((1 + s1) * x[1] + b1, 1)
        expected.cz(0, 1)
        for qubit, (z, y) in enumerate([(z0, y0), (z1, y1)]):
            expected.rz(z, qubit)
            expected.ry(y, qubit)
    assert np.allclose(state(circuit, x, w), Statevector(expected).data)


@given(
    n_features=st.integers(1, 6),
    n_qubits=st.integers(1, 4),
    n_layers=st.integers(1, 2),
    entangler=st.sampled_from(["cx", "cz", "iswap", "none"]),
    scaled=st.booleans(),
)
def test_reuploading_counts(n_features: int, n_qubits: int, n_layers: int, entangler: str, scaled: bool) -> None:
    circuit = data_reuploading(n_features, n_qubits, n_layers=n_layers, entangler=entangler, trainable_scaling=scaled)
    uploads = max(n_features, n_qubits)
    assert (circuit.n_qubits, circuit.n_inputs) == (n_qubits, n_features)
    assert circuit.n_weights == n_layers * ((2 * uploads if scaled else 0) + 2 * n_qubits)
    assert len(circuit.quantum_circuit.parameters) == circuit.n_inputs + circuit.n_weights
    two_qubit = sum(len(i.qubits) == 2 for i in circuit.quantum_circuit.data)
    assert (two_qubit == 0) == (entangler == "none" or n_qubits == 1)


@pytest.mark.parametrize("name", sorted(FEATURE_MAPS))
def test_feature_maps_have_inputs_only(name: str) -> None:
    circuit = FEATURE_MAPS[name](4, None, 2)
    assert [p.name for p in circuit.inputs] == [f"x[{i}]" for i in range(4)]
    assert circuit.n_weights == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: angle_encoding(0), "n_features >= 1, got 0"),
        (lambda: angle_encoding(2, 0), "n_qubits >= 1, got 0"),
        (
            lambda: angle_encoding(2.5),  # type: ignore[arg-type]
            "n_features to be a whole number, got 2.5",
        ),
        (lambda: angle_encoding(2, rotation="u"), "rotation to be one of rx, ry, rz; got 'u'"),
        (lambda: angle_encoding(2, scale=0.0), "scale other than 0"),
        (lambda: angle_encoding(2, n_layers=0), "n_layers >= 1"),
        (lambda: dense_angle_encoding(0), "n_features >= 1"),
        (lambda: zz_feature_map(2, n_layers=0), "n_layers >= 1"),
        (lambda: zz_feature_map(2, entanglement="star"), "entanglement to be one of .*linear.*'star'"),
        (lambda: pauli_feature_map(2, paulis="ZZ"), "list of Pauli strings"),
        (lambda: pauli_feature_map(2, paulis=["ZW"]), "list of Pauli strings"),
        (lambda: iqp_encoding(-1), "n_features >= 1"),
        (lambda: hamiltonian_encoding(2, n_trotter=0), "n_trotter >= 1"),
        (lambda: hamiltonian_encoding(2, evolution_time=-1.0), "positive evolution_time"),
        (
            lambda: data_reuploading(2, entangler="cxx"),
            "entangler to be one of cx, cz, iswap, none; got 'cxx'",
        ),
        (lambda: data_reuploading(2, n_layers=0), "n_layers >= 1"),
    ],
)
def test_wrong_values_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
