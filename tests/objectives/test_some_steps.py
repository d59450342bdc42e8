"""Parts of windows that losses are computed on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.objectives.some_steps import at_steps, grown, local_pairs, random_steps, within


def steps_after(updates, first=50, last=251, over=1000):
    return int(grown(jnp.asarray(updates), first=first, last=last, over=over))


def test_the_horizon_by_hand():
    # 50 + 201 * updates / 1000, rounded up: 50, 50.201, 70.1, 150.5, 250.799, 251
    found = [steps_after(n) for n in (0, 1, 100, 500, 999, 1000, 5000)]
    assert found == [50, 51, 71, 151, 251, 251, 251]


def test_the_horizon_is_never_longer_than_the_window():
    assert steps_after(0, last=30) == steps_after(700, last=30) == 30


def test_no_growth_begins_with_the_whole_window():
    assert steps_after(0, over=0) == 251


def test_a_horizon_far_from_0_is_not_rounded():
    # In single precision 50 + 99,999 * 951 / 100,000 = 1000.99 and its neighbours still differ;
    # the product alone does not fit into 24 bits.
    wanted = [50 + -(-n * 951 // 100_000) for n in range(99_900, 100_000)]
    assert [steps_after(n, last=1001, over=100_000) for n in range(99_900, 100_000)] == wanted


def test_a_growth_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="32 bits"):
        steps_after(0, last=1001, over=10_000_000)


def test_the_mean_within_a_horizon_is_that_of_its_steps():
    term = np.random.default_rng(0).normal(size=(3, 10))
    weighted = term * np.asarray(within(jnp.asarray(4), 10))
    np.testing.assert_allclose(weighted.mean(), term[:, :4].mean(), rtol=1e-6)


def test_random_steps_come_again_and_stay_within_the_horizon():
    step = np.asarray(random_steps(root_key(0), 3, 500, jnp.asarray(7)))
    assert step.shape == (3, 500) and set(step.ravel()) == set(range(7))
    counts = np.bincount(step.ravel()) / 1500
    assert np.abs(counts - 1 / 7).max() < 4 * np.sqrt(1 / 7 * 6 / 7 / 1500)


def test_at_steps_takes_every_row_its_own():
    array = 100 * jnp.arange(2)[:, None] + jnp.arange(5)[None]
    np.testing.assert_array_equal(
        at_steps(array, jnp.array([[4, 0, 4], [1, 2, 3]])), [[4, 0, 4], [101, 102, 103]]
    )


def test_pairs_by_hand():
    pairs = local_pairs(jnp.array([[3, 5]]), jnp.asarray(10), window=3)
    np.testing.assert_array_equal(pairs.memory, [[3, 3, 3, 5, 5, 5]])
    np.testing.assert_array_equal(pairs.seen, [[2, 3, 4, 4, 5, 6]])
    np.testing.assert_array_equal(pairs.meant, [[3, 4, 5, 5, 6, 7]])
    assert pairs.there.all()


def test_borders_by_hand():
    """Nothing stands before step 0, and nothing is known after the last of 10 steps."""
    pairs = local_pairs(jnp.array([[0, 8, 9]]), jnp.asarray(10), window=3)
    np.testing.assert_array_equal(pairs.memory, [[0, 0, 0, 8, 8, 8, 9, 9, 9]])
    # (0,-1) (0,0) (0,1) | (8,7) (8,8) (8,9)->10 | (9,8) (9,9)->10 (9,10)
    np.testing.assert_array_equal(pairs.there, [[0, 1, 1, 1, 1, 0, 1, 0, 0]])
    there = np.asarray(pairs.there[0]) > 0
    np.testing.assert_array_equal(np.asarray(pairs.seen[0])[there], [0, 1, 7, 8, 8])
    np.testing.assert_array_equal(np.asarray(pairs.meant[0])[there], [1, 2, 8, 9, 9])


def test_every_pair_is_of_neighbours_and_means_the_next_step():
    step = jax.random.randint(root_key(1), (4, 64), 0, 40)
    pairs = local_pairs(step, jnp.asarray(40), window=3)
    there = np.asarray(pairs.there) > 0
    apart = (np.asarray(pairs.seen) - np.asarray(pairs.memory))[there]
    assert set(apart) == {-1, 0, 1}
    np.testing.assert_array_equal((np.asarray(pairs.meant) - np.asarray(pairs.seen))[there], 1)
    np.testing.assert_array_equal(
        np.asarray(pairs.memory).reshape(4, 64, 3), np.repeat(np.asarray(step)[..., None], 3, 2)
    )
    assert np.asarray(pairs.meant).max() < 40 and np.asarray(pairs.seen).min() >= 0
