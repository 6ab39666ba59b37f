"""Vendors whose packages do not go together with ours: ``worker:NAME/iqm-fake:adonis`` runs in its own environment.

``qworkbench workers create iqm`` makes the environment; circuits go there as QPY and counts come back.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import venv
import weakref
from pathlib import Path
from typing import IO, Any

from qiskit.qpy.common import QPY_COMPATIBILITY_VERSION

from qworkbench.backend import Backend
from qworkbench.cloud.adapter import Batch, Limits, outcome
from qworkbench.cloud.errors import CloudError, RefusedError
from qworkbench.cloud.immediate import ImmediateAdapter
from qworkbench.cloud.secrets import mask
from qworkbench.cloud.settings import check_options
from qworkbench.errors import unknown_name

VARIABLE = "QWORKBENCH_WORKERS"
RECIPES = {
    "iqm": ("iqm-client[qiskit]>=36,<37",),
    "aqt": ("qiskit-aqt-provider>=2.0,<3",),
    "alice-bob": ("qiskit-alice-bob-provider>=3.0,<4",),
}
"""Environment -> what is installed there. Lower bounds, since pip otherwise goes back to versions of years ago."""
DEVICES = {
    "iqm-fake": ("iqm-fake:adonis", Limits()),
    "aqt-offline": ("aqt-offline:noisy", Limits(executions=50, shots=2000)),
    "ab-local": ("ab-local:EMU:40Q:LOGICAL_TARGET", Limits()),
    "aer": ("aer:statevector", Limits()),
}
"""Kind of device -> an example, and what it takes."""
START_SECONDS = 280.0
"""A worker that has not said hello by then is stopped; importing a vendor's packages takes up to a minute."""
STOP_SECONDS = 5.0
"""How long a worker may take to end by itself."""


def workers_folder() -> Path:
    """Where environments are: ``$QWORKBENCH_WORKERS``, else beside the user's other data."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(os.environ.get(VARIABLE) or Path(base) / "qworkbench" / "workers")


def _python(name: str) -> Path:
    return workers_folder() / name / "bin" / "python"


def workers() -> list[str]:
    """Names of the environments that there are."""
    folder = workers_folder()
    return sorted(each.name for each in folder.iterdir() if _python(each.name).exists()) if folder.is_dir() else []


def create_worker(recipe: str, name: str | None = None) -> Path:
    """Make an environment of its own for a vendor's packages; takes minutes and several hundred MB.

    Args:
        recipe: A key of ``RECIPES``.
        name: Under which ``worker:NAME/...`` finds it; the recipe's by default.

    Raises:
        ValueError: If the recipe is unknown, the name is no plain one, or an environment of this name exists.
        OSError: If the packages cannot be installed.
    """
    if recipe not in RECIPES:
        raise unknown_name("recipe for a worker", recipe, RECIPES)
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"expected a name of letters, digits, '.', '_' and '-' for a worker, got {name!r}")
    folder = workers_folder() / (name or recipe)
    if folder.exists():
        raise ValueError(f"the worker {folder.name!r} exists already; remove {folder} to make it anew")
    venv.create(folder, with_pip=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *RECIPES[recipe]]
    if subprocess.run(install, stdout=sys.stderr).returncode != 0:
        raise OSError(f"pip could not install {' '.join(RECIPES[recipe])}; remove {folder} and try again")
    return folder


class WorkerAdapter(ImmediateAdapter):
    """See ``Adapter``; the process starts with the first circuit and ends with ours.

    Raises:
        ValueError: If the URI names no environment and device, or unknown ones.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        check_options(backend)
        self._name, slash, self._device = (backend.target or "").partition("/")
        if not slash or not self._device:
            examples = ", ".join(example for example, _ in DEVICES.values())
            raise ValueError(f"expected worker:NAME/DEVICE, with a device such as {examples}; got {str(backend)!r}")
        kind = self._device.partition(":")[0]
        if kind not in DEVICES:
            raise unknown_name("kind of device in a worker", kind, DEVICES)
        if self._name not in workers():
            raise ValueError(
                f"there is no worker {self._name!r} (known: {', '.join(workers()) or 'none'}); "
                f"qworkbench workers create {'|'.join(RECIPES)} makes one"
            )
        self.limits = DEVICES[kind][1]
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def target(self) -> None:
        """See ``Adapter``; the worker compiles."""
        with self._lock:
            self._connected()

    def _connected(self) -> subprocess.Popen[str]:
        """The process, started if need be; the caller holds the lock."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        errors = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(
            # -P: not the folder of the script, whose names (secrets, braket) would hide others.
            [_python(self._name), "-P", Path(__file__).with_name("worker_main.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        end, limit = weakref.finalize(self, _end, process, errors), threading.Timer(START_SECONDS, process.kill)
        limit.daemon = True
        limit.start()
        self._process, self._errors = process, errors
        try:
            hello = self._ask(device=self._device)
            if hello["qpy"] < QPY_COMPATIBILITY_VERSION:
                raise RefusedError(
                    f"the worker {self._name!r} has Qiskit {hello['qiskit']}, which reads QPY up to {hello['qpy']}, "
                    f"but {QPY_COMPATIBILITY_VERSION} is needed"
                )
        except BaseException:
            self._process = None
            end()
            raise
        finally:
            limit.cancel()
        return process

    def _ask(self, **question: Any) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._errors.seek(0)
            said = mask(self._errors.read()[-500:]).strip() or "it said nothing"
            raise CloudError(f"the worker {self._name!r} died, or took over {START_SECONDS:g} s to start: {said}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RefusedError(f"the worker {self._name!r} cannot run this: {mask(answer['error'])}")
        return answer

    def run(self, batch: Batch) -> list[dict[int, int]]:
        """See ``ImmediateAdapter``."""
        # A thread that gave up waiting still reads the answer to its own question.
        with self._lock:
            self._connected()
            answer = self._ask(batch=base64.b64encode(batch.to_bytes()).decode())
        return [{outcome(key): n for key, n in table.items()} for table in answer["counts"]]


def _end(process: subprocess.Popen[str], errors: IO[str]) -> None:
    """Ask a worker to stop by closing its input, and stop it if it does not."""
    with contextlib.suppress(OSError):
        process.stdin.close()  # type: ignore[union-attr]
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()  # type: ignore[union-attr]
    errors.close()
