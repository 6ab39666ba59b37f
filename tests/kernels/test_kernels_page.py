"""The kernels page of the documentation: its code runs and prints what the page shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_page_shows_what_its_code_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue().split() == shown.split()


def test_the_page_of_large_matrices_shows_what_its_code_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((PAGE.parent / "kernels_at_scale.md").read_text(encoding="utf-8"))
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for code, shown in blocks:
        exec(code, names)
        assert capsys.readouterr().out.split() == shown.split()


def test_every_public_kernel_is_on_the_page() -> None:
    import qworkbench

    text = PAGE.read_text(encoding="utf-8")
    wanted = [name for name in qworkbench.__all__ if "Kernel" in name or "GP" in name or name == "train_kernel"]
    assert len(wanted) > 8 and [name for name in wanted if name not in text] == []
