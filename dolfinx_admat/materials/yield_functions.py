"""Yield functions, which also serve as plastic potentials: parts of ``Elastoviscoplastic``.

A yield function maps a stress, Mandel (6,), to an equivalent stress (); plastic flow needs
``yield_function(stress) = yield stress``. Those here are convex, and of degree one: twice the
stress gives twice the value. Derivatives exist at zero stress as well.
"""

import math
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.tensors import (
    IDENTITY,
    determinant,
    deviator,
    equivalent_strain,
    equivalent_stress,
    isotropic_function,
    trace,
)
from dolfinx_admat.tensors.mandel import ROOT2

from .parameters import Parameters, check_numbers, parameter


class YieldFunction(Parameters):
    """A yield function or plastic potential: write ``__call__``.

    A potential with a vertex writes ``flow_rule`` as well, since it has no gradient there.

    Attributes:
        isotropic: The function has no directions of its own.
        convex: It is convex, and zero at zero stress; then plastic flow dissipates.
    """

    isotropic: ClassVar[bool] = False
    convex: ClassVar[bool] = False

    def __call__(self, stress: jax.Array) -> jax.Array:
        """Equivalent stress; Mandel (6,) -> ()."""
        raise NotImplementedError


def _normalised(stress: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Von Mises stress q, and dev(stress) / q, so that powers are those of numbers near one."""
    q = equivalent_stress(stress)
    return q, deviator(stress) / jnp.where(q > 0.0, q, 1.0)


class VonMises(YieldFunction):
    """s_eq = sqrt(3/2 s : s), s = dev(stress).

    Source: R. von Mises, Mechanik der festen Koerper im plastisch-deformablen Zustand, Nachr.
    Ges. Wiss. Goettingen (1913).
    """

    isotropic: ClassVar[bool] = True
    convex: ClassVar[bool] = True

    def __call__(self, stress: jax.Array) -> jax.Array:
        """Equivalent stress; Mandel (6,) -> ()."""
        return equivalent_stress(stress)


class Hosford(YieldFunction):
    """s_eq = ((|s1 - s2|^a + |s2 - s3|^a + |s3 - s1|^a) / 2)^(1/a), s1, s2, s3 principal stresses.

    Principal stresses are not computed: the squares of their differences are the eigenvalues of
    4 J2 1 - 3 s.s, and the sum of their powers a/2 is a smooth function of J2 and J3. So
    derivatives are right where principal stresses coincide, too.

    Attributes:
        a: Exponent; static, not differentiable. 2 is von Mises, 6 and 8 are usual for bcc and fcc
            metals, Tresca's criterion is the limit of a large one. An even integer up to 100, or
            (slower) any number from 4 to 100.

    Source: W.F. Hosford, A generalized isotropic yield criterion, J. Appl. Mech. 39 (1972).
    """

    a: float = eqx.field(static=True, default=8)
    isotropic: ClassVar[bool] = True
    convex: ClassVar[bool] = True

    def __check_init__(self) -> None:
        known = isinstance(self.a, int | float) and not isinstance(self.a, bool)
        if not (known and (4 <= self.a <= 100 or self.a == 2)):
            raise MaterialError(
                f"Hosford: the exponent a must be 2 or a number from 4 to 100; got {self.a!r}"
            )

    def __call__(self, stress: jax.Array) -> jax.Array:
        """Equivalent stress; Mandel (6,) -> ()."""
        q, s = _normalised(stress)
        power = self._even(s) if self.a % 2 == 0 else self._any(s)
        return q * (0.5 * power) ** (1.0 / self.a)

    def _even(self, s: jax.Array) -> jax.Array:
        """Sum of the powers a, by Newton's identities for the roots of a cubic (q = 1)."""
        J3 = determinant(s)
        e3 = 4.0 / 27.0 - 27.0 * J3 * J3  # product of the squared differences; e1 = 2, e2 = 1
        sums = [jnp.full((), 3.0), jnp.full((), 2.0), jnp.full((), 2.0)]
        for m in range(3, int(self.a) // 2 + 1):
            sums.append(2.0 * sums[m - 1] - sums[m - 2] + e3 * sums[m - 3])
        return sums[int(self.a) // 2]

    def _any(self, s: jax.Array) -> jax.Array:
        """Sum of the powers a, by the tensor that has the squared differences as eigenvalues."""

        def power(y: jax.Array) -> jax.Array:
            return jnp.where(y > 0.0, jnp.where(y > 0.0, y, 1.0) ** (0.5 * self.a), 0.0)

        square = _square(s)
        # 4 J2 = 2 s : s
        return trace(isotropic_function(power, 2.0 * trace(square) * IDENTITY - 3.0 * square))


def _square(s: jax.Array) -> jax.Array:
    """The product s.s of a symmetric tensor with itself; Mandel (6,) -> (6,)."""
    xx, yy, zz, xy, xz, yz = (s[i] for i in range(6))  # shear components carry sqrt(2)
    return jnp.stack([
        xx * xx + 0.5 * (xy * xy + xz * xz),
        yy * yy + 0.5 * (xy * xy + yz * yz),
        zz * zz + 0.5 * (xz * xz + yz * yz),
        (xx + yy) * xy + xz * yz / ROOT2,
        (xx + zz) * xz + xy * yz / ROOT2,
        (yy + zz) * yz + xy * xz / ROOT2,
    ])  # fmt: skip


class Hill48(YieldFunction):
    """Hill's quadratic function for orthotropic solids; axes of orthotropy are x, y, z.

    s_eq^2 = F (syy - szz)^2 + G (szz - sxx)^2 + H (sxx - syy)^2 + 2 L syz^2 + 2 M szx^2
    + 2 N sxy^2. G + H = 1 makes it the stress of a tensile test along x; F = G = H = 1/2,
    L = M = N = 3/2 is von Mises. ``Rotated(law, rotation)`` turns the axes.

    Attributes:
        F: Coefficient, dimensionless; F + G > 0, F + H > 0, G + H > 0, FG + GH + HF > 0 (convex).
        G: Coefficient.
        H: Coefficient.
        L: Coefficient of the shear stress yz (> 0).
        M: Coefficient of the shear stress xz (> 0).
        N: Coefficient of the shear stress xy (> 0).

    Raises:
        MaterialError: The function is not convex.

    Source: R. Hill, A theory of the yielding and plastic flow of anisotropic metals, Proc. R.
    Soc. Lond. A 193 (1948).
    """

    F: jax.Array | float = parameter()
    G: jax.Array | float = parameter()
    H: jax.Array | float = parameter()
    L: jax.Array | float = parameter(above=0.0, default=1.5)
    M: jax.Array | float = parameter(above=0.0, default=1.5)
    N: jax.Array | float = parameter(above=0.0, default=1.5)
    convex: ClassVar[bool] = True

    def conditions(self) -> dict[str, Any]:
        """The function is convex."""
        F, G, H = self.F, self.G, self.H
        found = {
            "F + G > 0": F + G, "G + H > 0": G + H, "F + H > 0": F + H,
            "FG + GH + HF > 0": F * G + G * H + H * F,
        }  # fmt: skip
        return {f"{what} (else Hill48 is not convex)": value for what, value in found.items()}

    @classmethod
    def from_r_values(cls, r0: float, r45: float, r90: float) -> "Hill48":
        """A rolled sheet in the plane xy, with its yield stress along x as the equivalent one.

        Args:
            r0: Lankford coefficient, width strain / thickness strain, of tension along x (> 0).
            r45: The same at 45 degrees (> -1/2).
            r90: The same along y (> 0).

        Returns:
            H = r0/(1 + r0), G = 1 - H, F = H/r90, N = (F + G)(1/2 + r45); L = M = 3/2.
        """
        check_numbers("Hill48.from_r_values", (0.0, {"r0": r0, "r90": r90}), (-0.5, {"r45": r45}))
        H = r0 / (1.0 + r0)
        G, F = 1.0 - H, H / r90
        return cls(F, G, H, N=(F + G) * (0.5 + r45))

    @classmethod
    def from_stress_ratios(
        cls,
        xx: float = 1.0,
        yy: float = 1.0,
        zz: float = 1.0,
        xy: float = 1.0,
        xz: float = 1.0,
        yz: float = 1.0,
    ) -> "Hill48":
        """By yield stresses relative to a reference yield stress; all 1 is von Mises.

        Args:
            xx: Yield stress of tension along x / reference (> 0).
            yy: The same along y.
            zz: The same along z.
            xy: Yield stress of shear in the plane xy / (reference / sqrt(3)) (> 0).
            xz: The same in the plane xz.
            yz: The same in the plane yz.
        """
        ratios = {"xx": xx, "yy": yy, "zz": zz, "xy": xy, "xz": xz, "yz": yz}
        check_numbers("Hill48.from_stress_ratios", (0.0, ratios))
        x, y, z = xx**-2, yy**-2, zz**-2
        return cls(
            F=0.5 * (y + z - x),
            G=0.5 * (z + x - y),
            H=0.5 * (x + y - z),
            L=1.5 * yz**-2,
            M=1.5 * xz**-2,
            N=1.5 * xy**-2,
        )

    def __call__(self, stress: jax.Array) -> jax.Array:
        """Equivalent stress; Mandel (6,) -> ()."""
        q, s = _normalised(stress)
        normal = self.F * (s[1] - s[2]) ** 2 + self.G * (s[2] - s[0]) ** 2
        normal = normal + self.H * (s[0] - s[1]) ** 2
        shear = self.N * s[3] * s[3] + self.M * s[4] * s[4] + self.L * s[5] * s[5]
        square = normal + shear
        return q * jnp.sqrt(jnp.where(q > 0.0, square, 1.0))


Fit = Literal["compression", "extension", "plane strain"]


class DruckerPrager(YieldFunction):
    """s_eq = q + alpha p, q = sqrt(3/2 s : s), p = tr(stress)/3 (tension positive).

    The yield stress R of the law is the cohesion-like constant of q + alpha p = R. The cone has
    its apex at p = R/alpha; there the flow is any that the cone of normals holds: its volume is
    alpha dp, its deviator is at most that of the smooth part. So the return to the apex needs
    alpha > 0 of the plastic potential; without, it is a failed point.

    A potential ``flow=DruckerPrager(alpha')`` beside it makes a non-associated law: alpha' = 0
    flows without a change of volume, which has no return from beyond the apex.

    Attributes:
        alpha: Slope (>= 0), dimensionless.

    Source: D.C. Drucker, W. Prager, Soil mechanics and plastic analysis or limit design,
    Quart. Appl. Math. 10 (1952).
    """

    alpha: jax.Array | float = parameter(at_least=0.0)
    isotropic: ClassVar[bool] = True
    convex: ClassVar[bool] = True

    @classmethod
    def from_friction_angle(
        cls, friction_angle: float, fit: Fit = "compression"
    ) -> "DruckerPrager":
        """The cone that agrees with Mohr-Coulomb's criterion; also for an angle of dilatancy.

        Args:
            friction_angle: Friction angle phi, radians (0 <= phi < pi/2).
            fit: Where they agree: ``"compression"``, 6 sin(phi) / (3 - sin(phi)), the outer cone;
                ``"extension"``, 6 sin(phi) / (3 + sin(phi)); ``"plane strain"``, 3 sqrt(3)
                tan(phi) / sqrt(9 + 12 tan(phi)^2), limit loads of associated flow.
        """
        return cls(_cone(friction_angle, fit)[0])

    @staticmethod
    def yield_stress(cohesion: float, friction_angle: float, fit: Fit = "compression") -> float:
        """The yield stress R that belongs to ``from_friction_angle``.

        Args:
            cohesion: Cohesion c (> 0), units of stress.
            friction_angle: Friction angle, radians.
            fit: As in ``from_friction_angle``.
        """
        check_numbers("DruckerPrager.yield_stress", (0.0, {"cohesion": cohesion}))
        return cohesion * _cone(friction_angle, fit)[1]

    def __call__(self, stress: jax.Array) -> jax.Array:
        """Equivalent stress; Mandel (6,) -> ()."""
        return equivalent_stress(stress) + self.alpha / 3.0 * trace(stress)

    def flow_rule(
        self, flow: jax.Array, dp: jax.Array, stress: jax.Array, compliance: jax.Array
    ) -> jax.Array:
        """Zero where ``flow`` is normal to the cone at ``stress``, apex included; (6,).

        The deviator d of the flow is the point of the ball |d|_eq <= dp that lies farthest in the
        direction of s, that is, the projection of d + s/(2 mu) onto the ball.
        """
        reach = deviator(flow) + compliance * deviator(stress)
        size = equivalent_strain(reach)
        outside = size > dp
        factor = jnp.where(outside, dp / jnp.where(outside, size, 1.0), 1.0)
        return flow - factor * reach - self.alpha / 3.0 * dp * IDENTITY


def _cone(angle: float, fit: Fit) -> tuple[float, float]:
    """Slope, and yield stress per cohesion."""
    if not 0.0 <= angle < math.pi / 2:
        raise MaterialError(
            f"DruckerPrager: the friction angle must be in [0, pi/2) radians; got {angle!r}"
        )
    sine, cosine, tangent = math.sin(angle), math.cos(angle), math.tan(angle)
    if fit == "plane strain":
        root = math.sqrt(9.0 + 12.0 * tangent**2)
        return 3.0 * math.sqrt(3.0) * tangent / root, 3.0 * math.sqrt(3.0) / root
    if fit not in ("compression", "extension"):
        raise MaterialError(
            f"DruckerPrager: fit must be 'compression', 'extension' or 'plane strain'; got {fit!r}"
        )
    below = 3.0 - sine if fit == "compression" else 3.0 + sine
    return 6.0 * sine / below, 6.0 * cosine / below
