"""Laws composed of parts: against the special cases, closed forms, differences; and mistakes."""

import batches
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import LocalNewton, MaterialError
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.materials import (
    ArmstrongFrederick,
    DruckerPrager,
    Elastoviscoplastic,
    Hill48,
    Hosford,
    IsotropicElasticity,
    LinearHardening,
    NortonFlow,
    Prager,
    StaticRecovery,
    SwiftHardening,
    TabulatedHardening,
    VoceHardening,
    VonMises,
)

E, NU = 200e3, 0.3
ELASTICITY = IsotropicElasticity(E, NU)
MU, KAPPA = E / 2.6, E / 1.2
VOCE = VoceHardening(200.0, 300.0, 20.0, 50.0)
PERFECT = LinearHardening(200.0)
IDENTITY = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
POINTS = 40


def quadratic(stress):
    """A user's yield function that is not von Mises', as a plain function."""
    weights = jnp.array([1.0, 1.2, 0.8, 3.0, 2.5, 3.5])
    s = stress - jnp.sum(stress[:3]) / 3.0 * IDENTITY
    square = jnp.sum(weights * s * s)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


LAWS = {
    "Hill, Swift, Armstrong-Frederick": Elastoviscoplastic(
        ELASTICITY,
        Hill48.from_r_values(1.8, 1.2, 2.5),
        SwiftHardening(500.0, 0.01, 0.2),
        ArmstrongFrederick(2e4, 100.0),
    ),
    "Hosford, table, Prager": Elastoviscoplastic(
        ELASTICITY,
        Hosford(8),
        TabulatedHardening([0.0, 0.02, 0.05], [200.0, 300.0, 350.0]),
        Prager(2e3),
    ),
    "Drucker-Prager, not associated": Elastoviscoplastic(
        ELASTICITY, DruckerPrager(0.6), VOCE, flow=DruckerPrager(0.2)
    ),
    "recovery, Norton": Elastoviscoplastic(
        ELASTICITY,
        VonMises(),
        VOCE,
        ArmstrongFrederick(2e4, 100.0, StaticRecovery(1e-4, 2.0)),
        viscosity=NortonFlow(100.0, 8.0),
    ),
    "own functions, mid-point": Elastoviscoplastic(
        ELASTICITY,
        quadratic,
        lambda p: 200.0 + 300.0 * jnp.tanh(10.0 * p),
        lambda plastic_strain: 2e3 * plastic_strain,
        viscosity=lambda overstress: 1e-3 * jnp.sinh(overstress / 20.0),
        theta=0.5,
    ),
}


@pytest.fixture
def strains():
    """Elastic ones and up to fifty times the yield strain, not all of them deviatoric."""
    rng = np.random.default_rng(5)
    strain = rng.normal(size=(POINTS, 6))
    strain -= 0.8 * strain[:, :3].mean(axis=1)[:, None] * IDENTITY
    size = np.geomspace(3e-4, 5e-2, POINTS)[:, None]
    return size * strain / np.linalg.norm(strain, axis=1)[:, None]


# ------------------------------------------------------------------ the special cases


@pytest.mark.parametrize("viscous", [False, True], ids=["J2", "Perzyna"])
def test_agrees_with_the_special_cases(strains, viscous):
    """Two steps, both backends, to 1e-10."""
    special = admat.J2Plasticity(E, NU, VOCE)
    flow = None
    if viscous:
        special = admat.PerzynaViscoplasticity(E, NU, VOCE, K=100.0, n=8.0)
        flow = NortonFlow(100.0, 8.0)
    law = Elastoviscoplastic(ELASTICITY, VonMises(), VOCE, viscosity=flow)
    expected = batches.run(special, strains)
    ours = batches.both(law, strains)
    assert 0 < expected.status.active.sum() < POINTS
    for found in ours:
        batches.assert_agree(found, expected)
    again = np.roll(strains, 1, axis=1)
    expected = batches.run(special, again, expected.state)
    batches.assert_agree(batches.run(law, again, ours[0].state), expected)


