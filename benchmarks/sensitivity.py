"""Section ``sensitivity``: what a gradient through a whole run costs, next to the run itself.

A bar of 20 load steps with an unloading (J2, linear hardening, 3D, Q1 hexahedra), pulled and
twisted so that most of it flows. The number is a weighted sum of the forces and the square of the
plastic strain; the parameters are the yield stress of 1000 blocks, or of 10. The gradient comes
from the discrete adjoint; ``jvp`` is one direction in forward mode. CPU time, one core; all forms
and kernels are compiled before.
"""

import time

from mpi4py import MPI

import jax.numpy as jnp
import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain
from dolfinx_admat.fem.sensitivity import Integral, Reaction, Recording, RegionValues

STEPS = 20
CELLS = 10  # per edge; 1000 blocks


class Bar:
    """The problem, its load steps, and their record."""

    def __init__(self, blocks: int, solver: str) -> None:
        domain = mesh.create_unit_cube(MPI.COMM_SELF, *3 * [CELLS], mesh.CellType.hexahedron)
        V = fem.functionspace(domain, ("P", 1, (3,)))
        self.u = u = fem.Function(V)
        sigma_y = fem.Function(fem.functionspace(domain, ("DG", 0)))
        sigma_y.x.array[:] = 250.0
        law = QuadratureMaterial(
            domain,
            admat.J2Plasticity(70e3, 0.3, admat.LinearHardening(250.0, 700.0)),
            {"strain": strain(u)},
            degree=2,
            parameters={"hardening.sigma_y": sigma_y},
        )
        bottom, top = (
            mesh.locate_entities_boundary(domain, 2, lambda x, z=z: np.isclose(x[2], z))
            for z in (0.0, 1.0)
        )
        held, self.moved = fem.Function(V), fem.Function(V)
        bcs = [
            fem.dirichletbc(value, fem.locate_dofs_topological(V, 2, facets))
            for value, facets in ((held, bottom), (self.moved, top))
        ]
        F = ufl.inner(law["stress"], strain(ufl.TestFunction(V))) * law.dx
        self.problem = MaterialProblem(
            F,
            u,
            materials=[law],
            bcs=bcs,
            petsc_options_prefix="bench_",
            solver=solver,
            progress=False,
        )
        cells = np.arange(domain.topology.index_map(3).size_local, dtype=np.int32)
        order = np.arange(len(cells)) * blocks // len(cells)
        tags = mesh.meshtags(domain, 3, cells, order.astype(np.int32))
        self.recording = Recording(
            self.problem,
            observe={
                "force": Reaction(top),
                "flow": Integral(law["equivalent_plastic_strain"] ** 2 * law.dx),
            },
            controls={"sigma_y": RegionValues(sigma_y, tags)},
            progress=False,
        )

    def run(self) -> None:
        """All load steps, without the start from scratch."""
        for k in range(1, STEPS + 1):
            t = k / STEPS
            size = 0.02 * (t if t < 0.7 else 1.4 - t)  # unloading after 14 steps
            self.moved.interpolate(
                lambda x, s=size: s * np.stack([-(x[1] - 0.5), x[0] - 0.5, 0.7 + 0 * x[2]])
            )
            self.iterations += self.problem.solve(dt=1.0 / STEPS).iterations

    def recorded(self) -> None:
        """The same from scratch, recorded."""
        self.iterations = 0
        if self.recording.started:
            self.recording.restart()
        with self.recording:
            self.run()


def loss(observed):
    return jnp.sum(observed["force"][:, 2] ** 2) * 1e-3 + jnp.sum(observed["flow"]) * 1e4


def timed(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def measure_case(blocks, solver, say):
    bar = Bar(blocks, solver)
    recording = bar.recording
    direction = {"sigma_y": np.ones(blocks)}
    bar.recorded()  # compiles
    recording.gradient(loss)
    recording.jvp(direction)
    times = {"forward": [], "adjoint": [], "jvp": []}
    counts = {}
    for _ in range(3):
        times["forward"].append(timed(bar.recorded))
        before = recording.solver.factorisations, recording.solver.iterations
        times["adjoint"].append(timed(lambda: recording.gradient(loss)))
        counts["factorisations"] = recording.solver.factorisations - before[0]
        counts["iterations"] = recording.solver.iterations - before[1]
        times["jvp"].append(timed(lambda: recording.jvp(direction)))
    best = {name: min(values) for name, values in times.items()}
    ratio = best["adjoint"] / best["forward"]
    say(
        f"{blocks:5d} parameters, {solver}: forward {best['forward']:.2f} s "
        f"({bar.iterations} Newton iterations), adjoint {best['adjoint']:.2f} s, "
        f"{ratio:.2f} of it ({counts['factorisations']} factorisations, {counts['iterations']} "
        f"linear iterations); one direction {best['jvp'] / best['forward']:.2f}"
    )
    return ratio, best["jvp"] / best["forward"]


def measure(say, only):
    """Numbers by key; ``only``: of direct and iterative."""
    numbers = {}
    for solver in only or ("direct", "iterative"):
        for blocks in (1000, 10):
            ratio, forward_mode = measure_case(blocks, solver, say)
            key = "sensitivity." + "_".join(
                ["adjoint_over_forward"]
                + (["10"] if blocks == 10 else [])
                + ([solver] if solver != "direct" else [])
            )
            numbers[key] = ratio
            numbers[key.replace("adjoint", "jvp")] = forward_mode
    return numbers
