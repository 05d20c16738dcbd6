"""The points of a run that are beyond what their law was trained on."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import dolfinx
import numpy as np
import numpy.typing as npt

from ..errors import MaterialError
from ._collective import collectively
from ._progress import Progress
from .quadrature import QuadratureMaterial

if TYPE_CHECKING:  # whoever has a range has loaded what trains laws; others need not
    from ..learning import TrainingRange

Floats = npt.NDArray[np.float64]


class Beyond(NamedTuple):
    """Numbers of quadrature points, over all ranks.

    Attributes:
        now: Beyond the training range at the last commit.
        ever: At some commit since the extrapolation is watched.
        points: All points of the material.
        steps: Commits that were seen.
    """

    now: int
    ever: int
    points: int
    steps: int


@dataclasses.dataclass(frozen=True)
class Farthest:
    """The point that is (or was) farthest beyond the training range; the same on all ranks.

    Attributes:
        distance: How far, in widths of the feature's interval.
        feature: Name of the feature that is farthest outside there.
        value: Its value.
        low: Least value in training.
        high: Largest value in training.
        rank: Rank that owns the cell.
        cell: Its global number, in this partition.
        point: Number of the point in the cell.
        coordinates: Where it is, in the reference configuration.
        step: Number of the commit, from 1.
    """

    distance: float
    feature: str
    value: float
    low: float
    high: float
    rank: int
    cell: int
    point: int
    coordinates: tuple[float, ...]
    step: int

    def __str__(self) -> str:
        """In words."""
        place = ", ".join(f"{x:.6g}" for x in self.coordinates)
        return (
            f"{self.distance:.3g} widths beyond in {self.feature} = {self.value:.4g} (training: "
            f"{self.low:.4g} to {self.high:.4g}) on rank {self.rank}, global cell {self.cell}, "
            f"point {self.point} at ({place})"
        )


class Extrapolation:
    """How far the points of a material are from what its law was trained on, after each commit.

    It changes nothing in the run. The points that a rank owns are looked at by that rank; rates
    (of laws that are rate-dependent) are known from the second commit on that it has seen, so a
    restart makes no rates of its own. As a context manager it prints one line at the end::

        with Extrapolation(material, training_range) as seen:
            writer = ResultWriter("part.bp", {"displacement": u, "extrapolation": seen.function})
            for step in LoadStepper(problem, times, load=load):
                writer.write(step.time)

    Without ``with`` it watches from its creation until ``close``. After that its results remain.

    Args:
        material: The material of a run; any law.
        training_range: Of its law, perhaps without the wrappers around it (``PlaneStress``, ...).
        progress: Print ``report()`` on rank 0 at the end of ``with``; ``ADMAT_QUIET=1`` silences
            all.

    Attributes:
        range: The training range, for this law.
        steps: Number of commits that were seen.
        values: How far each point is beyond the range, in widths of the worst feature's interval;
            0: inside; (cells, points) of this rank's ``material.cells``. As of the last commit.
        largest: The largest of these values in all commits that were seen.

    Raises:
        MaterialError: No training range, or that of another law. Collective: yes. Watching is
            local until ``function`` is asked for; from then on commits bring its ghosts up to
            date.
    """

    def __init__(
        self,
        material: QuadratureMaterial,
        training_range: "TrainingRange",
        *,
        progress: bool = True,
    ) -> None:
        from ..learning import TrainingRange

        if not isinstance(material, QuadratureMaterial):
            raise MaterialError(
                f"Extrapolation: expected a QuadratureMaterial; got {type(material).__name__}"
            )
        self.material, self._comm = material, material.mesh.comm
        with collectively(self._comm):
            if not isinstance(training_range, TrainingRange):
                raise MaterialError(
                    "Extrapolation: expected a TrainingRange (of a law file: TrainingRange."
                    "from_mapping(law, read_law_file(path).training_range)); got "
                    f"{type(training_range).__name__}"
                )
            self.range = training_range.for_law(material.material)
        self._progress = Progress(self._comm, progress)
        shape = len(material.cells), material.points_per_cell
        self.values, self.largest, self.steps = np.zeros(shape), np.zeros(shape), 0
        # Distance, point, number and value of the feature, step.
        self._worst: tuple[float, int, int, float, int] | None = None
        self._worst_now: tuple[float, int, int, float, int] | None = None
        self._strains: dict[str, Floats] | None = None
        self._law: Any = material.material
        self._seen: Any = None
        self._function: dolfinx.fem.Function | None = None
        self._watch()

    # -- watching -------------------------------------------------------------------------

    @property
    def watching(self) -> bool:
        """Whether commits are followed. Local."""
        return self._after_commit in self.material.listeners

    def __enter__(self) -> Self:
        """Watch (again, after an end)."""
        self._watch()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Watch no longer, and print the report. Collective: yes, but not after an exception."""
        self.close()
        if kind is None:
            self._progress.say(f"admat: {self.report()}")

    def close(self) -> None:
        """Watch no longer; what was found remains. Local."""
        if self.watching:
            self.material.listeners.remove(self._after_commit)

    def _watch(self) -> None:
        if not self.watching:
            self.material.listeners.append(self._after_commit)
            # What happened meanwhile, or before, is no step of which the rate would be known.
            self._strains, self._seen = None, None

    def _after_commit(self) -> None:
        material, evaluation = self.material, self.material.evaluation
        inputs = evaluation.last_inputs
        if not inputs or inputs is self._seen:
            return  # nothing was computed since the last commit
        self._seen = inputs
        if material.material is not self._law:
            self.range, self._law = self.range.for_law(material.material), material.material
        fields = {n: f.values() for n, f in evaluation.parameter_fields.items()}
        found = self.range(inputs, material.history.state_n, parameters=fields)
        dt = material.dt
        if self._strains and dt is not None and dt > 0.0:
            found = self.range.with_rates(found, self.range.rates(self._strains, found.strains, dt))
        self._strains = found.strains
        self.steps += 1
        self.values = found.value.reshape(self.values.shape)
        self.largest = np.maximum(self.largest, self.values)
        self._worst_now = None
        if found.value.size and found.value.max() > 0.0:
            k = int(np.argmax(found.value))
            feature = int(found.worst[k])
            value = float(found.features[k, feature])
            self._worst_now = (float(found.value[k]), k, feature, value, self.steps)
            if self._worst is None or self._worst_now[0] > self._worst[0]:
                self._worst = self._worst_now
        if self._function is not None:
            self._write(self._function)

    # -- results --------------------------------------------------------------------------

    @property
    def function(self) -> dolfinx.fem.Function:
        """Largest of the ``values`` in each cell, DG0, zero in other cells; it follows commits.

        Collective: yes, at its first use.
        """
        if self._function is None:
            space = dolfinx.fem.functionspace(self.material.mesh, ("DG", 0))
            self._function = dolfinx.fem.Function(space, name="extrapolation")
            self._write(self._function)
        return self._function

    def _write(self, function: dolfinx.fem.Function) -> None:
        dofs = function.function_space.dofmap.list[self.material.cells, 0]
        # A point that is infinitely far outside (NaN) must not spoil a picture's scale.
        largest = np.minimum(self.values.max(axis=1, initial=0.0), 1e6)
        function.x.array[dofs] = largest
        function.x.scatter_forward()

    def count(self) -> Beyond:
        """How many points are (and ever were) beyond the training range. Collective: yes."""
        local = [np.count_nonzero(self.values), np.count_nonzero(self.largest), self.values.size]
        total = self._comm.allreduce(np.array(local, np.int64))
        now, ever, points = map(int, total)
        return Beyond(now, ever, points, self.steps)

    def worst(self, *, now: bool = False) -> Farthest | None:
        """The point that was farthest outside at any commit, or is ``now``; None: there is none.

        Collective: yes.
        """
        mine = self._worst_now if now else self._worst
        distances = self._comm.allgather(-1.0 if mine is None else mine[0])
        rank = int(np.argmax(distances))
        if distances[rank] < 0.0:
            return None
        found = None
        if self._comm.rank == rank and mine is not None:
            distance, k, feature, value, step = mine
            about = self.material.evaluation.place(k)
            found = Farthest(
                distance,
                self.range.names[feature],
                value,
                float(self.range.low[feature]),
                float(self.range.high[feature]),
                rank,
                *about,
                step,
            )
        result: Farthest | None = self._comm.bcast(found, root=rank)
        return result

    def report(self) -> str:
        """One line about the run, the same on all ranks. Collective: yes."""
        count, worst = self.count(), self.worst()
        what = f"extrapolation of {self.material.name}: "
        if not count.steps:
            return what + "no step was seen"
        steps = "1 step" if count.steps == 1 else f"{count.steps} steps"
        if worst is None:
            return what + f"none of {count.points} points left the training range in {steps}"
        share = lambda n: f"{n} ({100.0 * n / count.points:.1f} %)"  # noqa: E731
        return what + (
            f"{share(count.now)} of {count.points} points are beyond the training range now, "
            f"{share(count.ever)} were in {steps}; farthest: {worst}, step {worst.step}"
        )
