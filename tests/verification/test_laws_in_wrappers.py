"""check_tangent and audit of every law, and of laws in wrappers.

Every law by itself and every wrapper once; then two wrappers at a time such that each kind of law
meets each wrapper and each wrapper meets each other one in either order, as far as they fit; all
laws in all wrappers with the marker ``full``.
"""

import itertools
import re

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


#: What a law may say when a wrapper does not fit; anything else is a mistake.
DOES_NOT_FIT = "does not fit|no free energy|does not rotate|names which the wrapper needs"
#: Laws of each kind: linear, rate-dependent, with recovery, not associated, by potentials, finite.
KINDS = (
    "transversely isotropic",
    "J2PlasticityGeneral",
    "PerzynaViscoplasticity",
    "Zener",
    "Drucker-Prager, not associated",
    "Chaboche",
    "generalised standard",
    "MooneyRivlin",
    "FeFpJ2",
)


def wrapped(*wrappers, name):
    """The law in these wrappers, the first one innermost; None where one does not fit."""
    law = LAWS[name]
    for wrapper in wrappers:
        try:
            law = WRAPPERS[wrapper](law)
        except admat.MaterialError as error:
            if not re.search(DOES_NOT_FIT, str(error)):
                raise
            return None
    return law


def pairwise():
    """Few (law, inner, outer) that have every pair that fits."""
    fitting = [
        case
        for case in itertools.product(KINDS, WRAPPERS, WRAPPERS)
        if case[1] != case[2] and wrapped(*case[1:], name=case[0]) is not None
    ]

    def pairs(case):
        name, inner, outer = case
        return {(name, inner), (name, outer), (inner, outer)}

    left, chosen = set().union(*map(pairs, fitting)), []
    while left:
        best = max(fitting, key=lambda case: len(pairs(case) & left))
        chosen.append(best)
        left -= pairs(best)
    return chosen


@pytest.mark.parametrize(("name", "inner", "outer"), pairwise())
def test_two_wrappers(name, inner, outer):
    report = admat.check_tangent(wrapped(inner, outer, name=name), points=4, unrolled=False)
    assert report.passed, report


@pytest.mark.full
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", LAWS)
def test_law_in_wrapper(name, wrapper):
    if name == "Incompressible" and wrapper in ("plane stress", "uniaxial stress"):
        pytest.skip("the stress that vanishes depends on the pressure that is given")
    law = wrapped(wrapper, name=name)
    if law is None:
        pytest.skip("does not fit")
    check(law)
