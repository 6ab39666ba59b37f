"""A Gram matrix as a plan of tiles, each of which any process can compute from values alone."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from circuits import ParameterizedCircuit
from qworkbench.backend import Backend
from qworkbench.kernels import ProductKernel, ProjectedKernel, QuantumKernel, SumKernel
from qworkbench.lowering import lower

Matrix = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""``(N, F), (M, F) -> (N, M)``; without the second array the symmetric ``(N, N)``."""

MAX_TILE_ROWS = 2048
MIN_TILE_ROWS = 64
TILES_ACROSS = 8
"""A matrix is cut into at least so many rows of tiles where they stay large enough: workers can share the work."""
STATE_BYTES = 2**28
"""The states of a block of rows take at most so much."""
MPS_ROWS = 128
"""Rows of a tile of matrix product states: as many simulations a tile, whatever their width."""
PAIR_ROWS = 32
"""Rows of a tile of which every entry is a circuit."""
PROBES = 3
AER_ENGINES = ("aer", "generic", "ibm-fake")


@runtime_checkable
class TileKernel(Protocol):
    """A kernel as a picklable value that is opened where a tile is computed."""

    @property
    def n_inputs(self) -> int:
        """Features of a row."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether entries are random: each tile is then opened with a seed of its own."""
        ...

    @property
    def seed(self) -> int | None:
        """What the seeds of a sampled kernel's tiles come from; None asks for one to be drawn."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """JSON of all that determines an entry, the seed aside. Tiles of two identities never mix."""
        ...

    def tile_rows(self) -> int:
        """The most rows that a tile should have: what a worker holds grows with them."""
        ...

    def open(self, seed: int) -> Matrix:
        """The kernel at work; ``seed`` matters to sampled kernels alone.

        A sampled one that has a method ``estimate(x, y)``, of the values and their standard errors, is asked for both.
        """
        ...


@dataclass(frozen=True, eq=False)
class FidelityTiles:
    """A fidelity kernel as a value: see :class:`QuantumKernel`."""

    circuit: ParameterizedCircuit
    backend: Backend
    weights: tuple[float, ...] = ()
    bandwidth: float | tuple[float, ...] = 1.0
    method: str = "auto"
    allocation: str = "equal"
    correction: str = "none"

    @property
    def n_inputs(self) -> int:
        """Features of a row."""
        return self.circuit.n_inputs

    @property
    def sampled(self) -> bool:
        """Whether the backend has shots."""
        return self.backend.shots is not None

    @property
    def seed(self) -> int | None:
        """The backend's seed."""
        return self.backend.seed

    def identity(self) -> dict[str, Any]:
        """See ``TileKernel``."""
        return {
            "kernel": "fidelity",
            "circuit": circuit_digest(self.circuit),
            "weights": list(self.weights),
            "bandwidth": [_printed(factor) for factor in np.atleast_1d(self.bandwidth)],
            "method": self.method,
            "allocation": self.allocation,
            "correction": self.correction,
            "backend": str(self.backend if self.sampled else replace(self.backend, seed=None)),
        }

    def tile_rows(self) -> int:
        """See ``TileKernel``."""
        if self.backend.option("method") == "matrix_product_state" and not self.sampled:
            return MPS_ROWS
        if self._by_states():
            return max(1, min(MAX_TILE_ROWS, STATE_BYTES >> (self.circuit.n_qubits + 4)))
        return PAIR_ROWS

    def _by_states(self) -> bool:
        """Whether a row costs one state and a pair next to nothing."""
        if self.method != "auto":
            return False
        if self.backend.name == "statevector":
            return True
        dense = self.backend.option("method", "statevector") == "statevector" and self.backend.option("noise") is None
        return self.backend.name in ("aer", "pennylane") and dense and not self.sampled

    def open(self, seed: int) -> Matrix:
        """See ``TileKernel``."""
        return QuantumKernel(
            self.circuit,
            _on_one_thread(replace(self.backend, seed=seed) if self.sampled else self.backend),
            self.weights,
            bandwidth=self.bandwidth,
            method=self.method,
            allocation=self.allocation,
            correction=self.correction,
        )


def _on_one_thread(backend: Backend) -> Backend:
    """Tiles share the cores already, and expectation values of Aer depend on the number of threads."""
    if backend.name in AER_ENGINES and backend.option("max_parallel_threads") is None:
        return replace(backend, options=(*backend.options, ("max_parallel_threads", "1")))
    return backend


