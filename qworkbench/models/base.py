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
    if not isinstance(circuit, ParameterizedCircuit):
        raise TypeError(f"expected a circuit name or a ParameterizedCircuit, got {type(circuit).__name__}")
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


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """A seed from scikit-learn's ``random_state``; the same for the same integer."""
    from sklearn.utils import check_random_state

    return int(check_random_state(random_state).randint(2**31 - 1))


def location_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a target, the latter 1 if it is constant.

    Raises:
        ValueError: If the deviation is no finite number.
    """
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
]
