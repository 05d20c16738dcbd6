"""The training range: features, distances, files, and what is refused."""

import jax
import numpy as np
import pytest

import dolfinx_admat as admat
from dolfinx_admat import MaterialError, Path, calibration, drive
from dolfinx_admat.law_file import read_law_file, save_law
from dolfinx_admat.learning import TrainingRange

STEEL = admat.VoceHardening(sigma_y=250.0, Q=100.0, b=20.0, H=1000.0)
ELASTICITY = admat.IsotropicElasticity(210e3, 0.3)
J2 = admat.J2Plasticity(210e3, 0.3, hardening=STEEL)
HILL = admat.Elastoviscoplastic(ELASTICITY, admat.Hill48(0.6, 0.4, 0.5), STEEL)
VISCOUS = admat.Elastoviscoplastic(
    ELASTICITY, admat.VonMises(), STEEL, viscosity=admat.NortonFlow(80.0, 5.0)
)
ZENER = admat.Zener(
    admat.IsotropicElasticity(100.0, 0.3), admat.IsotropicElasticity(50.0, 0.3), 2.0
)
RUBBER = admat.NeoHookean(3.0, 0.4)


def path(scale=1.0, time=1.0):
    """Shear, then tension across it, so that the plastic strain is not parallel to the strain."""
    first = dict.fromkeys(["strain_xx", "strain_yy", "strain_zz", "strain_xz", "strain_yz"], 0.0)
    first["strain_xy"] = 0.01 * scale
    second = {"strain_xx": 0.02 * scale, "strain_yy": -0.006 * scale}
    return Path().ramp(first, steps=4, time=time).ramp(second, steps=6, time=time)


def stretch(scale=1.0):
    to = {"deformation_gradient_xx": 1.0 + 0.3 * scale, "deformation_gradient_xy": 0.2 * scale}
    return Path().ramp(to, steps=5)


def points(law, path):
    result = drive(law, path, backend="xla")
    states = {n: v[0] for n, v in result.states.items()}
    return {n: v[0] for n, v in result.inputs.items()}, states


@pytest.fixture(scope="module")
def j2():
    return TrainingRange.of(J2, [path(), Path().ramp({"strain_zz": 0.01}, steps=3)], backend="xla")


def rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def turned(tensors, q):
    matrix = np.asarray(admat.tensors.mandel_rotation(q))
    return tensors @ matrix.T


LAWS = {
    "J2": (J2, path),
    "viscoplastic": (VISCOUS, path),
    "Zener": (ZENER, path),
    "Hill": (HILL, path),
    "rubber": (RUBBER, stretch),
}


@pytest.mark.parametrize("name", LAWS)
def test_training_data_are_inside_and_twice_the_amplitude_is_not(name):
    law, along = LAWS[name]
    here = TrainingRange.of(law, [along()], backend="xla")
    found = here(*points(law, along()))
    assert (found.value == 0.0).all()
    known = ~np.isnan(found.features[0])  # rates were not given
    for side in (here.low - found.features, found.features - here.high):
        assert (side[:, known] <= 0.0).all()  # exactly: nothing is owed to the tolerance
    far = here(*points(law, along(2.0)))
    assert (far.value[-1] > 0.0) and np.isfinite(far.value).all()
    if "strain.size" in here.names:
        k = here.names.index("strain.size")
        # From zero to the largest size is one width; twice of it is one width too far.
        assert here.low[k] == 0.0
        only = np.where(np.arange(len(here.names)) == k, far.features, here.low)
        assert here.distance(only)[0][-1] == pytest.approx(1.0, rel=1e-12)


