"""What a local solve reports: data that travels through jit and vmap, never an exception."""

from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp


class LocalStatus(IntEnum):
    """Why a local update ended; 0 is the only success."""

    CONVERGED = 0
    MAX_ITERATIONS = 1
    NOT_FINITE = 2
    INADMISSIBLE = 3

    @property
    def message(self) -> str:
        """The reason in words, with the next move."""
        return _MESSAGES[self]


_MESSAGES = {
    LocalStatus.CONVERGED: "converged",
    LocalStatus.MAX_ITERATIONS: (
        "the local Newton iteration did not reach its tolerance; try a smaller step, "
        "a better `guess`, or LocalNewton(max_iterations=...)"
    ),
    LocalStatus.NOT_FINITE: (
        "NaN or infinity in the residual, its Jacobian (singular system) or the result; "
        "try a smaller step, or look for sqrt, log or division at zero in the law"
    ),
    LocalStatus.INADMISSIBLE: (
        "the input or the result is inadmissible (det F <= 0, negative plastic flow, a yield "
        "stress softened below zero, ...); try a smaller step"
    ),
}


class LocalResult(NamedTuple):
    """Status of the update of one point (or, batched, of many points).

    Attributes:
        code: A ``LocalStatus`` value; int32 ().
        iterations: Newton iterations used; int32 ().
        residual: Largest residual component, each row divided by the 1-norm of its Jacobian
            row, so in the units of the unknowns; float64 ().
        active: False where the law's elastic test made the solve unnecessary; bool ().
    """

    code: jax.Array
    iterations: jax.Array
    residual: jax.Array
    active: jax.Array

    @classmethod
    def explicit(cls) -> "LocalResult":
        """The result of an update that needs no solve."""
        return cls(
            jnp.int32(LocalStatus.CONVERGED), jnp.int32(0), jnp.zeros(()), jnp.asarray(False)
        )

    def downgraded(self, bad: jax.Array, status: LocalStatus) -> "LocalResult":
        """This result with ``status`` where ``bad`` holds and nothing worse was known."""
        ok = self.code == LocalStatus.CONVERGED
        return self._replace(code=jnp.where(ok & bad, jnp.int32(status), self.code))
