"""Mistakes in a user's law: found at its file and line, with the remedy.

Each law below is written to a file; the line with the comment `# HERE` must be named.
"""

import importlib.util
import re
import sys
import textwrap

import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, evaluate_point
from dolfinx_admat.kernels import BatchKernel, StatusBuffers

HEADER = """
import math
import jax
import jax.numpy as jnp
import numpy as np
import dolfinx_admat as admat

KEPT = []

def helper(a):
    return np.tanh(a)  # HELPER

"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a law to a file and import it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(body, name="users_law"):
        path = tmp_path / f"{name}.py"
        path.write_text(HEADER + textwrap.dedent(body))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module, path

    return write


def line_of(path, mark="# HERE"):
    (number,) = [i for i, line in enumerate(path.read_text().splitlines(), 1) if mark in line]
    return number


def explicit(*lines):
    body = "\n".join(f"        {line}" for line in lines)
    return f"""
class Law(admat.ExplicitSmallStrain):
    E: float = 1.0
    count: int = 2

    def initial_state(self):
        return {{"p": 0.0, "ep": jnp.zeros(6)}}

    def update(self, strain, state, dt):
{body}
        return strain, state
"""


BRANCH, NUMPY, KNOWN = "jnp.where", "jax.numpy", "known number"
MISTAKES = {
    "if": (["if strain[0] > 0:  # HERE", "    strain = 2 * strain"], BRANCH),
    "while": (["while strain[0] > dt:  # HERE", "    strain = strain / 2"], BRANCH),
    "and": (["on = (dt > 0) and (strain[0] > 0)  # HERE"], BRANCH),
    "python max": (["strain = max(strain[0], 0.0) * strain  # HERE"], BRANCH),
    "python min": (["strain = min(strain[0], self.E) * strain  # HERE"], BRANCH),
    "if on a parameter": (["if self.E > 0:  # HERE", "    strain = 2 * strain"], BRANCH),
    "if on the state": (["if state['p'] > 0:  # HERE", "    strain = 2 * strain"], BRANCH),
    "np.exp": (["strain = np.exp(strain)  # HERE"], NUMPY),
    "np.linalg.norm": (["n = np.linalg.norm(strain)  # HERE"], NUMPY),
    "np.array": (["strain = np.array([strain[0], 0, 0, 0, 0, 0])  # HERE"], NUMPY),
    "np buffer": (["s = np.zeros(6)", "s[0] = strain[0]  # HERE"], NUMPY),
    "math.sqrt": (["n = math.sqrt(strain[0])  # HERE"], KNOWN),
    "float()": (["n = float(strain[0])  # HERE"], KNOWN),
    "int()": (["n = int(dt)  # HERE"], ""),
    "item()": (["n = strain[0].item()  # HERE"], KNOWN),
    "range": (["for i in range(self.count):  # HERE", "    strain = strain"], "static=True"),
    "index": (["names = ['a', 'b', 'c']", "n = names[self.count]  # HERE"], "static=True"),
    "in place": (["strain[0] = 1.0  # HERE"], r"\.at\["),
    "in place, state": (["state['ep'][0] += 1.0  # HERE"], r"\.at\["),
    "misspelt state": (["p = state['pp']  # HERE"], "initial_state"),
    "misspelt field": (["strain = self.EE * strain  # HERE"], ""),
    "misspelt name": (["strain = strian  # HERE"], ""),
    "wrong shapes": (["strain = strain + jnp.zeros(5)  # HERE"], ""),
    "assignment to self": (["self.E = 2.0  # HERE"], "return new state"),
    "division by zero": (["n = 1 / 0  # HERE"], ""),
}


@pytest.mark.parametrize(("lines", "remedy"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_reported_at_its_line(written, lines, remedy):
    module, path = written(explicit(*lines))
    law = module.Law()
    place = re.escape(f"{path}:{line_of(path)} in update: `")
    with pytest.raises(MaterialError, match=rf"Law.update: mistake at {place}") as caught:
        BatchKernel(law).check_law()
    assert re.search(remedy, str(caught.value)), str(caught.value)
    if remedy:
        assert "Remedy:" in str(caught.value)
    assert "jit=False" in str(caught.value)
    assert isinstance(caught.value.__cause__, Exception)
    with pytest.raises(MaterialError, match=place):
        evaluate_point(law, np.ones(6))


def test_mistake_in_a_helper_and_in_a_nested_part(written):
    module, path = written(explicit("strain = helper(strain)"))
    with pytest.raises(MaterialError, match=rf":{line_of(path, '# HELPER')} in helper"):
        BatchKernel(module.Law()).check_law()
    module, path = written(
        """
        class Hardening(admat.Parameters):
            a: float = 1.0

            def __call__(self, p):
                return self.a * np.exp(p)  # HERE
        """,
        "users_hardening",
    )
    law = admat.J2Plasticity(1.0, 0.3, module.Hardening())
    place = re.escape(f"{path}:{line_of(path)} in __call__")
    with pytest.raises(MaterialError, match=f"J2Plasticity.prepare: mistake at {place}"):
        BatchKernel(law).check_law()


def test_mistake_inside_another_library_names_the_users_line(written):
    pytest.importorskip("scipy")
    module, path = written(
        explicit("from scipy.linalg import expm", "strain = expm(jnp.diag(strain))  # HERE")
    )
    with pytest.raises(MaterialError, match=rf"users_law.py:{line_of(path)} in update"):
        BatchKernel(module.Law()).check_law()


def test_tracer_kept_in_a_global(written):
    module, path = written(explicit("KEPT.append(strain)", "strain = strain + KEPT[0]  # HERE"))
    kernel = BatchKernel(module.Law(), chunk_size=2)
    buffers = {
        "outputs": {"stress": np.zeros((2, 6))},
        "new_state": kernel.initial_state(2),
        "status": StatusBuffers.allocate(2),
    }
    strain, state = {"strain": np.ones((2, 6))}, kernel.initial_state(2)
    kernel.update(strain, state, 0.0, **buffers)  # the first trace keeps it
    tangent = {("stress", "strain"): np.zeros((2, 6, 6))}
    with pytest.raises(MaterialError, match=rf"law.py:{line_of(path)} in update") as caught:
        kernel.update(strain, state, 0.0, **buffers, tangent=tangent)
    assert "kept outside the function" in str(caught.value)


RETURNED = {
    "only stress": ("strain", r"must return \(stress, state\) \(Law.update at .*\); got one array"),
    "nothing": ("None", "got NoneType"),
    "three things": ("strain, state, dt", "got tuple"),
    "a dict for the stress": ("{'stress': strain}, state", "bare stress array, not a dict"),
    "a matrix": (
        "jnp.zeros((3, 3)), state",
        r"output 'stress' has the wrong shape .*got \(3, 3\), expected \(6,\) \(a Mandel vector\)",
    ),
    "a missing name": ("strain, {'p': dt}", r"names changed .*missing \['ep'\]"),
    "a new name": ("strain, {**state, 'q': dt}", r"unknown \['q'\].*declares \['ep', 'p'\]"),
    "a misspelt name": (
        "strain, {'p': dt, 'eps': strain}",
        r"missing \['ep'\] and unknown \['eps'\]",
    ),
    "a new shape": (
        "strain, {**state, 'p': strain}",
        r"state 'p' changes its shape .*got \(6,\), expected \(\)",
    ),
    "no state": ("strain, {}", r"missing \['ep', 'p'\]"),
    "swapped": ("state, strain", "not a dict"),
}


@pytest.mark.parametrize(("value", "message"), RETURNED.values(), ids=RETURNED.keys())
def test_returned_value_is_checked(written, value, message):
    module, path = written(explicit(f"return {value}"))
    place = re.escape(str(path)) + r":\d+"
    for act in (
        lambda: BatchKernel(module.Law()).check_law(),
        lambda: evaluate_point(module.Law(), np.zeros(6)),
    ):
        with pytest.raises(MaterialError, match=message) as caught:
            act()
        assert re.search(place, str(caught.value))


def test_state_that_changes_its_type(written):
    module, _ = written(
        """
        class Law(admat.ExplicitSmallStrain):
            def initial_state(self):
                return {"b": [0.0, 1.0]}

            def update(self, strain, state, dt):
                return strain, {"b": tuple(state["b"])}
        """
    )
    with pytest.raises(MaterialError, match="the state changes its type"):
        BatchKernel(module.Law()).check_law()


def test_state_that_is_not_a_number(written):
    module, _ = written(
        """
        class Law(admat.ExplicitSmallStrain):
            def initial_state(self):
                return {"failed": False}

            def update(self, strain, state, dt):
                return strain, state
        """
    )
    with pytest.raises(MaterialError, match=r"state 'failed' must be a number .* gives bool"):
        BatchKernel(module.Law())


SEVERAL = """
class Law(admat.ExplicitLaw):
    inputs = {"strain": admat.SYMMETRIC, "T": admat.SCALAR}
    outputs = {"stress": admat.SYMMETRIC, "flux": admat.VECTOR}

    def update(self, inputs, state, dt):
        return RETURN, state
