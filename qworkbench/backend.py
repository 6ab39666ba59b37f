"""Where a circuit runs, as a value: parsed from and printed as a URI, never a live session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote

MITIGATION = ("mitigation", "noise_scale", "zne_fit", "zne_scales")
"""Options that say what is done against noise, wherever counts or exact values come from bound circuits."""
SECRET = re.compile(r"token|secret|password|passwd|api_?key|credential", re.IGNORECASE)


def parse_uri(text: str) -> tuple[str, str | None, dict[str, str]]:
    """Split ``name[:target][?key=value&...]``.

    Returns:
        Name, target (percent-decoded) or None, and options.

    Raises:
        ValueError: If the text is empty, or an option has no value, occurs twice or looks like a secret.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"expected a URI such as 'aer?shots=1024', got {text!r}")
    head, _, query = text.strip().partition("?")
    for part in re.split("[&;]", unquote(query)):
        # Before any error that shows the text.
        _refuse_secret(part.partition("=")[0])
    name, colon, target = head.partition(":")
    if not name or (colon and not target):
        raise ValueError(f"expected name[:target][?key=value&...], got {text!r}")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ValueError(f"expected options as key=value joined by '&', got {query!r}") from error
    options: dict[str, str] = {}
    for key, value in pairs:
        if key in options or not value:
            raise ValueError(f"expected each option once and with a value, got {key!r} in {query!r}")
        options[key] = value
    return name, unquote(target) if colon else None, options


@dataclass(frozen=True)
class Backend:
    """A description of an execution target: hashable, picklable, and equal to its URI.

    Raises:
        ValueError: If shots is not positive, the seed is negative or an option looks like a secret.
    """

    name: str
    """Engine or vendor: ``statevector``, ``aer``, ``pennylane``, ``ibm-fake``, ``generic``, ..."""
    target: str | None = None
    """Which one of them: a device or simulator name, or its number of qubits."""
    shots: int | None = None
    """Shots a circuit; None asks for exact expectation values."""
    seed: int | None = None
    """Root seed of everything random in the engine."""
    options: tuple[tuple[str, str], ...] = ()
    """Further options, sorted by name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(sorted((str(k), str(v)) for k, v in self.options)))
        if self.shots is not None and self.shots < 1:
            raise ValueError(f"expected shots of at least 1, got {self.shots}")
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"expected a seed of at least 0, got {self.seed}")
        for key, _ in self.options:
            _refuse_secret(key)

    @classmethod
    def parse(cls, text: str | Backend) -> Backend:
        """Read a URI such as ``aer?noise=fake_torino&shots=4096&seed=7``.

        Raises:
            ValueError: If the text is not such a URI.
        """
        if isinstance(text, Backend):
            return text
        name, target, options = parse_uri(text)
        numbers = {key: _integer(key, options.pop(key)) for key in ("shots", "seed") if key in options}
        return cls(name, target, numbers.get("shots"), numbers.get("seed"), tuple(options.items()))

    def option(self, key: str, default: str | None = None) -> str | None:
        """The value of an option, or ``default``."""
        return dict(self.options).get(key, default)

    def __str__(self) -> str:
        pairs = [*self.options, ("shots", self.shots), ("seed", self.seed)]
        query = "&".join(f"{quote(k)}={quote(str(v), safe='.:,-')}" for k, v in pairs if v is not None)
        target = "" if self.target is None else ":" + quote(self.target, safe=".:/-")
        return f"{self.name}{target}" + (f"?{query}" if query else "")


def _refuse_secret(key: str) -> None:
    if SECRET.search(key):
        raise ValueError(f"the option {key!r} looks like a credential, which never stands in a URI or a Backend")


def _integer(key: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"expected a whole number for {key!r}, got {value!r}") from None
