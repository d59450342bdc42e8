import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.evaluate.evaluate import evaluate, evaluate_random, scores_of
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.rollout import rollout
from mrcom.simulate.simulator import Simulator

SCENARIOS = (Scenario("cheetah", target_speed=1.0), Scenario("hopper", target_speed=0.5))


class Still:
    """Acts with zeros and remembers how many rows it was given."""

    def start(self, num):
        return num

    def act(self, carry, obs, action, reward):
        return np.zeros_like(action), carry


def test_the_return_is_the_sum_of_the_rewards_of_each_row():
    seen = {}

    def make(rows, masks):
        seen["rows"], seen["masks"] = rows, masks
        return Still()

    returns = evaluate(make, SCENARIOS, episodes=3, seed=4, num_steps=6)
    assert [s.body for s in seen["rows"]] == 3 * ["cheetah"] + 3 * ["hopper"]
    assert seen["masks"].act.shape == (6, 6)
    rows = [s for s in SCENARIOS for _ in range(3)]
    steps = rollout(Simulator(rows), Still(), num_steps=6, seed=4)
    np.testing.assert_allclose(returns, steps.reward.sum(1).reshape(2, 3), rtol=1e-6)


def test_episodes_start_differently_and_the_same_seed_gives_the_same_returns():
    def measure(seed):
        return evaluate(lambda *_: Still(), SCENARIOS[:1], episodes=2, seed=seed, num_steps=6)

    first = measure(0)
    assert first[0, 0] != first[0, 1]
    np.testing.assert_array_equal(first, measure(0))
    assert (first != measure(1)).all()


def test_random_actions_are_the_same_each_time():
    a, b = (evaluate_random(SCENARIOS, episodes=2, seed=0, num_steps=5) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_one_record_per_episode():
    returns = np.array([[1.0, 2.0], [3.0, 4.0]])
    normalised = np.array([[10.0, 20.0], [np.nan, np.nan]])
    scores = scores_of(
        returns, normalised, SCENARIOS, method="adapted", seed=3, inside=[True, False],
        env_steps=100, updates=50, budget="debug",
    )  # fmt: skip
    assert [s.episode_return for s in scores] == [1, 2, 3, 4]
    assert [s.normalised for s in scores] == [10, 20, None, None]
    assert [s.inside for s in scores] == [True, True, False, False]
    assert [s.scenario for s in scores] == [s.hash for s in SCENARIOS for _ in range(2)]
    assert [s.episode for s in scores] == [0, 1, 0, 1]


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(ConfigError, match="0 scenarios"):
        evaluate(lambda *_: Still(), (), episodes=1, seed=0)
    with pytest.raises(ConfigError, match="0 episodes"):
        evaluate(lambda *_: Still(), SCENARIOS, episodes=0, seed=0)
