import time

import jax
import numpy as np
import pytest
from told import LAYOUT, masks_for, told_steps

from mrcom.core.errors import ConfigError
from mrcom.core.types import Layout, Masks, Steps
from mrcom.replay.prompts import make_prompts
from mrcom.replay.store import Store
from mrcom.replay.windows import Windows, draw_windows, gather, sample_batch, write_back

W, T = 3, 4


def a_store(num=4, episodes=2, length=10):
    store = Store(num, LAYOUT, steps=10, capacity=3)
    for episode in range(episodes):
        store.add(np.arange(num), told_steps(np.arange(num), length=length, episode=episode))
    return store


def prompts_for(num, window=W):
    """Prompt steps lie above 50,000, so they can be told from every stored step."""
    steps = told_steps(50 + np.arange(num), length=window)
    return make_prompts("own", num=num, layout=LAYOUT, window=window, steps=steps)


def at(scenario, slot, start):
    return Windows(np.array([scenario]), np.array([slot]), np.array([start]))


def cut(windows, prompts=None, num=4):
    prompts = prompts_for(num) if prompts is None else prompts
    return gather(a_store(num), masks_for(num), prompts, windows, context=W, length=T)


def test_a_window_inside_an_episode_by_hand():
    batch = cut(at(2, 1, 5))
    np.testing.assert_array_equal(batch.obs[0, :, 0], 2100 + np.arange(2, 9))
    np.testing.assert_allclose(batch.action[0, :, 1], 2100.6 + np.arange(2, 9))
    np.testing.assert_array_equal(batch.reward[0], -2100 - np.arange(2, 9))
    assert batch.valid.all()
    assert not batch.is_terminal.any()
    assert (batch.scenario[0], batch.body[0]) == (2, 0)
    np.testing.assert_array_equal(batch.obs_mask[0], [1, 1, 0])
    np.testing.assert_array_equal(batch.act_mask[0], [1, 0])


def test_the_last_window_reaches_the_terminal_step():
    np.testing.assert_array_equal(cut(at(0, 0, 6)).is_terminal[0], [0, 0, 0, 0, 0, 0, 1])


def test_the_prompt_s_last_steps_stand_right_before_the_episode():
    batch = cut(at(1, 0, 1))  # the context holds step 0 and two prompt steps
    np.testing.assert_array_equal(batch.obs[0, :, 0], [51001, 51002, 1000, 1001, 1002, 1003, 1004])
    np.testing.assert_array_equal(batch.reward[0, :3], [-51001, -51002, -1000])
    np.testing.assert_allclose(batch.action[0, :2, 0], [51001.5, 51002.5])
    assert batch.valid.all() and not batch.is_terminal[0, :3].any()


def test_a_prompt_never_ends_an_episode():
    store, steps = Store(1, LAYOUT, steps=10, capacity=1), told_steps([0])
    steps.is_terminal[0, 0] = True
    store.add(np.array([0]), steps)
    batch = gather(store, masks_for(1), prompts_for(1), at(0, 0, 0), context=W, length=T)
    np.testing.assert_array_equal(batch.is_terminal[0], [0, 0, 0, 1, 0, 0, 0])


def test_without_a_prompt_the_steps_before_the_episode_are_zero_and_not_valid():
    none = make_prompts("none", num=4, layout=LAYOUT, window=W)
    batch = cut(at(1, 0, 1), none)
    np.testing.assert_array_equal(batch.valid[0], [0, 0, 1, 1, 1, 1, 1])
    assert not batch.obs[0, :2].any() and not batch.reward[0, :2].any()


def test_a_prompt_shorter_than_the_context_fills_what_it_can():
    batch = cut(at(1, 0, 0), prompts_for(4, window=2))
    np.testing.assert_array_equal(batch.valid[0, :4], [0, 1, 1, 1])
    np.testing.assert_array_equal(batch.obs[0, :4, 0], [0, 51000, 51001, 1000])


def test_what_an_invalid_prompt_step_holds_never_enters():
    prompts = prompts_for(4)
    hidden = type(prompts)(prompts.obs, prompts.action, prompts.reward, 0 * prompts.valid)
    none = make_prompts("none", num=4, layout=LAYOUT, window=W)
    a, b = cut(at(1, 0, 0), hidden), cut(at(1, 0, 0), none)
    np.testing.assert_array_equal(a.obs, b.obs)
    np.testing.assert_array_equal(a.action, b.action)


