"""The extrapolation flag of a run: the same numbers on 1, 2 and 3 ranks."""

import os

from mpi4py import MPI

import bodies
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat import ConvergenceError, MaterialError, Path, drive
from dolfinx_admat.fem import (
    Extrapolation,
    MaterialProblem,
    QuadratureMaterial,
    ResultWriter,
    strain,
)
from dolfinx_admat.learning import TrainingRange

COMM = MPI.COMM_WORLD
STEEL = bodies.voce()
# Recorded on one rank: points outside, integral and largest of the distance.
NOW, INTEGRAL, DISTANCE, FEATURE = (
    522,
    1.1447916140382883,
    2.694978226327977,
    "equivalent_plastic_strain",
)
VISCOUS = admat.Zener(
    admat.IsotropicElasticity(100.0, 0.3), admat.IsotropicElasticity(50.0, 0.3), 2.0
)


def uniaxial(largest, steps=4, time=1.0):
    """Uniaxial strain, so that a homogeneous body goes the same way."""
    others = dict.fromkeys([f"strain_{a}" for a in ("yy", "zz", "xy", "xz", "yz")], 0.0)
    return Path().ramp({"strain_xx": largest, **others}, steps=steps, time=time)


@pytest.fixture(scope="module")
def steel():
    return TrainingRange.of(STEEL, [uniaxial(0.01)], backend="xla")


@pytest.fixture(scope="module")
def viscous():
    return TrainingRange.of(VISCOUS, [uniaxial(0.01)], backend="xla")


