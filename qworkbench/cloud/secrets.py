"""Credentials: where they may come from, and how they are kept out of everything that is written."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import stat
import warnings
from pathlib import Path
from typing import Any

from qworkbench.backend import SECRET

SHORTEST = 8
"""Characters of the shortest secret that is masked; masking shorter ones would garble ordinary text."""
HIDDEN = "***"
_HEADER = re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|apikey|basic)?\s*)[^\s'\",}]+")
_known: set[str] = set()


def register(secret: str | None) -> None:
    """Remember a credential that was read, so that ``mask`` finds it."""
    if secret and len(secret) >= SHORTEST:
        _known.add(secret)


def mask(text: str) -> str:
    """The text without any credential known to this process or its environment, and without authorisation headers."""
    named = {value for name, value in os.environ.items() if SECRET.search(name) or name.upper().endswith("_KEY")}
    for secret in sorted(_known | {value for value in named if len(value) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _HEADER.sub(rf"\g<1>{HIDDEN}", text)


def mask_logs() -> None:
    """Mask all log messages and tracebacks of this process from now on, the vendors' own too; twice is harmless."""
    previous = logging.getLogRecordFactory()
    if getattr(previous, "masks", False):
        return

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = previous(*args, **kwargs)
        try:
            plain = record.getMessage()
        except Exception:  # a message that does not fit its arguments is for the handlers to report
            return record
        if (hidden := mask(plain)) != plain:
            record.msg, record.args = hidden, ()
        if record.exc_info and record.exc_info[0] is not None:
            # What formatters print instead of the traceback of their own.
            record.exc_text = mask(logging.Formatter().formatException(record.exc_info))
        return record

    factory.masks = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(factory)


def read_credential(vendor: str, *variables: str) -> str | None:
    """A credential from the environment, or from the operating system's keyring (service ``qworkbench``, user VENDOR).

    Args:
        vendor: Name under which the keyring holds it.
        variables: Environment variables, the first one that is set counts.
    """
    found = next((os.environ[name] for name in variables if os.environ.get(name)), None)
    if found is None and importlib.util.find_spec("keyring") is not None:
        import keyring
        from keyring.errors import KeyringError

        try:
            found = keyring.get_password("qworkbench", vendor)
        except KeyringError:
            found = None  # a machine without a keyring service
    register(found)
    return found


def check_private(file: Path) -> None:
    """Warn if others on this machine may read a file of credentials."""
    if file.is_file() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.warn(
            f"{file.name} holds credentials and others on this machine may read it: chmod 600 {file}", stacklevel=3
        )
