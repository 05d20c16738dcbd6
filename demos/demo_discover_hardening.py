# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A hardening law discovered from a plate test
#
# A plate with a hole is pulled while a camera measures displacements and a gauge the force. Nobody
# measures a stress, and nobody says what the hardening curve looks like: it is learned. The rest of
# the law is classical, Hooke's elasticity and von Mises' yield function in plane stress. Gradients
# with respect to all weights come from the adjoint of the finite element run.
#
#     mpiexec -n 2 python demos/demo_discover_hardening.py [--fine]
#
# The measurement is made here, on a finer mesh and with noise of 1 %, so that the answer is known:
# a measured curve that no formula has made. It needs scipy. Units: mm, N, MPa.

# %%
import argparse
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import jax
import jax.numpy as jnp
import numpy as np
import ufl
from dolfinx import fem, mesh
from jax.flatten_util import ravel_pytree

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
    fit_structure,
)
from dolfinx_admat.learning import LearnedHardening

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="A hardening law discovered from a plate test.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "discover_hardening")
parser.add_argument("--fine", action="store_true", help="finer meshes")
options = parser.parse_args()
comm = MPI.COMM_WORLD
options.output.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The truth
#
# Flow stress of an X100 pipeline steel in tension (J. Besson and others, data of the MEALOR course
# on ductile fracture). Rows: equivalent plastic strain, flow stress. Straight lines between them.

# %%
x100 = [
    (0.0, 500.76), (0.000743, 555.43), (0.002308, 604.83), (0.004174, 639.44), (0.006683, 671.28),
    (0.009174, 693.84), (0.01181, 713.35), (0.01505, 732.48), (0.017948, 746.89),
    (0.021324, 760.47), (0.024339, 771.68), (0.027424, 781.02), (0.031025, 791.13),
    (0.034172, 798.9), (0.037753, 807.84), (0.040909, 814.09), (0.044079, 820.62),
    (0.047679, 827.49), (0.050862, 833.05), (0.054054, 838.34), (0.057816, 843.03),
    (0.061005, 847.91), (0.064723, 852.48), (0.067954, 855.89), (0.071159, 859.53),
]  # fmt: skip
true_hardening = admat.TabulatedHardening(*np.array(x100).T)


def steel(hardening):
    """Steel with a hardening curve, whether classical or learned, in plane stress."""
    elasticity = admat.IsotropicElasticity(E=210e3, nu=0.3)
    return admat.PlaneStress(admat.Elastoviscoplastic(elasticity, admat.VonMises(), hardening))


# %% [markdown]
# ## The test
#
# One quarter of a plate of 60 x 40 with a hole of radius 8: cells between the hole and the outer
# edges, smaller towards the hole. It is pulled along x. The strains around the hole cover the whole
# hardening curve in one test. The camera takes a picture at the end of each of 12 steps.

# %%
length, width, hole = 30.0, 20.0, 8.0
ends = np.array([0.0, 0.025, 0.04, 0.055, 0.07, 0.085, 0.1, 0.12, 0.14, 0.16, 0.19, 0.22, 0.25])
times = np.arange(1.0, len(ends))


def plate(cells, material, name, progress):
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
    law = QuadratureMaterial(domain, material, {"strain": strain(u)}, degree=4)
    F = ufl.inner(law["stress"], strain(v)) * law.dx
    pull, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    bcs, facets = [], []
    for axis, place, value in ((0, 0.0, zero), (1, 0.0, zero), (0, length, pull)):
        where = mesh.locate_entities_boundary(
            domain, 1, lambda x, axis=axis, place=place: np.isclose(x[axis], place)
        )
        W = V.sub(axis)
        bcs.append(fem.dirichletbc(value, fem.locate_dofs_topological(W, 1, where), W))
        facets.append(where)
    problem = MaterialProblem(
        F, u, materials=[law], bcs=bcs, petsc_options_prefix=f"{name}_", progress=progress
    )

    def load(t):
        pull.value = np.interp(t, np.arange(len(ends)), ends)

    return problem, law, facets[-1], load


# %% [markdown]
# ## The measurement
#
# At 200 random points; the mesh of the fit knows nothing of them, and is coarser than this one. The
# noise of displacements and of the force is 1 % of their largest values.

# %%
cells = 10 if options.fine else 6
problem, law, end, load = plate(2 * cells, steel(true_hardening), "measured", progress=True)
rng = np.random.default_rng(5)
points = rng.uniform([0.2, 0.2], [length - 0.2, width - 0.2], (400, 2))
points = points[np.linalg.norm(points, axis=1) > hole + 0.3][:200]
camera = PointMatrix(problem.functions[0].function_space, points)
exact_u, exact_force = [], []
for step in LoadStepper(problem, times, load=load):
    if step.prescribed:
        exact_force.append(problem.reaction(end)[0])
        exact_u.append(camera.values(problem.functions[0]))
