"""PennyLane devices as engines, and PennyLane functions as circuits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from circuits import ParameterizedCircuit
from qworkbench.backend import Backend
from qworkbench.engines.base import (
    Expectation,
    NothingToClose,
    Program,
    Usage,
    check_gradient,
    check_memory,
    check_observables,
)
from qworkbench.engines.gradients import EvaluatedProgram
from qworkbench.engines.measurement import MeasurementPlan, basis_change
from qworkbench.engines.runners import CircuitSampler, PairedOverlap, StateOverlap, frequencies, zero_frequencies
from qworkbench.errors import require
from qworkbench.lowering import Angles, LoweredCircuit

ROTATIONS = {
    "rx": "RX",
    "ry": "RY",
    "rz": "RZ",
    "p": "PhaseShift",
    "rxx": "IsingXX",
    "ryy": "IsingYY",
    "rzz": "IsingZZ",
    "crx": "CRX",
    "cry": "CRY",
    "crz": "CRZ",
    "cp": "ControlledPhaseShift",
}
"""Qiskit's gates with an angle and PennyLane's names for them."""
FIXED = {
    "h": "Hadamard",
    "x": "PauliX",
    "y": "PauliY",
    "z": "PauliZ",
    "s": "S",
    "t": "T",
    "sx": "SX",
    "cx": "CNOT",
    "cy": "CY",
    "cz": "CZ",
    "ch": "CH",
    "swap": "SWAP",
    "ccx": "Toffoli",
    "cswap": "CSWAP",
}


def from_pennylane(function: Callable[..., Any], n_inputs: int, weights_shape: Any = ()) -> ParameterizedCircuit:
    """A PennyLane quantum function or QNode as a circuit.

    Args:
        function: Called as ``function(inputs)`` if there are no weights, else ``function(inputs, weights)``, with
            arrays of symbols. Angles may be any expression of ``+ - * /``, powers, and numpy's sin, cos, tan,
            their inverses, exp, log and abs. Wires must be ``0 .. n-1``; what the function measures is ignored.
        n_inputs: Number of features.
        weights_shape: Shape of the weight array, as a number or tuple; the weight vector is its row-major flattening.

    Raises:
        MissingExtraError: If PennyLane is absent.
        ValueError: If an operation has no Qiskit counterpart.
    """
    qml = require("pennylane", "pennylane", "a PennyLane function")
    from pennylane.devices.preprocess import decompose

    shape = (weights_shape,) if isinstance(weights_shape, int) else tuple(weights_shape)
    n_weights = int(np.prod(shape)) if shape else 0
    x, w = ParameterVector("x", n_inputs), ParameterVector("w", n_weights)
    arguments = [_symbols(list(x), (n_inputs,))] + ([_symbols(list(w), shape)] if n_weights else [])
    body = getattr(function, "func", function)
    tape = qml.tape.make_qscript(body)(*arguments)
    known = {*ROTATIONS.values(), *FIXED.values()}
    (tape,), _ = decompose(tape, stopping_condition=lambda o: o.name in known, name="circuits", error=ValueError)
    wires = list(tape.wires)
    if any(not isinstance(wire, int) for wire in wires):
        raise ValueError(f"expected wires 0, 1, 2, ..., got {wires}")
    circuit = QuantumCircuit(max(wires, default=0) + 1)
    names = {theirs: ours for ours, theirs in [*ROTATIONS.items(), *FIXED.items()]}
    for operation in tape.operations:
        if operation.name not in names:
            raise ValueError(f"the PennyLane operation {operation.name!r} has no counterpart here")
        angles = [p.item() if hasattr(p, "item") else p for p in operation.parameters]
        getattr(circuit, names[operation.name])(*angles, *operation.wires.tolist())
    return ParameterizedCircuit(circuit, tuple(x), tuple(w))


def _symbols(parameters: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    flat = np.empty(len(parameters), dtype=object)
    flat[:] = parameters
    return flat.reshape(shape)


class PennyLaneEngine(NothingToClose):
    """``pennylane:DEVICE``, for instance ``pennylane:lightning.qubit`` or ``pennylane:default.qubit?shots=1000``.

    Further options are passed to ``pennylane.device``. All numbers pass as numpy float64, since PennyLane's torch
    interface gives float32 on lightning devices.

    Raises:
        MissingExtraError: If PennyLane is absent.
        ValueError: If the device is unknown.
    """

    def __init__(self, backend: Backend) -> None:
        self._qml = require("pennylane", "pennylane", f"the backend {str(backend)!r}")
        if backend.target is None:
            raise ValueError("expected pennylane:DEVICE, for instance pennylane:lightning.qubit")
        self.usage = Usage()
        self._name, self._shots = backend.target, backend.shots
        self._options = dict(backend.options)
        self._seeds = np.random.SeedSequence(backend.seed)
        self._device(1)

    def _device(self, n_wires: int) -> Any:
        if self._name.endswith(("qubit", "mixed")):
            check_memory(n_wires, 1, 16, density_matrix=self._name.endswith("mixed"))
        try:
            return self._qml.device(self._name, wires=n_wires, seed=self._next_seed(), **self._options)
        except (self._qml.exceptions.DeviceError, ImportError, TypeError) as error:
            raise ValueError(f"PennyLane cannot open the device {self._name!r}: {error}") from error

    def _next_seed(self) -> int:
        return int(self._seeds.spawn(1)[0].generate_state(1)[0])

    def compile(self, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], gradient: str = "auto") -> Program:
        """See ``Engine``; ``auto`` is the device's ``adjoint`` where it has one, else ``parameter-shift``."""
        observables = check_observables(observables, circuit.n_qubits)
        self.usage.add(transpilations=1)
        device = self._device(circuit.n_qubits)
        if self._shots is not None:
            check_gradient(gradient, [])
            return EvaluatedProgram(circuit, self._sampled(device, circuit, observables), gradient, self._next_seed())
        exact = _ExactProgram(self._qml, device, circuit, observables, self.usage)
        check_gradient(gradient, ["adjoint"] if exact.has_adjoint else [])
        if exact.has_adjoint and gradient in ("auto", "adjoint"):
            return exact
        return EvaluatedProgram(circuit, exact.evaluate, gradient, self._next_seed())

    def compile_sampler(self, circuit: LoweredCircuit) -> CircuitSampler:
        """See ``Engine``."""
        self.usage.add(transpilations=1)
        device, qml = self._device(circuit.n_qubits), self._qml
        wires = _most_significant_first(circuit.n_qubits)

        def run(rows: torch.Tensor) -> list[Any]:
            scripts = [_operations(qml, circuit, row) for row in _numpy(rows)]
            if self._shots is not None:
                return self._counts(device, scripts, wires)
            return self._execute(device, [qml.tape.QuantumScript(s, [qml.probs(wires=wires)]) for s in scripts])

        return CircuitSampler(lambda rows: frequencies(run(rows), circuit.n_qubits, self._shots))

    def compile_overlap(self, circuit: LoweredCircuit) -> PairedOverlap | StateOverlap:
        """See ``Engine``: state vectors if the device has them, else one compute-uncompute circuit a pair."""
        self.usage.add(transpilations=1)
        device, qml = self._device(circuit.n_qubits), self._qml

        def states(rows: torch.Tensor) -> list[list[Any]]:
            scripts = [_operations(qml, circuit, row) for row in _numpy(rows)]
            # A fidelity does not see the order of the amplitudes, so PennyLane's wire order may stay.
            return [self._execute(device, [qml.tape.QuantumScript(s, [qml.state()]) for s in scripts])]

        def pairs(rows: torch.Tensor) -> list[Any]:
            half = rows.shape[1] // 2
            scripts = [
                _operations(qml, circuit, row[:half]) + _operations(qml, circuit, row[half:], inverse=True)
                for row in _numpy(rows)
            ]
            wires = _most_significant_first(circuit.n_qubits)
            if self._shots is not None:
                return self._counts(device, scripts, wires)
            exact = self._execute(device, [qml.tape.QuantumScript(s, [qml.probs(wires=wires)]) for s in scripts])
            return [{0: float(p[0]), 1: 1 - float(p[0])} for p in exact]

        if self._shots is None and not self._name.endswith("mixed"):
            return StateOverlap(circuit.n_qubits, states)
        return PairedOverlap(lambda rows: zero_frequencies(pairs(rows), self._shots), self._shots is not None)

    def _execute(self, device: Any, tapes: list[Any]) -> list[Any]:
        if not tapes:
            return []
        self.usage.add(submissions=1, circuits=len(tapes))
        return list(self._qml.execute(tapes, device, diff_method=None))

    def _counts(self, device: Any, scripts: list[list[Any]], wires: list[int]) -> list[dict[int, int]]:
        """Outcome -> count of each script: one submission."""
        assert self._shots is not None
        self.usage.add(shots=self._shots * len(scripts))
        reading = [self._qml.sample(wires=wires)]
        samples = self._execute(
            device, [self._qml.tape.QuantumScript(script, reading, shots=self._shots) for script in scripts]
        )
        powers = 1 << np.arange(len(wires), dtype=np.int64)[::-1]
        found = [np.unique(np.reshape(s, (-1, len(wires))) @ powers, return_counts=True) for s in samples]
        return [dict(zip(outcome.tolist(), count.tolist(), strict=True)) for outcome, count in found]

    def _sampled(
        self, device: Any, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp]
    ) -> Callable[[torch.Tensor], Expectation]:
        plan, wires, qml = MeasurementPlan(observables), _most_significant_first(circuit.n_qubits), self._qml
        changes = [_gates(qml, basis_change(basis)) for basis in plan.bases]

        def evaluate(rows: torch.Tensor) -> Expectation:
            scripts = [_operations(qml, circuit, row) for row in _numpy(rows)]
            flat = [script + change for change in changes for script in scripts]
            counts = self._counts(device, flat, wires) if flat else []
            n_rows = len(rows)
            parts = [counts[k * n_rows : (k + 1) * n_rows] for k in range(len(changes))]
            mean, error = plan.estimate(parts, n_rows)
            return Expectation(torch.as_tensor(mean).to(rows), torch.as_tensor(error).to(rows))

        return evaluate


