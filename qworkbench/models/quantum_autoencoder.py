"""Anomaly detection by a quantum autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from circuits import quantum_autoencoder, trash_fidelity
from qworkbench.layer import QuantumLayer
from qworkbench.models.base import near_identity, seeded, with_errors
from qworkbench.models.detector import check_settings
from qworkbench.models.one_class import OneClassDetector


class QuantumAutoencoderDetector(OneClassDetector):
    """The fidelity of the trash state (Ngairangbam et al. 2022, arXiv:2112.04958).

    A circuit learns to bring the trash qubits of encoded normal events to ``|0...0>``. The score of an event is the
    probability of finding them there, from 0 to 1, less what ``Safeguard`` adds: what the components leave out.
    Features are scaled inside, as in ``QGANDetector``; a single component is encoded on two qubits.

    Args:
        n_qubits: Number of qubits, one for each of the first principal components.
        n_trash: Number of trash qubits; by default half the qubits.
        n_layers: Entangling layers of the trained circuit.
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
        n_trash: int | None = None,
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
        self.n_trash = n_trash
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
        if self.n_trash is not None:
            check_settings(self, {"n_trash": 1})
        circuit = quantum_autoencoder(n_components, max(2, n_components), n_layers=self.n_layers)
        read_out = trash_fidelity(circuit.n_qubits, self.n_trash or circuit.n_qubits // 2)
        backend = seeded(self.backend, self._seed)
        return near_identity(QuantumLayer(circuit, read_out, backend, gradient=self.gradient, dtype=torch.float64), rng)

    def _targets(self, module: nn.Module, events: torch.Tensor) -> torch.Tensor:
        return events.new_ones(1, 1)

    def _loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (targets - outputs).mean()

    def _oddness(self, X: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return -outputs[:, 0]

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Scores and their standard errors, each ``(N,)``; see ``models.base.with_errors``."""
        return with_errors(self, "score_samples", X, groups)
