"""Devices in an environment of their own; a bare one that borrows this environment's packages stands in for IQM's."""

from __future__ import annotations

import os
import sys
import sysconfig
import venv
from pathlib import Path

import psutil
import pytest
import torch

from circuits import angle_encoding, z_each
from qworkbench import QuantumLayer, open_engine
from qworkbench.backend import Backend
from qworkbench.cli import main
from qworkbench.cloud import dispatch
from qworkbench.cloud import worker as worker_module
from qworkbench.cloud.errors import CloudError, RefusedError
from qworkbench.cloud.registry import open_adapter
from qworkbench.testing import ADAPTER_CHECKS, check_adapter

REAL = Path(os.environ.get("QWORKBENCH_TEST_WORKERS", "/nowhere"))


@pytest.fixture
def worker(clean_environment, monkeypatch):
    """A worker named here."""
    folder = clean_environment / "workers" / "here"
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"])
    monkeypatch.setenv("QWORKBENCH_WORKERS", str(folder.parent))
    return folder


def test_the_contract_holds_across_the_process_border(worker):
    assert len(check_adapter("worker:here/aer")) == len(ADAPTER_CHECKS) - 1
    layer = QuantumLayer(angle_encoding(2), z_each(2), "worker:here/aer?shots=2000&seed=1", dtype=torch.float64)
    inputs = torch.tensor([[0.3, 1.9]], dtype=torch.float64, requires_grad=True)
    layer(inputs).sum().backward()
    assert (inputs.grad + torch.sin(inputs)).abs().max() < 0.15
    assert layer.usage["submissions"] == 2


def test_what_the_worker_cannot_do_is_said(worker):
    with pytest.raises(RefusedError, match="'here' cannot run this: ModuleNotFoundError: No module named 'iqm'"):
        QuantumLayer(angle_encoding(2), z_each(2), "worker:here/iqm-fake:adonis")


def served_by(worker, script):
    """Let the worker run a script instead of Python's interpreter."""
    python = worker / "bin" / "python"
    python.unlink()
    python.write_text(f"#!{sys.executable}\n{script}")
    python.chmod(0o755)


def children():
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def test_a_worker_that_is_refused_is_ended(worker):
    before = children()
    adapter = open_adapter(Backend.parse("worker:here/iqm-fake:adonis"))
    for _ in range(2):  # the second time is no answer to the first question
        with pytest.raises(RefusedError, match="No module named 'iqm'"):
            adapter.target()
    served_by(worker, 'input(); print(\'{"qiskit": "0.1", "qpy": 2}\', flush=True); input()')
    with pytest.raises(RefusedError, match=r"Qiskit 0\.1, which reads QPY up to 2"):
        open_adapter(Backend.parse("worker:here/aer")).target()
    assert children() == before


def test_a_worker_that_does_not_end_is_stopped(worker, monkeypatch):
    monkeypatch.setattr(worker_module, "STOP_SECONDS", 0.2)
    before = children()
    served_by(worker, 'import time; input(); print(\'{"error": "no"}\', flush=True); time.sleep(600)')
    with pytest.raises(RefusedError, match="cannot run this: no"):
        open_adapter(Backend.parse("worker:here/aer")).target()
    assert children() == before


def test_a_slow_start_is_waited_for_and_one_without_an_end_is_stopped(worker, monkeypatch):
    monkeypatch.setattr(dispatch, "REQUEST_SECONDS", 0.3)
    answer = 'print(\'{"qiskit": "9", "qpy": 99}\', flush=True)'
    served_by(worker, f"import time; input(); time.sleep(1); {answer}; input()")
    adapter = open_adapter(Backend.parse("worker:here/aer"))
    dispatch.patiently(adapter.target)
    assert adapter._process.poll() is None
    served_by(worker, "import time; input(); time.sleep(600)")
    monkeypatch.setattr(worker_module, "START_SECONDS", 0.5)
    before = children()
    with pytest.raises(CloudError, match=r"took over 0\.5 s to start: it said nothing"):
        open_adapter(Backend.parse("worker:here/aer")).target()
    assert children() == before


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("worker", "expected worker:NAME/DEVICE"),
        ("worker:here", "iqm-fake:adonis"),
        ("worker:here/iqm:adonis", "did you mean 'iqm-fake'"),
        ("worker:there/aer", "no worker 'there' .known: here.*qworkbench workers create"),
        ("worker:here/aer?x=1", "unknown option"),
    ],
)
def test_wrong_uris_are_refused(worker, uri, message):
    with pytest.raises(ValueError, match=message):
        open_engine(uri)


def test_workers_are_listed_and_not_made_twice(worker, capsys):
    main_code = []
    for arguments in (
        ["workers", "list"],
        ["workers", "create", "iqm", "--name", "here"],
        ["workers", "create", "iqn"],
        ["workers", "create", "iqm", "--name", "../elsewhere"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        main_code.append(stop.value.code or 0)
    shown = capsys.readouterr()
    assert main_code == [0, 1, 1, 1]
    assert "expected a name of letters" in shown.err and not (worker.parents[1] / "elsewhere").exists()
    assert "here" in shown.out
    assert "exists already" in shown.err and "did you mean 'iqm'" in shown.err


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("iqm", "iqm-fake:adonis"),
        ("aqt", "aqt-offline:noisy"),
        ("aqt", "aqt-offline:ideal"),
        ("alice-bob", "ab-local:EMU:40Q:LOGICAL_TARGET"),
    ],
)
def test_real_vendors(name, device, clean_environment, monkeypatch):
    if not (REAL / name).is_dir():
        pytest.skip(f"QWORKBENCH_TEST_WORKERS names no folder with a worker made by 'qworkbench workers create {name}'")
    monkeypatch.setenv("QWORKBENCH_WORKERS", str(REAL))
    assert len(check_adapter(f"worker:{name}/{device}")) == len(ADAPTER_CHECKS) - 1
    twice = [
        QuantumLayer(angle_encoding(2), z_each(2), f"worker:{name}/{device}?shots=200&seed=3", dtype=torch.float64)(
            torch.tensor([[0.3, 1.9]], dtype=torch.float64)
        )
        for _ in range(2)
    ]
    assert torch.equal(*twice)
