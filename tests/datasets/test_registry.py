"""Loading by name: options from URIs and keywords, the names that results carry, and refusals."""

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest

from qworkbench.datasets import DATASETS, Dataset, load_dataset, subset


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("mnist", "lhc_olympics")])
def test_every_data_set_loads_as_its_entry_says(name: str) -> None:
    data = load_dataset(name)
    assert (data.name, data.task) == (name, DATASETS[name].task)
    assert data.X.dtype == np.float64 and np.isfinite(data.X).all()
    assert data.X.shape == (len(data.y), len(data.feature_names))
    assert data.source and DATASETS[name].summary and "seed" in DATASETS[name].options
    assert repr(data).startswith(f"Dataset('{name}': {len(data.y)} x ")


def test_uri_and_keywords_agree_and_name_what_differs_from_the_default() -> None:
    by_uri = load_dataset("collider_dijets?signal=graviton_hh&n_samples=40&features=mass_j1,tau21_j1&seed=0")
    by_keyword = load_dataset(
        "collider_dijets", signal="graviton_hh", n_samples=np.int64(40), features=["mass_j1", "tau21_j1"]
    )
    assert by_uri.name == "collider_dijets?features=mass_j1,tau21_j1&n_samples=40&signal=graviton_hh"
    assert by_uri.name == by_keyword.name and by_uri.fingerprint == by_keyword.fingerprint
    assert load_dataset(by_uri.name).fingerprint == by_uri.fingerprint
    assert load_dataset("moons?n_samples=40", n_samples=50).name == "moons?n_samples=50"


def test_two_arrays_on_request() -> None:
    X, y = load_dataset("iris", return_X_y=True)
    assert X.shape == (150, 4)
    assert sorted(set(y)) == ["setosa", "versicolor", "virginica"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mons", {}, "unknown data set 'mons'; did you mean 'moons'"),
        ("moons?sead=1", {}, "did you mean 'seed'.*options of moons: n_samples=200, noise=0.1, seed=0"),
        ("moons?n_samples=many", {}, "expected a whole number for 'n_samples', got 'many'"),
        ("moons", {"n_samples": 10.5}, "expected a whole number for 'n_samples'"),
        ("moons", {"n_samples": None}, "expected a whole number for 'n_samples'"),
        ("moons", {"seed": -1}, "seed of at least 0"),
        ("moons?noise=nan", {}, "noise of at least 0"),
        ("moons?noise=high", {}, "expected a number for 'noise'"),
        ("iris", {"n_samples": 151}, "n_samples from 2 to 150"),
        ("iris", {"n_samples": 2}, "leaves no row of class"),
        ("iris", {"classes": "setosa"}, "at least 2 different values"),
        ("iris", {"classes": "setosa,virginca"}, "unknown class 'virginca'; did you mean 'virginica'"),
        ("digits", {"classes": (1, 11)}, "unknown class '11'"),
    ],
)
def test_refusals(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_dataset(name, **options)


def test_classes_by_name_or_number() -> None:
    assert set(load_dataset("iris?classes=0,virginica").y) == {"setosa", "virginica"}
    assert set(load_dataset("digits", classes=[3, 5]).y) == {3, 5}


def test_subset_keeps_shares_and_is_random_in_order() -> None:
    data = load_dataset("breast_cancer")
    part = subset(data, 100, seed=1)
    share = (data.y == "malignant").mean()
    assert abs((part.y == "malignant").sum() - 100 * share) <= 1
    rows = {tuple(row) for row in data.X}
    assert len({tuple(row) for row in part.X} & rows) == 100
    assert not (np.sort(part.y) == part.y).all()
    assert subset(data, 100, seed=1).fingerprint == part.fingerprint != subset(data, 100, seed=2).fingerprint
    _, counts = np.unique(subset(load_dataset("iris"), 30).y, return_counts=True)
    assert counts.tolist() == [10, 10, 10]
    assert subset(load_dataset("diabetes"), 20).y.shape == (20,)


def test_fingerprint_sees_values_labels_and_feature_names_but_not_the_name() -> None:
    data = load_dataset("iris")
    X = data.X.copy()
    X[7, 2] = np.nextafter(X[7, 2], 10)
    changed = [
        dataclasses.replace(data, X=X),
        dataclasses.replace(data, y=np.roll(data.y, 1)),
        dataclasses.replace(data, feature_names=("a", "b", "c", "d")),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in changed)}) == 4
    assert dataclasses.replace(data, name="other").fingerprint == data.fingerprint
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint
    assert len(data.fingerprint) == 16 and int(data.fingerprint, 16) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": [[1.0], [np.nan]]}, "NaN or infinity in 'a'"),
        ({"X": [1.0, 2.0]}, "expected X"),
        ({"y": [1, 2, 3]}, "expected X"),
        ({"feature_names": ("a", "b")}, "got X .2, 1., y .2,. and 2 names"),
        ({"task": "clustering"}, "unknown task 'clustering'"),
        ({"y": [1, 1]}, "at least 2 different values"),
        ({"task": "anomaly"}, "anomaly target of 'normal' and 'anomaly'"),
        ({"task": "regression", "y": ["p", "q"]}, "numbers as a regression target"),
        ({"task": "regression", "y": [1.0, np.inf]}, "finite target"),
    ],
)
def test_dataset_checks_its_parts(changes: dict, message: str) -> None:
    good = {"name": "t", "X": [[1.0], [2.0]], "y": [0, 1], "task": "classification", "feature_names": ("a",)}
    assert Dataset(**good, source="here").y.tolist() == [0, 1]
    with pytest.raises(ValueError, match=message):
        Dataset(**good | changes, source="here")


def test_import_is_cheap() -> None:
    heavy = "{'sklearn', 'pandas', 'scipy', 'torch', 'qiskit'}"
    code = f"import sys, qworkbench.datasets; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
