"""Load, unload, reverse, reload: the history at the quadrature points against a scalar return."""

from mpi4py import MPI  # before dolfinx, whose wheel finds its MPI library this way

# isort: split
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

from dolfinx_admat import J2Plasticity, J2PlasticityGeneral, VoceHardening
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain

COMM = MPI.COMM_WORLD
E, NU, SIGMA_Y, Q, B, H = 210e3, 0.3, 250.0, 180.0, 60.0, 900.0
# Axial strain at the end of each step: load, unload, reload, reverse, and load again.
PATH = np.array([0.5, 2.0, 6.0, 5.0, 4.6, 5.5, 8.0, 6.0, 0.0, -5.0, -4.0, -3.5, -6.0, 0.0, 9.0])
PATH *= 1e-3


def yield_stress(p):
    return SIGMA_Y + Q * (1.0 - np.exp(-B * p)) + H * p


def scalar_return_mapping(path):
    """Uniaxial stress, backward Euler; bisection, no derivative: nothing shared with the library.

    Returns:
        Per step: stress, plastic strain, equivalent plastic strain.
    """
    plastic, p, rows = 0.0, 0.0, []
    for total in path:
        trial = E * (total - plastic)
        dp = 0.0
        if abs(trial) > yield_stress(p):
            low, high = 0.0, abs(trial) / E
            for _ in range(200):
                dp = 0.5 * (low + high)
                if abs(trial) - E * dp > yield_stress(p + dp):
                    low = dp
                else:
                    high = dp
        plastic += dp * np.sign(trial)
        p += dp
        rows.append((E * (total - plastic), plastic, p))
    return np.array(rows)


@pytest.mark.parametrize("Law", [J2Plasticity, J2PlasticityGeneral])
def test_cyclic_uniaxial_tension_of_a_cube(Law):
    domain = mesh.create_unit_cube(COMM, 2, 2, 2, mesh.CellType.hexahedron)
    V = fem.functionspace(domain, ("Q", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    material = QuadratureMaterial(
        domain, Law(E, NU, VoceHardening(SIGMA_Y, Q, B, H)), {"strain": strain(u)}, degree=2
    )
    F = ufl.inner(material["stress"], strain(v)) * material.dx
    end = fem.Constant(domain, 0.0)
    bcs = []
    for i in range(3):
        side = mesh.locate_entities_boundary(domain, 2, lambda x, i=i: np.isclose(x[i], 0.0))
        dofs = fem.locate_dofs_topological(V.sub(i), 2, side)
        bcs.append(fem.dirichletbc(0.0, dofs, V.sub(i)))
    top = mesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[2], 1.0))
    bcs.append(fem.dirichletbc(end, fem.locate_dofs_topological(V.sub(2), 2, top), V.sub(2)))
    problem = MaterialProblem(
        F,
        u,
        materials=[material],
        bcs=bcs,
        petsc_options_prefix=f"cycle_{Law.__name__}_",
        petsc_options={"snes_rtol": 1e-12},
    )
    expected = scalar_return_mapping(PATH)
    assert (np.diff(expected[:, 2]) > 0).sum() >= 7 and (np.diff(expected[:, 2]) == 0).sum() >= 5

    scale = np.abs(expected).max(axis=0)
    for axial, row in zip(PATH, expected, strict=True):
        end.value = axial
        problem.solve()
        stress, plastic = material.values("stress"), material.values("plastic_strain")
        p = material.values("equivalent_plastic_strain")
        uniaxial = np.diag([0.0, 0.0, 1.0])
        flow = np.diag([-0.5, -0.5, 1.0])
        errors = [
            np.max(np.abs(stress - row[0] * uniaxial), initial=0.0),
            np.max(np.abs(plastic - row[1] * flow), initial=0.0),
            np.max(np.abs(p - row[2]), initial=0.0),
        ]
        errors = np.array([COMM.allreduce(error, op=MPI.MAX) for error in errors])
        assert (errors < 1e-8 * scale).all(), f"at strain {axial}: {errors / scale}"
        assert problem.reaction(top)[2] == pytest.approx(row[0], abs=1e-8 * scale[0])
