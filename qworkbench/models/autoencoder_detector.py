"""Anomaly detection by a small classical autoencoder, the opponent of the quantum detectors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from qworkbench.models.one_class import OneClassDetector
from qworkbench.models.qgan_detector import qgan_parameters
from qworkbench.models.variational import linear


class AutoencoderDetector(OneClassDetector):
    """The distance of an event from its reconstruction, by a network of as many parameters as the QGAN's two sides.

    Components are squeezed to half as many numbers and back, with a tanh layer on either side. The score is minus the
    root mean square of what is missed over all features in standard deviations, those parts included that the
    components leave out, as the residual of ``QGANDetector``. ``n_twin_parameters_`` is the QGAN's number.

    Args:
        n_qubits: Number of components, which is the number of qubits of the twin.
        n_layers: Depth of the twin; it sets the hidden width.
        epochs: Passes over the data.
        batch_size: Events a step.
        learning_rate: Adam's.
        contamination: Share of the events beyond the threshold; ``auto`` is 0.1.
        threshold: ``training`` or ``validation``: whose scores set it, those of all events or of the held-out ones.
        validation_fraction: Share of the events that is held out; none if they would be fewer than 10.
        random_state: Seed of weights and batches.
    """

    def __init__(
        self,
        n_qubits: int = 4,
        *,
        n_layers: int = 2,
        epochs: int = 60,
        batch_size: int = 64,
        learning_rate: float = 0.01,
        contamination: float | str = "auto",
        threshold: str = "training",
        validation_fraction: float = 0.1,
        random_state: int | None = None,
    ) -> None:
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.contamination = contamination
        self.threshold = threshold
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _build(self, n_components: int, rng: torch.Generator) -> nn.Module:
        code = max(1, n_components // 2)
        self.n_twin_parameters_ = sum(qgan_parameters(n_components, code, self.n_layers).values())
        # A hidden unit costs its inputs, its bias and its outputs, on both sides of the code.
        width = max(1, round((self.n_twin_parameters_ - code - n_components) / (2 * (n_components + code + 1))))
        sizes = (n_components, width, code, width, n_components)
        maps = [linear(n_in, n_out, rng) for n_in, n_out in pairwise(sizes)]
        return nn.Sequential(maps[0], nn.Tanh(), maps[1], maps[2], nn.Tanh(), maps[3])

    def _targets(self, module: nn.Module, events: torch.Tensor) -> torch.Tensor:
        return events

    def _oddness(self, X: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        missed = self.scaler_.standardise(X) - self.scaler_.unscale(outputs) @ self.scaler_.components_
        return np.sqrt((missed**2).mean(axis=1))

    def _missed(self, X: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))  # The residual has it all.

    def residuals(self, X: ArrayLike) -> np.ndarray:
        """Event minus its reconstruction, in the units of the data, shape ``(N, F)``."""
        data = self._checked(X)
        with torch.no_grad():
            outputs = self.module_(self._inputs(data)).numpy()
        return data - self.scaler_.restore(self.scaler_.unscale(outputs))
