"""FCC crystal: geometry, closed forms of symmetric slip, and the first rows of MP-S10."""

import json

import batches
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, evaluate_point
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.materials.crystal import FCC_DIRECTIONS, FCC_NORMALS, FCC_SCHMID
from dolfinx_admat.tensors import mandel_rotation

R_0, K, N = 60.0, 25.0, 10.0
INTERACTION = admat.FccInteraction(1.0, 1.1, 0.6, 12.3, 1.6, 1.8)
HARDENING = admat.SlipHardening(R_0, Q=11.0, b=5.0, interaction=INTERACTION)
CUBIC = admat.CubicElasticity(168e3, 121e3, 75e3)


def crystal(flow=None, hardening=HARDENING, **more):
    flow = admat.OverstressSlip(K, N) if flow is None else flow
    return admat.FccCrystal(CUBIC, flow, hardening, **more)


@pytest.fixture(scope="module")
def kernel():
    """One structure for all tests; assign other parameters."""
    return BatchKernel(crystal(c=5e3, d=300.0))


def axial(axis):
    """Strain n x n - (1 - n x n) / 2 along a direction; Mandel (6,), equivalent strain 1."""
    n = np.array(axis) / np.linalg.norm(axis)
    m = 1.5 * np.outer(n, n) - 0.5 * np.eye(3)
    return np.array([*np.diag(m), *(np.sqrt(2.0) * m[[0, 0, 1], [1, 2, 2]])])


def test_twelve_systems():
    assert np.abs(np.sum(FCC_NORMALS * FCC_DIRECTIONS, axis=1)).max() < 1e-15
    assert np.abs(FCC_SCHMID[:, :3].sum(axis=1)).max() < 1e-15  # slip keeps the volume
    np.testing.assert_allclose(np.sum(FCC_SCHMID**2, axis=1), 0.5)
    assert np.linalg.matrix_rank(FCC_SCHMID) == 5
    # Schmid factors in tension: 8 systems with 1/sqrt(6) along [001], 6 along [111] with
    # sqrt(2/27), 4 along [011] with 1/sqrt(6); the others have none.
    for axis, count, factor in (((0, 0, 1), 8, 6**-0.5), ((1, 1, 1), 6, (2 / 27) ** 0.5),
                                ((0, 1, 1), 4, 6**-0.5)):  # fmt: skip
        n = np.array(axis) / np.linalg.norm(axis)
        factors = np.abs((FCC_NORMALS @ n) * (FCC_DIRECTIONS @ n))
        assert np.isclose(factors, factor).sum() == count
        np.testing.assert_allclose(factors[~np.isclose(factors, factor)], 0.0, atol=1e-15)


def test_six_kinds_of_interaction():
    h = np.asarray(admat.FccInteraction(0.0, 1.0, 2.0, 3.0, 4.0, 5.0)())
    assert (h == h.T).all()
    for row in h:  # counts: Franciosi and Zaoui (1982)
        assert [int((row == kind).sum()) for kind in range(6)] == [1, 2, 2, 1, 4, 2]
    # A permutation of the axes is a symmetry of the crystal, so the matrix does not change.
    turned = np.roll(FCC_NORMALS, 1, axis=1), np.roll(FCC_DIRECTIONS, 1, axis=1)
    same = np.abs(turned[0] @ FCC_NORMALS.T) * np.abs(turned[1] @ FCC_DIRECTIONS.T)
    order = same.argmax(axis=1)
    np.testing.assert_allclose(same.max(axis=1), 1.0)
    np.testing.assert_array_equal(h[np.ix_(order, order)], h)


def test_elastic_constants():
    strain = np.array([1e-4, 0.0, 0.0, np.sqrt(2.0) * 1e-4, 0.0, 0.0])
    law = crystal()
    found = evaluate_point(law, strain, dt=1.0)
    assert not found.status.active
    stress = [16.8, 12.1, 12.1, np.sqrt(2.0) * 15.0, 0.0, 0.0]
    np.testing.assert_allclose(found.outputs["stress"], stress, rtol=1e-12, atol=1e-12)
    with pytest.raises(MaterialError, match="C11 > C12"):
        admat.CubicElasticity(100.0, 120.0, 10.0)
    with pytest.raises(
        MaterialError, match=r"hardening returns \(3,\); expected \(12,\) -> \(12,\)"
    ):
        crystal(hardening=lambda p: p[:3])
    with pytest.raises(MaterialError, match=r"flow.rate is missing"):
        crystal(flow=5.0)


