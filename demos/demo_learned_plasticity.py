# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A learned plastic law in a structure
#
# Twenty strain paths with noise are all that is known of a steel. A law is learned from them:
# convex potentials and increasing curves with weights, and the update of the internal variables as
# an implicit layer. It is kept in a file, and then takes the place of the true law in a plate with
# a hole that is pulled and pushed. One function serves both laws: nothing in it knows of learning.
#
#     mpiexec -n 2 python demos/demo_learned_plasticity.py [--fine]
#
# It needs optax. Units: mm, N, MPa.

# %%
import argparse
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat import learning
from dolfinx_admat.fem import (
    Extrapolation,
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    render,
    strain,
)

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="A learned plastic law in a structure.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "learned_plasticity")
parser.add_argument("--fine", action="store_true", help="finer mesh")
options = parser.parse_args()
comm = MPI.COMM_WORLD
options.output.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The steel, and what is measured of it
#
# Swift's isotropic hardening (which the learned curve does not contain) and Prager's kinematic one.
# The paths are random, with unloading and reversals, up to strains of 1.5 %; noise is 1 %.

# %%
truth = admat.Elastoviscoplastic(
    admat.IsotropicElasticity(E=200e3, nu=0.3),
    admat.VonMises(),
    admat.SwiftHardening(K=600.0, eps_0=0.002, n=0.15),
    admat.Prager(4e3),
)
amplitude = 0.015

# %% [markdown]
# ## Training
#
# `Scales.of` takes rough moduli and sizes from the data. The law has one elastoplastic branch
# beside a spring: 9 weights and 4 moduli. Rank 0 trains and writes the file, which all ranks read.

# %%
law_file = options.output / "learned_steel.json"
if comm.rank == 0:
    paths = learning.random_strain_paths(20, amplitude=amplitude, steps=(20, 40), seed=0)
    measured = learning.simulate(truth, paths, noise=0.01, seed=0)
    first = learning.LearnedElastoviscoplastic.create(learning.Scales.of(measured), branches=1)
    training = learning.train(
        first, measured, epochs=100, batch=4, learning_rate=0.03, progress=False
    )
    print(training.report())
    data_range = learning.TrainingRange.of(training.law, measured)
    training.save(law_file, units={"stress": "MPa"}, training_range=data_range)
    training.plot(options.output / "training.png")
comm.Barrier()
learned = admat.load_law(law_file)
data_range = learning.TrainingRange.from_mapping(
    learned, admat.read_law_file(law_file).training_range
)

# %% [markdown]
# Whatever its weights are, the law dissipates no negative energy. The audit looks along random
# paths.

# %%
if comm.rank == 0:
    report = admat.audit(learned, scale=amplitude, points=6, both_backends=False, pullback=False)
    assert report.passed, report
    print(f"dissipation: {report['dissipation'].reason}")

# %% [markdown]
# ## The plate
#
# One eighth of a plate with a hole, made of a cube of cells that is bent around the hole. Three
# symmetry planes; the end is pulled, pushed back beyond rest, and pulled again.

# %%
hole, length, thickness = 4.0, 12.0, 2.0
corners = np.array([0.0, 0.06, -0.03, 0.08])  # of the displacement of the end
steps = 8
times = np.linspace(0.0, 3.0, 3 * steps + 1)[1:]


def plate():
    """The mesh: outwards, around, through the thickness."""
    n = 8 if options.fine else 5
    kind = mesh.CellType.hexahedron
    domain = mesh.create_box(comm, [[0.0] * 3, [1.0] * 3], [n, 2 * n, 1], kind)
    x = domain.geometry.x
    outwards, around = x[:, 0] ** 1.4, x[:, 1].copy()
    inner = hole * np.array([np.cos(0.5 * np.pi * around), np.sin(0.5 * np.pi * around)])
    outer = length * np.minimum(1.0, np.array([2.0 - 2.0 * around, 2.0 * around]))
    x[:, :2] = (inner + outwards * (outer - inner)).T
    x[:, 2] *= 0.5 * thickness
    return domain


def run(material, name, watch):
    """Load the plate; returns forces, the mesh, the displacement and the watched extrapolation."""
    domain = plate()
    V = fem.functionspace(domain, ("Lagrange", 2, (3,)))
    u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
    law = QuadratureMaterial(domain, material, {"strain": strain(u)}, degree=4)
    pull, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    bcs = []
    for axis, place, value in ((0, 0.0, zero), (1, 0.0, zero), (2, 0.0, zero), (0, length, pull)):
        end = mesh.locate_entities_boundary(
            domain, 2, lambda x, axis=axis, place=place: np.isclose(x[axis], place)
        )
        W = V.sub(axis)
        bcs.append(fem.dirichletbc(value, fem.locate_dofs_topological(W, 2, end), W))
    F = ufl.inner(law["stress"], strain(v)) * law.dx
    problem = MaterialProblem(
        F, u, materials=[law], bcs=bcs, petsc_options_prefix=f"{name}_", progress=watch
    )

    def load(t):
        pull.value = np.interp(t, np.arange(len(corners)), corners)

    force = [0.0]
    far = Extrapolation(law, data_range) if watch else None
    for step in LoadStepper(problem, times, load=load):
        if step.prescribed:
            force.append(4.0 * problem.reaction(end)[0])
    if far is not None:
        far.close()
    return np.array(force), domain, u, far


true_force, *_ = run(truth, "true", watch=False)
learned_force, domain, u, far = run(learned, "learned", watch=True)
beyond = far.count()

# %% [markdown]
# ## How far from the data
#
# The range of the data is a box in invariants of strain and internal variables, and in their
# orientation. What is shown is how far beyond it the points of each cell have been.

# %%
render(
    options.output / "beyond.png",
    domain,
    far.function,
    displacement=u,
    scale=20.0,
    mirror="xyz",
    title="Where the run left the range of the training data",
    label="distance beyond the range, in its widths",
)

# %% [markdown]
# ## Result

# %%
pulled = np.interp(np.concatenate([[0.0], times]), np.arange(len(corners)), corners)
difference = np.linalg.norm(learned_force - true_force) / np.linalg.norm(true_force)
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    hidden = np.linspace(0.0, 0.03, 100)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.0), layout="constrained")
    left.plot(pulled, true_force / 1e3, "k-", lw=4, alpha=0.25, label="true law")
    left.plot(pulled, learned_force / 1e3, "C0.-", label="learned law")
    left.set(xlabel="displacement of the end (mm)", ylabel="force (kN)")
    left.set_title(f"plate with a hole: {100.0 * difference:.2f} % apart (rms)")
    left.legend(frameon=False)
    one = learning.random_strain_paths(1, amplitude=amplitude, steps=(60, 60), seed=99)[0]
    for law, style in ((truth, {"color": "k", "lw": 4, "alpha": 0.25}), (learned, {"color": "C0"})):
        result = admat.drive(law, one)
        right.plot(result["strain_xx"] * 100.0, result["stress_xx"], **style)
    right.set(xlabel="strain xx (%)", ylabel="stress xx (MPa)", title="an unseen path at a point")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(options.output / "learned_plasticity.png", dpi=150)
    print(f"force: {100.0 * difference:.3f} % rms from the true law")
    print(f"{beyond.ever} of {beyond.points} points have been beyond the training range")
    print(f"results in {options.output}")

# %% [markdown]
# ## Check
#
# The forces agree within 2 %, with data of 1 % noise. The hole strains some points beyond the data,
# which the run has said.

# %%
assert difference < 0.02, difference
assert 0 < beyond.ever < beyond.points, beyond
