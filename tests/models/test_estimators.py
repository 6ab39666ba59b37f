"""The scikit-learn contract, and what the trained models promise beyond it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris, make_moons
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from circuits import angle_encoding, hardware_efficient, iqp_encoding, z_first
from qworkbench import (
    HybridClassifier,
    QGANDetector,
    QuantumKernelClassifier,
    QuantumLayer,
    VariationalClassifier,
    VariationalRegressor,
)
from qworkbench.datasets import load_dataset
from qworkbench.models.base import on_backend
from qworkbench.testing import assert_within_sigma

ALL = [VariationalClassifier, HybridClassifier, QuantumKernelClassifier, VariationalRegressor]
TINY = {"epochs": 2, "n_layers": 1, "random_state": 0}


@parametrize_with_checks(
    [VariationalClassifier(epochs=15), HybridClassifier(epochs=15), VariationalRegressor(), QuantumKernelClassifier()]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def moons():
    X, y = make_moons(80, noise=0.15, random_state=3)
    return StandardScaler().fit_transform(X), np.array(["north", "south"])[y]


@pytest.mark.parametrize("model", ALL[:3])
def test_string_labels_and_three_classes(model):
    X, y = load_iris(return_X_y=True)
    X, names = StandardScaler().fit_transform(X), np.array(["setosa", "versicolor", "virginica"])[y]
    fitted = model(random_state=0).fit(X, names)
    assert set(fitted.predict(X)) == set(names)
    assert fitted.score(X, names) > 0.9


def test_probabilities_are_those_of_the_predicted_class(moons):
    X, y = moons
    model = VariationalClassifier(random_state=0, epochs=10).fit(X, y)
    chances = model.predict_proba(X)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert (model.classes_[chances.argmax(1)] == model.predict(X)).all()
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("model", ALL[:3])
def test_a_refit_is_identical_and_a_clone_is_fresh(model, moons):
    X, y = moons
    settings = {} if model is QuantumKernelClassifier else TINY
    first = model(**settings).fit(X, y)
    again = clone(first).fit(X, y)
    np.testing.assert_array_equal(first.predict(X), again.predict(X))
    if hasattr(first, "predict_proba"):
        np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))


def test_the_regressor_follows_a_sine():
    x = np.linspace(-2, 2, 60)[:, None]
    y = 40 + 7 * np.sin(2 * x[:, 0])
    assert VariationalRegressor(random_state=0).fit(x, y).score(x, y) > 0.95


@pytest.mark.parametrize("backend", ["aer", "pennylane:default.qubit", "ibm-fake:manila"])
def test_a_trained_model_moves_to_another_backend(backend, moons):
    X, y = moons
    model = VariationalClassifier(n_qubits=2, epochs=10, random_state=0).fit(X, y)
    exact = model.predict_proba(X[:6])
    moved = model.set_params(backend=backend).predict_proba(X[:6])
    bound = 0.25 if "fake" in backend else 1e-9
    assert np.abs(moved - exact).max() < bound
    assert (np.abs(moved - exact).max() > 1e-6) == ("fake" in backend)


@pytest.mark.parametrize("backend", ["aer", "aer?shots=64"])
def test_everything_trains_on_aer(backend, moons):
    X, y = moons[0][:6], moons[1][:6]
    assert len(set(y)) == 2
    for model in (
        VariationalClassifier(n_qubits=2, backend=backend, **TINY),
        HybridClassifier(n_qubits=2, backend=backend, **TINY),
        QuantumKernelClassifier(backend=backend, random_state=0),
    ):
        fitted = model.fit(X, y)
        assert fitted.usage_["circuits"] > 0
        assert (fitted.usage_["shots"] > 0) == ("shots" in backend)
        assert len(fitted.predict(X)) == 6
    values = VariationalRegressor(n_qubits=2, backend=backend, **TINY).fit(X, X[:, 0]).predict(X)
    assert np.isfinite(values).all()


def test_exact_training_is_the_same_on_every_exact_backend(moons):
    X, y = moons[0][:8], moons[1][:8]
    ours = VariationalClassifier(n_qubits=2, **TINY).fit(X, y)
    aer = VariationalClassifier(n_qubits=2, backend="aer", **TINY).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), aer.predict_proba(X), atol=1e-8)


def test_random_state_seeds_the_shots(moons):
    X, y = moons
    noisy = VariationalClassifier(backend="statevector?shots=50", **TINY)
    first, second = (clone(noisy).fit(X[:20], y[:20]).predict_proba(X) for _ in range(2))
    other = clone(noisy).set_params(random_state=1).fit(X[:20], y[:20]).predict_proba(X)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-3


def test_own_circuits_and_observables(moons):
    X, y = moons
    circuit = angle_encoding(2).compose(hardware_efficient(2, n_layers=1))
    model = VariationalClassifier(circuit, observables=z_first(2), epochs=3, random_state=0).fit(X, y)
    assert model.module_[0].n_outputs == 1
    with pytest.raises(ValueError, match=r"expected a circuit with 2 inputs.*got 3"):
        VariationalClassifier(angle_encoding(3).compose(hardware_efficient(3))).fit(X, y)
    with pytest.raises(ValueError, match="without weights"):
        QuantumKernelClassifier(circuit).fit(X, y)
    assert QuantumKernelClassifier(iqp_encoding(2)).fit(X, y).score(X, y) > 0.7


def test_hybrid_takes_modules_and_factories(moons):
    X, y = moons
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    before = {k: v.clone() for k, v in trunk.state_dict().items()}
    model = HybridClassifier(trunk, n_qubits=3, head=lambda n, k: nn.Linear(n, k), epochs=3, random_state=0).fit(X, y)
    assert all(torch.equal(v, before[k]) for k, v in trunk.state_dict().items())
    assert model.n_parameters_ == sum(p.numel() for p in model.module_.parameters())
    again = clone(model).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    with pytest.raises(ValueError, match=r"trunk that maps \(B, 2\) to \(B, 4\)"):
        HybridClassifier(trunk, n_qubits=4).fit(X, y)
    with pytest.raises(ValueError, match="trunk does not take 2 features"):
        HybridClassifier(nn.Linear(5, 4), n_qubits=4).fit(X, y)


def test_grid_search_runs_in_parallel(moons):
    X, y = moons
    pipeline = make_pipeline(StandardScaler(), QuantumKernelClassifier())
    search = GridSearchCV(pipeline, {"quantumkernelclassifier__bandwidth": [0.3, 1.0]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"circuit": "data_reupload"}, "did you mean 'data_reuploading'"),
        ({"backend": "statevektor"}, "did you mean 'statevector'"),
        ({"observables": "z_eech"}, "did you mean 'z_each'"),
        ({"gradient": "adjiont"}, "did you mean 'adjoint'"),
        ({"epochs": 0}, "epochs and batch_size of at least 1"),
        ({"n_qubits": 40}, "GiB"),
    ],
)
def test_bad_settings_are_refused(settings, message, moons):
    with pytest.raises((ValueError, MemoryError), match=message):
        VariationalClassifier(**settings).fit(*moons)


def test_bad_data_are_refused(moons):
    X, y = moons
    for model in (VariationalClassifier(**TINY), QuantumKernelClassifier()):
        with pytest.raises(ValueError, match="NaN"):
            model.fit(np.where(X > 1, np.nan, X), y)
        with pytest.raises(ValueError, match="1 class"):
            model.fit(X, np.full(len(X), "north"))
        with pytest.raises(ValueError, match="continuous"):
            model.fit(X, X[:, 0])
        with pytest.raises(ValueError, match="3 features"):
            model.fit(X, y).predict(np.zeros((2, 3)))


def test_settings_changed_after_fitting_do_not_mix_with_the_fitted_kernel(moons):
    X, y = moons
    model = QuantumKernelClassifier().fit(X, y)
    before = model.decision_function(X)
    after = model.set_params(bandwidth=5.0, n_layers=3).decision_function(X)
    np.testing.assert_array_equal(before, after)


def test_a_layer_with_two_names_moves_as_one(moons):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = QuantumLayer(angle_encoding(2), z_first(2))
            self.second = self.first

    moved = on_backend(Twice(), "aer?shots=10&seed=1")
    assert moved.first is moved.second
    assert str(moved.first.backend) == "aer?shots=10&seed=1"


def test_batch_normalisation_never_meets_a_batch_of_one():
    X, y = make_moons(33, noise=0.1, random_state=0)
    normed = HybridClassifier(lambda n, k: nn.Sequential(nn.Linear(n, k), nn.BatchNorm1d(k)), **TINY)
    assert len(normed.fit(X, y).loss_curve_) == 2


def test_a_target_beyond_floating_point_is_refused(moons):
    X = moons[0]
    with pytest.raises(ValueError, match="rescale the target"):
        VariationalRegressor(**TINY).fit(X, X[:, 0] * 1e200)


@pytest.mark.parametrize("model", [VariationalClassifier(epochs=3), QuantumKernelClassifier()])
def test_predictions_come_with_the_error_that_shots_leave(model):
    X, y = load_dataset("moons?n_samples=30&seed=2", return_X_y=True)
    model = clone(model).set_params(random_state=0).fit(X, y)
    exact, none = model.estimate(X[:6])
    assert not none.any()
    model.set_params(backend="statevector?shots=400&seed=1")
    mean, error = model.estimate(X[:6], groups=16)
    repeats = []
    for seed in range(60):
        model.set_params(backend=f"statevector?shots=400&seed={seed + 10}")
        repeats.append(
            model.predict_proba(X[:6]) if hasattr(model, "predict_proba") else model.decision_function(X[:6])
        )
    spread = np.std(repeats, axis=0)
    assert mean.shape == exact.shape and (error > 0).all()
    assert np.sqrt(np.mean(error**2)) == pytest.approx(np.sqrt(np.mean(spread**2)), rel=0.35)
    # A group has 25 shots, whose noise bends the probabilities a little.
    assert_within_sigma(mean, exact, np.full_like(error, error.max()), slack=0.02)


def test_errors_of_data_frames_detectors_and_refusals():
    X, y = load_dataset("moons?n_samples=30&seed=2", return_X_y=True)
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = VariationalRegressor(epochs=2, random_state=0, backend="statevector?shots=80").fit(frame, y)
    assert [part.shape for part in model.estimate(frame)] == [(30,), (30,)]
    for groups in (1, 81):
        with pytest.raises(ValueError, match="expected at least"):
            model.estimate(frame, groups)
    detector = QGANDetector(epochs=1, bank_size=16, random_state=0).fit(X).set_params(backend="statevector?shots=80")
    score, error = detector.estimate(X[:5])
    assert score.shape == (5,) and (error > 0).all()


def test_a_classifier_trains_on_a_shot_schedule():
    X, y = load_dataset("moons?n_samples=20&seed=2", return_X_y=True)
    settings = {"backend": "statevector?shots=50", "epochs": 2, "batch_size": 20, "random_state": 0}
    counts = [VariationalClassifier(**settings, shot_schedule=s).fit(X, y).usage_ for s in (None, "growing:2-50", 10)]
    assert counts[0]["shots"] == 5 * counts[2]["shots"]
    assert counts[1]["shots"] == counts[0]["shots"] * 52 // 100
    assert counts[0]["circuits"] == counts[1]["circuits"]
