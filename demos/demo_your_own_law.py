# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Your own law in 30 lines: creep of a bracket
#
# A law is a class: its fields are the parameters, its methods see ONE point and one step. Here it
# is viscoplasticity after Perzyna, written as the equations stand in a book. No derivative is
# written by hand: Jacobian and consistent tangent follow from `residual`.
#
#     mpiexec -n 2 python demos/demo_your_own_law.py

# %%
from mpi4py import MPI  # before dolfinx

import jax.numpy as jnp
import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import LoadStepper, MaterialProblem, QuadratureMaterial, strain
from dolfinx_admat.tensors import deviator, equivalent_stress

# %% [markdown]
# ## The law
#
# Unknowns: the viscoplastic strain increment (6,) and its size dp. Equations, with
# f = s_eq - sigma_y - H p and n = 3/2 dev(stress) / s_eq:
#
#     increment = dp n                  dp = dt (<f> / K)^m
#
# Tensors are Mandel vectors [xx, yy, zz, sqrt2 xy, sqrt2 xz, sqrt2 yz] inside a law.


# %%
class Creep(admat.ImplicitSmallStrain):
    """Perzyna viscoplasticity with linear hardening, as a general residual."""

    E: float
    nu: float
    sigma_y: float
    H: float
    K: float
    m: float
    rate_dependent = True

    def initial_state(self):
        return {"viscoplastic_strain": jnp.zeros(6), "p": 0.0}

    def stress(self, increment, step):
        elastic = step.given - step.state["viscoplastic_strain"] - increment
        return admat.IsotropicElasticity(self.E, self.nu).stress(elastic)

    def overstress(self, stress, p):
        return equivalent_stress(stress) - self.sigma_y - self.H * p

    def elastic(self, step):
        return self.overstress(self.stress(0.0, step), step.state["p"]) <= 0.0

    def guess(self, step):
        return {"increment": jnp.zeros(6), "dp": 0.0}

    def residual(self, x, step):
        stress = self.stress(x["increment"], step)
        f = self.overstress(stress, step.state["p"] + x["dp"])
        direction = 1.5 * deviator(stress) / equivalent_stress(stress)
        rate = (jnp.maximum(f, 0.0) / self.K) ** self.m
        return {"increment": x["increment"] - x["dp"] * direction, "dp": x["dp"] - step.dt * rate}

    def finish(self, x, step):
        total = step.state["viscoplastic_strain"] + x["increment"]
        p = step.state["p"] + x["dp"]
        return self.stress(x["increment"], step), {"viscoplastic_strain": total, "p": p}


# %% [markdown]
# Look at one point before trusting the law in a mesh: the stress after one second at 0.3 % shear
# must lie between the static and the elastic answer.

# %%
law = Creep(E=70e3, nu=0.33, sigma_y=100.0, H=500.0, K=150.0, m=4.0)
shear = np.array([0.0, 0.0, 0.0, np.sqrt(2.0) * 3e-3, 0.0, 0.0])
point = admat.evaluate_point(law, shear, dt=1.0)
s_eq = float(equivalent_stress(point.outputs["stress"]))
elastic_answer = float(equivalent_stress(admat.IsotropicElasticity(70e3, 0.33).stress(shear)))
assert int(point.status.code) == 0 and 100.0 < s_eq < elastic_answer

# %% [markdown]
# ## The structure
#
# A bracket clamped at its left end carries a load on its right end: it is applied within one
# second, then held. The plate creeps.

# %%
domain = mesh.create_box(
    MPI.COMM_WORLD, [[0.0, 0.0, 0.0], [60.0, 8.0, 10.0]], [12, 2, 3], mesh.CellType.hexahedron
)
V = fem.functionspace(domain, ("Lagrange", 2, (3,)))
u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
left = mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[0], 0.0))
right = mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[0], 60.0))
end = ufl.Measure("ds", domain, subdomain_data=[(1, fem.compute_integration_domains(
    fem.IntegralType.exterior_facet, domain.topology, right))], subdomain_id=1)  # fmt: skip
traction = fem.Constant(domain, (0.0, 0.0, 0.0))

material = QuadratureMaterial(domain, law, {"strain": strain(u)}, degree=4)
F = ufl.inner(material["stress"], strain(v)) * material.dx - ufl.dot(traction, v) * end
bcs = [fem.dirichletbc(np.zeros(3), fem.locate_dofs_topological(V, 2, left), V)]
problem = MaterialProblem(F, u, materials=[material], bcs=bcs, petsc_options_prefix="creep_")


def load(t):
    """Reach the full load at t = 1, then hold it."""
    traction.value[2] = -5.0 * min(t, 1.0)


owned = V.dofmap.index_map.size_local


def tip():
    """Largest deflection, on all ranks."""
    return domain.comm.allreduce(-u.x.array.reshape(-1, 3)[:owned, 2].min(initial=0.0), op=MPI.MAX)


times = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
deflection = [(step.time, tip()) for step in LoadStepper(problem, times, load=load)]

# %% [markdown]
# ## Check
#
# The clamp carries the load, the deflection grows at a falling rate, and its last value is that
# of `admat.PerzynaViscoplasticity`, the same law by a scalar return mapping.

# %%
force = problem.reaction(left)[2]
rates = np.diff([w for _, w in deflection[1:]]) / np.diff(times[1:])
if domain.comm.rank == 0:
    print("deflection of the end (mm):", ", ".join(f"{w:.4f} at {t:g} s" for t, w in deflection))
assert abs(force - 5.0 * 80.0) < 1e-6 * 400.0, force
assert (rates > 0).all() and (np.diff(rates) < 0).all(), rates

u.x.array[:] = 0.0
library = admat.PerzynaViscoplasticity(70e3, 0.33, admat.LinearHardening(100.0, 500.0), 150.0, 4.0)
material = QuadratureMaterial(domain, library, {"strain": strain(u)}, degree=4)
F = ufl.inner(material["stress"], strain(v)) * material.dx - ufl.dot(traction, v) * end
problem = MaterialProblem(F, u, materials=[material], bcs=bcs, petsc_options_prefix="library_")
for _ in LoadStepper(problem, times, load=load):
    pass
assert abs(tip() / deflection[-1][1] - 1.0) < 1e-8, (tip(), deflection[-1])
