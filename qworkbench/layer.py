"""The torch bridge: a quantum circuit as ``torch.nn.Module``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp
from torch import nn

from circuits import ParameterizedCircuit
from qworkbench.backend import Backend
from qworkbench.engines.base import (
    GRADIENTS,
    DifferentiableProgram,
    Engine,
    Expectation,
    Program,
    Usage,
    check_finite,
    check_observables,
)
from qworkbench.engines.registry import open_engine
from qworkbench.errors import NotFiniteError, unknown_name
from qworkbench.lowering import Angles, lower


class _Expectation(torch.autograd.Function):
    """Expectation values whose gradient is the program's own; only the parts that torch asks for are computed."""

    @staticmethod
    def forward(ctx: Any, shared: torch.Tensor, per_sample: torch.Tensor, program: Program) -> torch.Tensor:
        ctx.save_for_backward(shared, per_sample)
        ctx.program = program
        return program.run(Angles(shared, per_sample)).mean

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        shared, per_sample = ctx.saved_tensors
        with full_precision(shared.device):
            return (*_Expectation._gradient(ctx, shared, per_sample, cotangent), None)

    @staticmethod
    def _gradient(
        ctx: Any, shared: torch.Tensor, per_sample: torch.Tensor, cotangent: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[1])
        if not torch.is_grad_enabled():
            gradient = ctx.program.vjp(Angles(shared, per_sample), cotangent, needs)
        elif isinstance(ctx.program, DifferentiableProgram):
            # create_graph=True: this gradient will itself be differentiated, so torch needs every operation.
            wanted = [t for t, need in zip((shared, per_sample), needs, strict=True) if need]
            mean = ctx.program.expectation(Angles(shared, per_sample))
            found = iter(torch.autograd.grad(mean, wanted, cotangent, create_graph=True, allow_unused=True))
            gradient = Angles(*(next(found) if need else None for need in needs))  # type: ignore[arg-type]
        else:
            raise RuntimeError(
                "second derivatives need an exact program, which this backend or gradient method is not; "
                "train on 'statevector' with gradient='adjoint'"
            )
        return gradient.shared if needs[0] else None, gradient.per_sample if needs[1] else None


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """A context without autocast: angles of half precision are coarse, and no engine has states of it."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


class QuantumLayer(nn.Module):
    """A parameterized circuit as a layer: ``(B, n_inputs) -> (B, n_observables)``.

    The output has the input's dtype; float32 inputs are simulated in single precision by the exact engine. The
    ``state_dict`` holds the weights alone, so it moves between backends.

    Args:
        circuit: The circuit.
        observables: What is measured, each on the circuit's qubits.
        backend: A backend URI, a ``Backend`` or a live Qiskit object; see ``open_engine``.
        gradient: ``auto`` (adjoint where the backend has it, else parameter-shift), ``adjoint``,
            ``parameter-shift`` or ``spsa``.
        generator: Source of the initial weights, uniform in ``[-pi, pi)``; torch's own by default.
        dtype: Of the weights; torch's default if not given.

    Raises:
        ValueError: If an observable does not fit, or the backend or gradient method is unknown.
        CircuitTooLargeError: If the circuit does not fit into memory.
    """

    def __init__(
        self,
        circuit: ParameterizedCircuit,
        observables: Sequence[SparsePauliOp],
        backend: Any = "statevector",
        *,
        gradient: str = "auto",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if gradient not in GRADIENTS:
            raise unknown_name("gradient method", gradient, GRADIENTS)
        self.circuit, self.gradient = circuit, gradient
        self.backend = Backend.parse(backend) if isinstance(backend, str) else backend
        self._lowered = lower(circuit)
        self.observables = check_observables(observables, circuit.n_qubits)
        dtype = dtype or torch.get_default_dtype()
        start = torch.rand(circuit.n_weights, generator=generator, dtype=dtype)
        self.weights = nn.Parameter((2 * start - 1) * math.pi)
        self._live: tuple[Engine, Program] | None = None
        self._spent, self._reopened = Usage(), 0
        self._sampling: Backend | None = None
        self._open()

    def _open(self) -> tuple[Engine, Program]:
        """The engine and the compiled circuit; a copy or a loaded layer opens them when it first needs them."""
        if self._live is None:
            engine = open_engine(self._sampling or self.backend)
            self._live = engine, engine.compile(self._lowered, self.observables, self.gradient)
        return self._live

    @property
    def n_inputs(self) -> int:
        """Number of features taken."""
        return self.circuit.n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of observables given."""
        return len(self.observables)

    @property
    def usage(self) -> dict[str, int]:
        """What the engine has run for this layer: circuits, submissions, transpilations, shots."""
        total = replace(self._spent)
        if self._live is not None:
            total.add(**self._live[0].usage.as_dict())
        return total.as_dict()

    @property
    def shots(self) -> int | None:
        """Shots a circuit; None if the backend is exact, or a live object that keeps them to itself."""
        described = self._sampling or self.backend
        return getattr(self._open()[0], "shots", described.shots if isinstance(described, Backend) else None)

    def set_shots(self, shots: int) -> None:
        """Take another number of shots a circuit from now on; nothing is compiled anew where the engine can change it.

        Raises:
            ValueError: If ``shots`` is not positive, or the backend does not sample.
        """
        if shots < 1:
            raise ValueError(f"expected shots of at least 1, got {shots}")
        if self.shots is None:
            raise ValueError(f"expected a backend with shots, got {str(self.backend)!r}")
        engine: Any = self._open()[0]
        if shots == self.shots:
            return
        if hasattr(engine, "shots"):
            engine.shots = shots
            return
        self._spent.add(**engine.usage.as_dict())
        self._reopened += 1
        # The root seed again would repeat the shot noise that the old engine began with.
        root = self.backend.seed
        seed = None if root is None else int(np.random.SeedSequence([root, self._reopened]).generate_state(1)[0])
        self._sampling, self._live = replace(self.backend, shots=shots, seed=seed), None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Expectation values of shape ``(B, n_observables)``.

        Args:
            inputs: Shape ``(B, n_inputs)``, floating.

        Raises:
            TypeError: If the inputs are not floating.
            ValueError: If the shape is wrong, or an input or weight is not finite.
        """
        try:
            with full_precision(self.weights.device):
                angles, program = self._angles(inputs)
                mean: torch.Tensor = _Expectation.apply(angles.shared, angles.per_sample, program)
        except NotFiniteError:
            raise self._named(inputs) from None
        return mean if mean.dtype == inputs.dtype else mean.to(inputs.dtype)

    def estimate(self, inputs: torch.Tensor) -> Expectation:
        """Expectation values with their standard errors, each ``(B, n_observables)``; no gradient."""
        try:
            with torch.no_grad(), full_precision(self.weights.device):
                angles, program = self._angles(inputs)
                return program.run(angles)
        except NotFiniteError:
            raise self._named(inputs) from None

    def _named(self, inputs: torch.Tensor) -> NotFiniteError:
        """The error about angles, by the name of what made them so."""
        named = (("inputs", inputs), ("weights", self.weights))
        return NotFiniteError(next((name for name, values in named if not torch.isfinite(values).all()), "angles"))

    def _angles(self, inputs: torch.Tensor) -> tuple[Angles, Program]:
        """Angles, finite unless the program looks itself, and the program."""
        if not torch.is_tensor(inputs) or not inputs.is_floating_point():
            kind = inputs.dtype if torch.is_tensor(inputs) else type(inputs).__name__
            raise TypeError(f"expected a floating torch tensor, got {kind}")
        if inputs.dim() != 2 or inputs.shape[1] != self.n_inputs:
            raise ValueError(f"expected inputs of shape (B, {self.n_inputs}), got {tuple(inputs.shape)}")
        compute = torch.float32 if inputs.dtype in (torch.float32, torch.float16, torch.bfloat16) else torch.float64
        angles, program = self._lowered.angles(inputs.to(compute), self.weights.to(compute)), self._open()[1]
        if not getattr(program, "refuses_not_finite", False):
            check_finite(angles)
        return angles, program

    def with_backend(self, backend: Any, *, gradient: str = "auto") -> QuantumLayer:
        """The same circuit and a copy of the weights on another backend."""
        # A generator of its own: weights that are thrown away must not advance torch's global one.
        start = torch.Generator().manual_seed(0)
        dtype = self.weights.dtype
        other = QuantumLayer(self.circuit, self.observables, backend, gradient=gradient, generator=start, dtype=dtype)
        other.load_state_dict(self.state_dict())
        return other.to(self.weights.device)

    def __getstate__(self) -> dict[str, Any]:
        # Live engines hold simulators and sessions; the description opens them again.
        return {**self.__dict__, "_live": None}

    def extra_repr(self) -> str:
        """What ``print(layer)`` shows."""
        where = f"backend={str(self.backend)!r}, gradient={self.gradient!r}"
        return f"{self.circuit!r}, n_outputs={self.n_outputs}, {where}"
