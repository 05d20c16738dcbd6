# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # An artery: a tube with two helices of fibres under pressure
#
# The law is that of Holzapfel, Gasser and Ogden (J. Elasticity 61, 2000): two families of collagen
# fibres, wound around the tube as helices, in a soft matrix. Fibres are stiff exponentially, so the
# tube becomes stiffer and stiffer as it is inflated. It keeps its volume: displacement and pressure
# are unknowns, and `Incompressible` turns the energy into a law for both. The directions of the
# fibres are a field, given in UFL.
#
#     mpiexec -n 2 python demos/demo_fibre_tube.py [--fine]
#
# Units: mm, kPa.

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
    deformation_gradient,
    render,
)

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="A fibre-reinforced tube under pressure.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "fibre_tube")
parser.add_argument("--fine", action="store_true", help="finer mesh")
options = parser.parse_args()
comm = MPI.COMM_WORLD

# %% [markdown]
# ## Mesh
#
# A quarter of the tube, bent from a block. Its ends do not move along the axis.

# %%
inner, outer, length = 0.71, 0.97, 1.0
cells = [6, 24, 2] if options.fine else [3, 12, 1]
domain = mesh.create_box(
    comm, [[inner, 0.0, 0.0], [outer, np.pi / 2, length]], cells, mesh.CellType.hexahedron
)
x = domain.geometry.x
x[:, :2] = (x[:, 0] * np.array([np.cos(x[:, 1]), np.sin(x[:, 1])])).T
V, Q = fem.functionspace(domain, ("Q", 2, (3,))), fem.functionspace(domain, ("Q", 1))
u, p = fem.Function(V, name="displacement"), fem.Function(Q, name="pressure")
v, q = ufl.TestFunctions(ufl.MixedFunctionSpace(V, Q))

# %% [markdown]
# ## Fibres
#
# At an angle of 29 degrees to the circumference. The law's parameter `directions` is one for all
# points; `parameters` makes a field of it.

# %%
mu, k1, k2, pitch = 3.0, 2.3632, 0.8393, np.deg2rad(29.0)
X = ufl.SpatialCoordinate(domain)
radius = ufl.sqrt(X[0] ** 2 + X[1] ** 2)
around = [-X[1] / radius * np.cos(pitch), X[0] / radius * np.cos(pitch)]
directions = ufl.as_matrix([[*around, np.sin(pitch)], [*around, -np.sin(pitch)]])
artery = admat.Incompressible(
    admat.HolzapfelGasserOgden(mu=mu, k1=k1, k2=k2, directions=np.eye(3)[:2])
)
law = QuadratureMaterial(
    domain,
    artery,
    {"deformation_gradient": deformation_gradient(u), "pressure": p},
    degree=4,
    parameters={"law.directions": directions},
)

# %% [markdown]
# ## Pressure
#
# The blood presses on the deformed surface; by Nanson's formula, -P n da = -P J F^-T N dA.


# %%
def facets(where):
    """Facets of the boundary."""
    return mesh.locate_entities_boundary(domain, 2, where)


bore = facets(lambda x: np.hypot(x[0], x[1]) < inner + 1e-6)
tags = mesh.meshtags(domain, 2, np.sort(bore), np.ones(len(bore), dtype=np.int32))
ds = ufl.Measure("ds", domain, subdomain_data=tags, subdomain_id=1)
blood = fem.Constant(domain, 0.0)
gradient = deformation_gradient(u)
area = ufl.det(gradient) * ufl.dot(ufl.inv(gradient).T, ufl.FacetNormal(domain))
F = ufl.inner(law["first_piola_stress"], ufl.grad(v)) * law.dx
F += law["volume_constraint"] * q * law.dx + blood * ufl.dot(area, v) * ds

bcs = []
for axis, value in ((0, 0.0), (1, 0.0), (2, 0.0), (2, length)):
    W, plane = V.sub(axis), facets(lambda x, a=axis, value=value: np.isclose(x[a], value))
    dofs = fem.locate_dofs_topological(W, 2, plane)
    bcs.append(fem.dirichletbc(fem.Constant(domain, 0.0), dofs, W))
