"""Derivatives of whole paths with respect to every parameter of every law of the library.

Each law goes along a short path under mixed control (strains and stresses, some of which are
reversed) on which it flows. Measured are the inputs that were solved for, the outputs and the
states, each divided by its largest value; parameters are divided by theirs. With respect to all
parameters, also those nested in parts, jit-compiled:

- forward mode against central differences to 1e-6, and against unrolled differentiation to 1e-10,
  of the largest entry of each block d(quantity)/d(parameter), at least of FLOOR;
- reverse mode, for random cotangents, against forward mode to 1e-12 of the terms of the sum.

A difference with h = 1e-4 has the round-off of two paths, up to 1e-14 / h = 1e-10, which is 1e-6 of
a derivative of FLOOR = 1e-4; and the truncation h^2/6 times the third derivative, 1e-6 of a
derivative that is 600 times smaller (a power law of exponent n has about n^2).
"""

import copy
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat.implicit import LocalNewton
from dolfinx_admat.laboratory import Path, drive, path_response, recorded_steps
from dolfinx_admat.materials._declare import named_leaves
from dolfinx_admat.materials.hyperelasticity import isochoric_part
from dolfinx_admat.materials.parameters import replace_parameters

pytestmark = pytest.mark.usefixtures("optimised")

STEP, FLOOR = 1e-4, 1e-4
#: One law of each kind, for the differences; all others with the marker ``full``.
QUICK = (
    "LinearElastic",
    "J2Plasticity",
    "Elastoviscoplastic",
    "Chaboche",
    "Drucker-Prager, not associated",
    "FccCrystal",
    "FeFpJ2",
    "GeneralisedMaxwell",
    "generalised standard",
)
#: Those that are looked at in the other ways as well, which takes three times as long.
QUICK_TOO = ("J2Plasticity",)
# What is tested are the derivatives: code that compiles fast matters more than fast code.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class OgdenByAngles(admat.Ogden):
    """The eigenvalues by the cosine formula, where they differ: of that there is any derivative.

    Unrolled differentiation needs the third one, which our spectral functions do not have.
    """

    def isochoric_energy(self, deformation_gradient):
        F = isochoric_part(deformation_gradient)
        C = F.T @ F
        mean = jnp.trace(C) / 3
        s = C - mean * jnp.eye(3)
        size = jnp.sqrt(jnp.sum(s * s) / 6)
        angle = jnp.arccos(jnp.linalg.det(s) / (2 * size**3)) / 3
        x = mean + 2 * size * jnp.cos(angle + 2 * jnp.pi / 3 * jnp.arange(3))
        return jnp.sum(self.mu / self.alpha * (x[:, None] ** (self.alpha / 2) - 1))


#: Duration of the path, units of time, where it is not one: its recovery is fast.
DURATION = {"Chaboche": 0.02}
#: The same laws, as unrolled differentiation can have them.
UNROLLED = {"Ogden": OgdenByAngles([0.6, -0.05], [1.8, -2.5], kappa=20.0)}


def precise(law):
    """The law with tighter solves: weak derivatives need more digits than the default has."""
    if not hasattr(law, "solver"):
        return law
    law = copy.copy(law)
    object.__setattr__(law, "solver", LocalNewton(rtol=1e-14))
    return law


def path_of(law, time):
    """Loading and partial reversal."""
    start = {}
    if "strain" in law.inputs:
        loads = {
            "strain_xx": 0.016, "strain_xy": 0.004, "strain_xz": 0.003,
            "stress_yy": 60.0, "stress_zz": -20.0, "stress_yz": 40.0,
        }  # fmt: skip
        back = {"strain_xx": 0.012, "strain_xy": 0.0, "stress_yy": -30.0}
    else:
        size, stress = (0.016, 60.0) if isinstance(law, admat.FeFpJ2) else (0.3, 0.05)
        loads = {
            "deformation_gradient_xx": 1.0 + size, "deformation_gradient_xy": size / 4,
            "deformation_gradient_xz": size / 5, "cauchy_stress_yy": stress,
            "first_piola_stress_zz": -stress / 3,
        }  # fmt: skip
        back = {"deformation_gradient_xx": 1.0 + 0.7 * size, "deformation_gradient_xy": 0.0}
    if "temperature" in law.inputs:
        start["temperature"] = 293.0
        loads |= {"temperature": 353.0, "temperature_gradient_x": 2.0}
    return Path(start).ramp(loads, time=time, steps=3).ramp(back, time=time / 2, steps=2)


