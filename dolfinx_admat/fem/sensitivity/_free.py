"""Which controls are free, within which bounds, as the vector that an optimiser sees."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...calibration.free import FreeVector
from ...errors import MaterialError
from ...materials.parameters import parameter_ranges
from .._collective import collectively
from .controls import Coefficient, LawParameter

if TYPE_CHECKING:
    from .recording import Recording

Floats = npt.NDArray[np.float64]


class FreeControls(FreeVector):
    """The free controls of a recording as one vector; see ``calibration.free.FreeVector``.

    Args:
        recording: The recording.
        free: By control, ``{"Q": Free(0, 500)}``; a pair ``(lower, upper)`` is the same.

    Raises:
        MaterialError: An unknown control, one that is given by step, two that set the same
            numbers, bounds that cross or that the law does not admit, a start outside them.
            Collective: yes.
    """

    def __init__(self, recording: "Recording", free: Mapping[str, Any]) -> None:
        now = {name: control.get() for name, control in recording.controls.items()}
        with collectively(recording.comm):
            if not isinstance(free, Mapping) or not free:
                raise MaterialError(
                    'Objective: expected controls to be varied by name, e.g. {"Q": Free(0, 500)}; '
                    f"got {free!r}"
                )
            for name in free:
                if name not in now:
                    raise MaterialError(
                        f"Objective: no control '{name}'; the recording has {sorted(now)}"
                    )
                control = recording.controls[name]
                if isinstance(control, Coefficient) and control.per_step:
                    raise MaterialError(
                        f"Objective: the control '{name}' has a value per step, which your load "
                        "function sets; it cannot be varied here"
                    )
            _check_overlap({name: recording.controls[name] for name in free})
            ranges = {}
            for name in free:
                control = recording.controls[name]
                if isinstance(control, LawParameter) and control.names == [control.name]:
                    limits = parameter_ranges(control.materials[0].material)
                    ranges[name] = limits.get(control.name)
            self.set_up("Objective", free, {name: now[name] for name in free}, ranges)

    def join(self, values: Mapping[str, Floats]) -> Floats:
        """The inverse of ``values``."""
        return np.concatenate([np.ravel(values[name]) for name in self.parameters])


def _check_overlap(controls: Mapping[str, Any]) -> None:
    """Of two controls of the same numbers, one would overwrite what the other has set."""
    owners: dict[Any, str] = {}
    for name, control in controls.items():
        keys: list[Any]
        if isinstance(control, LawParameter):
            keys = [(id(m), leaf) for m in control.materials for leaf in control.names]
        else:
            keys = [id(control.data)]
        for key in keys:
            first = owners.setdefault(key, name)
            if first != name:
                raise MaterialError(
                    f"Objective: '{first}' and '{name}' set the same numbers; vary one of them"
                )
