"""What a vendor's adapter promises, as checks that run against any: a simulator, a stub server, the real service."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit.circuit import ClassicalRegister, Parameter, QuantumCircuit, QuantumRegister

from qworkbench.backend import Backend
from qworkbench.cloud.adapter import CANCELLED, DONE, FINAL, Adapter, Batch, Counts
from qworkbench.cloud.compiling import compile_circuit
from qworkbench.cloud.dispatch import Dispatcher, patiently
from qworkbench.cloud.errors import BudgetError, RefusedError, UnknownJobError
from qworkbench.cloud.journal import Job, Journal
from qworkbench.cloud.prices import tariff
from qworkbench.cloud.registry import open_adapter
from qworkbench.cloud.settings import Settings, identity, read_settings
from qworkbench.testing.statistics import SIGMAS

SHOTS = 200
NOISE = 0.25
"""Share of the shots that a device's errors may turn wrong."""


@dataclass
class _Probe:
    """An adapter under test."""

    backend: Backend
    adapter: Adapter
    settings: Settings
    journal: Journal

    def dispatcher(self, settings: Settings | None = None) -> Dispatcher:
        where = identity(self.backend)
        return Dispatcher(self.adapter, where, settings or self.settings, self.journal, tariff(self.backend))

    def batch(self, circuits: Sequence[QuantumCircuit], names: Sequence[str], values: np.ndarray) -> Batch:
        target = patiently(self.adapter.target)
        ready = list(circuits) if target is None else [compile_circuit(circuit, target) for circuit in circuits]
        return Batch(tuple(ready), tuple(names), values, SHOTS, seed=7)

    def run(self, batch: Batch) -> Counts:
        """Counts of a batch, sent anew and in as many jobs as the adapter's limits ask for."""
        counts: Counts = [[{}] * len(batch.values) for _ in batch.circuits]
        for circuits, rows, part in batch.pieces(self.adapter.limits.executions):
            (found,) = self.dispatcher().run([(uuid.uuid4().hex, part)])
            for index, row_counts in zip(range(len(counts))[circuits], found, strict=True):
                counts[index][rows] = row_counts
        return counts

    @property
    def last(self) -> Job:
        return self.journal.jobs()[-1]


def _fixed(*flipped: int) -> QuantumCircuit:
    circuit = QuantumCircuit(3, 3)
    circuit.x(list(flipped))
    circuit.measure(range(3), range(3))
    return circuit


def _expect(counts: dict[int, int], outcome: int) -> None:
    total = sum(counts.values())
    if abs(total - SHOTS) > 2:
        raise AssertionError(f"expected {SHOTS} shots, got {total}")
    if counts.get(outcome, 0) < (1 - NOISE) * total:
        raise AssertionError(f"expected nearly all shots at {outcome:03b}, got {counts}")


def _bit_order(probe: _Probe) -> None:
    """bit q of an outcome is qubit q, and outcomes are not made up of zeros"""
    counts = probe.run(probe.batch([_fixed(0, 1), _fixed(2)], (), np.zeros((1, 0))))
    _expect(counts[0][0], 0b011)
    _expect(counts[1][0], 0b100)


def _classical_bits(probe: _Probe) -> None:
    """bit c of an outcome is classical bit c, whichever qubit was measured into it, when, and in which register"""
    crossed = QuantumCircuit(3, 3)
    crossed.x([0, 1])
    crossed.measure([0, 1, 2], [2, 0, 1])
    early = QuantumCircuit(3, 3)
    early.x(0)
    early.measure(0, 0)
    early.x(1)
    early.measure([2, 1], [2, 1])
    gaps = QuantumCircuit(3, 4)
    gaps.x(2)
    gaps.measure([2, 0], [3, 1])
    registers = QuantumCircuit(QuantumRegister(3), ClassicalRegister(1, "low"), ClassicalRegister(2, "high"))
    registers.x([0, 2])
    registers.measure(range(3), range(3))
    for circuit, outcome in ((crossed, 0b101), (early, 0b011), (gaps, 0b1000), (registers, 0b101)):
        _expect(probe.run(probe.batch([circuit], (), np.zeros((1, 0))))[0][0], outcome)


def _parameters(probe: _Probe) -> None:
    """circuits and rows of values come back in their order, bound by name"""
    a, b = Parameter("z_first"), Parameter("a_second")  # an order that is not alphabetical
    circuits = []
    for flips in ((0, 1), (1, 0)):
        circuit = QuantumCircuit(3, 3)
        circuit.ry(a, flips[0])
        circuit.ry(b, flips[1])
        circuit.measure(range(3), range(3))
        circuits.append(circuit)
    values = np.array([[0.4, 2.0], [2.6, 0.9], [1.2, 1.2]])
    counts = probe.run(probe.batch(circuits, ("z_first", "a_second"), values))
    for index, flips in enumerate(((0, 1), (1, 0))):
        for row, angles in enumerate(values):
            table = counts[index][row]
            for qubit, angle in zip(flips, angles, strict=True):
                share = sum(n for key, n in table.items() if key >> qubit & 1) / sum(table.values())
                exact = np.sin(angle / 2) ** 2
                if abs(share - exact) > NOISE / 2 + SIGMAS * np.sqrt(0.25 / SHOTS):
                    raise AssertionError(f"circuit {index}, row {row}: expected {exact:.2f} ones, got {share:.2f}")


