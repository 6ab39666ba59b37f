"""Trials, seeds and descriptions: the same in every process, and as many for every model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import uniform
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from circuits import data_reuploading, zz_feature_map
from qworkbench.comparison.costs import n_parameters
from qworkbench.comparison.identity import derive_seed, describe
from qworkbench.comparison.tuning import best, candidates, noise
from qworkbench.datasets import load_dataset


def test_the_defaults_come_first_and_no_setting_twice() -> None:
    space = {"C": [0.01, 0.1, 1.0, 10.0, 100.0], "kernel": ["rbf", "poly"]}
    tried = candidates(SVC(), space, 5, seed=3)
    assert tried[0] == {"C": 1.0, "kernel": "rbf"}
    assert len(tried) == len({str(t) for t in tried}) == 5
    assert tried == candidates(SVC(), space, 5, seed=3) != candidates(SVC(), space, 5, seed=4)


def test_a_small_space_is_tried_as_a_whole() -> None:
    tried = candidates(SVC(), {"C": [0.1, 1.0, 10.0]}, 8, seed=0)
    assert sorted(t["C"] for t in tried) == [0.1, 1.0, 10.0] and tried[0]["C"] == 1.0
    assert candidates(SVC(), {}, 8, seed=0) == [{}]
    outside = candidates(SVC(C=7.0), {"C": [0.1, 1.0, 10.0]}, 4, seed=0)
    assert outside[0]["C"] == 7.0 and sorted(t["C"] for t in outside[1:]) == [0.1, 1.0, 10.0]


@pytest.mark.parametrize("trials", range(1, 9))
def test_a_budget_is_spent_to_the_last_trial(trials: int) -> None:
    assert len(candidates(SVC(), {"C": [0.1, 1.0], "degree": [1, 2, 3, 4]}, trials, seed=trials)) == trials
    assert len(candidates(SVC(), {"C": uniform(0.1, 5)}, trials, seed=0)) == trials


def test_the_earlier_of_equals_wins() -> None:
    assert best([0.5, 0.9, 0.9, None]) == 1
    assert best([None, 0.1]) == 1
    assert best([None, None]) == best([]) == 0


def test_noise_stays_in_the_box_and_half_of_it_on_the_marginals() -> None:
    X = np.random.default_rng(8).normal(size=(200, 3))
    X[:, 1] = X[:, 0]
    made = noise(X, 101, seed=1)
    assert made.shape == (101, 3)
    assert (made >= X.min(axis=0)).all() and (made <= X.max(axis=0)).all()
    assert np.isin(made[51:], X).all() and not np.isin(made[:51], X).any()
    correlation = np.cov(made[51:].T)[0, 1] / np.prod(made[51:, :2].std(axis=0))
    assert abs(correlation) < 0.5, "the features are drawn independently"


def test_descriptions_are_the_same_in_another_process() -> None:
    code = (
        "from circuits import zz_feature_map; from sklearn.svm import SVC; import numpy as np;"
        "from qworkbench.comparison.identity import describe;"
        "print(describe([zz_feature_map(2), SVC(class_weight=np.arange(3)), print]))"
    )
    root = str(Path(__file__).parents[2])
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout == f"{describe([zz_feature_map(2), SVC(class_weight=np.arange(3)), print])}\n"


def test_descriptions_tell_settings_apart() -> None:
    torch.manual_seed(0)
    pairs = [
        (SVC(C=1.0), SVC(C=2.0)),
        (make_pipeline(StandardScaler(), SVC()), make_pipeline(StandardScaler(), SVC(kernel="poly"))),
        (np.zeros(2000), np.eye(1, 2000)[0]),
        (torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
        (zz_feature_map(2), zz_feature_map(2, n_layers=3)),
        (data_reuploading(2, 2, n_layers=1), data_reuploading(2, 2, n_layers=2)),
        (np.sin, np.cos),
        (SVC(kernel=lambda a, b: a @ b.T), SVC(kernel=lambda a, b: (a @ b.T) ** 3)),
        (float("nan"), float("inf")),
    ]
    for one, other in pairs:
        assert describe(one) == describe(one) != describe(other)
    with pytest.raises(TypeError, match="cannot be told from another"):
        describe(type("Opaque", (), {})())


def test_seeds_depend_on_every_part() -> None:
    seeds = {derive_seed("model", s, d, m) for s in range(10) for d in ("a", "b") for m in ("x", "y")}
    assert len(seeds) == 40 and all(0 <= seed < 2**31 for seed in seeds)


def test_parameters_of_scikit_learn_models() -> None:
    X, y = load_dataset("iris", return_X_y=True)
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    boosted = GradientBoostingClassifier(n_estimators=4, random_state=0).fit(X, y)
    svm = SVC().fit(X, y)
    mlp = MLPClassifier((7,), max_iter=400, tol=0.1, random_state=0).fit(X, y)
    assert n_parameters(LogisticRegression(max_iter=500).fit(X, y)) == 15
    assert n_parameters(mlp) == 4 * 7 + 7 + 7 * 3 + 3
    assert n_parameters(forest) == sum(tree.tree_.node_count for tree in forest)
    assert n_parameters(boosted) == sum(t.tree_.node_count for t in boosted.estimators_.ravel())
    assert n_parameters(svm) == 2 * len(svm.support_) + 3
    assert n_parameters(DecisionTreeClassifier(max_leaf_nodes=4).fit(X, y)) == 2 * 4 - 1
    stumps = HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=2, random_state=0).fit(X, y)
    assert n_parameters(stumps) == 3 * 3 * 3  # iterations, classes, nodes
    assert n_parameters(KNeighborsClassifier().fit(X, y)) is None
