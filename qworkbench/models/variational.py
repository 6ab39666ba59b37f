"""Variational models: a trained circuit under a linear read-out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from qiskit.quantum_info import SparsePauliOp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from circuits import CIRCUITS, ParameterizedCircuit
from qworkbench.layer import QuantumLayer
from qworkbench.models.base import (
    draw_seed,
    location_and_scale,
    n_parameters,
    near_identity,
    on_backend,
    resolve_circuit,
    resolve_observables,
    seeded,
    tensor,
    usage,
    with_errors,
)
from qworkbench.training import train


def encode_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes (sorted) and the index of each label among them.

    Raises:
        ValueError: If the target is continuous or has fewer than two classes.
    """
    check_classification_targets(y)
    classes, index = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"expected at least 2 classes, got 1 class: {classes.tolist()[0]!r}")
    return classes, index


def read_out(layer: QuantumLayer, n_outputs: int, generator: torch.Generator) -> nn.Sequential:
    """The layer and a linear map of its expectation values, started from ``generator``."""
    return nn.Sequential(layer, linear(layer.n_outputs, n_outputs, generator))


def linear(n_inputs: int, n_outputs: int, generator: torch.Generator) -> nn.Linear:
    """A float64 linear map started from ``generator``; torch's own start is drawn from its global state."""
    made = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, dtype=torch.float64)
    bound = 1 / np.sqrt(n_inputs)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return made


class TrainedModel(BaseEstimator):
    """Fitting and evaluating a torch module: what the trained models share. Abstract.

    A fitted model has ``module_``, ``loss_curve_``, ``usage_`` and ``n_parameters_``.
    """

    def _build(self, n_features: int, n_outputs: int, backend: Any, generator: torch.Generator) -> nn.Module:
        """The untrained module ``(B, n_features) -> (B, n_outputs)``."""
        raise NotImplementedError

    def _fit_module(
        self, X: np.ndarray, targets: torch.Tensor, n_outputs: int, loss: Callable[..., torch.Tensor]
    ) -> Self:
        # One seed for the weights, the batch order and the shots.
        self._seed = draw_seed(self.random_state)
        generator = torch.Generator().manual_seed(self._seed)
        module = self._build(X.shape[1], n_outputs, seeded(self.backend, self._seed), generator).double()
        history = train(
            module,
            loss,
            tensor(X),
            targets,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            generator=generator,
            shots=self.shot_schedule,
        )
        self.module_, self.loss_curve_ = module, history.losses
        self.usage_, self.n_parameters_ = usage(module), n_parameters(module)
        self.n_iter_ = len(history.losses)
        return self

    def _evaluate(self, X: ArrayLike) -> np.ndarray:
        """The module's output on ``self.backend``, whatever it was trained on."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        module = on_backend(self.module_, seeded(self.backend, self._seed))
        with torch.no_grad():
            return module(tensor(data)).numpy()


class TrainedClassifier(ClassifierMixin, TrainedModel):
    """A module trained with cross entropy. Abstract."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on ``X`` of shape ``(N, F)`` and labels ``y`` of shape ``(N,)``, numbers or strings.

        Raises:
            ValueError: If the data are not finite, the target is continuous or has one class, or a setting is wrong.
        """
        data, labels = validate_data(self, X, y, dtype=np.float64)
        self.classes_, index = encode_labels(labels)
        return self._fit_module(data, torch.tensor(index), len(self.classes_), nn.functional.cross_entropy)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Class probabilities of shape ``(N, n_classes)``, columns as in ``classes_``."""
        return torch.softmax(torch.as_tensor(self._evaluate(X)), dim=1).numpy()

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities and their standard errors, each ``(N, n_classes)``; see ``models.base.with_errors``."""
        return with_errors(self, "predict_proba", X, groups)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Labels of shape ``(N,)``."""
        index = self._evaluate(X).argmax(axis=1)
        return self.classes_[index]


