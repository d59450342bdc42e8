"""Losses of categorical states and of values over bins, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.nn.categorical import categorical_of
from mrcom.objectives.categorical_kl import dynamics_kl, representation_kl
from mrcom.objectives.imagination import binned_critic_loss, weight_from_start
from mrcom.objectives.prediction import symlog_reconstruction, two_hot_loss
from mrcom.objectives.returns import lambda_return, replay_return

BINS = jnp.array([-1.0, 0.0, 1.0])


def test_free_nats_are_compared_with_the_sum_over_variables():
    """Two variables of .6 nats each are above one nat together, though not alone."""
    logits = lambda a: jnp.log(jnp.array([[a, 1 - a], [a, 1 - a]]))
    # .99 ln(.99 / .5) + .01 ln(.01 / .5) = .6371
    posterior, prior = (categorical_of(logits(a), 0.0) for a in (0.99, 0.5))
    for loss in (dynamics_kl, representation_kl):
        np.testing.assert_allclose(loss(posterior, prior, free_nats=1.0), 2 * 0.637146, rtol=1e-4)
        np.testing.assert_allclose(loss(posterior, prior, free_nats=1.5), 1.5)
        np.testing.assert_allclose(loss(prior, prior, free_nats=1.0), 1.0)


def test_one_divergence_moves_the_prior_and_the_other_the_posterior():
    logits = jnp.array([[0.5, -2.0], [1.0, 3.0]]), jnp.array([[-1.0, 0.4], [2.0, 0.0]])

    def of(loss):
        value = lambda q, p: loss(categorical_of(q, 0.01), categorical_of(p, 0.01), free_nats=0.0)
        return [bool(jnp.any(g != 0)) for g in jax.grad(value, argnums=(0, 1))(*logits)]

    assert of(dynamics_kl) == [False, True]
    assert of(representation_kl) == [True, False]


def test_reconstruction_is_the_whole_square_in_symlog_of_real_entries():
    """symlog(e - 1) = 1 and symlog(-(e^2 - 1)) = -2; the third entry is padding."""
    obs = jnp.array([[[np.e - 1, -(np.e**2 - 1), 7.0]]])
    decoded = jnp.array([[[0.5, -1.0, -9.0]]])
    loss = symlog_reconstruction(decoded, obs, jnp.array([[1.0, 1.0, 0.0]]))
    np.testing.assert_allclose(loss, [[0.25 + 1.0]], rtol=1e-5)


def test_a_number_is_spread_in_its_own_unit():
    """.25 is a quarter of the way from bin 0 to bin 1."""
    logits = jnp.array([0.1, -0.4, 0.9])
    log_probs = jax.nn.log_softmax(logits)
    expected = -(0.75 * log_probs[1] + 0.25 * log_probs[2])
    np.testing.assert_allclose(two_hot_loss(logits, jnp.asarray(0.25), BINS), expected, rtol=1e-6)


def test_the_critic_is_pulled_by_target_and_slow_copy_and_moves_alone():
    logits = jnp.array([[0.3, 0.2, -0.1]])
    target, slow, weight = jnp.array([1.0]), jnp.array([-1.0]), jnp.array([0.5])
    log_probs = jax.nn.log_softmax(logits[0])
    loss = lambda *given: binned_critic_loss(*given, BINS, slow_weight=2.0)
    expected = -0.5 * (log_probs[2] + 2 * log_probs[0])
    np.testing.assert_allclose(loss(logits, target, slow, weight)[0], expected, rtol=1e-6)
    grads = jax.grad(lambda *x: jnp.sum(loss(*x)), argnums=(0, 1, 2, 3))(
        logits, 0.5 * target, 0.5 * slow, weight
    )
    assert [bool(jnp.any(g != 0)) for g in grads] == [True, False, False, False]


def test_a_steps_weight_has_its_own_continue_and_all_before():
    cont = jnp.array([[0.5, 0.8, 0.1]])
    np.testing.assert_allclose(weight_from_start(cont), [[0.5, 0.4]], rtol=1e-6)


def replayed(last=(0, 0, 0), terminal=(0, 0, 0)):
    return replay_return(
        jnp.array([9.0, 1.0, 2.0]),
        jnp.asarray(terminal, jnp.float32),
        jnp.asarray(last, jnp.float32),
        jnp.array([7.0, 10.0, 20.0]),
        discount=0.5,
        lambda_=0.5,
    )


def test_two_replayed_steps_by_hand():
    # G_1 = 2 + .5 * 20 = 12;  G_0 = 1 + .5 * (.5 * 10 + .5 * 12) = 6.5
    np.testing.assert_allclose(replayed(), [6.5, 12.0])


def test_the_last_step_of_an_episode_cuts_the_chain_but_keeps_its_value():
    # G_0 = 1 + .5 * 10
    np.testing.assert_allclose(replayed(last=(0, 1, 0)), [6.0, 12.0])


def test_nothing_follows_a_terminal_step():
    np.testing.assert_allclose(replayed(terminal=(0, 1, 0)), [1.0, 12.0])


def test_one_lambda_for_each_step_is_the_same_as_one_for_all_of_them():
    reward, cont = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 0.5, 0.9])
    value = jnp.array([4.0, 3.0, 2.0, 1.0])
    one = lambda_return(reward, cont, value, discount=0.9, lambda_=0.7)
    each = lambda_return(reward, cont, value, discount=0.9, lambda_=jnp.full(3, 0.7))
    np.testing.assert_allclose(one, each, rtol=1e-6)
