"""The table of classical opponents."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_outlier_detector, is_regressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import ParameterSampler
from sklearn.preprocessing import StandardScaler

from qworkbench.baselines import BASELINES
from qworkbench.datasets import load_dataset

KINDS = {"classification": is_classifier, "regression": is_regressor, "anomaly": is_outlier_detector}
CHEAP: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 20},
    "random_forest_regressor": {"n_estimators": 20},
    "gradient_boosting": {"max_iter": 40},
    "gradient_boosting_regressor": {"max_iter": 40},
    "isolation_forest": {"n_estimators": 50},
    "gan": {"epochs": 2},
    "anogan": {"epochs": 2},
    "autoencoder": {"epochs": 20},
    "mlp": {"hidden_layer_sizes": (8,), "learning_rate_init": 0.01},
    "mlp_regressor": {"regressor__hidden_layer_sizes": (8,), "regressor__learning_rate_init": 0.01},
}


def quick(name: str, seed: int = 0):
    """The model with fewer trees, rounds or units."""
    return BASELINES[name].factory(seed).set_params(**CHEAP.get(name, {}))


def test_the_table_is_complete():
    tasks = {task: [n for n, e in BASELINES.items() if e.task == task] for task in KINDS}
    assert tasks == {
        "classification": ["logistic_regression", "rbf_svm", "random_forest", "gradient_boosting", "mlp"],
        "regression": ["ridge", "rbf_svr", "random_forest_regressor", "gradient_boosting_regressor", "mlp_regressor"],
        "anomaly": [
            *("mahalanobis", "isolation_forest", "one_class_svm", "gmm", "lof", "autoencoder", "gan", "anogan"),
            *("pyod_hbos", "pyod_knn", "pyod_loda"),
        ],
    }
    assert not any(entry.quantum for entry in BASELINES.values())
    assert {name for name, entry in BASELINES.items() if entry.extra} == {"pyod_hbos", "pyod_knn", "pyod_loda"}


@pytest.mark.parametrize("name", BASELINES)
def test_the_search_space_fits_the_model(name):
    entry = BASELINES[name]
    model = entry.factory(3)
    assert KINDS[entry.task](model)
    assert set(entry.space) <= set(model.get_params())
    for drawn in ParameterSampler(entry.space, 5, random_state=0):
        assert clone(model).set_params(**drawn).get_params().items() >= drawn.items()
    seeds = {v for k, v in model.get_params().items() if k.rpartition("__")[2] == "random_state"}
    assert seeds <= {3}


@pytest.mark.parametrize("name", [n for n, e in BASELINES.items() if e.task == "classification"])
def test_classifiers_learn_iris(name):
    data = load_dataset("iris")
    X = StandardScaler().fit_transform(data.X)
    model = quick(name).fit(X[::2], data.y[::2])
    assert model.score(X[1::2], data.y[1::2]) > 0.88


@pytest.mark.parametrize("name", [n for n, e in BASELINES.items() if e.task == "regression"])
def test_regressors_learn_diabetes(name):
    data = load_dataset("diabetes")
    X = StandardScaler().fit_transform(data.X)
    model = quick(name).fit(X[::2], data.y[::2])
    # Linear regression explains about half.
    assert r2_score(data.y[1::2], model.predict(X[1::2])) > 0.3


@pytest.mark.parametrize("name", [n for n, e in BASELINES.items() if e.task == "anomaly"])
def test_detectors_find_shifted_events(name):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4))
    train, normal, odd = (rng.normal(size=(200, 4)) @ mixing + shift for shift in (0, 0, 6))
    model = quick(name).fit(train)
    scores = model.score_samples(np.concatenate([normal, odd]))
    assert roc_auc_score(np.repeat([1, 0], 200), scores) > 0.9
    assert set(model.predict(np.concatenate([normal, odd]))) == {-1, 1}


@pytest.mark.parametrize("name", ["random_forest", "isolation_forest", "gmm", "gan", "mlp"])
def test_the_seed_decides(name):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(float)

    def answer(seed: int) -> np.ndarray:
        model = quick(name, seed).fit(X, y)
        return (
            model.score_samples(X)
            if BASELINES[name].task == "anomaly"
            else getattr(model, "predict_proba", model.predict)(X)
        )

    np.testing.assert_array_equal(answer(4), answer(4))
    assert np.abs(answer(4) - answer(5)).max() > 0


def test_the_table_is_light():
    code = "import sys, qworkbench.baselines; print(sorted({'torch', 'qiskit', 'sklearn', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
