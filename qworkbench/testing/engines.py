"""What an engine promises, as checks that run on any backend."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp

from circuits import ParameterizedCircuit, z_each
from qworkbench import reference
from qworkbench.backend import Backend
from qworkbench.engines.base import Engine, Expectation
from qworkbench.engines.registry import open_engine
from qworkbench.gates import GENERATORS, shift_rule
from qworkbench.layer import QuantumLayer
from qworkbench.lowering import Angles, LoweredCircuit, lower
from qworkbench.testing.statistics import EXACT, SIGMAS, assert_within_sigma

NOISE_MARGIN = 0.4
"""Two values of a noisy device must stand in the right order if they differ by more than this."""


@dataclass
class _Probe:
    """An engine under test, and what may be expected of it."""

    backend: Any
    engine: Engine
    noisy: bool

    @cached_property
    def _measured(self) -> tuple[float | None, bool]:
        circuit, before = lower(_one_qubit(np.pi / 2)), replace(self.engine.usage)
        program = self.engine.compile(circuit, [SparsePauliOp("Z")])
        error = float(program.run(_angles(circuit, 1)).std_error[0, 0])
        spent = self.engine.usage.shots - before.shots
        if spent:
            return spent / (self.engine.usage.circuits - before.circuits), True
        return (1 / error**2 if error > 0 else None), False

    @property
    def shots(self) -> float | None:
        """Shots a circuit, found by running one: None if values are exact."""
        return self._measured[0]

    @property
    def counts(self) -> bool:
        """Whether values come from counted shots; an estimator's precision may be noise of any other kind."""
        return self._measured[1]

    def compare(self, estimate: Expectation, exact: np.ndarray, deviation: np.ndarray, bound: float = 1.0) -> None:
        """Compare with exact values, given the standard deviation of one shot and the largest possible value."""
        mean, shots = estimate.mean.numpy(), self.shots
        if mean.shape != exact.shape or estimate.std_error.shape != estimate.mean.shape:
            raise AssertionError(f"expected shape {exact.shape}, got {mean.shape} and {estimate.std_error.shape}")
        if not self.counts:
            deviation = np.full_like(exact, bound)
        sigma = np.zeros_like(exact) if shots is None else deviation / np.sqrt(shots)
        # A rare outcome is Poisson rather than normal; three counts more or less are no contradiction.
        slack = EXACT if shots is None else 3 * bound / shots
        if not self.noisy:
            return assert_within_sigma(mean, exact, sigma, slack=slack)
        if not (np.abs(mean) <= bound + SIGMAS * sigma + slack).all():
            raise AssertionError(f"expected values of at most {bound:g}, got {np.abs(mean).max():.6g}")
        gap = exact[..., :, None] - exact[..., None, :]
        found = mean[..., :, None] - mean[..., None, :]
        clear = np.abs(gap) > NOISE_MARGIN * bound + 2 * SIGMAS * float(sigma.max(initial=0))
        if not (np.sign(gap[clear]) == np.sign(found[clear])).all():
            raise AssertionError(f"expected values ordered as {exact.tolist()}, got {mean.tolist()}")
        return None


def _one_qubit(angle: float) -> ParameterizedCircuit:
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    return ParameterizedCircuit(circuit)


def _angles(circuit: LoweredCircuit, n_rows: int, seed: int = 5) -> Angles:
    rng = np.random.default_rng(seed)
    shared = rng.uniform(-2, 2, circuit.n_shared)
    return Angles(torch.tensor(shared), torch.tensor(rng.uniform(-2, 2, (n_rows, circuit.n_per_sample))))


def _states(circuit: LoweredCircuit, angles: Angles) -> np.ndarray:
    """The reference states; needs a circuit whose parameters are its angles, in slot order."""
    weights = angles.shared.numpy()
    return np.array([reference.state(circuit.circuit.bind(row, weights)) for row in angles.per_sample.numpy()])


def _moments(
    circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], angles: Angles
) -> tuple[np.ndarray, np.ndarray]:
    """Exact means, and the standard deviation of one shot: that of each Pauli string, as if fully correlated."""
    states = _states(circuit, angles)
    mean, deviation = (np.zeros((len(states), len(observables))) for _ in range(2))
    for column, observable in enumerate(observables):
        for label, factor in observable.to_list():
            matrix = SparsePauliOp(label).to_matrix()
            value = np.real(np.einsum("ni,ij,nj->n", states.conj(), matrix, states))
            mean[:, column] += factor.real * value
            deviation[:, column] += abs(factor) * np.sqrt(np.clip(1 - value**2, 0, None))
    return mean, deviation


