"""What the wheel holds, and that it works away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import qworkbench

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree: no stale build folder comes in, none stays in the checkout."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("circuits", "qworkbench", "experiments", "tests", "docs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_top_level_names_are_the_two_packages(contents: set[str]) -> None:
    info = f"qworkbench-{qworkbench.__version__}.dist-info"
    assert {name.split("/")[0] for name in contents} == {"circuits", "qworkbench", info}
    assert f"{info}/licenses/LICENSE" in contents
    assert f"{info}/entry_points.txt" in contents


def test_every_source_and_data_file_is_in_the_wheel(contents: set[str]) -> None:
    paths = [
        path.relative_to(ROOT)
        for package in ("circuits", "qworkbench")
        for path in (ROOT / package).rglob("*")
        if path.is_file()
    ]
    hidden = (".", "__pycache__")
    files = {path.as_posix() for path in paths if not any(part.startswith(hidden) for part in path.parts)}
    assert any(name.endswith(".npz") for name in files)
    assert any(name.endswith(".j2") for name in files)
    assert {name for name in contents if ".dist-info" not in name} == files


def test_it_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import circuits, qworkbench; print(circuits.__file__, qworkbench.__file__)\n"
        "print(qworkbench.load_dataset('collider_dijets').X.shape)\n"
        "import importlib.util; assert importlib.util.find_spec('experiments') is None"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(tmp_path / "site")) == 2
