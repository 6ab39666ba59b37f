"""Anomaly detection by a quantum generative adversarial network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from circuits import qgan_discriminator, qgan_generator, z_each
from qworkbench.errors import unknown_name
from qworkbench.layer import QuantumLayer
from qworkbench.models.base import on_backend, seeded, with_errors
from qworkbench.models.gan import AdversarialDetector, perceptron
from qworkbench.models.variational import linear


def qgan_parameters(n_components: int, n_latent: int, n_layers: int) -> dict[str, int]:
    """Trainable parameters of the two quantum networks, by side."""
    generator = qgan_generator(n_components, n_latent=n_latent, n_layers=n_layers)
    discriminator = qgan_discriminator(n_components, n_layers=n_layers)
    return {"generator": generator.n_weights, "discriminator": discriminator.n_weights + n_components + 1}


class QGANDetector(AdversarialDetector):
    """A QGAN anomaly detector (after Bermot et al. 2023, arXiv:2304.14439), trained on both sides.

    Generator: latent angles, uploaded again in each layer, to one expectation value a component. Discriminator: a
    re-uploading circuit under a linear read-out, or a classical network of as many parameters. Features are scaled
    inside; see ``AdversarialDetector`` for that and for the score.

    A fitted detector has ``generator_``, ``discriminator_``, ``loss_curve_`` (the discriminator's by epoch: ``2 log 2``
    where it cannot tell), ``generator_loss_curve_``, ``offset_``, ``usage_`` and ``n_parameters_``. Each call that
    scores runs ``bank_size`` generator circuits and one discriminator circuit an event.

    Args:
        n_qubits: Number of qubits: one for each of the first principal components; fewer for fewer features.
        n_latent: Number of latent angles; by default half the qubits, so that generated events form a surface
            from which an event can be far.
        n_layers: Depth of both circuits.
        discriminator: ``quantum`` or ``classical``.
        loss: A key of ``qworkbench.models.gan.LOSSES``.
        epochs: Passes over the data.
        batch_size: Events a step.
        learning_rate: Adam's, of both sides.
        score_weight: Weight w of the discriminator in the score, from 0 to 1.
        latent_steps: Gradient steps that refine the nearest generated event, for each event by itself. On collider
            events they did not help, and cost most of the time.
        bank_size: Number of generated events among which the nearest is looked for.
        contamination: Share of the training events beyond the threshold; ``auto`` is 0.1.
        backend: Where the circuits run, in ``fit`` and when scoring; change it with ``set_params`` after training.
        gradient: ``auto``, ``adjoint``, ``parameter-shift`` or ``spsa``.
        random_state: Seed of weights, batches, latents and shots.
    """

    def __init__(
        self,
        n_qubits: int = 4,
        *,
        n_latent: int | None = None,
        n_layers: int = 2,
        discriminator: str = "quantum",
        loss: str = "non-saturating",
        epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 0.02,
        score_weight: float = 0.1,
        latent_steps: int = 0,
        bank_size: int = 1024,
        contamination: float | str = "auto",
        backend: Any = "statevector",
        gradient: str = "auto",
        random_state: int | None = None,
    ) -> None:
        self.n_qubits = n_qubits
        self.n_latent = n_latent
        self.n_layers = n_layers
        self.discriminator = discriminator
        self.loss = loss
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.score_weight = score_weight
        self.latent_steps = latent_steps
        self.bank_size = bank_size
        self.contamination = contamination
        self.backend = backend
        self.gradient = gradient
        self.random_state = random_state

    def _build(self, n_components: int, n_latent: int, rng: torch.Generator) -> tuple[nn.Module, nn.Module]:
        backend = seeded(self.backend, self._seed)
        settings: dict[str, Any] = {"gradient": self.gradient, "generator": rng, "dtype": torch.float64}
        circuit = qgan_generator(n_components, n_latent=n_latent, n_layers=self.n_layers)
        generator = QuantumLayer(circuit, z_each(n_components), backend, **settings)
        if self.discriminator == "classical":
            counts = qgan_parameters(n_components, n_latent, self.n_layers)
            return generator, perceptron(n_components, 1, counts["discriminator"], rng)
        if self.discriminator != "quantum":
            raise unknown_name("discriminator", self.discriminator, ("quantum", "classical"))
        circuit = qgan_discriminator(n_components, n_layers=self.n_layers)
        layer = QuantumLayer(circuit, z_each(n_components), backend, **settings)
        return generator, nn.Sequential(layer, _average(n_components, rng))

    def _networks(self) -> tuple[nn.Module, nn.Module]:
        # Whatever they were trained on, they score on the backend that is set now.
        backend = seeded(self.backend, self._seed)
        return on_backend(self.generator_, backend), on_backend(self.discriminator_, backend)

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Scores and their standard errors, each ``(N,)``; see ``models.base.with_errors``."""
        # All events are compared with the same generated ones, so that the groups cannot share a call.
        return with_errors(self, "score_samples", X, groups, together=False)


def _average(n_inputs: int, rng: torch.Generator) -> nn.Linear:
    """A linear read-out that starts as twice the mean: logits within [-2, 2], where the losses are not yet flat."""
    read_out = linear(n_inputs, 1, rng)
    with torch.no_grad():
        read_out.weight.fill_(2 / n_inputs)
        read_out.bias.zero_()
    return read_out
