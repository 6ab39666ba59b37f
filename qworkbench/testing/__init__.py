"""Contract suites that ship with the library.

A new engine is tested by two lines: ``from qworkbench.testing import check_engine`` and
``check_engine("name:target?shots=1024&seed=1")``; a new adapter to a vendor likewise by ``check_adapter``.
"""

from qworkbench.testing.adapters import ADAPTER_CHECKS, check_adapter
from qworkbench.testing.circuits import random_circuit
from qworkbench.testing.engines import ENGINE_CHECKS, check_engine
from qworkbench.testing.statistics import assert_within_sigma

__all__ = [
    "ADAPTER_CHECKS",
    "ENGINE_CHECKS",
    "assert_within_sigma",
    "check_adapter",
    "check_engine",
    "random_circuit",
]
