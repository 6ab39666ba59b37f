"""What the reproductions of Havlicek et al. 2019 share: the problems, the feature map, the classical control."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit.library import RZGate
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from circuits import ParameterizedCircuit, zz_feature_map
from qworkbench.backend import Backend
from qworkbench.datasets import load_dataset

SOURCE = (
    "Havlicek et al., Nature 567, 209 (2019), arXiv:1804.11326; published figures are quoted from memory: "
    "check them against the paper before citing them"
)
C_GRID = (1.0, 10.0, 100.0, 1000.0)
GAMMA_GRID = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
FOLDS = 5


@dataclass(frozen=True)
class Problem:
    """One random labelling of the square: training points and the points of all tests."""

    number: int
    fingerprint: str
    X: NDArray[np.float64]
    y: NDArray
    X_test: NDArray[np.float64]
    y_test: NDArray
    """The tests one after the other, each with as many points of one class as of the other."""
    n_first: int
    """Points of the first test."""


def ad_hoc_problem(number: int, gap: float, n_train: int, n_tests: int, n_test: int) -> Problem:
    """The problem of this number.

    Args:
        number: Seed of the random unitary and of the points.
        gap: Half-width of the band without points.
        n_train: Training points a class.
        n_tests: Number of tests.
        n_test: Points a class in each test.
    """
    rows = n_train + n_tests * n_test
    data = load_dataset(f"ad_hoc?gap={gap}&n_per_class={rows}&seed={number}")
    by_class = np.stack([np.flatnonzero(data.y == label) for label in np.unique(data.y)])
    train = by_class[:, :n_train].ravel()
    test = by_class[:, n_train:].reshape(2, n_tests, n_test).swapaxes(0, 1).ravel()
    parts = data.X[train], data.y[train], data.X[test], data.y[test]
    return Problem(number, data.fingerprint, *parts, n_first=2 * n_test)


def feature_map() -> ParameterizedCircuit:
    """The two-qubit ZZ map with RZ in place of P, as the paper has it: the same states up to a phase.

    The phases of P are symbols that the transpiler adds up, which takes minutes once the circuit is folded.
    """
    source = zz_feature_map(2)
    circuit = source.quantum_circuit.copy_empty_like()
    for gate in source.quantum_circuit.data:
        operation = RZGate(*gate.operation.params) if gate.name == "p" else gate.operation
        circuit.append(operation, gate.qubits)
    return ParameterizedCircuit(circuit, source.inputs)


def tuned_svm(kernel: str, X: NDArray[np.float64], y: NDArray, seed: int) -> GridSearchCV:
    """A support vector machine, C (and gamma) chosen by stratified cross-validation of the training points alone.

    Args:
        kernel: ``"rbf"``, or ``"precomputed"`` with ``X`` the Gram matrix.
        X: Shape ``(N, F)`` or ``(N, N)``.
        y: Shape ``(N,)``.
        seed: Of the folds.
    """
    grid = {"C": C_GRID} | ({"gamma": GAMMA_GRID} if kernel == "rbf" else {})
    folds = StratifiedKFold(min(FOLDS, np.unique(y, return_counts=True)[1].min()), shuffle=True, random_state=seed)
    return GridSearchCV(SVC(kernel=kernel), grid, cv=folds).fit(X, y)


def sampled(uri: str, shots: int, *seeds: int) -> Backend:
    """The backend with shots and a seed of its own; transpiled without optimisation, which would undo folds."""
    backend = Backend.parse(uri)
    level = {"optimization_level": "0", **dict(backend.options)}
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    return replace(backend, shots=shots, seed=seed, options=tuple(level.items()))
