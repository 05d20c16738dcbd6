"""What a path means for a law: which component is controlled by what, and its targets."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dolfinx_admat.errors import MaterialError
from dolfinx_admat.materials import TENSOR, Material
from dolfinx_admat.materials._declare import at_rest

from ._components import axes_of, components_of, unknown
from ._control import CAUCHY, CONJUGATE, IMPOSED, KIRCHHOFF, control_pairs
from .path import Path, Segment, as_floats

Floats = npt.NDArray[np.float64]
_MECHANICAL = ("strain", "deformation_gradient")


class Handle(NamedTuple):
    """What a name in a path controls.

    Attributes:
        variable: The law's input.
        position: Position in its flattened array.
        control: What of it: see ``_control``.
        factor: Stored value / ordinary tensor component.
    """

    variable: str
    position: int
    control: float
    factor: float


def handles_of(law: Material) -> dict[str, Handle]:
    """All names that a path may use for this law."""
    found: dict[str, Handle] = {}
    pairs = control_pairs(law)
    for variable, shape in law.inputs.items():
        ways = {variable: IMPOSED}
        if variable in pairs:
            ways[pairs[variable]] = CONJUGATE
        if variable == "deformation_gradient" and variable in pairs and shape == TENSOR:
            ways |= {"cauchy_stress": CAUCHY, "kirchhoff_stress": KIRCHHOFF}
        for name, control in ways.items():
            for full, component in components_of(name, shape).items():
                # A symmetric stress goes with the components on and above the diagonal.
                if control < CAUCHY or full[-2] <= full[-1]:
                    handle = Handle(variable, component.position, control, component.factor)
                    found[full] = handle
    return found


def _aliases(law: Material, handles: dict[str, Handle]) -> dict[str, Handle]:
    """Other spellings: the mirror image of a symmetric component, and xx of a bar."""
    more = {}
    for name, handle in handles.items():
        if handle.factor != 1.0 or handle.control >= CAUCHY:
            more[name[:-2] + name[:-3:-1]] = handle
        if law.inputs[handle.variable] == () and handle.variable in _MECHANICAL:
            more[f"{name}_xx"] = handle
    return more


class Plan:
    """A path for a law and a number of specimens, segment by segment.

    Args:
        law: The law.
        path: The path.
        specimens: Number of specimens.
        free_stress: Stress of components that the path does not name, by controlled input;
            (specimens, size).

    Attributes:
        controls: What controls each component of each controlled input now; (size,).
        targets: Targets now; by input, (specimens, size).

    Raises:
        MaterialError: The path does not fit the law.
    """

    def __init__(
        self, law: Material, path: Path, specimens: int, free_stress: dict[str, Floats]
    ) -> None:
        self._law, self._path, self.specimens = law, path, specimens
        self._label = type(law).__name__
        own = handles_of(law)
        self._handles = {**_aliases(law, own), **own}
        self._own = own
        #: Strain at which the initial stress is reached, where the path's strain begins.
        self.offset: dict[str, Floats] = {}
        self.pairs = control_pairs(law)
        named = {self.handle(name)[:2] for name in path.names()}
        self.targets: dict[str, Floats] = {}
        self.controls: dict[str, Floats] = {}
        for variable, shape in law.inputs.items():
            rest = np.ravel(at_rest(variable, shape))
            self.targets[variable] = np.tile(rest, (specimens, 1))
            self.controls[variable] = np.zeros(rest.size)
            if variable in self.pairs:
                self._set_free(variable, named, free_stress)
            elif missing := [
                name
                for name, h in own.items()
                if h.variable == variable and (variable, h.position) not in named
            ]:
                raise MaterialError(
                    f"drive: {self._label} has the input '{variable}', which the path must give; "
                    f"add {', '.join(missing)}, e.g. Path(start={{'{missing[0]}': ...}})"
                )

    def _set_free(self, variable: str, named: set, free_stress: dict[str, Floats]) -> None:
        """Controls of what the path never names."""
        if variable == "temperature_gradient":
            return
        axes = axes_of(self._law.inputs[variable])
        for k, name in enumerate(axes):
            mirror = axes.index(name[::-1]) if name[::-1] in axes else k
            pair_named = mirror != k and {(variable, k), (variable, mirror)} & named
            if pair_named or mirror < k:  # below the diagonal, or the mirror image of a named one
                continue
            self.controls[variable][k] = CONJUGATE
            self.targets[variable][:, k] = free_stress.get(variable, self.targets[variable] * 0)[
                :, k
            ]

    def handle(self, name: str) -> Handle:
        """What a name controls; MaterialError if the law has no such component."""
        if name in self._handles:
            return self._handles[name]
        raise MaterialError(unknown(f"drive: {self._label} along a path", name, self._own))

    def values(self, name: str, value: Any, where: str) -> Floats:
        """A value of the path for all specimens, as the law takes it; (specimens,)."""
        array = np.asarray(value, float)
        if array.ndim > 1 or not np.isfinite(array).all():
            raise MaterialError(
                f"drive: {where}: '{name}' must be a finite number, or one per specimen; "
                f"got {value!r}"
            )
        if array.ndim and array.size != self.specimens:
            raise MaterialError(
                f"drive: {where}: '{name}' has {array.size} values for {self.specimens} specimens"
            )
        handle = self.handle(name)
        offset: Any = 0.0
        if handle.control == IMPOSED and handle.variable in self.offset:
            offset = self.offset[handle.variable][:, handle.position]
        return np.broadcast_to(array * handle.factor + offset, (self.specimens,))

    def set_offset(self, variable: str, offset: Floats) -> None:
        """Count the imposed components of an input from these values on; (specimens, size)."""
        self.offset[variable] = offset
        imposed = self.controls[variable] == IMPOSED
        self.targets[variable][:, imposed] += offset[:, imposed]

    def begin(self) -> bool:
        """Take the path's start values; True if a controlled component is among them."""
        controlled = False
        for name, value in self._path.start.items():
            handle = self.handle(name)
            self._control(handle, self.values(name, value, "start"))
            controlled |= handle.variable in self.pairs
        self._check_rotation("start")
        return controlled

    def _control(self, handle: Handle, target: Floats) -> None:
        self.targets[handle.variable][:, handle.position] = target
        self.controls[handle.variable][handle.position] = handle.control

    def steps(self, segment: Segment, number: int, reached: Any) -> "list[dict[str, Floats]]":
        """Targets at the ends of the steps of a segment, after those at its begin.

        Args:
            segment: The segment.
            number: Its number from 1, for messages.
            reached: Function of a ``Handle`` that gives the value reached; (specimens,).

        Returns:
            Targets by input, one more than there are steps.
        """
        where = f"segment {number}"
        given = {name: self.handle(name) for name in (*segment.to, *segment.hold, *segment.table)}
        places: dict[tuple[str, int], str] = {}
        for name, handle in given.items():
            other = places.setdefault(handle[:2], name)
            if other != name:
                raise MaterialError(
                    f"drive: {where}: '{other}' and '{name}' cannot both be controlled; give one"
                )
            if self.controls[handle.variable][handle.position] != handle.control:
                self._control(handle, reached(handle))
        self._check_rotation(where)
        begin = {name: target.copy() for name, target in self.targets.items()}
        sequence = [begin]
        for step, fraction in enumerate(segment.fractions):
            now = {name: target.copy() for name, target in begin.items()}
            for name, value in segment.to.items():
                h = given[name]
                end = self.values(name, value, where)
                # Exactly the end where the fraction is 1.
                start = begin[h.variable][:, h.position]
                now[h.variable][:, h.position] = (1.0 - fraction) * start + fraction * end
            for name, column in segment.table.items():
                h = given[name]
                now[h.variable][:, h.position] = self.values(name, column[..., step], where)
            sequence.append(now)
        self.targets = {name: target.copy() for name, target in sequence[-1].items()}
        return sequence

    def duration(self, segment: Segment, number: int, sequence: list[dict[str, Floats]]) -> Floats:
        """How long a segment takes; (specimens,)."""
        time = segment.time
        if segment.rate is not None:
            (name,) = segment.to
            h = self.handle(name)
            begin, end = (sequence[k][h.variable][:, h.position] / h.factor for k in (0, -1))
            time = np.abs(end - begin) / segment.rate
            if not (time > 0).all():
                raise MaterialError(
                    f"drive: segment {number}: '{name}' is there already, so rate={segment.rate} "
                    "gives no duration; use hold(time=...)"
                )
        if time is None:
            if self._law.rate_dependent:
                raise MaterialError(
                    f"drive: segment {number}: {self._label} is rate-dependent; give time=..."
                )
            time = 1.0
        return np.array(np.broadcast_to(time, (self.specimens,)), float)

    def _check_rotation(self, where: str) -> None:
        for variable, controls in self.controls.items():
            axes = axes_of(self._law.inputs[variable])
            for k, name in enumerate(axes):
                mirror = axes.index(name[::-1]) if name[::-1] in axes else k
                if mirror > k and controls[k] and controls[mirror]:
                    raise MaterialError(
                        f"drive: {where}: the stresses {name} and {name[::-1]} cannot both be "
                        "controlled, as the rotation is then not determined; impose "
                        f"{variable}_{name} or {variable}_{name[::-1]}"
                    )

    def describe(self, targets: dict[str, Floats], specimen: int) -> dict[str, float]:
        """What is controlled and not at rest or free, by name, as ordinary components."""
        found = {}
        for name, h in self._own.items():
            if self.controls[h.variable][h.position] == h.control:
                value = targets[h.variable][specimen, h.position]
                if h.control == IMPOSED and h.variable in self.offset:
                    value = value - self.offset[h.variable][specimen, h.position]
                found[name] = float(value / h.factor)
        return found


def count_specimens(sizes: dict[str, int]) -> int | None:
    """The one length of all things given per specimen; None if there are none.

    Raises:
        MaterialError: They differ.
    """
    different = sorted(set(sizes.values()))
    if len(different) > 1:
        text = ", ".join(f"{name}: {size}" for name, size in sorted(sizes.items()))
        raise MaterialError(f"drive: the numbers of specimens differ; got {text}")
    return different[0] if different else None


def path_sizes(path: Path) -> dict[str, int]:
    """Length of each value of a path that is given per specimen."""
    sizes: dict[str, int] = {}

    def look(name: str, value: Any, dimensions: int) -> None:
        array = as_floats(value, f"'{name}'")
        if array.ndim == dimensions:
            sizes[name] = len(array)

    for name, value in path.start.items():
        look(name, value, 1)
    for segment in path.segments:
        look("time", 0.0 if segment.time is None else segment.time, 1)
        look("rate", 0.0 if segment.rate is None else segment.rate, 1)
        for name, value in segment.to.items():
            look(name, value, 1)
        for name, value in segment.table.items():
            look(name, value, 2)
    return sizes
