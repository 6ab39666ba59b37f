"""What a model file may hold, by name, and the two values that need care: circuits and refusals."""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, qpy
from qiskit.exceptions import QiskitError
from sklearn.base import BaseEstimator, OutlierMixin
from torch import nn

from circuits import AmplitudeEncodingGate
from qworkbench.errors import unknown_name
from qworkbench.models.hybrid import ToAngles

MIN_QPY = 13
"""Older QPY could hold pickled expressions (CVE-2025-2000)."""

CLASSES: dict[str, str] = {
    "AutoencoderDetector": "qworkbench.models.autoencoder_detector",
    "BornMachineDetector": "qworkbench.models.born_machine",
    "ComponentScaler": "qworkbench.models.components",
    "EmpiricalCovariance": "sklearn.covariance",
    "GANDetector": "qworkbench.models.gan_detector",
    "GaussianMixture": "sklearn.mixture",
    "GaussianMixtureDetector": "qworkbench.models.density_detectors",
    "HybridClassifier": "qworkbench.models.hybrid",
    "KernelCenterer": "sklearn.preprocessing",
    "KernelPCA": "sklearn.decomposition",
    "KernelRidge": "sklearn.kernel_ridge",
    "LabelEncoder": "sklearn.preprocessing",
    "LedoitWolf": "sklearn.covariance",
    "LogisticRegression": "sklearn.linear_model",
    "MahalanobisDetector": "qworkbench.models.density_detectors",
    "MaxAbsScaler": "sklearn.preprocessing",
    "MinMaxScaler": "sklearn.preprocessing",
    "Normalizer": "sklearn.preprocessing",
    "OneClassSVM": "sklearn.svm",
    "PCA": "sklearn.decomposition",
    "Pipeline": "sklearn.pipeline",
    "QGANDetector": "qworkbench.models.qgan_detector",
    "QuantumAutoencoderDetector": "qworkbench.models.quantum_autoencoder",
    "QuantumDeepSVDD": "qworkbench.models.quantum_svdd",
    "QuantumGPClassifier": "qworkbench.models.kernel_processes",
    "QuantumGPRegressor": "qworkbench.models.kernel_processes",
    "QuantumKernelClassifier": "qworkbench.models.kernel_classifier",
    "QuantumKernelPCA": "qworkbench.models.kernel_unsupervised",
    "QuantumKernelRegressor": "qworkbench.models.kernel_regressors",
    "QuantumKernelRidge": "qworkbench.models.kernel_regressors",
    "QuantumOneClassSVM": "qworkbench.models.kernel_unsupervised",
    "QuantumSpectralClustering": "qworkbench.models.kernel_unsupervised",
    "Ridge": "sklearn.linear_model",
    "RobustScaler": "sklearn.preprocessing",
    "Safeguard": "qworkbench.models.safeguard",
    "SVC": "sklearn.svm",
    "SVR": "sklearn.svm",
    "ShrunkCovariance": "sklearn.covariance",
    "SimpleImputer": "sklearn.impute",
    "StandardScaler": "sklearn.preprocessing",
    "TransformedTargetRegressor": "sklearn.compose",
    "TruncatedSVD": "sklearn.decomposition",
    "VariationalClassifier": "qworkbench.models.variational",
    "VariationalRegressor": "qworkbench.models.variational",
}
"""Estimator -> module that it is imported from; files hold the name alone. Once fitted, all are plain values."""

SINCE: dict[str, int] = dict.fromkeys(
    (
        "AutoencoderDetector",
        "BornMachineDetector",
        "GANDetector",
        "QGANDetector",
        "QuantumAutoencoderDetector",
        "QuantumDeepSVDD",
        "QuantumOneClassSVM",
    ),
    2,
)
"""Estimator -> the first schema whose files hold all that scores it, where that is not 1."""

MODULES: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "Dropout": (nn.Dropout, ("p",)),
    "ELU": (nn.ELU, ("alpha",)),
    "GELU": (nn.GELU, ()),
    "Identity": (nn.Identity, ()),
    "LeakyReLU": (nn.LeakyReLU, ("negative_slope",)),
    "Linear": (nn.Linear, ("in_features", "out_features")),
    "ReLU": (nn.ReLU, ()),
    "Sequential": (nn.Sequential, ()),
    "Sigmoid": (nn.Sigmoid, ()),
    "SiLU": (nn.SiLU, ()),
    "Softplus": (nn.Softplus, ()),
    "Tanh": (nn.Tanh, ()),
    "ToAngles": (ToAngles, ()),
}
"""Torch modules that our models are made of, with the attributes that their constructors take by name."""


def class_name(estimator: BaseEstimator) -> str | None:
    """The name under which a model file knows the estimator's class, if it does."""
    name = type(estimator).__name__
    known = name in CLASSES and getattr(import_module(CLASSES[name]), name) is type(estimator)
    return name if known else None


def class_of(name: str) -> type[BaseEstimator]:
    """The estimator class of that name.

    Raises:
        ValueError: If it is not in ``CLASSES``.
    """
    if name not in CLASSES:
        raise unknown_name("class in a model file", name, CLASSES)
    found: type[BaseEstimator] = getattr(import_module(CLASSES[name]), name)
    return found


def read_circuit(written: bytes) -> QuantumCircuit:
    """The circuit of QPY bytes; Qiskit reads our own gate as an opaque one, which is put right.

    Raises:
        ValueError: If the format is too old to be safe, or the bytes are no circuit.
    """
    if written[:6] != b"QISKIT" or written[6] < MIN_QPY:
        raise ValueError(f"expected a circuit in QPY format {MIN_QPY} or newer")
    try:
        circuit = qpy.load(io.BytesIO(written))[0]
    except QiskitError as error:
        raise ValueError(f"cannot read a circuit of the model: {error}") from error
    for index, instruction in enumerate(circuit.data):
        name = instruction.operation.name
        if name in ("amplitude_encoding", "amplitude_encoding_dg"):
            gate = AmplitudeEncodingGate(instruction.operation.params, inverted=name.endswith("_dg"))
            circuit.data[index] = instruction.replace(operation=gate)
    return circuit


def refusal(value: Any, where: str) -> TypeError:
    """What ``save`` raises for a value at the spot ``where`` that it cannot save."""
    kind = value if isinstance(value, np.dtype) else type(value).__name__
    if isinstance(value, OutlierMixin):
        able = [name for name in CLASSES if issubclass(class_of(name), OutlierMixin)]
        return TypeError(
            f"{where}: {kind} cannot be saved, since a model file holds arrays and no trees, indices or code "
            "of other packages. Keep the training rows and score where you train (qworkbench detect TRAIN SCORE; "
            f"the same rows and --seed give the same scores), or train a detector that can be: {', '.join(able)}"
        )
    return TypeError(f"{where}: {kind} cannot be saved; what can: {', '.join(CLASSES)}")
