"""The other side of ``worker:``; run by path in a vendor's own environment, so it imports nothing of ours.

One line of JSON in, one out: first ``{"device": "iqm-fake:adonis"}``, then batches as ``Batch.to_bytes`` in base64.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from qiskit import __version__, qpy, transpile

SEED = 20119


def _iqm_fake(name: str) -> Any:
    from iqm import qiskit_iqm

    return getattr(qiskit_iqm, f"IQMFake{name.capitalize()}")()


def _aqt_offline(name: str) -> Any:
    from qiskit_aqt_provider import AQTProvider

    return getattr(AQTProvider().offline, name)()


def _alice_bob_local(name: str) -> Any:
    from qiskit_alice_bob_provider import AliceBobLocalProvider

    return AliceBobLocalProvider().get_backend(name)


def _aer(name: str) -> Any:
    from qiskit_aer import AerSimulator

    return AerSimulator(method=name or "automatic")


DEVICES: dict[str, Callable[[str], Any]] = {
    "ab-local": _alice_bob_local,
    "aer": _aer,
    "aqt-offline": _aqt_offline,
    "iqm-fake": _iqm_fake,
}
BOUND_FIRST = ("ab-local", "aqt-offline")
"""Devices whose compiler takes no parameters: it decides by the angles."""


class Worker:
    """A device, and the circuits that it has compiled."""

    def __init__(self, device: str) -> None:
        self.kind, _, name = device.partition(":")
        self.backend = DEVICES[self.kind](name)
        self.compiled: dict[bytes, list[Any]] = {}

    def run(self, packed: bytes) -> list[dict[str, int]]:
        """Counts of a batch, circuit by circuit and row by row."""
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            settings = json.loads(str(arrays["settings"]))
            body, values = arrays["qpy"].tobytes(), arrays["values"]
        if body not in self.compiled:
            circuits = list(qpy.load(io.BytesIO(body)))
            self.compiled[body] = circuits if self.kind in BOUND_FIRST else self._transpile(circuits)
        bound = []
        for circuit in self.compiled[body]:
            present = {parameter.name for parameter in circuit.parameters}
            for row in values:
                pairs = zip(settings["parameters"], row, strict=True)
                bound.append(circuit.assign_parameters({k: float(v) for k, v in pairs if k in present}))
        if self.kind in BOUND_FIRST:
            bound = self._transpile(bound)
        result = self._started(bound, settings["shots"], settings["seed"] % 2**31).result()
        # Not through BackendSamplerV2, which gives zeros and no error on several of these devices.
        return [{k.replace(" ", ""): int(n) for k, n in result.get_counts(i).items()} for i in range(len(bound))]

    def _started(self, bound: list[Any], shots: int, seed: int) -> Any:
        if self.kind != "iqm-fake":
            return self.backend.run(bound, shots=shots, seed_simulator=seed)
        from iqm.qiskit_iqm.fake_backends import iqm_fake_backend

        # It makes a simulator for each run and takes no seed.
        simulator = iqm_fake_backend.AerSimulator
        iqm_fake_backend.AerSimulator = partial(simulator, seed_simulator=seed)
        try:
            return self.backend.run(bound, shots=shots)
        finally:
            iqm_fake_backend.AerSimulator = simulator

    def _transpile(self, circuits: list[Any]) -> list[Any]:
        return list(transpile(circuits, self.backend, optimization_level=1, seed_transpiler=SEED))


def main() -> None:
    """Serve until the other side closes."""
    # What vendors print must not get between the lines of the protocol.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    worker = None
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            if worker is None:
                worker = Worker(asked["device"])
                width = worker.backend.num_qubits
                answer(qiskit=__version__, qpy=qpy.common.QPY_VERSION, n_qubits=width)
            else:
                answer(counts=worker.run(base64.b64decode(asked["batch"])))
        except Exception as error:
            traceback.print_exc()
            # Some vendors' errors say nothing but what caused them.
            telling = error if str(error).strip("' ") or error.__cause__ is None else error.__cause__
            answer(error=f"{type(telling).__name__}: {telling}")


if __name__ == "__main__":
    main()
