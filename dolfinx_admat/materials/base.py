"""Base classes: what a user writes to define the constitutive law of one material point.

A law is an ``equinox.Module``: its fields are its parameters. Number fields become float64
arrays, so that a new value neither recompiles nor loses its gradient. All methods are pure
``jax.numpy`` code for ONE point: no batch axis, no Python branch on values.
"""

import dataclasses
import difflib
from typing import Any, ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.implicit import LocalNewton, LocalResult, LocalStatus, Strategy, solve

from ._declare import SYMMETRIC, TENSOR, Shape, as_numbers, check_outputs, check_state
from ._mistakes import explained, where_defined
from .parameters import Parameters


def _copied(tree: Any) -> Any:
    """Fresh containers, so that a law that writes into its state dict spoils nobody's data."""
    return jax.tree.map(lambda leaf: leaf, tree)


class Step(NamedTuple):
    """Default of ``ImplicitLaw.prepare``: what is known before the local solve.

    Attributes:
        given: The input (small and finite strain) or the dict of inputs, at t_{n+1}.
        state: State at t_n.
        dt: Step.
    """

    given: Any
    state: Any
    dt: jax.Array


class Material(Parameters):
    """A constitutive law: inputs and the state at t_n give outputs and the state at t_{n+1}.

    Attributes:
        inputs: Declared inputs, name to shape.
        outputs: Declared outputs, name to shape.
        rate_dependent: The law reads ``dt``; solving without one is then an error.
        symmetric_tangent: d(output)/d(input) is symmetric, so that CG may be used.
        isotropic: The law, also with the state that it reaches, has no directions of its own.
            Then the plane-stress reduction has one unknown instead of three.
        linear_when_elastic: Outputs are affine in the inputs where ``elastic`` holds (everywhere
            for a law in closed form). Then a reduction skips the solve at elastic points as well.
        state_kinds: What state variables are outside the law, where it matters: six components
            are a symmetric tensor (Mandel) unless declared otherwise here, e.g.
            ``{"slip": Shape((6,), "slips")}``.
    """

    inputs: ClassVar[dict[str, tuple[int, ...]]]
    outputs: ClassVar[dict[str, tuple[int, ...]]]
    rate_dependent: ClassVar[bool] = False
    symmetric_tangent: ClassVar[bool] = False
    isotropic: ClassVar[bool] = False
    linear_when_elastic: ClassVar[bool] = False
    state_kinds: ClassVar[dict[str, Shape]] = {}
    _to_write: ClassVar[tuple[str, ...]] = ()

    def __check_init__(self) -> None:
        for method in self._to_write:
            if getattr(type(self), method) in _UNWRITTEN:
                law = type(self).__name__
                own = [name for name in vars(type(self)) if not name.startswith("_")]
                close = difflib.get_close_matches(method, own, n=1)
                raise MaterialError(
                    f"{law}: the method `{method}` is missing"
                    + (f" (`{close[0]}` looks like it)" if close else "")
                    + f"; this kind of law needs {', '.join(self._to_write)}"
                )

    def check_step(self, dt: float | None, name: str | None = None) -> None:
        """Check a step size.

        Args:
            dt: Step, units of time; None where the law does not read it.
            name: Name in the message; default: the law's class.

        Raises:
            MaterialError: dt is negative, NaN, or missing for a rate-dependent law.
        """
        name = type(self).__name__ if name is None else name
        if dt is None:
            if self.rate_dependent:
                raise MaterialError(
                    f"{name}: a rate-dependent law needs the step size; got dt=None, give dt=..."
                )
            return
        try:
            good = np.ndim(dt) == 0 and not isinstance(dt, bool | str) and 0 <= float(dt) < np.inf
        except TypeError:  # e.g. a complex number
            good = False
        if not good:
            raise MaterialError(f"{name}: dt must be a finite number >= 0; got {dt!r}")

    def initial_state(self) -> Any:
        """State of a virgin point: a pytree (usually a dict) of numbers and arrays."""
        return {}

    def free_energy(self, inputs: Any, state: Any) -> jax.Array:
        """Free energy per (reference) volume; (), units of stress. Optional.

        Args:
            inputs: As the law's other methods get them, at the time of ``state``.
            state: State.

        With it, ``WithEnergies`` gives stored and dissipated energy, and ``audit`` checks that
        the dissipation is not negative.
        """
        raise NotImplementedError

    def dissipated_energy(self, inputs: Any, old_state: Any, state: Any, dt: Any) -> jax.Array:
        """Energy dissipated in a step, per (reference) volume; (), units of stress. Optional.

        Default: -sum_k d(psi)/d(state_k) : (state_k at t_{n+1} - state_k at t_n) at t_{n+1}, with
        the free energy psi. A law that knows better writes it: where forces vary much during a
        step, or the state does not change along a straight line. Inputs are at t_{n+1}, as the
        law's other methods get them; ``old_state`` is the state at t_n.
        """
        slope = jax.grad(lambda value: self.free_energy(inputs, value))(state)
        lost = jax.tree.map(lambda a, b, s: -jnp.sum(s * (a - b)), state, old_state, slope)
        return sum(jax.tree.leaves(lost), start=jnp.zeros(()))

    @property
    def has_free_energy(self) -> bool:
        """Whether the law declares a free energy."""
        return type(self).free_energy is not Material.free_energy

    @final
    def integrate(
        self,
        inputs: dict[str, jax.Array],
        state: Any,
        dt: jax.Array,
        tangent: Strategy | None = None,
    ) -> tuple[dict[str, jax.Array], Any, LocalResult]:
        """Advance one point from t_n to t_{n+1}; what the rest of the library calls.

        Args:
            inputs: Declared inputs at t_{n+1}.
            state: State at t_n; never modified.
            dt: Step t_{n+1} - t_n; (), units of time.
            tangent: Way to differentiate a local solve; None leaves it to the law.

        Returns:
            Outputs and state at t_{n+1}, and the status: read it before using the others.

        Raises:
            MaterialError: A mistake in the law's code, with its file and line (trace time).
        """
        prepared = self._prepare(inputs, state, dt)
        x = self._guess(prepared)
        if jax.tree.leaves(x):
            options = self._solver
            if tangent is not None:
                options = dataclasses.replace(options, tangent=tangent)

            def equations(x: Any, args: tuple[Any, Any]) -> Any:
                law, prepared = args
                return law._residual(x, prepared)

            elastic = self._elastic(prepared)
            with explained(self, "residual"):
                x, result = solve(equations, x, (self, prepared), elastic=elastic, options=options)
        else:
            result = LocalResult.explicit()
        outputs, new_state, meant = self._finish(x, prepared)
        meant = meant & self._inputs_admissible(inputs)
        result = result.downgraded(~meant, LocalStatus.INADMISSIBLE)
        leaves = jax.tree.leaves((outputs, new_state))
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
        return outputs, new_state, result.downgraded(~finite, LocalStatus.NOT_FINITE)

    # Any law as equations for unknowns x, which is what wrappers build on. A law in closed form
    # has no unknowns. Inputs and outputs are dicts; the user's methods are checked.

    @property
    def _solver(self) -> LocalNewton:
        return LocalNewton()

    def _prepare(self, inputs: dict[str, jax.Array], state: Any, dt: jax.Array) -> Any:
        return Step(inputs, state, dt)

    def _guess(self, prepared: Any) -> Any:
        return {}

    def _without_flow(self, prepared: Any) -> Any:
        return self._guess(prepared)

    def _elastic(self, prepared: Any) -> Any:
        return None

    def _residual(self, x: Any, prepared: Any) -> Any:
        return {}

    def _finish(self, x: Any, prepared: Any) -> tuple[dict[str, jax.Array], Any, jax.Array]:
        """Outputs, state, and whether the law means this solution."""
        raise NotImplementedError

    def _inputs_admissible(self, inputs: dict[str, jax.Array]) -> jax.Array:
        F = inputs.get("deformation_gradient")
        if F is None or jnp.shape(F) != (3, 3):
            return jnp.asarray(True)
        return ~(jnp.linalg.det(F) <= 0)  # NaN is reported as what it is

    def _free_energy(self, inputs: dict[str, jax.Array], state: Any) -> jax.Array:
        with explained(self, "free_energy"):
            return jnp.asarray(self.free_energy(self._given(inputs), _copied(state)))

    def _dissipated(
        self, inputs: dict[str, jax.Array], old_state: Any, state: Any, dt: jax.Array
    ) -> jax.Array:
        with explained(self, "dissipated_energy"):
            given = self._given(inputs)
            return self.dissipated_energy(given, _copied(old_state), _copied(state), dt)

    @property
    def _bare(self) -> bool:
        """One input and one output: the user's methods take and return them without a dict."""
        single = len(self.inputs) == len(self.outputs) == 1
        return single and isinstance(self, _SmallStrain | _FiniteStrain)

    def _given(self, inputs: dict[str, jax.Array]) -> Any:
        return inputs[next(iter(self.inputs))] if self._bare else dict(inputs)

    def _returned(self, method: str, value: Any) -> tuple[dict, Any]:
        """Check and normalise what the user's ``method`` returned."""
        law, where = type(self).__name__, where_defined(self, method)
        if not (isinstance(value, tuple) and len(value) == 2):
            what = next(iter(self.outputs)) if self._bare else "outputs"
            got = "one array" if isinstance(value, jax.Array) else type(value).__name__
            raise MaterialError(f"{law}: {method} must return ({what}, state) {where}; got {got}")
        outputs, new_state = value
        if self._bare:
            if isinstance(outputs, dict):
                raise MaterialError(
                    f"{law}: {method} must return the bare {next(iter(self.outputs))} array, "
                    f"not a dict {where}"
                )
            outputs = {next(iter(self.outputs)): outputs}
        return (
            check_outputs(law, where, outputs, self.outputs),
            check_state(law, where, new_state, as_numbers(self.initial_state())),
        )


