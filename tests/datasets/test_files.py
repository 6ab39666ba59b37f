"""Tables of the user's own."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from qworkbench.datasets import load_dataset

CSV = """age,dose,my label,ok
31,0.5,sick,True
45,1.5,well,False
28,2.5,sick,True
60,0.1,well,True
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "table.csv"
    file.write_text(CSV)
    return file


def test_csv_by_uri_and_by_keyword(table: Path) -> None:
    data = load_dataset(f"{table}?target=my%20label")
    assert data.feature_names == ("age", "dose", "ok") and data.task == "classification"
    assert data.y.tolist() == ["sick", "well", "sick", "well"]
    np.testing.assert_array_equal(data.X[0], [31, 0.5, 1])
    assert data.name == "table.csv?target=my%20label"
    keyword = load_dataset(table, target="my label", features=["dose", "age"])
    np.testing.assert_array_equal(keyword.X, data.X[:, [1, 0]])
    assert load_dataset(table, target="my label", n_samples=2, seed=3).X.shape == (2, 3)


def test_other_separators_and_gzip(tmp_path: Path) -> None:
    file = tmp_path / "t.csv.gz"
    file.write_bytes(gzip.compress(b"a;b\n1;0\n2;1\n"))
    assert load_dataset(f"{file}?target=b&sep=;").X.tolist() == [[1.0], [2.0]]
    with pytest.raises(ValueError, match=r"several columns in t\.csv\.gz, got 'a;b'; is sep=',' right"):
        load_dataset(file, target="b")


@pytest.mark.parametrize(
    ("target", "task", "labels"),
    [
        (np.linspace(0, 1, 30), "regression", None),
        (np.arange(30) % 2 * 1.0, "classification", [0, 1]),
        (np.arange(30) % 2 + 0.5, "classification", ["0.5", "1.5"]),
        (np.arange(30), "classification", list(range(30))),
    ],
)
def test_task_follows_the_target(tmp_path: Path, target: np.ndarray, task: str, labels: list | None) -> None:
    file = tmp_path / "t.csv"
    file.write_text("x,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(target)))
    data = load_dataset(file, target="y")
    assert data.task == task
    assert labels is None or np.unique(data.y).tolist() == labels
    assert load_dataset(file, target="y", task="regression").y.dtype == np.float64


def test_anomaly_by_the_value_of_normal_rows(table: Path) -> None:
    data = load_dataset(table, target="my label", task="anomaly", normal="well")
    assert data.task == "anomaly" and data.y.tolist() == ["anomaly", "normal", "anomaly", "normal"]
    with pytest.raises(ValueError, match="unknown target value of normal rows 'wel'; did you mean 'well'"):
        load_dataset(table, target="my label", task="anomaly", normal="wel")
    with pytest.raises(ValueError, match="anomaly target of 'normal' and 'anomaly'"):
        load_dataset(table, target="my label", task="anomaly")
    with pytest.raises(ValueError, match="add task='anomaly'"):
        load_dataset(table, target="my label", normal="well")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("0.5", "half"), "numbers in the column 'dose', got text such as 'half'"),
        (CSV.replace("31", "").replace("1.5", "NA").replace("2.5", ""), "'age': 1, 'dose': 2; fill"),
        (CSV.replace("sick", ""), "'my label': 2"),
        (CSV.replace("1.5", "inf"), "finite numbers in the column 'dose', got infinity"),
        (CSV.replace("sick", "well"), "at least 2 different values.*well"),
        (CSV.replace("my label", "mylabel"), "unknown column 'my label'; did you mean 'mylabel'"),
        ("", "cannot read table.csv as CSV"),
        ("my label\n1\n2\n", "expected several columns"),
    ],
)
def test_bad_tables_are_refused_by_column(table: Path, text: str, message: str) -> None:
    table.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_dataset(table, target="my label")


def test_wrong_requests_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent\.csv"):
        load_dataset(tmp_path / "absent.csv", target="a")
    with pytest.raises(ValueError, match=r"target=COLUMN for table\.csv; its columns are age, dose, my label, ok"):
        load_dataset(table)
    with pytest.raises(ValueError, match="cannot be one of the features"):
        load_dataset(table, target="age", features="age,dose")
    with pytest.raises(ValueError, match="unknown task 'clasification'; did you mean 'classification'"):
        load_dataset(table, target="my label", task="clasification")
    with pytest.raises(ValueError, match="option 'tagret'; did you mean 'target'"):
        load_dataset(f"{table}?tagret=age")
    with pytest.raises(FileNotFoundError, match=r"no such file: table\.tsv"):
        load_dataset("table.tsv")
    other = tmp_path / "table.xlsx"
    other.write_text("")
    with pytest.raises(ValueError, match=r"ending in .csv, .csv.gz, .parquet, .*\.npz, got 'table.xlsx'"):
        load_dataset(other)


def test_npz(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    X = np.arange(8.0).reshape(4, 2)
    np.savez(file, X=X, y=np.array(["a", "b", "a", "b"]))
    data = load_dataset(file)
    np.testing.assert_array_equal(data.X, X)
    assert data.feature_names == ("x0", "x1") and data.y.tolist() == ["a", "b", "a", "b"]
    np.savez(file, X=X, y=[0, 1, 0, 1], feature_names=["p", "q"])
    assert load_dataset(file, features="q").X.tolist() == X[:, 1:].tolist()
    with pytest.raises(ValueError, match="unknown column 'r'"):
        load_dataset(file, features="r")
    assert load_dataset(file, target="q", task="regression").feature_names == ("p",)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": [[1.0], [2.0]]}, "arrays 'X' and 'y' in t.npz, got 'X' alone"),
        ({"X": [["a"], ["b"]], "y": [0, 1]}, "expected numbers X"),
        ({"X": [[1.0], [2.0]], "y": [0, 1, 1]}, "expected y .n,. as long as X"),
        ({"X": [[1.0], [np.nan]], "y": [0, 1]}, "missing values .column: count. 'x0': 1"),
        ({"X": [[1.0], [2.0]], "y": [0, np.inf]}, "finite target"),
        ({"X": [[1.0], [2.0]], "y": np.array([{}, []], dtype=object)}, "plain arrays"),
    ],
)
def test_bad_npz_is_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    file = tmp_path / "t.npz"
    np.savez(file, **arrays)
    with pytest.raises(ValueError, match=message):
        load_dataset(file)


def test_files_that_only_pretend_to_be_npz(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    for content in (b"", b"text", b"PK\x03\x04broken"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot read t\.npz"):
            load_dataset(file)
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(ValueError, match=r"cannot read t\.npz"):
        load_dataset(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,a,y\n1,2,u\n3,4,v\n", "each column of t.csv once, got twice: a"), ("a,b,y\n", "expected rows in t.csv")],
)
def test_a_doubled_column_and_an_empty_table_are_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_dataset(str(tmp_path / "t.csv"), target="y")
