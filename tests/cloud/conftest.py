"""Stub servers, and an environment in which nothing but them can be reached or found."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def clean_environment(tmp_path, monkeypatch):
    """No credentials, no vendor's files, and journal and cache in this test's folder."""
    for name in list(os.environ):
        if name.startswith(("QISKIT_IBM", "IONQ", "QISKIT_IONQ", "AWS", "AMZN", "BRAKET", "QWORKBENCH")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("QWORKBENCH_JOURNAL", str(tmp_path / "jobs.sqlite"))
    monkeypatch.setenv("QWORKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def ibm(clean_environment, monkeypatch):
    """A stub of IBM that the real client talks to."""
    pytest.importorskip("qiskit_ibm_runtime")
    from ibm_stub import IBMStub

    with IBMStub() as stub:
        for name, value in stub.environment.items():
            monkeypatch.setenv(name, value)
        yield stub


@pytest.fixture
def ionq(clean_environment, monkeypatch):
    """A stub of IonQ that the real client talks to."""
    pytest.importorskip("qiskit_ionq")
    from ionq_stub import IonQStub

    monkeypatch.chdir(clean_environment)  # the client reads a .env of the working directory
    with IonQStub() as stub:
        for name, value in stub.environment.items():
            monkeypatch.setenv(name, value)
        yield stub


@pytest.fixture
def braket(clean_environment, monkeypatch):
    """A stub of Amazon Braket that the real client talks to."""
    pytest.importorskip("qiskit_braket_provider")
    from braket_stub import BraketStub

    with BraketStub() as stub:
        for name, value in stub.environment.items():
            monkeypatch.setenv(name, value)
        yield stub
