"""Generalised standard materials: a free energy and one dissipation potential, nothing else.

With the free energy psi(strain, alpha) of internal variables alpha, the stress is
d(psi)/d(strain) and the thermodynamic forces are A = -d(psi)/d(alpha). The rates of alpha follow
from ONE of

- the dissipation potential phi:            A = d(phi)/d(rate)            (``dissipation``)
- its dual phi*:                            rate = d(phi*)/dA             (``dual_dissipation``)
- a yield function f, if phi has degree 1:  rate = lambda df/dA, lambda >= 0, f <= 0,
  lambda f = 0                                                            (``yield_function``)

A yield function may have a viscous stress s(lambda) >= 0 beside it, increasing and zero at zero
(``viscous_stress``): then f <= s(lambda) takes the place of f <= 0. This is the potential phi plus
the integral of s; where s vanishes, or the loading is slow, it is the rate-independent law.

Backward Euler makes of each a variational problem for the increment of alpha, e.g. the minimum of

    psi(strain, alpha) + dt phi((alpha - alpha_n) / dt; alpha_n),

whose stationarity conditions, found by automatic differentiation, are the local equations. All
potentials may depend on the state at t_n; they are frozen there. Then, and only then, the tangent
is symmetric. If psi is convex, and phi is convex and not negative with phi(0) = 0, the increment
is unique and the dissipation is not negative.

Source: B. Halphen, Q.S. Nguyen, Sur les materiaux standards generalises, J. Mecanique 14 (1975);
M. Ortiz, L. Stainier, The variational formulation of viscoplastic constitutive updates, Comput.
Methods Appl. Mech. Engrg. 171 (1999).
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton

from ._declare import as_numbers
from ._flow_root import flow_root
from ._mistakes import explained
from .base import Material, _copied, _FiniteStrain, _SmallStrain

_FORMS = ("dissipation", "dual_dissipation", "yield_function")

# Flows below this strain are compared as they are, larger ones by a root of their size.
_FLOW_UNIT = 1e-6
# Rounds the corner of the complementarity conditions of several yield functions; a strain.
_CORNER = 1e-13
# A yield function counts as negative up to this fraction of the size of its terms: a point that
# flowed in the last step starts the next one at f = 0 up to round-off, and is elastic.
_ON_THE_SURFACE = 1e-10


def smoothed_norm(a: jax.Array, width: float | jax.Array) -> jax.Array:
    """sqrt(a . a + width^2) - width: a norm without its corner at zero; convex, zero at zero.

    For a rate-independent law written by its ``dissipation``: the declared smoothing replaces
    the elastic domain by a very steep flow. The error of the stress is of the order of
    stress * width / increment.

    Args:
        a: Array, e.g. an increment of plastic strain, Mandel (6,).
        width: Size below which the norm is rounded (> 0), units of ``a``; e.g. 1e-9 for strains.

    Returns:
        Norm; (), units of ``a``.
    """
    square = jnp.sum(jnp.square(a))
    return square / (jnp.sqrt(square + jnp.square(width)) + width)  # keeps its digits near zero


class _Given(NamedTuple):
    """What is fixed during the solve.

    Attributes:
        inputs: The dict of inputs at t_{n+1}.
        state: State at t_n.
        dt: Step.
        stiffness: Decrease of each yield function per multiplier, a unit; (), or one for each.
    """

    inputs: dict[str, jax.Array]
    state: Any
    dt: jax.Array
    stiffness: jax.Array


class GeneralisedStandardLaw(Material):
    """Any pairs (input, output) with output = d(psi)/d(input); see the module for the equations.

    Write ``free_energy``, ``initial_state``, and exactly one of ``dissipation``,
    ``dual_dissipation`` and ``yield_function`` (to which ``viscous_stress`` may be added); no
    derivative. All of the state is internal
    variables; let them be of the size of strains, since the local tolerances are.

    Attributes:
        conjugates: Output -> the input that it is the derivative with respect to. Other inputs
            (a temperature, say) are parameters of the free energy.
        rate_dependent: True unless a ``yield_function`` is written without ``viscous_stress``. A
            class that writes a smoothed rate-independent ``dissipation`` sets it to False; its
            potential then is a function of increments, and dt is not read.
        symmetric_tangent: True, because potentials see the state at t_n only.
        solver: Tolerances of the local Newton solve; compile-time constants.

    Raises:
        MaterialError: No free energy, or not exactly one of the three methods.
    """

    conjugates: ClassVar[dict[str, str]]
    symmetric_tangent: ClassVar[bool] = True
    solver: LocalNewton = eqx.field(
        static=True, default=LocalNewton(max_iterations=100), kw_only=True
    )

    def __check_init__(self) -> None:
        law = type(self).__name__
        if not self.has_free_energy:
            raise MaterialError(
                f"{law}: the method `free_energy` is missing; a generalised standard law needs "
                f"free_energy, initial_state and one of {', '.join(_FORMS)}"
            )
        written = [form for form in _FORMS if self._writes(form)]
        if len(written) != 1:
            raise MaterialError(
                f"{law}: a generalised standard law has exactly one of {', '.join(_FORMS)}; "
                f"got {' and '.join(written) or 'none of them'}"
            )

    def dissipation(self, rates: Any, internal_n: Any) -> jax.Array:
        """Smooth convex dissipation potential phi; ().

        Args:
            rates: Rates of the internal variables (their increments if not ``rate_dependent``);
                a tree like ``initial_state``.
            internal_n: Internal variables at t_n.
        """
        raise NotImplementedError

    def dual_dissipation(self, forces: Any, internal_n: Any) -> jax.Array:
        """Dual potential phi*, convex, zero or smallest at zero force; ().

        Args:
            forces: A = -d(psi)/d(alpha) at t_{n+1}; a tree like ``initial_state``.
            internal_n: Internal variables at t_n.
        """
        raise NotImplementedError

    def yield_function(self, forces: Any, internal_n: Any) -> jax.Array:
        """Convex yield function f, or several (m,), not positive in the elastic domain.

        Args:
            forces: A = -d(psi)/d(alpha) at t_{n+1}; a tree like ``initial_state``.
            internal_n: Internal variables at t_n.
        """
        raise NotImplementedError

    def viscous_stress(self, rates: jax.Array, internal_n: Any) -> jax.Array:
        """What ``yield_function`` may exceed zero by: increasing, zero at zero. Optional.

        Smooth also at zero, where Newton's method starts, and odd or constant for negative rates.

        Args:
            rates: lambda / dt, for each yield function; () or (m,), 1/time.
            internal_n: Internal variables at t_n.

        Returns:
            One for each yield function; () or (m,), units of the yield function.
        """
        raise NotImplementedError

    @property
    def rate_dependent(self) -> bool:  # type: ignore[override]
        """Whether dt is read."""
        return not self._writes("yield_function") or self._writes("viscous_stress")

    @property
    def rate_exponent(self) -> jax.Array | float:
        """Exponent n of a power law in ``dual_dissipation``: a hint that does not change results.

        Newton's method on flow = (overstress / K)^n takes several n iterations, and with n > 10
        perhaps more than the solver has; on flow^(1/n) it takes a few. A class returns its own
        exponent: ``rate_exponent = property(lambda self: self.n)``.
        """
        return 1.0

    def _writes(self, form: str) -> bool:
        return getattr(type(self), form) is not getattr(GeneralisedStandardLaw, form)

    def _number(self, method: str, value: Any, most_dimensions: int = 0) -> jax.Array:
        value = jnp.asarray(value)
        if value.ndim > most_dimensions:
            raise MaterialError(
                f"{type(self).__name__}: {method} must return a number; got shape {value.shape}"
            )
        return value

    # Derivatives of the user's functions. `internal` and `forces` are trees like the state.

    def _energy(self, inputs: dict[str, jax.Array], internal: Any) -> jax.Array:
        return self._number("free_energy", self._free_energy(inputs, internal))

    def _forces(self, increment: Any, given: _Given) -> Any:
        internal = jax.tree.map(jnp.add, given.state, increment)
        slope = jax.grad(self._energy, argnums=1)(given.inputs, internal)
        return jax.tree.map(jnp.negative, slope)

    def _potential(self, form: str, given: _Given) -> Callable[[Any], jax.Array]:
        """The user's potential as a function of rates or forces."""

        def potential(at: Any) -> jax.Array:
            with explained(self, form):
                value = getattr(self, form)(_copied(at), _copied(given.state))
            return self._number(form, value, 1 if form == "yield_function" else 0)

        return potential

    @property
    def _solver(self) -> LocalNewton:
        return self.solver

    def _prepare(self, inputs: dict[str, jax.Array], state: Any, dt: jax.Array) -> _Given:
        given = _Given(inputs, as_numbers(state), dt, jnp.ones(()))
        if not self._writes("yield_function"):
            return given
        f = self._potential("yield_function", given)
        rest = jax.tree.map(jnp.zeros_like, given.state)
        forces = self._forces(rest, given)
        values = f(forces)
        if values.ndim == 0:
            return given

        def one(k: int) -> jax.Array:
            normal = jax.grad(lambda A: f(A)[k])(forces)
            _, change = jax.jvp(lambda a: self._forces(a, given), (rest,), (normal,))
            return jax.jvp(f, (forces,), (change,))[1][k]

        stiffness = -jnp.stack([one(k) for k in range(len(values))])
        # A unit, hence a constant to all derivatives; perfectly soft surfaces get another one.
        unit = jnp.where(stiffness > 0.0, stiffness, jnp.max(jnp.abs(values)))
        return given._replace(stiffness=jax.lax.stop_gradient(unit))

    def _guess(self, given: _Given) -> dict[str, Any]:
        x = {"increment": jax.tree.map(jnp.zeros_like, given.state)}
        if self._writes("yield_function"):
            f = self._potential("yield_function", given)
            x["multiplier"] = jnp.zeros_like(f(self._forces(x["increment"], given)))
        return x

    def _elastic(self, given: _Given) -> Any:
        if not self._writes("yield_function"):
            return None
        forces = self._forces(jax.tree.map(jnp.zeros_like, given.state), given)
        f = self._potential("yield_function", given)
        values, terms = jax.jvp(f, (forces,), (forces,))
        return jnp.all(values <= _ON_THE_SURFACE * jnp.abs(terms))

    def _residual(self, x: dict[str, Any], given: _Given) -> Any:
        increment = x["increment"]
        forces = self._forces(increment, given)
        if self._writes("dissipation"):
            return self._balance(increment, forces, given)
        if self._writes("dual_dissipation"):
            rates = jax.grad(self._potential("dual_dissipation", given))(forces)
            dt = given.dt if self.rate_dependent else 1.0

            m = self.rate_exponent

            def same(flow: jax.Array, rate: jax.Array) -> jax.Array:
                return flow_root(flow, m, _FLOW_UNIT) - flow_root(dt * rate, m, _FLOW_UNIT)

            return jax.tree.map(same, increment, rates)
        f, multiplier = self._potential("yield_function", given), x["multiplier"]
        flow = jax.grad(lambda A: jnp.sum(multiplier * f(A)))(forces)
        values = f(forces)
        still = jnp.asarray(False)
        if self._writes("viscous_stress") and self.rate_dependent:
            still = given.dt == 0.0  # nothing moves in a step of zero length
            with explained(self, "viscous_stress"):
                rates = multiplier / jnp.where(still, 1.0, given.dt)
                values = values - self.viscous_stress(rates, _copied(given.state))
        if values.ndim:
            # Complementarity of lambda >= 0 and f <= 0 (Fischer, Optimization 24, 1992).
            room = -values / given.stiffness
            size = jnp.sqrt(multiplier**2 + room**2 + _CORNER**2)
            values = multiplier + room - size
        values = jnp.where(still, multiplier, values)
        return {"increment": jax.tree.map(jnp.subtract, increment, flow), "multiplier": values}

    def _balance(self, increment: Any, forces: Any, given: _Given) -> Any:
        """d(phi)/d(rate) - A; nothing moves in a step of zero length."""
        still = given.dt == 0.0 if self.rate_dependent else jnp.asarray(False)
        dt = jnp.where(still, 1.0, given.dt) if self.rate_dependent else jnp.ones(())
        rates = jax.tree.map(lambda v: v / dt, increment)
        resistance = jax.grad(self._potential("dissipation", given))(rates)
        return jax.tree.map(
            lambda v, r, A: jnp.where(still, v, r - A), increment, resistance, forces
        )

    def _finish(
        self, x: dict[str, Any], given: _Given
    ) -> tuple[dict[str, jax.Array], Any, jax.Array]:
        internal = jax.tree.map(jnp.add, given.state, x["increment"])
        slope = jax.grad(self._energy)(given.inputs, internal)
        outputs = {name: slope[of] for name, of in self.conjugates.items()}
        meant = jnp.all(x["multiplier"] >= -1e-12) if "multiplier" in x else jnp.asarray(True)
        return outputs, internal, meant


