"""Solve r(x, args) = 0 at one material point; differentiate by the implicit function theorem.

``solve`` is what the constitutive base classes call; it may be used alone for any small
system of equations::

    x, result = solve(lambda x, a: x**2 - a, guess=1.0, args=2.0)
    jax.grad(lambda a: solve(lambda x, a: x**2 - a, 1.0, a)[0])(2.0)  # 1 / (2 sqrt 2)
"""

from ._newton import LocalNewton as LocalNewton
from ._newton import Strategy as Strategy
from ._newton import solve as solve
from ._result import LocalResult as LocalResult
from ._result import LocalStatus as LocalStatus

__all__ = ["LocalNewton", "LocalResult", "LocalStatus", "Strategy", "solve"]
