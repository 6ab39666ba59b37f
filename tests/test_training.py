"""The training loop through its public face."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from circuits import data_reuploading, z_first
from qworkbench.layer import QuantumLayer
from qworkbench.shots import ShotSchedule
from qworkbench.training import TrainingError, train


def problem(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand((40, 2), generator=generator, dtype=torch.float64)
    return inputs, torch.sin(3 * inputs[:, :1]) * inputs[:, 1:]


def network(seed: int = 1, backend: str = "statevector", gradient: str = "auto") -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    settings = {"gradient": gradient, "generator": generator, "dtype": torch.float64}
    layer = QuantumLayer(data_reuploading(2, 2), z_first(2), backend, **settings)
    head = nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        head.weight.fill_(1.0)
        head.bias.fill_(0.0)
    return nn.Sequential(layer, head)


def fit(module: nn.Module, epochs: int, **settings):
    generator = torch.Generator().manual_seed(7)
    inputs, targets = problem()
    return train(module, nn.functional.mse_loss, inputs, targets, epochs=epochs, generator=generator, **settings)


def exact_loss(module: nn.Sequential, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    with torch.no_grad():
        exact = nn.Sequential(module[0].with_backend("statevector"), module[1])
        return nn.functional.mse_loss(exact(inputs), targets).item()


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


def test_a_lucky_validation_loss_is_not_believed():
    # The weights stand still, so that all differences between epochs are those of the shots.
    module, (inputs, targets) = network(backend="statevector?shots=20&seed=3"), problem(5)
    history = fit(module, 200, validation=(inputs, targets), patience=20, learning_rate=1e-12)
    sample, found = torch.tensor(history.validation_losses), torch.tensor(history.remeasured)
    assert len(history.losses) < 60
    assert sample.min() < sample.mean() - 1.5 * sample.std()
    # Squares of noisy values lie above the exact loss, by as much in every epoch.
    assert sample.mean() > exact_loss(module, inputs, targets)
    assert abs(found.mean() - sample.mean()) < 4 * sample.std() * (1 / len(found) + 1 / len(sample)) ** 0.5
    repeats = torch.tensor(history.repeats)
    assert (repeats.square().mean() / 2).sqrt() == pytest.approx(sample.std(), rel=0.5)


def test_noisy_early_stopping_keeps_weights_that_are_really_better():
    module, (inputs, targets) = network(backend="statevector?shots=20&seed=3"), problem(5)
    start = exact_loss(module, inputs, targets)
    history = fit(module, 200, validation=(inputs, targets), patience=15)
    assert 15 < len(history.losses) < 200
    assert exact_loss(module, inputs, targets) < 0.1 * start


def test_a_growing_schedule_ends_at_its_precision_and_compiles_once():
    module = network(backend="aer?shots=999&seed=2")
    history = fit(module, 3, shots="growing:4-64", batch_size=20)
    assert history.shots == [7, 21, 64]
    spent = module[0].usage
    module[0].set_shots(1)
    module(torch.rand((20, 2), dtype=torch.float64)).sum().backward()
    a_step = module[0].usage["circuits"] - spent["circuits"]
    assert spent["shots"] == a_step * sum([4, 7, 12, 21, 37, 64]) and spent["transpilations"] == 1


def test_shots_change_where_the_engine_cannot_change_them():
    layer = network(backend="statevector?shots=50&seed=4")[0]
    x = torch.zeros((1, 2), dtype=torch.float64)
    found = []
    for shots in (10, 50, 10):
        layer.set_shots(shots)
        assert layer.shots == shots
        found.append([layer(x).item() for _ in range(5)])
    assert layer.usage["shots"] == 5 * (10 + 50 + 10)
    assert found[0] != found[2]
    assert str(layer.backend) == "statevector?shots=50&seed=4"


def test_a_relative_schedule_finds_the_shots_for_its_error():
    module, (inputs, targets) = network(backend="statevector?shots=50&seed=6"), problem()
    target, n = 0.2, 100

    def gradient() -> torch.Tensor:
        module.zero_grad()
        nn.functional.mse_loss(module(inputs), targets).backward()
        return torch.cat([p.grad.flatten() for p in module.parameters()])

    module[0].set_shots(n)
    draws = torch.stack([gradient() for _ in range(60)])
    needed = n * (draws.var(0).sum() / draws.mean(0).square().sum()).item() / target**2
    history = fit(module, 60, shots=f"relative:8-100000,{target}", batch_size=40, learning_rate=1e-12)
    settled = torch.tensor(history.shots[20:], dtype=torch.float64)
    assert 0.6 * needed < settled.log().mean().exp() < 1.7 * needed


def test_a_schedule_goes_on_after_a_stop(tmp_path):
    whole = fit(network(backend="statevector?shots=9&seed=1"), 4, shots="growing:2-40")
    path = tmp_path / "run.ckpt"

    def stop(epoch: int, loss: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(network(backend="statevector?shots=9&seed=1"), 4, shots="growing:2-40", checkpoint=path, callbacks=[stop])
    resumed = fit(network(backend="statevector?shots=9&seed=1"), 4, shots="growing:2-40", checkpoint=path)
    assert resumed.shots == whole.shots


@pytest.mark.parametrize(
    ("backend", "gradient", "shots", "message"),
    [
        ("statevector", "auto", "growing:2-40", "backend with shots"),
        ("statevector?shots=9", "spsa", "relative:2-40", "parameter-shift gradients"),
        ("statevector?shots=9", "auto", "relative:1-40", "at least 2 shots"),
        ("statevector?shots=9", "auto", "growing:40-2", "got 40-2"),
        ("statevector?shots=9", "auto", "growing:many", "such as 256"),
        ("statevector?shots=9", "auto", "relative:2-40,-1", "positive relative error"),
        ("statevector?shots=9", "auto", "growth:2-40", "'growing'"),
    ],
)
def test_schedules_that_cannot_be_followed_are_refused(backend, gradient, shots, message):
    with pytest.raises(ValueError, match=message):
        fit(network(backend=backend, gradient=gradient), 2, shots=shots)


@pytest.mark.parametrize("text", ["256", "growing:64-4096", "relative:64-4096,0.3"])
def test_a_schedule_prints_as_it_was_given(text):
    assert str(ShotSchedule.parse(text)) == text
    assert ShotSchedule.parse(ShotSchedule.parse(text)) == ShotSchedule.parse(text)
