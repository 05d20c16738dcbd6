"""Exported laws: the kernel's numbers without the library, and files that are refused."""

import hashlib
import json
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, learning
from dolfinx_admat.kernels import BatchKernel, StatusBuffers
from dolfinx_admat.learning import TrainingRange, export_law, load_exported
from dolfinx_admat.learning._export_file import checksum

STEEL = admat.VoceHardening(sigma_y=250.0, Q=100.0, b=20.0, H=1000.0)
J2 = admat.J2Plasticity(210e3, 0.3, hardening=STEEL)
LAWS = {
    "J2": J2,
    "Chaboche": admat.Elastoviscoplastic(
        admat.IsotropicElasticity(210e3, 0.3),
        admat.VonMises(),
        STEEL,
        (admat.ArmstrongFrederick(20e3, 100.0), admat.ArmstrongFrederick(2e3, 10.0)),
        viscosity=admat.NortonFlow(80.0, 5.0),
    ),
    "Maxwell": admat.GeneralisedMaxwell(1.0, 2.0, [0.5, 0.3], [1.0, 10.0]),
    "rubber": admat.Incompressible(admat.NeoHookean(3.0, 0.4), kappa=50.0),
}


def points(law, n, rng):
    """Inputs around rest, where most points flow, and a state that is not the initial one."""
    inputs = {}
    for name, shape in law.inputs.items():
        rest = np.eye(3) if name == "deformation_gradient" else np.zeros(tuple(shape))
        inputs[name] = rest + 0.004 * rng.normal(size=(n, *shape))
    kernel = BatchKernel(law, backend="xla")
    state, _, _, _ = kernel_step(kernel, inputs, kernel.initial_state(n), 0.1)
    return {k: v + 0.001 * (v - kernel_rest(k)) for k, v in inputs.items()}, state


def kernel_rest(name):
    return np.eye(3) if name == "deformation_gradient" else 0.0


def kernel_step(kernel, inputs, state, dt):
    """New state, outputs, tangents and status of the kernel."""
    law, n = kernel.material, len(next(iter(inputs.values())))
    outputs = {k: np.zeros((n, *s)) for k, s in law.outputs.items()}
    new = {k: np.zeros_like(v) for k, v in state.items()}
    tangent = {
        (o, i): np.zeros((n, *left, *right))
        for o, left in law.outputs.items()
        for i, right in law.inputs.items()
    }
    status = StatusBuffers.allocate(n)
    kernel.update(inputs, state, dt, outputs=outputs, new_state=new, status=status, tangent=tangent)
    return new, outputs, tangent, status.code


@pytest.mark.parametrize("name", LAWS)
def test_the_same_numbers_as_the_kernel(name, tmp_path, rng):
    law = LAWS[name]
    exported, description = load_exported(export_law(law, tmp_path / "law.zip"))
    kernel = BatchKernel(law, backend="xla")
    for n in (7, 64, 1) if name in ("J2", "Maxwell") else (7,):  # a compilation each
        inputs, state = points(law, n, rng)
        found = exported(inputs, state, 0.1)
        new, outputs, tangent, code = kernel_step(kernel, inputs, state, 0.1)
        assert (code == 0).all() and (np.asarray(found["status"]) == code).all()
        for key, value in outputs.items():
            size = np.abs(value).max()
            np.testing.assert_allclose(found["outputs"][key], value, rtol=0, atol=1e-12 * size)
        assert set(found["state"]) == set(new)
        for key, value in new.items():
            np.testing.assert_allclose(found["state"][key], value, rtol=1e-12, atol=1e-14)
        for (o, i), value in tangent.items():
            got = np.asarray(found["tangent"][f"{o}/{i}"])
            assert np.abs(got - value).max() <= 1e-12 * np.abs(value).max()
    none = exported({k: v[:0] for k, v in inputs.items()}, exported.initial_state(0))
    assert none["status"].shape == (0,)
    assert {k: np.shape(v)[1:] for k, v in none["outputs"].items()} == {
        k: tuple(s) for k, s in law.outputs.items()
    }
    assert description["law"] == type(law).__name__ and description["platforms"] == ["cpu"]


