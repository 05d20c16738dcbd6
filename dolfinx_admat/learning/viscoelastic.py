"""Learned viscoelasticity: a spring and Maxwell branches in parallel."""

from typing import Any

import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import GeneralisedStandard, IsotropicElasticity, Parameters
from dolfinx_admat.materials.elasticity import has_energy
from dolfinx_admat.materials.parts import check_part, flag

from ._arguments import check_flag, check_seed, check_solver, check_whole
from .curves import MonotoneCurve
from .potentials import NetworkPotential, RadialPotential
from .scales import Scales, check_scales


class MaxwellBranch(Parameters):
    """A spring and a dashpot in series; each part classical or learned.

    Attributes:
        spring: ``energy`` and ``stress`` of its strain, e.g. ``IsotropicElasticity`` or a
            ``NetworkPotential``.
        dashpot: Dissipation potential: ``energy`` of the rate of viscous strain, convex, zero and
            flat at zero, e.g. a ``RadialPotential`` or a ``NetworkPotential``.

    Raises:
        MaterialError: A part does not do what it must.
    """

    spring: Any
    dashpot: Any

    def __check_init__(self) -> None:
        for role in ("spring", "dashpot"):
            part = getattr(self, role)
            if not has_energy(part):
                raise MaterialError(
                    f"MaxwellBranch: {role} must have an energy; got {type(part).__name__}"
                )
            check_part("MaxwellBranch", f"{role}.energy", part.energy, ((6,),), ())


class LearnedViscoelastic(GeneralisedStandard):
    """A spring and n Maxwell branches in parallel, with springs and dashpots learned or not.

    psi = psi_0(strain) + sum_k psi_k(strain - alpha_k), phi = sum_k phi_k(d(alpha_k)/dt): the
    increments of the viscous strains alpha_k minimise psi + dt phi (backward Euler), one smooth
    convex problem that has one solution for any step. Convex, positive potentials make the
    dissipation positive, whatever the weights are.

    Attributes:
        branches: One ``MaxwellBranch`` or more; each has an internal viscous strain, Mandel (6,).
        spring: Energy psi_0 of the strain, what remains after a long time; None: a fluid.

    Raises:
        MaterialError: There is no branch, or a part is of another kind.

    Source: B. Halphen, Q.S. Nguyen, J. Mecanique 14 (1975); learned: M. Rosenkranz et al.,
    Comput. Mech. 74 (2024).
    """

    branches: tuple[MaxwellBranch, ...]
    spring: Any = None

    def __check_init__(self) -> None:
        name = type(self).__name__
        check_solver(name, self.solver)
        if isinstance(self.branches, MaxwellBranch):
            object.__setattr__(self, "branches", (self.branches,))
        if not isinstance(self.branches, tuple | list) or not self.branches:
            raise MaterialError(f"{name}: expected one or more branches; got {self.branches!r}")
        for branch in self.branches:
            if not isinstance(branch, MaxwellBranch):
                raise MaterialError(
                    f"{name}: branches must be MaxwellBranches; got {type(branch).__name__}"
                )
        object.__setattr__(self, "branches", tuple(self.branches))
        if self.spring is not None:
            if not has_energy(self.spring):
                raise MaterialError(
                    f"{name}: the spring must have an energy; got {type(self.spring).__name__}"
                )
            check_part(name, "spring.energy", self.spring.energy, ((6,),), ())

    @classmethod
    def create(
        cls,
        scales: Scales,
        *,
        branches: int = 3,
        nonlinear: bool = False,
        terms: int = 4,
        seed: int = 0,
    ) -> "LearnedViscoelastic":
        """A law about right in size for data, ready for training.

        Args:
            scales: Sizes of the data, with rates, e.g. ``Scales.of(experiments)``.
            branches: Number of branches, so of internal variables.
            nonlinear: Springs are input-convex networks rather than linear.
            terms: Sigmoids of each dashpot's curves, beside their linear part.
            seed: Of the random weights.

        Raises:
            MaterialError: The number of branches is no whole number >= 1, or there are no rates,
                or another argument is not as described.
        """
        what = f"{cls.__name__}.create"
        check_scales(what, scales)
        check_whole(what, branches=branches, terms=terms)
        check_flag(what, nonlinear=nonlinear)
        check_seed(what, seed)
        if scales.rates is None:
            raise MaterialError(f"{what}: the scales have no rates; give Scales(rates=(low, high))")
        share = 1.0 / (branches + 1)
        low, high = scales.rates

        def spring(number: int) -> Any:
            if nonlinear:
                return NetworkPotential.create(
                    x_unit=scales.strain, y_unit=share * scales.E * scales.strain,
                    seed=seed + number,
                )  # fmt: skip
            return IsotropicElasticity(share * scales.E, scales.nu)

        made = []
        for k in range(branches):
            # Relaxation times spread over those that the data can show.
            rate = high * (low / high) ** ((k + 0.5) / branches)
            stress = share * scales.E * scales.strain
            span = (0.03 * rate, 3.0 * rate)
            curves = [
                MonotoneCurve.create(
                    x=span, y=stress, terms=terms, linear=True, seed=(seed, k, part)
                )
                for part in range(2)
            ]
            made.append(MaxwellBranch(spring(k + 1), RadialPotential(*curves)))
        return cls(tuple(made), spring(0))

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """Whether all parts are."""
        parts: list[Any] = [] if self.spring is None else [self.spring]
        for branch in self.branches:
            parts += [branch.spring, branch.dashpot]
        return all(flag(part, "isotropic") for part in parts)

    def initial_state(self) -> dict[str, jax.Array]:
        """viscous_strain (n, 6) of the branches."""
        return {"viscous_strain": jnp.zeros((len(self.branches), 6))}

    def free_energy(self, strain: jax.Array, internal: dict[str, jax.Array]) -> jax.Array:
        """Energy of all springs; ()."""
        energy = jnp.zeros(()) if self.spring is None else self.spring.energy(strain)
        for k, branch in enumerate(self.branches):
            energy = energy + branch.spring.energy(strain - internal["viscous_strain"][k])
        return energy

    def dissipation(
        self, rates: dict[str, jax.Array], internal_n: dict[str, jax.Array]
    ) -> jax.Array:
        """Dissipation potential of all dashpots; ()."""
        each = [b.dashpot.energy(rates["viscous_strain"][k]) for k, b in enumerate(self.branches)]
        return jnp.sum(jnp.stack(each))
