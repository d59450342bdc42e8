"""Targets and losses of soft actor-critic, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.objectives.sac import actor_loss, critic_loss, soft_target, temperature_loss

ALPHA = jnp.asarray(0.5)


def test_target_by_hand():
    # .2 * 3 + .8 * (min(1, 2) - .2 * .5 * -4) = .6 + .8 * 1.4;  after the end only .2 * 3
    target = soft_target(
        jnp.array([3.0, 3.0]),
        jnp.array([1.0, 0.0]),
        jnp.array([[1.0, 1.0], [2.0, 2.0]]),
        jnp.array([-4.0, -4.0]),
        temperature=ALPHA,
        discount=0.8,
    )
    np.testing.assert_allclose(target, [1.72, 0.6], rtol=1e-6)


def test_reward_one_for_ever_without_entropy_is_worth_one():
    one = jnp.ones(1)
    target = soft_target(
        one, one, jnp.ones((2, 1)), one, temperature=jnp.asarray(0.0), discount=0.99
    )
    np.testing.assert_allclose(target, one, rtol=1e-6)


def test_critic_loss_by_hand():
    # both critics, mean over two rows of weight 1 and 2: .5 * ((1 + 2 * 4)/2 + (0 + 2 * 1)/2)
    value, target = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([0.0, 0.0])
    assert critic_loss(value, target, jnp.array([1.0, 2.0])) == pytest.approx(2.75)


def test_actor_loss_by_hand():
    # mean of w * (.1 * .5 * log_prob - min q): rows .05 * 2 - 1 = -.9 and 3 * (.05 * 4 - 2) = -5.4
    value = jnp.array([[1.0, 3.0], [5.0, 2.0]])
    loss = actor_loss(
        value, jnp.array([2.0, 4.0]), jnp.array([1.0, 3.0]), temperature=ALPHA, discount=0.9
    )
    assert loss == pytest.approx(-3.15)


def test_temperature_rises_only_while_entropy_is_below_its_target():
    slope = lambda entropy: jax.grad(temperature_loss)(
        jnp.asarray(0.0), jnp.array([-entropy]), target_entropy=jnp.asarray(-2.0)
    )
    # Descent moves against the slope: too little entropy has a negative one.
    assert slope(-3.0) == pytest.approx(-1.0)
    assert slope(-2.0) == 0.0
    assert slope(-1.0) == pytest.approx(1.0)


def test_targets_and_temperature_are_constants_to_the_networks():
    one = jnp.ones(1)
    grad = jax.grad(
        lambda v: jnp.sum(soft_target(one, one, v, one, temperature=ALPHA, discount=0.9))
    )(jnp.ones((2, 1)))
    np.testing.assert_array_equal(grad, jnp.zeros((2, 1)))
    grad = jax.grad(
        lambda alpha: actor_loss(jnp.ones((2, 1)), one, one, temperature=alpha, discount=0.9)
    )(ALPHA)
    assert grad == 0.0
