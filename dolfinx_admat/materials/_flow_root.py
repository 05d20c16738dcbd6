"""A scale on which equations for viscous flows are easy to solve."""

import jax
import jax.numpy as jnp

from dolfinx_admat.tensors import norm

# Smaller flows (strains) are left as they are.
_UNIT = 1e-10


def flow_root(flow: jax.Array, exponent: jax.Array | float) -> jax.Array:
    """A flow whose size v is replaced by m ((1 + v)^(1/m) - 1), v in units of 1e-10.

    For the law flow = dt (overstress / K)^n, n >= m, the residual root(flow) - root(dt rate) is a
    concave function of the size of the flow, so that Newton's method from zero does not overshoot
    into the elastic domain; with m = n it needs a few iterations, and of the order of n with m = 1.

    Args:
        flow: Increment of an internal variable, of the size of strains; any shape.
        exponent: m >= 1; (). A constant to all derivatives, as it does not change solutions.

    Returns:
        Scaled flow; the shape of ``flow``, dimensionless.
    """
    m = jax.lax.stop_gradient(jnp.asarray(exponent, dtype=float))
    size = norm(flow / _UNIT)
    some = jnp.where(size > 0.0, size, 1.0)
    shrunk = m * jnp.expm1(jnp.log1p(some) / m)
    return flow * jnp.where(size > 0.0, shrunk / some, 1.0)
