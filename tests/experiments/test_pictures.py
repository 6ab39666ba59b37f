"""The experiments on pictures: their data, the parallel blocks, the five-qubit encodings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import ae_pca_5q, hqnn_parallel
from experiments._pictures import accuracy, pictures
from qworkbench.backend import Backend
from qworkbench.layer import QuantumLayer


def write_idx(directory: Path, n_train: int, n_test: int) -> None:
    rng = np.random.default_rng(0)
    for split, n in (("train", n_train), ("t10k", n_test)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (directory / f"{split}-{name}-ubyte").write_bytes(head + values.tobytes())


def test_a_directory_of_mnist_is_used_with_its_own_split(tmp_path: Path) -> None:
    write_idx(tmp_path, 30, 20)
    data = pictures(str(tmp_path), 0, 0, seed=0)
    assert data.is_mnist and data.X.shape == (30, 784) and data.X_test.shape == (20, 784)
    assert data.X.dtype == torch.float32 and 0 <= data.X.min() and data.X.max() <= 1
    assert data.y.tolist() == [k % 10 for k in range(30)]
    small = pictures(str(tmp_path), 10, 10, seed=0)
    assert len(small.y) == len(small.y_test) == 10
    assert small.fingerprints[0] != data.fingerprints[0]


def test_shipped_pictures_are_split_without_overlap() -> None:
    data = pictures("", 0, 0, seed=3)
    assert not data.is_mnist and (len(data.y), len(data.y_test)) == (2000, 500)
    assert torch.bincount(data.y_test).tolist() == [50] * 10
    assert not {row.tobytes() for row in data.X.numpy()} & {row.tobytes() for row in data.X_test.numpy()}


def test_a_directory_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        pictures(str(tmp_path), 0, 0, seed=0)


def test_accuracy_counts_every_row_once() -> None:
    model = torch.nn.Identity()
    assert accuracy(model, torch.eye(10)[[0, 1, 2, 2, 5]], torch.tensor([0, 1, 2, 3, 4]), batch_size=2) == 0.6


@pytest.mark.parametrize(
    ("row", "trained"),
    [
        (hqnn_parallel.HQNN, 45194),
        (hqnn_parallel.TANH, 45190),
        (hqnn_parallel.FROZEN, 45014),
        (hqnn_parallel.IDENTITY, 45014),
    ],
)
def test_the_rows_differ_in_the_middle_alone(row: str, trained: int) -> None:
    model = hqnn_parallel.network(row, 3, seed=1)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained
    other = hqnn_parallel.network(hqnn_parallel.HQNN, 3, seed=1).state_dict()
    shared = [k for k in model.state_dict() if ".blocks." not in k]
    assert len(shared) == len([k for k in other if ".blocks." not in k])
    assert all(torch.equal(model.state_dict()[k], other[k]) for k in shared)


def test_each_block_sees_its_own_features() -> None:
    blocks = hqnn_parallel.middle(hqnn_parallel.HQNN, 1)
    assert isinstance(blocks, hqnn_parallel.Blocks)
    features = torch.randn(6, 20, generator=torch.Generator().manual_seed(0), requires_grad=True)
    outputs = blocks(features)
    layer = blocks.blocks[2]
    assert isinstance(layer, QuantumLayer)
    assert torch.allclose(outputs[:, 10:15], layer(features[:, 10:15]))
    (gradient,) = torch.autograd.grad(outputs[:, 10:15].sum(), features)
    assert gradient[:, 10:15].abs().min() > 0
    assert not gradient[:, :10].any() and not gradient[:, 15:].any()


def test_encodings_give_the_probabilities_of_a_product_state_sent_through_the_chain() -> None:
    components = ae_pca_5q.Features(*np.random.default_rng(2).normal(size=(2, 7, 5)))
    low, high = components.train.min(axis=0), components.train.max(axis=0)
    for encoding in ae_pca_5q.ENCODINGS:
        found = ae_pca_5q.probabilities(encoding, components, Backend("statevector")).test
        share = ((components.test - low) / (high - low)).clip(0, 1)
        angles = encoding.low + (encoding.high - encoding.low) * share
        # RY(t) gives P(1) = (1 - cos t) / 2, and after a Hadamard (1 + sin t) / 2.
        after_h = np.arange(5) < encoding.hadamards
        one = np.where(after_h, 1 + np.sin(angles), 1 - np.cos(angles)) / 2
        expected = np.zeros((7, 32))
        for bits in range(32):
            b = np.array([(bits >> q) & 1 for q in range(5)])
            outcome = sum(int(v) << q for q, v in enumerate(np.cumsum(b) % 2))
            expected[:, outcome] = np.where(b, one, 1 - one).prod(axis=1)
        assert np.allclose(found, expected, atol=1e-12)


def test_shots_are_frequencies_of_those_probabilities() -> None:
    components = ae_pca_5q.Features(*np.random.default_rng(2).normal(size=(2, 50, 5)))
    exact = ae_pca_5q.probabilities(ae_pca_5q.BEST, components, Backend("statevector")).train
    drawn = ae_pca_5q.probabilities(ae_pca_5q.BEST, components, Backend("statevector", shots=4096, seed=5)).train
    assert np.allclose(drawn * 4096, np.round(drawn * 4096), atol=1e-6)
    # sum_k (f - p)^2 has mean tr C and, nearly normal f, variance 2 tr C^2, with C the multinomial covariance.
    covariance = np.array([(np.diag(p) - np.outer(p, p)) / 4096 for p in exact])
    mean, variance = np.trace(covariance, axis1=1, axis2=2), 2 * (covariance**2).sum(axis=(1, 2))
    squared = ((drawn - exact) ** 2).sum(axis=1)
    assert abs((squared - mean).sum()) < 4 * np.sqrt(variance.sum())
