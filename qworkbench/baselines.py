"""The classical opponents by name, with their search spaces. Nothing heavy is imported until a model is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from qworkbench.catalog import ModelEntry


def _made(path: str, *, seeded: bool = True, **settings: Any) -> Callable[[int], Any]:
    module, _, name = path.partition(":")

    def make(seed: int) -> Any:
        random = {"random_state": seed} if seeded else {}
        return getattr(import_module(module), name)(**settings, **random)

    return make


def _scaled(make: Callable[[int], Any]) -> Callable[[int], Any]:
    """For regressors whose settings presume a target of unit variance."""

    def scaled(seed: int) -> Any:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.preprocessing import StandardScaler

        return TransformedTargetRegressor(make(seed), transformer=StandardScaler())

    return scaled


def _inner(space: dict[str, Any]) -> dict[str, Any]:
    return {f"regressor__{key}": values for key, values in space.items()}


_C = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
_GAMMA = ["scale", 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
_FOREST = {
    "max_depth": [None, 3, 6, 10],
    "min_samples_leaf": [1, 2, 5, 10],
    "max_features": ["sqrt", 0.5, 1.0],
}
_BOOSTING = {
    "learning_rate": [0.03, 0.1, 0.3],
    "max_leaf_nodes": [4, 8, 16, 31],
    "min_samples_leaf": [5, 10, 20],
    "l2_regularization": [0.0, 0.1, 1.0],
}
_NETWORK: dict[str, Any] = {
    "hidden_layer_sizes": [(8,), (32,), (100,), (32, 32)],
    "alpha": [1e-4, 1e-2, 1.0],
    "learning_rate_init": [1e-3, 3e-3, 1e-2],
}

_CLASSIFIERS = {
    "logistic_regression": ModelEntry(
        _made("sklearn.linear_model:LogisticRegression", max_iter=5000),
        "classification",
        "logistic regression",
        {"C": _C, "class_weight": [None, "balanced"]},
    ),
    "rbf_svm": ModelEntry(
        _made("sklearn.svm:SVC"),
        "classification",
        "support vector machine with an RBF kernel",
        {"C": _C, "gamma": _GAMMA},
    ),
    "random_forest": ModelEntry(
        _made("sklearn.ensemble:RandomForestClassifier", n_jobs=1), "classification", "random forest", _FOREST
    ),
    "gradient_boosting": ModelEntry(
        _made("sklearn.ensemble:HistGradientBoostingClassifier", early_stopping=False),
        "classification",
        "gradient-boosted trees",
        _BOOSTING,
    ),
    "mlp": ModelEntry(
        _made("sklearn.neural_network:MLPClassifier", max_iter=3000),
        "classification",
        "multi-layer perceptron",
        _NETWORK,
    ),
}

_REGRESSORS = {
    "ridge": ModelEntry(
        _made("sklearn.linear_model:Ridge"),
        "regression",
        "ridge regression",
        {"alpha": [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3]},
    ),
    "rbf_svr": ModelEntry(
        _scaled(_made("sklearn.svm:SVR", seeded=False)),
        "regression",
        "support vector regression with an RBF kernel",
        _inner({"C": _C, "gamma": _GAMMA, "epsilon": [0.01, 0.1, 0.3]}),
    ),
    "random_forest_regressor": ModelEntry(
        _made("sklearn.ensemble:RandomForestRegressor", n_jobs=1), "regression", "random forest", _FOREST
    ),
    "gradient_boosting_regressor": ModelEntry(
        _made("sklearn.ensemble:HistGradientBoostingRegressor", early_stopping=False),
        "regression",
        "gradient-boosted trees",
        _BOOSTING,
    ),
    "mlp_regressor": ModelEntry(
        _scaled(_made("sklearn.neural_network:MLPRegressor", max_iter=3000)),
        "regression",
        "multi-layer perceptron",
        _inner(_NETWORK),
    ),
}

_GAN: dict[str, Any] = {
    "n_layers": [1, 2, 3],
    "learning_rate": [0.01, 0.02, 0.05],
    "score_weight": [0.0, 0.1, 0.5],
}

_DETECTORS = {
    "mahalanobis": ModelEntry(
        _made("qworkbench.models.density_detectors:MahalanobisDetector", seeded=False),
        "anomaly",
        "distance in units of the covariance",
        {"shrinkage": [0.0, 0.001, 0.01, 0.03, 0.1, 0.3]},
    ),
    "isolation_forest": ModelEntry(
        _made("sklearn.ensemble:IsolationForest", n_jobs=1),
        "anomaly",
        "isolation forest",
        {"n_estimators": [100, 300], "max_samples": ["auto", 0.25, 0.5, 1.0], "max_features": [0.5, 1.0]},
    ),
    "one_class_svm": ModelEntry(
        _made("sklearn.svm:OneClassSVM", seeded=False, nu=0.1),
        "anomaly",
        "one-class support vector machine with an RBF kernel",
        {"nu": [0.01, 0.03, 0.1, 0.3, 0.5], "gamma": _GAMMA},
    ),
    "gmm": ModelEntry(
        _made("qworkbench.models.density_detectors:GaussianMixtureDetector"),
        "anomaly",
        "density of a mixture of Gaussians",
        {
            "n_components": [1, 2, 3, 5, 8, 12],
            "covariance_type": ["full", "tied", "diag"],
            "reg_covar": [1e-6, 1e-4, 1e-2],
        },
    ),
    "lof": ModelEntry(
        _made("sklearn.neighbors:LocalOutlierFactor", seeded=False, novelty=True),
        "anomaly",
        "local outlier factor: density against that of the neighbours",
        {"n_neighbors": [5, 10, 20, 40, 80], "p": [1, 2]},
    ),
    "autoencoder": ModelEntry(
        _made("qworkbench.models.autoencoder_detector:AutoencoderDetector"),
        "anomaly",
        "classical autoencoder with as many parameters as the QGAN detector",
        {"n_layers": [1, 2, 3], "learning_rate": [0.003, 0.01, 0.03], "epochs": [30, 60, 120]},
    ),
    "gan": ModelEntry(
        _made("qworkbench.models.gan_detector:GANDetector"),
        "anomaly",
        "classical twin of the QGAN detector: as many parameters, the same training and score",
        _GAN,
    ),
    "anogan": ModelEntry(
        _made("qworkbench.models.gan_detector:GANDetector", latent_steps=20),
        "anomaly",
        "the classical twin scored as AnoGAN: gradient steps on the latent point of each event",
        _GAN,
    ),
}

_PYOD = {
    "pyod_hbos": ModelEntry(
        _made("qworkbench.models.pyod_detector:PyODDetector", detector="HBOS"),
        "anomaly",
        "PyOD's histogram-based outlier score",
        {"settings": [{"n_bins": n, "alpha": a} for n in (5, 10, 20) for a in (0.1, 0.3)]},
        extra="pyod",
    ),
    "pyod_knn": ModelEntry(
        _made("qworkbench.models.pyod_detector:PyODDetector", detector="KNN"),
        "anomaly",
        "PyOD's distance to the k-th neighbour",
        {"settings": [{"n_neighbors": n, "method": m} for n in (3, 5, 10, 20) for m in ("largest", "mean")]},
        extra="pyod",
    ),
    "pyod_loda": ModelEntry(
        _made("qworkbench.models.pyod_detector:PyODDetector", detector="LODA"),
        "anomaly",
        "PyOD's ensemble of random projections",
        {"settings": [{"n_bins": n, "n_random_cuts": c} for n in (5, 10, 20) for c in (50, 100)]},
        extra="pyod",
    ),
}
"""Only where they are named: what is compared must not depend on what happens to be installed."""

BASELINES: dict[str, ModelEntry] = _CLASSIFIERS | _REGRESSORS | _DETECTORS | _PYOD
"""Name -> classical model."""
