"""Bad input: a clear message, the same on every rank, and nothing is lost."""

from mpi4py import MPI

import bodies
import jax.numpy as jnp
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import (
    LoadStepper,
    MaterialProblem,
    QuadratureMaterial,
    axisymmetric_gradient,
    plane_strain,
    strain,
    with_dilatation,
)

COMM = MPI.COMM_WORLD
ELASTIC = admat.LinearElastic(1.0, 0.3)


def refused(match, call, kind=admat.MaterialError):
    """Call must raise ``kind`` with this text, identical on all ranks."""
    with pytest.raises(kind, match=match) as caught:
        call()
    texts = COMM.allgather(str(caught.value))
    assert texts == texts[:1] * COMM.size


@pytest.fixture(scope="module")
def cube():
    return bodies.Cube(n=1)


def material(cube, law=ELASTIC, inputs=None, degree=2, **options):
    inputs = {"strain": strain(cube.u)} if inputs is None else inputs
    return QuadratureMaterial(cube.mesh, law, inputs, degree=degree, **options)


def test_inputs(cube):
    u, e = cube.u, strain(cube.u)
    for match, inputs in {
        r"inputs are \['strian'\], the law declares \['strain'\]": {"strian": e},
        r"inputs are \['T', 'strain'\]": {"strain": e, "T": u[0]},
        r"inputs are list": [e],
        r"input 'strain': got UFL shape \(3,\), expected \(3, 3\)": {"strain": u},
        r"Mandel vectors stay inside laws": {"strain": ufl.as_vector([u[0]] * 6)},
        r"got UFL shape \(2, 2\).*PlaneStress\(law\), PlaneStrain\(law\) or Axisymmetry": {
            "strain": ufl.as_matrix([[u[0], u[0]], [u[0], u[1]]])
        },
    }.items():
        refused(match, lambda inputs=inputs: material(cube, inputs=inputs))


def test_a_2d_displacement_for_a_3d_law():
    square = mesh.create_unit_square(COMM, 2, 2)
    w = fem.Function(fem.functionspace(square, ("P", 1, (2,))))
    for reduction in ("PlaneStress", "PlaneStrain", "Axisymmetry", "plane_strain", "axisymmetric_"):
        refused(
            rf"got UFL shape \(2, 2\), expected \(3, 3\).*{reduction}",
            lambda: QuadratureMaterial(square, ELASTIC, {"strain": strain(w)}, degree=1),
        )
    refused("must have 2 or 3 components", lambda: strain(w[0]), ValueError)
    refused("expected a 3x3 tensor", lambda: with_dilatation(strain(w), w[0]), ValueError)


class Reduced(admat.ExplicitLaw):
    """A law for the plane and one for axisymmetry, in one: only shapes matter here."""

    inputs = {"strain": admat.PLANE_SYMMETRIC, "gradient": admat.AXISYMMETRIC_TENSOR}  # noqa: RUF012
    outputs = inputs

    def update(self, inputs, state, dt):
        return inputs, state


def test_3d_tensors_for_reduced_laws(cube):
    square = mesh.create_unit_square(COMM, 2, 2)
    w = fem.Function(fem.functionspace(square, ("P", 1, (2,))))
    good = {"strain": strain(w), "gradient": axisymmetric_gradient(w)}
    QuadratureMaterial(square, Reduced(), good, degree=1)
    for match, wrong in {
        r"\(3, 3\), expected \(2, 2\).*reduced to the plane": {"strain": plane_strain(w)},
        r"Mandel vectors stay inside laws": {"strain": ufl.as_vector([w[0]] * 3)},
        r"\(2, 2\), expected \(3, 3\).*reduced to axisymmetry": {"gradient": ufl.grad(w)},
    }.items():
        refused(
            match, lambda wrong=wrong: QuadratureMaterial(square, Reduced(), good | wrong, degree=1)
        )
    plane = ufl.as_matrix([[cube.u[0], cube.u[1]], [cube.u[1], cube.u[2]]])
    refused(
        r"entry \(0, 2\) is not seen to be zero.*reduced to axisymmetry",
        lambda: material(cube, Reduced(), {"strain": plane, "gradient": ufl.grad(cube.u)}),
    )


