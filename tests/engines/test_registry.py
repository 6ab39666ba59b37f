"""Engines by name."""

import importlib
import importlib.util

import pytest

from qworkbench.backend import Backend
from qworkbench.engines.registry import ENGINES, open_engine
from qworkbench.errors import MissingExtraError


@pytest.mark.parametrize("name", ENGINES)
def test_every_row_of_the_table_opens(name):
    entry = ENGINES[name]
    if entry.requires and importlib.util.find_spec(entry.requires) is None:
        pytest.skip(f"{entry.requires} is not installed")
    assert Backend.parse(entry.example).name == name
    if "noise=" in entry.example:
        pytest.importorskip("qiskit_ibm_runtime")
    if name == "worker":
        pytest.skip("needs an environment of its own: tests/cloud/test_worker.py")
    with open_engine(entry.example) as engine:
        assert set(engine.usage.as_dict().values()) == {0}


@pytest.mark.parametrize(
    ("name", "nearest"), [("statevectr", "statevector"), ("penylane:x", "pennylane"), ("ibmfake:x", "ibm-fake")]
)
def test_an_unknown_name_gives_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown backend .*'{nearest}'"):
        open_engine(name)


def test_a_name_that_is_near_nothing_lists_all():
    with pytest.raises(ValueError, match=r"aer, .*generic, "):
        open_engine("zzzzzz")


def test_a_description_and_a_live_engine_are_taken_too():
    engine = open_engine(Backend("statevector", shots=3))
    assert open_engine(engine) is engine


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    def absent(module):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module.split(".")[0])

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'qworkbench\[ibm\]'"):
        open_engine("ibm-fake:manila")