def test_a_learned_law_and_what_the_description_says(tmp_path, rng):
    hardening = learning.LearnedHardening.create(yield_stress=250.0, strain=0.05)
    law = admat.J2Plasticity(210e3, 0.3, hardening=hardening)
    seen = TrainingRange(law, np.zeros(8), np.linspace(1.0, 2.0, 8))
    file = export_law(
        law, tmp_path / "law.zip", units={"stress": "MPa"}, training_range=seen, tangent=False,
        notes="trained on nothing",
    )  # fmt: skip
    exported, description = load_exported(file)
    assert exported.description is description
    strain = {"group": "inputs", "name": "strain", "shape": ["points", 6], "dtype": "float64"}
    assert description["arguments"][0] == strain | {"kind": "symmetric tensor"}
    assert description["arguments"][-1] == {
        "group": "dt", "name": "", "shape": [], "dtype": "float64"
    }  # fmt: skip
    assert [(e["group"], e["name"]) for e in description["results"]] == [
        ("outputs", "stress"),
        ("state", "equivalent_plastic_strain"),
        ("state", "plastic_strain"),
        ("status", ""),
    ]
    assert description["units"] == {"stress": "MPa"} and "sqrt(2) xy" in str(description)
    back = {k: tuple(v) for k, v in description["training_range"].items()}
    assert back == seen.to_mapping() and description["notes"] == "trained on nothing"
    inputs = {"strain": 0.01 * rng.normal(size=(3, 6))}
    found = exported(inputs, exported.initial_state(3))
    assert "tangent" not in found
    kernel = BatchKernel(law, backend="xla")
    new, outputs, _, code = kernel_step(kernel, inputs, kernel.initial_state(3), 0.0)
    assert (code == 0).all() and new["equivalent_plastic_strain"].min() > 1e-3
    np.testing.assert_allclose(found["outputs"]["stress"], outputs["stress"], atol=1e-9)


ALONE = """
import json, sys, zipfile
import jax, jax.export, numpy as np
jax.config.update("jax_enable_x64", True)
with zipfile.ZipFile(sys.argv[1]) as file:
    description = json.loads(file.read("description.json"))
    program = jax.export.deserialize(bytearray(file.read("program.bin")))
assert not any(name.startswith(("dolfinx", "equinox")) for name in sys.modules)
n = 5
rest = description["initial_state"].items()
state = {name: np.tile(value, (n,) + np.ndim(value) * (1,)) for name, value in rest}
state = {name: np.asarray(value, float) for name, value in state.items()}
strain = 0.01 * np.eye(6)[:n]
found = program.call({"strain": strain}, state, np.float64(0.1))
assert "stablehlo" in program.mlir_module()
print(json.dumps([
    np.asarray(found["outputs"]["stress"]).tolist(),
    np.asarray(found["tangent"]["stress/strain"]).tolist(),
    np.asarray(found["status"]).tolist(),
]))
"""


