"""What the GAN detectors share: adversarial training, the search for the nearest generated event, the score."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn.functional import softplus

from qworkbench.errors import unknown_name
from qworkbench.models.base import draw_seed, n_parameters, tensor, usage
from qworkbench.models.density_detectors import ThresholdedDetector
from qworkbench.models.variational import linear
from qworkbench.training import TrainingError, batches

QUANTILES = (0.02, 0.98)
"""The training range of a component between these quantiles is the generator's main range, ..."""
MAIN_RANGE = 0.8
"""... which is this part of ``[-1, 1]``: an expectation value comes near 1 for few states only."""
DISCRIMINATOR_RANGE = 1.5
"""Events are clipped here before the discriminator, for which they may be angles, and angles are periodic."""
LARGEST = 1e150
"""Standardised features are clipped here, so that their squares stay finite."""
LATENT_RATE = 0.1
"""Step of the latent search in radians."""
CHUNK = 20_000
"""Events that are searched for or discriminated at a time."""
BETAS = (0.5, 0.9)
"""Adam's moments; short memories, since the opponent changes all the time (Radford et al. 2016)."""


@dataclass(frozen=True)
class Loss:
    """What each side minimises, as means over a batch of logits; a large logit means real."""

    discriminator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """``(logits of real events, logits of generated events) -> scalar``."""
    generator: Callable[[torch.Tensor], torch.Tensor]
    """``logits of generated events -> scalar``."""


LOSSES = {
    "non-saturating": Loss(
        lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: softplus(-fake).mean()
    ),
    "hinge": Loss(
        lambda real, fake: torch.relu(1 - real).mean() + torch.relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
}
"""Losses by name: Goodfellow et al. 2014 (arXiv:1406.2661, section 3), Lim & Ye 2017 (arXiv:1705.02894)."""


def draw_latents(n_samples: int, n_latent: int, rng: torch.Generator) -> torch.Tensor:
    """Latent angles, uniform in ``[-pi, pi)``, shape ``(n_samples, n_latent)``."""
    return (2 * torch.rand(n_samples, n_latent, generator=rng, dtype=torch.float64) - 1) * math.pi


def discriminate(discriminator: nn.Module, events: torch.Tensor) -> torch.Tensor:
    """Logits of shape ``(B,)`` for events of shape ``(B, n_components)``; positive means real."""
    return discriminator(events.clamp(-DISCRIMINATOR_RANGE, DISCRIMINATOR_RANGE))[:, 0]


def train_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    events: torch.Tensor,
    *,
    n_latent: int,
    loss: Loss,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    rng: torch.Generator,
) -> dict[str, list[float]]:
    """Train both sides in turn with Adam, in place: for each batch a discriminator step, then a generator step.

    Args:
        generator: ``(B, n_latent) -> (B, n_components)``.
        discriminator: ``(B, n_components) -> (B, 1)``.
        events: Shape ``(N, n_components)``.
        n_latent: Number of latent angles.
        loss: What the sides minimise.
        epochs: Passes over the events.
        batch_size: Events a step; as many are generated.
        learning_rate: Adam's, of both sides.
        rng: Source of the batches and of the latents.

    Returns:
        Mean loss of each epoch, for ``"generator"`` and ``"discriminator"``.

    Raises:
        TrainingError: If a loss becomes NaN or infinite.
    """
    sides = {"discriminator": discriminator, "generator": generator}
    optimizers = {k: torch.optim.Adam(m.parameters(), lr=learning_rate, betas=BETAS) for k, m in sides.items()}
    curves: dict[str, list[float]] = {side: [] for side in sides}

    def step(side: str, value: torch.Tensor, share: float) -> None:
        if not torch.isfinite(value):
            raise TrainingError(f"the loss of the {side} became {value.item()}; use a smaller learning_rate")
        optimizers[side].zero_grad()
        value.backward()
        optimizers[side].step()
        curves[side][-1] += value.item() * share

    for _ in range(epochs):
        for curve in curves.values():
            curve.append(0.0)
        for rows in batches(torch.randperm(len(events), generator=rng), batch_size):
            fake, share = generator(draw_latents(len(rows), n_latent, rng)), len(rows) / len(events)
            logits = discriminate(discriminator, torch.cat([events[rows], fake.detach()]))
            step("discriminator", loss.discriminator(*logits.chunk(2)), share)
            # Frozen, the discriminator owes no weight gradient: by parameter-shift that is most of the circuits.
            discriminator.requires_grad_(False)
            step("generator", loss.generator(discriminate(discriminator, fake)), share)
            discriminator.requires_grad_(True)
    return curves


