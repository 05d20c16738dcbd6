"""What comes from elsewhere: temperatures, values at t_n, an orientation per cell."""

from mpi4py import MPI

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain

COMM = MPI.COMM_WORLD
E, NU, ALPHA = 100.0, 0.3, 1e-3


@pytest.fixture(scope="module")
def domain():
    return mesh.create_unit_cube(COMM, 2, 2, 2)


def temperatures(domain, degree):
    """A field as it may be given: nodal, per cell, per point, an expression."""
    cell = domain.basix_cell()
    points = basix.ufl.quadrature_element(cell, degree=degree)
    x = ufl.SpatialCoordinate(domain)
    for element in (("P", 1), ("DG", 0), points):
        yield fem.Function(fem.functionspace(domain, element))
    yield 10.0 * x[0] + x[1]


def test_temperature_per_node_cell_point_and_as_an_expression(domain):
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    law = admat.ThermalExpansion(admat.LinearElastic(E, NU), ALPHA, 20.0)
    for T in temperatures(domain, 2):
        inputs = {"strain": strain(u), "temperature": T}
        material = QuadratureMaterial(domain, law, inputs, degree=2)
        if isinstance(T, fem.Function):
            T.x.array[:] = 20.0 + np.arange(len(T.x.array)) % 7
        material.update()
        read = fem.Expression(T, material.points).eval(domain, material.cells)
        expected = -E * ALPHA / (1.0 - 2.0 * NU) * (read.reshape(len(material.cells), -1) - 20.0)
        stress = material.values("stress")
        assert np.abs(expected).max(initial=1.0) > 0.1
        for i in range(3):
            np.testing.assert_allclose(stress[..., i, i], expected, rtol=1e-12, atol=1e-13)
        # What does not depend on the unknown costs nothing in the assembly.
        F = ufl.inner(material["stress"], strain(v)) * material.dx
        for assembly in ("fast", "ffcx"):
            MaterialProblem(
                F, u, materials=[material], petsc_options_prefix="t_", assembly=assembly,
                progress=False,
            )  # fmt: skip
        assert set(material.tangents.buffers) == {("stress", "strain")}


class Rate(admat.ExplicitLaw):
    """Stress from the change of strain and temperature in a step."""

    inputs = {  # noqa: RUF012
        "strain": admat.SYMMETRIC,
        "strain_n": admat.SYMMETRIC,
        "temperature": admat.SCALAR,
        "temperature_n": admat.SCALAR,
    }
    outputs = {"stress": admat.SYMMETRIC, "change": admat.SCALAR}  # noqa: RUF012

    def update(self, inputs, state, dt):
        return {
            "stress": inputs["strain"] - inputs["strain_n"],
            "change": inputs["temperature"] - inputs["temperature_n"],
        }, state


def test_values_at_the_beginning_of_the_step(domain):
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u, T = fem.Function(V), fem.Constant(domain, 5.0)
    inputs = {"strain": strain(u), "temperature": T}
    law = QuadratureMaterial(domain, Rate(), inputs, degree=2)

    def at(stretch, temperature):
        u.interpolate(lambda x: stretch * x)
        T.value = temperature
        law.update()
        volume = law.integrate("stress")[0, 0], law.integrate("change")
        return volume

    assert at(0.1, 8.0) == pytest.approx((0.1, 3.0))  # the first step begins at the creation
    assert at(0.2, 9.0) == pytest.approx((0.2, 4.0))  # nothing moves without a commit
    law.commit()
    assert at(0.5, 7.0) == pytest.approx((0.3, -2.0))
    law.revert()
    law.commit()  # nothing to commit
    assert at(0.6, 7.0) == pytest.approx((0.4, -2.0))
    # Given, it is an input like any other.
    law = QuadratureMaterial(domain, Rate(), inputs | {"temperature_n": 2.0 * T}, degree=2)
    assert at(0.6, 7.0)[1] == pytest.approx(-7.0)
    with pytest.raises(admat.MaterialError, match=r"inputs are \['strain_n', 'temperature'\]"):
        QuadratureMaterial(domain, Rate(), {"strain_n": strain(u), "temperature": T}, degree=2)


