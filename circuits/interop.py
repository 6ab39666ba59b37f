"""Circuits from elsewhere: Qiskit objects and OpenQASM 2 and 3 text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from qiskit import qasm2, qasm3
from qiskit.circuit import Parameter, ParameterVectorElement, QuantumCircuit

from circuits.circuit import ParameterizedCircuit

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_INPUT = re.compile(r"\binput\s+\w+(?:\[\d+\])?\s+(\w+)\s*;")
MAX_BYTES = 1_000_000
MAX_REGISTER_BITS = 4096

Names: TypeAlias = str | Parameter | Iterable[str | Parameter]
"""Parameters, a ParameterVector, their names, or the name of a whole vector such as ``"x"``."""


def from_qiskit(
    quantum_circuit: QuantumCircuit, inputs: Names | None = None, weights: Names | None = None
) -> ParameterizedCircuit:
    """A Qiskit circuit with its parameters split into data and trainable ones.

    A name stands for the parameter of that name, or for all of a vector: ``"x"`` means ``x[0], x[1], ...``
    and likewise ``x0, x1, ...`` or ``x_0, x_1, ...``, in the order of their numbers. If only one of
    ``inputs`` and ``weights`` is given, the other gets the remaining parameters in natural order (``w[2]``
    before ``w[10]``). Final measurements are dropped; the given circuit is not changed.

    Args:
        quantum_circuit: The circuit.
        inputs: The data, in feature order; ``()`` for none.
        weights: The trainable parameters, in order; ``()`` for none.

    Raises:
        TypeError: If the circuit is not a QuantumCircuit.
        ValueError: If a name is unknown, the split is ambiguous or incomplete, or the circuit is not unitary.
    """
    if not isinstance(quantum_circuit, QuantumCircuit):
        raise TypeError(f"expected a qiskit QuantumCircuit, got {type(quantum_circuit).__name__}")
    circuit = quantum_circuit.remove_final_measurements(inplace=False)
    known = sorted(circuit.parameters, key=_natural)
    if known and inputs is None and weights is None:
        raise ValueError(
            "expected inputs= (data) or weights= (trainable) to say which parameter is which; "
            f"the circuit has {[p.name for p in known]}"
        )
    data = None if inputs is None else _resolve(inputs, known)
    trainable = None if weights is None else _resolve(weights, known)
    if data is None:
        data = [p for p in known if p not in (trainable or [])]
    if trainable is None:
        trainable = [p for p in known if p not in data]
    return ParameterizedCircuit(circuit, tuple(data), tuple(trainable))


def from_qasm(source: str | Path, inputs: Names | None = None, weights: Names | None = None) -> ParameterizedCircuit:
    """An OpenQASM 2 or 3 program as a circuit.

    OpenQASM 3 names its parameters (``input float[64] x0;``); they are split as in ``from_qiskit``. All
    angles of OpenQASM 2 are constants. The text is checked before it is parsed, so a foreign file can neither
    read other files nor ask for a huge register.

    Args:
        source: The program's text, or the path of a file.
        inputs: The data, in feature order.
        weights: The trainable parameters, in order.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImportError: If OpenQASM 3 is read without the package ``qiskit_qasm3_import``.
        ValueError: If the program is too large, includes other files, is not valid, or is not unitary.
    """
    text = _read(source)
    version = _check_program(text)
    circuit = _parse2(text) if version == 2 else _parse3(text)
    _check_finite(circuit, set())
    return from_qiskit(circuit, inputs, weights)


def declared_inputs(source: str | Path) -> list[str]:
    """Names of an OpenQASM 3 program's inputs, in the order of their declaration; Qiskit's is by name, x10 before x2.

    Args:
        source: The program's text, or the path of a file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the program is too large.
    """
    return _INPUT.findall(_COMMENT.sub(" ", _read(source)))


def _resolve(wanted: Names, known: list[Parameter]) -> list[Parameter]:
    items = [wanted] if isinstance(wanted, str | Parameter) else list(wanted)
    found: list[Parameter] = []
    for item in items:
        found += [item] if isinstance(item, Parameter) else _by_name(str(item), known)
    return found


def _by_name(name: str, known: list[Parameter]) -> list[Parameter]:
    exact = [p for p in known if p.name == name]
    found = exact or [p for p in known if re.fullmatch(re.escape(name) + r"(\[\d+\]|_?\d+)", p.name)]
    if not found:
        raise ValueError(f"no parameter is called {name!r}; the circuit has {[p.name for p in known]}")
    return found


def _natural(parameter: Parameter) -> tuple[tuple[int, int | str], ...]:
    if isinstance(parameter, ParameterVectorElement):
        return (1, parameter.vector.name), (0, parameter.index)
    pieces = re.split(r"(\d+)", parameter.name)
    return tuple((0, int(piece)) if piece.isdigit() else (1, piece.rstrip("[_")) for piece in pieces if piece)


def _read(source: str | Path) -> str:
    if isinstance(source, str) and (";" in source or "\n" in source):
        size, text = len(source.encode()), source
    else:
        path = Path(source)
        size = path.stat().st_size
        text = "" if size > MAX_BYTES else path.read_text(encoding="utf-8")
    if size > MAX_BYTES:
        raise ValueError(f"expected an OpenQASM program of at most {MAX_BYTES:,} bytes, got {size:,}")
    return text


def _check_program(text: str) -> int:
    """Refuse what a parser should never see; return the OpenQASM version."""
    code = _COMMENT.sub(" ", text)
    header = re.match(r"\s*OPENQASM\s+([23])(\.\d+)?\s*;", code)
    if header is None:
        raise ValueError(f"expected a program that begins with OPENQASM 2.0; or 3.0; got {code.strip()[:40]!r}")
    n_includes = len(re.findall(r"\binclude\b", code))
    if n_includes != len(re.findall(r"\binclude\s*\"(?:qelib1|stdgates)\.inc\"\s*;", code)):
        raise ValueError('expected no include but "qelib1.inc" and "stdgates.inc"')
    sizes = re.findall(r"\b[qc]reg\s+\w+\s*\[\s*(\d+)\s*\]|\b(?:qubit|bit)\s*\[\s*(\d+)\s*\]", code)
    if len(sizes) != len(re.findall(r"\b[qc]reg\b[^;]*\[|\b(?:qubit|bit)\s*\[", code)):
        raise ValueError("expected every register size as a plain whole number")
    n_bits = sum(int(a or b) for a, b in sizes)
    if n_bits > MAX_REGISTER_BITS:
        raise ValueError(f"expected registers of at most {MAX_REGISTER_BITS} bits in all, got {n_bits}")
    return int(header.group(1))


def _check_finite(circuit: QuantumCircuit, seen: set[tuple[str, str]]) -> None:
    """Refuse angles such as ``2^99999``, also within the program's own gates; each gate is opened once."""
    for instruction in circuit.data:
        gate = instruction.operation
        if any(isinstance(angle, float) and not math.isfinite(angle) for angle in gate.params):
            raise ValueError(f"expected finite angles, got {gate.params} in gate {gate.name!r}")
        key = (gate.name, str(gate.params))
        if key not in seen and not gate.base_class.__module__.startswith("qiskit.circuit.library"):
            seen.add(key)
            if isinstance(gate.definition, QuantumCircuit):
                _check_finite(gate.definition, seen)


def _parse2(text: str) -> QuantumCircuit:
    try:
        return qasm2.loads(text, include_path=(), custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
    except Exception as error:
        raise ValueError(f"not a valid OpenQASM 2 program: {error}") from error
    except BaseException as error:
        # A panic of Qiskit's Rust parser is no Exception, and its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"not a valid OpenQASM 2 program: {error}") from None


def _parse3(text: str) -> QuantumCircuit:
    try:
        return qasm3.loads(text)
    except ImportError as error:
        raise ImportError(
            "reading OpenQASM 3 needs the package 'qiskit_qasm3_import': pip install 'qworkbench[qasm3]'"
        ) from error
    except Exception as error:
        raise ValueError(f"not a valid OpenQASM 3 program: {error}") from error
