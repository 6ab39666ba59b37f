"""Engines by name. A vendor is imported only when a URI names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from qworkbench.backend import Backend
from qworkbench.engines.base import Engine
from qworkbench.errors import unknown_name


@dataclass(frozen=True)
class EngineEntry:
    """A row of the table of engines."""

    factory: str
    """``module:function``, called with the ``Backend``."""
    summary: str
    example: str
    requires: str | None = None
    """Module of an optional package, if one is needed."""
    extra: str | None = None
    """The extra of this project that installs it."""


ENGINES: dict[str, EngineEntry] = {
    "statevector": EngineEntry(
        "qworkbench.engines.statevector:StatevectorEngine",
        "our exact engine: batched, adjoint gradients; with shots it samples",
        "statevector",
    ),
    "aer": EngineEntry(
        "qworkbench.engines.aer:aer_engine",
        "Qiskit Aer: exact, shots, noise=DEVICE (needs the ibm extra) or depolarizing:P, mitigation=readout,zne",
        "aer?noise=fake_torino&shots=4096&seed=7",
    ),
    "pennylane": EngineEntry(
        "qworkbench.engines.pennylane:PennyLaneEngine",
        "any PennyLane device, with its adjoint gradient where it has one",
        "pennylane:lightning.qubit",
        "pennylane",
    ),
    "ibm-fake": EngineEntry(
        "qworkbench.engines.aer:aer_engine",
        "a snapshot of an IBM device, simulated with its noise and coupling map",
        "ibm-fake:torino?shots=4096",
        "qiskit_ibm_runtime",
        "ibm",
    ),
    "generic": EngineEntry(
        "qworkbench.engines.aer:aer_engine",
        "a made-up noisy device of any width",
        "generic:5?shots=1024&seed=1",
    ),
    "ibm": EngineEntry(
        "qworkbench.engines.remote:remote_engine",
        "a real IBM quantum computer; needs an account and a budget",
        "ibm:ibm_torino?shots=4096&budget=5",
        "qiskit_ibm_runtime",
        "ibm",
    ),
    "braket": EngineEntry(
        "qworkbench.engines.remote:remote_engine",
        "Amazon Braket's devices by ARN, and its simulator sv1; needs an account and a budget",
        "braket:sv1?shots=1000&budget=5",
        "qiskit_braket_provider",
        "braket",
    ),
    "braket-local": EngineEntry(
        "qworkbench.engines.remote:remote_engine",
        "Amazon Braket's simulators on this machine: sv or dm",
        "braket-local:sv?shots=1000",
        "qiskit_braket_provider",
        "braket",
    ),
    "ionq": EngineEntry(
        "qworkbench.engines.remote:remote_engine",
        "IonQ's simulator and its trapped-ion computers; needs an account, and a budget for the latter",
        "ionq:simulator?shots=1000",
        "qiskit_ionq",
        "ionq",
    ),
    "worker": EngineEntry(
        "qworkbench.engines.remote:remote_engine",
        "devices of IQM, AQT, Alice & Bob in an environment of their own; qworkbench workers create iqm",
        "worker:iqm/iqm-fake:adonis?shots=1000",
    ),
}
"""Name -> engine."""


REMOTE = "qworkbench.engines.remote:remote_engine"


def is_remote(name: str) -> bool:
    """Whether a name stands for an adapter to a vendor: ours, or one that another package brings."""
    if name in ENGINES:
        return ENGINES[name].factory == REMOTE
    from qworkbench.cloud.registry import installed_adapters

    return name in installed_adapters()


def open_engine(backend: Any) -> Engine:
    """Open the engine that a backend describes.

    Args:
        backend: A URI, a ``Backend``, a Qiskit ``BackendV2``, a V2 sampler or estimator, a pair of them
            ``(estimator, sampler)``, or an engine, which comes back as it is.

    Raises:
        ValueError: If the name is unknown, with the nearest ones.
        MissingExtraError: If the engine needs a package that is not installed.
        TypeError: If ``backend`` is none of these.
    """
    if isinstance(backend, str | Backend):
        described = Backend.parse(backend)
        if described.name not in ENGINES and not is_remote(described.name):
            raise unknown_name("backend", described.name, ENGINES)
        entry = ENGINES.get(described.name)
        module, _, function = (REMOTE if entry is None else entry.factory).partition(":")
        factory: Callable[[Backend], Engine] = getattr(import_module(module), function)
        return factory(described)
    if hasattr(backend, "compile_overlap"):
        engine: Engine = backend
        return engine
    from qworkbench.engines.primitives import wrap

    return wrap(backend)
