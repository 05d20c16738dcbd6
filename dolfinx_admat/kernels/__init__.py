"""Batched kernels: a law of one point applied to many, chunk by chunk."""

from ._buffers import StatusBuffers as StatusBuffers
from .batch import BatchKernel as BatchKernel
from .device import DeviceKernel as DeviceKernel
from .device import DeviceResult as DeviceResult

__all__ = ["BatchKernel", "DeviceKernel", "DeviceResult", "StatusBuffers"]
