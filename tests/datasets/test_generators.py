"""Generated problems: their definitions, their seeds, and the ZZ map against Qiskit's."""

import numpy as np
import pytest
from qiskit.circuit.library import zz_feature_map
from qiskit.quantum_info import Statevector
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from qworkbench.datasets import DATASETS, load_dataset
from qworkbench.datasets.generators import zz_states

GENERATED = [name for name, entry in DATASETS.items() if isinstance(entry.options.get("n_samples"), int)]


def qiskit_states(X: np.ndarray) -> np.ndarray:
    circuit = zz_feature_map(X.shape[1], reps=2)
    parameters = sorted(circuit.parameters, key=lambda p: p.index)
    bound = (circuit.assign_parameters(dict(zip(parameters, x, strict=True))) for x in X)
    return np.array([Statevector(state).data for state in bound])


@pytest.mark.parametrize("name", GENERATED)
def test_seed_fixes_the_table_and_nothing_global(name: str) -> None:
    legacy = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state must stay untouched
    first, again, other = (load_dataset(name, seed=seed, n_samples=60) for seed in (3, 3, 4))
    assert first.X.shape[0] == len(first.y) == 60
    assert first.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.X, again.X)
    np.testing.assert_array_equal(legacy, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("n_qubits", [2, 3])
def test_zz_states_are_those_of_qiskit(n_qubits: int) -> None:
    X = np.random.default_rng(1).uniform(0, 2 * np.pi, (6, n_qubits))
    overlaps = np.einsum("ni,ni->n", zz_states(X).conj(), qiskit_states(X))
    np.testing.assert_allclose(np.abs(overlaps), 1, atol=1e-12)


@pytest.mark.parametrize(("n_features", "rows"), [(2, 120), (3, 300)])
def test_ad_hoc_labels_are_linear_in_qiskits_feature_space(n_features: int, rows: int) -> None:
    data = load_dataset("ad_hoc", n_samples=rows, n_features=n_features, seed=5)
    states = qiskit_states(data.X)
    kernel = np.abs(states.conj() @ states.T) ** 2
    assert SVC(kernel="precomputed", C=1e5).fit(kernel, data.y).score(kernel, data.y) == 1.0
    # With the sign of the angles wrong the same machine cannot fit: many more points than 4**n dimensions.
    wrong = zz_states(-data.X)
    wrong_kernel = np.abs(wrong.conj() @ wrong.T) ** 2
    assert SVC(kernel="precomputed", C=10).fit(wrong_kernel, data.y).score(wrong_kernel, data.y) < 0.95


def test_ad_hoc_is_balanced_in_range_and_grows_within_one_problem() -> None:
    small, large = load_dataset("ad_hoc", n_per_class=20), load_dataset("ad_hoc", n_per_class=60)
    assert (small.y == 1).sum() == (small.y == -1).sum() == 20
    assert large.X.min() > 0 and large.X.max() <= 2 * np.pi
    assert {tuple(row) for row in small.X} <= {tuple(row) for row in large.X}


def test_ad_hoc_refuses_widths_and_gaps_without_points() -> None:
    with pytest.raises(ValueError, match="n_features of 2 or 3"):
        load_dataset("ad_hoc?n_features=4")
    with pytest.raises(ValueError, match="lower the gap"):
        load_dataset("ad_hoc?gap=1.5")


def test_linearly_separable_keeps_its_margin() -> None:
    data = load_dataset("linearly_separable?n_features=3&margin=0.1")
    total = data.X.sum(axis=1)
    assert np.abs(total).min() > 0.3
    np.testing.assert_array_equal(data.y, np.where(total < 0, -1, 1))


@pytest.mark.parametrize("name", ["hidden_manifold", "two_curves", "hyperplanes", "moons", "circles"])
def test_classes_are_balanced(name: str) -> None:
    _, counts = np.unique(load_dataset(name, n_samples=100).y, return_counts=True)
    assert counts.tolist() == [50, 50]


def test_two_curves_lie_a_constant_apart_without_noise() -> None:
    data = load_dataset("two_curves?noise=0&degree=1&n_features=2&offset=5&n_samples=400")
    np.testing.assert_allclose(data.X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.X.std(axis=0), 1)
    assert LogisticRegression().fit(data.X, data.y).score(data.X, data.y) == 1.0


def test_hyperplanes_span_the_small_space_only() -> None:
    singular = np.linalg.svd(load_dataset("hyperplanes?dim=3").X, compute_uv=False)
    assert (singular > 1e-8 * singular[0]).sum() == 3


def test_bars_are_constant_along_columns_and_stripes_along_rows() -> None:
    data = load_dataset("bars_and_stripes?noise=0&size=3")
    images = data.X.reshape(-1, 3, 3)
    assert set(np.unique(images)) == {-1.0, 1.0}
    assert (images[data.y == "bar"] == images[data.y == "bar"][:, :1, :]).all()
    assert (images[data.y == "stripe"] == images[data.y == "stripe"][:, :, :1]).all()
