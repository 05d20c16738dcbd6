"""Hyperelastic laws: rest, small strain, tangents at coalescing stretches, special cases."""

from functools import cache

import batches
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slopes import assert_tangent

import dolfinx_admat as admat
from dolfinx_admat.kernels import BatchKernel

FIBRES = {"mu": 7.0, "k1": 9.0, "k2": 2.0, "directions": [[0.6, 0.8, 0.0], [3.0, -4.0, 0.0]]}
OGDEN = {"mu": [6.3, 0.012, -0.1], "alpha": [1.3, 5.0, -2.0]}  # Ogden (1972), times ten
OGDEN_MU = 0.5 * np.dot(OGDEN["mu"], OGDEN["alpha"])
# With the shear and bulk modulus at small strain.
LAWS = {
    "neo_hookean": (admat.NeoHookean(10.0, 0.3), 10.0 / 2.6, 10.0 / 1.2),
    "mooney_rivlin": (admat.MooneyRivlin(3.0, 1.0, kappa=20.0), 8.0, 20.0),
    "ogden": (
        admat.Ogden(**OGDEN, kappa=20.0, volumetric=admat.simo_miehe_volume),
        OGDEN_MU,
        20.0,
    ),
    "fibres": (
        admat.HolzapfelGasserOgden(
            **FIBRES, dispersion=0.1, kappa=20.0, volumetric=admat.logarithmic_volume
        ),
        7.0,
        20.0,
    ),
    "fibres_full": (
        admat.HolzapfelGasserOgden(**FIBRES, kappa=20.0, isochoric_fibres=False),
        7.0,
        20.0,
    ),
}
EYE = np.eye(3)


def deformations():
    """Rest; two and three equal stretches; nearly equal ones; large and rotated ones."""
    rng = np.random.default_rng(5)
    special = [EYE, 1.3 * EYE, np.diag([1.2, 1.2, 0.8]), np.diag([1.5, 0.7, 0.7])]
    special += [np.diag([1.2, 1.2 + 1e-9, 0.8]), np.diag([2.5, 0.6, 0.6 + 1e-6])]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    special += [turn @ F for F in special[1:4]]
    return np.concatenate([special, EYE + 0.2 * rng.normal(size=(8, 3, 3))])


F_ALL = deformations()
# Fibres switch on at rest and after a mere dilatation: no differences there.
OFF_SWITCH = np.delete(F_ALL, [0, 1, 6], axis=0)
P_F = ("first_piola_stress", "deformation_gradient")
P_P = ("first_piola_stress", "pressure")
C_F = ("volume_constraint", "deformation_gradient")


@pytest.fixture(params=LAWS)
def name(request):
    return request.param


@cache
def kernel(name, backend="native"):
    return BatchKernel(LAWS[name][0], backend=backend, chunk_size=64)


def gradients(name):
    return F_ALL if LAWS[name][0].isotropic else OFF_SWITCH


def stress(law, F):
    """By reverse mode, point by point, with no kernel."""
    return np.array(jax.jit(jax.vmap(jax.grad(law.energy)))(jnp.asarray(F)))


def rotation(rng):
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return Q * np.linalg.det(Q)


def test_rest_and_small_strain(name):
    _, mu, kappa = LAWS[name]
    found = batches.run(kernel(name), EYE[None])
    assert np.abs(found.outputs["first_piola_stress"]).max() <= 1e-13 * kappa
    hooke = (kappa - 2 / 3 * mu) * np.einsum("ij,kl->ijkl", EYE, EYE) + mu * (
        np.einsum("ik,jl->ijkl", EYE, EYE) + np.einsum("il,jk->ijkl", EYE, EYE)
    )
    np.testing.assert_allclose(found.tangent[P_F][0], hooke, atol=1e-12 * kappa)


def test_tangent_symmetry_and_objectivity(name, rng):
    law, F = LAWS[name][0], gradients(name)
    found = assert_tangent(kernel(name), {"deformation_gradient": F})
    A = found.tangent[P_F]
    assert np.abs(A - A.transpose(0, 3, 4, 1, 2)).max() <= 1e-12 * np.abs(A).max()
    P = found.outputs["first_piola_stress"]
    turned = lambda F: batches.run(kernel(name), F).outputs["first_piola_stress"]  # noqa: E731
    Q = rotation(rng)
    np.testing.assert_allclose(turned(Q @ F), Q @ P, atol=1e-11 * np.abs(P).max())
    tau = P @ F.transpose(0, 2, 1)
    np.testing.assert_allclose(tau, tau.transpose(0, 2, 1), atol=1e-12 * np.abs(tau).max())
    gap = np.abs(turned(F @ Q) - P @ Q).max() / np.abs(P).max()
    assert gap < 1e-11 if law.isotropic else gap > 1e-2


