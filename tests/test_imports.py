"""What loads when: heavy packages only where they are used."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

import qworkbench

HEAVY = ("circuits", "matplotlib", "pandas", "pennylane", "qiskit", "qiskit_aer", "scipy", "sklearn", "torch")
QUANTUM = ("circuits", "pennylane", "qiskit", "qiskit_aer", "torch")
CLI = "import sys; from qworkbench.cli import main; sys.argv = ['qworkbench', '--help']; main()"


def loaded(code: str) -> set[str]:
    """Top-level packages in ``sys.modules`` once ``code`` has run, be it to the end or to an exit with 0."""
    watched = f"import atexit, json, sys\natexit.register(lambda: print(json.dumps(list(sys.modules))))\n{code}"
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("code", ["import qworkbench", CLI], ids=["import", "help"])
def test_the_package_and_its_help_load_nothing_heavy(code: str) -> None:
    modules = loaded(code)
    assert "qworkbench" in modules
    assert modules.isdisjoint(HEAVY), sorted(modules & set(HEAVY))


@pytest.mark.parametrize("module", ["backend", "catalog", "stats", "datasets", "report.html", "runs"])
def test_records_reports_and_data_load_nothing_quantum(module: str) -> None:
    modules = loaded(f"import qworkbench.{module}")
    assert modules.isdisjoint(QUANTUM), sorted(modules & set(QUANTUM))


@pytest.mark.parametrize("name", sorted(set(qworkbench.__all__) - {"__version__"}))
def test_every_public_name_is_what_its_module_defines(name: str) -> None:
    assert getattr(qworkbench, name) is getattr(import_module(qworkbench._HOMES[name]), name)
    assert name in dir(qworkbench)


def test_the_public_names_are_those_with_a_home() -> None:
    assert set(qworkbench.__all__) == set(qworkbench._HOMES) | {"__version__"}


def test_compare_is_the_function_whatever_was_imported_before() -> None:
    code = (
        "import qworkbench.stats, qworkbench\nfrom qworkbench import compare\n"
        "assert callable(compare) and qworkbench.compare is compare"
    )
    loaded(code)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Teleporter'"):
        qworkbench.Teleporter  # noqa: B018
