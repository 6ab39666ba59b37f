"""Anomaly detection by the likelihood of a Born machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.interpolate import RegularGridInterpolator
from scipy.linalg import hadamard
from torch import nn

from circuits import born_machine, z_strings
from qworkbench.layer import QuantumLayer
from qworkbench.models.base import draw_seed, n_parameters, near_identity, on_backend, seeded, usage, with_errors
from qworkbench.models.components import ComponentScaler
from qworkbench.models.detector import ThresholdedDetector, check_settings, hold_out
from qworkbench.models.safeguard import Safeguard, draw_trial
from qworkbench.training import train

FLOOR = 0.01
"""Share of a uniform distribution in the model: no event has probability 0, with shots neither."""
MAX_QUBITS = 12
"""All ``2**n`` products of Z are measured."""


class BornMachineDetector(ThresholdedDetector):
    """The log density of a distribution that a circuit holds in its measured bits (Liu & Wang 2018, arXiv:1804.04168).

    Each of the first principal components is a number of ``n_bits`` bits: a bin of ``[-1, 1]``, whose inner 80% holds
    96% of the training events. Training maximises the likelihood of the training events' bins; a step is one circuit,
    whatever their number. The density of an event is interpolated between the bins' centres, and beyond the outermost
    bins falls like a Gaussian whose deviation is a bin. What the components leave out is taken off as well; see
    ``Safeguard``. Features are scaled inside, as in ``QGANDetector``.

    A fitted detector has ``module_``, ``scaler_``, ``loss_curve_`` (nats an event), ``offset_``, ``usage_`` and
    ``n_parameters_``. A call that scores runs one circuit.

    Args:
        n_components: Number of principal components.
        n_bits: Bits of each; ``n_components * n_bits`` qubits, at most 12.
        n_layers: Entangling layers of the circuit.
        epochs: Steps.
        learning_rate: Adam's.
        contamination: Share of the events beyond the threshold; ``auto`` is 0.1.
        threshold: ``training`` or ``validation``: whose scores set it, those of all events or of the held-out ones.
        validation_fraction: Share of the events that is held out; none if they would be fewer than 10.
        backend: Where it runs, in ``fit`` and when scoring.
        gradient: ``auto``, ``adjoint``, ``parameter-shift`` or ``spsa``.
        random_state: Seed of weights and shots.
    """

    def __init__(
        self,
        n_components: int = 3,
        *,
        n_bits: int = 2,
        n_layers: int = 3,
        epochs: int = 200,
        learning_rate: float = 0.05,
        contamination: float | str = "auto",
        threshold: str = "training",
        validation_fraction: float = 0.1,
        backend: Any = "statevector",
        gradient: str = "auto",
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_bits = n_bits
        self.n_layers = n_layers
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.contamination = contamination
        self.threshold = threshold
        self.validation_fraction = validation_fraction
        self.backend = backend
        self.gradient = gradient
        self.random_state = random_state

    def _fit_scores(self, X: np.ndarray) -> np.ndarray:
        check_settings(self, dict.fromkeys(("n_components", "n_bits", "n_layers", "epochs"), 1))
        self._seed = draw_seed(self.random_state)
        train_events, held_out = hold_out(self, X, self._seed)
        self.scaler_ = ComponentScaler(self.n_components).fit(train_events)
        n_qubits = len(self.scaler_.components_) * self.n_bits
        if n_qubits > MAX_QUBITS:
            raise ValueError(
                f"expected n_components * n_bits of at most {MAX_QUBITS}, got {n_qubits} "
                f"({len(self.scaler_.components_)} components of {self.n_bits} bits)"
            )
        self.n_bits_ = self.n_bits
        module = self._build(n_qubits)
        shares = torch.bincount(self._bins(train_events), minlength=2**n_qubits).double() / len(train_events)
        history = train(
            module,
            lambda found, wanted: -(wanted * torch.log(_probabilities(found))).sum(),
            torch.zeros(1, 0, dtype=torch.float64),
            shares[None],
            epochs=self.epochs,
            batch_size=1,
            learning_rate=self.learning_rate,
            generator=torch.Generator().manual_seed(self._seed),
        )
        self.loss_curve_ = history.losses
        trial = draw_trial(train_events, self._seed)
        parts = -self._densities(trial.rows, module), self.scaler_.left_out(trial.rows)
        self.safeguard_ = Safeguard().fit(train_events, trial, *parts)
        scores = self._guarded(held_out if self.threshold == "validation" else X, module)
        self.module_, self.usage_, self.n_parameters_ = module, usage(module), n_parameters(module)
        return scores

    def _build(self, n_qubits: int) -> QuantumLayer:
        backend, rng = seeded(self.backend, self._seed), torch.Generator().manual_seed(self._seed)
        circuit = born_machine(n_qubits, n_layers=self.n_layers)
        layer = QuantumLayer(circuit, z_strings(n_qubits), backend, gradient=self.gradient, dtype=torch.float64)
        return near_identity(layer, rng)

    def _bins(self, X: np.ndarray) -> torch.Tensor:
        """The outcome that stands for each event: component c in the bits from ``c * n_bits`` on."""
        n_bins = 2**self.n_bits_
        bins = np.clip(np.floor((self.scaler_.transform(X) + 1) / 2 * n_bins), 0, n_bins - 1).astype(np.int64)
        return torch.as_tensor((bins << (self.n_bits_ * np.arange(bins.shape[1]))).sum(axis=1))

    def _densities(self, X: np.ndarray, module: nn.Module) -> np.ndarray:
        """Log density of scaled components, shape ``(N,)``."""
        with torch.no_grad():
            probabilities = _probabilities(module(torch.zeros(1, 0, dtype=torch.float64)))[0].numpy()
        events, n_bins = self.scaler_.transform(X), 2**self.n_bits_
        width = 2 / n_bins
        centres = -1 + width * (np.arange(n_bins) + 0.5)
        n_components = events.shape[1]
        # The last axis of the table is the component in the lowest bits.
        table = probabilities.reshape((n_bins,) * n_components) / width**n_components
        inside = np.clip(events, centres[0], centres[-1])
        density = RegularGridInterpolator((centres,) * n_components, table)(inside[:, ::-1])
        beyond = np.clip(np.abs(events) - 1, 0, None) / width
        return np.log(density) - 0.5 * (beyond**2).sum(axis=1)

    def _guarded(self, X: np.ndarray, module: nn.Module) -> np.ndarray:
        return -self.safeguard_.oddness(X, -self._densities(X, module), self.scaler_.left_out(X))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._guarded(X, on_backend(self.module_, seeded(self.backend, self._seed)))

    def estimate(self, X: ArrayLike, groups: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Scores and their standard errors, each ``(N,)``; see ``models.base.with_errors``."""
        # One circuit stands behind all rows, so that groups in one call would share their shots.
        return with_errors(self, "score_samples", X, groups, together=False)


def _probabilities(strings: torch.Tensor) -> torch.Tensor:
    """Expectation values of all Z strings, shape ``(B, 2**n)``, to the outcomes' probabilities with their floor."""
    size = strings.shape[1]
    found = strings @ torch.as_tensor(hadamard(size), dtype=strings.dtype) / size
    return (1 - FLOOR) * found.clamp(min=0) + FLOOR / size
