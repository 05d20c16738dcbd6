"""Learned plasticity and viscoplasticity: elastoplastic branches in parallel."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton
from dolfinx_admat.materials import (
    GeneralisedStandard,
    IsotropicElasticity,
    Parameters,
    VonMises,
)
from dolfinx_admat.materials.elasticity import has_energy
from dolfinx_admat.materials.parts import check_part, flag

from ._arguments import check_flag, check_seed, check_solver, check_whole
from .gauges import AnisotropicGauge, IsotropicGauge
from .parts import LearnedHardening, LearnedViscosity
from .scales import Scales, check_scales

Gauge = Literal["von Mises", "isotropic", "anisotropic"]


class PlasticBranch(Parameters):
    """An elastoplastic or elastoviscoplastic element; each part classical or learned.

    Attributes:
        elasticity: ``energy`` and ``stress`` of the elastic strain, e.g. ``IsotropicElasticity`` or
            a ``NetworkPotential``.
        yield_function: Convex, of degree one: ``VonMises``, ``IsotropicGauge``, ...
        hardening: Yield stress R(p) with ``stored_energy``: ``LearnedHardening``, ...
        viscosity: ``LearnedViscosity``, or any part with a smooth ``overstress(rate)``; None: the
            branch is rate-independent.

    Raises:
        MaterialError: A part does not do what it must.
    """

    elasticity: Any
    yield_function: Any
    hardening: Any
    viscosity: Any = None

    def __check_init__(self) -> None:
        name, tensor, number = type(self).__name__, (6,), ()
        if not has_energy(self.elasticity):
            raise MaterialError(
                f"{name}: elasticity must have an energy; got {type(self.elasticity).__name__}"
            )
        check_part(name, "elasticity.energy", self.elasticity.energy, (tensor,), number)
        check_part(name, "yield_function", self.yield_function, (tensor,), number)
        if not flag(self.yield_function, "convex"):
            raise MaterialError(
                f"{name}: yield_function must declare that it is convex, since the dissipation "
                f"follows from that; got {type(self.yield_function).__name__}"
            )
        check_part(name, "hardening", self.hardening, (number,), number)
        stored = getattr(self.hardening, "stored_energy", None)
        check_part(name, "hardening.stored_energy", stored, (number,), number)
        if self.viscosity is not None:
            overstress = getattr(self.viscosity, "overstress", None)
            check_part(name, "viscosity.overstress", overstress, (number,), number)


class LearnedElastoviscoplastic(GeneralisedStandard):
    """A spring and n elastoplastic or elastoviscoplastic branches in parallel, all learned or not.

    psi = psi_0(strain) + sum_k (psi_k(strain - alpha_k) + H_k(p_k)), dH_k/dp = R_k(p) - R_k(0);
    f_k = g_k(A_k) - R_k(p_k) <= s_k(dp_k/dt), A_k = d(psi_k)/d(strain): flow and hardening follow
    from the two potentials. One branch with a spring is mixed hardening with a linear back stress;
    several, with different yield stresses, make the round hysteresis of metals, as Masing's and
    Iwan's models. Because energies, yield functions and viscosities are convex by construction, no
    path dissipates a negative energy, whatever the weights are.

    It is an ordinary law: local Newton, implicit tangent, wrappers, kernels, finite elements.

    Attributes:
        branches: One ``PlasticBranch`` or more: each has an internal plastic strain, Mandel (6,),
            and an equivalent plastic strain, ().
        spring: Energy psi_0 of the strain; None: without, and the stress of branches is all.
        solver: Tolerances of the local Newton solve; static.

    Raises:
        MaterialError: There is no branch, or a part is of another kind.

    Source: B. Halphen, Q.S. Nguyen, J. Mecanique 14 (1975); branches in parallel: W.D. Iwan, A
    distributed-element model for hysteresis, J. Appl. Mech. 33 (1966).
    """

    branches: tuple[PlasticBranch, ...]
    spring: Any = None
    solver: LocalNewton = eqx.field(
        static=True, default=LocalNewton(max_iterations=100), kw_only=True
    )

    def __check_init__(self) -> None:
        name = type(self).__name__
        check_solver(name, self.solver)
        if isinstance(self.branches, PlasticBranch):
            object.__setattr__(self, "branches", (self.branches,))
        if not isinstance(self.branches, tuple | list) or not self.branches:
            raise MaterialError(f"{name}: expected one or more branches; got {self.branches!r}")
        for branch in self.branches:
            if not isinstance(branch, PlasticBranch):
                raise MaterialError(
                    f"{name}: branches must be PlasticBranches; got {type(branch).__name__}"
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
        branches: int = 2,
        gauge: Gauge | Any = "von Mises",
        pressure: bool = False,
        viscous: bool | None = None,
        terms: int = 4,
        linear: bool = False,
        seed: int = 0,
    ) -> "LearnedElastoviscoplastic":
        """A law about right in size for data, ready for training.

        Args:
            scales: Sizes of the data, e.g. ``Scales.of(experiments)``.
            branches: Number of branches, so of internal variables.
            gauge: Yield function of each branch: ``"von Mises"``, ``"isotropic"`` and
                ``"anisotropic"`` (learned), or a part of your own for all.
            pressure: The learned isotropic yield function sees the mean stress.
            viscous: Branches have a learned viscosity; None: where ``scales`` has rates.
            terms: Sigmoids of each learned curve.
            linear: Hardening has a linear part.
            seed: Of the random weights.

        Raises:
            MaterialError: The number of branches is no whole number >= 1, there is no such gauge,
                viscosity is asked for and the scales have no rates, or another argument is not as
                described.
        """
        what = f"{cls.__name__}.create"
        check_scales(what, scales)
        check_whole(what, branches=branches, terms=terms)
        viscous = scales.rates is not None if viscous is None else viscous
        check_flag(what, pressure=pressure, viscous=viscous, linear=linear)
        check_seed(what, seed)
        if viscous and scales.rates is None:
            raise MaterialError(f"{what}: a viscosity needs rates; give Scales(rates=(low, high))")
        made = []
        for k in range(branches):
            share = 0.95 / branches
            # Yield strains from half to one and a half times the average: branches must differ.
            factor = 1.0 if branches == 1 else 0.4 + 1.2 * k / (branches - 1)
            stress = 0.6 * scales.stress * share * factor
            viscosity = None
            if viscous and scales.rates is not None:
                viscosity = LearnedViscosity.create(
                    rates=scales.rates, overstress=0.3 * stress, terms=terms, seed=(seed, k, 1)
                )
            made.append(
                PlasticBranch(
                    IsotropicElasticity(share * scales.E, scales.nu),
                    _gauge(cls.__name__, gauge, pressure, seed + k),
                    LearnedHardening.create(
                        yield_stress=stress,
                        strain=(0.02 * scales.strain, 3.0 * scales.strain),
                        terms=terms,
                        linear=linear,
                        seed=(seed, k, 0),
                    ),
                    viscosity,
                )
            )
        return cls(tuple(made), IsotropicElasticity(0.05 * scales.E, scales.nu))

    @property
    def rate_dependent(self) -> bool:  # type: ignore[override]
        """Whether a branch has a viscosity."""
        return any(branch.viscosity is not None for branch in self.branches)

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """Whether all parts are."""
        parts: list[Any] = [] if self.spring is None else [self.spring]
        for branch in self.branches:
            parts += [branch.elasticity, branch.yield_function]
        return all(flag(part, "isotropic") for part in parts)

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """Whether all springs are linear."""
        springs = [b.elasticity for b in self.branches]
        springs += [] if self.spring is None else [self.spring]
        return all(flag(part, "linear") for part in springs)

    def initial_state(self) -> dict[str, jax.Array]:
        """plastic_strain (n, 6) and equivalent_plastic_strain (n,) of the branches."""
        n = len(self.branches)
        return {"plastic_strain": jnp.zeros((n, 6)), "equivalent_plastic_strain": jnp.zeros(n)}

    def free_energy(self, strain: jax.Array, internal: dict[str, jax.Array]) -> jax.Array:
        """Energy of all springs, and what hardening stores; ()."""
        energy = jnp.zeros(()) if self.spring is None else self.spring.energy(strain)
        for k, branch in enumerate(self.branches):
            energy = energy + branch.elasticity.energy(strain - internal["plastic_strain"][k])
            stored = branch.hardening.stored_energy
            energy = energy + stored(internal["equivalent_plastic_strain"][k])
        return energy

    def _each(self, values: Sequence[jax.Array]) -> jax.Array:
        """One number for one branch, which spares the solver the complementarity conditions."""
        return values[0] if len(values) == 1 else jnp.stack(values)

    def yield_function(
        self, forces: dict[str, jax.Array], internal_n: dict[str, jax.Array]
    ) -> jax.Array:
        """f_k of all branches; () or (n,), units of stress."""
        found = []
        for k, branch in enumerate(self.branches):
            # The force of p is -(R(p) - R(0)).
            hardened = forces["equivalent_plastic_strain"][k]
            initial = branch.hardening(jnp.zeros(()))
            value = branch.yield_function(forces["plastic_strain"][k])
            found.append(value + hardened - initial)
        return self._each(found)

    def viscous_stress(self, rates: jax.Array, internal_n: dict[str, jax.Array]) -> jax.Array:
        """s_k of all branches; () or (n,), units of stress."""
        each = jnp.atleast_1d(rates)
        return self._each([
            jnp.zeros(()) if b.viscosity is None else b.viscosity.overstress(each[k])
            for k, b in enumerate(self.branches)
        ])  # fmt: skip


def _gauge(name: str, gauge: Any, pressure: bool, seed: int) -> Any:
    if not isinstance(gauge, str):
        return gauge
    if gauge == "isotropic" or (gauge == "von Mises" and pressure):
        return IsotropicGauge.create(pressure=pressure, seed=seed)
    if gauge == "anisotropic" and not pressure:
        return AnisotropicGauge.create(seed=seed)
    if gauge == "von Mises":
        return VonMises()
    raise MaterialError(
        f"{name}.create: gauge must be 'von Mises', 'isotropic', 'anisotropic' (without pressure) "
        f"or a yield function; got {gauge!r} with pressure={pressure}"
    )
