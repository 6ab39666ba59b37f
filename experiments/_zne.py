"""Zero-noise extrapolation: the same unitary with more noise, and back to none.

Digital (gate folding) form: Giurgica-Tiron et al. 2020, arXiv:2005.10921.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from qiskit import QuantumCircuit

from circuits import ParameterizedCircuit
from qworkbench.engines.mitigation import polynomial_weights


def fold(circuit: ParameterizedCircuit, scale: float) -> tuple[ParameterizedCircuit, float]:
    """The same unitary, its two-qubit gates ``scale`` times as many.

    ``U`` becomes ``U (U^dagger U)^k``, then ``T^dagger T`` with T the last gates of U for the rest of the way. Only
    two-qubit gates are counted, since they carry most of a device's noise; a circuit without any counts all its gates.
    Transpile it with ``optimization_level=0``: higher levels may cancel the folds.

    Args:
        circuit: The circuit U.
        scale: At least 1.

    Returns:
        The folded circuit, same inputs and weights, and the scale it really has (a multiple of 2 gates is added).

    Raises:
        ValueError: If the scale is below 1.
    """
    if not scale >= 1:
        raise ValueError(f"expected a noise scale of at least 1, got {scale}")
    unitary = circuit.quantum_circuit
    counted = [k for k, gate in enumerate(unitary.data) if len(gate.qubits) == 2] or list(range(len(unitary.data)))
    whole, rest = divmod(round((scale - 1) / 2 * len(counted)), len(counted))
    folded = unitary.copy()
    for _ in range(whole):
        folded = folded.compose(unitary.inverse()).compose(unitary)
    if rest:
        tail = _from_gate(unitary, counted[-rest])
        folded = folded.compose(tail.inverse()).compose(tail)
    return ParameterizedCircuit(folded, circuit.inputs, circuit.weights), 1 + 2 * (whole + rest / len(counted))


def _from_gate(circuit: QuantumCircuit, first: int) -> QuantumCircuit:
    tail = circuit.copy_empty_like()
    tail.global_phase = 0
    for gate in circuit.data[first:]:
        tail.append(gate)
    return tail


def extrapolate(values: ArrayLike, scales: Sequence[float], order: int = 1) -> tuple[np.ndarray, float]:
    """The value at noise scale 0 of a polynomial fitted by least squares.

    With ``order = len(scales) - 1`` the polynomial meets every value: Richardson's extrapolation.

    Args:
        values: Shape ``(S, ...)``, one entry a scale.
        scales: The S noise scales.
        order: Degree of the polynomial.

    Returns:
        The extrapolated values, shape ``(...)``, and the factor by which the standard error of one (equal at all
        scales) grows.

    Raises:
        ValueError: If there are not more different scales than the order, or not one value a scale.
    """
    measured = np.asarray(values, dtype=float)
    if len(measured) != len(scales) or len(set(scales)) <= order:
        raise ValueError(
            f"expected one value a scale and more than {order} different scales for order {order}, "
            f"got {len(measured)} values at {list(scales)}"
        )
    weights = polynomial_weights(scales, order)
    return np.tensordot(weights, measured, axes=1), float(np.linalg.norm(weights))
