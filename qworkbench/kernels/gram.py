"""Gram matrices of any size: tile by tile, on threads or a cluster, in memory or on disk, and through any kill."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, overload

import numpy as np
import psutil
from numpy.typing import ArrayLike

from qworkbench.kernels.ledger import HEADER, GramLedger
from qworkbench.kernels.tiles import (
    Plan,
    Tile,
    TileKernel,
    TileTask,
    array_digest,
    compute_tile,
    default_tile,
    tile_kernel,
    tile_seed,
)
from qworkbench.kernels.workers import Workers, open_workers
from qworkbench.progress import Progress, progress_bar
from qworkbench.runs import RunRecord

__all__ = ["Progress", "gram_matrix"]

FORMAT = 1
"""Counted up when tiles of an older version no longer fit."""


@overload
def gram_matrix(
    kernel: Any,
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    std_error: Literal[False] = False,
    out: str | Path | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    tile: int | None = None,
    progress: Progress | bool = False,
) -> np.ndarray: ...
@overload
def gram_matrix(
    kernel: Any,
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    std_error: Literal[True],
    out: str | Path | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    tile: int | None = None,
    progress: Progress | bool = False,
) -> tuple[np.ndarray, np.ndarray]: ...
def gram_matrix(
    kernel: Any,
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    std_error: bool = False,
    out: str | Path | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    tile: int | None = None,
    progress: Progress | bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The kernel matrix ``K[i, j] = k(X[i], Y[j])``, computed in tiles.

    Without ``Y`` only the tiles on and above the diagonal are computed. With ``out`` the matrix lives on disk and
    every finished tile with it: called again after any kill, with the same arguments, only what is missing is
    computed, and the matrix is the same to the last bit. With shots each tile has its own seed, made of the backend's
    and of its place (a backend without a seed is given one, which ``out`` keeps).

    Args:
        kernel: A ``QuantumKernel`` on a backend that a URI describes, or any ``TileKernel``.
        X: Shape ``(N, F)``.
        Y: Shape ``(M, F)``; ``X`` itself by default.
        std_error: Whether to return the standard error of each entry too.
        out: Directory of the matrix (``gram.npy``), with shots of its standard errors (``std_error.npy``, whether they
            are asked for or not), and of the ledger of the tiles.
        scheduler: ``"threads"`` (the default), ``"dask"`` for worker processes on this machine, or the URL of a Dask
            scheduler. The result does not depend on it.
        workers: Threads or processes; by default one a core.
        tile: Rows and columns of a tile; by default by width and backend. Memory grows with its square.
        progress: True for a bar (a line a tile where there is no terminal), or a function that is told of each
            finished tile: tiles done, tiles in all, and the pace.

    Returns:
        Float64, shape ``(N, M)``: an array, or with ``out`` a read-only memory map. With ``std_error`` that and the
        errors, likewise; those of exact backends are a read-only array of zeros that takes no memory.

    Raises:
        ValueError: If the data do not fit the kernel or are not finite, an argument is wrong, or ``out`` holds
            another matrix, or this one without the errors that are asked for.
        TypeError: If the kernel cannot be sent to a worker, or knows no standard errors.
        MissingExtraError: If Dask, or what the backend needs, is not installed.
        ConnectionError: If the scheduler does not answer, or is lost on the way; finished tiles stay in ``out``.
    """
    if not (isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"expected progress as True, False or a function, got {progress!r}")
    if not isinstance(std_error, bool):
        raise TypeError(f"expected std_error as True or False, got {std_error!r}")
    with progress_bar() if progress is True else nullcontext(progress or None) as told:
        job = _job(kernel, X, Y, tile, std_error, out is not None)
        pool = open_workers(scheduler, workers)
        if out is None:
            store = _InMemory(job.plan, 1 + job.with_errors)
            _compute(job, secrets.randbits(31), list(job.plan.tiles()), pool, store, told)
            found = store.matrices
        else:
            with GramLedger(out, job.plan, job.identity, job.with_errors) as ledger:
                if job.with_errors and std_error and not ledger.has_errors:
                    raise ValueError(
                        f"{out} holds this matrix without standard errors, which would have to be measured anew; "
                        "give another directory"
                    )
                job = replace(job, with_errors=ledger.has_errors)
                _compute(job, ledger.seed, ledger.missing(), pool, ledger, told)
                ledger.finish()
                found = ledger.matrices()
    if not std_error:
        return found[0]
    return found[0], found[1] if job.with_errors else np.broadcast_to(0.0, found[0].shape)


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be computed, checked."""

    kernel: TileKernel
    left: np.ndarray
    right: np.ndarray
    plan: Plan
    identity: dict[str, Any]
    with_errors: bool

    def tasks(self, seed: int, tiles: Iterable[Tile]) -> Iterator[TileTask]:
        """What workers get, one by one: rows are copied when their turn comes."""
        key = RunRecord(HEADER, self.identity).run_id
        root = seed if self.kernel.seed is None else self.kernel.seed
        for tile in tiles:
            y = None if self.plan.symmetric and tile.on_diagonal() else self.right[tile.columns]
            yield TileTask(tile, tile_seed(key, root, tile), self.left[tile.rows], y)


def _job(kernel: Any, X: ArrayLike, Y: ArrayLike | None, tile: int | None, asked: bool, kept: bool) -> _Job:
    described = tile_kernel(kernel)
    left = _rows("X", X, described.n_inputs)
    right = left if Y is None else _rows("Y", Y, described.n_inputs)
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int | np.integer) or tile < 1):
        raise ValueError(f"expected a tile of at least 1 row, got {tile!r}")
    size = default_tile(described, len(left), len(right)) if tile is None else int(tile)
    opened = described.open(0)  # an unknown backend, a missing package or too many qubits show before any work
    known = described.sampled and hasattr(opened, "estimate")
    if asked and described.sampled and not known:
        raise TypeError(f"expected a kernel whose open() gives something with estimate(x, y), got {type(opened)}")
    identity = {
        "format": FORMAT,
        "data": [array_digest(left), None if Y is None else array_digest(right)],
        "shape": [len(left), len(right)],
        "tile": size,
        "kernel": dict(described.identity()),
    }
    return _Job(
        described, left, right, Plan(len(left), len(right), size, Y is None), identity, known and (asked or kept)
    )


def _rows(name: str, data: ArrayLike, n_inputs: int) -> np.ndarray:
    if np.iscomplexobj(data):
        raise ValueError(f"expected real numbers in {name}, got complex ones")
    rows = np.ascontiguousarray(data, dtype=np.float64)
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != n_inputs:
        raise ValueError(f"expected {name} of shape (N, {n_inputs}) with N of at least 1, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"expected finite numbers in {name}, got NaN or infinity")
    return rows


class _Store(Protocol):
    def store(self, tile: Tile, blocks: np.ndarray, seconds: float) -> None: ...


class _InMemory:
    """A matrix that is lost with the process."""

    def __init__(self, plan: Plan, n_matrices: int) -> None:
        needed, available = 8 * n_matrices * plan.n_rows * plan.n_columns, psutil.virtual_memory().available
        if needed > available:
            raise MemoryError(
                f"the matrix needs {needed / 2**30:.3g} GiB, but {available / 2**30:.3g} GiB are available; "
                "give out=DIRECTORY to keep it on disk"
            )
        self.matrices = [np.empty((plan.n_rows, plan.n_columns)) for _ in range(n_matrices)]
        self._symmetric = plan.symmetric

    def store(self, tile: Tile, blocks: np.ndarray, seconds: float) -> None:
        """Keep a tile, and in a symmetric matrix its mirror image."""
        for matrix, block in zip(self.matrices, blocks, strict=True):
            matrix[tile.rows, tile.columns] = block
            if self._symmetric:
                matrix[tile.columns, tile.rows] = block.T


def _compute(
    job: _Job,
    seed: int,
    missing: list[Tile],
    pool: AbstractContextManager[Workers],
    store: _Store,
    progress: Progress | None,
) -> None:
    """Compute the missing tiles and hand each one on as soon as it is there."""
    total = job.plan.n_tiles
    done, start = total - len(missing), time.perf_counter()
    if progress is not None and done:
        progress(done, total, "tiles found")
    if not missing:
        return
    try:
        with pool as workers:
            # The small ones come last, so that all workers end at about the same time.
            tasks = job.tasks(seed, sorted(missing, key=job.plan.n_entries, reverse=True))
            for task, (blocks, seconds) in workers.map_unordered(partial(_timed, job.kernel, job.with_errors), tasks):
                store.store(task.tile, blocks, seconds)
                done += 1
                if progress is not None:
                    left = (total - done) * (time.perf_counter() - start) / (done - total + len(missing))
                    progress(done, total, f"tiles, {seconds:.2g} s the last, about {left:.0f} s left")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted with {done} of {total} tiles done") from None


def _timed(kernel: TileKernel, with_errors: bool, task: TileTask) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    blocks = compute_tile(kernel, task, with_errors)
    return blocks, time.perf_counter() - start
