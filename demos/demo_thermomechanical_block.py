# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A steel block heated from one end
#
# The end of a steel block is heated to 400 degrees while its other end is kept at 20. The block
# cannot expand sideways, and yields where it is hot. Displacement and temperature are solved
# together: one law maps strain, temperature and temperature gradient to stress and heat flux, and
# the Jacobian takes all its derivatives. Conductivity and yield stress depend on the temperature.
#
#     mpiexec -n 2 python demos/demo_thermomechanical_block.py [--fine]
#
# Units: mm, s, MPa, mW, degrees Celsius.

# %%
import argparse
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import LoadStepper, MaterialProblem, QuadratureMaterial, render, strain

here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="A steel block heated from one end.")
parser.add_argument(
    "--output", type=Path, default=here.parent / "results" / "thermomechanical_block"
)
parser.add_argument("--fine", action="store_true", help="finer mesh")
options = parser.parse_args()
comm = MPI.COMM_WORLD

# %% [markdown]
# ## Material
#
# `ThermoMechanical` adds thermal expansion and Fourier's law to a law for small strains;
# `TemperatureDependent` makes functions of the temperature of some parameters, by their names.

# %%
E, nu, alpha, cold, hot = 200e3, 0.3, 12e-6, 20.0, 400.0
capacity = 3.6  # per volume, mJ / (mm^3 K)
temperatures = [0.0, 500.0]
conductivities, yield_stresses = [50.0, 35.0], [300.0, 200.0]  # linear in between
steel = admat.TemperatureDependent(
    admat.ThermoMechanical(
        admat.J2Plasticity(E, nu, admat.LinearHardening(sigma_y=300.0)),
        alpha=alpha,
        reference_temperature=cold,
        conductivity=50.0,
    ),
    {
        "conductivity": admat.Table(temperatures, conductivities),
        "law.hardening.sigma_y": admat.Table(temperatures, yield_stresses),
    },
)

# %% [markdown]
# ## Unknowns: displacement and temperature

# %%
length, side = 60.0, 20.0
cells = [24, 4, 4] if options.fine else [10, 2, 2]
domain = mesh.create_box(
    comm, [[0.0, 0.0, 0.0], [length, side, side]], cells, mesh.CellType.hexahedron
)
V, S = fem.functionspace(domain, ("Q", 2, (3,))), fem.functionspace(domain, ("Q", 1))
u, T = fem.Function(V, name="displacement"), fem.Function(S, name="temperature")
T_n = fem.Function(S)  # at the beginning of the step
for temperature in (T, T_n):
    temperature.x.array[:] = cold
v, q = ufl.TestFunctions(ufl.MixedFunctionSpace(V, S))
law = QuadratureMaterial(
    domain,
    steel,
    {"strain": strain(u), "temperature": T, "temperature_gradient": ufl.grad(T)},
    degree=4,
)

# %% [markdown]
# ## Equilibrium and balance of heat
#
# The balance needs the size of the step, which the load function below sets.

# %%
dt = fem.Constant(domain, 1.0)
F = ufl.inner(law["stress"], strain(v)) * law.dx
F += (capacity * (T - T_n) / dt * q - ufl.dot(law["heat_flux"], ufl.grad(q))) * law.dx


def facets(axis, value):
    """Facets on a coordinate plane."""
    return mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[axis], value))


zero = fem.Constant(domain, 0.0)
ends = facets(0, 0.0), facets(0, length)
bcs = [
    fem.dirichletbc(fem.Constant(domain, value), fem.locate_dofs_topological(S, 2, end), S)
    for value, end in zip((cold, hot), ends, strict=True)
]
for axis, value in ((0, 0.0), (1, 0.0), (1, side), (2, 0.0), (2, side)):
    W = V.sub(axis)
    dofs = fem.locate_dofs_topological(W, 2, facets(axis, value))
    bcs.append(fem.dirichletbc(zero, dofs, W))
problem = MaterialProblem(
    ufl.extract_blocks(F), [u, T], materials=[law], bcs=bcs, petsc_options_prefix="thermo_"
)

# %% [markdown]
# ## Heating
#
# Until the temperature no longer changes; the characteristic time, capacity length^2 /
# conductivity, is about five minutes.

# %%
stepper = LoadStepper(
    problem,
    [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 1e3, 1e4, 1e6],
    load=lambda time: setattr(dt, "value", time - stepper.time),
)
flows, supplied = [], 0.0
for step in stepper:
    flows.append([problem.reaction(end, block=1)[0] for end in ends])
    supplied += step.dt * sum(flows[-1])
    T_n.x.array[:] = T.x.array

# %% [markdown]
# ## Results

# %%
stress = law.cell_average("stress")
render(
    options.output / "thermomechanical_block.png",
    domain,
    T,
    displacement=u,
    scale=20.0,
    title="Heated block (deformation x20)",
    label="temperature (degrees Celsius)",
    cmap="inferno",
    width=1200,
)
render(
    options.output / "thermomechanical_block_stress.png",
    domain,
    stress.sub(4).collapse(),
    displacement=u,
    scale=20.0,
    title="Heated block (deformation x20)",
    label="lateral stress (MPa)",
    width=1200,
)

# %% [markdown]
# ## Check
#
# At the end, the temperature follows from Kirchhoff's transformation: with the conductivity
# a + b T, the quantity a T + b T^2 / 2 is linear along the block, and its slope is the heat flux.
# The lateral stress is that of hindered expansion, or the yield stress. What it does to the strain
# along the block is elementary:
#
#     stress = -min(E alpha (T - T0) / (1 - nu), sigma_y(T))
#     plastic strain sideways = -alpha (T - T0) - (1 - nu) stress / E,  along x twice the opposite
#     strain along x = alpha (T - T0) - 2 nu stress / E - 2 plastic strain sideways
#
# And the heat that flowed in is the heat that is there.

# %%
b = (conductivities[1] - conductivities[0]) / temperatures[1]
a = conductivities[0]


def kirchhoff(T):
    """Integral of the conductivity."""
    return a * T + 0.5 * b * T**2


flux = (kirchhoff(hot) - kirchhoff(cold)) / length
position = (np.arange(1000) + 0.5) * length / 1000
level = kirchhoff(cold) + flux * position
profile = (np.sqrt(a**2 + 2.0 * b * level) - a) / b
change = profile - cold
yield_stress = np.interp(profile, temperatures, yield_stresses)
lateral = -np.minimum(E * alpha * change / (1.0 - nu), yield_stress)
plastic = -alpha * change - (1.0 - nu) * lateral / E
along = alpha * change - 2.0 * nu * lateral / E - 2.0 * plastic

W = V.sub(0)
tip_dofs = fem.locate_dofs_topological(W, 2, ends[1])
tip = comm.allreduce(u.x.array[tip_dofs].max(initial=0.0), op=MPI.MAX)
mean_stress = law.integrate("stress")[1, 1] / (length * side**2)
content = fem.form(capacity * (T - cold) * law.dx)
stored = comm.allreduce(fem.assemble_scalar(content), op=MPI.SUM)
pairs = {
    "heat flow (W)": (1e-3 * flows[-1][1], 1e-3 * flux * side**2),
    "longer by (mm)": (tip, along.mean() * length),
    "mean lateral stress (MPa)": (mean_stress, lateral.mean()),
}
for name, (computed, exact) in pairs.items():
    if comm.rank == 0:
        print(f"{name:<26} {computed:12.6f}, closed form {exact:12.6f}")
    assert abs(computed / exact - 1.0) < 2e-3, name
assert abs(supplied / stored - 1.0) < 1e-6, (supplied, stored)
