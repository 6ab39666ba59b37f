"""The README's scripts run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
EXPECTED = ["cross entropy 0.", "report.html", "ibm-fake:manila"]


def test_every_block_has_an_expectation():
    assert len(BLOCKS) == len(EXPECTED)


@pytest.mark.parametrize(("block", "expected"), list(zip(BLOCKS, EXPECTED, strict=False)))
def test_a_script_of_the_readme_runs(block, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert expected in capsys.readouterr().out


def test_the_two_commands_stand_first():
    commands = re.search(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert commands is not None
    assert re.findall(r"^make (\w+)", commands.group(1), re.MULTILINE) == ["demo", "test"]
