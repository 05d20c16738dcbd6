"""Small-strain plasticity and viscoplasticity composed of exchangeable parts."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton

from .base import ImplicitSmallStrain
from .elasticity import has_energy
from .parts import check_part, flag, method

# Halvings of the overstress for its start value, where the inverse of the rate is not known.
BISECTIONS = 30


class Trial(NamedTuple):
    """What a step without plastic flow would reach, at t_n + theta dt.

    Attributes:
        strain: Total strain at t_{n+1}; Mandel (6,).
        state: State at t_n.
        dt: Step; ().
        elastic_strain: Without further flow; Mandel (6,).
        end: The same at t_{n+1}; Mandel (6,).
        relative: Stress minus back stress, without further flow; Mandel (6,).
        overstress: Yield function minus yield stress, where the law asks for them; ().
        stiffness: A shear stiffness (2 mu), for scales of equations; ().
    """

    strain: jax.Array
    state: dict[str, jax.Array]
    dt: jax.Array
    elastic_strain: jax.Array
    end: jax.Array
    relative: jax.Array
    overstress: jax.Array
    stiffness: jax.Array


class Elastoviscoplastic(ImplicitSmallStrain):
    """Elastic, plastic or viscoplastic law, composed of parts; general residual, one Newton solve.

    stress = elasticity(strain - plastic_strain)
    f = yield_function(stress - X) - R(p),  X = sum of the back stresses
    d(plastic_strain) = dp dg/dstress (stress - X),  g = flow, or the yield function
    no viscosity:  f <= 0, dp >= 0, f dp = 0
    viscosity:     dp/dt = rate(<f>)

    Unknowns: the increments of plastic strain (6,), of p () and of each back strain (6,). With
    viscosity also the overstress f, over a stiffness: large exponents then do no harm, whatever
    the step is, as neither dp nor f has to be computed from the other one while iterating; and it
    is negative where the law is elastic.

    With theta < 1 (generalised mid-point rule), flow direction, back strains and the rate of a
    viscous flow are those at t_n + theta dt, with variables interpolated linearly. The yield
    condition f <= 0 of a law without viscosity holds at t_{n+1} all the same, which makes the
    tangent unsymmetric; imposed at t_n + theta dt, f would alternate in sign from step to step.

    A part is a module or a plain function; ``parts`` has the table of what each must have. What
    the law says of itself follows from its parts: the tangent is symmetric where the flow is
    associated, the elasticity has an energy, and each kinematic part says so; the free energy is
    that of the elasticity plus what hardening parts store, and is declared where the dissipation
    cannot be negative (associated flow, convex yield function, theta = 1, kinematic parts with
    ``stored_energy``).

    Attributes:
        elasticity: ``stress(elastic_strain)``, e.g. ``IsotropicElasticity``.
        yield_function: Equivalent stress, e.g. ``VonMises``.
        hardening: Yield stress R(p), e.g. ``VoceHardening``; None: R = 0, needs a viscosity.
        kinematic: Any number of back stresses, e.g. ``ArmstrongFrederick``.
        flow: Plastic potential g; None: the yield function (associated).
        viscosity: ``rate(overstress)``, e.g. ``NortonFlow``; None: rate-independent.
        theta: 1 is backward Euler, 1/2 the mid-point rule (0 < theta <= 1); static.
        solver: Tolerances of the local Newton solve; static.

    Raises:
        MaterialError: A part does not do what it must, or theta is out of range.

    Source: J.C. Simo, T.J.R. Hughes, Computational Inelasticity, 1998, chapters 2 and 3 (return
    mapping as one system); J.-L. Chaboche, Int. J. Plasticity 5 (1989); mid-point rule: M. Ortiz,
    E.P. Popov, Int. J. Numer. Methods Eng. 21 (1985).
    """

    elasticity: Any
    yield_function: Any
    hardening: Any = None
    kinematic: Any = ()
    flow: Any = None
    viscosity: Any = None
    theta: float = eqx.field(static=True, default=1.0)
    # Yield surfaces with sharp corners take many damped iterations, if steps are large.
    solver: LocalNewton = eqx.field(
        static=True, default=LocalNewton(max_iterations=60), kw_only=True
    )

    def __check_init__(self) -> None:
        name = type(self).__name__
        if not isinstance(self.kinematic, tuple | list):
            object.__setattr__(self, "kinematic", (self.kinematic,))
        if not (isinstance(self.theta, int | float) and 0.0 < self.theta <= 1.0):
            raise MaterialError(f"{name}: theta must be in (0, 1]; got {self.theta!r}")
        if self.hardening is None and self.viscosity is None:
            raise MaterialError(
                f"{name}: without hardening the yield stress is 0, which needs a viscosity; "
                "got neither"
            )
        tensor, number = (6,), ()
        check_part(name, "elasticity.stress", method(self.elasticity, "stress"), (tensor,), tensor)
        check_part(name, "yield_function", self.yield_function, (tensor,), number)
        if self.hardening is not None:
            check_part(name, "hardening", self.hardening, (number,), number)
        for i, part in enumerate(self.kinematic):
            role = f"kinematic[{i}]"
            check_part(name, f"{role}.back_stress", method(part, "back_stress"), (tensor,), tensor)
            if hasattr(part, "increment"):
                arguments = (tensor, tensor, number, number)
                check_part(name, f"{role}.increment", part.increment, arguments, tensor)
        if self.flow is not None:
            check_part(name, "flow", self.flow, (tensor,), number)
        if self.viscosity is not None:
            check_part(name, "viscosity.rate", method(self.viscosity, "rate"), (number,), number)

    # What follows from the parts.

    @property
    def rate_dependent(self) -> bool:  # type: ignore[override]
        """Whether there is viscosity or static recovery."""
        return self.viscosity is not None or self._recovers

    @property
    def symmetric_tangent(self) -> bool:  # type: ignore[override]
        """Whether the flow is associated, and all parts have potentials."""
        return (
            self.flow is None
            and has_energy(self.elasticity)
            and all(flag(part, "symmetric_tangent") for part in self.kinematic)
            and (
                self.theta == 1.0
                or (self.viscosity is not None and flag(self.elasticity, "linear"))
            )
        )

    @property
    def isotropic(self) -> bool:  # type: ignore[override]
        """Whether all parts are."""
        parts = (self.elasticity, self.yield_function, *self.kinematic)
        parts = parts if self.flow is None else (*parts, self.flow)
        return all(flag(part, "isotropic") for part in parts)

    @property
    def linear_when_elastic(self) -> bool:  # type: ignore[override]
        """Whether the elasticity is linear, and nothing recovers meanwhile."""
        return flag(self.elasticity, "linear") and not self._recovers

    @property
    def has_free_energy(self) -> bool:
        """Whether parts declare energies such that the dissipation cannot be negative."""
        return (
            self.flow is None
            and self.theta == 1.0
            and has_energy(self.elasticity)
            and flag(self.yield_function, "convex")
            and all(hasattr(part, "stored_energy") for part in self.kinematic)
        )

    @property
    def _recovers(self) -> bool:
        return any(flag(part, "recovers") for part in self.kinematic)

    def free_energy(self, strain: jax.Array, state: dict[str, jax.Array]) -> jax.Array:
        """Elastic energy, and what the hardening parts store; ()."""
        energy = self.elasticity.energy(strain - state["plastic_strain"])
        if hasattr(self.hardening, "stored_energy"):
            energy = energy + self.hardening.stored_energy(state["equivalent_plastic_strain"])
        for name, part in self._back_strains.items():
            energy = energy + part.stored_energy(state[name])
        return energy

    # The equations.

    @property
    def _back_strains(self) -> dict[str, Any]:
        """The kinematic parts by the names of their state variables."""
        return {f"back_strain_{i}": part for i, part in enumerate(self.kinematic, start=1)}

    def initial_state(self) -> dict[str, jax.Array]:
        """plastic_strain (6,), equivalent_plastic_strain (), back_strain_1 (6,), ...

        With theta < 1 also elastic_strain (6,).
        """
        tensors = ["plastic_strain", *self._back_strains]
        if self.theta != 1.0:
            tensors.append("elastic_strain")
        state = {name: jnp.zeros(6) for name in tensors}
        return {**state, "equivalent_plastic_strain": jnp.zeros(())}

    def _relative(self, elastic_strain: jax.Array, back_strains: dict[str, Any]) -> jax.Array:
        """Stress minus back stresses; Mandel (6,)."""
        stress = method(self.elasticity, "stress")(elastic_strain)
        for name, part in self._back_strains.items():
            stress = stress - method(part, "back_stress")(back_strains[name])
        return stress

    def _yield_stress(self, p: jax.Array) -> jax.Array:
        return jnp.zeros(()) if self.hardening is None else self.hardening(p)

    def prepare(self, strain: jax.Array, state: dict[str, jax.Array], dt: jax.Array) -> Trial:
        """Elastic predictor."""
        end = elastic_strain = strain - state["plastic_strain"]
        if self.theta != 1.0:
            begin = state["elastic_strain"]
            elastic_strain = begin + self.theta * (end - begin)
        relative = self._relative(elastic_strain, state)
        limit = self._yield_stress(state["equivalent_plastic_strain"])
        shear = jnp.asarray(np.array([1.0, -1.0, 0.0, 0.0, 0.0, 0.0]) / np.sqrt(2.0))
        stress = method(self.elasticity, "stress")
        _, change = jax.jvp(stress, (elastic_strain,), (shear,))
        stiffness = jax.lax.stop_gradient(jnp.sum(shear * change))
        judged = relative if self._judged == self.theta else self._relative(end, state)
        overstress = self.yield_function(judged) - limit
        return Trial(strain, state, dt, elastic_strain, end, relative, overstress, stiffness)

    @property
    def _judged(self) -> float:
        """Where in the step the yield condition holds, or the overstress is taken."""
        return 1.0 if self.viscosity is None else self.theta

    def _no_flow(self, trial: Trial) -> jax.Array:
        # A point that flowed in the last step starts the next one with f = 0 up to round-off; it
        # must count as elastic, so that the first tangent after a load reversal is elastic.
        p = trial.state["equivalent_plastic_strain"]
        return trial.overstress <= 1e-10 * self._yield_stress(p)

    def elastic(self, trial: Trial) -> jax.Array | None:
        """No flow while f(trial) <= 0, up to round-off; with static recovery there is no test."""
        return None if self._recovers else self._no_flow(trial)

    def _viscous(self, x: dict[str, jax.Array], trial: Trial) -> jax.Array:
        """The increment dp that goes with the overstress; ()."""
        overstress = trial.stiffness * x["overstress"]
        flows = overstress > 0.0
        rate = method(self.viscosity, "rate")(jnp.where(flows, overstress, 1.0))
        return trial.dt * jnp.where(flows, rate, 0.0)

    def guess(self, trial: Trial) -> dict[str, jax.Array]:
        """No flow where the law is elastic, else somewhat less flow than the answer.

        Half of what would bring a perfectly plastic solid back to the yield surface: most
        hardening is concave in p, so that Newton's method converges monotonically from there.
        """
        direction = jax.grad(self.flow or self.yield_function)(trial.relative)
        half = 0.5 * jnp.where(self._no_flow(trial), 0.0, trial.overstress)
        stress = method(self.elasticity, "stress")
        _, change = jax.jvp(stress, (trial.elastic_strain,), (direction,))
        steepness = self._judged * jnp.sum(direction * change)
        dp = half / jnp.where(steepness > 0.0, steepness, 1.0)
        x = {}
        if self.viscosity is not None:
            start = self._start(half, dp / jnp.where(trial.dt > 0.0, trial.dt, 1.0))
            start = jnp.where(self._no_flow(trial), jnp.minimum(trial.overstress, 0.0), start)
            x["overstress"] = start / trial.stiffness
            dp = self._viscous(x, trial)
        flow = dp * direction
        x |= {"flow": flow, "dp": dp}
        for name, part in self._back_strains.items():
            x[name] = self._recalled(part, trial.state[name], flow, dp, trial.dt)
        return x

    def _recalled(self, part: Any, back_strain: jax.Array, *step: jax.Array) -> jax.Array:
        """Increment of a back strain for a guessed flow: implicit, where recovery is linear.

        Recovery that is large in the step would throw an explicit guess to the far side of the
        yield surface. Where the increment falls with the back strain by a factor, two values say
        which (Aitken's formula).
        """
        first = self._increment(part, back_strain, *step)
        change = self._increment(part, back_strain + self.theta * first, *step) - first
        size = jnp.sum(first * first)
        slope = jnp.sum(first * change) / jnp.where(size > 0.0, size, 1.0)
        return first / (1.0 - jnp.minimum(slope, 0.0))

    def without_flow(self, trial: Trial) -> dict[str, jax.Array]:
        """The elastic predictor."""
        still = jnp.zeros(6), jnp.zeros(())
        x = {"flow": still[0], "dp": still[1]}
        if self.viscosity is not None:
            x["overstress"] = trial.overstress / trial.stiffness
        for name, part in self._back_strains.items():
            x[name] = self._increment(part, trial.state[name], *still, trial.dt)
        return x

    def _start(self, most: jax.Array, fastest: jax.Array) -> jax.Array:
        """The smaller one of ``most`` and the overstress of the rate ``fastest``; ()."""
        inverse, rate = getattr(self.viscosity, "overstress", None), method(self.viscosity, "rate")
        if inverse is not None:
            return jax.lax.stop_gradient(jnp.minimum(most, inverse(fastest)))
        low, high = jnp.zeros(()), most
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            above = rate(middle) > fastest
            low, high = jnp.where(above, low, middle), jnp.where(above, middle, high)
        return jax.lax.stop_gradient(high)

    @staticmethod
    def _increment(part: Any, back_strain: jax.Array, flow: jax.Array, *step: jax.Array) -> Any:
        """What a kinematic part makes of the flow; a plain function follows it."""
        return part.increment(back_strain, flow, *step) if hasattr(part, "increment") else flow

    def residual(self, x: dict[str, jax.Array], trial: Trial) -> dict[str, jax.Array]:
        """Flow rule (6,), yield condition (), evolution of each back strain (6,)."""
        theta, state = self.theta, trial.state
        flow, dp = x["flow"], x["dp"]
        at = {name: state[name] + theta * x[name] for name in self._back_strains}
        relative = judged = self._relative(trial.elastic_strain - theta * flow, at)
        if self._judged != theta:
            end = {name: state[name] + x[name] for name in self._back_strains}
            judged = self._relative(trial.end - flow, end)
        p = state["equivalent_plastic_strain"] + self._judged * dp
        f = (self.yield_function(judged) - self._yield_stress(p)) / trial.stiffness
        if self.viscosity is not None:
            r = {"overstress": f - x["overstress"], "dp": dp - self._viscous(x, trial)}
        elif self._recovers:  # there is no elastic test: f <= 0, dp >= 0, f dp = 0 as an equation
            r = {"dp": jnp.where(dp + f > 0.0, f, -dp)}
        else:
            r = {"dp": f}
        potential = self.yield_function if self.flow is None else self.flow
        if hasattr(potential, "flow_rule"):
            r["flow"] = potential.flow_rule(flow, dp, relative, 1.0 / trial.stiffness)
        else:
            r["flow"] = flow - dp * jax.grad(potential)(relative)
        for name, part in self._back_strains.items():
            r[name] = x[name] - self._increment(part, at[name], flow, dp, trial.dt)
        return r

    def finish(
        self, x: dict[str, jax.Array], trial: Trial
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Stress and state at t_{n+1}."""
        plastic_strain = trial.state["plastic_strain"] + x["flow"]
        elastic_strain = trial.strain - plastic_strain
        state = {name: trial.state[name] + x[name] for name in self._back_strains}
        state["plastic_strain"] = plastic_strain
        p = trial.state["equivalent_plastic_strain"]
        state["equivalent_plastic_strain"] = p + x["dp"]
        if self.theta != 1.0:
            state["elastic_strain"] = elastic_strain
        return method(self.elasticity, "stress")(elastic_strain), state

    def admissible(
        self, outputs: jax.Array, state: dict[str, jax.Array], trial: Trial
    ) -> jax.Array:
        """No negative flow, and a yield stress that softening has not used up."""
        p = state["equivalent_plastic_strain"]
        grows = p >= trial.state["equivalent_plastic_strain"] - 1e-12
        return grows if self.hardening is None else grows & (self._yield_stress(p) > 0.0)
