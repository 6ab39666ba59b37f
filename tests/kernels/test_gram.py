"""Gram matrices in tiles: the same numbers as in one piece, kept on disk, whoever computes them."""

from __future__ import annotations

import copy
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from circuits import (
    ParameterizedCircuit,
    from_qasm,
    from_qiskit,
    hardware_efficient,
    iqp_encoding,
    z_each,
    zz_feature_map,
)
from qworkbench import QuantumKernel, gram_matrix, load_dataset
from qworkbench.cli import main
from qworkbench.errors import CircuitTooLargeError, MissingExtraError
from qworkbench.kernels import ProductKernel, ProjectedKernel, SumKernel
from qworkbench.kernels.ledger import MATRIX
from qworkbench.kernels.tiles import Plan, array_digest, circuit_digest
from qworkbench.runs import RunDirectory, RunDirectoryError, read_records

X = np.random.default_rng(8157).uniform(-1, 1, (23, 3))
Y = np.random.default_rng(3319).uniform(-1, 1, (7, 3))
CIRCUIT = zz_feature_map(3)
SHOTS = 400


@dataclass(frozen=True)
class Counting:
    """A linear kernel that counts its tiles and may fail after some."""

    bad: float = 0.0
    n_inputs: int = 3
    sampled: bool = False
    seed: int | None = None
    calls: ClassVar[list[int]] = []

    def identity(self) -> dict[str, Any]:
        return {"kernel": "linear", "bad": str(self.bad)}

    def tile_rows(self) -> int:
        return 5

    def open(self, seed: int) -> Any:
        def matrix(x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
            self.calls.append(len(x))
            return x @ (x if y is None else y).T + self.bad

        return matrix


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    Counting.calls.clear()


def tiles_of(out: Path) -> list[Any]:
    return [record for record in read_records(out).values() if record.kind == "tile"]


# Numbers


@pytest.mark.parametrize(
    "backend", ["statevector", "aer", "aer?method=matrix_product_state", "pennylane:default.qubit"]
)
def test_tiles_are_the_kernel_in_one_piece(backend: str) -> None:
    kernel = QuantumKernel(CIRCUIT, backend)
    whole = gram_matrix(kernel, X, tile=6, workers=2)
    np.testing.assert_allclose(whole, kernel(X), atol=1e-12)
    np.testing.assert_array_equal(whole, whole.T)
    np.testing.assert_allclose(gram_matrix(kernel, X, Y, tile=4, workers=2), kernel(X, Y), atol=1e-12)


def projected(backend: str = "statevector", **options: Any) -> ProjectedKernel:
    return ProjectedKernel(CIRCUIT, backend, **{"bandwidth": 0.4, "gamma": 0.7, **options})


@pytest.mark.parametrize(
    "kernel",
    [
        projected(),
        projected("aer", outer="matern", n_body=2),
        projected("pennylane:default.qubit", outer="rational-quadratic", shape=2.0),
        SumKernel([QuantumKernel(CIRCUIT), projected()], [0.2, 1.3]),
        ProductKernel([QuantumKernel(CIRCUIT, "aer"), SumKernel([projected(), projected(gamma=2.0)])]),
    ],
)
def test_projected_and_combined_kernels_are_cut_into_tiles(kernel: Any, tmp_path: Path) -> None:
    whole = gram_matrix(kernel, X, tile=6, workers=2, out=tmp_path)
    np.testing.assert_allclose(whole, kernel(X), atol=1e-12)
    np.testing.assert_array_equal(whole, whole.T)
    np.testing.assert_allclose(gram_matrix(kernel, X, Y, tile=4), kernel(X, Y), atol=1e-12)
    told: list[tuple[int, int, str]] = []
    gram_matrix(copy.deepcopy(kernel), X, tile=6, out=tmp_path, progress=lambda *step: told.append(step))
    assert told == [(10, 10, "tiles found")]


def test_parts_with_shots_have_noise_of_their_own() -> None:
    noisy = QuantumKernel(CIRCUIT, f"statevector?shots={SHOTS}&seed=3")
    both = gram_matrix(SumKernel([noisy, copy.deepcopy(noisy)]), X, tile=9)
    error = (both - QuantumKernel(CIRCUIT)(X))[np.triu_indices(len(X), 1)]
    exact = QuantumKernel(CIRCUIT)(X)[np.triu_indices(len(X), 1)]
    expected = np.mean(exact * (1 - exact)) / SHOTS / 2  # twice that if both had the same noise
    assert abs(np.mean(error**2) / expected - 1) < 5 * np.sqrt(2 / len(error))
    np.testing.assert_array_equal(both, gram_matrix(SumKernel([noisy, noisy]), X, tile=9))


def test_a_projected_kernel_with_shots_is_measured_in_one_piece() -> None:
    with pytest.raises(ValueError, match=r"projected kernel without shots, got 'aer\?shots=9'.*each row once"):
        gram_matrix(SumKernel([QuantumKernel(CIRCUIT), projected("aer?shots=9")]), X)


def test_weights_go_with_the_kernel() -> None:
    circuit = iqp_encoding(3).compose(hardware_efficient(3)).compose(iqp_encoding(3))
    kernel = QuantumKernel(circuit, weights=np.linspace(0.1, 1, circuit.n_weights))
    np.testing.assert_allclose(gram_matrix(kernel, X, tile=8), kernel(X), atol=1e-12)


def test_the_bandwidth_goes_with_the_kernel(tmp_path: Path) -> None:
    for bandwidth in (0.3, np.linspace(0.2, 0.8, CIRCUIT.n_inputs)):
        kernel = QuantumKernel(CIRCUIT, bandwidth=bandwidth)
        np.testing.assert_allclose(gram_matrix(kernel, X, tile=8), kernel(X), atol=1e-12)
    gram_matrix(QuantumKernel(CIRCUIT), X, tile=8, out=tmp_path)
    with pytest.raises(ValueError, match="kernel"):
        gram_matrix(kernel, X, tile=8, out=tmp_path)


@pytest.mark.parametrize("backend", [f"statevector?shots={SHOTS}&seed=3", f"aer?shots={SHOTS}&seed=3"])
def test_sampled_tiles_scatter_as_they_should(backend: str, tmp_path: Path) -> None:
    exact = QuantumKernel(CIRCUIT)(X)
    found = gram_matrix(QuantumKernel(CIRCUIT, backend), X, tile=6)
    np.testing.assert_array_equal(np.diag(found), 1)
    upper = np.triu_indices(len(X), 1)
    z = (found - exact)[upper] / np.sqrt(exact * (1 - exact) / SHOTS)[upper]
    # 253 independent entries of unit variance, nearly Gaussian: 5 standard errors of their mean and of their variance.
    assert abs(z.mean()) < 5 / np.sqrt(len(z))
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / len(z))
    same = gram_matrix(QuantumKernel(CIRCUIT, backend), X, tile=6, workers=2, out=tmp_path)
    np.testing.assert_array_equal(same, found)
    other = gram_matrix(QuantumKernel(CIRCUIT, backend.replace("seed=3", "seed=4")), X, tile=6)
    assert (other != found).any()


