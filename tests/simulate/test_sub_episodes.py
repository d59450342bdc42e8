"""Bodies that start anew in the middle of a trajectory."""

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.scenarios import Scenario
from mrcom.simulate import RandomPolicy, Simulator, rollout

SCENARIOS = [Scenario("cheetah", 3.0), Scenario("hopper", 1.0, torso_length=1.1)]


def trajectory(parts, steps=8):
    simulator = Simulator(SCENARIOS)
    return rollout(
        simulator, RandomPolicy(simulator.masks, seed=1), num_steps=steps, seed=2,
        sub_episodes=parts,
    )  # fmt: skip


def test_no_reward_is_lost_or_invented_at_the_border():
    """By hand: the same actions in a simulator that is reset after the fourth."""
    steps, simulator = trajectory(2), Simulator(SCENARIOS)
    np.testing.assert_array_equal(simulator.reset(seed=2), steps.obs[:, 0])
    rewards = []
    for t in range(1, 9):
        obs, reward = simulator.step(steps.action[:, t])
        rewards.append(reward)
        if t == 4:
            ended, obs = obs, simulator.reset()
        np.testing.assert_array_equal(obs, steps.obs[:, t])
    np.testing.assert_array_equal(np.stack(rewards, axis=1), steps.reward[:, 1:])
    assert not np.allclose(ended, steps.obs[:, 4], atol=1e-3)


def test_until_the_border_nothing_is_different():
    one, two = trajectory(1), trajectory(2)
    np.testing.assert_array_equal(one.obs[:, :4], two.obs[:, :4])
    np.testing.assert_array_equal(one.reward[:, :5], two.reward[:, :5])
    np.testing.assert_array_equal(one.action, two.action)


def test_the_body_stands_still_where_it_starts_anew_in_a_new_state_of_the_same_scenario():
    steps = trajectory(2)
    # A cheetah's last nine observations are its speeds.
    assert np.abs(steps.obs[0, 4, 8:17]).max() < 0.1 < np.abs(steps.obs[0, 3, 8:17]).max()
    assert not np.allclose(steps.obs[:, 0], steps.obs[:, 4], atol=1e-3)


def test_the_policy_goes_on_and_the_episode_too():
    class Counting:
        starts, seen = 0, []

        def start(self, num):
            self.starts += 1
            return 0

        def act(self, carry, obs, action, reward):
            self.seen.append((carry, action.copy(), reward.copy()))
            return np.full((2, 6), 0.1), carry + 1

    policy, simulator = Counting(), Simulator(SCENARIOS)
    steps = rollout(simulator, policy, num_steps=6, seed=0, sub_episodes=3)
    assert policy.starts == 1 and [carry for carry, *_ in policy.seen] == list(range(6))
    for t, (_, action, reward) in enumerate(policy.seen):
        np.testing.assert_array_equal(action, steps.action[:, t])
        np.testing.assert_array_equal(reward, steps.reward[:, t])
    assert not steps.is_terminal.any()


def test_parts_that_are_not_equal_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"num_steps=7 .* is 8"):
        trajectory(2, steps=7)
