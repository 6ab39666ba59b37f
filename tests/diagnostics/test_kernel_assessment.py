"""Whether a kernel is any good: each number against a case whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import inv, sqrtm
from scipy.spatial.distance import cdist
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.svm import SVC

from circuits import angle_encoding, iqp_encoding, zz_feature_map
from qworkbench import ProjectedKernel, QuantumKernel, QuantumKernelRidge, SumKernel
from qworkbench.cli.program import main
from qworkbench.datasets import load_dataset
from qworkbench.diagnostics import assess_kernel
from qworkbench.diagnostics.geometry import (
    RIDGES,
    TRAINING_LIMIT,
    geometric_difference,
    model_complexity,
    normalised,
)
from qworkbench.kernels.base import Kernel
from qworkbench.kernels.repair import repair_psd


@pytest.fixture(scope="module")
def flowers():
    X, y = load_dataset("iris", return_X_y=True)
    return ((X - X.mean(0)) / X.std(0))[::2], y[::2]


def rbf(X, gamma):
    return np.exp(-gamma * cdist(X, X) ** 2)


def test_geometric_difference_is_the_formula_of_the_paper_at_its_ridge(flowers):
    X = flowers[0][::2]
    quantum, classical = QuantumKernel(zz_feature_map(4))(X), rbf(X, 0.3)
    found = geometric_difference(quantum, classical)
    q, c = normalised(quantum), normalised(classical)
    root_q, root_c = sqrtm(q).real, sqrtm(c).real
    middle = inv(c + found.ridge * np.eye(len(c)))
    assert found.g == pytest.approx(
        np.sqrt(np.linalg.norm(root_q @ root_c @ middle @ middle @ root_c @ root_q, 2)), rel=1e-5
    )
    training = found.ridge * np.sqrt(np.linalg.norm(root_q @ middle @ middle @ root_q, 2))
    assert found.training == pytest.approx(training, rel=1e-5)
    assert found.training <= TRAINING_LIMIT and found.ridge > RIDGES[0]
    assert geometric_difference(3 * quantum, 5 * classical).g == pytest.approx(found.g)


def test_a_kernel_does_not_differ_from_itself(flowers):
    gram = rbf(flowers[0], 0.5)
    assert geometric_difference(gram, gram).g == pytest.approx(1, abs=0.05)


def test_complexity_is_that_of_the_best_leave_one_out_ridge_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(25, 2))
    targets = np.sin(X[:, :1]) + 0.1 * rng.normal(size=(25, 1))
    targets = (targets - targets.mean()) / targets.std()
    gram = rbf(X, 0.5)
    found = model_complexity(gram, targets)
    errors = []
    for i in range(25):
        kept = np.arange(25) != i
        weights = np.linalg.solve(gram[np.ix_(kept, kept)] + found.ridge * np.eye(24), targets[kept])
        errors.append(((gram[i, kept] @ weights - targets[i]) ** 2).item())
    assert found.error == pytest.approx(np.mean(errors), rel=1e-6)
    weights = np.linalg.solve(gram + found.ridge * np.eye(25), targets)
    assert found.s == pytest.approx((weights.T @ gram @ weights).item(), rel=1e-6)
    noise = rng.normal(size=(25, 1))
    assert model_complexity(gram, noise / noise.std()).error > 2 * found.error


def test_a_narrow_product_kernel_is_an_rbf_and_says_so(flowers):
    X, y = flowers
    found = assess_kernel(QuantumKernel(angle_encoding(4), bandwidth=0.2), X, y, shots=())
    assert found.fit[1] > 0.99 and found.g < 2
    assert found.score > 0.9
    text = " ".join(found.verdicts())
    assert "use that instead" in text and "whatever the labels" in text


def test_a_wide_map_concentrates_and_says_so():
    # Independent uniform angles on ten qubits: cos(d / 2)**2 averages to 1/2 for each.
    X = np.random.default_rng(1).uniform(-np.pi, np.pi, (40, 10))
    y = np.arange(40) % 2
    found = assess_kernel(QuantumKernel(angle_encoding(10)), X, y, shots=())
    entries = found.gram[np.triu_indices(40, 1)]
    assert found.concentration.floor == 2**-10
    assert found.concentration.mean == pytest.approx(2**-10, abs=5 * entries.std() / np.sqrt(len(entries)))
    assert found.concentration.shots == pytest.approx(9 * (entries * (1 - entries)).mean() / entries.var())
    assert found.concentration.shots > 100
    assert found.effective_rank > 35
    narrow = assess_kernel(QuantumKernel(angle_encoding(10), bandwidth=0.1), X, y, shots=())
    assert narrow.concentration.std > 5 * found.concentration.std and narrow.effective_rank < 10
    assert "concentrated" in found.verdicts()[0] and "concentrated" not in narrow.verdicts()[0]


@pytest.mark.parametrize("kind", ["fidelity", "projected", "sum", "swap-test"])
def test_with_the_shots_that_it_names_the_error_is_a_third_of_the_spread(kind, flowers):
    X, y = flowers[0][::3], flowers[1][::3]

    def make(backend):
        plain, projected = QuantumKernel(iqp_encoding(4), backend), ProjectedKernel(iqp_encoding(4), backend, gamma=0.2)
        swapped = QuantumKernel(iqp_encoding(4), backend, method="swap-test")
        return {
            "fidelity": plain,
            "projected": projected,
            "sum": SumKernel([plain, projected]),
            "swap-test": swapped,
        }[kind]

    found = assess_kernel(make("statevector"), X, y, shots=()).concentration
    upper, shots = np.triu_indices(len(X), 1), round(found.shots)
    error = make(f"statevector?shots={shots}&seed=3").estimate(X)[1][upper]
    assert np.sqrt((error**2).mean()) == pytest.approx(found.std / 3, rel=0.1)


def test_a_kernel_that_does_not_vary_is_said_to(flowers):
    class Constant(Kernel):
        """Ones, but for rounding."""

        n_inputs = 4

        def estimate(self, x, y=None):
            ones = np.ones((len(x), len(x)))
            ones[0, 1] = ones[1, 0] = 1 - 1e-16
            return ones, np.zeros((len(x), len(x)))

    found = assess_kernel(Constant(), *flowers, shots=())
    assert found.concentration.std == 0 and found.concentration.shots is None
    assert "it is a constant" in found.verdicts()[0]
    one_shot = assess_kernel(QuantumKernel(zz_feature_map(4), "statevector?shots=1&seed=1"), *flowers, shots=())
    assert "inf" not in " ".join(one_shot.verdicts())
    shadows = ProjectedKernel(iqp_encoding(4), "statevector?shots=1&seed=1", shadows=60)
    assert assess_kernel(shadows, *flowers, shots=()).concentration.shots is None


def test_the_unit_of_the_target_does_not_matter():
    X, y = load_dataset("diabetes", n_samples=60, return_X_y=True)
    X = (X - X.mean(0))[:, :3] / X.std(0)[:3]
    kernel = QuantumKernel(angle_encoding(3), bandwidth=0.3)
    found = [assess_kernel(kernel, X, factor * y, task="regression", shots=(100,)) for factor in (1, 1e-3, 1e3)]
    assert found[0].score > 0.2 and found[0].measure == "R2" and found[0].task == "regression"
    for other in found[1:]:
        assert other.score == pytest.approx(found[0].score, abs=1e-9)
        assert other.rbf_score == pytest.approx(found[0].rbf_score, abs=1e-9)
        assert other.tuned_rbf == found[0].tuned_rbf
        assert other.alignment == pytest.approx(found[0].alignment)
        assert other.shot_scores[0].score == pytest.approx(found[0].shot_scores[0].score, abs=1e-9)
    # That of the package's own model at the best ridge, but that a model standardises each fold by itself.
    scores = []
    for ridge in (10, 1, 0.1, 0.01, 0.001):
        model = QuantumKernelRidge(kernel=kernel, alpha=ridge)
        scores.append(cross_val_score(model, X, y, cv=KFold(5, shuffle=True, random_state=0)).mean())
    assert max(scores) == pytest.approx(found[0].score, abs=0.01)


def test_nothing_is_computed_for_a_page_that_cannot_be_written(flowers, tmp_path):
    class NeverAsked(Kernel):
        """A kernel whose matrix is not to be computed."""

        n_inputs = 4

        def estimate(self, x, y=None):
            raise AssertionError("the kernel was asked")

    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*kernel\.html"):
        assess_kernel(NeverAsked(), *flowers, out=tmp_path / "file" / "page")
    with pytest.raises(AssertionError, match="asked"):
        assess_kernel(NeverAsked(), *flowers, out=tmp_path)


@pytest.mark.parametrize("kind", ["fidelity", "projected", "shadows", "swap-test"])
def test_shot_noise_is_not_taken_for_a_quantum_advantage(kind, flowers):
    X, y = flowers[0][::2, :2], flowers[1][::2]

    def make(backend):
        if kind == "swap-test":
            return QuantumKernel(iqp_encoding(2), backend, bandwidth=0.5, method=kind)
        if kind == "fidelity":
            return QuantumKernel(iqp_encoding(2), backend, bandwidth=0.5)
        shadows = 100 if kind == "shadows" and backend != "statevector" else None
        return ProjectedKernel(iqp_encoding(2), backend, bandwidth=0.5, shadows=shadows)

    shots = 1 if kind == "shadows" else 10
    exact, noisy = (
        assess_kernel(make(b), X, y, shots=()) for b in ("statevector", f"statevector?shots={shots}&seed=1")
    )
    assert noisy.computed and not exact.computed
    assert noisy.g == pytest.approx(exact.g) and noisy.complexity.s == pytest.approx(exact.complexity.s)
    assert noisy.concentration.std == pytest.approx(exact.concentration.std) and noisy.concentration.std_error > 0.02
    assert noisy.fit[1] == pytest.approx(exact.fit[1]) and noisy.score < exact.score
    assert "whatever the labels" in " ".join(noisy.verdicts()) and "exact kernel" in noisy.verdicts()[-1]


@pytest.mark.parametrize("shots", ["", "&shots=1000"])
def test_noise_is_not_taken_for_a_quantum_advantage_either(shots):
    X = np.random.default_rng(0).normal(size=(20, 4))
    y = np.arange(20) % 2
    exact, noisy = (
        assess_kernel(QuantumKernel(iqp_encoding(4), backend, bandwidth=0.2), X, y, shots=())
        for backend in ("statevector", f"aer?noise=depolarizing:0.05{shots}")
    )
    assert noisy.computed and noisy.g == pytest.approx(exact.g) and noisy.fit[0] == exact.fit[0]
    assert noisy.concentration.shots == pytest.approx(exact.concentration.shots)
    assert not assess_kernel(QuantumKernel(iqp_encoding(4), "aer", bandwidth=0.2), X, y, shots=()).computed


def test_of_a_noisy_kernel_that_cannot_be_computed_nothing_is_said(flowers):
    class Measured(Kernel):
        """A kernel that knows its errors and has one backend."""

        n_inputs = 4

        def estimate(self, x, y=None):
            noise = np.triu(np.random.default_rng(1).normal(0, 0.3, (len(x), len(x))), 1)
            return rbf(x, 1e-4) + noise + noise.T, np.full((len(x), len(x)), 0.3) - 0.3 * np.eye(len(x))

    found = assess_kernel(Measured(), *flowers)
    text = " ".join(found.verdicts())
    assert not found.computed and "take more shots" in text and "say nothing about the kernel" in text
    assert "labels" not in text and "concentrated" not in text


def test_the_score_of_a_noisy_kernel_keeps_test_rows_out_of_the_repair():
    X, y = load_dataset("moons", n_samples=40, return_X_y=True)
    kernel = QuantumKernel(iqp_encoding(2), "statevector?shots=10&seed=3")
    found = assess_kernel(kernel, X, y, shots=())
    measured = QuantumKernel(iqp_encoding(2), "statevector?shots=10&seed=3")(X)
    by_hand = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        block = repair_psd(measured[np.ix_(train, train)], "clip").gram
        machines = [SVC(kernel="precomputed", C=C).fit(block, y[train]) for C in (0.1, 1, 10, 100, 1000)]
        by_hand.append([machine.score(measured[np.ix_(test, train)], y[test]) for machine in machines])
    assert found.score == pytest.approx(np.mean(by_hand, axis=0).max())


def test_a_kernel_of_few_dimensions_cannot_imitate_others_and_has_a_stable_difference(flowers):
    X = flowers[0][::2]
    quantum, linear = QuantumKernel(iqp_encoding(4), bandwidth=0.5)(X), X @ X.T
    found = geometric_difference(quantum, linear)
    assert not found.fits and found.training > 0.5
    rng = np.random.default_rng(0)
    for _ in range(3):
        order = rng.permutation(len(X))
        again = geometric_difference(quantum[np.ix_(order, order)], linear[np.ix_(order, order)])
        assert again.g == pytest.approx(found.g, rel=1e-6)
    assert geometric_difference(quantum, rbf(X, 0.3)).fits


def test_the_command_assesses_a_trained_kernel_on_other_rows(tmp_path, capsys):
    arguments = ["--kernel", "fidelity?train=alignment&epochs=2", "--out", str(tmp_path), "--json"]
    with pytest.raises(SystemExit) as done:
        main(["kernel", "moons?n_samples=60", "--rows", "40", *arguments])
    printed = capsys.readouterr()
    assert not done.value.code and "trained on 30 rows, assessed on 30 others" in printed.err


def test_shots_do_not_count_as_spread(flowers):
    X, y = flowers
    exact = assess_kernel(QuantumKernel(iqp_encoding(4)), X, y, shots=()).concentration
    sampled = assess_kernel(QuantumKernel(iqp_encoding(4), "statevector?shots=50&seed=2"), X, y, shots=()).concentration
    assert sampled.std_error > 0.02 and exact.std_error == 0
    assert sampled.std == pytest.approx(exact.std, rel=0.1)


def test_the_score_by_shots_tends_to_the_exact_one(flowers):
    X, y = flowers
    kernel = QuantumKernel(iqp_encoding(4), bandwidth=0.5)
    found = assess_kernel(kernel, X, y, shots=(10, 10**9))
    few, many = found.shot_scores
    assert found.exact_score == pytest.approx(found.score) == pytest.approx(many.score)
    assert many.spread == 0 and many.interval == (many.score, many.score)
    assert few.score < many.score and few.spread > 0 and few.interval[0] < few.score < few.interval[1]
    # What is repeated does not depend on the backend of the kernel that is assessed.
    other = assess_kernel(kernel, X, y, shots=(10,)).shot_scores[0]
    again = assess_kernel(QuantumKernel(iqp_encoding(4), "aer?shots=5", bandwidth=0.5), X, y, shots=(10,))
    assert other.score == again.shot_scores[0].score and again.exact_score == found.exact_score
    assert again.score < found.score
    assert any("shots a circuit" in line for line in found.verdicts())


def test_shots_are_left_out_where_states_are_too_large_or_nobody_asks(flowers):
    X, y = flowers
    assert assess_kernel(QuantumKernel(iqp_encoding(4)), X, y, shots=()).shot_scores == ()
    wide = QuantumKernel(angle_encoding(17))
    rows = np.random.default_rng(0).normal(0, 0.1, (10, 17))
    found = assess_kernel(wide, rows, np.arange(10) % 2)
    assert found.shot_scores == () and found.exact_score is None


def test_a_kernel_of_ones_own_that_stays_on_its_backend_is_assessed_without_shots(flowers):
    class Own(Kernel):
        """A user's kernel with a circuit, and no ``with_backend``."""

        circuit, n_inputs = angle_encoding(4), 4

        def estimate(self, x, y=None):
            return rbf(x, 0.5), np.zeros((len(x), len(x)))

    found = assess_kernel(Own(), *flowers)
    assert found.exact_score is None and found.shot_scores == ()
    assert found.score > 0.9


