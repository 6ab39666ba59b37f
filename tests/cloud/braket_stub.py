"""Amazon Braket and S3 as far as the SDK needs them; tasks run on Braket's own local simulator."""

from __future__ import annotations

import datetime
import json
import uuid

from braket.devices import LocalSimulator
from braket.ir.openqasm import Program
from braket.task_result import (
    AdditionalMetadata,
    GateModelTaskResult,
    ProgramResult,
    ProgramSetExecutableResult,
    ProgramSetTaskMetadata,
    ProgramSetTaskResult,
    TaskMetadata,
)
from loopback import Loopback

ARN = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"
CREATE = "/quantum-task"
SECRET = "planted-aws-secret-0123456789"


class BraketStub(Loopback):
    """The device SV1, on request with program sets. ``outcome``: ``ok``, ``hang`` or ``fail``."""

    def __init__(self, *, program_sets=True):
        super().__init__()
        self.tasks, self.files, self.tokens = {}, {}, {}
        self.program_sets, self.outcome = program_sets, "ok"
        self.limits = []
        """Spending limits, as they were asked for."""

    @property
    def environment(self):
        """What points the real client here."""
        region = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "us-east-1")
        keys = {
            "AWS_ACCESS_KEY_ID": "AKIAPLANTED",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        places = dict.fromkeys(("BRAKET_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_BRAKET"), self.url)
        return region | keys | places | {"AMZN_BRAKET_OUT_S3_BUCKET": "amazon-braket-stub"}

    def handle(self, method, path, query, body):
        if path.startswith("/device/"):
            return 200, self._device()
        if path == CREATE:
            with self.lock:
                return self._create(json.loads(body))
        if path == "/spending-limits":
            (wanted,) = [name for each in json.loads(body)["filters"] for name in each["values"]]
            return 200, {"spendingLimits": [_limit(each) for each in self.limits if each["deviceArn"] == wanted]}
        if path == "/spending-limit":
            self.limits.append(json.loads(body))
            return 201, {"spendingLimitArn": "arn:aws:braket:us-east-1:000000000000:spending-limit/1"}
        if path == "/quantum-tasks":
            return 200, {"quantumTasks": [self._view(task) for task in reversed(self.tasks.values())]}
        if path.startswith("/quantum-task/"):
            name = path.removeprefix("/quantum-task/").removesuffix("/cancel")
            task = self.tasks.get(name)
            if task is None:
                return 404, {"message": "no such task", "__type": "ResourceNotFoundException"}
            if path.endswith("/cancel"):
                task["status"] = "CANCELLING"
                return 200, {"quantumTaskArn": name, "cancellationStatus": "CANCELLING"}
            return 200, self._view(task)
        return (200, self.files[path]) if path in self.files else (404, {"message": path})

    def _device(self):
        properties = json.loads(LocalSimulator("braket_sv").properties.json())
        if not self.program_sets:
            properties["action"].pop("braket.ir.openqasm.program_set", None)
        properties["service"] |= {"deviceCost": {"price": 0.075, "unit": "minute"}, "shotsRange": [0, 100000]}
        described = {"deviceName": "SV1", "providerName": "Amazon Braket", "deviceType": "SIMULATOR"}
        rest = {"deviceStatus": "ONLINE", "deviceCapabilities": json.dumps(properties), "deviceQueueInfo": []}
        return {"deviceArn": ARN} | described | rest

    def _create(self, sent):
        token = sent["clientToken"]
        if token in self.tokens:
            return 201, {"quantumTaskArn": self.tokens[token]}
        name = f"arn:aws:braket:us-east-1:000000000000:quantum-task/{uuid.uuid4()}"
        self.tokens[token] = name
        folder = f"{sent['outputS3KeyPrefix']}/{name.split('/')[-1]}"
        status = {"ok": "COMPLETED", "hang": "QUEUED", "fail": "FAILED"}[self.outcome]
        self.tasks[name] = {"name": name, "sent": sent, "folder": folder, "status": status}
        if self.outcome == "ok":
            self.files[f"/{sent['outputS3Bucket']}/{folder}/results.json"] = _result(name, sent).encode()
        return 201, {"quantumTaskArn": name}

    def _view(self, task):
        sent, status = task["sent"], task["status"]
        if status == "CANCELLING":
            task["status"] = "CANCELLED"  # the next time
        return {
            "quantumTaskArn": task["name"],
            "status": status,
            "failureReason": "device is on fire" if status == "FAILED" else "",
            "deviceArn": ARN,
            "deviceParameters": "{}",
            "shots": sent["shots"],
            "outputS3Bucket": sent["outputS3Bucket"],
            "outputS3Directory": task["folder"],
            "createdAt": datetime.datetime.now(datetime.UTC).isoformat(),
            "tags": sent.get("tags", {}),
        }


def _limit(asked):
    when = datetime.datetime.now(datetime.UTC).isoformat()
    spent = {"queuedSpend": "0", "totalSpend": "0", "createdAt": when, "updatedAt": when}
    period = {"startAt": when, "endAt": when}
    return spent | {"spendingLimitArn": "arn:1", "timePeriod": period} | asked


def _result(name, sent):
    action, shots = json.loads(sent["action"]), sent["shots"]
    if "programs" not in action:
        run = _run(action["source"], action.get("inputs"), shots)
        return GateModelTaskResult(
            measurements=run.measurements.tolist(),
            measuredQubits=run.measured_qubits,
            taskMetadata=TaskMetadata(id=name, shots=shots, deviceId=ARN),
            additionalMetadata=AdditionalMetadata(action=action),
        ).json()
    each = shots // len(action["programs"])
    programs = []
    for program in action["programs"]:
        run = _run(program["source"], program.get("inputs"), each)
        executable = ProgramSetExecutableResult(
            measurements=run.measurements.tolist(), measuredQubits=run.measured_qubits, inputsIndex=0
        )
        programs.append(ProgramResult(executableResults=[executable], source=program, additionalMetadata={}))
    metadata = ProgramSetTaskMetadata(
        id=name,
        deviceId=ARN,
        requestedShots=shots,
        successfulShots=shots,
        programMetadata=[{"executables": [{}]} for _ in programs],
        totalFailedExecutables=0,
    )
    return ProgramSetTaskResult(programResults=programs, taskMetadata=metadata).json()


def _run(source, inputs, shots):
    return LocalSimulator("braket_sv").run(Program(source=source, inputs=inputs), shots=shots).result()
