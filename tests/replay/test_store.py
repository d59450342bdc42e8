import jax
import numpy as np
import pytest
from told import LAYOUT, told_steps

from mrcom.core.errors import CheckpointError, ConfigError, TrainingDivergedError
from mrcom.replay.store import Store, bytes_per_episode, capacity_within


def test_bytes_by_hand():
    # 3 + 2 + 1 numbers of 4 bytes and one flag are 25 bytes a step.
    assert bytes_per_episode(LAYOUT, 10) == 250
    store = Store(4, LAYOUT, steps=10, capacity=3)
    assert store.num_bytes == 4 * 3 * 250
    ring = store.ring
    held = ring.obs.nbytes + ring.action.nbytes + ring.reward.nbytes + ring.is_terminal.nbytes
    assert held == store.num_bytes


def test_a_budget_gives_the_largest_capacity_that_fits():
    assert capacity_within(3 * 4 * 250, 4, LAYOUT, 10) == 3
    assert capacity_within(3 * 4 * 250 - 1, 4, LAYOUT, 10) == 2


def test_a_budget_below_one_episode_each_is_refused_with_the_least_that_works():
    with pytest.raises(ConfigError, match=r"at least 953\.7 MiB"):
        capacity_within(100 * 2**20, 1_000_000, LAYOUT, 40)


def test_the_oldest_episode_of_the_scenario_makes_room_and_no_other():
    store = Store(2, LAYOUT, steps=10, capacity=2)
    store.add(np.array([0]), told_steps([0], episode=7))
    for episode in range(3):
        store.add(np.array([1]), told_steps([1], episode=episode))
    kept = sorted(store.ring.obs[1, :, 0, 0])
    assert kept == [1100, 1200]
    assert store.ring.obs[0, 0, 0, 0] == 700
    assert list(store.added) == [1, 3]


def test_episodes_are_counted_and_keep_their_own_lengths():
    store = Store(2, LAYOUT, steps=10, capacity=1)
    store.add(np.array([0, 1]), told_steps([0, 1]), lengths=np.array([10, 4]))
    assert (list(store.ring.length[:, 0]), list(store.added)) == ([10, 4], [1, 1])


def test_two_trajectories_of_one_scenario_in_one_call_fill_two_slots():
    store = Store(1, LAYOUT, steps=10, capacity=2)
    store.add(np.array([0, 0]), told_steps([0, 0]))
    assert list(store.ring.length[0]) == [10, 10]


def test_a_shorter_episode_leaves_nothing_of_the_longer_one_it_replaces():
    store = Store(1, LAYOUT, steps=10, capacity=1)
    store.add(np.array([0]), told_steps([0], episode=1))
    store.add(np.array([0]), told_steps([0], length=4))
    assert store.ring.length[0, 0] == 4
    assert not store.ring.obs[0, 0, 4:].any()


SEEN = {"seen": jax.ShapeDtypeStruct((2,), np.float16)}


def filled(store, episodes):
    """Episodes are added, and after each of them something is written beside its steps."""
    for episode in episodes:
        store.add(np.array([0, 1]), told_steps([0, 1], episode=episode))
        store.written["seen"][:, episode % store.capacity, 3] = 100 * episode
    return store


@pytest.mark.parametrize("capacity", [2, 3, 9])
def test_added_again_with_what_was_written_it_goes_on_as_if_never_stopped(capacity):
    def empty():
        return Store(2, LAYOUT, steps=10, capacity=capacity, written=SEEN)

    whole, halves = filled(empty(), range(7)), filled(empty(), range(4))
    again = empty()
    for episode in range(4):
        again.add(np.array([0, 1]), told_steps([0, 1], episode=episode))
    again.restore_written(halves.written_dict())
    filled(again, range(4, 7))
    for name, array in vars(whole.ring).items():
        np.testing.assert_array_equal(array, getattr(again.ring, name))
    np.testing.assert_array_equal(whole.written["seen"], again.written["seen"])
    np.testing.assert_array_equal(whole.added, again.added)


def test_slots_that_nobody_used_yet_are_left_out_of_what_is_saved():
    store = filled(Store(2, LAYOUT, steps=10, capacity=5, written=SEEN), range(2))
    assert store.written_dict()["seen"].shape == (2, 2, 10, 2)


def test_what_was_written_in_another_store_is_refused():
    store = filled(Store(2, LAYOUT, steps=10, capacity=3, written=SEEN), range(3))
    with pytest.raises(CheckpointError, match=r"shape \(2, 3, 10, 2\).*needs \(2, 1, 10, 2\)"):
        Store(2, LAYOUT, steps=10, capacity=3, written=SEEN).restore_written(store.written_dict())
    with pytest.raises(CheckpointError, match="shape none"):
        store.restore_written({})


@pytest.mark.parametrize("name", ["obs", "action", "reward"])
def test_a_value_that_is_not_finite_names_its_scenario_and_is_not_stored(name):
    store, steps = Store(6, LAYOUT, steps=10, capacity=1), told_steps([3, 5])
    getattr(steps, name)[1, 4] = np.nan
    with pytest.raises(TrainingDivergedError, match=f"Scenario 5 gave a {name}"):
        store.add(np.array([3, 5]), steps)
    assert not store.added.any()


def test_what_does_not_fit_is_refused():
    store = Store(2, LAYOUT, steps=8, capacity=1)
    with pytest.raises(ConfigError, match="2 to 8 are possible"):
        store.add(np.array([0]), told_steps([0], length=10))
    with pytest.raises(ConfigError, match="0 to 1"):
        store.add(np.array([2]), told_steps([2], length=8))
    with pytest.raises(ConfigError, match="capacity=0"):
        Store(2, LAYOUT, capacity=0)
