"""What a law does along a schedule, as a JAX function of its free parameters."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dolfinx_admat.implicit import Strategy
from dolfinx_admat.laboratory._control import Controlled, spatial_stresses
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import as_numbers, named_leaves
from dolfinx_admat.materials.parameters import replace_parameters

from ._schedule import Quantities, Schedule
from .free import Place, insert


def respond(
    law: Material, schedule: Schedule, tangent: Strategy | None = None
) -> tuple[jax.Array, jax.Array]:
    """Take one specimen along a schedule.

    Derivatives in the law's parameters are exact, forward and reverse: also where a component
    starts from a value that the law has reached.

    Args:
        law: A law of the structure of the one that the schedule was made for.
        schedule: From ``make_schedule``.
        tangent: Way to differentiate the local solves; None leaves it to the law.

    Returns:
        The compared components, the abscissa last, (rows, columns); and the ``LocalStatus`` of the
        sub-step that failed first, 0 if none did; ().
    """
    law = replace_parameters(law, schedule.parameters)
    quantities = Quantities(law)
    controlled: Material = law if schedule.direct(law) else Controlled(law)
    initial = as_numbers(controlled.initial_state())
    leaves = {**named_leaves(initial), **schedule.state}
    start = jax.tree.unflatten(
        jax.tree.structure(initial), [jnp.asarray(leaves[n]) for n in named_leaves(initial)]
    )

    def step(carry: tuple[Any, jax.Array], given: tuple) -> tuple:
        state, reached = carry
        inputs, weights, capture, advance = given
        inputs = {n: v + weights[n] @ reached if n in weights else v for n, v in inputs.items()}
        if isinstance(controlled, Controlled):
            outputs, new, status = controlled.integrate(inputs, state, jnp.zeros(()), tangent)
            law_state, y = controlled._part(new)
            known = {**named_leaves(law_state), **outputs, **controlled.to_law(inputs, y)}
        else:
            dt = inputs.pop("time_increment")
            outputs, new, status = controlled.integrate(inputs, state, dt, tangent)
            known = {**named_leaves(new), **outputs, **inputs}
        if quantities.spatial:
            stresses = spatial_stresses(known["deformation_gradient"], known["first_piola_stress"])
            for name, value in zip(("cauchy_stress", "kirchhoff_stress"), stresses, strict=True):
                known.setdefault(name, value)
        values = jnp.concatenate([jnp.ravel(known[name]) for name in quantities.shapes])
        reached = jnp.where(capture, values[schedule.source], reached)
        state = jax.tree.map(lambda a, b: jnp.where(advance, a, b), new, state)
        code = jnp.where(advance, status.code, 0)
        return (state, reached), (values[schedule.columns] / schedule.factors, code)

    steps = (schedule.inputs, schedule.weights, schedule.capture, schedule.advance)
    found: Any = jax.lax.scan(step, (start, jnp.zeros(schedule.source.shape)), steps)[1]
    values, code = found
    return values[jnp.asarray(schedule.ends)], code[jnp.argmax(code != 0)]


def _specimens(function: Callable[..., Any]) -> Any:
    """Compile a function of one specimen, (law, places, scale, z, schedule, ...), for many.

    Mapped over specimens last, after differentiation. One compilation for each structure of law,
    free parameters and shapes, whatever the numbers, so that many fits share it.
    """

    def all_specimens(law: Material, places: Any, scale: Any, z: Any, *each: Any) -> Any:
        return jax.vmap(lambda *one: function(law, places, scale, z, *one))(*each)

    return eqx.filter_jit(all_specimens)


def _values(
    law: Material, places: tuple[Place, ...], scale: jax.Array, z: jax.Array, schedule: Schedule
) -> tuple[jax.Array, jax.Array]:
    return respond(insert(law, places, scale, z), schedule)


def _jacobian(reverse: bool, tangent: Strategy | None) -> Callable[..., jax.Array]:
    differentiate = jax.jacrev if reverse else jax.jacfwd

    def of_one(law: Any, places: Any, scale: Any, z: jax.Array, schedule: Schedule) -> jax.Array:
        def compared(z: jax.Array) -> jax.Array:
            return respond(insert(law, places, scale, z), schedule, tangent)[0][:, :-1]

        found: jax.Array = differentiate(compared)(z)
        return found

    return of_one


def _loss(
    law: Material,
    places: tuple[Place, ...],
    scale: jax.Array,
    z: jax.Array,
    schedule: Schedule,
    data: jax.Array,
    factors: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    values, code = _values(law, places, scale, z, schedule)
    residual = jnp.where(factors > 0.0, (values[:, :-1] - data) * factors, 0.0)
    return 0.5 * jnp.sum(residual**2), code


#: Compared components and status: (experiments, rows, columns) and (experiments,).
values_and_status = _specimens(_values)

#: (loss, status) and d(loss)/dz in reverse: (experiments,) each and (experiments, entries).
loss_and_gradient = _specimens(jax.value_and_grad(_loss, argnums=3, has_aux=True))


@functools.cache
def jacobian(reverse: bool, tangent: Strategy | None = None) -> Any:
    """Compiled d(values)/dz without the abscissa: (experiments, rows, columns - 1, entries)."""
    return _specimens(_jacobian(reverse, tangent))
