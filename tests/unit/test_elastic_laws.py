"""Elastic parts: published stiffnesses, admissible constants, energy, backends."""

import batches
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.materials.parameters import check_parameters

# Graphite/epoxy T300/5208, GPa; the last two belong to the plane that no source measures.
PLY = {"E1": 181.0, "E2": 10.3, "nu12": 0.28, "nu23": 0.4, "G12": 7.17}
# Human femoral bone, GPa: axes radial, circumferential, longitudinal.
BONE = {"E1": 12.0, "E2": 13.4, "E3": 20.0, "nu12": 0.376, "nu13": 0.222, "nu23": 0.235}
BONE |= {"G12": 4.53, "G13": 5.61, "G23": 6.23}
PARTS = {
    "isotropic": admat.IsotropicElasticity(10.0, 0.3),
    "transversely_isotropic": admat.TransverselyIsotropicElasticity(**PLY),
    "orthotropic": admat.OrthotropicElasticity(**BONE),
}


@pytest.fixture(params=PARTS)
def part(request):
    return PARTS[request.param]


def stiffness(part):
    return np.array(jax.jacfwd(part.stress)(np.zeros(6)))


def test_stiffness_is_symmetric_and_positive_and_has_the_energy(part, rng):
    C = stiffness(part)
    np.testing.assert_allclose(C, C.T, atol=1e-13 * np.abs(C).max())
    assert np.linalg.eigvalsh(C).min() > 0.0
    strain = rng.normal(size=6)
    assert part.energy(strain) == pytest.approx(0.5 * strain @ C @ strain, rel=1e-13)
    np.testing.assert_allclose(jax.grad(part.energy)(strain), C @ strain, rtol=1e-12)


def test_law_of_a_part_on_both_backends(part, rng):
    law, strain = admat.Elastic(part), rng.normal(size=(7, 6))
    native, xla = batches.both(law, strain)
    batches.assert_agree(native, xla)
    C = stiffness(part)
    np.testing.assert_allclose(native.outputs["stress"], strain @ C, rtol=0, atol=1e-11)
    np.testing.assert_allclose(native.tangent["stress", "strain"][3], C, atol=1e-12 * C.max())
    assert law.isotropic == (part is PARTS["isotropic"])
    assert law.linear_when_elastic and law.symmetric_tangent and law.has_free_energy


def test_published_stiffness_of_a_ply(verified):
    """S.W. Tsai, H.T. Hahn, Introduction to Composite Materials, 1980 (GPa)."""
    kernel = BatchKernel(admat.PlaneStress(admat.Elastic(PARTS["transversely_isotropic"])))
    Q = batches.run(kernel, np.zeros((1, 3))).tangent["stress", "strain"][0]
    published = np.array([[181.8, 2.897, 0.0], [2.897, 10.34, 0.0], [0.0, 0.0, 2 * 7.17]])
    verified(
        law="Elastic(TransverselyIsotropicElasticity)",
        hypotheses="plane stress",
        against="reduced stiffness of T300/5208 (Tsai and Hahn 1980)",
        error=np.abs(Q / np.where(published, published, 1.0) - (published != 0)).max(),
        tolerance=7e-4,  # the published numbers have four digits, and 10.346 is cut to 10.34
    )


def test_published_stiffness_of_bone(verified):
    """R.B. Ashman et al., J. Biomech. 17 (1984) 349-361: constants and stiffness (GPa)."""
    C = stiffness(PARTS["orthotropic"])
    published = np.array([[18.0, 9.98, 10.1], [9.98, 20.2, 10.7], [10.1, 10.7, 27.6]])
    verified(
        law="Elastic(OrthotropicElasticity)",
        hypotheses="3D",
        against="stiffness of human femoral bone (Ashman et al. 1984)",
        error=np.abs(C[:3, :3] / published - 1.0).max(),
        tolerance=7e-3,  # three digits of the ratios, amplified by the inversion
    )
    np.testing.assert_allclose(np.diag(C)[3:], 2.0 * np.array([4.53, 5.61, 6.23]), rtol=1e-14)


def test_tension_gives_the_engineering_constants():
    S = np.linalg.inv(stiffness(PARTS["orthotropic"]))
    assert 1.0 / S[0, 0] == pytest.approx(12.0, rel=1e-13)
    assert -S[1, 0] / S[0, 0] == pytest.approx(0.376, rel=1e-13)  # pulled along x
    assert -S[2, 1] / S[1, 1] == pytest.approx(0.235, rel=1e-13)  # pulled along y


