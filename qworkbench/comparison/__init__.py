"""Fair comparison of models: protocol, tuning, statistics, and what each rung from exact to device costs.

``compare`` is the way in. Importing this package loads nothing heavy; the names below load when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qworkbench.comparison.protocol import Protocol
    from qworkbench.comparison.result import Comparison
    from qworkbench.comparison.run import compare

_HOMES = {
    "Comparison": "qworkbench.comparison.result",
    "Protocol": "qworkbench.comparison.protocol",
    "compare": "qworkbench.comparison.run",
}

__all__ = ["Comparison", "Protocol", "compare"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qworkbench.comparison' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
