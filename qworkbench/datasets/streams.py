"""Tables in files of several formats, read piece by piece, so that their length does not matter."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qworkbench.errors import require

if TYPE_CHECKING:
    import pandas as pd

CSV, PARQUET, HDF5, NPZ = (".csv", ".csv.gz"), (".parquet", ".pq"), (".h5", ".hdf5", ".hdf"), (".npz",)
TABLES = (*CSV, *PARQUET, *HDF5, *NPZ)
"""The endings of files that are tables."""
EXTRA = "files"
"""The extra that brings the readers of Parquet and HDF5."""
BUFFER = 2**20
"""Bytes of a Parquet file that are read ahead, a column."""
Frames = Iterator["pd.DataFrame"]


@dataclass(frozen=True)
class TableFile:
    """A table in a file, of which the header alone was read so far."""

    file: Path
    columns: tuple[str, ...]
    read: Callable[[Sequence[str], int], Frames]
    """``read(columns, n_rows)``: data frames of those columns, in order, of at most so many rows each."""
    arrays: bool = False
    """Whether the file holds arrays ``X`` and perhaps ``y``."""

    @property
    def target(self) -> str | None:
        """The column that is the target by convention."""
        return "y" if self.arrays and "y" in self.columns else None


def is_table(data: str) -> bool:
    """Whether ``data`` names a file of rows, with options or without."""
    return data.partition("?")[0].lower().endswith(TABLES)


def open_table(path: str | Path, *, sep: str = ",", key: str | None = None) -> TableFile:
    """The columns of a file, and a way to read them.

    CSV with a header line; Parquet; npz with ``X`` (n, f) and perhaps ``y`` (n,) and ``feature_names``; HDF5 with
    the same three names, with a data frame that pandas wrote in its default ``fixed`` format, with one array
    (n, f) or of records, or with one array (n,) a column.

    Args:
        path: The file; its ending tells the format.
        sep: Separator of a CSV file.
        key: The group or array of an HDF5 file that holds more than one.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingExtraError: If the format's reader is not installed.
        ValueError: If the ending is unknown or the file cannot be read.
    """
    file, ending = Path(path), str(path).lower()
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if not ending.endswith(TABLES):
        raise ValueError(f"expected a file ending in {', '.join(TABLES)}, got {file.name!r}")
    if key is not None and not ending.endswith(HDF5):
        raise ValueError(f"key= is for HDF5 files, not for {file.name}")
    if ending.endswith(CSV):
        return _csv(file, sep)
    if ending.endswith(PARQUET):
        return _parquet(file)
    return _hdf5(file, key) if ending.endswith(HDF5) else _npz(file)


def _unreadable(file: Path, kind: str, error: BaseException) -> ValueError:
    return ValueError(f"cannot read {file.name} as {kind}: {error}")


def _csv(file: Path, sep: str) -> TableFile:
    import pandas as pd

    def frames(chunk: int | None, **options: Any) -> Frames:
        try:
            if chunk is None:
                yield pd.read_csv(file, sep=sep, skipinitialspace=True, **options)
                return
            with pd.read_csv(file, sep=sep, skipinitialspace=True, chunksize=chunk, **options) as reader:
                yield from reader
        except (ValueError, OSError, EOFError) as error:
            raise _unreadable(file, "CSV", error) from error

    # As text: pandas renames what stands twice in a header, and nobody would notice. With
    # a row beneath, which must not be longer: of too many fields pandas takes the first for the names of the rows.
    (head,) = frames(None, header=None, nrows=2, dtype=str, keep_default_na=False)
    names = [str(name).strip() for name in head.iloc[0]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected each column of {file.name} once, got twice: {', '.join(twice)}")

    def read(columns: Sequence[str], n_rows: int) -> Frames:
        # All columns: with some of them chosen pandas says nothing of rows that are longer than the header.
        for frame in frames(n_rows, header=0, names=names):
            yield frame[list(columns)]

    return TableFile(file, tuple(names), read)


def _parquet(file: Path) -> TableFile:
    parquet = require("pyarrow.parquet", EXTRA, f"reading {file.name}")
    try:
        with parquet.ParquetFile(file) as table:
            # What pandas keeps of an unnamed index is no feature.
            names = tuple(name for name in table.schema_arrow.names if not name.startswith("__index_level_"))
    except (OSError, ValueError) as error:
        raise _unreadable(file, "Parquet", error) from error

    def read(columns: Sequence[str], n_rows: int) -> Frames:
        # By default Arrow holds what it has read until the file is closed, which is the whole table in the end.
        with parquet.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as table:
            for batch in table.iter_batches(n_rows, columns=list(columns)):
                yield batch.to_pandas()[list(columns)]

    return TableFile(file, names, read)


Block = tuple[tuple[str, ...], Any]
"""Names of columns, and an array (n, f) or of records (n,) that can be sliced by rows."""


def _hdf5(file: Path, key: str | None) -> TableFile:
    h5py = require("h5py", EXTRA, f"reading {file.name}")
    try:
        with h5py.File(file) as content:
            blocks = _blocks(content, key, h5py)
            names, lengths = tuple(name for block in blocks for name in block[0]), {len(b[1]) for b in blocks}
            arrays = any(array.name.rpartition("/")[2] == "X" for _, array in blocks)
    except (OSError, KeyError, ValueError) as error:
        raise _unreadable(file, "HDF5", error) from error
    if len(lengths) != 1:
        raise ValueError(f"expected columns of one length in {file.name}, got {sorted(lengths)} rows; choose with key=")
    (length,) = lengths

    def read(columns: Sequence[str], n_rows: int) -> Frames:
        wanted = set(columns)
        with h5py.File(file) as content:
            needed = [block for block in _blocks(content, key, h5py) if wanted & set(block[0])]
            for start in range(0, length, n_rows):
                yield _frame(((names, array[start : start + n_rows]) for names, array in needed), columns)

    return TableFile(file, names, read, arrays)


def _blocks(content: Any, key: str | None, h5py: Any) -> list[Block]:
    """The arrays that hold the table, by one of the layouts of ``open_table``."""
    node = content
    if key is not None:
        if key not in content:
            raise ValueError(f"it has no {key!r}; expected key= as one of {', '.join(content)}")
        node = content[key]
    elif "X" not in content and len(content) == 1:
        (node,) = content.values()
    if isinstance(node, h5py.Dataset):
        return [(_columns_of(node), node)]
    if "X" in node:
        names = [_text(name) for name in node["feature_names"][:]] if "feature_names" in node else None
        return [(tuple(names or _columns_of(node["X"])), node["X"]), *([(("y",), node["y"])] if "y" in node else [])]
    kind = _text(node.attrs.get("pandas_type", ""))
    if kind == "frame":
        numbers = range(int(node.attrs["nblocks"]))
        pairs = [(node[f"block{i}_items"], node[f"block{i}_values"]) for i in numbers]
        # Text is pickled there, and a pickle from a stranger is not opened.
        return [(tuple(map(_text, items[:])), values) for items, values in pairs if values.dtype.kind in "iufb"]
    if kind:
        raise ValueError(f"it is a pandas {kind}; expected one in the format 'fixed'")
    arrays = {name: item for name, item in node.items() if isinstance(item, h5py.Dataset)}
    if not arrays or any(array.ndim != 1 for array in arrays.values()):
        raise ValueError(f"expected a table; choose one with key= from {', '.join(node) or 'an empty file'}")
    return [((name,), array) for name, array in arrays.items()]


def _columns_of(array: Any) -> tuple[str, ...]:
    if array.dtype.names:
        return tuple(array.dtype.names)
    if array.ndim != 2:
        raise ValueError(f"expected an array (n, f) or of records, got shape {array.shape}")
    return tuple(f"x{i}" for i in range(array.shape[1]))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _frame(blocks: Iterator[Block], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    found: dict[str, NDArray] = {}
    for names, rows in blocks:
        for i, name in enumerate(names):
            if name in columns:
                values = rows[name] if rows.dtype.names else rows if rows.ndim == 1 else rows[:, i]
                found[name] = np.array([_text(v) for v in values]) if values.dtype.kind in "SO" else values
    return pd.DataFrame({name: found[name] for name in columns})


def _npz(file: Path) -> TableFile:
    try:
        with zipfile.ZipFile(file) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            if "X" not in members:
                raise ValueError(f"expected the array 'X', got {', '.join(members)}")
            blocks: dict[str, tuple[str, ...]] = {}
            with archive.open(members["X"]) as stream:
                shape, dtype, _ = _header(stream)
                if len(shape) != 2 or dtype.kind not in "iufb":
                    raise ValueError(f"expected numbers X (n, f), got {dtype} {shape}")
                blocks["X"] = tuple(f"x{i}" for i in range(shape[1]))
            if "feature_names" in members:
                with archive.open(members["feature_names"]) as stream:
                    names = tuple(map(str, np.lib.format.read_array(stream, allow_pickle=False)))
                if len(names) != shape[1]:
                    raise ValueError(f"expected {shape[1]} feature_names, got {len(names)}")
                blocks["X"] = names
            if "y" in members:
                blocks["y"] = ("y",)
                with archive.open(members["y"]) as stream:
                    if _header(stream)[0] != shape[:1]:
                        raise ValueError("expected y (n,) as long as X (n, f)")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(file, ".npz of plain arrays", error) from error

    def read(columns: Sequence[str], n_rows: int) -> Frames:
        wanted = set(columns)
        needed = {member: names for member, names in blocks.items() if wanted & set(names)}
        with zipfile.ZipFile(file) as archive:
            parts = [_pieces(archive, members[member], n_rows) for member in needed]
            for arrays in zip(*parts, strict=True):
                yield _frame(zip(needed.values(), arrays, strict=True), columns)

    return TableFile(file, tuple(name for names in blocks.values() for name in names), read, arrays=True)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, type and whether in Fortran order, of an array in NumPy's format; the stream then stands at its data."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("expected plain arrays, got objects, which would need pickle")
    return shape, dtype, fortran and len(shape) > 1


def _pieces(archive: zipfile.ZipFile, member: str, n_rows: int) -> Iterator[NDArray]:
    """An array's rows while its member is unpacked; a mapped file cannot do this when it is compressed."""
    with archive.open(member) as stream:
        shape, dtype, fortran = _header(stream)
        if fortran:  # its rows lie apart, so that all of it must be there
            with archive.open(member) as again:
                whole = np.lib.format.read_array(again, allow_pickle=False)
            yield from (whole[start : start + n_rows] for start in range(0, shape[0], n_rows))
            return
        width = int(np.prod(shape[1:], dtype=int))
        for start in range(0, shape[0], n_rows):
            count = min(n_rows, shape[0] - start)
            data = stream.read(count * width * dtype.itemsize)
            yield np.frombuffer(data, dtype).reshape(count, *shape[1:])
