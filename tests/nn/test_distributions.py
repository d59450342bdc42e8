import jax
import jax.numpy as jnp
import numpy as np

from mrcom.core.rng import root_key
from mrcom.nn.distributions import Normal, kl_divergence, normal_of

LEFT = Normal(jnp.array([0.3, -1.0]), jnp.array([0.5, 1.2]))
RIGHT = Normal(jnp.array([-0.2, 0.4]), jnp.array([0.8, 0.7]))


def test_the_divergence_by_hand():
    # ln(2/1) + (1 + 3^2) / (2 * 4) - 1/2 = ln 2 + 0.75
    left = Normal(jnp.array([3.0]), jnp.array([1.0]))
    right = Normal(jnp.array([0.0]), jnp.array([2.0]))
    np.testing.assert_allclose(kl_divergence(left, right), np.log(2) + 0.75, rtol=1e-6)


def test_the_divergence_equals_its_monte_carlo_estimate():
    noise = jax.random.normal(root_key(0), (200_000, 2))
    many = lambda normal: jax.tree.map(lambda x: jnp.broadcast_to(x, noise.shape), normal)
    x = many(LEFT).sample(noise)
    estimate = jnp.mean(many(LEFT).log_prob(x) - many(RIGHT).log_prob(x))
    np.testing.assert_allclose(kl_divergence(LEFT, RIGHT), estimate, rtol=0.01)


def test_the_divergence_of_equals_is_zero_and_it_has_a_direction():
    assert kl_divergence(LEFT, LEFT) == 0.0
    assert abs(kl_divergence(LEFT, RIGHT) - kl_divergence(RIGHT, LEFT)) > 0.1


def test_a_density_sums_to_one():
    grid = jnp.linspace(-10.0, 10.0, 4001)[:, None]
    normal = Normal(jnp.full_like(grid, 0.3), jnp.full_like(grid, 0.5))
    np.testing.assert_allclose(jnp.sum(jnp.exp(normal.log_prob(grid))) * 0.005, 1.0, rtol=1e-4)


def test_a_sample_without_noise_is_the_mean():
    assert jnp.array_equal(LEFT.sample(None), LEFT.mean)
    np.testing.assert_allclose(LEFT.sample(jnp.array([2.0, -1.0])), [1.3, -2.2], rtol=1e-6)


def test_the_deviation_never_falls_below_its_floor():
    normal = normal_of(jnp.array([5.0, -1e4]), min_std=0.1)
    np.testing.assert_allclose([normal.mean[0], normal.std[0]], [5.0, 0.1], rtol=1e-6)


def test_a_stopped_distribution_has_no_gradient():
    loss = lambda normal: kl_divergence(normal.stopped(), RIGHT)
    assert not any(map(jnp.any, jax.tree.leaves(jax.grad(loss)(LEFT))))
