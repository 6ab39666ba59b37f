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
from qworkbench.runs import RECORDS, RunDirectory, RunDirectoryError, RunRecord, session_record

MATRIX, ERRORS = "gram.npy", "std_error.npy"
HEADER, TILE, WHOLE = "gram", "tile", "gram_whole"
"""Kinds of records."""


class GramLedger:
    """A directory with one matrix in ``gram.npy`` and a record for each finished tile; a context manager.

    A matrix of sampled entries has their standard errors beside it, in ``std_error.npy``. A tile is written to its file
    and forced to disk before its record is, so a record vouches for its tile; its checksum is tested again whenever
    the directory is opened. One process writes at a time.

    Args:
        out: The directory, made if it is missing.
        plan: The tiles.
        identity: JSON of all that determines the matrix.
        errors: Whether there are standard errors to keep. A directory that has tiles without them stays as it is: no
            measurement is repeated for that.

    Raises:
        ValueError: If the directory holds another matrix, with what differs.
        RunDirectoryError: If it cannot be written, the disk has no room, or another process writes to it.
    """

    def __init__(self, out: str | Path, plan: Plan, identity: Mapping[str, Any], errors: bool = False) -> None:
        self.plan, self.path = plan, Path(out) / MATRIX
        self._directory = RunDirectory(out)
        try:
            self._header = self._begin(RunRecord(HEADER, dict(identity), info={"seed": secrets.randbits(31)}))
            beside, begun = self.path.with_name(ERRORS), self._any_tile()
            self._paths = [self.path, *([beside] if errors and (beside.exists() or not begun) else [])]
            kept = [self._create(path) for path in self._paths]
            self._directory.append(session_record())
            self._done = {tile for tile in plan.tiles() if self._is_whole(tile)} if all(kept) else set()
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

    def store(self, tile: Tile, blocks: np.ndarray, seconds: float) -> None:
        """Keep a tile: its blocks, in a symmetric matrix the mirrored ones too, then its record.

        Args:
            tile: Where it belongs.
            blocks: Values, and their standard errors if these are kept: shape ``(1 or 2, rows, columns)``.
            seconds: How long it took.

        Raises:
            RunDirectoryError: If the disk refuses.
        """
        info: dict[str, Any] = {}
        for path, block in zip(self._paths, blocks, strict=True):
            try:
                matrix = np.load(path, mmap_mode="r+")  # opened anew: a mapping's pages would pile up in memory
                matrix[tile.rows, tile.columns] = block
                if self.plan.symmetric and not tile.on_diagonal():
                    matrix[tile.columns, tile.rows] = block.T
                matrix.flush()
                del matrix
            except OSError as error:
                raise RunDirectoryError(f"cannot write to {path}: {error.strerror or error}") from None
            info[_checksum(path)] = array_digest(block)
        self._directory.append(RunRecord(TILE, self._spec(tile), info=info | {"seconds": round(seconds, 4)}))
        self._done.add(tile)

    @property
    def has_errors(self) -> bool:
        """Whether standard errors are kept."""
        return len(self._paths) == 2

    def matrices(self) -> list[np.ndarray]:
        """The matrix as it is on disk, and its standard errors if they are kept; read-only memory maps."""
        return [_mapped(path) for path in self._paths]

    def _any_tile(self) -> bool:
        return any(record.kind == TILE for record in self._directory.records().values())

    def finish(self) -> str:
        """The SHA-256 of the whole matrix (``array_digest``), also kept as a record."""
        digest = array_digest(_mapped(self.path))
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
                raise ValueError(
                    f"{self.path} is there, but no record of it in {RECORDS} (lost, damaged or never there); "
                    "move it away, or give another directory"
                )
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

    def _create(self, path: Path) -> bool:
        """A file at its full size: a disk that is too small shows before the work, not within it.

        Returns:
            Whether it was there already.
        """
        shape = (self.plan.n_rows, self.plan.n_columns)
        if path.is_dir():
            raise RunDirectoryError(f"expected a file {path}, got a directory; move it away")
        if path.exists():
            try:
                found = _mapped(path)
            except (ValueError, EOFError):
                warnings.warn(f"{path} is cut off or damaged and is made anew", stacklevel=5)
            else:
                if found.shape != shape or found.dtype != np.dtype("<f8"):
                    raise ValueError(
                        f"expected {path} with shape {shape} of float64, got {found.shape} of {found.dtype}; it was "
                        "changed, so move it away"
                    )
                return True
        elif self._any_tile():
            warnings.warn(f"{path} is missing and is made anew", stacklevel=5)
        fresh = path.with_suffix(".new")
        try:
            np.lib.format.open_memmap(fresh, mode="w+", dtype="<f8", shape=shape).flush()
            _reserve(fresh)
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            needed = f"{8 * shape[0] * shape[1] / 2**30:.3g} GiB"
            raise RunDirectoryError(f"cannot make {path} of {needed}: {error.strerror or error}") from None
        return False

    def _is_whole(self, tile: Tile) -> bool:
        record = self._directory.get(RunRecord(TILE, self._spec(tile)).run_id)
        if record is None:
            return False
        for path in self._paths:
            matrix = _mapped(path)
            block = matrix[tile.rows, tile.columns]
            mirrored = not self.plan.symmetric or np.array_equal(block, matrix[tile.columns, tile.rows].T)
            if not mirrored or array_digest(block) != record.info.get(_checksum(path)):
                warnings.warn(f"{path}: {tile} no longer matches its checksum and is computed again", stacklevel=5)
                return False
        return True


def _mapped(path: Path) -> np.memmap[Any, np.dtype[np.float64]]:
    """A file of one array, read-only; whatever else it holds is a ``ValueError``."""
    mapped: np.memmap[Any, np.dtype[np.float64]] = np.lib.format.open_memmap(path, mode="r")
    return mapped


def _checksum(path: Path) -> str:
    """The key of a file's checksum in the record of a tile."""
    return "sha256" if path.name == MATRIX else f"{path.stem}_sha256"


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