def _probe_circuit() -> LoweredCircuit:
    """Three qubits, asymmetric in all of them, each parameter one angle."""
    x, w = ParameterVector("x", 2), ParameterVector("w", 3)
    circuit = QuantumCircuit(3)
    circuit.x(1)
    circuit.ry(x[0], 0)
    circuit.rx(w[0], 1)
    circuit.ry(w[1], 2)
    circuit.cx(0, 1)
    circuit.crx(x[1], 2, 1)
    circuit.rz(w[2], 2)
    return lower(ParameterizedCircuit(circuit, tuple(x), tuple(w)))


def _probe_observables() -> list[SparsePauliOp]:
    mixed = SparsePauliOp(["XZY", "IIZ", "III", "ZZI"], [0.5, -0.25, 0.3, 0.2])
    return [*z_each(3), SparsePauliOp("XII"), SparsePauliOp("IYI"), SparsePauliOp("IZZ"), mixed]


def _bit_order(probe: _Probe) -> None:
    """qubit 0 is the last letter of a Pauli string"""
    w = ParameterVector("w", 2)
    circuit = QuantumCircuit(3)
    circuit.x([0, 1])
    circuit.rx(w[0], 0)
    circuit.ry(w[1], 2)
    lowered = lower(ParameterizedCircuit(circuit, (), tuple(w)))
    angles = Angles(torch.tensor([0.4, 1.9], dtype=torch.float64), torch.zeros((1, 0), dtype=torch.float64))
    exact = np.array([[-np.cos(0.4), -1.0, np.cos(1.9)]])
    probe.compare(probe.engine.compile(lowered, z_each(3)).run(angles), exact, np.sqrt(1 - exact**2))


def _not_all_zeros(probe: _Probe) -> None:
    """outcomes are measured, not made up of zeros"""
    circuit = QuantumCircuit(3)
    circuit.x([0, 1, 2])
    lowered = lower(ParameterizedCircuit(circuit))
    angles = _angles(lowered, 2)
    mean = probe.engine.compile(lowered, z_each(3)).run(angles).mean.numpy()
    if not (mean < -0.5).all():
        raise AssertionError(f"expected about -1 for every Z after X on every qubit, got {mean.tolist()}")


def _expectations(probe: _Probe) -> None:
    """expectation values of X, Y, Z, ZZ and sums with an identity part"""
    circuit, observables = _probe_circuit(), _probe_observables()
    angles = _angles(circuit, 3)
    found = probe.engine.compile(circuit, observables).run(angles)
    probe.compare(found, *_moments(circuit, observables, angles), 1.25)


def _every_gate(probe: _Probe) -> None:
    """every gate with an angle, bound to different angles in one batch"""
    names = list(GENERATORS)
    observables = [SparsePauliOp(label) for label in ("IX", "IY", "IZ", "XI", "YI", "ZI")]
    for group in (names[:4], names[4:8], names[8:]):
        x = ParameterVector("x", len(group))
        circuit = QuantumCircuit(2)
        circuit.ry(0.9, 0)
        circuit.rx(-0.6, 1)
        for k, name in enumerate(group):
            qubits = (k % 2, 1 - k % 2)[: len(GENERATORS[name]).bit_length() - 1]
            getattr(circuit, name)(x[k], *qubits)
        lowered = lower(ParameterizedCircuit(circuit, tuple(x)))
        angles = _angles(lowered, 2)
        found = probe.engine.compile(lowered, observables).run(angles)
        try:
            probe.compare(found, *_moments(lowered, observables, angles))
        except AssertionError as error:
            raise AssertionError(f"one of the gates {group}: {error}") from error


def _standard_errors(probe: _Probe) -> None:
    """standard errors: zero if exact, else those of the shots"""
    circuit, observables = _probe_circuit(), _probe_observables()[:-1]
    angles = _angles(circuit, 3)
    error = probe.engine.compile(circuit, observables).run(angles).std_error.numpy()
    if probe.shots is None:
        if error.any():
            raise AssertionError(f"expected standard errors of 0 without shots, got {error.max():.3g}")
        return
    exact = _moments(circuit, observables, angles)[1] / np.sqrt(probe.shots)
    clear = exact > 0.5 * exact.max()
    if not probe.counts:
        exact = error
    ratio = error[clear] / exact[clear]
    low, high = (0.3, 3.0) if probe.noisy else (0.5, 2.0)
    if not ((error >= 0).all() and (ratio > low).all() and (ratio < high).all()):
        raise AssertionError(f"expected standard errors like {exact.tolist()}, got {error.tolist()}")