class _ExactProgram:
    """Expectation values of a device without shots, and its adjoint gradient if it differentiates our gates."""

    def __init__(
        self, qml: Any, device: Any, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], usage: Usage
    ) -> None:
        self._qml, self._device, self._circuit, self._usage = qml, device, circuit, usage
        self._readings = [qml.expval(_hamiltonian(qml, observable)) for observable in observables]
        self._config = qml.devices.ExecutionConfig(gradient_method="adjoint", use_device_gradient=True)
        self.has_adjoint = self._accepts_adjoint()

    def _accepts_adjoint(self) -> bool:
        """Whether the device differentiates the circuit as it is; a rewritten one would have other angles."""
        if not self._device.supports_derivatives(self._config):
            return False
        probe = self._tape(np.full(len(self._circuit.slot_gates), 0.1), range(len(self._circuit.slot_gates)))
        try:
            (prepared,), _ = self._device.preprocess_transforms(self._config)([probe])
        except self._qml.exceptions.DeviceError:
            return False
        return [o.name for o in prepared.operations] == [o.name for o in probe.operations]

    def _tape(self, row: np.ndarray, slots: Sequence[int] = ()) -> Any:
        tape = self._qml.tape.QuantumScript(_operations(self._qml, self._circuit, row), self._readings)
        # Without H and CNOT the operations with parameters stand in the order of the gates with a slot or a matrix.
        wanted, trainable = set(slots), []
        gates = (gate for gate in self._circuit.gates if gate.slot is not None or gate.name not in FIXED)
        for position, gate in enumerate(gates):
            if gate.slot in wanted:
                trainable.append(position)
        tape.trainable_params = trainable
        return tape

    def evaluate(self, rows: torch.Tensor) -> Expectation:
        """Expectation values with every slot given per sample, shape ``(M, K)``."""
        results = []
        if len(rows):
            self._usage.add(submissions=1, circuits=len(rows))
            results = self._qml.execute([self._tape(row) for row in _numpy(rows)], self._device, diff_method=None)
        mean = torch.as_tensor(np.array(results, float).reshape(len(rows), len(self._readings))).to(rows)
        return Expectation(mean, torch.zeros_like(mean))

    def run(self, angles: Angles) -> Expectation:
        """See ``Program``."""
        return self.evaluate(angles.rows())

    def vjp(self, angles: Angles, cotangent: torch.Tensor, needs: tuple[bool, bool] = (True, True)) -> Angles:
        """See ``Program``."""
        n_shared, rows = len(angles.shared), angles.rows()
        slots = [k for k in range(rows.shape[1]) if needs[k >= n_shared]]
        gradient = np.zeros(rows.shape)
        if slots and len(rows):
            self._usage.add(submissions=1, circuits=len(rows))
            tapes = tuple(self._tape(row, slots) for row in _numpy(rows))
            weights = [tuple(c) if len(c) > 1 else c[0] for c in _numpy(cotangent)]
            slopes = self._device.compute_vjp(tapes, tuple(weights), self._config)
            order = [gate.slot for gate in self._circuit.gates if gate.slot in set(slots)]
            gradient[:, order] = np.array(slopes, float).reshape(len(rows), len(slots))
        result = torch.as_tensor(gradient).to(rows)
        return Angles(result[:, :n_shared].sum(0), result[:, n_shared:])


