"""Constant arrays as tensors."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
import torch


class Constants:
    """Makes each constant when it is first needed, once for each precision and device unless torch only traces."""

    def __init__(self) -> None:
        self._found: dict[tuple[Hashable, torch.dtype, torch.device], torch.Tensor] = {}

    def __call__(
        self, key: Hashable, make: Callable[[], np.ndarray], like: torch.Tensor, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """The array of ``make`` on the device of ``like``, in its precision unless ``dtype`` says another."""
        name = (key, dtype or like.dtype, like.device)
        found = self._found.get(name)
        if found is None:
            # Made in inference mode it would be of no use in training. It is copied: it may be a view or read-only.
            with torch.inference_mode(False):
                found = torch.tensor(make()).to(dtype=name[1], device=name[2])
            if type(found) is torch.Tensor:
                self._found[name] = found
        return found
