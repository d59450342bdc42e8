"""Targets, weights and losses of dreams, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.objectives.imagination import (
    critic_loss,
    dream_weight,
    dynamics_loss,
    reinforce_loss,
    return_range,
    value_target,
)

ONE = jnp.ones((1, 2))
SCALE = jnp.asarray(2.0)


def test_two_steps_by_hand():
    # (1 - .5) * [2, 4] = [1, 2]. G_1 = 2 + .5 * 8 = 6; G_0 = 1 + .5 * (.5 * 10 + .5 * 6) = 5
    reward, value = jnp.array([[2.0, 4.0]]), jnp.array([[9.0, 10.0, 8.0]])
    target = value_target(reward, ONE, value, discount=0.5, lambda_=0.5)
    np.testing.assert_allclose(target, [[5.0, 6.0]])


def test_reward_one_for_ever_is_worth_one():
    for lambda_ in (0.0, 0.95, 1.0):
        target = value_target(ONE, ONE, jnp.ones((1, 3)), discount=0.99, lambda_=lambda_)
        np.testing.assert_allclose(target, ONE, rtol=1e-6)


def test_lambda_zero_is_the_bellman_target():
    reward, cont = jnp.array([[1.0, 3.0]]), jnp.array([[1.0, 0.0]])
    value = jnp.array([[0.2, 0.4, 0.9]])
    target = value_target(reward, cont, value, discount=0.9, lambda_=0.0)
    np.testing.assert_allclose(target, [[0.1 + 0.9 * 0.4, 0.3]], rtol=1e-6)


def test_a_step_counts_as_much_as_the_dream_has_not_ended_before_it():
    cont = jnp.array([[0.5, 0.0, 1.0]])
    np.testing.assert_allclose(dream_weight(cont, discount=0.8), [[1.0, 0.4, 0.0]], rtol=1e-6)


def test_weights_carry_no_gradient():
    grad = jax.grad(lambda c: jnp.sum(dream_weight(c, discount=0.9)))(jnp.array([[0.5, 0.5]]))
    np.testing.assert_array_equal(grad, jnp.zeros((1, 2)))


def test_range_of_returns_is_within_scenarios():
    # Two scenarios of 101 returns each, 0 .. 100 and 1000 .. 1100: each spans 90.
    returns = jnp.arange(101.0)[None] + jnp.array([[0.0], [1000.0]])
    assert return_range(returns, 2) == pytest.approx(90.0, rel=1e-5)
    assert return_range(returns, 1) > 1000


def test_dynamics_loss_by_hand():
    returns, entropy = jnp.array([[4.0, 6.0]]), jnp.array([[1.0, 2.0]])
    weight = jnp.array([[1.0, 0.5]])
    # -(1 * (4/2 + .1 * 1) + .5 * (6/2 + .1 * 2)) / 2 = -(2.1 + 1.6) / 2
    loss = dynamics_loss(returns, entropy, weight, scale=SCALE, entropy_weight=0.1)
    assert loss == pytest.approx(-1.85)


def test_dynamics_gradient_raises_returns_and_entropy():
    by = lambda returns, entropy: dynamics_loss(
        returns, entropy, ONE, scale=SCALE, entropy_weight=0.1
    )
    returns, entropy = jax.grad(by, argnums=(0, 1))(ONE, ONE)
    np.testing.assert_allclose(returns, [[-0.25, -0.25]])
    np.testing.assert_allclose(entropy, [[-0.05, -0.05]])


def test_reinforce_loss_by_hand():
    log_prob, returns = jnp.array([[-1.0, -2.0]]), jnp.array([[4.0, 1.0]])
    value, entropy = jnp.array([[2.0, 3.0]]), jnp.array([[1.0, 1.0]])
    # advantages (4-2)/2 = 1 and (1-3)/2 = -1: -((-1 * 1 + .1) + (-2 * -1 + .1)) / 2
    loss = reinforce_loss(log_prob, returns, value, entropy, ONE, scale=SCALE, entropy_weight=0.1)
    assert loss == pytest.approx(-0.6)


def test_reinforce_makes_better_actions_likelier_and_leaves_returns_alone():
    by = lambda log_prob, returns, value: reinforce_loss(
        log_prob, returns, value, ONE, ONE, scale=SCALE, entropy_weight=0.0
    )
    args = (ONE, jnp.array([[4.0, 1.0]]), jnp.array([[2.0, 3.0]]))
    log_prob, returns, value = jax.grad(by, argnums=(0, 1, 2))(*args)
    np.testing.assert_allclose(log_prob, [[-0.5, 0.5]])
    np.testing.assert_array_equal(returns, jnp.zeros((1, 2)))
    np.testing.assert_array_equal(value, jnp.zeros((1, 2)))


def test_critic_loss_by_hand():
    value, target, slow = jnp.array([1.0]), jnp.array([3.0]), jnp.array([0.0])
    # .5 * w * ((1-3)^2 + .5 * (1-0)^2) = .5 * .2 * 4.5
    loss = critic_loss(value, target, slow, jnp.array([0.2]), slow_weight=0.5)
    np.testing.assert_allclose(loss, [0.45], rtol=1e-6)


def test_only_the_value_is_differentiated():
    total = lambda *args: jnp.sum(critic_loss(*args, ONE[0], slow_weight=1.0))
    value, target, slow = jax.grad(total, argnums=(0, 1, 2))(ONE[0], 3 * ONE[0], 0 * ONE[0])
    np.testing.assert_allclose(value, [-1.0, -1.0])
    np.testing.assert_array_equal(target, [0.0, 0.0])
    np.testing.assert_array_equal(slow, [0.0, 0.0])
