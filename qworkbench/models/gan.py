"""Adversarial training of a generator against a discriminator, whatever they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import softplus

from qworkbench.models.components import ANGLE_RANGE
from qworkbench.models.two_sample import energy_distance
from qworkbench.models.variational import linear
from qworkbench.training import TrainingError, batches

BETAS = (0.5, 0.9)
"""Adam's moments; short memories, since the opponent changes all the time (Radford et al. 2016)."""
PENALTY_STEP = 0.1
"""Half the distance over which the gradient penalty takes its difference, in radians."""
PENALTIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "two-sided": lambda excess: excess,
    "one-sided": torch.relu,
}
"""Which part of the slope's excess over 1 the gradient penalty squares: Gulrajani et al. 2017 (arXiv:1704.00028, eq. 3)
and Petzka et al. 2018 (arXiv:1709.08894, eq. 8)."""


@dataclass(frozen=True)
class Loss:
    """What each side minimises, as means over a batch of logits; a large logit means real."""

    discriminator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """``(logits of real events, logits of generated events) -> scalar``."""
    generator: Callable[[torch.Tensor], torch.Tensor]
    """``logits of generated events -> scalar``."""
    critic: bool = False
    """Whether the discriminator is a critic: a penalty holds its slope to 1, and its zero means nothing."""


