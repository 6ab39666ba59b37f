"""Set before anything heavy loads: one thread, no screen, and the same examples in every run."""

from __future__ import annotations

import os

from hypothesis import settings

# Read by torch, BLAS and Aer when they load; the workers of pytest-xdist already share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# HYPOTHESIS_PROFILE=search looks for new examples; the default repeats the same ones, without a clock.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
