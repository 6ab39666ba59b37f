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
from qworkbench.models.adversarial_detector import AdversarialDetector, Networks
from qworkbench.models.base import near_identity, on_backend, seeded, with_errors
from qworkbench.models.gan import perceptron
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

    A fitted detector has ``generator_``, ``discriminator_``, ``encoder_``, ``scaler_``, ``offset_``, ``usage_`` and
    ``n_parameters_``; ``training_curves_`` by epoch (see ``train_gan``; the discriminator's non-saturating loss is
    ``2 log 2`` where it cannot tell), of which ``loss_curve_`` is the discriminator's; ``two_sample_``, tests of
    generated against held-out events (see ``two_sample_measures``; empty if none were held out); ``noise_auc_`` and
    ``score_weight_`` of the check against noise. Each call that scores runs one discriminator circuit an event, and
    ``bank_size`` generator circuits or, with an encoder, one an event.

    Args:
        n_qubits: Number of qubits: one for each of the first principal components; fewer for fewer features.
        n_latent: Number of latent angles; by default half the qubits, so that generated events form a surface
            from which an event can be far.
        n_layers: Depth of both circuits.
        discriminator: ``quantum`` or ``classical``.
        loss: A key of ``qworkbench.models.gan.LOSSES``.
        discriminator_steps: Discriminator steps for each step of the generator.
        penalty_weight: Weight of the gradient penalty of the Wasserstein loss.
        penalty: ``two-sided`` holds the critic's slope at 1, ``one-sided`` to at most 1; see ``gradient_penalty``.
        epochs: Passes over the data; by default at least 30, and as many as make 600 discriminator steps, so that few
            events train as long as many.
        batch_size: Events a step.
        learning_rate: Adam's, of both sides.
        score_weight: Weight w of the discriminator in the score, from 0 to 1.
        inversion: How an event's generated event is found: ``bank``, the nearest of ``bank_size`` generated events, or
            ``encoder``, a classical network of 32 hidden units that is trained after the generator (f-AnoGAN).
        latent_steps: Gradient steps that refine what was found, for each event by itself (AnoGAN). On collider
            events they did not help, and cost most of the time.
        bank_size: Number of generated events in the bank.
        contamination: Share of the events beyond the threshold; ``auto`` is 0.1.
        threshold: ``training``: the threshold is that quantile of the scores of all events given to ``fit``;
            ``validation``: of the held-out ones, which no side has seen.
        validation_fraction: Share of the events that is held out for ``two_sample_`` and the threshold; none if they
            would be fewer than 10.
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
        backend: Any = "statevector",
        gradient: str = "auto",
        random_state: int | None = None,
    ) -> None:
        self.n_qubits = n_qubits
        self.n_latent = n_latent
        self.n_layers = n_layers
        self.discriminator = discriminator
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
        layer = near_identity(QuantumLayer(circuit, z_each(n_components), backend, **settings), rng)
        return generator, nn.Sequential(layer, _average(n_components, rng))

    def _networks(self) -> Networks:
        # Whatever they were trained on, they score on the backend that is set now.
        backend = seeded(self.backend, self._seed)
        generator, discriminator = (on_backend(module, backend) for module in (self.generator_, self.discriminator_))
        return Networks(generator, discriminator, self.encoder_)

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
