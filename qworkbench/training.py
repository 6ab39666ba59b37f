"""The training loop: seeded mini-batches, a NaN guard, early stopping, checkpoints that resume."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qworkbench.shots import ShotSchedule, ShotState, next_shots

Callback = Callable[[int, float], None]
"""Called after each epoch with its number (from 1) and mean loss."""
RESOLVED = 2.0
"""Standard errors by which a noisy validation loss must be lower to count as lower."""


@dataclass
class History:
    """What a training run leaves behind."""

    losses: list[float] = field(default_factory=list)
    """Mean training loss of each epoch."""
    validation_losses: list[float] = field(default_factory=list)
    """Loss on the validation data after each epoch, if there are any."""
    best_epoch: int = 0
    """Epoch (from 1) whose weights were kept, if there are validation data."""
    remeasured: list[float] = field(default_factory=list)
    """Validation losses of the kept weights measured since they were kept, if the module samples: unlike the loss for
    which they were kept, not lucky."""
    repeats: list[float] = field(default_factory=list)
    """Differences between successive measurements of the same weights, if the module samples: the noise of the loss."""
    shots: list[int] = field(default_factory=list)
    """Shots a circuit in the last step of each epoch, if they follow a schedule."""


class TrainingError(RuntimeError):
    """The loss is no longer a number."""


def train(
    module: nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 0.05,
    weight_decay: float = 0.0,
    generator: torch.Generator | None = None,
    validation: tuple[torch.Tensor, torch.Tensor] | None = None,
    patience: int | None = None,
    shots: ShotSchedule | str | int | None = None,
    checkpoint: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Fit a module with Adam, in place.

    Where the module samples, the smallest of many validation losses is mostly a lucky one. So the kept weights are
    measured anew after each epoch, and others take their place only if the mean of two measurements of theirs is below
    that of all these by two standard errors.

    Args:
        module: Any torch module, with quantum layers or without.
        loss: ``(predictions, targets) -> scalar``.
        inputs: Shape ``(N, F)``.
        targets: First axis of length ``N``.
        epochs: Passes over the data.
        batch_size: Samples a step.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        generator: Source of the batch order; torch's own by default.
        validation: Inputs and targets that stop the training early; the best weights are kept.
        patience: Epochs without a better validation loss before stopping; needs ``validation``.
        shots: Shots a circuit in each step: a number, ``growing:64-4096`` or ``relative:64-4096``; see
            ``ShotSchedule.parse``. By default what the module's backends say. Its layers keep those of the last step.
        checkpoint: File written after each epoch. If it exists, training goes on from it; on exact backends, and with
            modules that draw nothing at random, as if never stopped. (The shot noise of a sampling backend, dropout
            and the like start anew.)
        callbacks: See ``Callback``.

    Raises:
        ValueError: If a setting is out of range, the checkpoint belongs to another run, or shots are to follow a
            schedule where nothing samples.
        TrainingError: If the loss becomes NaN or infinite; the module then holds its last good weights.
    """
    if epochs < 1 or batch_size < 1 or not learning_rate > 0:
        raise ValueError(
            "expected epochs and batch_size of at least 1 and a positive learning_rate, "
            f"got {epochs}, {batch_size} and {learning_rate}"
        )
    if patience is not None and validation is None:
        raise ValueError("expected validation data with patience, got none")
    run = _Run(module, torch.optim.Adam(module.parameters(), lr=learning_rate, weight_decay=weight_decay))
    if shots is not None:
        run.plan(ShotSchedule.parse(shots), epochs)
    run.generator = generator or torch.Generator().manual_seed(torch.initial_seed() % 2**63)
    name = getattr(loss, "__qualname__", type(loss).__name__)
    settings = [batch_size, learning_rate, weight_decay, patience, repr(module), name, _digest(inputs, targets)]
    # A growing schedule depends on the number of epochs, which is free to change without one.
    settings += [] if shots is None else [str(ShotSchedule.parse(shots)), epochs]
    store = None if checkpoint is None else _Store(Path(checkpoint), json.dumps(settings))
    if store is not None:
        store.restore(run)
    while len(run.history.losses) < epochs and not run.stalled(patience):
        run.epoch(loss, inputs, targets, batch_size)
        if validation is not None:
            run.validate(loss, *validation)
        if store is not None:
            store.save(run)
        for callback in callbacks:
            callback(len(run.history.losses), run.history.losses[-1])
    run.keep_best()
    return run.history


def batches(order: torch.Tensor, batch_size: int) -> list[torch.Tensor]:
    """The order in pieces; a last piece of one sample joins the one before, since batch statistics need two."""
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


