"""The contract suite on every engine, and on engines that break it."""

import pytest
import torch
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2, StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2, SamplerV2

from qworkbench.engines.base import Expectation
from qworkbench.engines.registry import open_engine
from qworkbench.lowering import Angles
from qworkbench.testing import ENGINE_CHECKS, assert_within_sigma, check_engine

URIS = [
    "statevector",
    "statevector?shots=1000&seed=1",
    "aer",
    "aer?shots=500&seed=1",
    "aer?method=matrix_product_state",
    "aer?noise=fake_manila&shots=400&seed=1",
    "pennylane:lightning.qubit",
    "pennylane:default.qubit?shots=500&seed=1",
    "ibm-fake:manila",
    "generic:5",
    "generic:4?shots=4000&seed=1&mitigation=zne",
    "aer?noise=depolarizing:0.01&mitigation=zne&zne_fit=exponential",
    "aer?device=generic:4",
]


def fake_manila():
    return pytest.importorskip("qiskit_ibm_runtime.fake_provider").FakeManilaV2()


LIVE = {
    "AerSimulator": lambda: AerSimulator(shots=400),
    "FakeManilaV2": fake_manila,
    "statevector primitives": lambda: (StatevectorEstimator(), StatevectorSampler(default_shots=300)),
    "Aer primitives": lambda: (EstimatorV2(), SamplerV2(default_shots=300)),
    "Aer primitives with precision": lambda: (EstimatorV2(options={"default_precision": 0.03}), SamplerV2()),
}


@pytest.mark.parametrize("uri", URIS)
def test_every_engine_keeps_the_contract(uri):
    if "fake" in uri:
        pytest.importorskip("qiskit_ibm_runtime")
    assert len(check_engine(uri)) == len(ENGINE_CHECKS)


@pytest.mark.parametrize("kind", LIVE)
def test_every_live_object_keeps_the_contract(kind):
    assert len(check_engine(LIVE[kind]())) == len(ENGINE_CHECKS)


def test_an_estimator_alone_keeps_all_but_counts():
    assert len(check_engine(StatevectorEstimator())) == len(ENGINE_CHECKS) - 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "uri",
    [
        "aer?method=matrix_product_state&shots=500&seed=1",
        "pennylane:default.qubit",
        "pennylane:default.mixed",
        "pennylane:lightning.qubit?shots=500&seed=1",
        "ibm-fake:manila?shots=1000&seed=2",
        "generic:5?shots=1000&seed=1",
    ],
)
def test_further_variants(uri):
    assert len(check_engine(uri)) == len(ENGINE_CHECKS)


@pytest.mark.slow
def test_primitives_on_a_backend():
    ideal = AerSimulator()
    assert check_engine((BackendEstimatorV2(backend=ideal), BackendSamplerV2(backend=ideal)))
    noisy = fake_manila()
    assert check_engine((BackendEstimatorV2(backend=noisy), BackendSamplerV2(backend=noisy)), exact=False)


class Broken:
    """The exact engine with one function spoilt."""

    def __init__(self, spoil, target="run"):
        self._engine, self._spoil, self._target = open_engine("statevector"), spoil, target
        self.usage = self._engine.usage

    def compile(self, circuit, observables, gradient="auto"):
        program = self._engine.compile(circuit, observables, gradient)
        original = getattr(program, self._target)
        setattr(program, self._target, lambda *args: self._spoil(self, original, *args))
        return program

    def compile_sampler(self, circuit):
        return self._engine.compile_sampler(circuit)

    def compile_overlap(self, circuit):
        return self._engine.compile_overlap(circuit)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def reversed_bits(engine, run, angles):
    found = run(angles)
    return Expectation(found.mean.flip(1), found.std_error)


def all_zeros(engine, run, angles):
    found = run(angles)
    fixed = len(angles.shared) + angles.per_sample.shape[1] == 0
    return Expectation(found.mean.abs() if fixed else found.mean, found.std_error)


def slightly_off(engine, run, angles):
    found = run(angles)
    return Expectation(found.mean + 1e-6, found.std_error)


def submits_twice(engine, run, angles):
    run(angles)
    return run(angles)


def transpiles_again(engine, run, angles):
    engine.usage.add(transpilations=1)
    return run(angles)


def ignores_needs(engine, vjp, angles, cotangent, needs=(True, True)):
    return vjp(angles, cotangent, (True, True))


def wrong_sign(engine, vjp, angles, cotangent, needs=(True, True)):
    found = vjp(angles, cotangent, needs)
    return Angles(-found.shared, found.per_sample)


def no_weight_gradient(engine, vjp, angles, cotangent, needs=(True, True)):
    found = vjp(angles, cotangent, needs)
    return Angles(torch.zeros_like(found.shared), found.per_sample)


@pytest.mark.parametrize(
    ("spoil", "target", "promise"),
    [
        (reversed_bits, "run", "qubit 0 is the last letter"),
        (all_zeros, "run", "not made up of zeros"),
        (slightly_off, "run", "qubit 0 is the last letter"),
        (submits_twice, "run", "one submission a forward"),
        (transpiles_again, "run", "one submission a forward"),
        (ignores_needs, "vjp", "only the wanted part"),
        (wrong_sign, "vjp", "gradients of inputs and weights"),
        (no_weight_gradient, "vjp", "gradients of inputs and weights"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_engine_fails_with_the_promise_it_broke(spoil, target, promise):
    with pytest.raises(AssertionError, match=promise):
        check_engine(Broken(spoil, target))


def test_repeated_shot_noise_is_found():
    # A primitive with a whole number as seed starts its generator anew in every run.
    with pytest.raises(AssertionError, match="successive calls gave the same shot noise"):
        check_engine(StatevectorSampler(default_shots=100, seed=3))


def test_a_noisy_device_is_not_taken_for_an_exact_one():
    pytest.importorskip("qiskit_ibm_runtime")
    with pytest.raises(AssertionError, match="expected"):
        check_engine("ibm-fake:manila", exact=True)


def test_assert_within_sigma():
    assert_within_sigma([1.0, 2.0], [1.04, 2.0], 0.01, sigmas=5)
    with pytest.raises(AssertionError, match="got 1"):
        assert_within_sigma([1.0, 2.0], [1.06, 2.0], 0.01, sigmas=5)
    with pytest.raises(AssertionError):
        assert_within_sigma(float("nan"), 0.0, 1.0)
    assert_within_sigma([], [], [])


def test_observables_are_named_when_refused():
    with pytest.raises(AssertionError, match="accepted"):

        class Careless(Broken):
            def compile(self, circuit, observables, gradient="auto"):
                if observables == [SparsePauliOp("ZZ")]:
                    return self._engine.compile(circuit, [SparsePauliOp("Z" * circuit.n_qubits)])
                return self._engine.compile(circuit, observables, gradient)

        check_engine(Careless(None))
