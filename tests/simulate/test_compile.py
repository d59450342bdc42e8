"""What a scenario's factors do to its body."""

import math

import mujoco
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.scenarios import BODIES, Box, LimbScale, Scenario, sample_scenarios
from mrcom.scenarios.bodies.quadruped import LEGS
from mrcom.simulate import compile_model, spec_of

DENSITY = 1000.0

# Where limbs meet the torso: (child body, end of the torso's capsule).
JOINED = {
    "hopper": [("pelvis", "low")],
    "walker": [("right_thigh", "low"), ("left_thigh", "low")],
    "cheetah": [("bthigh", "low"), ("fthigh", "high")],
}


def turned(quat):
    """The rotation matrix of a quaternion."""
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, quat)
    return turn.reshape(3, 3)


def capsule_ends(model, name):
    """Centres of a capsule geom's caps in its body's frame: (lower along x or z, higher)."""
    geom = model.geom(name)
    along = turned(geom.quat)[:, 2] * geom.size[1]
    ends = (geom.pos - along, geom.pos + along)
    return sorted(ends, key=lambda end: end[0] + end[2])


def capsule_mass(radius, half):
    return DENSITY * math.pi * radius**2 * (2 * half + 4 / 3 * radius)


def capsule_inertia(radius, half):
    """About the axis, and about a line across it through the centre."""
    cylinder = DENSITY * math.pi * radius**2 * 2 * half
    ball = DENSITY * 4 / 3 * math.pi * radius**3
    along = cylinder * radius**2 / 2 + ball * 2 / 5 * radius**2
    # Half balls: 83/320 m r^2 about their own centre of mass, which lies 3/8 r past the end.
    across = cylinder * (radius**2 / 4 + (2 * half) ** 2 / 12)
    across += ball * (83 / 320 * radius**2 + (half + 3 / 8 * radius) ** 2)
    return along, across


def inertia_of(model, body):
    """Centre of mass and inertia about it, in the body's frame, put together from its capsules."""
    geoms = np.flatnonzero(model.geom_bodyid == body)
    masses = np.array([capsule_mass(*model.geom_size[geom][:2]) for geom in geoms])
    # Masses of the cheetah are not those of the material: they add up to 14 kg.
    share = model.body_mass[body] / masses.sum()
    centre = masses @ model.geom_pos[geoms] / masses.sum()
    total = np.zeros((3, 3))
    for geom, mass in zip(geoms, masses, strict=True):
        along, across = capsule_inertia(*model.geom_size[geom][:2])
        turn, away = turned(model.geom_quat[geom]), model.geom_pos[geom] - centre
        total += turn @ np.diag([across, across, along]) @ turn.T
        total += mass * (away @ away * np.eye(3) - np.outer(away, away))
    return centre, share * total


def samples(name, count=100):
    return sample_scenarios(name, Box(20, 100), count, 0)


@pytest.mark.parametrize("name", sorted(JOINED))
def test_limbs_meet_the_torsos_ends_in_a_hundred_samples(name):
    for scenario in samples(name):
        model = compile_model(scenario)
        low, high = capsule_ends(model, "torso")
        for child, end in JOINED[name]:
            at = model.body(child).pos - (low if end == "low" else high)
            at[1] = 0  # the walker's hips lie 5 cm beside the torso's axis
            np.testing.assert_allclose(at, 0, atol=1e-9)


@pytest.mark.parametrize("name", sorted(JOINED))
def test_torsos_have_the_length_and_radius_of_the_record(name):
    default = compile_model(Scenario(name)).geom("torso").size
    for scenario in samples(name):
        size = compile_model(scenario).geom("torso").size
        assert size[0] == pytest.approx(default[0] * scenario.torso_size, abs=1e-12)
        assert size[1] == pytest.approx(default[1] * scenario.torso_length, abs=1e-12)


