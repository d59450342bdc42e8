import numpy as np
import pytest

from mrcom.core.errors import ConfigError, TrainingDivergedError
from mrcom.core.steps import Layout
from mrcom.scenarios import Box, Scenario, layout_of, sample_scenarios
from mrcom.simulate import RandomPolicy, Simulator, rollout


def mixed(count=2):
    """Bodies interleaved: hopper, walker, cheetah, hopper, ..."""
    lists = [sample_scenarios(b, Box(20, 100), count, 0) for b in ("hopper", "walker", "cheetah")]
    return [scenario for group in zip(*lists, strict=True) for scenario in group]


def random_actions(simulator, steps, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (steps, simulator.num, simulator.layout.act)).astype(np.float32)


def play(simulator, actions, seed=0):
    found = [simulator.reset(seed=seed)]
    found += [simulator.step(action)[0] for action in actions]
    return np.array(found)


@pytest.mark.parametrize("name", ["hopper", "walker", "cheetah", "quadruped"])
def test_a_hundred_bodies_survive_a_thousand_random_steps(name):
    scenarios = sample_scenarios(name, Box(20, 100), 100, 0)
    simulator = Simulator(scenarios)
    steps = rollout(simulator, RandomPolicy(simulator.masks), seed=0)
    assert simulator.warnings() == 0
    assert np.isfinite(steps.obs).all()
    assert steps.reward.min() >= 0
    assert steps.reward.max() <= 1
    # A quadruped feels its impacts: 538 m/s^2 were seen.
    assert abs(steps.obs).max() < (1000 if name == "quadruped" else 100)
    # No quantity is constant, and but for touching one's heel or toe, in no scenario.
    assert (steps.obs.std(axis=(0, 1)) > 0).all()
    assert (steps.obs[:, :, :13].std(axis=1) > 0).all()


def test_bodies_may_be_interleaved_and_do_not_touch_each_other():
    scenarios = mixed()
    together = Simulator(scenarios)
    actions = random_actions(together, 20)
    found = play(together, actions)
    for index, scenario in enumerate(scenarios):
        # The initial state depends on the place in the list: the same scenario in every place.
        alone = Simulator([scenario] * (index + 1), layout=together.layout)
        same = play(alone, actions[:, : index + 1])
        np.testing.assert_array_equal(same[:, index], found[:, index])


def test_padding_is_zero_and_ignored():
    simulator = Simulator(mixed())
    actions = random_actions(simulator, 5)
    found = play(simulator, actions)
    assert not found[:, simulator.masks.obs == 0].any()
    other = actions.copy()
    other[:, simulator.masks.act == 0] = 0.5
    np.testing.assert_array_equal(play(simulator, other), found)


def test_a_seed_decides_everything_and_threads_nothing():
    scenarios = mixed(3)
    first = Simulator(scenarios, num_threads=1)
    actions = random_actions(first, 10)
    found = play(first, actions, seed=5)
    np.testing.assert_array_equal(play(first, actions, seed=5), found)
    np.testing.assert_array_equal(play(Simulator(scenarios, num_threads=2), actions, 5), found)
    assert (play(first, actions, seed=6)[0] != found[0]).any()


def test_equal_scenarios_start_differently_in_different_places():
    obs = Simulator([Scenario("walker")] * 2).reset(seed=0)
    assert (obs[0] != obs[1]).any()


def test_resets_without_a_seed_continue_the_stream():
    simulator = Simulator(mixed(1))
    first = simulator.reset(seed=0)
    second = simulator.reset()
    assert (first != second).any(axis=1).all()
    simulator.reset(seed=0)
    np.testing.assert_array_equal(simulator.reset(), second)


def test_a_partial_reset_leaves_the_others_alone():
    simulator, twin = Simulator(mixed()), Simulator(mixed())
    actions = random_actions(simulator, 8)
    for each in (simulator, twin):
        play(each, actions[:4], seed=1)
    before, _ = simulator.step(actions[4])
    twin.step(actions[4])
    after = simulator.reset(ids=[3, 1], seed=7)
    kept = [0, 2, 4, 5]
    np.testing.assert_array_equal(after[kept], before[kept])
    assert (after[[1, 3]] != before[[1, 3]]).any(axis=1).all()
    np.testing.assert_array_equal(after[[1, 3]], Simulator(mixed()).reset(seed=7)[[1, 3]])
    for action in actions[5:]:
        ours, theirs = simulator.step(action)[0], twin.step(action)[0]
        np.testing.assert_array_equal(ours[kept], theirs[kept])


def test_placed_scenarios_are_seen_and_move_as_from_there_and_the_others_stay():
    """Twin: where a simulation has come to, another one is put."""
    scenarios = [Scenario("walker", target_speed=1.0), *[Scenario("cheetah", target_speed=1.0)] * 2]
    simulator = Simulator(scenarios, seed=3)
    simulator.reset()
    action = np.random.default_rng(0).uniform(-1, 1, (3, 6))
    before, _ = simulator.step(action)
    cheetahs = simulator._herds[1].physics
    state = [cheetahs.field(name)[:1].copy() for name in ("qpos", "qvel")]
    placed = simulator.place([2], *state)
    np.testing.assert_array_equal(placed[:2], before[:2])
    np.testing.assert_array_equal(placed[2], before[1])
    action[2] = action[1]
    seen, reward = simulator.step(action)
    np.testing.assert_allclose(seen[2], seen[1], atol=1e-5)
    np.testing.assert_allclose(reward[2], reward[1], atol=1e-6)


