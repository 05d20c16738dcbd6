"""Linear viscoelasticity at small strain: springs in parallel with spring-dashpot branches.

The stress of a branch is that of its spring, whose strain e relaxes: de/dt = d(strain)/dt - e/tau.
Where the strain is linear in time during a step, x = dt/tau, the exact solution is

    e_{n+1} = exp(-x) e_n + (1 - exp(-x))/x (strain_{n+1} - strain_n).

So results do not depend on the step for such a path, and any step is stable. The state is the
viscous strain of each branch (of its dashpot), strain - e, and the strain itself.
Source: R.L. Taylor, K.S. Pister, G.L. Goudreau, Thermomechanical analysis of viscoelastic solids,
IJNME 2 (1970); J.C. Simo, T.J.R. Hughes, Computational Inelasticity, 1998, chapter 10.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.tensors import IDENTITY, deviator, trace

from .base import ExplicitSmallStrain
from .elasticity import Elasticity
from .parameters import parameter
from .parts import check_part, method


def relaxation(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The factors exp(-x) and (1 - exp(-x))/x of the module's formula; x >= 0, any shape."""
    small = x < 1e-8
    return jnp.exp(-x), jnp.where(small, 1.0 - 0.5 * x, -jnp.expm1(-x) / jnp.where(small, 1.0, x))


