"""Learned hyperelasticity at finite strain: polyconvex by construction."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import (
    SplitHyperelastic,
    parameter,
    quadratic_volume,
    simo_miehe_volume,
)
from dolfinx_admat.materials.hyperelasticity import isochoric_part
from dolfinx_admat.materials.parts import flag
from dolfinx_admat.tensors import to_mandel, trace

from ._arguments import check_seed, check_unit, positive_number
from ._part import LearnedPart, check_shape, inverse_positive, positive
from .networks import ConvexNetwork
from .potentials import check_directions, unit_vectors


def sum_of_stretches(first: jax.Array, second: jax.Array) -> jax.Array:
    """The sum L of the principal stretches, by their invariants I1 and I2, for J = 1; () -> ().

    L^2 = I1 + 2 K and K^2 = I2 + 2 L, with the sum K of their products: no eigenvectors, and
    smooth where stretches are equal. The iteration contracts by 1 / (L K) <= 1 / 9, so that three
    steps of Newton's method are exact, and so are their derivatives.
    """
    length = jnp.sqrt(first + 2.0 * jnp.sqrt(second + 2.0 * jnp.sqrt(3.0 * first)))
    for _ in range(3):
        products = jnp.sqrt(second + 2.0 * length)
        image = jnp.sqrt(first + 2.0 * products)
        length = length + (image - length) / (1.0 - 1.0 / (image * products))
    return length


class PolyconvexEnergy(LearnedPart):
    """Isochoric energy by an increasing input-convex network of polyconvex invariants.

    W = unit (m/2 (I1 - 3) + N(x) - N(0)), with the invariants of J^(-1/3) F in x:

    - I1 - 3, I2^(3/2) - 3^(3/2) and L^(3/2) - 3^(3/2), with the sum of the stretches L;
    - <I4 - 1>^2 for each family of fibres, I4 = |J^(-1/3) F a|^2, which bears tension only.

    Each is polyconvex, and N is convex and increasing, so W is. All are zero and flat at rest, so
    energy and stress are zero there. With m > 0 the energy grows at least as a neo-Hookean one. L
    is there for rubber that softens before it stiffens: convex functions of I1 and I2 cannot.
    Each is divided by its size at the largest stretch of the data (I2: in equibiaxial tension).
    The stress and tangent of fibres start at I4 = 1 with a jump of the tangent, as in Holzapfel's
    energy.

    Attributes:
        network: Of the invariants; increases with all.
        matrix: Raw coefficient m, ().
        stress_unit: Size of stresses; static.
        stretch: Size of the principal stretches of the data (the largest one, or somewhat less); it
            makes x of size one; static.
        directions: Unit vectors of the families in the reference configuration; static.

    Source: S. Hartmann, P. Neff, Polyconvexity of generalized polynomial-type hyperelastic strain
    energy functions for near-incompressibility, IJSS 40 (2003): I1 and I2^(3/2) of J^(-1/3) F; L is
    the nuclear norm, convex in F, and L^(3/2) J^(-1/2) is convex in (L, J) as their |F|^p J^(-p/3);
    J. Schroeder, P. Neff, Invariant formulation of hyperelastic transverse isotropy based on
    polyconvex free energy functions, IJSS 40 (2003): I4; D.K. Klein et al., Polyconvex anisotropic
    hyperelasticity with neural networks, J. Mech. Phys. Solids 159 (2022).
    """

    polyconvex: ClassVar[bool] = True
    network: ConvexNetwork
    matrix: jax.Array
    stress_unit: float = eqx.field(static=True)
    stretch: float = eqx.field(static=True)
    directions: tuple[tuple[float, float, float], ...] = eqx.field(static=True, default=())

    def __check_init__(self) -> None:
        what = "PolyconvexEnergy"
        check_unit(what, stress_unit=self.stress_unit, stretch=self.stretch)
        if not self.stretch > 1.0:
            raise MaterialError(f"{what}: stretch must be > 1; got {self.stretch!r}")
        check_shape(f"{what}: matrix", self.matrix, ())
        expected = (True,) * (3 + len(self.directions))
        if not isinstance(self.network, ConvexNetwork) or self.network.increasing != expected:
            raise MaterialError(
                f"{what}: expected a ConvexNetwork with increasing={expected}; got "
                f"{getattr(self.network, 'increasing', type(self.network).__name__)}"
            )
        check_directions(what, self.directions)

    @classmethod
    def create(
        cls,
        *,
        stress: float,
        stretch: float = 1.5,
        directions: Sequence[Any] = (),
        width: int = 8,
        depth: int = 2,
        seed: int = 0,
    ) -> "PolyconvexEnergy":
        """An energy about right in size, with random weights.

        Args:
            stress: Size of the stresses in the data.
            stretch: Size of the principal stretches of the data (> 1): the largest one, or less
                if few data are there; a rough number will do.
            directions: Directions of fibre families, (families, 3).
            width: Neurons of a layer.
            depth: Number of layers.
            seed: Of the random weights.

        Raises:
            MaterialError: A size is not positive, a direction no vector, or the seed none >= 0.
        """
        what = "PolyconvexEnergy.create"
        vectors = unit_vectors(what, directions)
        stress = positive_number(what, "stress", stress)
        stretch = positive_number(what, "stretch", stretch)
        check_seed(what, seed)
        network = ConvexNetwork.create(
            3 + len(vectors), width=width, depth=depth, increasing=True, seed=seed
        )
        half = jnp.asarray(inverse_positive(0.5))
        return cls(network, half, stress, stretch, vectors)

    @property
    def sizes(self) -> np.ndarray[Any, Any]:
        """Sizes of the invariants, by which they are divided; (3 + families,)."""
        s = self.stretch
        first = s**2 + 2.0 / s - 3.0
        second = (s**4 + 2.0 / s**2) ** 1.5 - 27.0**0.5
        length = (s + 2.0 / math.sqrt(s)) ** 1.5 - 27.0**0.5
        return np.array([first, second, length, *[(s**2 - 1.0) ** 2] * len(self.directions)])

    def __call__(self, deformation_gradient: jax.Array) -> jax.Array:
        """Energy; (3, 3) -> ()."""
        F = isochoric_part(deformation_gradient)
        C = to_mandel(F.T @ F)
        first = trace(C)
        # From the components: |cof| is exact at rest, where first^2 - C : C cancels.
        second = 0.5 * (first**2 - jnp.sum(C * C))
        length = sum_of_stretches(first, second)
        x = [first - 3.0]
        x += [value * jnp.sqrt(value) - np.sqrt(27.0) for value in (second, length)]
        if self.directions:
            a = jnp.asarray(self.directions)
            stretch = jnp.sum((a @ F.T) ** 2, axis=1) - 1.0  # of directions of length one
            # Not > 0: at rest round-off would switch families on and off.
            x += list(jnp.where(stretch > 1e-12, stretch, 0.0) ** 2)
        features = jnp.stack(x) / self.sizes
        value = self.network(features) - self.network(jnp.zeros_like(features))
        matrix = 0.5 * positive(self.matrix) * features[0]
        return self.stress_unit * (matrix + value)


class LearnedHyperelastic(SplitHyperelastic):
    """Learned isochoric energy, and kappa U(J); compressible, or inside ``Incompressible``.

    Attributes:
        isochoric: The energy of J^(-1/3) F, e.g. a ``PolyconvexEnergy``, or a function of your own
            (a part may declare ``polyconvex = True``).
        kappa: Bulk modulus (> 0), units of stress; None: inside ``Incompressible`` only.
        volumetric: U(J) with U(1) = U'(1) = 0 and U''(1) = 1; the default is infinite where a
            volume vanishes or becomes infinite.

    Raises:
        MaterialError: The energy is of another kind.
    """

    isochoric: Any
    kappa: jax.Array | float | None = parameter(above=0.0, default=None)
    volumetric: Callable[[jax.Array], jax.Array] = eqx.field(
        static=True, default=simo_miehe_volume, kw_only=True
    )

    def __check_init__(self) -> None:
        if not callable(self.isochoric):
            raise MaterialError(
                "LearnedHyperelastic: isochoric must be an energy of F, such as a "
                f"PolyconvexEnergy; got {type(self.isochoric).__name__}"
            )

    @classmethod
    def create(
        cls, *, stress: float, kappa: float | None = None, **energy: Any
    ) -> "LearnedHyperelastic":
        """A law about right in size, ready for training.

        Args:
            stress: Size of the stresses in the data.
            kappa: Bulk modulus; None: for ``Incompressible``.
            energy: Further arguments of ``PolyconvexEnergy.create``: ``stretch``, ``directions``,
                ``width``, ``depth``, ``seed``.
        """
        return cls(PolyconvexEnergy.create(stress=stress, **energy), kappa)

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """Without fibres."""
        return isinstance(self.isochoric, PolyconvexEnergy) and not self.isochoric.directions

    @property
    def polyconvex(self) -> bool:  # type: ignore[override]
        """Whether the isochoric energy declares it, and U(J) is one that is known to be convex."""
        convex = self.volumetric in (simo_miehe_volume, quadratic_volume)
        return convex and flag(self.isochoric, "polyconvex")

    def isochoric_energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """Energy of the isochoric part; (3, 3) -> ()."""
        return self.isochoric(deformation_gradient)

    def volumetric_energy(self, J: jax.Array) -> jax.Array:
        """kappa U(J); () -> ()."""
        if self.kappa is None:
            raise MaterialError(
                "LearnedHyperelastic: no bulk modulus; give kappa=..., or use "
                "Incompressible(LearnedHyperelastic(...))"
            )
        return self.kappa * self.volumetric(J)
