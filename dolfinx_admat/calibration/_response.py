"""What a law does along a schedule, as a JAX function of its free parameters."""

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
    controlled, quantities = Controlled(law), Quantities(law)
    initial = as_numbers(controlled.initial_state())
    leaves = {**named_leaves(initial), **schedule.state}
    start = jax.tree.unflatten(
        jax.tree.structure(initial), [jnp.asarray(leaves[n]) for n in named_leaves(initial)]
    )

    def step(carry: tuple[Any, jax.Array], given: tuple) -> tuple:
        state, reached = carry
        inputs, weights, capture, advance = given
        inputs = {n: v + weights[n] @ reached if n in weights else v for n, v in inputs.items()}
        outputs, new, status = controlled.integrate(inputs, state, jnp.zeros(()), tangent)
        law_state, y = controlled._part(new)
        known = {**named_leaves(law_state), **outputs, **controlled.to_law(inputs, y)}
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


def respond_all(
    law: Material,
    places: tuple[Place, ...],
    scale: jax.Array,
    z: jax.Array,
    schedules: Schedule,
    tangent: Strategy | None = None,
) -> tuple[jax.Array, jax.Array]:
    """All experiments of a stacked schedule: (experiments, rows, columns) and (experiments,)."""
    whole = insert(law, places, scale, z)
    result: Any = jax.vmap(lambda s: respond(whole, s, tangent))(schedules)
    return result


#: The compiled functions: one compilation for each structure of law, free parameters and shapes,
#: whatever the numbers, so that many fits share it.
values_and_status: Any = eqx.filter_jit(respond_all)


def _jacobian(
    reverse: bool,
    law: Material,
    places: tuple[Place, ...],
    scale: jax.Array,
    z: jax.Array,
    schedules: Schedule,
    tangent: Strategy | None = None,
) -> jax.Array:
    differentiate = jax.jacrev if reverse else jax.jacfwd
    found: Any = differentiate(
        lambda z: respond_all(law, places, scale, z, schedules, tangent)[0][..., :-1]
    )(z)
    return found


#: d(values)/dz without the abscissa: (experiments, rows, columns - 1, entries).
jacobian: Any = eqx.filter_jit(_jacobian)


def _loss(
    law: Material,
    places: tuple[Place, ...],
    scale: jax.Array,
    z: jax.Array,
    schedules: Schedule,
    data: jax.Array,
    factors: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    values, code = respond_all(law, places, scale, z, schedules)
    good = factors > 0.0
    residual = jnp.where(good, (values[..., :-1] - data) * factors, 0.0)
    return jnp.sum(residual**2), code


def _loss_and_gradient(*arguments: Any) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    result: Any = jax.value_and_grad(_loss, argnums=3, has_aux=True)(*arguments)
    return result


#: (sum of squares, status), and d(sum of squares)/dz in reverse: (entries,).
loss_and_gradient: Any = eqx.filter_jit(_loss_and_gradient)