def test_no_two_tiles_share_their_noise() -> None:
    repeated = np.tile(X[:6], (3, 1))
    found = gram_matrix(QuantumKernel(CIRCUIT, "statevector?shots=100&seed=1"), repeated, tile=6)
    blocks = [found[6 * i : 6 * i + 6, 6 * j : 6 * j + 6] for i, j in ((0, 1), (0, 2), (1, 2))]
    assert all((blocks[i] != blocks[i - 1]).any() for i in range(3))


def test_without_a_seed_the_directory_keeps_one(tmp_path: Path) -> None:
    kernel = QuantumKernel(CIRCUIT, "statevector?shots=50")
    whole = np.array(gram_matrix(kernel, X, tile=6, out=tmp_path / "a"))
    damaged = np.load(tmp_path / "a" / MATRIX, mmap_mode="r+")
    damaged[2, 9] += 1
    del damaged
    with pytest.warns(UserWarning, match="no longer matches its checksum"):
        again = gram_matrix(kernel, X, tile=6, out=tmp_path / "a")
    np.testing.assert_array_equal(again, whole)
    assert (gram_matrix(kernel, X, tile=6, out=tmp_path / "b") != whole).any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 45), st.booleans())
def test_a_plan_covers_each_entry_once(n_rows: int, n_columns: int, tile: int, symmetric: bool) -> None:
    plan = Plan(n_rows, n_rows if symmetric else n_columns, tile, symmetric)
    count = np.zeros((plan.n_rows, plan.n_columns), int)
    tiles = list(plan.tiles())
    for tile_ in tiles:
        count[tile_.rows, tile_.columns] += 1
        if symmetric and not tile_.on_diagonal():
            count[tile_.columns, tile_.rows] += 1
    assert (count == 1).all()
    assert len(tiles) == plan.n_tiles