exact_u, exact_force = np.array(exact_u), np.array(exact_force)
noise_u, noise_force = 0.01 * np.abs(exact_u).max(), 0.01 * exact_force.max()
seen_u = exact_u + rng.normal(0.0, noise_u, exact_u.shape)
seen_force = exact_force + rng.normal(0.0, noise_force, len(times))

# %% [markdown]
# ## What is learned
#
# `LearnedHardening` is a yield stress and a sum of sigmoids, each with a height and a strain scale
# of its own: nine weights. The curve rises, ever more slowly, whatever the weights are. The first
# guess is a third too soft. `"law.hardening"` is the common beginning of the names of all weights,
# so that `LawParameter` takes the whole part as one control.

# %%
guess = LearnedHardening.create(yield_stress=400.0, strain=0.1, terms=4)
problem, law, end, load = plate(cells, steel(guess), "fit", progress=False)
recording = Recording(
    problem,
    observe={"force": Reaction(end), "u": PointDisplacements(points)},
    controls={"weights": LawParameter(law, "law.hardening")},
)


def simulate():
    """All load steps."""
    for _ in LoadStepper(problem, times, load=load):
        pass


def residual(observed):
    """Differences in units of the noise."""
    of_camera = (observed["u"][recording.rows(times)] - seen_u) / noise_u
    of_gauge = (observed["force"][recording.rows(times), 0] - seen_force) / noise_force
    return jnp.concatenate([jnp.ravel(of_camera), of_gauge])


# %% [markdown]
# ## Training through the finite element run
#
# Each evaluation is a run and one adjoint sweep, however many weights there are. The mean square
# misfit comes down to 1, which is what the noise makes: nothing more can be learned.

# %%
objective = Objective(
    recording,
    simulate,
    {"weights": Free(-30.0, 10.0, scale=1.0)},
    residual=residual,
)
number = seen_u.size + seen_force.size
objective.value(objective.z0)
first_force = recording.observed["force"][:, 0]
found = fit_structure(objective, iterations=25, tolerance=1e-5)
if comm.rank == 0:
    print(found)
last_force = recording.observed["force"][:, 0]
discovered = law.material.law.hardening

# %% [markdown]
# ## How far has the test seen?
#
# A point knows the hardening curve up to its own plastic strain. `beyond` is the share of the plate
# that was strained further than p; where it is zero, the curve is a guess. The covariance of the
# curve follows from that of the weights, (J^T J + 1/9)^-1, where 1/9 says that weights are not
# known better than +-3 before the test. It knows of the noise only, not of the coarser mesh.

# %%
level = fem.Constant(law.mesh, -1.0)
farther = ufl.gt(law["equivalent_plastic_strain"], level)
strained = fem.form(ufl.conditional(farther, 1.0, 0.0) * law.dx)


def area_beyond(p):
    """Area of the part of the plate with an equivalent plastic strain above p."""
    level.value = p
    return comm.allreduce(fem.assemble_scalar(strained))


largest = comm.allreduce(law.values("equivalent_plastic_strain").max(initial=0.0), op=MPI.MAX)
p = largest * np.concatenate([np.linspace(0.0, 1.0, 60) ** 2, [1.2, 1.5]])
beyond = np.array([area_beyond(value) for value in p]) / area_beyond(-1.0)
weights, rebuild = ravel_pytree(discovered)


def curve(weights):
    """Yield stress at all p."""
    return jax.vmap(rebuild(weights))(jnp.asarray(p))


J, slopes = objective.jacobian(found.z), np.asarray(jax.jacobian(curve)(weights))
covariance = np.linalg.inv(J.T @ J + np.eye(len(found.z)) / 9.0)
half_width = 2.0 * np.sqrt(np.einsum("pi,ij,pj->p", slopes, covariance, slopes))
answer, true_curve = np.asarray(curve(weights)), np.asarray(jax.vmap(true_hardening)(p))
seen = p <= largest
errors = answer / true_curve - 1.0
rms, worst = np.sqrt(np.mean(errors[seen] ** 2)), np.abs(errors[seen]).max()
of_guess = np.asarray(jax.vmap(guess)(p))
rms_guess = np.sqrt(np.mean((of_guess / true_curve - 1.0)[seen] ** 2))
misfit = 2.0 * found.value / number

