"""Strain measures of a displacement as 3x3 UFL tensors, in 3D and in plane strain.

Use the same function for the unknown and for the test function::

    F = ufl.inner(law["stress"], strain(v)) * law.dx
"""

from typing import Any

import ufl

_HINT = (
    "a law needs all 3x3 components. Choose the reduction: plane strain is plane_strain(u) or "
    "plane_deformation_gradient(u); for plane stress or axisymmetry write the 3x3 tensor in UFL"
)


def _gradient(u: Any, dimension: int, caller: str, other: str) -> Any:
    if len(u.ufl_shape) != 1 or u.ufl_shape[0] != dimension:
        raise ValueError(
            f"{caller}(u): u must have {dimension} components, got shape {u.ufl_shape}; "
            + (_HINT if u.ufl_shape == (2,) else f"in 3D use {other}(u)")
        )
    return ufl.grad(u)


def _embed(gradient: Any) -> Any:
    zero = ufl.as_ufl(0.0)
    g = gradient
    return ufl.as_matrix([[g[0, 0], g[0, 1], zero], [g[1, 0], g[1, 1], zero], [zero] * 3])


def strain(u: Any) -> Any:
    """Small strain sym(grad u) of a 3D displacement; UFL (3, 3)."""
    return ufl.sym(_gradient(u, 3, "strain", "strain"))


def plane_strain(u: Any) -> Any:
    """Small strain of a 2D displacement in plane strain (zz, xz, yz = 0); UFL (3, 3)."""
    return ufl.sym(_embed(_gradient(u, 2, "plane_strain", "strain")))


def plane_gradient(u: Any) -> Any:
    """Gradient of a 2D displacement in plane strain, e.g. of a test function; UFL (3, 3)."""
    return _embed(_gradient(u, 2, "plane_gradient", "ufl.grad"))


def deformation_gradient(u: Any) -> Any:
    """F = 1 + grad u of a 3D displacement; UFL (3, 3)."""
    gradient = _gradient(u, 3, "deformation_gradient", "deformation_gradient")
    return ufl.Identity(3) + gradient


def plane_deformation_gradient(u: Any) -> Any:
    """F = 1 + grad u of a 2D displacement in plane strain; UFL (3, 3)."""
    gradient = _gradient(u, 2, "plane_deformation_gradient", "deformation_gradient")
    return ufl.Identity(3) + _embed(gradient)
