"""Quantum kernels: similarity as the fidelity of two encoded states."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from circuits import ParameterizedCircuit
from qworkbench.engines.base import Expectation
from qworkbench.engines.registry import open_engine
from qworkbench.lowering import Angles, lower

__all__ = ["QuantumKernel"]


class QuantumKernel:
    """The fidelity kernel ``k(x, y) = |<phi(x)|phi(y)>|**2`` (Havlicek et al. 2019, Nature 567, 209).

    Exact engines make one batch of states and one matrix product; sampling engines run one compute-uncompute
    circuit a pair (the symmetric half only; the diagonal is 1 by definition) and count all-zeros outcomes.

    Args:
        circuit: The feature map.
        backend: See ``open_engine``.
        weights: Values of the circuit's weights, shape ``(n_weights,)``, if it has any.

    Raises:
        ValueError: If the weights do not fit, or the backend is unknown.
    """

    def __init__(self, circuit: ParameterizedCircuit, backend: Any = "statevector", weights: ArrayLike = ()) -> None:
        self.circuit, self.backend = circuit, backend
        self._weights = torch.as_tensor(np.asarray(weights, dtype=float))
        if self._weights.shape != (circuit.n_weights,) or not torch.isfinite(self._weights).all():
            raise ValueError(
                f"expected {circuit.n_weights} finite weights for the feature map, got {tuple(self._weights.shape)}"
            )
        self._lowered = lower(circuit)
        self._engine = open_engine(backend)
        self._overlap = self._engine.compile_overlap(self._lowered)

    @property
    def weights(self) -> np.ndarray:
        """Values of the circuit's weights, shape ``(n_weights,)``."""
        return self._weights.numpy()

    @property
    def usage(self) -> dict[str, int]:
        """What the engine has run for this kernel."""
        return self._engine.usage.as_dict()

    def __call__(self, x: ArrayLike, y: ArrayLike | None = None) -> np.ndarray:
        """The kernel matrix of shape ``(N, M)``; see ``estimate``."""
        return self.estimate(x, y)[0]

    def estimate(self, x: ArrayLike, y: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The kernel matrix and the standard error of each entry.

        Args:
            x: Shape ``(N, n_inputs)``.
            y: Shape ``(M, n_inputs)``; ``x`` itself by default.

        Returns:
            Two arrays of shape ``(N, M)``, float64; the errors are 0 on exact backends.

        Raises:
            ValueError: If a shape is wrong or a value is not finite.
        """
        with torch.no_grad():
            left = self._angles(x)
            result: Expectation = self._overlap.fidelities(left, None if y is None else self._angles(y))
        return result.mean.numpy(), result.std_error.numpy()

    def _angles(self, x: ArrayLike) -> Angles:
        data = np.asarray(x, dtype=float)
        if data.ndim != 2 or data.shape[1] != self.circuit.n_inputs:
            raise ValueError(f"expected data of shape (N, {self.circuit.n_inputs}), got {data.shape}")
        if not np.isfinite(data).all():
            raise ValueError("expected finite data, got NaN or infinity")
        return self._lowered.angles(torch.as_tensor(data), self._weights)
