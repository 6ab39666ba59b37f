"""Statistical assertions: a bound in standard errors, computed from the exact variance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

EXACT = 1e-9
"""Largest deviation of an exact engine in double precision."""
SIGMAS = 5.0
"""Allowed deviation in standard errors: 1 in 1.7 million for a normal number."""


def assert_within_sigma(
    estimate: ArrayLike, exact: ArrayLike, std_error: ArrayLike, sigmas: float = SIGMAS, slack: float = EXACT
) -> None:
    """Assert ``|estimate - exact| <= sigmas * std_error + slack`` everywhere.

    Args:
        estimate: Any shape.
        exact: Same shape, or one that broadcasts.
        std_error: Standard error computed from the exact variance.
        sigmas: Allowed deviation in standard errors.
        slack: Allowed absolute deviation on top, for rounding or for the graininess of counts.

    Raises:
        AssertionError: With the worst deviation.
    """
    values, wanted, error = (np.asarray(v, float) for v in (estimate, exact, std_error))
    excess = np.abs(values - wanted) - sigmas * error - slack
    if excess.size and not excess.max() <= 0:
        worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
        got, want, sigma = (np.broadcast_to(v, excess.shape).flat[worst] for v in (values, wanted, error))
        raise AssertionError(f"expected {want:.6g} within {sigmas:g} x {sigma:.3g} + {slack:.3g}, got {got:.6g}")