def _numpy(rows: torch.Tensor) -> np.ndarray:
    return rows.detach().double().cpu().numpy()


def _most_significant_first(n_qubits: int) -> list[int]:
    """Wires in the order that makes PennyLane's outcomes Qiskit's integers."""
    return list(reversed(range(n_qubits)))


def _operations(qml: Any, circuit: LoweredCircuit, row: np.ndarray, *, inverse: bool = False) -> list[Any]:
    operations = []
    for gate in reversed(circuit.gates) if inverse else circuit.gates:
        if gate.slot is not None:
            operations += _rotation(qml, gate.name, -row[gate.slot] if inverse else row[gate.slot], gate.qubits)
        else:
            fixed = _fixed(qml, gate.name, gate.matrix, gate.qubits)
            operations.append(qml.adjoint(fixed, lazy=False) if inverse else fixed)
    return operations


def _rotation(qml: Any, name: str, angle: float, qubits: Sequence[int]) -> list[Any]:
    if name == "rzx":
        # exp(-i t/2 X Z) on (second, first) is exp(-i t/2 Z Z) between Hadamards on the second qubit.
        return [qml.Hadamard(qubits[1]), qml.IsingZZ(angle, wires=list(qubits)), qml.Hadamard(qubits[1])]
    return [getattr(qml, ROTATIONS[name])(angle, wires=list(qubits))]


def _fixed(qml: Any, name: str, matrix: np.ndarray, qubits: Sequence[int]) -> Any:
    if name in FIXED:
        return getattr(qml, FIXED[name])(wires=list(qubits))
    return qml.QubitUnitary(matrix, wires=list(reversed(qubits)))


def _gates(qml: Any, circuit: QuantumCircuit) -> list[Any]:
    return [
        _fixed(qml, i.operation.name, i.operation.to_matrix(), [circuit.find_bit(q).index for q in i.qubits])
        for i in circuit.data
    ]


def _hamiltonian(qml: Any, observable: SparsePauliOp) -> Any:
    letters = {"X": qml.X, "Y": qml.Y, "Z": qml.Z}
    terms = []
    for label in observable.paulis.to_labels():
        factors = [letters[c](q) for q, c in enumerate(reversed(label.lstrip("-i"))) if c != "I"]
        terms.append(qml.prod(*factors) if len(factors) > 1 else factors[0] if factors else qml.I(0))
    return qml.Hamiltonian(np.real(observable.coeffs), terms)