def test_initial_stress_of_a_warm_body(domain):
    """The initial stress is that at the temperature at hand; what is heated later comes on top."""
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u, T = fem.Function(V), fem.Constant(domain, 50.0)
    stress = np.array([[1.0, 0.2, 0.0], [0.2, -2.0, 0.3], [0.0, 0.3, 0.5]])
    law = QuadratureMaterial(
        domain,
        admat.ThermalExpansion(admat.LinearElastic(E, NU), ALPHA, 20.0),
        {"strain": strain(u), "temperature": T},
        degree=1,
        initial_stress=stress,
    )
    for heat in (0.0, 10.0):
        T.value = 50.0 + heat
        law.update()
        thermal = -E * ALPHA * heat / (1.0 - 2.0 * NU) * np.eye(3)
        np.testing.assert_allclose(law.integrate("stress"), stress + thermal, atol=1e-12)


def test_an_orientation_per_cell(domain):
    """Rotations as a Function or as arrays: stress Q C(Q^T e Q) Q^T, cell by cell."""
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u = fem.Function(V)
    u.interpolate(lambda x: np.stack([0.01 * x[0] + 0.002 * x[1], -0.003 * x[1], 0.004 * x[0]]))
    cells = domain.topology.index_map(3).size_local
    names = domain.topology.original_cell_index[:cells]
    angles = 0.1 * names
    c, s, zero = np.cos(angles), np.sin(angles), np.zeros(cells)
    Q = np.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1.0], axis=-1).reshape(cells, 3, 3)
    field = fem.Function(fem.functionspace(domain, ("DG", 0, (3, 3))))
    field.x.array.reshape(-1, 9)[:cells] = Q.reshape(cells, 9)
    wood = admat.Elastic(
        admat.TransverselyIsotropicElasticity(E1=100.0, E2=10.0, nu12=0.3, nu23=0.4, G12=5.0)
    )
    e = fem.Expression(strain(u), np.full((1, 3), 0.25)).eval(
        domain, np.arange(cells, dtype=np.int32)
    )
    e = e.reshape(cells, 3, 3)

    def stress(strain):
        shear = np.sqrt(2.0) * np.array([strain[0, 1], strain[0, 2], strain[1, 2]])
        point = admat.evaluate_point(wood, np.concatenate([np.diag(strain), shear]))
        out = np.asarray(point.outputs["stress"])
        full = np.diag(out[:3])
        for k, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
            full[i, j] = full[j, i] = out[3 + k] / np.sqrt(2.0)
        return full

    expected = np.array([R @ stress(R.T @ a @ R) @ R.T for R, a in zip(Q, e, strict=True)])
    for given in (field, Q, np.repeat(Q[:, None], 4, axis=1)):
        law = QuadratureMaterial(
            domain,
            admat.Rotated(wood, np.eye(3)),
            {"strain": strain(u)},
            degree=2,
            parameters={"rotation": given},
        )
        law.update()
        for q in range(4):
            np.testing.assert_allclose(
                law.values("stress")[:, q] - expected, 0.0, atol=1e-12 * np.abs(expected).max()
            )
    # The directions matter: without rotation the stress is another one.
    plain = np.array([stress(a) for a in e])
    assert COMM.allreduce(np.abs(plain - expected).max(initial=0.0), op=MPI.MAX) > 0.1
    # A rotation that is none is an error on all ranks.
    field.x.array[:] = 0.0
    law = QuadratureMaterial(
        domain,
        admat.Rotated(wood, np.eye(3)),
        {"strain": strain(u)},
        degree=2,
        parameters={"rotation": field},
    )
    with pytest.raises(admat.MaterialError, match="'rotation' is out of range"):
        law.update()
