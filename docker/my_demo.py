"""What `make image-test` runs in place of a user's script: a bar, pulled; writes force.csv."""

from mpi4py import MPI  # always before dolfinx

import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain

domain = mesh.create_box(MPI.COMM_WORLD, [[0, 0, 0], [10, 2, 2]], [10, 2, 2])
V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
steel = admat.J2Plasticity(E=210e3, nu=0.3, hardening=admat.VoceHardening(250.0, 150.0, 40.0))
law = QuadratureMaterial(domain, steel, {"strain": strain(u)}, degree=2)
F = ufl.inner(law["stress"], strain(v)) * law.dx

ends = [
    mesh.locate_entities_boundary(domain, 2, lambda x, e=e: np.isclose(x[0], e)) for e in (0, 10)
]
pull = fem.Constant(domain, (0.05, 0.0, 0.0))
held, pulled = (fem.locate_dofs_topological(V, 2, facets) for facets in ends)
bcs = [fem.dirichletbc(np.zeros(3), held, V), fem.dirichletbc(pull, pulled, V)]
problem = MaterialProblem(F, u, materials=[law], bcs=bcs, petsc_options_prefix="bar_")
problem.solve()
force = problem.reaction(ends[1])[0]
# 0.5 % of strain: beyond yield, below the saturated stress of 400 MPa on 4 mm^2.
assert 250.0 * 4 < force < 400.0 * 4, force
if domain.comm.rank == 0:
    np.savetxt("force.csv", [force], header="force_N")
    print(f"{domain.comm.size} ranks: force {force:.6g} N")
