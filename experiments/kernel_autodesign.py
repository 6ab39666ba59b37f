"""QuKerNet, a neural auto-designer of quantum kernels: Lei et al. 2024, against random search and hand-made maps.

Features are selected by mutual information less redundancy (mRMR). A layout is an image: a rotation on each qubit in
each column and an entangler on each pair of neighbours after it. The kernel-target alignment of some random layouts
trains a neural predictor, which ranks many more; the best of these are measured. Random search, and the hand-made maps
over a grid of bandwidths, measure as many kernels. Whatever each finds, its bandwidths (one a feature) are then
fine-tuned in the same way by gradient, and a support vector machine is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit.circuit import ParameterVector, QuantumCircuit
from scipy.stats import spearmanr
from sklearn.feature_selection import mutual_info_classif
from sklearn.neural_network import MLPRegressor

from circuits import ParameterizedCircuit, angle_encoding, zz_feature_map
from experiments._cli import main
from experiments._kernels import Split, accuracy, rbf_accuracy, split
from experiments._rows import Measured, Part, Row, records, values, verdict
from qworkbench.kernels import QuantumKernel, kernel_target_alignment, train_kernel
from qworkbench.runs import RunRecord

SOURCE = (
    "Lei, Du, Mi, Yu & Liu, ICLR 2024, arXiv:2401.11098; their data and figures were not at hand, and the claim "
    "is quoted from memory: check it against the paper before citing it"
)
PUBLISHED = "designed kernels beat hand-made ones"
DESIGNED, RANDOM, TYPICAL = "designed by the predictor", "random search", "random layout, median of the search"
ZZ, ANGLE, RBF = "hand-made: ZZ map", "hand-made: angle map", "RBF-SVM on the selected features"
ROTATIONS = ("id", "rx", "ry", "rz")
ENTANGLERS = ("id", "cx", "cz")


@dataclass(frozen=True)
class Config:
    """Settings of the experiment."""

    dataset: str = "fashion_mnist?classes=0,2,4,6"
    """real data"""
    n_features: int = 8
    """features selected"""
    n_qubits: int = 6
    """width of all maps"""
    n_columns: int = 4
    """columns of a layout"""
    n_measured: int = 200
    """random layouts that train the predictor"""
    n_predicted: int = 2000
    """layouts that the predictor ranks"""
    n_best: int = 50
    """best predicted layouts that are measured"""
    n_align: int = 100
    """training rows of an alignment"""
    epochs: int = 10
    """epochs of fine-tuning"""
    n_splits: int = 10
    """random splits"""
    n_train: int = 200
    """training rows"""
    n_test: int = 200
    """test rows"""
    seed: int = 0
    """seed of splits, layouts and the predictor"""

    @classmethod
    def smoke(cls, **changes: object) -> Self:
        """A few seconds' worth."""
        small = cls("wine", 4, 3, 2, 12, 40, 4, 24, 1, 1, 60, 60)
        return replace(small, **changes)  # type: ignore[arg-type]

    @property
    def budget(self) -> int:
        """Kernels that each search measures."""
        return self.n_measured + self.n_best