problem = MaterialProblem(
    ufl.extract_blocks(F), [u, p], materials=[law], bcs=bcs, petsc_options_prefix="tube_"
)

# %% [markdown]
# ## Inflation

# %%
stretch = fem.form(ufl.sqrt((X[0] + u[0]) ** 2 + (X[1] + u[1]) ** 2) / radius * ds)
bore_area = comm.allreduce(fem.assemble_scalar(fem.form(fem.Constant(domain, 1.0) * ds)))


def load(pressure):
    """Set the pressure of the blood."""
    blood.value = pressure


curve = []
for step in LoadStepper(problem, np.arange(1.0, 6.01, 1.0), load=load):
    if step.prescribed:
        mean = comm.allreduce(fem.assemble_scalar(stretch)) / bore_area
        curve.append((step.time, mean))
pressures, stretches = np.array(curve).T

# %% [markdown]
# ## A second way to the answer
#
# The tube stays a tube: a ring of radius R goes to r with r^2 - R^2 the same for all rings, and
# the stretches are R/r, r/R and 1. Equilibrium gives the pressure as an integral over the wall,
# of the difference of hoop and radial stress over r (G.A. Holzapfel, Nonlinear Solid Mechanics,
# 2000, chapter 6). Here it is done with 20 Gauss points.


# %%
def pressure_at(inner_stretch):
    """Pressure that widens the bore by a stretch."""
    point, weight = np.polynomial.legendre.leggauss(20)
    R = inner + 0.5 * (outer - inner) * (point + 1.0)
    r = np.sqrt(R**2 + inner**2 * (inner_stretch**2 - 1.0))
    hoop = r / R
    E = np.cos(pitch) ** 2 * hoop**2 + np.sin(pitch) ** 2 - 1.0  # of both families
    # stretch x derivative of the energy with respect to it; the matrix, and two families.
    difference = mu * (hoop**2 - hoop**-2)
    difference += 4.0 * k1 * E * np.exp(k2 * E**2) * np.cos(pitch) ** 2 * hoop**2
    return np.sum(0.5 * (outer - inner) * weight * difference * R / r**2)


expected = np.array([pressure_at(s) for s in stretches])
errors = pressures / expected - 1.0

# %% [markdown]
# ## Results
#
# The picture shows how far the fibres are stretched: both families alike.

# %%
D = fem.functionspace(domain, ("DG", 0))
fibre = gradient * directions[0, :]
fibre_stretch = fem.Function(D, name="fibre_stretch")
fibre_stretch.interpolate(
    fem.Expression(ufl.sqrt(ufl.dot(fibre, fibre)), D.element.interpolation_points)
)
render(
    options.output / "fibre_tube.png",
    domain,
    fibre_stretch,
    displacement=u,
    smooth=True,
    mirror="xy",
    title=f"Artery at {pressures[-1]:g} kPa",
    label="stretch of the fibres",
    view=(40.0, -60.0),
    width=1100,
)
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    line = np.linspace(1.0, stretches[-1], 100)
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axes.plot(line, [pressure_at(s) for s in line], label="quadrature over the wall")
    axes.plot(stretches, pressures, "o", label="finite elements")
    axes.set(xlabel="stretch of the bore", ylabel="pressure (kPa)", title="Artery")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(options.output / "pressure.png", dpi=150)

# %% [markdown]
# ## Check

# %%
if comm.rank == 0:
    print(f"bore stretched {stretches[-1]:.5f} times at {pressures[-1]:g} kPa")
    print(f"pressure against the quadrature: at most {100 * np.abs(errors).max():.3f} %")
assert np.abs(errors).max() < (0.001 if options.fine else 0.003), errors
if not options.fine:
    assert abs(stretches[-1] - 1.63831) < 1e-4, stretches[-1]
