"""Windows that begin where episodes do."""

import numpy as np
import pytest
from told import LAYOUT, masks_for, told_steps

from mrcom.agents.agent import Windows
from mrcom.core.errors import ConfigError
from mrcom.replay.prompts import make_prompts
from mrcom.replay.store import Store
from mrcom.replay.windows import draw_windows, sample_batch


def a_store(num=3, episodes=2, length=10):
    store = Store(num, LAYOUT, steps=10, capacity=4)
    for episode in range(episodes):
        store.add(np.arange(num), told_steps(np.arange(num), length=length, episode=episode))
    return store


@pytest.mark.parametrize("length", [4, 10])
def test_windows_begin_where_episodes_do(length):
    windows = draw_windows(
        a_store(), np.random.default_rng(0),
        num_scenarios=3, per_scenario=20, length=length, place="start",
    )  # fmt: skip
    assert not windows.start.any()
    assert set(windows.slot) == {0, 1}


def test_every_episode_is_as_likely_as_any_other():
    store = a_store(episodes=1)
    store.add(np.arange(3), told_steps(np.arange(3), length=5))  # a shorter one
    windows = draw_windows(
        store, np.random.default_rng(0), num_scenarios=3, per_scenario=1000, length=4,
        place="start",
    )  # fmt: skip
    assert abs(windows.slot.mean() - 0.5) < 4 * 0.5 / np.sqrt(3000)


def test_an_episode_shorter_than_the_window_is_not_drawn():
    with pytest.raises(ConfigError, match="No stored episode"):
        draw_windows(
            a_store(length=5), np.random.default_rng(0),
            num_scenarios=1, per_scenario=1, length=6, place="start",
        )  # fmt: skip


def test_a_batch_of_beginnings_has_its_first_step_first():
    prompts = make_prompts("own", num=3, layout=LAYOUT, window=0, steps=told_steps(np.arange(3)))
    batch = sample_batch(
        a_store(), masks_for(3), prompts, np.random.default_rng(0),
        num_scenarios=3, per_scenario=2, context=0, length=6, place="start",
    )  # fmt: skip
    np.testing.assert_array_equal(batch.first, np.arange(6)[None] == np.zeros((6, 1)))
    np.testing.assert_array_equal(
        np.asarray(batch.obs)[:, :, 0] % 100, np.tile(np.arange(6), (6, 1))
    )


def test_windows_at_beginnings_end_where_episodes_do():
    whole = Windows(length=251, place="start")
    assert (whole.length_in(1001), whole.length_in(61)) == (251, 61)
    assert Windows(length=251).length_in(61) == 251


@pytest.mark.parametrize("kind", ["expert", "own"])
def test_prompts_of_no_steps_can_be_made(kind):
    prompts = make_prompts(kind, num=2, layout=LAYOUT, window=0, steps=told_steps(np.arange(2)))
    assert prompts.obs.shape == (2, 0, 3)