@pytest.mark.parametrize(
    ("axis", "systems", "factor"),
    [((0, 0, 1), 8, 6**-0.5), ((1, 1, 1), 6, (2 / 27) ** 0.5)],
)
def test_steady_state_of_symmetric_slip(kernel, axis, systems, factor, verified):
    """k systems with the Schmid factor s: rates are (axial rate) / (k s), stress is tau / s.

    Along the axis the strain rate is sum_i s_i rate_i = k s rate, and by symmetry the volume-
    preserving axial strain is what these systems make. Without hardening, tau = r_0 + K rate^(1/n).
    """
    kernel.material = crystal(hardening=admat.SlipHardening(R_0, 0.0, 0.0, INTERACTION))
    rate, state = 1e-3, None
    for step in range(1, 41):
        strain = axial(axis) * step * 2e-3
        found = batches.run(kernel, strain[None], state, 2e-3 / rate)
        assert found.status.code[0] == 0
        state = found.state
    slip_rate = rate / (systems * factor)
    tension = (R_0 + K * slip_rate ** (1 / N)) / factor
    equivalent = axial(axis) @ found.outputs["stress"][0]  # s_xx - (s_yy + s_zz) / 2 on the axis
    verified(
        law="FccCrystal",
        hypotheses=f"small strain, tension along {axis}",
        against="steady flow stress of symmetric slip, closed form",
        error=abs(equivalent / tension - 1.0),
        tolerance=1e-9,
    )
    slip = np.abs(state["cumulated_slip"][0])
    assert (slip > 1e-3).sum() == systems
    np.testing.assert_allclose(slip[slip > 1e-3], slip.max(), rtol=1e-9)
    if axis == (0, 0, 1):  # Schmid's law in the rate-independent limit
        kernel.material = crystal(
            admat.OverstressSlip(1e-3, N), admat.SlipHardening(R_0, 0.0, 0.0, INTERACTION)
        )
        found = batches.run(kernel, 0.01 * axial(axis)[None], None, 1.0)
        verified(
            law="FccCrystal",
            hypotheses=f"small strain, tension along {axis}",
            against="Schmid's law, limit of fast relaxation",
            error=abs(axial(axis) @ found.outputs["stress"][0] / (R_0 * 6**0.5) - 1.0),
            tolerance=1e-4,
        )


def test_latent_and_kinematic_hardening():
    """The resistance is that of the matrix, and back slip that of its recursion (exact update)."""
    law = crystal(c=5e3, d=300.0)
    strain = np.array([4e-3, -1e-3, -3e-3, 1e-3, 2e-3, 0.0])
    one = evaluate_point(law, strain, dt=1.0)
    two = evaluate_point(law, -0.5 * strain, one.state, dt=1.0)
    assert one.status.code == 0 and two.status.code == 0
    slip = np.asarray(two.state["slip"] - one.state["slip"])
    p = np.asarray(one.state["cumulated_slip"]) + np.abs(slip)
    np.testing.assert_allclose(two.state["cumulated_slip"], p, atol=1e-15)
    back = (np.asarray(one.state["back_slip"]) + slip) / (1.0 + 300.0 * np.abs(slip))
    np.testing.assert_allclose(two.state["back_slip"], back, atol=1e-15)
    resistance = R_0 + 11.0 * np.asarray(INTERACTION()) @ (1.0 - np.exp(-5.0 * p))
    tau = FCC_SCHMID @ np.asarray(two.outputs["stress"]) - 5e3 * back
    rates = (np.maximum(np.abs(tau) - resistance, 0.0) / K) ** N * np.sign(tau)
    assert (np.abs(slip) > 1e-6).sum() >= 5
    np.testing.assert_allclose(slip, rates, rtol=1e-8, atol=1e-13)


def test_backends_and_tangent(kernel):
    law = crystal(c=5e3, d=300.0)
    rng = np.random.default_rng(0)
    strain = rng.standard_normal((24, 6)) * 1.5e-3 * rng.choice([0.1, 1.0], (24, 1))
    strain[0], strain[1] = 0.0, 2e-3 * axial((0, 0, 1))
    xla, state = BatchKernel(law, backend="xla", chunk_size=32), None
    kernel.material = law
    for factor in (1.0, 1.5):
        before = {"strain": factor * strain}, state
        found = batches.run(kernel, *before, 1.0)
        assert not found.status.code.any() and 0.2 < found.status.active.mean() < 0.9
        # 1e-14 in a strain is 1e-14 E n / f = 1e-9 of a rate: what the local tolerance allows.
        batches.assert_agree(found, batches.run(xla, *before, 1.0), tol=1e-8)
        state = found.state
    slopes = batches.slopes(kernel, *before, 1.0)
    assert batches.error(slopes["stress", "strain"], found.tangent["stress", "strain"]) <= 1e-6


def test_large_steps_converge(kernel):
    """One step of 1 % strain from rest, and back; 12 redundant systems, exponents up to 50."""
    rng = np.random.default_rng(1)
    strain = rng.standard_normal((60, 6))
    strain[:20] = [
        axial(np.add(a, [0.0, 0.0, 1e-12])) for a in rng.choice([0.0, 1.0, -1.0], (20, 3))
    ]
    strain *= 1e-2 / np.linalg.norm(strain, axis=1)[:, None]
    for n in (1.0, 5.0, 10.0, 20.0, 50.0):
        kernel.material = crystal(admat.OverstressSlip(K, n), c=5e3, d=300.0)
        state = None
        for factor in (1.0, -0.5):
            found = batches.run(kernel, factor * strain, state, 1.0, tangent=True)
            assert not found.status.code.any(), n
            assert found.status.active.all()
            state = found.state


