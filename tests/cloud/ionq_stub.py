"""IonQ's REST API as far as qiskit-ionq needs it; jobs are computed exactly from their gates."""

from __future__ import annotations

import json
import re
import uuid

from loopback import Loopback
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

API = "/v0.4"
JOBS = f"{API}/jobs"
TOKEN = "planted-ionq-secret-0123456789"


class IonQStub(Loopback):
    """A simulator of 29 qubits and a computer of 36. ``outcome``: ``ok``, ``hang`` or ``fail``."""

    def __init__(self):
        super().__init__()
        self.jobs, self.outcome, self.estimates = {}, "ok", []

    @property
    def environment(self):
        """What points the real client here."""
        return {"IONQ_API_KEY": TOKEN, "IONQ_API_URL": f"{self.url}{API}"}

    def handle(self, method, path, query, body):
        route = path.removeprefix(API)
        if route.startswith("/backends/"):
            return 200, {"backend": route.split("/")[-1], "qubits": 36 if "qpu" in route else 29, "status": "available"}
        if route == "/jobs" and method == "POST":
            return self._submit(json.loads(body))
        if route == "/jobs":
            first = int(query.get("next", ["0"])[0])
            jobs = list(reversed(self.jobs.values()))
            page = {"jobs": [self._view(job) for job in jobs[first : first + 2]]}
            return 200, page | ({"next": str(first + 2)} if len(jobs) > first + 2 else {})
        if route == "/jobs/estimate":
            self.estimates.append(query)
            return 200, {"input_values": {}, "estimated_cost": 12.5, "cost_unit": "usd"}
        found = re.fullmatch(r"/jobs/([^/]+)(/.*)?", route)
        job = self.jobs.get(found[1])
        if job is None:
            return 404, {"statusCode": 404, "error": "Not Found", "message": "job not found"}
        if found[2] == "/status/cancel":
            job["status"] = "completed" if job["status"] == "completed" else "canceled"
        if found[2] == "/results/probabilities":
            return 200, job["tables"] if len(job["tables"]) > 1 else next(iter(job["tables"].values()))
        return 200, self._view(job)

    def _submit(self, sent):
        given = sent["input"]
        circuits = [each["circuit"] for each in given["circuits"]] if "circuits" in given else [given["circuit"]]
        width = given["qubits"]
        tables = {str(uuid.uuid4()): _probabilities(circuit, width) for circuit in circuits}
        status = {"ok": "completed", "hang": "ready", "fail": "failed"}[self.outcome]
        job = {"id": str(uuid.uuid4()), "sent": sent, "tables": tables, "status": status}
        self.jobs[job["id"]] = job
        return 200, {"id": job["id"], "status": "submitted"}

    def _view(self, job):
        sent = job["sent"]
        children = list(job["tables"]) if len(job["tables"]) > 1 else []
        failure = {"failure": {"code": "QuotaExhausted", "error": "no more"}} if job["status"] == "failed" else {}
        return (
            failure
            | {
                "id": job["id"],
                "type": sent["type"],
                "status": job["status"],
                "backend": sent["backend"],
                "metadata": sent.get("metadata"),
                "shots": sent.get("shots"),
                "stats": {"qubits": sent["input"]["qubits"], "circuits": len(job["tables"])},
                "execution_duration_ms": 12,
                "results": {"probabilities": {"url": f"{JOBS}/{job['id']}/results/probabilities"}},
            }
            | ({"child_job_ids": children} if children else {})
        )


def _probabilities(gates, width):
    used = sorted({q for gate in gates for q in _qubits(gate)})
    place = {qubit: k for k, qubit in enumerate(used)}
    circuit = QuantumCircuit(max(len(used), 1))
    for gate in gates:
        name, targets = gate["gate"], [place[q] for q in gate.get("targets", [gate.get("target")])]
        controls = [place[q] for q in gate.get("controls", [gate["control"]] if "control" in gate else [])]
        if controls:
            circuit.cx(controls[0], targets[0])
        elif "rotation" in gate:
            getattr(circuit, name)(gate["rotation"], *targets)
        else:
            getattr(circuit, {"not": "x"}.get(name, name))(*targets)
    exact = Statevector(circuit).probabilities()
    spread = {sum(1 << used[k] for k in range(len(used)) if key >> k & 1): p for key, p in enumerate(exact)}
    return {str(key): float(p) for key, p in spread.items() if p > 1e-12}


def _qubits(gate):
    keys = ("targets", "controls")
    return [q for key in keys for q in gate.get(key, [])] + [gate[k] for k in ("target", "control") if k in gate]