@pytest.fixture(scope="module", params=["all ranks", "one rank"])
def domain(request):
    """The second one leaves ranks without cells."""
    more = {} if request.param == "all ranks" else {"partitioner": bodies.everything_on_rank_zero}
    return mesh.create_box(
        COMM, [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [4, 2, 2], mesh.CellType.tetrahedron, **more
    )


def given(domain, law, *, degree=2, **more):
    """A material whose strain is prescribed: strain_xx = slope * x + mean, nothing else."""
    u = fem.Function(fem.functionspace(domain, ("P", 2, (3,))))
    material = QuadratureMaterial(domain, law, {"strain": strain(u)}, degree=degree, **more)

    def impose(mean, slope=0.0):
        u.interpolate(
            lambda x: np.stack([mean * x[0] + 0.5 * slope * x[0] ** 2, 0.0 * x[0], 0.0 * x[0]])
        )

    return material, impose


def step(material, dt=1.0):
    material.update(dt, tangent=False)
    material.commit()


def total(values):
    return COMM.allreduce(float(np.sum(values)))


def test_points_beyond_the_range_are_counted_and_placed(domain, steel, capfd):
    material, impose = given(domain, STEEL)
    x = fem.Expression(ufl.SpatialCoordinate(domain), material.points)
    x = x.eval(domain, material.cells).reshape(*material.values("stress").shape[:2], 3)
    points = COMM.allreduce(x[..., 0].size)
    with Extrapolation(material, steel) as seen:
        assert seen.count() == (0, 0, points, 0) and seen.worst() is None
        impose(0.001)  # elastic
        step(material)
        assert seen.count() == (0, 0, points, 1)
        assert "none of" in seen.report() and f"of {points} points" in seen.report()

        impose(0.0, 0.02)  # strain_xx = 0.02 x: beyond the range in the right half
        step(material)
        outside = 0.02 * x[..., 0] > 0.01 * (1.0 + steel.tolerance)
        assert seen.count()[:2] == (total(outside),) * 2 and 0 < total(outside) < points
        np.testing.assert_array_equal(seen.values > 0.0, outside)
        size = np.sqrt(2.0 / 3.0) * 0.02 * x[..., 0]
        k = steel.names.index("strain.size")
        assert steel.high[k] == pytest.approx(np.sqrt(2.0 / 3.0) * 0.01)
        by_size = (size - steel.high[k]) / steel.high[k]
        assert (seen.values[outside] >= by_size[outside] - 1e-12).all()

        # Its worst point is the one with the largest x, whoever owns it.
        worst, farthest = seen.worst(), COMM.allreduce(x[..., 0].max(initial=0.0), op=MPI.MAX)
        assert worst.coordinates[0] == pytest.approx(farthest, abs=1e-12)
        assert worst == seen.worst(now=True) and worst.step == 2
        assert worst.distance == COMM.allreduce(seen.values.max(initial=0.0), op=MPI.MAX)
        k = steel.names.index(worst.feature)
        beyond = (worst.value - worst.high) / steel.widths[k]
        assert beyond == pytest.approx(worst.distance) and worst.high == steel.high[k]
        mine = material.mesh.topology.index_map(3).local_range
        assert COMM.allgather(mine[0] <= worst.cell < mine[1]).index(True) == worst.rank

        before = seen.values.copy()
        impose(0.0, 0.021)
        step(material)
        now, ever = seen.count()[:2]
        assert total(outside) <= now == ever
        assert (seen.values >= before).all() and (seen.largest == seen.values).all()
    out = capfd.readouterr().out
    quiet = os.environ.get("ADMAT_QUIET", "0") not in ("", "0")
    assert (f"admat: {seen.report()}" in out) == (COMM.rank == 0 and not quiet)
    assert seen.report() == COMM.bcast(seen.report())
    assert str(seen.worst()) in seen.report() and not seen.watching

    # After the end: results stay as they are, and nothing is followed.
    before = seen.count()
    impose(0.05)
    step(material)
    assert seen.count() == before and not material.listeners
    with seen:  # until it watches again
        step(material)
        assert seen.count().now == points and seen.count().steps == before.steps + 1


def test_numbers_do_not_depend_on_the_ranks(steel):
    material, impose = given(mesh.create_unit_cube(COMM, 3, 3, 3), STEEL)
    with Extrapolation(material, steel, progress=False) as seen:
        impose(0.004, 0.03)
        step(material)
    integral = COMM.allreduce(float(seen.values.ravel() @ material.point_volumes()))
    worst = seen.worst()
    largest = 0.004 + 0.03 * worst.coordinates[0]
    assert (seen.count().now, seen.count().points) == (NOW, 648)
    assert integral == pytest.approx(INTEGRAL, rel=1e-9)
    assert worst.distance == pytest.approx(DISTANCE, rel=1e-9)
    assert worst.feature == FEATURE and largest > 0.03


def test_a_field_that_follows(domain, steel, tmp_path_factory):
    material, impose = given(domain, STEEL)
    seen = Extrapolation(material, steel)
    flag = seen.function
    assert flag is seen.function and not flag.x.array.any()
    folder = COMM.bcast(str(tmp_path_factory.mktemp("flag")) if COMM.rank == 0 else None)
    with ResultWriter(f"{folder}/flag.bp", {"extrapolation": flag}) as writer:
        impose(0.0, 0.03)
        step(material)
        writer.write(1.0)
    dofs = flag.function_space.dofmap.list[material.cells, 0]
    np.testing.assert_array_equal(flag.x.array[dofs], seen.values.max(axis=1, initial=0.0))
    # Ghosts are those of their owners: x of a cell's points decides, so a rank can tell.
    expected = fem.Function(flag.function_space)
    expected.x.array[dofs] = seen.values.max(axis=1, initial=0.0)
    expected.x.scatter_forward()
    np.testing.assert_array_equal(flag.x.array, expected.x.array)
    assert COMM.allreduce(flag.x.array.max(initial=0.0), op=MPI.MAX) > 1.0
    seen.close()
    late = Extrapolation(material, steel)  # made later: of what is known then
    assert not late.function.x.array.any()
    late.close()
    late.close()


@pytest.mark.parametrize("as_tags", [False, True])
def test_two_materials_on_their_own_cells(steel, viscous, as_tags):
    domain = mesh.create_unit_cube(COMM, 4, 2, 2)
    left, right = bodies.halves(domain, as_tags)
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u = fem.Function(V)
    laws = (STEEL, left), (VISCOUS, right)
    one, other = (
        QuadratureMaterial(domain, law, {"strain": strain(u)}, degree=1, cells=cells)
        for law, cells in laws
    )
    with Extrapolation(one, steel) as first, Extrapolation(other, viscous) as second:
        flags = first.function, second.function
        u.interpolate(lambda x: np.stack([0.03 * x[0], 0.0 * x[0], 0.0 * x[0]]))
        for material in (one, other):
            step(material)
    assert first.count().now == first.count().points > 0
    assert second.count().now == second.count().points > 0
    assert second.worst().distance == pytest.approx(2.0)  # in strain.size: three times as large
    for material, flag in zip((one, other), flags, strict=True):
        inside = np.zeros(len(flag.x.array), bool)
        inside[flag.function_space.dofmap.list[material.cells, 0]] = True
        owned = flag.function_space.dofmap.index_map.size_local
        np.testing.assert_array_equal(flag.x.array[:owned] > 0.0, inside[:owned])


def test_rates_only_of_steps_that_were_seen(viscous):
    material, impose = given(mesh.create_unit_cube(COMM, 2, 2, 2), VISCOUS, degree=1)
    k = viscous.names.index("strain.rate")
    assert viscous.high[k] == pytest.approx(np.log10(0.01))
    seen = Extrapolation(material, viscous)
    # A restart: strain and state jump to where a run had been, and that is no step of 1e-6.
    restart = np.zeros((3, 3))
    restart[0, 0] = 0.005
    material.set_state("strain", restart)
    material.commit()  # nothing was computed
    assert seen.steps == 0
    impose(0.005)
    step(material, 1e-6)
    assert seen.count().now == 0 and seen.steps == 1
    material.commit()  # nothing new
    assert seen.steps == 1
    impose(0.006)
    step(material, 1e-3)  # 1e-3 in 1e-3: two decades too fast
    worst = seen.worst()
    assert worst.feature == "strain.rate" and worst.value == pytest.approx(0.0, abs=1e-9)
    assert worst.distance == pytest.approx(2.0) and seen.count().now == seen.count().points
    impose(0.007)
    step(material, 0.1)
    assert seen.count()[:2] == (0, seen.count().points)
    # What happened while nobody looked is no step either.
    seen.close()
    impose(0.0)
    step(material, 0.1)
    with seen:
        impose(0.01)
        step(material, 1e-6)
        assert seen.count().now == 0
    # A law that is not rate-dependent is asked for no rates, and may go without a step.
    assert not any("rate" in name for name in TrainingRange.of(STEEL, [uniaxial(0.01)]).names)


def test_failed_steps_are_not_looked_at(steel):
    domain = mesh.create_unit_cube(COMM, 2, 2, 2)
    V = fem.functionspace(domain, ("P", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    perfect = admat.J2Plasticity(**bodies.STEEL, hardening=admat.LinearHardening(250.0, 0.0))
    material = QuadratureMaterial(domain, perfect, {"strain": strain(u)}, degree=2)
    pull = fem.Constant(domain, 0.0)
    ends = [fem.locate_dofs_topological(V, 2, bodies.facets(domain, 0, 0.0))]
    bcs = [fem.dirichletbc(np.zeros(3), ends[0], V)]
    F = ufl.inner(material["stress"], strain(v)) * material.dx - pull * v[0] * bodies_ds(domain)
    problem = MaterialProblem(
        F, u, materials=[material], bcs=bcs, petsc_options_prefix="x_", progress=False
    )
    here = TrainingRange.of(perfect, [uniaxial(0.01)], backend="xla")
    with Extrapolation(material, here) as seen:
        pull.value = 100.0
        problem.solve()
        good = seen.count()
        values = seen.values.copy()
        assert good.steps == 1
        pull.value = 1e4  # more than it can carry
        with pytest.raises(ConvergenceError):
            problem.solve()
        assert seen.count() == good
        np.testing.assert_array_equal(seen.values, values)
        pull.value = 120.0
        problem.solve(commit=False)
        assert seen.count() == good
        problem.commit()
        assert seen.count().steps == 2
    # An exception in the body is passed on, and nobody waits for a report.
    with pytest.raises(ZeroDivisionError), Extrapolation(material, here):
        raise ZeroDivisionError
    assert not material.listeners


def bodies_ds(domain):
    """Measure over x = 1."""
    facets = np.sort(bodies.facets(domain, 0, 1.0))
    tags = mesh.meshtags(domain, 2, facets, np.full(len(facets), 1, np.int32))
    return ufl.Measure("ds", domain=domain, subdomain_data=tags, subdomain_id=1)


def test_a_law_in_wrappers_and_with_parameters_of_each_cell(steel):
    """The range of a 3D law serves plane strain; that of a rotated law its axes in each cell."""
    square = mesh.create_unit_square(COMM, 4, 4)
    u = fem.Function(fem.functionspace(square, ("P", 1, (2,))))
    plane = QuadratureMaterial(square, admat.PlaneStrain(STEEL), {"strain": strain(u)}, degree=1)
    alone = drive(STEEL, uniaxial(0.02), backend="xla")
    state = {n: v[0, -1:] for n, v in alone.states.items()}
    expected = steel({"strain": alone.inputs["strain"][0, -1:]}, state).value[0]
    assert expected > 1.0  # the plastic strains are farther outside than the strain
    with Extrapolation(plane, steel) as seen:
        for largest, distance in ((0.01, 0.0), (0.02, expected)):
            u.interpolate(lambda x, a=largest: np.stack([a * x[0], 0.0 * x[0]]))
            step(plane)
            np.testing.assert_allclose(seen.values, distance, rtol=1e-9)

    wood = admat.Elastic(
        admat.TransverselyIsotropicElasticity(E1=100.0, E2=10.0, nu12=0.3, nu23=0.4, G12=5.0)
    )
    domain = mesh.create_unit_cube(COMM, 2, 2, 2)
    cells = domain.topology.index_map(3).size_local
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    other = domain.topology.original_cell_index[:cells] % 2 == 1
    Q = np.where(other[:, None, None], turn, np.eye(3))
    material, impose = given(
        domain, admat.Rotated(wood, np.eye(3)), degree=1, parameters={"rotation": Q}
    )
    with Extrapolation(material, TrainingRange.of(wood, [uniaxial(0.01)])) as seen:
        impose(0.01)
        step(material)
    np.testing.assert_array_equal(seen.values[:, 0] > 0.0, other)
    assert seen.worst().feature == "strain.yy" and seen.worst().value == pytest.approx(0.01)


def test_another_law_with_other_parameters_and_what_is_refused(steel, viscous):
    material, impose = given(mesh.create_unit_cube(COMM, 1, 1, 1), STEEL)
    with pytest.raises(MaterialError, match="made for Zener, but the law is J2Plasticity"):
        Extrapolation(material, viscous)
    with pytest.raises(MaterialError, match=r"expected a TrainingRange .* got dict"):
        Extrapolation(material, steel.to_mapping())
    with pytest.raises(MaterialError, match="expected a QuadratureMaterial; got J2Plasticity"):
        Extrapolation(STEEL, steel)
    assert not material.listeners
    with Extrapolation(material, steel) as one, Extrapolation(material, steel) as two:
        material.material = admat.J2Plasticity(
            200e3, 0.3, hardening=admat.VoceHardening(250.0, 150.0, 40.0, H=500.0)
        )
        impose(0.03)
        step(material)
    assert one.count() == two.count() and one.count().now == one.count().points
