"""Devices by name, cut down to the qubits in use: a 133-qubit noise model costs more than the physics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.providers import BackendV2, Options
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import PassManager, Target

from qworkbench.engines.mitigation import fold
from qworkbench.engines.runners import Read
from qworkbench.errors import require, unknown_name


def fake_device(name: str) -> BackendV2:
    """A snapshot of an IBM device by its short name: ``torino`` or ``fake_torino``.

    Raises:
        MissingExtraError: If qiskit-ibm-runtime is absent.
        ValueError: If the name is unknown, with the nearest ones.
    """
    provider = require("qiskit_ibm_runtime.fake_provider", "ibm", f"the device model {name!r}")
    wanted = re.sub(r"^fake_?|_?v2$", "", name.lower())
    classes = {}
    for attribute in dir(provider):
        if attribute.startswith("Fake") and not attribute.startswith("FakeProvider"):
            short = attribute.removeprefix("Fake").removesuffix("V2").lower()
            # Where two generations exist, the name without V2 is the retired BackendV1.
            if short not in classes or attribute.endswith("V2"):
                classes[short] = attribute
    if wanted not in classes:
        raise unknown_name("device", wanted, classes)
    device: BackendV2 = getattr(provider, classes[wanted])()
    return device


def generic_device(n_qubits: str) -> BackendV2:
    """A made-up device of any width with plausible errors and all-to-all coupling, for tests of one's own.

    The device is the same each time; the seed of a URI is that of shots.

    Raises:
        ValueError: If ``n_qubits`` is no number of qubits.
    """
    if not n_qubits.isdigit() or int(n_qubits) < 2:
        raise ValueError(f"expected generic:N with a number of qubits of at least 2, got {n_qubits!r}")
    return GenericBackendV2(int(n_qubits), noise_info=True, seed=0)


def simulator_target(simulator: BackendV2, n_qubits: int, max_width: int | None = None) -> Target:
    """The gates that an ``AerSimulator`` takes, but for those whose angles it does not bind.

    With ``max_width``, only named gates on at most that many qubits.

    Aer runs a controlled rotation with a bound parameter at angle 0, without a word (qiskit-aer issues 2323, 2403).
    Its own target ends at the width of a state vector, whatever the method.
    """
    known = {**get_standard_gate_name_mapping(), "unitary": UnitaryGate(np.eye(2))}
    names = {"measure", *simulator.operation_names} & set(known) - {"cp", "crx", "cry", "crz", "cu", "cu1", "cu3"}
    result = Target(num_qubits=n_qubits)
    if max_width is not None:
        names = {name for name in names - {"unitary"} if known[name].num_qubits <= max_width}
    for name in sorted(names):
        result.add_instruction(known[name], None, name=name)
    return result


class _Cut(BackendV2):
    """A target with nothing behind it, in the shape that ``NoiseModel.from_backend`` reads."""

    def __init__(self, target: Target) -> None:
        super().__init__(name="cut")
        self._target = target

    @property
    def target(self) -> Target:
        return self._target

    @property
    def max_circuits(self) -> None:
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: Any, **options: Any) -> Any:
        raise TypeError("this backend only carries a target")


def depolarizing_noise(target: Target, probability: float) -> Any:
    """Aer's noise model in which every gate of ``target`` depolarises its one or two qubits.

    Args:
        target: The gates.
        probability: Of replacing the state of a gate's qubits by the completely mixed one; no readout error.
    """
    from qiskit_aer.noise import NoiseModel, depolarizing_error

    model = NoiseModel()
    for name in target.operation_names:
        if name != "measure":
            width = target.operation_from_name(name).num_qubits
            model.add_all_qubit_quantum_error(depolarizing_error(probability, width), name)
    return model


def placed(circuit: QuantumCircuit, device: BackendV2, manager: PassManager) -> tuple[QuantumCircuit, list[int]]:
    """The circuit in the device's gates, and the physical qubit where each of its qubits ends.

    Raises:
        ValueError: If the device has fewer qubits.
    """
    if device.num_qubits is not None and circuit.num_qubits > device.num_qubits:
        raise ValueError(f"expected at most {device.num_qubits} qubits on {device.name}, got {circuit.num_qubits}")
    done = manager.run(circuit)
    return done, final_places(done, circuit.num_qubits)


def final_places(done: QuantumCircuit, n_qubits: int) -> list[int]:
    """Where each of the ``n_qubits`` qubits of a circuit is at the end of what a transpiler made of it."""
    return list(range(n_qubits)) if done.layout is None else list(done.layout.final_index_layout())


def finished(base: QuantumCircuit, place: Sequence[int], read: Read, basis: PassManager | None) -> QuantumCircuit:
    """A placed circuit with its noise scaled, its basis change and its measurement; the layout stays as it is.

    Args:
        base: In the device's own gates.
        place: Where its qubits are.
        read: What is read at the end.
        basis: To the device's own gates, without any optimisation; None if every gate is one.
    """
    unitary = base.copy_empty_like()
    if read.kind != "readout":
        unitary = fold(base, read.scale, None if basis is None else basis.run)
    if not read.sampled or read.change is None:
        return unitary.copy()
    ending = QuantumCircuit(base.num_qubits, len(place))
    ending.compose(read.change, place, inplace=True)
    if basis is not None:
        ending = basis.run(ending)
    ending.measure(place, range(len(place)))
    result = QuantumCircuit(base.num_qubits, len(place))
    result.compose(unitary, range(base.num_qubits), inplace=True)
    result.compose(ending, range(base.num_qubits), range(len(place)), inplace=True)
    return result


def used_qubits(circuits: Sequence[QuantumCircuit]) -> list[int]:
    """The physical qubits that some instruction touches, ascending."""
    return sorted({c.find_bit(q).index for c in circuits for i in c.data for q in i.qubits if i.name != "barrier"})


def cut_circuit(circuit: QuantumCircuit, qubits: Sequence[int]) -> QuantumCircuit:
    """The circuit on ``qubits`` alone, renumbered from 0."""
    place = {qubit: i for i, qubit in enumerate(qubits)}
    result = QuantumCircuit(len(qubits), circuit.num_clbits)
    for instruction in circuit.data:
        if instruction.name != "barrier":
            where = [place[circuit.find_bit(q).index] for q in instruction.qubits]
            result.append(instruction.operation, where, [circuit.find_bit(c).index for c in instruction.clbits])
    return result


def cut_noise(target: Target, qubits: Sequence[int]) -> Any:
    """Aer's noise model of ``qubits`` alone, renumbered from 0."""
    from qiskit_aer.noise import NoiseModel

    place = {qubit: i for i, qubit in enumerate(qubits)}
    properties = target.qubit_properties
    small = Target(
        num_qubits=len(qubits),
        dt=target.dt,
        qubit_properties=None if properties is None else [properties[q] for q in qubits],
    )
    for name in target.operation_names:
        known = target[name]
        if known is None or None in known:
            continue
        kept = {tuple(place[q] for q in key): value for key, value in known.items() if set(key) <= set(place)}
        if kept:
            small.add_instruction(target.operation_from_name(name), kept, name=name)
    return NoiseModel.from_backend(_Cut(small))