def test_special_cases_of_the_orthotropic_part():
    E2, nu23 = PLY["E2"], PLY["nu23"]
    constants = PLY | {"E3": E2, "nu13": PLY["nu12"], "G13": PLY["G12"]}
    same = admat.OrthotropicElasticity(**constants, G23=E2 / (2.0 * (1.0 + nu23)))
    C = stiffness(PARTS["transversely_isotropic"])
    np.testing.assert_allclose(stiffness(same), C, rtol=1e-13, atol=1e-12)
    # Turned about its axis, it stays as it is.
    c, s = np.cos(0.7), np.sin(0.7)
    R = admat.tensors.mandel_rotation(np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]]))
    np.testing.assert_allclose(R @ C @ R.T, C, atol=1e-13 * C.max())
    isotropic = admat.TransverselyIsotropicElasticity(10.0, 10.0, 0.3, 0.3, 10.0 / 2.6)
    np.testing.assert_allclose(stiffness(isotropic), stiffness(PARTS["isotropic"]), atol=1e-13)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"E1": -1.0}, "parameter 'E1' is out of range"),
        ({"G23": 0.0}, "parameter 'G23' is out of range"),
        ({"nu12": 0.95}, "expected nu12\\^2 < E1/E2"),
        ({"nu12": 0.9, "nu13": 0.5, "nu23": 0.5}, "expected 1 - nu12 nu21"),
        ({"nu13": np.nan}, "parameter 'nu13' is NaN"),
    ],
)
def test_inadmissible_constants(wrong, message):
    with pytest.raises(admat.MaterialError, match=message):
        admat.OrthotropicElasticity(**(BONE | wrong))


def test_inadmissible_transversely_isotropic_constants():
    with pytest.raises(admat.MaterialError, match=r"expected 2 nu12\^2 < \(1 - nu23\) E1/E2"):
        admat.TransverselyIsotropicElasticity(**(PLY | {"E1": 2.0}))
    with pytest.raises(admat.MaterialError, match="parameter 'nu23' is out of range"):
        admat.TransverselyIsotropicElasticity(**(PLY | {"nu23": 1.0}))


def test_constants_under_transformation_are_not_checked():
    def stress(nu12):
        return admat.OrthotropicElasticity(**(BONE | {"nu12": nu12})).stress(np.ones(6))[0]

    slope = float(stress(0.376 + 1e-6) - stress(0.376 - 1e-6)) / 2e-6
    assert jax.jit(jax.grad(stress))(0.376) == pytest.approx(slope, rel=1e-8)


def test_constants_per_point_are_checked_together():
    law = admat.Elastic(PARTS["orthotropic"])
    check_parameters(law, {"elasticity.nu12": np.array([0.1, 0.3])})
    with pytest.raises(admat.MaterialError, match="fit together: expected nu12"):
        check_parameters(law, {"elasticity.nu12": np.array([0.1, 0.95])})


def test_a_function_is_an_elastic_part():
    law = admat.Elastic(lambda strain: 3.0 * strain)
    stress = admat.evaluate_point(law, np.arange(6.0)).outputs["stress"]
    np.testing.assert_array_equal(stress, 3.0 * np.arange(6.0))
    assert not (law.symmetric_tangent or law.has_free_energy)  # it does not say so
    with pytest.raises(admat.MaterialError, match=r"elasticity.stress returns \(3,\)"):
        admat.Elastic(lambda strain: strain[:3])


def test_a_part_that_is_not_linear_must_say_so():
    class Stiffening(admat.Elasticity):
        E: float

        def stress(self, elastic_strain):
            return self.E * (1.0 + elastic_strain @ elastic_strain) * elastic_strain

    class Turning(admat.Elasticity):
        """Linear, and without an energy."""

        def stress(self, elastic_strain):
            return jnp.roll(elastic_strain, 1)

    for make in (lambda: Stiffening(1.0), Turning):
        with pytest.raises(admat.MaterialError, match=r"not linear.*set `linear = False`"):
            make()

    class Honest(Stiffening):
        linear = False

    law = admat.Elastic(Honest(1.0))
    assert not (law.linear_when_elastic or law.has_free_energy or law.symmetric_tangent)
