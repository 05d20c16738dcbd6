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
# a hole that is pulled and pushed. One function runs both laws: nothing in it knows of learning.
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
# Swift's isotropic hardening, which is no sum of the learned curve's sigmoids, and Prager's
# kinematic one. The paths are random, with unloading and reversals, up to strains of 2.5 %; the
# noise of stresses is 1 %. `volume=0.1` keeps the mean strain small: else the mean stress would be
# ten times the rest, and the noise with it, and the data would be about the bulk modulus.

# %%
truth = admat.Elastoviscoplastic(
    admat.IsotropicElasticity(E=200e3, nu=0.3),
    admat.VonMises(),
    admat.SwiftHardening(K=600.0, eps_0=0.002, n=0.15),
    admat.Prager(4e3),
)
amplitude = 0.025

# %% [markdown]
# ## Training
#
# `Scales.of` takes rough moduli and sizes from the data. The law has one elastoplastic branch
# beside a spring: 9 weights and 4 moduli. Rank 0 trains and writes the file, which all ranks read.

# %%
law_file = options.output / "learned_steel.json"
if comm.rank == 0:
    paths = learning.random_strain_paths(
        20, amplitude=amplitude, steps=(20, 40), segments=(2, 6), volume=0.1, seed=0
    )
    measured = learning.simulate(truth, paths, noise=0.01, seed=0)
    first = learning.LearnedElastoviscoplastic.create(learning.Scales.of(measured), branches=1)
    training = learning.train(
        first, measured, epochs=100, batch=4, learning_rate=0.03, progress=False
    )
    print(training.report())
    training.save(law_file, units={"stress": "MPa"})  # with the range of the training
    training.plot(options.output / "training.png")
comm.Barrier()
learned = admat.load_law(law_file)
data_range = learning.TrainingRange.from_mapping(
    learned, admat.read_law_file(law_file).training_range
)

# %% [markdown]
# Whatever its weights are, the law dissipates no negative energy; the audit looks for it, and for
# other faults, along random paths.

# %%
if comm.rank == 0:
    report = admat.audit(learned, scale=amplitude, points=6, both_backends=False, pullback=False)
    assert report.passed, report
    print(f"dissipation: {report['dissipation'].reason}")

# %% [markdown]
# ## The plate
#
# One eighth of a plate with a hole, made of a block of cells that is bent around the hole. Three
# symmetry planes; the end is pulled, pushed back beyond rest, and pulled again. `WithEnergies`
# gives the energy that each point has dissipated, with the learned law as with the true one.

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


def run(material, name, watched=None):
    """Load the plate.

    Returns:
        Forces; dissipated energies; the least of any step at any point; displacement; the
        extrapolation, if there is a range to be watched.
    """
    domain = plate()
    V = fem.functionspace(domain, ("Lagrange", 2, (3,)))
    u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
    law = QuadratureMaterial(domain, admat.WithEnergies(material), {"strain": strain(u)}, degree=4)
    pull, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    bcs = []
    for axis, place, value in ((0, 0.0, zero), (1, 0.0, zero), (2, 0.0, zero), (0, length, pull)):
        end = mesh.locate_entities_boundary(
            domain, 2, lambda x, axis=axis, place=place: np.isclose(x[axis], place)
        )
        W = V.sub(axis)
        bcs.append(fem.dirichletbc(value, fem.locate_dofs_topological(W, 2, end), W))
    F = ufl.inner(law["stress"], strain(v)) * law.dx
    problem = MaterialProblem(F, u, materials=[law], bcs=bcs, petsc_options_prefix=f"{name}_")

    def load(t):
        pull.value = np.interp(t, np.arange(len(corners)), corners)

    extrapolation = None if watched is None else Extrapolation(law, watched)
    force, energy, least, before = [0.0], [0.0], 0.0, 0.0
    for step in LoadStepper(problem, times, load=load):
        now = law.values("dissipated_energy")
        least, before = min(least, (now - before).min(initial=0.0)), now
        if step.prescribed:
            # One eighth is computed: four times its force acts on the end of the whole plate.
            force.append(4.0 * problem.reaction(end)[0])
            energy.append(8.0 * law.integrate("dissipated_energy"))
    return np.array(force), np.array(energy), comm.allreduce(least, op=MPI.MIN), u, extrapolation


true_force, true_energy, *_ = run(truth, "true")
force, energy, least, u, extrapolation = run(learned, "learned", data_range)
count, worst = extrapolation.count(), extrapolation.worst()

# %% [markdown]
# ## How far from the data?
#
# The range of the data is a box in invariants of strain and internal variables, the angles between
# them included. The count is part of the result of a run, and the distance is a field like others.
# At the hole the steel has strained further than in any test: there, the law extrapolates.

# %%
told = extrapolation.report()
if comm.rank == 0:
    print(told)
render(
    options.output / "learned_plasticity_range.png",
    u.function_space.mesh,
    extrapolation.function,
    displacement=u,
    scale=20.0,
    mirror="xyz",
    title="Where the learned law extrapolates (deformation x20)",
    label="distance from the training range, in its widths",
)

# %% [markdown]
# ## Results
#
# And both laws at a point, in uniaxial tension and compression, where the lateral strains are free:
# a test that is not among the twenty.

# %%
pulled = np.interp([0.0, *times], np.arange(len(corners)), corners)
difference = np.linalg.norm(force - true_force) / np.linalg.norm(true_force)
of_energy = energy[-1] / true_energy[-1] - 1.0
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cycles = admat.Path().cycles([{"strain_xx": 0.01}, {"strain_xx": -0.01}], 2, steps=25)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 4.2), layout="constrained")
    of_truth, of_learned = {"color": "k", "lw": 5, "alpha": 0.25}, {"color": "C0", "lw": 1.2}
    left.plot(pulled, true_force / 1e3, label="true law", **of_truth)
    left.plot(pulled, force / 1e3, marker=".", label="learned law", **of_learned)
    left.set(xlabel="displacement of the end (mm)", ylabel="force (kN)")
    left.set_title(f"plate with a hole: {100.0 * difference:.1f} % apart (rms)")
    left.legend(frameon=False)
    for law, style in ((truth, of_truth), (learned, of_learned)):
        result = admat.drive(law, cycles)
        right.plot(100.0 * result["strain_xx"], result["stress_xx"], **style)
    right.set(xlabel="strain xx (%)", ylabel="stress xx (MPa)")
    right.set_title("at a point: uniaxial, not among the data")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(options.output / "learned_plasticity.png", dpi=130)
    print(f"force: {100.0 * difference:.3f} % rms from that of the true law")
    print(
        f"dissipated energy: {energy[-1]:.1f} mJ, {100.0 * of_energy:+.2f} % from the true law's;"
    )
    print(f"the least in any step at any point: {least:.2e} mJ/mm^3")
    print(f"{count.ever} of {count.points} points have been beyond the training range")
    print(f"results in {options.output}")

# %% [markdown]
# ## Check
#
# The plate is as near to the true one as the noise of the data, or nearer. No point dissipates a
# negative energy in any step. How plastic work is split into what is stored and what is dissipated
# is not in the data, so that this part is not exact. Points at the hole are beyond the range of the
# data, most others are not.

# %%
assert difference < 0.01, difference
assert least >= -1e-9 * energy[-1], least
assert abs(of_energy) < 0.1 and energy[-1] > 1000.0, (energy[-1], of_energy)
assert 0 < count.ever < count.points // 2 and count.steps == len(times), count
assert 0.1 < worst.distance < 2.0, worst
assert np.hypot(*worst.coordinates[:2]) < 1.2 * hole, worst
