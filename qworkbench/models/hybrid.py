"""A hybrid classifier: classical trunk, quantum layer, classical head."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp
from torch import nn

from circuits import CIRCUITS, ParameterizedCircuit
from qworkbench.layer import QuantumLayer
from qworkbench.models.base import near_identity, resolve_circuit, resolve_observables
from qworkbench.models.variational import TrainedClassifier, linear

Factory = Callable[[int, int], nn.Module]
"""``(n_inputs, n_outputs) -> module``."""


class ToAngles(nn.Module):
    """Squashes features into rotation angles in ``(-pi/2, pi/2)``."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Same shape."""
        return torch.tanh(features) * (np.pi / 2)


class HybridClassifier(TrainedClassifier):
    """A torch network with a quantum layer inside (Mari et al. 2020: dressed quantum circuits).

    Args:
        trunk: Module from features to the circuit's inputs, or a function ``(n_features, n_inputs) -> module``; by
            default a linear map and a squashed angle. The model trains a copy and leaves yours alone.
        circuit: A name (``circuits.CIRCUITS``) or a circuit.
        head: Module from expectation values to logits, or a function ``(n_observables, n_classes) -> module``; by
            default a linear map.
        n_qubits: Width of a named circuit, which then takes ``n_qubits`` inputs.
        n_layers: Depth of a named circuit.
        observables: ``z_each``, ``z_first``, ``parity`` or a list of observables.
        backend: Where the circuit runs.
        gradient: ``auto``, ``adjoint``, ``parameter-shift`` or ``spsa``.
        epochs: Passes over the data.
        batch_size: Samples a step.
        learning_rate: Adam's.
        weight_decay: Adam's L2 penalty.
        shot_schedule: Shots a circuit while training; see ``VariationalClassifier``.
        random_state: Seed of the default modules, weights, batches and shots.
    """

    def __init__(
        self,
        trunk: nn.Module | Factory | None = None,
        circuit: str | ParameterizedCircuit = "data_reuploading",
        head: nn.Module | Factory | None = None,
        *,
        n_qubits: int = 4,
        n_layers: int = 2,
        observables: str | Sequence[SparsePauliOp] = "z_each",
        backend: Any = "statevector",
        gradient: str = "auto",
        epochs: int = 40,
        batch_size: int = 32,
        learning_rate: float = 0.05,
        weight_decay: float = 0.0,
        shot_schedule: str | int | None = None,
        random_state: int | None = None,
    ) -> None:
        self.trunk = trunk
        self.circuit = circuit
        self.head = head
        self.n_qubits = n_qubits
        self.n_layers = n_layers
        self.observables = observables
        self.backend = backend
        self.gradient = gradient
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.shot_schedule = shot_schedule
        self.random_state = random_state

    def _build(self, n_features: int, n_outputs: int, backend: Any, generator: torch.Generator) -> nn.Module:
        n_inputs = self.circuit.n_inputs if isinstance(self.circuit, ParameterizedCircuit) else self.n_qubits
        circuit = resolve_circuit(self.circuit, CIRCUITS, n_inputs, self.n_qubits, self.n_layers)
        observables = resolve_observables(self.observables, circuit.n_qubits)
        layer = QuantumLayer(circuit, observables, backend, gradient=self.gradient, dtype=torch.float64)
        default_trunk = nn.Sequential(linear(n_features, n_inputs, generator), ToAngles())
        trunk = _module("trunk", self.trunk, n_features, n_inputs, default_trunk, generator)
        default_head = linear(layer.n_outputs, n_outputs, generator)
        head = _module("head", self.head, layer.n_outputs, n_outputs, default_head, generator)
        return nn.Sequential(trunk, near_identity(layer, generator), head)


def _module(
    name: str, given: Any, n_inputs: int, n_outputs: int, default: nn.Module, generator: torch.Generator
) -> nn.Module:
    """The user's module as float64, checked to map ``n_inputs`` features to ``n_outputs``."""
    if given is None:
        return default
    if isinstance(given, nn.Module):
        module = copy.deepcopy(given).double()
    else:
        # A factory draws its weights from torch's global state, which is put back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            module = given(n_inputs, n_outputs).double()
    with torch.no_grad():
        try:
            shape = tuple(copy.deepcopy(module).eval()(torch.zeros((2, n_inputs), dtype=torch.float64)).shape)
        except RuntimeError as error:
            raise ValueError(f"the {name} does not take {n_inputs} features: {error}") from error
    if shape != (2, n_outputs):
        raise ValueError(f"expected a {name} that maps (B, {n_inputs}) to (B, {n_outputs}), got (B, ...) = {shape}")
    return module