"""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("inputs['strain']", r"got .*expected \['flux', 'stress'\]"),
        ("{'stress': inputs['strain']}", r"got \['stress'\], expected \['flux', 'stress'\]"),
        (
            "{'stress': inputs['strain'], 'flux': jnp.zeros(2)}",
            r"output 'flux' has the wrong shape .*got \(2,\), expected \(3,\)",
        ),
    ],
)
def test_several_outputs_are_checked(written, value, message):
    module, _ = written(SEVERAL.replace("RETURN", value))
    with pytest.raises(MaterialError, match=message):
        BatchKernel(module.Law()).check_law()


IMPLICIT = """
SEEN = []

class Law(admat.ImplicitSmallStrain):
    E: float = 10.0

    def initial_state(self):
        return {"p": 0.0}

    def guess(self, step):
        return GUESS

    def residual(self, x, step):
        SEEN.append((x, step))
        return RESIDUAL

    def finish(self, x, step):
        return FINISH
"""


def implicit_law(written, guess="step.given", residual="x**3 + x - step.given", finish=None):
    finish = finish or "self.E * x, {'p': step.state['p'] + x[0]}"
    source = IMPLICIT.replace("GUESS", guess).replace("RESIDUAL", residual)
    return written(source.replace("FINISH", finish))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": "x if x[0] > 0 else 2 * x"}, r"Law.residual: mistake at .*jnp.where"),
        ({"residual": "np.exp(x)"}, r"Law.residual: mistake at .*in residual.*jax.numpy"),
        ({"residual": "x[:5]"}, r"Law.residual: mistake at .*got 5 equations for 6 unknowns"),
        ({"guess": "math.sin(step.given[0])"}, "Law.guess: mistake at .*in guess"),
        ({"guess": "step.strain"}, "Law.guess: mistake at .*no attribute 'strain'"),
        ({"finish": "x"}, r"finish must return \(stress, state\).*got one array"),
        ({"finish": "x[:5], step.state"}, r"output 'stress' has the wrong shape .*Law.finish at"),
        ({"finish": "x, {'P': x[0]}"}, r"missing \['p'\] and unknown \['P'\]"),
    ],
)
def test_mistakes_in_an_implicit_law(written, changes, message):
    module, path = implicit_law(written, **changes)
    for act in (
        lambda: BatchKernel(module.Law()).check_law(),
        lambda: evaluate_point(module.Law(), np.full(6, 0.1)),
    ):
        with pytest.raises(MaterialError, match=f"(?s){message}") as caught:
            act()
        assert f"{path}:" in str(caught.value)


def test_energy_that_is_not_a_scalar(written):
    module, path = written(
        """
        class Law(admat.Hyperelastic):
            def energy(self, F):
                return F @ F
        """
    )
    with pytest.raises(MaterialError, match=r"(?s)Law.energy: mistake at .*scalar") as caught:
        BatchKernel(module.Law()).check_law()
    assert f"{path}:" in str(caught.value)


def test_one_point_unjitted_shows_numbers(written):
    """As under a debugger: Python branches, prints and numpy work on concrete values."""
    module, _ = written(
        explicit(
            "assert not isinstance(strain, jax.core.Tracer)",
            "KEPT.append((np.exp(strain), float(dt), f'{strain[0]:.3f}', state['p'].item()))",
            "if strain[0] > 0:",
            "    return 2.0 * strain, state",
        )
    )
    result = evaluate_point(module.Law(), [0.5, 0, 0, 0, 0, 0], dt=0.25, jit=False)
    np.testing.assert_array_equal(result.outputs["stress"], [1.0, 0, 0, 0, 0, 0])
    assert module.KEPT[0][1:] == (0.25, "0.500", 0.0)


def test_implicit_law_unjitted_shows_numbers_first(written):
    module, _ = implicit_law(written)
    law = module.Law()
    compiled = evaluate_point(law, np.full(6, 0.1))
    module.SEEN.clear()
    plain = evaluate_point(law, np.full(6, 0.1), jit=False)
    x, step = module.SEEN[0]
    import jax

    assert not any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves((x, step)))
    np.testing.assert_array_equal(x, np.full(6, 0.1))
    np.testing.assert_allclose(plain.outputs["stress"], compiled.outputs["stress"], rtol=1e-14)
    np.testing.assert_allclose(plain.state["p"], compiled.state["p"], rtol=1e-14)


def test_without_jit_mistakes_are_raised_as_they_are(written):
    """So that a post-mortem debugger stops at the line, with its variables."""
    module, path = written(explicit("p = state['pp']  # HERE"))
    with pytest.raises(KeyError, match="pp") as caught:
        evaluate_point(module.Law(), np.zeros(6), jit=False)
    assert caught.traceback[-1].path == path
    assert caught.traceback[-1].lineno + 1 == line_of(path)


@pytest.mark.parametrize(
    ("inputs", "state", "message"),
    [
        (np.zeros(3), None, r"input 'strain' has shape \(3,\), expected \(6,\)"),
        (np.zeros((3, 3)), None, r"input 'strain' has shape \(3, 3\), expected \(6,\)"),
        ({"strian": np.zeros(6)}, None, r"inputs are \['strian'\], expected \['strain'\]"),
        (np.zeros(6), {"p": 0.0}, r"argument `state`.*missing \['ep'\]"),
        (np.zeros(6), {"p": 0.0, "ep": np.zeros(3)}, r"got \(3,\), expected \(6,\)"),
    ],
)
def test_wrong_arguments_of_evaluate_point(written, inputs, state, message):
    module, _ = written(explicit())
    with pytest.raises(MaterialError, match=message):
        evaluate_point(module.Law(), inputs, state)


def test_bare_input_of_a_law_with_several():
    class Two(admat.ExplicitLaw):
        inputs = {"strain": admat.SYMMETRIC, "T": admat.SCALAR}  # noqa: RUF012
        outputs = {"stress": admat.SYMMETRIC}  # noqa: RUF012

        def update(self, inputs, state, dt):
            return {"stress": inputs["strain"]}, state

    with pytest.raises(MaterialError, match=r"must be a dict with \['T', 'strain'\]"):
        evaluate_point(Two(), np.zeros(6))
