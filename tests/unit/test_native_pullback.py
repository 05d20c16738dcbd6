"""Native: parameters as run-time numbers, and cotangents pulled back, against XLA and jax.grad."""

import batches
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import Parameters, compilation
from dolfinx_admat.kernels import BatchKernel, StatusBuffers

POINTS = 29


class Curve(Parameters):
    """A nested group of parameters; one is an array."""

    start: float = 1.0
    rates: object = (5.0, 20.0)

    def __call__(self, p):
        return self.start + self.rates[0] * p + jnp.sum(1 - jnp.exp(-self.rates * p))


class General(admat.ImplicitSmallStrain):
    """J2 with a general residual and elastic test."""

    E: float = 200.0
    nu: float = 0.3
    curve: Curve = Curve()

    def initial_state(self):
        return {"ep": jnp.zeros(6), "p": 0.0}

    def stress(self, strain):
        trace = jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        lam = self.nu / (1 - 2 * self.nu) * jnp.sum(strain[:3])
        return self.E / (1 + self.nu) * (strain + lam * trace)

    def normal(self, stress):
        s = stress - jnp.sum(stress[:3]) / 3 * jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        square = s @ s
        size = jnp.sqrt(1.5 * jnp.where(square > 0, square, 1.0))
        return 1.5 * s / size, size * (square > 0)

    def elastic(self, step):
        _, size = self.normal(self.stress(step.given - step.state["ep"]))
        return size <= self.curve(step.state["p"])

    def guess(self, step):
        return step.state["ep"], step.state["p"]

    def residual(self, x, step):
        ep, p = x
        n, size = self.normal(self.stress(step.given - ep))
        flow = ep - step.state["ep"] - (p - step.state["p"]) * n
        return flow, (size - self.curve(p)) / self.E

    def finish(self, x, step):
        return self.stress(step.given - x[0]), {"ep": x[0], "p": x[1]}


class Coupled(admat.ExplicitLaw):
    """No solve; two inputs and outputs, and what depends on no input at all."""

    inputs = {"strain": (6,), "heat": ()}  # noqa: RUF012
    outputs = {"stress": (6,), "flux": (2,)}  # noqa: RUF012
    k: float = 2.0
    unused: float = 1.0

    def initial_state(self):
        return {"old": jnp.zeros(2), "count": 0.0}

    def update(self, inputs, state, dt):
        stress = jnp.tanh(self.k * inputs["strain"]) * jnp.exp(state["old"][0])
        flux = jnp.stack([inputs["heat"] ** 2 * dt, self.k])
        return {"stress": stress, "flux": flux}, {
            "old": state["old"].at[0].add(inputs["heat"]),
            "count": state["count"] + 1.0,
        }


LAWS = {"general": General(), "coupled": Coupled()}


def batch(law, seed=6):
    """Inputs, state and cotangents."""
    rng = np.random.default_rng(seed)
    inputs = {name: 0.02 * rng.normal(size=(POINTS, *s)) for name, s in law.inputs.items()}
    if "strain" in inputs:
        inputs["strain"][::3] *= 0.01
    kernel = BatchKernel(law)
    state = {k: v + 1e-4 * rng.random(v.shape) for k, v in kernel.initial_state(POINTS).items()}
    outputs = {name: rng.normal(size=(POINTS, *s)) for name, s in law.outputs.items()}
    new = {name: rng.normal(size=v.shape) for name, v in state.items()}
    return inputs, state, outputs, new


def pull(kernel, inputs, state, outputs, new, parameters=None, dt=0.5):
    """All cotangents by name, and the status."""
    n = len(next(iter(inputs.values())))
    from dolfinx_admat.materials._declare import named_leaves

    shared = named_leaves(eqx.filter(kernel.material, eqx.is_array))
    bars = {
        name: np.full((n, *np.shape(leaf)), np.nan) if name in (parameters or {})
        else np.full(np.shape(leaf), 10.0)  # sums are added
        for name, leaf in shared.items()
    }  # fmt: skip
    input_bars = {name: np.full_like(value, np.nan) for name, value in inputs.items()}
    state_bars = {name: np.full_like(value, np.nan) for name, value in state.items()}
    status = StatusBuffers.allocate(n)
    kernel.pullback(
        inputs, state, dt, output_cotangents=outputs, state_cotangents=new, status=status,
        input_bars=input_bars, state_bars=state_bars, parameter_bars=bars, parameters=parameters,
    )  # fmt: skip
    bars = {k: v if k in (parameters or {}) else v - 10.0 for k, v in bars.items()}
    return input_bars, state_bars, bars, status


def by_grad(law, inputs, state, outputs, new, dt=0.5):
    """The same by jax.grad of a loss, through a vmapped ``integrate``."""

    def loss(law, inputs, state):
        def one(inputs, state):
            out, updated, _ = law.integrate(inputs, state, jnp.asarray(dt))
            return out, updated

        out, updated = jax.vmap(one)(inputs, state)
        total = sum(jnp.sum(out[k] * outputs[k]) for k in outputs)
        return total + sum(jnp.sum(updated[k] * new[k]) for k in new)

    arrays, static = eqx.partition(law, eqx.is_array)
    gradient = jax.grad(lambda a, i, s: loss(eqx.combine(a, static), i, s), (0, 1, 2))
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(gradient).lower(arrays, inputs, state).compile(options)(arrays, inputs, state)


def agree(a, b, tol=1e-10):
    assert set(a) == set(b)
    for name, value in b.items():
        assert batches.error(a[name], value) <= tol, name


