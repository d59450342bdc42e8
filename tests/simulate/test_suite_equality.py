"""The default bodies are the DeepMind Control Suite's: same physics, observation, reward."""

import mujoco
import numpy as np
import pytest
import suite

from mrcom.scenarios import BODIES, Scenario
from mrcom.scenarios.rewards import reach
from mrcom.simulate import compile_model
from mrcom.simulate.compile import LEAN
from mrcom.simulate.herd import Herd

BODY_NAMES = ("hopper", "walker", "cheetah", "quadruped")

# Looks, names and where they lie in the file: no physics.
LOOKS = (
    "cam_",
    "light_",
    "mat_",
    "tex_",
    "name_",
    "names",
    "paths",
    "rgba",
    "_matid",
    "site_group",
)
LOOKS += ("nbuffer", "nnames", "nmat", "ntex", "ncam", "nlight", "npaths", "signature", "vis")
# The suite keeps the terrain of other tasks, and sites that only those read.
LOOKS += ("hfield", "nsite")


@pytest.mark.parametrize("name", BODY_NAMES)
def test_every_physical_array_equals_the_suites(name):
    theirs, ours = suite.load(name).physics.model, compile_model(Scenario(name))
    compared = 0
    for field in dir(ours):
        if field.startswith("_") or any(look in field for look in LOOKS):
            continue
        value = getattr(ours, field)
        if isinstance(value, np.ndarray | int | float):
            expected = getattr(theirs, field)
            if field.startswith("site_"):
                expected = expected[_same_sites(ours, theirs)]
            if field == "sensor_objid":
                value, expected = _said_of(ours), _said_of(theirs)
            np.testing.assert_array_equal(value, expected, err_msg=field)
            compared += 1
    assert compared > 250
    for field in ("body_mass", "body_inertia", "geom_size", "dof_invweight0", "actuator_gear"):
        assert getattr(ours, field).any()


def _same_sites(ours, theirs):
    """Which of the suite's sites ours are, in our order."""
    names = [mujoco.mj_id2name(ours, mujoco.mjtObj.mjOBJ_SITE, i) for i in range(ours.nsite)]
    return [theirs.name2id(name, "site") for name in names]


def _said_of(model):
    """Names of what each sensor measures."""
    model = getattr(model, "ptr", model)
    which = zip(model.sensor_objtype, model.sensor_objid, strict=True)
    return [mujoco.mj_id2name(model, kind, index) for kind, index in which]


@pytest.mark.parametrize("name", BODY_NAMES)
def test_every_option_equals_the_suites(name):
    theirs, ours = suite.load(name).physics.model, compile_model(Scenario(name))
    # A sum whose last bit depends on the build of the simulator.
    np.testing.assert_allclose(ours.stat.meaninertia, theirs.stat.meaninertia, rtol=1e-14)
    assert ours.opt.disableflags == theirs.opt.disableflags | LEAN
    compared = 0
    for field in dir(ours.opt):
        if not field.startswith("_") and field != "disableflags":
            value = getattr(ours.opt, field)
            np.testing.assert_array_equal(value, getattr(theirs.opt, field), err_msg=field)
            compared += 1
    assert compared > 15


@pytest.mark.parametrize("name", BODY_NAMES)
def test_elements_have_the_suites_names(name):
    theirs, ours = suite.load(name).physics.model, compile_model(Scenario(name))
    for kind in ("body", "joint", "geom", "actuator"):
        for index in range(
            getattr(ours, {"joint": "njnt", "actuator": "nu"}.get(kind, f"n{kind}"))
        ):
            assert getattr(ours, kind)(index).name == theirs.id2name(index, kind)


@pytest.mark.parametrize("name", BODY_NAMES)
def test_control_periods_are_the_suites(name):
    env, body = suite.load(name), BODIES[name]
    assert env.control_timestep() == body.control_dt
    assert env._n_sub_steps == body.substeps
    assert round(env._step_limit) == 1000


@pytest.mark.parametrize(
    ("name", "task", "scenario"),
    [
        ("hopper", "stand", Scenario("hopper", reward="stand")),
        ("hopper", "hop", Scenario("hopper", 2.0, "reach")),
        ("walker", "stand", Scenario("walker", reward="stand")),
        ("walker", "walk", Scenario("walker", 1.0, "reach")),
        ("walker", "run", Scenario("walker", 8.0, "reach")),
        ("cheetah", "run", Scenario("cheetah", 10.0, "reach")),
        ("quadruped", "walk", Scenario("quadruped", 0.5, "reach")),
        ("quadruped", "run", Scenario("quadruped", 5.0, "reach")),
    ],
)
def test_a_thousand_random_steps_equal_the_suites(name, task, scenario):
    # Three simulations in the herd: the one in the middle is compared.
    herd = Herd([Scenario(name), scenario, Scenario(name, torso_length=1.1)], 1)
    herd.reset(np.arange(3, dtype=np.int32), [np.random.default_rng(seed) for seed in range(3)])
    env = suite.load(name, task)
    np.testing.assert_array_equal(herd.obs[1], suite.flat(suite.start_like(env, herd, 1)))
    rng = np.random.default_rng(1)
    rewards, ends = [], env.action_spec()
    for _ in range(1000):
        action = rng.uniform(-1, 1, (3, herd.body.act))
        herd.step(action)
        half = (ends.maximum - ends.minimum) / 2
        theirs = env.step((ends.maximum + ends.minimum) / 2 + half * action[1])
        np.testing.assert_array_equal(herd.obs[1], suite.flat(theirs.observation))
        assert herd.reward[1] == pytest.approx(theirs.reward, abs=1e-14)
        rewards.append(theirs.reward)
    assert theirs.last()
    assert herd.warnings() == 0
    # A random hopper earns nothing: the next test puts it on its foot.
    assert max(rewards) > 0 or name == "hopper"


