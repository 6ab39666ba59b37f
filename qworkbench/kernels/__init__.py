"""Quantum kernels: fidelity, projected, sums and products; training them, and what shots do to them."""

from qworkbench.kernels.base import Kernel
from qworkbench.kernels.combined import ProductKernel, SumKernel
from qworkbench.kernels.fidelity import QuantumKernel
from qworkbench.kernels.lowrank import low_rank_error, nystroem, random_features
from qworkbench.kernels.projected import ProjectedKernel
from qworkbench.kernels.training import kernel_target_alignment, train_kernel

__all__ = [
    "Kernel",
    "ProductKernel",
    "ProjectedKernel",
    "QuantumKernel",
    "SumKernel",
    "kernel_target_alignment",
    "low_rank_error",
    "nystroem",
    "random_features",
    "train_kernel",
]
