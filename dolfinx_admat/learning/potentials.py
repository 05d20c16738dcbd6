"""Convex potentials of a symmetric tensor: energies, dissipation potentials and their duals.

All are convex, not negative, zero at zero and flat there, by construction. As an energy that
means no energy and no stress at rest; as a dissipation potential (of a rate) or its dual (of a
force), that the dissipation is never negative, by the definition of a convex function. Each is a
part like the elasticities of the library: ``stress`` is the gradient.

Source: F. As'ad, P. Avery, C. Farhat, A mechanics-informed artificial neural network approach in
data-driven constitutive modeling, Int. J. Numer. Methods Eng. 123 (2022): energies as input-convex
networks; M. Rosenkranz, K.A. Kalina, J. Brummund, W. Sun, M. Kaestner, Viscoelasticty with
physics-augmented neural networks, Comput. Mech. 74 (2024): dissipation potentials.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import Elasticity
from dolfinx_admat.tensors import deviator, to_mandel, trace

from ._arguments import check_flag, check_seed, check_unit, positive_number
from ._part import LearnedPart, check_shape, inverse_positive, positive
from .curves import MonotoneCurve
from .networks import ConvexNetwork


class Potential(LearnedPart, Elasticity):
    """A convex potential of a symmetric tensor, zero and flat at zero: write ``energy``.

    It serves as an elastic energy (strain -> stress), a dissipation potential (rate -> force), or
    a dual one (force -> rate).
    """

    linear: ClassVar[bool] = False
    convex: ClassVar[bool] = True

    def energy(self, tensor: jax.Array) -> jax.Array:
        """Value; Mandel (6,) -> ()."""
        raise NotImplementedError

    def stress(self, tensor: jax.Array) -> jax.Array:
        """Gradient; Mandel (6,) -> (6,)."""
        return jax.grad(self.energy)(tensor)


class RadialPotential(Potential):
    """Isotropic potential of the size of the deviator, and of the trace, each by a curve.

    Attributes:
        deviatoric: Curve of |dev(tensor)| (its Euclidean norm): slope of the potential.
        volumetric: Curve of tr(tensor); None: the potential does not depend on it.
    """

    deviatoric: MonotoneCurve
    volumetric: MonotoneCurve | None = None
    isotropic: ClassVar[bool] = True

    def __check_init__(self) -> None:
        for name, optional in (("deviatoric", False), ("volumetric", True)):
            curve = getattr(self, name)
            if not (isinstance(curve, MonotoneCurve) or (curve is None and optional)):
                raise MaterialError(
                    f"RadialPotential: {name} must be a MonotoneCurve; got {type(curve).__name__}"
                )

    def energy(self, tensor: jax.Array) -> jax.Array:
        """Value; Mandel (6,) -> ()."""
        s = deviator(tensor)
        value = self.deviatoric.integral_of_square(jnp.sum(s * s))
        if self.volumetric is not None:
            value = value + self.volumetric.integral(trace(tensor))
        return value


class NetworkPotential(Potential):
    """Potential by an input-convex network of invariants, of structural tensors or of components.

    value = y_unit x_unit (k/2 t^2 + m |d|^2 + N(x) - N(0) - dN/dx(0) . x), with the tensor in units
    of x_unit, its trace t and deviator d. The features x are, in this order,

    - t;
    - sqrt(1 + |d|^2) - 1, the size of the deviator, rounded; the network increases with it;
    - a : tensor a for each direction a: one family of fibres, an axis of transverse isotropy, or
      three axes of orthotropy;
    - all six components, if ``components``: any anisotropy.

    All but the second are linear in the tensor, and the second is convex, so the value is convex.
    The terms with k, m > 0 make it grow at least quadratically.

    Attributes:
        network: Of the features; increases with the second one.
        bulk: Raw coefficient k, ().
        shear: Raw coefficient m, ().
        x_unit: Size of the tensor; static.
        y_unit: Size of the gradient; static.
        directions: Unit vectors, as a tuple of triples; static.
        components: Whether the six components are features; static.
    """

    network: ConvexNetwork
    bulk: jax.Array
    shear: jax.Array
    x_unit: float = eqx.field(static=True)
    y_unit: float = eqx.field(static=True)
    directions: tuple[tuple[float, float, float], ...] = eqx.field(static=True, default=())
    components: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        check_unit("NetworkPotential", x_unit=self.x_unit, y_unit=self.y_unit)
        check_shape("NetworkPotential: bulk", self.bulk, ())
        check_shape("NetworkPotential: shear", self.shear, ())
        expected = _rising(len(self.directions), self.components)
        if not isinstance(self.network, ConvexNetwork) or self.network.increasing != expected:
            raise MaterialError(
                f"NetworkPotential: expected a ConvexNetwork with increasing={expected}; got "
                f"{getattr(self.network, 'increasing', type(self.network).__name__)}"
            )
        check_directions("NetworkPotential", self.directions)

    @classmethod
    def create(
        cls,
        *,
        x_unit: float,
        y_unit: float,
        directions: Sequence[Any] = (),
        components: bool = False,
        width: int = 8,
        depth: int = 2,
        seed: int = 0,
    ) -> "NetworkPotential":
        """A potential with random weights.

        Args:
            x_unit: Largest size of the tensor in the data, e.g. 0.02 for strains.
            y_unit: Size of the gradient there, e.g. 300 for stresses in MPa.
            directions: Vectors (3,) of structural tensors; their lengths do not matter.
            components: Take all six components: any anisotropy.
            width: Neurons of a layer.
            depth: Number of layers.
            seed: Of the random weights.

        Raises:
            MaterialError: A size is not positive, a direction no vector, or the seed none >= 0.
        """
        what = "NetworkPotential.create"
        x_unit = positive_number(what, "x_unit", x_unit)
        y_unit = positive_number(what, "y_unit", y_unit)
        check_flag(what, components=components)
        check_seed(what, seed)
        vectors = unit_vectors(what, directions)
        rises = _rising(len(vectors), components)
        network = ConvexNetwork.create(
            len(rises), width=width, depth=depth, increasing=rises, seed=seed
        )
        half = jnp.asarray(inverse_positive(0.25))
        return cls(network, half, half, x_unit, y_unit, vectors, bool(components))

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """Without directions and components."""
        return not self.directions and not self.components

    def _features(self, x: jax.Array) -> jax.Array:
        d = deviator(x)
        square = jnp.sum(d * d)
        found = [trace(x)[None], (square / (jnp.sqrt(1.0 + square) + 1.0))[None]]
        if self.directions:
            found.append(structural_tensors(self.directions) @ x)
        if self.components:
            found.append(x)
        return jnp.concatenate(found)

    def energy(self, tensor: jax.Array) -> jax.Array:
        """Value; Mandel (6,) -> ()."""
        x = tensor / self.x_unit
        features = self._features(x)
        rest = jnp.zeros_like(features)
        value, slope = jax.value_and_grad(self.network)(rest)
        # The rounded size is flat at rest already: its slope stays.
        slope = slope.at[1].set(0.0)
        convex = self.network(features) - value - slope @ features
        d = deviator(x)
        grown = 0.5 * positive(self.bulk) * trace(x) ** 2 + positive(self.shear) * jnp.sum(d * d)
        return self.x_unit * self.y_unit * (convex + grown)


def _rising(directions: int, components: bool) -> tuple[bool, ...]:
    return (False, True, *[False] * directions, *[False] * (6 if components else 0))


def unit_vectors(what: str, vectors: Any) -> tuple[tuple[float, float, float], ...]:
    """Vectors of length one, as static data.

    Raises:
        MaterialError: They are no vectors (n, 3), or one is zero.
    """
    try:
        if len(vectors) == 0:
            return ()
        array = np.asarray(vectors, float)
    except (TypeError, ValueError) as error:
        raise MaterialError(
            f"{what}: directions must be vectors (n, 3); got {vectors!r}"
        ) from error
    length = np.linalg.norm(array, axis=-1, keepdims=True) if array.ndim == 2 else np.zeros(1)
    if array.ndim != 2 or array.shape[1] != 3 or not (np.isfinite(length) & (length > 0)).all():
        raise MaterialError(
            f"{what}: directions must be vectors (n, 3) that are not 0; got {vectors!r}"
        )
    return tuple(tuple(float(c) for c in row) for row in array / length)  # type: ignore[misc]


def check_directions(what: str, directions: Any) -> None:
    """Static directions are as ``unit_vectors`` makes them: others would mean another law.

    Raises:
        MaterialError: They are no tuples of vectors of length one.
    """
    found = unit_vectors(what, directions)
    if directions != found and not (
        isinstance(directions, tuple) and np.allclose(directions, found, rtol=0.0, atol=1e-12)
    ):
        raise MaterialError(f"{what}: directions must be tuples of unit vectors; got {directions}")


def structural_tensors(directions: tuple[tuple[float, float, float], ...]) -> jax.Array:
    """The tensors a x a; Mandel (n, 6)."""
    a = jnp.asarray(directions)
    return jax.vmap(lambda v: to_mandel(jnp.outer(v, v)))(a)