class Driven:
    """A law after a drive, as a function of its scaled parameters."""

    def __init__(self, name):
        self.name, self.law = name, precise(laws.LAWS[name])
        self.steps = recorded_steps(drive(self.law, path_of(self.law, DURATION.get(name, 1.0))))
        self.parameters = named_leaves(eqx.filter(self.law, eqx.is_array))
        # Name, index and scale of each number: itself, or the smallest of its array if it is 0.
        self.columns = [
            (name, index, abs(float(value[index])) or float(np.abs(value[value != 0]).min()))
            for name, value in self.parameters.items()
            for index in np.ndindex(np.shape(value))
        ]
        # One function for the derivatives and for the values of the differences.
        n = len(self.columns)
        moves = STEP * np.concatenate([np.zeros((n, n)), np.eye(n), -np.eye(n)])
        (found, status), forward = self.pushed(moves, np.concatenate([np.eye(n)] * 3))
        assert not status.any()
        self.sizes = {name: np.abs(v[0]).max() for name, v in found.items()}
        # A volume constraint is zero but for round-off.
        self.sizes = {name: size if size > 1e-9 else 1.0 for name, size in self.sizes.items()}
        self.blocks = np.repeat(np.arange(len(found)), [np.size(v[0]) for v in found.values()])
        values = self.columns_of(found)
        self.slopes = (values[:, n : 2 * n] - values[:, 2 * n :]) / (2 * STEP)
        self.forward = self.columns_of(forward[0])[:, :n]

    def columns_of(self, found):
        """Measured quantities, (points of evaluation, *shape) each, as (measured, points)."""
        flat = [np.reshape(v, (len(v), -1)) / self.sizes[name] for name, v in found.items()]
        return np.concatenate(flat, axis=1).T

    def response(self, x, law=None, tangent=None):
        """(what is measured, status)."""
        values = dict(self.parameters)
        for k, (name, index, scale) in enumerate(self.columns):
            values[name] = values[name].at[index].add(scale * x[k])
        law = replace_parameters(law or self.law, values)
        found = path_response(law, self.steps, tangent)
        return found.inputs | found.outputs | found.states, found.status

    def pushed(self, x, moves, **how):
        """Values at some x, and derivatives in some directions."""

        def one(x, v):
            return jax.jvp(lambda x: self.response(x, **how), (x,), (v,))

        return compiled(jax.vmap(one), x, moves)

    def pulled(self, weights):
        """Cotangents of the parameters, of some combinations of all that is measured."""

        def measured(x):
            parts = self.response(x)[0]
            return jnp.concatenate([jnp.ravel(parts[k]) / size for k, size in self.sizes.items()])

        def pull(weights):
            _, vjp = jax.vjp(measured, jnp.zeros(len(self.columns)))
            return jax.vmap(lambda w: vjp(w)[0])(weights)

        return compiled(pull, weights)

    def assert_close(self, expected, tol):
        """Derivatives in forward mode, (measured, parameters), block by block."""
        rows = range(len(self.sizes))
        largest = lambda a: np.array([np.abs(a[self.blocks == b]).max(axis=0) for b in rows])  # noqa: E731
        scale = largest(expected)
        error = largest(self.forward - expected) / np.maximum(scale, FLOOR)
        block, k = np.unravel_index(error.argmax(), error.shape)
        what = f"d({list(self.sizes)[block]})/d({self.columns[k][:2]})"
        assert error.max() <= tol, f"{what}: {error.max():.1e}"


def compiled(function, *arguments):
    return jax.jit(function, compiler_options=OPTIONS)(*arguments)


driven = functools.cache(Driven)


def all_laws(quick):
    marks = {name: () if name in quick else pytest.mark.full for name in laws.LAWS}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=m) for n, m in marks.items()])


@all_laws(QUICK)
def test_against_differences(name):
    found = driven(name)
    assert np.isfinite(found.forward).all()
    strength = np.abs(found.forward).max(axis=0)
    assert (strength > 1e-4).all(), "a parameter does not matter on this path"
    found.assert_close(found.slopes, 1e-6)


@all_laws(QUICK_TOO)
def test_against_unrolled(name):
    found = driven(name)
    n = len(found.columns)
    law = UNROLLED.get(name)
    (_, status), slopes = found.pushed(np.zeros((n, n)), np.eye(n), law=law, tangent="unrolled")
    assert not status.any()
    found.assert_close(found.columns_of(slopes[0]), 1e-10)


@all_laws(QUICK_TOO)
def test_reverse(name):
    found = driven(name)
    weights = np.random.default_rng(0).normal(size=(2, len(found.forward)))
    bound = 1e-12 * np.abs(weights) @ np.abs(found.forward)
    assert (np.abs(found.pulled(weights) - weights @ found.forward) <= bound).all()


def test_all_names_are_laws():
    assert set(QUICK) | set(QUICK_TOO) | set(UNROLLED) <= set(laws.LAWS)
