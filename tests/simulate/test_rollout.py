import re

import numpy as np
import pytest

from mrcom.core.errors import ConfigError, TrainingDivergedError
from mrcom.scenarios import Box, Scenario, sample_scenarios
from mrcom.simulate import RandomPolicy, Simulator, rollout


class Recorder:
    """Remembers what it was told; acts by counting."""

    def __init__(self, width):
        self.told, self._width = [], width

    def start(self, num):
        self._num = num
        return 0

    def act(self, carry, obs, action, reward):
        self.told.append((carry, obs.copy(), action.copy(), reward.copy()))
        return np.full((self._num, self._width), 0.1 * carry, np.float32), carry + 1


def test_policies_are_told_what_led_here_and_what_it_gave():
    simulator = Simulator([Scenario("walker", 1.0), Scenario("hopper", 1.0)])
    policy = Recorder(6)
    steps = rollout(simulator, policy, num_steps=4, seed=0)
    assert steps.obs.shape == (2, 5, 24)
    assert [carry for carry, *_ in policy.told] == [0, 1, 2, 3]
    for t, (_, obs, action, reward) in enumerate(policy.told):
        np.testing.assert_array_equal(obs, steps.obs[:, t])
        np.testing.assert_array_equal(action, steps.action[:, t])
        np.testing.assert_array_equal(reward, steps.reward[:, t])
    # action[t] led into obs[t]: the first is nothing, the second is the first that was chosen.
    assert steps.action[0, :, 0] == pytest.approx([0, 0, 0.1, 0.2, 0.3])
    assert not steps.action[1, :, 4:].any()
    assert not steps.reward[:, 0].any()
    assert not steps.is_terminal.any()


def test_a_rollout_is_its_simulators_steps():
    simulator = Simulator(sample_scenarios("cheetah", Box(20, 100), 3, 0))
    steps = rollout(simulator, RandomPolicy(simulator.masks, seed=1), num_steps=6, seed=2)
    np.testing.assert_array_equal(simulator.reset(seed=2), steps.obs[:, 0])
    for t in range(1, 7):
        obs, reward = simulator.step(steps.action[:, t])
        np.testing.assert_array_equal(obs, steps.obs[:, t])
        np.testing.assert_array_equal(reward, steps.reward[:, t])


def test_random_actions_fill_minus_one_to_one_on_real_entries_only():
    simulator = Simulator([Scenario("walker"), Scenario("hopper")] * 20)
    steps = rollout(simulator, RandomPolicy(simulator.masks), num_steps=50, seed=0)
    real = steps.action[:, 1:][np.broadcast_to(simulator.masks.act[:, None] == 1, (40, 50, 6))]
    assert abs(real.mean()) < 0.02
    assert real.std() == pytest.approx(3**-0.5, abs=0.01)
    assert not steps.action[1::2, :, 4:].any()


def test_progress_is_told_every_step():
    class Count:
        total = 0

        def advance(self, by=1, text=""):
            self.total += by

    bar, simulator = Count(), Simulator([Scenario("cheetah")])
    rollout(simulator, RandomPolicy(simulator.masks), num_steps=7, seed=0, progress=bar)
    assert bar.total == 7
    with pytest.raises(ConfigError, match="num_steps=0"):
        rollout(simulator, RandomPolicy(simulator.masks), num_steps=0, seed=0)


def test_an_action_that_is_not_finite_is_refused_before_it_is_simulated(capfd):
    class Broken(RandomPolicy):
        def act(self, carry, obs, action, reward):
            chosen, carry = super().act(carry, obs, action, reward)
            chosen[1] = np.nan
            return chosen, carry

    simulator = Simulator(sample_scenarios("cheetah", Box(20, 100), 3, 0))
    name = re.escape(simulator.scenarios[1].name)
    with pytest.raises(TrainingDivergedError, match=f"not finite in scenario {name}"):
        rollout(simulator, Broken(simulator.masks), num_steps=2, seed=0)
    assert capfd.readouterr().err == "", "MuJoCo was not asked"
