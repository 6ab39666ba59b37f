"""What the GAN detectors share: the search for the event's own generated event, the score, and its checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn.functional import mse_loss, softplus

from qworkbench.errors import unknown_name
from qworkbench.models.base import draw_seed, n_parameters, tensor, usage
from qworkbench.models.components import ANGLE_RANGE, ComponentScaler
from qworkbench.models.detector import ThresholdedDetector, check_settings, hold_out
from qworkbench.models.gan import LOSSES, PENALTIES, discriminate, draw_latents, frozen, train_gan, two_maps
from qworkbench.models.safeguard import Safeguard, draw_trial
from qworkbench.models.two_sample import two_sample_measures
from qworkbench.training import train

INVERSIONS = ("bank", "encoder")
"""Where the search for an event's latent angles starts: at the nearest of a bank, or where an encoder says."""
LATENT_RATE = 0.1
"""Step of the latent search in radians."""
ENCODER_UNITS = 32
"""Hidden units of the encoder; it is no part of the comparison, since both twins have the same."""
CHUNK = 20_000
"""Events that are searched for or discriminated at a time."""
STEPS = 600
"""Discriminator steps that a training makes at least where ``epochs`` is not given, ..."""
PASSES = 30
"""... and passes over the events."""
WEIGHTS = (0.0, 0.5, 0.9)
"""Weights of the discriminator that are tried where the one that was set does not do; its term alone would be blind to
what lies beyond the angles."""

Generate = Callable[[torch.Tensor], torch.Tensor]
"""``(B, n_latent) -> (B, n_components)``, in the units of the search's targets."""


class Networks(NamedTuple):
    """A trained pair, and the encoder if there is one."""

    generator: nn.Module
    discriminator: nn.Module
    encoder: nn.Module | None


def chunks(n_rows: int) -> Iterator[slice]:
    """Consecutive slices of at most ``CHUNK`` rows."""
    return (slice(start, start + CHUNK) for start in range(0, n_rows, CHUNK))


def refined(generate: Generate, latents: torch.Tensor, targets: torch.Tensor, n_steps: int) -> torch.Tensor:
    """The best generated event on each target's own way down: Adam on its latents, no target depending on another.

    Schlegl et al. 2017 (arXiv:1703.05921, section 2.2), with the residual alone as loss.

    Args:
        generate: See ``Generate``.
        latents: Where each target starts, shape ``(N, n_latent)``.
        targets: Shape ``(N, n_components)``.
        n_steps: Gradient steps; 0 generates from the start.
    """
    moving = latents.clone().requires_grad_(n_steps > 0)
    # Adam treats every entry by itself, so that a sum of losses leaves the events independent.
    optimizer = torch.optim.Adam([moving], lr=LATENT_RATE)
    best, least = torch.zeros_like(targets), torch.full((len(targets),), math.inf, dtype=targets.dtype)
    for remaining in range(n_steps, -1, -1):
        events = generate(moving)
        distance = (events - targets).square().sum(1)
        better = distance.detach() < least
        best[better], least[better] = events.detach()[better], distance.detach()[better]
        if remaining:
            optimizer.zero_grad()
            distance.sum().backward()
            optimizer.step()
    return best


