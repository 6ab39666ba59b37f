"""What the estimators share: circuits by name, seeded backends, trained modules on another backend."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp
from torch import nn

from circuits import CIRCUITS, ParameterizedCircuit, parity, z_each, z_first
from qworkbench.backend import Backend
from qworkbench.errors import unknown_name
from qworkbench.layer import QuantumLayer
from qworkbench.lowering import check_circuit

MAX_DEFAULT_QUBITS = 4
"""Width of a circuit whose ``n_qubits`` is not given, at most: width must not follow the number of features."""
INITIAL_SPREAD = 0.5
"""Standard deviation of initial weights in radians: near the identity, where gradients do not vanish."""

OBSERVABLES = {"parity": parity, "z_each": z_each, "z_first": z_first}
"""Read-outs by name."""


def resolve_circuit(
    circuit: str | ParameterizedCircuit,
    table: dict[str, Any],
    n_features: int,
    n_qubits: int | None,
    n_layers: int,
) -> ParameterizedCircuit:
    """A circuit by name from ``table``, or the user's own, checked against the number of features.

    Raises:
        ValueError: If the name is unknown or the circuit takes another number of features.
    """
    if isinstance(circuit, str):
        if circuit not in table:
            raise unknown_name("circuit", circuit, table)
        width = min(n_features, MAX_DEFAULT_QUBITS) if n_qubits is None else n_qubits
        made: ParameterizedCircuit = table[circuit](n_features, max(width, 2) if n_qubits is None else width, n_layers)
        return made
    check_circuit(circuit, "a circuit name or a ParameterizedCircuit")
    if circuit.n_inputs != n_features:
        raise ValueError(f"expected a circuit with {n_features} inputs, one a feature, got {circuit.n_inputs}")
    return circuit


def resolve_observables(observables: str | Sequence[SparsePauliOp], n_qubits: int) -> Sequence[SparsePauliOp]:
    """Observables by name, or the user's own.

    Raises:
        ValueError: If the name is unknown.
    """
    if isinstance(observables, str):
        if observables not in OBSERVABLES:
            raise unknown_name("read-out", observables, OBSERVABLES)
        return OBSERVABLES[observables](n_qubits)
    return observables


def seeded(backend: Any, seed: int) -> Any:
    """The backend with ``seed`` unless its description has one; live objects come back as they are."""
    if isinstance(backend, str | Backend):
        described = Backend.parse(backend)
        return described if described.seed is not None else replace(described, seed=seed)
    return backend


def with_errors(
    model: Any, method: str, X: Any, groups: int, *, together: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """A fitted model's answer and the standard error that the shots leave in it.

    The shots are split into groups, each of which answers by itself; the errors come from their spread. So no rule of
    error propagation is needed, whatever follows the circuit and however its observables are correlated, and no shots
    beyond those of one plain answer. A live object as backend keeps its shots and is asked ``groups`` times.

    Args:
        model: Has ``backend`` and ``method``.
        method: Name of the method that answers, one row of ``X`` a row.
        X: Shape ``(N, F)``.
        groups: Number of groups; the error is itself uncertain by ``1 / sqrt(2 (groups - 1))``.
        together: Whether the groups may be rows of one call; not if the answer to a row depends on other circuits.

    Returns:
        Mean and standard error, each in the shape of the answer; the errors are 0 on exact backends.

    Raises:
        ValueError: If there are fewer than 2 groups, or fewer shots than groups.
    """
    if groups < 2:
        raise ValueError(f"expected at least 2 groups, got {groups}")
    described = Backend.parse(model.backend) if isinstance(model.backend, str | Backend) else None
    if described is not None and described.shots is None:
        exact = np.asarray(getattr(model, method)(X))
        return exact, np.zeros_like(exact, dtype=float)
    if described is not None and (described.shots or 0) < groups:
        raise ValueError(f"expected at least {groups} shots for {groups} groups, got {described.shots}")

    def answer(rows: Any, seed: int | None) -> np.ndarray:
        twin = copy.copy(model)
        if described is not None:
            twin.backend = replace(described, shots=(described.shots or 0) // groups, seed=seed)
        return np.asarray(getattr(twin, method)(rows))

    seed = None if described is None else described.seed
    if together:
        rows = np.tile(np.arange(len(X)), groups)
        # A data frame keeps its column names, which fit has seen.
        found = answer(X.iloc[rows] if hasattr(X, "iloc") else np.asarray(X)[rows], seed)
        found = found.reshape(groups, len(X), *found.shape[1:])
    else:
        root = getattr(model, "_seed", 0) if seed is None else seed
        found = np.stack([answer(X, int(s)) for s in np.random.SeedSequence(root).generate_state(groups)])
    return found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(groups)


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """A seed from scikit-learn's ``random_state``; the same for the same integer."""
    from sklearn.utils import check_random_state

    return int(check_random_state(random_state).randint(2**31 - 1))


def location_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a target, the latter 1 if it is constant.

    Raises:
        ValueError: If the target is no numbers, or the deviation is not finite.
    """
    values = np.asarray(values, dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(np.mean(values)), float(np.std(values)) or 1.0
    if not np.isfinite(scale):
        raise ValueError("expected targets whose spread is a finite number; rescale the target")
    return mean, scale


def near_identity(layer: QuantumLayer, generator: torch.Generator) -> QuantumLayer:
    """Draw the layer's weights anew, normal with ``INITIAL_SPREAD``."""
    with torch.no_grad():
        layer.weights.normal_(0.0, INITIAL_SPREAD, generator=generator)
    return layer


def quantum_layers(module: nn.Module) -> list[QuantumLayer]:
    """The quantum layers inside a module."""
    return [m for m in module.modules() if isinstance(m, QuantumLayer)]


def usage(*modules: nn.Module) -> dict[str, int]:
    """What the quantum layers of ``modules`` have run, summed."""
    total = {"circuits": 0, "submissions": 0, "transpilations": 0, "shots": 0}
    for layer in (layer for module in modules for layer in quantum_layers(module)):
        total = {key: value + layer.usage[key] for key, value in total.items()}
    return total


def n_parameters(*modules: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())


def on_backend(module: nn.Module, backend: Any) -> nn.Module:
    """A copy of a trained module whose quantum layers run on ``backend``, opened afresh."""
    if isinstance(module, QuantumLayer):
        return module.with_backend(backend)
    clone = copy.deepcopy(module)
    moved: dict[int, QuantumLayer] = {}
    for parent in list(clone.modules()):
        # Not named_children, which leaves out a layer's second name.
        for name, child in list(parent._modules.items()):
            if isinstance(child, QuantumLayer):
                if id(child) not in moved:
                    moved[id(child)] = child.with_backend(backend)
                setattr(parent, name, moved[id(child)])
    return clone.eval()


def tensor(data: np.ndarray) -> torch.Tensor:
    """A float64 tensor with its own memory."""
    return torch.tensor(np.asarray(data, dtype=np.float64))


__all__ = [
    "CIRCUITS",
    "draw_seed",
    "location_and_scale",
    "n_parameters",
    "near_identity",
    "on_backend",
    "quantum_layers",
    "resolve_circuit",
    "resolve_observables",
    "seeded",
    "tensor",
    "usage",
    "with_errors",
]
