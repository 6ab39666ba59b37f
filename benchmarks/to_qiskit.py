"""A workload as a Qiskit circuit."""

from __future__ import annotations

from qiskit.circuit import ParameterVector, QuantumCircuit

from benchmarks.workloads import Workload
from circuits import ParameterizedCircuit


def parameterized_circuit(workload: Workload) -> ParameterizedCircuit:
    """The gates with inputs ``x`` and weights ``w``."""
    x, w = ParameterVector("x", workload.inputs.shape[1]), ParameterVector("w", len(workload.weights))
    circuit = QuantumCircuit(workload.size.n_qubits)
    for gate in workload.gates:
        angle = x[gate.input] if gate.input is not None else None if gate.weight is None else w[gate.weight]
        getattr(circuit, gate.name)(*([] if angle is None else [angle]), *gate.qubits)
    return ParameterizedCircuit(circuit, tuple(x), tuple(w))