def test_the_hoppers_reward_equals_the_suites_where_it_stands_and_hops():
    herd = Herd([Scenario("hopper", 2.0, "reach"), Scenario("hopper", reward="stand")], 1)
    rows = np.arange(2, dtype=np.int32)
    envs = [suite.load("hopper", "hop"), suite.load("hopper", "stand")]
    rng = np.random.default_rng(0)
    seen = []
    for seed in range(40):
        herd.reset(rows, [np.random.default_rng(seed), np.random.default_rng(seed)])
        # Upright and moving, as no random action makes it.
        qpos, qvel = herd.batch.bind("qpos"), herd.batch.bind("qvel")
        qpos[:] = 0
        qpos[:, 3:] = rng.uniform(-0.2, 0.2, 4)
        qvel[:, 0] = rng.uniform(-1, 3)
        herd.batch.forward()
        herd._observe()
        action = rng.uniform(-1.5, 1.5, (2, 4))
        for row, env in enumerate(envs):
            suite.start_like(env, herd, row)
        herd.step(action)
        for row, env in enumerate(envs):
            theirs = env.step(action[row])
            assert herd.reward[row] == pytest.approx(theirs.reward, abs=1e-14)
            seen.append(theirs.reward)
    assert len({round(reward, 6) for reward in seen}) > 40


@pytest.mark.parametrize("name", ["hopper", "walker"])
def test_resets_draw_what_the_suite_draws(name):
    herd = Herd([Scenario(name)] * 64, 2)
    herd.reset(np.arange(64, dtype=np.int32), [np.random.default_rng(i) for i in range(64)])
    ours, theirs = herd.batch.bind("qpos"), []
    env = suite.load(name)
    for _ in range(64):
        env.reset()
        theirs.append(env.physics.data.qpos.copy())
    theirs = np.array(theirs)
    # The same joints vary, in the same ranges.
    np.testing.assert_array_equal(ours.std(0) > 0, theirs.std(0) > 0)
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.6 * theirs.std(0).max())
    np.testing.assert_allclose(ours.std(0), theirs.std(0), rtol=0.3)
    limited = env.physics.model.jnt_limited == 1
    low, high = env.physics.model.jnt_range[limited].T
    assert (ours[:, limited] >= low).all()
    assert (ours[:, limited] <= high).all()
    assert not herd.batch.bind("qvel").any()


def test_a_cheetah_settles_for_two_hundred_steps_from_random_joints():
    herd = Herd([Scenario("cheetah")] * 3, 1)
    herd.reset(np.arange(3, dtype=np.int32), [np.random.default_rng(i) for i in range(3)])
    model = compile_model(Scenario("cheetah"))
    limited = model.jnt_limited == 1
    assert limited.sum() == 6
    for row in range(3):
        data = mujoco.MjData(model)
        low, high = model.jnt_range[limited].T
        share = np.random.default_rng(row).random(model.nq)[limited]
        data.qpos[limited] = low + (high - low) * share
        mujoco.mj_step(model, data, 200)
        np.testing.assert_array_equal(herd.batch.bind("qpos")[row], data.qpos)
        np.testing.assert_array_equal(herd.batch.bind("qvel")[row], data.qvel)


def test_a_quadruped_starts_any_way_up_as_low_as_it_touches_nothing():
    scenarios = [Scenario("quadruped", torso_length=1.2, torso_size=0.8)] * 64
    herd = Herd(scenarios, 2)
    herd.reset(np.arange(64, dtype=np.int32), [np.random.default_rng(i) for i in range(64)])
    start = herd.batch.bind("qpos").copy()
    np.testing.assert_allclose(np.linalg.norm(start[:, 3:7], axis=1), 1)
    assert not start[:, :2].any()
    assert not start[:, 7:].any()
    upright = herd.physics.of_body("xmat", "torso")[:, 8]
    # Uniform orientations: the cosine of the tilt is uniform in [-1, 1].
    assert abs(upright.mean()) < 3 * np.sqrt(1 / 3 / 64)
    assert upright.std() == pytest.approx(np.sqrt(1 / 3), rel=0.3)
    model = compile_model(scenarios[0])
    data = mujoco.MjData(model)
    for row in range(64):
        touching = []
        for lower in (0.0, 0.01):
            data.qpos[:] = start[row]
            data.qpos[2] -= lower
            mujoco.mj_fwdPosition(model, data)
            touching.append(data.ncon > 0)
        assert touching == [False, True]


def test_a_quadruped_stands_still_for_half_of_what_the_suite_gives_at_the_target():
    # tolerance(0, (v, inf), margin=v, value_at_margin=0.5, linear) = 0.5, and 0 at -v.
    assert reach(np.array([-5.0, 0.0, 2.5, 5.0]), np.full(4, 5.0), 0.5).tolist() == [
        0,
        0.5,
        0.75,
        1,
    ]