def chunks(n_rows: int) -> Iterator[slice]:
    """Consecutive slices of at most ``CHUNK`` rows."""
    return (slice(start, start + CHUNK) for start in range(0, n_rows, CHUNK))


def nearest_generated(
    generate: Callable[[torch.Tensor], torch.Tensor],
    latents: torch.Tensor,
    targets: torch.Tensor,
    n_steps: int,
) -> torch.Tensor:
    """The generated event nearest to each target, shape ``(N, n_components)``; no target depends on another.

    The nearest of a fixed bank is the start; then ``n_steps`` of Adam on the target's own latents, of which the
    best is kept (Schlegl et al. 2017, arXiv:1703.05921, section 2.2, which starts at random instead).

    Args:
        generate: ``(B, n_latent) -> (B, n_components)``, in the units of the targets.
        latents: The bank, shape ``(M, n_latent)``.
        targets: Shape ``(N, n_components)``.
        n_steps: Gradient steps; 0 takes the bank's event.
    """
    with torch.no_grad():
        bank = generate(latents)
    index = torch.as_tensor(cKDTree(bank.numpy()).query(targets.numpy())[1])
    if n_steps == 0:
        return bank[index]
    return torch.cat(
        [_refined(generate, latents[index[rows]], targets[rows], n_steps) for rows in chunks(len(targets))]
    )


def _refined(
    generate: Callable[[torch.Tensor], torch.Tensor],
    latents: torch.Tensor,
    targets: torch.Tensor,
    n_steps: int,
) -> torch.Tensor:
    moving = latents.clone().requires_grad_(True)
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


def perceptron(n_inputs: int, n_outputs: int, n_parameters: int, rng: torch.Generator) -> nn.Sequential:
    """Two linear maps with tanh between; as wide as brings it nearest to ``n_parameters``, at least 1."""
    width = max(1, round((n_parameters - n_outputs) / (n_inputs + 1 + n_outputs)))
    return nn.Sequential(linear(n_inputs, width, rng), nn.Tanh(), linear(width, n_outputs, rng))