def test_a_digest_tells_circuits_apart_by_what_they_do() -> None:
    def changed(edit: Any) -> ParameterizedCircuit:
        circuit = CIRCUIT.quantum_circuit.copy()
        edit(circuit)
        return ParameterizedCircuit(circuit, CIRCUIT.inputs)

    variants = [
        CIRCUIT,
        zz_feature_map(3, n_layers=1),
        ParameterizedCircuit(CIRCUIT.quantum_circuit, CIRCUIT.inputs[::-1]),
        changed(lambda c: c.rx(0.1, 0)),
        changed(lambda c: c.rx(0.1 + 1e-8, 0)),
        changed(lambda c: c.rx(CIRCUIT.inputs[0], 0)),
        changed(lambda c: c.unitary([[0, 1], [1, 0]], [0], label="mine")),
        changed(lambda c: c.unitary([[1, 0], [0, -1]], [0], label="mine")),
    ]
    assert len({circuit_digest(circuit) for circuit in variants}) == len(variants)
    names = {p: Parameter(f"other_{i}") for i, p in enumerate(CIRCUIT.inputs)}
    again = ParameterizedCircuit(CIRCUIT.quantum_circuit.assign_parameters(names), tuple(names.values()))
    assert circuit_digest(again) == circuit_digest(CIRCUIT)
    code = (
        "from circuits import zz_feature_map\nfrom qworkbench.kernels.tiles import circuit_digest\n"
        "print(circuit_digest(zz_feature_map(3)))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == circuit_digest(CIRCUIT)


# The ledger


def test_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def stop_after_four(done: int, total: int, text: str) -> None:
        told.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="interrupted with 4 of 15 tiles done"):
        gram_matrix(Counting(), X, out=tmp_path, workers=1, progress=stop_after_four)
    assert told == [(k, 15) for k in range(1, 5)] and len(tiles_of(tmp_path)) == 4
    Counting.calls.clear()
    told.clear()
    matrix = gram_matrix(Counting(), X, out=tmp_path, workers=1, progress=lambda *step: told.append(step[:2]))
    assert len(Counting.calls) == 11 and told == [(k, 15) for k in range(4, 16)]
    np.testing.assert_allclose(matrix, X @ X.T, atol=1e-14)
    assert isinstance(matrix, np.memmap) and not matrix.flags.writeable
    np.testing.assert_array_equal(np.load(tmp_path / MATRIX), matrix)
    gram_matrix(Counting(), X, out=tmp_path)
    assert len(Counting.calls) == 11
    (whole,) = [record for record in read_records(tmp_path).values() if record.kind == "gram_whole"]
    assert whole.info["sha256"] == array_digest(matrix)


def test_progress_is_shown_on_stderr_if_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = gram_matrix(Counting(), X)
    assert capsys.readouterr() == ("", "")
    np.testing.assert_array_equal(gram_matrix(Counting(), X, progress=True), quiet)
    out, err = capsys.readouterr()
    assert out == "" and [line.split()[0] for line in err.splitlines()] == [f"[{k}/15]" for k in range(1, 16)]


