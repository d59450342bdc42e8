"""True rewards that are computed from observations are those that the simulator gave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.expert import ExpertPolicy
from mrcom.behaviour.observed_reward import observed_reward
from mrcom.core.errors import ConfigError
from mrcom.scenarios.bodies import body
from mrcom.scenarios.observation import observation_function
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.rollout import rollout
from mrcom.simulate.simulator import Simulator

SCENARIOS = (
    Scenario("walker", target_speed=2.0, torso_length=1.15, torso_size=0.85),
    Scenario("hopper", target_speed=0.4, torso_length=0.85, torso_size=1.2),
    Scenario("cheetah", target_speed=3.0, torso_length=1.1, torso_size=0.8),
    Scenario("walker", target_speed=5.0, reward="reach", torso_size=1.2),
    Scenario("walker", reward="stand", torso_length=1.2),
    Scenario("hopper", target_speed=1.5, reward="reach", mass=1.3),
    Scenario("cheetah", target_speed=8.0, reward="reach", gravity=0.8),
    Scenario("cheetah", target_speed=0.5),
)
"""Bodies in any order, all that can be told."""


def test_they_equal_the_simulators_in_changed_bodies_under_experts():
    simulator = Simulator(SCENARIOS)
    steps = rollout(simulator, ExpertPolicy(SCENARIOS, simulator.layout), seed=3, num_steps=300)
    found = jax.jit(observed_reward(SCENARIOS))(jnp.asarray(steps.obs))
    np.testing.assert_allclose(found[:, 1:], steps.reward[:, 1:], atol=1e-5)
    assert np.all(steps.reward[:, 1:].max(axis=1) > 0.2), "there was something to tell"


def test_the_state_may_be_anywhere_along_the_axes_between_scenarios_and_observations():
    reward = observed_reward(SCENARIOS[:2])
    obs = jax.random.normal(jax.random.key(0), (2, 3, 5, 24))
    one_by_one = jnp.stack(
        [observed_reward([s])(obs[i : i + 1, j, k]) for i, s in enumerate(SCENARIOS[:2])
         for j in range(3) for k in range(5)]
    )  # fmt: skip
    np.testing.assert_allclose(reward(obs).reshape(-1), one_by_one.reshape(-1), rtol=1e-6)
    assert reward(obs).shape == (2, 3, 5)


def test_a_walkers_stand_by_hand():
    stand = observed_reward([Scenario("walker", reward="stand")])
    obs = jnp.zeros((1, 24)).at[0, 0:14:2].set(1.0).at[0, 14].set(1.3)
    np.testing.assert_allclose(stand(obs), [1.0])
    # Lying on its back at half the height: the Gaussian is .1, upright is 0: (.3 + .5) / 4.
    low = jnp.zeros((1, 24)).at[0, 1:14:2].set(1.0).at[0, 14].set(0.6)
    np.testing.assert_allclose(stand(low), [0.2], rtol=1e-5)


NOISY = observation_function("add_g", body("cheetah"), seed=0)


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        (Scenario("hopper", reward="stand"), "depends on the action"),
        (Scenario("quadruped", target_speed=0.5), "hopper, walker, cheetah only"),
        (Scenario("cheetah", target_speed=3.0, observation=NOISY), "'add_g', not 'plain'"),
    ],
)
def test_what_cannot_be_told_is_refused_and_nothing_is_approximated(scenario, why):
    with pytest.raises(ConfigError, match=why):
        observed_reward([SCENARIOS[0], scenario])
