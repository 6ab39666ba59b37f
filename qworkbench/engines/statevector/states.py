"""The torch executor: runs the passes of a circuit on any device, in batches that stay small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from qworkbench.engines.base import check_memory
from qworkbench.engines.statevector.constants import Constants
from qworkbench.engines.statevector.parts import Parts
from qworkbench.engines.statevector.passes import Linear, Pass
from qworkbench.engines.statevector.steps import MatrixStep, PhaseStep, Step
from qworkbench.lowering import Angles

CHUNK_BYTES = 2**25
"""Size of the batch of states that is worked on at a time; more rows are done in turn."""
STATES_HELD = 5
"""States alive at once in the adjoint sweep: state, gradient, their successors, and one on the way."""


class StateSimulator:
    """Applies passes to ``|0...0>``, each state up to a global phase.

    Args:
        passes: Of a circuit.
        n_qubits: Its width.
        n_shared: How many slots stand in ``Angles.shared``: the circuit's own number, or 0 if every slot is per sample.
    """

    def __init__(self, passes: Sequence[Pass], n_qubits: int, n_shared: int) -> None:
        check_memory(n_qubits, STATES_HELD, 8)
        self._n_qubits, self._parts, self._tables = n_qubits, Parts(n_shared), Constants()
        self._steps: list[tuple[Step, int]] = []
        self._product: list[int] = []
        self._order = list(range(n_qubits))[::-1]
        for step in passes:
            getattr(self, f"_add_{step.kind}")(step)
        if self._order != sorted(self._order, reverse=True):
            self._add_phase(Pass("phase", move=Linear(n_qubits)))

    def _add(self, step: MatrixStep | PhaseStep, part: int) -> None:
        self._steps.append((step, part))
        self._order = step.order

    def _add_product(self, step: Pass) -> None:
        for low in range(0, self._n_qubits, 2):
            size = min(4, 2 ** (self._n_qubits - low))
            part = self._parts.add_pair(step.runs.get(low, []), step.runs.get(low + 1, []), size)
            self._product.append(part)

    def _add_rotate(self, step: Pass) -> None:
        """Two qubits at a time, the last ones first, since these cost least."""
        left = dict(step.runs)
        while left:
            qubits = self._order[-2:]
            if not left.keys() & set(qubits):
                chosen = [q for q in self._order if q in left][-2:]
                qubits = chosen if len(chosen) == 2 else [*chosen, self._order[-1]]
            runs = [left.pop(qubit, []) for qubit in reversed(qubits)]
            part = self._parts.add_pair(runs[0], runs[1] if len(runs) == 2 else [], 2 ** len(qubits))
            self._add(MatrixStep(self._order, qubits), part)

    def _add_phase(self, step: Pass) -> None:
        phase = PhaseStep(self._order, sorted({mask for mask, *_ in step.terms}), step.move, self._tables)
        terms = [(phase.index[mask], slot, -coefficient) for mask, slot, coefficient in step.terms]
        self._add(phase, self._parts.add_sums(terms, phase.size))

    def _add_pair(self, step: Pass) -> None:
        part = self._parts.add_gate(step.element, step.pairs, 2 ** len(step.qubits))
        self._add(MatrixStep(self._order, step.qubits[::-1]), part)

    def _add_dense(self, step: Pass) -> None:
        self._add(MatrixStep(self._order, step.qubits[::-1]), self._parts.add_fixed(step.matrix))

    def states(self, angles: Angles) -> torch.Tensor:
        """State vectors of shape ``(N, 2**n)``, differentiable by torch; complex64 for float32 angles."""
        parts = self._parts(angles)
        return self._evolved(parts, self._start(parts, len(angles.per_sample)))

    def after(self, state: torch.Tensor) -> torch.Tensor:
        """``state`` after passes that have no angles, of which the first is no product."""
        none = state.real.new_empty(0)
        return self._evolved(self._parts(Angles(none, none.expand(len(state), 0))), state)

    def _start(self, parts: Sequence[torch.Tensor], n_rows: int) -> torch.Tensor:
        """The product state."""
        state, *others = (parts[part][:, :, 0] for part in self._product)
        for vector in others:
            state = (vector[:, :, None] * state[:, None, :]).flatten(1)
        return state.expand(n_rows, -1)

    def _evolved(self, parts: Sequence[torch.Tensor], state: torch.Tensor) -> torch.Tensor:
        for step, part in self._steps:
            state = step.apply(parts[part], state)
        return state

    def gradient(
        self,
        angles: Angles,
        by_state: Callable[[torch.Tensor], torch.Tensor],
        needs: tuple[bool, bool] = (True, True),
    ) -> Angles:
        """Derivatives of a loss in one sweep back (Jones & Gacon 2020, arXiv:2009.02823); memory knows no depth.

        Args:
            angles: The point.
            by_state: From states to torch's gradient of the loss by them.
            needs: Whether the shared and the per-sample part are wanted; a part that is not comes back as zeros.
        """
        leaves = Angles(*(a.detach().requires_grad_(need) for a, need in zip(angles, needs, strict=True)))
        with torch.enable_grad():
            graph = self._parts(leaves)
        parts, outputs, slopes = [part.detach() for part in graph], list[torch.Tensor](), list[torch.Tensor]()
        state = self._evolved(parts, self._start(parts, len(angles.per_sample)))
        gradient = by_state(state)
        for step, part in reversed(self._steps):
            state = step.undo(parts[part], state)
            if graph[part].requires_grad:
                outputs.append(graph[part])
                slopes.append(step.slope(parts[part], state, gradient))
            gradient = step.undo(parts[part], gradient)
        with torch.enable_grad():
            start = self._start(graph, len(angles.per_sample))
        if start.requires_grad:
            outputs.append(start)
            slopes.append(gradient)
        wanted = [leaf for leaf in leaves if leaf.requires_grad and outputs]
        found = iter(torch.autograd.grad(outputs, wanted, slopes, materialize_grads=True) if wanted else ())
        by_angle = (next(found) if wanted and leaf.requires_grad else torch.zeros_like(leaf) for leaf in leaves)
        return Angles(*by_angle)

    def chunks(self, angles: Angles) -> Iterator[tuple[slice, Angles]]:
        """The batch in pieces whose states stay small; an empty batch is one empty piece."""
        n_rows, itemsize = len(angles.per_sample), angles.per_sample.element_size()
        check_memory(self._n_qubits, STATES_HELD, 2 * itemsize)
        numbers = 2 * 2**self._n_qubits + self._parts.numbers_per_sample()
        step = max(1, CHUNK_BYTES // (itemsize * numbers))
        for start in range(0, max(n_rows, 1), step):
            rows = slice(start, min(start + step, n_rows))
            yield rows, Angles(angles.shared, angles.per_sample[rows])
