"""Random circuits with gates and angle expressions of every kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from qiskit.circuit import Gate, Parameter, ParameterExpression, ParameterVector, QuantumCircuit
from qiskit.circuit import library as qiskit_library
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import SparsePauliOp

from circuits import ParameterizedCircuit
from qworkbench.gates import GENERATORS

Angle = Callable[[], Any]
"""Gives the next random number, parameter or expression."""

_FIXED = "h x y z s sdg t sx id cx cy cz ch swap iswap ecr dcx cs csx ccx ccz cswap rccx".split()
_TURNING = [*GENERATORS, "u", "u1", "u2", "u3", "r", "cu", "cu1", "cu3", "xx_plus_yy", "xx_minus_yy"]
_OTHER: dict[str, Callable[[Angle], Gate]] = {
    "open_cry": lambda angle: qiskit_library.CRYGate(angle(), ctrl_state=0),
    "open_cx": lambda angle: qiskit_library.CXGate(ctrl_state=0),
    "half_open_ccrx": lambda angle: qiskit_library.RXGate(angle()).control(2, ctrl_state=1, annotated=False),
    "mcp": lambda angle: qiskit_library.MCPhaseGate(angle(), 2),
    "evolution": lambda angle: qiskit_library.PauliEvolutionGate(
        SparsePauliOp(["XX", "ZZ", "YY"], [0.3, 0.5, -0.2]), angle()
    ),
    "composite": lambda angle: _composite(angle).to_gate(),
    "controlled_composite": lambda angle: _composite(angle).to_gate().control(1, annotated=False),
    "inverse_composite": lambda angle: _composite(angle).to_gate().inverse(),
    "global_phase": lambda angle: qiskit_library.GlobalPhaseGate(angle()),
}
KINDS = (*_FIXED, *_TURNING, *_OTHER)


def _gate(kind: str, angle: Angle) -> Gate:
    if kind in _OTHER:
        return _OTHER[kind](angle)
    standard = get_standard_gate_name_mapping()[kind]
    return standard.base_class(*(angle() for _ in standard.params))


def _composite(angle: Angle) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.rzz(angle(), 0, 1)
    circuit.u(angle(), 0.4, -0.3, 1)
    return circuit


def _expression(rng: np.random.Generator, parameters: Sequence[Parameter]) -> ParameterExpression | float:
    """A number, a parameter, or a linear, polynomial or transcendental expression of one or two parameters."""
    scale = float(np.round(rng.uniform(0.3, 1.5), 3))
    if not parameters or rng.random() < 0.1:
        return scale
    p, q = (parameters[int(k)] for k in rng.integers(len(parameters), size=2))
    forms: list[Callable[[], ParameterExpression]] = [
        lambda: p,
        lambda: scale * p,
        lambda: 1.0 * p - scale * q + 0.2,
        lambda: 2 * (np.pi - p) * (np.pi - q),
        lambda: (p + scale) ** 2 * q,
        lambda: (scale * p).sin(),
        lambda: p.cos() * q,
        lambda: (-1 * p * q).exp() / 3,
        lambda: (p + scale).abs(),
        lambda: (1 + p * p).log(),
        lambda: (p - q).arctan(),
        lambda: p / (2 + q * q),
        lambda: (1 + p * p) ** 0.5,
    ]
    return forms[int(rng.integers(len(forms)))]()


def random_circuit(n_qubits: int, n_gates: int, n_inputs: int, n_weights: int, seed: int) -> ParameterizedCircuit:
    """A random circuit of gates of every kind: fixed, rotations, controlled, open-controlled, composite.

    Kinds are drawn without repetition until all have been used, so a circuit of 60 gates on three or more qubits has
    them all. Parameters are shared by gates and stand in linear and nonlinear expressions.

    Args:
        n_qubits: Number of qubits; gates that are wider are left out.
        n_gates: Number of gates, before composite ones are unfolded.
        n_inputs: Number of inputs ``x``.
        n_weights: Number of weights ``w``.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    x, w = ParameterVector("x", n_inputs), ParameterVector("w", n_weights)
    kinds = [kind for kind in KINDS if _gate(kind, lambda: 0.5).num_qubits <= n_qubits]
    circuit = QuantumCircuit(n_qubits)
    bag: list[str] = []
    for _ in range(n_gates):
        bag = bag or [str(kind) for kind in rng.permutation(kinds)]
        gate = _gate(bag.pop(), lambda: _expression(rng, [*x, *w]))
        circuit.append(gate, [int(q) for q in rng.permutation(n_qubits)[: gate.num_qubits]])
    return ParameterizedCircuit(circuit, tuple(x), tuple(w))