@pytest.mark.parametrize("name", sorted(JOINED))
def test_masses_follow_the_geometry_in_a_hundred_samples(name):
    for scenario in samples(name):
        model = compile_model(scenario)
        expected = np.zeros(model.nbody)
        for geom in range(model.ngeom):
            if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
                radius, half = model.geom_size[geom][:2]
                expected[model.geom_bodyid[geom]] += capsule_mass(radius, half)
        if name == "cheetah":
            expected *= 14 / expected.sum()
        np.testing.assert_allclose(model.body_mass, expected, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(JOINED))
def test_inertias_follow_the_geometry_in_a_hundred_samples(name):
    for scenario in samples(name):
        model = compile_model(scenario)
        for body in range(1, model.nbody):
            centre, expected = inertia_of(model, body)
            np.testing.assert_allclose(model.body_ipos[body], centre, atol=1e-9)
            axes = turned(model.body_iquat[body])
            found = axes @ np.diag(model.body_inertia[body]) @ axes.T
            np.testing.assert_allclose(found, expected, atol=1e-9 * np.trace(expected))


def test_inertias_of_a_walkers_torso_change_with_its_record():
    thick = compile_model(Scenario("walker", torso_size=1.2)).body("torso")
    along, across = capsule_inertia(0.07 * 1.2, 0.3)
    np.testing.assert_allclose(thick.inertia, [across, across, along], rtol=1e-9)


def test_a_cheetahs_nose_keeps_its_distance_and_its_mass_stays_14_kg():
    long = compile_model(Scenario("cheetah", torso_length=1.2))
    assert long.body_mass.sum() == pytest.approx(14.0, abs=1e-12)
    np.testing.assert_allclose(long.geom("head").pos, [0.7, 0, 0.1], atol=1e-12)


@pytest.mark.parametrize("name", ["hopper", "walker"])
def test_feet_start_where_they_do_by_default(name):
    lowest = []
    for length in (0.8, 1.0, 1.2):
        model = compile_model(Scenario(name, torso_length=length))
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        lowest.append(data.geom_xpos[1:, 2].min())
    np.testing.assert_allclose(lowest, lowest[1], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "limb"),
    [(body.name, limb) for body in BODIES.values() for limb in body.limbs if limb != "torso"],
)
def test_any_limb_can_grow_and_its_children_stay_in_place_on_it(name, limb):
    default, scaled = (
        compile_model(Scenario(name, limbs=limbs))
        for limbs in ((), (LimbScale(limb, length=1.2, size=1.1),))
    )
    geom = BODIES[name].limbs[limb].geom
    np.testing.assert_allclose(
        scaled.geom(geom).size[:2], default.geom(geom).size[:2] * [1.1, 1.2], rtol=1e-12
    )
    body = default.geom(geom).bodyid[0]
    before, after = capsule_ends(default, geom), capsule_ends(scaled, geom)
    assert scaled.body_mass[body] != pytest.approx(default.body_mass[body], rel=0.02)
    for child in np.flatnonzero(default.body_parentid == body):
        joint = default.body_jntadr[child]
        was = default.body_pos[child] + default.jnt_pos[joint]
        now = scaled.body_pos[child] + scaled.jnt_pos[joint]
        # The joint keeps its offset from the nearer end of the limb, up to the limb's own
        # scaling of that offset (5 cm at most in these bodies).
        end = int(np.linalg.norm(was - before[1]) < np.linalg.norm(was - before[0]))
        moved = (now - after[end]) - (was - before[end])
        assert np.linalg.norm(moved) < 0.2 * 0.05 + 1e-9


