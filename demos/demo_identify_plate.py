# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Hardening parameters from a camera and a force gauge
#
# A plate with a hole is pulled while a camera measures displacements all over it and a gauge the
# force. Which yield stress and hardening explain both? The strains around the hole cover the whole
# hardening curve in one test, so three parameters of Voce's law, sigma_y, Q and b, are fitted at
# once, with the exact Jacobian of the finite element run.
#
#     mpiexec -n 2 python demos/demo_identify_plate.py [--fine]
#
# The measurement is made here, on a finer mesh and with noise of 1 %, so that the answer is known.
# It needs scipy. Units: mm, N, MPa.

# %%
import argparse
import hashlib
import time
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import jax.numpy as jnp
import numpy as np
import ufl
from dolfinx import fem, mesh
from scipy.optimize import least_squares

import dolfinx_admat as admat
from dolfinx_admat.calibration import Free
from dolfinx_admat.fem import LoadStepper, MaterialProblem, QuadratureMaterial, strain
from dolfinx_admat.fem.sensitivity import (
    LawParameter,
    Objective,
    PointDisplacements,
    PointMatrix,
    Reaction,
    Recording,
)
from dolfinx_admat.laboratory import read_field_data

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="Hardening parameters from full-field data.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "identify_plate")
parser.add_argument("--fine", action="store_true", help="finer meshes")
options = parser.parse_args()
comm = MPI.COMM_WORLD
options.output.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The test
#
# One quarter of a plate of 60 x 40 with a hole of radius 8, in plane stress: cells between the
# hole and the outer edges, smaller towards the hole. It is pulled along x, unloaded a little, and
# pulled on. `times` are those of the steps; the camera takes a picture at every other one.

# %%
length, width, hole = 30.0, 20.0, 8.0
times = np.arange(1.0, 13.0)
pictures = times[1::2]


def pull_at(t):
    """Displacement of the end."""
    ends = [0.0, 0.02, 0.04, 0.07, 0.12, 0.2, 0.3, 0.28, 0.31, 0.36, 0.42, 0.5, 0.6]
    return np.interp(t, np.arange(13.0), ends)


def plate(cells, steel, name, progress):
    """A problem on a mesh of its own: problem, law, facets that are pulled, load function."""
    kind = mesh.CellType.quadrilateral
    domain = mesh.create_rectangle(comm, [[0.0, 0.0], [1.0, 1.0]], [cells, 2 * cells], kind)
    x = domain.geometry.x
    outwards, around = x[:, 0] ** 1.5, x[:, 1].copy()
    inner = hole * np.array([np.cos(0.5 * np.pi * around), np.sin(0.5 * np.pi * around)])
    outer = np.array([length * np.minimum(1, 2 - 2 * around), width * np.minimum(1, 2 * around)])
    x[:, :2] = (inner + outwards * (outer - inner)).T

    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
    law = QuadratureMaterial(domain, admat.PlaneStress(steel), {"strain": strain(u)}, degree=4)
    F = ufl.inner(law["stress"], strain(v)) * law.dx
    pull, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    bcs, ends = [], []
    for axis, place, value in ((0, 0.0, zero), (1, 0.0, zero), (0, length, pull)):
        where = mesh.locate_entities_boundary(
            domain, 1, lambda x, axis=axis, place=place: np.isclose(x[axis], place)
        )
        W = V.sub(axis)
        bcs.append(fem.dirichletbc(value, fem.locate_dofs_topological(W, 1, where), W))
        ends.append(where)
    problem = MaterialProblem(
        F, u, materials=[law], bcs=bcs, petsc_options_prefix=f"{name}_", progress=progress
    )

    def load(t):
        pull.value = pull_at(t)

    return problem, law, ends[-1], load


def steel_with(sigma_y, Q, b):
    """Steel with a hardening curve."""
    hardening = admat.VoceHardening(sigma_y=sigma_y, Q=Q, b=b)
    return admat.J2Plasticity(E=210e3, nu=0.3, hardening=hardening)


# %% [markdown]
# ## The measurement
#
# At 250 random points; the mesh of the fit knows nothing of them, and is coarser than this one.
# The noise of displacements and of the force is 1 % of their largest values. In the strip at the
# hole, as in a camera's picture of an edge, the noise is twice as large: these rows have the weight
# 1/4. Points next to the hole are lost from some time on (no rows), others now and then (empty
# cells). All ranks draw the same random numbers; rank 0 writes the files.

