# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Finite strain: a twisted rubber block
#
# A compressible neo-Hookean block is twisted by 120 degrees. The law is its stored energy; stress
# and tangent are derivatives of it, by JAX. Compared with a small-strain program, three lines
# change: the law, its input (the deformation gradient), and the virtual work P : grad v.
#
#     mpiexec -n 2 python demos/demo_twisted_block.py

# %%
import argparse
from pathlib import Path

from mpi4py import MPI  # before dolfinx

import jax.numpy as jnp
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

# %% [markdown]
# ## The law: an energy
#
# `admat.NeoHookean` exists; this one shows how little there is to write.


# %%
class Rubber(admat.Hyperelastic):
    """W = mu/2 (tr(F^T F) - 3 - 2 ln J) + lmbda/2 (ln J)^2."""

    mu: float
    lmbda: float

    def energy(self, F):
        J = jnp.linalg.det(F)
        log_J = jnp.log(jnp.where(J > 0, J, 1.0))  # J <= 0 is reported as inadmissible
        return 0.5 * self.mu * (jnp.sum(F * F) - 3.0 - 2.0 * log_J) + 0.5 * self.lmbda * log_J**2


# %% [markdown]
# ## Problem

# %%
here = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description="A twisted rubber block.")
parser.add_argument("--output", type=Path, default=here.parent / "results" / "twisted_block")
output = parser.parse_args().output

domain = mesh.create_box(
    MPI.COMM_WORLD, [[-0.5, -0.5, 0.0], [0.5, 0.5, 2.0]], [4, 4, 8], mesh.CellType.hexahedron
)
V = fem.functionspace(domain, ("Lagrange", 2, (3,)))
u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
law = QuadratureMaterial(
    domain,
    Rubber(mu=1.0, lmbda=10.0),
    {"deformation_gradient": deformation_gradient(u)},
    degree=4,
)
F = ufl.inner(law["first_piola_stress"], ufl.grad(v)) * law.dx

bottom = mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[2], 0.0))
top = mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[2], 2.0))
turned = fem.Function(V)  # prescribed displacement of the top
bcs = [
    fem.dirichletbc(np.zeros(3), fem.locate_dofs_topological(V, 2, bottom), V),
    fem.dirichletbc(turned, fem.locate_dofs_topological(V, 2, top)),
]
problem = MaterialProblem(F, u, materials=[law], bcs=bcs, petsc_options_prefix="twist_")


def load(angle):
    """Turn the top by an angle in degrees about the axis."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turned.interpolate(
        lambda x: np.stack([(c - 1) * x[0] - s * x[1], s * x[0] + (c - 1) * x[1], 0 * x[0]])
    )


# %% [markdown]
# The stored energy is integrated from its UFL formula: a second derivation of what the law does.

# %%
deformation = deformation_gradient(u)
log_J = ufl.ln(ufl.det(deformation))
stored = 0.5 * (ufl.tr(deformation.T * deformation) - 3 - 2 * log_J) + 0.5 * 10.0 * log_J**2
stored_form = fem.form(stored * law.dx)
energy = []
for _ in LoadStepper(problem, np.arange(15.0, 121.0, 15.0), load=load):
    energy.append(domain.comm.allreduce(fem.assemble_scalar(stored_form), op=MPI.SUM))

# %% [markdown]
# ## Picture and check
#
# Saint-Venant's torsion gives the energy at a small angle: mu 0.1406 a^4 angle^2 / (2 L). The
# clamped ends, which cannot warp, make this short bar a few per cent stiffer.

# %%
render(
    output / "twisted_block.png",
    domain,
    law.cell_average("first_piola_stress").sub(8).collapse(),
    displacement=u,
    title="Twisted by 120 degrees",
    label="axial stress P_zz / mu",
)
saint_venant = 0.1406 * np.deg2rad(15.0) ** 2 / (2.0 * 2.0)
if domain.comm.rank == 0:
    print("stored energy:", ", ".join(f"{w:.6f}" for w in energy))
    print(f"at 15 degrees {energy[0] / saint_venant:.4f} of Saint-Venant's; picture in {output}")
assert 1.0 < energy[0] / saint_venant < 1.05, energy[0] / saint_venant
assert abs(energy[-1] - 0.16099) < 2e-5, energy[-1]
