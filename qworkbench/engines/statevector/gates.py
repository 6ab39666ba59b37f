"""Gates as torch operations on a batch of state vectors of shape ``(N, 2**n)``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch

from qworkbench.gates import GENERATORS
from qworkbench.lowering import LoweredGate

Tables = dict[tuple[object, ...], torch.Tensor]


def gather_index(n_qubits: int, qubits: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude order that puts the gate's ``2**k`` index first, and the order that undoes it."""
    axes = [n_qubits - 1 - q for q in reversed(qubits)]
    rest = [a for a in range(n_qubits) if a not in axes]
    order = np.arange(2**n_qubits).reshape((2,) * n_qubits).transpose(axes + rest).reshape(-1)
    return order, np.argsort(order)


class StateGate:
    """One gate on ``n`` qubits: applied, undone, and differentiated.

    The gate's nature picks the cheapest form: a diagonal multiplies phases, a permutation reorders amplitudes,
    anything else is a small matrix product. Index tables of ``2**n`` entries live in ``tables``, which the gates of a
    circuit share: a deep circuit needs no more of them than a shallow one.
    """

    def __init__(self, gate: LoweredGate, n_qubits: int, tables: Tables | None = None) -> None:
        self.slot = gate.slot
        self._n_qubits, self._qubits = n_qubits, gate.qubits
        self._tables: Tables = {} if tables is None else tables
        self._own: Tables = {}
        if gate.slot is None:
            self._matrix = gate.matrix
            self._energies, self._vectors = np.zeros(0), np.zeros((0, 0))
        else:
            generator = GENERATORS[gate.name]
            self._matrix = -1j * generator
            self._energies, self._vectors = np.linalg.eigh(generator)
            if self._diagonal:
                self._energies, self._vectors = np.real(np.diag(generator)), np.eye(len(generator))

    @cached_property
    def _diagonal(self) -> bool:
        return bool(np.count_nonzero(self._matrix - np.diag(np.diag(self._matrix))) == 0)

    @cached_property
    def _permutation(self) -> bool:
        ones = np.isclose(self._matrix, 1)
        return self.slot is None and bool((ones.sum(1) == 1).all() and np.allclose(self._matrix[~ones], 0))

    def _local_index(self) -> np.ndarray:
        amplitude = np.arange(2**self._n_qubits)
        return sum(((amplitude >> q) & 1) << k for k, q in enumerate(self._qubits))  # type: ignore[return-value]

    def _source(self, inverse: bool) -> np.ndarray:
        """Where each amplitude comes from, if the gate is a permutation."""
        amplitude = np.arange(2**self._n_qubits)
        local = np.argmax(np.isclose(self._matrix, 1), axis=1)[self._local_index()]
        for k, q in enumerate(self._qubits):
            amplitude = amplitude & ~(1 << q) | (((local >> k) & 1) << q)
        return np.argsort(amplitude) if inverse else amplitude

    def _table(self, key: object, make: Callable[[], np.ndarray], device: torch.device) -> torch.Tensor:
        """An index table, shared by all gates on the same qubits."""
        name = (key, self._qubits, device)
        if name not in self._tables:
            self._tables[name] = torch.tensor(make(), device=device)
        return self._tables[name]

    def _small(self, key: str, value: np.ndarray, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A tensor of the gate's own size."""
        name = (key, dtype, device)
        if name not in self._own:
            self._own[name] = torch.tensor(value).to(dtype=dtype, device=device)
        return self._own[name]

    def _multiply(self, matrix: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """``matrix`` of shape ``(d, d)`` or ``(N, d, d)`` on the gate's qubits."""
        size = state.shape[0]
        if len(self._qubits) == 1:
            below = 2 ** self._qubits[0]
            view = state.reshape(size, state.shape[1] // (2 * below), 2, below)
            small = matrix if matrix.dim() == 2 else matrix[:, None]
            return (small @ view).reshape(state.shape)
        order = self._table("order", lambda: gather_index(self._n_qubits, self._qubits)[0], state.device)
        back = self._table("back", lambda: gather_index(self._n_qubits, self._qubits)[1], state.device)
        dimension = 2 ** len(self._qubits)
        grouped = state[:, order].reshape(size, dimension, state.shape[1] // dimension)
        return (matrix @ grouped).reshape(state.shape)[:, back]

    def _scale(self, factors: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """A diagonal of shape ``(d,)`` or ``(N, d)`` on the gate's qubits."""
        return state * factors[..., self._table("local", self._local_index, state.device)]

    def apply(self, state: torch.Tensor, angle: torch.Tensor | None, *, inverse: bool = False) -> torch.Tensor:
        """The gate (or its inverse) on ``state``; ``angle`` is a scalar or of shape ``(N,)``."""
        if self.slot is None:
            return self._apply_fixed(state, inverse)
        assert angle is not None
        energies = self._small("energies", self._energies, angle.dtype, state.device)
        turned = energies * angle[..., None] * (1 if inverse else -1)
        phases = torch.complex(torch.cos(turned), torch.sin(turned))
        if self._diagonal:
            return self._scale(phases, state)
        vectors = self._small("vectors", self._vectors, state.dtype, state.device)
        return self._multiply((vectors * phases[..., None, :]) @ vectors.mH, state)

    def _apply_fixed(self, state: torch.Tensor, inverse: bool) -> torch.Tensor:
        if self._permutation:
            key = (inverse, self._matrix.tobytes())
            return state[:, self._table(key, lambda: self._source(inverse), state.device)]
        matrix = self._matrix.conj().T if inverse else self._matrix
        if self._diagonal:
            return self._scale(self._small(f"phase{inverse}", np.diag(matrix), state.dtype, state.device), state)
        return self._multiply(self._small(f"matrix{inverse}", matrix, state.dtype, state.device), state)

    def derivative(self, state: torch.Tensor) -> torch.Tensor:
        """``-i H state``: since ``dU/dt = -i H U``, the derivative at the state that follows the gate."""
        if self._diagonal:
            return self._scale(self._small("slope", np.diag(self._matrix), state.dtype, state.device), state)
        return self._multiply(self._small("slope", self._matrix, state.dtype, state.device), state)
