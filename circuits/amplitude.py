"""The amplitude-encoding gate: a nonlinear angle map that numpy and torch can both evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Gate, ParameterExpression, QuantumCircuit


class AmplitudeEncodingGate(Gate):
    """Prepares ``sum_k x_k |k> / |x|`` from ``|0...0>`` for real x, in Qiskit's (little-endian) order.

    A binary tree of uniformly controlled RY rotations, each made of RY and CX (Mottonen et al. 2004,
    quant-ph/0407010). A node's angle is ``2 atan2(|right|, |left|)`` of the norms of its two
    halves; the leaves take signed values, so signs are exact. Qiskit's expressions cannot hold ``atan2``: the
    gate stays opaque while it has free parameters, and whoever lowers it asks for ``elementary`` (the gates)
    and ``angle_map`` (their angles).

    Args:
        params: The ``2**n`` values (numbers or Qiskit parameters); zeros pad.
        inverted: The inverse gate.

    Raises:
        ValueError: If the number of values is not a power of two from 2 on.
    """

    def __init__(self, params: Sequence[ParameterExpression | float], inverted: bool = False) -> None:
        size = len(params)
        if size < 2 or size & (size - 1):
            raise ValueError(f"expected 2, 4, 8, ... amplitudes, got {size}")
        name = "amplitude_encoding_dg" if inverted else "amplitude_encoding"
        super().__init__(name, size.bit_length() - 1, list(params))
        self.inverted = inverted

    @property
    def elementary(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Gates on the own qubits: ``("ry", (q,))`` takes the next angle, ``("cx", (c, t))`` takes none."""
        gates = _tree(self.num_qubits)
        return gates[::-1] if self.inverted else gates

    def angle_map(self, values: Any, xp: Any) -> Any:
        """The RY angles for given amplitudes.

        Differentiable in torch. Where a whole subtree is zero its angles are set to zero, with gradient zero:
        polar angles have no derivative at the origin.

        Args:
            values: Shape ``(..., 2**n)``, need not be normalised.
            xp: ``numpy`` or ``torch``.

        Returns:
            Shape ``(..., 2**n - 1)``, in the order in which ``elementary`` consumes them.

        Raises:
            ValueError: If the last axis has the wrong length or a row is all zero.
        """
        if values.shape[-1] != 2**self.num_qubits:
            raise ValueError(f"expected {2**self.num_qubits} amplitudes, got {values.shape[-1]}")
        levels: list[Any] = []
        while values.shape[-1] > 1:
            left, right = values[..., 0::2], values[..., 1::2]
            empty = (left == 0) & (right == 0)
            # The derivatives of atan2 and hypot at (0, 0) are NaN even where they are not selected.
            safe = xp.where(empty, xp.ones_like(left), left)
            levels.append(xp.where(empty, xp.zeros_like(left), 2 * xp.atan2(right, safe)))
            values = xp.where(empty, xp.zeros_like(left), xp.hypot(safe, right))
        if bool((values == 0).any()):
            raise ValueError("amplitude encoding needs a non-zero vector, got a row of zeros")
        mixed = [
            angles @ xp.asarray(_walsh(level), dtype=angles.dtype, device=angles.device)
            for level, angles in enumerate(reversed(levels))
        ]
        angles = xp.concat(mixed, axis=-1)
        return -xp.flip(angles, (-1,)) if self.inverted else angles

    def inverse(self, annotated: bool = False) -> AmplitudeEncodingGate:
        """The inverse gate, also while parameters are free."""
        return AmplitudeEncodingGate(self.params, not self.inverted)

    def _define(self) -> None:
        if any(isinstance(value, ParameterExpression) and value.parameters for value in self.params):
            return
        angles = iter(self.angle_map(np.array([float(value) for value in self.params]), np).tolist())
        definition = QuantumCircuit(self.num_qubits)
        for name, qubits in self.elementary:
            if name == "ry":
                definition.ry(next(angles), *qubits)
            else:
                definition.cx(*qubits)
        self.definition = definition


@lru_cache(maxsize=32)
def _tree(n_qubits: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    gates: list[tuple[str, tuple[int, ...]]] = []
    for level in range(n_qubits):
        target = n_qubits - 1 - level
        for step in range(2**level):
            gates.append(("ry", (target,)))
            if level:
                gates.append(("cx", (target + 1 + _flipped_bit(step, level), target)))
    return tuple(gates)


def _flipped_bit(step: int, n_controls: int) -> int:
    """The bit in which the Gray codes of ``step`` and ``step + 1`` differ; the last step closes the cycle."""
    return min(((step + 1) & -(step + 1)).bit_length() - 1, n_controls - 1)


@lru_cache(maxsize=32)
def _walsh(n_controls: int) -> NDArray[np.float64]:
    """Multiplexed angles (row: value of the controls) to the angles of the Gray-coded RYs (column)."""
    size = 2**n_controls
    index = np.arange(size)
    shared = index[:, None] & (index ^ (index >> 1))[None, :]
    return np.where(np.bitwise_count(shared) % 2, -1.0, 1.0) / size
