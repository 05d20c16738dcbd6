"""Names of components: ordinary tensor components for users, Mandel vectors inside laws.

``strain_xy`` is the tensor component (half of the engineering shear strain), whatever the law
stores. A scalar goes by its bare name; the one component of a bar may also be called
``strain_xx``.
"""

import difflib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials._declare import Shape
from dolfinx_admat.tensors.mandel import ROOT2

_NINE = tuple(a + b for a in "xyz" for b in "xyz")

#: Axes of the components in the order of the law's array, by the kind of shape.
_AXES: dict[str, tuple[str, ...]] = {
    "symmetric tensor": ("xx", "yy", "zz", "xy", "xz", "yz"),
    "plane symmetric tensor": ("xx", "yy", "xy"),
    "axisymmetric symmetric tensor": ("rr", "zz", "tt", "rz"),
    "tensor": _NINE,
    "plane tensor": ("xx", "xy", "yx", "yy"),
    "axisymmetric tensor": ("rr", "rz", "zr", "zz", "tt"),
    "vector": ("x", "y", "z"),
}
#: What a shape without a meaning is taken for, in states.
_GUESSED = {(6,): "symmetric tensor", (3, 3): "tensor", (2, 2): "plane tensor"}


class Component(NamedTuple):
    """Where a component is.

    Attributes:
        variable: Name of the input, output or state variable.
        position: Position in its flattened array.
        factor: Stored value / ordinary tensor component.
    """

    variable: str
    position: int
    factor: float


def axes_of(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Suffixes of the components of an array of this shape, in its flattened order."""
    kind = shape.kind if isinstance(shape, Shape) else _GUESSED.get(tuple(shape), "")
    if kind in _AXES:
        return _AXES[kind]
    if shape == ():
        return ("",)
    return tuple("_".join(map(str, index)) for index in np.ndindex(*shape))


def components_of(variable: str, shape: tuple[int, ...]) -> dict[str, Component]:
    """All components of a variable by their full names, in order."""
    kind = shape.kind if isinstance(shape, Shape) else _GUESSED.get(tuple(shape), "")
    found = {}
    for index, axes in enumerate(axes_of(shape)):
        shear = "symmetric" in kind and axes[0] != axes[1]
        name = f"{variable}_{axes}" if axes else variable
        found[name] = Component(variable, index, ROOT2 if shear else 1.0)
    return found


def aliases_of(variable: str, shape: tuple[int, ...]) -> dict[str, Component]:
    """Other names of components: mirror images of symmetric ones, and xx of a bar."""
    if shape == ():
        return {f"{variable}_xx": Component(variable, 0, 1.0)}
    found = components_of(variable, shape).items()
    return {name[:-2] + name[:-3:-1]: where for name, where in found if where.factor != 1.0}


class Names:
    """The components of several variables, found by name.

    Args:
        shapes: Shape of each variable; the first one with a name has it.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.components: dict[str, Component] = {}
        aliases: dict[str, Component] = {}
        for variable, shape in shapes.items():
            self.components.update(components_of(variable, shape))
            aliases.update(aliases_of(variable, shape))
        self._all = {**aliases, **self.components}

    def find(self, name: str, what: str) -> Component:
        """The component, or a MaterialError with what there is."""
        if name in self._all:
            return self._all[name]
        raise MaterialError(unknown(what, name, self.components))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """'no such name', with the near ones first."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f" (did you mean {', '.join(close)}?)" if close else ""
    return f"{what}: no '{name}'{hint}; there is {', '.join(known)}"
