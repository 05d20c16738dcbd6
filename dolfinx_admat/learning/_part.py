"""What is learned: parts whose array fields are weights."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import Parameters
from dolfinx_admat.materials._declare import leaf_name
from dolfinx_admat.materials.registry import network_classes


class LearnedPart(Parameters):
    """A part of a law with weights: numbers of size one, without units or admissible ranges.

    Units are static fields (``stress_unit`` and so on), plain numbers that training leaves alone.
    """


def _is_part(node: Any) -> bool:
    return isinstance(node, (LearnedPart, *network_classes().values()))


def weight_names(law: Any) -> set[str]:
    """Dotted names of all weights of a law: of its learned parts, and of its ``equinox.nn`` layers.

    All else that is a number is a physical parameter.
    """
    names = set()
    parts = jax.tree_util.tree_flatten_with_path(law, is_leaf=_is_part)[0]
    for where, part in parts:
        if _is_part(part):
            for inside, leaf in jax.tree_util.tree_flatten_with_path(part)[0]:
                if eqx.is_inexact_array(leaf):
                    names.add(leaf_name((*where, *inside)))
    return names


def check_shape(what: str, value: Any, expected: tuple[int, ...]) -> None:
    """Refuse weights of another shape: a file that was put together by hand, say.

    Raises:
        MaterialError: The shape is not the expected one, or a number is not finite.
    """
    if isinstance(value, jax.core.Tracer):
        return
    if np.shape(value) != expected:
        raise MaterialError(f"{what}: expected weights of shape {expected}; got {np.shape(value)}")
    if not np.isfinite(value).all():
        raise MaterialError(f"{what}: weights must be finite; got {value}")


def positive(raw: jax.Array) -> jax.Array:
    """(x + sqrt(x^2 + 1)) / 2: smooth, convex, increasing from 0 at -infinity; any shape.

    It makes positive weights, and it is the activation of convex networks: only a square root, so
    fast in SIMD lanes, and it neither overflows nor loses its second derivative for large numbers.
    """
    root = jnp.sqrt(raw * raw + 1.0)
    # For x < 0 the sum cancels: 1 / (2 (sqrt(x^2 + 1) - x)) is the same number.
    # At zero the first form counts: the slope of |x| would be lost, and with it that of the weight.
    return jnp.where(raw >= 0.0, 0.5 * (raw + root), 0.5 / (jnp.abs(raw) + root))


def inverse_positive(value: Any) -> np.ndarray[Any, Any]:
    """The x with positive(x) = value; any shape, value > 0."""
    value = np.asarray(value, float)
    return value - 0.25 / value
