"""Fitted estimators to a JSON tree and a table of arrays."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from qiskit import qpy
from qiskit.quantum_info import SparsePauliOp
from sklearn.base import BaseEstimator
from torch import nn

from circuits import ParameterizedCircuit
from qworkbench.backend import Backend
from qworkbench.bundle.classes import MODULES, class_name, read_circuit, refusal
from qworkbench.layer import QuantumLayer
from qworkbench.models.hybrid import HybridClassifier

_DRESSED = ("trunk", None, "head")
"""Which part of a ``HybridClassifier``'s network is the user's, if the user gave one."""


class Writer:
    """Values to a JSON tree; arrays aside, under the path of the attribute that holds them."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def node(self, value: Any, where: str) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$": "float", "value": repr(value)}
        if type(value) is list:
            return [self.node(item, f"{where}.{i}") for i, item in enumerate(value)]
        for kind, tag, describe in _WRITERS:
            if isinstance(value, kind):
                return {"$": tag, **describe(self, value, where)}
        raise refusal(value, where)

    def mapping(self, value: dict[Any, Any], where: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise refusal(value, where)
        pairs = [[self.node(k, f"{where} key"), self.node(v, f"{where}.{k}")] for k, v in value.items()]
        return {"items": pairs}

    def sequence(self, value: tuple[Any, ...], where: str) -> dict[str, Any]:
        if type(value) is not tuple:
            raise refusal(value, where)
        return {"items": self.node(list(value), where)}

    def array(self, value: np.ndarray, where: str) -> dict[str, Any]:
        if value.dtype.kind == "O":
            return {"shape": list(value.shape), "objects": self.node(value.ravel().tolist(), where)}
        if value.dtype.kind == "U":
            return {"shape": list(value.shape), "dtype": value.dtype.str, "text": value.ravel().tolist()}
        if value.dtype.kind not in "biufc":
            raise refusal(value.dtype, where)
        # The layout is kept: BLAS may round differently for another one.
        transposed = value.flags.f_contiguous and not value.flags.c_contiguous
        plain = np.array(value.T if transposed else value, order="C")
        if plain.dtype.kind == "c":
            plain = plain[..., None].view(plain.real.dtype)
        key = where if where not in self.arrays else f"{where} {len(self.arrays)}"
        self.arrays[key] = plain
        return {"key": key, "complex": value.dtype.kind == "c", "transposed": transposed}

    def estimator(self, value: BaseEstimator, where: str) -> dict[str, Any]:
        name = class_name(value)
        if name is None:
            raise refusal(value, where)
        params = value.get_params(deep=False)
        described = {k: self._parameter(k, v, f"{where}.{k}") for k, v in params.items()}
        state = {k: v for k, v in vars(value).items() if k not in params}
        network = state.pop("module_", None) if isinstance(value, HybridClassifier) else None
        kept = {key: self.node(item, f"{where}.{key}") for key, item in state.items()}
        if network is not None:
            kept["module_"] = self._dressed(value, network, f"{where}.module_")
        return {"class": name, "params": described, "state": kept}

    def _parameter(self, name: str, value: Any, where: str) -> Any:
        live = name == "backend" and not isinstance(value, str | Backend)
        # Qiskit's operators are callable too, but they are data.
        code = isinstance(value, nn.Module) or (callable(value) and not isinstance(value, SparsePauliOp))
        if live or code:
            return {"$": "given", "name": name}
        return self.node(value, where)

    def _dressed(self, model: HybridClassifier, network: nn.Module, where: str) -> dict[str, Any]:
        layer = next(part for part in network.children() if isinstance(part, QuantumLayer))
        n_classes = len(model.classes_)
        shapes = {"trunk": (model.n_features_in_, layer.n_inputs), "head": (layer.n_outputs, n_classes)}
        parts: list[Any] = []
        for name, part in zip(_DRESSED, network.children(), strict=True):
            if name is None or getattr(model, name) is None:
                parts.append(self.node(part, f"{where}.{name}"))
            else:
                weights = {k: v.detach().numpy() for k, v in part.state_dict().items()}
                described = self.node(weights, f"{where}.{name}")
                parts.append({"$": "given module", "name": name, "shape": shapes[name], "weights": described})
        return {"$": "network", "parts": parts}

    def module(self, value: nn.Module, where: str) -> dict[str, Any]:
        name = type(value).__name__
        if MODULES.get(name, (None,))[0] is not type(value):
            raise refusal(value, where)
        own = value.named_parameters(recurse=False)
        return {
            "class": name,
            "settings": {key: self.node(getattr(value, key), where) for key in MODULES[name][1]},
            "tensors": {key: self.node(tensor, f"{where}.{key}") for key, tensor in own},
            "children": {key: self.node(child, f"{where}.{key}") for key, child in value.named_children()},
        }

    def layer(self, value: QuantumLayer, where: str) -> dict[str, Any]:
        return {
            "circuit": self.node(value.circuit, f"{where}.circuit"),
            "observables": self.node(value.observables, f"{where}.observables"),
            "gradient": value.gradient,
            "weights": self.node(value.weights, f"{where}.weights"),
        }

    def circuit(self, value: ParameterizedCircuit, where: str) -> dict[str, Any]:
        stream = io.BytesIO()
        qpy.dump(value.quantum_circuit, stream)
        written = stream.getvalue()
        if read_circuit(written) != value.quantum_circuit:
            raise TypeError(
                f"{where}: the circuit is not the same after Qiskit's QPY format; decompose gates of your own"
            )
        names = {"inputs": [p.name for p in value.inputs], "weights": [p.name for p in value.weights]}
        return names | {"qpy": self.node(np.frombuffer(written, dtype=np.uint8), f"{where}.qpy")}

    def observable(self, value: SparsePauliOp, where: str) -> dict[str, Any]:
        return {"paulis": value.paulis.to_labels(), "coeffs": self.node(value.coeffs, f"{where}.coeffs")}


_WRITERS: list[tuple[Any, str, Callable[[Writer, Any, str], dict[str, Any]]]] = [
    (dict, "dict", Writer.mapping),
    (tuple, "tuple", Writer.sequence),
    (np.ndarray, "array", Writer.array),
    (np.generic, "scalar", lambda writer, value, where: {"value": writer.node(np.asarray(value), where)}),
    (np.dtype, "dtype", lambda writer, value, where: {"value": value.str}),
    (torch.Tensor, "tensor", lambda w, value, where: {"value": w.node(value.detach().cpu().numpy(), where)}),
    (Backend, "backend", lambda writer, value, where: {"value": str(value)}),
    (ParameterizedCircuit, "circuit", Writer.circuit),
    (SparsePauliOp, "observable", Writer.observable),
    (QuantumLayer, "quantum layer", Writer.layer),
    (nn.Module, "module", Writer.module),
    (BaseEstimator, "estimator", Writer.estimator),
]
