"""Hyperelastic laws, given by their stored energy per reference volume.

Each energy is a sum W(F) = W_iso(F) + W_vol(J), J = det F. So the same law serves compressible
solids as it is, and incompressible ones inside ``Incompressible``, which keeps W_iso and puts a
pressure in the place of W_vol.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.tensors import isotropic_function, to_mandel, trace

from ._declare import SCALAR, TENSOR
from .base import ExplicitLaw, Hyperelastic
from .elasticity import IsotropicElasticity
from .parameters import parameter


def quadratic_volume(J: jax.Array) -> jax.Array:
    """U(J) = (J - 1)^2 / 2."""
    return 0.5 * (J - 1.0) ** 2


def logarithmic_volume(J: jax.Array) -> jax.Array:
    """U(J) = ln(J)^2 / 2."""
    return 0.5 * jnp.log(J) ** 2


def simo_miehe_volume(J: jax.Array) -> jax.Array:
    """U(J) = (J^2 - 1) / 4 - ln(J) / 2."""
    return 0.25 * (J**2 - 1.0) - 0.5 * jnp.log(J)


def positive_determinant(F: jax.Array) -> jax.Array:
    """The determinant of F, or 1 where it is not positive; (3, 3) -> ().

    Such a point is reported as inadmissible; powers and logarithms need a number all the same.
    """
    J = jnp.linalg.det(F)
    return jnp.where(J > 0.0, J, 1.0)


def isochoric_part(F: jax.Array) -> jax.Array:
    """J^(-1/3) F, whose determinant is 1; (3, 3) -> (3, 3)."""
    return positive_determinant(F) ** (-1.0 / 3.0) * F


class SplitHyperelastic(Hyperelastic):
    """W(F) = W_iso(F) + W_vol(J): write ``isochoric_energy`` and ``volumetric_energy``.

    Where the first depends on J^(-1/3) F only, dW_vol/dJ is the mean Cauchy stress.
    """

    def isochoric_energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """What remains of the energy in an incompressible solid; (3, 3) -> ()."""
        raise NotImplementedError

    def volumetric_energy(self, J: jax.Array) -> jax.Array:
        """What the pressure replaces in an incompressible solid; () -> ()."""
        raise NotImplementedError

    def energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """Deformation gradient (3, 3) -> stored energy ()."""
        volume = self.volumetric_energy(positive_determinant(deformation_gradient))
        return self.isochoric_energy(deformation_gradient) + volume


class NeoHookean(SplitHyperelastic):
    """Neo-Hookean solid, W = mu/2 (J^(-2/3) tr(F^T F) - 3) + kappa/2 (J - 1)^2.

    Attributes:
        E: Young's modulus at small strain (> 0), units of stress.
        nu: Poisson's ratio at small strain (-1 < nu < 0.5); E and nu give mu and kappa. Inside
            ``Incompressible`` only mu = E / (2 (1 + nu)) matters.

    Source: J.C. Simo, R.L. Taylor, K.S. Pister, Variational and projection methods for the
    volume constraint in finite deformation elasto-plasticity, CMAME 51 (1985): the split; the
    volumetric function is that of reference case ST-S08.
    """

    E: jax.Array | float = parameter(above=0.0)
    nu: jax.Array | float = parameter(above=-1.0, below=0.5)
    isotropic: ClassVar[bool] = True

    def isochoric_energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """mu/2 (J^(-2/3) tr(F^T F) - 3); (3, 3) -> ()."""
        F = isochoric_part(deformation_gradient)
        return 0.5 * IsotropicElasticity(self.E, self.nu).mu * (jnp.sum(F * F) - 3.0)

    def volumetric_energy(self, J: jax.Array) -> jax.Array:
        """kappa/2 (J - 1)^2; () -> ()."""
        return IsotropicElasticity(self.E, self.nu).kappa * quadratic_volume(J)


class _WithBulkModulus(SplitHyperelastic):
    """W_vol = kappa U(J), which the laws below share.

    Attributes:
        kappa: Bulk modulus (> 0), units of stress; None for a law that is only used inside
            ``Incompressible``.
        volumetric: U(J) with U(1) = U'(1) = 0 and U''(1) = 1: ``quadratic_volume``,
            ``logarithmic_volume``, ``simo_miehe_volume``, or your own.
    """

    kappa: jax.Array | float | None = parameter(above=0.0, default=None, kw_only=True)
    volumetric: Callable[[jax.Array], jax.Array] = eqx.field(
        static=True, default=quadratic_volume, kw_only=True
    )

    def volumetric_energy(self, J: jax.Array) -> jax.Array:
        """kappa U(J); () -> ()."""
        if self.kappa is None:
            law = type(self).__name__
            raise MaterialError(
                f"{law}: no bulk modulus; give kappa=..., or use Incompressible({law}(...))"
            )
        return self.kappa * self.volumetric(J)


class MooneyRivlin(_WithBulkModulus):
    """Mooney-Rivlin solid, W = C10 (I1 - 3) + C01 (I2 - 3) + kappa U(J).

    I1 and I2 are the invariants of J^(-2/3) F^T F; at small strain mu = 2 (C10 + C01).

    Attributes:
        C10: Coefficient of I1, units of stress.
        C01: Coefficient of I2, units of stress; C10 + C01 > 0.
        kappa: Bulk modulus (> 0), units of stress; None: inside ``Incompressible`` only.
        volumetric: U(J); default ``quadratic_volume``, (J - 1)^2 / 2.

    Source: M. Mooney, A theory of large elastic deformation, J. Appl. Phys. 11 (1940); R.S.
    Rivlin, Large elastic deformations of isotropic materials IV, Phil. Trans. R. Soc. A 241 (1948).
    """

    C10: jax.Array | float = parameter()
    C01: jax.Array | float = parameter()
    isotropic: ClassVar[bool] = True

    def conditions(self) -> dict[str, Any]:
        """Stable at small strain."""
        return {"C10 + C01 > 0": self.C10 + self.C01}

    def isochoric_energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """C10 (I1 - 3) + C01 (I2 - 3); (3, 3) -> ()."""
        F = isochoric_part(deformation_gradient)
        C = to_mandel(F.T @ F)
        first, second = trace(C), 0.5 * (trace(C) ** 2 - jnp.sum(C * C))
        return self.C10 * (first - 3.0) + self.C01 * (second - 3.0)


class Ogden(_WithBulkModulus):
    """Ogden solid, W = sum_p mu_p/alpha_p (l1^alpha_p + l2^alpha_p + l3^alpha_p - 3) + kappa U(J).

    l1, l2, l3 are the principal values of J^(-1/3) F. At small strain mu = sum_p mu_p alpha_p / 2.
    (Some codes write 2 mu_p / alpha_p^2 for the coefficient: their mu_p is ours times alpha_p / 2.)

    Attributes:
        mu: Coefficients mu_p of n terms, (n,), units of stress; sum_p mu_p alpha_p > 0.
        alpha: Exponents alpha_p, (n,), not 0; mu_p alpha_p > 0 for each p is sufficient for a
            stable law.
        kappa: Bulk modulus (> 0), units of stress; None: inside ``Incompressible`` only.
        volumetric: U(J); default ``quadratic_volume``, (J - 1)^2 / 2.

    Source: R.W. Ogden, Large deformation isotropic elasticity: on the correlation of theory and
    experiment for incompressible rubberlike solids, Proc. R. Soc. Lond. A 326 (1972).
    """

    mu: Any
    alpha: Any = parameter(
        accept=lambda v: np.isfinite(v) & (v != 0.0), expected="numbers that are not 0"
    )
    isotropic: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if np.shape(self.mu) != np.shape(self.alpha):
            raise MaterialError(
                "Ogden: mu and alpha should have one number per term each; got shapes "
                f"{np.shape(self.mu)} and {np.shape(self.alpha)}"
            )

    def conditions(self) -> dict[str, Any]:
        """Stable at small strain."""
        return {"sum mu_p alpha_p > 0": jnp.sum(jnp.atleast_1d(self.mu * self.alpha), axis=-1)}

    def isochoric_energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """Sum of all terms; (3, 3) -> ()."""
        F = isochoric_part(deformation_gradient)
        mu, alpha = jnp.atleast_1d(self.mu), jnp.atleast_1d(self.alpha)

        def term(x: jax.Array) -> jax.Array:  # of the squared stretch
            return jnp.sum(mu / alpha * jnp.expm1(0.5 * alpha * jnp.log(x)))

        # As the trace of a tensor function its derivatives exist at coalescing stretches.
        return trace(isotropic_function(term, to_mandel(F.T @ F)))


class HolzapfelGasserOgden(_WithBulkModulus):
    """Fibre families in a neo-Hookean matrix, as in arteries.

    W = mu/2 (I1 - 3) + sum_i k1/(2 k2) (exp(k2 <e_i>^2) - 1) + kappa U(J),
    e_i = dispersion (I1 - 3) + (1 - 3 dispersion) (I4_i - 1), I4_i = |F a_i|^2: with the invariants
    of J^(-1/3) F (the split of the source), or of F itself in e_i if ``isochoric_fibres`` is
    False (which is the better choice where J differs from 1). The Macaulay bracket <e_i> is the
    tension-compression switch: a family counts only where its mean strain e_i is positive. (The
    source switches where I4_i > 1; without dispersion it is the same, with it the stress would
    jump.) At rest, on the switch, the tangent is that of the matrix alone.

    Attributes:
        mu: Shear modulus of the matrix (> 0), units of stress; c in the source.
        k1: Stiffness of the fibres (>= 0), units of stress; one number, or one per family.
        k2: Exponent (> 0), dimensionless; one number, or one per family.
        directions: Directions a_i of the families in the reference configuration, (families, 3);
            their lengths do not matter.
        dispersion: 0 (all fibres parallel) to 1/3 (isotropic); one number, or one per family;
            kappa in the source.
        kappa: Bulk modulus (> 0), units of stress; None: inside ``Incompressible`` only.
        volumetric: U(J); default ``quadratic_volume``, (J - 1)^2 / 2.
        isochoric_fibres: Whether fibres see J^(-1/3) F (True) or F (False).

    Source: T.C. Gasser, R.W. Ogden, G.A. Holzapfel, Hyperelastic modelling of arterial layers
    with distributed collagen fibre orientations, J. R. Soc. Interface 3 (2006). Fibres that see
    F: D.R. Nolan et al., J. Mech. Behav. Biomed. Mater. 39 (2014).
    """

    mu: jax.Array | float = parameter(above=0.0)
    k1: jax.Array | float = parameter(at_least=0.0)
    k2: jax.Array | float = parameter(above=0.0)
    directions: Any = parameter(
        accept=lambda v: np.all(np.linalg.norm(v, axis=-1) > 0.0, axis=-1),
        expected="vectors (families, 3) that are not 0",
    )
    dispersion: jax.Array | float = parameter(at_least=0.0, at_most=1.0 / 3.0, default=0.0)
    isochoric_fibres: bool = eqx.field(static=True, default=True, kw_only=True)

    def __check_init__(self) -> None:
        if np.ndim(self.directions) < 2 or np.shape(self.directions)[-1] != 3:
            raise MaterialError(
                "HolzapfelGasserOgden: directions should have shape (families, 3); "
                f"got {np.shape(self.directions)}"
            )
        families = np.shape(self.directions)[-2]
        for name in ("k1", "k2", "dispersion"):
            if np.shape(getattr(self, name)) not in ((), (families,)):
                raise MaterialError(
                    f"HolzapfelGasserOgden: {name} should be one number, or one for each of the "
                    f"{families} families; got shape {np.shape(getattr(self, name))}"
                )

    def isochoric_energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """Matrix and fibres; (3, 3) -> ()."""
        F = isochoric_part(deformation_gradient)
        matrix = 0.5 * self.mu * (jnp.sum(F * F) - 3.0)
        F = F if self.isochoric_fibres else deformation_gradient
        a = jnp.asarray(self.directions)
        stretch = jnp.sum((a @ F.T) ** 2, axis=1) / jnp.sum(a * a, axis=1)  # squared
        strain = self.dispersion * (jnp.sum(F * F) - 3.0)
        strain = strain + (1.0 - 3.0 * self.dispersion) * (stretch - 1.0)
        # Not > 0: at rest round-off would switch families on and off.
        strain = jnp.where(strain > 1e-12, strain, 0.0)
        fibres = self.k1 / (2.0 * self.k2) * jnp.expm1(self.k2 * strain**2)
        return matrix + jnp.sum(fibres)


class Incompressible(ExplicitLaw):
    """An incompressible solid with the isochoric energy of a law, and a pressure.

    P = dW_iso/dF + p J F^-T and the constraint J - 1 = 0: inputs F and p, outputs P and J - 1,
    all derivatives of W_iso(F) + p (J - 1). p is positive in tension; for an energy of J^(-1/3) F
    it is the mean Cauchy stress at J = 1. With ``kappa`` the constraint is J - 1 - p/kappa = 0
    (perturbed Lagrangian), which is the law with W_vol = kappa/2 (J - 1)^2 in mixed form. The
    tangent of all four blocks is symmetric, and indefinite.

    Attributes:
        law: A law that states its ``isochoric_energy``, e.g. ``MooneyRivlin``. Its volumetric part
            is not used.
        kappa: Bulk modulus (> 0), units of stress; None: exactly incompressible.

    Source: G.A. Holzapfel, Nonlinear Solid Mechanics, 2000, section 6.3.
    """

    law: SplitHyperelastic
    kappa: jax.Array | float | None = parameter(above=0.0, default=None)
    inputs: ClassVar[dict[str, tuple[int, ...]]] = {
        "deformation_gradient": TENSOR,
        "pressure": SCALAR,
    }
    outputs: ClassVar[dict[str, tuple[int, ...]]] = {
        "first_piola_stress": TENSOR,
        "volume_constraint": SCALAR,
    }
    symmetric_tangent: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not isinstance(self.law, SplitHyperelastic):
            raise MaterialError(
                f"Incompressible: {type(self.law).__name__} does not fit: expected a law with an "
                "isochoric_energy (a SplitHyperelastic), e.g. MooneyRivlin"
            )

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """As the law."""
        return self.law.isotropic

    @property
    def polyconvex(self) -> bool:
        """As the law."""
        return self.law.polyconvex

    def potential(self, deformation_gradient: jax.Array, pressure: jax.Array) -> jax.Array:
        """W_iso(F) + p (J - 1) - p^2 / (2 kappa); (3, 3) and () -> ()."""
        volume = jnp.linalg.det(deformation_gradient) - 1.0
        compliance = 0.0 if self.kappa is None else 0.5 * pressure**2 / self.kappa
        energy = self.law.isochoric_energy(deformation_gradient)
        return energy + pressure * volume - compliance

    def update(
        self, inputs: dict[str, jax.Array], state: Any, dt: jax.Array
    ) -> tuple[dict[str, jax.Array], Any]:
        """Both outputs; no state."""
        F, p = inputs["deformation_gradient"], inputs["pressure"]
        stress, constraint = jax.grad(self.potential, argnums=(0, 1))(F, p)
        return {"first_piola_stress": stress, "volume_constraint": constraint}, state

    def free_energy(self, inputs: dict[str, jax.Array], state: Any) -> jax.Array:
        """Stored energy W_iso + p^2 / (2 kappa)."""
        F, p = inputs["deformation_gradient"], inputs["pressure"]
        stored = 0.0 if self.kappa is None else 0.5 * p**2 / self.kappa
        return self.law.isochoric_energy(F) + stored
