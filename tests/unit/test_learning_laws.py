"""Learned laws: tangents, audits, gradients of weights, and laws that were not written as such."""

import subprocess
import sys

import batches
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learned import disturbed

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, learning, load_law, save_law
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.laboratory import Path, check_tangent, drive, path_response, recorded_steps
from dolfinx_admat.learning import LearnedElastoviscoplastic, LearnedViscoelastic
from dolfinx_admat.learning._part import inverse_positive, weight_names
from dolfinx_admat.materials._declare import leaf_name

E, NU, SIGMA_Y = 210e3, 0.3, 250.0
STEEL = learning.Scales(E, NU, 400.0, 0.02)
RATES = learning.Scales(E, NU, 400.0, 0.02, rates=(1e-4, 1.0))
HOOKE, VOCE = admat.IsotropicElasticity(E, NU), admat.VoceHardening(SIGMA_Y, 100.0, 20.0, 1000.0)


def hybrid(gauge):
    hardening = learning.LearnedHardening.create(yield_stress=SIGMA_Y, strain=0.02)
    return admat.Elastoviscoplastic(HOOKE, gauge.create(seed=2), hardening)


MADE = {
    "one branch": lambda: LearnedElastoviscoplastic.create(STEEL, branches=1),
    "two viscous branches": lambda: LearnedElastoviscoplastic.create(RATES, branches=2),
    "viscoelastic": lambda: LearnedViscoelastic.create(RATES, branches=1, terms=2),
    "hybrid, anisotropic": lambda: hybrid(learning.AnisotropicGauge),
    "three branches": lambda: LearnedElastoviscoplastic.create(STEEL, branches=3),
    "isotropic": lambda: LearnedElastoviscoplastic.create(STEEL, branches=1, gauge="isotropic"),
    "pressure": lambda: LearnedElastoviscoplastic.create(
        STEEL, branches=1, gauge="isotropic", pressure=True
    ),
    "anisotropic, viscous": lambda: LearnedElastoviscoplastic.create(
        RATES, branches=1, gauge="anisotropic"
    ),
    "networks": lambda: LearnedViscoelastic.create(RATES, branches=1, nonlinear=True),
    "hybrid, isotropic": lambda: hybrid(learning.IsotropicGauge),
    "rubber": lambda: learning.LearnedHyperelastic.create(
        stress=0.4, kappa=20.0, directions=[[1.0, 1.0, 0.0]]
    ),
}
#: Which are tested always; the others take minutes to compile.
QUICK = list(MADE)[:4]
NAMES = [n if n in QUICK else pytest.param(n, marks=pytest.mark.full) for n in MADE]
#: On large networks no C is generated: too many operations per point.
ON_XLA = {"networks"}


def law_of(name, seed=0, size=0.0):
    return disturbed(MADE[name](), seed, size)


def strains(points=64, largest=1.2e-2, seed=0):
    """From elastic ones to ten times the yield strain (1.2e-3), each in one step."""
    rng = np.random.default_rng(seed)
    strain = rng.standard_normal((points, 6))
    size = np.geomspace(1e-2, 1.0, points)[:, None] * largest
    return size * strain / np.linalg.norm(strain, axis=1, keepdims=True)


def inputs_of(law, **more):
    if "strain" in law.inputs:
        return {"strain": strains(**more)}
    return {
        "deformation_gradient": np.eye(3) + 0.2 * np.random.default_rng(0).normal(size=(64, 3, 3))
    }


def some(*quick):
    """These laws always, the others with the mark ``full``."""
    return [n if n in quick else pytest.param(n, marks=pytest.mark.full) for n in MADE]


def _served(case):
    return (case if isinstance(case, str) else case.values[0]) not in ON_XLA


#: The derivative through the iterations takes long to compile, so by default of one law.
TANGENTS = [(n, n == "one branch") for n in QUICK] + [
    pytest.param(n, True, marks=pytest.mark.full) for n in MADE if n != "one branch"
]


@pytest.mark.parametrize("name, unrolled", TANGENTS)
def test_tangent(name, unrolled):
    """Against differences and the derivative through the iterations; and where C serves."""
    law = law_of(name, 1, 0.3)
    assert BatchKernel(law).backend == "native"  # tried first
    report = check_tangent(law, points=4, unrolled=unrolled)
    assert report.passed, report
    assert report.backend == ("xla" if name in ON_XLA else "native")


