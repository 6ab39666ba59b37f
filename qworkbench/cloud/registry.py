"""Adapters by name: ours, and those that other packages declare in the entry-point group ``qworkbench.adapters``."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from qworkbench.backend import Backend
from qworkbench.cloud.adapter import Adapter
from qworkbench.errors import unknown_name

GROUP = "qworkbench.adapters"


ADAPTERS: dict[str, str] = {
    "braket": "qworkbench.cloud.braket:BraketAdapter",
    "braket-local": "qworkbench.cloud.braket:BraketLocalAdapter",
    "ibm": "qworkbench.cloud.ibm:IBMAdapter",
    "ionq": "qworkbench.cloud.ionq:IonQAdapter",
    "worker": "qworkbench.cloud.worker:WorkerAdapter",
}
"""Name -> ``module:class``, called with the ``Backend``. Importing one imports the vendor's package, so it waits."""


def installed_adapters() -> list[str]:
    """Names of the adapters that other packages bring."""
    return sorted({entry.name for entry in entry_points(group=GROUP)} - set(ADAPTERS))


def open_adapter(backend: Backend) -> Adapter:
    """The adapter of a backend.

    Raises:
        ValueError: If nobody brings an adapter of this name.
    """
    if backend.name in ADAPTERS:
        module, _, name = ADAPTERS[backend.name].partition(":")
        adapter: Adapter = getattr(import_module(module), name)(backend)
        return adapter
    for found in entry_points(group=GROUP, name=backend.name):
        brought: Adapter = found.load()(backend)
        return brought
    raise unknown_name("adapter", backend.name, [*ADAPTERS, *installed_adapters()])
