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
        {
            "feature_map": ["angle", "iqp", "zz"],
            "bandwidth": [0.03, 0.1, 0.3, 0.5, 1.0],
            "C": [1.0, 10.0, 100.0],
            "n_qubits": [4, 6, 8],
        },
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
}
"""Name -> quantum model."""