def test_it_runs_without_the_library(tmp_path):
    file = export_law(J2, tmp_path / "law.zip")
    (tmp_path / "alone.py").write_text(ALONE)
    done = subprocess.run(
        [sys.executable, "-I", "alone.py", str(file)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stress, tangent, status = map(np.array, json.loads(done.stdout))
    kernel = BatchKernel(J2, backend="xla")
    inputs = {"strain": 0.01 * np.eye(6)[:5]}
    _, outputs, tangents, _ = kernel_step(kernel, inputs, kernel.initial_state(5), 0.1)
    np.testing.assert_allclose(stress, outputs["stress"], rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(tangent, tangents["stress", "strain"], rtol=1e-12, atol=1e-6)
    assert (status == 0).all()


def test_for_two_platforms(tmp_path):
    """Lowered for a GPU as well, where there is none; the CPU's part still runs."""
    exported, description = load_exported(
        export_law(LAWS["rubber"], tmp_path / "law.zip", platforms=("cpu", "cuda"))
    )
    assert description["platforms"] == ["cpu", "cuda"]
    inputs = {"deformation_gradient": np.eye(3)[None], "pressure": np.zeros(1)}
    assert np.abs(exported(inputs, {})["outputs"]["first_piola_stress"]).max() < 1e-12


# -- What is refused -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return export_law(J2, tmp_path_factory.mktemp("export") / "law.zip")


def content(file):
    with zipfile.ZipFile(file) as parts:
        return json.loads(parts.read("description.json")), parts.read("program.bin")


def forge(file, description, program, *, more=()):
    """A file with right checksums, whatever it says."""
    description["program"] = {"bytes": len(program), "sha256": hashlib.sha256(program).hexdigest()}
    description["checksum"] = checksum(description)
    with zipfile.ZipFile(file, "w") as parts:
        parts.writestr("description.json", json.dumps(description))
        parts.writestr("program.bin", program)
        for name in more:
            parts.writestr(name, b"x")
    return file


def test_damaged_files(good, tmp_path):
    data, file = good.read_bytes(), tmp_path / "damaged.zip"
    cases = [data[: len(data) // 2], data[100:], b"", b"law", data + data]
    for k in range(40, len(data), len(data) // 40):  # a bit anywhere
        cases.append(data[:k] + bytes([data[k] ^ 16]) + data[k + 1 :])
    refused = 0
    for wrong in cases:
        file.write_bytes(wrong)
        try:
            found, _ = load_exported(file)
        except MaterialError as error:
            assert str(file) in str(error)
            refused += 1
        else:  # bits of the zip that mean nothing, or a second copy: the same law
            assert content(file) == content(good) and found is not None
    assert refused >= len(cases) - 6
    with pytest.raises(MaterialError, match="cannot be read: No such file"):
        load_exported(tmp_path / "nothing.zip")


def test_files_that_do_not_mean_what_they_say(good, tmp_path):
    file = tmp_path / "forged.zip"

    def changed(**values):
        description, program = content(good)
        return forge(file, description | values, program)

    description, program = content(good)
    wider = json.loads(json.dumps(description["arguments"]).replace("6", "9"))
    renamed = json.loads(json.dumps(description["results"]).replace("stress", "strain"))
    cases = [
        (dict(format="law"), "another kind"),
        (dict(version=2), "update dolfinx_admat"),
        (dict(version="1"), "version missing or wrong"),
        (dict(arguments={}), "arguments missing or wrong"),
        (dict(arguments=wider), r"disagree: arguments: .*\['points', 9\].*the program has"),
        (dict(arguments=description["arguments"][:-1]), "disagree: arguments"),
        (dict(arguments=[1, 2]), "disagree: malformed"),
        (dict(results=renamed), "disagree: results"),
        (dict(initial_state={}), "initial_state does not fit"),
        (dict(initial_state=description["initial_state"] | {"plastic_strain": "abc"}), "malformed"),
        (dict(platforms=["tpu"]), "disagree: platforms"),
    ]
    for values, match in cases:
        with pytest.raises(MaterialError, match=match):
            load_exported(changed(**values))
    other = content(export_law(LAWS["Maxwell"], tmp_path / "other.zip"))[1]
    with pytest.raises(MaterialError, match="description and program disagree"):
        load_exported(forge(file, *content(good)[:1], other))
    with pytest.raises(MaterialError, match="it holds"):
        load_exported(forge(file, *content(good), more=["more.py"]))
    for rubbish in (b"", b"no program", program[:-500], bytes(1000)):
        with pytest.raises(MaterialError, match="the program cannot be read by jax"):
            load_exported(forge(file, *content(good)[:1], rubbish))


def test_programs_that_reach_out(good, tmp_path):
    """The same arguments and results, but it calls what is not its own."""
    original = jax.export.deserialize(bytearray(content(good)[1]))
    (n,) = jax.export.symbolic_shape("points")
    of = lambda *s: jax.ShapeDtypeStruct((n, *s), jnp.float64)  # noqa: E731
    state = {"plastic_strain": of(6), "equivalent_plastic_strain": of()}

    def forged(inputs, state, dt):
        found = original.call(inputs, state, dt)
        stress = jax.ffi.ffi_call("run_this", of(6))(inputs["strain"])
        return {**found, "outputs": {"stress": stress}}

    made = jax.export.export(
        jax.jit(forged), disabled_checks=[jax.export.DisabledSafetyCheck.custom_call("run_this")]
    )({"strain": of(6)}, state, jax.ShapeDtypeStruct((), jnp.float64))
    file = forge(tmp_path / "forged.zip", *content(good)[:1], bytes(made.serialize()))
    with pytest.raises(MaterialError, match=r"calls what it must not:.*run_this"):
        load_exported(file)


class Calls(admat.ExplicitSmallStrain):
    """A law that asks Python."""

    def update(self, strain, state, dt):
        kind = jax.ShapeDtypeStruct((6,), jnp.float64)
        return jax.pure_callback(lambda e: e, kind, strain, vmap_method="expand_dims"), state


def test_what_cannot_be_exported(good, tmp_path):
    file = tmp_path / "law.zip"
    for law, more, match in (
        ("J2", {}, "expected a law; got str"),
        (J2, {"platforms": "cpu"}, "platforms must be some of cpu"),
        (J2, {"platforms": ()}, "platforms must be some of cpu"),
        (J2, {"platforms": ("abacus",)}, r"got \('abacus',\)"),
        (J2, {"platforms": 3}, "platforms must be some of cpu.*got 3"),
        (J2, {"platforms": (["cpu"],)}, "platforms must be some of cpu"),
        (J2, {"units": 3}, "units must be units by quantity; got 3"),
        (J2, {"tangent": "x"}, "tangent must be True or False; got 'x'"),
        (J2, {"training_range": 3}, "must be a TrainingRange, or .low, high. by name; got 3"),
        (J2, {"training_range": {"strain": 3}}, "'strain' must be .low, high., finite; got 3"),
        (J2, {"training_range": {"strain": (0, np.nan)}}, "'strain' must be .low, high., finite"),
        (Calls(), {"tangent": False}, "Calls"),
    ):
        with pytest.raises(MaterialError, match=match):
            export_law(law, file, **more)
    with pytest.raises(MaterialError, match="cannot be written"):
        export_law(J2, tmp_path / "no" / "folder.zip", tangent=False)
    assert list(tmp_path.iterdir()) == []

    exported, _ = load_exported(good)
    inputs, state = {"strain": np.zeros((2, 6))}, exported.initial_state(2)
    for given, other, match in (
        ({}, state, "inputs lack 'strain'"),
        (inputs | {"stress": 0}, state, r"unknown inputs or state variables \['stress'\]"),
        (inputs, {}, "state lack"),
        ({"strain": np.zeros((2, 3))}, state, r"must have shape \(2, 6\); got \(2, 3\)"),
        (inputs, exported.initial_state(3), "must have shape"),
        (inputs, None, r"exported J2Pl.*: state must be arrays by name, \['eq.*; initial_state\("),
        (None, state, r"inputs must be arrays by name, \['strain'\]; got NoneType"),
        ({"strain": "large"}, state, "inputs 'strain': could not convert"),
    ):
        with pytest.raises(MaterialError, match=match):
            exported(given, other)
    for dt in (-1.0, np.nan, np.inf, "a", [0.1], None, np.array(-1.0)):
        with pytest.raises(MaterialError, match="the step dt must be a finite number >= 0; got"):
            exported(inputs, state, dt)
    for points in (-1, 1.5, None):
        with pytest.raises(MaterialError, match="initial_state: points must be a whole number >= "):
            exported.initial_state(points)
    assert (exported(inputs, state, jnp.asarray(0.1))["status"] == 0).all()


def test_a_training_range_by_name(tmp_path):
    ranges = {"strain.size": (0.0, np.float64(0.1)), "state": ([0, 1], [2, 3])}
    more = {"training_range": ranges, "tangent": False}
    _, description = load_exported(export_law(J2, tmp_path / "law.zip", **more))
    assert description["training_range"] == {"strain.size": [0.0, 0.1], "state": [[0, 1], [2, 3]]}