class GeneralisedStandard(_SmallStrain, GeneralisedStandardLaw):
    """Small strain: ``free_energy(strain, internal)``; stress = d(psi)/d(strain).

    Strain and stress are Mandel vectors (6,); see the module for the equations and
    ``GeneralisedStandardLaw`` for the methods. Von Mises with linear hardening, for example::

        class Mises(GeneralisedStandard):
            E: float
            ...
            def initial_state(self):
                return {"plastic_strain": jnp.zeros(6), "p": 0.0}

            def free_energy(self, strain, internal):
                elastic = strain - internal["plastic_strain"]
                hooke = IsotropicElasticity(self.E, self.nu)
                return 0.5 * elastic @ hooke.stress(elastic) + 0.5 * self.H * internal["p"] ** 2

            def yield_function(self, forces, internal_n):
                return equivalent_stress(forces["plastic_strain"]) + forces["p"] - self.sigma_y
    """

    conjugates: ClassVar[dict[str, str]] = {"stress": "strain"}


class GeneralisedStandardFiniteStrain(_FiniteStrain, GeneralisedStandardLaw):
    """Finite strain: ``free_energy(F, internal)``; first Piola-Kirchhoff stress P = d(psi)/dF.

    F and P are (3, 3); psi per reference volume; the user's psi is to be objective. Points with
    det F <= 0 are reported as inadmissible. See the module for the equations and
    ``GeneralisedStandardLaw`` for the methods.
    """

    conjugates: ClassVar[dict[str, str]] = {"first_piola_stress": "deformation_gradient"}
