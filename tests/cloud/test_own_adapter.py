"""An adapter that another package brings: found by its entry point, checked, listed, paid and journalled like ours."""

from __future__ import annotations

import json

import pytest
import torch

from circuits import angle_encoding, z_each
from qworkbench import QuantumLayer
from qworkbench.cli import main
from qworkbench.cloud.errors import BudgetError
from qworkbench.cloud.journal import Journal
from qworkbench.testing import ADAPTER_CHECKS, check_adapter

MODULE = """
from qiskit_aer import AerSimulator
from qworkbench.cloud.adapter import outcome
from qworkbench.cloud.immediate import ImmediateAdapter


class AcmeAdapter(ImmediateAdapter):
    billable = True

    def __init__(self, backend):
        super().__init__()
        if backend.target != "device":
            raise ValueError(f"expected acme:device, got {backend}")
        self._device = AerSimulator(n_qubits=4)

    def target(self):
        return self._device.target

    def run(self, batch):
        result = self._device.run(batch.bound(), shots=batch.shots, seed_simulator=batch.seed).result()
        return [{outcome(k): n for k, n in result.get_counts(i).items()} for i in range(batch.executions)]

    def quote(self, batch):
        return 0.01 * batch.executions
"""


@pytest.fixture
def acme(clean_environment, monkeypatch):
    """The package ``acme_qworkbench``, installed."""
    folder = clean_environment / "site"
    info = folder / "acme_qworkbench-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "acme_qworkbench.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-qworkbench\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[qworkbench.adapters]\nacme = acme_qworkbench:AcmeAdapter\n")
    monkeypatch.syspath_prepend(folder)
    return f"acme:device?shots=100&journal={clean_environment / 'acme.sqlite'}"


def test_it_keeps_the_promises(acme):
    assert len(check_adapter(f"{acme}&budget=1")) == len(ADAPTER_CHECKS) - 1


def test_it_is_paid_and_journalled(acme, clean_environment):
    X = torch.tensor([[0.3, 1.9]], dtype=torch.float64)
    with pytest.raises(BudgetError, match="acme charges for jobs"):
        QuantumLayer(angle_encoding(2), z_each(2), acme)
    layer = QuantumLayer(angle_encoding(2), z_each(2), f"{acme}&budget=0.015", dtype=torch.float64)
    assert (layer(X) - torch.cos(X)).abs().max() < 0.5  # five standard errors of 100 shots
    with pytest.raises(BudgetError, match=r"used 0\.01 of its budget"):
        layer(X)
    assert len(Journal(clean_environment / "acme.sqlite").jobs()) == 1


def test_it_is_listed(acme, capsys):
    main_code(["backends", "--json"])
    assert "acme" in [row["name"] for row in json.loads(capsys.readouterr().out)]


def main_code(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
        raise SystemExit(0)
    assert not stop.value.code
