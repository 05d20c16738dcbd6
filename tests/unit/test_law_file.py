"""Laws in files: bit for bit there and back, and nothing in a file is trusted."""

import json
import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import run
from laws import LAWS, WRAPPERS, PragerByEnergies, composed

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, drive, law_file, load_law, read_law_file, save_law
from dolfinx_admat._law_content import Description, Reader, same
from dolfinx_admat.kernels import BatchKernel
from dolfinx_admat.laboratory import read_case
from dolfinx_admat.laboratory.check_command import LawNotFound, find_law

STEEL = admat.J2Plasticity(210e3, 0.3, admat.VoceHardening(250.0, 100.0, 20.0))
TABLE = admat.Table([293.0, 600.0], [210e3, 180e3])


class Network(admat.ExplicitSmallStrain):
    """A law with weights, as a learned one has."""

    mlp: eqx.nn.MLP
    scale: float = admat.parameter(above=0.0)
    name: str = eqx.field(static=True, default="network")
    shift: np.ndarray | None = None

    def update(self, strain, state, dt):
        return self.scale * self.mlp(strain), state


class Part(admat.Parameters):
    H: float

    def __call__(self, p):
        return 100.0 + self.H * p


def own_hardening(p):
    return 250.0 + 1e3 * p


def network(activation=jax.nn.softplus, dtype=None):
    key = jax.random.key(3)
    return Network(eqx.nn.MLP(6, 6, 5, 2, activation=activation, dtype=dtype, key=key), 0.1)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "law.json"


def there_and_back(file, law, known=()):
    assert save_law(file, law) == file
    found = load_law(file, known)
    assert same(found, law)
    assert eqx.tree_equal(found, law, typematch=True)
    return found


@pytest.mark.parametrize("name", LAWS)
def test_every_law_comes_back_bit_for_bit(name, file):
    there_and_back(file, LAWS[name], [PragerByEnergies])


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapped_laws_come_back(name, file):
    try:
        law = WRAPPERS[name](LAWS["NeoHookean" if name == "logarithmic strain" else "Zener"])
    except MaterialError:
        law = WRAPPERS[name](STEEL)
    if name == "temperature":  # whose parameter is a lambda there
        law = admat.TemperatureDependent(STEEL, {"E": TABLE, "hardening.Q": lambda T: T})
        with pytest.raises(MaterialError, match=r"parameters.hardening.Q: .* is code.*Table"):
            save_law(file, law)
        assert not file.exists()
        quadratic = admat.Polynomial([210e3, -10.0], 293.0)
        law = admat.TemperatureDependent(STEEL, {"E": TABLE, "hardening.sigma_y": quadratic})
    there_and_back(file, law)


def test_values_that_text_could_lose(file):
    awkward = np.array([0.1, 1.0 / 3.0, 5e-324, -0.0, 2.0**53 + 2.0, np.nextafter(1.0, 2.0)])
    law = eqx.tree_at(lambda law: law.shift, network(), awkward, is_leaf=lambda v: v is None)
    save_law(file, law)
    found = load_law(file, [Network])
    assert np.asarray(found.shift).tobytes() == awkward.tobytes()
    numbers = [jnp.float32(0.1), np.float32(0.1), np.arange(3), np.zeros((0, 3)), np.array([True]),
               np.array([np.nan, -np.inf]), np.uint32(7), np.eye(2, 3).T]  # fmt: skip
    kept = {"numbers": numbers, "plain": (1, 1.0, True, None, -0.0, float("inf"), "text")}
    data = json.loads(json.dumps(Description().of(kept, "kept"), allow_nan=False))
    assert same(Reader().value(data, "kept"), kept)


@pytest.mark.parametrize("activation", [jax.nn.softplus, jax.nn.relu, jnp.tanh, jax.nn.silu])
def test_networks_of_the_users_own_law(activation, file):
    law = network(activation)
    found = there_and_back(file, law, [Network])
    assert found.mlp.activation is activation and found.name == "network"
    strain = jnp.arange(6) * 1e-3
    assert (found.update(strain, {}, 0.0)[0] == law.update(strain, {}, 0.0)[0]).all()


def test_float32_weights_that_the_law_has_made_float64(file):
    there_and_back(file, network(dtype=jnp.float32), [Network])


def test_a_kernel_takes_the_loaded_law_for_the_same(file):
    found = there_and_back(file, STEEL)
    assert jax.tree.structure(found) == jax.tree.structure(STEEL)
    kernel = BatchKernel(STEEL, backend="xla", chunk_size=8)
    strain = np.linspace(0.0, 0.01, 8 * 6).reshape(8, 6)
    before = run(kernel, strain, tangent=False).outputs["stress"]
    traces, kernel.material = kernel.traces, found
    after = run(kernel, strain, tangent=False).outputs["stress"]
    assert kernel.traces == traces
    assert (before == after).all() and np.abs(after).max() > 250.0