def run(config: Config, known: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
    """One record a split and row, as they are made; those in ``known`` are passed on."""
    for number in range(config.n_splits):
        data = split(config.dataset, config.n_train, config.n_test, config.seed + number)
        settings = {k: v for k, v in vars(config).items() if k != "n_splits"}
        shared = {"experiment": "kernel_autodesign", "problem": number, "dataset_fingerprint": data.fingerprint}
        search = Search(config, data, number)
        yield from records(shared | settings, SOURCE, _parts(search), known)


def _parts(search: Search) -> list[Part]:
    return [
        ([Row(DESIGNED, True, {}, PUBLISHED)], lambda: [search.designed()]),
        ([Row(RANDOM, True, {}), Row(TYPICAL, True, {})], lambda: list(search.random())),
        ([Row(ZZ, True, {})], lambda: [search.hand_made("zz")]),
        ([Row(ANGLE, True, {})], lambda: [search.hand_made("angle")]),
        ([Row(RBF, False, {})], lambda: [(rbf_accuracy(search.data, search.config.seed), {})]),
    ]


def select_features(X: NDArray[np.float64], y: NDArray, n_features: int, seed: int) -> list[int]:
    """mRMR: one by one, the feature of the most mutual information with the labels less its mean absolute correlation
    with those already chosen (Peng, Long & Ding 2005)."""
    relevance = mutual_info_classif(X, y, random_state=seed)
    with np.errstate(invalid="ignore", divide="ignore"):  # pixels that are always black
        correlation = np.abs(np.nan_to_num(np.corrcoef(X.T)))
    chosen = [int(relevance.argmax())]
    while len(chosen) < min(n_features, X.shape[1]):
        gain = relevance - correlation[:, chosen].mean(1)
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
    return chosen


def build(layout: NDArray[np.int64], n_features: int) -> ParameterizedCircuit:
    """The circuit of a layout: each pixel has its feature, so that the same pixel means the same in every layout.

    Args:
        layout: Shape ``(2 n_columns, n_qubits)``: rows of ``ROTATIONS`` and of ``ENTANGLERS`` (with the next
            qubit) in turn.
        n_features: Number of inputs.
    """
    x, n_qubits = ParameterVector("x", n_features), layout.shape[1]
    circuit = QuantumCircuit(n_qubits)
    circuit.h(range(n_qubits))
    for column, (rotations, entanglers) in enumerate(zip(layout[::2], layout[1::2], strict=True)):
        for qubit, kind in enumerate(rotations):
            if ROTATIONS[kind] != "id":
                getattr(circuit, ROTATIONS[kind])(x[(column * n_qubits + qubit) % n_features], qubit)
        for qubit, kind in enumerate(entanglers):
            if ENTANGLERS[kind] != "id" and n_qubits > 1:
                getattr(circuit, ENTANGLERS[kind])(qubit, (qubit + 1) % n_qubits)
    return ParameterizedCircuit(circuit, tuple(x))


class Search:
    """The searches on one split: they share the random layouts and the rows of the alignment."""

    def __init__(self, config: Config, data: Split, number: int) -> None:
        chosen = select_features(data.X, data.y, config.n_features, config.seed)
        self.config, self.data = config, replace(data, X=data.X[:, chosen], X_test=data.X_test[:, chosen])
        self._rng = np.random.default_rng([config.seed, number])
        rows = self._rng.permutation(len(data.y))[: config.n_align]
        self._X, self._y = self.data.X[rows], self.data.y[rows]
        self._layouts = self._draw(config.budget)
        self._candidates = self._draw(config.n_predicted)

    def _draw(self, count: int) -> NDArray[np.int64]:
        shape = (count, self.config.n_columns, self.config.n_qubits)
        rotations, entanglers = (self._rng.integers(0, len(kinds), shape) for kinds in (ROTATIONS, ENTANGLERS))
        return np.stack([rotations, entanglers], axis=2).reshape(count, 2 * self.config.n_columns, -1)

    def _alignment(self, circuit: ParameterizedCircuit, bandwidth: float = 1.0) -> float:
        return kernel_target_alignment(QuantumKernel(circuit, bandwidth=bandwidth)(self._X), self._y)

    def _circuit(self, layout: NDArray[np.int64]) -> ParameterizedCircuit:
        return build(layout, self._X.shape[1])

    @cached_property
    def _measured(self) -> NDArray[np.float64]:
        """Alignment of every random layout of the budget."""
        return np.array([self._alignment(self._circuit(layout)) for layout in self._layouts])

    def designed(self) -> Measured:
        """Train the predictor on the first layouts, measure the best that it predicts, test the best of all."""
        n, best = self.config.n_measured, self.config.n_best
        known, aligned = self._layouts[:n], self._measured[:n]
        scale = aligned.std() or 1.0
        network = MLPRegressor(hidden_layer_sizes=(64, 64), alpha=1.0, max_iter=5000, random_state=self.config.seed)
        network.fit(_image(known), (aligned - aligned.mean()) / scale)
        # The rest of the random budget, which the predictor has not seen, tests its ranking.
        rank = float(spearmanr(network.predict(_image(self._layouts[n:])), self._measured[n:]).statistic)
        order = np.argsort(-network.predict(_image(self._candidates)), kind="stable")[:best]
        found = np.array([self._alignment(self._circuit(layout)) for layout in self._candidates[order]])
        layouts, scores = np.concatenate([known, self._candidates[order]]), np.concatenate([aligned, found])
        metrics, info = self._test(self._circuit(layouts[scores.argmax()]))
        return {**metrics, "rank_correlation": rank, "found": float(scores.max())}, info

    def random(self) -> tuple[Measured, Measured]:
        """The best of as many random layouts, and the one in the middle."""
        order = np.argsort(self._measured)
        best, middle = (self._test(self._circuit(self._layouts[i])) for i in (order[-1], order[len(order) // 2]))
        found, median = self._measured[order[-1]], self._measured[order[len(order) // 2]]
        return ({**best[0], "found": float(found)}, best[1]), ({**middle[0], "found": float(median)}, middle[1])

    def hand_made(self, name: str) -> Measured:
        """A map from the books at the best of as many bandwidths and depths."""
        n_features, depths = self._X.shape[1], (1, 2)
        bandwidths = np.logspace(-2.5, 0.5, -(-self.config.budget // len(depths)))
        makers = {
            "zz": lambda depth: zz_feature_map(n_features, self.config.n_qubits, n_layers=depth),
            "angle": lambda depth: angle_encoding(n_features, self.config.n_qubits, n_layers=depth),
        }
        tried = [(self._alignment(makers[name](d), b), d, b) for d in depths for b in bandwidths]
        found, depth, bandwidth = max(tried[: self.config.budget])
        metrics, info = self._test(makers[name](depth), bandwidth)
        return {**metrics, "found": found}, info | {"n_layers": depth, "start": bandwidth}

    def _test(self, circuit: ParameterizedCircuit, bandwidth: float = 1.0) -> Measured:
        kernel = QuantumKernel(circuit, bandwidth=np.full(circuit.n_inputs, bandwidth))
        generator = torch.Generator().manual_seed(self.config.seed)
        train_kernel(kernel, self._X, self._y, epochs=self.config.epochs, batch_size=30, generator=generator)
        gram = kernel(self.data.X)
        metrics = accuracy(gram, kernel(self.data.X_test, self.data.X), self.data, self.config.seed)
        entries = gram[np.triu_indices(len(gram), 1)]
        aligned = kernel_target_alignment(gram, self.data.y)
        return metrics | {"alignment": aligned, "std_entry": float(entries.std())}, dict(
            circuit.quantum_circuit.count_ops()
        )


def _image(layouts: NDArray[np.int64]) -> NDArray[np.float64]:
    """One-hot pixels, shape ``(N, n_pixels)``."""
    n_kinds = max(len(ROTATIONS), len(ENTANGLERS))
    return np.eye(n_kinds)[layouts].reshape(len(layouts), -1)


def _beats(measured: Sequence[RunRecord], other: str, metric: str, name: str) -> str:
    """Whether the designed kernel is ahead by two standard errors of the paired difference."""
    ours, theirs = values(measured, DESIGNED, metric), values(measured, other, metric)
    error = (ours - theirs).std(ddof=1) / np.sqrt(len(ours)) if len(ours) > 1 else np.inf
    text = f"{name}: designed {ours.mean():.3f} is above {other}, {theirs.mean():.3f}, by two standard errors"
    return verdict(f"{text} ({2 * error:.3f})", ours.mean() - theirs.mean() > 2 * error)


def verdicts(measured: Sequence[RunRecord]) -> list[str]:
    """The claims against the records, in words."""
    rank = values(measured, DESIGNED, "rank_correlation").mean()
    lines = [verdict(f"the predictor ranks unseen layouts: Spearman {rank:.2f} (expected at least 0.5)", rank >= 0.5)]
    for other in (TYPICAL, RANDOM, ZZ, ANGLE):
        lines.append(_beats(measured, other, "score", "accuracy"))
    lines.append(_beats(measured, RANDOM, "found", "alignment found at equal budget"))
    return [*lines, f"note: the {RBF} scores {values(measured, RBF).mean():.3f}"]


if __name__ == "__main__":
    main(Path(__file__).stem)
