"""Tables in files, piece by piece: the same numbers as read whole, in every format."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qworkbench.datasets import load_dataset
from qworkbench.datasets.streams import is_table, open_table
from qworkbench.errors import MissingExtraError

h5py = pytest.importorskip("h5py")
parquet = pytest.importorskip("pyarrow.parquet")

FIXED = Path(__file__).parent / "files" / "pandas_fixed.h5"
"""Twelve rows in the layout of the LHC Olympics features, written by pandas 3.0 with ``to_hdf`` and PyTables."""
FRAME = pd.DataFrame(np.random.default_rng(1).normal(size=(23, 3)), columns=["a", "b c", "d"])
FRAME["n"] = np.arange(23)


def csv(file: Path) -> None:
    FRAME.to_csv(file, index=False)


def records_hdf5(file: Path) -> None:
    with h5py.File(file, "w") as content:
        content["events"] = FRAME.to_records(index=False)


def columns_hdf5(file: Path) -> None:
    with h5py.File(file, "w") as content:
        for name in FRAME:
            content[f"jets/{name}"] = FRAME[name].to_numpy()


def arrays_hdf5(file: Path) -> None:
    with h5py.File(file, "w") as content:
        content["X"], content["feature_names"] = FRAME.to_numpy(), [str(name) for name in FRAME]


def npz(file: Path) -> None:
    np.savez_compressed(file, X=np.ascontiguousarray(FRAME.to_numpy()), feature_names=list(FRAME))


def fortran_npz(file: Path) -> None:
    np.savez(file, X=np.asfortranarray(FRAME.to_numpy()), feature_names=list(FRAME))


WRITERS = {
    "t.csv": csv,
    "t.csv.gz": csv,
    "t.parquet": lambda file: FRAME.to_parquet(file),
    "records.h5": records_hdf5,
    "columns.hdf5": columns_hdf5,
    "arrays.h5": arrays_hdf5,
    "t.npz": npz,
    "fortran.npz": fortran_npz,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("n_rows", [1, 7, 23, 100])
def test_pieces_are_the_table(tmp_path: Path, name: str, n_rows: int) -> None:
    WRITERS[name](tmp_path / name)
    table = open_table(tmp_path / name)
    assert sorted(table.columns) == sorted(FRAME)
    pieces = list(table.read(["n", "b c"], n_rows))
    assert [len(piece) for piece in pieces[:-1]] == [n_rows] * (len(pieces) - 1) and len(pieces[-1]) <= n_rows
    assert all(list(piece.columns) == ["n", "b c"] for piece in pieces)
    np.testing.assert_allclose(np.concatenate([piece.to_numpy(float) for piece in pieces]), FRAME[["n", "b c"]])


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "records.h5", "columns.hdf5"])
def test_every_format_is_a_data_set(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    data = load_dataset(tmp_path / name, target="n", task="regression")
    assert sorted(data.feature_names) == ["a", "b c", "d"]
    np.testing.assert_allclose(data.X[:, data.feature_names.index("d")], FRAME["d"])


def test_what_pandas_wrote_is_read_without_pytables() -> None:
    table = open_table(FIXED)
    assert table.columns[:4] == ("pxj1", "pyj1", "pzj1", "mj1") and table.columns[-1] == "label"
    (frame,) = table.read(["label", "pxj1"], 100)
    assert frame["label"].tolist() == [1.0, 0.0, 0.0] * 4
    assert frame["pxj1"].tolist()[:2] == [0.126, -0.732]


def test_arrays_have_y_as_their_target(tmp_path: Path) -> None:
    y = np.array([b"normal", b"anomaly"] * 5)
    with h5py.File(tmp_path / "t.h5", "w") as content:
        content["X"], content["y"] = np.arange(20.0).reshape(10, 2), y
    np.savez(tmp_path / "t.npz", X=np.arange(20.0).reshape(10, 2), y=y.astype(str))
    for name in ("t.h5", "t.npz"):
        table = open_table(tmp_path / name)
        assert table.columns == ("x0", "x1", "y") and table.target == "y"
        data = load_dataset(f"{tmp_path / name}?task=anomaly&normal=normal")
        assert data.y.tolist() == ["normal", "anomaly"] * 5


def test_one_of_several_groups_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as content:
        content["signal"], content["background"] = np.zeros((4, 2)), np.ones((6, 2))
    with pytest.raises(ValueError, match="choose one with key= from background, signal"):
        open_table(tmp_path / "t.h5")
    with pytest.raises(ValueError, match="it has no 'sgnal'; expected key= as one of background, signal"):
        open_table(tmp_path / "t.h5", key="sgnal")
    assert sum(len(f) for f in open_table(tmp_path / "t.h5", key="background").read(["x1"], 4)) == 6
    csv(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="key= is for HDF5 files"):
        open_table(tmp_path / "t.csv", key="a")


def test_pandas_tables_and_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as content:
        content.create_group("df").attrs["pandas_type"] = b"frame_table"
    with pytest.raises(ValueError, match="pandas frame_table; expected one in the format 'fixed'"):
        open_table(tmp_path / "t.h5")
    with h5py.File(tmp_path / "u.h5", "w") as content:
        content["a/x"], content["a/y"] = np.zeros(3), np.zeros(4)
    with pytest.raises(ValueError, match=r"columns of one length in u.h5, got \[3, 4\] rows"):
        open_table(tmp_path / "u.h5")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1 not", "cannot read t.parquet as Parquet"),
        ("t.h5", b"\x89HDF", "cannot read t.h5 as HDF5"),
        ("t.npz", b"PK", "cannot read t.npz"),
        ("t.csv", b"", "cannot read t.csv as CSV"),
        ("t.csv", b"a,b,a\n1,2,3\n", "each column of t.csv once, got twice: a"),
        ("t.txt", b"", "expected a file ending in .csv"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        open_table(tmp_path / name)


@pytest.mark.parametrize(("name", "module"), [("t.parquet", "pyarrow.parquet"), ("t.h5", "h5py")])
def test_a_missing_reader_is_an_extra(tmp_path: Path, name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_bytes(b"")
    for loaded in [m for m in sys.modules if m.split(".")[0] == module.split(".")[0]]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    with pytest.raises(MissingExtraError, match=rf"reading {name} needs .*pip install 'qworkbench\[files\]'"):
        open_table(tmp_path / name)


def test_names_of_tables() -> None:
    assert is_table("a/B.CSV?target=y") and is_table("x.h5") and not is_table("moons?noise=0.2")
