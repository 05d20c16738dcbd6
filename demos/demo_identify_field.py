# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A field of yield stress from displacements
#
# A sheet has been welded, burnt or aged somewhere: its yield stress is a field that nobody knows.
# It is pulled, unloaded and pulled again, and a camera and a force gauge look on. The field has a
# value at each node of the mesh, hundreds of unknowns, and the adjoint gives the derivatives with
# respect to all of them for less than the price of one more run.
#
#     mpiexec -n 2 python demos/demo_identify_field.py [--fine]
#
# The measurement is made here, on a finer mesh and with noise of 0.2 %, so that the answer is
# known.
# It needs scipy. Units: mm, N, MPa.

# %%
import argparse
import time
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import jax.numpy as jnp
import numpy as np
import ufl
from dolfinx import fem, mesh
from scipy.optimize import minimize

import dolfinx_admat as admat
from dolfinx_admat.calibration import Free
from dolfinx_admat.fem import LoadStepper, MaterialProblem, QuadratureMaterial, strain
from dolfinx_admat.fem.sensitivity import (
    Coefficient,
    Integral,
    Objective,
    PointDisplacements,
    PointMatrix,
    Reaction,
    Recording,
)

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="A field of yield stress from displacements.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "identify_field")
parser.add_argument("--fine", action="store_true", help="finer meshes")
options = parser.parse_args()
comm = MPI.COMM_WORLD
options.output.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The test
#
# A square sheet in plane stress, held at the bottom and pulled at the top. Its yield stress is
# 250 MPa times exp(m), with a continuous field m, so that it cannot become negative. A parameter of
# the law may be such an expression of UFL, or a Function.

# %%
size, sigma_0 = 10.0, 250.0
pulled = [0.0, 0.02, 0.05, 0.12, 0.1, 0.2]  # of the top; one unloading
times = np.arange(1.0, len(pulled))


def sheet(cells, name, progress):
    """A problem on a mesh of its own: problem, field m, facets at the top, load function."""
    corners = [[0.0, 0.0], [size, size]]
    kind = mesh.CellType.quadrilateral
    domain = mesh.create_rectangle(comm, corners, [cells, cells], kind)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
    m = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name="log of yield stress")

    steel = admat.J2Plasticity(210e3, 0.3, admat.LinearHardening(sigma_y=sigma_0, H=5e3))
    law = QuadratureMaterial(
        domain,
        admat.PlaneStress(steel),
        {"strain": strain(u)},
        degree=2,
        parameters={"law.hardening.sigma_y": sigma_0 * ufl.exp(m)},
    )
    F = ufl.inner(law["stress"], strain(v)) * law.dx
    at_bottom = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[1], 0.0))
    at_top = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[1], size))
    top = fem.Constant(domain, np.zeros(2))
    bcs = [
        fem.dirichletbc(value, fem.locate_dofs_topological(V, 1, where), V)
        for value, where in ((np.zeros(2), at_bottom), (top, at_top))
    ]
    problem = MaterialProblem(
        F, u, materials=[law], bcs=bcs, petsc_options_prefix=f"{name}_", progress=progress
    )

    def load(t):
        top.value[1] = np.interp(t, np.arange(len(pulled)), pulled)

    return problem, m, at_top, load


def true_m(x):
    """A large soft spot and a small hard one."""
    soft = np.hypot((x[0] - 3.6) / 2.2, (x[1] - 6.0) / 1.5)
    hard = np.hypot(x[0] - 7.2, x[1] - 3.2) / 1.2
    return -0.4 / (1.0 + soft**4) + 0.25 / (1.0 + hard**4)


# %% [markdown]
# ## The measurement
#
# Displacements at random points, and the force; the noise is 0.2 % of their largest values.

