"""Networks that are convex or increasing by construction, whatever their weights are.

Convexity needs no penalty and no check: the sum of convex functions with positive factors, and a
convex increasing function of a convex function, are convex. The activation is
``positive``, smooth and of linear growth, so that second derivatives exist everywhere and networks
do not explode beyond their data. All numbers are float64.

Source: B. Amos, L. Xu, J.Z. Kolter, Input convex neural networks, ICML 2017; increasing networks:
J. Sill, Monotonic networks, NeurIPS 1997.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError

from ._arguments import check_flag, check_seed, check_whole
from ._part import LearnedPart, check_shape, inverse_positive, positive


def _check_layers(what: str, layers: object, count: int, shapes: dict[str, tuple]) -> None:
    """One array per layer, of the shapes that follow from the sizes."""
    for name, (first, others) in shapes.items():
        found = getattr(layers, name)
        if not isinstance(found, tuple | list) or len(found) != count:
            raise MaterialError(f"{what}: expected {count} arrays in {name}")
        for k, value in enumerate(found):
            check_shape(f"{what}: {name}[{k}]", value, first if k == 0 else others)


def _around(rng: np.random.Generator, shape: tuple[int, ...], mean: float) -> np.ndarray:
    """Raw weights such that ``positive`` of them is about ``mean``, spread by a third."""
    return inverse_positive(mean * np.exp(rng.normal(0.0, 0.3, shape)))


class ConvexNetwork(LearnedPart):
    """Input-convex network, (inputs,) -> (): convex in all inputs, increasing in some.

    z_1 = s(W_0 x + b_0), z_k+1 = s(U_k z_k + W_k x + b_k), value = u . z + w . x with s =
    ``positive``; U_k and u are positive, and so are the columns of W_k and w that belong to
    increasing inputs.

    Attributes:
        skip: Weights W_k of the inputs, (width, inputs) for each layer.
        bias: b_k, (width,) for each layer.
        hidden: Raw weights of U_k, (width, width) for each layer but the first.
        out: Raw weights of u, (width,).
        direct: w, (inputs,); raw where the input is increasing.
        increasing: For each input, whether the value never falls as it grows; static.
    """

    skip: tuple[jax.Array, ...]
    bias: tuple[jax.Array, ...]
    hidden: tuple[jax.Array, ...]
    out: jax.Array
    direct: jax.Array
    increasing: tuple[bool, ...] = eqx.field(static=True)

    def __check_init__(self) -> None:
        rises = self.increasing
        if not (isinstance(rises, tuple) and rises and all(type(r) is bool for r in rises)):
            raise MaterialError(
                f"ConvexNetwork: increasing must be a tuple of True or False; got {rises!r}"
            )
        what, inputs, width = "ConvexNetwork", len(rises), np.size(self.out)
        shapes = {"skip": ((width, inputs),) * 2, "bias": ((width,),) * 2}
        _check_layers(what, self, max(len(self.skip), 1), shapes)
        _check_layers(what, self, len(self.skip) - 1, {"hidden": ((width, width),) * 2})
        check_shape(f"{what}: out", self.out, (width,))
        check_shape(f"{what}: direct", self.direct, (inputs,))

    @classmethod
    def create(
        cls,
        inputs: int,
        *,
        width: int = 8,
        depth: int = 2,
        increasing: bool | tuple[bool, ...] = False,
        seed: int = 0,
    ) -> "ConvexNetwork":
        """A network with random weights, whose value is of size one for inputs of size one.

        Args:
            inputs: Number of inputs.
            width: Number of neurons of each layer.
            depth: Number of layers.
            increasing: All inputs (True), none, or which ones.
            seed: Of the random weights.

        Raises:
            MaterialError: A size is no whole number >= 1, the seed none >= 0, or ``increasing``
                is no bool, or has another length.
        """
        what = "ConvexNetwork.create"
        check_whole(what, inputs=inputs, width=width, depth=depth)
        check_seed(what, seed)
        one = isinstance(increasing, bool | np.bool_)
        each = increasing if isinstance(increasing, tuple | list | np.ndarray) else (increasing,)
        if not all(isinstance(r, bool | np.bool_) for r in each):
            raise MaterialError(
                f"{what}: increasing must be True or False, or one of them for each input; got "
                f"{increasing!r}"
            )
        rises = tuple(bool(r) for r in each) * (inputs if one else 1)
        if len(rises) != inputs:
            raise MaterialError(
                f"ConvexNetwork.create: increasing has {len(rises)} entries for {inputs} inputs"
            )
        rng, columns = np.random.default_rng(seed), np.array(rises)

        def weights(rows: int) -> np.ndarray:
            free = rng.normal(0.0, 1.0, (rows, inputs)) / math.sqrt(inputs)
            return np.where(columns, _around(rng, (rows, inputs), 1.0 / inputs), free)

        return cls(
            tuple(jnp.asarray(weights(width)) for _ in range(depth)),
            tuple(jnp.asarray(rng.uniform(-1.0, 1.0, width)) for _ in range(depth)),
            tuple(jnp.asarray(_around(rng, (width, width), 1.0 / width)) for _ in range(depth - 1)),
            jnp.asarray(_around(rng, (width,), 1.0 / width)),
            jnp.asarray(np.where(columns, inverse_positive(0.1), 0.0)),
            rises,
        )

    def _of_inputs(self, weights: jax.Array) -> jax.Array:
        rises = np.array(self.increasing)
        if rises.all():
            return positive(weights)
        return jnp.where(rises, positive(weights), weights) if rises.any() else weights

    def __call__(self, x: jax.Array) -> jax.Array:
        """Value; (inputs,) -> ()."""
        z = positive(self._of_inputs(self.skip[0]) @ x + self.bias[0])
        for W, b, U in zip(self.skip[1:], self.bias[1:], self.hidden, strict=True):
            z = positive(positive(U) @ z + self._of_inputs(W) @ x + b)
        return positive(self.out) @ z + self._of_inputs(self.direct) @ x


class PartiallyConvexNetwork(LearnedPart):
    """Network of x and y, convex in x for each y: (inputs,) and (context,) -> ().

    For potentials that depend on a temperature or on a state. u_k+1 = tanh(V_k u_k + c_k) carries
    the context (u_0 = y), and z_k+1 = s(U_k (z_k * s(A_k u_k)) + W_k (x * (B_k u_k + 1)) + D_k u_k
    + b_k) the value, with positive U_k and s = ``positive``.

    Attributes:
        context: V_k, (width, context or width) for each layer.
        context_bias: c_k, (width,).
        skip: W_k, (width, inputs).
        gain: B_k, (inputs, context or width).
        shift: D_k, (width, context or width).
        bias: b_k, (width,).
        hidden: Raw weights of U_k, (width, width), of each layer but the first.
        gate: A_k, (width, width), of each layer but the first.
        out: Raw weights of the value, (width,).
        sizes: Number of inputs and of contexts; static.

    Source: as ``ConvexNetwork``, section 3.2.
    """

    context: tuple[jax.Array, ...]
    context_bias: tuple[jax.Array, ...]
    skip: tuple[jax.Array, ...]
    gain: tuple[jax.Array, ...]
    shift: tuple[jax.Array, ...]
    bias: tuple[jax.Array, ...]
    hidden: tuple[jax.Array, ...]
    gate: tuple[jax.Array, ...]
    out: jax.Array
    sizes: tuple[int, int] = eqx.field(static=True)

    def __check_init__(self) -> None:
        what, (n, m), width = "PartiallyConvexNetwork", self.sizes, np.size(self.out)
        wide = {"context": (width, m), "gain": (n, m), "shift": (width, m)}
        shapes: dict[str, tuple] = {n: (s, (s[0], width)) for n, s in wide.items()}
        shapes |= {name: ((width,),) * 2 for name in ("context_bias", "bias")}
        shapes["skip"] = ((width, n),) * 2
        _check_layers(what, self, max(len(self.skip), 1), shapes)
        inner = {name: ((width, width),) * 2 for name in ("hidden", "gate")}
        _check_layers(what, self, len(self.skip) - 1, inner)
        check_shape(f"{what}: out", self.out, (width,))

    @classmethod
    def create(
        cls, inputs: int, context: int, *, width: int = 8, depth: int = 2, seed: int = 0
    ) -> "PartiallyConvexNetwork":
        """A network with random weights.

        Args:
            inputs: Number of inputs x, in which it is convex.
            context: Number of inputs y, in which it may be anything.
            width: Number of neurons of each layer.
            depth: Number of layers.
            seed: Of the random weights.

        Raises:
            MaterialError: A size is no whole number >= 1, or the seed none >= 0.
        """
        what = "PartiallyConvexNetwork.create"
        check_whole(what, inputs=inputs, context=context, width=width, depth=depth)
        check_seed(what, seed)
        rng = np.random.default_rng(seed)
        before = [context, *[width] * (depth - 1)]

        def normal(*shape: int) -> jax.Array:
            return jnp.asarray(rng.normal(0.0, 1.0, shape) / math.sqrt(shape[-1]))

        def biases() -> tuple[jax.Array, ...]:
            return tuple(jnp.asarray(rng.uniform(-1.0, 1.0, width)) for _ in before)

        return cls(
            tuple(normal(width, m) for m in before), biases(),
            tuple(normal(width, inputs) for _ in before),
            tuple(0.1 * normal(inputs, m) for m in before),
            tuple(normal(width, m) for m in before), biases(),
            tuple(jnp.asarray(_around(rng, (width, width), 1.0 / width)) for _ in before[1:]),
            tuple(normal(width, width) for _ in before[1:]),
            jnp.asarray(_around(rng, (width,), 1.0 / width)), (int(inputs), int(context)),
        )  # fmt: skip

    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Value; (inputs,) and (context,) -> ()."""
        u, z = y, jnp.zeros_like(self.out)
        for k in range(len(self.skip)):
            rows = self.skip[k] @ (x * (self.gain[k] @ u + 1.0)) + self.shift[k] @ u + self.bias[k]
            if k > 0:
                gated = z * positive(self.gate[k - 1] @ u)
                rows = rows + positive(self.hidden[k - 1]) @ gated
            z = positive(rows)
            u = jnp.tanh(self.context[k] @ u + self.context_bias[k])
        return positive(self.out) @ z