# %%
truth = {"sigma_y": 250.0, "Q": 120.0, "b": 40.0}
cells = 12 if options.fine else 8
problem, law, end, load = plate(3 * cells, steel_with(**truth), "measured", progress=True)
rng = np.random.default_rng(5)
points = rng.uniform([0.2, 0.2], [length - 0.2, width - 0.2], (400, 2))
radius = np.linalg.norm(points, axis=1)
points, radius = points[radius > hole + 0.3][:250], radius[radius > hole + 0.3][:250]

camera = PointMatrix(problem.functions[0].function_space, points)
exact_u, exact_force = [], []
for step in LoadStepper(problem, times, load=load):
    if step.prescribed:
        exact_force.append(problem.reaction(end)[0])
    if step.time in pictures:
        exact_u.append(camera.values(problem.functions[0]))
exact_u, exact_force = np.array(exact_u), np.array(exact_force)

noise_u, noise_force = 0.01 * np.abs(exact_u).max(), 0.01 * exact_force.max()
weight = np.where(radius < hole + 1.5, 0.25, 1.0)
seen = exact_u + rng.normal(0.0, noise_u, exact_u.shape) / np.sqrt(weight)[:, None]
lost = rng.uniform(size=exact_u.shape[:2]) < 0.03
gone = pictures[:, None] > np.where(radius < hole + 1.0, rng.uniform(3.0, 16.0, len(points)), 99.0)
force = exact_force + rng.normal(0.0, noise_force, len(times))
if comm.rank == 0:
    with open(options.output / "camera.csv", "w") as file:
        print("time,x,y,ux,uy,weight", file=file)
        for k, t in enumerate(pictures):
            for p in np.flatnonzero(~gone[k]):
                u_p = "," if lost[k, p] else f"{seen[k, p, 0]:.6f},{seen[k, p, 1]:.6f}"
                x_p = f"{points[p, 0]:.4f},{points[p, 1]:.4f}"
                print(f"{t},{x_p},{u_p},{weight[p]}", file=file)
    table = np.column_stack([times, force])
    np.savetxt(options.output / "gauge.csv", table, delimiter=",", header="time,force", comments="")
comm.Barrier()

# %% [markdown]
# ## The fit
#
# From here on only the files are used. `Recording` records the steps of a run and differentiates
# what is observed of it; `Objective` makes a function of the free parameters of it. The residuals
# are divided by the standard deviation of their noise, so that the camera's thousands of numbers
# and the gauge's twelve count as they should.

# %%
data = read_field_data(options.output / "camera.csv")
gauge = np.loadtxt(options.output / "gauge.csv", delimiter=",", skiprows=1)
guess = {"sigma_y": 180.0, "Q": 200.0, "b": 15.0}
problem, law, end, load = plate(cells, steel_with(**guess), "fit", progress=False)
recording = Recording(
    problem,
    observe={"force": Reaction(end), "u": PointDisplacements(data.points)},
    controls={name: LawParameter(law, f"law.hardening.{name}") for name in truth},
)


def simulate():
    """All load steps."""
    for _ in LoadStepper(problem, times, load=load):
        pass


known = data.known


def residual(observed):
    """Differences in units of the noise, without the gaps."""
    u = observed["u"][recording.rows(data.times)]
    f = observed["force"][recording.rows(gauge[:, 0]), 0]
    of_camera = jnp.sqrt(data.weights) * (u - data.values) / noise_u
    return jnp.concatenate([of_camera[known], (f - gauge[:, 1]) / noise_force])


free = {"sigma_y": Free(50.0, 500.0), "Q": Free(1.0, 500.0), "b": Free(1.0, 500.0)}
objective = Objective(recording, simulate, free, residual=residual)
trace, curves = [], []


def residuals(z):
    """The objective's, and a record of what was tried."""
    found = objective.residuals(z)
    trace.append([float(v) for v in objective.values(z).values()])
    curves.append(recording.observed["force"][:, 0])
    return found