def _by_tag(probe: _Probe) -> None:
    """a job is found by its tag, and only by its own"""
    probe.run(probe.batch([_fixed(0)], (), np.zeros((1, 0))))
    job = probe.last
    found = patiently(lambda: probe.adapter.find(job.tag))
    if found != [job.job_id] and not (probe.adapter.limits.idempotent and not found):
        raise AssertionError(f"expected the job {job.job_id} by its tag, got {found}")
    if patiently(lambda: probe.adapter.find("qwb-no-such-tag")):
        raise AssertionError("found a job by a tag that was never sent")


def fetch_again(uri: str, job_id: str, payload: str) -> None:
    """Print the counts of a job; called in a fresh process, which knows nothing but the id."""
    batch = Batch.from_bytes(bytes.fromhex(payload))
    print(json.dumps(open_adapter(Backend.parse(uri)).fetch(job_id, batch)))


def _by_id(probe: _Probe) -> None:
    """a fresh process gets the same counts by the job's id"""
    counts = probe.run(probe.batch([_fixed(0, 2)], (), np.zeros((1, 0))))
    job = probe.last
    code = "import sys; from qworkbench.testing.adapters import fetch_again; fetch_again(*sys.argv[1:])"
    arguments = [str(probe.backend), str(job.job_id), probe.journal.payload(job.tag).hex()]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"a fresh process could not fetch the job: {done.stderr[-500:]}")
    again = [[{int(k): n for k, n in row.items()} for row in rows] for rows in json.loads(done.stdout.splitlines()[-1])]
    if again != counts:
        raise AssertionError(f"a fresh process got {again} instead of {counts}")


def _cancel(probe: _Probe) -> None:
    """a job can be cancelled, and one that has ended stays as it is"""
    batch, adapter = probe.batch([_fixed(1)], (), np.zeros((1, 0))), probe.adapter
    probe.run(batch)
    ended = str(probe.last.job_id)
    patiently(lambda: adapter.cancel(ended))
    state = patiently(lambda: adapter.status(ended)).state
    if state != DONE:
        raise AssertionError(f"expected a finished job to stay {DONE!r} after cancel, got {state!r}")
    if probe.adapter.billable or not probe.adapter.remote:
        return  # what a cancelled job costs differs between vendors
    fresh = adapter.submit(batch, f"qwb-{uuid.uuid4().hex[:24]}")
    patiently(lambda: adapter.cancel(fresh))
    state = patiently(lambda: adapter.status(fresh)).state
    if state not in (CANCELLED, *FINAL):
        raise AssertionError(f"expected a cancelled job to end, got {state!r}")


def _unknown(probe: _Probe) -> None:
    """an id that the vendor does not know is an UnknownJobError or a refusal"""
    try:
        status = probe.adapter.status("00000000-0000-0000-0000-000000000000")
    except (UnknownJobError, RefusedError):
        return
    raise AssertionError(f"expected an UnknownJobError for an id that was never given out, got {status}")


def _costs(probe: _Probe) -> None:
    """a job has a price if and only if the vendor charges, and no budget means no job"""
    batch = probe.batch([_fixed(0)], (), np.zeros((1, 0)))
    price = probe.dispatcher().estimate(batch)
    if probe.adapter.billable and price <= 0 and "plan=open" not in str(probe.backend):
        raise AssertionError(f"the vendor charges, but the estimate is {price}")
    if not probe.adapter.billable and price != 0:
        raise AssertionError(f"the vendor does not charge, but the estimate is {price}")
    if price == 0:
        return
    before = len(probe.journal.jobs())
    try:
        probe.dispatcher(Settings(run=uuid.uuid4().hex)).run([(uuid.uuid4().hex, batch)])
    except BudgetError:
        if len(probe.journal.jobs()) == before:
            return
    raise AssertionError("a job was written down without a budget for it")


ADAPTER_CHECKS: tuple[Callable[[_Probe], None], ...] = (
    _costs,
    _bit_order,
    _classical_bits,
    _parameters,
    _by_tag,
    _by_id,
    _cancel,
    _unknown,
)
"""The promises of an adapter, each a function that raises AssertionError; its docstring is the promise."""


def check_adapter(backend: str | Backend, adapter: Any = None) -> list[str]:
    """Check every promise of an adapter with a handful of small jobs of 200 shots.

    Args:
        backend: Its URI; one that charges needs a budget, and is charged.
        adapter: The adapter, if it is in no table yet.

    Returns:
        The promises that were checked; what a fresh process gets is left out where jobs end with their process.

    Raises:
        AssertionError: With the first promise that is broken.
    """
    described = Backend.parse(backend)
    opened: Adapter = adapter or open_adapter(described)
    settings = read_settings(described, remote=opened.remote)
    probe = _Probe(described, opened, settings, Journal(settings.journal))
    passed = []
    for check in ADAPTER_CHECKS:
        if check is _by_id and not opened.remote:
            continue  # its jobs end with the process
        promise = (check.__doc__ or check.__name__).strip()
        try:
            check(probe)
        except AssertionError as error:
            raise AssertionError(f"{described} broke its promise of {promise!r}: {error}") from error
        passed.append(promise)
    return passed
