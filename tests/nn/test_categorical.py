"""Categorical variables with a floor under every probability."""

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.core.rng import root_key
from mrcom.nn.categorical import categorical_of


def of(*probs, unimix=0.0):
    return categorical_of(jnp.log(jnp.asarray(probs, jnp.float32)), unimix)


def test_divergence_and_entropy_by_hand_are_summed_over_variables():
    one, two = of([0.5, 0.5], [0.25, 0.75]), of([0.25, 0.75], [0.25, 0.75])
    # .5 ln 2 + .5 ln (2/3) = .1438; the second variable adds nothing.
    np.testing.assert_allclose(one.divergence(two), 0.5 * np.log(2) + 0.5 * np.log(2 / 3), 1e-5)
    second = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    np.testing.assert_allclose(one.entropy(), np.log(2) + second, rtol=1e-5)


def test_a_share_of_the_uniform_is_mixed_in():
    mixed = of([1.0, 1e-30, 1e-30, 1e-30], unimix=0.01)
    np.testing.assert_allclose(mixed.probs[0], [0.9925, 0.0025, 0.0025, 0.0025], rtol=1e-5)


def test_draws_are_one_hot_and_as_frequent_as_said():
    probs = [[0.1, 0.6, 0.3], [0.0, 0.2, 0.8]]
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (50_000, *x.shape)), of(*probs, unimix=1e-6))
    drawn = many.sample(root_key(0))
    assert set(np.unique(np.round(drawn, 5))) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(drawn.mean(0), probs, atol=0.01)
    assert not jnp.array_equal(drawn[:, 0], drawn[:, 1])


def test_without_a_key_the_most_likely_class_is_taken():
    np.testing.assert_allclose(of([0.2, 0.5, 0.3]).sample(None)[0], [0, 1, 0], atol=1e-6)


def test_a_draw_passes_its_gradient_to_the_probabilities():
    weight = jnp.array([[1.0, 2.0, 4.0]])
    logits = jnp.array([[0.3, -0.2, 0.1]])
    drawn = lambda x: jnp.sum(weight * categorical_of(x, 0.01).sample(root_key(1)))
    mean = lambda x: jnp.sum(weight * categorical_of(x, 0.01).probs)
    np.testing.assert_allclose(jax.grad(drawn)(logits), jax.grad(mean)(logits), rtol=1e-6)
