"""Recorded runs that can be repeated with other values of their controls."""

import bodies
import jax.numpy as jnp
import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_admat as admat
from dolfinx_admat.fem import MaterialProblem, QuadratureMaterial, strain
from dolfinx_admat.fem.sensitivity import (
    Coefficient,
    Integral,
    LawParameter,
    Reaction,
    Recording,
    RegionValues,
)


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


STEEL = admat.VoceHardening(sigma_y=200.0, Q=100.0, b=50.0)
#: Newton to the end, so that differences of results are clean.
TIGHT = {"snes_rtol": 1e-12}


class Block:
    """A cube, held at z = 0, whose top is moved along z; tetrahedra, or hexahedra."""

    def __init__(self, comm, n=2, *, hexahedra=False, degree=1, partitioner=None):
        kind = mesh.CellType.hexahedron if hexahedra else mesh.CellType.tetrahedron
        self.mesh = mesh.create_unit_cube(comm, n, n, n, kind, partitioner=partitioner)
        self.V = fem.functionspace(self.mesh, ("P", degree, (3,)))
        self.u, self.v = fem.Function(self.V, name="u"), ufl.TestFunction(self.V)
        self.bottom, self.top = bodies.facets(self.mesh, 2, 0.0), bodies.facets(self.mesh, 2, 1.0)
        self.moved = fem.Constant(self.mesh, 0.0)
        self.bcs = [
            fem.dirichletbc(np.zeros(3), self.dofs(self.V, self.bottom), self.V),
            fem.dirichletbc(self.moved, self.dofs(self.V.sub(2), self.top), self.V.sub(2)),
        ]

    @staticmethod
    def dofs(V, facets):
        return fem.locate_dofs_topological(V, 2, facets)

    def field(self, element, function=None, name="f"):
        f = fem.Function(fem.functionspace(self.mesh, element), name=name)
        if function is not None:
            f.interpolate(function)
        return f

    def work(self, law):
        return ufl.inner(law["stress"], strain(self.v)) * law.dx

    def problem(self, F, materials, **options):
        options = {"petsc_options": TIGHT, "progress": False, **options}
        return MaterialProblem(
            F, self.u, materials=materials, bcs=self.bcs, petsc_options_prefix="s_", **options
        )


def plastic(comm, hardening=STEEL, moved=(0.004, 0.008, 0.003, 0.01), **options):
    """Load, unload, load on; nested parameters, a field per cell, loads per step."""
    b = Block(comm)
    E = b.field(("DG", 0), lambda x: 200e3 * (1.0 + 0.1 * x[0]))
    law = QuadratureMaterial(
        b.mesh, admat.J2Plasticity(200e3, 0.3, hardening), {"strain": strain(b.u)}, degree=2,
        parameters={"E": E},
    )  # fmt: skip
    t = fem.Constant(b.mesh, np.zeros(3))
    extra = {k: options.pop(k) for k in ("solver", "assembly") if k in options}
    problem = b.problem(b.work(law) - ufl.dot(t, b.v) * ufl.ds, [law], **extra)

    def march(loads):
        for moved, traction in zip(loads["moved"], loads["t"], strict=True):
            b.moved.value, t.value[:] = moved, traction
            problem.solve()

    moved = np.array(moved)
    return Run(
        problem,
        {
            "force": Reaction(b.top),
            "work": Integral(ufl.inner(law["stress"], strain(b.u)) * law.dx),
            "p": Integral(law["equivalent_plastic_strain"] ** 2 * law.dx),
            "u": Integral(ufl.inner(b.u, b.u) * ufl.ds),
        },
        {
            "hardening": LawParameter(law, "hardening"),
            "nu": LawParameter(law, "nu"),
            "E": Coefficient(E),
            "t": Coefficient(t, per_step=True),
            "moved": Coefficient(b.moved, per_step=True),
        },
        march,
        loads={"moved": moved, "t": np.outer(100.0 * moved, [5.0, 10.0, 3.0])},
        sizes={"hardening": 1.0},
        **options,
    )
