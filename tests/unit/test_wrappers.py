"""Reduced, rotated and logarithmic laws: closed forms, the law inside, and what is refused."""

import batches
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError
from dolfinx_admat.tensors import from_mandel, mandel_rotation, to_mandel

E, NU = 200e3, 0.3
HARDENING = admat.VoceHardening(sigma_y=250.0, Q=150.0, b=20.0, H=300.0)
SCALAR = admat.J2Plasticity(E, NU, HARDENING)
GENERAL = admat.J2PlasticityGeneral(E, NU, HARDENING)
RUBBER = admat.NeoHookean(E=1.0, nu=0.45)
TURN = np.asarray(admat.bunge_rotation(0.4, 0.9, -0.3))
MANDEL = {"xx": 0, "yy": 1, "zz": 2, "xy": 3, "xz": 4, "yz": 5}


def strains(n, shape=(), size=4e-3, seed=0):
    """Elastic and plastic ones."""
    rng = np.random.default_rng(seed)
    return (
        size * rng.uniform(0.0, 1.0, n).reshape(n, *[1] * len(shape)) * rng.normal(size=(n, *shape))
    )


def gradients(n, shape, size=0.2, seed=1):
    rng = np.random.default_rng(seed)
    return np.eye(shape[0]) + size * rng.uniform(-1.0, 1.0, (n, *shape))


def slope(law, x, state=None, h=1e-6, dt=0.5):
    """Largest gap between tangent and central differences, over the largest entry."""
    ((name, shape),) = law.inputs.items()
    kernel = admat.kernels.BatchKernel(law, backend="native")
    direction = np.random.default_rng(9).normal(size=tuple(shape))
    plus, minus, at = (batches.run(kernel, x + s * direction, state, dt) for s in (h, -h, 0.0))
    assert not at.status.code.any()
    (output,) = at.outputs
    size = max(1, int(np.prod(shape)))
    found = at.tangent[output, name].reshape(len(x), -1, size) @ direction.reshape(size)
    wanted = ((plus.outputs[output] - minus.outputs[output]) / (2 * h)).reshape(len(x), -1)
    good = np.abs(found - wanted).max(axis=1) / np.abs(found).max()
    # Central differences across the yield surface mix two tangents; such a point is an outlier.
    return np.sort(good)[-2]


@pytest.mark.parametrize("inner", [SCALAR, GENERAL], ids=["scalar", "general"])
def test_plane_stress_is_the_3d_law_without_out_of_plane_stress(inner):
    law, x = admat.PlaneStress(inner), strains(60, (3,))
    native, xla = batches.both(law, x)
    batches.assert_agree(native, xla)
    assert 0 < native.status.active.sum() < 60
    full = np.zeros((60, 6))
    full[:, [0, 1, 3]], full[:, 2] = x, native.state["strain_zz"]
    whole = batches.run(inner, full)
    assert np.abs(whole.outputs["stress"][:, 2]).max() < 1e-7  # of some 100 MPa
    np.testing.assert_allclose(
        native.outputs["stress"], whole.outputs["stress"][:, [0, 1, 3]], atol=1e-7
    )
    for name in whole.state:
        np.testing.assert_allclose(native.state[name], whole.state[name], atol=1e-13)
    # The tangent is the 3D one with strain_zz eliminated.
    C = whole.tangent["stress", "strain"]
    kept = C[:, [0, 1, 3]]
    wanted = (
        kept[:, :, [0, 1, 3]]
        - kept[:, :, [2]] * C[:, [2]][:, :, [0, 1, 3]] / C[:, [2], [2]][:, :, None]
    )
    assert np.abs(native.tangent["stress", "strain"] - wanted).max() < 1e-6 * E


def test_plane_stress_elastic_stiffness():
    found = batches.run(admat.PlaneStress(admat.LinearElastic(E, NU)), np.eye(3)).outputs["stress"]
    wanted = E / (1 - NU**2) * np.array([[1, NU, 0], [NU, 1, 0], [0, 0, 1 - NU]])
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-9)