@dataclass(frozen=True, eq=False)
class ProjectedTiles:
    """A projected kernel without shots as a value: with them each tile would measure its rows anew."""

    kernel: ProjectedKernel
    backend: Backend
    sampled = False
    seed = None

    @property
    def n_inputs(self) -> int:
        """Features of a row."""
        return self.kernel.n_inputs

    def identity(self) -> dict[str, Any]:
        """See ``TileKernel``."""
        kernel, scale = self.kernel, np.broadcast_to(self.kernel.scale, len(self.kernel.layer.observables))
        paulis = [
            [*zip(o.paulis.to_labels(), map(_printed, o.coeffs.real), strict=True)] for o in kernel.layer.observables
        ]
        return {
            "kernel": "projected",
            "circuit": circuit_digest(kernel.circuit),
            "weights": kernel.weights.detach().tolist(),
            "bandwidth": [_printed(factor) for factor in np.atleast_1d(kernel.bandwidth)],
            "outer": kernel.outer,
            "shape": kernel.shape,
            "gamma": _printed(kernel.gamma),
            "observables": hashlib.sha256(repr([paulis, [_printed(part) for part in scale]]).encode()).hexdigest()[:16],
            "backend": str(replace(self.backend, seed=None)),
        }

    def tile_rows(self) -> int:
        """See ``TileKernel``."""
        return MAX_TILE_ROWS if self.backend.name == "statevector" else MPS_ROWS

    def open(self, seed: int) -> Matrix:
        """See ``TileKernel``."""
        return self.kernel.with_backend(_on_one_thread(self.backend))


@dataclass(frozen=True, eq=False)
class CombinedTiles:
    """A sum of kernels with its coefficients, or without them a product, as a value."""

    parts: tuple[TileKernel, ...]
    coefficients: tuple[float, ...] | None = None

    @property
    def n_inputs(self) -> int:
        """Features of a row."""
        return self.parts[0].n_inputs

    @property
    def sampled(self) -> bool:
        """Whether a part is."""
        return any(part.sampled for part in self.parts)

    @property
    def seed(self) -> int | None:
        """The first that a part has."""
        return next((part.seed for part in self.parts if part.seed is not None), None)

    def identity(self) -> dict[str, Any]:
        """See ``TileKernel``."""
        factors = None if self.coefficients is None else [_printed(factor) for factor in self.coefficients]
        return {"kernel": "combined", "coefficients": factors, "parts": [dict(part.identity()) for part in self.parts]}

    def tile_rows(self) -> int:
        """See ``TileKernel``."""
        return min(part.tile_rows() for part in self.parts)

    def open(self, seed: int) -> Matrix:
        """See ``TileKernel``; parts with shots have seeds of their own."""
        seeds = np.random.SeedSequence(seed).generate_state(len(self.parts)).tolist()
        opened: list[Any] = [part.open(own) for part, own in zip(self.parts, seeds, strict=True)]
        return ProductKernel(opened) if self.coefficients is None else SumKernel(opened, self.coefficients)


def _printed(number: float) -> float:
    """To twelve digits: kernels keep logarithms, whose last bits may depend on the machine."""
    return float(f"{number:.12g}")


def tile_kernel(kernel: Any) -> TileKernel:
    """The picklable description of a kernel.

    Args:
        kernel: A ``QuantumKernel`` on a backend that a URI describes, a ``ProjectedKernel`` on one without shots, sums
            and products of these, or an object with the methods of ``TileKernel``.

    Raises:
        TypeError: If it is none of these, or a backend is a live object, which no other process could open.
        ValueError: If a projected kernel has shots.
    """
    if isinstance(kernel, TileKernel):
        return kernel
    if type(kernel) in (SumKernel, ProductKernel):
        parts = tuple(tile_kernel(part) for part in kernel.kernels)
        return CombinedTiles(parts, tuple(kernel.coefficients.tolist()) if type(kernel) is SumKernel else None)
    if type(kernel) not in (QuantumKernel, ProjectedKernel):
        raise TypeError(
            "expected a QuantumKernel, a ProjectedKernel, a sum or product of them, or an object with n_inputs, "
            f"sampled, seed, identity(), tile_rows() and open(seed), got {type(kernel).__name__}"
        )
    backend = kernel.backend if type(kernel) is QuantumKernel else kernel.layer.backend
    if not isinstance(backend, str | Backend):
        raise TypeError(
            "expected the kernel's backend as a URI such as 'aer?shots=1024', which workers can open for themselves, "
            f"got a live {type(backend).__name__}"
        )
    if type(kernel) is ProjectedKernel:
        described = Backend.parse(backend)
        if described.shots is not None:
            raise ValueError(
                f"expected a projected kernel without shots, got {str(backend)!r}: each tile would measure its rows "
                "anew, where kernel(X) measures each row once"
            )
        return ProjectedTiles(kernel, described)
    weights, bandwidth = kernel.weights.detach().tolist(), kernel.bandwidth.tolist()
    return FidelityTiles(
        kernel.circuit,
        Backend.parse(backend),
        tuple(weights),
        tuple(bandwidth) if isinstance(bandwidth, list) else bandwidth,
        kernel.method,
        kernel.allocation,
        kernel.correction,
    )