within = objective.bounds.T
fit = least_squares(residuals, objective.z0, objective.jacobian, bounds=within, ftol=1e-6)
fitted = {name: float(value) for name, value in objective.values(fit.x).items()}

# %% [markdown]
# ## How sure are we?
#
# `statistics` estimates the noise from the residuals (about 1, if the model explains the data) and
# the covariance from the Jacobian. The 95 % intervals follow with Student's t.
#
# They know of the noise only. The mesh of the fit is coarser than that of the measurement, and this
# shifts the parameters too; no number of pictures removes that. Here the exact data are known, so
# the shift can be computed, to first order, by one Gauss-Newton step: it is part of the table, and
# small compared with the intervals. With real data, compare fits on two meshes.

# %%
found = objective.statistics(fit.x)
intervals = objective.confidence_intervals(fit.x, level=0.95)
half_width = 0.5 * np.ptp(list(intervals.values()), axis=1)

free_vector = objective.free  # scales the parameters
true_values = np.array(list(truth.values()))
z_true = free_vector.to_z(true_values)
to_data = [(data.values - exact_u) * np.sqrt(data.weights) / noise_u]
noise = np.concatenate([to_data[0][known], (gauge[:, 1] - exact_force) / noise_force])
step_of = -np.linalg.pinv(objective.jacobian(z_true)) * free_vector.scale[:, None]
shift = step_of @ (objective.residuals(z_true) + noise)
others = shift + rng.normal(size=(1000, len(noise))) @ step_of.T
covered = (np.abs(others) < half_width).mean(axis=0)

# %% [markdown]
# ## The law in a file
#
# With what a later user must know: units, covariance, the range of the data, and their hash.

# %%
objective.value(fit.x)  # the problem stands at the end of the fitted run again
largest = comm.allreduce(law.values("equivalent_plastic_strain").max(initial=0.0), op=MPI.MAX)
law_file = options.output / "steel.json"
data_hash = hashlib.sha256()
for name in ("camera.csv", "gauge.csv"):
    data_hash.update((options.output / name).read_bytes())
if comm.rank == 0:
    admat.save_law(
        law_file,
        steel_with(**fitted),
        units={"stress": "MPa", "length": "mm"},
        fitted=[f"hardening.{name}" for name in truth],
        covariance=found.covariance,
        training_range={"equivalent_plastic_strain": (0.0, largest)},
        data_hash=f"sha256:{data_hash.hexdigest()}",
        errors={"noise of the residuals, in units of sigma": found.noise},
        notes="plane stress, quarter plate with a hole; camera and force gauge",
    )
comm.Barrier()
again, about = admat.load_law(law_file), admat.read_law_file(law_file)

# %% [markdown]
# ## What a gradient costs
#
# After a run, the Jacobian takes one linear solve per step and parameter, with factorisations that
# all parameters share; finite differences take a run per parameter. The adjoint gradient takes one
# solve per step, however many parameters there are.

# %%
seconds = {}


def timed(name, function, *arguments):
    """Call a function, and note how long that took."""
    comm.Barrier()
    start = time.perf_counter()
    result = function(*arguments)
    seconds[name] = comm.allreduce(time.perf_counter() - start, op=MPI.MAX)
    return result


def run():
    """A run of its own, not recorded."""
    recording.restart()
    simulate()


def half_square(observed):
    """What is minimised."""
    return 0.5 * jnp.sum(residual(observed) ** 2)


recording.gradient(half_square)  # compile
J = timed("Jacobian, exact", objective.jacobian, fit.x)
gradient = timed("gradient, adjoint", recording.gradient, half_square)
timed("one run", run)
seconds["Jacobian, differences"] = len(truth) * seconds["one run"]

# %% [markdown]
# The same numbers: J^T r is the adjoint gradient, and column 0 of J a central difference. A larger
# step than 1e-6 is worse here: somewhere a point changes from elastic to plastic in between.

# %%
r = objective.residuals(fit.x)
slope = np.array([float(gradient[1][name]) for name in truth]) * free_vector.scale
unit = np.array([1e-6, 0.0, 0.0])
difference = (objective.residuals(fit.x + unit) - objective.residuals(fit.x - unit)) / 2e-6
error_adjoint = np.abs(J.T @ r - slope).max() / (np.abs(J).T @ np.abs(r)).max()
error_jacobian = np.linalg.norm(difference - J[:, 0]) / np.linalg.norm(J[:, 0])