def test_isotropic_features_do_not_change_with_a_rotation_of_everything(j2, rng):
    inputs, state = points(J2, path())
    before = j2(inputs, state).features
    q = rotation(rng)
    both = dict(state, plastic_strain=turned(state["plastic_strain"], q))
    after = j2({"strain": turned(inputs["strain"], q)}, both).features
    np.testing.assert_allclose(after, before, atol=1e-12)
    # The state alone: its own invariants stay, its angle to the strain does not.
    alone = j2(inputs, both).features
    angle = j2.names.index("strain:plastic_strain")
    rest = [k for k in range(len(j2.names)) if k != angle]
    np.testing.assert_allclose(alone[:, rest], before[:, rest], atol=1e-12)
    assert abs(alone[-1, angle] - before[-1, angle]) > 0.1


def test_finite_strain_and_stacked_tensors_rotate_as_well(rng):
    q = rotation(rng)
    here = TrainingRange.of(RUBBER, [stretch()], backend="xla")
    inputs, state = points(RUBBER, stretch())
    F = inputs["deformation_gradient"]
    before = here(inputs, state)
    spin = rotation(rng)  # F -> R F Q^T: neither the frame nor the axes of the material matter
    after = here({"deformation_gradient": spin @ F @ q.T}, state)
    np.testing.assert_allclose(after.features, before.features, atol=1e-12)
    trace = before.features[:, here.names.index("logarithmic_strain.trace")]
    np.testing.assert_allclose(trace, np.log(np.linalg.det(F)), atol=1e-14)
    upside_down = np.diag([-1.0, 1.0, 1.0])[None]
    assert np.isinf(here({"deformation_gradient": upside_down}).value).all()

    maxwell = admat.GeneralisedMaxwell(1.0, 2.0, [0.5, 0.3], [1.0, 10.0])
    here = TrainingRange.of(maxwell, [path()], backend="xla")
    assert {"viscous_strain[1].lode", "strain:viscous_strain[0]", "strain.rate"} <= {*here.names}
    assert not any("strain:strain" in name for name in here.names)  # it remembers its input
    inputs, state = points(maxwell, path())
    there = here(
        {"strain": turned(inputs["strain"], q)},
        {name: turned(value, q) for name, value in state.items()},
    )
    before = here(inputs, state)
    np.testing.assert_allclose(there.features, before.features, atol=1e-12)


def test_components_count_where_a_law_has_directions(rng):
    here = TrainingRange.of(HILL, [path()], backend="xla")
    assert "strain.xy" in here.names and "strain.size" not in here.names
    inputs, state = points(HILL, path())
    assert here.high[here.names.index("strain.xy")] == pytest.approx(0.01)
    swapped = inputs["strain"][:, [1, 0, 2, 3, 5, 4]]  # x and y: not the same for this law
    found = here({"strain": swapped}, state)
    assert here.names[found.worst[-1]] in ("strain.xx", "strain.yy")
    # xx: -0.006 below 0 with the width 0.02; yy: 0.02 above 0 with the width 0.006.
    assert found.value[-1] == pytest.approx(0.02 / 0.006, rel=1e-6)


def test_directions_count_only_where_there_is_something_to_have_one(j2):
    """Lode's measure and angles of a tiny tensor are round-off, and no extrapolation."""
    # Compression at constant volume, which was not seen.
    small = np.array([[-1e-15], [-1e-6], [-1e-4]]) * [1.0, -0.5, -0.5, 0.0, 0.0, 0.0]
    found = j2({"strain": small})
    assert (found.value == 0.0).all()
    big = np.array([[-0.01, 0.005, 0.005, 0.0, 0.0, 0.0]])
    found = j2({"strain": big})
    assert j2.names[found.worst[0]] == "strain.lode"
    k = j2.names.index("strain.lode")
    expected = (j2.low[k] + 1.0) / (j2.high[k] - j2.low[k])
    assert found.features[0, k] == pytest.approx(-1.0)
    assert found.value[0] == pytest.approx(expected)


