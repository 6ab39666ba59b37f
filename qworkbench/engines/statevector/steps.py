"""What the torch executor does to a batch of states, complex of shape ``(N, 2**n)``.

A step takes a *part* from the angles (see ``Parts``). It is applied, undone, and differentiated: all steps are unitary,
so a gradient by the states is carried back as the states are.

States may lie in any order of their qubits, which is known when steps are made: a matrix leaves its qubits in front,
which costs no copy if they were the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from qworkbench.engines.statevector.constants import Constants
from qworkbench.engines.statevector.passes import Linear


class Step(Protocol):
    """One operation on all states."""

    def apply(self, part: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """The states after the step."""
        ...

    def undo(self, part: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """The states before the step."""
        ...

    def slope(self, part: torch.Tensor, before: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient by the part, from the states before and torch's gradient by the states after."""
        ...


class MatrixStep:
    """A matrix on some qubits, part ``(B, d, d)``.

    Args:
        order: All qubits, from the most significant bit of the states to the least.
        qubits: Those of the matrix, likewise.
    """

    def __init__(self, order: Sequence[int], qubits: Sequence[int]) -> None:
        rest = [q for q in order if q not in qubits]
        self.order = [*qubits, *rest]
        self._size, self._n_qubits = 2 ** len(qubits), len(order)
        self._are_last = list(order) == [*rest, *qubits]
        self._axes = [0, *(1 + list(order).index(q) for q in self.order)]

    def _grouped(self, state: torch.Tensor) -> torch.Tensor:
        """``(N, d, 2**n / d)``."""
        shape = (len(state), self._size, 2**self._n_qubits // self._size)
        if self._are_last:
            return state.reshape(shape[0], shape[2], shape[1]).mT
        return state.reshape(-1, *[2] * self._n_qubits).permute(self._axes).reshape(shape)

    def apply(self, part: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """See ``Step``."""
        return torch.bmm(part.expand(len(state), -1, -1), self._grouped(state)).reshape(state.shape)

    def undo(self, part: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """See ``Step``."""
        after = state.reshape(len(state), self._size, 2**self._n_qubits // self._size)
        part = part.conj().expand(len(state), -1, -1)
        if self._are_last:
            return torch.bmm(after.mT, part).reshape(state.shape)
        split = torch.bmm(part.mT, after).reshape(-1, *[2] * self._n_qubits)
        return split.permute(np.argsort(self._axes).tolist()).reshape(state.shape)

    def slope(self, part: torch.Tensor, before: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """See ``Step``."""
        after = gradient.reshape(len(gradient), self._size, 2**self._n_qubits // self._size)
        return _summed(torch.bmm(after, self._grouped(before).mH), part)


class PhaseStep:
    """A phase ``exp(i sum_m a_m Z_m)``, then a reordering.

    A product of Zs is one on the upper half of the bits times one on the lower half. So the phases of all amplitudes
    are ``upper a lower`` with small tables of signs, and the part ``(B, rows * columns)`` is the flat matrix ``a``.

    Args:
        order: All qubits, from the most significant bit of the states to the least.
        masks: Products of Zs.
        move: The reordering; the states are in the natural order after it.
        tables: Where reorderings are kept; steps that repeat one share it.
    """

    def __init__(self, order: Sequence[int], masks: Sequence[int], move: Linear | None, tables: Constants) -> None:
        self._n_qubits, self._n_lower = len(order), len(order) // 2
        bits = [self._bits(mask, order) for mask in masks]
        self._upper = sorted({b >> self._n_lower for b in bits})
        self._lower = sorted({b % 2**self._n_lower for b in bits})
        self.index = {
            mask: self._upper.index(b >> self._n_lower) * len(self._lower) + self._lower.index(b % 2**self._n_lower)
            for mask, b in zip(masks, bits, strict=True)
        }
        self.size = len(self._upper) * len(self._lower)
        self._move, self._tables, self._from = move, tables, tuple(order)
        self.order = list(order) if move is None else list(range(self._n_qubits))[::-1]

    @staticmethod
    def _bits(mask: int, order: Sequence[int]) -> int:
        return sum(1 << place for place, q in enumerate(reversed(order)) if (mask >> q) & 1)

    def _signs(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``(2**upper, rows)`` and ``(columns, 2**lower)``."""

        def table(n_bits: int, masks: Sequence[int]) -> np.ndarray:
            return 1.0 - 2.0 * (np.bitwise_count(np.arange(2**n_bits)[:, None] & np.array(masks)) & 1)

        n_upper = self._n_qubits - self._n_lower
        upper = self._tables((n_upper, *self._upper), lambda: table(n_upper, self._upper), like)
        return upper, self._tables((self._n_lower, *self._lower), lambda: table(self._n_lower, self._lower), like).mT

    def _factor(self, part: torch.Tensor) -> torch.Tensor:
        upper, lower = self._signs(part)
        angles = part.reshape(-1, len(self._upper), len(self._lower)) @ lower
        turned = torch.bmm(upper.expand(len(part), -1, -1), angles).flatten(1)
        return torch.complex(torch.cos(turned), torch.sin(turned))

    def _targets(self) -> np.ndarray:
        """Where each amplitude goes."""
        assert self._move is not None
        amplitude, target = np.arange(2**self._n_qubits), np.full(2**self._n_qubits, self._move.shift)
        for place, q in enumerate(reversed(self._from)):
            target ^= ((amplitude >> place) & 1) * self._move.columns[q]
        return target

    def _reordered(self, state: torch.Tensor, inverse: bool) -> torch.Tensor:
        if self._move is None:
            return state
        key = (inverse, self._from, self._move.shift, *self._move.columns)
        source = self._tables(
            key, lambda: self._targets() if inverse else np.argsort(self._targets()), state, torch.long
        )
        return state.gather(1, source.expand(len(state), -1))

    def apply(self, part: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """See ``Step``."""
        return self._reordered(state * self._factor(part) if self.size else state, inverse=False)

    def undo(self, part: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """See ``Step``."""
        state = self._reordered(state, inverse=True)
        return state * self._factor(-part) if self.size else state

    def slope(self, part: torch.Tensor, before: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """See ``Step``."""
        after, gradient = before * self._factor(part), self._reordered(gradient, inverse=True)
        by_angle = _summed(gradient.imag * after.real - gradient.real * after.imag, part)
        upper, lower = self._signs(part)
        split = by_angle.unflatten(1, (len(upper), -1))
        return (torch.bmm(upper.mT.expand(len(split), -1, -1), split) @ lower.mT).flatten(1)


def _summed(by_sample: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """A gradient by sample, or their sum if the part is one for all."""
    return by_sample if len(part) == len(by_sample) else by_sample.sum(0, keepdim=True)