def test_damage_is_found_and_mended(tmp_path: Path) -> None:
    matrix = np.array(gram_matrix(Counting(), X, out=tmp_path))
    for place in ((0, 0), (3, 17), (22, 1)):
        Counting.calls.clear()
        file = np.load(tmp_path / MATRIX, mmap_mode="r+")
        file[place] = np.nextafter(file[place], 9)
        del file
        with pytest.warns(UserWarning, match="no longer matches its checksum"):
            mended = gram_matrix(Counting(), X, out=tmp_path)
        assert len(Counting.calls) == 1
        np.testing.assert_array_equal(mended, matrix)
    Counting.calls.clear()
    (tmp_path / MATRIX).unlink()
    with pytest.warns(UserWarning, match="is missing and is made anew") as warned:
        gram_matrix(Counting(), X, out=tmp_path)
    assert len(warned) == 1 and len(Counting.calls) == 15


def test_what_somebody_put_in_the_place_of_the_matrix_is_refused(tmp_path: Path) -> None:
    matrix = np.array(gram_matrix(Counting(), X, out=tmp_path))
    np.save(tmp_path / MATRIX, matrix.astype(np.float32))
    with pytest.raises(ValueError, match=r"float64, got \(23, 23\) of float32"):
        gram_matrix(Counting(), X, out=tmp_path)
    (tmp_path / MATRIX).unlink()
    (tmp_path / MATRIX).mkdir()
    with pytest.raises(RunDirectoryError, match="got a directory"):
        gram_matrix(Counting(), X, out=tmp_path)
    (tmp_path / MATRIX).rmdir()
    with (tmp_path / MATRIX).open("wb") as stream:
        np.savez(stream, matrix)
    with pytest.warns(UserWarning, match="damaged and is made anew") as warned:
        np.testing.assert_array_equal(gram_matrix(Counting(), X, out=tmp_path), matrix)
    assert len(warned) == 1


# Standard errors


@pytest.mark.parametrize("kernel", ["fidelity", "sum"])
def test_sampled_matrices_come_with_their_errors(kernel: str, tmp_path: Path) -> None:
    exact = QuantumKernel(CIRCUIT)
    made: Any = QuantumKernel(CIRCUIT, f"statevector?shots={SHOTS}&seed=5")
    if kernel == "sum":
        made, exact = SumKernel([made, exact]), SumKernel([exact, exact])
    mean, error = gram_matrix(made, X, tile=6, std_error=True)
    assert mean.shape == error.shape == (23, 23)
    upper = np.triu_indices(23, 1)
    wanted = exact(X)
    sigma = np.sqrt(wanted * (1 - wanted) / SHOTS) * (0.5 if kernel == "sum" else 1)
    # Each error is itself uncertain, by less than a fifth of a standard error at the smallest entries here.
    assert (np.abs(mean - wanted)[upper] <= 5 * sigma[upper] + 5 / SHOTS).all()
    assert error[upper].mean() == pytest.approx(sigma[upper].mean(), rel=0.05)
    np.testing.assert_array_equal(error, error.T)
    assert not np.diag(error).any()
    # On disk they are kept whether anybody asks or not, and the tiles are those of a matrix alone.
    alone = gram_matrix(made, X, tile=6, out=tmp_path)
    np.testing.assert_array_equal(alone, mean)
    np.testing.assert_array_equal(np.load(tmp_path / "std_error.npy"), error)
    told: list[tuple[int, int, str]] = []
    _, kept = gram_matrix(made, X, tile=6, out=tmp_path, std_error=True, progress=lambda *step: told.append(step))
    assert told == [(10, 10, "tiles found")] and isinstance(kept, np.memmap)
    np.testing.assert_array_equal(kept, error)
    file = np.load(tmp_path / "std_error.npy", mmap_mode="r+")
    file[3, 17] += 1e-9
    del file
    with pytest.warns(UserWarning, match="std_error.npy.*no longer matches"):
        np.testing.assert_array_equal(gram_matrix(made, X, tile=6, out=tmp_path, std_error=True)[1], error)