def test_metadata(file):
    with_all = {
        "units": {"stress": "MPa"},
        "fitted": ["hardening.Q", "hardening.b"],
        "covariance": np.array([[4.0, 0.1], [0.1, 1.0 / 3.0]]),
        "training_range": {"strain": (np.full(6, -0.01), np.full(6, 0.02)), "rate": (0.0, 1.0)},
        "data_hash": "sha256:00",
        "errors": {"rms": 0.1, "by test": [1, 2.5]},
        "notes": {"text": "é", "empty": None, "flag": True},
    }
    save_law(file, STEEL, **with_all)
    found = read_law_file(file)
    for name, value in with_all.items():
        if name not in ("covariance", "training_range", "fitted"):
            assert getattr(found, name) == value
    assert tuple(found.fitted) == ("hardening.Q", "hardening.b")
    assert (found.covariance == with_all["covariance"]).all()
    assert (found.training_range["strain"][1] == 0.02).all()
    assert found.training_range["rate"] == (0.0, 1.0)
    assert found.law_class == "J2Plasticity" and found.needs == ()
    assert found.versions["dolfinx_admat"] == admat.__version__
    assert found.date.startswith("20")


def test_no_metadata(file):
    save_law(file, network())
    found = read_law_file(file)  # without the class
    assert found.needs == ("Network",) and found.law_class == "Network"
    assert found.units is None and found.covariance is None and found.notes is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"covariance": np.eye(2)}, "names of its parameters"),
        ({"covariance": np.eye(2), "fitted": ["E"]}, r"symmetric matrix \(1, 1\).*\(2, 2\)"),
        ({"covariance": [[1.0, 2.0], [3.0, 4.0]], "fitted": ["E", "nu"]}, "symmetric"),
        ({"units": "MPa"}, "units must be a dict"),
        ({"notes": lambda: 0}, "notes: a function cannot be saved"),
        ({"notes": {"law": STEEL}}, "notes.law: a J2Plasticity cannot be saved"),
        ({"errors": {"E": np.array([object()])}}, "errors.E: an array of object cannot be saved"),
    ],
)
def test_wrong_metadata_is_refused(more, message, file):
    with pytest.raises(MaterialError, match=message):
        save_law(file, STEEL, **more)
    assert not file.exists()


# -- Classes and functions of the user's own --------------------------------------------------


def test_own_classes_and_functions_are_given_by_the_reader(file):
    law = composed(admat.VonMises(), own_hardening, flow=None)
    save_law(file, law)
    assert read_law_file(file).needs == ("own_hardening",)
    with pytest.raises(MaterialError, match=r"hardening: the function 'own_hardening' \(of module"):
        load_law(file)
    assert load_law(file, [own_hardening]).hardening is own_hardening
    there_and_back(file, composed(admat.VonMises(), Part(5.0)), [Part])
    with pytest.raises(MaterialError, match=r"nothing is imported.*known=\[Part\]"):
        load_law(file)
    with pytest.raises(MaterialError, match="known: expected classes"):
        load_law(file, ["test_law_file:Part"])

    class Other(admat.Parameters):
        k: float

    Other.__name__ = "Part"
    with pytest.raises(MaterialError, match="two things are named Part"):
        load_law(file, [Part, Other])
    with pytest.raises(MaterialError, match=r"not fit class Part: missing \['k'\], unknown"):
        load_law(file, [Other])


@pytest.mark.parametrize(
    "part",
    [lambda p: 250.0 + p, jax.jit(own_hardening), jax.tree_util.Partial(own_hardening)],
    ids=["lambda", "jitted", "partial"],
)
def test_code_is_refused(part, file):
    with pytest.raises(MaterialError, match=r"hardening: .* is code.*class with parameters"):
        save_law(file, composed(admat.VonMises(), part))
    assert not file.exists()


def test_wrappers_of_code_are_refused(file):
    with pytest.raises(MaterialError, match=r"hardening: a .* of equinox.* cannot be saved"):
        save_law(file, composed(admat.VonMises(), eqx.filter_jit(own_hardening)))


def test_what_is_no_law_is_refused(file):
    with pytest.raises(MaterialError, match="expected a law; got VoceHardening"):
        save_law(file, admat.VoceHardening(250.0, 100.0, 20.0))

    @jax.jit
    def inside(E):
        save_law(file, admat.LinearElastic(E, 0.3))
        return E

    with pytest.raises(MaterialError, match=r"LinearElastic.E: .* not known inside"):
        inside(1.0)


