"""Linear elasticity: parts for other laws, and a law of each of them.

A part is a subclass of ``Elasticity``: it maps an elastic strain to a stress. Its axes are those
of the strain; ``Rotated(law, rotation)`` turns a law that contains an anisotropic part.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError

from .base import ExplicitSmallStrain
from .parameters import Parameters, parameter
from .parts import check_part, flag, method


class Elasticity(Parameters):
    """What a law needs to know about its elastic part: write ``stress``.

    Attributes:
        isotropic: The part has no directions of its own.
        linear: The stress is linear in the strain, with a symmetric stiffness. A part that is not
            sets this to False and writes its ``energy``.

    Raises:
        MaterialError: A user's part is not linear and does not say so.
    """

    isotropic: ClassVar[bool] = False
    linear: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not self.linear or type(self).__module__.startswith(__package__):
            return
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self)):
            return
        a, b = 1e-3 * np.random.default_rng(0).normal(size=(2, 6))
        of = [np.asarray(self.stress(jnp.asarray(strain))) for strain in (a, b, a - 3.0 * b)]
        size = 1e-10 * max(np.abs(stress).max() for stress in of)
        linear = np.abs(of[2] - of[0] + 3.0 * of[1]).max() <= size
        if not (linear and abs(a @ of[1] - b @ of[0]) <= 1e-2 * size):
            raise MaterialError(
                f"{type(self).__name__}: the stress is not linear in the strain with a symmetric "
                "stiffness; set `linear = False`, and write `energy` if there is one"
            )

    def stress(self, elastic_strain: jax.Array) -> jax.Array:
        """Stress of an elastic strain; Mandel (6,) -> (6,)."""
        raise NotImplementedError

    def energy(self, elastic_strain: jax.Array) -> jax.Array:
        """Stored energy per volume; Mandel (6,) -> ()."""
        return 0.5 * jnp.sum(elastic_strain * self.stress(elastic_strain))


def has_energy(part: Any) -> bool:
    """Whether an elastic part has an energy: its own, or that of a linear one."""
    energy = getattr(type(part), "energy", None)
    return energy is not None and (energy is not Elasticity.energy or flag(part, "linear"))


class IsotropicElasticity(Elasticity):
    """Hooke's law of an isotropic solid, stress = lambda tr(strain) 1 + 2 mu strain.

    Attributes:
        E: Young's modulus (> 0), units of stress.
        nu: Poisson's ratio (-1 < nu < 0.5).

    Source: L.D. Landau, E.M. Lifshitz, Theory of Elasticity, 1959, sections 4 and 5.
    """

    E: jax.Array | float = parameter(above=0.0)
    nu: jax.Array | float = parameter(above=-1.0, below=0.5)
    isotropic: ClassVar[bool] = True

    @property
    def mu(self) -> jax.Array | float:
        """Shear modulus."""
        return self.E / (2.0 * (1.0 + self.nu))

    @property
    def kappa(self) -> jax.Array | float:
        """Bulk modulus."""
        return self.E / (3.0 * (1.0 - 2.0 * self.nu))

    @property
    def lmbda(self) -> jax.Array | float:
        """First Lame parameter."""
        return self.kappa - 2.0 / 3.0 * self.mu

    def stress(self, elastic_strain: jax.Array) -> jax.Array:
        """Stress of an elastic strain; Mandel (6,) -> (6,)."""
        volume = elastic_strain[0] + elastic_strain[1] + elastic_strain[2]
        unit = jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        return 2.0 * self.mu * elastic_strain + self.lmbda * volume * unit


class OrthotropicElasticity(Elasticity):
    """Hooke's law of an orthotropic solid, by its engineering constants along x, y, z = 1, 2, 3.

    strain = S : stress with S_iiii = 1/E_i, S_iijj = -nu_ij/E_i (i < j) and 1/G_ij between a
    shear stress and the engineering shear strain (twice the tensor's). Under tension along i,
    nu_ij is the contraction along j per extension along i; so nu_ji = nu_ij E_j / E_i.

    Attributes:
        E1: Young's modulus along x (> 0), units of stress.
        E2: Young's modulus along y (> 0).
        E3: Young's modulus along z (> 0).
        nu12: Poisson's ratio, contraction along y under tension along x.
        nu13: Poisson's ratio, contraction along z under tension along x.
        nu23: Poisson's ratio, contraction along z under tension along y.
        G12: Shear modulus in the plane xy (> 0), units of stress.
        G13: Shear modulus in the plane xz (> 0).
        G23: Shear modulus in the plane yz (> 0).

    Raises:
        MaterialError: The elastic energy is not positive: nu_ij^2 < E_i / E_j for each pair, and
            1 - nu12 nu21 - nu23 nu32 - nu13 nu31 - 2 nu21 nu32 nu13 > 0, must hold.

    Source: S.G. Lekhnitskii, Theory of Elasticity of an Anisotropic Body, 1963; admissible
    ratios: B.M. Lempriere, Poisson's ratio in orthotropic materials, AIAA J. 6 (1968).
    """

    E1: jax.Array | float = parameter(above=0.0)
    E2: jax.Array | float = parameter(above=0.0)
    E3: jax.Array | float = parameter(above=0.0)
    nu12: jax.Array | float = parameter()
    nu13: jax.Array | float = parameter()
    nu23: jax.Array | float = parameter()
    G12: jax.Array | float = parameter(above=0.0)
    G13: jax.Array | float = parameter(above=0.0)
    G23: jax.Array | float = parameter(above=0.0)

    def conditions(self) -> dict[str, Any]:
        """The elastic energy is positive."""
        n12, n13, n23 = self.nu12, self.nu13, self.nu23
        n21, n31, n32 = n12 * self.E2 / self.E1, n13 * self.E3 / self.E1, n23 * self.E3 / self.E2
        return {
            "nu12^2 < E1/E2": 1.0 - n12 * n21,
            "nu13^2 < E1/E3": 1.0 - n13 * n31,
            "nu23^2 < E2/E3": 1.0 - n23 * n32,
            "1 - nu12 nu21 - nu23 nu32 - nu13 nu31 - 2 nu21 nu32 nu13 > 0": (
                1.0 - n12 * n21 - n23 * n32 - n13 * n31 - 2.0 * n21 * n32 * n13
            ),
        }

    def stress(self, elastic_strain: jax.Array) -> jax.Array:
        """Stress of an elastic strain; Mandel (6,) -> (6,)."""
        E1, E2, E3 = self.E1, self.E2, self.E3
        n12, n13, n23 = self.nu12, self.nu13, self.nu23
        n21, n31, n32 = n12 * E2 / E1, n13 * E3 / E1, n23 * E3 / E2
        # The inverse of the 3x3 compliance, written out.
        det = 1.0 - n12 * n21 - n23 * n32 - n13 * n31 - 2.0 * n21 * n32 * n13
        x, y, z = (elastic_strain[i] / det for i in range(3))
        C12, C13, C23 = E1 * (n21 + n31 * n23), E1 * (n31 + n21 * n32), E2 * (n32 + n12 * n31)
        return jnp.stack(
            [
                E1 * (1.0 - n23 * n32) * x + C12 * y + C13 * z,
                C12 * x + E2 * (1.0 - n13 * n31) * y + C23 * z,
                C13 * x + C23 * y + E3 * (1.0 - n12 * n21) * z,
                2.0 * self.G12 * elastic_strain[3],
                2.0 * self.G13 * elastic_strain[4],
                2.0 * self.G23 * elastic_strain[5],
            ]
        )


class TransverselyIsotropicElasticity(Elasticity):
    """Hooke's law of a solid that is isotropic about the axis x = 1, e.g. along its fibres.

    It is the orthotropic law with E3 = E2, nu13 = nu12, G13 = G12 and G23 = E2 / (2 (1 + nu23)).

    Attributes:
        E1: Young's modulus along the axis (> 0), units of stress.
        E2: Young's modulus across the axis (> 0).
        nu12: Poisson's ratio, contraction across the axis under tension along it.
        nu23: Poisson's ratio in the plane of isotropy (-1 < nu23 < 1).
        G12: Shear modulus of the planes that contain the axis (> 0).

    Raises:
        MaterialError: The elastic energy is not positive: 2 nu12^2 < (1 - nu23) E1 / E2 must hold.

    Source: as ``OrthotropicElasticity``.
    """

    E1: jax.Array | float = parameter(above=0.0)
    E2: jax.Array | float = parameter(above=0.0)
    nu12: jax.Array | float = parameter()
    nu23: jax.Array | float = parameter(above=-1.0, below=1.0)
    G12: jax.Array | float = parameter(above=0.0)

    def conditions(self) -> dict[str, Any]:
        """The elastic energy is positive."""
        return {
            "2 nu12^2 < (1 - nu23) E1/E2": 1.0 - self.nu23 - 2.0 * self.nu12**2 * self.E2 / self.E1
        }

    def stress(self, elastic_strain: jax.Array) -> jax.Array:
        """Stress of an elastic strain; Mandel (6,) -> (6,)."""
        # In the plane of isotropy: modulus of equal extensions along y and z, and shear modulus.
        stiff = self.E2 / (1.0 - self.nu23 - 2.0 * self.nu12**2 * self.E2 / self.E1)
        G23 = self.E2 / (2.0 * (1.0 + self.nu23))
        x, across = elastic_strain[0], 0.5 * (elastic_strain[1] + elastic_strain[2])
        pressure = stiff * (across + self.nu12 * x)
        difference = G23 * (elastic_strain[1] - elastic_strain[2])
        return jnp.stack(
            [
                self.E1 * x + 2.0 * self.nu12 * pressure,
                pressure + difference,
                pressure - difference,
                2.0 * self.G12 * elastic_strain[3],
                2.0 * self.G12 * elastic_strain[4],
                2.0 * G23 * elastic_strain[5],
            ]
        )


class Elastic(ExplicitSmallStrain):
    """The law of an elastic part alone, stress = elasticity.stress(strain).

    Attributes:
        elasticity: Elastic part, an ``Elasticity`` or a function strain (6,) -> stress (6,).

    Source: that of the part.
    """

    elasticity: Any

    def __check_init__(self) -> None:
        stress = method(self.elasticity, "stress")
        check_part("Elastic", "elasticity.stress", stress, ((6,),), (6,))

    @property
    def symmetric_tangent(self) -> bool:  # type: ignore[override]
        """Whether the part has an energy."""
        return has_energy(self.elasticity)

    @property
    def has_free_energy(self) -> bool:
        """Whether the part has an energy."""
        return has_energy(self.elasticity)

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """As the part."""
        return flag(self.elasticity, "isotropic")

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """As the part."""
        return flag(self.elasticity, "linear")

    def update(self, strain: jax.Array, state: Any, dt: jax.Array) -> tuple[jax.Array, Any]:
        """Strain (6,) -> stress (6,); no state."""
        return method(self.elasticity, "stress")(strain), state

    def free_energy(self, strain: jax.Array, state: Any) -> jax.Array:
        """The stored energy."""
        return self.elasticity.energy(strain)


class LinearElastic(ExplicitSmallStrain):
    """Isotropic linear elasticity, stress = lambda tr(strain) 1 + 2 mu strain.

    Attributes:
        E: Young's modulus (> 0), units of stress.
        nu: Poisson's ratio (-1 < nu < 0.5).

    Source: as ``IsotropicElasticity``, which is its part.
    """

    E: jax.Array | float = parameter(above=0.0)
    nu: jax.Array | float = parameter(above=-1.0, below=0.5)
    symmetric_tangent: ClassVar[bool] = True
    isotropic: ClassVar[bool] = True
    linear_when_elastic: ClassVar[bool] = True

    @property
    def elasticity(self) -> IsotropicElasticity:
        """The elastic part."""
        return IsotropicElasticity(self.E, self.nu)

    def update(self, strain: jax.Array, state: Any, dt: jax.Array) -> tuple[jax.Array, Any]:
        """Strain (6,) -> stress (6,); no state."""
        return self.elasticity.stress(strain), state

    def free_energy(self, strain: jax.Array, state: Any) -> jax.Array:
        """The stored energy."""
        return self.elasticity.energy(strain)