def test_elastic_points_of_linear_laws_skip_the_solve():
    x = 1e-5 * np.random.default_rng(3).normal(size=(8, 3))
    for inner in (SCALAR, GENERAL):
        for found in batches.both(admat.PlaneStress(inner), x):
            assert not found.status.active.any()
            assert not found.status.iterations.any()


def test_uniaxial_stress_of_linear_hardening_is_bilinear():
    """sigma = sigma_y + E H / (E + H) (strain - sigma_y / E), J. Lubliner, Plasticity Theory."""
    H, sigma_y = 2000.0, 250.0
    law = admat.UniaxialStress(admat.J2PlasticityGeneral(E, NU, admat.LinearHardening(sigma_y, H)))
    strain = np.linspace(-0.02, 0.02, 21)
    native, xla = batches.both(law, strain)
    batches.assert_agree(native, xla)
    plastic = np.sign(strain) * (sigma_y + E * H / (E + H) * (np.abs(strain) - sigma_y / E))
    elastic = np.abs(strain) <= sigma_y / E
    np.testing.assert_allclose(
        native.outputs["stress"], np.where(elastic, E * strain, plastic), rtol=1e-10, atol=1e-9
    )
    tangent = np.where(elastic, E, E * H / (E + H))
    np.testing.assert_allclose(native.tangent["stress", "strain"], tangent, rtol=1e-8)
    lateral = -0.5 * strain + (0.5 - NU) * native.outputs["stress"] / E
    np.testing.assert_allclose(native.state["strain_yy"], lateral, atol=1e-14)
    np.testing.assert_allclose(native.state["strain_zz"], lateral, atol=1e-14)


@pytest.mark.parametrize(
    ("reduce", "kept"),
    [(admat.PlaneStrain, [0, 1, 3]), (admat.Axisymmetry, [0, 1, 2, 3])],
    ids=["plane strain", "axisymmetry"],
)
def test_reductions_without_unknowns_are_parts_of_the_3d_law(reduce, kept):
    x = strains(30, (len(kept),))
    native, xla = batches.both(reduce(GENERAL), x)
    batches.assert_agree(native, xla)
    full = np.zeros((30, 6))
    full[:, kept] = x
    whole = batches.run(GENERAL, full)
    np.testing.assert_allclose(
        native.outputs["stress"], whole.outputs["stress"][:, kept], rtol=1e-12, atol=1e-9
    )
    np.testing.assert_allclose(
        native.tangent["stress", "strain"],
        whole.tangent["stress", "strain"][:, kept][:, :, kept],
        rtol=1e-9,
        atol=1e-9 * E,
    )


def test_axisymmetric_deformation_gradient():
    x = np.array([[1.1, 0.05, -0.1, 0.9, 1.2]])
    F = np.array([[[1.1, 0.05, 0.0], [-0.1, 0.9, 0.0], [0.0, 0.0, 1.2]]])
    found = batches.run(admat.Axisymmetry(RUBBER), x).outputs["first_piola_stress"][0]
    P = batches.run(RUBBER, F).outputs["first_piola_stress"][0]
    np.testing.assert_allclose(found, [P[0, 0], P[0, 1], P[1, 0], P[1, 1], P[2, 2]], rtol=1e-12)


def test_rubber_sheet_at_large_strain():
    law, x = admat.PlaneStress(RUBBER), gradients(20, (2, 2), 0.3)
    native, xla = batches.both(law, x)
    batches.assert_agree(native, xla, 1e-9)
    F = np.zeros((20, 3, 3))
    F[:, :2, :2], F[:, 2, 2] = x, native.state["deformation_gradient_zz"]
    P = batches.run(RUBBER, F).outputs["first_piola_stress"]
    assert np.abs(P[:, 2, 2]).max() < 1e-10
    np.testing.assert_allclose(native.outputs["first_piola_stress"], P[:, :2, :2], atol=1e-10)
    assert slope(law, x) < 1e-7


