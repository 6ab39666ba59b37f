"""Qiskit Aer: shots, device noise, matrix product states, and exact values through the same circuits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.transpiler import PassManager, Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator

from qworkbench.backend import MITIGATION, Backend
from qworkbench.engines.base import Usage, check_memory
from qworkbench.engines.devices import (
    cut_circuit,
    cut_noise,
    depolarizing_noise,
    fake_device,
    finished,
    generic_device,
    placed,
    simulator_target,
    used_qubits,
)
from qworkbench.engines.mitigation import Mitigation
from qworkbench.engines.mps import sites_of
from qworkbench.engines.runners import CircuitEngine, Read, Run
from qworkbench.errors import unknown_name

OPTIONS = (
    "device",
    "matrix_product_state_max_bond_dimension",
    "matrix_product_state_truncation_threshold",
    "max_parallel_threads",
    "method",
    "noise",
    "optimization_level",
    "precision",
    *MITIGATION,
)
DEPOLARIZING, GENERIC = "depolarizing:", "generic:"
"""Values of ``noise`` beside the names of snapshots start so."""
TRANSPILER_SEED = 20119
DENSE_METHODS = {"automatic": False, "statevector": False, "density_matrix": True}
"""Methods whose memory grows as ``2**n`` (False) or ``4**n`` (True)."""


def aer_engine(backend: Backend) -> CircuitEngine:
    """``aer``, ``aer?noise=fake_torino&shots=4096``, ``ibm-fake:torino``, ``generic:5``.

    ``noise`` takes a device (``fake_torino``, ``generic:5``), or ``depolarizing:P`` for noise of every gate; ``device``
    takes one for its gates and coupling map alone, without errors. Mitigation: see ``Mitigation.of``. Without shots the
    expectation values are exact: of the pure state, or with noise of the density matrix. Exact noisy values hold the
    gates' errors but no readout error, which is an error of counts; with shots it is included.

    Raises:
        ValueError: If an option, a method or a device is unknown.
    """
    mitigation = Mitigation.of(backend)
    return CircuitEngine(AerRunner(backend), backend.shots, backend.seed, backend.name, mitigation)


def _among(backend: Backend, key: str, known: Sequence[str]) -> str:
    """An option's value, by default the first of the known ones."""
    value = backend.option(key, known[0]) or known[0]
    if value not in known:
        raise ValueError(f"expected {key} among {', '.join(sorted(known))}, got {value!r}")
    return value


def _whole(backend: Backend, key: str, default: int) -> int:
    value = backend.option(key, str(default)) or ""
    if not value.isdigit():
        raise ValueError(f"expected a whole number of at least 0 for {key}, got {value!r}")
    return int(value)


def _truncation(backend: Backend) -> dict[str, Any]:
    """Bounds on a matrix product state; by default Aer cuts nothing but rounding (1e-16)."""
    found: dict[str, Any] = {}
    if backend.option("matrix_product_state_max_bond_dimension") is not None:
        found["matrix_product_state_max_bond_dimension"] = _whole(backend, "matrix_product_state_max_bond_dimension", 0)
    threshold = backend.option("matrix_product_state_truncation_threshold")
    if threshold is not None:
        try:
            found["matrix_product_state_truncation_threshold"] = float(threshold)
        except ValueError:
            raise ValueError(f"expected a number for the truncation threshold, got {threshold!r}") from None
    return found


def _device(backend: Backend) -> BackendV2 | None:
    if backend.name == "generic":
        return generic_device(backend.target or "")
    if backend.name == "ibm-fake":
        if backend.target is None:
            raise ValueError("expected ibm-fake:NAME, for instance ibm-fake:torino")
        return fake_device(backend.target)
    name = backend.option("device") or backend.option("noise")
    if name is None or name.startswith(DEPOLARIZING):
        return None
    return generic_device(name.removeprefix(GENERIC)) if name.startswith(GENERIC) else fake_device(name)