def test_other_factors_scale_what_they_say():
    default = compile_model(Scenario("walker"))
    changed = compile_model(
        Scenario("walker", gravity=0.5, friction=2.0, damping=3.0, mass=1.5, actuator=0.25)
    )
    assert changed.opt.gravity.tolist() == [0, 0, -9.81 * 0.5]
    np.testing.assert_allclose(changed.geom_friction, 2 * default.geom_friction)
    np.testing.assert_allclose(changed.dof_damping, 3 * default.dof_damping)
    np.testing.assert_allclose(changed.body_mass, 1.5 * default.body_mass)
    np.testing.assert_allclose(changed.body_inertia, 1.5 * default.body_inertia)
    data = mujoco.MjData(changed), mujoco.MjData(default)
    for model, moving in zip((changed, default), data, strict=True):
        moving.ctrl[:] = 1
        mujoco.mj_forward(model, moving)
    np.testing.assert_allclose(data[0].qfrc_actuator, 0.25 * data[1].qfrc_actuator)


def test_a_mass_factor_equals_denser_material():
    """The slow twin: the same body written with 1.5 times the density."""
    twin = spec_of(Scenario("walker"))
    for geom in twin.geoms:
        geom.density = 1.5 * DENSITY
    twin = twin.compile()
    ours = compile_model(Scenario("walker", mass=1.5))
    for field in ("body_mass", "body_inertia", "dof_invweight0", "body_invweight0", "dof_M0"):
        np.testing.assert_allclose(getattr(ours, field), getattr(twin, field), rtol=1e-10)
    assert ours.stat.meaninertia == pytest.approx(twin.stat.meaninertia, rel=1e-12)


def test_equal_physics_are_compiled_once():
    a = compile_model(Scenario("walker", 1.0, torso_length=1.07))
    assert compile_model(Scenario("walker", 2.0, "reach", torso_length=1.07)) is a
    assert compile_model(Scenario("walker", 1.0, torso_length=1.08)) is not a


def test_a_geometry_that_cannot_be_is_an_error_of_ours():
    with pytest.raises(ConfigError):
        compile_model(Scenario("walker", torso_length=float("inf")))


def test_a_quadrupeds_hips_stay_on_the_torsos_surface():
    for scenario in [Scenario("quadruped"), *samples("quadruped")]:
        model = compile_model(scenario)
        size = model.geom("torso").size
        wanted = np.array([0.3, 0.27, 0.2])
        wanted *= [scenario.torso_length, scenario.torso_size, scenario.torso_size]
        np.testing.assert_allclose(size, wanted, rtol=1e-12)
        hips = [model.body(f"hip_{leg}").pos / size for leg in LEGS]
        # (x/a)^2 + (y/b)^2 is 0.993 at the suite's hips, and at every other.
        np.testing.assert_allclose(np.square(hips).sum(axis=1), 4 / 9 + (20 / 27) ** 2, rtol=1e-9)


def test_a_quadrupeds_torso_weighs_what_its_axes_say():
    model = compile_model(Scenario("quadruped", torso_length=1.2, torso_size=0.9, mass=2))
    ellipsoid = 2 * 1000 * 4 / 3 * math.pi * (0.3 * 1.2) * (0.27 * 0.9) * (0.2 * 0.9)
    assert model.body("torso").mass[0] == pytest.approx(ellipsoid, rel=1e-12)


def test_a_quadrupeds_other_factors_scale_what_they_say():
    factors = {"gravity": 0.5, "friction": 2.0, "damping": 3.0, "actuator": 0.25}
    default, changed = (
        compile_model(Scenario("quadruped")),
        compile_model(Scenario("quadruped", **factors)),
    )
    assert changed.opt.gravity.tolist() == [0, 0, -9.81 * 0.5]
    np.testing.assert_allclose(changed.geom_friction, 2 * default.geom_friction)
    np.testing.assert_allclose(changed.dof_damping, 3 * default.dof_damping)
    forces = []
    for model in (default, changed):
        data = mujoco.MjData(model)
        data.qpos[7:], data.act[:] = 0.1, 0.3
        mujoco.mj_forward(model, data)
        forces.append(data.qfrc_actuator.copy())
    np.testing.assert_allclose(forces[1], 0.25 * forces[0])
