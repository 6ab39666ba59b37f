"""A fitted model in one file: arrays and JSON under a checksum. Loading one runs no code.

The file is ``QWBUNDLE``, the SHA-256 of all else, and a safetensors block. The block's metadata hold
``schema``, ``versions``, ``info`` and ``structure``, a JSON tree in which every value that JSON lacks is an
object with a tag ``"$"``. Classes are looked up in ``CLASSES`` and ``MODULES``, never by a path in the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from qworkbench.bundle.reader import Reader
from qworkbench.bundle.writer import Writer
from qworkbench.runs import NewerSchemaError, versions

__all__ = ["check_savable", "load", "read_info", "save"]

MAGIC = b"QWBUNDLE"
SCHEMA = 2
"""2: detectors have a ``Safeguard``; see ``classes.SINCE``."""


def save(model: BaseEstimator, path: str | Path, *, info: Mapping[str, Any] | None = None) -> Path:
    """Write a fitted model to one file, replacing it in one step.

    The file holds no code. Of modules, functions and live backends that the user handed to the model only the
    trained weights are kept, and ``load`` asks for the objects again.

    Args:
        model: One of ``CLASSES``, or a ``Pipeline`` of them.
        path: The file; ``.qwb`` by custom.
        info: JSON values to keep beside the model; see ``read_info``.

    Returns:
        The path.

    Raises:
        NotFittedError: If the model is not fitted.
        TypeError: If the model, or something in it, is of a class that cannot be saved; says which can.
        OSError: If the file cannot be written; an older one is then still whole.
    """
    check_is_fitted(model)
    writer = Writer()
    metadata = {
        "schema": SCHEMA,
        "versions": versions(),
        "info": dict(info or {}),
        "structure": writer.node(model, "model"),
    }
    block = save_arrays(writer.arrays, {key: json.dumps(value) for key, value in metadata.items()})
    return _replace(Path(path), MAGIC + hashlib.sha256(MAGIC + block).digest() + block)


def load(path: str | Path, *, backend: Any = None, **given: Any) -> Any:
    """The model of a file; its predictions are the same to the last bit.

    Args:
        path: What ``save`` wrote.
        backend: Runs the circuits instead of the backend that the model was trained on. Any backend of
            ``open_engine``; it can also be changed later by ``set_params(backend=...)``.
        **given: What the file cannot hold, by name: ``trunk=`` and ``head=`` of a ``HybridClassifier``.

    Raises:
        FileNotFoundError: If there is no such file.
        NewerSchemaError: If a newer version wrote it.
        ValueError: If it is no such file, is damaged, holds a class that is not known here or a detector that is
            older than what scores it, or if what was given does not fit.
        TypeError: If something must be given and is not, or the reverse.
    """
    arrays, metadata = _read(Path(path))
    origin = f"{path}, written by qworkbench {metadata['versions'].get('qworkbench', 'of an unknown version')}"
    given_all = given if backend is None else given | {"backend": backend}
    reader = Reader(arrays, given_all, int(metadata["schema"]), origin)
    # Modules draw initial weights, which are thrown away, from torch's global state: leave that as it was.
    with torch.random.fork_rng(devices=[]):
        try:
            model = reader.node(metadata["structure"])
        except (AttributeError, KeyError, IndexError, RecursionError) as error:
            raise ValueError(f"{path} is not a well-formed model file: {error!r}") from error
    unused = set(given) - reader.used
    if unused:
        raise TypeError(f"the model in {path} takes no {', '.join(sorted(unused))}; leave it out")
    return model


def read_info(path: str | Path) -> dict[str, Any]:
    """What ``save`` was told to keep beside the model, and ``versions``, the packages it was saved with.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, is damaged, or a newer version wrote it.
    """
    metadata = _read(Path(path))[1]
    return {**metadata["info"], "versions": metadata["versions"]}


def check_savable(model: BaseEstimator) -> None:
    """Refuse a model that ``save`` would refuse, before it is trained.

    Raises:
        TypeError: If the model holds something that cannot be saved.
    """
    Writer().node(model, "model")


def _replace(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"cannot write {path}: {error.strerror}") from error
    return path


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    content = path.read_bytes()
    start = len(MAGIC) + 32
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{path} is not a model file of QWorkbench")
    block = content[start:]
    if hashlib.sha256(MAGIC + block).digest() != content[len(MAGIC) : start]:
        raise ValueError(f"{path} is damaged: its checksum does not match; copy it again, or save the model again")
    header = int.from_bytes(block[:8], "little")
    metadata = json.loads(block[8 : 8 + header])["__metadata__"]
    if int(metadata["schema"]) > SCHEMA:
        raise NewerSchemaError(
            f"{path} has schema {metadata['schema']}, this version reads up to {SCHEMA}: upgrade qworkbench"
        )
    try:
        return load_arrays(block), {key: json.loads(value) for key, value in metadata.items()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a well-formed model file: {error}") from error
