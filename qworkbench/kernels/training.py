"""Training of a kernel's weights, bandwidth and coefficients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.svm import SVC
from sklearn.utils.multiclass import type_of_target

from qworkbench.errors import unknown_name
from qworkbench.kernels.base import Kernel
from qworkbench.training import History, train

TINY = 1e-12
TASKS = ("classification", "regression")


def encoded_target(target: ArrayLike, task: str | None = None) -> torch.Tensor:
    """Numbers of mean 0 and deviation 1 for a regression, else the index of each class; shape ``(N,)``.

    Args:
        target: Shape ``(N,)``; numbers or text, also as objects.
        task: ``classification`` or ``regression``; by default numbers that are not all whole are a regression.

    Raises:
        ValueError: If the task is unknown, there are no finite numbers for a regression, or fewer than two different
            values.
    """
    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)
    values = np.asarray(target)
    values = np.asarray(values.tolist()) if values.dtype.kind == "O" else values
    if values.dtype.kind not in "iufbUS":
        raise ValueError(f"expected labels or numbers as the target, got {values.dtype} such as {values.ravel()[:1]}")
    if values.ndim != 1:
        raise ValueError(f"expected a target of shape (N,), got {values.shape}")
    regression = type_of_target(values) == "continuous" if task is None else task == "regression"
    if regression and (values.dtype.kind not in "iufb" or not np.isfinite(values).all()):
        raise ValueError(f"expected finite numbers as the target of a regression, got {values.dtype}")
    different, index = np.unique(values, return_inverse=True)
    if len(different) < 2:
        kind = "values" if regression else "classes"
        raise ValueError(f"expected a target of at least 2 {kind}, got a constant or empty one")
    if not regression:
        return torch.as_tensor(index)
    numbers = values.astype(float)
    return torch.as_tensor((numbers - numbers.mean()) / numbers.std())


def ideal_gram(target: torch.Tensor) -> torch.Tensor:
    """What a perfect kernel would be, shape ``(N, N)``.

    1 within a class and ``-1 / (n_classes - 1)`` between classes; for numbers their products (Cortes, Mohri &
    Rostamizadeh 2012, JMLR 13, section 3).

    Args:
        target: Whole numbers for classes, floats for a regression; see ``encoded_target``.
    """
    if target.is_floating_point():
        return torch.outer(target, target).double()
    n_classes = max(2, len(torch.unique(target)))
    same = target[:, None] == target[None, :]
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


def kernel_target_alignment(gram: ArrayLike, labels: ArrayLike, task: str | None = None) -> float:
    """Centred alignment of a Gram matrix with a target; see ``alignment`` and ``ideal_gram``.

    Args:
        gram: Shape ``(N, N)``.
        labels: Of any kind, or numbers, shape ``(N,)``.
        task: ``classification`` or ``regression``; by default numbers that are not all whole are a regression.

    Raises:
        ValueError: If the shapes do not fit, the target is constant, or see ``encoded_target``.
    """
    matrix, wanted = np.asarray(gram, dtype=float), encoded_target(labels, task)
    if matrix.shape != (len(wanted), len(wanted)):
        raise ValueError(f"expected a Gram matrix of shape {(len(wanted),) * 2}, one row a target, got {matrix.shape}")
    return float(alignment(torch.as_tensor(matrix), ideal_gram(wanted)))


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
    task: str | None = None,
    loss: str = "alignment",
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    frozen: Sequence[str] = (),
    generator: torch.Generator | None = None,
) -> History:
    """Fit a kernel's parameters to labels or numbers, in place, on Gram matrices of mini-batches.

    Args:
        kernel: Any kernel; ``kernel.named_parameters()`` says what it has.
        x: Shape ``(N, n_inputs)``.
        labels: Of any kind, or numbers, shape ``(N,)``.
        task: ``classification`` or ``regression``; by default numbers that are not all whole are a regression.
        loss: ``alignment`` (1 - centred kernel-target alignment; Hubregtsen et al. 2021, arXiv:2105.02276), or ``svc``,
            which needs classes.
        epochs: Passes over the data.
        batch_size: Samples of a Gram matrix.
        learning_rate: Adam's.
        frozen: Names of parameters that stay as they are, such as ``log_bandwidth``.
        generator: Source of the batch order; torch's own by default.

    Returns:
        The mean loss of each epoch.

    Raises:
        ValueError: If the loss or a parameter is unknown, there is nothing to train, or the target is constant or no
            classes for ``svc``.
    """
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    data, named = kernel._checked(x), dict(kernel.named_parameters())
    for name in frozen:
        if name not in named:
            raise unknown_name("kernel parameter", name, named)
    wanted = encoded_target(labels, task)
    if len(wanted) != len(data):
        raise ValueError(f"expected {len(data)} labels, one a row, got {len(wanted)}")
    if loss == "svc" and wanted.is_floating_point():
        raise ValueError("expected classes with loss='svc', got numbers; use loss='alignment'")
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
            wanted,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            generator=generator,
        )
    finally:
        for name, parameter in named.items():
            parameter.requires_grad_(before[name])
