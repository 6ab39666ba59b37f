"""Pictures of 28 x 28 pixels: all of MNIST from a directory, or the Fashion-MNIST subset that ships."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from qworkbench.datasets import load_dataset
from qworkbench.datasets.base import Dataset, subset


@dataclass(frozen=True)
class Pictures:
    """Training and test pictures in [0, 1] and their classes from 0 to 9."""

    name: str
    fingerprints: tuple[str, str]
    X: torch.Tensor
    """Shape ``(N, 784)``, float32."""
    y: torch.Tensor
    X_test: torch.Tensor
    y_test: torch.Tensor

    @property
    def is_mnist(self) -> bool:
        """Whether the published figures are for these data."""
        return self.name == "mnist"

    @property
    def identity(self) -> dict[str, object]:
        """What a record's spec holds of them."""
        return {
            "dataset": self.name,
            "dataset_fingerprint": list(self.fingerprints),
            "n_train": len(self.y),
            "n_test": len(self.y_test),
        }


def pictures(path: str, n_train: int, n_test: int, seed: int) -> Pictures:
    """The data of an experiment.

    Args:
        path: Directory of MNIST's IDX files, used with its own split; empty for the shipped pictures, of which the
            seed sets a fifth aside for testing.
        n_train: Training pictures to keep, 0 for all.
        n_test: Test pictures to keep, 0 for all.
        seed: Chooses them.

    Raises:
        FileNotFoundError: If the directory lacks the files.
        ValueError: If more pictures are asked for than there are.
    """
    if path:
        train, test = (load_dataset("mnist", path=path, split=split) for split in ("train", "test"))
    else:
        train, test = _split(load_dataset("fashion_mnist"), seed)
    train, test = (subset(d, n, seed) if n else d for d, n in ((train, n_train), (test, n_test)))
    arrays = [a for d in (train, test) for a in (torch.tensor(d.X, dtype=torch.float32), _numbers(d, train))]
    return Pictures("mnist" if path else "fashion_mnist", (train.fingerprint, test.fingerprint), *arrays)


def _split(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    parts = train_test_split(np.arange(len(data.y)), test_size=0.2, stratify=data.y, random_state=seed)
    train, test = (replace(data, X=data.X[rows], y=data.y[rows]) for rows in parts)
    return train, test


def _numbers(data: Dataset, train: Dataset) -> torch.Tensor:
    return torch.tensor(np.searchsorted(np.unique(train.y), data.y))


def accuracy(model: torch.nn.Module, X: torch.Tensor, y: torch.Tensor, batch_size: int = 1000) -> float:
    """Share of rows whose largest logit is the right one."""
    model.eval()
    with torch.no_grad():
        hits = [(model(a).argmax(1) == b).sum() for a, b in zip(X.split(batch_size), y.split(batch_size), strict=True)]
    return float(sum(hits)) / len(y)