class ExplicitLaw(Material):
    """A law with a closed-form update: write ``update``."""

    _to_write: ClassVar[tuple[str, ...]] = ("update",)

    def update(self, inputs: Any, state: Any, dt: jax.Array) -> tuple[Any, Any]:
        """Return ``(outputs, state)`` at t_{n+1}; both dicts as declared."""
        raise NotImplementedError

    def _finish(self, x: Any, prepared: Any) -> tuple[dict[str, jax.Array], Any, jax.Array]:
        with explained(self, "update"):
            value = self.update(self._given(prepared.given), _copied(prepared.state), prepared.dt)
            return *self._returned("update", value), jnp.asarray(True)


class ImplicitLaw(Material):
    """A law given by equations: write ``guess``, ``residual`` and ``finish``.

    ``prepare`` collects what stays fixed during the solve (e.g. the trial state). With the
    optional ``elastic`` test the solve is skipped where the guess already is the answer; a law
    without it always solves. Exactly on the border (``yield_function <= 0`` written with
    ``<=``) the point counts as elastic, and so does its tangent.

    Attributes:
        solver: Tolerances of the local Newton solve; compile-time constants.
    """

    _to_write: ClassVar[tuple[str, ...]] = ("guess", "residual", "finish")
    solver: LocalNewton = eqx.field(static=True, default=LocalNewton(), kw_only=True)

    def prepare(self, inputs: Any, state: Any, dt: jax.Array) -> Any:
        """What is fixed during the solve; a pytree. Default: ``Step(given, state, dt)``."""
        return Step(inputs, state, dt)

    def guess(self, prepared: Any) -> Any:
        """First iterate of the unknowns; a pytree of arrays."""
        raise NotImplementedError

    def residual(self, x: Any, prepared: Any) -> Any:
        """Equations, one number per unknown, zero at the solution; in any units."""
        raise NotImplementedError

    def finish(self, x: Any, prepared: Any) -> tuple[Any, Any]:
        """Return ``(outputs, state)`` at t_{n+1} from the solution."""
        raise NotImplementedError

    def without_flow(self, prepared: Any) -> Any:
        """The unknowns if nothing flowed in the step, also where something does.

        Default: ``guess``. A law that declares ``linear_when_elastic`` writes it if its guess
        flows: reductions predict their elastic strains with it.
        """
        return self.guess(prepared)

    def elastic(self, prepared: Any) -> jax.Array | bool | None:
        """True where ``guess`` already is the answer; None: no such test, always solve."""
        return None

    def admissible(self, outputs: Any, state: Any, prepared: Any) -> jax.Array | bool:
        """False where the equations are solved by something that the law does not mean.

        For example a negative plastic multiplier. Such a point is reported as inadmissible.
        """
        return True

    @property
    def _solver(self) -> LocalNewton:
        return self.solver

    def _prepare(self, inputs: dict[str, jax.Array], state: Any, dt: jax.Array) -> Any:
        with explained(self, "prepare"):
            return self.prepare(self._given(inputs), _copied(state), dt)

    def _guess(self, prepared: Any) -> Any:
        with explained(self, "guess"):
            return self.guess(_copied(prepared))

    def _without_flow(self, prepared: Any) -> Any:
        with explained(self, "without_flow"):
            return self.without_flow(_copied(prepared))

    def _elastic(self, prepared: Any) -> Any:
        with explained(self, "elastic"):
            return self.elastic(_copied(prepared))

    def _residual(self, x: Any, prepared: Any) -> Any:
        with explained(self, "residual"):
            return self.residual(x, _copied(prepared))

    def _finish(self, x: Any, prepared: Any) -> tuple[dict[str, jax.Array], Any, jax.Array]:
        with explained(self, "finish"):
            outputs, state = self._returned("finish", self.finish(x, prepared))
        with explained(self, "admissible"):
            return outputs, state, jnp.asarray(self.admissible(outputs, state, prepared))