class AdversarialDetector(ThresholdedDetector):
    """Fitting and scoring of a generator against a discriminator: all but the networks. Abstract.

    Features are standardised and turned to their principal components, the first ``n_qubits`` of them; training
    data alone set the scale. An event x scores ``-((1 - w) R + w D)``, as AnoGAN (Schlegl et al. 2017,
    arXiv:1703.05921, eq. 5): R is the root mean square of ``x - x_G`` over all features in standard deviations,
    with ``x_G`` the nearest generated event, and ``D = -log sigmoid(discriminator(x))``.
    """

    def _build(self, n_components: int, n_latent: int, rng: torch.Generator) -> tuple[nn.Module, nn.Module]:
        """Untrained generator ``(B, n_latent) -> (B, n_components)`` and discriminator ``-> (B, 1)``."""
        raise NotImplementedError

    def _networks(self) -> tuple[nn.Module, nn.Module]:
        """The trained networks, ready to score."""
        raise NotImplementedError

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        self._check_settings()
        self._seed = draw_seed(self.random_state)
        rng = torch.Generator().manual_seed(self._seed)
        components = self._fit_scale(X)
        n_latent = max(1, components.shape[1] // 2) if self.n_latent is None else self.n_latent
        networks = self._build(components.shape[1], n_latent, rng)
        curves = train_gan(
            *networks,
            tensor((components - self.centre_) / self.width_),
            n_latent=n_latent,
            loss=LOSSES[self.loss],
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            rng=rng,
        )
        self.loss_curve_, self.generator_loss_curve_ = curves["discriminator"], curves["generator"]
        self.latents_ = draw_latents(self.bank_size, n_latent, rng).numpy()
        scores = self._weighted(X, *networks)
        self.generator_, self.discriminator_ = networks
        self.usage_, self.n_parameters_ = usage(*networks), n_parameters(*networks)
        return scores

    def _check_settings(self) -> None:
        if self.loss not in LOSSES:
            raise unknown_name("GAN loss", self.loss, LOSSES)
        least = {
            "n_qubits": 1,
            "n_layers": 1,
            "epochs": 1,
            "batch_size": 1,
            "bank_size": 1,
            "latent_steps": 0,
        }
        for name, minimum in (least if self.n_latent is None else least | {"n_latent": 1}).items():
            value = getattr(self, name)
            if not hasattr(value, "__index__") or operator.index(value) < minimum:
                raise ValueError(f"expected {name} to be a whole number of at least {minimum}, got {value!r}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"expected a positive learning_rate, got {self.learning_rate!r}")
        if not 0 <= self.score_weight <= 1:
            raise ValueError(f"expected score_weight in [0, 1], got {self.score_weight!r}")

    def _fit_scale(self, X: np.ndarray) -> np.ndarray:
        """Learn the scales; the principal components of ``X``."""
        self.mean_, spread = X.mean(axis=0), X.std(axis=0)
        # Rounding leaves a constant feature with a spread that is tiny against its value.
        self.scale_ = np.where(spread > 1e-12 * np.abs(self.mean_), spread, 1.0)
        standard = self._standardised(X)
        directions = np.linalg.eigh(standard.T @ standard)[1][:, ::-1][:, : self.n_qubits].T
        rows = np.arange(len(directions))
        signs = np.sign(directions[rows, np.abs(directions).argmax(axis=1)])
        self.components_ = directions * signs[:, None]
        components = standard @ self.components_.T
        low, high = np.quantile(components, QUANTILES, axis=0)
        self.centre_, width = (low + high) / 2, (high - low) / 2 / MAIN_RANGE
        self.width_ = np.where(width > 1e-9, width, 1.0)
        return components

    def _standardised(self, X: np.ndarray) -> np.ndarray:
        return np.clip((X - self.mean_) / self.scale_, -LARGEST, LARGEST)

    def _generate(self, generator: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        """Generated events as principal components of standardised features."""
        return generator(latents) * torch.as_tensor(self.width_) + torch.as_tensor(self.centre_)

    def _nearest(self, standard: np.ndarray, generator: nn.Module) -> np.ndarray:
        """The nearest generated event to each event, both standardised, shape ``(N, F)``."""
        trainable = [parameter for parameter in generator.parameters() if parameter.requires_grad]
        generator.requires_grad_(False)
        try:
            found = nearest_generated(
                lambda latents: self._generate(generator, latents),
                tensor(self.latents_),
                tensor(standard @ self.components_.T),
                self.latent_steps,
            )
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)
        return found.numpy() @ self.components_

    def _parts(self, X: np.ndarray, generator: nn.Module, discriminator: nn.Module) -> tuple[np.ndarray, np.ndarray]:
        standard = self._standardised(X)
        distance = standard - self._nearest(standard, generator)
        events = tensor((standard @ self.components_.T - self.centre_) / self.width_)
        with torch.no_grad():
            logits = torch.cat([discriminate(discriminator, events[rows]) for rows in chunks(len(events))])
        return np.sqrt((distance**2).mean(axis=1)), softplus(-logits).numpy()

    def _weighted(self, X: np.ndarray, generator: nn.Module, discriminator: nn.Module) -> np.ndarray:
        residual, doubt = self._parts(X, generator, discriminator)
        return -((1 - self.score_weight) * residual + self.score_weight * doubt)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._weighted(X, *self._networks())

    def score_parts(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """The residual R and the discriminator's term D of each event, each of shape ``(N,)``; higher is odder."""
        return self._parts(self._checked(X), *self._networks())

    def residuals(self, X: ArrayLike) -> np.ndarray:
        """Event minus nearest generated event, in the units of the data, shape ``(N, F)``."""
        data = self._checked(X)
        return data - (self._nearest(self._standardised(data), self._networks()[0]) * self.scale_ + self.mean_)

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
            made = self._generate(self._networks()[0], draw_latents(n_samples, self.latents_.shape[1], rng))
        return made.numpy() @ self.components_ * self.scale_ + self.mean_
