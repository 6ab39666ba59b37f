"""Quantum models with the scikit-learn contract, imported when first named."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qworkbench.models.gan_detector import GANDetector
    from qworkbench.models.hybrid import HybridClassifier
    from qworkbench.models.kernel_classifier import QuantumKernelClassifier
    from qworkbench.models.qgan_detector import QGANDetector
    from qworkbench.models.variational import VariationalClassifier, VariationalRegressor

_HOME = {
    "GANDetector": "gan_detector",
    "HybridClassifier": "hybrid",
    "QGANDetector": "qgan_detector",
    "QuantumKernelClassifier": "kernel_classifier",
    "VariationalClassifier": "variational",
    "VariationalRegressor": "variational",
}
__all__ = [
    "GANDetector",
    "HybridClassifier",
    "QGANDetector",
    "QuantumKernelClassifier",
    "VariationalClassifier",
    "VariationalRegressor",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