def test_rates_in_decades():
    here = TrainingRange.of(VISCOUS, [path(time=1.0), path(time=0.01)], backend="xla")
    k = here.names.index("strain.rate")
    fast = here.high[k]
    assert fast - here.low[k] == pytest.approx(2.0, abs=0.5)
    inputs, state = points(VISCOUS, path())
    found = here(inputs, state)
    assert np.isnan(found.features[:, k]).all()  # not known, and no harm
    width = here.widths[k]
    for decades, outside in ((0.0, 0.0), (1.0, 1.0 / width), (-5.0, (5.0 - width) / width)):
        speed = np.full(len(found.value), 10.0 ** (fast + decades))
        faster = here.with_rates(found, {"strain": speed})
        assert faster.value[-1] == pytest.approx(outside, abs=1e-12)
        again = here(inputs, state, {"strain": speed})
        np.testing.assert_array_equal(again.value, faster.value)
        # A point that is not strained rests: slow is no extrapolation there, but fast is.
        assert faster.value[0] == (0.0 if decades <= 0.0 else pytest.approx(outside))
    assert np.isfinite(here.with_rates(found, {"strain": 0.0 * speed}).value).all()
    speeds = here.rates({"strain": np.zeros((2, 6))}, {"strain": np.ones((2, 6))}, 0.5)
    np.testing.assert_allclose(speeds["strain"], 2.0 * np.sqrt(6.0))
    with pytest.raises(MaterialError, match="needs a step dt > 0; got 0"):
        here.rates({}, {}, 0.0)
    with pytest.raises(MaterialError, match=r"rates must have \['strain'\]"):
        here(inputs, state, {"stress": speed})


def test_wrappers_are_looked_through(j2):
    plane = admat.PlaneStress(J2)
    inside = j2.for_law(plane)
    assert inside.names == j2.names
    given = Path().ramp({"strain_xx": 0.01, "strain_xy": 0.002}, steps=4)
    inputs, state = points(plane, given)
    found = inside(inputs, state)
    full = np.zeros((5, 6))
    full[:, [0, 1, 3]] = inputs["strain"]
    full[:, 2] = state["strain_zz"]
    assert np.abs(full[-1, 2]) > 1e-3
    law_state = {n: v for n, v in state.items() if n != "strain_zz"}
    np.testing.assert_allclose(found.features, j2({"strain": full}, law_state).features, atol=1e-14)
    # A temperature that only makes a strain is no feature; one that parameters depend on is.
    warm = admat.ThermalExpansion(J2, 1e-5, 20.0)
    heated = j2.for_law(warm)({"strain": np.zeros((1, 6)), "temperature": np.array([2020.0])})
    assert heated.features[0, j2.names.index("strain.trace")] == pytest.approx(-0.06)
    soft = admat.TemperatureDependent(J2, {"E": admat.Table([0.0, 100.0], [210e3, 200e3])})
    there = Path(start={"temperature": 20.0}).ramp(
        {"strain_xx": 0.01, "temperature": 50.0}, steps=3
    )
    here = TrainingRange.of(soft, [there], backend="xla")
    assert dict(here.to_mapping())["temperature"] == pytest.approx((20.0, 50.0))
    with pytest.raises(MaterialError, match="unknown temperature"):
        j2.from_mapping(J2, here.to_mapping())
    # An orientation for each point.
    turned_law = admat.Rotated(HILL, np.eye(3))
    here = TrainingRange.of(HILL, [path()], backend="xla").for_law(turned_law)
    q = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    strain = np.array([[0.01, -0.003, 0.0, 0.0, 0.0, 0.0]] * 2)
    found = here({"strain": strain}, parameters={"rotation": np.stack([np.eye(3), q])})
    k = here.names.index("strain.xx")
    np.testing.assert_allclose(found.features[:, k], [0.01, -0.003], atol=1e-15)


