"""The classical opponent of the QGAN detector: the same in all but the networks."""

from __future__ import annotations

import torch
from torch import nn

from qworkbench.models.adversarial_detector import AdversarialDetector, Networks
from qworkbench.models.gan import perceptron
from qworkbench.models.qgan_detector import qgan_parameters


class GANDetector(AdversarialDetector):
    """A GAN anomaly detector of two small perceptrons, each with as many parameters as in the quantum twin.

    The twin is ``QGANDetector`` with the same ``n_qubits``, ``n_latent`` and ``n_layers``; training, scaling and
    score are the same code. A fitted detector has the twin's attributes and, to compare, ``n_twin_parameters_``.

    Args:
        n_qubits: Number of components, which is the number of qubits of the twin.
        n_latent: Number of latent numbers; by default half the components.
        n_layers: Depth of the twin; it sets the hidden widths.
        loss: See ``QGANDetector``, as for all that follow.
        discriminator_steps: Discriminator steps for each step of the generator.
        penalty_weight: Weight of the gradient penalty of the Wasserstein loss.
        penalty: ``two-sided`` or ``one-sided``.
        epochs: Passes over the data.
        batch_size: Events a step.
        learning_rate: Adam's, of both sides.
        score_weight: Weight of the discriminator in the score, from 0 to 1.
        inversion: How an event's generated event is found.
        latent_steps: Gradient steps that refine it.
        bank_size: Number of generated events in the bank.
        contamination: Share of the events beyond the threshold.
        threshold: Whose scores set it.
        validation_fraction: Share of the events that is held out.
        random_state: Seed of weights, batches and latents.
    """

    def __init__(
        self,
        n_qubits: int = 4,
        *,
        n_latent: int | None = None,
        n_layers: int = 2,
        loss: str = "non-saturating",
        discriminator_steps: int = 1,
        penalty_weight: float = 1.0,
        penalty: str = "two-sided",
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 0.02,
        score_weight: float = 0.1,
        inversion: str = "bank",
        latent_steps: int = 0,
        bank_size: int = 1024,
        contamination: float | str = "auto",
        threshold: str = "training",
        validation_fraction: float = 0.1,
        random_state: int | None = None,
    ) -> None:
        self.n_qubits = n_qubits
        self.n_latent = n_latent
        self.n_layers = n_layers
        self.loss = loss
        self.discriminator_steps = discriminator_steps
        self.penalty_weight = penalty_weight
        self.penalty = penalty
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.score_weight = score_weight
        self.inversion = inversion
        self.latent_steps = latent_steps
        self.bank_size = bank_size
        self.contamination = contamination
        self.threshold = threshold
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _build(self, n_components: int, n_latent: int, rng: torch.Generator) -> tuple[nn.Module, nn.Module]:
        counts = qgan_parameters(n_components, n_latent, self.n_layers)
        self.n_twin_parameters_ = sum(counts.values())
        generator = perceptron(n_latent, n_components, counts["generator"], rng).append(nn.Tanh())
        return generator, perceptron(n_components, 1, counts["discriminator"], rng)

    def _networks(self) -> Networks:
        return Networks(self.generator_, self.discriminator_, self.encoder_)
