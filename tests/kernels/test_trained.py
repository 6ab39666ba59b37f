"""Gradients, training, sums and products of kernels."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from sklearn.svm import SVC
from torch import nn

from circuits import iqp_encoding, real_amplitudes, zz_feature_map
from qworkbench.kernels import (
    ProductKernel,
    ProjectedKernel,
    QuantumKernel,
    SumKernel,
    kernel_target_alignment,
    train_kernel,
)
from qworkbench.kernels.base import Kernel
from qworkbench.kernels.training import LOSSES, svc_loss

X = np.random.default_rng(7).uniform(-1, 1, (5, 2))
Y = np.random.default_rng(8).uniform(-1, 1, (3, 2))
TRAINABLE = iqp_encoding(2).compose(real_amplitudes(2, n_layers=1)).compose(iqp_encoding(2))
WEIGHTS = np.random.default_rng(9).normal(size=TRAINABLE.n_weights)


@pytest.fixture(scope="module")
def moons():
    X, y = make_moons(60, noise=0.15, random_state=1)
    return X, np.array(["north", "south"])[y]


def slopes(kernel, x, y=None):
    """Gradients of a generic function of the matrix with respect to all parameters and the data."""
    data = torch.tensor(x, requires_grad=True)
    matrix = kernel(data, None if y is None else torch.tensor(y))
    weights = torch.linspace(0.3, 1.7, matrix.numel()).reshape(matrix.shape)
    return torch.autograd.grad((matrix * weights).sum(), [*(p for p in kernel.parameters() if p.numel()), data])


@pytest.mark.parametrize("y", [None, Y])
def test_gradients_through_states_agree_with_the_shift_rule_on_pairs(y):
    make = {"weights": WEIGHTS, "bandwidth": [0.6, 1.1]}
    exact = slopes(QuantumKernel(TRAINABLE, **make), X, y)
    shifted = slopes(QuantumKernel(TRAINABLE, "aer", **make), X, y)
    swapped = slopes(QuantumKernel(TRAINABLE, **make, method="swap-test"), X, y)
    for a, b, c in zip(exact, shifted, swapped, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)
        np.testing.assert_allclose(a, c, atol=1e-8)


def test_sampled_gradients_lie_around_the_exact_ones():
    circuit = iqp_encoding(2)
    kernel = QuantumKernel(circuit, "statevector?shots=4000&seed=1")
    found, true = (slopes(k, X[:2])[-1] for k in (kernel, QuantumKernel(circuit)))
    # Each slope is a sum of few differences of frequencies, each with a standard error below 0.5 / sqrt(4000).
    assert (found - true).abs().max() < 5 * 8 * 0.5 / np.sqrt(4000)
    assert (found - true).abs().max() > 0


def test_swap_test_gives_the_fidelity_and_its_own_errors():
    circuit = zz_feature_map(2)
    exact = QuantumKernel(circuit)(X)
    np.testing.assert_allclose(QuantumKernel(circuit, method="swap-test")(X), exact, atol=1e-12)
    gram, error = QuantumKernel(circuit, "aer?shots=2000&seed=4", method="swap-test").estimate(X)
    upper = np.triu_indices(len(X), 1)
    bound = 5 * np.sqrt((1 - exact[upper] ** 2) / 2000)
    assert (np.abs(gram - exact)[upper] < bound).all()
    np.testing.assert_allclose(error[upper], np.sqrt((1 - gram[upper] ** 2) / 1999), rtol=1e-6)
    np.testing.assert_array_equal(np.diag(gram), 1)


def test_bandwidth_scales_the_data():
    circuit = zz_feature_map(2)
    np.testing.assert_allclose(QuantumKernel(circuit, bandwidth=0.3)(X), QuantumKernel(circuit)(0.3 * X), atol=1e-12)
    each = QuantumKernel(circuit, bandwidth=[0.3, 2.0])(X, Y)
    np.testing.assert_allclose(each, QuantumKernel(circuit)(X * [0.3, 2.0], Y * [0.3, 2.0]), atol=1e-12)


def test_sums_and_products_with_their_errors():
    first, second = QuantumKernel(zz_feature_map(2)), ProjectedKernel(iqp_encoding(2))
    np.testing.assert_allclose(SumKernel([first, second], [0.3, 2])(X, Y), 0.3 * first(X, Y) + 2 * second(X, Y))
    np.testing.assert_allclose(ProductKernel([first, second])(X), first(X) * second(X))
    parts = [QuantumKernel(zz_feature_map(2), f"statevector?shots=200&seed={s}") for s in (1, 2)]
    (a, da), (b, db) = (copy.deepcopy(part).estimate(X, Y) for part in parts)
    for combined, expected in (
        (SumKernel(copy.deepcopy(parts), [0.3, 2]), np.hypot(0.3 * da, 2 * db)),
        (
            ProductKernel(copy.deepcopy(parts)),
            np.sqrt(np.maximum((a * db) ** 2 + (b * da) ** 2 - (da * db) ** 2, (da * db) ** 2)),
        ),
    ):
        np.testing.assert_allclose(combined.estimate(X, Y)[1], expected, atol=1e-12)
        assert combined.usage["shots"] == 2 * 200 * len(X) * len(Y)
    total = SumKernel([first, second])
    total(torch.tensor(X)).sum().backward()
    assert total.log_coefficients.grad.abs().min() > 0


def test_alignment_of_a_perfect_and_a_constant_kernel():
    labels = np.array(["a", "b", "c", "a", "b"])
    perfect = (labels[:, None] == labels[None, :]).astype(float)
    assert kernel_target_alignment(perfect, labels) == pytest.approx(1)
    assert kernel_target_alignment(np.ones((5, 5)), labels) == 0


def test_svc_loss_is_the_optimum_of_the_dual_and_its_gradient(moons):
    X, y = moons
    labels = torch.tensor((y == "south").astype(int))
    gram = torch.tensor(QuantumKernel(zz_feature_map(2), bandwidth=0.4)(X), requires_grad=True)
    value = svc_loss(gram, labels, C=2.0)
    machine = SVC(C=2.0, kernel="precomputed", tol=1e-8).fit(gram.detach().numpy(), labels)
    signed = np.zeros(len(y))
    signed[machine.support_] = machine.dual_coef_[0]
    dual = np.abs(signed).sum() - signed @ gram.detach().numpy() @ signed / 2
    assert value.item() * len(y) == pytest.approx(dual, rel=1e-4)
    value.backward()
    direction = torch.tensor(np.random.default_rng(3).normal(size=gram.shape))
    direction = direction + direction.T
    ends = [svc_loss(gram.detach() + step * direction, labels, C=2.0).item() for step in (1e-4, -1e-4)]
    assert (gram.grad * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=2e-2)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", [QuantumKernel, ProjectedKernel])
def test_training_lowers_the_loss_and_repeats(loss, kind, moons):
    X, y = moons
    trained = []
    for _ in range(2):
        kernel = kind(TRAINABLE, weights=WEIGHTS)
        before = LOSSES[loss](kernel(torch.tensor(X)), torch.tensor((y == "south").astype(int))).item()
        generator = torch.Generator().manual_seed(0)
        history = train_kernel(kernel, X, y, loss=loss, epochs=6, batch_size=20, generator=generator)
        after = LOSSES[loss](kernel(torch.tensor(X)), torch.tensor((y == "south").astype(int))).item()
        assert after < 0.95 * before and len(history.losses) == 6
        trained.append(kernel)
    assert all(torch.equal(a, b) for a, b in zip(*(k.parameters() for k in trained), strict=True))


def test_frozen_parameters_stay_and_a_kernel_sits_on_a_network(moons):
    X, y = moons
    kernel = QuantumKernel(TRAINABLE, weights=WEIGHTS, bandwidth=0.5)
    train_kernel(kernel, X, y, epochs=1, frozen=["log_bandwidth"])
    assert kernel.bandwidth == pytest.approx(0.5, abs=1e-12)
    assert np.abs(kernel.weights.detach().numpy() - WEIGHTS).max() > 1e-3
    assert all(p.requires_grad for p in kernel.parameters())
    trunk = nn.Linear(2, 2).double()
    loss = LOSSES["alignment"](kernel(trunk(torch.tensor(X))), torch.tensor((y == "south").astype(int)))
    loss.backward()
    assert trunk.weight.grad.abs().min() > 0


def test_kernels_are_copied_and_pickled():
    for kernel in (QuantumKernel(TRAINABLE, weights=WEIGHTS), ProjectedKernel(TRAINABLE, weights=WEIGHTS)):
        for other in (copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
            np.testing.assert_array_equal(other(X), kernel(X))


def test_tensors_keep_their_dtype():
    assert QuantumKernel(zz_feature_map(2))(torch.tensor(X, dtype=torch.float32)).dtype == torch.float32


def test_numbers_are_a_target_of_their_own():
    rng = np.random.default_rng(4)
    numbers = rng.normal(size=30)
    centred = numbers - numbers.mean()
    assert kernel_target_alignment(np.outer(centred, centred), 7.0 * numbers + 3) == pytest.approx(1)
    counts = rng.integers(0, 9, 30)
    centred = counts - counts.mean()
    assert kernel_target_alignment(np.outer(centred, centred), counts, task="regression") == pytest.approx(1)
    assert kernel_target_alignment(np.outer(centred, centred), counts) < 0.9  # whole numbers are classes by default


def test_training_on_numbers_learns_which_feature_they_depend_on():
    rng = np.random.default_rng(2)
    data = rng.uniform(-1, 1, (60, 2))
    values = np.sin(2 * data[:, 0])
    kernel = QuantumKernel(iqp_encoding(2), bandwidth=[0.7, 0.7])
    before = kernel_target_alignment(kernel(data), values)
    train_kernel(kernel, data, values, epochs=15, generator=torch.Generator().manual_seed(0))
    assert kernel_target_alignment(kernel(data), values) > before + 0.1
    assert kernel.bandwidth[0] > 2 * kernel.bandwidth[1]


@pytest.mark.parametrize("combined", [SumKernel, ProductKernel])
@pytest.mark.parametrize("part", ["fidelity", "projected", "sum", "same"])
def test_parts_of_one_seed_are_measured_independently(combined, part):
    rows, draws, upper = X, 300, np.triu_indices(5, 1)
    pulls = []
    for seed in range(draws):
        backend = f"statevector?shots=200&seed={seed}"
        first = QuantumKernel(iqp_encoding(2), backend)
        second = {
            "fidelity": lambda backend=backend: QuantumKernel(iqp_encoding(2), backend),
            "projected": lambda backend=backend: ProjectedKernel(iqp_encoding(2), backend),
            "sum": lambda backend=backend: SumKernel([QuantumKernel(iqp_encoding(2), backend) for _ in range(2)]),
            "same": lambda first=first: first,
        }[part]()
        kernel = combined([first, second])
        if part == "projected":
            pulls.append(kernel.estimate(rows))
            continue
        mean, error = kernel.estimate(rows)
        pulls.append(((mean - kernel.with_backend("statevector")(rows)) / error.clip(1e-12))[upper])
    if part == "projected":  # biased by its noise: the scatter by itself against the mean of the errors
        means, errors = (np.array([pull[k][upper] for pull in pulls]) for k in range(2))
        ratio = (means.std(axis=0, ddof=1) / errors.mean(axis=0)).mean()
        assert abs(ratio - 1) < 0.1
        return
    z = np.concatenate(pulls)
    # Entries of one draw that share a sample are independent: each is a circuit of its own.
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / len(z)) + 0.05


def test_the_error_of_a_product_of_small_parts_is_that_of_its_scatter():
    # Two swap tests near 0, whose errors are far above their values.
    rows = np.random.default_rng(3).uniform(-3, 3, (6, 2))
    found = []
    for seed in range(150):
        first, second = (
            QuantumKernel(zz_feature_map(2), f"statevector?shots=50&seed={2 * seed + k}", method="swap-test")
            for k in range(2)
        )
        found.append(ProductKernel([first, second]).estimate(rows[:3], rows[3:]))
    means, errors = (np.array([pair[k] for pair in found]) for k in range(2))
    exact = QuantumKernel(zz_feature_map(2))(rows[:3], rows[3:]) ** 2
    scatter, claimed = np.sqrt(((means - exact) ** 2).mean(0)), np.sqrt((errors**2).mean(0))
    assert exact.min() < 1e-3
    assert 0.9 < (claimed / scatter).mean() < 1.25 and (claimed / scatter).max() < 1.5


class Given(Kernel):
    """An entry with an error, drawn from a normal distribution."""

    n_inputs = 2

    def __init__(self, value, error, rng=None):
        super().__init__()
        self.value, self.error, self.rng = value, error, rng

    def estimate(self, x, y=None):
        drawn = self.rng.normal(self.value, self.error, (len(x), len(x))) if self.rng else self.value
        return np.full((len(x), len(x)), drawn), np.full((len(x), len(x)), self.error)


@pytest.mark.parametrize(
    "parts",
    [
        [(1, 0), (0, 0.01), (0, 0.01)],
        [(1, 0.01), (0, 0.01), (0, 0.01)],
        [(0.9, 0.01), (0.9, 0.01), (0, 0.01), (0, 0.01)],
        [(0.5, 0.05), (0.3, 0.1), (0.8, 0.02)],
    ],
)
def test_errors_of_products_of_many_are_those_of_their_scatter(parts):
    rng = np.random.default_rng(0)
    rows = np.zeros((60, 2))
    values, errors = ProductKernel([Given(value, error, rng) for value, error in parts]).estimate(rows)
    exact = np.prod([value for value, _ in parts])
    scatter = np.sqrt(((values - exact) ** 2).mean())
    assert 0.95 < np.sqrt((errors**2).mean()) / scatter < 1.5
    assert ProductKernel([Given(value, error) for value, error in parts]).estimate(rows)[1][0, 0] > 0


def test_what_is_kept_holds_for_its_rows_weights_and_bandwidth():
    kernel = ProjectedKernel(TRAINABLE, "statevector?shots=50&seed=1", WEIGHTS)
    kernel.keep(X)
    first = kernel(X)
    np.testing.assert_array_equal(kernel(X), first)
    with torch.no_grad():
        np.testing.assert_array_equal(kernel(torch.tensor(X)), first)
    before = kernel.usage["circuits"]
    np.testing.assert_allclose(kernel(np.concatenate([X, Y]))[:5, :5], first, atol=1e-12)
    assert kernel.usage["circuits"] - before == 3 * len(Y)
    copies = [copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))]
    fresh = ProjectedKernel(TRAINABLE, "statevector?shots=50&seed=9", WEIGHTS)
    fresh.load_state_dict(kernel.state_dict())
    for other in (*copies, fresh):
        np.testing.assert_array_equal(other(X), first)
    assert kernel.with_backend("statevector?shots=50&seed=1").kept_rows is None
    with torch.no_grad():
        kernel.log_bandwidth.add_(0.5)
    assert (kernel(X) != kernel(X)).any()
    kernel.keep(None)
    assert "kept_rows" not in kernel.state_dict()
    with pytest.raises(ValueError, match="features of 15 observables, got 6"):
        ProjectedKernel(TRAINABLE, weights=WEIGHTS, n_body=2).load_state_dict(fresh.state_dict())


def test_a_part_with_a_seed_of_its_own_has_the_same_parameters():
    first, second = (QuantumKernel(TRAINABLE, "statevector?shots=50&seed=1", WEIGHTS) for _ in range(2))
    kernel = SumKernel([first, second])
    assert kernel.kernels[0] is first and kernel.kernels[1] is not second
    assert kernel.kernels[1].weights is second.weights
    assert str(second.backend) == "statevector?shots=50&seed=1" != str(kernel.kernels[1].backend)
    exact = QuantumKernel(TRAINABLE, "statevector?seed=1", WEIGHTS)
    assert SumKernel([exact, exact]).kernels[1] is exact
    once, again = (SumKernel([copy.deepcopy(first), copy.deepcopy(first)])(X) for _ in range(2))
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernel_target_alignment(np.eye(3), [0, 1]), r"shape \(2, 2\)"),
        (lambda: kernel_target_alignment(np.eye(2), ["a", "b"], task="regression"), "finite numbers"),
        (lambda: kernel_target_alignment(np.eye(2), [0, 1], task="regresion"), "did you mean 'regression'"),
        (
            lambda: train_kernel(QuantumKernel(zz_feature_map(2)), X, [0.1, 0.2, 1, 2, 3], loss="svc"),
            "expected classes",
        ),
        (lambda: train_kernel(QuantumKernel(TRAINABLE, weights=WEIGHTS), X, [0] * 5), "at least 2 classes"),
        (lambda: train_kernel(QuantumKernel(TRAINABLE, weights=WEIGHTS), X, [0, 1, 0]), "expected 5 labels"),
        (lambda: train_kernel(QuantumKernel(zz_feature_map(2)), X, [0, 1] * 2 + [0], loss="svm"), "did you mean 'svc'"),
        (
            lambda: train_kernel(QuantumKernel(zz_feature_map(2)), X, [0, 1, 0, 1, 0], frozen=["log_bandwidth"]),
            "nothing|frozen or empty",
        ),
        (
            lambda: train_kernel(QuantumKernel(zz_feature_map(2)), X, [0, 1, 0, 1, 0], frozen=["bandwith"]),
            "log_bandwidth",
        ),
        (lambda: SumKernel([QuantumKernel(zz_feature_map(2))]), "at least two kernels"),
        (lambda: SumKernel(QuantumKernel(zz_feature_map(2))), r"at least two kernels, got \['QuantumKernel'\]"),
        (lambda: QuantumKernel(TRAINABLE, weights=WEIGHTS * np.nan), "got NaN or infinity"),
        (
            lambda: ProductKernel([QuantumKernel(zz_feature_map(2)), QuantumKernel(zz_feature_map(3))]),
            "same number of inputs",
        ),
        (lambda: QuantumKernel(zz_feature_map(2), bandwidth=0), "positive bandwidth"),
        (lambda: QuantumKernel(zz_feature_map(2), method="swaptest"), "did you mean 'swap-test'"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
