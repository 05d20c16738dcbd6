"""Laws in the plane and around an axis: the same numbers on 1, 2 and 3 ranks."""

from mpi4py import MPI

import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    QuadratureMaterial,
    ResultWriter,
    axisymmetric_deformation_gradient,
    axisymmetric_strain,
    deformation_gradient,
    strain,
)

COMM = MPI.COMM_WORLD
SHAPES = {
    "plane_strain": admat.PLANE_SYMMETRIC,
    "plane_gradient": admat.PLANE_TENSOR,
    "strain": admat.AXISYMMETRIC,
    "gradient": admat.AXISYMMETRIC_TENSOR,
}


class Echo(admat.ExplicitLaw):
    """Returns its inputs, and remembers them."""

    inputs = SHAPES
    outputs = SHAPES
    state_kinds = {f"old_{name}": shape for name, shape in SHAPES.items()}  # noqa: RUF012

    def initial_state(self):
        return {f"old_{name}": jnp.zeros(tuple(shape)) for name, shape in SHAPES.items()}

    def update(self, inputs, state, dt):
        return inputs, {f"old_{name}": value for name, value in inputs.items()}


def ring():
    """Quadrilaterals between the radii 1 and 2."""
    domain = mesh.create_unit_square(COMM, 3, 2, mesh.CellType.quadrilateral)
    domain.geometry.x[:, 0] += 1.0
    domain.geometry.x[:, 1] += 0.1 * domain.geometry.x[:, 0] ** 2
    return domain


@pytest.fixture(scope="module")
def echo():
    domain = ring()
    u = fem.Function(fem.functionspace(domain, ("P", 2, (2,))))
    u.interpolate(lambda x: np.stack([0.1 * x[0] * x[1], 0.2 * x[0] ** 2 - 0.3 * x[1]]))
    inputs = {
        "plane_strain": strain(u),
        "plane_gradient": deformation_gradient(u),
        "strain": axisymmetric_strain(u),
        "gradient": axisymmetric_deformation_gradient(u),
    }
    law = QuadratureMaterial(domain, Echo(), inputs, degree=3)
    law.update()
    return law, inputs


@pytest.mark.parametrize("name", SHAPES)
def test_tensors_of_reduced_laws_in_ufl_values_and_states(echo, name):
    law, inputs = echo
    domain, expected = law.mesh, inputs[name]
    size = 3 if expected.ufl_shape == (3, 3) else 2
    for key in (name, f"old_{name}"):
        difference = law[key] - expected
        error = fem.assemble_scalar(fem.form(ufl.inner(difference, difference) * law.dx))
        assert COMM.allreduce(error) < 1e-28
        values = fem.Expression(expected, law.points).eval(domain, law.cells)
        np.testing.assert_allclose(
            law.values(key), values.reshape(-1, len(law.weights), size, size), atol=1e-15
        )
    integral = law.integrate(name)
    form = [[fem.form(expected[i, j] * law.dx) for j in range(size)] for i in range(size)]
    exact = [[COMM.allreduce(fem.assemble_scalar(f)) for f in row] for row in form]
    np.testing.assert_allclose(integral, exact, atol=1e-14)
    assert np.abs(integral[0, 1]) > 1e-3  # the shear took part


def test_state_set_as_ordinary_tensors(echo):
    law, _ = echo
    tensor = np.array([[1.0, 4.0, 0.0], [4.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    law.set_state("old_strain", tensor)
    np.testing.assert_allclose(law.values("old_strain") - tensor, 0.0, atol=1e-15)
    mandel = np.array([1.0, 2.0, 3.0, 4.0 * np.sqrt(2.0)])
    np.testing.assert_allclose(law.state["old_strain"] - mandel, 0.0, atol=1e-15)


@pytest.mark.parametrize("suffix", [".bp", ".pvd"])
def test_files_of_reduced_laws(echo, tmp_path, suffix):
    """Cell averages of 2x2 and 3x3 tensors can be written beside a displacement."""
    law, _ = echo
    fields = {name: law.cell_average(name) for name in SHAPES}
    assert fields["plane_strain"].function_space.value_shape == (2, 2)
    assert fields["strain"].function_space.value_shape == (3, 3)
    path = COMM.bcast(tmp_path / f"reduced{suffix}" if COMM.rank == 0 else None)
    with ResultWriter(path, fields) as writer:
        writer.write(0.0)
    volume = COMM.allreduce(fem.assemble_scalar(fem.form(1.0 * law.dx)))
    for name, mean in fields.items():
        total = COMM.allreduce(fem.assemble_scalar(fem.form(mean[0, 1] * law.dx)))
        assert total == pytest.approx(law.integrate(name)[0, 1], rel=1e-12)
        assert abs(total) > 1e-3 * volume
