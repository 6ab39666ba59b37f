"""Anomaly detection by a variational one-class classifier: quantum Deep SVDD."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from circuits import data_reuploading, pauli_each
from qworkbench.layer import QuantumLayer
from qworkbench.models.base import near_identity, seeded, with_errors
from qworkbench.models.one_class import OneClassDetector


class QuantumDeepSVDD(OneClassDetector):
    """The squared distance of an event's measured Bloch vectors from the centre of the normal ones.

    Deep SVDD (Ruff et al. 2018, PMLR 80, 4393) with a circuit as its network, as the variational one-class classifiers
    of Park et al. 2022 (arXiv:2210.02674) and Oh & Park 2023 (arXiv:2310.06375). The centre is the mean output before
    training and stays; the features are uploaded without trained scales, since scales of zero would map all events
    onto it. Features are scaled inside, as in ``QGANDetector``.

    Args:
        n_qubits: Number of qubits, one for each of the first principal components.
        n_layers: Layers of the re-uploading circuit.
        epochs: Passes over the data.
        batch_size: Events a step.
        learning_rate: Adam's.
        contamination: Share of the events beyond the threshold; ``auto`` is 0.1.
        threshold: ``training`` or ``validation``: whose scores set it, those of all events or of the held-out ones.
        validation_fraction: Share of the events that is held out; none if they would be fewer than 10.
        backend: Where it runs, in ``fit`` and when scoring.
        gradient: ``auto``, ``adjoint``, ``parameter-shift`` or ``spsa``.
        random_state: Seed of weights, batches and shots.
    """

    def __init__(
        self,
        n_qubits: int = 4,
        *,
        n_layers: int = 2,
        epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 0.05,
        contamination: float | str = "auto",
        threshold: str = "training",
        validation_fraction: float = 0.1,
        backend: Any = "statevector",
        gradient: str = "auto",
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
        self.backend = backend
        self.gradient = gradient
        self.random_state = random_state

    def _build(self, n_components: int, rng: torch.Generator) -> nn.Module:
        circuit = data_reuploading(n_components, n_layers=self.n_layers, trainable_scaling=False)
        backend = seeded(self.backend, self._seed)
        layer = QuantumLayer(
            circuit, pauli_each(circuit.n_qubits), backend, gradient=self.gradient, dtype=torch.float64
        )
        return near_identity(layer, rng)

    def _targets(self, module: nn.Module, events: torch.Tensor) -> torch.Tensor:
        return module(events).mean(0, keepdim=True)

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Scores and their standard errors, each ``(N,)``; see ``models.base.with_errors``."""
        return with_errors(self, "score_samples", X, groups)
