"""Batched kernels: a law of one point applied to many, chunk by chunk."""

from ._buffers import StatusBuffers as StatusBuffers
from ._buffers import aligned_zeros as aligned_zeros
from .batch import BatchKernel as BatchKernel
from .device import DeviceKernel as DeviceKernel
from .device import DeviceResult as DeviceResult

__all__ = ["BatchKernel", "DeviceKernel", "DeviceResult", "StatusBuffers", "aligned_zeros"]