def test_sheet_turned_inside_out_is_inadmissible():
    x = np.array([[[1.0, 0.0], [0.0, -1.0]], np.eye(2)])
    found = batches.run(admat.PlaneStress(RUBBER), x)
    assert found.status.code[0] != 0 and found.status.code[1] == 0


def test_nominal_stress_of_a_rubber_bar():
    """W = mu/2 (I1 J^(-2/3) - 3) + kappa/2 (J - 1)^2: the lateral stretch by bisection."""
    mu, kappa = 1.0 / (2 * 1.45), 1.0 / (3 * 0.1)

    def stress(axial, lateral):
        J, I1 = axial * lateral**2, axial**2 + 2 * lateral**2
        shape = mu * J ** (-2 / 3)
        each = lambda s: shape * (s - I1 / (3 * s)) + kappa * (J - 1) * J / s  # noqa: E731
        return each(axial), each(lateral)

    stretch = np.array([0.6, 1.0, 1.5, 2.5])
    found = batches.run(admat.UniaxialStress(RUBBER), stretch).outputs["first_piola_stress"]
    for l1, value in zip(stretch, found, strict=True):
        low, high = 0.2, 2.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if stress(l1, middle)[1] < 0 else (low, middle)
        assert value == pytest.approx(stress(l1, low)[0], abs=1e-10)


# -- rotated frame -----------------------------------------------------------------------------


class Cubic(admat.ExplicitSmallStrain):
    """A law with axes of its own."""

    linear_when_elastic = True
    symmetric_tangent = True

    def update(self, strain, state, dt):
        return jnp.array([3.0, 1.0, 2.0, 5.0, 4.0, 6.0]) * strain, state


def test_rotated_stiffness_is_that_of_textbooks():
    R = np.asarray(mandel_rotation(TURN))
    C = R @ np.diag([3.0, 1.0, 2.0, 5.0, 4.0, 6.0]) @ R.T
    found = batches.run(admat.Rotated(Cubic(), TURN), np.eye(6))
    np.testing.assert_allclose(found.outputs["stress"], C, atol=1e-14)
    np.testing.assert_allclose(found.tangent["stress", "strain"][0], C, atol=1e-14)


def test_an_isotropic_law_does_not_see_the_rotation():
    x = strains(20, (6,))
    turned, plain = batches.run(admat.Rotated(GENERAL, TURN), x), batches.run(GENERAL, x)
    np.testing.assert_allclose(turned.outputs["stress"], plain.outputs["stress"], atol=1e-9)
    F = gradients(5, (3, 3))
    turned, plain = batches.run(admat.Rotated(RUBBER, TURN), F), batches.run(RUBBER, F)
    P = "first_piola_stress"
    np.testing.assert_allclose(turned.outputs[P], plain.outputs[P], atol=1e-13)


def test_a_rotation_per_point_and_by_angles():
    angles = np.random.default_rng(4).uniform(0, 3, (5, 3))
    Q = np.asarray(admat.bunge_rotation(*angles.T))
    x = np.random.default_rng(5).normal(size=(5, 6))
    native, xla = batches.both(
        admat.Rotated(Cubic(), np.eye(3)),
        x,
        point_parameters=("rotation",),
        parameters={"rotation": Q},
    )
    batches.assert_agree(native, xla)
    for i in range(5):
        law = admat.Rotated(Cubic(), admat.BungeAngles(*angles[i]))
        one = admat.evaluate_point(law, x[i]).outputs["stress"]
        np.testing.assert_allclose(native.outputs["stress"][i], one, atol=1e-13)


