"""Gradients through both networks of a GAN, each by a second method, and the gradient penalty."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from circuits import qgan_discriminator, qgan_generator, z_each
from qworkbench import QuantumLayer
from qworkbench.models.gan import LOSSES, PENALTIES, discriminate, draw_latents, gradient_penalty
from qworkbench.models.qgan_detector import _average

Pair = tuple[nn.Module, nn.Module]


def pair(backend: str = "statevector", gradient: str = "auto") -> Pair:
    """A generator of two qubits from one latent angle, and its discriminator."""
    rng = torch.Generator().manual_seed(3)
    layers = [
        QuantumLayer(circuit, z_each(2), backend, gradient=gradient, generator=rng, dtype=torch.float64)
        for circuit in (qgan_generator(2, n_latent=1, n_layers=1), qgan_discriminator(2, n_layers=1))
    ]
    return layers[0], nn.Sequential(layers[1], _average(2, rng))


def losses(networks: Pair, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What the discriminator and the generator minimise, on fixed events and latents."""
    rng = torch.Generator().manual_seed(4)
    real = torch.rand(5, 2, generator=rng, dtype=torch.float64) - 0.5
    fake = networks[0](draw_latents(5, 1, rng))
    logits = discriminate(networks[1], torch.cat([real, fake.detach()]))
    return LOSSES[name].discriminator(*logits.chunk(2)), LOSSES[name].generator(discriminate(networks[1], fake))


def differences(value: Callable[[], torch.Tensor], parameters: list[nn.Parameter], step: float = 1e-5) -> torch.Tensor:
    """Central differences of a scalar by each entry of the parameters."""
    slopes = []
    with torch.no_grad():
        for parameter in parameters:
            flat = parameter.view(-1)
            for i in range(len(flat)):
                middle = flat[i].item()
                ends = []
                for moved in (middle + step, middle - step):
                    flat[i] = moved
                    ends.append(value().item())
                flat[i] = middle
                slopes.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("backend", "gradient"), [("statevector", "adjoint"), ("statevector", "parameter-shift"), ("aer", "auto")]
)
def test_the_gradients_of_both_sides_are_differences(loss, backend, gradient):
    networks = pair(backend, gradient)
    for side, which in ((networks[1], 0), (networks[0], 1)):
        parameters = list(side.parameters())
        found = torch.autograd.grad(losses(networks, loss)[which], parameters)
        exact = pair()
        slow = differences(
            lambda exact=exact, which=which: losses(exact, loss)[which], list(exact[1 - which].parameters())
        )
        torch.testing.assert_close(torch.cat([part.flatten() for part in found]), slow, atol=1e-7, rtol=1e-6)
        assert slow.abs().max() > 1e-3


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("step", "tolerance"), [(1e-4, 1e-5), (0.1, 0.04)])
def test_the_penalty_follows_second_derivatives(step, tolerance, penalty):
    # The difference leaves out h^2 f^2 / 6; the trained scales make frequencies f of up to about 4.
    discriminator = pair()[1]
    with torch.no_grad():
        discriminator[1].weight.mul_(4)  # slopes above 1, so that there is something to penalise
    rng = torch.Generator().manual_seed(5)
    real, fake = (torch.rand(64, 2, generator=rng, dtype=torch.float64) - 0.5 for _ in range(2))
    value = gradient_penalty(discriminator, real, fake, torch.Generator().manual_seed(6), step, penalty)

    mix = torch.rand(64, 1, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    points = (mix * real + (1 - mix) * fake).requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminate(discriminator, points).sum(), points, create_graph=True)
    excess = slope.norm(dim=1) - 1
    twin = (excess if penalty == "two-sided" else excess.clamp_min(0)).square().mean()

    assert twin > 0.1
    torch.testing.assert_close(value, twin, atol=0, rtol=tolerance)
    parameters = [discriminator[0].weights, discriminator[1].weight]
    found, expected = (
        torch.cat([part.flatten() for part in torch.autograd.grad(v, parameters)]) for v in (value, twin)
    )
    assert (found - expected).norm() < tolerance * expected.norm()


def test_only_the_two_sided_penalty_falls_on_a_gentle_critic():
    critic = nn.Linear(2, 1, dtype=torch.float64)
    real, fake = torch.zeros(4, 2, dtype=torch.float64), torch.ones(4, 2, dtype=torch.float64)
    for weights, one_sided, two_sided in (([0.3, 0.4], 0, (0.5 - 1) ** 2), ([3.0, 4.0], 16, (5 - 1) ** 2)):
        with torch.no_grad():
            critic.weight.copy_(torch.tensor([weights]))
        for penalty, expected in (("one-sided", one_sided), ("two-sided", two_sided)):
            found = gradient_penalty(critic, real, fake, torch.Generator(), penalty=penalty)
            assert found.item() == pytest.approx(expected)


def test_the_penalty_owes_no_weight_gradient_for_its_direction():
    critic = pair()[1]
    events = torch.zeros(4, 2, dtype=torch.float64)
    gradient_penalty(critic, events, events + 0.1, torch.Generator())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in critic.parameters())
