import jax
import jax.numpy as jnp
import numpy as np

from mrcom.core.numerics import symexp_bins
from mrcom.core.rng import root_key
from mrcom.nn.distributions import Normal
from mrcom.objectives.prediction import (
    continue_loss,
    image_reconstruction,
    reconstruction,
    reward_loss,
)

OBS, DECODED = jax.random.normal(root_key(0), (2, 2, 3, 5))
MASK = jnp.array([[1.0] * 5, [1.0, 1.0, 0.0, 0.0, 0.0]])


def test_reconstruction_is_the_gaussian_log_likelihood_over_real_entries():
    real = Normal(DECODED[1, :, :2], jnp.full((3, 2), 0.3))
    constant = 2 * (np.log(0.3) + 0.5 * np.log(2 * np.pi))
    loss = reconstruction(DECODED, OBS, MASK, std=0.3)
    np.testing.assert_allclose(loss[1], -real.log_prob(OBS[1, :, :2]) - constant, rtol=1e-4)


def test_reconstruction_by_hand():
    loss = reconstruction(jnp.zeros((1, 1, 2)), jnp.array([[[3.0, 1.0]]]), jnp.ones((1, 2)))
    assert loss.tolist() == [[5.0]]


def test_padded_entries_change_neither_loss_nor_gradient():
    value = jax.value_and_grad(lambda decoded, obs: jnp.sum(reconstruction(decoded, obs, MASK)))
    loss, grad = value(DECODED, OBS)
    other = value(DECODED.at[1, :, 2:].add(7.0), OBS.at[1, :, 2:].add(-9.0))[0]
    assert loss == other and not jnp.any(grad[1, :, 2:])


def test_a_certain_reward_costs_nothing_and_a_uniform_guess_the_log_of_its_bins():
    bins = symexp_bins(63, 4.0)
    certain = jnp.full((2, 63), -1e9).at[jnp.arange(2), jnp.array([31, 40])].set(0.0)
    np.testing.assert_allclose(reward_loss(certain, bins[jnp.array([31, 40])], bins), 0, atol=1e-6)
    uniform = reward_loss(jnp.zeros((3, 63)), jnp.array([-0.3, 0.2, 1.0]), bins)
    np.testing.assert_allclose(uniform, np.log(63), rtol=1e-5)


def test_the_reward_loss_is_least_where_the_mean_is_right():
    bins = symexp_bins(63, 4.0)
    logits = jnp.zeros(63)
    for _ in range(300):
        logits = logits - 5.0 * jax.grad(lambda x: reward_loss(x, jnp.array(0.73), bins))(logits)
    np.testing.assert_allclose(jax.nn.softmax(logits) @ bins, 0.73, atol=0.02)


def test_the_continue_loss_by_hand():
    np.testing.assert_allclose(continue_loss(jnp.zeros(2), jnp.array([0.0, 1.0])), np.log(2))
    np.testing.assert_allclose(
        continue_loss(jnp.array([2.0, 2.0, 200.0]), jnp.array([1.0, 0.0, 0.0])),
        [np.log(1 + np.exp(-2)), np.log(1 + np.exp(2)), 200.0],
        rtol=1e-5,
    )


def test_a_pictures_error_is_summed_over_pixels_and_colours_in_shares_of_full_brightness():
    # Two pixels: one colour off by 51 / 255 = 0.2, another by 1: 0.04 + 1.
    image = np.zeros((1, 1, 2, 2, 3), np.uint8)
    image[0, 0, 0, 0, 0], image[0, 0, 1, 1, 2] = 51, 255
    loss = image_reconstruction(jnp.zeros((1, 1, 2, 2, 3)), jnp.asarray(image))
    np.testing.assert_allclose(loss, [[1.04]], rtol=1e-6)
