"""A learned law in finite elements: a plate with a hole, in plane strain, pulled and pushed."""

from typing import Any, NamedTuple

import numpy as np

CELLS = (6, 8)  # along a ray, around the hole
HOLE, HALF = 1.0, 4.0  # mm
#: Mean strains at the turning points, in units of the training amplitude, and steps to each.
TURNS, STEPS = (0.35, -0.35, 0.1), (6, 10, 6)


class Run(NamedTuple):
    """What happened.

    Attributes:
        displacement: Of the pulled edge, (steps + 1,); mm.
        force: On it, per thickness, (steps + 1,), zero where the run did not come; N/mm.
        converged: Number of load steps that were reached.
        iterations: Newton iterations of all of them.
    """

    displacement: np.ndarray
    force: np.ndarray
    converged: int
    iterations: int

    @property
    def steps(self) -> int:
        return len(self.force) - 1


def run(law: Any, amplitude: float, rate: float | None, backend: str = "auto") -> Run:
    """One run; a load step may be halved twice.

    Args:
        law: Small-strain law in 3D.
        amplitude: Size of the strains in training.
        rate: Strain rate of the plate as a whole; None: steps take one unit of time.
        backend: Of the kernel.

    Raises:
        ModuleNotFoundError: dolfinx is not installed.
    """
    from mpi4py import MPI

    import ufl
    from dolfinx import fem, mesh

    from dolfinx_admat.errors import ConvergenceError
    from dolfinx_admat.fem import LoadStepper, MaterialProblem, QuadratureMaterial, plane_strain

    domain = mesh.create_unit_square(MPI.COMM_SELF, *CELLS, mesh.CellType.quadrilateral)
    along, angle = domain.geometry.x[:, 0].copy(), 0.5 * np.pi * domain.geometry.x[:, 1]
    ray = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    edge = HALF / np.abs(ray).max(axis=1)
    domain.geometry.x[:, :2] = (HOLE + along**1.5 * (edge - HOLE))[:, None] * ray
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    material = QuadratureMaterial(
        domain, law, {"strain": plane_strain(u)}, degree=3, backend=backend
    )
    pull = fem.Constant(domain, 0.0)

    def facets(axis: int, at: float) -> Any:
        return mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[axis], at))

    def held(axis: int, at: float, value: Any) -> Any:
        W = V.sub(axis)
        return fem.dirichletbc(value, fem.locate_dofs_topological(W, 1, facets(axis, at)), W)

    top = facets(1, HALF)
    zero = fem.Constant(domain, 0.0)
    problem = MaterialProblem(
        ufl.inner(material["stress"], plane_strain(v)) * material.dx,
        u,
        materials=[material],
        bcs=[held(0, 0.0, zero), held(1, 0.0, zero), held(1, HALF, pull)],
        petsc_options_prefix="learned_",
        solver="direct",
        progress=False,
    )
    turns = HALF * amplitude * np.array([0.0, *TURNS])
    wanted = np.concatenate([
        [0.0], *(np.linspace(a, b, n + 1)[1:]
                 for a, b, n in zip(turns[:-1], turns[1:], STEPS, strict=True)),
    ])  # fmt: skip
    size = np.abs(np.diff(wanted))
    times = np.concatenate([[0.0], np.cumsum(size / HALF / rate if rate else np.ones(len(size)))])

    def load(t: float) -> None:
        pull.value = np.interp(t, times, wanted)

    force, converged, iterations = np.zeros(len(wanted)), 0, 0
    stepper = LoadStepper(problem, times[1:], load=load, min_dt=0.25 * float(np.diff(times).min()))
    try:
        for step in stepper:
            iterations += step.report.iterations
            if step.prescribed:
                converged += 1
                force[converged] = problem.reaction(top)[1]
    except ConvergenceError:
        pass
    return Run(wanted, force, converged, iterations)


def force_error(found: Run, truth: Run) -> float:
    """Root mean square of the difference over that of the true force; a lost step is no force."""
    return float(np.linalg.norm(found.force - truth.force) / np.linalg.norm(truth.force))