class MonotoneNetwork(LearnedPart):
    """Network that increases with each of its inputs, (inputs,) -> (), bounded unless ``linear``.

    Positive weights and the sigmoid x / sqrt(1 + x^2), whose bends in both directions are needed
    to approximate any increasing function.

    Attributes:
        weights: Raw weights of each layer, (width, inputs or width).
        bias: (width,) of each layer.
        out: Raw weights of the value, (width,).
        direct: Raw weights of an additional linear part, (inputs,); None: without.
    """

    weights: tuple[jax.Array, ...]
    bias: tuple[jax.Array, ...]
    out: jax.Array
    direct: jax.Array | None = None

    def __check_init__(self) -> None:
        what, width = "MonotoneNetwork", np.size(self.out)
        if not self.weights:
            raise MaterialError(f"{what}: expected at least one layer; got none")
        inputs = np.shape(self.weights[0])[-1]
        shapes = {"weights": ((width, inputs), (width, width)), "bias": ((width,),) * 2}
        _check_layers(what, self, len(self.weights), shapes)
        check_shape(f"{what}: out", self.out, (width,))
        if self.direct is not None:
            check_shape(f"{what}: direct", self.direct, (inputs,))

    @classmethod
    def create(
        cls, inputs: int, *, width: int = 8, depth: int = 2, linear: bool = True, seed: int = 0
    ) -> "MonotoneNetwork":
        """A network with random weights; arguments as those of ``ConvexNetwork.create``.

        Raises:
            MaterialError: A size is no whole number >= 1, or the seed none >= 0.
        """
        what = "MonotoneNetwork.create"
        check_whole(what, inputs=inputs, width=width, depth=depth)
        check_flag(what, linear=linear)
        check_seed(what, seed)
        rng = np.random.default_rng(seed)
        before = [inputs, *[width] * (depth - 1)]
        return cls(
            tuple(jnp.asarray(_around(rng, (width, m), 2.0 / m)) for m in before),
            tuple(jnp.asarray(rng.uniform(-2.0, 2.0, width)) for _ in before),
            jnp.asarray(_around(rng, (width,), 1.0 / width)),
            jnp.full(inputs, inverse_positive(0.1)) if linear else None,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Value; (inputs,) -> ()."""
        z = x
        for W, b in zip(self.weights, self.bias, strict=True):
            z = positive(W) @ z + b
            z = z / jnp.sqrt(1.0 + z * z)
        value = positive(self.out) @ z
        return value if self.direct is None else value + positive(self.direct) @ x
