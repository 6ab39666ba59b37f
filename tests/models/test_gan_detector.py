"""The classical twin of the QGAN detector, and the two densities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from qworkbench.datasets import load_dataset
from qworkbench.models.density_detectors import GaussianMixtureDetector, MahalanobisDetector
from qworkbench.models.gan import LOSSES, train_gan
from qworkbench.models.gan_detector import GANDetector
from qworkbench.models.qgan_detector import QGANDetector
from qworkbench.training import TrainingError


@parametrize_with_checks([GANDetector(), MahalanobisDetector(), GaussianMixtureDetector()])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def events() -> np.ndarray:
    data = load_dataset("collider_dijets?task=anomaly&features=physics&n_samples=3000")
    return data.X[data.y == "normal"]


@pytest.mark.parametrize(
    ("model", "least"), [(GANDetector, 0.7), (MahalanobisDetector, 0.9), (GaussianMixtureDetector, 0.9)]
)
def test_collider_background_against_noise(events, model, least):
    train, test = events[:1000], events[-1000:]
    noise = np.random.default_rng(0).uniform(train.min(axis=0), train.max(axis=0), test.shape)
    fitted = model(**({"random_state": 0} if model is not MahalanobisDetector else {})).fit(train)
    scores = fitted.score_samples(np.concatenate([test, noise]))
    assert roc_auc_score(np.repeat([1, 0], len(test)), scores) > least


@pytest.mark.parametrize(("n_qubits", "n_layers", "n_latent"), [(4, 2, None), (4, 3, None), (3, 1, 2), (2, 2, 2)])
def test_the_twin_has_as_many_parameters(events, n_qubits, n_layers, n_latent):
    size = {"n_qubits": n_qubits, "n_layers": n_layers, "n_latent": n_latent, "epochs": 1, "bank_size": 4}
    classical, quantum = (model(**size).fit(events[:30]) for model in (GANDetector, QGANDetector))
    assert classical.n_twin_parameters_ == quantum.n_parameters_
    for side in ("generator_", "discriminator_"):
        counts = [sum(p.numel() for p in getattr(m, side).parameters()) for m in (classical, quantum)]
        # One hidden unit more or less: each costs its inputs, its bias and its outputs.
        assert abs(counts[0] - counts[1]) <= (2 * n_qubits + 2) / 2


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_finds_a_shifted_normal(loss):
    # G(z) = a z + b against N(0.5, 0.2): both sides must move for b to reach the mean. In one dimension the two-sided
    # penalty would not let the critic turn round.
    rng = torch.Generator().manual_seed(0)
    real = 0.5 + 0.2 * torch.randn(512, 1, generator=rng, dtype=torch.float64)
    generator = nn.Linear(1, 1, dtype=torch.float64)
    discriminator = nn.Sequential(
        nn.Linear(1, 16, dtype=torch.float64), nn.Tanh(), nn.Linear(16, 1, dtype=torch.float64)
    )
    with torch.no_grad():
        for parameter in (*generator.parameters(), *discriminator.parameters()):
            parameter.uniform_(-0.5, 0.5, generator=rng)
        generator.weight.fill_(0.1)
    curves = train_gan(
        generator,
        discriminator,
        real,
        n_latent=1,
        loss=LOSSES[loss],
        epochs=60,
        batch_size=64,
        learning_rate=0.01,
        rng=rng,
        discriminator_steps=1,
        penalty="one-sided",
        held_out=real[:100],
    )
    assert abs(generator.bias.item() - 0.5) < 0.15
    assert [len(curve) for curve in curves.values()] == [60] * 4


def test_the_non_saturating_loss_in_numbers():
    loss = LOSSES["non-saturating"]
    real, fake = torch.tensor([0.3, -1.0]), torch.tensor([2.0])
    sigmoid = torch.sigmoid
    assert torch.isclose(loss.discriminator(real, fake), -sigmoid(real).log().mean() - (1 - sigmoid(fake)).log().mean())
    assert torch.isclose(loss.generator(fake), -sigmoid(fake).log().mean())


def test_diverged_training_is_an_error():
    data = torch.ones(4, 1, dtype=torch.float64)
    broken = nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        broken.bias.fill_(torch.nan)
    settings: dict[str, Any] = {"loss": LOSSES["hinge"], "epochs": 1, "batch_size": 4, "learning_rate": 0.1}
    with pytest.raises(TrainingError, match="the loss of the discriminator became nan"):
        train_gan(nn.Linear(1, 1).double(), broken, data, n_latent=1, rng=torch.Generator(), **settings)


def test_mahalanobis_is_the_squared_distance(events):
    model = MahalanobisDetector().fit(events)
    centred = events - events.mean(axis=0)
    inverse = np.linalg.inv(centred.T @ centred / len(events))
    expected = [-row @ inverse @ row for row in centred[:20]]
    np.testing.assert_allclose(model.score_samples(events[:20]), expected, rtol=1e-6)


def test_one_gaussian_is_the_normal_density(events):
    rows = (events - events.mean(axis=0)) / events.std(axis=0)
    model = GaussianMixtureDetector(1, reg_covar=0.0).fit(rows)
    expected = stats.multivariate_normal(rows.mean(axis=0), np.cov(rows.T, bias=True)).logpdf(rows)
    np.testing.assert_allclose(model.score_samples(rows), expected)


@pytest.mark.parametrize("model", [GANDetector, MahalanobisDetector, GaussianMixtureDetector])
def test_threshold_and_refusal(events, model):
    tiny = {"epochs": 1, "bank_size": 8} if model is GANDetector else {}
    fitted = model(**tiny, contamination=0.2).fit(events[:100])
    assert (fitted.predict(events[:100]) == -1).sum() == 20
    with pytest.raises(ValueError, match=r"expected contamination 'auto' or in .*, got 0"):
        model(**tiny, contamination=0).fit(events[:100])
