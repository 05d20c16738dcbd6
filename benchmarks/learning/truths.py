"""What is to be learned: laws whose answers are the data, and the models' sizes for each.

Three are members of the class that the learned law is taken from (a convex free energy, a convex
yield function or dissipation potential, associated flow): ``j2_mixed``, ``swift_norton`` and
``hosford``; their hardening and viscosity curves are not in the learned basis, and ``maxwell`` is
a member up to its time integration (the truth is exact for each step, the learned law is backward
Euler). Two are not: ``chaboche`` recovers back stresses dynamically, ``drucker_prager`` flows
without its yield function. ``treloar`` (module rubber) is nobody's law but rubber.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import dolfinx_admat as admat
from dolfinx_admat import learning

Make = Callable[[Any, int], Any]  # (sizes of the data, seed) -> law


class Truth(NamedTuple):
    """A law and the experiments that it is asked for. Units: MPa, s.

    Attributes:
        law: The truth.
        in_class: Whether it is a generalised standard material.
        amplitude: Size of the strain at the corners of a path.
        volume: Part of the mean strain that the paths keep, 0 to 1.
        rates: Strain rates of the paths (least, largest); None: rates do not matter.
        steps: Of a path.
        implicit: The learned law in the sizes that are tried.
        wrong: The classical law of the wrong family, a first guess.
        what: One line about the truth.
        wrong_what: One line about the wrong family.
    """

    law: Any
    in_class: bool
    amplitude: float
    volume: float
    rates: tuple[float, float] | None
    steps: int
    implicit: tuple[Make, ...]
    wrong: Any
    what: str
    wrong_what: str


def _plastic(**options: Any) -> Make:
    """Elastoplastic branches in parallel."""
    create = learning.LearnedElastoviscoplastic.create
    return lambda scales, seed: create(scales, seed=seed, **options)


def _viscoelastic(**options: Any) -> Make:
    create = learning.LearnedViscoelastic.create
    return lambda scales, seed: create(scales, seed=seed, **options)


def _von_mises(E: float, nu: float, hardening: Any, viscosity: Any = None) -> Any:
    elastic = admat.IsotropicElasticity(E, nu)
    return admat.Elastoviscoplastic(elastic, admat.VonMises(), hardening, viscosity=viscosity)


def _j2_mixed() -> Truth:
    return Truth(
        law=admat.Elastoviscoplastic(
            admat.IsotropicElasticity(210e3, 0.3),
            admat.VonMises(),
            admat.VoceHardening(sigma_y=250.0, Q=120.0, b=150.0),
            admat.Prager(15e3),
        ),
        in_class=True,
        amplitude=0.008,
        volume=0.3,
        rates=None,
        steps=40,
        implicit=(_plastic(branches=1),),
        wrong=_von_mises(200e3, 0.3, admat.LinearHardening(300.0, 2e3)),
        what="J2, Voce's isotropic and Prager's kinematic hardening",
        wrong_what="J2 with linear isotropic hardening",
    )


def _swift_norton() -> Truth:
    return Truth(
        law=_von_mises(
            70e3, 0.33, admat.SwiftHardening(K=500.0, eps_0=2e-3, n=0.2), admat.NortonFlow(200.0, 5)
        ),
        in_class=True,
        amplitude=0.012,
        volume=0.3,
        rates=(1e-4, 1e-2),
        steps=40,
        implicit=(_plastic(branches=1),),
        wrong=admat.Elastoviscoplastic(
            admat.IsotropicElasticity(70e3, 0.33),
            admat.VonMises(),
            viscosity=admat.NortonFlow(400.0, 8.0),
        ),
        what="viscoplastic: Swift's hardening, Norton's flow",
        wrong_what="Norton's creep without a threshold and hardening",
    )


def _hosford() -> Truth:
    return Truth(
        law=admat.Elastoviscoplastic(
            admat.IsotropicElasticity(70e3, 0.33),
            admat.Hosford(8),
            admat.SwiftHardening(K=450.0, eps_0=4e-3, n=0.25),
        ),
        in_class=True,
        amplitude=0.012,
        volume=0.3,
        rates=None,
        steps=40,
        implicit=(_plastic(branches=1, gauge="isotropic"),),
        wrong=_von_mises(70e3, 0.33, admat.LinearHardening(150.0, 1e3)),
        what="Hosford's yield function (exponent 8), Swift's hardening",
        wrong_what="J2 with linear hardening",
    )


def _maxwell() -> Truth:
    return Truth(
        law=admat.GeneralisedMaxwell(
            kappa=2000.0, mu=200.0, branch_mu=[300.0, 200.0, 150.0], tau=[0.5, 5.0, 50.0]
        ),
        in_class=True,
        amplitude=0.02,
        volume=0.3,
        rates=(5e-3, 5e-1),
        steps=40,
        implicit=(_viscoelastic(branches=3),),
        wrong=admat.Zener(
            admat.IsotropicElasticity(700.0, 0.4), admat.IsotropicElasticity(700.0, 0.4), 3.0
        ),
        what="generalised Maxwell, three branches",
        wrong_what="Zener's solid, one branch",
    )


def _chaboche() -> Truth:
    return Truth(
        law=admat.Elastoviscoplastic(
            admat.IsotropicElasticity(200e3, 0.3),
            admat.VonMises(),
            admat.VoceHardening(sigma_y=150.0, Q=60.0, b=20.0),
            (admat.ArmstrongFrederick(80e3, 800.0), admat.ArmstrongFrederick(15e3, 150.0)),
        ),
        in_class=False,
        amplitude=0.008,
        volume=0.3,
        rates=None,
        steps=40,
        implicit=(_plastic(branches=2), _plastic(branches=3)),
        wrong=_von_mises(200e3, 0.3, admat.VoceHardening(sigma_y=200.0, Q=100.0, b=50.0)),
        what="Chaboche: two back stresses with dynamic recovery, Voce's hardening",
        wrong_what="J2 with Voce's isotropic hardening",
    )


def _drucker_prager() -> Truth:
    return Truth(
        law=admat.Elastoviscoplastic(
            admat.IsotropicElasticity(20e3, 0.25),
            admat.DruckerPrager(0.4),
            admat.LinearHardening(60.0, 800.0),
            flow=admat.DruckerPrager(0.05),
        ),
        in_class=False,
        amplitude=0.012,
        volume=0.2,  # with more, paths reach the apex
        rates=None,
        steps=40,
        implicit=(_plastic(branches=1, gauge="isotropic", pressure=True),),
        wrong=_von_mises(20e3, 0.25, admat.LinearHardening(70.0, 500.0)),
        what="Drucker and Prager's cone, flow nearly without a change of volume",
        wrong_what="J2 with linear hardening",
    )


_TRUTHS = {
    "j2_mixed": _j2_mixed,
    "swift_norton": _swift_norton,
    "hosford": _hosford,
    "maxwell": _maxwell,
    "chaboche": _chaboche,
    "drucker_prager": _drucker_prager,
}
NAMES = tuple(_TRUTHS)


def truth(name: str) -> Truth:
    """By name; made on demand, since laws are made of JAX arrays."""
    return _TRUTHS[name]()
