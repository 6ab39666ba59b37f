"""Ansatze: weights counted, structure checked, templates of other libraries reproduced."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.circuit import library as qiskit_library
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector

from circuits import (
    ANSATZE,
    ParameterizedCircuit,
    brickwork,
    efficient_su2,
    hardware_efficient,
    qcnn,
    real_amplitudes,
    strongly_entangling,
    tree_tensor,
    z_first,
)

RNG = np.random.default_rng(90210448120031771)


def couplings(circuit: ParameterizedCircuit) -> list[tuple[int, ...]]:
    """Qubit pairs of the two-qubit gates, in order."""
    qc = circuit.quantum_circuit
    return [tuple(qc.find_bit(q).index for q in i.qubits) for i in qc.data if len(i.qubits) == 2]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (efficient_su2, qiskit_library.efficient_su2),
        (real_amplitudes, qiskit_library.real_amplitudes),
    ],
)
@pytest.mark.parametrize("n_qubits", [1, 3])
def test_library_ansatze_are_qiskits(
    ours: Callable[..., ParameterizedCircuit], theirs: Callable, n_qubits: int
) -> None:
    circuit = ours(n_qubits, n_layers=6, entanglement="circular")
    w = RNG.normal(size=circuit.n_weights)
    expected = theirs(n_qubits, reps=6, entanglement="circular").assign_parameters(w)
    assert np.allclose(Operator(circuit.bind((), w)).data, Operator(expected).data)


@pytest.mark.parametrize(("n_qubits", "n_layers"), [(1, 2), (2, 2), (4, 5)])
def test_strongly_entangling_is_pennylanes(n_qubits: int, n_layers: int) -> None:
    circuit = strongly_entangling(n_qubits, n_layers=n_layers)
    w = RNG.normal(size=(n_layers, n_qubits, 3))

    @qml.qnode(qml.device("default.qubit", wires=n_qubits))
    def theirs() -> object:
        qml.StronglyEntanglingLayers(w, wires=range(n_qubits))
        return qml.state()

    ours = Statevector(circuit.bind((), w.ravel())).data.reshape((2,) * n_qubits)
    assert abs(np.vdot(ours.transpose().ravel(), theirs())) == pytest.approx(1)


def test_hardware_efficient_layers() -> None:
    circuit = hardware_efficient(3, n_layers=2, rotations=("rx",), entangler="cz", entanglement="circular")
    assert circuit.n_weights == 9
    assert couplings(circuit) == [(2, 0), (0, 1), (1, 2)] * 2
    assert set(circuit.quantum_circuit.count_ops()) == {"rx", "cz"}
    assert hardware_efficient(3).n_weights == 18
    assert not couplings(hardware_efficient(3, entangler="none"))


def test_brickwork_alternates() -> None:
    assert couplings(brickwork(5, n_layers=3)) == [(0, 1), (2, 3), (1, 2), (3, 4), (0, 1), (2, 3)]
    assert couplings(brickwork(2, n_layers=3)) == [(0, 1)] * 3
    assert brickwork(5, n_layers=3).n_weights == 24


@given(n_qubits=st.integers(1, 9), n_layers=st.integers(1, 2))
def test_tree_joins_all_qubits_in_qubit_0(n_qubits: int, n_layers: int) -> None:
    circuit = tree_tensor(n_qubits, n_layers=n_layers)
    assert circuit.n_weights == 2 * n_layers * (n_qubits - 1) + 1
    edges = list(dict.fromkeys(couplings(circuit)))
    assert len(edges) == n_qubits - 1
    tree = nx.DiGraph(edges)
    tree.add_node(0)
    # Every gate points to the qubit that stays; all roads lead to qubit 0.
    assert set(nx.ancestors(tree, 0)) == set(range(1, n_qubits))
    assert all(kept < dropped for dropped, kept in edges)


def test_tree_depth_is_logarithmic() -> None:
    longest = nx.dag_longest_path_length(nx.DiGraph(couplings(tree_tensor(8))))
    assert longest == 3


@given(n_qubits=st.integers(2, 9), n_layers=st.integers(1, 2))
def test_qcnn_shares_weights_and_pools_to_qubit_0(n_qubits: int, n_layers: int) -> None:
    circuit = qcnn(n_qubits, n_layers=n_layers)
    assert circuit.n_weights == (4 * n_layers + 2) * int(np.ceil(np.log2(n_qubits)))
    pools = [
        tuple(circuit.quantum_circuit.find_bit(q).index for q in i.qubits)
        for i in circuit.quantum_circuit.data
        if i.operation.name == "crx"
    ]
    dropped = [control for control, _ in pools]
    assert sorted(dropped) == list(range(1, n_qubits))
    alive = set(range(n_qubits))
    for control, target in pools:
        assert {control, target} <= alive
        alive.remove(control)
    assert alive == {0}


@pytest.mark.parametrize("n_qubits", [2, 3, 5, 6])
@pytest.mark.parametrize("build", [tree_tensor, qcnn])
def test_the_read_out_of_qubit_0_depends_on_every_qubit(
    build: Callable[[int], ParameterizedCircuit], n_qubits: int
) -> None:
    circuit = build(n_qubits)
    unitary = Operator(circuit.bind((), RNG.uniform(0.3, 1.0, circuit.n_weights))).data
    heard = SparsePauliOp.from_operator(Operator(unitary.conj().T @ z_first(n_qubits)[0].to_matrix() @ unitary))
    letters = heard[np.abs(heard.coeffs) > 1e-6].paulis
    assert (letters.x | letters.z).any(axis=0).all()


@pytest.mark.parametrize("name", sorted(ANSATZE))
def test_every_weight_is_in_the_circuit(name: str) -> None:
    circuit = ANSATZE[name](5, 2)
    assert circuit.n_inputs == 0
    assert [p.name for p in circuit.weights] == [f"w[{i}]" for i in range(circuit.n_weights)]
    assert set(circuit.quantum_circuit.parameters) == set(circuit.weights)


@pytest.mark.parametrize("name", sorted(ANSATZE))
def test_one_qubit_is_sensible_or_refused(name: str) -> None:
    if name in {"brickwork", "qcnn"}:
        with pytest.raises(ValueError, match="n_qubits >= 2, got 1"):
            ANSATZE[name](1, 1)
    else:
        assert ANSATZE[name](1, 1).n_weights > 0


@pytest.mark.parametrize("name", sorted(ANSATZE))
def test_wrong_sizes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="n_layers >= 1, got 0"):
        ANSATZE[name](3, 0)
    with pytest.raises(ValueError, match=r"n_qubits >= [12], got 0"):
        ANSATZE[name](0, 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: hardware_efficient(2, entangler="cnot"),
            "entangler to be one of cx, cz, iswap, none; got 'cnot'",
        ),
        (lambda: hardware_efficient(2, entanglement="ladder"), "entanglement to be one of"),
        (lambda: hardware_efficient(2, rotations=()), "at least one rotation"),
        (lambda: hardware_efficient(2, rotations=("ru",)), "rotations to be one of rx, ry, rz"),
        (lambda: real_amplitudes(2, entanglement="ladder"), "entanglement to be one of"),
        (lambda: strongly_entangling(2, entangler="x"), "entangler to be one of"),
        (lambda: brickwork(2, entangler="x"), "entangler to be one of"),
        (lambda: tree_tensor(2, rotations=("x",)), "rotations to be one of"),
    ],
)
def test_unknown_names_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