@pytest.mark.parametrize("target", ["labels", "numbers"])
def test_the_page_holds_verdicts_numbers_and_one_picture(target, flowers, tmp_path):
    X, y = flowers
    kernel = ProjectedKernel(iqp_encoding(4))
    found = assess_kernel(kernel, X, X[:, 0] ** 2 if target == "numbers" else y, out=tmp_path)
    page = (tmp_path / "kernel.html").read_text(encoding="utf-8")
    assert found.page == tmp_path / "kernel.html"
    assert page.count("data:image/png;base64,") == 1 and "://" not in page
    assert all(line.replace("'", "&#39;") in page for line in found.verdicts())
    assert found.concentration.floor is None


def test_the_command(tmp_path, capsys):
    arguments = ["kernel", "moons?n_samples=60", "--bandwidth", "0.8", "--out", str(tmp_path), "--rows", "40"]
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert not done.value.code
    shown = capsys.readouterr().out
    assert "Geometric difference" in shown and shown.splitlines()[-1] == f"page: {tmp_path / 'kernel.html'}"


def test_the_command_takes_numbers_and_a_circuit_of_ones_own(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("map.qasm").write_text(
        'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float[64] a;\ninput float[64] b;\nqubit[2] q;\n'
        "ry(a) q[0];\ncx q[0], q[1];\nry(b) q[1];\n"
    )
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 2))
    counts = rng.poisson(np.exp(rows[:, 0]))
    lines = [f"{a},{b},{n}" for (a, b), n in zip(rows, counts, strict=True)]
    Path("counts.csv").write_text("\n".join(["a,b,n", *lines]))
    with pytest.raises(SystemExit) as done:
        main(["kernel", "counts.csv?target=n&task=regression", "--feature-map", "map.qasm", "--out", "page", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert not done.value.code and "cross-validated R2" in shown["numbers"]
    Path("trained.qasm").write_text(
        'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float[64] a; input float[64] w; input float[64] b;\n'
        "qubit[2] q;\nry(a) q[0];\ncx q[0], q[1];\nry(b) q[1];\nry(w) q[0];\ncx q[0], q[1];\nry(a) q[0];\n"
    )
    trained = ["--kernel", "fidelity?train=alignment&epochs=1", "--feature-map", "trained.qasm?weights=w"]
    with pytest.raises(SystemExit) as done:
        main(["kernel", "counts.csv?target=n&task=regression", *trained, "--out", "page"])
    assert not done.value.code and "trained on 20 rows" in capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        main(["kernel", "moons", "--feature-map", "trained.qasm?weights=v", "--out", "page"])
    assert done.value.code == 1 and "unknown input of the circuit 'v'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        main(["kernel", "counts.csv?target=n", "--out", "page"])
    assert done.value.code == 1 and "rows of each class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(75)}, "constant"),
        ({"task": "regression"}, "finite numbers"),
        ({"task": "clustering"}, "unknown task"),
        ({"y": np.array([0] * 73 + [1] * 2)}, "at least 5 rows of each class"),
        ({"X": np.full((75, 4), np.nan)}, "NaN"),
        ({"shots": (100, 0)}, "numbers of shots from 1"),
        ({"X": np.zeros((75, 3))}, r"shape \(N, 4\)"),
    ],
)
def test_bad_input_is_refused(change, message, flowers):
    X, y = flowers
    with pytest.raises(ValueError, match=message):
        assess_kernel(QuantumKernel(iqp_encoding(4)), **({"X": X, "y": y} | change))