def test_a_matrix_without_its_errors_is_not_measured_again(tmp_path: Path) -> None:
    kernel = QuantumKernel(CIRCUIT, f"statevector?shots={SHOTS}&seed=5")
    whole = np.array(gram_matrix(kernel, X, tile=6, out=tmp_path))
    (tmp_path / "std_error.npy").unlink()
    told: list[tuple[int, int, str]] = []
    again = gram_matrix(kernel, X, tile=6, out=tmp_path, progress=lambda *step: told.append(step))
    assert told == [(10, 10, "tiles found")] and not (tmp_path / "std_error.npy").exists()
    np.testing.assert_array_equal(again, whole)
    with pytest.raises(ValueError, match="without standard errors, which would have to be measured anew"):
        gram_matrix(kernel, X, tile=6, out=tmp_path, std_error=True)


def test_exact_matrices_have_no_errors(tmp_path: Path) -> None:
    _, error = gram_matrix(QuantumKernel(CIRCUIT), X, Y, std_error=True, out=tmp_path)
    assert error.shape == (23, 7) and not error.any()
    assert not (tmp_path / "std_error.npy").exists()
    with pytest.raises(TypeError, match="estimate"):
        gram_matrix(Counting(sampled=True), X, std_error=True)
    assert gram_matrix(Counting(sampled=True), X).shape == (23, 23)


@pytest.mark.filterwarnings("ignore:.*no longer matches its checksum")
@pytest.mark.parametrize("size", [0, 50, 200, 2000])
def test_a_matrix_that_was_cut_off_is_made_anew(size: int, tmp_path: Path) -> None:
    matrix = np.array(gram_matrix(Counting(), X, out=tmp_path))
    os.truncate(tmp_path / MATRIX, size)
    with pytest.warns(UserWarning, match="is cut off or damaged and is made anew"):
        again = gram_matrix(Counting(), X, out=tmp_path)
    np.testing.assert_array_equal(again, matrix)


@pytest.mark.parametrize(
    ("kernel", "x", "y", "tile", "differs"),
    [
        (QuantumKernel(CIRCUIT), X + 1e-12, None, 8, "data"),
        (QuantumKernel(CIRCUIT), X[:9], None, 8, "data, shape"),
        (QuantumKernel(CIRCUIT), X, X, 8, "data"),
        (QuantumKernel(CIRCUIT), X, None, 7, "tile"),
        (QuantumKernel(zz_feature_map(3, n_layers=1)), X, None, 8, "kernel"),
        (QuantumKernel(CIRCUIT, "aer"), X, None, 8, "kernel"),
        (QuantumKernel(CIRCUIT, "statevector?shots=9&seed=1"), X, None, 8, "kernel"),
        (Counting(), X, None, 8, "kernel"),
        (projected(), X, None, 8, "kernel"),
    ],
)
def test_another_matrix_never_mixes_in(kernel: Any, x: Any, y: Any, tile: int, differs: str, tmp_path: Path) -> None:
    first = np.array(gram_matrix(QuantumKernel(CIRCUIT), X, tile=8, out=tmp_path))
    with pytest.raises(ValueError, match=f"holds another Gram matrix, which differs in {differs}; give another"):
        gram_matrix(kernel, x, y, tile=tile, out=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / MATRIX), first)


@pytest.mark.parametrize(
    "other",
    [
        projected(gamma=0.71),
        projected(outer="matern"),
        projected(n_body=2),
        projected(bandwidth=0.41),
        projected(observables=z_each(3)),
        projected("aer"),
    ],
)
def test_no_two_projected_kernels_mix(other: Any, tmp_path: Path) -> None:
    gram_matrix(projected(), X, tile=8, out=tmp_path)
    with pytest.raises(ValueError, match="differs in kernel"):
        gram_matrix(other, X, tile=8, out=tmp_path)


def test_a_stranger_s_file_is_left_alone(tmp_path: Path) -> None:
    np.save(tmp_path / MATRIX, np.ones(3))
    with pytest.raises(ValueError, match=r"no record of it in records\.jsonl"):
        gram_matrix(Counting(), X, out=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / MATRIX), np.ones(3))


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    with RunDirectory(tmp_path), pytest.raises(RunDirectoryError, match="is being written by process"):
        gram_matrix(Counting(), X, out=tmp_path)