def circuit_digest(circuit: ParameterizedCircuit) -> str:
    """First 16 hex digits of the SHA-256 of what a circuit does: names of parameters do not matter.

    Gates are compared after lowering, fixed ones by their matrices, and angles as functions of inputs and weights by
    their values at a few random points.
    """
    lowered = lower(circuit)
    digest = hashlib.sha256(repr((circuit.n_qubits, circuit.n_inputs, circuit.n_weights)).encode())
    for gate in lowered.gates:
        digest.update(repr((gate.name, gate.qubits, gate.slot)).encode())
        if gate.slot is None:
            digest.update(np.round(gate.matrix, 12).astype("<c16").tobytes() if gate.operation is not None else b"")
    rng = np.random.default_rng(0)
    for probe in range(2 * PROBES):
        # Positive numbers, of which every function has a value, and then larger ones of both signs.
        low, high = (0.0, 1.0) if probe < PROBES else (-5.0, 5.0)
        inputs, weights = (torch.as_tensor(rng.uniform(low, high, n)) for n in (circuit.n_inputs, circuit.n_weights))
        angles = lowered.angles(inputs[None], weights).rows()[0]
        # Printed digits: the last bits of an angle may depend on the machine.
        digest.update(",".join(f"{angle:.9e}" for angle in angles.tolist()).encode())
    return digest.hexdigest()[:16]


class Tile(NamedTuple):
    """A block of the matrix: half-open ranges of rows and columns."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.first_row, self.last_row)

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.first_column, self.last_column)

    def on_diagonal(self) -> bool:
        """Whether rows and columns are the same range."""
        return self[:2] == self[2:]


@dataclass(frozen=True)
class Plan:
    """How a matrix is cut up: a symmetric one into the tiles on and above its diagonal."""

    n_rows: int
    n_columns: int
    tile: int
    """Rows and columns of a tile; the last ones are smaller."""
    symmetric: bool

    def tiles(self) -> Iterator[Tile]:
        """All tiles, row by row."""
        for row in range(0, self.n_rows, self.tile):
            for column in range(row if self.symmetric else 0, self.n_columns, self.tile):
                yield Tile(row, min(row + self.tile, self.n_rows), column, min(column + self.tile, self.n_columns))

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        across, down = (-(-n // self.tile) for n in (self.n_columns, self.n_rows))
        return down * (down + 1) // 2 if self.symmetric else down * across

    def n_entries(self, tile: Tile) -> int:
        """How many entries of a tile are computed; half of it on the diagonal of a symmetric matrix, about."""
        entries = (tile.last_row - tile.first_row) * (tile.last_column - tile.first_column)
        return entries // 2 if self.symmetric and tile.on_diagonal() else entries


def default_tile(kernel: TileKernel, n_rows: int, n_columns: int) -> int:
    """Rows of a tile. It follows from kernel and shape alone, never from the machine, since rounding follows it."""
    limit = kernel.tile_rows()
    return min(limit, max(-(-max(n_rows, n_columns) // TILES_ACROSS), MIN_TILE_ROWS))


class TileTask(NamedTuple):
    """What a worker needs beside the kernel, which all tiles share."""

    tile: Tile
    seed: int
    x: np.ndarray
    """Shape ``(rows, F)``."""
    y: np.ndarray | None
    """Shape ``(columns, F)``; None on the diagonal of a symmetric matrix."""


_opened = threading.local()


def compute_tile(kernel: TileKernel, task: TileTask, with_errors: bool = False) -> np.ndarray:
    """The values of a tile, and their standard errors if asked for: shape ``(1 or 2, rows, columns)``, float64.

    Raises:
        RuntimeError: If the kernel returns another shape, or a value that is not finite.
    """
    opened: Any = _open(kernel, task.seed)
    blocks = opened.estimate(task.x, task.y) if with_errors else (opened(task.x, task.y),)
    checked = [_checked(block, task) for block in blocks]
    return np.stack(checked) if with_errors else checked[0][None]


def _checked(block: Any, task: TileTask) -> np.ndarray:
    values = np.ascontiguousarray(block, dtype=np.float64)
    expected = (len(task.x), len(task.x if task.y is None else task.y))
    if values.shape != expected or not np.isfinite(values).all():
        state = f"shape {values.shape}" if values.shape != expected else "NaN or infinity"
        raise RuntimeError(f"expected finite kernel values of shape {expected}, got {state}")
    if task.y is None:  # rounding is not symmetric
        upper = np.triu(values, 1)
        values = upper + upper.T + np.diag(np.diagonal(values))
    return values


def _open(kernel: TileKernel, seed: int) -> Matrix:
    """The opened kernel of this thread, kept for the next tile unless it is random."""
    if kernel.sampled:
        return kernel.open(seed)
    if getattr(_opened, "kernel", None) is not kernel:
        _opened.kernel, _opened.matrix = kernel, kernel.open(seed)
    matrix: Matrix = _opened.matrix
    return matrix


def tile_seed(key: str, root: int, tile: Tile) -> int:
    """A seed below ``2**31`` that depends on the matrix and the place of the tile, not on who computes it when."""
    text = json.dumps([key, root, *tile])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def array_digest(array: np.ndarray) -> str:
    """SHA-256 in hex of the shape and the values of an array, as little-endian float64; read in slices."""
    digest = hashlib.sha256(repr(tuple(array.shape)).encode())
    step = max(1, 2**22 // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[start : start + step], dtype="<f8").data)
    return digest.hexdigest()
