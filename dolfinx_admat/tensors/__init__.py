"""Tensor algebra of one material point: Mandel vectors, invariants, spectral functions.

Everything is plain JAX on Mandel vectors [xx, yy, zz, sqrt(2) xy, sqrt(2) xz, sqrt(2) yz], without
a batch axis, and survives the points where naive derivatives become nan: zero, and coalescing
eigenvalues.
"""

from .invariants import I1 as I1
from .invariants import I2 as I2
from .invariants import I3 as I3
from .invariants import J2 as J2
from .invariants import J3 as J3
from .invariants import determinant as determinant
from .invariants import deviator as deviator
from .invariants import equivalent_strain as equivalent_strain
from .invariants import equivalent_stress as equivalent_stress
from .invariants import norm as norm
from .invariants import trace as trace
from .mandel import DEVIATORIC as DEVIATORIC
from .mandel import IDENTITY as IDENTITY
from .mandel import SPHERICAL as SPHERICAL
from .mandel import from_mandel as from_mandel
from .mandel import mandel_rotation as mandel_rotation
from .mandel import to_mandel as to_mandel
from .spectral import eigenvalues as eigenvalues
from .spectral import exp as exp
from .spectral import isotropic_function as isotropic_function
from .spectral import log as log
from .spectral import principal_values as principal_values
from .spectral import sqrt as sqrt

__all__ = [
    "DEVIATORIC",
    "I1",
    "I2",
    "I3",
    "IDENTITY",
    "J2",
    "J3",
    "SPHERICAL",
    "determinant",
    "deviator",
    "eigenvalues",
    "equivalent_strain",
    "equivalent_stress",
    "exp",
    "from_mandel",
    "isotropic_function",
    "log",
    "mandel_rotation",
    "norm",
    "principal_values",
    "sqrt",
    "to_mandel",
    "trace",
]