def test_declared_properties():
    """They follow from the parts."""
    found = {
        name: (law.symmetric_tangent, law.isotropic, law.linear_when_elastic,
               law.rate_dependent, law.has_free_energy)
        for name, law in LAWS.items()
    }  # fmt: skip
    assert found == {
        "Hill, Swift, Armstrong-Frederick": (False, False, True, False, True),
        "Hosford, table, Prager": (True, True, True, False, True),
        "Drucker-Prager, not associated": (False, True, True, False, False),
        "recovery, Norton": (False, True, False, True, True),
        "own functions, mid-point": (False, False, True, True, False),
    }


# ------------------------------------------------------------------ any combination


def two_steps(law, strains):
    """Strain and state at the begin of two steps, loading and back, and a native kernel."""
    kernel = BatchKernel(law, backend="native", chunk_size=POINTS)
    first = batches.run(kernel, strains)
    back = strains * np.linspace(0.5, -0.5, POINTS)[:, None]
    back[:, 3:] += 1e-3
    return kernel, ((strains, kernel.initial_state(POINTS)), (back, first.state))


@pytest.mark.parametrize("name", LAWS)
def test_combination(name, strains):
    """Differences of the stress, yield condition, dissipation, symmetry."""
    law = LAWS[name]
    kernel, steps = two_steps(law, strains)
    for strain, state in steps:
        found = batches.run(kernel, strain, state)
        assert not found.status.code.any()
        check_differences(kernel, strain, state, found)
        check_yield(law, found)
        check_dissipation(law, strain, state, found)
        if law.symmetric_tangent:
            tangent = found.tangent["stress", "strain"]
            assert np.abs(tangent - tangent.transpose(0, 2, 1)).max() <= 1e-9 * E


SLOW_TO_COMPILE = ("Hill, Swift, Armstrong-Frederick", "Hosford, table, Prager")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.full] * (n in SLOW_TO_COMPILE)) for n in LAWS]
)
def test_the_other_backend_and_unrolled_derivatives(name, strains):
    """Native against XLA, there with the derivative through the iterations."""
    kernel, steps = two_steps(LAWS[name], strains)
    unrolled = BatchKernel(LAWS[name], backend="xla", chunk_size=POINTS, tangent="unrolled")
    for strain, state in steps:
        a, b = (batches.run(k, strain, state) for k in (kernel, unrolled))
        batches.assert_agree(a._replace(tangent={}), b._replace(tangent={}))
        # The tangent through the iterations has the error of the last but one of them.
        batches.assert_agree(a, b, 1e-7)


def check_differences(kernel, strain, state, found):
    """Central differences; points where they step over a kink are few, and are told apart."""
    h = 1e-7
    slopes = []
    for k in range(6):
        step = np.zeros(6)
        step[k] = h
        pair = [batches.run(kernel, strain + m * step, state, tangent=False) for m in (-1, 1)]
        slopes.append((pair[1].outputs["stress"] - pair[0].outputs["stress"]) / (2 * h))
    error = np.abs(np.stack(slopes, axis=-1) - found.tangent["stress", "strain"]).max(axis=(1, 2))
    # h^2 times the third derivative, and round-off 1e-13 / h.
    assert (error <= 2e-5 * E).sum() >= POINTS - 2, np.sort(error)[-4:] / E


def back_stress(law, state):
    parts = [(f"back_strain_{i}", part) for i, part in enumerate(law.kinematic, start=1)]
    call = lambda part: jax.vmap(getattr(part, "back_stress", part))  # noqa: E731
    return sum((np.asarray(call(part)(state[name])) for name, part in parts), np.zeros(6))


def check_yield(law, found):
    """f <= 0 of the rate-independent laws, and 0 where they flow."""
    if law.rate_dependent:
        return
    f = jax.vmap(law.yield_function)(found.outputs["stress"] - back_stress(law, found.state))
    f = np.asarray(f - jax.vmap(law.hardening)(found.state["equivalent_plastic_strain"]))
    assert f.max() <= 1e-8 * 200.0
    assert np.abs(f[found.status.active]).max() <= 1e-8 * 200.0


def check_dissipation(law, strain, old, new):
    """- d(psi)/d(state) . d(state) >= 0 where a free energy is declared."""
    if not law.has_free_energy:
        return
    force = jax.vmap(jax.grad(law.free_energy, argnums=1))(strain, new.state)
    power = -sum(
        np.asarray(force[k] * (new.state[k] - old[k])).reshape(POINTS, -1).sum(1) for k in old
    )
    assert power.min() >= -1e-12
    assert power.max() > 0.1  # 200 MPa times 1e-3 and more


