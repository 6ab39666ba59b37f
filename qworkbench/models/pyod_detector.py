"""PyOD's detectors under scikit-learn's contract; they come with the extra ``pyod``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from qworkbench.errors import require, unknown_name
from qworkbench.models.base import draw_seed
from qworkbench.models.detector import ThresholdedDetector

DETECTORS: dict[str, str] = {
    "ABOD": "abod",
    "CBLOF": "cblof",
    "COPOD": "copod",
    "DeepSVDD": "deep_svdd",
    "ECOD": "ecod",
    "GMM": "gmm",
    "HBOS": "hbos",
    "IForest": "iforest",
    "INNE": "inne",
    "KDE": "kde",
    "KNN": "knn",
    "LODA": "loda",
    "LOF": "lof",
    "MCD": "mcd",
    "OCSVM": "ocsvm",
    "PCA": "pca",
    "VAE": "vae",
}
"""PyOD's class -> its module in ``pyod.models``."""


class PyODDetector(ThresholdedDetector):
    """A detector of PyOD (Zhao et al. 2019, arXiv:1901.01588) by name, with its sign turned: higher is more normal.

    The threshold is set here, from the training events' scores. No model file holds such a detector. PyOD's ECOD and
    COPOD rank training and scored rows together, so that there an event's score depends on its batch.

    Args:
        detector: A key of ``DETECTORS``.
        settings: Arguments of PyOD's class, by name.
        contamination: Share of the training events beyond the threshold; ``auto`` is 0.1.
        random_state: Seed, for those that take one.
    """

    def __init__(
        self,
        detector: str = "HBOS",
        *,
        settings: Mapping[str, Any] | None = None,
        contamination: float | str = "auto",
        random_state: int | None = None,
    ) -> None:
        self.detector = detector
        self.settings = settings
        self.contamination = contamination
        self.random_state = random_state

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        if self.detector not in DETECTORS:
            raise unknown_name("PyOD detector", self.detector, DETECTORS)
        purpose = f"the detector {self.detector!r}"
        module = require(f"pyod.models.{DETECTORS[self.detector]}", "pyod", purpose)
        made = getattr(module, self.detector)
        seed = {"random_state": draw_seed(self.random_state)}
        takes_seed = "random_state" in inspect.signature(made).parameters
        self.detector_ = made(**(seed if takes_seed else {}) | dict(self.settings or {})).fit(X)
        return self._score(X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return -np.asarray(self.detector_.decision_function(X), dtype=np.float64)