def test_a_disk_without_room_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RunDirectoryError, match=r"cannot make .*gram\.npy of .* GiB: No space left on device"):
        gram_matrix(Counting(), X, out=tmp_path)
    assert not Counting.calls and not (tmp_path / MATRIX).exists()
    monkeypatch.undo()
    assert gram_matrix(Counting(), X, out=tmp_path).shape == (23, 23)


# Bad input


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X[:, :2], None, {}, r"expected X of shape \(N, 3\) .* got \(23, 2\)"),
        (X[0], None, {}, r"expected X of shape \(N, 3\) .* got \(3,\)"),
        (X[:0], None, {}, r"N of at least 1, got \(0, 3\)"),
        (X + 1j, None, {}, "expected real numbers in X, got complex"),
        (X * np.inf, None, {}, "expected finite numbers in X"),
        (X, Y * np.nan, {}, "expected finite numbers in Y"),
        (X, Y[:, :1], {}, r"expected Y of shape \(N, 3\)"),
        (X, None, {"tile": 0}, "a tile of at least 1 row, got 0"),
        (X, None, {"tile": 1.5}, "a tile of at least 1 row, got 1.5"),
        (X, None, {"workers": 0}, "at least 1 worker, got 0"),
        (X, None, {"scheduler": "localhost:8786"}, "'threads', 'dask' or a URL such as 'tcp://host:8786', got"),
        (X, None, {"scheduler": "tcp://127.0.0.1:1", "workers": 2}, "no number of workers with the URL"),
    ],
)
def test_bad_input_is_refused_before_any_work(x: Any, y: Any, options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        gram_matrix(Counting(), x, y, out=tmp_path / "gram", **options)
    assert not Counting.calls and not (tmp_path / "gram").exists()


def test_kernels_that_cannot_travel_are_refused() -> None:
    from qiskit.primitives import StatevectorEstimator, StatevectorSampler

    live = QuantumKernel(CIRCUIT, (StatevectorEstimator(), StatevectorSampler()))
    with pytest.raises(TypeError, match=r"expected the kernel's backend as a URI .* got a live tuple"):
        gram_matrix(live, X)
    with pytest.raises(TypeError, match=r"expected a QuantumKernel, .* or an object with n_inputs, .* got function"):
        gram_matrix(lambda x, y: x @ y.T, X)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"expected finite kernel values .* got NaN or infinity"):
        gram_matrix(Counting(bad=np.nan), X, out=tmp_path)
    assert not tiles_of(tmp_path)


def test_too_many_qubits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CircuitTooLargeError, match="60 qubits need"):
        gram_matrix(QuantumKernel(zz_feature_map(60)), np.zeros((2, 60)), out=tmp_path / "gram")


def test_a_matrix_that_does_not_fit_in_memory_is_sent_to_disk() -> None:
    many = np.broadcast_to(X[:1], (3_000_000, 3))
    with pytest.raises(MemoryError, match=r"needs 6\.71e\+04 GiB, .* give out=DIRECTORY"):
        gram_matrix(Counting(), many)


def test_a_missing_dask_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'distributed'.*pip install 'qworkbench\[dask\]'"):
        gram_matrix(Counting(), X, scheduler="dask")


# The command

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``qworkbench gram`` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["gram", *arguments])
        return int(stop.value.code or 0), *capsys.readouterr()

    return call


def test_the_command_resumes_and_prints_the_hash(run: Run) -> None:
    arguments = ("moons?n_samples=60", "--tile", "16", "--out", "g", "--json")
    code, out, err = run(*arguments)
    shown = json.loads(out)
    assert code == 0 and "[10/10] tiles" in err
    assert shown["matrix"] == "g/gram.npy" and shown["shape"] == [60, 60]
    assert shown["sha256"] == array_digest(np.load("g/gram.npy"))
    code, out, err = run(*arguments)
    assert code == 0 and err.splitlines()[0] == "[10/10] tiles found"
    assert json.loads(out)["sha256"] == shown["sha256"]
    assert run("moons?n_samples=60&seed=1", "--tile", "16", "--out", "g")[::2] == (
        1,
        "error: g holds another Gram matrix, which differs in data; give another directory, "
        "or the arguments that it was made with\n",
    )


