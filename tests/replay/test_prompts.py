import jax.numpy as jnp
import numpy as np
import pytest
from told import LAYOUT, told_steps

from mrcom.core.errors import ConfigError
from mrcom.replay.prompts import best_stretch, choose_prompts, make_prompts


def test_the_best_stretch_by_hand():
    # Sums of two: 1 5 5 1 0 and 0 0 0 7 8; the first of equals wins.
    reward = np.array([[0, 1, 4, 1, 0, 0], [0, 0, 0, 0, 7, 1]], np.float32)
    np.testing.assert_array_equal(best_stretch(reward, 2), [1, 4])
    np.testing.assert_array_equal(best_stretch(reward, 6), [0, 0])


def test_an_expert_prompt_is_the_expert_s_best_stretch():
    steps = told_steps([0, 1])
    steps.reward[0, 6:8] = 5
    prompts = make_prompts("expert", num=2, layout=LAYOUT, window=2, steps=steps)
    np.testing.assert_array_equal(prompts.obs[:, :, 0], [[6, 7], [1000, 1001]])
    np.testing.assert_array_equal(prompts.reward[0], [5, 5])
    assert prompts.valid.all()


def test_an_own_prompt_is_the_agent_s_first_steps():
    prompts = make_prompts("own", num=2, layout=LAYOUT, window=3, steps=told_steps([0, 1]))
    np.testing.assert_array_equal(prompts.obs[:, :, 0], [[0, 1, 2], [1000, 1001, 1002]])


def test_a_short_trajectory_ends_where_the_episode_begins():
    prompts = make_prompts("own", num=1, layout=LAYOUT, window=5, steps=told_steps([1], length=2))
    np.testing.assert_array_equal(prompts.valid, [[0, 0, 0, 1, 1]])
    np.testing.assert_array_equal(prompts.obs[0, :, 0], [0, 0, 0, 1000, 1001])
    expert = make_prompts("expert", num=1, layout=LAYOUT, window=5, steps=told_steps([1], length=2))
    np.testing.assert_array_equal(expert.obs, prompts.obs)


def test_no_prompt_is_nowhere_valid():
    prompts = make_prompts("none", num=3, layout=LAYOUT, window=4)
    assert prompts.obs.shape == (3, 4, 3) and not prompts.valid.any()


def test_rows_are_chosen_in_their_order():
    prompts = make_prompts("own", num=2, layout=LAYOUT, window=3, steps=told_steps([0, 1]))
    np.testing.assert_array_equal(
        choose_prompts(prompts, np.array([1, 0, 1])).obs[:, 0, 0], [1000, 0, 1000]
    )
    assert isinstance(choose_prompts(prompts, np.array([1])).obs, jnp.ndarray)


def test_wrong_asks_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'expert'"):
        make_prompts("exprt", num=1, layout=LAYOUT, window=4)
    with pytest.raises(ConfigError, match="got 0"):
        make_prompts("own", num=1, layout=LAYOUT, window=4)
    with pytest.raises(ConfigError, match="each of 3 scenarios, got 2"):
        make_prompts("expert", num=3, layout=LAYOUT, window=4, steps=told_steps([0, 1]))
