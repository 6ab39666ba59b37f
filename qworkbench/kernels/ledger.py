"""The tiles of a Gram matrix that are done, on disk: a kill loses no finished tile and mixes no two matrices."""

from __future__ import annotations

import errno
import os
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qworkbench.kernels.tiles import Plan, Tile, array_digest
from qworkbench.runs import RunDirectory, RunDirectoryError, RunRecord, session_record

MATRIX = "gram.npy"
HEADER, TILE, WHOLE = "gram", "tile", "gram_whole"
"""Kinds of records."""


class GramLedger:
    """A directory with one matrix in ``gram.npy`` and a record for each finished tile; a context manager.

    A tile is written to the matrix and forced to disk before its record is, so a record vouches for its tile; its
    checksum is tested again whenever the directory is opened. One process writes at a time.

    Args:
        out: The directory, made if it is missing.
        plan: The tiles.
        identity: JSON of all that determines the matrix.

    Raises:
        ValueError: If the directory holds another matrix, with what differs.
        RunDirectoryError: If it cannot be written, the disk has no room, or another process writes to it.
    """

    def __init__(self, out: str | Path, plan: Plan, identity: Mapping[str, Any]) -> None:
        self.plan, self.path = plan, Path(out) / MATRIX
        self._directory = RunDirectory(out)
        try:
            self._header = self._begin(RunRecord(HEADER, dict(identity), info={"seed": secrets.randbits(31)}))
            self._create()
            self._directory.append(session_record())
            self._done = {tile for tile in plan.tiles() if self._is_whole(tile)}
        except BaseException:
            self._directory.close()
            raise

    def __enter__(self) -> GramLedger:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._directory.close()

    @property
    def key(self) -> str:
        """The hash of the matrix's identity."""
        return self._header.run_id

    @property
    def seed(self) -> int:
        """Drawn when the directory was made: the root seed of a sampling backend that was given none."""
        return int(self._header.info["seed"])

    def missing(self) -> list[Tile]:
        """The tiles that are still to be computed, row by row."""
        return [tile for tile in self.plan.tiles() if tile not in self._done]

    def store(self, tile: Tile, values: np.ndarray, seconds: float) -> None:
        """Keep a tile: its block, in a symmetric matrix the mirrored block too, then its record.

        Raises:
            RunDirectoryError: If the disk refuses.
        """
        try:
            matrix = np.load(self.path, mmap_mode="r+")  # opened anew: a mapping's pages would pile up in memory
            matrix[tile.rows, tile.columns] = values
            if self.plan.symmetric and not tile.on_diagonal():
                matrix[tile.columns, tile.rows] = values.T
            matrix.flush()
            del matrix
        except OSError as error:
            raise RunDirectoryError(f"cannot write to {self.path}: {error.strerror or error}") from None
        info = {"sha256": array_digest(values), "seconds": round(seconds, 4)}
        self._directory.append(RunRecord(TILE, self._spec(tile), info=info))
        self._done.add(tile)

    def matrix(self) -> np.memmap[Any, np.dtype[np.float64]]:
        """The matrix as it is on disk, read-only."""
        loaded: np.memmap[Any, np.dtype[np.float64]] = np.load(self.path, mmap_mode="r")
        return loaded

    def finish(self) -> str:
        """The SHA-256 of the whole matrix (``array_digest``), also kept as a record."""
        digest = array_digest(self.matrix())
        record = RunRecord(WHOLE, {"gram": self.key}, info={"sha256": digest})
        if self._directory.get(record.run_id) != record:
            self._directory.append(record)
        return digest

    def _spec(self, tile: Tile) -> dict[str, Any]:
        return {"gram": self.key, "rows": tile[:2], "columns": tile[2:]}

    def _begin(self, wanted: RunRecord) -> RunRecord:
        """The header that the directory has, or ``wanted``, appended now."""
        found = [record for record in self._directory.records().values() if record.kind == HEADER]
        if not found:
            if self.path.exists():
                raise ValueError(f"{self.path} is not the work of this program; give another directory")
            self._directory.append(wanted)
            return wanted
        for header in found:
            if header.run_id == wanted.run_id:
                return header
        differs = [key for key in wanted.spec if found[0].spec.get(key) != wanted.spec[key]]
        raise ValueError(
            f"{self.path.parent} holds another Gram matrix, which differs in {', '.join(differs) or 'version'}; give "
            "another directory, or the arguments that it was made with"
        )

    def _create(self) -> None:
        """The matrix file at its full size: a disk that is too small shows before the work, not within it."""
        shape = (self.plan.n_rows, self.plan.n_columns)
        if self.path.exists():
            try:
                found = np.load(self.path, mmap_mode="r").shape
            except (ValueError, EOFError):
                warnings.warn(f"{self.path} is cut off or damaged and is made anew", stacklevel=4)
            else:
                if found != shape:
                    raise ValueError(
                        f"expected {self.path} with shape {shape}; it was changed, so remove its directory"
                    )
                return
        fresh = self.path.with_suffix(".new")
        try:
            np.lib.format.open_memmap(fresh, mode="w+", dtype="<f8", shape=shape).flush()
            _reserve(fresh)
            fresh.replace(self.path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            needed = f"{8 * shape[0] * shape[1] / 2**30:.3g} GiB"
            raise RunDirectoryError(f"cannot make {self.path} of {needed}: {error.strerror or error}") from None

    def _is_whole(self, tile: Tile) -> bool:
        record = self._directory.get(RunRecord(TILE, self._spec(tile)).run_id)
        if record is None:
            return False
        matrix = self.matrix()
        block = matrix[tile.rows, tile.columns]
        mirrored = not self.plan.symmetric or np.array_equal(block, matrix[tile.columns, tile.rows].T)
        if mirrored and array_digest(block) == record.info["sha256"]:
            return True
        warnings.warn(f"{self.path}: {tile} no longer matches its checksum and is computed again", stacklevel=4)
        return False


def _reserve(path: Path) -> None:
    """Give the file its blocks: writing to a mapping of a sparse file ends the process when the disk is full."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
