"""The small tensors that passes take from the angles, computed in torch: all of a circuit in a few operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple

import numpy as np
import torch

from qworkbench.engines.statevector.constants import Constants
from qworkbench.engines.statevector.passes import PAULIS, Element
from qworkbench.lowering import Angles


class _Made(NamedTuple):
    """What parts are cut from, each for shared angles alone (a batch of one) and for the others."""

    angles: tuple[torch.Tensor, torch.Tensor]
    """A row a slot, a column a sample."""
    turns: tuple[torch.Tensor, torch.Tensor]
    products: tuple[torch.Tensor, torch.Tensor]


class Parts:
    """A list of tensors with one entry a sample, or one for all where angles are shared.

    Args:
        n_shared: Slots below this number are shared by the batch.
    """

    def __init__(self, n_shared: int) -> None:
        self._n_shared, self._constants = n_shared, Constants()
        self._turns = (_Turns(self._constants), _Turns(self._constants))
        self._makers: list[Callable[[_Made], torch.Tensor]] = []

    def _add(self, maker: Callable[[_Made], torch.Tensor]) -> int:
        self._makers.append(maker)
        return len(self._makers) - 1

    def _sampled(self, *slots: int) -> bool:
        return any(slot >= self._n_shared for slot in slots)

    def add_pair(self, low: Sequence[Element], high: Sequence[Element], size: int) -> int:
        """The number of a part ``(B, size, size)``: the runs of two qubits, or of one if ``size`` is 2."""
        sampled = self._sampled(*(element.slot for element in (*low, *high)))
        row = self._turns[sampled].add_pair(low, high)
        return self._add(lambda made: made.products[sampled][row, :, :size, :size])

    def add_gate(self, element: Element, pairs: Sequence[tuple[int, int, int]], size: int) -> int:
        """The number of a part ``(B, size, size)``: an element on pairs of amplitudes, as in a pass."""
        rest, places = np.eye(size, dtype=complex), np.zeros((2, 2, size, size), complex)
        for zero, one, sign in pairs:
            rest[zero, zero] = rest[one, one] = 0
            places[0, 0, zero, zero] = places[1, 1, one, one] = 1
            places[0, 1, zero, one] = places[1, 0, one, zero] = sign
        if element.matrix is not None:
            return self.add_fixed(rest + np.tensordot(element.matrix, places))
        sampled, key = self._sampled(element.slot), (size, tuple(pairs))
        row = self._turns[sampled].add(element)

        def make(made: _Made) -> torch.Tensor:
            turn = made.turns[sampled][row]
            spread = self._constants(("places", key), lambda: places.reshape(4, -1), turn)
            unmoved = self._constants(("rest", key), lambda: rest, turn)
            return (turn.flatten(1) @ spread).reshape(-1, size, size) + unmoved

        return self._add(make)

    def add_fixed(self, matrix: np.ndarray) -> int:
        """The number of a part that no angle changes, with one entry for all."""
        key = ("fixed", len(self._makers))
        return self._add(lambda made: self._constants(key, lambda: matrix[None], made.turns[0]))

    def add_sums(self, terms: Sequence[tuple[int, int, float]], size: int) -> int:
        """The number of a part ``(B, size)``, sums over angles up to whole turns.

        Args:
            terms: ``(index, slot, coefficient)``; the angle of the slot -1 is 1.
            size: How many sums.
        """
        slots = sorted({slot for _, slot, _ in terms if slot >= 0})
        sampled, number = self._sampled(*slots), len(self._makers)
        coefficients = np.zeros((len(slots) + 1, size))
        for index, slot, coefficient in terms:
            coefficients[slots.index(slot) if slot >= 0 else -1, index] += coefficient

        def make(made: _Made) -> torch.Tensor:
            angles = made.angles[sampled]
            constant = self._constants(("constant", number), lambda: coefficients[-1:], angles)
            if not slots:
                return constant
            rows = self._constants(("slots", number), lambda: np.array(slots), angles, torch.long)
            sums = angles[rows].mT @ self._constants(("terms", number), lambda: coefficients[:-1], angles) + constant
            # Whole turns are left out, exactly: next to a large angle the others would lose their digits in a sum.
            return torch.atan2(torch.sin(sums), torch.cos(sums))

        return self._add(make)

    def __call__(self, angles: Angles) -> list[torch.Tensor]:
        """All parts in the order of their numbers, differentiable by torch."""
        columns = (angles.shared[:, None], angles.rows().mT)
        turns = [family.table(rows) for family, rows in zip(self._turns, columns, strict=True)]
        products = [family.products(table) for family, table in zip(self._turns, turns, strict=True)]
        made = _Made(columns, (turns[0], turns[1]), (products[0], products[1]))
        return [make(made) for make in self._makers]

    def numbers_per_sample(self) -> int:
        """About how many real numbers the parts of a sample are, on their way included."""
        return 64 * (len(self._turns[1].slots) + len(self._turns[1].pairs))


class _Turns:
    """2 x 2 matrices of elements, and the products ``high (x) low`` of the runs of two qubits."""

    def __init__(self, constants: Constants) -> None:
        self.slots: list[int] = []
        self.pairs: list[tuple[list[int], list[int]]] = []
        self._axes: list[int] = []
        self._fixed: list[np.ndarray] = [np.eye(2)]
        self._constants = constants

    def add(self, element: Element) -> int:
        """The row of a turn in the table."""
        self.slots.append(element.slot)
        self._axes.append(element.axis)
        return len(self.slots) - 1

    def add_pair(self, low: Sequence[Element], high: Sequence[Element]) -> int:
        """The number of a pair of runs."""
        self.pairs.append((self._run(low), self._run(high)))
        return len(self.pairs) - 1

    def _run(self, elements: Sequence[Element]) -> list[int]:
        """Rows of the table, counted from its end if fixed; neighbours that are fixed become one."""
        rows: list[int] = []
        for is_turn, group in groupby(elements, lambda element: element.matrix is None):
            if is_turn:
                rows += [self.add(element) for element in group]
                continue
            product = np.eye(2)
            for element in group:
                assert element.matrix is not None
                product = element.matrix @ product
            self._fixed.append(product)
            rows.append(-len(self._fixed))
        return rows

    def table(self, angles: torch.Tensor) -> torch.Tensor:
        """``exp(-i t/2 sigma)`` of each turn, then what is fixed: ``(rows, B, 2, 2)``; angles are ``(slots, B)``."""
        like = angles.new_empty(0, dtype=torch.promote_types(angles.dtype, torch.complex64))
        fixed = self._constants((self, "fixed"), lambda: np.array(self._fixed[::-1])[:, None], like)
        fixed = fixed.expand(-1, angles.shape[1], -1, -1)
        if not self.slots:
            return fixed
        rows = self._constants((self, "slots"), lambda: np.array(self.slots), like, torch.long)
        half = angles[rows][..., None, None] / 2
        one = self._constants("one", lambda: np.eye(2), like)
        slopes = self._constants((self, "slopes"), lambda: -1j * PAULIS[self._axes][:, None], like)
        return torch.cat([torch.cos(half) * one + torch.sin(half) * slopes, fixed])

    def products(self, table: torch.Tensor) -> torch.Tensor:
        """The product of each pair of runs, ``(pairs, B, 4, 4)``."""

        def members() -> np.ndarray:
            steps = zip_longest(*(run for pair in self.pairs for run in pair), fillvalue=-1)
            rows = np.array(list(steps), np.int64).reshape(-1, max(2 * len(self.pairs), 1))
            return np.where(rows < 0, rows + len(table), rows)

        runs = table[-1:].expand(2 * len(self.pairs), -1, -1, -1)
        for step, rows in enumerate(self._constants((self, "members"), members, table, torch.long)):
            runs = table[rows] @ runs if step else table[rows]
        low, high = runs[0::2], runs[1::2]
        return (high[:, :, :, None, :, None] * low[:, :, None, :, None, :]).flatten(4).flatten(2, 3)