class _SmallStrain(eqx.Module):
    """strain -> stress, both Mandel (6,); bare arrays instead of dicts."""

    inputs: ClassVar[dict[str, tuple[int, ...]]] = {"strain": SYMMETRIC}
    outputs: ClassVar[dict[str, tuple[int, ...]]] = {"stress": SYMMETRIC}


class _FiniteStrain(eqx.Module):
    """deformation_gradient -> first_piola_stress, both (3, 3); bare arrays instead of dicts."""

    inputs: ClassVar[dict[str, tuple[int, ...]]] = {"deformation_gradient": TENSOR}
    outputs: ClassVar[dict[str, tuple[int, ...]]] = {"first_piola_stress": TENSOR}


class ExplicitSmallStrain(_SmallStrain, ExplicitLaw):
    """Closed-form small-strain law: write ``update(strain, state, dt) -> (stress, state)``."""


class ImplicitSmallStrain(_SmallStrain, ImplicitLaw):
    """Small-strain law given by equations; ``prepare(strain, state, dt)``, stress from finish."""


class ExplicitFiniteStrain(_FiniteStrain, ExplicitLaw):
    """Closed-form law: ``update(F, state, dt) -> (first_piola_stress, state)``."""


class ImplicitFiniteStrain(_FiniteStrain, ImplicitLaw):
    """Finite-strain law given by equations; ``prepare(F, state, dt)``."""