# %% [markdown]
# ## Is the gradient right?
#
# Away from the minimum, where it is nearly zero: the adjoint gradient along a random direction
# against a central difference.

# %%
aside = found.z + 0.3
direction = rng.normal(size=len(aside))
ahead, behind = (objective.value(aside + h * direction) for h in (1e-6, -1e-6))
slope = objective.gradient(aside) @ direction
error_gradient = abs(slope / (0.5e6 * (ahead - behind)) - 1.0)

# %% [markdown]
# ## The law in a file
#
# With the range of strains that the test has seen.

# %%
law_file = options.output / "discovered.json"
if comm.rank == 0:
    admat.save_law(
        law_file,
        steel(discovered).law,
        units={"stress": "MPa"},
        training_range={"equivalent_plastic_strain": (0.0, largest)},
        errors={"mean square misfit in units of the noise": misfit},
        notes="plate with a hole, plane stress; camera and force gauge, no stresses",
    )
comm.Barrier()
again = admat.load_law(law_file)

# %% [markdown]
# ## Results

# %%
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic(
        [["force", "curve"], ["force", "curve"], ["force", "share"]],
        figsize=(11, 5),
        layout="constrained",
    )
    left, right, below = axes["force"], axes["curve"], axes["share"]
    pulled = [0.0, *ends[1:]]
    bars = {"fmt": "o", "ms": 4, "mfc": "none", "color": "k"}
    left.errorbar(
        ends[1:], seen_force / 1e3, 2.0 * noise_force / 1e3, **bars, label="measured (2 sigma)"
    )
    lines = (first_force, "C7--", "first guess"), (last_force, "C0-", "discovered law")
    for values, style, label in lines:
        left.plot(ends, np.concatenate([[0.0], values]) / 1e3, style, label=label)
    left.set(xlabel="displacement of the end (mm)", ylabel="force per mm of thickness (kN)")
    left.set_title("what is measured: force, and displacements")
    left.legend(frameon=False)
    right.plot(100 * p, true_curve, "k:", lw=2, label="truth (not in the data)", zorder=3)
    right.plot(100 * p, of_guess, "C7--", label="first guess")
    right.plot(100 * p[seen], answer[seen], "C0-", label="discovered")
    right.plot(100 * p[-3:], answer[-3:], "C0-", alpha=0.4, label="extrapolated")
    right.fill_between(
        100 * p, answer - half_width, answer + half_width, color="C0", alpha=0.2, lw=0
    )
    right.set(ylabel="yield stress (MPa)", ylim=(250, 950))
    right.set_title("what is found: the hardening curve, with 2 sigma")
    right.legend(frameon=False, loc=(0.12, 0.02))
    right.text(101 * largest, 300, "not seen\nby the test", va="center")
    below.fill_between(100 * p, 100 * beyond, color="C1", alpha=0.6, lw=0)
    below.set(
        xlabel="equivalent plastic strain (%)",
        ylabel="area beyond (%)",
        yscale="log",
        ylim=(1e-3, 100.0),
    )
    for a in (right, below):
        a.axvline(100 * largest, color="k", lw=0.8)
        a.set_xlim(0.0, 100 * p[-1])
    right.tick_params(labelbottom=False)
    for a in axes.values():
        a.grid(alpha=0.3)
    figure.savefig(options.output / "discover_hardening.png", dpi=130)

    print(f"\n{number} measured numbers, {len(found.z)} weights, {found.evaluations} evaluations")
    print(f"misfit {misfit:.4f} in units of the noise (expected: 1)")
    print(f"the test has seen plastic strains up to {100 * largest:.2f} %; there, the curve has an")
    print(
        f"error of {100 * rms:.2f} % rms, at most {100 * worst:.2f} %; first guess: "
        f"{100 * rms_guess:.1f} % rms"
    )
    print(f"adjoint gradient against a difference: {error_gradient:.1e}")
    print(f"results in {options.output}")

# %% [markdown]
# ## Check

# %%
covered = np.mean(np.abs(answer - true_curve)[seen] < half_width[seen])
assert abs(misfit - 1.0) < 0.04, misfit  # the noise itself: 1 +- 0.02
assert 0.06 < largest < x100[-1][0], largest
assert rms < 0.015 < 0.2 < rms_guess, (rms, rms_guess)
assert worst < 0.04, worst
assert covered > 0.85, covered
# Where nothing was seen the band is wide: the curve itself says so.
assert half_width[-1] > 5.0 * half_width[np.searchsorted(p, 0.02)], half_width
assert error_gradient < 1e-6, error_gradient
assert np.array_equal(ravel_pytree(again.hardening)[0], weights)
