"""The training loop through its public face."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from circuits import data_reuploading, z_first
from qworkbench.layer import QuantumLayer
from qworkbench.training import TrainingError, train


def problem(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand((40, 2), generator=generator, dtype=torch.float64)
    return inputs, torch.sin(3 * inputs[:, :1]) * inputs[:, 1:]


def network(seed: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    layer = QuantumLayer(data_reuploading(2, 2), z_first(2), generator=generator, dtype=torch.float64)
    head = nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        head.weight.fill_(1.0)
        head.bias.fill_(0.0)
    return nn.Sequential(layer, head)


def fit(module: nn.Module, epochs: int, **settings):
    generator = torch.Generator().manual_seed(7)
    inputs, targets = problem()
    return train(module, nn.functional.mse_loss, inputs, targets, epochs=epochs, generator=generator, **settings)


def test_the_loss_falls_and_callbacks_see_each_epoch():
    seen = []
    history = fit(network(), 15, callbacks=[lambda epoch, loss: seen.append((epoch, loss))])
    assert history.losses[-1] < 0.3 * history.losses[0]
    assert seen == list(enumerate(history.losses, start=1))


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path, stop):
    whole = network()
    expected = fit(whole, 6)
    fit(network(), stop, checkpoint=tmp_path / "run.ckpt")
    resumed = network(seed=99)
    history = fit(resumed, 6, checkpoint=tmp_path / "run.ckpt")
    assert history.losses == expected.losses
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert not list(tmp_path.glob("*.tmp"))


def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    fit(network(), 2, checkpoint=path)
    with pytest.raises(ValueError, match="other settings"):
        fit(network(), 3, checkpoint=path, learning_rate=0.01)
    with pytest.raises(ValueError, match="other settings or data"):
        train(network(), nn.functional.mse_loss, *problem(seed=3), epochs=3, checkpoint=path)
    with pytest.raises(ValueError, match="other settings"):
        train(network(), nn.functional.l1_loss, *problem(), epochs=3, checkpoint=path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        fit(network(), 3, checkpoint=path)


def test_early_stopping_keeps_the_best_weights():
    module = network()
    inputs, targets = problem(5)
    history = fit(module, 200, validation=(inputs, targets), patience=3, learning_rate=0.3)
    assert len(history.losses) < 200
    best = min(history.validation_losses)
    assert history.validation_losses[history.best_epoch - 1] == best
    assert nn.functional.mse_loss(module(inputs), targets).item() == pytest.approx(best)


def test_a_diverging_run_stops_with_its_last_good_weights():
    module = nn.Linear(2, 1, dtype=torch.float64)
    inputs, targets = problem()

    def explode(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (predictions * 1e200).pow(2).mean() * 1e200

    with pytest.raises(TrainingError, match="epoch 1"):
        train(module, explode, inputs, targets, epochs=3)
    assert all(torch.isfinite(p).all() for p in module.parameters())


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"patience": 2}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        fit(network(), **{"epochs": 2, **settings})
