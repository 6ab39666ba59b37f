"""Compile once: circuits for a device's gates, kept in memory and on disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from pathlib import Path

import qiskit
from qiskit import qasm3, qpy
from qiskit.circuit import QuantumCircuit
from qiskit.transpiler import PassManager, Target, generate_preset_pass_manager

TRANSPILER_SEED = 20119
CACHE_VARIABLE = "QWORKBENCH_CACHE"
_memory: dict[str, QuantumCircuit] = {}


def circuit_text(circuit: QuantumCircuit) -> str:
    """OpenQASM 3 of a circuit: the same for circuits that are built alike, which their QPY bytes are not."""
    return str(qasm3.dumps(circuit))


def fingerprint(target: Target) -> str:
    """Hash of a target's gates and coupling; calibration data are left out, so a run keeps its layout."""
    gates = sorted((name, sorted(map(str, target[name] or {}))) for name in target.operation_names)
    return hashlib.sha256(repr((target.num_qubits, gates)).encode()).hexdigest()


def compile_circuit(circuit: QuantumCircuit, target: Target, level: int = 1) -> QuantumCircuit:
    """A circuit in a target's gates and layout, from the cache if it was compiled before.

    What follows a circuit (folds, basis changes, measurements) is added afterwards, so the cache knows none of it.

    Args:
        circuit: The circuit.
        target: The device.
        level: Qiskit's optimisation level.

    Raises:
        ValueError: If the device has too few qubits.
    """
    if target.num_qubits is not None and circuit.num_qubits > target.num_qubits:
        raise ValueError(f"expected at most {target.num_qubits} qubits, got a circuit of {circuit.num_qubits}")
    parts = (circuit_text(circuit), fingerprint(target), str(level), str(TRANSPILER_SEED), qiskit.__version__)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    if key not in _memory:
        stored = _read(key)
        if stored is None:
            stored = pass_manager(target, level).run(circuit)
            _write(key, stored)
        _memory[key] = stored
    return _memory[key]


def pass_manager(target: Target, level: int) -> PassManager:
    """Qiskit's preset at a level, with the seed that all remote circuits are compiled with."""
    return generate_preset_pass_manager(level, target=target, seed_transpiler=TRANSPILER_SEED)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get(CACHE_VARIABLE) or Path(base) / "qworkbench" / "circuits")


def _read(key: str) -> QuantumCircuit | None:
    try:
        data = (_folder() / f"{key}.qpy").read_bytes()
    except OSError:
        return None
    try:
        (circuit,) = qpy.load(io.BytesIO(data))
        return circuit
    except Exception:  # a damaged file is as good as none: QPY raises whatever it stumbles upon
        return None


def _write(key: str, circuit: QuantumCircuit) -> None:
    body = io.BytesIO()
    qpy.dump(circuit, body)
    # A cache that cannot be written is no reason to stop.
    with contextlib.suppress(OSError):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(body.getvalue())
        Path(file.name).replace(folder / f"{key}.qpy")
