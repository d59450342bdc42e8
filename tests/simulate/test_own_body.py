"""A body of the user's own: MJCF, three functions, a name."""

import dataclasses

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.scenarios import BODIES, Attachment, Embodiment, Limb, LimbScale, Scenario, register
from mrcom.scenarios import bodies as registry
from mrcom.simulate import RandomPolicy, Simulator, compile_model, physical_values, rollout

XML = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body name="cart" pos="0 0 1">
      <joint name="slide" type="slide" axis="1 0 0"/>
      <geom name="cart" type="box" size="0.2 0.1 0.1" mass="1"/>
      <body name="pole" pos="0 0 0">
        <joint name="hinge" type="hinge" axis="0 1 0"/>
        <geom name="pole" type="capsule" fromto="0 0 0 0 0 0.6" size="0.045"/>
        <body name="tip" pos="0 0 0.6">
          <geom name="tip" type="sphere" size="0.05"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="slide" gear="10" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


def observe(physics, out):
    out[:, 0] = np.sin(physics.field("qpos")[:, 1])
    out[:, 1] = np.cos(physics.field("qpos")[:, 1])
    out[:, 2:4] = physics.field("qvel")


CART = Embodiment(
    name="cart",
    xml=XML,
    obs=4,
    act=1,
    control_dt=0.02,
    substeps=2,
    max_speed=1.0,
    observe=observe,
    speed=lambda physics: physics.field("qvel")[:, 0],
    reward=lambda physics, move: move * (1 + physics.of_body("xmat", "pole")[:, 8]) / 2,
    limbs={"pole": Limb("pole", attached=(Attachment("body", "tip"),))},
)


@pytest.fixture(autouse=True)
def cart():
    yield register(CART)
    registry._bodies.pop("cart")


def test_it_runs_beside_the_others():
    scenarios = [
        Scenario("cart", 0.5),
        Scenario("walker", 1.0),
        Scenario("cart", 0.5, limbs=(LimbScale("pole", 2.0),), gravity=0.5),
    ]
    simulator = Simulator(scenarios)
    steps = rollout(simulator, RandomPolicy(simulator.masks), num_steps=50, seed=0)
    assert simulator.masks.obs.sum(1).tolist() == [4, 24, 4]
    np.testing.assert_allclose(steps.obs[0, :, 0] ** 2 + steps.obs[0, :, 1] ** 2, 1, rtol=1e-5)
    assert steps.reward[[0, 2], 1:].max() > 0
    assert (steps.obs[0] != steps.obs[2]).any()


def test_its_limbs_scale_and_carry_what_hangs_on_them():
    model = compile_model(Scenario("cart", limbs=(LimbScale("pole", length=2.0, size=0.5),)))
    np.testing.assert_allclose(model.geom("pole").size[:2], [0.0225, 0.6])
    np.testing.assert_allclose(model.body("tip").pos, [0, 0, 1.2])


def test_its_records_are_records():
    scenario = Scenario("cart", 0.5, limbs=(LimbScale("pole", 2.0),))
    assert Scenario.from_json(scenario.to_json()) == scenario
    (row,) = physical_values([scenario])
    assert row["torso_length"] is None
    assert row["total_mass"] > 1


def test_who_asks_for_more_than_there_is_gets_the_most_that_there_is():
    """Where the body's own motors have no limit, too."""
    xml = XML.replace('ctrllimited="true" ctrlrange="-1 1"', 'ctrllimited="false"')
    register(dataclasses.replace(CART, name="free_cart", xml=xml))
    try:
        for name in ("cart", "free_cart"):
            found = []
            for action in (1.0, 3.0):
                simulator = Simulator([Scenario(name, 0.5)])
                simulator.reset(seed=0)
                found.append(simulator.step(np.full((1, 1), action, np.float32))[0])
            np.testing.assert_array_equal(*found, err_msg=name)
    finally:
        registry._bodies.pop("free_cart")


def test_what_it_lacks_is_said():
    with pytest.raises(ConfigError, match="no limb 'torso'"):
        Scenario("cart", torso_length=1.1)
    with pytest.raises(ConfigError, match="no reward 'stand'"):
        Scenario("cart", reward="stand")
    assert "cart" in BODIES
    with pytest.raises(ConfigError, match="Another body is called 'walker'"):
        register(dataclasses.replace(CART, name="walker"))
    with pytest.raises(ConfigError, match="obs_std has 1 entries, needs 4"):
        dataclasses.replace(CART, obs_std=(1.0,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"act": 2}, "act=2, but its MJCF has 1 actuators"),
        ({"substeps": 3}, "3 substeps of 0.01 s make 0.03 s"),
        ({"xml": "<mujoco><worldbody>"}, "cannot be read"),
        ({"limbs": {"pole": Limb("cart")}}, "'cart' must be a capsule"),
        ({"limbs": {"pole": Limb("pole", attached=(Attachment("body", "hat"),))}}, "no body 'hat'"),
    ],
)
def test_a_body_that_does_not_match_its_mjcf_is_refused(change, words):
    broken = dataclasses.replace(CART, name="broken", **change)
    register(broken)
    try:
        with pytest.raises(ConfigError, match=words):
            compile_model(Scenario("broken", limbs=(LimbScale("pole", 1.5),)))
    finally:
        registry._bodies.pop("broken")
