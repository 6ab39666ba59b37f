"""Generator and discriminator circuits of a quantum GAN for tabular data.

The setting of Bermot et al. 2023 (IEEE QCE; arXiv:2304.14439), anomaly detection in collider events: one
qubit for each feature, features read as ``<Z_i>`` in [-1, 1].
"""

from __future__ import annotations

from circuits._pieces import whole
from circuits.circuit import ParameterizedCircuit
from circuits.encodings import data_reuploading


def qgan_generator(n_features: int, *, n_latent: int | None = None, n_layers: int = 3) -> ParameterizedCircuit:
    """Latent angles in, one generated feature a qubit out: read with ``z_each(n_features)``.

    The latent vector is uploaded again in every layer, each time with trainable scale and bias (the
    style-based generator of Bravo-Prieto et al. 2022, Quantum 6, 777; arXiv:2110.06933).

    Args:
        n_features: Number of generated features, and of qubits.
        n_latent: Number of latent angles, the circuit's inputs; ``n_features`` by default.
        n_layers: Number of layers.

    Raises:
        ValueError: If a size is below 1.
    """
    n_features = whole("n_features", n_features)
    n_latent = n_features if n_latent is None else whole("n_latent", n_latent)
    return data_reuploading(n_latent, n_features, n_layers=n_layers)


def qgan_discriminator(n_features: int, *, n_layers: int = 2) -> ParameterizedCircuit:
    """A sample in, one number out: read with ``z_first(n_features)``, or ``z_each`` under a linear map.

    Re-uploading with CX chains towards qubit 0, so that qubit 0 depends on every feature from one layer on.

    Args:
        n_features: Number of features, and of qubits.
        n_layers: Number of layers.

    Raises:
        ValueError: If a size is below 1.
    """
    return data_reuploading(n_features, n_features, n_layers=n_layers, entangler="cx")
