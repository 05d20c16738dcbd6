"""What a composed law asks of its parts, and the checks of that.

A part is a module (subclass the base class of its kind, or ``Parameters``), or a plain function.
What it does not declare is taken to be false, so a law may use a slower path, never a wrong one.

=================  ==============================================  =================================
part               must have                                       may have
=================  ==============================================  =================================
elasticity         ``stress(elastic_strain)``, or be callable      ``energy``; ``isotropic``,
                                                                   ``linear``
yield function     be callable, stress (6,) -> ()                  ``isotropic``, ``convex``
flow (potential)   as a yield function                             ``flow_rule``; ``isotropic``
hardening          be callable, p () -> yield stress ()            ``stored_energy``
kinematic          ``back_stress`` and ``increment``; or be        ``stored_energy``; ``isotropic``,
                   callable, plastic strain -> back stress         ``symmetric_tangent``,
                                                                   ``recovers``
viscosity          ``rate(overstress)``, or be callable            ``overstress(rate)``
=================  ==============================================  =================================

``Elasticity``, ``YieldFunction``, ``KinematicHardening`` and ``ViscousFlow`` document the methods.
``flow_rule(flow, dp, stress, compliance)`` replaces ``flow - dp * grad(potential)(stress)`` for a
potential with vertices: six equations for the flow, zero where it obeys the rule, with any
``compliance`` > 0 (about 1/(2 mu)) that makes a strain out of a stress. A viscosity's
``overstress`` is the inverse of its ``rate`` and merely makes start values cheaper.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dolfinx_admat.errors import MaterialError

_TENSOR, _NUMBER = (6,), ()


def method(part: Any, name: str) -> Callable:
    """The part's method of that name; a plain function is its own."""
    return getattr(part, name, part)


def flag(part: Any, name: str) -> bool:
    """What a part declares about itself; False if it says nothing."""
    return bool(getattr(part, name, False))


def check_part(law: str, role: str, call: Any, arguments: tuple, result: tuple) -> None:
    """Evaluate a part's shapes, which takes about a millisecond.

    Args:
        law: Name of the law in messages.
        role: Name of the part and method in messages.
        call: What must be callable.
        arguments: Shapes of the arguments.
        result: Expected shape of the result.

    Raises:
        MaterialError: It is not callable, fails, or returns another shape.
    """
    expected = f"{', '.join(str(shape) for shape in arguments)} -> {result}"
    if not callable(call):
        raise MaterialError(
            f"{law}: {role} is missing or not callable (got {type(call).__name__}); "
            f"expected {expected}"
        )
    try:
        found = jax.eval_shape(call, *(jax.ShapeDtypeStruct(s, jnp.float64) for s in arguments))
    except MaterialError:
        raise
    except Exception as error:
        raise MaterialError(
            f"{law}: {role} failed for arguments of shapes {expected}: "
            f"{type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    if getattr(found, "shape", None) != result:
        got = getattr(found, "shape", type(found).__name__)
        raise MaterialError(f"{law}: {role} returns {got}; expected {expected}")
