"""Contract suites that ship with the library.

A new engine is tested by two lines: ``from qworkbench.testing import check_engine`` and
``check_engine("name:target?shots=1024&seed=1")``.
"""

from qworkbench.testing.circuits import random_circuit
from qworkbench.testing.engines import ENGINE_CHECKS, check_engine
from qworkbench.testing.statistics import assert_within_sigma

__all__ = ["ENGINE_CHECKS", "assert_within_sigma", "check_engine", "random_circuit"]