class VariationalClassifier(TrainedClassifier):
    """A variational quantum classifier (Farhi & Neven 2018; Havlicek et al. 2019), by default with data re-uploading.

    The logits are a trained linear map of the measured expectation values. The model does not scale its data: put a
    scaler in front, since features are rotation angles in radians.

    Args:
        circuit: A name (``circuits.CIRCUITS``) or a circuit with one input a feature.
        n_qubits: Width of a named circuit; by default the number of features, at least 2 and at most 4 (further
            features are uploaded in turn).
        n_layers: Depth of a named circuit.
        observables: ``z_each``, ``z_first``, ``parity`` or a list of observables.
        backend: Where it runs, in ``fit`` and in ``predict``; change it with ``set_params`` after training.
        gradient: ``auto``, ``adjoint``, ``parameter-shift`` or ``spsa``.
        epochs: Passes over the data.
        batch_size: Samples a step.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        shot_schedule: Shots a circuit while training, such as ``growing:64-4096``; see ``ShotSchedule.parse``. By
            default those of the backend.
        random_state: Seed of weights, batches and shots.
    """

    def __init__(
        self,
        circuit: str | ParameterizedCircuit = "data_reuploading",
        *,
        n_qubits: int | None = None,
        n_layers: int = 2,
        observables: str | Sequence[SparsePauliOp] = "z_each",
        backend: Any = "statevector",
        gradient: str = "auto",
        epochs: int = 40,
        batch_size: int = 32,
        learning_rate: float = 0.1,
        weight_decay: float = 0.0,
        shot_schedule: str | int | None = None,
        random_state: int | None = None,
    ) -> None:
        self.circuit = circuit
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.observables = observables
        self.backend = backend
        self.gradient = gradient
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.shot_schedule = shot_schedule
        self.random_state = random_state

    def _build(self, n_features: int, n_outputs: int, backend: Any, generator: torch.Generator) -> nn.Module:
        return _variational_module(self, n_features, n_outputs, backend, generator)


def _variational_module(
    model: Any, n_features: int, n_outputs: int, backend: Any, generator: torch.Generator
) -> nn.Module:
    circuit = resolve_circuit(model.circuit, CIRCUITS, n_features, model.n_qubits, model.n_layers)
    observables = resolve_observables(model.observables, circuit.n_qubits)
    layer = QuantumLayer(circuit, observables, backend, gradient=model.gradient, dtype=torch.float64)
    return read_out(near_identity(layer, generator), n_outputs, generator)


class VariationalRegressor(RegressorMixin, TrainedModel):
    """A variational quantum regressor: squared error on the standardised target; otherwise as the classifier.

    Args:
        circuit: See ``VariationalClassifier``, as for all that follow.
        n_qubits: Width of a named circuit.
        n_layers: Depth of a named circuit.
        observables: What is measured.
        backend: Where it runs.
        gradient: Gradient method.
        epochs: Passes over the data.
        batch_size: Samples a step.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        shot_schedule: Shots while training.
        random_state: Seed.
    """

    def __init__(
        self,
        circuit: str | ParameterizedCircuit = "data_reuploading",
        *,
        n_qubits: int | None = None,
        n_layers: int = 2,
        observables: str | Sequence[SparsePauliOp] = "z_each",
        backend: Any = "statevector",
        gradient: str = "auto",
        epochs: int = 40,
        batch_size: int = 32,
        learning_rate: float = 0.1,
        weight_decay: float = 0.0,
        shot_schedule: str | int | None = None,
        random_state: int | None = None,
    ) -> None:
        self.circuit = circuit
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.observables = observables
        self.backend = backend
        self.gradient = gradient
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.shot_schedule = shot_schedule
        self.random_state = random_state

    def _build(self, n_features: int, n_outputs: int, backend: Any, generator: torch.Generator) -> nn.Module:
        return _variational_module(self, n_features, n_outputs, backend, generator)

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on ``X`` of shape ``(N, F)`` and targets ``y`` of shape ``(N,)``.

        Raises:
            ValueError: If the data are not finite or a setting is wrong.
        """
        data, values = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.target_mean_, self.target_scale_ = location_and_scale(values)
        targets = tensor((values - self.target_mean_) / self.target_scale_)[:, None]
        return self._fit_module(data, targets, 1, nn.functional.mse_loss)

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Targets and their standard errors, each ``(N,)``; see ``models.base.with_errors``."""
        return with_errors(self, "predict", X, groups)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Targets of shape ``(N,)``."""
        standardised = self._evaluate(X)[:, 0]
        return standardised * self.target_scale_ + self.target_mean_
