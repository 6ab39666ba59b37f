"""API keys from the system's keyring, with backends of the keyring package itself and one in memory."""

from __future__ import annotations

import importlib

import pytest
import torch

from circuits import angle_encoding, z_each
from qworkbench import QuantumLayer
from qworkbench.cloud.errors import RefusedError
from qworkbench.cloud.secrets import mask, read_credential

keyring = pytest.importorskip("keyring")

X = torch.tensor([[0.3, 1.9]], dtype=torch.float64)


class Memory(keyring.backend.KeyringBackend):
    """A keyring for one test."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.held = {}

    def set_password(self, service, username, password):
        self.held[service, username] = password

    def get_password(self, service, username):
        return self.held.get((service, username))


@pytest.fixture
def ring():
    """The keyring in use, an empty one in memory."""
    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    yield keyring.get_keyring()
    keyring.set_keyring(before)


def run(uri):
    return QuantumLayer(angle_encoding(2), z_each(2), uri, dtype=torch.float64)(X)


def test_ionqs_key_may_be_there(ionq, ring, monkeypatch):
    from ionq_stub import TOKEN

    monkeypatch.delenv("IONQ_API_KEY")
    uri = "ionq:simulator?shots=100&seed=1&grace=0"
    with pytest.raises(RefusedError, match="keep it in the keyring"):
        run(uri)
    keyring.set_password("qworkbench", "ionq", TOKEN)
    run(uri)
    assert f"apiKey {TOKEN}" in ionq.authorizations
    assert mask(f"it says {TOKEN}") == "it says ***"


def test_ibms_key_may_be_there(ibm, ring, monkeypatch):
    from ibm_stub import DEVICE, TOKEN

    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    uri = f"ibm:{DEVICE}?shots=100&budget=100&rate=1000&grace=0"
    keyring.set_password("qworkbench", "ibm", TOKEN)
    run(uri)
    assert len(ibm.jobs) == 1
    assert mask(f"it says {TOKEN}") == "it says ***"


def test_the_environment_goes_first(ring, clean_environment, monkeypatch):
    keyring.set_password("qworkbench", "ionq", "from-the-keyring")
    assert read_credential("ionq", "IONQ_API_KEY") == "from-the-keyring"
    monkeypatch.setenv("IONQ_API_KEY", "from-the-environment")
    assert read_credential("ionq", "IONQ_API_KEY") == "from-the-environment"


@pytest.mark.parametrize("name", ["fail", "null"])
def test_a_machine_without_a_keyring_has_no_key(name, ring, clean_environment):
    keyring.set_keyring(importlib.import_module(f"keyring.backends.{name}").Keyring())
    assert read_credential("ionq", "IONQ_API_KEY") is None