@pytest.mark.parametrize("name", ["mooney_rivlin", "ogden", "fibres"])
def test_backends_agree_also_on_inadmissible_points(name):
    wrong = [np.diag([1.0, 1.0, -1.0]), np.zeros((3, 3))]
    F = np.concatenate([F_ALL, wrong])
    native, xla = (batches.run(kernel(name, backend), F) for backend in ("native", "xla"))
    batches.assert_agree(native, xla)
    assert not native.status.code[:-2].any() and native.status.code[-2:].all()


@pytest.mark.parametrize("name", ["mooney_rivlin", "ogden", "fibres"])
def test_all_blocks_of_the_incompressible_law(name, rng):
    law, F = admat.Incompressible(LAWS[name][0], kappa=50.0), gradients(name)
    assert law.isotropic == LAWS[name][0].isotropic
    p = rng.normal(size=len(F))
    inputs = {"deformation_gradient": F, "pressure": p}
    found = assert_tangent(BatchKernel(law, backend="native", chunk_size=64), inputs)
    J = np.linalg.det(F)
    np.testing.assert_allclose(found.outputs["volume_constraint"], J - 1.0 - p / 50.0, atol=1e-13)
    np.testing.assert_allclose(found.tangent[P_P], found.tangent[C_F], atol=1e-13)
    cofactors = J[:, None, None] * np.linalg.inv(F).transpose(0, 2, 1)
    np.testing.assert_allclose(found.tangent[P_P], cofactors, atol=1e-12)
    np.testing.assert_allclose(found.tangent["volume_constraint", "pressure"], -1.0 / 50.0)
    if name == "mooney_rivlin":
        xla = batches.run(BatchKernel(law, backend="xla", chunk_size=64), inputs)
        batches.assert_agree(found, xla)


def test_incompressible_in_mixed_form_is_the_compressible_law():
    name, kappa = "mooney_rivlin", 20.0
    mixed = admat.Incompressible(LAWS[name][0], kappa=kappa)
    p = kappa * (np.linalg.det(F_ALL) - 1.0)
    inputs = {"deformation_gradient": F_ALL, "pressure": p}
    found, whole = batches.run(mixed, inputs), batches.run(kernel(name), F_ALL)
    assert np.abs(found.outputs["volume_constraint"]).max() < 1e-13
    P = whole.outputs["first_piola_stress"]
    np.testing.assert_allclose(found.outputs["first_piola_stress"], P, atol=1e-11)
    # With the pressure eliminated its tangent is that of the law.
    b, A = found.tangent[P_P], whole.tangent[P_F]
    condensed = found.tangent[P_F] + kappa * np.einsum("nij,nkl->nijkl", b, b)
    np.testing.assert_allclose(condensed, A, atol=1e-11 * np.abs(A).max())


def test_the_pressure_is_the_mean_stress():
    """For energies of J^(-1/3) F, and tension is positive."""
    law = admat.Incompressible(admat.Ogden(**OGDEN))
    F = np.diag([1.6, 1.1, 1.0 / 1.76])
    inputs = {"deformation_gradient": F, "pressure": 2.5}
    P = admat.evaluate_point(law, inputs).outputs["first_piola_stress"]
    assert float(np.sum(P * F)) / 3.0 == pytest.approx(2.5, rel=1e-12)


def test_ogden_contains_neo_hooke_and_mooney_rivlin():
    """Exponents 2 and -2 are I1 and I2; also where principal stretches coalesce."""
    for second in (0.0, 0.7):
        # Three terms, as the kernel that is there already.
        ogden = admat.Ogden([4.0, -2.0 * second, 0.0], [2.0, -2.0, 1.0], kappa=20.0,
                            volumetric=admat.simo_miehe_volume)  # fmt: skip
        ours = batches.run(BatchKernel(ogden, backend="native", chunk_size=64), F_ALL)
        theirs = admat.MooneyRivlin(2.0, second, kappa=20.0, volumetric=admat.simo_miehe_volume)
        batches.assert_agree(ours, batches.run(theirs, F_ALL), 1e-12)
    one = admat.Ogden(4.0, 2.0, kappa=20.0)  # one term, as a number
    F = F_ALL[8:9]
    np.testing.assert_allclose(stress(one, F), stress(admat.MooneyRivlin(2, 0, kappa=20.0), F))


def test_volumetric_functions():
    J = np.array([0.5, 0.9, 1.0, 1.4])
    F = np.cbrt(J)[:, None, None] * EYE
    pressures = {
        admat.quadratic_volume: J - 1.0,
        admat.logarithmic_volume: np.log(J) / J,
        admat.simo_miehe_volume: 0.5 * (J - 1.0 / J),
        lambda J: 0.25 * (J**2 - 1) ** 2 / 2: 0.5 * (J**2 - 1.0) * J,  # a user's own
    }
    for function, pressure in pressures.items():
        law = admat.MooneyRivlin(1.0, 0.0, kappa=3.0, volumetric=function)
        cauchy = stress(law, F)[:, 0, 0] * np.cbrt(J) / J
        np.testing.assert_allclose(cauchy, 3.0 * pressure, atol=1e-13)


