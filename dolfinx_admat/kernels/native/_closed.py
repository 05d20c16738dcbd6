"""Determinant and inverse of small matrices in closed form, while a law is traced for C.

JAX differentiates ``jnp.linalg.det`` through a pivoted LU factorisation whose permutation depends
on values; that would be long and slow as straight-line code.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

_lock = threading.RLock()


@contextmanager
def closed_forms() -> Iterator[None]:
    """Context in which ``jnp.linalg.det`` and ``inv`` of 2x2 and 3x3 matrices are closed forms."""
    with _lock:
        det, inv = jnp.linalg.det, jnp.linalg.inv

        def determinant(a: Any) -> Any:
            a = jnp.asarray(a)
            return _determinant(a) if a.shape in ((2, 2), (3, 3)) else det(a)

        def inverse(a: Any, **options: Any) -> Any:
            a = jnp.asarray(a)
            return _inverse(a) if a.shape in ((2, 2), (3, 3)) else inv(a, **options)

        jnp.linalg.det, jnp.linalg.inv = determinant, inverse  # type: ignore[assignment]
        try:
            yield
        finally:
            jnp.linalg.det, jnp.linalg.inv = det, inv


def _determinant(a: jax.Array) -> jax.Array:
    if a.shape == (2, 2):
        return a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    return jnp.dot(a[0], jnp.cross(a[1], a[2]))


def _inverse(a: jax.Array) -> jax.Array:
    if a.shape == (2, 2):
        adjugate = jnp.array([[a[1, 1], -a[0, 1]], [-a[1, 0], a[0, 0]]])
    else:
        columns = [jnp.cross(a[(k + 1) % 3], a[(k + 2) % 3]) for k in range(3)]
        adjugate = jnp.stack(columns, axis=1)
    return adjugate / _determinant(a)
