"""A JSON tree and a table of arrays back to estimators."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from sklearn.base import BaseEstimator
from torch import nn

from circuits import ParameterizedCircuit
from qworkbench.backend import Backend
from qworkbench.bundle.classes import MODULES, SINCE, class_of, read_circuit
from qworkbench.errors import unknown_name
from qworkbench.layer import QuantumLayer


class Reader:
    """A JSON tree back to values."""

    def __init__(self, arrays: dict[str, np.ndarray], given: dict[str, Any], schema: int, origin: str) -> None:
        self._arrays, self._given = arrays, given
        self._schema, self._origin = schema, origin
        self.used = {"backend"}
        self._backend: Any = None

    def node(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.node(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value["$"] not in _READERS:
            raise unknown_name("tag in a model file", value["$"], _READERS)
        return _READERS[value["$"]](self, value)

    def given(self, node: dict[str, Any]) -> Any:
        name = node["name"]
        self.used.add(name)
        if name not in self._given:
            raise TypeError(
                f"the model was made with a {name} of your own, which no file holds: load(path, {name}=...)"
            )
        return self._given[name]

    def array(self, node: dict[str, Any]) -> np.ndarray:
        if "objects" in node:
            objects = np.empty(len(node["objects"]), dtype=object)
            objects[:] = self.node(node["objects"])
            return objects.reshape(node["shape"])
        if "text" in node:
            return np.array(node["text"], dtype=node["dtype"]).reshape(node["shape"])
        plain = self._arrays[node["key"]]
        if node["complex"]:
            plain = plain.view(np.result_type(plain.dtype, np.complex64))[..., 0]
        return plain.T if node["transposed"] else plain

    def estimator(self, node: dict[str, Any]) -> BaseEstimator:
        cls = class_of(node["class"])
        since = SINCE.get(node["class"], 1)
        if self._schema < since:
            raise ValueError(
                f"{self._origin}: its {node['class']} has schema {self._schema} and lacks parts of the score that this "
                f"version reads, expected schema {since}: train it again on the same rows and save it, or score with "
                "the version that wrote it"
            )
        params = {key: self.node(value) for key, value in node["params"].items() if key != "backend"}
        if "backend" in node["params"]:
            chosen = self._given.get("backend")
            self._backend = self.node(node["params"]["backend"]) if chosen is None else chosen
            params["backend"] = self._backend
        estimator = cls(**params)
        vars(estimator).update({key: self.node(value) for key, value in node["state"].items()})
        return estimator

    def given_module(self, node: dict[str, Any]) -> nn.Module:
        given = self.given(node)
        module = copy.deepcopy(given) if isinstance(given, nn.Module) else given(*node["shape"])
        weights = {key: torch.as_tensor(value) for key, value in self.node(node["weights"]).items()}
        try:
            module.double().load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"the given {node['name']} does not fit the saved weights: {error}") from error
        return module.eval()

    def module(self, node: dict[str, Any]) -> nn.Module:
        if node["class"] not in MODULES:
            raise unknown_name("torch module in a model file", node["class"], MODULES)
        settings = {key: self.node(value) for key, value in node["settings"].items()}
        module = MODULES[node["class"]][0](**settings)
        for key in [key for key, _ in module.named_parameters(recurse=False)]:
            tensor = self.node(node["tensors"][key]) if key in node["tensors"] else None
            setattr(module, key, None if tensor is None else nn.Parameter(tensor))
        for key, child in node["children"].items():
            module.add_module(key, self.node(child))
        return module.eval()

    def layer(self, node: dict[str, Any]) -> QuantumLayer:
        weights = self.node(node["weights"])
        gradient = node["gradient"] if self._given.get("backend") is None else "auto"
        circuit, observables = self.node(node["circuit"]), self.node(node["observables"])
        layer = QuantumLayer(circuit, observables, self._backend, gradient=gradient, dtype=weights.dtype)
        layer.load_state_dict({"weights": weights})
        return layer.eval()

    def circuit(self, node: dict[str, Any]) -> ParameterizedCircuit:
        quantum_circuit = read_circuit(self.node(node["qpy"]).tobytes())
        known = {p.name: p for p in quantum_circuit.parameters}
        inputs, weights = (
            tuple(known[name] if name in known else Parameter(name) for name in node[kind])
            for kind in ("inputs", "weights")
        )
        return ParameterizedCircuit(quantum_circuit, inputs, weights)


_READERS: dict[str, Callable[[Reader, dict[str, Any]], Any]] = {
    "array": Reader.array,
    "backend": lambda reader, node: Backend.parse(node["value"]),
    "circuit": Reader.circuit,
    "dict": lambda reader, node: {reader.node(k): reader.node(v) for k, v in node["items"]},
    "dtype": lambda reader, node: np.dtype(node["value"]),
    "estimator": Reader.estimator,
    "float": lambda reader, node: float(node["value"]),
    "given": Reader.given,
    "given module": Reader.given_module,
    "module": Reader.module,
    "network": lambda reader, node: nn.Sequential(*(reader.node(part) for part in node["parts"])).eval(),
    "observable": lambda reader, node: SparsePauliOp(node["paulis"], reader.node(node["coeffs"])),
    "quantum layer": Reader.layer,
    "scalar": lambda reader, node: reader.node(node["value"])[()],
    "tensor": lambda reader, node: torch.as_tensor(reader.node(node["value"])),
    "tuple": lambda reader, node: tuple(reader.node(node["items"])),
}