def test_single_precision_mesh():
    domain = mesh.create_unit_cube(COMM, 1, 1, 1, dtype=np.float32)
    u = fem.Function(fem.functionspace(domain, ("P", 1, (3,))), dtype=np.float32)
    refused(
        "the mesh has float32 coordinates",
        lambda: QuadratureMaterial(domain, ELASTIC, {"strain": strain(u)}, degree=1),
    )


def test_law_degree_and_tangent(cube):
    refused(r"a class: call it", lambda: material(cube, law=admat.J2Plasticity))
    refused("degree must be an integer from 0 to 30; got 2.5", lambda: material(cube, degree=2.5))
    refused("tangent must be one of", lambda: material(cube, tangent="autodiff"))
    refused("chunk_size must be", lambda: material(cube, chunk_size=0))


def test_cells(cube):
    cells = cube.mesh.topology.index_map(3).size_local
    tags = mesh.meshtags(cube.mesh, 3, np.arange(cells, dtype=np.int32), np.ones(cells, np.int32))
    facets = mesh.meshtags(cube.mesh, 2, np.array([], np.int32), np.array([], np.int32))
    refused(
        r"cells that do not exist: tag 7 marks no cell of the mesh; the tags are \[1\]",
        lambda: material(cube, cells=(tags, 7)),
    )
    refused("needs MeshTags of dimension 3", lambda: material(cube, cells=(facets, 1)))
    too_far = np.array([10_000] if COMM.rank == COMM.size - 1 else [], dtype=np.int32)
    refused("cells do not exist: got indices from 10000", lambda: material(cube, cells=too_far))
    refused("marks no cell", lambda: material(cube, cells=np.array([], dtype=np.int32)))
    refused("must be a 1D array", lambda: material(cube, cells=np.array([0.5])))


def test_parameters_and_initial_values(cube):
    refused("no parameter 'Young'", lambda: material(cube, parameters={"Young": 1.0}))
    refused(r"parameter 'E'.*expected \(\)", lambda: material(cube, parameters={"E": np.ones(77)}))
    refused("parameter 'E' is NaN", lambda: material(cube, parameters={"E": np.nan}))
    refused("parameter 'E' is NaN", lambda: admat.LinearElastic(E=float("nan"), nu=0.3))
    refused(
        r"initial_state: no state variable 'p'; there are \['equivalent_plastic_strain'",
        lambda: material(cube, bodies.voce(), initial_state={"p": 0.1}),
    )
    refused(
        r"initial_state 'plastic_strain': got an array of shape \(6,\), expected \(3, 3\)",
        lambda: material(cube, bodies.voce(), initial_state={"plastic_strain": np.zeros(6)}),
    )
    refused(
        r"initial_stress: got an array of shape \(2, 2\)",
        lambda: material(cube, initial_stress=np.zeros((2, 2))),
    )


def test_names(cube):
    law = cube.material
    refused(r"no output or state variable 'stres'; there are", lambda: law["stres"])
    refused(r"no output or state variable 'p'", lambda: law.values("p"))
    refused(r"no state variable 'plastic_strian'", lambda: law.state["plastic_strian"])
    with pytest.raises(ValueError, match="read-only"):
        law.state["plastic_strain"][:] = 1.0


def problem(cube, F, materials=None, **options):
    return MaterialProblem(
        F,
        cube.u,
        materials=[cube.material] if materials is None else materials,
        bcs=cube.bcs,
        petsc_options_prefix="bad_",
        progress=False,
        **options,
    )