@pytest.mark.parametrize("name", NAMES)
def test_audit(name):
    """As made, and with weights that no one has looked at."""
    for seed, size in ((0, 0.0), (3, 0.7)):
        report = admat.audit(
            law_of(name, seed, size), points=6, both_backends=False, pullback=False
        )
        assert report.passed, report
        found = {f.name: f.outcome.name for f in report.findings}
        if name != "rubber":
            assert found["dissipation"] == "PASSED", report
        else:
            assert found["ellipticity"] == "PASSED", report
        assert found["convexity"] == "PASSED" or name in ("viscoelastic", "rubber"), report


@pytest.mark.parametrize("name", NAMES)
def test_large_steps_converge(name):
    """Ten times the yield strain in one step, and back."""
    kernel = BatchKernel(law_of(name))
    failed = most = 0
    for seed in range(3):
        inputs = inputs_of(kernel.material, seed=seed)
        for dt in (1e-3, 1.0, 1e3) if kernel.material.rate_dependent else (1.0,):
            first = batches.run(kernel, inputs, None, dt, tangent=True)
            second = batches.run(kernel, {n: -v if n == "strain" else v for n, v in inputs.items()},
                                 first.state, dt, tangent=True)  # fmt: skip
            failed += int(np.sum(first.status.code != 0) + np.sum(second.status.code != 0))
            most = max(most, first.status.iterations.max(), second.status.iterations.max())
    assert failed == 0
    assert most <= 25


@pytest.mark.parametrize("name", [n for n in some("one branch") if _served(n)])
def test_both_backends(name):
    law = law_of(name, 2, 0.3)
    inputs, dt = inputs_of(law), 0.1
    batches.assert_agree(*batches.both(law, inputs, None, dt))


@pytest.mark.parametrize(
    "name, unrolled",
    # Through the iterations of one branch only: of several it takes ten minutes to compile.
    [("one branch", False)]
    + [pytest.param(n, n == "one branch", marks=pytest.mark.full) for n in MADE],
)
def test_gradient_of_every_weight(name, unrolled):
    """Of a path with unloading, against central differences and the unrolled iterations."""
    law = law_of(name, 4, 0.3)
    if "strain" in law.inputs:
        path = Path().ramp({"strain_xx": 0.006, "strain_xy": 0.004, "strain_yy": 0.0}, time=1.0,
                           steps=2).ramp({"strain_xx": -0.002}, time=0.5, steps=2)  # fmt: skip
        out = "stress"
    else:
        at = "deformation_gradient_"
        path, out = Path().ramp({at + "xx": 1.3, at + "yy": 0.9}, steps=2), "first_piola_stress"
    steps = recorded_steps(drive(law, path))
    names = weight_names(law)

    def loss(law, tangent=None):
        found = path_response(law, steps, tangent)
        return jnp.sum(found.outputs[out] ** 2), found.status

    value = eqx.filter_jit(loss)
    slope = eqx.filter_jit(eqx.filter_grad(lambda law, t=None: loss(law, t)[0]))
    found = slope(law)
    size = float(value(law)[0])
    assert not value(law)[1].any() and size > 0.0
    leaves, tree = jax.tree_util.tree_flatten_with_path(law)
    slopes = jax.tree.leaves(found)
    through = slopes
    if unrolled and hasattr(law, "solver"):  # slow to compile
        unrolled = eqx.filter_jit(eqx.filter_grad(lambda law: loss(law, "unrolled")[0]))
        through = jax.tree.leaves(unrolled(law))
    checked = moving = 0
    for k, (where, leaf) in enumerate(leaves):
        if leaf_name(where) not in names:
            continue
        scale = np.abs(slopes[k]).max()
        np.testing.assert_allclose(through[k], slopes[k], atol=1e-9 * max(scale, 1e-6 * size))
        for place in np.ndindex(leaf.shape):
            ends = []
            for h in (1e-5, -1e-5):
                moved = [v for _, v in leaves]
                moved[k] = leaf.at[place].add(h)
                ends.append(float(value(jax.tree.unflatten(tree, moved))[0]))
            by_difference = (ends[0] - ends[1]) / 2e-5
            # h^2 times the third derivative; 1e-13 / h of round-off and of the local solves.
            assert float(slopes[k][place]) == pytest.approx(
                by_difference, rel=1e-6, abs=3e-8 * size
            ), (where, place)
            checked += 1
            moving += float(slopes[k][place]) != 0.0
    assert checked == sum(v.size for w, v in leaves if leaf_name(w) in names) > 5
    assert moving >= 0.9 * checked  # none is dead at the start


