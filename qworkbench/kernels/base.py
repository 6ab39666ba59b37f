"""What every kernel is: a torch module that also takes arrays and knows the error of its entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from circuits import ParameterizedCircuit
from qworkbench.backend import Backend


class Kernel(nn.Module):
    """A positive semidefinite function of two samples. Abstract.

    ``kernel(x, y)`` takes arrays and gives an array, or takes tensors and gives a tensor that torch can differentiate
    with respect to the data and the kernel's parameters. ``y`` is ``x`` by default.
    """

    n_inputs: int

    def matrix(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """The kernel matrix ``(N, M)`` with a torch graph.

        Args:
            x: Shape ``(N, n_inputs)``, float64.
            y: Shape ``(M, n_inputs)``.
        """
        raise NotImplementedError

    def estimate(self, x: ArrayLike, y: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The kernel matrix and the standard error of each entry.

        Args:
            x: Shape ``(N, n_inputs)``.
            y: Shape ``(M, n_inputs)``; ``x`` itself by default.

        Returns:
            Two arrays of shape ``(N, M)``, float64; the errors are 0 on exact backends.

        Raises:
            ValueError: If a shape is wrong or a value is not finite.
        """
        raise NotImplementedError

    def with_backend(self, backend: Any) -> Self:
        """The same kernel with a copy of its parameters on another backend; see ``open_engine``.

        Raises:
            NotImplementedError: If the kernel has none; nothing here needs it but scores by shots.
        """
        raise NotImplementedError

    def keep(self, x: ArrayLike | None) -> None:
        """Measure rows that will be compared with others again and again once, and keep what was measured.

        A learner's training rows, say: measured anew in ``predict`` they would have other noise than those it was
        fitted to. Nothing to do for kernels that measure pairs, or nothing. ``state_dict`` has what is kept. After
        a change of weights or bandwidth it is void.

        Args:
            x: Shape ``(N, n_inputs)``; None drops what was kept.
        """

    @property
    def repeatable(self) -> bool:
        """Whether entries between rows that are kept are the same whenever they are asked for."""
        return False

    @property
    def seeds(self) -> frozenset[int]:
        """What the kernel's shots come from; empty if it has none, or was given no seed."""
        return frozenset()

    def reseeded(self, seed: int) -> Self:
        """The same kernel with the same parameters, on an engine of its own whose shots come from another seed.

        Raises:
            NotImplementedError: If it has no ``seeds``.
        """
        raise NotImplementedError

    @property
    def usage(self) -> dict[str, int]:
        """What the engines have run for this kernel: circuits, submissions, transpilations, shots."""
        raise NotImplementedError

    def forward(self, x: Any, y: Any = None) -> Any:
        """The kernel matrix of shape ``(N, M)``: an array of arrays, a tensor (of ``x``'s dtype) of tensors."""
        if torch.is_tensor(x):
            other = None if y is None else self._checked(y)
            return self.matrix(self._checked(x), other).to(x.dtype)
        return self.estimate(x, y)[0]

    def _checked(self, x: Any) -> torch.Tensor:
        if torch.is_complex(x) if torch.is_tensor(x) else np.iscomplexobj(x):
            raise ValueError("expected real data, got complex numbers")
        data = x.double() if torch.is_tensor(x) else torch.from_numpy(np.array(x, dtype=float))
        if data.dim() != 2 or data.shape[1] != self.n_inputs:
            raise ValueError(f"expected data of shape (N, {self.n_inputs}), got {tuple(data.shape)}")
        if not torch.isfinite(data).all():
            raise ValueError("expected finite data, got NaN or infinity")
        return data


def seeds_of_shots(backend: Any) -> frozenset[int]:
    """The seed in the description of a backend with shots; none of exact, unseeded and live ones."""
    described = Backend.parse(backend) if isinstance(backend, str | Backend) else None
    if described is None or described.shots is None or described.seed is None:
        return frozenset()
    return frozenset([described.seed])


def derived_seed(*entropy: int) -> int:
    """A seed that follows from others, whose random numbers do not."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def weight_parameter(circuit: ParameterizedCircuit, weights: ArrayLike) -> nn.Parameter:
    """The weights of a feature map as a parameter.

    Raises:
        ValueError: If their number is wrong or one is not finite.
    """
    values = torch.tensor(np.asarray(weights, dtype=float))
    if values.shape != (circuit.n_weights,) or not torch.isfinite(values).all():
        got = f"shape {tuple(values.shape)}" if values.shape != (circuit.n_weights,) else "NaN or infinity"
        raise ValueError(f"expected {circuit.n_weights} finite weights for the feature map, got {got}")
    return nn.Parameter(values)


def positive(name: str, value: ArrayLike, shapes: Sequence[tuple[int, ...]] = ((),)) -> nn.Parameter:
    """The logarithm of a positive number (or array of one of ``shapes``) as a parameter: it stays positive in training.

    Raises:
        ValueError: If it is not positive and finite, or has another shape.
    """
    values = torch.tensor(np.asarray(value, dtype=float))
    if values.shape not in shapes or not torch.isfinite(values).all() or not (values > 0).all():
        wanted = " or ".join("a number" if not shape else f"shape {shape}" for shape in shapes)
        raise ValueError(f"expected a positive {name} ({wanted}), got {values.tolist()}")
    return nn.Parameter(values.log())


def upper_pairs(n_rows: int, n_columns: int, symmetric: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of each pair to compute: all of them, or the upper half without the diagonal."""
    if symmetric:
        first, second = torch.triu_indices(n_rows, n_rows, 1)
        return first, second
    first, second = torch.meshgrid(torch.arange(n_rows), torch.arange(n_columns), indexing="ij")
    return first.reshape(-1), second.reshape(-1)


def from_pairs(values: torch.Tensor, shape: tuple[int, int], symmetric: bool, diagonal: float) -> torch.Tensor:
    """The matrix of values in the order of ``upper_pairs``; a symmetric one is mirrored around ``diagonal``."""
    if not symmetric:
        return values.reshape(shape)
    first, second = upper_pairs(*shape, True)
    half = values.new_zeros(shape).index_put((first, second), values)
    return half + half.T + diagonal * torch.eye(shape[0], dtype=values.dtype)