# %% [markdown]
# ## Results

# %%
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    pulled = pull_at(times)
    stretch = np.concatenate([[0.0], pulled])
    bars = {"fmt": "o", "ms": 4, "mfc": "none", "color": "k"}
    left.errorbar(
        pulled, gauge[:, 1] / 1e3, 2.0 * noise_force / 1e3, **bars, label="measured (2 sigma)"
    )
    lines = (curves[0], "C7--", "first guess"), (curves[-1], "C0-", "fitted")
    for curve, style, label in lines:
        left.plot(stretch, np.concatenate([[0.0], curve]) / 1e3, style, label=label)
    left.set(xlabel="displacement of the end (mm)", ylabel="force per mm of thickness (kN)")
    left.legend(frameon=False)
    left.set_title("force gauge")

    misfit = r[: known.sum()]
    of_points = np.full(known.shape, np.nan)
    of_points[known] = misfit
    last, seen_last = of_points[-1, :, 0], known[-1].all(axis=1)
    dots = middle.scatter(
        *data.points[seen_last].T, c=last[seen_last], cmap="RdBu_r", vmin=-3, vmax=3, s=16
    )
    middle.plot(*data.points[~seen_last].T, "kx", ms=4, label="no data")
    arc = np.linspace(0.0, 0.5 * np.pi, 60)
    edge_x = [*(hole * np.cos(arc)), 0.0, length, length, hole]
    edge_y = [*(hole * np.sin(arc)), width, width, 0.0, 0.0]
    middle.plot(edge_x, edge_y, "k-", lw=1)
    middle.set(xlabel="x (mm)", ylabel="y (mm)", aspect="equal")
    middle.set_title("camera: last picture, misfit of ux")
    middle.legend(loc="lower left", frameon=False, handletextpad=0.1)
    figure.colorbar(dots, ax=middle, label="standard deviations of the noise", shrink=0.75)

    for k, name in enumerate(truth):
        right.plot(np.array(trace)[:, k] / truth[name], ".-", color=f"C{k}", label=name)
        width_k = half_width[k] / truth[name]
        right.errorbar(
            len(trace) - 1 + 0.3 * k, fitted[name] / truth[name], width_k, color=f"C{k}", capsize=4
        )
    right.axhline(1.0, color="k", lw=0.8)
    right.set(xlabel="evaluation", ylabel="parameter / true value")
    right.legend(frameon=False)
    right.set_title("fit, with 95 % intervals")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(options.output / "identify_plate.png", dpi=130)

    print(f"\n{known.sum()} displacements and {len(force)} forces; {len(trace)} evaluations")
    print("parameter     true    guess   fitted   95 % interval   shift by mesh   holds in")
    for k, name in enumerate(truth):
        print(
            f"{name:9} {truth[name]:8.2f} {guess[name]:8.2f} {fitted[name]:8.2f}   "
            f"+- {half_width[k]:8.3f}      {shift[k]:+8.3f}     {100 * covered[k]:5.1f} % of draws"
        )
    print(f"noise of the residuals {found.noise:.3f} (expected: 1)")
    print("\n" + "\n".join(f"{name:22} {value:8.3f} s" for name, value in seconds.items()))
    print(f"results in {options.output}")

# %% [markdown]
# ## Check

# %%
for k, name in enumerate(truth):
    assert abs(fitted[name] - truth[name]) < half_width[k], (name, fitted[name], half_width[k])
    assert half_width[k] < 0.1 * truth[name], (name, half_width[k])
    assert abs(shift[k]) < 0.5 * half_width[k], (name, shift[k], half_width[k])
    assert covered[k] > 0.9, (name, covered[k])
assert len(trace) <= 12, len(trace)
assert abs(found.noise - 1.0) < 0.05, found.noise
assert not found.warnings, found.warnings
assert error_adjoint < 1e-8, error_adjoint
assert error_jacobian < 1e-5, error_jacobian
assert again.hardening.Q == fitted["Q"]
assert np.array_equal(about.covariance, found.covariance)
assert about.data_hash.endswith(data_hash.hexdigest()) and about.units["stress"] == "MPa"