# -- Laws that were not written as learned ones -------------------------------------------------


def agree(ours, theirs, dt=None, tol=1e-10):
    """Two steps, the second of which unloads a part: stress and tangent."""
    kernels = BatchKernel(ours), BatchKernel(theirs)
    states = [None, None]
    for factor in (1.0, np.where(np.arange(64) % 3 == 0, 0.3, -1.5)[:, None]):
        found = [
            batches.run(k, factor * strains(), s, dt) for k, s in zip(kernels, states, strict=True)
        ]
        assert not found[0].status.code.any() and 0.2 < found[1].status.active.mean() <= 1.0
        for part in ("outputs", "tangent"):
            for name, value in getattr(found[1], part).items():
                assert batches.error(getattr(found[0], part)[name], value) <= tol, name
        states = [f.state for f in found]
    return found


def test_one_classical_branch_is_j2_plasticity():
    law = LearnedElastoviscoplastic(learning.PlasticBranch(HOOKE, admat.VonMises(), VOCE))
    assert weight_names(law) == set() and law.isotropic and not law.rate_dependent
    ours, theirs = agree(law, admat.J2Plasticity(E, NU, VOCE))
    np.testing.assert_allclose(
        ours.state["equivalent_plastic_strain"][:, 0], theirs.state["equivalent_plastic_strain"],
        atol=1e-13,
    )  # fmt: skip
    np.testing.assert_allclose(
        ours.state["plastic_strain"][:, 0], theirs.state["plastic_strain"], atol=1e-13
    )


def test_a_branch_and_a_spring_are_kinematic_hardening():
    """Both springs of the same Poisson ratio, shear moduli G = G0 + G1, s the deviator.

    s = 2 G0 e + 2 G1 (e - alpha) = 2 G (e - ep) with the plastic strain ep = (G1/G) alpha. The
    force of alpha, 2 G1 (e - alpha), is (G1/G) (s - X) with X = 2 G (G0/G1) ep, which is Prager's
    2/3 C ep with C = 3 G G0/G1. It yields at R(p1), p1 = (G/G1) p, so s - X at (G/G1) R.
    """
    share = 0.8
    springs = [admat.IsotropicElasticity(part * E, NU) for part in (share, 1.0 - share)]
    branch = learning.PlasticBranch(springs[0], admat.VonMises(), VOCE)
    law = LearnedElastoviscoplastic(branch, springs[1])
    G = E / (2.0 * (1.0 + NU))
    ratio = 1.0 / share
    hardening = admat.VoceHardening(ratio * SIGMA_Y, ratio * 100.0, ratio * 20.0, ratio**2 * 1000.0)
    prager = admat.Prager(3.0 * G * (1.0 - share) / share)
    agree(law, admat.Elastoviscoplastic(HOOKE, admat.VonMises(), hardening, (prager,)))


def slow_curve(slope):
    """A line: the sigmoids have no weight."""
    return learning.MonotoneCurve(
        jnp.asarray(inverse_positive([1e-13])), jnp.zeros(1), jnp.asarray(inverse_positive(slope)),
        1.0, 1.0,
    )  # fmt: skip


def test_linear_parts_are_maxwells_element():
    """Backward Euler in closed form, deviator and trace each with a time of their own."""
    tau, tau_v, dt = 0.7, 2.0, 0.25
    G, K = E / (2.0 * (1.0 + NU)), E / (3.0 * (1.0 - 2.0 * NU))
    # The slope is 2 G tau d and K tau_v t.
    dashpot = learning.RadialPotential(slow_curve(2.0 * G * tau), slow_curve(K * tau_v))
    law = LearnedViscoelastic(learning.MaxwellBranch(HOOKE, dashpot), HOOKE)
    kernel, state = BatchKernel(law), None
    d, t = np.zeros((64, 6)), np.zeros((64, 1))
    one = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    for factor in (1.0, -0.5, 0.2):
        strain = factor * strains()
        found = batches.run(kernel, strain, state, dt)
        state = found.state
        trace = strain[:, :3].sum(axis=1, keepdims=True)
        dev = strain - trace / 3.0 * one
        d = (d + dt / tau * dev) / (1.0 + dt / tau)
        t = (t + dt / tau_v * trace) / (1.0 + dt / tau_v)
        stress = 2.0 * G * (2.0 * dev - d) + K * (2.0 * trace - t) * one
        assert not found.status.code.any()
        assert batches.error(found.outputs["stress"], stress) <= 1e-10
        assert batches.error(state["viscous_strain"][:, 0], d + t / 3.0 * one) <= 1e-10


