"""Kernels by name: ``projected?n_body=2&outer=matern``, as models and the command line take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from circuits import ParameterizedCircuit
from qworkbench.backend import parse_uri
from qworkbench.errors import unknown_name
from qworkbench.kernels.base import Kernel
from qworkbench.kernels.fidelity import QuantumKernel
from qworkbench.kernels.projected import ProjectedKernel
from qworkbench.kernels.training import LOSSES


@dataclass(frozen=True)
class KernelEntry:
    """A row of the table of kernels."""

    factory: Callable[..., Kernel]
    """Called with circuit, backend, weights and the options."""
    summary: str
    options: dict[str, Callable[[str], Any]]
    """Option -> what reads its value."""


KERNELS: dict[str, KernelEntry] = {
    "fidelity": KernelEntry(
        QuantumKernel,
        "squared overlap of the encoded states",
        {"method": str, "allocation": str, "correction": str},
    ),
    "projected": KernelEntry(
        ProjectedKernel,
        "classical kernel on reduced density matrices",
        {"n_body": int, "outer": str, "gamma": float, "shape": float, "shadows": int},
    ),
}
"""Name -> kernel."""

TRAINING: dict[str, Callable[[str], Any]] = {"train": str, "epochs": int, "batch_size": int, "learning_rate": float}
"""Options of every kernel, for ``train_kernel``."""


@dataclass(frozen=True)
class KernelSpec:
    """A kernel by name with its options, and how it is trained."""

    name: str
    options: dict[str, Any]
    training: dict[str, Any]
    """Arguments of ``train_kernel``; empty if the kernel is not trained."""

    @classmethod
    def parse(cls, text: str) -> KernelSpec:
        """Read ``name[?option=value&...]``; ``train=alignment`` or ``train=svc`` asks for training.

        Raises:
            ValueError: If the name, an option or a value is unknown.
        """
        name, target, given = parse_uri(text)
        if name not in KERNELS or target is not None:
            raise unknown_name("kernel", name if target is None else text, KERNELS)
        readers = KERNELS[name].options | TRAINING
        values: dict[str, Any] = {}
        for key, value in given.items():
            if key not in readers:
                raise unknown_name(f"option of the kernel {name!r}", key, readers)
            try:
                values[key] = readers[key](value)
            except ValueError:
                raise ValueError(f"expected {readers[key].__name__} for {key!r}, got {value!r}") from None
        training = {key: values.pop(key) for key in TRAINING if key in values}
        if training and "train" not in training:
            raise ValueError(f"expected train=alignment or train=svc with {', '.join(training)}, got {text!r}")
        if training and training["train"] not in LOSSES:
            raise unknown_name("loss", training["train"], LOSSES)
        if training:
            training["loss"] = training.pop("train")
        return cls(name, values, training)

    def make(
        self, circuit: ParameterizedCircuit, backend: Any = "statevector", weights: ArrayLike = (), **settings: Any
    ) -> Kernel:
        """The kernel itself, untrained.

        Args:
            circuit: The feature map.
            backend: See ``open_engine``.
            weights: The feature map's weights.
            settings: Further settings of the kernel, such as ``bandwidth``.

        Raises:
            ValueError: If an option does not fit.
        """
        return KERNELS[self.name].factory(circuit, backend, weights, **(self.options | settings))