def mean_spring(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Factors of e_n and of the change of strain in the mean of e over a step; as above."""
    gain = relaxation(x)[1]
    small = x < 1e-2
    series = 0.5 - x / 6.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0 * (1.0 - x / 6.0)))
    return gain, jnp.where(small, series, (1.0 - gain) / jnp.where(small, 1.0, x))


class Zener(ExplicitSmallStrain):
    """Standard linear solid: a spring in parallel with a spring and a dashpot in series.

    stress = C : strain + C_1 : e with de/dt = d(strain)/dt - e/tau. Where both springs have the
    same Poisson ratio, the uniaxial relaxation modulus is E + E_1 exp(-t/tau), and the creep
    compliance 1/E - (1/E - 1/(E + E_1)) exp(-t/t_c) with t_c = tau (E + E_1)/E.

    Attributes:
        elasticity: Spring that carries the stress after a long time.
        branch: Spring of the branch.
        tau: Relaxation time (> 0), units of time.

    Source: C. Zener, Elasticity and Anelasticity of Metals, 1948.
    """

    elasticity: Elasticity
    branch: Elasticity
    tau: jax.Array | float = parameter(above=0.0)
    rate_dependent: ClassVar[bool] = True
    symmetric_tangent: ClassVar[bool] = True

    def __check_init__(self) -> None:
        for role in ("elasticity", "branch"):
            stress = method(getattr(self, role), "stress")
            check_part("Zener", f"{role}.stress", stress, ((6,),), (6,))

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """Where both springs are."""
        return self.elasticity.isotropic and self.branch.isotropic

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """Where both springs are."""
        return self.elasticity.linear and self.branch.linear

    def initial_state(self) -> dict[str, jax.Array]:
        """Strain and viscous strain; Mandel (6,)."""
        return {"strain": jnp.zeros(6), "viscous_strain": jnp.zeros(6)}

    def update(
        self, strain: jax.Array, state: dict[str, jax.Array], dt: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Strain (6,) -> stress (6,), exact for a strain that is linear in time."""
        decay, gain = relaxation(dt / self.tau)
        spring = decay * (state["strain"] - state["viscous_strain"])
        spring = spring + gain * (strain - state["strain"])
        stress = self.elasticity.stress(strain) + self.branch.stress(spring)
        return stress, {"strain": strain, "viscous_strain": strain - spring}

    def free_energy(self, strain: jax.Array, state: dict[str, jax.Array]) -> jax.Array:
        """Energy of both springs."""
        spring = strain - state["viscous_strain"]
        return self.elasticity.energy(strain) + self.branch.energy(spring)

    def dissipated_energy(
        self,
        strain: jax.Array,
        old_state: dict[str, jax.Array],
        state: dict[str, jax.Array],
        dt: jax.Array,
    ) -> jax.Array:
        """Work of the branch less what its spring stores: exact, as the update."""
        old, change = _steps(old_state, state)
        on_old, on_change = mean_spring(dt / self.tau)
        work = jnp.sum(self.branch.stress(on_old * old + on_change * change) * change)
        new = strain - state["viscous_strain"]
        return work - (self.branch.energy(new) - self.branch.energy(old))


class GeneralisedMaxwell(ExplicitSmallStrain):
    """Isotropic generalised Maxwell solid (Wiechert): a spring in parallel with n branches.

    stress = kappa tr(strain) 1 + 2 mu dev(strain) + sum_i (kappa_i tr(e_i) 1 + 2 mu_i dev(e_i)),
    with d(dev e_i)/dt = d(dev strain)/dt - dev(e_i)/tau_i, and the same for tr(e_i) with its own
    relaxation time. These are the Prony series mu + sum_i mu_i exp(-t/tau_i), and so for kappa.

    Attributes:
        kappa: Bulk modulus after a long time (>= 0), units of stress.
        mu: Shear modulus after a long time (>= 0), units of stress; 0 for a fluid.
        branch_mu: Shear moduli mu_i, (n,) (>= 0), units of stress.
        tau: Relaxation times tau_i of the deviator, (n,) (> 0), units of time.
        branch_kappa: Bulk moduli kappa_i, (n,) (>= 0); None: the volume does not relax.
        bulk_tau: Relaxation times of the volume, (n,) (> 0); None: those of the deviator.

    Source: J.C. Simo, T.J.R. Hughes, Computational Inelasticity, 1998, chapter 10.
    """

    kappa: jax.Array | float = parameter(at_least=0.0)
    mu: jax.Array | float = parameter(at_least=0.0)
    branch_mu: Any = parameter(at_least=0.0)
    tau: Any = parameter(above=0.0)
    branch_kappa: Any = parameter(at_least=0.0, default=None)
    bulk_tau: Any = parameter(above=0.0, default=None)
    rate_dependent: ClassVar[bool] = True
    symmetric_tangent: ClassVar[bool] = True
    isotropic: ClassVar[bool] = True
    linear_when_elastic: ClassVar[bool] = True

    def __check_init__(self) -> None:
        for name in ("branch_mu", "tau", "branch_kappa", "bulk_tau"):
            value = getattr(self, name)
            if value is not None and (
                np.ndim(value) != 1 or np.shape(value) != np.shape(self.branch_mu)
            ):
                raise MaterialError(
                    f"GeneralisedMaxwell: {name} should be a list of one number per branch, as "
                    f"many as branch_mu; got shape {np.shape(value)}, branch_mu has "
                    f"{np.shape(self.branch_mu)}"
                )

        if self.bulk_tau is not None and self.branch_kappa is None:
            raise MaterialError(
                "GeneralisedMaxwell: bulk_tau needs branch_kappa, the moduli that relax; got None"
            )

    def initial_state(self) -> dict[str, jax.Array]:
        """Strain, Mandel (6,), and viscous strains of the branches, (n, 6)."""
        n = np.shape(self.branch_mu)[-1]
        return {"strain": jnp.zeros(6), "viscous_strain": jnp.zeros((n, 6))}

    def _stress(self, strain: jax.Array, springs: jax.Array) -> jax.Array:
        volume = self.kappa * trace(strain)
        stress = 2.0 * self.mu * deviator(strain)
        dev, tr = _parts(springs)
        stress = stress + 2.0 * jnp.sum(self.branch_mu[:, None] * dev, axis=0)
        if self.branch_kappa is not None:
            volume = volume + jnp.sum(self.branch_kappa * tr)
        return stress + volume * IDENTITY

    def update(
        self, strain: jax.Array, state: dict[str, jax.Array], dt: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Strain (6,) -> stress (6,), exact for a strain that is linear in time."""
        old, change = state["strain"], strain - state["strain"]
        dev, tr = _parts(old[None, :] - state["viscous_strain"])
        decay, gain = relaxation(dt / self.tau)
        dev = decay[:, None] * dev + gain[:, None] * deviator(change)[None, :]
        if self.bulk_tau is not None:
            decay, gain = relaxation(dt / self.bulk_tau)
        tr = decay * tr + gain * trace(change)
        springs = dev + (tr / 3.0)[:, None] * IDENTITY[None, :]
        new = {"strain": strain, "viscous_strain": strain[None, :] - springs}
        return self._stress(strain, springs), new

    def free_energy(self, strain: jax.Array, state: dict[str, jax.Array]) -> jax.Array:
        """Energy of all springs."""
        springs = strain[None, :] - state["viscous_strain"]
        long_term = 0.5 * self.kappa * trace(strain) ** 2 + self.mu * jnp.sum(deviator(strain) ** 2)
        return long_term + 0.5 * self._product(springs, springs)

    def dissipated_energy(
        self,
        strain: jax.Array,
        old_state: dict[str, jax.Array],
        state: dict[str, jax.Array],
        dt: jax.Array,
    ) -> jax.Array:
        """Work of the branches less what their springs store: exact, as the update."""
        old, change = _steps(old_state, state)
        dev, tr = _parts(old)
        on_old, on_change = mean_spring(dt / self.tau)
        dev = on_old[:, None] * dev + on_change[:, None] * deviator(change)[None, :]
        if self.bulk_tau is not None:
            on_old, on_change = mean_spring(dt / self.bulk_tau)
        mean = dev + ((on_old * tr + on_change * trace(change)) / 3.0)[:, None] * IDENTITY[None, :]
        new = strain[None, :] - state["viscous_strain"]
        stored = 0.5 * (self._product(new, new) - self._product(old, old))
        return self._product(mean, jnp.broadcast_to(change, mean.shape)) - stored

    def _product(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """The sum of a_i : C_i : b_i over all branches; (n, 6) each -> ()."""
        (a, tr_a), (b, tr_b) = _parts(a), _parts(b)
        product = 2.0 * jnp.sum(self.branch_mu[:, None] * a * b)
        if self.branch_kappa is not None:
            product = product + jnp.sum(self.branch_kappa * tr_a * tr_b)
        return product


def _steps(
    old_state: dict[str, jax.Array], state: dict[str, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Strains of the springs at t_n, and the change of strain in the step."""
    old = old_state["strain"] - old_state["viscous_strain"]
    return old, state["strain"] - old_state["strain"]


def _parts(strains: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Deviators (n, 6) and traces (n,) of several Mandel vectors (n, 6)."""
    tr = jnp.sum(strains[:, :3], axis=1)
    return strains - (tr / 3.0)[:, None] * IDENTITY[None, :], tr