def test_bunge_angles_turn_as_they_should():
    """x of the crystal by each angle alone; the crystal's z under Phi."""
    quarter = np.pi / 2
    np.testing.assert_allclose(admat.bunge_rotation(quarter, 0.0, 0.0)[:, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(admat.bunge_rotation(0.0, 0.0, quarter)[:, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(
        admat.bunge_rotation(0.0, quarter, 0.0)[:, 2], [0, -1, 0], atol=1e-15
    )


def test_rotated_sheet_has_shears_out_of_plane():
    law = admat.PlaneStress(admat.Rotated(Cubic(), TURN))
    assert set(law.initial_state()) == {"strain_zz", "strain_xz", "strain_yz"}
    x = strains(6, (3,))
    native, xla = batches.both(law, x)
    batches.assert_agree(native, xla)
    full = np.zeros((6, 6))
    full[:, [0, 1, 3]] = x
    full[:, 2] = native.state["strain_zz"]
    full[:, 4] = np.sqrt(2) * native.state["strain_xz"]
    full[:, 5] = np.sqrt(2) * native.state["strain_yz"]
    stress = batches.run(admat.Rotated(Cubic(), TURN), full).outputs["stress"]
    assert np.abs(stress[:, [2, 4, 5]]).max() < 1e-15
    np.testing.assert_allclose(native.outputs["stress"], stress[:, [0, 1, 3]], atol=1e-15)


# -- logarithmic strain ------------------------------------------------------------------------


def test_logarithmic_strain_of_a_bar():
    """sigma J = tau = E ln(stretch): P = E ln(stretch) / stretch when nu = 0."""
    law = admat.UniaxialStress(admat.LogarithmicStrain(admat.LinearElastic(E, 0.0)))
    stretch = np.array([0.5, 0.9, 1.0, 1.3, 3.0])
    native, xla = batches.both(law, stretch)
    batches.assert_agree(native, xla)
    np.testing.assert_allclose(
        native.outputs["first_piola_stress"], E * np.log(stretch) / stretch, rtol=1e-11, atol=1e-9
    )


@pytest.mark.parametrize("rotated", [False, True])
def test_logarithmic_law_is_objective_and_a_derivative(rotated):
    inner = admat.Rotated(GENERAL, TURN) if rotated else GENERAL
    law, F = admat.LogarithmicStrain(inner), gradients(12, (3, 3), 0.1)
    P = batches.run(law, F).outputs["first_piola_stress"]
    np.testing.assert_allclose(
        batches.run(law, TURN @ F).outputs["first_piola_stress"], TURN @ P, atol=1e-8
    )
    tau = P @ F.transpose(0, 2, 1)
    np.testing.assert_allclose(tau, tau.transpose(0, 2, 1), atol=1e-8)
    assert slope(law, F) < 1e-6
    tangent = batches.run(law, F).tangent["first_piola_stress", "deformation_gradient"]
    tangent = tangent.reshape(12, 9, 9)
    assert np.abs(tangent - tangent.transpose(0, 2, 1)).max() < 1e-9 * np.abs(tangent).max()


def test_logarithmic_law_at_small_strain_is_the_small_strain_law():
    e = 1e-6 * np.random.default_rng(6).normal(size=6)
    F = np.eye(3) + np.asarray(from_mandel(e))
    P = admat.evaluate_point(admat.LogarithmicStrain(SCALAR), F).outputs["first_piola_stress"]
    stress = admat.evaluate_point(SCALAR, e).outputs["stress"]
    np.testing.assert_allclose(to_mandel(P), stress, rtol=2e-5)  # of the size of the strain


def test_wrappers_of_wrappers():
    law = admat.PlaneStress(admat.LogarithmicStrain(admat.Rotated(SCALAR, TURN)))
    x = gradients(6, (2, 2), 0.02)
    found = batches.run(admat.kernels.BatchKernel(law, backend="native"), x)
    assert found.status.active.all() and found.state["equivalent_plastic_strain"].any()
    assert slope(law, x) < 1e-6


def test_unrolled_tangent_of_plane_stress():
    x = strains(8, (3,))
    implicit, unrolled = (
        batches.run(
            admat.kernels.BatchKernel(admat.PlaneStress(SCALAR), tangent=way, backend="xla"), x
        )
        for way in ("implicit", "unrolled")
    )
    batches.assert_agree(implicit, unrolled)


# -- what a wrapper hands through ---------------------------------------------------------------


class Tuple(admat.ExplicitSmallStrain):
    """A law whose state is no dict."""

    def initial_state(self):
        return (jnp.zeros(()), jnp.ones(2))

    def update(self, strain, state, dt):
        return 2.0 * strain, (state[0] + strain[0], state[1])


class Clash(admat.ExplicitSmallStrain):
    def initial_state(self):
        return {"strain_zz": jnp.zeros(())}

    def update(self, strain, state, dt):
        return strain, state


def test_state_that_is_no_dict_lies_beside_the_unknowns():
    law = admat.PlaneStress(Tuple())
    result = admat.evaluate_point(law, [1.0, 2.0, 3.0])
    assert float(result.state["law"][0]) == 1.0
    again = admat.evaluate_point(law, [1.0, 2.0, 3.0], result.state)
    assert float(again.state["law"][0]) == 2.0


def test_the_solver_of_a_wrapper_can_be_set():
    few = admat.LocalNewton(max_iterations=1)
    x = gradients(3, (2, 2), 0.5)
    assert batches.run(admat.PlaneStress(RUBBER, solver=few), x).status.code.all()
    assert not batches.run(admat.PlaneStress(RUBBER), x).status.code.any()


def test_gradient_of_a_parameter_through_plane_stress():
    x = jnp.array([4e-3, 1e-3, 2e-3])

    @jax.jit
    def stress(sigma_y):
        hardening = admat.VoceHardening(sigma_y, 150.0, 20.0, 300.0)
        law = admat.PlaneStress(admat.J2Plasticity(E, NU, hardening))
        outputs, _, _ = law.integrate({"strain": x}, law.initial_state(), jnp.asarray(0.0))
        return outputs["stress"][0]

    h = 1e-3
    wanted = (stress(250.0 + h) - stress(250.0 - h)) / (2 * h)
    assert float(jax.grad(stress)(250.0)) == pytest.approx(float(wanted), rel=1e-7)


def test_free_energy_is_handed_through():
    law = admat.UniaxialStress(admat.Rotated(RUBBER, TURN))
    assert law.has_free_energy
    result = admat.evaluate_point(law, 1.5)
    inputs = {"deformation_gradient": jnp.asarray(1.5)}
    stress = jax.grad(lambda F: law._free_energy({"deformation_gradient": F}, result.state))(
        inputs["deformation_gradient"]
    )
    assert float(stress) == pytest.approx(float(result.outputs["first_piola_stress"]), rel=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: admat.PlaneStress(3.0), "PlaneStress: wraps a law; got float"),
        (
            lambda: admat.LogarithmicStrain(RUBBER),
            r"LogarithmicStrain: NeoHookean does not fit: expected a law with strain \(6,\)",
        ),
        (
            lambda: admat.PlaneStress(admat.PlaneStress(SCALAR)),
            r"PlaneStress: PlaneStress does not fit.*got strain \(3,\)",
        ),
        (
            lambda: admat.Rotated(admat.PlaneStress(SCALAR), TURN),
            r"PlaneStress\(Rotated\(law, Q\)\)",
        ),
        (lambda: admat.Rotated(SCALAR, 2.0 * TURN), "'rotation' is out of range.*orthonormal"),
        (lambda: admat.Rotated(SCALAR, -TURN), "'rotation' is out of range"),
        (lambda: admat.PlaneStress(Clash()).initial_state(), "names which the wrapper needs"),
        (lambda: admat.J2Plasticity(E, 0.6, HARDENING), "'nu' is out of range: got 0.6.*< 0.5"),
        (lambda: admat.LinearElastic(-1.0, 0.3), "'E' is out of range: got -1.*0 < value"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(MaterialError, match=message):
        make()


def test_kernels_refuse_parameters_out_of_range():
    import equinox as eqx

    kernel = admat.kernels.BatchKernel(SCALAR)
    bad = eqx.tree_at(lambda law: law.hardening.sigma_y, SCALAR, jnp.asarray(-1.0))
    with pytest.raises(MaterialError, match=r"'hardening.sigma_y' is out of range"):
        kernel.material = bad
    assert kernel.material is SCALAR


# -- elastic predictor of laws whose guess flows ------------------------------------------------

COMPOSED = admat.Elastoviscoplastic(
    admat.IsotropicElasticity(E, NU), admat.VonMises(), admat.LinearHardening(250.0, 2000.0)
)
VISCOUS = admat.PerzynaViscoplasticity(E, NU, admat.LinearHardening(250.0, 2000.0), K=300.0, n=6.0)


@pytest.mark.parametrize("inner", [COMPOSED, VISCOUS, GENERAL], ids=["composed", "perzyna", "j2"])
def test_unloading_a_sheet_is_elastic_whatever_strain_zz_was(inner):
    """From far beyond yield to anywhere: the old strain_zz would seem to flow at the new strain."""
    assert inner.linear_when_elastic
    law = admat.PlaneStress(inner)
    kernel = admat.kernels.BatchKernel(law)
    loaded = batches.run(kernel, np.tile([0.05, 0.02, 0.01], (9, 1)), dt=1e9)
    assert loaded.status.active.all()
    stress = loaded.outputs["stress"]
    compliance = np.array([[1, -NU, 0], [-NU, 1, 0], [0, 0, 1 + NU]]) / E
    wanted = stress * np.linspace(0.9, -0.1, 9)[:, None]
    x = np.array([0.05, 0.02, 0.01]) + (wanted - stress) @ compliance.T
    found = batches.run(kernel, x, loaded.state, dt=1e-3)
    assert not found.status.code.any() and not found.status.active.any()
    np.testing.assert_allclose(found.outputs["stress"], wanted, atol=1e-8 * E)


class Curved(admat.ImplicitSmallStrain):
    """Declares to be linear when elastic, and is not."""

    linear_when_elastic = True

    def guess(self, step):
        return {"flow": jnp.zeros(6)}

    def elastic(self, step):
        return jnp.asarray(True)

    def residual(self, x, step):
        return {"flow": x["flow"]}

    def finish(self, x, step):
        e = step.given
        return E * (e + 20.0 * e**2 + jnp.sum(e[:3]) * jnp.array([1.0, 1, 1, 0, 0, 0])), step.state


def test_a_false_declaration_costs_time_and_no_digits():
    x = strains(6, (3,), 2e-2)
    found = batches.run(admat.PlaneStress(Curved()), x)
    assert not found.status.code.any()
    full = np.zeros((6, 6))
    full[:, [0, 1, 3]], full[:, 2] = x, found.state["strain_zz"]
    assert np.abs(batches.run(Curved(), full).outputs["stress"][:, 2]).max() < 1e-8 * E


@pytest.mark.parametrize("reduce", [admat.PlaneStress, admat.UniaxialStress])
@pytest.mark.parametrize("nu", [0.3, 0.0])
def test_turned_axes_leave_a_reduced_law_elastic(reduce, nu):
    """Where stresses vanish but for round-off, it must not be taken for a missed prediction."""
    law = admat.Elastoviscoplastic(
        admat.IsotropicElasticity(E, nu), admat.Hill48.from_r_values(1.5, 1.2, 2.0), HARDENING
    )
    law = reduce(admat.Rotated(law, TURN))
    n, (shape,) = 50, law.inputs.values()
    kernel = admat.kernels.BatchKernel(law, backend="xla", point_parameters=("law.rotation",))
    angles = np.random.default_rng(3).uniform(0.0, 3.0, (3, n))
    turns = {"law.rotation": np.asarray(admat.bunge_rotation(*angles))}
    elastic = batches.run(kernel, strains(n, shape, size=1e-4), tangent=False, parameters=turns)
    assert not elastic.status.code.any()
    assert not elastic.status.active.any()