def test_incompressible_rubber_and_its_pressure():
    law = admat.Incompressible(RUBBER)
    given = Path().ramp({"deformation_gradient_xx": 2.0}, steps=4)
    here = TrainingRange.of(law, [given], backend="xla")
    assert here.names == TrainingRange.of(RUBBER, [stretch()], backend="xla").names
    F = np.diag([2.0, 2.0**-0.5, 2.0**-0.5])[None]
    for pressure in (0.0, 1e3):  # the law is exact in it
        found = here({"deformation_gradient": F, "pressure": np.array([pressure])})
        assert found.value[0] == 0.0
        # Elements keep the volume on average only; the energy does not see that.
        found = here({"deformation_gradient": 1.03 * F, "pressure": np.array([pressure])})
        assert found.value[0] == 0.0
    F = np.diag([4.0, 0.5, 0.5])[None]
    found = here({"deformation_gradient": F, "pressure": np.zeros(1)})
    assert found.value[0] == pytest.approx(1.0, rel=1e-9)
    # Equibiaxial tension, not seen: Lode's measure is -1 instead of 1.
    F = np.diag([1.4, 1.4, 1.4**-2])[None]
    found = here({"deformation_gradient": F, "pressure": np.zeros(1)})
    assert here.names[found.worst[0]] == "logarithmic_strain.lode"
    assert found.value[0] == pytest.approx(1.0)


class PlaneLaw(admat.ExplicitLaw):
    """A law with inputs of its own kind."""

    inputs = {"strain": admat.PLANE_SYMMETRIC, "flow": admat.VECTOR}  # noqa: RUF012
    outputs = {"stress": admat.PLANE_SYMMETRIC}  # noqa: RUF012

    def update(self, inputs, state, dt):
        return {"stress": inputs["strain"]}, state


def test_other_inputs_are_compared_by_component():
    start = {"flow_x": 1.0, "flow_y": 0.0, "flow_z": 0.0}
    results = Path(start=start).ramp({"strain_xx": 0.1}, steps=2)
    here = TrainingRange.of(PlaneLaw(), [results], backend="xla")
    assert here.names == ("flow[0]", "flow[1]", "flow[2]", "strain[0]", "strain[1]", "strain[2]")
    found = here({"strain": np.array([[0.3, 0.0, 0.0]]), "flow": np.array([[1.0, 0.0, 0.0]])})
    assert found.value[0] == pytest.approx(2.0)


def test_any_number_of_points_and_none(j2):
    strain = np.linspace(0.0, 0.05, 2500)[:, None] * np.eye(6)[0]
    found = j2({"strain": strain})
    apart = np.concatenate([j2({"strain": s}).value for s in np.split(strain, [3, 2049])])
    np.testing.assert_array_equal(found.value, apart)
    assert found.value[-1] > 0.0
    none = j2({"strain": strain[:0]})
    assert none.value.shape == (0,) and none.features.shape == (0, len(j2.names))
    # A step that was not computed is far outside, and no number gets lost.
    assert np.isinf(j2({"strain": np.full((1, 6), np.nan)}).value[0])


def test_stress_driven_experiments_and_those_that_break_off():
    """Strains are those of the law; a failure ends what counts."""
    given = Path().ramp({"stress_xx": 300.0}, steps=5)
    strain = drive(J2, given, backend="xla")["strain_xx"]
    here = TrainingRange.of(
        HILL, [calibration.Experiment(given, {"strain_xx": strain[1:]})], backend="xla"
    )
    assert here.high[here.names.index("strain.xx")] > 300.0 / 210e3
    perfect = admat.J2Plasticity(210e3, 0.3, hardening=admat.LinearHardening(250.0, 0.0))
    too_much = Path().ramp({"stress_xx": 200.0}, steps=2).ramp({"stress_xx": 300.0}, steps=2)
    here = TrainingRange.of(perfect, [too_much], backend="xla")
    trace = here.high[here.names.index("strain.trace")]
    assert trace == pytest.approx(0.4 * 250.0 / 210e3, rel=1e-9)  # as far as it can be loaded
    with pytest.raises(MaterialError, match="converges in none of the 1 experiments"):
        TrainingRange.of(perfect, [Path().ramp({"stress_xx": 300.0})], backend="xla")


