"""Laws that are not in the library, written as a user writes them: with its base classes only.

They are what the benchmarks time, and what the tests of the kernels treat as "a law that nobody
foresaw". Units: MPa, s.
"""

from .chaboche import Chaboche
from .crystal import FccCrystal
from .finite_strain import FeFpJ2
from .hosford import HosfordPlasticity

__all__ = ["Chaboche", "FccCrystal", "FeFpJ2", "HosfordPlasticity"]
