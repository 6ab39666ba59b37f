"""Measurements as records in a run directory."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qworkbench.runs import PACKAGES, RunRecord, versions

KIND = "benchmark"
PEERS = ("jax", "tensorcircuit-ng", "qulacs", "qiskit-machine-learning")


def record(benchmark: str, spec: Mapping[str, Any], metrics: Mapping[str, float | None], **info: Any) -> RunRecord:
    """One measurement; a later one with the same ``spec`` takes its place.

    Args:
        benchmark: What was measured.
        spec: On what.
        metrics: Name to number.
        **info: More to keep.
    """
    about = {
        "machine": machine_name(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "versions": versions((*PACKAGES, *PEERS)),
    }
    return RunRecord(KIND, {"benchmark": benchmark, **spec}, metrics, about | info)


def machine_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
