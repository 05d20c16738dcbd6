"""Batched kernels: a law of one point applied to many, chunk by chunk."""

from .batch import BatchKernel as BatchKernel
from .batch import StatusBuffers as StatusBuffers

__all__ = ["BatchKernel", "StatusBuffers"]
