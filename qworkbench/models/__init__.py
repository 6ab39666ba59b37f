"""Quantum models with the scikit-learn contract, imported when first named."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qworkbench.models.autoencoder_detector import AutoencoderDetector
    from qworkbench.models.born_machine import BornMachineDetector
    from qworkbench.models.gan_detector import GANDetector
    from qworkbench.models.hybrid import HybridClassifier
    from qworkbench.models.kernel_classifier import QuantumKernelClassifier
    from qworkbench.models.kernel_processes import QuantumGPClassifier, QuantumGPRegressor
    from qworkbench.models.kernel_regressors import QuantumKernelRegressor, QuantumKernelRidge
    from qworkbench.models.kernel_unsupervised import QuantumKernelPCA, QuantumOneClassSVM, QuantumSpectralClustering
    from qworkbench.models.pyod_detector import PyODDetector
    from qworkbench.models.qgan_detector import QGANDetector
    from qworkbench.models.quantum_autoencoder import QuantumAutoencoderDetector
    from qworkbench.models.quantum_svdd import QuantumDeepSVDD
    from qworkbench.models.variational import VariationalClassifier, VariationalRegressor

_HOME = {
    "AutoencoderDetector": "autoencoder_detector",
    "BornMachineDetector": "born_machine",
    "GANDetector": "gan_detector",
    "HybridClassifier": "hybrid",
    "PyODDetector": "pyod_detector",
    "QGANDetector": "qgan_detector",
    "QuantumAutoencoderDetector": "quantum_autoencoder",
    "QuantumDeepSVDD": "quantum_svdd",
    "QuantumGPClassifier": "kernel_processes",
    "QuantumGPRegressor": "kernel_processes",
    "QuantumKernelClassifier": "kernel_classifier",
    "QuantumKernelPCA": "kernel_unsupervised",
    "QuantumKernelRegressor": "kernel_regressors",
    "QuantumKernelRidge": "kernel_regressors",
    "QuantumOneClassSVM": "kernel_unsupervised",
    "QuantumSpectralClustering": "kernel_unsupervised",
    "VariationalClassifier": "variational",
    "VariationalRegressor": "variational",
}
__all__ = [
    "AutoencoderDetector",
    "BornMachineDetector",
    "GANDetector",
    "HybridClassifier",
    "PyODDetector",
    "QGANDetector",
    "QuantumAutoencoderDetector",
    "QuantumDeepSVDD",
    "QuantumGPClassifier",
    "QuantumGPRegressor",
    "QuantumKernelClassifier",
    "QuantumKernelPCA",
    "QuantumKernelRegressor",
    "QuantumKernelRidge",
    "QuantumOneClassSVM",
    "QuantumSpectralClustering",
    "VariationalClassifier",
    "VariationalRegressor",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
