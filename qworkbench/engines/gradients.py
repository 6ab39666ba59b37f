"""Gradients for engines that can only evaluate: parameter-shift and SPSA, each as one submission."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from qworkbench.engines.base import Expectation
from qworkbench.gates import shift_rule
from qworkbench.lowering import Angles, LoweredCircuit

Evaluate = Callable[[torch.Tensor], Expectation]
"""Angles of shape ``(M, K)``, one row a bound circuit -> expectation values of shape ``(M, O)``."""

SPSA_STEP = 0.2
"""Half-width of the simultaneous perturbation in radians; below it shot noise wins, above it curvature."""


class EvaluatedProgram:
    """A ``Program`` made of an ``evaluate`` function, with the gradient by shifted evaluations."""

    def __init__(
        self, circuit: LoweredCircuit, evaluate: Evaluate, gradient: str = "parameter-shift", seed: int | None = None
    ) -> None:
        self._circuit = circuit
        self._evaluate = evaluate
        self._gradient = "parameter-shift" if gradient == "auto" else gradient
        self._rng = np.random.default_rng(seed)
        if self._gradient == "parameter-shift":
            for name in circuit.slot_gates:
                shift_rule(name)

    def run(self, angles: Angles) -> Expectation:
        """See ``Program``."""
        return self._evaluate(angles.rows())

    def vjp(self, angles: Angles, cotangent: torch.Tensor, needs: tuple[bool, bool] = (True, True)) -> Angles:
        """See ``Program``."""
        n_shared, rows = self._circuit.n_shared, angles.rows()
        wanted = np.zeros(rows.shape[1], dtype=bool)
        wanted[:n_shared], wanted[n_shared:] = needs
        if not wanted.any():
            gradient = torch.zeros_like(rows)
        elif self._gradient == "spsa":
            gradient = self._spsa(rows, cotangent) * torch.as_tensor(wanted, device=rows.device)
        else:
            gradient = self._parameter_shift(rows, cotangent, np.flatnonzero(wanted))
        return Angles(gradient[:, :n_shared].sum(0), gradient[:, n_shared:])

    def _parameter_shift(self, rows: torch.Tensor, cotangent: torch.Tensor, slots: np.ndarray) -> torch.Tensor:
        plan = [(int(slot), s, c) for slot in slots for s, c in shift_rule(self._circuit.slot_gates[slot])]
        shifted = rows.repeat(len(plan), 1, 1)
        for k, (slot, shift, _) in enumerate(plan):
            shifted[k, :, slot] += shift
        mean = self._evaluate(shifted.flatten(0, 1)).mean.reshape(len(plan), *cotangent.shape)
        slope = (mean * cotangent).sum(-1)
        gradient = torch.zeros_like(rows)
        for k, (slot, _, coefficient) in enumerate(plan):
            gradient[:, slot] += coefficient * slope[k]
        return gradient

    def _spsa(self, rows: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
        """Simultaneous perturbation (Spall 1992): two evaluations whatever the number of angles.

        Shared angles are perturbed alike for the whole batch, so their gradient is one estimate, not a sum of N.
        """
        n_shared, (n_rows, n_slots) = self._circuit.n_shared, rows.shape
        signs = self._rng.choice([-1.0, 1.0], size=(n_rows, n_slots))
        signs[:, :n_shared] = signs[:1, :n_shared]
        delta = torch.as_tensor(signs, dtype=rows.dtype, device=rows.device)
        both = torch.cat([rows + SPSA_STEP * delta, rows - SPSA_STEP * delta])
        mean = self._evaluate(both).mean
        slope = ((mean[:n_rows] - mean[n_rows:]) * cotangent).sum(-1) / (2 * SPSA_STEP)
        return slope[:, None] * delta
