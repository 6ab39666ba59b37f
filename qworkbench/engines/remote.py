"""Vendors as engines: the journal, the budget and the compile cache under the same contract as a simulator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from qiskit.circuit import Parameter, QuantumCircuit

from qworkbench.backend import Backend
from qworkbench.cloud.adapter import Adapter, Batch, Counts
from qworkbench.cloud.compiling import circuit_text, compile_circuit, pass_manager
from qworkbench.cloud.dispatch import Dispatcher, patiently
from qworkbench.cloud.errors import BudgetError
from qworkbench.cloud.journal import Journal
from qworkbench.cloud.prices import tariff
from qworkbench.cloud.registry import open_adapter
from qworkbench.cloud.secrets import mask_logs
from qworkbench.cloud.settings import (
    DEFAULT_SHOTS,
    MEMORY,
    Settings,
    identity,
    key_identity,
    optimization_level,
    read_settings,
)
from qworkbench.engines.base import Usage
from qworkbench.engines.devices import final_places, finished
from qworkbench.engines.mitigation import Mitigation
from qworkbench.engines.runners import CircuitEngine, Read, Run


def remote_engine(backend: Backend) -> CircuitEngine:
    """``ibm:ibm_torino?shots=4096&budget=5``, ``braket:sv1``, ``ionq:simulator``, ``worker:NAME/iqm-fake:adonis``.

    Opening connects to nobody; compiling the first circuit does. Without shots it takes 1,024. Mitigation: see
    ``Mitigation.of``.

    Raises:
        BudgetError: If the vendor charges and the backend has no budget.
        ValueError: If an option or a target is unknown, or the vendor would undo the mitigation.
        MissingExtraError: If the vendor's package is not installed.
    """
    mask_logs()
    mitigation = Mitigation.of(backend)
    adapter = open_adapter(backend)
    check_mitigation(backend, mitigation, adapter)
    settings = read_settings(backend, remote=adapter.remote)
    prices = tariff(backend)
    free = prices is not None and prices.usd(1, 1) == 0
    if adapter.billable and not free and settings.budget == 0:
        raise BudgetError(
            f"{backend.name} charges for jobs, and no budget was given: add --budget USD, or budget=USD to the URI "
            "(qworkbench plan shows beforehand what a training will cost)"
        )
    if adapter.billable and settings.journal == MEMORY:
        raise ValueError(f"{backend.name} charges for jobs, so its journal must outlive this process: name a file")
    shots = backend.shots or DEFAULT_SHOTS
    check_shots(backend, adapter, shots)
    runner = RemoteRunner(adapter, backend, settings)
    return CircuitEngine(runner, shots, backend.seed or 0, backend.name, mitigation)


def check_shots(backend: Backend, adapter: Adapter, shots: int) -> None:
    """Refuse more shots than the vendor takes.

    Raises:
        ValueError: If there are more.
    """
    if adapter.limits.shots is not None and shots > adapter.limits.shots:
        raise ValueError(f"expected at most {adapter.limits.shots} shots on {backend.name}, got {shots}")


def mitigates(adapter: Adapter) -> frozenset[str]:
    """What a vendor's way to run circuits leaves possible: ``fold``, ``readout``."""
    return frozenset(getattr(adapter, "mitigates", ()))


def check_mitigation(backend: Backend, mitigation: Mitigation, adapter: Adapter) -> None:
    """Refuse mitigation that a vendor's compiler would undo.

    Raises:
        ValueError: If it would.
    """
    if impossible := mitigation.needs - mitigates(adapter):
        raise ValueError(
            f"{backend} cannot do what the mitigation needs ({', '.join(sorted(impossible))}): the other side compiles "
            "what it is sent, which cancels folded gates and may move qubits away from their calibration"
        )


class RemoteRunner:
    """A ``Runner`` whose every call is one job, or as few as the vendor's limits allow."""

    exact_reads: frozenset[str] = frozenset()

    def __init__(self, adapter: Adapter, backend: Backend, settings: Settings) -> None:
        self.usage = Usage()
        self.mitigates = mitigates(adapter)
        self._adapter, self._backend, self._settings = adapter, backend, settings
        self._level = optimization_level(backend)
        self._dispatcher: Dispatcher | None = None

    @property
    def largest_submission(self) -> int | None:
        """See ``CircuitEngine``."""
        return self._adapter.limits.executions

    def _dispatch(self, batches: Sequence[tuple[str, Batch]]) -> list[Counts]:
        if self._dispatcher is None:
            journal = Journal(self._settings.journal)
            prices = tariff(self._backend)
            self._dispatcher = Dispatcher(self._adapter, identity(self._backend), self._settings, journal, prices)
        return self._dispatcher.run(batches)

    def prepare(self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]) -> Run:
        """See ``Runner``."""
        text = "\n".join(_described(circuit, read) for read in reads)
        compiled = self._compiled(circuit, reads)

        def run(values: np.ndarray, shots: int | None, seed: int) -> list[list[Any]]:
            assert shots is not None
            check_shots(self._backend, self._adapter, shots)
            batch = Batch(tuple(compiled), tuple(slot.name for slot in slots), values, shots, seed)
            pieces = list(batch.pieces(self.largest_submission))
            self.usage.add(submissions=len(pieces) - 1)
            found = self._dispatch([(self._key(text, piece, part), part) for *piece, part in pieces])
            counts: Counts = [[{}] * len(values) for _ in reads]
            for (circuits, rows, _), part in zip(pieces, found, strict=True):
                for row_counts, read in zip(part, range(len(reads))[circuits], strict=True):
                    counts[read][rows] = row_counts
            return counts

        return run

    def _compiled(self, circuit: QuantumCircuit, reads: Sequence[Read]) -> list[QuantumCircuit]:
        """The circuit compiled once, and with each read's fold, basis change and measurement on the same qubits."""
        self.usage.add(transpilations=1)
        target = patiently(self._adapter.target) if reads else None
        if target is None:
            return [_measured(circuit, read) for read in reads]
        base = compile_circuit(circuit, target, self._level)
        place, basis = final_places(base, circuit.num_qubits), pass_manager(target, 0)
        return [finished(base, place, read, basis) for read in reads]

    def _key(self, text: str, piece: Sequence[slice], batch: Batch) -> str:
        """Hash of what defines a job's result: the circuits as we meant them, wherever the device puts them."""
        digest = hashlib.sha256(f"{key_identity(self._backend)}\n{text}\n{piece[0]}\n{batch.shots}\n".encode())
        digest.update(repr(batch.parameters).encode() + np.ascontiguousarray(batch.values).tobytes())
        return digest.hexdigest()


def _measured(circuit: QuantumCircuit, read: Read) -> QuantumCircuit:
    """A read as it was meant, before any compilation."""
    full = QuantumCircuit(circuit.num_qubits, circuit.num_qubits)
    if read.kind != "readout":
        full.compose(circuit, inplace=True)
    if read.change is not None:
        full.compose(read.change, inplace=True)
    full.measure(range(circuit.num_qubits), range(circuit.num_qubits))
    return full


def _described(circuit: QuantumCircuit, read: Read) -> str:
    """The same as text, for the key of its job."""
    return circuit_text(_measured(circuit, read)) + (f"\nnoise scale {read.scale}" if read.scale != 1 else "")
