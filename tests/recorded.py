"""Recorded runs that can be repeated with other values of their controls."""

import jax.numpy as jnp
import numpy as np
from dolfinx import fem

from dolfinx_admat.fem.sensitivity import Coefficient, Recording, RegionValues


class Run:
    """A problem, what is observed and controlled, and how its steps are done.

    Args:
        problem: A ``MaterialProblem``.
        observe: Observations.
        controls: Controls.
        march: Called as ``march(loads)``; it does all steps.
        loads: Values of the controls ``per_step``, by name; (steps, *shape).
        sizes: By control, the size of a change; default: of its value.
    """

    def __init__(self, problem, observe, controls, march, *, loads=None, sizes=None, **options):
        options = {"progress": False, **options}
        self.problem, self._march = problem, march
        self.recording = Recording(problem, observe=observe, controls=controls, **options)
        self.loads = {k: np.array(v, float) for k, v in (loads or {}).items()}
        self._base = {k: c.get() for k, c in controls.items() if k not in self.loads}
        self._sizes = sizes or {}
        self.observed = self.at({})
        self._scale = {k: max(np.abs(v).max(), 1e-300) for k, v in self.observed.items()}

    def at(self, changes):
        """Observations with the controls changed."""
        for name, value in self._base.items():
            self.recording.controls[name].set(value + changes.get(name, 0.0))
        if self.recording.started:
            self.recording.restart()
        with self.recording:
            self._march({k: v + changes.get(k, 0.0) for k, v in self.loads.items()})
        return self.recording.observed

    def loss(self, observed):
        """A smooth number that depends on all observations, of size 1."""
        total = 0.0
        for k, name in enumerate(sorted(self._scale)):
            scaled = observed[name] / self._scale[name]
            weights = jnp.cos(1.0 + k + jnp.arange(scaled.size)).reshape(scaled.shape)
            total = total + jnp.sum(weights * (scaled + scaled**2))
        return total

    def value(self, observed):
        return float(self.loss({k: jnp.asarray(v) for k, v in observed.items()}))

    def direction(self, name):
        """A change of a control, of the size of 1; the same whatever the number of ranks."""
        control = self.recording.controls[name]
        size = self._sizes.get(name)
        if name in self.loads:
            value = self.loads[name]
        else:
            value = self._base[name]
        size = np.abs(value).max() if size is None else size
        if isinstance(control, Coefficient) and not isinstance(control, RegionValues):
            if not control.constant:
                field = fem.Function(control.data.function_space)
                shape = control.data.ufl_shape
                field.interpolate(
                    lambda x: np.cos(
                        3.0 * x[0] - 2.0 * x[1] + x[2] + np.arange(int(np.prod(shape)))[:, None]
                    )
                )
                unit = control.gather(field.x.array[: len(field.x.array) - ghosts(field)])
                if name not in self.loads:
                    return size * unit
                return size * np.array([np.cos(k) * unit for k in range(len(value))])
        return size * np.cos(1.0 + np.arange(value.size)).reshape(value.shape)


def ghosts(f):
    dofmap = f.function_space.dofmap
    return dofmap.index_map.num_ghosts * dofmap.index_map_bs


def inner(a, b):
    return float(sum(np.sum(np.asarray(a[k]) * np.asarray(b[k])) for k in a))


def assert_taylor(run, step):
    """The remainder of the whole run is of second order, along all controls at once.

    The step is so small that next to no point changes its branch and that the third order does
    not count, and so large that the remainder is well above the solver's tolerance.
    """
    value, gradient = run.recording.gradient(run.loss)
    along = {name: run.direction(name) for name in gradient}
    slope = inner(along, gradient)
    remainders = []
    for h in (step, step / 2.0, step / 4.0):
        moved = run.value(run.at({k: h * d for k, d in along.items()}))
        remainders.append(abs(moved - value - h * slope))
    orders = np.log2(np.array(remainders[:-1]) / remainders[1:])
    run.at({})
    assert ((orders > 1.9) & (orders < 2.1)).all(), (orders, remainders, value, slope)


def assert_differences(run, step=1e-5, tol=1e-6, names=None):
    """Each control by itself: reverse and forward against central differences.

    ``tol`` is relative to the largest part of the change; the difference errs by the tolerance
    of the solver over the step, and by its square.
    """
    _, gradient = run.recording.gradient(run.loss)
    names = list(gradient) if names is None else names
    forward = {name: run.recording.jvp({name: run.direction(name)}) for name in names}
    for name in names:
        d = run.direction(name)
        assert np.shape(gradient[name]) == d.shape
        ahead, back = run.at({name: step * d}), run.at({name: -step * d})
        slope = (run.value(ahead) - run.value(back)) / (2.0 * step)
        found = inner({0: gradient[name]}, {0: d})
        change = {k: (ahead[k] - back[k]) / (2.0 * step) for k in ahead}
        for k, v in change.items():
            scale = max(np.abs(v).max(), 1e-3 * np.abs(run.observed[k]).max())
            gap = np.abs(v - forward[name][k]).max()
            assert gap <= tol * scale, f"jvp of '{k}' by '{name}': {gap / scale:.1e}"
        scale = np.abs(gradient[name] * d).sum()
        assert scale > 0.0, f"the loss does not depend on '{name}'"
        assert abs(found - slope) <= tol * scale, f"'{name}': {found} by differences {slope}"
    run.at({})


def assert_transposed(run, rng, tol=1e-9):
    """<w, J v> = <J^T w, v>."""
    v = {name: run.direction(name) for name in run.recording.controls}
    w = {k: rng.standard_normal(o.shape) / s for (k, o), s in
         zip(run.observed.items(), run._scale.values(), strict=True)}  # fmt: skip
    forward, back = run.recording.jvp(v), run.recording.vjp(w)
    left, right = inner(w, forward), inner(back, v)
    scale = sum(np.abs(w[k] * forward[k]).sum() for k in w)
    assert abs(left - right) <= tol * scale, (left, right, scale)


def assert_same(run, other, tol=1e-8):
    """Values and slopes of the same run on other ranks, or done in another way."""
    found = []
    for one in (run, other):
        value, gradient = one.recording.gradient(run.loss)
        slopes = {k: inner({0: g}, {0: one.direction(k)}) for k, g in gradient.items()}
        found.append({"value": value, **slopes})
    for name, value in found[1].items():
        assert abs(found[0][name] - value) <= tol * max(abs(value), 1e-3), (name, found)
