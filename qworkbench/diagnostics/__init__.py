"""Is a quantum model any good? Questions to put to it before anybody pays for it."""

from qworkbench.diagnostics.kernels import KernelAssessment, assess_kernel

__all__ = ["KernelAssessment", "assess_kernel"]