def test_a_law_that_would_not_come_back_is_refused(file):
    class Doubles(admat.ExplicitSmallStrain):
        k: float

        def __check_init__(self):
            object.__setattr__(self, "k", 2.0 * self.k)

        def update(self, strain, state, dt):
            return self.k * strain, state

    with pytest.raises(MaterialError, match="does not come back as it was"):
        save_law(file, Doubles(1.0))


# -- Files that are not as they should be -----------------------------------------------------


def content(file):
    return json.loads(file.read_text())


def rewritten(file, change, *, checksum=True):
    """The file with a change, and a checksum that fits unless told: an attacker can count, too."""
    save_law(file, STEEL)
    data = content(file)
    change(data)
    if checksum:
        data["checksum"] = law_file._checksum(data)
    file.write_text(json.dumps(data))
    return file


def test_a_layout_of_ones_own_changes_nothing(file):
    save_law(file, STEEL)
    file.write_text(json.dumps(content(file), indent=4, sort_keys=True))
    assert same(load_law(file), STEEL)


def test_no_byte_can_be_lost_or_changed_unseen(file):
    save_law(file, STEEL)
    whole = file.read_bytes()
    for end in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:end])
        with pytest.raises(MaterialError, match=r"law.json: no law file, or not all of it"):
            load_law(file)
    random = np.random.default_rng(5)
    for at in random.integers(0, len(whole), 200):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = load_law(file)
        except MaterialError:
            continue
        assert same(found, STEEL)  # white space


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no law file"),
        (b"\x80\x04\x95pickle", "no law file"),
        (b"PK\x03\x04", "no law file"),
        (b"[1, 2]", "does not begin as save_law"),
        (b'{"format": "other"}', "does not begin as save_law"),
        (b'{"format": "dolfinx_admat law"}', "damaged: version, checksum"),
        (b"[" * 100000, "no law file"),
        (b'{"a": ' * 5000, "no law file"),
    ],
)
def test_other_files(data, message, file):
    file.write_bytes(data)
    for read in (load_law, read_law_file):
        with pytest.raises(MaterialError, match=message):
            read(file)


def test_missing_files_and_folders(file):
    with pytest.raises(MaterialError, match="cannot be read: No such file"):
        load_law(file)
    with pytest.raises(MaterialError, match="cannot be written: No such file"):
        save_law(file.parent / "none" / "law.json", STEEL)


def test_damage_and_newer_versions(file):
    def edit(data):
        data["law"]["fields"]["E"]["values"] = [1.0]

    with pytest.raises(MaterialError, match=r"damaged or edited: its checksum.*save it anew"):
        load_law(rewritten(file, edit, checksum=False))
    assert load_law(rewritten(file, edit)).E == 1.0

    def newer(data):
        data["version"], data["versions"]["dolfinx_admat"] = 2, "9.0"

    with pytest.raises(MaterialError, match=r"version 2, written by dolfinx_admat 9.0; .*update"):
        load_law(rewritten(file, newer))
    for key in ("version", "metadata", "law", "checksum"):
        with pytest.raises(MaterialError, match=f"damaged: {key}"):
            load_law(rewritten(file, lambda data, key=key: data.pop(key), checksum=False))


def array(**changes):
    whole = {"array": "float64", "shape": [], "values": [1.0], "of": "jax"}
    return {**whole, **changes}


