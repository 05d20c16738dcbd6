# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A strip footing pushed to collapse
#
# A rigid, smooth footing is pushed into a layer of clay that yields without hardening and without
# change of volume (von Mises, undrained). Its limit load is Prandtl's, (2 + pi) c, where c is the
# cohesion. Ordinary elements would never reach a limit: they lock. Here the dilatation is an
# unknown of its own, which any law for strains can use.
#
#     mpiexec -n 2 python demos/demo_strip_footing.py [--fine]
#
# Units: m, MPa.

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
    plane_strain,
    render,
    with_dilatation,
)

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="A strip footing pushed to collapse.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "strip_footing")
parser.add_argument("--fine", action="store_true", help="finer mesh")
options = parser.parse_args()
comm = MPI.COMM_WORLD

# %% [markdown]
# ## Mesh
#
# Half of the soil. The cells are small at the edge of the footing, where the strain is singular.

# %%
half_width, width, depth = 0.5, 2.5, 1.5
under, beside, down = (16, 24, 20) if options.fine else (8, 14, 12)
domain = mesh.create_unit_square(comm, under + beside, down, mesh.CellType.quadrilateral)
x = domain.geometry.x
column = np.rint(x[:, 0] * (under + beside)).astype(int)
row = np.rint((1.0 - x[:, 1]) * down).astype(int)
far = np.cumsum(1.2 ** np.arange(beside))
below = np.concatenate([[0.0], np.cumsum(1.1 ** np.arange(down))])
near = half_width * (1.0 - np.linspace(1.0, 0.0, under + 1) ** 1.3)
x[:, 0] = np.concatenate([near, half_width + (width - half_width) * far / far[-1]])[column]
x[:, 1] = -depth * (below / below[-1])[row]

# %% [markdown]
# ## Displacement, pressure and dilatation
#
# `with_dilatation` replaces the trace of the strain by the dilatation theta; the pressure p holds
# theta to div u. On quadratic cells both are linear in each cell.

# %%
cohesion = 0.1
clay = admat.J2Plasticity(
    E=1e3, nu=0.45, hardening=admat.LinearHardening(sigma_y=np.sqrt(3.0) * cohesion)
)
V = fem.functionspace(domain, ("Q", 2, (2,)))
Q = fem.functionspace(domain, ("DPC", 1))
u, p, theta = fem.Function(V, name="displacement"), fem.Function(Q), fem.Function(Q)
v, q, eta = ufl.TestFunctions(ufl.MixedFunctionSpace(V, Q, Q))
law = QuadratureMaterial(
    domain, clay, {"strain": with_dilatation(plane_strain(u), theta)}, degree=4
)
F = ufl.inner(law["stress"], with_dilatation(plane_strain(v), eta)) * law.dx
F += (p * (ufl.div(v) - eta) + q * (ufl.div(u) - theta)) * law.dx

# %% [markdown]
# ## Supports
#
# The footing is smooth: only its settlement is prescribed.


# %%
def facets(where):
    """Facets of the boundary."""
    return mesh.locate_entities_boundary(domain, 1, where)


def fix(where, axis, value):
    """Prescribe one component of the displacement."""
    W = V.sub(axis)
    return fem.dirichletbc(value, fem.locate_dofs_topological(W, 1, where), W)


zero, push = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
footing = facets(lambda x: np.isclose(x[1], 0.0) & (x[0] < half_width + 1e-9))
bottom = facets(lambda x: np.isclose(x[1], -depth))
sides = facets(lambda x: np.isclose(x[0], 0.0) | np.isclose(x[0], width))
bcs = [fix(bottom, 0, zero), fix(bottom, 1, zero), fix(sides, 0, zero), fix(footing, 1, push)]
problem = MaterialProblem(
    ufl.extract_blocks(F),
    [u, p, theta],
    materials=[law],
    bcs=bcs,
    petsc_options_prefix="footing_",
)

# %% [markdown]
# ## To collapse
#
# The stepper chooses its steps: it grows them while Newton's iteration is easy and halves them
# where it fails. The loop is left when the load no longer grows.


# %%
def load(settlement):
    """Push the footing."""
    push.value = -settlement


curve = [(0.0, 0.0)]
for step in LoadStepper(problem, [0.02], load=load, initial_dt=2e-5, growth=1.5, max_dt=5e-4):
    pressure = -problem.reaction(footing)[1] / half_width / cohesion
    slope = (pressure - curve[-1][1]) / step.dt
    curve.append((step.time, pressure))
    if slope < 1e-3 * curve[1][1] / curve[1][0]:
        break
settlement, pressure = np.array(curve).T

# %% [markdown]
# ## Results
#
# The picture shows how the soil flows out from under the footing.

# %%
render(
    options.output / "strip_footing.png",
    domain,
    law.cell_average("equivalent_plastic_strain"),
    displacement=u,
    scale=0.1 / settlement[-1],
    mirror="x",
    smooth=True,
    limits=(0.0, 4.0 * settlement[-1]),
    title="Strip footing at collapse (settlement drawn as 0.1 m)",
    label="equivalent plastic strain",
)
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axes.plot(1e3 * settlement, pressure, ".-")
    axes.axhline(2.0 + np.pi, color="k", linestyle="--", label="Prandtl")
    axes.set(xlabel="settlement (mm)", ylabel="mean pressure / cohesion")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(options.output / "pressure.png", dpi=150)

# %% [markdown]
# ## Check
#
# L. Prandtl (1920), R. Hill (1949): the limit load is (2 + pi) c.

# %%
error = pressure[-1] / (2.0 + np.pi) - 1.0
if comm.rank == 0:
    print(f"limit load {pressure[-1]:.5f} c, Prandtl's (2 + pi) c {100 * error:+.2f} %")
assert 0.0 < error < (0.004 if options.fine else 0.015), error
if not options.fine:
    assert abs(pressure[-1] - 5.1878) < 1e-3, pressure[-1]