class TestRates:
    def test_no_time_no_flow(self):
        for name in ("two viscous branches", "viscoelastic"):
            law = law_of(name, 1, 0.3)
            found = batches.run(law, strains(), None, 0.0)
            assert not found.status.code.any()
            springs = [
                law.spring,
                *(getattr(b, "elasticity", None) or b.spring for b in law.branches),
            ]
            stress = sum(np.asarray(jax.vmap(s.stress)(strains())) for s in springs)
            assert batches.error(found.outputs["stress"], stress) <= 1e-12
            assert all((value == 0.0).all() for value in found.state.values())

    def test_slow_loading_is_rate_independent(self):
        """The overstress of a rate r far below the scales is its initial slope times r."""
        law = law_of("two viscous branches", 1, 0.3)
        inviscid = eqx.tree_at(
            lambda m: [b.viscosity for b in m.branches], law, [None, None],
            is_leaf=lambda v: v is None,
        )  # fmt: skip
        assert law.rate_dependent and not inviscid.rate_dependent
        wanted = batches.run(inviscid, strains(), None, 1.0)
        errors = []
        for dt in (1e5, 1e7, 1e9):
            found = batches.run(law, strains(), None, dt)
            gap = np.abs(found.outputs["stress"] - wanted.outputs["stress"]).max()
            rate = 2.0 * strains().max() / dt
            over = sum(float(b.viscosity.overstress(jnp.asarray(rate))) for b in law.branches)
            assert not found.status.code.any() and gap <= 2.0 * over + 1e-9 * SIGMA_Y
            errors.append(gap)
        assert errors[1] <= 0.05 * errors[0] and errors[2] <= 1e-4 * SIGMA_Y
        fast = batches.run(law, strains(), None, 1e-3)
        assert np.abs(fast.outputs["stress"] - wanted.outputs["stress"]).max() > 10.0


# -- Files and mistakes -------------------------------------------------------------------------


def test_files_come_back_in_a_process_that_knows_nothing(tmp_path):
    """Bit for bit, in a process that imports only the library."""
    for k, name in enumerate(MADE):
        law = law_of(name, k, 0.5)
        file = save_law(tmp_path / f"{k}.json", law)
        assert eqx.tree_equal(load_law(file), law, typematch=True)
    read = (
        "import sys, dolfinx_admat as admat\n"
        "for name in sys.argv[1:]:\n"
        "    admat.save_law(name + '.again', admat.load_law(name))\n"
    )
    files = [str(tmp_path / f"{k}.json") for k in range(len(MADE))]
    subprocess.run([sys.executable, "-c", read, *files], check=True, timeout=300)
    for file in files:
        first, again = (admat.load_law(f) for f in (file, file + ".again"))
        assert eqx.tree_equal(first, again, typematch=True)