def test_forms(cube):
    stress, e, law = cube.material["stress"], strain(cube.v), cube.material
    work = ufl.inner(stress, e)
    refused(r"boundary integral \(exterior_facet\)", lambda: problem(cube, work * ufl.ds))
    refused(r"boundary integral \(interior_facet\)", lambda: problem(cube, work("+") * ufl.dS))
    refused("quadrature_degree=None, the material has 2", lambda: problem(cube, work * ufl.dx))
    other = ufl.dx(metadata={"quadrature_degree": 4})
    refused("quadrature_degree=4, the material has 2", lambda: problem(cube, work * other))
    wrong = ufl.dx(metadata={"quadrature_degree": 2, "quadrature_rule": "vertex"})
    refused("quadrature_rule='vertex'", lambda: problem(cube, work * wrong))
    refused("materials is empty", lambda: problem(cube, work * law.dx, materials=[]))
    second = material(cube)
    refused(
        "contains 'stress' of a material that is not in `materials`",
        lambda: problem(cube, ufl.inner(second["stress"], e) * law.dx),
    )
    refused("solver must be one of", lambda: problem(cube, work * law.dx, solver="mumps"))


def test_output_on_other_cells():
    domain = mesh.create_unit_cube(COMM, 2, 1, 1)
    u = fem.Function(fem.functionspace(domain, ("P", 1, (3,))))
    v = ufl.TestFunction(u.function_space)
    half = mesh.locate_entities(domain, 3, lambda x: x[0] <= 0.5 + 1e-9)
    law = QuadratureMaterial(domain, ELASTIC, {"strain": strain(u)}, degree=1, cells=half)
    everywhere = ufl.Measure(
        "dx", domain, metadata={"quadrature_degree": 1, "quadrature_rule": "default"}
    )
    F = ufl.inner(law["stress"], strain(v)) * everywhere
    refused(
        "the material lives on other cells",
        lambda: MaterialProblem(F, u, materials=[law], petsc_options_prefix="half_"),
    )


class Creeping(admat.ExplicitSmallStrain):
    """A rate-dependent law."""

    E: float
    rate_dependent = True

    def update(self, strain, state, dt):
        return self.E * strain * jnp.exp(-dt), state


def test_steps(cube):
    creep = bodies.Cube(Creeping(1.0), n=1)
    refused("needs the step size; got dt=None", creep.problem.solve)
    refused("needs the step size", creep.material.update)
    refused("dt must be a finite number >= 0; got -0.1", lambda: cube.problem.solve(dt=-0.1))
    refused("dt must be a finite number", lambda: cube.problem.solve(dt=float("nan")))
    refused("times must increase", lambda: LoadStepper(cube.problem, [1.0, 0.5]))
    refused("times must increase", lambda: LoadStepper(cube.problem, []))
    refused("min_dt must be positive; got 0", lambda: LoadStepper(cube.problem, [1.0], min_dt=0.0))


def test_nan_in_the_displacement():
    cube = bodies.Cube(n=1)
    cube.moved.value[2] = 0.01
    cube.problem.solve()
    good = cube.u.x.array.copy()
    state = cube.material.state["plastic_strain"].copy()
    if COMM.rank == 0:
        cube.u.x.array[0] = np.nan
    refused("the displacement 'u' contains NaN", cube.problem.solve)
    np.testing.assert_array_equal(cube.material.state["plastic_strain"], state)
    cube.u.x.array[:] = good
    cube.problem.solve()


def test_reaction(cube):
    cells = mesh.meshtags(cube.mesh, 3, np.array([], np.int32), np.array([], np.int32))
    refused("MeshTags of dimension 3, expected facets", lambda: cube.problem.reaction((cells, 1)))


class Branching(admat.ExplicitSmallStrain):
    """A law with a mistake."""

    E: float

    def update(self, strain, state, dt):
        if strain[0] > 0.0:
            return self.E * strain, state
        return 0.5 * self.E * strain, state


def test_a_mistake_in_the_law_is_found_at_once_on_all_ranks():
    """Also on a rank without cells, which would never evaluate the law."""
    for partitioner in (None, bodies.everything_on_rank_zero):
        refused(
            r"test_errors.py:\d+ in update: `if strain\[0\] > 0.0:`",
            lambda p=partitioner: bodies.Cube(Branching(1.0), partitioner=p),
        )
