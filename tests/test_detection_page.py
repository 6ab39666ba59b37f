"""The examples of docs/detection.md run in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from qworkbench.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "detection.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert [language for language, _ in blocks] == ["python", "bash", "python"]
    for language, block in blocks:
        if language == "python":
            exec(compile(block, PAGE.name, "exec"), {"__name__": "page"})
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            assert program == "qworkbench" and stop.value.code in (0, None)
    scores, again = (pd.read_csv(name) for name in ("scores.csv", "again.csv"))
    assert scores["score"].equals(again["score"]) and "why mass_j1" in scores
    assert "1/eps_B at eps_S = 0.3: " in capsys.readouterr().out and Path("page.html").exists()