class Hyperelastic(_FiniteStrain, Material):
    """A law given by its stored energy: write ``energy(F)`` per reference volume.

    The stress is P = d(energy)/dF, so the tangent has the major symmetry. Points with
    det F <= 0 are reported as inadmissible.

    Attributes:
        polyconvex: The energy is polyconvex, so the law is elliptic everywhere; ``audit`` fails
            where it is not.
    """

    _to_write: ClassVar[tuple[str, ...]] = ("energy",)
    symmetric_tangent: ClassVar[bool] = True
    polyconvex: ClassVar[bool] = False

    def energy(self, deformation_gradient: jax.Array) -> jax.Array:
        """Stored energy; deformation gradient (3, 3) -> ()."""
        raise NotImplementedError

    def free_energy(self, deformation_gradient: jax.Array, state: Any) -> jax.Array:
        """The stored energy."""
        return self.energy(deformation_gradient)

    def _finish(self, x: Any, prepared: Any) -> tuple[dict[str, jax.Array], Any, jax.Array]:
        with explained(self, "energy"):
            stress = jax.grad(self.energy)(prepared.given["deformation_gradient"])
            return *self._returned("energy", (stress, prepared.state)), jnp.asarray(True)


#: Methods that stand here for their documentation only; a law must write its own.
_UNWRITTEN = {
    ExplicitLaw.update,
    ImplicitLaw.guess,
    ImplicitLaw.residual,
    ImplicitLaw.finish,
    Hyperelastic.energy,
}
