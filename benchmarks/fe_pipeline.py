"""The finite element part of one Newton iteration: strain, material, residual, Jacobian.

    python -m benchmarks.fe_pipeline                     # both elements, near 100000 points
    mpiexec -n 2 python -m benchmarks.fe_pipeline ranks  # the same work on two ranks

Microseconds of CPU time per quadrature point, one core. The pipelines compute the same J2
plasticity with linear hardening (``elastic``: its elastic part); before they are timed, their
residuals and Jacobians are compared.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from mpi4py import MPI

import basix.ufl
import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem, mesh

try:  # it adds types to UFL: before UFL has made tables of its types
    import dolfinx_external_operator as external
except ImportError:
    external = None

import dolfinx_admat as admat
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain

COMM = MPI.COMM_WORLD
E, NU, SIGMA_Y, H = 70e3, 0.3, 250.0, 700.0
LMBDA, MU = E * NU / (1 + NU) / (1 - 2 * NU), E / 2 / (1 + NU)
ELEMENTS = {"p2_tet": (mesh.CellType.tetrahedron, 2), "q1_hex": (mesh.CellType.hexahedron, 1)}
#: What a user who cares gives to FFCx; for the pipelines without the plugin.
NATIVE = {
    "cffi_extra_compile_args": ["-O3", "-march=native", "-ffast-math", "-g0"],
    "timeout": 300,
}
ROUNDS = 7


class Body:
    """A cube of about ``points`` points, and a displacement under which most of them flow."""

    def __init__(self, element: str, points: int) -> None:
        cell, degree = ELEMENTS[element]
        per_cube = 24 if element == "p2_tet" else 8
        n = max(2, round((points / per_cube) ** (1 / 3)))
        self.mesh = mesh.create_unit_cube(COMM, n, n, n, cell)
        self.V = fem.functionspace(self.mesh, ("P", degree, (3,)))
        self.u, self.v = fem.Function(self.V), ufl.TestFunction(self.V)
        self.u.interpolate(
            lambda x: (
                2e-3
                * np.stack([np.sin(3 * x[0]) * x[1], x[0] * x[2], 2 * x[2] ** 2 * x[1] + 4 * x[2]])
            )
        )
        held = fem.Function(self.V)
        held.x.array[:] = self.u.x.array
        ends = mesh.locate_entities_boundary(
            self.mesh, 2, lambda x: np.isclose(x[2], 0.0) | np.isclose(x[2], 1.0)
        )
        self.bcs = [fem.dirichletbc(held, fem.locate_dofs_topological(self.V, 2, ends))]
        self.dx = ufl.dx(self.mesh, metadata={"quadrature_degree": 2})
        self.cells = self.mesh.topology.index_map(3).size_local
        self.points = self.cells * (4 if element == "p2_tet" else 8)


class Admat:
    """This package."""

    def __init__(self, body: Body, law: admat.Material, **options: str) -> None:
        self.body = body
        self.law = QuadratureMaterial(body.mesh, law, {"strain": strain(body.u)}, degree=2)
        F = ufl.inner(self.law["stress"], strain(body.v)) * self.law.dx
        self.problem = MaterialProblem(
            F,
            body.u,
            materials=[self.law],
            bcs=body.bcs,
            petsc_options_prefix="bench_",
            progress=False,
            **options,
        ).problem
        fem.petsc.assign(body.u, self.problem.x)

    def stages(self) -> dict:
        p = self.problem
        return {
            "strain": self.law.evaluation._read_inputs,
            "strain_and_material": self.law.update,
            "residual": lambda: p.residual(p.solver, p.x, p.b),
            "jacobian": lambda: p.jacobian(p.solver, p.x, p.A, p.A),
        }


class PureUFL:
    """The same law, or its elastic part, in closed form in UFL: dolfinx alone."""

    def __init__(self, body: Body, plastic: bool) -> None:
        cell = body.mesh.basix_cell()

        def history(shape: tuple) -> fem.Function:
            element = basix.ufl.quadrature_element(cell, value_shape=shape, degree=2)
            return fem.Function(fem.functionspace(body.mesh, element))

        total = ufl.sym(ufl.grad(body.u))
        if plastic:
            e, p = history((6,)), history(())
            old = ufl.as_matrix([[e[0], e[3], e[4]], [e[3], e[1], e[5]], [e[4], e[5], e[2]]])
            elastic = total - old
            s = 2 * MU * ufl.dev(elastic)
            q = ufl.sqrt(1.5 * ufl.inner(s, s) + 1e-30)
            dp = ufl.max_value(q - SIGMA_Y - H * p, 0) / (3 * MU + H)
            s = (1 - 3 * MU * dp / q) * s
        else:
            elastic = total
            s = 2 * MU * ufl.dev(elastic)
        stress = (LMBDA + 2 * MU / 3) * ufl.tr(elastic) * ufl.Identity(3) + s
        self.problem = dolfinx.fem.petsc.NonlinearProblem(
            ufl.inner(stress, ufl.sym(ufl.grad(body.v))) * body.dx,
            body.u,
            bcs=body.bcs,
            petsc_options_prefix="ufl_",
            jit_options=NATIVE,
        )
        fem.petsc.assign(body.u, self.problem.x)
        self.bcs = body.bcs

    def stages(self) -> dict:
        p, bcs = self.problem, self.bcs
        return {
            "residual": lambda: fem.petsc.assemble_residual(
                p.solver, p.x, p.b, u=p.u, residual=p.F, jacobian=p.J, bcs=bcs
            ),
            "jacobian": lambda: fem.petsc.assemble_jacobian(
                p.solver, p.x, p.A, p.A, u=p.u, jacobian=p.J, preconditioner=None, bcs=bcs
            ),
        }


class ExternalOperator:
    """dolfinx-external-operator with the law as a JAX function and its tangent by jacfwd."""

    def __init__(self, body: Body) -> None:
        import jax
        import jax.numpy as jnp

        cell, R2 = body.mesh.basix_cell(), np.sqrt(2.0)
        element = basix.ufl.quadrature_element(cell, value_shape=(6,), degree=2)
        e, d = strain(body.u), strain(body.v)
        mandel = [
            ufl.as_vector([w[0, 0], w[1, 1], w[2, 2], R2 * w[0, 1], R2 * w[0, 2], R2 * w[1, 2]])
            for w in (e, d)
        ]
        stress = external.FEMExternalOperator(
            mandel[0], function_space=fem.functionspace(body.mesh, element)
        )
        one = jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])

        def update(strain, plastic_strain, p):
            elastic = strain - plastic_strain
            trace = jnp.sum(elastic[:3])
            s = 2 * MU * (elastic - trace / 3 * one)
            q = jnp.sqrt(1.5 * jnp.sum(s * s) + 1e-30)
            dp = jnp.maximum(q - SIGMA_Y - H * p, 0.0) / (3 * MU + H)
            stress = (LMBDA + 2 * MU / 3) * trace * one + (1 - 3 * MU * dp / q) * s
            return stress, (stress, plastic_strain + 1.5 * dp / q * s, p + dp)

        run = jax.jit(jax.vmap(jax.jacfwd(update, has_aux=True)))
        count = element.custom_quadrature()[1].size * (
            body.cells + body.mesh.topology.index_map(3).num_ghosts
        )
        history = jnp.zeros((count, 6)), jnp.zeros(count)

        def evaluate(strains):
            tangent, (stress, *_) = jax.block_until_ready(run(strains.reshape(-1, 6), *history))
            return np.asarray(tangent).reshape(-1), np.asarray(stress).reshape(-1)

        stress.external_function = lambda derivative: evaluate if derivative == (1,) else None
        F = ufl.inner(stress, mandel[1]) * body.dx
        J = ufl.algorithms.expand_derivatives(ufl.derivative(F, body.u, ufl.TrialFunction(body.V)))
        F, self.in_F = external.replace_external_operators(F)
        J, self.in_J = external.replace_external_operators(J)
        self.problem = dolfinx.fem.petsc.NonlinearProblem(
            F, body.u, J=J, bcs=body.bcs, petsc_options_prefix="external_", jit_options=NATIVE
        )
        fem.petsc.assign(body.u, self.problem.x)
        self.bcs = body.bcs

    def _update(self) -> None:
        operands = external.evaluate_operands(self.in_F)
        ((_, stress),) = external.evaluate_external_operators(self.in_J, operands)
        self.in_F[0].ref_coefficient.x.array[:] = stress

    def stages(self) -> dict:
        return {
            "strain": lambda: external.evaluate_operands(self.in_F),
            "strain_and_material": self._update,
            **PureUFL.stages(self),
        }


def assert_same(one, other, tolerance: float) -> None:
    """Residual and Jacobian of two pipelines agree."""
    a, b = one.problem, other.problem
    for pipeline in (one, other):
        for stage in pipeline.stages().values():
            stage()
    difference = a.b.duplicate()
    a.b.copy(difference)
    difference.axpy(-1.0, b.b)
    assert difference.norm() <= tolerance * b.b.norm(), "the residuals differ"
    x, y, z = a.A.createVecRight(), a.A.createVecLeft(), a.A.createVecLeft()
    x.setRandom()
    a.A.mult(x, y)
    b.A.mult(x, z)
    y.axpy(-1.0, z)
    assert y.norm() <= tolerance * z.norm(), "the Jacobians differ"
    assert abs(a.A.norm() - b.A.norm()) <= tolerance * b.A.norm(), "the Jacobians differ"


def cpu_seconds(stages: dict) -> dict[str, float]:
    """CPU time of each stage, once, summed over the ranks."""
    found = {}
    for name, stage in stages.items():
        COMM.Barrier()
        start = time.process_time()
        stage()
        found[name] = COMM.allreduce(time.process_time() - start)
    if "strain_and_material" in found:
        found["material"] = max(found.pop("strain_and_material") - found["strain"], 0.0)
    return found


def pipelines(body: Body) -> dict:
    """All pipelines, checked against each other."""
    hardening = admat.LinearHardening(SIGMA_Y, H)
    found = {
        "admat": Admat(body, admat.J2Plasticity(E, NU, hardening)),
        "admat_general": Admat(body, admat.J2PlasticityGeneral(E, NU, hardening)),
        "admat_ffcx": Admat(body, admat.J2Plasticity(E, NU, hardening), assembly="ffcx"),
        "pure_ufl": PureUFL(body, plastic=True),
        "elastic": PureUFL(body, plastic=False),
    }
    if external is not None:
        found["dolfinx_external_operator"] = ExternalOperator(body)
    for name in set(found) - {"pure_ufl", "elastic"}:
        assert_same(found[name], found["pure_ufl"], 1e-9)
    assert_same(Admat(body, admat.LinearElastic(E, NU)), found["elastic"], 1e-12)
    found["admat"].law.update()
    report = found["admat"].law.update()
    assert report.active > 0.8 * report.points, "most points are to flow"
    return found


def measure(cells: str, points: int) -> dict[str, float]:
    """Microseconds of CPU time per point: ``fe.<element>.<pipeline>[.<stage>].microseconds...``.

    Args:
        cells: ``p2_tet`` (4 points per cell) or ``q1_hex`` (8).
        points: Wanted number of quadrature points.
    """
    body = Body(cells, points)
    count = COMM.allreduce(body.points)
    found = pipelines(body)
    best: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):  # in turns, so that a busy machine disturbs all alike
        for name, pipeline in found.items():
            times = cpu_seconds(pipeline.stages())
            known = best.setdefault(name, times)
            best[name] = {k: min(known[k], t) for k, t in times.items()}
    results = {}
    for name, times in best.items():
        results[f"fe.{cells}.{name}.microseconds_per_point"] = 1e6 * sum(times.values()) / count
        for stage, seconds in times.items():
            results[f"fe.{cells}.{name}.{stage}.microseconds_per_point"] = 1e6 * seconds / count
    return results


def efficiency(points: int, ranks: int = 2) -> dict[str, float]:
    """CPU time of the admat pipeline on one rank over the total of several, by element."""
    totals = {}
    for n in (1, ranks):
        program = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(n)]
        text = subprocess.run(
            [*program, sys.executable, "-m", "benchmarks.fe_pipeline", "ranks", str(points)],
            check=True,
            capture_output=True,
            text=True,
            timeout=900,
            env=os.environ | {"MPIR_CVAR_CH4_CMA_ENABLE": "0"},
        ).stdout
        totals[n] = {e: float(t) for e, t in re.findall(r"^total (\w+) ([\d.e+-]+)$", text, re.M)}
    return {
        f"mpi.{ranks}.{element}.efficiency": totals[1][element] / totals[ranks][element]
        for element in ELEMENTS
    }


def memory(cells: str, points: int) -> dict[str, float]:
    """Peak bytes per point of each pipeline, beside the mesh, its space and u.

    Each in a process of its own, in which a small problem has loaded all code before.
    """
    results = {}
    for name in ("admat", "admat_ffcx", "pure_ufl"):
        arguments = ["-m", "benchmarks.fe_pipeline", "memory", cells, name, str(points)]
        text = subprocess.run(
            [sys.executable, *arguments], check=True, capture_output=True, text=True, timeout=900
        ).stdout
        results[f"fe.{cells}.{name}.bytes_per_point"] = float(text.split()[-1])
    return results


def peak_bytes(cells: str, name: str, points: int) -> float:
    """What building a pipeline and running it twice adds to this process, per point."""
    law = admat.J2Plasticity(E, NU, admat.LinearHardening(SIGMA_Y, H))
    make = {
        "admat": lambda body: Admat(body, law),
        "admat_ffcx": lambda body: Admat(body, law, assembly="ffcx"),
        "pure_ufl": lambda body: PureUFL(body, plastic=True),
    }[name]
    for body in (Body(cells, 1000), Body(cells, points)):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from what is used now
        before = _status("VmRSS")
        pipeline = make(body)
        for _ in range(2):
            for stage in pipeline.stages().values():
                stage()
    return (_status("VmHWM") - before) / body.points


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", text).group(1))


def print_table(results: dict[str, float], element: str) -> None:
    stages = ("strain", "material", "residual", "jacobian")
    names = dict.fromkeys(key.split(".")[2] for key in results if f".{element}." in key)
    print(f"{element:26s}" + "".join(f"{s:>10s}" for s in (*stages, "total")))
    for name in names:
        prefix = f"fe.{element}.{name}"
        row = [results.get(f"{prefix}.{s}.microseconds_per_point") for s in stages]
        row.append(results[f"{prefix}.microseconds_per_point"])
        print(f"{name:26s}" + "".join(f"{'-':>10s}" if t is None else f"{t:10.3f}" for t in row))


def main(arguments: list[str]) -> None:
    alone = arguments[:1] == ["ranks"]
    if arguments[:1] == ["memory"]:
        print(peak_bytes(arguments[1], arguments[2], int(arguments[3])))
        return
    points = int(arguments[-1]) if arguments and arguments[-1].isdigit() else 100_000
    for element in ELEMENTS:
        if alone:
            body = Body(element, points)
            law = admat.J2Plasticity(E, NU, admat.LinearHardening(SIGMA_Y, H))
            pipeline = Admat(body, law)
            times = [cpu_seconds(pipeline.stages()) for _ in range(ROUNDS + 1)][1:]
            best = {k: min(t[k] for t in times) for k in times[0]}
            if COMM.rank == 0:
                print(f"total {element} {sum(best.values()):.6e}", flush=True)
                print({k: round(v, 4) for k, v in best.items()}, file=sys.stderr)
            continue
        results = measure(element, points)
        if COMM.rank == 0:
            print_table(results, element)
        if COMM.size == 1:
            for key, value in memory(element, points).items():
                print(f"{key} {value:.0f}")
    if not alone and COMM.size == 1:
        for key, value in efficiency(points).items():
            print(f"{key} {value:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
