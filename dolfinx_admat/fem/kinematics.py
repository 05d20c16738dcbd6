"""Strain measures of a displacement in UFL.

Use the same function for the unknown and for the test function::

    F = ufl.inner(law["stress"], strain(v)) * law.dx

``strain``, ``deformation_gradient`` and ``ufl.grad`` have the dimension of the displacement; a law
that is reduced to the plane (``PlaneStress(law)``, ``PlaneStrain(law)``) takes them in 2D. The
functions named ``plane_...`` and ``axisymmetric_...`` make 3x3 tensors of a 2D displacement, which
serve 3D laws; those of axisymmetry serve ``Axisymmetry(law)`` as well. Axisymmetric problems are
integrated with ``2 pi r law.dx``, where r is the first coordinate.
"""

from typing import Any

import ufl
from ufl.domain import extract_unique_domain


def _gradient(u: Any, dimensions: tuple[int, ...], caller: str) -> Any:
    if len(u.ufl_shape) != 1 or u.ufl_shape[0] not in dimensions:
        raise ValueError(
            f"{caller}(u): u must have {' or '.join(map(str, dimensions))} components, got shape "
            f"{u.ufl_shape}"
        )
    return ufl.grad(u)


def _embed(gradient: Any, third: Any = 0.0) -> Any:
    zero, g = ufl.as_ufl(0.0), gradient
    return ufl.as_matrix(
        [[g[0, 0], g[0, 1], zero], [g[1, 0], g[1, 1], zero], [zero, zero, ufl.as_ufl(third)]]
    )


def strain(u: Any) -> Any:
    """Small strain sym(grad u) of a displacement in 3D or, for laws in the plane, in 2D.

    Returns:
        UFL (3, 3) or (2, 2).
    """
    return ufl.sym(_gradient(u, (2, 3), "strain"))


def deformation_gradient(u: Any) -> Any:
    """F = 1 + grad u of a displacement in 3D or, for laws in the plane, in 2D.

    Returns:
        UFL (3, 3) or (2, 2).
    """
    gradient = _gradient(u, (2, 3), "deformation_gradient")
    return ufl.Identity(gradient.ufl_shape[0]) + gradient


def plane_strain(u: Any) -> Any:
    """Small strain of a 2D displacement in plane strain (zz, xz, yz = 0); UFL (3, 3)."""
    return ufl.sym(_embed(_gradient(u, (2,), "plane_strain")))


def plane_gradient(u: Any) -> Any:
    """Gradient of a 2D displacement in plane strain, e.g. of a test function; UFL (3, 3)."""
    return _embed(_gradient(u, (2,), "plane_gradient"))


def plane_deformation_gradient(u: Any) -> Any:
    """F = 1 + grad u of a 2D displacement in plane strain; UFL (3, 3)."""
    return ufl.Identity(3) + _embed(_gradient(u, (2,), "plane_deformation_gradient"))


def axisymmetric_strain(u: Any, r: Any = None) -> Any:
    """Small strain of a displacement (u_r, u_z) around the axis r = 0.

    Args:
        u: Displacement, 2 components, on a mesh of the half plane (r, z).
        r: Radius; default: the first coordinate.

    Returns:
        UFL (3, 3) on the axes (r, z, theta); the hoop strain is u_r / r.
    """
    return ufl.sym(axisymmetric_gradient(u, r))


def axisymmetric_gradient(u: Any, r: Any = None) -> Any:
    """Gradient of a displacement (u_r, u_z) around the axis r = 0, e.g. of a test function.

    Args:
        u: As in ``axisymmetric_strain``.
        r: As in ``axisymmetric_strain``; in the reference configuration.

    Returns:
        UFL (3, 3) on the axes (r, z, theta).
    """
    gradient = _gradient(u, (2,), "axisymmetric_gradient")
    if r is None:
        r = ufl.SpatialCoordinate(extract_unique_domain(u))[0]
    return _embed(gradient, u[0] / r)


def axisymmetric_deformation_gradient(u: Any, r: Any = None) -> Any:
    """F = 1 + grad u of a displacement (u_r, u_z); as ``axisymmetric_gradient``; UFL (3, 3)."""
    return ufl.Identity(3) + axisymmetric_gradient(u, r)


def with_dilatation(strain: Any, dilatation: Any) -> Any:
    """A strain whose trace is replaced by an independent dilatation.

    With ``dilatation`` in a discontinuous space, held to the trace of the strain by a pressure in
    the same space, elements do not lock where the material hardly changes its volume (plastic
    flow, Poisson's ratio near 1/2). With constants in each cell this is the B-bar method: the
    dilatation is the cell's mean of div u, for the unknown and for the test function. The
    unknowns are u, p and theta, and any law for 3D strains serves::

        F = ufl.inner(law["stress"], with_dilatation(strain(v), eta)) * law.dx
        F += (p * (ufl.tr(strain(v)) - eta) + q * (ufl.tr(strain(u)) - theta)) * law.dx

    with the law's input ``with_dilatation(strain(u), theta)``. Spaces that do not lock: Q1 with
    constants (not free of pressure modes, as ever), Q2 with discontinuous P1 (``"DPC", 1``), P2
    with constants or with continuous P1. The system is indefinite: solve it directly, in blocks
    (``ufl.extract_blocks``) or with one mixed element.

    Args:
        strain: UFL (3, 3), e.g. ``plane_strain(u)``.
        dilatation: Scalar.

    Returns:
        UFL (3, 3): strain + (dilatation - tr strain) / 3.

    Source: T.J.R. Hughes, IJNME 15 (1980) 1413-1418; as a mixed method J.C. Simo, R.L. Taylor,
    K.S. Pister, CMAME 51 (1985) 177-208.
    """
    _require_3x3(strain, "with_dilatation")
    return strain + (dilatation - ufl.tr(strain)) / 3.0 * ufl.Identity(3)


def with_volume_ratio(deformation_gradient: Any, ratio: Any) -> Any:
    """A deformation gradient whose determinant is replaced by an independent volume ratio.

    What ``with_dilatation`` is at small strain: F-bar = (theta / det F)^(1/3) F. With unknowns
    w = (u, p, theta), the virtual work is that of the variation of F-bar::

        Fbar = with_volume_ratio(F, theta)
        R = ufl.inner(law["first_piola_stress"], ufl.derivative(Fbar, w, dw)) * law.dx
        R += ufl.derivative(p * (ufl.det(F) - theta) * law.dx, w, dw)

    Start from theta = 1.

    Args:
        deformation_gradient: UFL (3, 3).
        ratio: Scalar, positive.

    Returns:
        UFL (3, 3).

    Source: J.C. Simo, R.L. Taylor, K.S. Pister, CMAME 51 (1985) 177-208.
    """
    _require_3x3(deformation_gradient, "with_volume_ratio")
    return (ratio / ufl.det(deformation_gradient)) ** (1.0 / 3.0) * deformation_gradient


def _require_3x3(tensor: Any, caller: str) -> None:
    if tensor.ufl_shape != (3, 3):
        raise ValueError(
            f"{caller}: expected a 3x3 tensor, whose trace or determinant is the change of volume; "
            f"got shape {tensor.ufl_shape}. In 2D take plane_... or axisymmetric_..."
        )
