"""What the detectors share that train one module on normal events to come near a target."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from qworkbench.models.base import draw_seed, n_parameters, on_backend, quantum_layers, seeded, tensor, usage
from qworkbench.models.components import ANGLE_RANGE, ComponentScaler
from qworkbench.models.detector import ThresholdedDetector, check_settings, hold_out
from qworkbench.models.safeguard import Safeguard, draw_trial
from qworkbench.training import train


class OneClassDetector(ThresholdedDetector):
    """Scale, train a module on the events, score by what it misses. Abstract.

    What the components leave out and what lies beyond the angles counts as well; see ``Safeguard``. A fitted detector
    has ``module_``, ``scaler_``, ``targets_``, ``safeguard_``, ``loss_curve_``, ``validation_loss_curve_`` (of the
    held-out events, if there are any), ``offset_``, ``usage_`` and ``n_parameters_``.
    """

    def _build(self, n_components: int, rng: torch.Generator) -> nn.Module:
        """The untrained module ``(B, n_components) -> (B, n_outputs)``."""
        raise NotImplementedError

    def _targets(self, module: nn.Module, events: torch.Tensor) -> torch.Tensor:
        """What the module should give: one row for all events ``(1, n_outputs)``, or one a row of ``events``."""
        raise NotImplementedError

    def _loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """What training minimises, a scalar."""
        return (outputs - targets).square().sum(1).mean()

    def _oddness(self, X: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """How far events ``(N, F)`` with these outputs ``(N, n_outputs)`` are from normal, shape ``(N,)``."""
        return ((outputs - self.targets_) ** 2).sum(axis=1)

    def _missed(self, X: np.ndarray) -> np.ndarray:
        """What the module is not shown of events ``(N, F)``, shape ``(N,)``."""
        return self.scaler_.left_out(X, ANGLE_RANGE)

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        self._check_settings()
        self._seed = draw_seed(self.random_state)
        rng = torch.Generator().manual_seed(self._seed)
        train_events, held_out = hold_out(self, X, self._seed)
        self.scaler_ = ComponentScaler(self.n_qubits).fit(train_events)
        events, unseen = self._inputs(train_events), self._inputs(held_out)
        module = self._build(events.shape[1], rng)
        with torch.no_grad():
            targets = self._targets(module, events)
        shared = len(targets) == 1

        def aims(rows: torch.Tensor) -> torch.Tensor:
            return targets.expand(len(rows), -1) if shared else self._targets(module, rows)

        losses: list[float] = []

        def validate(epoch: int, loss: float) -> None:
            with torch.no_grad():
                losses.append(self._loss(module(unseen), aims(unseen)).item())

        history = train(
            module,
            self._loss,
            events,
            aims(events),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            generator=rng,
            callbacks=[validate] if len(unseen) else [],
        )
        self.loss_curve_, self.validation_loss_curve_ = history.losses, losses
        self.targets_ = targets.numpy() if shared else None
        trial = draw_trial(train_events, self._seed)
        own = self._own(trial.rows, module)
        self.safeguard_ = Safeguard().fit(train_events, trial, own, self._missed(trial.rows))
        scores = self._scores(held_out if self.threshold == "validation" else X, module)
        self.module_, self.usage_, self.n_parameters_ = module, usage(module), n_parameters(module)
        return scores

    def _check_settings(self) -> None:
        check_settings(self, dict.fromkeys(("n_qubits", "n_layers", "epochs", "batch_size"), 1))

    def _inputs(self, X: np.ndarray) -> torch.Tensor:
        return tensor(self.scaler_.transform(X)).clamp(-ANGLE_RANGE, ANGLE_RANGE)

    def _own(self, X: np.ndarray, module: nn.Module) -> np.ndarray:
        with torch.no_grad():
            return self._oddness(X, module(self._inputs(X)).numpy())

    def _scores(self, X: np.ndarray, module: nn.Module) -> np.ndarray:
        return -self.safeguard_.oddness(X, self._own(X, module), self._missed(X))

    def _score(self, X: np.ndarray) -> np.ndarray:
        module: Any = self.module_
        if quantum_layers(module):
            module = on_backend(module, seeded(self.backend, self._seed))
        return self._scores(X, module)
