# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Cyclic loading of a perforated steel plate
#
# A steel plate with a hole (100 x 40 x 8 mm, hole of radius 8 mm) is pulled, pushed and pulled
# again far beyond its yield stress. One eighth of it is computed, with quadratic tetrahedra. The
# material is J2 plasticity with Voce hardening; its tangent is the derivative of the return
# mapping, made by implicit differentiation.
#
# Run it serially or in parallel:
#
#     mpiexec -n 2 python demos/demo_perforated_plate.py
#
# It writes into `results/perforated_plate/`: `plate.bp` for ParaView, `force.csv` and `force.png`
# (force against displacement) and `plastic_zone.png`.

# %%
import argparse
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import numpy as np
import ufl
from dolfinx import fem

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    ResultWriter,
    read_mesh,
    render,
    strain,
)

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="Cyclic loading of a perforated steel plate.")
parser.add_argument("--mesh", type=Path, default=here.parent / "meshes" / "perforated_plate.xdmf")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "perforated_plate")
parser.add_argument("--steps", type=int, default=5, help="load steps per quarter of a cycle")
options = parser.parse_args()

comm = MPI.COMM_WORLD

# %% [markdown]
# ## Mesh
#
# `read_mesh` reads XDMF with dolfinx alone, and gmsh's `.msh` files. The groups have names.

# %%
data = read_mesh(options.mesh, comm)
mesh = data.mesh
V = fem.functionspace(mesh, ("Lagrange", 2, (3,)))
u = fem.Function(V, name="displacement")
v = ufl.TestFunction(V)

# %% [markdown]
# ## Material
#
# A law knows one point; `QuadratureMaterial` puts it at every quadrature point of the mesh, with
# the strain of `u` as its input. Units: mm, N, MPa.

# %%
steel = admat.J2Plasticity(
    E=210e3, nu=0.3, hardening=admat.VoceHardening(sigma_y=250.0, Q=150.0, b=40.0, H=500.0)
)
law = QuadratureMaterial(mesh, steel, {"strain": strain(u)}, degree=2)

# %% [markdown]
# ## Boundary conditions and problem
#
# Three symmetry planes, and a prescribed displacement of the end that the machine holds.


# %%
def fix(group, component, value):
    """Prescribe one displacement component on a named group of facets."""
    W = V.sub(component)
    dofs = fem.locate_dofs_topological(W, mesh.topology.dim - 1, data.facets(group))
    return fem.dirichletbc(value, dofs, W)


zero, pull = fem.Constant(mesh, 0.0), fem.Constant(mesh, 0.0)
bcs = [fix(f"symmetry_{axis}", i, zero) for i, axis in enumerate("xyz")]
bcs.append(fix("pulled", 0, pull))

F = ufl.inner(law["stress"], strain(v)) * law.dx
problem = MaterialProblem(F, u, materials=[law], bcs=bcs, petsc_options_prefix="plate_")

# %% [markdown]
# ## One and a half cycles
#
# `pull` follows a triangular wave: 0, +0.2, -0.1, +0.25, 0 mm. The stepper solves at every
# prescribed time and halves a step that does not converge.

# %%
corners_t, corners_u = [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 0.2, -0.1, 0.25, 0.0]
times = np.linspace(0.0, 4.0, 4 * options.steps + 1)[1:]


def load(t):
    """Set the displacement of the pulled end."""
    pull.value = np.interp(t, corners_t, corners_u)


stress = law.cell_average("stress")
plastic = law.cell_average("equivalent_plastic_strain")
curve = [(0.0, 0.0)]
fields = {"displacement": u, "stress": stress, "equivalent_plastic_strain": plastic}
with ResultWriter(options.output / "plate.bp", fields) as writer:
    writer.write(0.0)
    for step in LoadStepper(problem, times, load=load):
        # One eighth is computed: four times its force acts on the end of the whole plate.
        curve.append((float(pull.value), 4.0 * problem.reaction(data.facets("pulled"))[0]))
        law.cell_average("stress", out=stress)
        law.cell_average("equivalent_plastic_strain", out=plastic)
        writer.write(step.time)

# %% [markdown]
# ## Results

# %%
render(
    options.output / "plastic_zone.png",
    mesh,
    plastic,
    displacement=u,
    scale=10.0,
    mirror="xyz",
    title="Perforated plate after 1.5 cycles (deformation x10)",
    label="equivalent plastic strain",
)
if comm.rank == 0:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = np.array(curve)
    np.savetxt(options.output / "force.csv", table, delimiter=",", header="displacement_mm,force_N")
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axes.plot(table[:, 0], table[:, 1] / 1e3, ".-")
    axes.set(xlabel="displacement (mm)", ylabel="force (kN)", title="Perforated plate")
    axes.grid(alpha=0.3)
    figure.savefig(options.output / "force.png", dpi=150)
    print(f"results in {options.output}")

# %% [markdown]
# ## Check
#
# Equilibrium: the symmetry plane carries the force of the pulled end. And the numbers of the
# standard run, to the accuracy of the Newton iteration.

# %%
balance = (
    problem.reaction(data.facets("pulled"))[0] + problem.reaction(data.facets("symmetry_x"))[0]
)
plastic_volume = law.integrate("equivalent_plastic_strain")
peak = max(force for _, force in curve)
if comm.rank == 0:
    print(f"peak force {peak:.9e} N, integral of plastic strain {plastic_volume:.9e} mm^3")
assert abs(balance) < 1e-6 * peak, balance
if options.steps == 5 and options.mesh.stem == "perforated_plate":
    assert abs(peak / 7.670734528e04 - 1.0) < 1e-6, peak
    assert abs(plastic_volume / 3.388592062e01 - 1.0) < 1e-6, plastic_volume
