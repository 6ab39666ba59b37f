"""The QGAN anomaly detector: scikit-learn's contract, real collider events, other backends, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from circuits import qgan_discriminator, qgan_generator
from qworkbench.datasets import load_dataset
from qworkbench.models.gan import LOSSES
from qworkbench.models.qgan_detector import QGANDetector
from qworkbench.testing import assert_within_sigma

TINY: dict[str, Any] = {"n_qubits": 2, "n_layers": 1, "epochs": 1, "batch_size": 8, "bank_size": 16, "random_state": 5}


@parametrize_with_checks([QGANDetector(epochs=10)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def collider_events(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training background, other background, and uniform noise in the box of the training background."""
    data = load_dataset("collider_dijets?task=anomaly&features=physics&n_samples=3000", seed=seed)
    normal = data.X[data.y == "normal"]
    train = normal[:400]
    noise = np.random.default_rng(seed).uniform(train.min(axis=0), train.max(axis=0), (1000, train.shape[1]))
    return train, normal[-1000:], noise


@pytest.fixture(scope="module")
def events() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return collider_events(0)


@pytest.fixture(scope="module")
def detector(events) -> QGANDetector:
    return QGANDetector(random_state=0).fit(events[0])


def auc(model: QGANDetector, normal: np.ndarray, odd: np.ndarray) -> float:
    scores = model.score_samples(np.concatenate([normal, odd]))
    return float(roc_auc_score(np.repeat([1, 0], [len(normal), len(odd)]), scores))


def test_it_tells_collider_background_from_noise(detector, events):
    # Over 10 seeds of 1,000 training events each the mean was 0.93 and the least 0.91; 400 events are fewer.
    assert auc(detector, *events[1:]) > 0.8


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "hinge"},
        {"loss": "wasserstein", "discriminator_steps": 3},
        {"loss": "wasserstein", "discriminator_steps": 3, "penalty": "one-sided"},
        {"discriminator": "classical"},
    ],
)
def test_training_makes_generated_events_alike_to_real_ones(settings):
    train = collider_events(1)[0]
    trained = QGANDetector(random_state=1, **settings).fit(train)
    untrained = clone(trained).set_params(epochs=1, learning_rate=1e-9).fit(train)

    def distance(model: QGANDetector) -> float:
        """Mean difference of the quantiles of all features, in standard deviations."""
        levels = np.linspace(0.1, 0.9, 9)
        made = model.sample(1000, random_state=1)
        quantiles = np.quantile(made, levels, axis=0) - np.quantile(train, levels, axis=0)
        return float(np.abs(quantiles / train.std(axis=0)).mean())

    assert distance(trained) < 0.7 * distance(untrained)
    energy = trained.training_curves_["energy_distance"]
    assert np.mean(energy[-10:]) < untrained.training_curves_["energy_distance"][0]
    assert trained.two_sample_["coverage"] > 0.8


def test_both_sides_are_trained(detector, events):
    untrained = clone(detector).set_params(epochs=1, learning_rate=1e-9).fit(events[0])
    for side in ("generator_", "discriminator_"):
        before, after = (torch.cat([p.flatten() for p in getattr(m, side).parameters()]) for m in (untrained, detector))
        assert (before - after).abs().max() > 0.1
    # 400 events, of which 360 train: 6 steps an epoch, and 600 steps.
    assert {len(curve) for curve in detector.training_curves_.values()} == {100}
    assert detector.loss_curve_ == detector.training_curves_["discriminator"]


def test_parameters_and_usage_are_counted(detector):
    circuits = (
        qgan_generator(4, n_latent=2, n_layers=detector.n_layers),
        qgan_discriminator(4, n_layers=detector.n_layers),
    )
    assert detector.n_parameters_ == sum(c.n_weights for c in circuits) + 5
    n_events, epochs = 360, len(detector.loss_curve_)
    # A step of B events: B generated, 2B + B discriminated, and the gradients of all of these. Then come the bank and
    # all events twice, for the check against 500 of noise and for the threshold; and 40 to compare with the held-out.
    after = 40 + (detector.bank_size + n_events + 500) + (detector.bank_size + 400)
    assert detector.usage_["circuits"] == 8 * n_events * epochs + after
    assert detector.usage_["shots"] == 0


def test_the_score_is_made_of_its_parts(detector, events):
    residual, doubt = detector.score_parts(events[1])
    w = detector.score_weight
    assert detector.score_weight_ == w
    np.testing.assert_allclose(detector.score_samples(events[1]), -((1 - w) * residual + w * doubt))
    # Four features need no projection: the residual is that of the features in standard deviations.
    rms = np.sqrt(((detector.residuals(events[1]) / detector.scaler_.scale_) ** 2).mean(axis=1))
    np.testing.assert_allclose(residual, rms)
    assert (doubt > 0).all()


@pytest.mark.parametrize("latent_steps", [0, 4])
def test_an_event_is_scored_by_itself(detector, events, latent_steps):
    model = clone(detector).set_params(latent_steps=latent_steps, epochs=1).fit(events[0])
    rows = events[1][:60]
    together, order = model.score_samples(rows), np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(model.score_samples(rows[order]), together[order], atol=1e-9, rtol=0)
    alone = np.concatenate([model.score_samples(row[None]) for row in rows[:5]])
    np.testing.assert_allclose(alone, together[:5], atol=1e-9, rtol=0)


