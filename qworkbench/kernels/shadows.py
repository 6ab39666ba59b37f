"""Classical shadows: many Paulis from measurements in random Pauli bases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from circuits import ParameterizedCircuit
from qworkbench.backend import Backend
from qworkbench.engines.base import Expectation
from qworkbench.engines.registry import open_engine
from qworkbench.kernels.shots import never_certain
from qworkbench.lowering import lower

ROWS_BYTES = 2**27
"""Size of the table of frequencies that is worked on at a time."""
# RY by the first angle after RZ by the second turns the basis X, Y or Z into that of the measurement.
_TURNS = np.array([[-np.pi / 2, 0.0], [-np.pi / 2, -np.pi / 2], [0.0, 0.0]])
_LETTERS = "XYZ"


class ShadowFeatures:
    """Paulis of each sample from ``n_bases`` random local Pauli bases (Huang, Kueng & Preskill 2020, arXiv:2002.08953).

    The bases are angles of the compiled circuit, drawn anew for each sample: one transpilation and one submission a
    batch. A Pauli is averaged over those bases that measure it, as many as chance gives (about
    ``n_bases / 3**weight``), instead of weighting each by ``3**weight``: the same mean with less variance. Its standard
    error is that of the mean over these bases.

    Args:
        circuit: What prepares the states.
        paulis: Single Paulis, each on the circuit's qubits.
        backend: With shots: that many a basis.
        n_bases: Bases a sample.

    Raises:
        ValueError: If the backend has no shots, there are fewer than two bases, or an observable is no single Pauli.
    """

    def __init__(
        self, circuit: ParameterizedCircuit, paulis: Sequence[SparsePauliOp], backend: Any, n_bases: int
    ) -> None:
        if n_bases < 2:
            raise ValueError(f"expected at least 2 bases for classical shadows, got {n_bases}")
        described = Backend.parse(backend) if isinstance(backend, str | Backend) else None
        if described is not None and described.shots is None:
            example = replace(described, shots=1)
            raise ValueError(f"classical shadows sample, so they need shots: for instance '{example}'")
        if any(len(pauli) != 1 for pauli in paulis):
            raise ValueError("expected single Paulis for classical shadows, got a sum; measure sums with shadows=None")
        self._n_inputs, self._n_qubits, self._n_bases = circuit.n_inputs, circuit.n_qubits, n_bases
        self._engine = open_engine(backend)
        turned = _with_turns(circuit)
        self._lowered = lower(turned)
        self._sampler = self._engine.compile_sampler(self._lowered)
        self._rng = np.random.default_rng(None if described is None else described.seed)
        labels = [pauli.paulis.to_labels()[0][::-1] for pauli in paulis]
        self._wanted = np.array([[_LETTERS.find(letter) for letter in label] for label in labels])  # -1 for I
        self._coefficients = np.array([pauli.coeffs[0].real for pauli in paulis])
        outcomes, masks = np.arange(2**self._n_qubits), (self._wanted >= 0) @ (1 << np.arange(self._n_qubits))
        self._signs = 1.0 - 2.0 * (np.bitwise_count(outcomes[:, None] & masks[None, :]) & 1)

    @property
    def usage(self) -> dict[str, int]:
        """What the engine has run."""
        return self._engine.usage.as_dict()

    def estimate(self, x: torch.Tensor, weights: torch.Tensor) -> Expectation:
        """Expectation values of shape ``(N, n_paulis)`` with standard errors.

        Args:
            x: Inputs of the circuit, shape ``(N, n_inputs)``.
            weights: Its weights.

        Raises:
            ValueError: If fewer than two of the bases measure one of the Paulis.
        """
        step = max(1, ROWS_BYTES // (8 * self._n_bases * 2**self._n_qubits))
        parts = [self._part(x[start : start + step], weights) for start in range(0, len(x), step)]
        return Expectation(*(torch.as_tensor(np.concatenate(column)) for column in zip(*parts, strict=True)))

    def _part(self, x: torch.Tensor, weights: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        bases = self._rng.integers(0, 3, (len(x), self._n_bases, self._n_qubits))
        turns = torch.as_tensor(_TURNS[bases].reshape(len(x) * self._n_bases, -1))
        rows = torch.cat([x.repeat_interleave(self._n_bases, dim=0), turns], dim=1)
        before = self._engine.usage.shots
        with torch.no_grad():
            frequencies = self._sampler.probabilities(self._lowered.angles(rows, weights)).mean.numpy()
        values = (frequencies @ self._signs).reshape(len(x), self._n_bases, -1)
        # (N, bases, paulis): whether the basis measures every letter of the Pauli.
        fits = ((self._wanted < 0) | (self._wanted == bases[:, :, None, :])).all(-1)
        count = fits.sum(1)
        if count.min() < 2:
            raise ValueError(
                f"expected at least 2 of {self._n_bases} random bases to measure every Pauli, "
                f"got {count.min()} for one; use more bases"
            )
        mean = (values * fits).sum(1) / count
        spread = ((values - mean[:, None, :]) ** 2 * fits).sum(1) / (count - 1)
        shots = count * ((self._engine.usage.shots - before) // (len(x) * self._n_bases))
        error = never_certain(np.sqrt(spread / count), shots, shots > 0, 2.0)
        return mean * self._coefficients, error * np.abs(self._coefficients)


def _with_turns(circuit: ParameterizedCircuit) -> ParameterizedCircuit:
    turns = ParameterVector("turn", 2 * circuit.n_qubits)
    result: QuantumCircuit = circuit.quantum_circuit.copy()
    for qubit in range(circuit.n_qubits):
        result.rz(turns[2 * qubit + 1], qubit)
        result.ry(turns[2 * qubit], qubit)
    return ParameterizedCircuit(result, (*circuit.inputs, *turns), circuit.weights)