def _probability(backend: Backend) -> float | None:
    """Of depolarisation, if the backend has that noise."""
    noise = backend.option("noise") or ""
    if not noise.startswith(DEPOLARIZING):
        return None
    try:
        probability = float(noise.removeprefix(DEPOLARIZING))
    except ValueError:
        probability = -1.0
    if not 0 <= probability <= 1:
        raise ValueError(f"expected noise={DEPOLARIZING}P with a probability P, got {noise!r}")
    return probability


class AerRunner:
    """Runs circuits on an ``AerSimulator``, ideal or as a device on just the qubits in use."""

    mitigates = frozenset({"fold", "readout"})

    def __init__(self, backend: Backend) -> None:
        _check_options(backend)
        self.usage = Usage()
        self._device, self._depolarizing = _device(backend), _probability(backend)
        self._noiseless = backend.option("device") is not None
        self._noise: dict[tuple[int, ...], Any] = {}
        if self._device is not None:
            level = _among(backend, "optimization_level", ("1", "0", "2", "3"))
            self._place, self._basis = (
                generate_preset_pass_manager(k, target=self._device.target, seed_transpiler=TRANSPILER_SEED)
                for k in (int(level), 0)
            )
        noisy = self._depolarizing is not None or (self._device is not None and not self._noiseless)
        self._method = backend.option("method", "density_matrix" if noisy else "automatic") or ""
        if self._method not in AerSimulator().available_methods():
            raise unknown_name("Aer method", self._method, AerSimulator().available_methods())
        self._settings: dict[str, Any] = {
            "method": self._method,
            "precision": _among(backend, "precision", ("double", "single")),
            "max_parallel_threads": _whole(backend, "max_parallel_threads", 0),
        }
        self._settings |= _truncation(backend)
        reads = {"expectation", "probabilities", "zeros"}
        if self._device is None and not noisy and self._method in ("automatic", "statevector"):
            reads.add("statevector")
        if self._device is None and not noisy and self._method == "matrix_product_state":
            reads.add("matrix_product_state")
        if noisy and self._method != "density_matrix":
            # Such a method runs one random trajectory, which is no expectation value.
            reads.clear()
        self.exact_reads = frozenset(reads)

    def prepare(self, circuit: QuantumCircuit, slots: Sequence[Parameter], reads: Sequence[Read]) -> Run:
        """See ``Runner``."""
        self.usage.add(transpilations=1)
        if self._device is None:
            circuits, place, noise = self._native(circuit, reads)
        else:
            circuits, place, noise = self._on_device(circuit, reads, self._device)
        for read, ready in zip(reads, circuits, strict=True):
            _save(ready, place, read)
        return _AerRun(AerSimulator(noise_model=noise, **self._settings), circuits, slots, reads)

    def _native(self, circuit: QuantumCircuit, reads: Sequence[Read]) -> tuple[list[QuantumCircuit], list[int], Any]:
        """Circuits in Aer's own gates, where their qubits are, and the noise."""
        self._check_memory(circuit.num_qubits)
        width = None if self._depolarizing is None else 2
        base = _native_manager(self._method, circuit.num_qubits, width).run(circuit)
        noise = None
        if self._depolarizing is not None:
            noise = depolarizing_noise(_native_target(self._method, circuit.num_qubits, width), self._depolarizing)
        place = list(range(circuit.num_qubits))
        return [finished(base, place, read, None) for read in reads], place, noise

    def _on_device(
        self, circuit: QuantumCircuit, reads: Sequence[Read], device: BackendV2
    ) -> tuple[list[QuantumCircuit], list[int], Any]:
        """The same in the device's gates, on the qubits in use alone."""
        base, place = placed(circuit, device, self._place)
        circuits = [finished(base, place, read, self._basis) for read in reads]
        qubits = tuple(sorted({*used_qubits(circuits), *place}))
        self._check_memory(len(qubits))
        if qubits not in self._noise:
            self._noise[qubits] = None if self._noiseless else cut_noise(device.target, qubits)
        return [cut_circuit(c, qubits) for c in circuits], [qubits.index(q) for q in place], self._noise[qubits]

    def _check_memory(self, n_qubits: int) -> None:
        if self._method in DENSE_METHODS:
            check_memory(n_qubits, 1, 16, density_matrix=DENSE_METHODS[self._method])


