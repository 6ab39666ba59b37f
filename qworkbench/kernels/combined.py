"""Sums and products of kernels, which are kernels again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from qworkbench.kernels.base import Kernel, derived_seed, positive


def _children(kernels: Sequence[Kernel]) -> tuple[nn.ModuleList, int]:
    if isinstance(kernels, Kernel) or len(kernels) < 2 or not all(isinstance(kernel, Kernel) for kernel in kernels):
        names = [type(one).__name__ for one in ([kernels] if isinstance(kernels, Kernel) else kernels)]
        raise ValueError(f"expected a list of at least two kernels, got {names}")
    widths = {kernel.n_inputs for kernel in kernels}
    if len(widths) > 1:
        raise ValueError(f"expected kernels of the same number of inputs, got {sorted(widths)}")
    return nn.ModuleList(_independent(kernels)), widths.pop()


def _independent(kernels: Sequence[Kernel]) -> list[Kernel]:
    """The parts; one whose shots would be the random numbers of an earlier part gets a seed of its own."""
    parts: list[Kernel] = []
    taken: set[int] = set()
    for kernel in kernels:
        part = kernel
        if not taken.isdisjoint(kernel.seeds):
            part = kernel.reseeded(derived_seed(max(taken), len(parts)))
        taken |= part.seeds
        parts.append(part)
    return parts


def _parts(kernels: nn.ModuleList) -> Iterator[Kernel]:
    for kernel in kernels:
        assert isinstance(kernel, Kernel)
        yield kernel


class CombinedKernel(Kernel):
    """Several kernels as one. Abstract."""

    kernels: nn.ModuleList

    def keep(self, x: ArrayLike | None) -> None:
        """See ``Kernel``."""
        for kernel in _parts(self.kernels):
            kernel.keep(x)

    @property
    def repeatable(self) -> bool:
        """See ``Kernel``."""
        return all(kernel.repeatable for kernel in _parts(self.kernels))

    @property
    def seeds(self) -> frozenset[int]:
        """See ``Kernel``; of all parts."""
        return frozenset().union(*(kernel.seeds for kernel in _parts(self.kernels)))

    def reseeded(self, seed: int) -> Self:
        """See ``Kernel``."""
        parts = enumerate(_parts(self.kernels))
        other = copy.copy(self)  # the coefficients stay the same object
        modules = [part.reseeded(derived_seed(seed, place)) if part.seeds else part for place, part in parts]
        other._modules = {"kernels": nn.ModuleList(modules)}
        return other

    @property
    def usage(self) -> dict[str, int]:
        """What the engines have run, summed over the parts."""
        total: dict[str, int] = {}
        for kernel in _parts(self.kernels):
            for key, value in kernel.usage.items():
                total[key] = total.get(key, 0) + value
        return total


class SumKernel(CombinedKernel):
    """``sum_k c_k k_k(x, y)`` with trainable positive coefficients.

    Args:
        kernels: At least two, of the same inputs. Of those whose shots have the same seed, all but the first
            are replaced by copies with other seeds, which share their parameters: the same random numbers twice would
            be no independent measurements.
        coefficients: Shape ``(n_kernels,)``; equal ones that sum to 1 by default.

    Raises:
        ValueError: If the kernels or coefficients do not fit.
    """

    def __init__(self, kernels: Sequence[Kernel], coefficients: ArrayLike | None = None) -> None:
        super().__init__()
        self.kernels, self.n_inputs = _children(kernels)
        n = len(kernels)
        start = np.full(n, 1 / n) if coefficients is None else coefficients
        self.log_coefficients = positive("coefficient", start, ((n,),))

    @property
    def coefficients(self) -> np.ndarray:
        """Shape ``(n_kernels,)``."""
        return self.log_coefficients.detach().exp().numpy()

    def with_backend(self, backend: Any) -> Self:
        """See ``Kernel``."""
        return type(self)([kernel.with_backend(backend) for kernel in _parts(self.kernels)], self.coefficients)

    def matrix(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """See ``Kernel``."""
        parts = torch.stack([kernel.matrix(x, y) for kernel in _parts(self.kernels)])
        return torch.tensordot(self.log_coefficients.exp(), parts, dims=1)

    def estimate(self, x: ArrayLike, y: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See ``Kernel``; the parts are measured independently."""
        values, errors = zip(*(kernel.estimate(x, y) for kernel in _parts(self.kernels)), strict=True)
        factors = self.coefficients
        return np.tensordot(factors, values, 1), np.sqrt(np.tensordot(factors**2, np.square(errors), 1))


class ProductKernel(CombinedKernel):
    """``prod_k k_k(x, y)``.

    Args:
        kernels: At least two, of the same inputs; see ``SumKernel``.

    Raises:
        ValueError: If the kernels do not fit.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        super().__init__()
        self.kernels, self.n_inputs = _children(kernels)

    def with_backend(self, backend: Any) -> Self:
        """See ``Kernel``."""
        return type(self)([kernel.with_backend(backend) for kernel in _parts(self.kernels)])

    def matrix(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """See ``Kernel``."""
        return torch.stack([kernel.matrix(x, y) for kernel in _parts(self.kernels)]).prod(0)

    def estimate(self, x: ArrayLike, y: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See ``Kernel``; ``Var(k l) = k**2 t**2 + l**2 s**2 + s**2 t**2`` of independent parts, one after the other.

        Measured ``k**2`` are too large by ``s**2`` on average, which is taken off; the least is what is left at 0.
        """
        first, *others = (kernel.estimate(x, y) for kernel in _parts(self.kernels))
        value, variance = first[0], first[1] ** 2
        for factor, error in others:
            least = variance * error**2
            variance = np.maximum(value**2 * error**2 + factor**2 * variance - least, least)
            value = value * factor
        return value, np.sqrt(variance)