def test_states_that_do_not_fit_are_refused():
    simulator = Simulator([Scenario("walker", target_speed=1.0), Scenario("cheetah")])
    with pytest.raises(ConfigError, match=r"one body, not of \['cheetah', 'walker'\]"):
        simulator.place([0, 1], np.zeros((2, 9)), np.zeros((2, 9)))
    with pytest.raises(ConfigError, match=r"'cheetah' have 9 positions, 9 velocities each"):
        simulator.place([1], np.zeros((1, 7)), np.zeros((1, 7)))


def test_new_scenarios_replace_the_old_ones():
    simulator = Simulator(sample_scenarios("walker", Box(20, 100), 3, 0))
    actions = random_actions(simulator, 10)
    play(simulator, actions)
    fresh = sample_scenarios("walker", Box(20, 100), 3, 1)
    simulator.set_scenarios(fresh)
    assert simulator.scenarios == tuple(fresh)
    with pytest.raises(ConfigError, match="reset"):
        simulator.step(actions[0])
    found = play(simulator, actions)
    np.testing.assert_array_equal(found, play(Simulator(fresh), actions))
    with pytest.raises(ConfigError, match="same bodies in the same order"):
        simulator.set_scenarios(mixed(1))


def test_returned_arrays_are_the_callers():
    simulator = Simulator(mixed(1))
    first = simulator.reset(seed=0)
    copy = first.copy()
    simulator.step(random_actions(simulator, 1)[0])
    np.testing.assert_array_equal(first, copy)


def test_target_and_shape_decide_the_reward_of_each_scenario():
    scenarios = [
        Scenario("cheetah", 2.0, "track"),
        Scenario("cheetah", 2.0, "reach"),
        Scenario("cheetah", 0.5, "reach"),
    ]
    simulator = Simulator(scenarios)
    simulator.reset(seed=0)
    _put_same_speed(simulator, 3.0)
    _, reward = simulator.step(np.zeros((3, 6), np.float32))
    speed = simulator._herds[0].physics.sensor("com_velocity")[:, 0]
    assert 2.0 < speed.min() < 4.0
    assert reward[0] == pytest.approx(1 - (speed[0] - 2) / 2, abs=1e-6)
    assert reward[1:].tolist() == [1.0, 1.0]


def _put_same_speed(simulator, speed):
    batch = simulator._herds[0].batch
    batch.bind("qvel")[:] = 0
    batch.bind("qvel")[:, 0] = speed
    batch.forward()


def test_a_diverged_simulation_is_named_though_mujoco_hides_it(capfd):
    simulator = Simulator(mixed())

    class Break(RandomPolicy):
        def act(self, carry, obs, action, reward):
            simulator._herds[1].batch.bind("qvel")[1, 0] = 1e12
            return np.zeros(simulator.masks.act.shape, np.float32), carry

    with pytest.raises(TrainingDivergedError) as error:
        rollout(simulator, Break(simulator.masks), num_steps=3, seed=0)
    assert simulator.scenarios[4].hash in str(error.value)
    assert simulator.warnings() > 0
    # Nothing but the counter shows it.
    assert np.isfinite(simulator.step(np.zeros((6, 6), np.float32))[0]).all()
    simulator.reset()
    assert simulator.warnings() == 0


def test_an_action_that_is_not_a_number_is_noticed(capfd):
    simulator = Simulator(mixed(1))
    simulator.reset(seed=0)
    simulator.step(np.full((3, 6), np.nan, np.float32))
    with pytest.raises(TrainingDivergedError, match="hopper"):
        simulator.check()


def test_what_does_not_fit_is_refused():
    simulator = Simulator(mixed(1))
    with pytest.raises(ConfigError, match=r"reset\(\)"):
        simulator.step(np.zeros((3, 6), np.float32))
    simulator.reset(ids=[0, 1])
    with pytest.raises(ConfigError, match=r"reset\(\)"):
        simulator.step(np.zeros((3, 6), np.float32))
    simulator.reset()
    with pytest.raises(ConfigError, match=r"shape \(3, 5\), expected \(3, 6\)"):
        simulator.step(np.zeros((3, 5), np.float32))
    with pytest.raises(ConfigError, match=r"ids=\[3\]"):
        simulator.reset(ids=[3])
    with pytest.raises(ConfigError, match="at least one scenario"):
        Simulator([])
    with pytest.raises(ConfigError, match="not in the layout"):
        Simulator(mixed(1), layout=layout_of(["walker"]))


def test_a_wider_layout_only_pads():
    scenarios = mixed(1)
    wide = Simulator(scenarios, layout=Layout(("hopper", "walker", "cheetah"), 30, 8))
    obs = wide.reset(seed=0)
    np.testing.assert_array_equal(obs[:, :24], Simulator(scenarios).reset(seed=0))
    assert obs.shape == (3, 30)
