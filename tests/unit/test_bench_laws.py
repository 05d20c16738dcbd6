"""The laws of the benchmarks: tangents, isotropy, known solutions; and the hand-written C++."""

import shutil

import batches
import numpy as np
import pytest

import dolfinx_admat as admat
from benchmarks import results
from benchmarks.__main__ import LAWS, owned
from benchmarks.cases import CASES, Points
from benchmarks.codes import cpp, plain
from benchmarks.kernels import LIMIT, OURS, worst_error
from benchmarks.laws import HosfordPlasticity
from dolfinx_admat.kernels import BatchKernel

POINTS = 40


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.mark.parametrize("plastic", [True, False], ids=["plastic", "elastic"])
def test_all_points_flow_or_none_does(case, plastic):
    status, *_ = updated(BatchKernel(case.law), case.draw(POINTS, plastic))
    assert not status.code.any()
    if case.has_elastic_test:
        assert (status.active == plastic).all()


def test_tangent_is_the_derivative(case):
    points, kernel, h = case.draw(POINTS, True), BatchKernel(case.law), 1e-7
    _, _, tangents, _ = updated(kernel, points, tangent=True)
    ((given, array),) = points.inputs.items()
    direction = np.random.default_rng(7).standard_normal(array.shape)
    plus, minus = (
        updated(kernel, points._replace(inputs={given: array + step * direction}))[1]
        for step in (h, -h)
    )
    for (output, _), tangent in tangents.items():
        slope = np.einsum(
            "pij,pj->pi",
            tangent.reshape(POINTS, -1, direction[0].size),
            direction.reshape(POINTS, -1),
        )
        wanted = (plus[output] - minus[output]).reshape(POINTS, -1) / (2 * h)
        assert np.abs(slope - wanted).max() <= 2e-6 * np.abs(wanted).max()


@pytest.mark.parametrize(
    "name", ["j2_general", pytest.param("fefp_j2_random", marks=pytest.mark.full)]
)
def test_unrolled_tangent_is_the_same(name):
    points, law = CASES[name].draw(8, True), CASES[name].law
    _, _, implicit, _ = updated(BatchKernel(law), points, tangent=True)
    _, _, unrolled, _ = updated(BatchKernel(law, tangent="unrolled"), points, tangent=True)
    assert worst_error((unrolled,), (implicit,)) <= LIMIT


@pytest.mark.full
@pytest.mark.parametrize("code", ["xla", "native", "plain_vmap"])
@pytest.mark.parametrize("plastic", [True, False], ids=["plastic", "elastic"])
def test_codes_agree_with_the_reference(case, plastic, code):
    points = case.draw(POINTS, plastic)
    run = OURS[code](case.law, points, True)
    run.call()
    assert worst_error(run.results(), plain.reference(case.law, points)) <= LIMIT


def test_finite_strain_law_is_objective_and_isotropic_under_shear():
    case = CASES["fefp_j2_random"]
    rng = np.random.default_rng(11)
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    Q *= np.sign(np.linalg.det(Q))
    shear = np.eye(3) + np.array([[0.0, 0.05, 0.01], [0.0, 0.02, 0.0], [0.03, 0.0, 0.0]])
    # Two steps, so that the second starts from a state that has flowed.
    steps = [shear, shear @ shear]
    kernel = BatchKernel(case.law)

    def path(turn):
        state = kernel.initial_state(1)
        for F in steps:
            points = Points({"deformation_gradient": turn(F)[None]}, state, 0.1)
            status, outputs, _, state = updated(kernel, points)
            assert status.active.all() and not status.code.any()
        return outputs["first_piola_stress"][0]

    P = path(lambda F: F)
    scale = 1e-10 * np.abs(P).max()
    np.testing.assert_allclose(path(lambda F: Q @ F), Q @ P, atol=scale)  # objective
    np.testing.assert_allclose(path(lambda F: F @ Q.T), P @ Q.T, atol=scale)  # isotropic
    tau = P @ steps[-1].T
    np.testing.assert_allclose(tau, tau.T, atol=scale)


def test_hosford_in_pure_shear():
    # Yield stress in pure shear of the closed form (S16): (2^(a-1) + 1)^(-1/a) sigma_y.
    law = HosfordPlasticity(150e3, 0.3, admat.LinearHardening(150.0), a=8)
    strain = np.array([0.0, 0.0, 0.0, np.sqrt(2.0) * 2e-3, 0.0, 0.0])
    one = admat.evaluate_point(law, strain)
    assert one.status.code == 0
    tau = 150.0 / (2.0**7 + 1.0) ** (1 / 8)
    np.testing.assert_allclose(one.outputs["stress"][3] / np.sqrt(2.0), tau, rtol=1e-10)


def test_plane_stress_is_the_3d_law_without_stress_zz():
    case = CASES["j2_plane_stress"]
    points = case.draw(5, True)
    stress = updated(BatchKernel(case.law), points)[1]["stress"]
    kernel = BatchKernel(case.law.law)
    for i in range(5):
        # Find strain_zz by bisection on the 3D law.
        def of(zz, i=i):
            strain = np.zeros((1, 6))
            strain[0, [0, 1, 3]], strain[0, 2] = points.inputs["strain"][i], zz
            state = {k: points.state[k][i : i + 1] for k in kernel.initial_state(1)}
            found = updated(kernel, Points({"strain": strain}, state, 0.1))
            return found[1]["stress"][0]

        low, high = -0.2, 0.2
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if of(middle)[2] < 0.0 else (low, middle)
        np.testing.assert_allclose(of(low)[[0, 1, 3]], stress[i], rtol=1e-8, atol=1e-6)


def test_sections_name_all_laws():
    assert tuple(CASES) == LAWS


def test_sections_replace_their_own_keys(tmp_path):
    file = tmp_path / "results.json"
    old = {"kernel.a.9.xla.x": 1.0, "kernel.b.9.xla_gpu.x": 2.0, "kernel.b.9.xla.x": 3.0}
    results.update(old | {"fe.b.x": 4.0}, lambda key: False, file)
    results.update({"kernel.b.9.native.x": 5.0}, owned("kernels", ["b"]), file)
    left = {"kernel.a.9.xla.x", "kernel.b.9.xla_gpu.x", "kernel.b.9.native.x", "fe.b.x"}
    assert set(results.read(file)) == left
    results.update({}, owned("gpu", []), file)
    results.update({}, owned("fe", ["b"]), file)
    assert set(results.read(file)) == left - {"kernel.b.9.xla_gpu.x"}


@pytest.mark.skipif(shutil.which(cpp.compiler()[0]) is None, reason="needs a C++ compiler")
def test_hand_written_cpp():
    case = CASES["j2_scalar"]
    for count, plastic in ((1, True), (POINTS + 3, True), (POINTS, False)):
        points = case.draw(count, plastic)
        run = cpp.prepare(case.law, points, True)
        run.call()
        _, *wanted, _ = updated(BatchKernel(case.law), points, tangent=True)
        assert worst_error(run.results(), wanted) <= LIMIT


def updated(kernel, points, tangent=False):
    """Status, outputs, tangents, new state."""
    found = batches.run(kernel, points.inputs, points.state, points.dt, tangent=tangent)
    return found.status, found.outputs, found.tangent, found.state