# %%
cells, number = (40, 2000) if options.fine else (20, 500)
problem, m, top, load = sheet(2 * cells, "measured", progress=True)
m.interpolate(true_m)
rng = np.random.default_rng(5)
points = rng.uniform(0.02 * size, 0.98 * size, (number, 2))
camera = PointMatrix(problem.functions[0].function_space, points)
seen, force = [], []
for step in LoadStepper(problem, times, load=load):
    if step.prescribed:
        seen.append(camera.values(problem.functions[0]))
        force.append(problem.reaction(top)[1])
noise_u, noise_force = 0.002 * np.abs(seen).max(), 0.002 * np.max(force)
seen = np.array(seen) + rng.normal(0.0, noise_u, np.shape(seen))
force = np.array(force) + rng.normal(0.0, noise_force, len(force))

# %% [markdown]
# ## The objective
#
# The misfit in units of the noise, plus a weight times the integral of |grad m|^2: data at points
# cannot tell what happens between them, so of all fields that explain them the smoothest is wanted.

# %%
problem, m, top, load = sheet(cells, "fit", progress=False)
recording = Recording(
    problem,
    observe={
        "u": PointDisplacements(points),
        "force": Reaction(top),
        "roughness": Integral(ufl.inner(ufl.grad(m), ufl.grad(m)) * ufl.dx),
    },
    controls={"m": Coefficient(m)},
)


def simulate():
    """All load steps."""
    for _ in LoadStepper(problem, times, load=load):
        pass


def misfit(observed):
    """Mean square of the residuals; 1 is what the noise alone makes."""
    rows = recording.rows(times)
    of_camera = jnp.sum(((observed["u"][rows] - seen) / noise_u) ** 2)
    of_gauge = jnp.sum(((observed["force"][rows, 1] - force) / noise_force) ** 2)
    return (of_camera + of_gauge) / (seen.size + force.size)


def loss_with(weight):
    """Misfit and roughness, weighed."""
    return lambda observed: misfit(observed) + weight * observed["roughness"][-1]


# %% [markdown]
# ## Which weight?
#
# As much smoothing as the data allow (the discrepancy principle of V.A. Morozov, 1966): begin with
# a large weight, divide it by 10^0.5 again and again, and stop when the misfit is what the noise
# makes, 1 within two standard deviations. Each fit begins with the field of the last one. Smaller
# weights would fit the noise. Only the last column looks at the true field.

# %%
truth = fem.Function(m.function_space)
truth.interpolate(true_m)


def norm(f):
    """L2 norm."""
    return np.sqrt(comm.allreduce(fem.assemble_scalar(fem.form(f**2 * ufl.dx)), op=MPI.SUM))


def error():
    """Error of the yield stress, relative to its deviation from 250 MPa; the first guess has 1."""
    return norm(ufl.exp(m) - ufl.exp(truth)) / norm(ufl.exp(truth) - 1.0)


expected = 1.0 + 2.0 * np.sqrt(2.0 / (seen.size + force.size))
table, history, changes = [], [], []
if comm.rank == 0:
    print(f"{m.x.index_map.size_global} unknowns; the misfit should come down to {expected:.3f}")
start = time.perf_counter()
for weight in 0.5 * 10.0 ** (-0.5 * np.arange(9)):
    objective = Objective(
        recording,
        simulate,
        {"m": Free(-2.0, 2.0, scale=0.1)},
        loss=loss_with(weight),
        progress=False,
    )
    found = minimize(
        objective,
        objective.z0,
        jac=True,
        method="L-BFGS-B",
        bounds=objective.bounds,
        options={"maxiter": 20, "maxcor": 20},
    )
    objective.value(found.x)  # m and the recording are those of the best point
    observed = recording.observed
    row = weight, float(misfit(observed)), float(observed["roughness"][-1]), error()
    table.append(row)
    changes.append(len(history))
    history += objective.history
    if comm.rank == 0:
        print(
            f"weight {weight:8.1e}: misfit {row[1]:7.3f}, roughness {row[2]:6.3f}, "
            f"error {100 * row[3]:5.1f} %, {len(objective.history):3d} evaluations, "
            f"{time.perf_counter() - start:6.1f} s",
            flush=True,
        )
    if row[1] < expected:
        break

