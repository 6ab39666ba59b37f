"""IBM's REST API as far as qiskit-ibm-runtime needs it; jobs really run, on Aer, seeded by their content."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import threading
import time
import uuid
from pathlib import Path

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0 import models
from loopback import Loopback
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.fake_provider.executor.run_quantum_program import run_quantum_program
from qiskit_ibm_runtime.options_models.simulator import SimulatorOptions
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123:aaaa-bbbb::"
DEVICE = "ibm_stubville"
API = "/experimental/api/v1"
JOBS = f"{API}/jobs"
TOKEN = "planted-secret-0123456789"


class IBMStub(Loopback):
    """One device, a copy of FakeManila.

    ``outcome``: ``ok``, ``hang`` (never ends), ``fail`` or ``too long``. ``read_once`` gives each result out once.
    """

    def __init__(self, *, delay=0.0, workers=1):
        super().__init__()
        self.fake = FakeManilaV2()
        self.jobs, self.sessions = {}, {}
        self.delay, self.outcome, self.read_once = delay, "ok", False
        self.plan, self.accepts_as = "Open", DEVICE
        self.lag = 0
        """How many look-ups by tag miss jobs, as lists of real services may."""
        self._one_at_a_time = threading.Lock()

    @property
    def environment(self):
        """What points the real client here."""
        return {
            "QISKIT_IBM_TOKEN": TOKEN,
            "QISKIT_IBM_INSTANCE": CRN,
            "QISKIT_IBM_CHANNEL": "ibm_quantum_platform",
            # The client takes a URL with this word in it as it is.
            "QISKIT_IBM_URL": f"{self.url}{API}",
            "IAM_URL": self.url,
            "GLOBAL_SEARCH_URL": self.url,
            "GLOBAL_CATALOG_URL": f"{self.url}/catalog",
        }

    def handle(self, method, path, query, body):
        if path == "/identity/token":
            expiry = int(time.time()) + 3600
            token = {"access_token": _jwt(expiry), "refresh_token": "x", "token_type": "Bearer"}
            return 200, token | {"expires_in": 3600, "expiration": expiry}
        if path == "/v3/resources/search":
            item = {"crn": CRN, "name": "stub", "service_plan_unique_id": "p1", "tags": []}
            return 200, {"items": [item | {"doc": {"extensions": {"x": 1}}}]}
        if path.startswith("/catalog"):
            if self.plan is None:
                return 403, {"message": "archived"}
            return 200, {"overview_ui": {"en": {"display_name": self.plan}}, "metadata": {"pricing": {"type": "paid"}}}
        route = path.removeprefix(API)
        if route == "/instances/usage":
            return 200, {"usage_limit_reached": False, "usage_limit_seconds": 600, "usage_remaining_seconds": 599}
        for prefix, answer in (("/backends", self._backends), ("/sessions", self._session), ("/jobs", self._job)):
            if route.startswith(prefix):
                with self.lock:
                    return answer(method, route.removeprefix(prefix), query, body)
        return 404, {"error": {"code": 0, "message": f"no route {path}"}}

    def _backends(self, method, route, query, body):
        if route == "":
            status = {"name": "online"}
            return 200, {"devices": [{"name": DEVICE, "status": status, "qubits": 5, "queue_length": 3}]}
        if route.endswith("/configuration"):
            return 200, self._snapshot(self.fake.conf_filename) | {"simulator": False}
        if route.endswith("/properties"):
            return 200, self._snapshot(self.fake.props_filename)
        return 200, {"state": True, "status": "active", "length_queue": 3, "backend_version": "1.2"}

    def _snapshot(self, name):
        return json.loads((Path(self.fake.dirname) / name).read_text()) | {"backend_name": DEVICE}

    def _session(self, method, route, query, body):
        if method == "POST":
            name = str(uuid.uuid4())
            self.sessions[name] = {"id": name, "backend_name": DEVICE, "state": "open", "accepting_jobs": True}
            return 200, self.sessions[name]
        session = self.sessions[route.split("/")[1]]
        if method != "GET":
            session |= {"state": "closed", "accepting_jobs": False}
        return 200, session

    def _job(self, method, route, query, body):
        if route == "" and method == "POST":
            return self._submit(body)
        if route == "":
            return 200, self._list(set(query.get("tags", [])))
        found = re.fullmatch(r"/([^/]+)(/.*)?", route)
        job = self.jobs.get(found[1])
        if job is None:
            return 404, {"error": {"code": 1291, "message": "Job not found"}}
        if found[2] == "/results":
            result, job["result"] = job["result"], None if self.read_once else job["result"]
            return (200, result) if result else (204, "")
        if found[2] == "/metrics":
            return 200, {"usage": {"status": "complete", "quantum_seconds": 2, "qpu_charge_time_seconds": 2}}
        if found[2] == "/cancel":
            if job["state"] in ("Completed", "Failed"):
                return 409, {"error": {"code": 1, "message": "job has ended"}}
            job["state"] = "Cancelled"
            return 204, ""
        return 200, _view(job)

    def _submit(self, body):
        raw = json.loads(body)
        session = self.sessions.get(raw.get("session_id"))
        if session is not None and not session["accepting_jobs"]:
            return 400, {"error": {"code": 1217, "message": "Session has been closed."}}
        name = uuid.uuid4().hex[:20]
        now = datetime.datetime.now(datetime.UTC).isoformat()
        self.jobs[name] = {"id": name, "body": body, "raw": raw, "state": "Queued", "result": None, "created": now}
        threading.Thread(target=self._work, args=(self.jobs[name],), daemon=True).start()
        return 200, {"id": name, "backend": self.accepts_as, "session_id": raw.get("session_id")}

    def _list(self, tags):
        if self.lag:
            self.lag -= 1
            return {"jobs": [], "count": 0, "limit": 200, "offset": 0}
        found = [_view(job) for job in self.jobs.values() if tags <= set(job["raw"].get("tags") or [])]
        return {"jobs": found, "count": len(found), "limit": 200, "offset": 0}

    def _work(self, job):
        time.sleep(self.delay)
        if job["state"] == "Cancelled":
            return
        job["state"] = "Running"
        if self.outcome == "hang":
            return
        if self.outcome in ("fail", "too long"):
            reasons = {"fail": ("Circuit is too large", 1524), "too long": ("Job ran too long", 1305)}
            job["reason"], job["reason_code"] = reasons[self.outcome]
            job["state"] = "Failed"
            return
        try:
            with self._one_at_a_time:
                result = _execute(self.fake, job["body"])
        except Exception as error:  # a test that waits for ever says less
            job["reason"], job["reason_code"], job["state"] = repr(error), 1000, "Failed"
            raise
        with self.lock:
            if job["state"] == "Running":
                job["result"], job["state"] = result, "Completed"


def program_of(body):
    """The quantum program in the body of a submit."""
    sent = json.loads(body)["params"]
    converter = QUANTUM_PROGRAM_PARAMS_CONVERTERS[sent["schema_version"]]
    program, _ = converter.decoder(converter.model.model_validate(sent))
    for item in program.items:
        if hasattr(item, "samplex"):
            item.samplex.finalize()
    return program


def _execute(device, body):
    program = program_of(body)
    seed = int.from_bytes(hashlib.sha256(_content(program)).digest()[:4], "big")
    results = run_quantum_program(device, program, SimulatorOptions(seed_simulator=seed))
    items = [
        models.QuantumProgramResultItemModel(
            results={name: CompressedTensorModel.from_numpy(np.asarray(value)) for name, value in item.items()},
            metadata=models.ItemMetadataModel(),
        )
        for item in results
    ]
    model = models.QuantumProgramResultModel(
        data=items,
        metadata=models.MetadataModel(chunk_timing=[]),
        passthrough_data=_encoded(program.passthrough_data),
        semantic_role=program._semantic_role,
    )
    return model.model_dump_json()


def _content(program):
    """What defines a job's counts; the wire format holds random parameter ids."""
    parts = [str(program.shots)]
    for item in program.items:
        parts.append(str(item.circuit.count_ops()))
        arguments = item.samplex_arguments if hasattr(item, "samplex") else {"": item.circuit_arguments}
        parts += [np.asarray(value).tobytes().hex() for value in dict(arguments).values()]
    return "".join(parts).encode()


def _encoded(value):
    if isinstance(value, dict):
        return {key: _encoded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(inner) for inner in value]
    return CompressedTensorModel.from_numpy(value) if isinstance(value, np.ndarray) else value


def _view(job):
    state = {"status": job["state"]}
    if "reason" in job:
        state |= {"reason": job["reason"], "reason_code": job["reason_code"]}
    return {
        "id": job["id"],
        "backend": DEVICE,
        "state": state,
        "status": job["state"],
        "created": job["created"],
        "program": {"id": job["raw"]["program_id"]},
        "tags": job["raw"].get("tags") or [],
        "session_id": job["raw"].get("session_id"),
        "estimated_running_time_seconds": 4.2,
    }


def _jwt(expiry):
    parts = ({"alg": "RS256", "typ": "JWT"}, {"iat": expiry - 3600, "exp": expiry})
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*texts, "c2ln"])
