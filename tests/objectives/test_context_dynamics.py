"""Forward and backward prediction under one context, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.objectives.context_dynamics import (
    backward_loss,
    bound_penalty,
    follows,
    forward_loss,
    future_mask,
    known_steps,
    layer_rates,
    reward_error,
    weight_decay,
)

MASK = jnp.array([[1.0, 1.0, 0.0]])
BOTH = jnp.array([[[[1.0, 1.0]]]])


def of(*transitions):
    """One member, one row, one start: [1, 1, 1, J, O]."""
    return jnp.array(transitions)[None, None, None]


def test_forward_likelihood_of_two_transitions_by_hand():
    """Padded entries say anything; entries: (1-0)^2/2 + ln 2, (2-2)^2 + 0, 9 + 0, 0 + ln 2."""
    mean = of([1.0, 2.0, 50.0], [3.0, 0.0, -50.0])
    target = of([0.0, 2.0, 0.0], [0.0, 0.0, 0.0])
    variance = of([2.0, 1.0, 7.0], [1.0, 2.0, 7.0])
    loss = forward_loss(mean, jnp.log(variance), target, MASK, BOTH)
    by_hand = ((0.5 + np.log(2) + 0) / 2 + (9 + np.log(2)) / 2) / 2
    np.testing.assert_allclose(loss, [[by_hand]], rtol=1e-6)


def test_without_a_variance_it_is_the_mean_squared_error():
    mean, target = of([1.0, 2.0, 9.0], [3.0, 0.0, 9.0]), of([0.0, 2.0, 0.0], [1.0, 1.0, 0.0])
    loss = forward_loss(mean, jnp.zeros_like(mean), target, MASK, BOTH)
    np.testing.assert_allclose(loss, [[(1 + 0 + 4 + 1) / 4]], rtol=1e-6)
    np.testing.assert_allclose(backward_loss(mean, target, MASK, BOTH), loss, rtol=1e-6)


def test_members_are_summed_and_a_transition_that_does_not_exist_is_left_out_of_the_mean():
    mean = jnp.concatenate([of([1.0, 1.0, 0.0], [5.0, 5.0, 0.0])] * 2)
    exists = jnp.array([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    loss = backward_loss(mean, jnp.zeros_like(mean), MASK, exists)
    np.testing.assert_allclose(loss, [[1.0 + (1 + 25) / 2]], rtol=1e-6)


def test_every_transition_of_a_row_weighs_the_same_whatever_its_start():
    """Start 0 has two transitions of error 1, start 1 has one of 4: their mean is 2."""
    predicted = jnp.array([[[[1.0, 1.0], [2.0, 9.0]]]])
    exists = jnp.array([[[[1.0, 1.0], [1.0, 0.0]]]])
    loss = reward_error(predicted, jnp.zeros_like(predicted), exists)
    assert float(jnp.mean(loss)) == pytest.approx(2.0)


def test_a_row_without_transitions_costs_nothing():
    loss = reward_error(jnp.ones((1, 1, 1, 2)), jnp.zeros((1, 1, 1, 2)), jnp.zeros((1, 1, 1, 2)))
    np.testing.assert_array_equal(loss, [[0.0]])


def test_before_an_episodes_first_step_nothing_is_known():
    first = jnp.array([[False, False, True, False], [False] * 4])
    valid = jnp.array([[1.0, 1, 1, 1], [0, 1, 1, 1]])
    known = known_steps(first, valid)
    assert known.tolist() == [[False, False, True, True], [False, True, True, True]]


def test_a_step_follows_where_both_are_known_and_no_episode_ended_or_began_between_them():
    known = jnp.array([[False, True, True, True, True, True]])
    first = jnp.array([[False, True, False, False, True, False]])
    ended = jnp.array([[False, False, False, True, False, False]])
    assert follows(known, first, ended).tolist() == [[False, False, True, True, False, True]]
    no_first = jnp.zeros_like(first)
    # An end alone cuts, too, and the very first transition of an episode is used.
    assert follows(known, no_first, ended).tolist() == [[False, False, True, True, False, True]]


def test_the_future_stops_for_good_where_a_transition_is_missing():
    followed = jnp.array([[False, True, True, False, True, True]])
    start = jnp.array([[[0, 1, 3, 4, 5]]])
    assert future_mask(followed, start, 3)[0, 0].tolist() == [
        [1, 1, 0],  # into 1, 2, not into 3
        [1, 0, 0],
        [1, 1, 0],  # into 4, 5, then the window ends
        [1, 0, 0],
        [0, 0, 0],
    ]


def test_the_penalty_is_the_width_of_the_bounds():
    assert float(bound_penalty(jnp.full(3, -10.0), jnp.full(3, 0.5))) == pytest.approx(31.5)


def test_weight_decay_is_half_the_sum_of_squares_at_each_layers_rate():
    weights = [jnp.full((2, 3, 1), 2.0), jnp.full((2, 1, 1), 1.0)]
    assert float(weight_decay(weights, (0.1, 0.5))) == pytest.approx(0.05 * 24 + 0.25 * 2)


def test_rates_are_the_published_ones():
    assert layer_rates(4, 1e-4) == pytest.approx((2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4))
    assert layer_rates(3, 7.5e-5) == pytest.approx((2.5e-5, 5e-5, 7.5e-5, 7.5e-5))