def test_mistakes():
    curve = learning.MonotoneCurve.create(x=1.0, y=1.0)
    hardening = learning.LearnedHardening.create(yield_stress=1.0, strain=0.1)
    mises, branch = admat.VonMises(), learning.PlasticBranch(HOOKE, admat.VonMises(), hardening)
    element = learning.MaxwellBranch(HOOKE, HOOKE)

    class Stress(admat.Parameters):
        def __call__(self, stress):
            return stress[0]

    class Half(admat.Parameters):
        def __call__(self, p):
            return 1.0 + p

    for make, message in (
        (
            lambda: learning.PlasticBranch(mises, mises, VOCE),
            "elasticity must have an energy; got V",
        ),
        (lambda: learning.PlasticBranch(HOOKE, HOOKE, VOCE), "yield_function is missing or not ca"),
        (lambda: learning.PlasticBranch(HOOKE, Stress(), VOCE), "must declare that it is convex"),
        (lambda: learning.PlasticBranch(HOOKE, mises, mises), "hardening failed for arguments"),
        (
            lambda: learning.PlasticBranch(HOOKE, mises, Half()),
            "hardening.stored_energy is missing",
        ),
        (lambda: learning.PlasticBranch(HOOKE, mises, VOCE, curve), "viscosity.overstress is mis"),
        (lambda: LearnedElastoviscoplastic(()), r"expected one or more branches; got \(\)"),
        (lambda: LearnedElastoviscoplastic((element,)), "must be PlasticBranches; got MaxwellB"),
        (lambda: LearnedElastoviscoplastic(branch, mises), "spring must have an energy; got VonM"),
        (lambda: learning.MaxwellBranch(HOOKE, mises), "dashpot must have an energy; got VonMises"),
        (lambda: LearnedViscoelastic((branch,)), "must be MaxwellBranches; got PlasticBranch"),
        (lambda: LearnedViscoelastic(element, 3.0), "spring must have an energy; got float"),
        (
            lambda: LearnedElastoviscoplastic(branch, solver="x"),
            "LearnedElastoviscoplastic: solver must be a LocalNewton; got 'x'",
        ),
        (lambda: LearnedElastoviscoplastic(branch, solver=None), "a LocalNewton; got None"),
        (lambda: LearnedElastoviscoplastic(branch, solver=-1), "a LocalNewton; got -1"),
        (lambda: LearnedViscoelastic(element, solver=-1), "a LocalNewton; got -1"),
        (
            lambda: learning.LearnedViscosity.create(rates=None, overstress=1.0),
            "LearnedViscosity.create: rates must be .* two numbers > 0; got None",
        ),
        (
            lambda: learning.LearnedViscosity.create(rates=1.0, overstress=1.0),
            r"rates must be \(least, largest\), two numbers > 0; got 1.0",
        ),
        (
            lambda: learning.LearnedHardening.create(yield_stress=1.0, strain="a"),
            "LearnedHardening.create: strain must be a number > 0, or two .* got 'a'",
        ),
        (
            lambda: learning.LearnedHardening.create(yield_stress=1.0, strain=0.1, hardening="a"),
            "hardening must be a number > 0; got 'a'",
        ),
        (lambda: LearnedViscoelastic.create(STEEL), "no rates; give Scales"),
        (lambda: LearnedElastoviscoplastic.create(STEEL, viscous=True), "a viscosity needs rates"),
        (lambda: LearnedElastoviscoplastic.create(STEEL, branches=0), "whole number >= 1; got 0"),
        (
            lambda: LearnedElastoviscoplastic.create(STEEL, gauge="Hill"),
            "gauge must be 'von Mises'",
        ),
        (lambda: learning.LearnedHardening(jnp.zeros(()), mises, 1.0), "expected a MonotoneCurve"),
        (lambda: learning.LearnedHardening(jnp.zeros(2), curve, 1.0), r"yield_stress: .*\(2,\)"),
        (lambda: learning.LearnedViscosity(mises), "expected a MonotoneCurve; got VonMises"),
    ):
        with pytest.raises(MaterialError, match=message):
            make()


@pytest.mark.parametrize("law", [LearnedElastoviscoplastic, LearnedViscoelastic])
def test_mistakes_in_create(law):
    for scales in (None, {}):
        with pytest.raises(MaterialError, match=r"create: scales must be Scales, e\.g\. .* got"):
            law.create(scales)
    flag = "pressure" if law is LearnedElastoviscoplastic else "nonlinear"
    for wrong, message in (
        ({"branches": True}, "branches must be a whole number >= 1; got True"),
        ({"terms": 0}, "terms must be a whole number >= 1; got 0"),
        ({flag: "x"}, f"{flag} must be True or False; got 'x'"),
        ({"seed": -1}, "seed must be a whole number >= 0; got -1"),
        ({"seed": None}, "seed must be a whole number >= 0; got None"),
        ({"seed": "a"}, "seed must be a whole number >= 0; got 'a'"),
    ):
        with pytest.raises(MaterialError, match=f"{law.__name__}.create: {message}"):
            law.create(RATES, **wrong)


def test_seeds_of_parts():
    for make in (
        lambda seed: learning.MonotoneCurve.create(x=1.0, y=1.0, seed=seed),
        lambda seed: learning.LearnedHardening.create(yield_stress=1.0, strain=0.1, seed=seed),
        lambda seed: learning.LearnedViscosity.create(rates=(0.1, 1.0), overstress=1.0, seed=seed),
    ):
        for good in (None, 0, np.int64(3), (1, 2), [0]):
            assert make(good) is not None
        for wrong in (-1, "a", True, 1.0, (1, -1), (1, None), ()):
            with pytest.raises(MaterialError, match=r"create: seed must be .* a tuple of such, or"):
                make(wrong)