def test_prompt_steps_are_never_among_the_trained_steps():
    store, rng = a_store(), np.random.default_rng(0)
    for _ in range(50):
        batch = sample_batch(
            store, masks_for(4), prompts_for(4), rng,
            num_scenarios=4, per_scenario=8, context=W, length=T,
        )  # fmt: skip
        trained = np.asarray(batch.obs[:, W:, 0])
        assert trained.max() < 50_000
        assert (np.asarray(batch.valid[:, W:]) == 1).all()
        # Consecutive steps of one episode of the row's own scenario.
        np.testing.assert_array_equal(np.diff(trained), 1)
        np.testing.assert_array_equal(trained[:, 0] // 1000, batch.scenario)
        before = np.asarray(batch.obs[:, :W, 0])
        np.testing.assert_array_equal(before // 1000 % 50, np.repeat(batch.scenario[:, None], W, 1))


def test_rows_are_grouped_by_distinct_scenarios():
    store, rng = a_store(num=5), np.random.default_rng(1)
    for _ in range(20):
        scenario = draw_windows(store, rng, num_scenarios=3, per_scenario=2, length=T).scenario
        assert len(set(scenario)) == 3
        np.testing.assert_array_equal(scenario[0::2], scenario[1::2])


def test_scenarios_without_data_are_passed_over():
    store = Store(5, LAYOUT, steps=10, capacity=2)
    store.add(np.array([1, 4]), told_steps([1, 4]))
    rng = np.random.default_rng(2)
    windows = draw_windows(store, rng, num_scenarios=3, per_scenario=2, length=T)
    assert sorted(windows.scenario) == [1, 1, 4, 4]


def test_a_scenario_with_more_episodes_is_not_drawn_more_often():
    store = Store(2, LAYOUT, steps=10, capacity=9)
    for episode in range(9):
        store.add(np.array([0]), told_steps([0], episode=episode))
    store.add(np.array([1]), told_steps([1]))
    rng = np.random.default_rng(3)
    drawn = [
        draw_windows(store, rng, num_scenarios=1, per_scenario=1, length=T).scenario[0]
        for _ in range(2000)
    ]
    assert 900 < sum(drawn) < 1100  # 1000 expected, standard deviation 22


def test_windows_that_stick_out_are_pushed_back_into_the_episode():
    # Episodes of 10 and 5 steps have 13 + 8 windows of 4 steps that touch them, 4 at the first and
    # 4 at the last step; the one of 3 steps has none.
    store = Store(1, LAYOUT, steps=10, capacity=3)
    for length in (10, 3, 5):
        store.add(np.array([0]), told_steps([0], length=length))
    rng = np.random.default_rng(4)
    windows = draw_windows(store, rng, num_scenarios=1, per_scenario=21000, length=T)
    found, counts = np.unique(10 * windows.slot + windows.start, return_counts=True)
    assert list(found) == [*range(7), 20, 21]
    wanted = np.array([4, 1, 1, 1, 1, 1, 4, 4, 4])
    assert np.abs(counts / 1000 - wanted).max() < 0.25  # standard deviation at most 0.06


def test_no_step_is_trained_on_less_often_than_one_in_the_middle():
    store = Store(1, LAYOUT, steps=20, capacity=1)
    store.add(np.array([0]), told_steps([0], length=20))
    rng = np.random.default_rng(5)
    windows = draw_windows(store, rng, num_scenarios=1, per_scenario=10000, length=T)
    trained = np.bincount((windows.start[:, None] + np.arange(T)).ravel(), minlength=20)
    assert trained.min() > 0.9 * trained[8:12].mean()


def test_windows_longer_than_every_episode_are_refused():
    with pytest.raises(ConfigError, match="the longest has 10"):
        draw_windows(
            a_store(), np.random.default_rng(0), num_scenarios=2, per_scenario=1, length=11
        )


def test_the_same_generator_gives_the_same_batch():
    def one():
        return draw_windows(
            a_store(), np.random.default_rng(5), num_scenarios=2, per_scenario=3, length=T
        )

    a, b = one(), one()
    np.testing.assert_array_equal(a.start, b.start)
    np.testing.assert_array_equal(a.scenario, b.scenario)


def test_a_batch_of_the_usual_size_takes_milliseconds():
    layout = Layout(("walker",), 27, 6)
    store = Store(16, layout, steps=1001, capacity=2)
    rows, rng = np.arange(16), np.random.default_rng(6)
    steps = Steps(
        np.zeros((16, 1001, 27), np.float32), np.zeros((16, 1001, 6), np.float32),
        np.zeros((16, 1001), np.float32), np.zeros((16, 1001), np.bool_),
    )  # fmt: skip
    store.add(rows, steps)
    wide = [np.ones((16, width), np.float32) for width in (27, 6, 3)]
    masks = Masks(wide[0], wide[1], 0 * rows, wide[2])
    prompts = make_prompts("own", num=16, layout=layout, window=16, steps=steps)
    sizes = {"num_scenarios": 8, "per_scenario": 2, "context": 16, "length": 32}
    sample_batch(store, masks, prompts, rng, **sizes)
    spent = []
    for _ in range(20):
        before = time.perf_counter()
        sample_batch(store, masks, prompts, rng, **sizes)
        spent.append(time.perf_counter() - before)
    print(f"{1e3 * np.median(spent):.2f} ms a batch")
    assert min(spent) < 0.01


def test_windows_say_whether_an_expert_acted_in_their_episode():
    store = Store(2, LAYOUT, steps=10, capacity=2)
    store.add(np.array([0, 1]), told_steps([0, 1]), expert=True)
    store.add(np.array([0]), told_steps([0], episode=1))
    rng = np.random.default_rng(5)
    windows = draw_windows(store, rng, num_scenarios=2, per_scenario=40, length=T)
    batch = gather(store, masks_for(2), prompts_for(2), windows, context=W, length=T)
    by_an_expert = (windows.scenario == 1) | (windows.slot == 0)
    assert 0 < (~by_an_expert).sum() < by_an_expert.sum()
    np.testing.assert_array_equal(batch.expert, by_an_expert)


def test_an_episode_that_takes_an_experts_place_is_not_an_experts():
    store = Store(1, LAYOUT, steps=10, capacity=1)
    store.add(np.array([0]), told_steps([0]), expert=True)
    store.add(np.array([0]), told_steps([0], episode=1))
    assert not store.ring.expert.any()


def with_written():
    written = {"memory": jax.ShapeDtypeStruct((2,), np.float16)}
    store = Store(2, LAYOUT, steps=10, capacity=2, written=written)
    store.add(np.arange(2), told_steps([0, 1]))
    return store


def stored_before(store, *starts):
    windows = Windows(np.arange(2), np.zeros(2, int), np.array(starts))
    batch = gather(store, masks_for(2), prompts_for(2), windows, context=W, length=T)
    return np.asarray(batch.stored["memory"])


def test_a_window_meets_what_was_written_beside_the_step_before_it():
    store = with_written()
    windows = Windows(np.arange(2), np.zeros(2, int), np.array([0, 2]))
    made = np.arange(2 * T * 2).reshape(2, T, 2)
    write_back(store, windows, {"memory": made})
    found = stored_before(store, 1, 3)
    np.testing.assert_array_equal(found, made[:, 0])
    np.testing.assert_array_equal(stored_before(store, 2, 1), [made[0, 1], [0, 0]])


def test_nothing_stands_before_an_episodes_first_step_and_a_new_episode_clears_its_slot():
    store = with_written()
    whole = Windows(np.arange(2), np.zeros(2, int), np.zeros(2, int))
    write_back(store, whole, {"memory": np.ones((2, 10, 2))})
    np.testing.assert_array_equal(stored_before(store, 0, 0), 0)
    np.testing.assert_array_equal(stored_before(store, 1, 2), 1)
    for _ in range(2):  # two slots: the second of these takes the first one's place
        store.add(np.arange(2), told_steps([0, 1]))
    np.testing.assert_array_equal(stored_before(store, 1, 2), 0)


def test_what_was_written_is_counted_and_survives_a_checkpoint():
    store = with_written()
    assert store.num_bytes == 2 * 2 * 10 * (25 + 4)
    whole = Windows(np.arange(2), np.zeros(2, int), np.zeros(2, int))
    write_back(store, whole, {"memory": np.ones((2, 10, 2))})
    again = with_written()
    again.restore_written(store.written_dict())
    np.testing.assert_array_equal(stored_before(again, 1, 2), 1)


def test_only_an_episodes_first_step_is_called_first():
    windows = Windows(np.arange(2), np.zeros(2, int), np.array([0, 2]))
    store = with_written()
    batch = gather(store, masks_for(2), prompts_for(2), windows, context=W, length=T)
    first = np.asarray(batch.first)
    assert first[0].tolist() == [step == W for step in range(W + T)]
    assert first[1].tolist() == [step == W - 2 for step in range(W + T)]