def _gradient_deviation(circuit: LoweredCircuit, cotangent: np.ndarray, norm: float) -> tuple[np.ndarray, np.ndarray]:
    """Bound on one shot's standard deviation of each angle's gradient: shifted values vary by at most ``norm``."""
    factors = np.array([np.sqrt(sum(c**2 for _, c in shift_rule(name))) for name in circuit.slot_gates])
    per_row = norm * np.abs(cotangent).sum(1)[:, None] * factors
    shared = np.sqrt((per_row**2).sum(0))
    return shared[: circuit.n_shared], per_row[:, circuit.n_shared :]


def _gradient(probe: _Probe) -> None:
    """gradients of inputs and weights"""
    circuit, observables = _probe_circuit(), _probe_observables()
    angles = _angles(circuit, 2, seed=6)
    cotangent = np.random.default_rng(7).normal(size=(2, len(observables)))
    slopes = reference.gradient(
        circuit.circuit, observables, angles.per_sample.numpy(), angles.shared.numpy(), step=1e-4
    )
    shared, per_sample = np.einsum("now,no->w", slopes[1], cotangent), np.einsum("noi,no->ni", slopes[0], cotangent)
    found = probe.engine.compile(circuit, observables).vjp(angles, torch.tensor(cotangent))
    deviations = _gradient_deviation(circuit, cotangent, 1.25)
    for part, exact, deviation in zip(found, (shared, per_sample), deviations, strict=True):
        _compare_gradient(probe, part.numpy(), exact, deviation)


def _needs(probe: _Probe) -> None:
    """only the wanted part of a gradient is computed"""
    circuit, usage = _probe_circuit(), probe.engine.usage
    program, angles = probe.engine.compile(circuit, z_each(3)), _angles(circuit, 2, seed=6)
    cotangent, submissions = torch.ones((2, 3), dtype=torch.float64), usage.submissions
    for needs in ((True, False), (False, True), (False, False)):
        for part, need in zip(program.vjp(angles, cotangent, needs), needs, strict=True):
            if bool(part.any()) != need:
                raise AssertionError(f"expected zeros in what is not wanted, and only there, with needs={needs}")
    if probe.shots is not None and usage.submissions - submissions != 2:
        raise AssertionError("a gradient of which nothing is wanted must cost no submission")


def _compare_gradient(probe: _Probe, found: np.ndarray, exact: np.ndarray, deviation: np.ndarray) -> None:
    if found.shape != exact.shape:
        raise AssertionError(f"expected a gradient of shape {exact.shape}, got {found.shape}")
    sigma = np.zeros_like(exact) if probe.shots is None else deviation / np.sqrt(probe.shots)
    # Central differences of the reference are exact to about 1e-7; noise shrinks a gradient and turns it a little.
    slack = 0.5 * float(np.abs(exact).max()) if probe.noisy else 1e-6
    assert_within_sigma(found, exact, sigma, slack=slack)