@pytest.mark.parametrize("name", LAWS)
def test_pullback(name):
    """On both backends and by jax.grad; every number of points that leaves a rest."""
    from dolfinx_admat.materials._declare import named_leaves

    law = LAWS[name]
    given = batch(law)
    native, xla = (
        pull(BatchKernel(law, backend=b, chunk_size=8), *given) for b in ("native", "xla")
    )
    arrays, inputs, state = by_grad(law, *given)
    for found in (native, xla):
        assert (found[3].code == 0).all()
        agree(found[0], inputs)
        agree(found[1], state)
        agree(found[2], named_leaves(arrays))
    if name == "general":
        assert 0.2 < native[3].active.mean() < 0.9
    kernel = BatchKernel(law, backend="native")
    parts = [slice(0, 1), slice(1, 9), slice(9, 16), slice(16, POINTS)]
    cut = [pull(kernel, *({k: v[p] for k, v in g.items()} for g in given)) for p in parts]
    agree({k: sum(c[2][k] for c in cut) for k in native[2]}, native[2], 1e-13)
    for p, c in zip(parts, cut, strict=True):
        for k in inputs:
            np.testing.assert_array_equal(c[0][k], native[0][k][p])


def test_point_parameters():
    """Per-point values equal separate laws; their cotangents are per point."""
    law = General()
    inputs, state, outputs, new = batch(law)
    rng = np.random.default_rng(8)
    values = {
        "E": 200.0 * rng.uniform(0.8, 1.2, POINTS),
        "curve.rates": rng.uniform(1, 30, (POINTS, 2)),
    }
    names = tuple(values)
    native, xla = (
        batches.run(
            BatchKernel(law, backend=b, point_parameters=names, chunk_size=64),
            inputs, state, parameters=values,
        )
        for b in ("native", "xla")
    )  # fmt: skip
    batches.assert_agree(native, xla)
    pulls = [
        pull(
            BatchKernel(law, backend=b, point_parameters=names, chunk_size=64),
            inputs, state, outputs, new, parameters=values,
        )
        for b in ("native", "xla")
    ]  # fmt: skip
    for k in range(3):
        agree(pulls[0][k], pulls[1][k])
    for i in (0, 7, 8, POINTS - 1):
        one = General(E=values["E"][i], curve=Curve(rates=values["curve.rates"][i]))
        point = slice(i, i + 1)
        alone = batches.run(
            BatchKernel(one, backend="native"),
            {k: v[point] for k, v in inputs.items()}, {k: v[point] for k, v in state.items()},
        )  # fmt: skip
        for what in ("outputs", "state", "tangent"):
            for key, value in getattr(alone, what).items():
                assert batches.error(getattr(native, what)[key][point], value) < 1e-12


def test_new_values_do_not_compile(tmp_path, monkeypatch):
    """Parameters, dt, number of points; also in a kernel made for other values."""
    monkeypatch.setenv("DOLFINX_ADMAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dolfinx_admat.kernels._select._CACHE", {})
    monkeypatch.setattr(compilation, "_libraries", {})
    inputs, state, *_ = batch(Coupled())
    kernel = BatchKernel(Coupled(), backend="native")
    first = batches.run(kernel, inputs, state)
    files, traces = sorted((tmp_path / "cache").rglob("*.so")), kernel.traces
    assert len(files) == 1
    kernel.material = Coupled(k=3.0)
    second = batches.run(kernel, inputs, state, dt=0.25)
    other = BatchKernel(Coupled(k=3.0, unused=7.0), backend="native")
    few = [{k: v[:5] for k, v in given.items()} for given in (inputs, state)]
    third = batches.run(other, *few, dt=0.25)
    assert sorted((tmp_path / "cache").rglob("*.so")) == files
    assert kernel.traces == other.traces == traces
    batches.assert_identical(second, third, slice(0, 5))
    expected = np.tanh(3.0 * inputs["strain"]) * np.exp(state["old"][:, :1])
    np.testing.assert_allclose(second.outputs["stress"], expected, rtol=1e-14)
    assert not np.allclose(first.outputs["stress"], second.outputs["stress"])


def test_what_is_not_wanted_is_not_written():
    """Some outputs, tangents and bars only; rows; strided buffers."""
    law = Coupled()
    inputs, state, outputs, new = batch(law)
    kernel = BatchKernel(law, backend="native")
    full = batches.run(kernel, inputs, state)
    updated = {k: np.empty_like(v) for k, v in state.items()}
    status = StatusBuffers.allocate(POINTS)
    rows = np.random.default_rng(0).permutation(POINTS + 5)[:POINTS]
    stress = np.full((POINTS + 5, 2, 6), 7.0)[:, 1]
    slope = np.full((POINTS + 5, 6, 6), 7.0)
    kernel.update(
        inputs, state, 0.5, outputs={"stress": stress}, new_state=updated, status=status,
        tangent={("stress", "strain"): slope}, rows=rows.astype(np.int32),
    )  # fmt: skip
    np.testing.assert_array_equal(stress[rows], full.outputs["stress"])
    np.testing.assert_array_equal(slope[rows], full.tangent["stress", "strain"])
    rest = np.setdiff1d(np.arange(POINTS + 5), rows)
    assert (stress[rest] == 7.0).all() and (slope[rest] == 7.0).all()
    heat = np.full(POINTS, np.nan)
    kernel.pullback(
        inputs, state, 0.5, output_cotangents=outputs, state_cotangents=new, status=status,
        input_bars={"heat": heat}, parameter_bars={"k": np.zeros(())},
    )  # fmt: skip
    np.testing.assert_array_equal(heat, pull(kernel, inputs, state, outputs, new)[0]["heat"])
