"""A workbench for hybrid quantum-classical machine learning.

The names below load when they are first used, so ``import qworkbench`` is instant and costs neither torch nor
Qiskit. Circuit builders live in the package ``circuits``.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qworkbench.backend import Backend
    from qworkbench.bundle import load, save
    from qworkbench.comparison import compare
    from qworkbench.datasets import load_dataset
    from qworkbench.engines.pennylane import from_pennylane
    from qworkbench.engines.primitives import from_primitives, from_qiskit_backend
    from qworkbench.engines.registry import open_engine
    from qworkbench.kernels import ProductKernel, ProjectedKernel, QuantumKernel, SumKernel, train_kernel
    from qworkbench.kernels.gram import gram_matrix
    from qworkbench.layer import QuantumLayer
    from qworkbench.models import (
        HybridClassifier,
        QGANDetector,
        QuantumGPClassifier,
        QuantumGPRegressor,
        QuantumKernelClassifier,
        QuantumKernelPCA,
        QuantumKernelRegressor,
        QuantumKernelRidge,
        QuantumOneClassSVM,
        QuantumSpectralClustering,
        VariationalClassifier,
        VariationalRegressor,
    )
    from qworkbench.report import write_report

__version__ = "0.1.0"
PROCESS = os.getpid()
"""Which process has imported this; a fork of it has none of its threads."""

_HOMES = {
    "Backend": "qworkbench.backend",
    "HybridClassifier": "qworkbench.models",
    "ProductKernel": "qworkbench.kernels",
    "ProjectedKernel": "qworkbench.kernels",
    "QGANDetector": "qworkbench.models",
    "QuantumGPClassifier": "qworkbench.models",
    "QuantumGPRegressor": "qworkbench.models",
    "QuantumKernel": "qworkbench.kernels",
    "QuantumKernelClassifier": "qworkbench.models",
    "QuantumKernelPCA": "qworkbench.models",
    "QuantumKernelRegressor": "qworkbench.models",
    "QuantumKernelRidge": "qworkbench.models",
    "QuantumLayer": "qworkbench.layer",
    "QuantumOneClassSVM": "qworkbench.models",
    "QuantumSpectralClustering": "qworkbench.models",
    "SumKernel": "qworkbench.kernels",
    "VariationalClassifier": "qworkbench.models",
    "VariationalRegressor": "qworkbench.models",
    "compare": "qworkbench.comparison",
    "from_pennylane": "qworkbench.engines.pennylane",
    "from_primitives": "qworkbench.engines.primitives",
    "from_qiskit_backend": "qworkbench.engines.primitives",
    "gram_matrix": "qworkbench.kernels.gram",
    "load": "qworkbench.bundle",
    "load_dataset": "qworkbench.datasets",
    "open_engine": "qworkbench.engines.registry",
    "save": "qworkbench.bundle",
    "train_kernel": "qworkbench.kernels",
    "write_report": "qworkbench.report",
}
"""Public name -> the module that defines it."""

__all__ = [
    "Backend",
    "HybridClassifier",
    "ProductKernel",
    "ProjectedKernel",
    "QGANDetector",
    "QuantumGPClassifier",
    "QuantumGPRegressor",
    "QuantumKernel",
    "QuantumKernelClassifier",
    "QuantumKernelPCA",
    "QuantumKernelRegressor",
    "QuantumKernelRidge",
    "QuantumLayer",
    "QuantumOneClassSVM",
    "QuantumSpectralClustering",
    "SumKernel",
    "VariationalClassifier",
    "VariationalRegressor",
    "__version__",
    "compare",
    "from_pennylane",
    "from_primitives",
    "from_qiskit_backend",
    "gram_matrix",
    "load",
    "load_dataset",
    "open_engine",
    "save",
    "train_kernel",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qworkbench' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _HOMES.keys())
