"""What the driver returns."""

import dataclasses
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_admat.materials import TENSOR, Material

from ._components import Names

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class DriveResult:
    """Everything at time zero and after each step.

    ``result["stress_xx"]`` is a component by its name: ordinary tensor components of all inputs,
    outputs and state variables (``plastic_strain_xy``), at finite strain also
    ``cauchy_stress_xx`` and ``kirchhoff_stress_xx``, and "time". Its shape is (steps + 1,) if
    nothing was given per specimen, and (specimens, steps + 1) otherwise. The attributes always
    have the axis of specimens.

    Attributes:
        law: The law.
        times: (specimens, steps + 1).
        inputs: Inputs as the law has them (Mandel); (specimens, steps + 1, *shape).
        outputs: Outputs likewise.
        states: State variables likewise.
        status: ``LocalStatus`` of each step; a specimen that failed keeps its code.
        iterations: Local Newton iterations of each step.
        substeps: Number of parts in which each step was taken.
        parameters: Parameters that were given to the driver.
        single: Nothing was given per specimen.
        taken: What ``recorded_steps`` needs.
        start_state: State of the controlled law at time zero.
    """

    law: Material
    times: Floats
    inputs: dict[str, Floats]
    outputs: dict[str, Floats]
    states: dict[str, Floats]
    status: npt.NDArray[np.int32]
    iterations: npt.NDArray[np.int32]
    substeps: npt.NDArray[np.int32]
    parameters: dict[str, Floats]
    single: bool
    taken: tuple[Any, ...] = dataclasses.field(repr=False, default=())
    start_state: dict[str, Floats] = dataclasses.field(repr=False, default_factory=dict)

    @property
    def specimens(self) -> int:
        """Number of specimens."""
        return len(self.times)

    @property
    def time(self) -> Floats:
        """``result["time"]``: (steps + 1,), or (specimens, steps + 1)."""
        return self["time"]

    @property
    def converged(self) -> npt.NDArray[np.bool_]:
        """Which specimens reached the end; (specimens,)."""
        return np.asarray((self.status == 0).all(axis=1))

    def _variables(self) -> dict[str, tuple[Floats, tuple[int, ...]]]:
        """All variables with their values and shapes (which know what kind of tensor it is)."""
        found: dict[str, tuple[Floats, tuple[int, ...]]] = {}
        kinds = self.law.state_kinds
        for name, value in self.states.items():
            found[name] = (value, kinds.get(name, value.shape[2:]))
        for name, value in {**self.outputs, **self.inputs}.items():
            found[name] = (value, {**self.law.outputs, **self.law.inputs}[name])
        if self.law.inputs.get("deformation_gradient") == TENSOR and (
            self.law.outputs.get("first_piola_stress") == TENSOR
        ):
            F = self.inputs["deformation_gradient"]
            kirchhoff = self.outputs["first_piola_stress"] @ np.swapaxes(F, -1, -2)
            found.setdefault("kirchhoff_stress", (kirchhoff, TENSOR))
            cauchy = kirchhoff / np.linalg.det(F)[..., None, None]
            found.setdefault("cauchy_stress", (cauchy, TENSOR))
        return dict(reversed(found.items()))

    @property
    def names(self) -> list[str]:
        """Names of all components."""
        return ["time", *Names({k: s for k, (_, s) in self._variables().items()}).components]

    def __getitem__(self, name: str) -> Floats:
        if name == "time":
            values = self.times
        else:
            variables = self._variables()
            names = Names({k: s for k, (_, s) in variables.items()})
            component = names.find(name, f"result of {type(self.law).__name__}")
            array, _ = variables[component.variable]
            flat = array.reshape(*array.shape[:2], -1)
            values = flat[..., component.position] / component.factor
        return values[0] if self.single else values

    def to_csv(self, file: str | FilePath, *, time_unit: str = "") -> None:
        """Write all components as ordinary tensor components, one row per specimen and step.

        Args:
            file: Path of the file.
            time_unit: For the header only.
        """
        from ._csv import write

        write(self, FilePath(file), time_unit)

    def plot(
        self,
        x: str | None = None,
        y: str | None = None,
        file: str | FilePath | None = None,
        **more: Any,
    ) -> Any:
        """Plot one component against another; see ``laboratory.plot``."""
        from .plot import plot

        return plot(self, x, y, file, **more)
