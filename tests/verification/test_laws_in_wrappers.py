"""check_tangent and audit of every law, and of laws in wrappers.

Every law by itself and every wrapper once; all laws in all wrappers with the marker ``full``.
"""

import pytest
from laws import LAWS, WRAPPERS

import dolfinx_admat as admat
from dolfinx_admat.laboratory import Outcome

#: Which law a wrapper gets when not all are asked for: each kind once, and quick to compile.
ONCE = {
    "plane stress": "transversely isotropic",
    "plane strain": "MooneyRivlin",
    "uniaxial stress": "J2PlasticityGeneral",
    "axisymmetry": "NeoHookean",
    "rotated": "Elastic",
    "logarithmic strain": "LinearElastic",
    "with energies": "Zener",
    "thermal expansion": "GeneralisedMaxwell",
    "temperature": "PerzynaViscoplasticity",
}


def check(law):
    report = admat.check_tangent(law, points=8, unrolled=False)
    assert report.passed, report
    found = admat.audit(law, points=6, both_backends=False, pullback=False)
    assert found.passed, found
    return report, found


@pytest.mark.parametrize("name", LAWS)
def test_law(name):
    law = LAWS[name]
    report, found = check(law)
    # What is declared was indeed looked at.
    if law.symmetric_tangent:
        assert report["symmetric_tangent"].outcome == Outcome.PASSED
    if law.isotropic:
        assert report["isotropic"].outcome == Outcome.PASSED
    if law.has_free_energy:
        assert found["dissipation"].outcome == Outcome.PASSED
    if "deformation_gradient" in law.inputs:
        assert found["objectivity"].outcome == Outcome.PASSED


@pytest.mark.parametrize(("wrapper", "name"), ONCE.items())
def test_wrapper(wrapper, name):
    check(WRAPPERS[wrapper](LAWS[name]))


def test_all_wrappers_are_here():
    assert set(ONCE) == set(WRAPPERS)


@pytest.mark.full
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", LAWS)
def test_law_in_wrapper(name, wrapper):
    if name == "Incompressible" and wrapper in ("plane stress", "uniaxial stress"):
        pytest.skip("the stress that vanishes depends on the pressure that is given")
    try:
        law = WRAPPERS[wrapper](LAWS[name])
    except admat.MaterialError as error:
        pytest.skip(f"does not fit: {error}")
    check(law)
