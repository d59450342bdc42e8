"""Where a body's parts are, and how fast its centre of mass is, against the simulator's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.compile import compile_model
from mrcom.simulate.engine import mujoco
from mrcom.simulate.kinematics import centre_velocity, placed, skeleton_of


@pytest.mark.parametrize("body", ["hopper", "walker", "cheetah"])
def test_parts_and_centre_of_mass_are_where_the_simulator_has_them(body):
    scenario = Scenario(body, target_speed=1.0, torso_length=1.2, torso_size=0.8, mass=1.5)
    model, skeleton = compile_model(scenario), skeleton_of(scenario)
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    place, speed = jax.jit(placed), jax.jit(centre_velocity)
    for _ in range(20):
        data.qpos[:] = rng.uniform(-2, 2, model.nq)
        data.qvel[:] = rng.uniform(-5, 5, model.nv)
        mujoco.mj_forward(model, data)
        found = place(skeleton, jnp.asarray(data.qpos))
        np.testing.assert_allclose(found.pos, data.xpos, atol=2e-6)
        np.testing.assert_allclose(found.rotation.reshape(-1, 9), data.xmat, atol=2e-6)
        np.testing.assert_allclose(found.centre, data.xipos, atol=2e-6)
        velocity = speed(skeleton, jnp.asarray(data.qpos), jnp.asarray(data.qvel))
        np.testing.assert_allclose(velocity, data.sensor("com_velocity").data, atol=2e-5)


def test_a_body_that_floats_freely_is_refused():
    with pytest.raises(ConfigError, match="neither hinges nor slides"):
        skeleton_of(Scenario("quadruped", target_speed=0.5))