# %% [markdown]
# ## What the gradient costs
#
# One more run, and one more gradient. Differences for all unknowns would take a run for each. The
# gradient is compared with a central difference along a smooth direction, half-way to the answer,
# since at the minimum it is nearly zero.

# %%
best = m.x.array.copy()
wave = fem.Function(m.function_space)
wave.interpolate(lambda x: np.sin(3.0 * x[0]) * np.cos(2.0 * x[1]))


def run_at(values):
    """Record a run with other values of m."""
    m.x.array[:] = values
    recording.restart()
    with recording:
        simulate()
    return recording.observed


def seconds_since(start):
    """The same on all ranks."""
    return comm.allreduce(time.perf_counter() - start, op=MPI.MAX)


loss = loss_with(weight)
ahead, behind = (float(loss(run_at(0.5 * best + h * wave.x.array))) for h in (1e-6, -1e-6))
start = time.perf_counter()
run_at(0.5 * best)
seconds_run = seconds_since(start)
start = time.perf_counter()
slope = recording.gradient(loss)[1]["m"]
seconds_gradient = seconds_since(start)
error_gradient = abs((ahead - behind) / 2e-6 / (slope @ Coefficient(wave).get()) - 1.0)
m.x.array[:] = best

# %% [markdown]
# ## Results

# %%
side = np.linspace(0.0, size, 81)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
fields = (
    sigma_0 * np.exp(true_m(grid.T)),
    sigma_0 * np.exp(PointMatrix(m.function_space, grid).values(m)[:, 0]),
)
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9.5, 8.2), layout="constrained")
    for ax, field, title in zip(axes[0], fields, ("true", "identified"), strict=True):
        image = ax.imshow(
            field.reshape(81, 81),
            origin="lower",
            extent=(0, size, 0, size),
            vmin=fields[0].min(),
            vmax=fields[0].max(),
        )
        ax.set(xlabel="x (mm)", ylabel="y (mm)", title=title)
    axes[0, 1].plot(*points.T, "w.", ms=1.5, alpha=0.6)
    figure.colorbar(image, ax=axes[0], label="yield stress (MPa)")

    weights, misfits, roughness, errors = np.array(table).T
    corner = axes[1, 0]
    corner.plot(roughness, misfits, "o-")
    for k in range(len(table)):
        corner.annotate(f" {weights[k]:.2g}", (roughness[k], misfits[k]), va="bottom")
    corner.axhline(expected, color="k", ls="--", lw=0.8, label="noise")
    corner.set(xlabel="roughness", ylabel="misfit", title="choice of the weight")
    corner.legend(frameon=False)
    axes[1, 1].semilogy(history, lw=1.2)
    for change, value in zip(changes, weights, strict=True):
        axes[1, 1].axvline(change, color="k", ls=":", lw=0.8)
        axes[1, 1].text(change + 2, 30, f"weight\n{value:.2g}")
    axes[1, 1].set(xlabel="evaluation", ylabel="misfit + weight x roughness", title="convergence")
    for ax in axes[1]:
        ax.grid(alpha=0.3, which="both")
    figure.savefig(options.output / "identify_field.png", dpi=120)

    runs = len(slope) * seconds_run
    print(f"\n{len(slope)} unknowns, {seen.size + len(force)} data, {len(history)} evaluations")
    print(f"weight {weight:.2g}, misfit {misfits[-1]:.3f}; 1 + two deviations is {expected:.3f}")
    print(f"error of the field {100 * errors[-1]:.1f} %, of the first guess 100 %")
    print(
        f"one run {seconds_run:.2f} s, gradient {seconds_gradient:.2f} s, differences {runs:.0f} s"
    )
    print(f"gradient along a wave, against a central difference: {error_gradient:.1e}")
    print(f"results in {options.output}")

# %% [markdown]
# ## Check

# %%
assert table[-1][1] < expected, (table[-1], expected)
assert table[-1][3] < (0.25 if options.fine else 0.3), table[-1]
assert error_gradient < 1e-5, error_gradient