def test_the_command_trains_a_machine(run: Run) -> None:
    options = ("--circuit", "zz", "--bandwidth", "0.3", "--out")
    assert run("moons?n_samples=80", *options, "train")[0] == 0
    code, out, _ = run("moons?n_samples=40&seed=1", "--columns", "moons?n_samples=80", *options, "test")
    assert code == 0 and "test/gram.npy" in out
    train, test = np.load("train/gram.npy"), np.load("test/gram.npy")
    assert test.shape == (40, 80)
    machine = SVC(kernel="precomputed").fit(train, np.load("train/y.npy"))
    assert machine.score(test, np.load("test/y.npy")) > 0.7
    scaler = StandardScaler().fit(load_dataset("moons", n_samples=80).X)
    rows, columns = (scaler.transform(load_dataset("moons", n_samples=n, seed=s).X) for n, s in ((40, 1), (80, 0)))
    kernel = QuantumKernel(zz_feature_map(2, n_layers=1), bandwidth=0.3)
    np.testing.assert_allclose(test, kernel(rows, columns), atol=1e-12)


def test_the_command_projects(run: Run) -> None:
    options = ("--kernel", "projected", "--circuit", "zz", "--tile", "16", "--out")
    assert run("moons?n_samples=60", *options, "g")[0] == 0
    code, _, err = run("moons?n_samples=60", *options, "g", "--json")
    assert code == 0 and err.splitlines()[0] == "[10/10] tiles found"
    rows = StandardScaler().fit_transform(load_dataset("moons", n_samples=60).X)
    kernel = ProjectedKernel(zz_feature_map(2, n_layers=1), bandwidth=0.5)
    kernel.set_gamma(kernel.scale_gamma(rows))
    np.testing.assert_allclose(np.load("g/gram.npy"), kernel(rows), atol=1e-5)
    assert run("moons?n_samples=60", *options, "h", "--kernel", "projected?gamma=2")[0] == 0
    kernel.set_gamma(2.0)
    np.testing.assert_allclose(np.load("h/gram.npy"), kernel(rows), atol=1e-12)


@pytest.mark.parametrize("backend", ["statevector", "statevector?shots=30&seed=2"])
def test_the_command_and_python_go_on_with_each_other_s_ledgers(backend: str, run: Run) -> None:
    options = ("--circuit", "zz", "--bandwidth", "0.3", "--tile", "16", "--backend", backend, "--json", "--out")
    rows = StandardScaler().fit_transform(load_dataset("moons", n_samples=60).X)
    kernel = QuantumKernel(zz_feature_map(2, n_layers=1), backend, bandwidth=0.3)
    whole = array_digest(gram_matrix(kernel, rows, tile=16))

    def stop(done: int, total: int, text: str) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gram_matrix(kernel, rows, tile=16, out="python", progress=stop)
    code, out, err = run("moons?n_samples=60", *options, "python")
    assert code == 0, err
    assert err.splitlines()[0] == "[7/10] tiles found"
    assert json.loads(out)["sha256"] == whole
    assert run("moons?n_samples=60", *options, "shell")[0] == 0
    told: list[tuple[int, int, str]] = []
    again = gram_matrix(kernel, rows, tile=16, out="shell", progress=lambda *step: told.append(step))
    assert told == [(10, 10, "tiles found")] and array_digest(again) == whole


