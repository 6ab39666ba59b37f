"""What a record's id is made of: plain descriptions of settings, and seeds derived from what they are for."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np


def derive_seed(*parts: Any) -> int:
    """A seed below ``2**31`` that depends on the parts and on nothing else, such as the order of work."""
    text = json.dumps(parts, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def describe(value: Any) -> Any:
    """A JSON value that is the same in every process for equal settings, and differs for different ones.

    Estimators become their class and parameters, arrays and torch modules a digest of their numbers, circuits
    their gates, functions their qualified names and compiled code with what they close over.

    Raises:
        TypeError: If an object cannot be told from another of its class: it has no parameters and no ``repr``.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, np.generic):
        return describe(value.item())
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {value.dtype} {_digest(value)}"
    return _describe_object(value)


def _describe_object(value: Any) -> Any:
    if isinstance(value, type) or not hasattr(value, "get_params"):
        if hasattr(value, "state_dict") and not isinstance(value, type):  # a torch module
            numbers = [np.asarray(tensor.detach().cpu()) for tensor in value.state_dict().values()]
            return [repr(value), _digest(*numbers)]
        if hasattr(value, "quantum_circuit"):
            return _describe_circuit(value)
        if callable(value) and hasattr(value, "__qualname__"):
            return [f"{value.__module__}.{value.__qualname__}", *_describe_code(value)]
        if type(value).__repr__ is object.__repr__:
            raise TypeError(
                f"a {type(value).__name__} cannot be told from another one, so its results cannot be resumed: "
                "give the class a __repr__ that shows its settings"
            )
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    kind = type(value)
    return {"class": f"{kind.__module__}.{kind.__qualname__}"} | describe(value.get_params(deep=False))


def _describe_code(function: Any) -> list[Any]:
    """What a function does, as far as it shows: code, constants, defaults and closed-over values."""
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    constants = [describe(c) if not hasattr(c, "co_code") else c.co_code.hex() for c in code.co_consts]
    cells = [describe(cell.cell_contents) for cell in function.__closure__ or ()]
    parts = [code.co_code.hex(), constants, list(code.co_names), describe(function.__defaults__), cells]
    return [hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]]


def _describe_circuit(circuit: Any) -> list[Any]:
    inner = circuit.quantum_circuit
    gates = [
        [
            gate.operation.name,
            [describe(p) if isinstance(p, np.ndarray) else str(p) for p in gate.operation.params],
            [inner.find_bit(qubit).index for qubit in gate.qubits],
        ]
        for gate in inner.data
    ]
    slots = [[p.name for p in group] for group in (circuit.inputs, circuit.weights)]
    return [circuit.n_qubits, *slots, gates]


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
