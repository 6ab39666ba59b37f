"""The page about shots and noise: its code runs and prints what the page shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from qworkbench.backend import MITIGATION
from qworkbench.engines.mitigation import FITS, METHODS
from qworkbench.shots import SCHEDULES

PAGE = (Path(__file__).parents[1] / "docs" / "shots_and_noise.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)


def test_the_page_shows_what_its_code_prints() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    names: dict[str, Any] = {}
    for code, shown in BLOCK.findall(PAGE):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert [line.rstrip() for line in printed.getvalue().splitlines()] == shown.splitlines()


def test_every_option_is_on_the_page() -> None:
    kinds = [kind for kind in SCHEDULES if kind != "fixed"]
    assert [name for name in (*FITS, *METHODS, *MITIGATION, *kinds) if name not in PAGE] == []
