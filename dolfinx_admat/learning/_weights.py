"""Which numbers of a law are trained, and how the optimiser sees them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dolfinx_admat.calibration import Free, FreeParameters
from dolfinx_admat.errors import MaterialError
from dolfinx_admat.laboratory._components import unknown
from dolfinx_admat.materials import Material
from dolfinx_admat.materials._declare import named_leaves
from dolfinx_admat.materials.parameters import parameter_ranges

from ._arguments import check_law
from ._part import weight_names


def free_of(law: Material, parameters: Any = None, fixed: Sequence[str] = ()) -> FreeParameters:
    """The free parameters of a training as one vector.

    Weights are seen as they are. A physical parameter that is positive and has to be is seen as its
    logarithm, another one relative to its size.

    Args:
        law: The law.
        parameters: None: all numbers, but for those with conditions of their own (rotations and
            the like). Or names, of parts as well; or ``Free`` by name.
        fixed: Names, of parts as well, that keep their values.

    Raises:
        MaterialError: Unknown names, nothing is left, or what ``FreeParameters`` says.
    """
    check_law("train", law)
    known = {
        name: value
        for name, value in named_leaves(law).items()
        if hasattr(value, "dtype") and np.dtype(value.dtype).kind == "f" and np.size(value)
    }
    weights, ranges = weight_names(law), parameter_ranges(law)
    said: dict[str, Any] = {}
    if parameters is None:
        said = {n: None for n in known if n not in ranges or ranges[n].accept is None}
    else:
        given = parameters if isinstance(parameters, Mapping) else dict.fromkeys(_list(parameters))
        for name, value in given.items():
            for leaf in _inside(law, name, known):
                if leaf in said:
                    raise MaterialError(f"train: parameter '{leaf}' is named twice")
                said[leaf] = value
    kept = {leaf for name in _list(fixed) for leaf in _inside(law, name, known)}
    free = {
        name: _default(name in weights, known[name], ranges.get(name)) if value is None else value
        for name, value in said.items()
        if name not in kept
    }
    if not free:
        raise MaterialError(
            f"train: nothing to train: {type(law).__name__} has "
            + (f"{', '.join(known)}, and all are fixed" if known else "no parameters")
        )
    return FreeParameters(law, free)


def _list(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _inside(law: Any, name: str, known: Mapping[str, Any]) -> list[str]:
    found = [n for n in known if n == name or n.startswith(f"{name}.")]
    if not found:
        raise MaterialError(unknown(f"train: parameters of {type(law).__name__}", name, known))
    return found


def _default(weight: bool, value: Any, limits: Any) -> Free:
    if weight:
        return Free(scale=1.0)
    positive = limits is not None and limits.accept is None and limits.lower >= 0.0
    return Free(log=bool(positive and np.all(np.asarray(value) > 0.0)))