def test_latent_steps_come_nearer(detector, events):
    rows = events[1][:100]
    model = clone(detector).set_params(epochs=1).fit(events[0])
    start, found = model.score_parts(rows)[0], model.set_params(latent_steps=10).score_parts(rows)[0]
    assert (found <= start + 1e-12).all()
    assert found.mean() < 0.98 * start.mean()


def test_a_refit_is_identical(events):
    model = QGANDetector(**TINY)
    first = model.fit(events[0][:50]).score_samples(events[1])
    np.testing.assert_array_equal(model.fit(events[0][:50]).score_samples(events[1]), first)
    other = clone(model).set_params(random_state=6).fit(events[0][:50])
    assert np.abs(other.score_samples(events[1]) - first).max() > 1e-3


@pytest.mark.parametrize("contamination", ["auto", 0.25])
def test_contamination_sets_the_threshold_on_training_data(events, contamination):
    model = QGANDetector(**TINY, contamination=contamination).fit(events[0])
    share = 0.1 if contamination == "auto" else contamination
    assert (model.predict(events[0]) == -1).mean() == pytest.approx(share, abs=1 / 400)
    # A far event must not move it.
    before = model.decision_function(events[1][:3])
    assert model.predict(np.concatenate([events[1][:3], 1e6 * np.ones((1, 4))]))[-1] == -1
    np.testing.assert_array_equal(model.decision_function(events[1][:3]), before)


def test_held_out_events_set_the_threshold_and_train_nothing(events):
    settings = TINY | {"threshold": "validation", "contamination": 0.25, "validation_fraction": 0.25}
    model = QGANDetector(**settings).fit(events[0])
    kept = np.random.default_rng(model._seed).permutation(400)
    held_out, trained = np.sort(kept[:100]), np.sort(kept[100:])
    assert (model.predict(events[0][held_out]) == -1).mean() == 0.25
    moved = events[0].copy()
    moved[held_out] += 100.0
    other = clone(model).fit(moved)
    np.testing.assert_array_equal(other.score_samples(moved[trained]), model.score_samples(moved[trained]))
    assert other.offset_ < model.offset_
    assert other.two_sample_["energy_distance"] > 10 * model.two_sample_["energy_distance"]


def test_few_events_are_all_trained_on(events):
    model = QGANDetector(**TINY).fit(events[0][:50])
    assert model.two_sample_ == {}
    assert "energy_distance" not in model.training_curves_


def test_an_encoder_finds_generated_events(detector, events):
    rows = events[1][:200]
    model = clone(detector).set_params(inversion="encoder").fit(events[0])
    losses = model.training_curves_["encoder"]
    assert losses[-1] < 0.5 * losses[0]
    assert auc(model, *events[1:]) > 0.8
    # The same generator. Its events form a folded surface, which no continuous map into the angles follows.
    found, best = (m.score_parts(rows)[0].mean() for m in (model, detector))
    centre = np.sqrt((model.scaler_.standardise(rows) ** 2).mean(axis=1)).mean()
    assert best < found < 0.85 * centre
    assert model.set_params(latent_steps=10).score_parts(rows)[0].mean() < found


def test_a_score_below_noise_is_mended_and_warned_of():
    # One layer, one pass: generated events fill the gap between two modes, and the inside of a ring.
    settings: dict[str, Any] = {"n_layers": 1, "epochs": 1, "score_weight": 0.0, "random_state": 3}
    rng = np.random.default_rng(0)
    modes = np.concatenate([rng.normal(-1, 0.1, (200, 1)), rng.normal(1, 0.1, (200, 1))])
    with pytest.warns(ConvergenceWarning, match=r"below uniform noise \(ROC AUC 0.4"):
        replaced = QGANDetector(**settings).fit(modes)
    assert (replaced.score_weight_, replaced.score_weight) == (0.9, 0.0)
    turn = rng.uniform(0, 2 * np.pi, 400)
    ring = np.column_stack([np.cos(turn), np.sin(turn)])
    with pytest.warns(ConvergenceWarning, match=r"below uniform noise \(ROC AUC 0.3"):
        guarded = QGANDetector(**settings).fit(ring)
    noise = rng.uniform(-1, 1, (500, 2))
    assert guarded.safeguard_.own_auc_ < 0.4
    assert auc(guarded, ring, noise) > 0.55


@pytest.mark.parametrize("loss", LOSSES)
def test_training_with_device_noise(events, loss):
    noisy = QGANDetector(**TINY, loss=loss, backend="aer?noise=fake_manila&shots=64&seed=1").fit(events[0][:10])
    assert np.isfinite(noisy.score_samples(events[1][:5])).all()
    assert noisy.usage_["shots"] == 64 * noisy.usage_["circuits"]


