"""The circuits page of the documentation: its code runs and prints what the page shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "circuits.md"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)


def test_the_page_shows_what_its_code_prints() -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 10
    names: dict[str, Any] = {}
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert [line.rstrip() for line in printed.getvalue().splitlines()] == shown.splitlines()


def test_every_public_name_is_on_the_page() -> None:
    import circuits

    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in circuits.__all__ if name not in text] == []
