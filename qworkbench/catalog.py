"""What a row of the model tables says: how to build a model, and where to search for its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelEntry:
    """A model that ``compare``, ``train`` and ``detect`` know by name."""

    factory: Callable[[int], Any]
    """Seed -> unfitted scikit-learn estimator."""
    task: str
    """``"classification"``, ``"regression"`` or ``"anomaly"``."""
    summary: str
    """One line for ``qworkbench models``."""
    space: dict[str, Any] = field(default_factory=dict)
    """Search space in scikit-learn's ``ParameterSampler`` form: name -> list or scipy distribution."""
    quantum: bool = False
    """Whether the model runs circuits (it then takes ``backend=``)."""
    extra: str | None = None
    """The extra that installs what the model needs; such a model takes part only where it is named."""
