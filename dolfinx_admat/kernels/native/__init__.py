"""A form compiler for constitutive laws: jaxpr to C over SIMD lanes, compiled once."""

from ._function import NativeFunction as NativeFunction
from ._program import Unsupported as Unsupported

__all__ = ["NativeFunction", "Unsupported"]
