# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A fully plastic block: elements that lock and elements that do not
#
# A long block of square section is pressed between two rough plates until it flows under a
# constant load. That limit is known: with the yield stress k in shear, the mean pressure is 2 k.
# Plastic flow keeps the volume, which ordinary elements cannot do in all their points: they lock,
# and the load rises without limit. With a dilatation of its own in each cell (the B-bar method, as
# a mixed method) the same mesh finds the limit.
#
#     mpiexec -n 2 python demos/demo_plastic_block.py [--fine]

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
parser = argparse.ArgumentParser(description="A fully plastic block.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "plastic_block")
parser.add_argument("--fine", action="store_true", help="finer mesh")
options = parser.parse_args()
comm = MPI.COMM_WORLD

# %% [markdown]
# ## One quarter of the section
#
# The plate at y = 1 is rough: points that touch it move with it.

# %%
n = 32 if options.fine else 10
domain = mesh.create_unit_square(comm, n, n, mesh.CellType.quadrilateral)
k = 100.0
metal = admat.J2Plasticity(
    E=100e3, nu=0.3, hardening=admat.LinearHardening(sigma_y=np.sqrt(3.0) * k)
)


def facets(axis, value):
    """Facets on a coordinate line."""
    return mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[axis], value))


# %% [markdown]
# ## Three elements
#
# Bilinear cells; the same with a constant dilatation and pressure; biquadratic cells with linear
# ones. The law is that of 3D strains in all of them: `with_dilatation` changes the strain only.


# %%
def press(degree, own_dilatation):
    """Press the block; return displacement, material, displacements of the plate, pressures."""
    V = fem.functionspace(domain, ("Q", degree, (2,)))
    Q = fem.functionspace(domain, ("DPC", degree - 1))
    u, p, theta = fem.Function(V, name="displacement"), fem.Function(Q), fem.Function(Q)
    if own_dilatation:
        unknown = [u, p, theta]
        v, q, eta = ufl.TestFunctions(ufl.MixedFunctionSpace(V, Q, Q))
        measure = with_dilatation(plane_strain(u), theta)
        virtual = with_dilatation(plane_strain(v), eta)
    else:
        unknown, v = u, ufl.TestFunction(V)
        measure, virtual = plane_strain(u), plane_strain(v)
    law = QuadratureMaterial(domain, metal, {"strain": measure}, degree=2 * degree)
    F = ufl.inner(law["stress"], virtual) * law.dx
    if own_dilatation:
        F += (p * (ufl.div(v) - eta) + q * (ufl.div(u) - theta)) * law.dx
        F = ufl.extract_blocks(F)

    zero, push = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    plate = facets(1, 1.0)
    bcs = []
    for where, axis, value in (
        (facets(0, 0.0), 0, zero),
        (facets(1, 0.0), 1, zero),
        (plate, 0, zero),
        (plate, 1, push),
    ):
        W = V.sub(axis)
        bcs.append(fem.dirichletbc(value, fem.locate_dofs_topological(W, 1, where), W))
    problem = MaterialProblem(F, unknown, materials=[law], bcs=bcs, petsc_options_prefix="block_")

    def load(displacement):
        push.value = -displacement

    curve = [(0.0, 0.0)]
    for step in LoadStepper(problem, [0.001, 0.002, 0.003, 0.006, 0.009, 0.012], load=load):
        curve.append((step.time, -problem.reaction(plate)[1]))
    return u, law, *np.array(curve).T


cases = {
    "bilinear": (1, False),
    "bilinear, own dilatation": (1, True),
    "biquadratic, own dilatation": (2, True),
}
found = {name: press(*case) for name, case in cases.items()}

# %% [markdown]
# ## Results

# %%
u, law, displacement, _ = found["biquadratic, own dilatation"]
render(
    options.output / "plastic_block.png",
    domain,
    law.cell_average("equivalent_plastic_strain"),
    displacement=u,
    scale=10.0,
    smooth=True,
    mirror="xy",
    title="Block between rough plates (deformation x10)",
    label="equivalent plastic strain",
    width=1000,
)
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for name, (_, _, displacement, pressure) in found.items():
        axes.plot(100 * displacement, pressure / (2.0 * k), ".-", label=name)
    axes.axhline(1.0, color="k", linestyle="--", label="limit load")
    axes.set(xlabel="displacement of the plate (% of the height)", ylabel="mean pressure / 2 k")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    figure.savefig(options.output / "pressure.png", dpi=150)

# %% [markdown]
# ## Check
#
# Lower bound: the uniform pressure 2 k is an equilibrium that violates the yield condition
# nowhere. Upper bound: four rigid blocks that slide along the diagonals of the section dissipate
# as much as a pressure of 2 k supplies. So 2 k it is.

# %%
standard_run = [1.10878, 1.02317, 1.00608]
for (name, (_, _, _, pressure)), expected in zip(found.items(), standard_run, strict=True):
    ratio, rise = pressure[-1] / (2.0 * k), (pressure[-1] - pressure[-2]) / (2.0 * k)
    if comm.rank == 0:
        print(f"{name:<28} pressure / 2 k = {ratio:.5f}, rising by {rise:.5f} in the last step")
    if name == "bilinear":
        assert ratio > 1.03 and rise > 0.003, (ratio, rise)  # neither the limit nor a plateau
    else:
        assert 1.0 < ratio < 1.03 and 0.0 < rise < 0.001, (ratio, rise)
    assert options.fine or abs(ratio - expected) < 1e-4, ratio