LOSSES = {
    "non-saturating": Loss(
        lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda fake: softplus(-fake).mean()
    ),
    "hinge": Loss(
        lambda real, fake: torch.relu(1 - real).mean() + torch.relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
    "wasserstein": Loss(lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean(), critic=True),
}
"""Losses by name: Goodfellow et al. 2014 (arXiv:1406.2661, section 3), Lim & Ye 2017 (arXiv:1705.02894), and the
Wasserstein loss with gradient penalty of Gulrajani et al. 2017 (arXiv:1704.00028); see ``gradient_penalty``."""


def draw_latents(n_samples: int, n_latent: int, rng: torch.Generator) -> torch.Tensor:
    """Latent angles, uniform in ``[-pi, pi)``, shape ``(n_samples, n_latent)``."""
    return (2 * torch.rand(n_samples, n_latent, generator=rng, dtype=torch.float64) - 1) * math.pi


def discriminate(discriminator: nn.Module, events: torch.Tensor) -> torch.Tensor:
    """Logits of shape ``(B,)`` for events of shape ``(B, n_components)``; positive means real."""
    return discriminator(events.clamp(-ANGLE_RANGE, ANGLE_RANGE))[:, 0]


def gradient_penalty(
    discriminator: nn.Module,
    real: torch.Tensor,
    fake: torch.Tensor,
    rng: torch.Generator,
    step: float = PENALTY_STEP,
    penalty: str = "two-sided",
) -> torch.Tensor:
    """``E (|grad D(x)| - 1)**2`` at points x drawn between real and generated events.

    Gulrajani et al. 2017 (arXiv:1704.00028, eq. 3); ``one-sided`` squares ``max(0, |grad D(x)| - 1)``. In one dimension
    the two-sided penalty keeps a critic from turning round when the generator has overshot.

    The slope is the central difference along the gradient, ``(D(x + h u) - D(x - h u)) / 2h`` with u held fixed, and
    that of the weights follows from it: no second derivative is asked of the engine, so that every backend and
    gradient method will do. The relative error is of order ``h**2 / 6``.

    Args:
        discriminator: ``(B, n_components) -> (B, 1)``.
        real: Shape ``(B, n_components)``.
        fake: Generated events of the same shape.
        rng: Source of the points.
        step: h.
        penalty: A key of ``PENALTIES``.
    """
    mix = torch.rand(len(real), 1, generator=rng, dtype=real.dtype)
    points = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    with frozen(discriminator):
        (slope,) = torch.autograd.grad(discriminate(discriminator, points).sum(), points)
    along = step * slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-12)
    ends = torch.cat([points + along, points - along]).detach()
    ahead, behind = discriminate(discriminator, ends).chunk(2)
    return PENALTIES[penalty]((ahead - behind) / (2 * step) - 1).square().mean()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within it a module owes no weight gradient: by parameter-shift that is most of the circuits."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


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
    discriminator_steps: int = 1,
    penalty_weight: float = 1.0,
    penalty: str = "two-sided",
    held_out: torch.Tensor | None = None,
) -> dict[str, list[float]]:
    """Train both sides in turn with Adam, in place.

    Each batch is a step of the discriminator; each ``discriminator_steps``-th, and the last of an epoch, is a step of
    the generator too. The generator runs once a batch, the discriminator once on real and generated events together.

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
        discriminator_steps: Discriminator steps for each of the generator.
        penalty_weight: Weight of the gradient penalty of a critic.
        penalty: A key of ``PENALTIES``.
        held_out: Events that no side sees, shape ``(M, n_components)``.

    Returns:
        Curves with one value an epoch: the mean losses ``"discriminator"`` and ``"generator"``; ``"spread"``, the
        standard deviation of the generated events over that of the real ones, averaged over the components; with
        held-out events also ``"energy_distance"`` between them and as many generated events of the epoch.

    Raises:
        TrainingError: If a loss becomes NaN or infinite.
    """
    sides = {"discriminator": discriminator, "generator": generator}
    optimizers = {k: torch.optim.Adam(m.parameters(), lr=learning_rate, betas=BETAS) for k, m in sides.items()}
    curves: dict[str, list[float]] = {name: [] for name in (*sides, "spread")}
    if held_out is not None:
        curves["energy_distance"] = []

    def step(side: str, value: torch.Tensor) -> float:
        if not torch.isfinite(value):
            raise TrainingError(f"the loss of the {side} became {value.item()}; use a smaller learning_rate")
        optimizers[side].zero_grad()
        value.backward()
        optimizers[side].step()
        return value.item()

    for _ in range(epochs):
        seen: dict[str, list[tuple[float, int]]] = {side: [] for side in sides}
        made, parts = [], batches(torch.randperm(len(events), generator=rng), batch_size)
        for number, rows in enumerate(parts, start=1):
            real, fake = events[rows], generator(draw_latents(len(rows), n_latent, rng))
            made.append(fake.detach())
            value = loss.discriminator(*discriminate(discriminator, torch.cat([real, made[-1]])).chunk(2))
            if loss.critic:
                value = value + penalty_weight * gradient_penalty(discriminator, real, made[-1], rng, penalty=penalty)
            seen["discriminator"].append((step("discriminator", value), len(rows)))
            if number % discriminator_steps == 0 or number == len(parts):
                with frozen(discriminator):
                    reached = step("generator", loss.generator(discriminate(discriminator, fake)))
                seen["generator"].append((reached, len(rows)))
        for side, values in seen.items():
            curves[side].append(sum(v * n for v, n in values) / sum(n for _, n in values))
        fakes = torch.cat(made)
        curves["spread"].append(_spread(fakes, events))
        if held_out is not None:
            # The last ones: those of the most trained generator.
            curves["energy_distance"].append(energy_distance(held_out.numpy(), fakes[-len(held_out) :].numpy()))
    return curves


def _spread(made: torch.Tensor, real: torch.Tensor) -> float:
    widths = real.std(dim=0, correction=0)
    return float((made.std(dim=0, correction=0) / torch.where(widths > 0, widths, 1.0)).mean())


def perceptron(n_inputs: int, n_outputs: int, n_parameters: int, rng: torch.Generator) -> nn.Sequential:
    """Two linear maps with tanh between; as wide as brings it nearest to ``n_parameters``, at least 1."""
    return two_maps(n_inputs, max(1, round((n_parameters - n_outputs) / (n_inputs + 1 + n_outputs))), n_outputs, rng)


def two_maps(n_inputs: int, width: int, n_outputs: int, rng: torch.Generator) -> nn.Sequential:
    """Two linear maps with ``width`` tanh units between."""
    return nn.Sequential(linear(n_inputs, width, rng), nn.Tanh(), linear(width, n_outputs, rng))
