"""The quantum models by name, with their search spaces. Nothing heavy is imported until a model is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qworkbench.catalog import ModelEntry


def _model(name: str, **settings: Any) -> Callable[[int], Any]:
    def make(seed: int) -> Any:
        from qworkbench import models

        return getattr(models, name)(random_state=seed, **settings)

    return make


_TRAINED = {"n_layers": [1, 2, 3], "learning_rate": [0.03, 0.1, 0.2], "weight_decay": [0.0, 1e-3]}

_KERNEL = {
    "feature_map": ["angle", "iqp", "zz"],
    "bandwidth": [0.03, 0.1, 0.3, 0.5, 1.0],
    "n_qubits": [4, 6, 8],
}
_C = {"C": [1.0, 10.0, 100.0]}

MODELS: dict[str, ModelEntry] = {
    "variational": ModelEntry(
        _model("VariationalClassifier"),
        "classification",
        "variational classifier: data re-uploading circuit, linear read-out",
        {**_TRAINED, "n_qubits": [2, 4, 6]},
        quantum=True,
    ),
    "hybrid": ModelEntry(
        _model("HybridClassifier"),
        "classification",
        "hybrid network: linear trunk, quantum layer, linear head",
        {**_TRAINED, "n_qubits": [2, 4, 6]},
        quantum=True,
    ),
    "quantum_kernel": ModelEntry(
        _model("QuantumKernelClassifier"),
        "classification",
        "support vector machine on the fidelity kernel",
        _KERNEL | _C,
        quantum=True,
    ),
    "projected_kernel": ModelEntry(
        _model("QuantumKernelClassifier", kernel="projected"),
        "classification",
        "support vector machine on one-body density matrices, Gaussian outer kernel",
        _KERNEL | _C | {"kernel": ["projected", "projected?outer=matern", "projected?outer=rational-quadratic"]},
        quantum=True,
    ),
    "quantum_gp": ModelEntry(
        _model("QuantumGPClassifier"),
        "classification",
        "Gaussian process on the fidelity kernel, hyper-parameters by marginal likelihood",
        _KERNEL | {"kernel": ["fidelity", "projected"]},
        quantum=True,
    ),
    "quantum_kernel_regressor": ModelEntry(
        _model("QuantumKernelRegressor"),
        "regression",
        "support vector regression on the fidelity kernel",
        _KERNEL | _C | {"kernel": ["fidelity", "projected"], "epsilon": [0.01, 0.1, 0.3]},
        quantum=True,
    ),
    "quantum_kernel_ridge": ModelEntry(
        _model("QuantumKernelRidge"),
        "regression",
        "kernel ridge regression on the fidelity kernel",
        _KERNEL | {"kernel": ["fidelity", "projected"], "alpha": [1e-3, 1e-2, 0.1, 1.0]},
        quantum=True,
    ),
    "quantum_gp_regressor": ModelEntry(
        _model("QuantumGPRegressor"),
        "regression",
        "Gaussian process on the fidelity kernel, hyper-parameters by marginal likelihood",
        _KERNEL | {"kernel": ["fidelity", "projected"]},
        quantum=True,
    ),
    "quantum_one_class_svm": ModelEntry(
        _model("QuantumOneClassSVM"),
        "anomaly",
        "one-class support vector machine on the fidelity kernel",
        _KERNEL | {"kernel": ["fidelity", "projected"], "nu": [0.01, 0.03, 0.1, 0.3, 0.5]},
        quantum=True,
    ),
    "variational_regressor": ModelEntry(
        _model("VariationalRegressor"),
        "regression",
        "variational regressor: data re-uploading circuit, linear read-out",
        {**_TRAINED, "n_qubits": [2, 4, 6]},
        quantum=True,
    ),
    "qgan": ModelEntry(
        _model("QGANDetector"),
        "anomaly",
        "QGAN anomaly detector: quantum generator and discriminator, AnoGAN-type score",
        {
            "n_layers": [1, 2, 3],
            "learning_rate": [0.01, 0.02, 0.05],
            "score_weight": [0.0, 0.1, 0.5],
            "discriminator": ["quantum", "classical"],
        },
        quantum=True,
    ),
    "quantum_autoencoder": ModelEntry(
        _model("QuantumAutoencoderDetector"),
        "anomaly",
        "quantum autoencoder: fidelity of the trash qubits",
        {"n_layers": [1, 2, 3, 4], "learning_rate": [0.02, 0.05, 0.1], "n_trash": [1, 2, 3]},
        quantum=True,
    ),
    "quantum_svdd": ModelEntry(
        _model("QuantumDeepSVDD"),
        "anomaly",
        "variational one-class classifier: distance of Bloch vectors from their centre",
        {"n_layers": [1, 2, 3, 4], "learning_rate": [0.02, 0.05, 0.1]},
        quantum=True,
    ),
    "born_machine": ModelEntry(
        _model("BornMachineDetector"),
        "anomaly",
        "log density of a Born machine over binned components",
        {"n_layers": [2, 3, 5], "learning_rate": [0.02, 0.05, 0.1], "n_components": [2, 3, 4], "n_bits": [2, 3]},
        quantum=True,
    ),
}
"""Name -> quantum model."""
