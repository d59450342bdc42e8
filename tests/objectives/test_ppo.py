"""The equations of proximal policy optimisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.objectives.ppo import (
    clipped_surrogate,
    generalised_advantage,
    normal_entropy,
    normal_kl,
    normal_log_prob,
)


def columns(*values):
    return jnp.array(values)[:, None]


def test_two_steps_by_hand():
    # delta_1 = 2 + .5*20 - 10 = 2; delta_0 = 1 + .5*10 - 4 = 2; A_0 = 2 + .5*.5*2 = 2.5
    advantage = generalised_advantage(
        columns(1.0, 2.0), jnp.ones((2, 1)), columns(4.0, 10.0, 20.0), discount=0.5, lambda_=0.5
    )
    np.testing.assert_allclose(advantage[:, 0], [2.5, 2.0])


def random_steps(cont=1.0):
    rng = np.random.default_rng(0)
    reward = jnp.asarray(rng.normal(size=(7, 3)))
    value = jnp.asarray(rng.normal(size=(8, 3)))
    return reward, jnp.full((7, 3), cont), value


def test_lambda_zero_is_the_one_step_difference():
    reward, cont, value = random_steps()
    advantage = generalised_advantage(reward, cont, value, discount=0.9, lambda_=0.0)
    np.testing.assert_allclose(advantage, reward + 0.9 * value[1:] - value[:-1], rtol=1e-6)


def test_lambda_one_is_the_bootstrapped_return_minus_the_value():
    reward, cont, value = random_steps()
    advantage = generalised_advantage(reward, cont, value, discount=0.9, lambda_=1.0)
    for start in range(7):
        length = 7 - start
        powers = 0.9 ** np.arange(length + 1)
        future = jnp.concatenate([reward[start:], value[-1:]])
        expected = (powers[:, None] * future).sum(0) - value[start]
        np.testing.assert_allclose(advantage[start], expected, rtol=1e-5, atol=1e-6)


def test_a_loop_over_steps_gives_the_same():
    reward, cont, value = random_steps()
    cont = cont.at[3, 1].set(0.0)
    advantage = generalised_advantage(reward, cont, value, discount=0.8, lambda_=0.7)
    for column in range(3):
        following = 0.0
        for t in reversed(range(7)):
            c = float(cont[t, column])
            delta = reward[t, column] + 0.8 * c * value[t + 1, column] - value[t, column]
            following = delta + 0.8 * 0.7 * c * following
            np.testing.assert_allclose(advantage[t, column], following, rtol=1e-5, atol=1e-6)


def test_nothing_after_the_end_of_an_episode_matters():
    reward, cont, value = random_steps()
    cont = cont.at[2].set(0.0)
    settings = {"discount": 0.9, "lambda_": 0.9}
    advantage = generalised_advantage(reward, cont, value, **settings)
    changed = generalised_advantage(reward.at[3:].add(5.0), cont, value.at[3:].add(5.0), **settings)
    np.testing.assert_array_equal(advantage[:3], changed[:3])


def test_a_time_limit_keeps_the_value_of_what_would_follow():
    # Values are those of reward 1 for ever in units of 1 / (1 - discount): nothing to gain, also
    # at the arrays' end.
    advantage = generalised_advantage(
        jnp.full((5, 1), 0.1), jnp.ones((5, 1)), jnp.ones((6, 1)), discount=0.9, lambda_=0.95
    )
    np.testing.assert_allclose(advantage, 0.0, atol=1e-7)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, 2.0),
        (1.1, 2.0, 2.2),
        (1.5, 2.0, 2.4),  # no more than 1 + clip
        (0.5, 2.0, 1.0),  # a loss is counted whole
        (1.5, -2.0, -3.0),
        (0.5, -2.0, -1.6),
    ],
)
def test_clipped_gain_by_hand(ratio, advantage, expected):
    old = jnp.array([-1.3])
    gain = clipped_surrogate(old + jnp.log(ratio), old, jnp.array([advantage]), clip=0.2)
    np.testing.assert_allclose(gain, expected, rtol=1e-6)


@pytest.mark.parametrize(("ratio", "advantage"), [(1.5, 2.0), (0.5, -2.0)])
def test_there_is_no_slope_beyond_the_clip(ratio, advantage):
    gain = lambda x: clipped_surrogate(x, jnp.zeros(()), jnp.asarray(advantage), clip=0.2)
    assert jax.grad(gain)(jnp.log(ratio)) == 0.0


def test_normal_log_prob_by_hand():
    # One dimension one deviation away: -1/2 - ln 2 - ln(2 pi) / 2; the other at its mean.
    log_prob = normal_log_prob(
        jnp.array([[2.0, 5.0]]), jnp.array([[0.0, 5.0]]), jnp.log(jnp.array([2.0, 1.0]))
    )
    expected = -0.5 - np.log(2.0) - np.log(2 * np.pi)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-6)


def test_entropy_is_the_mean_of_minus_the_log_density():
    log_std = jnp.array([0.3, -0.4])
    noise = jax.random.normal(jax.random.key(0), (200_000, 2)) * jnp.exp(log_std)[None]
    drawn = -normal_log_prob(noise, jnp.zeros_like(noise), log_std).mean()
    np.testing.assert_allclose(normal_entropy(log_std), drawn, atol=0.01)


def test_kl_by_hand_and_zero_between_equals():
    mean, log_std = jnp.array([[0.5, -1.0]]), jnp.array([0.2, -0.3])
    np.testing.assert_allclose(normal_kl(mean, log_std, mean, log_std), 0.0, atol=1e-7)
    # KL(N(0, 1) || N(1, 2^2)) = ln 2 + (1 + 1) / 8 - 1/2
    kl = normal_kl(jnp.zeros((1, 1)), jnp.zeros(1), jnp.ones((1, 1)), jnp.log(jnp.array([2.0])))
    np.testing.assert_allclose(kl, np.log(2.0) - 0.25, rtol=1e-6)