def test_power_law_slip():
    """Without threshold: creep below r, slip = dt rate_0 (tau / r)^n at the final stress."""
    law = crystal(admat.PowerLawSlip(1e-3, N), c=5e3, d=300.0)
    strain = np.array([6e-4, -2e-4, -4e-4, 1e-4, 2e-4, 0.0])
    found = evaluate_point(law, strain, dt=2.0)
    assert found.status.code == 0
    slip = np.asarray(found.state["slip"])
    resistance = np.asarray(HARDENING(found.state["cumulated_slip"]))
    tau = FCC_SCHMID @ np.asarray(found.outputs["stress"]) - 5e3 * np.asarray(
        found.state["back_slip"]
    )
    rates = 1e-3 * (np.abs(tau) / resistance) ** N * np.sign(tau)
    np.testing.assert_allclose(slip, 2.0 * rates, rtol=1e-9, atol=1e-15)


def test_orientation():
    """A turned crystal: all in turned axes is the crystal on its own axes."""
    angles = admat.BungeAngles(0.4, 0.7, 1.1)
    law, Q = crystal(), np.asarray(angles())
    R = np.asarray(mandel_rotation(Q))
    strain = np.array([4e-3, -1e-3, -3e-3, 1e-3, 2e-3, 0.0])
    turned = evaluate_point(admat.Rotated(law, angles), R @ strain, dt=1.0)
    own = evaluate_point(law, strain, dt=1.0)
    np.testing.assert_allclose(turned.outputs["stress"], R @ own.outputs["stress"], rtol=1e-9)
    np.testing.assert_allclose(turned.state["slip"], own.state["slip"], rtol=1e-7, atol=1e-12)


@pytest.mark.reference
def test_mp_s10_first_rows(cases, kernel, verified):
    """Meric-Cailletaud at finite strain; at small strain the difference is of the strain's order.

    The case imposes F_zz = 1 + e. Green's strain is e + e^2 / 2, the Cauchy stress is F S F^T / J,
    and slip turns no axis here: stresses differ by about 2 e, relative to their size, and slips
    as well, for they are total minus elastic strain.
    """
    case = json.loads((cases / "MP-S10_fcc_finite_strain_001.json").read_text())
    m = case["material"]
    table = np.genfromtxt(
        cases / "MP-S10_fcc_finite_strain_001.csv", delimiter=",", names=True, deletechars=""
    )

    def schmid(system):
        s, n = np.array(system["s"]) / 2**0.5, np.array(system["n"]) / 3**0.5
        t = 0.5 * (np.outer(s, n) + np.outer(n, s))
        return np.array([*np.diag(t), *(np.sqrt(2.0) * t[[0, 0, 1], [1, 2, 2]])])

    # Their numbers of our systems; the interaction matrix is theirs, entry by entry.
    theirs = np.array([schmid(system) for system in m["slip_systems"]])
    order = np.abs(2.0 * theirs @ FCC_SCHMID.T).argmax(axis=1)
    np.testing.assert_allclose(np.abs(np.sum(theirs * FCC_SCHMID[order], axis=1)), 0.5)
    matrix = np.array(m["interaction_coefficients_by_rank"])[np.array(m["interaction_rank_matrix"])]
    interaction = admat.FccInteraction(
        itself=1.0, coplanar=1.0, hirth=0.6, collinear=12.3, glissile=1.6, lomer=1.8
    )
    np.testing.assert_array_equal(np.asarray(interaction())[np.ix_(order, order)], matrix)

    kernel.material = admat.FccCrystal(
        admat.CubicElasticity(m["C11"], m["C12"], m["C44"]),
        admat.OverstressSlip(m["K"], m["m"]),
        admat.SlipHardening(m["R0"], m["Q"], m["b"], interaction),
        c=m["C"],
        d=m["d"],
    )
    state = None
    for row in range(1, 6):
        e = table["Fzz"][row] - 1.0
        strain = np.array([[0.0, 0.0, e, 0.0, 0.0, 0.0]])
        found = batches.run(kernel, strain, state, table["t"][row] - table["t"][row - 1])
        state, stress = found.state, found.outputs["stress"][0]
        assert found.status.code[0] == 0
        wanted = np.array([table[name][row] for name in ("sxx", "syy", "szz")])
        error = np.abs(stress[:3] - wanted).max() / np.abs(wanted).max()
        assert error <= 2.0 * e
        slip = np.abs(state["slip"][0][order])
        known = np.abs([table[f"g{i}"][row] for i in range(12)])
        # Slips are strains minus elastic strains: an error of e^2 in each.
        assert np.abs(slip - known).max() <= 2.0 * e * e
        assert (slip > 1e-5).sum() == 8
        if row == 1:
            verified(
                law="FccCrystal",
                hypotheses="small strain, [001]",
                against="MP-S10, first row (0.2 % strain; the case is of finite strain)",
                error=error,
                tolerance=2.0 * e,
            )