def _check_options(backend: Backend) -> None:
    for key, _ in backend.options:
        if key not in OPTIONS:
            raise unknown_name(f"option of {backend.name}", key, (*OPTIONS, "seed", "shots"))
    if backend.name == "aer" and backend.target is not None:
        raise ValueError(f"expected 'aer' without a target, got {str(backend)!r}")
    named = [key for key in ("device", "noise") if backend.option(key) is not None]
    if backend.name != "aer" and named:
        raise ValueError(f"{backend.name} has its own noise; expected no option {named[0]!r}, got {str(backend)!r}")
    if len(named) > 1:
        raise ValueError(f"expected either device (without errors) or noise (with them), got {str(backend)!r}")


@cache
def _native_target(method: str, n_qubits: int, max_width: int | None) -> Target:
    return simulator_target(AerSimulator(method=method), n_qubits, max_width)


@cache
def _native_manager(method: str, n_qubits: int, max_width: int | None) -> PassManager:
    """To gates that Aer runs as they are; nothing is optimised away."""
    return generate_preset_pass_manager(0, target=_native_target(method, n_qubits, max_width))


def _save(circuit: QuantumCircuit, place: Sequence[int], read: Read) -> None:
    if read.kind == "expectation":
        for k, observable in enumerate(read.observables):
            circuit.save_expectation_value(observable, place, label=f"value_{k}")
    elif read.kind == "zeros" and len(place) == circuit.num_qubits:
        circuit.save_amplitudes_squared([0], label="zeros")
    elif read.kind == "zeros":
        circuit.save_probabilities(place, label="zeros")
    elif read.kind == "probabilities":
        circuit.save_probabilities(place, label="probabilities")
    elif read.kind == "statevector":
        circuit.save_statevector(label="statevector")
    elif read.kind == "matrix_product_state":
        circuit.save_matrix_product_state(label="matrix_product_state")


class _AerRun:
    """One ``AerSimulator.run`` with parameter bindings a call."""

    def __init__(
        self,
        simulator: AerSimulator,
        circuits: Sequence[QuantumCircuit],
        slots: Sequence[Parameter],
        reads: Sequence[Read],
    ) -> None:
        self._simulator, self._circuits, self._reads = simulator, list(circuits), list(reads)
        self._columns = [[(p, k) for k, p in enumerate(slots) if p in c.parameters] for c in self._circuits]

    def __call__(self, values: np.ndarray, shots: int | None, seed: int) -> list[list[Any]]:
        n_rows = len(values)
        circuits: list[QuantumCircuit] = []
        binds: list[dict[Parameter, list[float]]] = []
        for circuit, columns in zip(self._circuits, self._columns, strict=True):
            # Without parameters Aer runs a circuit once, whatever the number of rows.
            repeats = 1 if columns else n_rows
            circuits += [circuit] * repeats
            binds += [{p: values[:, k].tolist() for p, k in columns}] * repeats
        options = {"parameter_binds": binds} if any(binds) else {}
        result = self._simulator.run(circuits, shots=shots or 1, seed_simulator=seed, **options).result()
        if not result.success:
            raise RuntimeError(f"Aer failed: {result.status}")
        data = [result.data(k) for k in range(n_rows * len(self._circuits))]
        return [
            [_reading(entry, read) for entry in data[k * n_rows : (k + 1) * n_rows]]
            for k, read in enumerate(self._reads)
        ]


def _reading(data: dict[str, Any], read: Read) -> Any:
    if read.sampled:
        return {int(outcome, 16): count for outcome, count in data["counts"].items()}
    if read.kind == "expectation":
        return [float(np.real(data[f"value_{k}"])) for k in range(len(read.observables))]
    if read.kind == "zeros":
        probability = float(data["zeros"][0])
        return {0: probability, 1: 1 - probability}
    if read.kind == "matrix_product_state":
        return sites_of(data[read.kind])
    return np.asarray(data[read.kind])