class AdversarialDetector(ThresholdedDetector):
    """Fitting and scoring of a generator against a discriminator: all but the networks. Abstract.

    Features are standardised and turned to their principal components, the first ``n_qubits`` of them; training
    data alone set the scale. An event x scores ``-((1 - w) R + w D)``, as AnoGAN (Schlegl et al. 2017,
    arXiv:1703.05921, eq. 5): R is the root mean square of ``x - x_G`` over all features in standard deviations,
    with ``x_G`` the generated event that was found for it, and ``D = -log sigmoid(discriminator(x))``; a critic's
    mean over the training events is taken off first, since its zero means nothing.

    ``fit`` ends with a check: events of the training background must score above uniform noise in their box more
    often than not, safely. If they do not, the w of ``WEIGHTS`` that does it best is taken
    (``score_weight_``), and if that does not do either, the densities of the features join in; see ``Safeguard``.
    """

    def _build(self, n_components: int, n_latent: int, rng: torch.Generator) -> tuple[nn.Module, nn.Module]:
        """Untrained generator ``(B, n_latent) -> (B, n_components)`` and discriminator ``-> (B, 1)``."""
        raise NotImplementedError

    def _networks(self) -> Networks:
        """The trained networks, ready to score."""
        raise NotImplementedError

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        self._check_settings()
        self._seed = draw_seed(self.random_state)
        rng = torch.Generator().manual_seed(self._seed)
        train_events, held_out = hold_out(self, X, self._seed)
        self.scaler_ = ComponentScaler(self.n_qubits).fit(train_events)
        networks = self._train(train_events, held_out, rng)
        self.score_weight_, self.safeguard_ = self._checked_score(train_events, networks)
        self.noise_auc_ = self.safeguard_.noise_auc_
        scores = self._weighted(held_out if self.threshold == "validation" else X, networks)
        self.generator_, self.discriminator_, self.encoder_ = networks
        self.usage_, self.n_parameters_ = (of(*filter(None, networks)) for of in (usage, n_parameters))
        return scores

    def _train(self, train_events: np.ndarray, held_out: np.ndarray, rng: torch.Generator) -> Networks:
        events, unseen = (tensor(self.scaler_.transform(part)) for part in (train_events, held_out))
        n_components = events.shape[1]
        n_latent = max(1, n_components // 2) if self.n_latent is None else self.n_latent
        generator, discriminator = self._build(n_components, n_latent, rng)
        loss = LOSSES[self.loss]
        self.training_curves_ = train_gan(
            generator,
            discriminator,
            events,
            n_latent=n_latent,
            loss=loss,
            epochs=self._n_epochs(len(events)),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            rng=rng,
            discriminator_steps=self.discriminator_steps,
            penalty_weight=self.penalty_weight,
            penalty=self.penalty,
            held_out=unseen if len(unseen) else None,
        )
        self.loss_curve_ = self.training_curves_["discriminator"]
        self.generator_loss_curve_ = self.training_curves_["generator"]
        self.latents_ = draw_latents(self.bank_size, n_latent, rng).numpy()
        networks = Networks(generator, discriminator, self._trained_encoder(generator, events, n_latent, rng))
        with torch.no_grad():
            self.logit_centre_ = float(discriminate(discriminator, events).mean()) if loss.critic else 0.0
            made = generator(tensor(self.latents_[: len(unseen)])).numpy() if len(unseen) else None
        self.two_sample_ = {} if made is None else two_sample_measures(unseen.numpy(), made, self._seed)
        return networks

    def _n_epochs(self, n_events: int) -> int:
        if self.epochs is not None:
            return int(self.epochs)
        return max(PASSES, math.ceil(STEPS / math.ceil(n_events / self.batch_size)))

    def _trained_encoder(
        self, generator: nn.Module, events: torch.Tensor, n_latent: int, rng: torch.Generator
    ) -> nn.Module | None:
        """Events to latent angles, trained on ``|x - G(E(x))|**2`` (izi of Schlegl et al. 2019, f-AnoGAN)."""
        if self.inversion != "encoder":
            return None
        encoder = two_maps(events.shape[1], ENCODER_UNITS, n_latent, rng)
        with frozen(generator):
            history = train(
                nn.Sequential(encoder, generator),
                mse_loss,
                events.clamp(-ANGLE_RANGE, ANGLE_RANGE),
                events.clamp(-ANGLE_RANGE, ANGLE_RANGE),
                epochs=self._n_epochs(len(events)),
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                generator=rng,
            )
        self.training_curves_["encoder"] = history.losses
        return encoder

    def _check_settings(self) -> None:
        chosen = ("GAN loss", self.loss, LOSSES), ("penalty", self.penalty, PENALTIES)
        for kind, name, known in (*chosen, ("inversion", self.inversion, INVERSIONS)):
            if name not in known:
                raise unknown_name(kind, name, known)
        least = dict.fromkeys(("n_qubits", "n_layers", "batch_size", "bank_size", "discriminator_steps"), 1)
        optional = {name: 1 for name in ("epochs", "n_latent") if getattr(self, name) is not None}
        check_settings(self, least | optional | {"latent_steps": 0})
        if not 0 <= self.score_weight <= 1:
            raise ValueError(f"expected score_weight in [0, 1], got {self.score_weight!r}")
        if not 0 <= self.penalty_weight < math.inf:
            raise ValueError(f"expected penalty_weight of at least 0, got {self.penalty_weight!r}")

    def _checked_score(self, train_events: np.ndarray, networks: Networks) -> tuple[float, Safeguard]:
        """The weight of the discriminator's term, and what keeps the score above that of noise with it."""
        trial = draw_trial(train_events, self._seed)
        parts = self._parts(trial.rows, networks)
        chosen = self.score_weight
        if trial.auc(_mixed(*parts, chosen)) < trial.safe:
            chosen = max((self.score_weight, *WEIGHTS), key=lambda weight: trial.auc(_mixed(*parts, weight)))
        missed = np.zeros(len(trial.rows))  # The residual has it all.
        return chosen, Safeguard().fit(train_events, trial, _mixed(*parts, chosen), missed)

    def _generate(self, generator: nn.Module) -> Generate:
        """Latents to generated events as principal components of standardised features."""
        return lambda latents: self.scaler_.unscale(generator(latents))

    def _nearest(self, X: np.ndarray, networks: Networks) -> np.ndarray:
        """Principal components of the generated event that was found for each event, shape ``(N, K)``."""
        generate, latents = self._generate(networks.generator), tensor(self.latents_)
        scaled = tensor(self.scaler_.transform(X))
        targets = self.scaler_.unscale(scaled)
        with frozen(networks.generator), torch.no_grad():
            if networks.encoder is not None:
                starts = networks.encoder(scaled.clamp(-ANGLE_RANGE, ANGLE_RANGE))
            else:
                bank = generate(latents)
                index = torch.as_tensor(cKDTree(bank.numpy()).query(targets.numpy())[1])
                if self.latent_steps == 0:
                    return bank[index].numpy()
                starts = latents[index]
            with torch.enable_grad():
                found = [refined(generate, starts[rows], targets[rows], self.latent_steps) for rows in chunks(len(X))]
        return torch.cat(found).numpy()

    def _parts(self, X: np.ndarray, networks: Networks) -> tuple[np.ndarray, np.ndarray]:
        distance = self.scaler_.standardise(X) - self._nearest(X, networks) @ self.scaler_.components_
        events = tensor(self.scaler_.transform(X))
        with torch.no_grad():
            logits = torch.cat([discriminate(networks.discriminator, events[rows]) for rows in chunks(len(events))])
        return np.sqrt((distance**2).mean(axis=1)), softplus(self.logit_centre_ - logits).numpy()

    def _weighted(self, X: np.ndarray, networks: Networks) -> np.ndarray:
        own = _mixed(*self._parts(X, networks), self.score_weight_)
        return -self.safeguard_.oddness(X, own, np.zeros(len(X)))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._weighted(X, self._networks())

    def score_parts(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """The residual R and the discriminator's term D of each event, each of shape ``(N,)``; higher is odder."""
        return self._parts(self._checked(X), self._networks())

    def residuals(self, X: ArrayLike) -> np.ndarray:
        """Event minus the generated event found for it, in the units of the data, shape ``(N, F)``."""
        data = self._checked(X)
        return data - self.scaler_.restore(self._nearest(data, self._networks()))

    def sample(self, n_samples: int, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Generated events in the units of the data, shape ``(n_samples, F)``.

        With fewer components than features they lie in the plane of the components.

        Args:
            n_samples: How many.
            random_state: Seed of the latents.
        """
        check_is_fitted(self)
        rng = torch.Generator().manual_seed(draw_seed(random_state))
        with torch.no_grad():
            latents = draw_latents(n_samples, self.latents_.shape[1], rng)
            made = self._generate(self._networks().generator)(latents)
        return self.scaler_.restore(made.numpy())


def _mixed(residual: np.ndarray, doubt: np.ndarray, weight: float) -> np.ndarray:
    return (1 - weight) * residual + weight * doubt
