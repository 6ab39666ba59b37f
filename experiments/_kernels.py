"""What the experiments on kernels share: real data, and a support vector machine on a Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

from experiments._havlicek import tuned_svm
from qworkbench.datasets import load_dataset

CLIP = 3.0
"""Standard deviations at which outliers are cut: an angle far out wraps around."""


@dataclass(frozen=True)
class Split:
    """A stratified split of a real data set, scaled by its training rows."""

    fingerprint: str
    X: NDArray[np.float64]
    y: NDArray
    X_test: NDArray[np.float64]
    y_test: NDArray


def split(dataset: str, n_train: int, n_test: int, seed: int) -> Split:
    """A random split of that size.

    Args:
        dataset: Name with options.
        n_train: Training rows.
        n_test: Test rows.
        seed: Of the split.
    """
    data = load_dataset(dataset)
    drawn = StratifiedShuffleSplit(1, train_size=n_train, test_size=n_test, random_state=seed)
    train, test = next(drawn.split(data.X, data.y))
    scaler = StandardScaler().fit(data.X[train])
    parts = [scaler.transform(data.X[rows]).clip(-CLIP, CLIP) for rows in (train, test)]
    return Split(data.fingerprint, parts[0], data.y[train], parts[1], data.y[test])


def accuracy(gram: NDArray[np.float64], cross: NDArray[np.float64], data: Split, seed: int) -> dict[str, float]:
    """Test accuracy of a support vector machine with C chosen by cross-validation, and the score of that choice.

    Args:
        gram: Of the training rows, shape ``(N, N)``.
        cross: Test rows against training rows, shape ``(M, N)``.
        data: The split.
        seed: Of the folds.
    """
    model = tuned_svm("precomputed", gram, data.y, seed)
    return {"score": float(np.mean(model.predict(cross) == data.y_test)), "validation": float(model.best_score_)}


def rbf_accuracy(data: Split, seed: int) -> dict[str, float]:
    """The same of an RBF machine, its width tuned too."""
    model = tuned_svm("rbf", data.X, data.y, seed)
    return {"score": float(np.mean(model.predict(data.X_test) == data.y_test)), "validation": float(model.best_score_)}