def _work(probe: _Probe) -> None:
    """one transpilation a compile, one submission a forward and one a gradient, or as few as the vendor takes"""
    circuit, observables, usage = _probe_circuit(), _probe_observables(), probe.engine.usage
    before = replace(usage)
    program = probe.engine.compile(circuit, observables)
    if usage.transpilations - before.transpilations != 1 or usage.submissions != before.submissions:
        raise AssertionError(f"expected one transpilation and no submission to compile, got {before} -> {usage}")
    angles = _angles(circuit, 2)
    for name, step in (
        ("forward", lambda: program.run(angles)),
        ("gradient", lambda: program.vjp(angles, torch.ones((2, len(observables)), dtype=torch.float64))),
    ):
        before = replace(usage)
        step()
        work = [usage.submissions - before.submissions, usage.transpilations - before.transpilations]
        n_circuits = usage.circuits - before.circuits
        needed = -(-n_circuits // (getattr(probe.engine, "largest_submission", None) or n_circuits or 1))
        if work != [needed, 0] or n_circuits < 2:
            raise AssertionError(f"expected {needed} submission and no transpilation a {name}, got {before} -> {usage}")


def _sampler(probe: _Probe) -> None:
    """probabilities of the basis states, bit q of the index being qubit q"""
    circuit = _probe_circuit()
    angles = _angles(circuit, 2)
    found = probe.engine.compile_sampler(circuit).probabilities(angles)
    _compare_probabilities(probe, found, np.abs(_states(circuit, angles)) ** 2)
    total = found.mean.sum(1).numpy()
    if not np.allclose(total, 1, atol=1e-6):
        raise AssertionError(f"expected probabilities that add up to 1, got {total.tolist()}")


def _compare_probabilities(probe: _Probe, found: Expectation, exact: np.ndarray) -> None:
    """As ``compare``; an engine with exact expectation values may still count for this."""
    counted = bool(found.std_error.any()) and probe.shots is None
    judge = replace(probe)
    # The largest standard error of counts is that of the probability nearest to one half.
    likely = np.unravel_index(int(found.std_error.argmax()), exact.shape)
    p, error = float(found.mean[likely]), float(found.std_error[likely])
    judge.__dict__["_measured"] = (p * (1 - p) / error**2, True) if counted else probe._measured
    judge.compare(found, exact, np.sqrt(exact * (1 - exact)))


def _overlap(probe: _Probe) -> None:
    """fidelities of states: symmetric, 1 on the diagonal, and rectangular"""
    circuit = _probe_circuit()
    x, y = _angles(circuit, 3), _angles(circuit, 2, seed=8)._replace(shared=_angles(circuit, 1).shared)
    overlap = probe.engine.compile_overlap(circuit)
    left, right = _states(circuit, x), _states(circuit, y)
    gram = overlap.fidelities(x)
    if not np.allclose(gram.mean, gram.mean.T) or not np.allclose(np.diag(gram.mean), 1):
        raise AssertionError(f"expected a symmetric matrix with ones on the diagonal, got {gram.mean.tolist()}")
    _compare_probabilities(probe, gram, np.clip(np.abs(left.conj() @ left.T) ** 2, 0, 1))
    _compare_probabilities(probe, overlap.fidelities(x, y), np.clip(np.abs(left.conj() @ right.T) ** 2, 0, 1))


def _shot_noise(probe: _Probe) -> None:
    """fresh shot noise in every call and every row"""
    if probe.shots is None:
        return
    circuit = lower(_one_qubit(np.pi / 2))
    program = probe.engine.compile(circuit, [SparsePauliOp("Z")])
    first, second = (program.run(_angles(circuit, 8)).mean.numpy().ravel() for _ in range(2))
    if (first == second).all():
        raise AssertionError("two successive calls gave the same shot noise")
    if (first == first[0]).all():
        raise AssertionError("all rows of a batch have the same shot noise")


def _seeds(probe: _Probe) -> None:
    """the same seed gives the same numbers"""
    if not isinstance(probe.backend, str | Backend):
        return
    backend = replace(Backend.parse(probe.backend), seed=11)
    circuit, observables = _probe_circuit(), z_each(3)
    angles = _angles(circuit, 2)
    runs = []
    for _ in range(2):
        with open_engine(backend) as engine:
            program = engine.compile(circuit, observables)
            slope = program.vjp(angles, torch.ones((2, len(observables)), dtype=torch.float64))
            runs.append([program.run(angles).mean, *slope])
    if not all(torch.equal(a, b) for a, b in zip(*runs, strict=True)):
        raise AssertionError(f"two engines opened as {backend} gave different numbers")


def _empty_batch(probe: _Probe) -> None:
    """an empty batch gives empty results"""
    circuit, observables = _probe_circuit(), _probe_observables()
    program, angles = probe.engine.compile(circuit, observables), _angles(circuit, 0)
    found = program.run(angles)
    slope = program.vjp(angles, torch.zeros((0, len(observables)), dtype=torch.float64))
    shapes = [tuple(t.shape) for t in (*found, *slope)]
    wanted = [(0, len(observables))] * 2 + [(circuit.n_shared,), (0, circuit.n_per_sample)]
    if shapes != wanted or slope.shared.any():
        raise AssertionError(f"expected shapes {wanted} and a zero gradient, got {shapes} and {slope.shared}")


def _constants(probe: _Probe) -> None:
    """circuits without parameters and observables without operators"""
    circuit = lower(_one_qubit(1.1))
    angles = _angles(circuit, 2)
    program = probe.engine.compile(circuit, [SparsePauliOp("Z"), SparsePauliOp("X")])
    exact = np.tile([np.cos(1.1), np.sin(1.1)], (2, 1))
    probe.compare(program.run(angles), exact, np.sqrt(1 - exact**2))
    slope = program.vjp(angles, torch.ones((2, 2), dtype=torch.float64))
    if slope.shared.shape != (0,) or slope.per_sample.shape != (2, 0):
        raise AssertionError(f"expected an empty gradient, got {slope}")
    identity = probe.engine.compile(circuit, [SparsePauliOp("I", 0.7)]).run(angles)
    sigma = 0.0 if probe.counts or probe.shots is None else 1 / np.sqrt(probe.shots)
    assert_within_sigma(identity.mean, np.full((2, 1), 0.7), sigma, slack=1e-6)


def _dtypes(probe: _Probe) -> None:
    """a layer's output has the dtype of its input, and gradients reach inputs and weights"""
    layer = QuantumLayer(_probe_circuit().circuit, z_each(3), probe.engine)
    for dtype in (torch.float32, torch.float64):
        inputs = torch.full((2, 2), 0.3, dtype=dtype, requires_grad=True)
        outputs = layer(inputs)
        outputs.sum().backward()
        if outputs.dtype != dtype or inputs.grad is None or inputs.grad.dtype != dtype or layer.weights.grad is None:
            raise AssertionError(f"expected {dtype} out and gradients of inputs and weights, got {outputs.dtype}")


def _refusals(probe: _Probe) -> None:
    """observables of another width and unknown gradient methods are refused"""
    for observables, gradient in (([SparsePauliOp("ZZ")], "auto"), (z_each(3), "no-such-method")):
        try:
            probe.engine.compile(_probe_circuit(), observables, gradient)
        except ValueError:
            continue
        raise AssertionError(f"accepted observables {observables} with gradient {gradient!r} on 3 qubits")


ENGINE_CHECKS: tuple[Callable[[_Probe], None], ...] = (
    _bit_order,
    _not_all_zeros,
    _expectations,
    _every_gate,
    _standard_errors,
    _gradient,
    _needs,
    _work,
    _sampler,
    _overlap,
    _shot_noise,
    _seeds,
    _empty_batch,
    _constants,
    _dtypes,
    _refusals,
)
"""The promises of an engine, each a function that raises AssertionError; its docstring is the promise."""


def check_engine(backend: Any, *, exact: bool | None = None) -> list[str]:
    """Check every promise of an engine on small circuits.

    Values are compared with the slow reference simulator: to 1e-9 without shots, within five standard errors of the
    exact variance with shots, and by order and bounds alone on a device with noise.

    Args:
        backend: A URI, a ``Backend``, a live Qiskit object or an engine; see ``open_engine``.
        exact: Whether values are those of the noiseless circuit, up to shot noise. By default a device's name or its
            target's error rates tell.

    Returns:
        The promises that were checked; probabilities and fidelities are left out if the engine refuses them.

    Raises:
        AssertionError: With the first promise that is broken.
        ValueError: If the backend mitigates readout errors: its calibration is a submission of its own.
    """
    if isinstance(backend, str | Backend) and "readout" in (Backend.parse(backend).option("mitigation") or ""):
        raise ValueError(
            "expected no calibration of the readout, since promises count submissions; leave mitigation=readout out of "
            f"{str(backend)!r}"
        )
    passed = []
    with open_engine(backend) as engine:
        probe = _Probe(backend, engine, _is_noisy(backend) if exact is None else not exact)
        for check in ENGINE_CHECKS:
            promise = (check.__doc__ or check.__name__).strip()
            if check in (_sampler, _overlap) and not _offers_counts(engine):
                continue
            try:
                check(probe)
            except AssertionError as error:
                raise AssertionError(f"{backend} broke its promise of {promise!r}: {error}") from error
            passed.append(promise)
    return passed


def _offers_counts(engine: Engine) -> bool:
    """An estimator without a sampler has expectation values alone, and must say so."""
    try:
        engine.compile_sampler(_probe_circuit())
    except ValueError:
        return False
    return True


def _is_noisy(backend: Any) -> bool:
    if isinstance(backend, str | Backend):
        described = Backend.parse(backend)
        if described.name == "worker":
            return re.search(r"/aer\b|/aqt-offline:ideal", str(described.target), re.IGNORECASE) is None
        return described.name in ("ibm-fake", "generic") or described.option("noise") is not None
    if not isinstance(backend, BackendV2):
        return False
    properties = [p for known in backend.target.values() for p in (known or {}).values()]
    return any(p is not None and p.error for p in properties)
