"""What is compared with the data that a law has seen: features of one material point.

For an isotropic law these are joint invariants of its tensors, so that data in one direction stand
for all; otherwise the components. Wrappers (``PlaneStress``, ``Rotated``, ...) are looked through:
what counts is what the law at the core sees, so one range serves the law in all its wrappers.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import Incompressible, Material, ThermalExpansion
from dolfinx_admat.materials._declare import SYMMETRIC, TENSOR, VECTOR, as_numbers, named_leaves
from dolfinx_admat.materials.hyperelasticity import isochoric_part
from dolfinx_admat.materials.log_strain import logarithmic_strain
from dolfinx_admat.materials.parameters import replace_parameters
from dolfinx_admat.materials.wrapper import Reduction, Transform, Wrapper
from dolfinx_admat.tensors import determinant, deviator, norm, to_mandel, trace

_AXES = ("xx", "yy", "zz", "xy", "xz", "yz")
_DEFORMATION = ("strain", "deformation_gradient")
#: Name of the strain that stands for a deformation gradient.
LOG_STRAIN = "logarithmic_strain"


class Feature(NamedTuple):
    """One number of a point.

    Attributes:
        name: E.g. "plastic_strain.size".
        kind: "amount" (of a tensor or array), "scalar", "lode", "angle" (between two tensors,
            as a cosine) or "rate".
        of: Variables that it is made of; two for an angle.
        state: Whether it is made of state variables only.
    """

    name: str
    kind: str
    of: tuple[str, ...]
    state: bool = False


class Variable(NamedTuple):
    """An input or a state variable of the law at the core, at one point."""

    name: str
    kind: str
    value: Any
    state: bool


def core(law: Material) -> Material:
    """The law inside all wrappers."""
    while isinstance(law, Wrapper | Incompressible):
        law = law.law
    return law


def look_through(law: Any, inputs: dict[str, Any], state: Any) -> tuple[Any, dict, Any, dict]:
    """What the law at the core sees at one point.

    Returns:
        The law at the core, its inputs, its state, and inputs that only wrappers read. Not among
        these: the temperature of a thermal expansion and the pressure of an incompressible solid,
        which change nothing in the law but its strain and the mean of its stress.
    """
    outside: dict[str, Any] = {}
    inner: Any
    while isinstance(law, Wrapper | Incompressible):
        if isinstance(law, Incompressible):
            # Elements keep the volume on average only, and its energy does not see the rest.
            inside = {"deformation_gradient": isochoric_part(inputs["deformation_gradient"])}
            inner = law.law
        elif isinstance(law, Transform):
            inside, inner = law.to_law(inputs), law.law_at(inputs)
        else:
            state, own = law._part(state)
            inside = law.to_law(inputs, own) if isinstance(law, Reduction) else inputs
            inner = law.law
        if not isinstance(law, ThermalExpansion | Incompressible):
            left = {n: v for n, v in inputs.items() if n not in inside and n not in _DEFORMATION}
            outside |= left
        law, inputs = inner, inside
    return law, inputs, state, {n: v for n, v in outside.items() if n not in inputs}


def _kind(shape: Any, size: tuple[int, ...]) -> str:
    """Kind of a value of this size with the declaration ``shape``."""
    declared = getattr(shape, "kind", None)
    if size == ():
        return "scalar"
    if declared in (VECTOR.kind, TENSOR.kind, SYMMETRIC.kind):
        return str(declared)
    if declared is None and size[-1] == 6 and len(size) <= 2:
        return SYMMETRIC.kind
    if declared is None and size[-2:] == (3, 3) and len(size) <= 3:
        return TENSOR.kind
    return "array"


def _each(name: str, kind: str, value: Any, state: bool) -> Iterator[Variable]:
    """Tensors one by one, also those that are stacked."""
    axes = {SYMMETRIC.kind: 1, TENSOR.kind: 2, VECTOR.kind: 1}.get(kind)
    if axes is None or jnp.ndim(value) == axes:
        yield Variable(name, kind, value, state)
    elif jnp.ndim(value) == axes + 1:
        for k in range(len(value)):
            yield Variable(f"{name}[{k}]", kind, value[k], state)
    else:
        yield Variable(name, "array", value, state)


def _variables(law: Any, inputs: dict, state: Any, outside: dict) -> list[Variable]:
    found: list[Variable] = []
    for name, value in {**inputs, **outside}.items():
        if name.endswith("_n") and name.removesuffix("_n") in inputs:
            continue  # the same quantity, a step earlier
        shape = law.inputs.get(name)
        kind = _kind(shape, jnp.shape(value))
        if name == "deformation_gradient" and jnp.shape(value) == (3, 3):
            strain = logarithmic_strain(value)
            strain = jnp.where(jnp.linalg.det(value) > 0.0, strain, jnp.nan)
            found.append(Variable(LOG_STRAIN, SYMMETRIC.kind, strain, False))
        else:
            found += _each(name, kind, value, False)
    rest = named_leaves(as_numbers(law.initial_state()))
    for name, value in named_leaves(state).items():
        if name in inputs:
            continue  # a law that remembers its input
        kind = _kind(law.state_kinds.get(name), jnp.shape(value))
        if kind != "scalar":  # e.g. a plastic metric begins at the unit tensor
            value = value - rest[name]
        found += _each(name, kind, value, True)
    return found


def _components(v: Variable) -> Iterator[tuple[Feature, Any]]:
    value = jnp.asarray(v.value)
    if v.kind == SYMMETRIC.kind:
        for k, axes in enumerate(_AXES):
            component = value[k] / (1.0 if k < 3 else jnp.sqrt(2.0))
            yield Feature(f"{v.name}.{axes}", "amount", (v.name,), v.state), component
        return
    flat = jnp.ravel(value)
    for k in range(flat.size):
        label = ",".join(str(int(i)) for i in np.unravel_index(k, value.shape))
        yield Feature(f"{v.name}[{label}]", "amount", (v.name,), v.state), flat[k]


def _safe_ratio(a: Any, b: Any) -> Any:
    return jnp.where(b > 0.0, a / jnp.where(b > 0.0, b, 1.0), 0.0)


def _invariants(v: Variable, mandel: Any) -> Iterator[tuple[Feature, Any]]:
    dev = deviator(mandel)
    size = norm(dev)
    unit = dev / jnp.where(size > 0.0, size, 1.0)
    yield Feature(f"{v.name}.trace", "amount", (v.name,), v.state), trace(mandel)
    yield Feature(f"{v.name}.size", "amount", (v.name,), v.state), size
    lode = 3.0 * jnp.sqrt(6.0) * determinant(unit)
    yield Feature(f"{v.name}.lode", "lode", (v.name,), v.state), lode


def _isotropic(variables: list[Variable]) -> Iterator[tuple[Feature, Any]]:
    tensors: list[tuple[Variable, Any]] = []
    for v in variables:
        if v.kind == SYMMETRIC.kind:
            tensors.append((v, v.value))
        elif v.kind == TENSOR.kind:
            tensors.append((v, to_mandel(v.value)))
            skew = norm(0.5 * (v.value - v.value.T))
            yield Feature(f"{v.name}.skew", "amount", (v.name,), v.state), skew
        elif v.kind == VECTOR.kind:
            yield Feature(f"{v.name}.size", "amount", (v.name,), v.state), norm(v.value)
        elif v.kind == "array":
            yield from _components(v)
    for v, mandel in tensors:
        yield from _invariants(v, mandel)
    # How the state lies to the strain: an isotropic law does not know any other direction.
    for k, (a, left) in enumerate(tensors):
        for b, right in tensors[k + 1 :]:
            left_dev, right_dev = deviator(left), deviator(right)
            cosine = _safe_ratio(left_dev @ right_dev, norm(left_dev) * norm(right_dev))
            name = f"{a.name}:{b.name}"
            yield Feature(name, "angle", (a.name, b.name), a.state and b.state), cosine


def point(law: Any, inputs: dict, state: Any) -> tuple[list[Feature], list[Any], dict[str, Any]]:
    """Features of one point with their values, and strains: what rates are made of.

    Args:
        law: Any law.
        inputs: Its inputs.
        state: Its state.
    """
    inner, seen, inner_state, outside = look_through(law, inputs, state)
    variables = _variables(inner, seen, inner_state, outside)
    found: list[tuple[Feature, Any]] = []
    for v in variables:
        if v.kind == "scalar":
            found.append((Feature(v.name, "scalar", (v.name,), v.state), v.value))
    if inner.isotropic:
        found += _isotropic(variables)
    else:
        for v in variables:
            if v.kind != "scalar":
                found += _components(v)
    strains = {}
    if inner.rate_dependent:
        names = (*_DEFORMATION, LOG_STRAIN)
        for v in variables:
            if v.name in names and not v.state:
                strains[v.name] = jnp.ravel(v.value)
    return [f for f, _ in found], [v for _, v in found], strains


def feature_list(law: Material) -> list[Feature]:
    """Features of a law's points; rates last.

    Raises:
        MaterialError: Two variables of the law would have the same name.
    """
    caught: list[Feature] = []

    def trace_it(inputs: dict, state: Any) -> Any:
        features, values, strains = point(law, inputs, state)
        rates = [Feature(f"{name}.rate", "rate", (name,)) for name in strains]
        caught[:] = [*features, *rates]
        return values

    inputs = {name: jnp.zeros(tuple(shape)) for name, shape in law.inputs.items()}
    jax.eval_shape(trace_it, inputs, as_numbers(law.initial_state()))
    names = [f.name for f in caught]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise MaterialError(
            f"TrainingRange: {type(law).__name__} has several variables for {', '.join(twice)}; "
            "rename a state variable"
        )
    return caught


def _batch(law: Any, parameters: Mapping[str, Any], inputs: dict, state: list, tree: Any) -> Any:
    """Values (points, features) and strains of many points; rates are not among the values.

    Args:
        law: The law.
        parameters: Values of parameters that vary, (points, *shape).
        inputs: (points, *shape) each.
        state: Leaves of the state, (points, *shape) each.
        tree: Structure of the state.
    """

    def one(parameters: dict, inputs: dict, leaves: list) -> Any:
        here = replace_parameters(law, parameters) if parameters else law
        _, values, strains = point(here, inputs, jax.tree.unflatten(tree, leaves))
        stacked = jnp.stack([jnp.asarray(v, float) for v in values]) if values else jnp.zeros(0)
        return stacked, strains

    return jax.vmap(one)(dict(parameters), inputs, state)


#: Compiled.
batch: Any = eqx.filter_jit(_batch)