def test_the_command_reads_a_table_and_a_circuit_of_ones_own(run: Run) -> None:
    Path("mine.qasm").write_text(
        'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float[64] v;\ninput float[64] b;\nqubit[2] q;\n'
        "ry(v) q[0];\ncx q[0], q[1];\nrz(b) q[1];\nrx(b) q[0];"
    )
    Path("rows.csv").write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in X[:, :2]))
    code, _, err = run("rows.csv", "--circuit", "mine.qasm", "--bandwidth", "1", "--out", "g")
    assert code == 0, err
    rows = StandardScaler().fit_transform(X[:, :2])
    kernel = QuantumKernel(from_qasm(Path("mine.qasm"), inputs=["v", "b"]))
    np.testing.assert_allclose(np.load("g/gram.npy"), kernel(rows), atol=1e-10)
    assert not Path("g/y.npy").exists()
    # The same on one line, with a comment that looks like an input.
    line = Path("mine.qasm").read_text().replace("\n", " ")
    Path("line.qasm").write_text(line.replace("qubit", "/* input float old; */ qubit"))
    assert run("rows.csv", "--circuit", "line.qasm", "--bandwidth", "1", "--out", "h")[0] == 0
    np.testing.assert_array_equal(np.load("h/gram.npy"), np.load("g/gram.npy"))


def test_labels_beside_a_matrix_are_those_of_its_rows(run: Run) -> None:
    def table(name: str, labels: list[Any]) -> str:
        lines = [f"{a},{b},{label}" for (a, b), label in zip(X[:, :2], labels, strict=True)]
        Path(name).write_text("a,b,kind\n" + "\n".join(lines))
        return f"{name}?target=kind"

    first = table("first.csv", [i % 2 for i in range(23)])
    assert run(first, "--out", "g")[0] == 0 and run(first, "--out", "g")[0] == 0
    code, _, err = run(table("other.csv", [i % 3 for i in range(23)]), "--out", "g")
    assert code == 1 and "g/y.npy holds other labels" in err
    np.testing.assert_array_equal(np.load("g/y.npy"), [i % 2 for i in range(23)])
    os.truncate("g/y.npy", 10)
    assert run(first, "--out", "g")[0] == 0
    np.testing.assert_array_equal(np.load("g/y.npy"), [i % 2 for i in range(23)])
    code, _, err = run(table("gap.csv", ["yes"] * 22 + [""]), "--out", "h")
    assert code == 1 and "expected a label in each row" in err and not Path("h").exists()
    code, _, err = run(table("text.csv", ["a", "b"] * 11 + ["a"])[:8], "--out", "h")
    assert code == 1 and "if it is the target, add ?target=kind" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("mons", "unknown data set 'mons'"),
        ("moons --circuit zzz", "unknown circuit 'zzz'"),
        ("moons --circuit absent.qasm", "absent.qasm"),
        ("moons --backend statevektor", "unknown backend 'statevektor'"),
        ("moons --bandwidth 0", "expected a positive bandwidth .*got 0.0"),
        ("moons --columns iris", "expected the features x0, x1 of the model"),
        ("moons --scheduler elsewhere", "expected a scheduler 'threads', 'dask' or a URL"),
        ("moons --kernel fidelty", "unknown kernel 'fidelty'"),
        ("moons --kernel fidelity?gamma=2", "unknown option of the kernel 'fidelity' 'gamma'"),
        ("moons --kernel projected?gamma=0", "expected a positive gamma"),
        ("moons --kernel fidelity?train=alignment", "without training"),
        ("moons --kernel fidelity?allocation=variance --backend aer?shots=4", "at least 8 shots"),
        ("moons --out file", "cannot write to the run directory file: it is a file"),
        ("moons --kernel projected --backend aer?shots=9", "expected a projected kernel without shots"),
        ("moons --n-qubits 60", "60 qubits need .* GiB"),
        ("moons --out file/g", "cannot write to the run directory file/g"),
    ],
)
def test_bad_input_gives_one_clear_line(arguments: str, message: str, run: Run) -> None:
    Path("file").touch()
    code, out, err = run(*arguments.split())
    assert code == 1 and out == ""
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", err), err


def test_a_digest_tells_functions_apart_that_differ_for_negative_numbers():
    def turned(function):
        x = ParameterVector("x", 1)
        circuit = QuantumCircuit(1)
        circuit.ry(function(x[0]), 0)
        return circuit_digest(from_qiskit(circuit, inputs="x"))

    assert turned(lambda v: v) == turned(lambda v: v)
    assert len({turned(lambda v: v), turned(lambda v: v.abs()), turned(lambda v: v.sign() * v * v)}) == 3
