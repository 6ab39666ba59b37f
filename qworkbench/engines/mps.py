"""Fidelities of matrix product states: as many simulations as samples, however wide the circuit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from qworkbench.engines.base import Expectation, check_memory
from qworkbench.lowering import Angles

Sites = list[np.ndarray]
"""One tensor a qubit, shape ``(left bond, 2, right bond)``."""


def sites_of(saved: Any) -> Sites:
    """Aer's pair of site matrices and Schmidt values (Vidal's form) as one tensor a qubit."""
    gammas, lambdas = saved
    sites = [np.stack([np.asarray(matrix) for matrix in pair], axis=1) for pair in gammas]
    return [site * lambdas[k] if k < len(lambdas) else site for k, site in enumerate(sites)]


class MPSOverlap:
    """Overlaps by contraction from the first qubit to the last (Schollwoeck 2011, Ann. Phys. 326, 96; section 4.2).

    ``N`` samples are ``N`` simulations; a pair of bond ``D`` then costs ``O(n D**3)``.
    """

    noiseless = True

    def __init__(self, submit: Callable[[torch.Tensor], list[list[Any]]]) -> None:
        self._submit = submit

    def fidelities(self, x: Angles, y: Angles | None = None, repeats: np.ndarray | None = None) -> Expectation:
        """See ``Overlap``; exact, so ``repeats`` change nothing."""
        left = self._states(x)
        right = left if y is None else self._states(y)
        mean = np.zeros((len(left), len(right)))
        stacked = _padded(right)
        for row, state in enumerate(left):
            first = row if y is None else 0
            mean[row, first:] = _overlaps(state, [site[first:] for site in stacked])
            if y is None:
                mean[first:, row] = mean[row, first:]
        values = torch.as_tensor(mean).to(x.per_sample)
        return Expectation(values, torch.zeros_like(values))

    def _states(self, angles: Angles) -> list[Sites]:
        return list(self._submit(angles.rows())[0])


def _padded(states: Sequence[Sites]) -> Sites:
    """The states side by side, shape ``(M, left, 2, right)`` a qubit; smaller bonds are filled up with zeros."""
    if not states:
        return []
    shapes = [np.max([state[k].shape for state in states], axis=0) for k in range(len(states[0]))]
    check_memory(1, len(states) * float(sum(np.prod(shape) for shape in shapes)) / 2, 16)
    stacked = [np.zeros((len(states), *shape), complex) for shape in shapes]
    for row, state in enumerate(states):
        for full, site in zip(stacked, state, strict=True):
            full[row, : site.shape[0], :, : site.shape[2]] = site
    return stacked


def _overlaps(state: Sites, others: Sites) -> np.ndarray:
    """``|<state|other>|**2`` for each of the others, shape ``(M,)``."""
    environment = np.ones((len(others[0]), 1, 1), complex)  # (M, bond of state, bond of other)
    for site, other in zip(state, others, strict=True):
        bond, _, following = site.shape
        turned = site.conj().reshape(bond, -1).T @ environment  # (M, 2 * following, bond of other)
        m, _, inner = turned.shape
        turned = turned.reshape(m, 2, following, inner).transpose(0, 2, 1, 3).reshape(m, following, 2 * inner)
        environment = turned @ other.transpose(0, 2, 1, 3).reshape(m, 2 * inner, -1)
    return np.abs(environment[:, 0, 0]) ** 2