def test_in_a_file_and_back(tmp_path, j2):
    save_law(tmp_path / "law.json", J2, training_range=j2.to_mapping())
    read = read_law_file(tmp_path / "law.json").training_range
    back = TrainingRange.from_mapping(J2, read)
    np.testing.assert_array_equal([back.low, back.high], [j2.low, j2.high])
    inputs, state = points(J2, path(2.0))
    np.testing.assert_array_equal(back(inputs, state).value, j2(inputs, state).value)


def test_refused(j2):
    good = j2.to_mapping()
    cases = [
        (J2, None, "expected a dict of"),
        (J2, {}, "missing equivalent_plastic_strain, strain.trace"),
        (J2, good | {"temperature": (0.0, 1.0)}, "unknown temperature"),
        (VISCOUS, good, "not one of Elastoviscoplastic: missing strain.rate"),
        (ZENER, good, "missing viscous_strain.trace"),
        (HILL, good, "it belongs to another law"),
        (J2, good | {"strain.size": (1.0, 0.5)}, r"'strain.size' must have finite .* got \(1.0"),
        (J2, good | {"strain.size": (0.0, np.nan)}, "'strain.size' must have finite bounds"),
        (J2, good | {"strain.size": (0.0, 1.0, 2.0)}, "must be .low, high., two numbers"),
        (J2, good | {"strain.size": "wide"}, "must be .low, high., two numbers; got 'wide'"),
        ("J2", good, "expected a law; got str"),
    ]
    for law, mapping, match in cases:
        with pytest.raises(MaterialError, match=match):
            TrainingRange.from_mapping(law, mapping)
    with pytest.raises(MaterialError, match="made for J2Plasticity, but the law is Zener"):
        j2.for_law(ZENER)
    with pytest.raises(MaterialError, match="tolerance must be a finite number >= 0"):
        TrainingRange(J2, j2.low, j2.high, -1.0)
    with pytest.raises(MaterialError, match="tolerance must be a finite number >= 0; got 'a'"):
        TrainingRange.of(J2, [path()], tolerance="a")
    with pytest.raises(MaterialError, match=r"low must have shape \(8,\)"):
        TrainingRange(J2, j2.low[1:], j2.high)
    with pytest.raises(MaterialError, match="experiment 0 must be an Experiment"):
        TrainingRange.of(J2, ["tension"])
    with pytest.raises(MaterialError, match="converges in none of the 0 experiments"):
        TrainingRange.of(J2, [])
    strain = np.zeros((2, 6))
    state = {"plastic_strain": np.zeros((2, 6)), "equivalent_plastic_strain": np.zeros(2)}
    calls = [
        ({"stress": strain}, state, r"inputs of J2Plasticity are \['strain'\]; got \['stress'\]"),
        ({"strain": strain[:, :3]}, state, r"'strain' .* must have shape \(2, 6\); got \(2, 3\)"),
        ({"strain": strain}, {"p": strain}, "state of J2Plasticity are"),
        ({"strain": strain[:1]}, state, r"state .* must have shape \(1,.*got \(2,"),
    ]
    for inputs, given, match in calls:
        with pytest.raises(MaterialError, match=match):
            j2(inputs, given)
    with pytest.raises(MaterialError, match="parameters of J2Plasticity are"):
        j2({"strain": strain}, state, parameters={"stiffness": np.zeros(2)})
    with pytest.raises(MaterialError, match=r"features must have shape \(points, 8\)"):
        j2.distance(np.zeros((2, 3)))


def test_ranges_of_laws_with_the_same_names_are_not_mixed_up(j2):
    general = admat.J2PlasticityGeneral(210e3, 0.3, hardening=STEEL)
    assert TrainingRange.from_mapping(general, j2.to_mapping()).names == j2.names
    with pytest.raises(MaterialError, match="but the law is J2PlasticityGeneral"):
        j2.for_law(general)
    assert isinstance(j2.for_law(jax.tree.map(lambda leaf: 2.0 * leaf, J2)), TrainingRange)
