"""Every measured number is a record; records resume, merge and survive a kill."""

from __future__ import annotations

import datetime
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
import sys
import tempfile
import uuid
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1
RECORDS = "records.jsonl"
LOCK = "writer.lock"
PACKAGES = (
    "qworkbench",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "torch",
    "qiskit",
    "qiskit-aer",
    "qiskit-ibm-runtime",
    "pennylane",
    "pennylane-lightning",
    "numba",
    "matplotlib",
)


class RunDirectoryError(OSError):
    """A run directory cannot be written, or another process is writing to it."""


@dataclass(frozen=True)
class RunRecord:
    """One measured number (or a handful measured together) and all that defines it.

    Values are made plain on construction: NumPy scalars and arrays become Python numbers and lists, tuples
    become lists, so a record equals its own JSON round trip.

    Raises:
        TypeError: If a value is no JSON value, or a dictionary key is no string.
        ValueError: If ``spec`` or ``metrics`` holds NaN or infinity. A number that could not be measured is
            ``None`` in ``metrics``. (In ``info``, e.g. in a diverged loss curve, it is stored as null.)
    """

    kind: str
    """``"fold"``, ``"rung"``, ``"trial"``, ``"failure"``, ``"experiment"``, ``"session"``, ..."""
    spec: dict[str, Any]
    """Everything that affects the number; hashed into ``run_id``."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Name -> finite number, or None where it is undefined."""
    info: dict[str, Any] = field(default_factory=dict)
    """What does not define identity: seconds, circuits, shots, versions, time stamps."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", _plain(self.spec, "spec"))
        object.__setattr__(self, "metrics", _plain(self.metrics, "metrics"))
        object.__setattr__(self, "info", _plain(self.info, "info", null_for_nan=True))
        for name, value in self.metrics.items():
            if value is not None and not isinstance(value, int | float):
                raise TypeError(f"metrics[{name!r}]: expected a number or None, got {type(value).__name__}")

    @property
    def run_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the canonical JSON of ``kind`` and ``spec``."""
        return hashlib.sha256(self.identity().encode()).hexdigest()[:16]

    def identity(self) -> str:
        """The text that is hashed: JSON with sorted keys and no spaces."""
        return _canonical({"kind": self.kind, "spec": self.spec})

    def to_json(self) -> str:
        """One line of JSON, without the line end."""
        return _canonical(
            {
                "schema": SCHEMA,
                "run_id": self.run_id,
                "kind": self.kind,
                "spec": self.spec,
                "metrics": self.metrics,
                "info": self.info,
            }
        )

    @classmethod
    def from_json(cls, line: str) -> RunRecord:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: If the line is no record, was written by a newer version, or if its ``spec`` no
                longer matches its ``run_id`` (a damaged or hand-edited line).
        """
        data = json.loads(line)
        if not isinstance(data, dict) or not {"schema", "run_id", "kind", "spec"} <= data.keys():
            raise ValueError(f"expected a run record, got {line[:60]!r}")
        if data["schema"] > SCHEMA:
            raise NewerSchemaError(
                f"the record has schema {data['schema']}, this version reads up to {SCHEMA}: upgrade qworkbench"
            )
        record = cls(data["kind"], data["spec"], data.get("metrics", {}), data.get("info", {}))
        if record.run_id != data["run_id"]:
            raise ValueError(f"run_id is {data['run_id']!r} but the content hashes to {record.run_id!r}")
        return record


class NewerSchemaError(ValueError):
    """The file was written by a newer version of the library."""


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any, where: str, *, null_for_nan: bool = False) -> Any:
    """``value`` as plain JSON types; ``where`` names the spot in errors."""
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, without importing NumPy
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if null_for_nan:
            return None
        raise ValueError(f"{where}: expected a finite number, got {value}; use None for what is undefined")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: expected string keys, got {key!r}")
        return {k: _plain(v, f"{where}[{k!r}]", null_for_nan=null_for_nan) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(v, f"{where}[{i}]", null_for_nan=null_for_nan) for i, v in enumerate(value)]
    raise TypeError(f"{where}: expected a JSON value, got {type(value).__name__}; pass str(value) or a number")


class RunDirectory:
    """The one writer of a directory of records; a context manager.

    Opening creates the directory, checks that it can be written, takes its lock and repairs what a kill left
    behind, all before any work is done. To look at records without writing, use ``read_records``.

    Args:
        path: The directory; parents are made too.

    Raises:
        RunDirectoryError: If it cannot be written, or another process (or object) holds the lock.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.file = self.path / RECORDS
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            reason = "it is a file" if self.path.is_file() else error.strerror
            raise RunDirectoryError(f"cannot write to the run directory {self.path}: {reason}") from None
        self._close_lock = weakref.finalize(self, os.close, lock)
        try:
            self._take_lock(lock)
            self._open_records()
        except BaseException:
            self._close_lock()
            raise

    def _take_lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise RunDirectoryError(f"cannot lock the run directory {self.path}: {error.strerror}") from None
            holder = os.pread(lock, 32, 0).decode(errors="replace") or "unknown"
            raise RunDirectoryError(
                f"the run directory {self.path} is being written by process {holder}: "
                "wait for it, or give another directory"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)

    def _open_records(self) -> None:
        try:
            stream = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise RunDirectoryError(f"cannot write to {self.file}: {error.strerror}") from None
        self._stream = stream
        self._close_stream = weakref.finalize(self, os.close, stream)
        _repair_tail(stream, self.file)
        _sync_directory(self.path)
        self._records = _read_file(self.file)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back; closing twice is harmless."""
        self._close_stream()
        self._close_lock()

    def records(self) -> dict[str, RunRecord]:
        """Run id -> record, in the order of first writing; of two lines with one id the later one counts."""
        return dict(self._records)

    def get(self, run_id: str) -> RunRecord | None:
        """The record of this id, or None if it was not measured yet."""
        return self._records.get(run_id)

    def append(self, record: RunRecord) -> None:
        """Write one line and force it to disk; when this returns, a kill or power cut cannot lose it.

        Raises:
            RunDirectoryError: If the disk refuses (e.g. is full); earlier records are untouched.
        """
        if not self._close_stream.alive:
            raise RunDirectoryError(f"the run directory {self.path} is closed")
        end = os.fstat(self._stream).st_size
        try:
            _write_all(self._stream, (record.to_json() + "\n").encode())
            os.fsync(self._stream)
        except OSError as error:
            os.ftruncate(self._stream, end)
            raise RunDirectoryError(
                f"cannot append to {self.file}: {error.strerror}; its {len(self._records)} records are safe"
            ) from None
        self._records[record.run_id] = record

    def merge(self, paths: Iterable[str | Path]) -> int:
        """Append the records of other run directories (or record files) that are not here yet.

        Returns:
            How many records were added.
        """
        added = [record for key, record in read_records(*paths).items() if key not in self._records]
        for record in added:
            self.append(record)
        return len(added)


def read_records(*paths: str | Path) -> dict[str, RunRecord]:
    """Records of run directories or ``.jsonl`` files by id, without locking or changing anything.

    Safe while a writer is at work: a last line that is not finished yet is left out. Of two records with one
    id the one read last counts.

    Raises:
        FileNotFoundError: If a path holds no records.
        NewerSchemaError: If a newer version wrote the file.
    """
    merged: dict[str, RunRecord] = {}
    for path in map(Path, paths):
        file = path / RECORDS if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(f"no records in {path}: expected a run directory with {RECORDS} in it")
        merged.update(_read_file(file))
    return merged


def _read_file(file: Path) -> dict[str, RunRecord]:
    records: dict[str, RunRecord] = {}
    whole, _, _unfinished = file.read_bytes().rpartition(b"\n")
    for number, line in enumerate(whole.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = RunRecord.from_json(line.decode())
        except NewerSchemaError:
            raise
        except (ValueError, TypeError) as error:
            warnings.warn(f"{file}, line {number}: left out, not a readable record ({error})", stacklevel=3)
            continue
        records[record.run_id] = record
    return records


def _repair_tail(stream: int, file: Path) -> None:
    """Cut off a last line that a kill left unfinished; only the holder of the lock may do this."""
    content = file.read_bytes()
    tail = content[content.rfind(b"\n") + 1 :]
    if not tail:
        return
    try:
        RunRecord.from_json(tail.decode())
    except (ValueError, TypeError):
        os.ftruncate(stream, len(content) - len(tail))
        warnings.warn(f"{file}: removed an unfinished last line of {len(tail)} bytes", stacklevel=5)
    else:
        _write_all(stream, b"\n")  # only the line end was lost
    os.fsync(stream)


def _write_all(stream: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Installed versions by package name (absent ones left out), and Python's; imports none of them."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _without_folders(word: str) -> str:
    """A word of a command line without the folders of this machine."""
    head, question, tail = word.partition("?")
    return (Path(head).name if Path(head).is_absolute() else head) + question + tail


def session_record(command: str | None = None, **info: Any) -> RunRecord:
    """A record of one invocation: what was typed, when, on what machine, with which versions.

    Args:
        command: The command line; default ``sys.argv``.
        **info: More to keep, e.g. ``sources={data set: provenance}``.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    described = {
        "command": command if command is not None else shlex.join(map(_without_folders, sys.argv)),
        "started": now,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")},
        "versions": versions(),
    }
    return RunRecord("session", {"session": uuid.uuid4().hex}, {}, described | info)


def check_writable(path: Path | None) -> None:
    """Find out before the work, not after it, that the result could not be written.

    Raises:
        OSError: If it could not.
    """
    if path is None:
        return
    if path.is_dir():
        raise IsADirectoryError(f"expected a file to write, got the folder {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from error
