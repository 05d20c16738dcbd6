"""Solver presets: PETSc options that work for solid mechanics, by name.

``direct`` is LU by MUMPS. ``iterative`` is CG (symmetric tangents) or GMRES with smoothed
aggregation multigrid (GAMG): rigid body modes as near-nullspace, one level of aggressive
coarsening, couplings below 1 % dropped, Chebyshev/Jacobi smoothing. Jacobi rather than SOR,
because SOR fails on some meshes of quadratic tetrahedra and has no transpose. ``auto`` takes
``direct`` for small problems (up to 60000 unknowns in 3D, 500000 in 2D) and for all that are not
a single displacement.
"""

from typing import Any

from petsc4py import PETSc

import numpy as np
from dolfinx import fem, la

from ..errors import MaterialError
from ._compat import SECANT, direct_solver

PRESETS = ("auto", "direct", "iterative")

#: Below this number of unknowns a 3D problem is faster with MUMPS than with multigrid.
DIRECT_LIMIT_3D = 60_000
DIRECT_LIMIT_2D = 500_000

#: Line searches in the order in which they are tried.
LINE_SEARCHES = ("bt", SECANT)

# Newton with backtracking survives a load reversal (the full step often does not).
# stol = 0: a short step is not convergence.
NEWTON = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "bt",
    "snes_rtol": 1e-9,
    "snes_stol": 0.0,
    "snes_max_it": 40,
    # A step that has to be cut further than this is better retaken with a smaller load.
    "snes_linesearch_minlambda": 1e-4,
}

MULTIGRID = {
    "pc_type": "gamg",
    "pc_gamg_agg_nsmooths": 1,
    "pc_gamg_threshold": 0.01,
    "pc_gamg_aggressive_coarsening": 1,
    "pc_gamg_coarse_eq_limit": 1000,
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_ksp_max_it": 2,
    "mg_levels_pc_type": "jacobi",
    "ksp_rtol": 1e-8,
    "ksp_max_it": 500,
}


def choose(preset: str, spaces: list[fem.FunctionSpace]) -> str:
    """Resolve ``auto``; local, the same on all ranks.

    Raises:
        MaterialError: Unknown preset.
    """
    if preset not in PRESETS:
        raise MaterialError(
            f"MaterialProblem: solver must be one of {', '.join(PRESETS)}; got {preset!r}. "
            "Any PETSc solver can be set with petsc_options"
        )
    if preset != "auto":
        return preset
    size = sum(V.dofmap.index_map.size_global * V.dofmap.index_map_bs for V in spaces)
    limit = DIRECT_LIMIT_3D if spaces[0].mesh.topology.dim == 3 else DIRECT_LIMIT_2D
    displacement_only = len(spaces) == 1 and is_displacement(spaces[0])
    return "iterative" if size > limit and displacement_only else "direct"


def options(preset: str, symmetric: bool) -> dict[str, Any]:
    """PETSc options of a resolved preset."""
    if preset == "direct":
        package = direct_solver()
        extra = {} if package is None else {"pc_factor_mat_solver_type": package}
        return {**NEWTON, "ksp_type": "preonly", "pc_type": "lu", **extra}
    return {**NEWTON, "ksp_type": "cg" if symmetric else "gmres", **MULTIGRID}


def is_displacement(V: fem.FunctionSpace) -> bool:
    """Whether V is a vector Lagrange space with as many components as dimensions."""
    element = V.element.basix_element if V.num_sub_spaces == V.dofmap.bs else None
    lagrange = element is not None and element.family.name == "P"
    return lagrange and V.dofmap.bs == V.mesh.geometry.dim


def rigid_body_modes(V: fem.FunctionSpace) -> PETSc.NullSpace:
    """Orthonormal translations and rotations of a vector space. Collective: yes."""
    gdim = V.mesh.geometry.dim
    x = V.tabulate_dof_coordinates()[
        : V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts
    ]
    count = 3 if gdim == 2 else 6
    vectors = [la.vector(V.dofmap.index_map, bs=gdim) for _ in range(count)]
    modes = [vector.array.reshape(-1, gdim) for vector in vectors]
    for i in range(gdim):
        modes[i][:, i] = 1.0
    planes = [(0, 1)] if gdim == 2 else [(0, 1), (0, 2), (1, 2)]
    for mode, (i, j) in zip(modes[gdim:], planes, strict=True):
        mode[:, i], mode[:, j] = -x[:, j], x[:, i]
    la.orthonormalize(vectors)
    owned = V.dofmap.index_map.size_local * gdim
    petsc = [
        PETSc.Vec().createWithArray(np.array(v.array[:owned]), bsize=gdim, comm=V.mesh.comm)
        for v in vectors
    ]
    return PETSc.NullSpace().create(vectors=petsc, comm=V.mesh.comm)
