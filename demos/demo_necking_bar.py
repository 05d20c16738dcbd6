# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Necking of a round bar
#
# A round steel bar is pulled until it necks. The law is plasticity at finite strain with
# F = Fe Fp, put into axisymmetry by a wrapper, so that the mesh is a half plane (r, z). One
# quarter of the section is computed; the radius is 1.8 % smaller in the middle, which decides
# where the neck forms. Bar and steel are those of Simo and Armero (IJNME 33, 1992).
#
#     mpiexec -n 2 python demos/demo_necking_bar.py [--fine]
#
# Units: mm, kN, GPa.

# %%
import argparse
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    axisymmetric_deformation_gradient,
    axisymmetric_gradient,
    render,
)

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="Necking of a round bar.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "necking_bar")
parser.add_argument("--fine", action="store_true", help="finer mesh, and a deeper neck")
options = parser.parse_args()
comm = MPI.COMM_WORLD

# %% [markdown]
# ## Mesh
#
# A rectangle, whose cells are moved: finer towards the middle of the bar, and thinner there.

# %%
radius, half_length, thinner = 6.413, 26.667, 0.018
cells = [6, 24] if options.fine else [4, 14]
domain = mesh.create_rectangle(comm, [[0.0, 0.0], [1.0, 1.0]], cells, mesh.CellType.quadrilateral)
x = domain.geometry.x
x[:, 1] = half_length * x[:, 1] ** 1.5
x[:, 0] *= radius * (1.0 - thinner * np.cos(np.pi * np.minimum(x[:, 1] / half_length, 0.5)) ** 2)

# %% [markdown]
# ## Material and problem
#
# Plastic flow keeps the volume. Quadratic quadrilaterals with 2 x 2 points do not lock then.
# `LogarithmicStrain(J2Plasticity(...))` in the place of `FeFpJ2(...)` gives nearly the same.

# %%
hardening = admat.VoceHardening(sigma_y=0.45, Q=0.265, b=16.93, H=0.12924)
steel = admat.FeFpJ2(E=206.9, nu=0.29, hardening=hardening)

V = fem.functionspace(domain, ("Q", 2, (2,)))
u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
law = QuadratureMaterial(
    domain,
    admat.Axisymmetry(steel),
    {"deformation_gradient": axisymmetric_deformation_gradient(u)},
    degree=3,
)
r = ufl.SpatialCoordinate(domain)[0]
F = 2.0 * np.pi * r * ufl.inner(law["first_piola_stress"], axisymmetric_gradient(v)) * law.dx


def facets(axis, value):
    """Facets on a coordinate line."""
    return mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[axis], value))


def fix(where, axis, value):
    """Prescribe one component of the displacement."""
    W = V.sub(axis)
    return fem.dirichletbc(value, fem.locate_dofs_topological(W, 1, where), W)


zero, pull = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
end = facets(1, half_length)
bcs = [fix(facets(0, 0.0), 0, zero), fix(facets(1, 0.0), 1, zero), fix(end, 1, pull)]
problem = MaterialProblem(F, u, materials=[law], bcs=bcs, petsc_options_prefix="necking_")

# %% [markdown]
# ## Pulling
#
# The end is displaced, so the falling branch is no difficulty.


# %%
def load(elongation):
    """Displace the end by the elongation of half the bar."""
    pull.value = elongation


middle = mesh.locate_entities_boundary(
    domain, 0, lambda x: np.isclose(x[1], 0.0) & np.isclose(x[0], radius * (1.0 - thinner))
)
surface_dof = fem.locate_dofs_topological(V.sub(0), 0, middle)


def neck():
    """Present radius in the middle of the bar, on all ranks."""
    moved = comm.allreduce(u.x.array[surface_dof].min(initial=0.0), op=MPI.MIN)
    return radius * (1.0 - thinner) + moved


elongations = np.arange(0.25, 7.01 if options.fine else 5.51, 0.25)
curve = [(0.0, 0.0, neck())]
for step in LoadStepper(problem, elongations, load=load):
    if step.prescribed:
        curve.append((step.time, problem.reaction(end)[1], neck()))
elongation, force, neck_radius = np.array(curve).T

# %% [markdown]
# ## Results

# %%
render(
    options.output / "necking_bar.png",
    domain,
    law.cell_average("equivalent_plastic_strain"),
    displacement=u,
    smooth=True,
    mirror="xy",
    title="Necking of a round bar",
    label="equivalent plastic strain",
    width=900,
)
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axes.plot(elongation, force, ".-")
    axes.set(xlabel="elongation of half the bar (mm)", ylabel="force (kN)", title="Necking bar")
    axes.grid(alpha=0.3)
    figure.savefig(options.output / "force.png", dpi=150)

# %% [markdown]
# ## Check
#
# A bar without imperfection has its maximum load where d(flow stress)/dp = flow stress
# (Considere); elastic strains neglected, it is max(flow stress exp(-p)) times the section. The
# maximum of this bar lies between that load and the one of its thinnest section. And the numbers
# of the standard run.

# %%
p = np.linspace(0.0, 0.4, 4001)
flow_stress = 0.45 + 0.265 * (1.0 - np.exp(-16.93 * p)) + 0.12924 * p
considere = np.pi * radius**2 * np.max(flow_stress * np.exp(-p))
if comm.rank == 0:
    print(f"maximum force {force.max():.5f} kN, {force.max() / considere:.4f} of Considere's")
    print(f"at an elongation of {2 * elongation[-1]:g} mm: {force[-1]:.5f} kN, radius of the neck")
    print(f"{neck_radius[-1]:.5f} mm, {neck_radius[-1] / radius:.4f} of the initial one")
assert (1.0 - thinner) ** 2 < force.max() / considere < 1.0
if not options.fine:
    assert abs(force.max() / 77.60633 - 1.0) < 1e-5, force.max()
    assert abs(neck_radius[-1] - 3.59024) < 1e-3, neck_radius[-1]
