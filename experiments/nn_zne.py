"""Zero-noise extrapolation by a neural network (arXiv:2403.07025) beside polynomials and an exponential at equal shots.

The energy of an optimised variational state is measured at several noise levels: depolarising noise of growing
probability, exactly and from shots, and the folded gates of a device model. Each method gets the same number of shots
in all and spreads them over the levels that it uses. The score is the share of problems in which a method leaves less
than a fifth of the error that was there without it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from circuits import ParameterizedCircuit
from experiments._cli import main
from experiments._havlicek import sampled
from experiments._rows import Measured, Part, Row, records, values, verdict
from qworkbench.engines.base import Expectation
from qworkbench.engines.mitigation import extrapolate
from qworkbench.layer import QuantumLayer
from qworkbench.runs import RunRecord

SOURCE = "neural-network zero-noise extrapolation for VQE, arXiv:2403.07025"
PUBLISHED = "predicted remarkably well (no figures in the abstract)"
CLASSICAL = "lowest eigenvalue of H, no circuit"
SUCCESS = 0.2
"""Share of the unmitigated error that may be left."""
HIDDEN = (16, 16)
METHODS = ("no extrapolation", "line", "Richardson", "exponential", "neural network")
LEVELS = (1, 2, 3, None, None)
"""How many of the lowest noise levels each method uses; None for all."""


@dataclass(frozen=True)
class Config:
    """Settings of the experiment."""

    n_problems: int = 20
    """random starts of the optimisation"""
    n_qubits: int = 4
    """width of the state"""
    n_layers: int = 2
    """layers of RY, RZ and a CX chain"""
    steps: int = 60
    """steps of Adam on the exact energy"""
    probabilities: tuple[float, ...] = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08)
    """of depolarisation, ascending"""
    device: str = "aer?noise=fake_manila&mitigation=readout&optimization_level=1"
    """URI of the device model; its gates are folded"""
    scales: tuple[float, ...] = (1.0, 3.0, 5.0, 7.0, 9.0)
    """noise scales on the device, ascending from 1"""
    shots: int = 8192
    """shots of each extrapolation in all"""
    seed: int = 0
    """seed of shots and networks"""

    @classmethod
    def smoke(cls, **changes: object) -> Self:
        """A few seconds' worth; the device needs no extra package."""
        small = cls(n_problems=2, n_qubits=3, n_layers=1, steps=20, shots=2048, device="generic:3?mitigation=readout")
        return replace(small, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Problem:
    """An optimised state."""

    number: int
    circuit: ParameterizedCircuit
    weights: NDArray[np.float64]
    energy: float
    """Exact."""

    def measure(self, backend: object) -> Expectation:
        """The energy and its standard error."""
        layer = QuantumLayer(self.circuit, [energy(self.circuit.n_qubits)], backend, dtype=torch.float64)
        with torch.no_grad():
            layer.weights.copy_(torch.as_tensor(self.weights))
        return layer.estimate(torch.zeros((1, 0), dtype=torch.float64))


def energy(n_qubits: int) -> SparsePauliOp:
    """H, the product of Z on all qubits."""
    return SparsePauliOp("Z" * n_qubits)


def ansatz(n_qubits: int, n_layers: int) -> ParameterizedCircuit:
    """RY and RZ on each qubit, CX between neighbours, an angle of its own for each gate; and RY, RZ at the end."""
    weights = ParameterVector("w", 2 * n_qubits * (n_layers + 1))
    circuit, free = QuantumCircuit(n_qubits), iter(weights)
    for layer in range(n_layers + 1):
        for qubit in range(n_qubits):
            circuit.ry(next(free), qubit)
            circuit.rz(next(free), qubit)
        for qubit in range(n_qubits - 1 if layer < n_layers else 0):
            circuit.cx(qubit, qubit + 1)
    return ParameterizedCircuit(circuit, (), tuple(weights))


def optimised(number: int, config: Config) -> Problem:
    """The state that Adam finds from random weights."""
    circuit, nothing = ansatz(config.n_qubits, config.n_layers), torch.zeros((1, 0), dtype=torch.float64)
    generator = torch.Generator().manual_seed(number)
    layer = QuantumLayer(circuit, [energy(config.n_qubits)], generator=generator, dtype=torch.float64)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(config.steps):
        optimizer.zero_grad()
        layer(nothing).sum().backward()
        optimizer.step()
    return Problem(number, circuit, layer.weights.detach().numpy().copy(), layer(nothing).item())


def run(config: Config, known: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
    """One record a problem and row, as they are made; those in ``known`` are passed on."""
    for levels in (config.probabilities, config.scales):
        if len(levels) < 3 or sorted(set(levels)) != list(levels):
            raise ValueError(f"expected at least three ascending noise levels, got {levels}")
    settings = {"n_qubits": config.n_qubits, "n_layers": config.n_layers, "steps": config.steps}
    for number in range(config.n_problems):
        problem = optimised(number, config)
        shared = {"experiment": "nn_zne", "problem": number, **settings, "seed": config.seed}
        yield from records(shared, SOURCE, _parts(config, problem), known)


def _parts(config: Config, problem: Problem) -> list[Part]:
    depolarised = [f"aer?noise=depolarizing:{p:g}" for p in config.probabilities]
    join = "&" if "?" in config.device else "?"
    folded = [f"{config.device}{join}noise_scale={s:g}" for s in config.scales]
    sources = (
        ("depolarising, exact", depolarised, config.probabilities, None),
        (f"depolarising, {config.shots:,} shots", depolarised, config.probabilities, config.shots),
        (f"device, {config.shots:,} shots", folded, config.scales, config.shots),
    )
    parts: list[Part] = [([Row(CLASSICAL, False, {})], lambda: [_scored(-1.0, problem.energy, None)])]
    for name, uris, levels, shots in sources:
        settings = {"backends": uris, "shots": shots}
        published = [None, None, None, None, PUBLISHED]
        rows = [Row(f"{name}: {method}", True, settings, text) for method, text in zip(METHODS, published, strict=True)]
        parts.append((rows, partial(_extrapolated, problem, uris, levels, shots, config.seed)))
    return parts


def _extrapolated(
    problem: Problem, uris: Sequence[str], levels: Sequence[float], shots: int | None, seed: int
) -> list[Measured]:
    """The energy by each method, in their order."""
    found: list[Measured] = []
    unmitigated: float | None = None
    for method, used in zip(METHODS, LEVELS, strict=True):
        scales = levels[:used]
        each = None if shots is None else shots // len(scales)
        measured = [_at(problem, uri, each, seed, method) for uri in uris[: len(scales)]]
        means, errors = (np.array([float(m[k]) for m in measured]) for k in (0, 1))
        estimate = _FITS[method](means, errors, scales, problem.number + seed)
        metrics, info = _scored(estimate, problem.energy, unmitigated)
        unmitigated = metrics["error"] if unmitigated is None else unmitigated
        found.append((metrics, info | {"levels": list(scales), "means": means.tolist(), "errors": errors.tolist()}))
    return found


def _at(problem: Problem, uri: str, shots: int | None, seed: int, method: str) -> Expectation:
    return problem.measure(uri if shots is None else sampled(uri, shots, seed, problem.number, METHODS.index(method)))


Fitted = Callable[[NDArray[np.float64], NDArray[np.float64], Sequence[float], int], float]


def _fit(name: str) -> Fitted:
    return lambda means, errors, scales, seed: float(extrapolate(means, errors, scales, name)[0])


def network(means: NDArray[np.float64], errors: NDArray[np.float64], scales: Sequence[float], seed: int) -> float:
    """The value at no noise of a network of one input, two hidden tanh layers and one output."""
    inputs = np.array(scales)[:, None] / max(scales)
    model = MLPRegressor(hidden_layer_sizes=HIDDEN, activation="tanh", solver="lbfgs", max_iter=2000, random_state=seed)
    with warnings.catch_warnings():
        # The number of steps is a setting of the method like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(model.fit(inputs, means).predict([[0.0]])[0])


_FITS: dict[str, Fitted] = dict(
    zip(METHODS, (_fit("linear"), _fit("linear"), _fit("richardson"), _fit("exponential"), network), strict=True)
)


def _scored(estimate: float, exact: float, unmitigated: float | None) -> Measured:
    error = abs(estimate - exact)
    success = None if unmitigated is None else float(error < SUCCESS * unmitigated)
    return {"score": success, "error": error}, {"energy": estimate, "exact": exact}


def verdicts(measured: Sequence[RunRecord]) -> list[str]:
    """The claim of the paper, and the comparison that it lacks, in words."""
    lines = []
    for label in dict.fromkeys(r.spec["row"] for r in measured):
        name, _, method = label.rpartition(": ")
        if method != METHODS[-1]:
            continue
        error = {m: values(measured, f"{name}: {m}", "error") for m in METHODS}
        left = error[method].mean() / error[METHODS[0]].mean()
        text = f"{name}: the network leaves {left:.2f} of the unmitigated error (expected < {SUCCESS})"
        lines.append(verdict(text, left < SUCCESS))
        gain = error["exponential"] - error[method]
        half_width = 2 * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        text = (
            f"{name}: its error is below the exponential fit's, {error[method].mean():.4f} against "
            f"{error['exponential'].mean():.4f}, lower by {gain.mean():.4f} ± {half_width:.4f}"
        )
        lines.append(verdict(text, gain.mean() > half_width))
    return lines


if __name__ == "__main__":
    main(Path(__file__).stem)
