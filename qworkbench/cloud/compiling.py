"""Compile once: circuits for a device's gates, kept in memory and on disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import qiskit
from qiskit import qasm3, qpy
from qiskit.circuit import QuantumCircuit
from qiskit.transpiler import Target, generate_preset_pass_manager

TRANSPILER_SEED = 20119
CACHE_VARIABLE = "QWORKBENCH_CACHE"
_memory: dict[str, list[QuantumCircuit]] = {}


def circuit_text(circuits: Sequence[QuantumCircuit]) -> str:
    """OpenQASM 3 of the circuits: the same for circuits that are built alike, which their QPY bytes are not."""
    return "\n".join(qasm3.dumps(circuit) for circuit in circuits)


def fingerprint(target: Target) -> str:
    """Hash of a target's gates and coupling; calibration data are left out, so a run keeps its layout."""
    gates = sorted((name, sorted(map(str, target[name] or {}))) for name in target.operation_names)
    return hashlib.sha256(repr((target.num_qubits, gates)).encode()).hexdigest()


def compile_circuits(circuits: Sequence[QuantumCircuit], target: Target, level: int = 1) -> list[QuantumCircuit]:
    """Measured circuits in a target's gates, all with the first one's layout.

    Args:
        circuits: At least one, all of the same width.
        target: The device.
        level: Qiskit's optimisation level.

    Raises:
        ValueError: If the device has too few qubits.
    """
    width = circuits[0].num_qubits
    if target.num_qubits is not None and width > target.num_qubits:
        raise ValueError(f"expected at most {target.num_qubits} qubits, got a circuit of {width}")
    parts = (circuit_text(circuits), fingerprint(target), str(level), str(TRANSPILER_SEED), qiskit.__version__)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    if key not in _memory:
        stored = _read(key)
        if stored is None:
            stored = _compile(circuits, target, level)
            _write(key, stored)
        _memory[key] = stored
    return _memory[key]


def _compile(circuits: Sequence[QuantumCircuit], target: Target, level: int) -> list[QuantumCircuit]:
    first = _manager(target, level, None).run(circuits[0])
    layout = None if first.layout is None else first.layout.initial_index_layout(filter_ancillas=True)
    return [first, *(_manager(target, level, layout).run(circuit) for circuit in circuits[1:])]


def _manager(target: Target, level: int, layout: list[int] | None):  # type: ignore[no-untyped-def]
    return generate_preset_pass_manager(level, target=target, initial_layout=layout, seed_transpiler=TRANSPILER_SEED)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get(CACHE_VARIABLE) or Path(base) / "qworkbench" / "circuits")


def _read(key: str) -> list[QuantumCircuit] | None:
    try:
        data = (_folder() / f"{key}.qpy").read_bytes()
    except OSError:
        return None
    try:
        return list(qpy.load(io.BytesIO(data)))
    except Exception:  # a damaged file is as good as none: QPY raises whatever it stumbles upon
        return None


def _write(key: str, circuits: Sequence[QuantumCircuit]) -> None:
    body = io.BytesIO()
    qpy.dump(list(circuits), body)
    # A cache that cannot be written is no reason to stop.
    with contextlib.suppress(OSError):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(body.getvalue())
        Path(file.name).replace(folder / f"{key}.qpy")
