"""What every detector promises: scikit-learn's contract, a threshold, and scores above those of uniform noise."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from qworkbench.baselines import BASELINES
from qworkbench.comparison.planning import CountingRunner, plan
from qworkbench.datasets import load_dataset
from qworkbench.engines.runners import CircuitEngine
from qworkbench.errors import MissingExtraError
from qworkbench.models import (
    AutoencoderDetector,
    BornMachineDetector,
    PyODDetector,
    QGANDetector,
    QuantumAutoencoderDetector,
    QuantumDeepSVDD,
    QuantumOneClassSVM,
)
from qworkbench.models.registry import MODELS
from qworkbench.models.safeguard import safeguard_summary

DETECTORS = {name: entry for name, entry in (MODELS | BASELINES).items() if entry.task == "anomaly"}
QUANTUM: list[Any] = [
    QuantumAutoencoderDetector(epochs=2, n_layers=1, random_state=0),
    # In batches: of all events together the first gradient has zeros, whose sign Adam would take from rounding.
    QuantumDeepSVDD(epochs=2, n_layers=1, batch_size=5, random_state=0),
    BornMachineDetector(2, n_bits=1, epochs=3, n_layers=1, random_state=0),
]
SETS = {
    "collider": "collider_dijets?task=anomaly&features=physics&n_samples=600",
    "all collider features": "collider_dijets?task=anomaly&n_samples=600",
    "iris": "iris",
    "wine": "wine",
    "breast cancer": "breast_cancer",
    "diabetes": "diabetes",
    "digits": "digits",
}
HARD = (
    "four corners",
    "sixteen corners",
    "ring",
    "xor",
    "heavy tails",
    "binary columns",
    "counts",
    "constant columns",
    "one direction",
    "more features than rows",
    "thin ring",
    "shell",
    "two rows",
    "three numbers",
    "eight rows of bits",
)
GUARDED = [*(name for name, entry in DETECTORS.items() if entry.quantum), "autoencoder", "gan"]
"""The quantum detectors, and the classical ones that share their code."""


@parametrize_with_checks(
    [
        QuantumAutoencoderDetector(epochs=5),
        QuantumDeepSVDD(epochs=5),
        BornMachineDetector(epochs=40),
        AutoencoderDetector(epochs=5),
        PyODDetector("HBOS"),
    ]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def drawn(name: str, seed: int) -> np.ndarray:
    """A made-up background that a model with one centre takes for less normal than what lies between."""
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, 2 * np.pi, 300)
    bits = rng.integers(0, 2, (300, 3)).astype(float)
    common = rng.normal(size=(300, 1))
    ball = rng.normal(size=(300, 3))
    return {
        "four corners": lambda: rng.choice([-1, 1], (300, 2)) + 0.1 * rng.normal(size=(300, 2)),
        "sixteen corners": lambda: rng.choice([-1, 1], (300, 4)) + 0.1 * rng.normal(size=(300, 4)),
        "ring": lambda: np.column_stack([np.cos(turn), np.sin(turn)]) + 0.05 * rng.normal(size=(300, 2)),
        "xor": lambda: np.column_stack([bits[:, :2], (bits[:, 0] != bits[:, 1])]) + 0.05 * rng.normal(size=(300, 3)),
        "heavy tails": lambda: rng.standard_cauchy((300, 4)),
        "binary columns": lambda: rng.integers(0, 2, (300, 10)).astype(float),
        "counts": lambda: rng.poisson(1.5, (300, 6)).astype(float),
        "constant columns": lambda: np.column_stack([rng.normal(size=(300, 3)), np.ones((300, 2))]),
        "one direction": lambda: common + 0.01 * rng.normal(size=(300, 8)),
        "more features than rows": lambda: rng.normal(size=(40, 100)),
        "thin ring": lambda: np.column_stack([np.cos(turn), np.sin(turn)]),
        # Each of its features by itself is uniform (Archimedes).
        "shell": lambda: ball / np.linalg.norm(ball, axis=1, keepdims=True),
        "two rows": lambda: rng.normal(size=(2, 3)),
        "three numbers": lambda: rng.normal(size=(3, 1)),
        "eight rows of bits": lambda: rng.integers(0, 2, (8, 3)).astype(float),
    }[name]()


def background(source: str, seed: int) -> np.ndarray:
    """Up to 300 normal rows."""
    data = load_dataset(source, seed=seed) if "collider" in source else load_dataset(source)
    rows = data.X[data.y == "normal"] if data.task == "anomaly" else data.X
    return rows[np.random.default_rng(seed).permutation(len(rows))[:300]]


def noise_auc(model: Any, train: np.ndarray, seed: int) -> float:
    """ROC AUC of the training background against uniform noise in its box."""
    noise = np.random.default_rng(seed).uniform(train.min(axis=0), train.max(axis=0), (500, train.shape[1]))
    labels = np.repeat([1, 0], [len(train), len(noise)])
    return float(roc_auc_score(labels, model.score_samples(np.concatenate([train, noise]))))


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("source", SETS)
def test_no_detector_ranks_its_own_background_below_noise(name, source):
    for seed in range(2):
        train = background(SETS[source], seed)
        model = DETECTORS[name].factory(seed).fit(train)
        assert noise_auc(model, train, seed) > 0.5


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("source", HARD)
@pytest.mark.filterwarnings("ignore:the detector by itself:sklearn.exceptions.ConvergenceWarning")
def test_hard_backgrounds_stay_above_noise(name, source):
    train = drawn(source, 0)
    model = DETECTORS[name].factory(0).fit(train)
    assert noise_auc(model, train, 1) > 0.5
    far = train[:1] + 20 * (train.max(axis=0) - train.min(axis=0) + 1)
    assert model.score_samples(far)[0] < np.quantile(model.score_samples(train), 0.05)


@pytest.mark.parametrize("name", GUARDED)
def test_of_rows_that_are_all_the_same_none_is_odder(name):
    train = np.full((50, 3), 0.1)
    model = DETECTORS[name].factory(1).fit(train)
    assert noise_auc(model, train, 1) == 0.5
    assert model.score_samples(train + 1)[0] < model.score_samples(train)[0]


@pytest.mark.parametrize("kernel", ["fidelity", "projected"])
def test_the_check_of_a_kernel_machine_spends_no_shots(kernel):
    train = background(SETS["collider"], 0)[:24]
    model = QuantumOneClassSVM(kernel=kernel, random_state=0)
    asked = plan(model, train, None, "aer?shots=50")[0][0]
    counted = CircuitEngine(runner := CountingRunner(), 50, 0, "test")
    clone(model).set_params(backend=counted).fit(train)
    fitted = clone(model).set_params(backend="aer?shots=50").fit(train)
    assert runner.sizes.total() == fitted.usage_["submissions"]
    assert (asked.circuits, asked.shots) == (fitted.usage_["circuits"], fitted.usage_["shots"])
    if kernel == "fidelity":  # the areas are those of the model without the noise of its shots
        exact = clone(model).fit(train)
        assert abs(fitted.safeguard_.own_auc_ - exact.safeguard_.own_auc_) < 0.1


@pytest.mark.parametrize("source", ["collider", "iris", "breast cancer", "diabetes"])
@pytest.mark.filterwarnings("ignore:the detector by itself:sklearn.exceptions.ConvergenceWarning")
def test_few_shots_of_a_projected_kernel_leave_new_events_above_noise(source):
    # Training rows as they were measured are half of each score. Checked without their noise, the areas were 0.5.
    rows = background(SETS[source], 0)
    train, new = rows[:60], rows[60:160]
    model = QuantumOneClassSVM(kernel="projected", random_state=0, backend="statevector?shots=50").fit(train)
    noise = np.random.default_rng(0).uniform(train.min(axis=0), train.max(axis=0), (300, train.shape[1]))
    area = roc_auc_score(np.repeat([1, 0], [len(new), 300]), model.score_samples(np.concatenate([new, noise])))
    assert area > 0.6


def test_where_no_single_feature_tells_the_nearest_row_does():
    train = drawn("shell", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = DETECTORS["quantum_one_class_svm"].factory(0).fit(train)
    guard = model.safeguard_
    assert guard.marginal_weight_ == 0
    assert guard.nearest_weight_ > 0
    assert guard.own_auc_ < 0.5
    rng = np.random.default_rng(5)
    rows = np.concatenate([rng.uniform(-2, 2, (20, 3)), drawn("shell", 2)[:20]])
    own, beyond = model._parts(rows)
    width = np.ptp(train, axis=0)
    nearest = np.sqrt((((rows[:, None] - train) / width) ** 2).sum(axis=2)).min(axis=1)
    np.testing.assert_allclose(
        -model.score_samples(rows), own + guard.missed_weight_ * beyond + guard.nearest_weight_ * nearest
    )
    # Other rows of the same shell are more normal than what lies around it, too.
    assert noise_auc(model, drawn("shell", 3), 4) > 0.6


def test_the_safeguard_says_what_it_did():
    train = drawn("four corners", 0)
    with pytest.warns(ConvergenceWarning, match="by itself ranks its training background below uniform noise"):
        model = DETECTORS["quantum_one_class_svm"].factory(0).fit(train)
    guard = model.safeguard_
    assert guard.own_auc_ < 0.4
    assert guard.marginal_weight_ > 0
    assert abs(guard.noise_auc_ - noise_auc(model, train, 3)) < 0.1
    assert 0.3 < guard.classical_share_ < 1
    assert safeguard_summary(model) == guard.summary()
    assert safeguard_summary(StandardScaler().fit(train)) is None
    calm = DETECTORS["quantum_one_class_svm"].factory(0).fit(background(SETS["wine"], 0)).safeguard_
    assert calm.marginal_weight_ == calm.nearest_weight_ == calm.classical_share_ == 0
    assert calm.noise_auc_ == calm.own_auc_


def test_what_components_leave_out_counts_as_much_as_the_circuit():
    rows = background(SETS["digits"], 0)
    model = QuantumDeepSVDD(epochs=1, random_state=0).fit(rows)
    scaler, guard = model.scaler_, model.safeguard_
    seen = scaler.unscale(np.clip(scaler.transform(rows), -1.5, 1.5)) @ scaler.components_
    missed = np.sqrt(((scaler.standardise(rows) - seen) ** 2).mean(axis=1))
    with torch.no_grad():
        own = ((model.module_(model._inputs(rows)).numpy() - model.targets_) ** 2).sum(axis=1)
    np.testing.assert_allclose(model.score_samples(rows), -(own + guard.missed_weight_ * missed))
    ratio = np.subtract(*np.quantile(own, [0.84, 0.16])) / np.subtract(*np.quantile(missed, [0.84, 0.16]))
    # Set on the rows that train, nine tenths of these.
    assert guard.missed_weight_ == pytest.approx(ratio, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"loss": "wasserstein"}, {"loss": "hinge"}, {"discriminator": "classical"}])
@pytest.mark.parametrize("source", SETS)
def test_no_qgan_ranks_its_own_background_below_noise(settings, source):
    for seed in range(2, 5):
        train = background(SETS[source], seed)
        model = QGANDetector(random_state=seed, **settings).fit(train)
        assert noise_auc(model, train, seed) > 0.5
        # Of other rows and other noise; a standard deviation of this AUC is at most 0.03.
        assert abs(model.noise_auc_ - noise_auc(model, train, seed)) < 0.1


@pytest.mark.parametrize("model", QUANTUM, ids=lambda m: type(m).__name__)
def test_exact_backends_agree_and_noise_differs(model):
    rows = background(SETS["collider"], 0)[:12]
    exact = clone(model).fit(rows)
    aer = clone(model).set_params(backend="aer").fit(rows)
    np.testing.assert_allclose(aer.score_samples(rows), exact.score_samples(rows), atol=1e-7)
    np.testing.assert_allclose(aer.loss_curve_, exact.loss_curve_, atol=1e-8)
    scores = exact.score_samples(rows)
    for backend in ("aer?noise=fake_manila", "aer?shots=200&seed=1"):
        moved = exact.set_params(backend=backend).score_samples(rows)
        assert 1e-6 < np.abs(moved - scores).max() < 2
    mean, error = exact.set_params(backend="aer?shots=4000&seed=2").estimate(rows)
    assert (error > 0).all()
    # The groups' spread has 7 degrees of freedom. (A logarithm or a square adds a bias of order 1 / shots.)
    assert (np.abs(mean - scores) < 5.4 * error + 0.02).all()
    noisy = clone(model).set_params(backend="aer?noise=fake_manila&shots=50").fit(rows)
    assert noisy.usage_["shots"] > 0
    np.testing.assert_array_equal(clone(noisy).fit(rows).score_samples(rows), noisy.score_samples(rows))


@pytest.mark.parametrize(
    "model",
    [*QUANTUM, AutoencoderDetector(epochs=2, random_state=0), QGANDetector(epochs=2, bank_size=32, random_state=0)],
    ids=lambda m: type(m).__name__,
)
def test_threshold_from_training_or_validation(model):
    rows = background(SETS["collider"], 0)[:200]
    fitted = clone(model).set_params(contamination=0.25).fit(rows)
    assert (fitted.predict(rows) == -1).mean() == pytest.approx(0.25, abs=0.005)
    fitted = clone(model).set_params(contamination=0.25, threshold="validation", validation_fraction=0.2).fit(rows)
    held_out = np.random.default_rng(fitted._seed).permutation(200)[:40]
    assert (fitted.predict(rows[held_out]) == -1).mean() == pytest.approx(0.25, abs=0.025)
    with pytest.raises(ValueError, match="expects at least 10 events held out, got 4"):
        clone(model).set_params(threshold="validation").fit(rows[:40])


@pytest.mark.parametrize("name", DETECTORS)
def test_a_far_event_is_an_anomaly(name):
    train = background(SETS["collider"], 0)
    model = DETECTORS[name].factory(0).fit(train)
    far = train.mean(axis=0) + 20 * train.std(axis=0)
    assert model.predict(far[None])[0] == -1


def test_the_fidelity_is_that_of_the_trash():
    rows = background(SETS["collider"], 0)[:40]
    model = QuantumAutoencoderDetector(epochs=10, random_state=0).fit(rows)
    scores = model.score_samples(rows)
    assert (scores <= 1).all()
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]
    # Of the rows that train; none are held out of 40, and four features leave nothing out.
    inside = np.abs(model.scaler_.transform(rows)).max(axis=1) < 1.5
    assert (scores[inside] >= 0).all()
    assert 1 - scores[inside].mean() < model.loss_curve_[0]
    assert QuantumAutoencoderDetector(epochs=1, n_trash=3, random_state=0).fit(rows).module_.circuit.n_qubits == 4
    with pytest.raises(ValueError, match="expected fewer trash qubits than the 4 qubits, got 4"):
        QuantumAutoencoderDetector(n_trash=4).fit(rows)


def test_the_centre_of_the_svdd_stays():
    rows = background(SETS["collider"], 0)[:100]
    model = QuantumDeepSVDD(epochs=15, random_state=0).fit(rows)
    assert model.targets_.shape == (1, 12)
    untrained = clone(model).set_params(epochs=1, learning_rate=1e-9).fit(rows)
    np.testing.assert_allclose(model.targets_, untrained.targets_)
    assert model.loss_curve_[-1] < 0.5 * untrained.loss_curve_[0]
    assert model.validation_loss_curve_[-1] < untrained.validation_loss_curve_[0]
    with torch.no_grad():
        outputs = model.module_(model._inputs(rows)).numpy()
    inside = np.abs(model.scaler_.transform(rows)).max(axis=1) < 1.5
    distances = ((outputs - model.targets_) ** 2).sum(axis=1)
    np.testing.assert_allclose(model.score_samples(rows)[inside], -distances[inside])


def test_the_born_machine_learns_the_bins():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(-2, 0.3, (150, 2)), rng.normal(2, 0.3, (150, 2))])
    model = BornMachineDetector(2, epochs=150, validation_fraction=0.0, random_state=0).fit(rows)
    bins = model._bins(rows)
    shares = np.bincount(bins, minlength=16) / len(rows)
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    # The loss is the cross entropy: its least is the entropy of the bins.
    assert entropy < model.loss_curve_[-1] < entropy + 0.15
    assert model.loss_curve_[0] > 2.5
    scores = model.score_samples(np.array([[2.0, 2.0], [-2.0, -2.0], [0.0, 0.0], [2.0, -2.0], [40.0, 40.0]]))
    assert scores[:2].min() > scores[2:4].max() + 1
    assert scores[4] < scores[:4].min() - 10
    # Inside the box of the bins the density is one: no mass is lost but at the rim.
    centre, width = model.scaler_.centre_, model.scaler_.width_
    box = rng.uniform(-1, 1, (40_000, 2))
    events = model.scaler_.restore(box * width + centre)
    assert 4 * np.exp(model.score_samples(events)).mean() == pytest.approx(1, abs=0.1)
    with pytest.raises(ValueError, match=r"n_components \* n_bits of at most 12, got 14"):
        BornMachineDetector(2, n_bits=7).fit(rows)


def test_the_autoencoder_has_as_many_parameters_as_the_qgan():
    rows = background(SETS["collider"], 0)[:30]
    for n_qubits, n_layers in ((4, 2), (4, 3), (3, 1), (2, 2)):
        model = AutoencoderDetector(n_qubits, n_layers=n_layers, epochs=1, random_state=0).fit(rows)
        qgan = QGANDetector(n_qubits, n_layers=n_layers, epochs=1, bank_size=4).fit(rows)
        assert model.n_twin_parameters_ == qgan.n_parameters_
        # One hidden unit on both sides of the code more or less.
        assert abs(model.n_parameters_ - qgan.n_parameters_) <= n_qubits + max(1, n_qubits // 2) + 1


def test_the_autoencoder_is_scored_by_its_residuals():
    rows = background(SETS["all collider features"], 0)
    model = AutoencoderDetector(random_state=0).fit(rows)
    rms = np.sqrt(((model.residuals(rows) / model.scaler_.scale_) ** 2).mean(axis=1))
    np.testing.assert_allclose(model.score_samples(rows), -rms)
    assert model.loss_curve_[-1] < 0.6 * model.loss_curve_[0]


def test_a_saved_setting_does_not_move_a_fitted_born_machine():
    rows = background(SETS["collider"], 0)[:60]
    model = clone(QUANTUM[2]).fit(rows)
    before = model.score_samples(rows)
    np.testing.assert_array_equal(model.set_params(n_bits=3, n_components=3).score_samples(rows), before)


def test_pyod_by_name():
    rows = background(SETS["collider"], 0)
    model = PyODDetector("KNN", settings={"n_neighbors": 3}).fit(rows)
    from pyod.models.knn import KNN

    np.testing.assert_allclose(model.score_samples(rows), -KNN(n_neighbors=3).fit(rows).decision_function(rows))
    seeded = [PyODDetector("IForest", random_state=seed).fit(rows).score_samples(rows) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(seeded[0], seeded[1])
    assert np.abs(seeded[0] - seeded[2]).max() > 0
    with pytest.raises(ValueError, match="unknown PyOD detector 'KNNN'; did you mean 'KNN'"):
        PyODDetector("KNNN").fit(rows)


def test_pyod_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyod", None)
    for name in [name for name in sys.modules if name.startswith("pyod.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"detector 'HBOS' needs the package 'pyod'.*qworkbench\[pyod\]"):
        PyODDetector().fit(np.zeros((5, 2)))


@pytest.mark.parametrize("model", QUANTUM, ids=lambda m: type(m).__name__)
def test_wrong_settings_are_refused(model):
    rows = background(SETS["collider"], 0)[:20]
    for settings, message in (
        ({"backend": "statevektor"}, "did you mean 'statevector'"),
        ({"gradient": "adjoin"}, "did you mean 'adjoint'"),
        ({"epochs": 0}, "expected epochs to be a whole number of at least 1, got 0"),
        ({"learning_rate": 0}, "expected a positive learning_rate, got 0"),
        ({"contamination": 0.9}, "expected contamination"),
        ({"threshold": "test"}, "unknown threshold 'test'"),
    ):
        with pytest.raises(ValueError, match=message):
            clone(model).set_params(**settings).fit(rows)