class _Run:
    """Everything that a checkpoint must hold."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.optimizer, self.history = module, optimizer, History()
        self.generator = torch.Generator()
        self.best: dict[str, torch.Tensor] = {}
        self.samplers: list[Any] = [m for m in module.modules() if hasattr(m, "set_shots") and m.shots]
        self.schedule: ShotSchedule | None = None
        self.shots, self._epochs = ShotState(), 0

    def plan(self, schedule: ShotSchedule, epochs: int) -> None:
        if not self.samplers:
            raise ValueError("expected a backend with shots, such as 'statevector?shots=64', for a shot schedule")
        if schedule.halves and any(getattr(m, "gradient", None) == "spsa" for m in self.samplers):
            raise ValueError(
                "expected parameter-shift gradients for a relative shot schedule: the error of SPSA is mostly that of "
                "its random directions, which shots do not reduce; use growing"
            )
        self.schedule, self._epochs = schedule, epochs

    def epoch(
        self, loss: Callable[..., torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor, batch_size: int
    ) -> None:
        self.module.train()
        order, total = torch.randperm(len(inputs), generator=self.generator), 0.0
        parts = batches(order, batch_size)
        for batch in parts:
            if self.schedule is not None:
                self.shots.shots = next_shots(self.schedule, self.shots, self._epochs * len(parts))
            value = self._slope(loss, inputs[batch], targets[batch])
            slopes = [p.grad for p in self.module.parameters() if p.grad is not None]
            # Seen before the step, so that the weights are still good ones.
            if not all(bool(torch.isfinite(t).all()) for t in [value, *slopes]):
                raise TrainingError(
                    f"the loss ({value.item():g}) or its gradient is no longer finite in epoch "
                    f"{len(self.history.losses) + 1}; the last good weights are kept; lower the learning rate"
                )
            self.optimizer.step()
            self.shots.step += 1
            total += value.item() * len(batch)
        self.history.losses.append(total / len(inputs))
        if self.schedule is not None:
            self.history.shots.append(self.shots.shots)
            self._sample(self.shots.shots)

    def _slope(self, loss: Callable[..., torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of one batch, its gradient left in the parameters."""
        if self.schedule is None or not self.schedule.halves:
            if self.schedule is not None:
                self._sample(self.shots.shots)
            return self._backward(loss, inputs, targets)
        self._sample(self.shots.shots // 2)
        values, halves = [], []
        for _ in range(2):
            values.append(self._backward(loss, inputs, targets))
            halves.append([p.grad.clone() for p in self.module.parameters() if p.grad is not None])
        noise = signal = 0.0
        trained = [p for p in self.module.parameters() if p.grad is not None]
        for parameter, first, second in zip(trained, *halves, strict=True):
            parameter.grad = (first + second) / 2
            noise += float(((first - second) ** 2).sum()) / 4
            # The noise of the halves is independent, so it drops out of their product.
            signal += float((first * second).sum())
        self.shots.observe(noise, signal)
        return (values[0] + values[1]) / 2

    def _backward(self, loss: Callable[..., torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad()
        value = loss(self.module(inputs), targets)
        value.backward()
        return value.detach()

    def _sample(self, shots: int) -> None:
        for sampler in self.samplers:
            sampler.set_shots(shots)

    def validate(self, loss: Callable[..., torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.module.eval()

        def measure() -> float:
            with torch.no_grad():
                return float(loss(self.module(inputs), targets))

        value = measure()
        if self.samplers and self.best:
            better = self._beats(value, measure)
        else:
            better = not self.history.validation_losses or value < min(self.history.validation_losses)
        if better:
            self.best = self._weights()
            self.history.best_epoch, self.history.remeasured = len(self.history.losses), []
        self.history.validation_losses.append(value)

    def _beats(self, value: float, measure: Callable[[], float]) -> bool:
        """Whether the weights are better than the kept ones, which are measured again for it."""
        challenger, known = self._weights(), self.history.remeasured
        self.module.load_state_dict(self.best)
        for _ in range(1 if self.history.repeats else 2):
            known.append(measure())
            if len(known) > 1:
                self.history.repeats.append(known[-1] - known[-2])
        self.module.load_state_dict(challenger)
        level = sum(known) / len(known)
        if value >= level:
            return False
        variance = sum(d * d for d in self.history.repeats) / len(self.history.repeats) / 2
        return (value + measure()) / 2 < level - RESOLVED * (variance * (1 / 2 + 1 / len(known))) ** 0.5

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.module.state_dict().items()}

    def stalled(self, patience: int | None) -> bool:
        return patience is not None and len(self.history.losses) - self.history.best_epoch >= patience > 0

    def keep_best(self) -> None:
        if self.best:
            self.module.load_state_dict(self.best)
        self.module.eval()


def _digest(*tensors: torch.Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((tensor.shape, tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Store:
    """One file, replaced atomically: weights, optimizer, random state and history, with a checksum."""

    def __init__(self, path: Path, settings: str) -> None:
        self._path, self._settings = path, settings

    def save(self, run: _Run) -> None:
        from safetensors.torch import save

        tensors = {f"module/{k}": v for k, v in run.module.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in run.best.items()}
        tensors["generator"] = run.generator.get_state()
        for index, state in run.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
        parts: dict[str, History | ShotState] = {"history": run.history, "shots": run.shots}
        described = {key: json.dumps(asdict(value)) for key, value in parts.items()}
        body = save(tensors, described | {"settings": self._settings})
        temporary = self._path.with_name(self._path.name + ".tmp")
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)

    def restore(self, run: _Run) -> None:
        from safetensors.torch import load

        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return
        content = self._path.read_bytes()
        digest, body = content[:32], content[32:]
        if hashlib.sha256(body).digest() != digest:
            raise ValueError(f"the checkpoint {self._path} is damaged (checksum); remove it to start anew")
        metadata = _metadata(body)
        if metadata["settings"] != self._settings:
            raise ValueError(f"the checkpoint {self._path} belongs to a run with other settings or data")
        tensors = load(body)
        run.module.load_state_dict(_under(tensors, "module/"))
        run.best = _under(tensors, "best/")
        run.generator.set_state(tensors["generator"])
        state: dict[int, dict[str, Any]] = {}
        for key, tensor in _under(tensors, "optimizer/").items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = tensor
        groups = run.optimizer.state_dict()["param_groups"]
        run.optimizer.load_state_dict({"state": state, "param_groups": groups})
        run.history = History(**json.loads(metadata["history"]))
        run.shots = ShotState(**json.loads(metadata.get("shots", "{}")))


def _metadata(body: bytes) -> dict[str, str]:
    size = int.from_bytes(body[:8], "little")
    metadata: dict[str, str] = json.loads(body[8 : 8 + size])["__metadata__"]
    return metadata


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
