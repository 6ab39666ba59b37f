"""Reasons: exact where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from qworkbench.attribution import attribute, method_of
from qworkbench.models import QGANDetector
from qworkbench.models.density_detectors import MahalanobisDetector

RNG = np.random.default_rng(4)
X = RNG.normal([5, -3, 0], [2, 0.1, 1], (200, 3))
KNOWN = {"centre": np.median(X, axis=0), "spread": X.std(axis=0)}


class Nearest(OutlierMixin, BaseEstimator):
    """Reconstructs every row as the mean of the training rows."""

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0)
        return self

    def residuals(self, X):
        return X - self.mean_


def test_residuals_are_undone_through_the_scalers() -> None:
    pulls = (X - X.mean(axis=0)) / X.std(axis=0)
    for model in (Nearest(), make_pipeline(StandardScaler(), Nearest()), make_pipeline(PCA(2), Nearest())):
        model.fit(X)
        assert method_of(model) == "residual"
        np.testing.assert_allclose(attribute(model, X, **KNOWN), pulls, atol=1e-9)


def test_what_pca_left_out_is_part_of_the_residual() -> None:
    model = make_pipeline(StandardScaler(), PCA(1), Nearest()).fit(X)
    np.testing.assert_allclose(attribute(model, X, **KNOWN), (X - X.mean(axis=0)) / X.std(axis=0), atol=1e-9)


def test_occlusion_is_the_rise_of_the_score() -> None:
    model = make_pipeline(StandardScaler(), MahalanobisDetector()).fit(X)
    row = np.array([[5.0, -3.0 + 1.0, 0.0]])  # ten standard deviations off in the second feature
    parts = attribute(model, row, **KNOWN)[0]
    cured = row.copy()
    cured[0, 1] = KNOWN["centre"][1]
    assert parts[1] == pytest.approx(model.score_samples(cured)[0] - model.score_samples(row)[0])
    assert parts.argmax() == 1 and parts[1] > 10 * np.abs(parts[[0, 2]]).max()


def test_every_detector_has_reasons() -> None:
    assert method_of(IsolationForest()) == "occlusion"
    detector = QGANDetector(2, n_layers=1, epochs=1, bank_size=16, random_state=0)
    model = make_pipeline(StandardScaler(), detector).fit(X)
    assert method_of(model) == "residual"
    scaled = model[:-1].transform(X[:5])
    np.testing.assert_allclose(attribute(model, X[:5], **KNOWN), detector.residuals(scaled), atol=1e-9)
