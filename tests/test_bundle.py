"""Trained models in one file: what comes back is the same to the last bit, and bad files are refused."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import LabelEncoder, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR, OneClassSVM
from torch import nn

import qworkbench
from circuits import (
    ParameterizedCircuit,
    amplitude_encoding,
    data_reuploading,
    strongly_entangling,
    zz_feature_map,
)
from qworkbench import (
    Backend,
    HybridClassifier,
    QGANDetector,
    QuantumGPClassifier,
    QuantumGPRegressor,
    QuantumKernelClassifier,
    QuantumKernelPCA,
    QuantumKernelRidge,
    QuantumOneClassSVM,
    VariationalClassifier,
    VariationalRegressor,
    bundle,
)
from qworkbench.baselines import BASELINES
from qworkbench.bundle import check_savable, load, read_info, save
from qworkbench.models import (
    AutoencoderDetector,
    BornMachineDetector,
    QuantumAutoencoderDetector,
    QuantumDeepSVDD,
)
from qworkbench.models.density_detectors import GaussianMixtureDetector, MahalanobisDetector
from qworkbench.models.gan_detector import GANDetector
from qworkbench.runs import NewerSchemaError

X = StandardScaler().fit_transform(load_iris().data[::5])
LABELS = load_iris().target_names.astype(object)[load_iris().target[::5]]
QUICK: dict[str, Any] = {"epochs": 2, "random_state": 3}
AMPLITUDES = amplitude_encoding(4).compose(strongly_entangling(2, n_layers=1))
START = len(bundle.MAGIC) + 32


def answers(model: Any) -> list[np.ndarray]:
    """Everything that a fitted model says about the data."""
    asked = ("predict", "predict_proba", "decision_function", "score_samples", "transform")
    return [getattr(model, name)(X) for name in asked if hasattr(model, name)]


def assert_same(model: Any, other: Any) -> None:
    assert type(other) is type(model)
    found = answers(model)
    assert found
    for one, two in zip(found, answers(other), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


MODELS = {
    "variational": VariationalClassifier(n_layers=1, **QUICK),
    "own circuit and observables": VariationalClassifier(
        data_reuploading(4, 2, n_layers=1), observables=[SparsePauliOp(["ZI", "XX"], [1.0, 0.5])], **QUICK
    ),
    "amplitude encoding": VariationalClassifier(AMPLITUDES, **QUICK),
    "shots": VariationalClassifier(n_layers=1, backend="statevector?shots=64", **QUICK),
    "backend as an object": VariationalClassifier(n_layers=1, backend=Backend("statevector", seed=1), **QUICK),
    "hybrid": HybridClassifier(n_qubits=2, n_layers=1, **QUICK),
    "kernel": QuantumKernelClassifier(n_qubits=2, random_state=3),
    "kernel of an own circuit": QuantumKernelClassifier(zz_feature_map(4), random_state=3),
    "trained kernel": QuantumKernelClassifier(
        data_reuploading(4, 2, n_layers=1), kernel="projected?train=alignment&epochs=1", random_state=3
    ),
    "sampled kernel": QuantumKernelClassifier(n_qubits=2, backend="statevector?shots=50", random_state=3),
    "kernel process": QuantumGPClassifier(n_qubits=2, random_state=3),
    "kernel components": QuantumKernelPCA(n_qubits=2, random_state=3),
    "kernel one class": QuantumOneClassSVM(n_qubits=2, kernel="projected", random_state=3),
    "kernel process of numbers": QuantumGPRegressor(n_qubits=2, random_state=3),
    "kernel ridge": QuantumKernelRidge(n_qubits=2, random_state=3),
    "pipeline": make_pipeline(
        SimpleImputer(), RobustScaler(), MinMaxScaler(), PCA(2), VariationalClassifier(n_layers=1, **QUICK)
    ),
    "support vectors": make_pipeline(StandardScaler(), SVC()),
    "weights by class": SVC(class_weight={"setosa": 2.0, "versicolor": 1.0, "virginica": 0.5}),
    "logistic": LogisticRegression(max_iter=500),
    "mixture": GaussianMixture(2, random_state=0),
    "one class": OneClassSVM(),
    "target scaled": TransformedTargetRegressor(SVR(), transformer=StandardScaler()),
    "qgan": QGANDetector(n_layers=1, bank_size=16, **QUICK),
    "qgan with a classical side": QGANDetector(n_layers=1, discriminator="classical", bank_size=16, **QUICK),
    "gan": GANDetector(n_layers=1, bank_size=16, **QUICK),
    "encoder": QGANDetector(n_layers=1, bank_size=16, inversion="encoder", loss="wasserstein", **QUICK),
    "autoencoder": AutoencoderDetector(**QUICK),
    "quantum autoencoder": QuantumAutoencoderDetector(n_layers=1, **QUICK),
    "quantum svdd": QuantumDeepSVDD(n_layers=1, **QUICK),
    "born machine": BornMachineDetector(2, n_bits=1, **QUICK),
    "mahalanobis": MahalanobisDetector(),
    "mixture detector": GaussianMixtureDetector(random_state=0),
}


NUMBERS = ("target scaled", "kernel process of numbers", "kernel ridge")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_the_same_to_the_last_bit(name: str, tmp_path: Path) -> None:
    model = MODELS[name].fit(X, X[:, 0] if name in NUMBERS else LABELS)
    other = load(save(model, tmp_path / "model.qwb"))
    assert_same(model, other)
    if hasattr(model, "classes_"):
        assert other.classes_.dtype == model.classes_.dtype
    assert list(tmp_path.iterdir()) == [tmp_path / "model.qwb"]


def test_a_regressor_comes_back_and_moves_to_another_backend(tmp_path: Path) -> None:
    model = VariationalRegressor(n_layers=1, **QUICK).fit(X, X[:, 0])
    path = save(model, tmp_path / "model.qwb")
    assert_same(model, load(path))
    moved = load(path, backend="aer")
    assert moved.backend == "aer"
    np.testing.assert_allclose(moved.predict(X), model.predict(X), atol=1e-9)
    assert_same(model, moved.set_params(backend="statevector"))


@pytest.mark.parametrize("name", ["pipeline", "kernel", "qgan"])
def test_the_backend_can_be_changed_inside_a_pipeline_and_after_loading(name: str, tmp_path: Path) -> None:
    model = MODELS[name].fit(X, LABELS)
    other = load(save(model, tmp_path / "model.qwb"), backend="statevector?shots=20&seed=1")
    inner = other[-1] if isinstance(other, Pipeline) else other
    assert inner.backend == "statevector?shots=20&seed=1"
    noisy = answers(other)[-1]
    inner.set_params(backend="statevector")
    assert_same(model, other)
    assert not np.array_equal(noisy, answers(other)[-1])


def test_settings_and_usage_come_back(tmp_path: Path) -> None:
    model = MODELS["variational"].fit(X, LABELS)
    other = load(save(model, tmp_path / "model.qwb"))
    assert other.get_params() == model.get_params()
    assert (other.usage_, other.loss_curve_, other.n_parameters_) == (
        model.usage_,
        model.loss_curve_,
        model.n_parameters_,
    )
    other.fit(X, LABELS)  # a loaded model is a model like any other
    assert_same(model, other)


def test_an_own_circuit_keeps_the_order_of_its_parameters(tmp_path: Path) -> None:
    one = data_reuploading(4, 2, n_layers=1)
    mixed = ParameterizedCircuit(one.quantum_circuit, one.inputs[::-1], one.weights[::-1])
    model = VariationalClassifier(mixed, **QUICK).fit(X, LABELS)
    other = load(save(model, tmp_path / "model.qwb"))
    assert [p.name for p in other.circuit.inputs] == [p.name for p in mixed.inputs]
    assert [p.name for p in other.circuit.weights] == [p.name for p in mixed.weights]
    assert_same(model, other)


def test_label_encoders_keep_objects(tmp_path: Path) -> None:
    encoder = LabelEncoder().fit(LABELS)
    other = load(save(encoder, tmp_path / "labels.qwb"))
    np.testing.assert_array_equal(other.transform(LABELS), encoder.transform(LABELS))
    assert other.classes_.dtype == object


def trunk(n_inputs: int, n_outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_inputs, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, n_outputs))


@pytest.mark.parametrize("given", [trunk, trunk(4, 2)], ids=["function", "module"])
def test_modules_of_the_user_are_asked_for_again(given: Any, tmp_path: Path) -> None:
    model = HybridClassifier(trunk=given, n_qubits=2, n_layers=1, **QUICK).fit(X, LABELS)
    path = save(model, tmp_path / "model.qwb")
    state = torch.random.get_rng_state()
    assert_same(model, load(path, trunk=given))
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(TypeError, match=r"a trunk of your own.*load\(path, trunk=\.\.\.\)"):
        load(path)
    with pytest.raises(ValueError, match="the given trunk does not fit the saved weights"):
        load(path, trunk=nn.Linear(4, 2))
    with pytest.raises(TypeError, match="takes no head"):
        load(path, trunk=given, head=nn.Linear(2, 3))


def test_a_live_backend_is_asked_for_again(tmp_path: Path) -> None:
    with qworkbench.open_engine("statevector?seed=0") as engine:
        model = QuantumKernelClassifier(n_qubits=2, random_state=3, backend=engine).fit(X, LABELS)
        path = save(model, tmp_path / "model.qwb")
        with pytest.raises(TypeError, match=r"load\(path, backend=\.\.\.\)"):
            load(path)
        assert_same(model, load(path, backend=engine))
        assert_same(model.set_params(backend="statevector"), load(path, backend="statevector"))


def test_information_stands_beside_the_model(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, LABELS)
    path = save(model, tmp_path / "model.qwb", info={"dataset": "iris", "classes": ["é", "b"]})
    info = read_info(path)
    assert info["dataset"] == "iris"
    assert info["classes"] == ["é", "b"]
    assert info["versions"]["numpy"] == np.__version__


def test_what_cannot_be_saved_is_named_with_what_can(tmp_path: Path) -> None:
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(2))
    message = r"model\.steps\.1\.1: RandomForestClassifier cannot be saved; what can: .*HybridClassifier.*SVC"
    with pytest.raises(TypeError, match=message):
        check_savable(forest)
    with pytest.raises(TypeError, match=message):
        save(forest.fit(X, LABELS), tmp_path / "model.qwb")
    for name in ("isolation_forest", "lof", "pyod_hbos"):
        with pytest.raises(TypeError, match=r"same rows and --seed give the same scores\), or .*: AutoencoderDetector"):
            check_savable(BASELINES[name].factory(0))
    with pytest.raises(NotFittedError):
        save(VariationalClassifier(), tmp_path / "model.qwb")
    with pytest.raises(TypeError, match=r"model\.random_state: RandomState cannot be saved"):
        save(PCA(random_state=np.random.RandomState(0)).fit(X), tmp_path / "model.qwb")
    assert not list(tmp_path.iterdir())
    check_savable(VariationalClassifier())


def test_a_subclass_is_not_taken_for_its_parent(tmp_path: Path) -> None:
    class Scaled(LogisticRegression):
        pass

    with pytest.raises(TypeError, match="Scaled cannot be saved"):
        save(Scaled().fit(X, LABELS), tmp_path / "model.qwb")


def test_an_unwritable_place_leaves_the_older_file_whole(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, LABELS)
    with pytest.raises(OSError, match=r"cannot write .*model\.qwb: No such file or directory"):
        save(model, tmp_path / "absent" / "model.qwb")
    (tmp_path / "folder.qwb").mkdir()
    with pytest.raises(OSError, match="cannot write"):
        save(model, tmp_path / "folder.qwb")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.qwb"]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = save(LogisticRegression().fit(X, LABELS), tmp_path / "model.qwb")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in [0, 8, 40, 48, len(whole) - 1, *rng.integers(len(whole), size=40)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"is damaged: its checksum|is not a model file"):
            load(path)
    for end in (0, 4, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"is damaged: its checksum|is not a model file"):
            read_info(path)


def rewritten(path: Path, **changes: Any) -> Path:
    """The file with other metadata and a right checksum, as somebody might forge it."""
    block = path.read_bytes()[START:]
    header = json.loads(block[8 : 8 + int.from_bytes(block[:8], "little")])
    metadata = header["__metadata__"] | {key: json.dumps(value) for key, value in changes.items()}
    block = save_arrays(load_arrays(block), metadata)
    path.write_bytes(bundle.MAGIC + hashlib.sha256(bundle.MAGIC + block).digest() + block)
    return path


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = save(LogisticRegression().fit(X, LABELS), tmp_path / "model.qwb")
    with pytest.raises(NewerSchemaError, match="schema 99, this version reads up to 2: upgrade qworkbench"):
        load(rewritten(path, schema=99))


def test_a_detector_older_than_its_score_is_refused_when_it_is_read(tmp_path: Path) -> None:
    for model in (QuantumOneClassSVM(), make_pipeline(StandardScaler(), QuantumDeepSVDD(**QUICK))):
        path = rewritten(save(model.fit(X), tmp_path / "old.qwb"), schema=1, versions={"qworkbench": "0.0.7"})
        with pytest.raises(ValueError, match=r"old\.qwb, written by qworkbench 0\.0\.7: its Quantum.* train it again"):
            load(path)
    path = rewritten(save(LogisticRegression().fit(X, LABELS), tmp_path / "other.qwb"), schema=1)
    assert (load(path).predict(X) == LogisticRegression().fit(X, LABELS).predict(X)).all()


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"$": "estimator", "class": "os.system", "params": {}, "state": {}}, "unknown class .*'os.system'"),
        (
            {"$": "estimator", "class": "SVCC", "params": {}, "state": {}},
            "did you mean 'SVC'",
        ),
        ({"$": "module", "class": "Liner", "settings": {}}, "unknown torch module .*did you mean 'Linear'"),
        ({"$": "pickle", "value": ""}, "unknown tag .*'pickle'"),
        (
            {"$": "array", "key": "absent", "complex": False, "transposed": False},
            "not a well-formed model file",
        ),
        ({"class": "x"}, "not a well-formed model file"),
    ],
)
def test_a_forged_structure_is_refused(structure: Any, message: str, tmp_path: Path) -> None:
    path = save(LogisticRegression().fit(X, LABELS), tmp_path / "model.qwb")
    with pytest.raises(ValueError, match=message):
        load(rewritten(path, structure=structure))


def test_an_old_circuit_format_is_refused_before_qiskit_reads_it(tmp_path: Path) -> None:
    from qworkbench.bundle.classes import read_circuit

    with pytest.raises(ValueError, match="QPY format 13 or newer"):
        read_circuit(b"QISKIT\x0c" + bytes(100))
    with pytest.raises(ValueError, match="QPY format 13 or newer"):
        read_circuit(b"not a circuit")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.qwb")
    other = tmp_path / "text.qwb"
    other.write_text("hello")
    with pytest.raises(ValueError, match="is not a model file of QWorkbench"):
        load(other)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "|u1", "|b1", "<c8", "<c16", "<U3", "O"])
@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 2), (0, 3)])
def test_arrays_keep_type_shape_and_layout(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    from qworkbench.bundle.reader import Reader
    from qworkbench.bundle.writer import Writer

    values = np.asfortranarray(np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype))
    writer = Writer()
    tree = json.loads(json.dumps(writer.node(values, "a")))
    other = Reader(load_arrays(save_arrays(writer.arrays)), {}, 2, "file").node(tree)
    assert (other.dtype, other.shape) == (values.dtype, values.shape)
    np.testing.assert_array_equal(other, values)
    if values.dtype.kind not in "OU":
        assert other.flags.f_contiguous
        assert other.flags.writeable


def test_plain_values_come_back() -> None:
    from qworkbench.bundle.reader import Reader
    from qworkbench.bundle.writer import Writer

    values = {"a": (1, [None, True], 0.1), 2: float("inf"), ("x", 1): np.float32(1.5), "s": np.str_("ä")}
    writer = Writer()
    other = Reader(writer.arrays, {}, 2, "file").node(json.loads(json.dumps(writer.node(values, "v"))))
    assert other == values
    assert [type(v) for v in other.values()] == [type(v) for v in values.values()]
    nan = Reader({}, {}, 2, "file").node(Writer().node(float("nan"), "v"))
    assert np.isnan(nan)


def test_nothing_that_can_run_code_from_a_file_is_called() -> None:
    """No pickle, joblib or torch.load anywhere in the package, nor NumPy with pickles allowed.

    A Dask worker unpickles what its driver sends, as Dask itself does with every task; no file comes into it.
    """
    root = Path(qworkbench.__file__).parent
    allowed = {(root / "kernels" / "workers.py", "pickle.loads")}
    forbidden = {"cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    for file in [*root.rglob("*.py"), *(root.parent / "circuits").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & forbidden, file
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in forbidden | {"pickle"}, file
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert (file, called) in allowed or called not in (
                    "torch.load",
                    "pickle.load",
                    "pickle.loads",
                    "eval",
                    "exec",
                ), (
                    file,
                    called,
                )
                for keyword in node.keywords:
                    if keyword.arg == "allow_pickle":
                        assert ast.literal_eval(keyword.value) is False, file
