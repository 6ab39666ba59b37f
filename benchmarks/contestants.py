"""Who is timed: each turns a workload into a function that does one training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.workloads import GateCall, Workload
from qworkbench.engines.pennylane import FIXED, ROTATIONS


class StepResult(NamedTuple):
    """What a step has computed, for the comparison with the others."""

    outputs: np.ndarray
    """Expectation values, shape ``(batch, n_qubits)``."""
    inputs: np.ndarray
    """Gradient of the loss, shape ``(batch, n_inputs)``."""
    weights: np.ndarray
    """Gradient of the loss, shape ``(n_weights,)``."""


Step = Callable[[], StepResult]
Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Inputs and weights to expectation values of shape ``(batch, n_qubits)``."""


class Contestant(NamedTuple):
    """Who is timed, and on what."""

    make: Callable[[Workload, torch.dtype], Step]
    dtypes: tuple[str, ...] = ("float64", "float32")
    max_qubits: int = 24
    circuits: tuple[str, ...] = ("ansatz", "random")
    samples: int | None = None
    """Samples that are really run; times are then multiplied up to the whole batch."""


def torch_step(
    workload: Workload, dtype: torch.dtype, forward: Forward, parameter: torch.nn.Parameter | None = None
) -> Step:
    """One step of a torch model around ``forward``: linear head, cross entropy, backward.

    Args:
        workload: What to compute.
        dtype: Of inputs, weights and head.
        forward: The circuit.
        parameter: The weights, where ``forward`` has its own.
    """
    inputs = torch.tensor(workload.inputs, dtype=dtype, requires_grad=True)
    weights = torch.nn.Parameter(torch.empty(len(workload.weights), dtype=dtype)) if parameter is None else parameter
    weights.data = torch.tensor(workload.weights, dtype=dtype)
    head = torch.nn.Linear(workload.size.n_qubits, len(workload.head), bias=False, dtype=dtype)
    head.weight.data = torch.tensor(workload.head, dtype=dtype)
    labels = torch.tensor(workload.labels)

    def step() -> StepResult:
        inputs.grad = weights.grad = head.weight.grad = None
        outputs = forward(inputs, weights)
        torch.nn.functional.cross_entropy(head(outputs.to(dtype)), labels).backward()
        gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in (inputs, weights)]
        return StepResult(*(t.detach().numpy() for t in (outputs, *gradients)))

    return step


def head_alone(workload: Workload, dtype: torch.dtype) -> Step:
    """No circuit at all: what torch itself costs."""
    return torch_step(workload, dtype, lambda inputs, weights: inputs[:, : workload.size.n_qubits])


def qworkbench_layer(workload: Workload, dtype: torch.dtype) -> Step:
    """``QuantumLayer`` on the default backend."""
    from benchmarks.to_qiskit import parameterized_circuit
    from circuits import z_each
    from qworkbench import QuantumLayer

    layer = QuantumLayer(parameterized_circuit(workload), z_each(workload.size.n_qubits), dtype=dtype)
    return torch_step(workload, dtype, lambda inputs, _: layer(inputs), layer.weights)


PENNYLANE = ROTATIONS | FIXED | {"iswap": "ISWAP"}


def _apply(qml: Any, gate: GateCall, angle: Any) -> None:
    wires = list(gate.qubits)
    if gate.name == "rzx":  # PennyLane has none, and lightning cannot broadcast its PauliRot
        qml.Hadamard(wires[1])
        qml.IsingZZ(angle, wires=wires)
        qml.Hadamard(wires[1])
    elif angle is None:
        getattr(qml, PENNYLANE[gate.name])(wires=wires)
    else:
        getattr(qml, PENNYLANE[gate.name])(angle, wires=wires)


def pennylane(workload: Workload, dtype: torch.dtype, device: str, **options: Any) -> Step:
    """A QNode with the batch as a broadcast parameter, which every device takes or expands by itself."""
    import pennylane as qml

    n_qubits = workload.size.n_qubits
    # default.qubit takes its precision from the angles.
    precision = {} if device == "default.qubit" else {"c_dtype": np.complex64 if dtype.itemsize == 4 else np.complex128}

    @qml.qnode(qml.device(device, wires=n_qubits, **precision), interface="torch", **options)
    def node(inputs: torch.Tensor, weights: torch.Tensor) -> list[Any]:
        for gate in workload.gates:
            if gate.input is not None:
                _apply(qml, gate, inputs[:, gate.input])
            else:
                _apply(qml, gate, None if gate.weight is None else weights[gate.weight])
        return [qml.expval(qml.Z(q)) for q in range(n_qubits)]

    return torch_step(workload, dtype, lambda inputs, weights: torch.stack(node(inputs, weights), dim=-1))


def pennylane_default(workload: Workload, dtype: torch.dtype) -> Step:
    """``default.qubit`` with backprop."""
    return pennylane(workload, dtype, "default.qubit", diff_method="backprop")


def lightning(workload: Workload, dtype: torch.dtype) -> Step:
    """``lightning.qubit`` with adjoint Jacobians."""
    return pennylane(workload, dtype, "lightning.qubit", diff_method="adjoint")


def lightning_vjp(workload: Workload, dtype: torch.dtype) -> Step:
    """``lightning.qubit`` with the device's own vector-Jacobian product: all observables in one sweep."""
    return pennylane(workload, dtype, "lightning.qubit", diff_method="adjoint", device_vjp=True)


CONTESTANTS = {
    "head alone": Contestant(head_alone),
    "qworkbench": Contestant(qworkbench_layer),
    "default.qubit": Contestant(pennylane_default, max_qubits=20),
    "lightning.qubit": Contestant(lightning, max_qubits=20),
    "lightning.qubit vjp": Contestant(lightning_vjp),
}
"""Name -> contestant; ``benchmarks.peers`` has more."""


def contestants() -> dict[str, Contestant]:
    """All that can run here: those of the extra ``bench`` only where it is installed."""
    from importlib.util import find_spec

    if not all(find_spec(m) for m in ("tensorcircuit", "jax", "qulacs", "qiskit_machine_learning")):
        return CONTESTANTS
    from benchmarks.peers import CONTESTANTS as PEERS

    return CONTESTANTS | PEERS