DEEP = 0.0
for _ in range(600):
    DEEP = {"list": [DEEP]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (array(shape=[10**12]), r"E: the shape \[1000000000000\] does not fit its 1 numbers"),
        (array(shape=[-1]), "does not fit"),
        (array(shape=[-1, -1]), "does not fit"),
        (array(shape=[0, 10**15], values=[]), "does not fit"),
        (array(shape=[True]), "does not fit"),
        (array(shape=[1.0]), "does not fit"),
        (array(shape="1"), "expected list"),
        (array(array="object"), "expected one of float64"),
        (array(array="O8"), "expected one of float64"),
        (array(array="float64,(1000000000,)float64"), "expected one of float64"),
        (array(values=["1.0"]), "expected float64; got 1.0"),
        (array(values=[[1.0]]), "expected float64"),
        (array(values=[1]), "expected float64"),
        (array(array="int32", values=[2**40]), "no array of int32"),
        (array(array="int64", values=[2**400]), "no array of int64"),
        (array(of="pickle"), "expected one of jax"),
        (array(values=[-1.0]), r"'E' is out of range: got -1., expected 0 < value"),
        (array(values=["nan"]), "'E' is NaN"),
        (array(values=["inf"]), "'E' is out of range"),
        ("os:system", "'E' must be a number"),
        (None, "'E' must be a number"),
        ([1.0], "E: expected a number, text, or a table"),
        ({"pickle": "gASV"}, "expected a number, text, or a table"),
        (array(more=1), "expected a number, text, or a table"),
        ({"function": "os.system"}, "none of the functions that a law file may name"),
        ({"function": "builtins.eval"}, "none of the functions"),
        ({"function": "system", "from": "os"}, r"function 'system' \(of module 'os'\) is not"),
        ({"class": "Popen", "from": "subprocess", "fields": {"args": "ls"}}, "nothing is imported"),
        ({"class": "os:system", "from": "dolfinx_admat", "fields": {}}, "no class 'os:system'"),
        ({"class": "__init__", "from": "dolfinx_admat", "fields": {}}, "no class '__init__'"),
        ({"class": "drive", "from": "dolfinx_admat", "fields": {}}, "no class 'drive'"),
        ({"class": "Table.__call__", "from": "dolfinx_admat", "fields": {}}, "no class"),
        ({"class": ["Table"], "from": "dolfinx_admat", "fields": {}}, "expected str"),
        ({"class": "Table", "from": "dolfinx_admat", "fields": {"x": 1.0}}, r"missing \['y'\]"),
        ({"class": "Table", "from": "dolfinx_admat", "fields": {"x": 1, "y": 1, "__class__": 1}},
         r"unknown \['__class__'\]"),
        ({"class": "Table", "from": "dolfinx_admat", "fields": []}, "expected dict"),
        ({"float": "1e5"}, "expected one of inf"),
        ({"dict": [["a", 1]]}, "expected dict"),
        ({"tuple": {"0": 1}}, "expected list"),
        (DEEP, "nested too deeply|must be a number"),
    ],
)  # fmt: skip
def test_malicious_content_is_refused(value, message, file, monkeypatch):
    for name in ("system", "popen", "execv"):
        monkeypatch.setattr(os, name, lambda *a: pytest.fail("code of a file ran"))
    rewritten(file, lambda data: data["law"]["fields"].update(E=value))
    with pytest.raises(MaterialError, match=message) as caught:
        load_law(file)
    assert str(caught.value).startswith(str(file)) and len(str(caught.value)) < 800


def test_numbers_that_json_does_not_have(file):
    save_law(file, STEEL)
    for text in ("NaN", "Infinity", "1e999"):
        file.write_text(file.read_text().replace("210000.0", text))
        with pytest.raises(MaterialError, match="damaged"):
            load_law(file)


def test_fields_that_no_longer_fit(file):
    with pytest.raises(MaterialError, match=r"J2Plasticity: the fields do not fit.*\['E'\].*nu"):
        load_law(rewritten(file, lambda data: data["law"]["fields"].pop("E")))
    with pytest.raises(MaterialError, match="expected a law; got VonMises"):
        load_law(
            rewritten(
                file,
                lambda d: d.update(
                    law={"class": "VonMises", "from": "dolfinx_admat", "fields": {}}
                ),
            )
        )

    def bad_option(data):
        data["law"]["fields"]["solver"]["fields"]["tangent"] = "guess"

    with pytest.raises(MaterialError, match=r"LocalNewton can have these: .*tangent must be one"):
        load_law(rewritten(file, bad_option))


# -- Writing ----------------------------------------------------------------------------------


def test_a_failed_save_leaves_the_old_file(file, monkeypatch):
    save_law(file, STEEL)
    before = file.read_bytes()

    def full(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(MaterialError, match="cannot be written: No space left"):
        save_law(file, admat.LinearElastic(1.0, 0.3))
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_loads_in_a_process_that_has_only_the_library(file):
    save_law(file, admat.PlaneStress(composed(admat.Hosford(8))))
    code = f"import dolfinx_admat as a; print(type(a.load_law({str(file)!r}).law).__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "Elastoviscoplastic"


def test_case_files_and_the_command_line_take_law_files(file):
    save_law(file, STEEL)
    case = file.with_name("case.toml")
    case.write_text('law = "law.json"\n[[path]]\nramp = { strain_xx = 0.01 }\nsteps = 2\n')
    path = admat.Path().ramp({"strain_xx": 0.01}, steps=2)
    assert same(read_case(case).law, STEEL)
    assert (read_case(case).run()["stress_xx"] == drive(STEEL, path)["stress_xx"]).all()
    assert find_law(str(file), ["hardening.Q=50"]).hardening.Q == 50.0
    with pytest.raises(LawNotFound, match=r"none.json: cannot be read"):
        find_law(str(file.with_name("none.json")))