def test_fibres_are_switched_off_in_compression_and_without_stiffness():
    alone = admat.MooneyRivlin(3.5, 0.0, kappa=20.0)
    one = {**FIBRES, "directions": [[2.0, 0.0, 0.0]]}
    law = admat.HolzapfelGasserOgden(**one, kappa=20.0)
    shortened = np.diag([0.8, 1.1, 1.1])
    np.testing.assert_allclose(stress(law, shortened[None]), stress(alone, shortened[None]))
    stretched = np.diag([1.2, 0.9, 0.9])
    difference = (stress(law, stretched[None]) - stress(alone, stretched[None]))[0]
    assert difference[0, 0] > 1.0
    soft = admat.HolzapfelGasserOgden(**(one | {"k1": 0.0}), kappa=20.0)
    np.testing.assert_allclose(stress(soft, F_ALL), stress(alone, F_ALL), atol=1e-12)


def test_full_dispersion_has_no_direction():
    """Dispersion 1/3: the energy of Demiray's isotropic solid, k1/(2 k2) exp(k2 (I1-3)^2/9)."""
    x, y = ([[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]])
    found = [
        stress(admat.HolzapfelGasserOgden(7.0, 9.0, 2.0, a, 1.0 / 3.0, kappa=20.0), F_ALL)
        for a in (x, y)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-11 * np.abs(found[0]).max())


def test_families_may_differ_and_be_fields():
    """One k1, k2 and dispersion per family; directions per point."""
    two = admat.HolzapfelGasserOgden(
        7.0, [9.0, 3.0], [2.0, 1.0], np.eye(3)[:2], [0.0, 0.2], kappa=20.0
    )
    none = admat.MooneyRivlin(3.5, 0.0, kappa=20.0)
    F = np.diag([1.2, 1.1, 0.7])[None]
    parts = [
        admat.HolzapfelGasserOgden(7.0, 9.0, 2.0, np.eye(3)[:1], kappa=20.0),
        admat.HolzapfelGasserOgden(7.0, 3.0, 1.0, np.eye(3)[1:2], 0.2, kappa=20.0),
    ]
    total = sum(stress(law, F) - stress(none, F) for law in parts) + stress(none, F)
    np.testing.assert_allclose(stress(two, F), total, rtol=1e-12, atol=1e-13)
    kernel = BatchKernel(two, point_parameters=("directions",))
    turned = np.stack([np.eye(3)[:2], np.eye(3)[[1, 0]]])
    P = batches.run(kernel, np.repeat(F, 2, axis=0), parameters={"directions": turned})
    P = P.outputs["first_piola_stress"]
    np.testing.assert_allclose(P[0], stress(two, F)[0], rtol=1e-12, atol=1e-13)
    assert np.abs(P[1] - P[0]).max() > 0.1


def test_a_law_of_the_users_own_may_be_incompressible():
    class Gent(admat.SplitHyperelastic):
        mu: float = 1.0
        limit: float = 30.0

        def isochoric_energy(self, F):
            F = F / jnp.cbrt(jnp.linalg.det(F))
            return -0.5 * self.mu * self.limit * jnp.log1p(-(jnp.sum(F * F) - 3.0) / self.limit)

    F = np.diag([2.0, 2.0**-0.5, 2.0**-0.5])
    inputs = {"deformation_gradient": F, "pressure": 0.0}
    P = admat.evaluate_point(admat.Incompressible(Gent()), inputs).outputs["first_piola_stress"]
    shear = 1.0 * 30.0 / (30.0 - (np.sum(F * F) - 3.0))
    tau = P @ F.T  # of which the pressure does not matter
    assert float(tau[0, 0] - tau[1, 1]) == pytest.approx(shear * (4.0 - 0.5), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: admat.MooneyRivlin(-1.0, 0.5), r"expected C10 \+ C01 > 0"),
        (lambda: admat.MooneyRivlin(1.0, 0.5, kappa=-1.0), "'kappa' is out of range"),
        (lambda: admat.Ogden([1.0], [-2.0]), "expected sum mu_p alpha_p > 0"),
        (lambda: admat.Ogden([1.0, 2.0], [2.0]), "one number per term each"),
        (lambda: admat.Ogden([1.0, 1.0], [2.0, 0.0]), "expected numbers that are not 0"),
        (lambda: admat.HolzapfelGasserOgden(1, 1, 1, [1.0, 0, 0]), r"shape \(families, 3\)"),
        (lambda: admat.HolzapfelGasserOgden(1, 1, 1, [[0.0, 0, 0]]), "vectors .* not 0"),
        (lambda: admat.HolzapfelGasserOgden(1, 1, 1, [[1.0, 0, 0]], 0.4), "'dispersion'"),
        (lambda: admat.Incompressible(admat.LinearElastic(1.0, 0.3)), "expected a law with an"),
        (lambda: admat.evaluate_point(admat.MooneyRivlin(1, 0), EYE), "no bulk modulus"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(admat.MaterialError, match=message):
        make()
