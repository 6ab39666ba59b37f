"""What every engine promises. Torch tensors in and out; angles in radians; Qiskit's bit order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import psutil
import torch
from qiskit.quantum_info import SparsePauliOp

from qworkbench.errors import CircuitTooLargeError, NotFiniteError
from qworkbench.lowering import Angles, LoweredCircuit

ALWAYS_FITS = 2**26
"""Bytes below which the machine is not asked for its free memory."""
GRADIENTS = ("auto", "adjoint", "parameter-shift", "spsa")


class Expectation(NamedTuple):
    """Expectation values and their standard errors, both of shape ``(N, O)``; an exact error is 0."""

    mean: torch.Tensor
    std_error: torch.Tensor


class Program(Protocol):
    """A compiled circuit with its observables."""

    def run(self, angles: Angles) -> Expectation:
        """Expectation values of a batch: one submission.

        Angles are finite, unless the program has an attribute ``refuses_not_finite`` that is true: then it raises
        ``NotFiniteError`` if one is not.
        """
        ...

    def vjp(self, angles: Angles, cotangent: torch.Tensor, needs: tuple[bool, bool] = (True, True)) -> Angles:
        """The gradient of ``(cotangent * mean).sum()`` with respect to the angles: one submission.

        Args:
            angles: The point.
            cotangent: Shape ``(N, O)``.
            needs: Whether the shared and the per-sample part are wanted; a part that is not comes back as zeros.
        """
        ...


@runtime_checkable
class DifferentiableProgram(Protocol):
    """A program whose forward pass torch can differentiate by itself, to any order."""

    def expectation(self, angles: Angles) -> torch.Tensor:
        """Means of shape ``(N, O)`` with a torch graph."""
        ...


def check_finite(angles: Angles) -> None:
    """Refuse angles that are NaN or infinite.

    Raises:
        NotFiniteError: If there is one.
    """
    if angles.per_sample.is_meta:  # shapes without numbers
        return
    # One sum finds them; that it may overflow by itself is looked into before anything is said.
    total = float(angles.shared.detach().sum() + angles.per_sample.detach().sum())
    if not (math.isfinite(total) or all(torch.isfinite(part).all() for part in angles)):
        raise NotFiniteError


class Sampler(Protocol):
    """A compiled circuit whose computational basis is measured."""

    def probabilities(self, angles: Angles) -> Expectation:
        """Probabilities of all ``2**n`` basis states, shape ``(N, 2**n)``, bit ``q`` of the index is qubit ``q``."""
        ...


class Overlap(Protocol):
    """A compiled circuit whose states are compared.

    One that has ``noiseless = True`` compares states, so that each sample's fidelity with itself is 1.
    """

    def fidelities(self, x: Angles, y: Angles | None = None, repeats: np.ndarray | None = None) -> Expectation:
        """``|<state(x_i)|state(y_j)>|**2`` of shape ``(N, M)``; without ``y`` the symmetric Gram matrix of ``x``.

        Args:
            x: ``N`` samples.
            y: ``M`` samples.
            repeats: How many times the backend's shots each entry gets, whole numbers of shape ``(N, M)``; entries
                with 0 come back as NaN. Of a symmetric matrix the upper half counts. Exact backends that compare
                states ignore it; those that run a circuit a pair run it once where the number is not 0.
        """
        ...


@dataclass
class Usage:
    """What an engine has run so far."""

    circuits: int = 0
    """Circuit executions: one a bound circuit; an adjoint gradient of a sample counts one."""
    submissions: int = 0
    transpilations: int = 0
    shots: int = 0

    def add(self, *, circuits: int = 0, submissions: int = 0, transpilations: int = 0, shots: int = 0) -> None:
        """Count a piece of work."""
        self.circuits += circuits
        self.submissions += submissions
        self.transpilations += transpilations
        self.shots += shots

    def as_dict(self) -> dict[str, int]:
        """The counters as a plain dictionary."""
        return asdict(self)


class Engine(Protocol):
    """A live execution target; a context manager, since some hold sessions."""

    usage: Usage

    def compile(self, circuit: LoweredCircuit, observables: Sequence[SparsePauliOp], gradient: str = "auto") -> Program:
        """Prepare expectation values; nothing costly happens after this."""
        ...

    def compile_sampler(self, circuit: LoweredCircuit) -> Sampler:
        """Prepare basis-state probabilities."""
        ...

    def compile_overlap(self, circuit: LoweredCircuit) -> Overlap:
        """Prepare fidelities between states of the circuit."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NothingToClose:
    """A context manager for engines without a session."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def check_observables(observables: Sequence[SparsePauliOp], n_qubits: int) -> tuple[SparsePauliOp, ...]:
    """The observables as a tuple.

    Raises:
        TypeError: If one is no ``SparsePauliOp``.
        ValueError: If there is none, or one has another width or is not Hermitian.
    """
    result = (observables,) if isinstance(observables, SparsePauliOp) else tuple(observables)
    if not result:
        raise ValueError("expected at least one observable, got none")
    for observable in result:
        if not isinstance(observable, SparsePauliOp):
            raise TypeError(f"expected observables as SparsePauliOp, got {type(observable).__name__}")
        if observable.num_qubits != n_qubits:
            raise ValueError(f"expected observables on {n_qubits} qubits, got one on {observable.num_qubits}")
        if observable.coeffs.dtype == object:
            raise ValueError("expected numbers as Pauli coefficients, got parameters")
        if not np.allclose(np.imag(observable.coeffs), 0) or not np.isfinite(observable.coeffs).all():
            raise ValueError(f"expected real, finite Pauli coefficients, got {observable.coeffs}")
    return result


def check_gradient(gradient: str, native: Sequence[str]) -> None:
    """Refuse a gradient method that an engine does not offer.

    Raises:
        ValueError: If ``gradient`` is unknown, or not among ``native``, ``parameter-shift`` and ``spsa``.
    """
    offered = {"auto", "parameter-shift", "spsa", *native}
    if gradient not in offered:
        raise ValueError(f"expected a gradient method among {sorted(offered)}, got {gradient!r}")


def check_memory(n_qubits: int, n_states: float, bytes_per_amplitude: int, *, density_matrix: bool = False) -> None:
    """Refuse a simulation that does not fit, before anything is allocated.

    Args:
        n_qubits: Width of the circuit.
        n_states: How many state vectors (or density matrices) are held at a time.
        bytes_per_amplitude: 16 for complex128, 8 for complex64.
        density_matrix: Whether a state has ``4**n`` entries.

    Raises:
        CircuitTooLargeError: With the needed and the available memory in GiB.
    """
    size = 2.0 ** (2 * n_qubits if density_matrix else n_qubits)
    needed = size * n_states * bytes_per_amplitude
    if needed < ALWAYS_FITS:
        return
    available = float(psutil.virtual_memory().available)
    if needed > available:
        raise CircuitTooLargeError(
            f"{n_qubits} qubits need {needed / 2**30:.3g} GiB for {n_states:g} "
            f"{'density matrices' if density_matrix else 'state vectors'}, but {available / 2**30:.3g} GiB are "
            "available; use fewer qubits or 'aer?method=matrix_product_state'"
        )
