"""Batched kernels: a law of one point applied to many, chunk by chunk."""

from ._buffers import StatusBuffers as StatusBuffers
from .batch import BatchKernel as BatchKernel

__all__ = ["BatchKernel", "StatusBuffers"]
