"""How a law declares its inputs and outputs, and the checks against the declaration."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError


class Shape(tuple):
    """The shape of an input or output, with what it means to a finite-element code."""

    kind: str

    def __new__(cls, shape: tuple[int, ...], kind: str) -> "Shape":
        """Make a shape tuple that remembers its meaning."""
        self = super().__new__(cls, shape)
        self.kind = kind
        return self


#: Symmetric 3x3 tensor inside laws as a Mandel vector (6,), in UFL as a (3, 3) tensor.
SYMMETRIC = Shape((6,), "symmetric tensor")
#: Symmetric tensor in the plane, [xx, yy, sqrt(2) xy]; in UFL a (2, 2) tensor.
PLANE_SYMMETRIC = Shape((3,), "plane symmetric tensor")
#: General tensor in the plane; in UFL a (2, 2) tensor.
PLANE_TENSOR = Shape((2, 2), "plane tensor")
#: Symmetric tensor under axisymmetry, [rr, zz, tt, sqrt(2) rz]; in UFL (3, 3) on axes (r, z, t).
AXISYMMETRIC = Shape((4,), "axisymmetric symmetric tensor")
#: General tensor under axisymmetry, [rr, rz, zr, zz, tt]; in UFL (3, 3) on axes (r, z, t).
AXISYMMETRIC_TENSOR = Shape((5,), "axisymmetric tensor")
#: General 3x3 tensor, e.g. a deformation gradient.
TENSOR = Shape((3, 3), "tensor")
#: Vector, e.g. a temperature gradient.
VECTOR = Shape((3,), "vector")
#: Scalar, e.g. a temperature.
SCALAR = Shape((), "scalar")


def at_rest(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Value of an input of a body at rest: no deformation, all else zero.

    Args:
        name: The input.
        shape: Its declared shape; of a deformation gradient perhaps what a reduction takes of it.
    """
    size = tuple(shape)
    if name != "deformation_gradient" or size not in ((), (3, 3), (2, 2), (5,)):
        return np.zeros(size)
    if size == (5,):  # rr, rz, zr, zz, tt
        return np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    return np.eye(size[0]) if size else np.ones(())


def leaf_name(path: tuple) -> str:
    """Name of a leaf of a state or a material: its keys joined by dots."""
    return ".".join(str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in path)


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by name, e.g. ``{"hardening.sigma_y": ...}``."""
    return {leaf_name(p): leaf for p, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def same_structure(a: Any, b: Any) -> bool:
    """Whether two pytrees differ in nothing but the values of their leaves."""
    return bool(jax.tree.structure(a) == jax.tree.structure(b))  # type: ignore[operator]


def as_numbers(tree: Any) -> Any:
    """The tree with its numbers and numeric arrays as float64 arrays; the rest unchanged."""

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, bool) or not hasattr(leaf, "dtype"):
            is_number = isinstance(leaf, int | float) and not isinstance(leaf, bool)
            return jnp.asarray(leaf, dtype=jnp.float64) if is_number else leaf
        kind = jnp.result_type(leaf)
        if jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer):
            return jnp.asarray(leaf, dtype=jnp.float64)
        return leaf

    return jax.tree.map(convert, tree)


def as_parameter(value: Any) -> Any:
    """What a user gave: like ``as_numbers``, and a list of numbers becomes one array."""

    def all_numbers(item: Any) -> bool:
        if type(item) in (list, tuple):
            return all(all_numbers(i) for i in item)
        return not isinstance(item, bool) and (
            isinstance(item, int | float) or (hasattr(item, "dtype") and jnp.ndim(item) == 0)
        )

    if type(value) in (list, tuple) and value and all_numbers(value):
        try:
            return jnp.asarray(value, dtype=jnp.float64)
        except ValueError:  # ragged
            pass
    return as_numbers(value)


def check_outputs(law: str, where: str, outputs: dict, declared: dict) -> dict:
    """Outputs as float64 arrays, or a MaterialError that compares them with the declaration."""
    if not isinstance(outputs, dict) or set(outputs) != set(declared):
        got = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise MaterialError(
            f"{law}: outputs do not match the declaration {where}: got {got}, "
            f"expected {sorted(declared)}; return one array per declared output"
        )
    outputs = as_numbers(outputs)
    for name, shape in declared.items():
        if jnp.shape(outputs[name]) != tuple(shape):
            raise MaterialError(
                f"{law}: output '{name}' has the wrong shape {where}: "
                f"got {jnp.shape(outputs[name])}, expected {tuple(shape)}"
                + (" (a Mandel vector)" if getattr(shape, "kind", "") == "symmetric tensor" else "")
            )
    return {name: outputs[name] for name in declared}


def check_state(law: str, where: str, new: Any, old: Any) -> Any:
    """The new state as float64 arrays, or a MaterialError that names what changed."""
    new_leaves, old_leaves = named_leaves(new), named_leaves(old)
    missing = sorted(set(old_leaves) - set(new_leaves))
    unknown = sorted(set(new_leaves) - set(old_leaves))
    if missing or unknown:
        raise MaterialError(
            f"{law}: the state's names changed {where}: "
            + (f"missing {missing}" if missing else "")
            + (" and " if missing and unknown else "")
            + (f"unknown {unknown}" if unknown else "")
            + f"; initial_state() declares {sorted(old_leaves)}, return exactly these"
        )
    new = as_numbers(new)
    for name, leaf in named_leaves(new).items():
        if jnp.shape(leaf) != jnp.shape(old_leaves[name]):
            raise MaterialError(
                f"{law}: state '{name}' changes its shape {where}: got {jnp.shape(leaf)}, "
                f"expected {jnp.shape(old_leaves[name])} as in initial_state()"
            )
    if not same_structure(new, old):
        raise MaterialError(
            f"{law}: the state changes its type {where}: got {jax.tree.structure(new)}, "
            f"expected {jax.tree.structure(old)} as in initial_state()"
        )
    return new


def require_float64() -> None:
    """Raise a MaterialError if somebody has switched JAX back to float32."""
    if not jax.config.jax_enable_x64:
        raise MaterialError(
            "JAX's float64 is switched off, so results would be float32; remove "
            'jax.config.update("jax_enable_x64", False)'
        )
