"""Laws in the plane and around an axis: the same numbers on 1, 2 and 3 ranks."""

from mpi4py import MPI

import bodies
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    MaterialProblem,
    QuadratureMaterial,
    ResultWriter,
    axisymmetric_deformation_gradient,
    axisymmetric_gradient,
    axisymmetric_strain,
    deformation_gradient,
    plane_strain,
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


class Sheet:
    """A ring sector or a sheet, held at y = 0 and pulled up at the other end."""

    def __init__(self, law, measure, virtual, weight, inputs="strain", output="stress", **options):
        domain = mesh.create_unit_square(COMM, 4, 4)
        domain.geometry.x[:, 0] += 0.3
        self.V = fem.functionspace(domain, ("P", 2, (2,)))
        self.u, v = fem.Function(self.V), ufl.TestFunction(self.V)
        self.law = QuadratureMaterial(domain, law, {inputs: measure(self.u)}, degree=2, **options)
        r = ufl.SpatialCoordinate(domain)[0]
        F = ufl.inner(self.law[output], virtual(v)) * (r if weight else 1.0) * self.law.dx
        self.pull = fem.Constant(domain, (0.0, 0.0))
        self.top = bodies.facets(domain, 1, 1.0)
        bcs = []
        for facets, value in ((bodies.facets(domain, 1, 0.0), np.zeros(2)), (self.top, self.pull)):
            dofs = fem.locate_dofs_topological(self.V, 1, facets)
            bcs.append(fem.dirichletbc(value, dofs, self.V))
        self.problem = MaterialProblem(
            F, self.u, materials=[self.law], bcs=bcs, petsc_options_prefix="r_", progress=False
        )

    def run(self, *steps):
        """Reaction, and integral of p, after the steps."""
        for step in steps:
            self.pull.value[:] = step
            self.problem.solve()
        p = self.law.integrate("equivalent_plastic_strain")
        return [*self.problem.reaction(self.top), p]


STEEL = bodies.voce()
LOGARITHMIC = admat.LogarithmicStrain(STEEL)
GRADIENT = ("deformation_gradient", "first_piola_stress")
#: Law, measure, test function's measure, axisymmetric, names; two steps, and what comes out.
CASES = {
    "PlaneStress": (
        (admat.PlaneStress(STEEL), strain, strain, False),
        [(0.001, 0.003), (0.0, -0.002)],
        [-6.429568101, -283.5497163, 0.004253289939],
    ),
    "PlaneStrain": (
        (admat.PlaneStrain(STEEL), strain, strain, False),
        [(0.001, 0.003), (0.0, -0.002)],
        [-5.44886844, -348.3607195, 0.004568294408],
    ),
    "Axisymmetry": (
        (admat.Axisymmetry(STEEL), axisymmetric_strain, axisymmetric_strain, True),
        [(0.001, 0.003), (0.0, -0.002)],
        [-94.29275759, -282.2600163, 0.005095351785],
    ),
    "PlaneStress at finite strain": (
        (admat.PlaneStress(LOGARITHMIC), deformation_gradient, ufl.grad, False, *GRADIENT),
        [(0.01, 0.05), (0.0, 0.04)],
        [-68.07944285, -345.8406496, 0.05427199411],
    ),
    "Axisymmetry at finite strain": (
        (
            admat.Axisymmetry(LOGARITHMIC),
            axisymmetric_deformation_gradient,
            axisymmetric_gradient,
            True,
            *GRADIENT,
        ),
        [(0.01, 0.05), (0.0, 0.04)],
        [-207.4263123, -397.5210282, 0.0758055912],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_wrapped_laws_give_the_same_numbers_on_all_rank_counts(name):
    arguments, steps, expected = CASES[name]
    sheet = Sheet(*arguments)
    assert sheet.problem.problem.assembly == "fast"
    np.testing.assert_allclose(sheet.run(*steps), expected, rtol=1e-8)


@pytest.mark.parametrize("kind", ["PlaneStrain", "Axisymmetry"])
def test_wrapped_laws_equal_the_3d_law_with_3x3_tensors(kind):
    """Only plane stress needs the wrapper; the others may also be written in UFL."""
    arguments, steps, _ = CASES[kind]
    measure = {"PlaneStrain": plane_strain, "Axisymmetry": axisymmetric_strain}[kind]
    wrapped = Sheet(*arguments).run(*steps)
    plain = Sheet(STEEL, measure, measure, arguments[3]).run(*steps)
    np.testing.assert_allclose(wrapped, plain, rtol=1e-9)


def test_initial_stress_in_plane_stress():
    """The sheet starts with a stress that its support holds; unloading it gives Hooke's strain."""
    law = admat.PlaneStress(STEEL)
    stress = np.array([[60.0, 20.0], [20.0, -90.0]])
    sheet = Sheet(law, strain, strain, False, initial_stress=stress)
    np.testing.assert_allclose(sheet.law.integrate("stress"), stress, rtol=1e-12)
    sheet.law.update(tangent=False)  # at rest, the law returns it
    np.testing.assert_allclose(sheet.law.integrate("stress"), stress, rtol=1e-12)
    E, nu = STEEL.E, STEEL.nu
    thickness = -nu / E * np.trace(stress)
    np.testing.assert_allclose(sheet.law.values("strain_zz") - thickness, 0.0, atol=1e-15)
    # The strain in a linear displacement that takes the stress away.
    hooke = (1.0 + nu) / E * stress - nu / E * np.trace(stress) * np.eye(2)
    sheet.u.interpolate(lambda x: -hooke @ x[:2])
    sheet.law.update(tangent=False)
    np.testing.assert_allclose(sheet.law.integrate("stress"), 0.0, atol=1e-10)
    # Too much for the yield stress of 250.
    with pytest.raises(admat.MaterialError, match="initial_stress is not admissible"):
        Sheet(law, strain, strain, False, initial_stress=4.0 * stress)


def test_a_bar_of_one_dimension():
    """UniaxialStress in a truss: E (e - p) = R(p), and the law knows the lateral strain."""
    domain = mesh.create_interval(COMM, 5, [0.0, 2.0])
    V = fem.functionspace(domain, ("P", 1))
    u, v = fem.Function(V), ufl.TestFunction(V)
    law = QuadratureMaterial(domain, admat.UniaxialStress(STEEL), {"strain": u.dx(0)}, degree=1)
    section = 3.0
    F = section * law["stress"] * v.dx(0) * law.dx
    end = bodies.facets(domain, 0, 2.0)
    bcs = [
        fem.dirichletbc(value, fem.locate_dofs_topological(V, 0, where), V)
        for where, value in ((bodies.facets(domain, 0, 0.0), 0.0), (end, 0.02))
    ]
    problem = MaterialProblem(
        F, u, materials=[law], bcs=bcs, petsc_options_prefix="bar_", progress=False
    )
    problem.solve()
    low, high = 0.0, 0.01  # bisection for p
    for _ in range(60):
        p = 0.5 * (low + high)
        yielding = 250.0 + 150.0 * (1.0 - np.exp(-40.0 * p)) + 500.0 * p
        low, high = (p, high) if STEEL.E * (0.01 - p) > yielding else (low, p)
    assert problem.reaction(end)[0] == pytest.approx(section * yielding, rel=1e-9)
    lateral = -0.5 * p - 0.3 * yielding / float(STEEL.E)
    np.testing.assert_allclose(law.values("strain_yy") - lateral, 0.0, atol=1e-12)
