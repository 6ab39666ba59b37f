"""Training of a kernel's weights, bandwidth and coefficients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.svm import SVC

from qworkbench.errors import unknown_name
from qworkbench.kernels.base import Kernel
from qworkbench.training import History, train

TINY = 1e-12


def ideal_gram(labels: torch.Tensor) -> torch.Tensor:
    """What a perfect kernel would be: 1 within a class, ``-1 / (n_classes - 1)`` between classes; shape ``(N, N)``."""
    n_classes = max(2, len(torch.unique(labels)))
    same = labels[:, None] == labels[None, :]
    return torch.where(same, 1.0, -1.0 / (n_classes - 1)).double()


def centered(gram: torch.Tensor) -> torch.Tensor:
    """``H K H`` with ``H = 1 - 11^T / N``: the kernel of centred feature vectors."""
    rows = gram - gram.mean(0, keepdim=True)
    return rows - rows.mean(1, keepdim=True)


def alignment(gram: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Centred alignment ``<K, T> / (|K| |T|)`` of two Gram matrices (Cortes, Mohri & Rostamizadeh 2012, JMLR 13).

    Args:
        gram: Shape ``(N, N)``.
        target: Shape ``(N, N)``, such as ``ideal_gram(labels)``.

    Returns:
        A number between -1 and 1; 0 if one of the matrices is constant.
    """
    first, second = centered(gram), centered(target.to(gram))
    return (first * second).sum() / (first.norm() * second.norm()).clamp_min(TINY)


def kernel_target_alignment(gram: ArrayLike, labels: ArrayLike) -> float:
    """Centred alignment of a Gram matrix with the labels (any kind); see ``alignment`` and ``ideal_gram``."""
    _, index = np.unique(np.asarray(labels), return_inverse=True)
    return float(alignment(torch.as_tensor(np.asarray(gram, dtype=float)), ideal_gram(torch.as_tensor(index))))


def _alignment_loss(gram: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return 1 - alignment(gram, ideal_gram(labels))


def svc_loss(gram: torch.Tensor, labels: torch.Tensor, C: float = 1.0) -> torch.Tensor:
    """The optimum of the SVM's dual, ``max_a sum(a) - (a y)^T K (a y) / 2``, per sample.

    The loss of Glick et al. 2021 (arXiv:2105.03406). Small means a wide margin with few violations. The maximising
    ``a`` comes from scikit-learn; at the optimum the gradient with respect to ``K`` is the partial derivative at fixed
    ``a``. Classes are taken one against the rest.
    """
    fixed, total = gram.detach().numpy(), gram.new_zeros(())
    classes = torch.unique(labels)
    if len(classes) < 2:
        return gram.sum() * 0
    chosen = classes[1:] if len(classes) == 2 else classes
    for label in chosen:
        signs = torch.where(labels == label, 1.0, -1.0)
        machine = SVC(C=C, kernel="precomputed", tol=1e-6).fit(fixed, signs.numpy())
        signed = gram.new_zeros(len(labels))
        signed[torch.as_tensor(machine.support_).long()] = torch.as_tensor(machine.dual_coef_[0]).to(gram)
        total = total + signed.abs().sum() - signed @ gram @ signed / 2
    return total / (len(labels) * len(chosen))


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "alignment": _alignment_loss,
    "svc": svc_loss,
}
"""Name -> loss of the Gram matrix of a batch and its labels."""


def train_kernel(
    kernel: Kernel,
    x: ArrayLike,
    labels: ArrayLike,
    *,
    loss: str = "alignment",
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    frozen: Sequence[str] = (),
    generator: torch.Generator | None = None,
) -> History:
    """Fit a kernel's parameters to labels, in place, on Gram matrices of mini-batches.

    Args:
        kernel: Any kernel; ``kernel.named_parameters()`` says what it has.
        x: Shape ``(N, n_inputs)``.
        labels: Shape ``(N,)``, of any kind.
        loss: ``alignment`` (1 - centred kernel-target alignment; Hubregtsen et al. 2021, arXiv:2105.02276) or ``svc``.
        epochs: Passes over the data.
        batch_size: Samples of a Gram matrix.
        learning_rate: Adam's.
        frozen: Names of parameters that stay as they are, such as ``log_bandwidth``.
        generator: Source of the batch order; torch's own by default.

    Returns:
        The mean loss of each epoch.

    Raises:
        ValueError: If the loss or a parameter is unknown, there is nothing to train, or there is only one class.
    """
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    data, named = kernel._checked(x), dict(kernel.named_parameters())
    for name in frozen:
        if name not in named:
            raise unknown_name("kernel parameter", name, named)
    classes, index = np.unique(np.asarray(labels), return_inverse=True)
    if len(classes) < 2 or len(index) != len(data):
        raise ValueError(f"expected {len(data)} labels of at least 2 classes, got {len(index)} of {len(classes)}")
    before = {name: parameter.requires_grad for name, parameter in named.items()}
    for name in frozen:
        named[name].requires_grad_(False)
    try:
        if not any(p.requires_grad and p.numel() for p in named.values()):
            raise ValueError(f"expected a parameter to train, got all of {sorted(named)} frozen or empty")
        return train(
            kernel,
            LOSSES[loss],
            data.detach(),
            torch.as_tensor(index),
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            generator=generator,
        )
    finally:
        for name, parameter in named.items():
            parameter.requires_grad_(before[name])
