"""A scale on which equations for viscous flows are easy to solve."""

import jax
import jax.numpy as jnp

from dolfinx_admat.tensors import norm


def flow_root(flow: jax.Array, exponent: jax.Array | float, unit: jax.Array | float) -> jax.Array:
    """A flow whose size v is replaced by m ((1 + v)^(1/m) - 1), v in units of ``unit``.

    For the law flow = dt (overstress / K)^n, n >= m, the residual root(flow) - root(dt rate) is a
    concave function of the size of the flow, so that Newton's method from zero does not overshoot
    into the elastic domain; with m = n it needs a few iterations, and of the order of n with m = 1.

    Args:
        flow: Increment of an internal variable, of the size of strains; any shape.
        exponent: m >= 1; (). A constant to all derivatives, as it does not change solutions.
        unit: Size (> 0) below which a flow stays as it is; (). A constant like the exponent.

    Returns:
        Scaled flow; the shape of ``flow``, dimensionless.
    """
    m, unit = jax.lax.stop_gradient((jnp.asarray(exponent, dtype=float), unit))
    if flow.ndim == 0:
        sign = jnp.where(flow < 0.0, -1.0, 1.0)
        return sign * _shrunk(sign * flow / unit, m)
    size = norm(flow / unit)
    some = jnp.where(size > 0.0, size, 1.0)
    return flow * jnp.where(size > 0.0, _shrunk(some, m) / some, 1.0)


def _shrunk(size: jax.Array, m: jax.Array) -> jax.Array:
    return m * (jnp.exp(jnp.log1p(size) / m) - 1.0)
