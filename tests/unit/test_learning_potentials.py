"""Learned potentials, energies and yield functions: what each claims, with weights of any size."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learned import disturbed, turn

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, evaluate_point, learning
from dolfinx_admat.learning._part import inverse_positive, positive
from dolfinx_admat.learning.hyperelastic import sum_of_stretches
from dolfinx_admat.tensors import DEVIATORIC, from_mandel, to_mandel

FIBRE = np.array([1.0, 2.0, -1.0]) / np.sqrt(6.0)
X_UNIT, Y_UNIT = 0.02, 300.0
SIZE = 1.0  # of the random change of all weights

ROWS = 200


@jax.jit
def _derivatives(part, x):
    f = getattr(part, "energy", part)
    return jax.vmap(f)(x), jax.vmap(jax.grad(f))(x), jax.vmap(jax.hessian(f))(x)


def derivatives(part, x):
    """Values, slopes and second derivatives at x (n, 6); compiled once for a kind of part."""
    padded = np.zeros((ROWS, 6))
    padded[: len(x)] = x
    return [np.asarray(found)[: len(x)] for found in _derivatives(part, padded)]


def values(part, x):
    return derivatives(part, x)[0]


def slopes(part, x):
    return derivatives(part, x)[1]


def potential(kind):
    if kind == "radial":
        curves = [
            learning.MonotoneCurve.create(x=X_UNIT, y=Y_UNIT, linear=linear)
            for linear in (True, False)
        ]
        return learning.RadialPotential(*curves)
    create = functools.partial(
        learning.NetworkPotential.create, x_unit=X_UNIT, y_unit=Y_UNIT, seed=1
    )
    if kind == "isotropic":
        return create()
    return create(directions=[FIBRE]) if kind == "fibre" else create(components=True)


KINDS = ("radial", "isotropic", "fibre", "components")


def tensors(count, size=X_UNIT, seed=0):
    rng = np.random.default_rng(seed)
    return size * rng.standard_normal((count, 6)) * 10.0 ** rng.uniform(-2, 1, (count, 1))


def turned(rotation, x):
    """Q x Q^T of Mandel vectors."""
    there = lambda v: to_mandel(rotation @ from_mandel(v) @ rotation.T)  # noqa: E731
    return np.asarray(jax.vmap(there)(jnp.asarray(x)))


def rotations(count, seed=0):
    rng = np.random.default_rng(seed)
    return [turn(rng.uniform(0.3, 3.0), rng.standard_normal(3)) for _ in range(count)]


class TestPotentials:
    @pytest.mark.parametrize("kind", KINDS)
    def test_convex_and_at_rest(self, kind):
        for seed in range(3):
            f = disturbed(potential(kind), seed, SIZE * (seed > 0))
            x, y = tensors(200, seed=seed), tensors(200, seed=seed + 9)
            at, slope, second = derivatives(f, x)
            # 1e-16 of the value and of the slopes of the network, which cancel.
            value, stress, _ = derivatives(f, np.zeros((1, 6)))
            assert np.abs(value) <= 1e-14 * X_UNIT * Y_UNIT
            assert np.abs(stress).max() <= 1e-13 * Y_UNIT
            # Round-off of N(x) - N(0) - N'(0) x, whose terms are of the size of the slope times x.
            digits = 1e-14 * (np.sum(np.abs(slope * x), axis=1) + X_UNIT * Y_UNIT)
            assert (at >= -digits).all() and (at > 0.0)[np.abs(x).max(axis=1) > 0.1 * X_UNIT].all()
            chord = 0.5 * (at + values(f, y))
            assert (values(f, 0.5 * (x + y)) <= chord * (1.0 + 1e-13) + digits).all()
            eigenvalues = np.linalg.eigvalsh(second)
            assert (eigenvalues[:, 0] >= -1e-12 * eigenvalues[:, -1]).all()
            # A potential of a rate dissipates: slope . x >= 0.
            assert (np.sum(slope * x, axis=1) >= at - digits).all()

    @pytest.mark.parametrize("kind", KINDS)
    def test_symmetry(self, kind):
        """Isotropic, or the same under the rotations about its direction, and under no other."""
        f, x = disturbed(potential(kind), 2, SIZE), tensors(20)
        energy = values(f, x)

        def change(rotation):
            return np.abs(values(f, turned(rotation, x)) / energy - 1.0)

        assert f.isotropic == (kind in ("radial", "isotropic"))
        for rotation in rotations(3):
            # What remains of the small ones is round-off of N(x) - N(0) - N'(0) x.
            gap = change(rotation)
            assert gap.max() < 1e-7 if f.isotropic else gap.max() > 1e-3
        if kind == "fibre":
            flips = turn(np.pi, np.cross(FIBRE, [0.3, -1.0, 2.0]))  # the fibre's sense
            for rotation in (turn(0.7, FIBRE), turn(2.9, FIBRE), flips, -np.eye(3)):
                assert change(rotation).max() < 1e-7
            assert change(turn(0.1, np.cross(FIBRE, [1.0, 0.0, 0.0]))).max() > 1e-3

    def test_three_directions_are_orthotropy(self):
        f = disturbed(
            learning.NetworkPotential.create(x_unit=1.0, y_unit=1.0, directions=2.0 * np.eye(3)),
            1, SIZE,
        )  # fmt: skip
        x, energies = tensors(10, 1.0), jax.vmap(f.energy)  # not worth compiling
        energy = np.asarray(energies(x))
        for axis in np.eye(3):
            there = np.asarray(energies(turned(turn(np.pi, axis), x)))
            np.testing.assert_allclose(there, energy, rtol=1e-9)
            other = np.asarray(energies(turned(turn(np.pi / 2, axis), x)))
            assert np.abs(other / energy - 1.0).max() > 1e-3

    def test_grows_quadratically(self):
        for kind in ("isotropic", "fibre", "components"):
            f = disturbed(potential(kind), 1, SIZE)
            x = np.ones((1, 6)) * 100.0 * X_UNIT
            ratio = float(values(f, 2.0 * x)[0] / values(f, x)[0])
            assert 3.0 < ratio < 4.1

    def test_units(self):
        """The same numbers in other units: MPa and Pa, strains and percent."""
        a = learning.NetworkPotential.create(x_unit=0.02, y_unit=300.0, seed=4)
        b = learning.NetworkPotential.create(x_unit=2.0, y_unit=300e6, seed=4)
        x = tensors(5)
        slopes = [np.asarray(jax.vmap(f.stress)(at)) for f, at in ((a, x), (b, 100.0 * x))]
        np.testing.assert_allclose(slopes[0] * 1e6, slopes[1], rtol=1e-12)

    def test_mistakes(self):
        create = functools.partial(learning.NetworkPotential.create, x_unit=1.0, y_unit=1.0)
        for wrong in ([1.0, 0.0, 0.0], [[0.0, 0.0, 0.0]], [[1.0, 0.0]], [["x", 0, 0]]):
            with pytest.raises(MaterialError, match=r"directions must be vectors \(n, 3\)"):
                create(directions=wrong)
        for wrong, message in (
            ({"x_unit": 0.0}, "x_unit must be a number > 0; got 0"),
            ({"y_unit": "a"}, "y_unit must be a number > 0; got 'a'"),
            ({"directions": 3}, r"directions must be vectors \(n, 3\); got 3"),
            ({"components": "x"}, "components must be True or False; got 'x'"),
            ({"seed": -1}, "NetworkPotential.create: seed must be a whole number >= 0; got -1"),
            ({"seed": None}, "seed must be a whole number >= 0; got None"),
        ):
            with pytest.raises(MaterialError, match=message):
                create(**wrong)
        with pytest.raises(
            MaterialError, match=r"ConvexNetwork with increasing=\(False, True\); got \(False, Fal"
        ):
            learning.NetworkPotential(
                learning.ConvexNetwork.create(2), jnp.zeros(()), jnp.zeros(()), 1.0, 1.0
            )
        with pytest.raises(MaterialError, match="deviatoric must be a MonotoneCurve; got Non"):
            learning.RadialPotential(None)


def deformations(count, size, seed=0):
    rng = np.random.default_rng(seed)
    F = np.eye(3) + size * rng.standard_normal((4 * count, 3, 3))
    return F[np.linalg.det(F) > 0.1][:count]


@jax.jit
def _total(law, F):
    energy = lambda F: law.isochoric(F) + law.volumetric_energy(jnp.linalg.det(F))  # noqa: E731
    return jax.vmap(energy)(F), jax.vmap(jax.grad(energy))(F), jax.vmap(jax.hessian(energy))(F)


def total(law, F):
    """Energy, stress and its derivative at F (n, 3, 3); compiled once for a kind of law."""
    padded = np.broadcast_to(np.eye(3), (ROWS, 3, 3)).copy()
    padded[: len(F)] = F
    return [np.asarray(found)[: len(F)] for found in _total(law, padded)]


class TestPolyconvexEnergy:
    def law(self, seed, directions=(), size=SIZE):
        made = learning.LearnedHyperelastic.create(
            stress=0.4, kappa=20.0, stretch=3.0, directions=directions, seed=seed
        )
        return disturbed(made, seed, size)

    @pytest.mark.parametrize("families", [0, 1, pytest.param(2, marks=pytest.mark.full)])
    def test_rest_growth_and_ellipticity(self, families):
        directions = [FIBRE, [0.0, 1.0, 1.0]][:families]
        for seed in range(2):
            law = self.law(seed, directions, SIZE * seed)
            rest = total(law, np.stack([np.eye(3), *rotations(3)]))
            assert np.abs(rest[0]).max() <= 1e-13 and np.abs(rest[1]).max() <= 1e-12
            F = np.concatenate([deformations(40, size, seed) for size in (0.1, 0.5, 1.5)])
            energy, _, A = total(law, F)
            assert (energy > 0.0).all()
            # Legendre-Hadamard: m (x) N : A : m (x) N >= 0.
            A = A.reshape(-1, 9, 9)
            rng = np.random.default_rng(seed)
            m, n = (rng.standard_normal((500, 3)) for _ in range(2))
            dyads = np.einsum("ki,kj->kij", m, n).reshape(-1, 9)
            dyads /= np.linalg.norm(dyads, axis=1, keepdims=True)
            acoustic = np.einsum("ka,pab,kb->pk", dyads, A, dyads)
            assert (acoustic >= -1e-12 * np.abs(A).max(axis=(1, 2))[:, None]).all()
            # Infinite where a volume vanishes; at least neo-Hookean in stretch.
            thin = np.stack([np.diag([1.0, 1.0, d]) for d in (1e-2, 1e-4, 1e-8)])
            assert (np.diff(total(law, thin)[0]) > 0.0).all()
            long = np.stack([np.diag([s, s**-0.5, s**-0.5]) for s in (10.0, 100.0)])
            pull = total(law, long)[0]
            assert pull[1] / pull[0] > 50.0

    def test_fibres_bear_tension_only(self):
        """Compressed along the fibre, the law is that without fibres; stretched, it is not."""
        law = self.law(1, [FIBRE])
        # Other fibres: their column of the first layer.
        changed = tuple(w.at[:, 3].add(1.0) for w in law.isochoric.network.skip)
        more = eqx.tree_at(lambda m: m.isochoric.network.skip, law, changed)
        along = np.outer(FIBRE, FIBRE)
        stretches = np.array([0.8, 1.0 - 1e-9, 1.0 + 1e-9, 1.2])[:, None, None]
        F = stretches * along + stretches**-0.5 * (np.eye(3) - along)
        (_, stress, _), (_, other, _) = total(law, F), total(more, F)
        np.testing.assert_array_equal(stress[:2], other[:2])
        assert np.abs(stress[3] - other[3]).max() > 1e-3
        # The stress is continuous there: the slope of <I4 - 1>^2 is zero.
        assert np.abs(stress[2] - stress[1]).max() <= 1e-6

    def test_objective_and_symmetry(self):
        for directions in ((), [FIBRE]):
            law, F = self.law(2, directions), deformations(10, 0.4)
            energy = total(law, F)[0]
            assert law.isotropic == (len(directions) == 0)
            for Q in rotations(3):
                np.testing.assert_allclose(total(law, Q @ F)[0], energy, rtol=1e-11)  # objective
                change = np.abs(total(law, F @ Q.T)[0] / energy - 1.0).max()
                assert change <= 1e-11 if law.isotropic else change > 1e-3
            Q = turn(0.9, FIBRE)
            assert np.abs(total(law, F @ Q.T)[0] / energy - 1.0).max() <= 1e-11

    def test_stress_of_the_law(self):
        """The law's stress is the energy's slope; so is that of the incompressible one, with p."""
        law, F = self.law(1, [FIBRE]), deformations(3, 0.3)
        slope = total(law, F)[1]
        for k in range(3):
            found = evaluate_point(law, F[k])
            np.testing.assert_allclose(
                found.outputs["first_piola_stress"], slope[k], rtol=1e-9, atol=1e-10
            )

    def test_incompressible(self):
        """In uniaxial tension P = dW/ds of the isochoric energy, which needs no kappa."""
        with_kappa = self.law(1)
        law = admat.Incompressible(learning.LearnedHyperelastic(with_kappa.isochoric))
        s, h = 2.0, 1e-5
        paths = np.stack([np.diag([x, x**-0.5, x**-0.5]) for x in (s, s + h, s - h)])
        energy, stress, _ = total(with_kappa, paths)  # det F = 1: nothing volumetric
        pressure = -stress[0, 1, 1] * s**-0.5  # makes the lateral stress zero
        inputs = {"deformation_gradient": paths[0], "pressure": pressure}
        found = evaluate_point(law, inputs).outputs
        P = np.asarray(found["first_piola_stress"])
        assert abs(found["volume_constraint"]) <= 1e-15 and np.abs(P[1:]).max() <= 1e-13
        assert P[0, 0] == pytest.approx((energy[1] - energy[2]) / (2.0 * h), rel=1e-8)

    def test_sum_of_stretches(self):
        """By invariants, and its slope and curvature, also where stretches are equal."""

        def of_logs(logs):
            s = jnp.exp(2.0 * (logs - logs.mean()))
            return sum_of_stretches(s.sum(), s[0] * s[1] + s[1] * s[2] + s[2] * s[0])

        def exact(logs):
            return jnp.exp(logs - logs.mean()).sum()

        rng = np.random.default_rng(0)
        logs = rng.normal(size=(60, 3)) * np.repeat([0.0, 0.01, 1.0, 3.0], 15)[:, None]
        logs[::5, 1] = logs[::5, 0]
        size = np.asarray(jax.vmap(exact)(logs))
        for take in (lambda f: f, jax.grad, jax.hessian):
            found, expected = (
                np.asarray(jax.jit(jax.vmap(take(f)))(logs)) for f in (of_logs, exact)
            )
            error = np.abs(found - expected).reshape(60, -1).max(axis=1) / size
            assert error.max() <= 1e-14

    def test_without_a_bulk_modulus(self):
        law = learning.LearnedHyperelastic.create(stress=1.0)
        with pytest.raises(MaterialError, match=r"no bulk modulus; give kappa=.*Incompressible"):
            evaluate_point(law, np.eye(3))

    def test_mistakes(self):
        with pytest.raises(MaterialError, match=r"stretch must be > 1; got 1\.0"):
            learning.LearnedHyperelastic.create(stress=1.0, stretch=1.0)
        with pytest.raises(MaterialError, match=r"isochoric must be an energy of F, .* got float"):
            learning.LearnedHyperelastic(3.0)
        with pytest.raises(MaterialError, match=r"kappa.*must be a number|kappa.*expected"):
            learning.LearnedHyperelastic.create(stress=1.0, kappa=-1.0)
        for create in (learning.LearnedHyperelastic.create, learning.PolyconvexEnergy.create):
            for wrong in (-1, None, "a"):
                with pytest.raises(MaterialError, match="seed must be a whole number >= 0; got"):
                    create(stress=1.0, seed=wrong)


TENSION = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
#: Where two principal stresses coincide (or the third invariant vanishes), in turned axes too.
STATES = np.array(
    [
        TENSION, -TENSION, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, -1.0, -1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0], [1.0, -1.0, 0.0, 0.0, 0.0, 0.0],
    ]
)  # fmt: skip


def gauges():
    yield from (disturbed(learning.IsotropicGauge.create(seed=s), s, s) for s in range(3))
    yield disturbed(learning.IsotropicGauge.create(pressure=True), 4, SIZE)
    for exponent in (2, 8):
        made = learning.AnisotropicGauge.create(exponent=exponent, units=5, seed=exponent)
        yield made
        yield disturbed(made, exponent, SIZE)


def by_principal_stresses(gauge, stress):
    """The formula of the docstring, with eigenvalues."""

    def norms(stress):
        s = np.linalg.eigvalsh(np.asarray(from_mandel(jnp.asarray(stress))))
        mean, s = s.mean(), s - s.mean()
        q = np.sqrt(1.5 * s @ s)
        gaps = np.abs(s - np.roll(s, 1))
        found = [q, *((0.5 * np.sum(gaps**a)) ** (1 / a) for a in (6, 12))]
        found += [
            np.sum((2 / 3 * q + sign * s) ** a) ** (1 / a) for sign in (1, -1) for a in (8, 16)
        ]
        friction = 0.0 if gauge.friction is None else float(positive(gauge.friction))
        return np.asarray(positive(gauge.factors)) @ np.array(found) + friction * mean

    return norms(stress) / norms(TENSION)


class TestGauges:
    def test_convex_of_degree_one(self):
        x, y = tensors(200, 1.0), tensors(200, 1.0, seed=3)
        for gauge in gauges():
            assert gauge.convex
            f, _, second = derivatives(gauge, x)
            known = values(gauge, np.stack([TENSION, 0.0 * TENSION]))
            assert known[0] == pytest.approx(1.0, abs=1e-15) and known[1] == 0.0
            size = np.abs(f) + np.linalg.norm(x, axis=1)
            for factor in (1e-9, 3.0, 1e9):
                scaled = values(gauge, factor * x)
                assert np.abs(scaled / factor - f).max() <= 1e-14 * size.max()
            both = f + (values(gauge, y))  # degree one and convex: subadditive
            together = values(gauge, x + y)
            assert (together <= both + 1e-13 * (size + np.linalg.norm(y, axis=1))).all()
            # Terms of the size of f / |x|^2, which cancel where the surface is nearly flat.
            eigenvalues = np.linalg.eigvalsh(second)
            digits = 1e-12 * np.abs(f) / np.sum((x @ np.asarray(DEVIATORIC)) ** 2, axis=1)
            assert (eigenvalues[:, 0] >= -digits).all()
            if getattr(gauge, "friction", None) is None:
                assert (f > 0.0).all()
                np.testing.assert_allclose(values(gauge, x + 5.0 * np.eye(6)[0:3].sum(0)), f, 1e-12)

    def test_explicit_sum_of_norms(self):
        x = np.concatenate([tensors(20, 100.0), STATES, turned(turn(0.8, FIBRE), STATES)])
        for gauge in list(gauges())[:4]:
            wanted = [by_principal_stresses(gauge, s) for s in x]
            np.testing.assert_allclose(values(gauge, x), wanted, rtol=1e-12)

    def test_isotropy(self):
        x = tensors(20, 1.0)
        for gauge in gauges():
            f = values(gauge, x)
            for Q in rotations(2):
                gap = np.abs((values(gauge, turned(Q, x))) - f).max() / np.abs(f).max()
                assert gap <= 1e-12 if gauge.isotropic else gap > 1e-3, gap

    def test_derivatives_where_principal_stresses_coincide(self):
        """Central differences; on the third invariant's extremes second ones as well."""
        x, h = np.concatenate([STATES, turned(turn(0.8, FIBRE), STATES)]), 1e-5
        steps = h * np.eye(6)
        for gauge in gauges():
            _, first, second = derivatives(gauge, x)
            moved = [derivatives(gauge, (x[:, None] + e).reshape(-1, 6)) for e in (steps, -steps)]
            by_values, by_slopes = (
                ((moved[0][m] - moved[1][m]) / (2.0 * h)).reshape(len(x), 6, *[6] * m)
                for m in (0, 1)
            )
            # h^2 times the next derivatives, which powers make large.
            np.testing.assert_allclose(first, by_values, atol=1e-7)
            np.testing.assert_allclose(second, by_slopes, atol=1e-6 * np.abs(second).max())
            rest = derivatives(gauge, np.zeros((1, 6)))
            assert all(np.isfinite(part).all() for part in rest)

    def test_tension_and_compression(self):
        """Only the shifted norms tell them apart, by at most a quarter."""
        alone = []
        for k in range(7):
            factors = np.full(7, 1e-12)
            factors[k] = 1.0
            gauge = learning.IsotropicGauge(jnp.asarray(inverse_positive(factors)))
            alone.append(values(gauge, -TENSION[None])[0])
        np.testing.assert_allclose(alone[:3], 1.0, rtol=1e-10)
        assert all(abs(value - 1.0) > 0.05 for value in alone[3:])
        assert 0.75 <= min(alone) and max(alone) <= 1.3

    def test_pressure(self):
        """A cone: the value changes by friction / 3 per trace, over the value of tension."""
        gauge, x = learning.IsotropicGauge.create(pressure=True), tensors(5, 1.0)
        shifted = x + np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        rise = (values(gauge, shifted)) - (values(gauge, x))
        slope = float(positive(gauge.friction))
        plain = learning.IsotropicGauge(gauge.factors)
        of_tension = float(plain._cone(jnp.asarray(TENSION))) + slope / 3.0
        np.testing.assert_allclose(rise, slope / of_tension, rtol=1e-12)

    def test_contains_hill(self):
        """Exponent 2: any quadratic form of the deviator that is positive, by its square root."""
        hill = admat.Hill48.from_r_values(1.8, 1.2, 2.3)
        # hill^2 = s . A s with A from its second derivative; what is left after a part of q^2
        # are five units, sqrt(eigenvalue) eigenvector.
        A = 0.5 * np.asarray(jax.hessian(lambda s: hill(s) ** 2)(jnp.asarray(TENSION)))
        mises = 1.5 * (np.eye(6) - np.pad(np.ones((3, 3)) / 3.0, (0, 3)))
        eigenvalues, vectors = np.linalg.eigh(A - 0.3 * mises)
        assert (eigenvalues[1:] > 0.01).all() and abs(eigenvalues[0]) < 1e-12
        units = np.sqrt(eigenvalues[1:, None]) * vectors[:, 1:].T
        round_ = jnp.asarray(inverse_positive(0.3))
        gauge = learning.AnisotropicGauge(jnp.asarray(units), round_, 2)
        x = tensors(50, 100.0)
        np.testing.assert_allclose(values(gauge, x), values(hill, x), rtol=1e-12)
        np.testing.assert_allclose(slopes(gauge, x), slopes(hill, x), rtol=1e-9, atol=1e-11)

    def test_mistakes(self):
        units, zero = jnp.ones((2, 6)), jnp.zeros(())
        for make, message in (
            (lambda: learning.IsotropicGauge(jnp.ones(5)), r"factors: expected .*\(7,\); got \(5,"),
            (lambda: learning.IsotropicGauge(jnp.ones(7), jnp.ones(2)), r"friction: expected .*\("),
            (lambda: learning.AnisotropicGauge(jnp.ones(6), zero), r"expected units \(n, 6\)"),
            (lambda: learning.AnisotropicGauge(jnp.ones((2, 5)), zero), r"units: expected .*2, 6"),
            (lambda: learning.AnisotropicGauge(units, zero, 7), "even number from 2 to 30; got 7"),
            (lambda: learning.AnisotropicGauge(units, zero, 8.0), "from 2 to 30; got 8.0"),
            (lambda: learning.AnisotropicGauge.create(units=0), "whole number >= 1; got 0"),
            (lambda: learning.AnisotropicGauge.create(units=True), "whole number >= 1; got True"),
            (lambda: learning.AnisotropicGauge.create(seed=-1), "Aniso.*seed must be .*; got -1"),
            (lambda: learning.IsotropicGauge.create(seed="a"), "Isotropic.*seed must be .*'a'"),
            (lambda: learning.IsotropicGauge.create(pressure="x"), "True or False; got 'x'"),
        ):
            with pytest.raises(MaterialError, match=message):
                make()