@pytest.mark.parametrize("name", ["Hosford, table, Prager", "recovery, Norton"])
def test_first_tangent_after_load_reversal_is_elastic(name):
    """A point on the yield surface that does not move, or moves back, is elastic."""
    law = LAWS[name]
    strain = np.array([[8e-3, -4e-3, -3e-3, 2e-3, 0.0, 1e-3]])
    kernel = BatchKernel(law, backend="native", chunk_size=1)
    loaded = batches.run(kernel, strain, dt=1e3)
    dt = 1e-9 if law.rate_dependent else 1.0  # no time to flow
    found = batches.run(kernel, strain * 0.999, loaded.state, dt)
    elastic = np.asarray(jax.jacfwd(ELASTICITY.stress)(jnp.zeros(6)))
    np.testing.assert_allclose(found.tangent["stress", "strain"][0], elastic, atol=1e-6 * E)
    if not law.rate_dependent:
        found = batches.run(kernel, strain, loaded.state)
        assert not found.status.active.any()


# ------------------------------------------------------------------ yield functions


def test_hosford_against_principal_stresses():
    """The definition, for even and real exponents; also where principal stresses coincide."""
    rng = np.random.default_rng(2)
    stresses = [*rng.normal(size=(20, 6)) * 100.0, *(100.0 * np.eye(6)), -50.0 * IDENTITY]
    for a in (2, 8, 20, 6.5):
        found = jax.vmap(Hosford(a))(jnp.array(stresses))
        for value, stress in zip(found, stresses, strict=True):
            s = np.linalg.eigvalsh(np.asarray(admat.tensors.from_mandel(stress)))
            gaps = np.abs([s[0] - s[1], s[1] - s[2], s[2] - s[0]])
            top = gaps.max()
            expected = top * (0.5 * ((gaps / (top or 1.0)) ** a).sum()) ** (1 / a)
            assert value == pytest.approx(expected, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("a", [8, 6.5])
def test_hosford_curvature_in_uniaxial_tension(a):
    """Two principal stresses coincide: d2f/ds_yz^2 = (a - 1)/2 / sigma (by hand), not 0."""
    stress = jnp.array([300.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    hessian = np.asarray(jax.hessian(Hosford(a))(stress))
    assert hessian[5, 5] == pytest.approx((a - 1) / 2 / 300.0, rel=1e-10)
    gradient = np.asarray(jax.grad(Hosford(a))(stress))
    np.testing.assert_allclose(gradient, [1.0, -0.5, -0.5, 0.0, 0.0, 0.0], atol=1e-12)


def tension(degrees):
    """Unit tension in the plane xy."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([c * c, s * s, 0.0, np.sqrt(2) * c * s, 0.0, 0.0]), np.array([-s, c])


def test_hill_lankford_coefficients():
    """r = width strain rate / thickness strain rate of the associated flow (Hill 1948)."""
    wanted = {0: 1.8, 45: 1.2, 90: 2.5}
    hill = Hill48.from_r_values(*wanted.values())
    for degrees, r in wanted.items():
        stress, across = tension(degrees)
        n = np.asarray(jax.grad(hill)(stress))
        in_plane = np.array([[n[0], n[3] / np.sqrt(2)], [n[3] / np.sqrt(2), n[1]]])
        assert across @ in_plane @ across / n[2] == pytest.approx(r, rel=1e-12)
    assert hill(tension(0)[0]) == pytest.approx(1.0, rel=1e-14)


def test_hill_stress_ratios_and_von_mises():
    ratios = dict(xx=1.0, yy=0.9, zz=1.1, xy=1.2, xz=0.8, yz=0.95)
    hill = Hill48.from_stress_ratios(**ratios)
    for i, (name, ratio) in enumerate(ratios.items()):
        size = ratio if name[0] == name[1] else ratio * np.sqrt(2.0 / 3.0)
        assert hill(size * np.eye(6)[i]) == pytest.approx(1.0, rel=1e-13)
    rng = np.random.default_rng(3)
    for stress in rng.normal(size=(5, 6)):
        isotropic = Hill48.from_stress_ratios()(stress)
        assert isotropic == pytest.approx(float(VonMises()(stress)), rel=1e-13)


def test_drucker_prager_touches_mohr_coulomb():
    """s1 - s3 = 2 c cos(phi) - (s1 + s3) sin(phi) on the meridian that was asked for."""
    phi, c = np.radians(30.0), 15.0
    confinement = -40.0  # tension positive
    for fit, axial_is_lowest in (("compression", True), ("extension", False)):
        cone = DruckerPrager.from_friction_angle(phi, fit)
        R = DruckerPrager.yield_stress(c, phi, fit)
        sine, cosine = np.sin(phi), np.cos(phi)
        if axial_is_lowest:  # s1 = s2 = confinement
            axial = (confinement * (1 + sine) - 2 * c * cosine) / (1 - sine)
        else:
            axial = (confinement * (1 - sine) + 2 * c * cosine) / (1 + sine)
        stress = np.array([axial, confinement, confinement, 0.0, 0.0, 0.0])
        assert cone(stress) == pytest.approx(R, rel=1e-12)


@pytest.mark.parametrize("dilatancy", [0.5, 0.2], ids=["associated", "not associated"])
def test_drucker_prager_return_to_cone_and_apex(dilatancy):
    """Closed form, perfectly plastic; de Souza Neto, Peric, Owen (2008), section 8.3."""
    alpha, k = 0.5, 200.0
    flow = None if dilatancy == alpha else DruckerPrager(dilatancy)
    law = Elastoviscoplastic(ELASTICITY, DruckerPrager(alpha), LinearHardening(k), flow=flow)
    rng = np.random.default_rng(7)
    strain = rng.normal(size=(200, 6)) * 3e-3 + rng.uniform(-1, 3, size=(200, 1)) * 1e-3 * IDENTITY
    strain[:3] = [1e-2 * IDENTITY, 1e-3 * IDENTITY, 5e-2 * IDENTITY + 1e-9]
    native = batches.run(law, strain)  # the other backend: test_the_other_backend...
    assert not native.status.code.any()
    volume = strain[:, :3].sum(axis=1)
    e = strain - volume[:, None] / 3.0 * IDENTITY
    q, p = 2 * MU * np.sqrt(1.5) * np.linalg.norm(e, axis=1), KAPPA * volume
    f = q + alpha * p - k
    dp = np.maximum(f, 0.0) / (3 * MU + KAPPA * alpha * dilatancy)
    apex = q < 3 * MU * dp
    dp = np.where(apex, (p - k / alpha) / (KAPPA * dilatancy), dp)
    shrink = np.where(apex, 0.0, 1.0 - 3 * MU * dp / np.where(q > 0, q, 1.0))
    pressure = p - KAPPA * dilatancy * dp
    expected = 2 * MU * shrink[:, None] * e + pressure[:, None] * IDENTITY
    assert 20 < apex.sum() < 120 and 20 < (~apex & (f > 0)).sum() and (f < 0).any()
    np.testing.assert_allclose(native.outputs["stress"], expected, atol=1e-9 * k, rtol=1e-9)
    np.testing.assert_allclose(native.state["equivalent_plastic_strain"], dp, atol=1e-12)
    tangent = native.tangent["stress", "strain"][apex]
    assert np.abs(tangent).max() <= 1e-8 * E  # the apex of a perfectly plastic cone is one point


def test_no_return_to_an_apex_without_dilatancy_is_a_failure():
    """Flow without a change of volume cannot lower the pressure: no number, but a status."""
    law = Elastoviscoplastic(ELASTICITY, DruckerPrager(0.5), PERFECT, flow=VonMises())
    strain = np.array([1e-2 * IDENTITY, 1e-2 * IDENTITY + 1e-3 * np.eye(6)[3], 1e-3 * np.eye(6)[3]])
    found = batches.run(law, strain)
    np.testing.assert_array_equal(found.status.code != 0, [True, True, False])


# ------------------------------------------------------------------ hardening and viscosity


@pytest.mark.parametrize(
    ("hardening", "initial"),
    [
        (LinearHardening(200.0, 50.0), 200.0),
        (VoceHardening(200.0, [100.0, 50.0], [10.0, 0.0], 30.0), 200.0),
        (SwiftHardening(500.0, 0.01, 0.2), 500.0 * 0.01**0.2),
        (TabulatedHardening([0.0, 0.02, 0.05], [200.0, 300.0, 350.0]), 200.0),
    ],
    ids=lambda v: type(v).__name__,
)
def test_stored_energy_is_the_work_of_hardening(hardening, initial):
    """Its slope is R(p) - R(0); and hardening is finite for iterates with p < 0."""
    assert hardening(0.0) == pytest.approx(initial, rel=1e-14)
    for p in (0.0, 0.011, 0.03, 0.2):
        slope = jax.grad(hardening.stored_energy)(p)
        assert slope == pytest.approx(float(hardening(p)) - initial, abs=1e-10)
    assert np.isfinite(jax.value_and_grad(hardening)(-0.5)).all()
    assert hardening.stored_energy(0.0) == pytest.approx(0.0, abs=1e-15)


def test_softening_stores_nothing():
    for hardening in (
        LinearHardening(200.0, -50.0),
        VoceHardening(200.0, [100.0, -50.0], [10.0, 5.0]),
        TabulatedHardening([0.0, 0.02, 0.05], [200.0, 300.0, 250.0]),
    ):
        assert hardening.stored_energy(0.03) == 0.0


def test_tabulated_hardening_is_numpy_interp():
    """The slope at a knot is that of the interval which begins there."""
    knots, values = [0.0, 0.02, 0.05], [200.0, 300.0, 350.0]
    table = TabulatedHardening(knots, values)
    for p in (0.0, 0.01, 0.02, 0.04, 0.05, 0.2):
        assert table(p) == pytest.approx(np.interp(p, knots, values), rel=1e-14)
    slopes = [float(jax.grad(table)(p)) for p in knots]
    np.testing.assert_allclose(slopes, [5000.0, 5000.0 / 3.0, 0.0], rtol=1e-12)


def test_norton_without_threshold_over_many_decades():
    """n = 20: with v = (s_eq/K)^n, one step solves s_eq + 3 mu dt v = s_trial; dt from 0 on."""
    K, n = 200.0, 20.0
    law = Elastoviscoplastic(ELASTICITY, VonMises(), viscosity=NortonFlow(K, n))
    kernel = BatchKernel(law, backend="native", chunk_size=8)
    size = np.array([0.0, 1e-12, 1e-6, 1e-4, 1e-3, 1e-2, 0.3])
    strain = size[:, None] * np.array([1.0, -0.5, -0.5, 0.0, 0.0, 0.0])
    for dt in (0.0, 1e-12, 1.0, 1e12):
        found = batches.run(kernel, strain, dt=dt)
        assert not found.status.code.any()
        dp = found.state["equivalent_plastic_strain"]
        s = found.outputs["stress"][:, 0] - found.outputs["stress"][:, 1]
        np.testing.assert_allclose(s + 3 * MU * dp, 3 * MU * size, rtol=1e-10, atol=1e-9)
        np.testing.assert_allclose(dt * (np.maximum(s, 0.0) / K) ** n, dp, rtol=1e-8, atol=1e-13)
        assert np.isfinite(found.tangent["stress", "strain"]).all()


# ------------------------------------------------------------------ mistakes


class NoStress(admat.Parameters):
    E: float = 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"elasticity": NoStress()}, r"elasticity.stress is missing.*NoStress.*\(6,\) -> \(6,\)"),
        (
            {"yield_function": lambda s: s},
            r"yield_function returns \(6,\); expected \(6,\) -> \(\)",
        ),
        ({"yield_function": lambda s: s @ jnp.zeros(5)}, "yield_function failed"),
        ({"hardening": 200.0}, "hardening is missing or not callable"),
        ({"hardening": None}, "needs a viscosity"),
        ({"kinematic": [Prager(1.0), VonMises()]}, r"kinematic\[1\].back_stress returns \(\)"),
        ({"flow": "associated"}, "flow is missing or not callable.*got str"),
        ({"viscosity": 3.0}, "viscosity.rate is missing"),
        ({"theta": 0.0}, r"theta must be in \(0, 1\]"),
    ],
)
def test_a_part_that_does_not_fit(arguments, message):
    parts = {"elasticity": ELASTICITY, "yield_function": VonMises(), "hardening": PERFECT}
    with pytest.raises(MaterialError, match=f"Elastoviscoplastic: .*{message}"):
        Elastoviscoplastic(**{**parts, **arguments})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hosford(3), "a must be 2 or a number from 4 to 100; got 3"),
        (lambda: Hill48(-1.0, 0.5, 0.5), "not convex"),
        (lambda: Hill48(0.5, 0.5, 0.5, N=-1.0), "'N' is out of range"),
        (lambda: DruckerPrager(-0.1), "'alpha' is out of range"),
        (lambda: DruckerPrager.from_friction_angle(30.0), "radians"),
        (lambda: DruckerPrager.from_friction_angle(0.5, "middle"), "fit must be"),
        (lambda: VoceHardening(200.0, [1.0, 2.0], 3.0), "one number per term"),
        (lambda: SwiftHardening(500.0, 0.0, 0.2), "'eps_0' is out of range"),
        (lambda: SwiftHardening(500.0, 0.01, 1.2), "'n' is out of range"),
        (lambda: TabulatedHardening([0.0, 0.2, 0.1], [1.0, 2.0, 3.0]), "start at 0 and increase"),
        (lambda: TabulatedHardening([0.1, 0.2], [1.0, 2.0]), "start at 0 and increase"),
        (lambda: TabulatedHardening([0.0, 0.2], [1.0, 2.0, 3.0]), "same length"),
        (lambda: Prager(-1.0), "'C' is out of range"),
        (lambda: ArmstrongFrederick(1.0, -1.0), "'g' is out of range"),
        (lambda: StaticRecovery(1.0, 0.5), "'m' is out of range"),
        (lambda: NortonFlow(0.0, 3.0), "'K' is out of range"),
        (lambda: NortonFlow(1.0, 0.5), "'n' is out of range"),
    ],
)
def test_parameters_out_of_range(make, message):
    with pytest.raises(MaterialError, match=message):
        make()


def test_settings_of_the_solver_are_kept():
    law = Elastoviscoplastic(ELASTICITY, VonMises(), PERFECT, solver=LocalNewton(rtol=1e-8))
    assert law._solver.rtol == 1e-8


# -- the mid-point rule without viscosity -------------------------------------------------------


def bar(law, strains):
    """Stresses of a bar after each of these strains."""
    kernel, state, found = BatchKernel(admat.UniaxialStress(law)), None, []
    for strain in strains:
        step = batches.run(kernel, np.array([strain]), state, tangent=False)
        assert not step.status.code.any()
        state, found = step.state, [*found, float(step.outputs["stress"][0])]
    return np.array(found)


def test_mid_point_rule_stays_on_the_yield_surface():
    """Imposed at mid-step, f <= 0 made the stress alternate: 264, 136, 264, ..."""
    law = admat.Elastoviscoplastic(
        ELASTICITY, admat.VonMises(), admat.LinearHardening(200.0, 0.0), theta=0.5
    )
    E = float(ELASTICITY.E)
    found = bar(law, np.array([0.5, 1.32, 2.64, 3.96, 5.0, 4.5]) * 200.0 / E)
    np.testing.assert_allclose(found, [100.0, 200.0, 200.0, 200.0, 200.0, 100.0], rtol=1e-9)


def test_mid_point_rule_is_of_second_order():
    """Armstrong-Frederick bar: stress = R + C/g (1 - exp(-g p)), strain = stress/E + p."""
    C, g, R, E, end = 20e3, 100.0, 200.0, float(ELASTICITY.E), 0.01
    low, high = 0.0, end
    for _ in range(100):
        p = 0.5 * (low + high)
        stress = R + C / g * (1.0 - np.exp(-g * p))
        low, high = (p, high) if stress / E + p < end else (low, p)
    errors = []
    for steps in (10, 20, 40):
        law = admat.Elastoviscoplastic(
            ELASTICITY, admat.VonMises(), admat.LinearHardening(R), admat.ArmstrongFrederick(C, g),
            theta=0.5,
        )  # fmt: skip
        # The first step ends at yield, so that steps do not differ in how they meet it.
        path = np.linspace(R / E, end, steps + 1)
        errors.append(abs(bar(law, path)[-1] - stress))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (rates > 1.8).all() and errors[-1] < 1e-3 * stress, (errors, rates)