def test_trained_weights_score_on_another_backend(events):
    rows = events[1][:10]
    model = QGANDetector(**TINY).fit(events[0][:50])
    exact = model.score_samples(rows)
    np.testing.assert_allclose(model.set_params(backend="aer").score_samples(rows), exact, atol=1e-6)
    doubt = model.score_parts(rows)[1]
    shots = model.set_params(backend="aer?shots=4000&seed=3").score_parts(rows)[1]
    # softplus has slope below 1; the logit is a sum of two <Z>, each with a variance of at most 1 / shots.
    weights = model.discriminator_.get_parameter("1.weight").detach().numpy()
    assert_within_sigma(shots, doubt, np.abs(weights).sum() / np.sqrt(4000))
    assert np.abs(shots - doubt).max() > 0


@pytest.mark.parametrize("discriminator", ["quantum", "classical"])
def test_training_on_aer_follows_the_exact_engine(events, discriminator):
    settings = TINY | {"epochs": 2, "discriminator": discriminator}
    exact, aer = (QGANDetector(**settings, backend=b).fit(events[0][:10]) for b in ("statevector", "aer"))
    np.testing.assert_allclose(aer.loss_curve_, exact.loss_curve_, atol=1e-6)
    np.testing.assert_allclose(aer.score_samples(events[1][:5]), exact.score_samples(events[1][:5]), atol=1e-6)
    assert aer.usage_["circuits"] > exact.usage_["circuits"]


def test_training_with_shots(events):
    model = QGANDetector(**TINY, backend="aer?shots=50").fit(events[0][:10])
    assert model.usage_["shots"] == 50 * model.usage_["circuits"]
    again = clone(model).fit(events[0][:10])
    np.testing.assert_array_equal(again.score_samples(events[1][:5]), model.score_samples(events[1][:5]))


def test_more_features_than_qubits(events):
    wide = load_dataset("collider_dijets?task=anomaly&n_samples=300")
    model = QGANDetector(**TINY).fit(wide.X)
    components = model.scaler_.components_
    assert components.shape == (2, 16)
    np.testing.assert_allclose(components @ components.T, np.eye(2), atol=1e-12)
    assert model.residuals(wide.X[:3]).shape == (3, 16)
    # What the components leave out counts too: a step along a left-out direction lowers the score.
    left_out = np.linalg.svd(components)[2][-1] * model.scaler_.scale_
    assert model.score_samples(wide.X[:1] + 5 * left_out) < model.score_samples(wide.X[:1])


def test_a_constant_and_a_single_feature(events):
    flat = np.column_stack([events[0][:20, :1], np.full(20, 0.1)])
    assert np.isfinite(QGANDetector(**TINY).fit(flat).score_samples(flat)).all()
    assert QGANDetector(**TINY).fit(flat[:, :1]).sample(5, random_state=0).shape == (5, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discriminator": "quantom"}, "unknown discriminator 'quantom'; did you mean 'quantum'"),
        ({"inversion": "encodr"}, "unknown inversion 'encodr'; did you mean 'encoder'"),
        ({"threshold": "test"}, "unknown threshold 'test'; known: training, validation"),
        ({"threshold": "validation"}, "expects at least 10 events held out, got 2"),
        ({"validation_fraction": 0.7}, r"expected validation_fraction in \[0, 0.5\], got 0.7"),
        ({"penalty": "twosided"}, "unknown penalty 'twosided'; did you mean 'two-sided'"),
        ({"penalty_weight": -1}, "expected penalty_weight of at least 0, got -1"),
        ({"discriminator_steps": 0}, "expected discriminator_steps to be a whole number of at least 1, got 0"),
        ({"loss": "hinged"}, "unknown GAN loss 'hinged'; did you mean 'hinge'"),
        ({"contamination": 0.6}, "expected contamination 'auto' or in .*, got 0.6"),
        ({"contamination": "most"}, "expected contamination 'auto' or in .*, got 'most'"),
        ({"epochs": 0}, "expected epochs to be a whole number of at least 1, got 0"),
        ({"n_latent": 1.5}, "expected n_latent to be a whole number of at least 1, got 1.5"),
        ({"score_weight": 2}, r"expected score_weight in \[0, 1\], got 2"),
        ({"learning_rate": -1}, "expected a positive learning_rate, got -1"),
        ({"backend": "statevektor"}, "unknown backend 'statevektor'; did you mean 'statevector'"),
        ({"gradient": "adjoin"}, "unknown gradient method 'adjoin'; did you mean 'adjoint'"),
    ],
)
def test_wrong_settings_are_refused(events, settings, message):
    with pytest.raises(ValueError, match=message):
        QGANDetector(**TINY | settings).fit(events[0][:20])


def test_wrong_data_are_refused(events):
    with pytest.raises(ValueError, match="1 sample"):
        QGANDetector(**TINY).fit(events[0][:1])
    with pytest.raises(ValueError, match="NaN"):
        QGANDetector(**TINY).fit(np.where(events[0] > events[0][0], np.nan, events[0]))
    model = QGANDetector(**TINY).fit(events[0][:20])
    with pytest.raises(ValueError, match="expecting 4 features"):
        model.predict(events[1][:, :3])


def test_a_fitted_generator_stays_trainable(detector):
    assert all(parameter.requires_grad for parameter in detector.generator_.parameters())
