import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.nn.distributions import Normal, kl_divergence
from mrcom.objectives.kl import KLConfig, balanced_kl, gaussian_kl


def normal(seed, shape=(2, 3, 4)):
    mean, spread = jax.random.normal(root_key(seed), (2, *shape))
    return Normal(mean, jnp.exp(0.3 * spread))


POSTERIOR, PRIOR = normal(0), normal(1)


def moved(config):
    """Sizes of the gradients of posterior and prior."""
    loss = lambda pair: jnp.sum(balanced_kl(*pair, config))
    grads = jax.grad(loss)((POSTERIOR, PRIOR))
    return [float(sum(jnp.sum(jnp.abs(x)) for x in jax.tree.leaves(g))) for g in grads]


def test_the_direction_is_the_posterior_first_or_as_printed():
    forward = gaussian_kl(POSTERIOR, PRIOR, direction="posterior_prior")
    printed = gaussian_kl(POSTERIOR, PRIOR, direction="as_printed")
    assert jnp.array_equal(forward, kl_divergence(POSTERIOR, PRIOR))
    assert jnp.array_equal(printed, kl_divergence(PRIOR, POSTERIOR))
    assert not jnp.allclose(forward, printed, rtol=0.01)


@pytest.mark.parametrize("direction", ["posterior_prior", "as_printed"])
def test_dyn_moves_the_prior_and_rep_the_posterior(direction):
    posterior, prior = moved(KLConfig(direction, 0.0, dyn=1.0, rep=0.0))
    assert posterior == 0 and prior > 1
    posterior, prior = moved(KLConfig(direction, 0.0, dyn=0.0, rep=1.0))
    assert posterior > 1 and prior == 0


@pytest.mark.parametrize("direction", ["posterior_prior", "as_printed"])
def test_weights_scale_their_sides_and_the_value(direction):
    plain = gaussian_kl(POSTERIOR, PRIOR, direction=direction)
    config = KLConfig(direction, 0.0, dyn=0.5, rep=0.25)
    np.testing.assert_allclose(balanced_kl(POSTERIOR, PRIOR, config), 0.75 * plain, rtol=1e-6)
    both = jax.grad(lambda q: jnp.sum(gaussian_kl(q, PRIOR, direction=direction)))(POSTERIOR)
    ours = jax.grad(lambda q: jnp.sum(balanced_kl(q, PRIOR, config)))(POSTERIOR)
    np.testing.assert_allclose(ours.mean, 0.25 * both.mean, rtol=1e-5)


def test_a_divergence_below_the_free_nats_is_not_pushed_down():
    near = Normal(PRIOR.mean + 0.1, PRIOR.std)
    config = KLConfig(free_nats=1.0, dyn=1.0, rep=0.1)
    np.testing.assert_allclose(balanced_kl(near, PRIOR, config), 1.1, rtol=1e-6)
    grad = jax.grad(lambda q: jnp.sum(balanced_kl(q, PRIOR, config)))(near)
    assert not any(map(jnp.any, jax.tree.leaves(grad)))


def test_free_nats_are_per_step_and_not_per_entry():
    # Four entries of 0.5 nats each make 2 nats: above the slack of 1, so nothing is cut.
    unit = Normal(jnp.zeros((1, 4)), jnp.ones((1, 4)))
    apart = Normal(jnp.ones((1, 4)), jnp.ones((1, 4)))
    config = KLConfig(free_nats=1.0, dyn=1.0, rep=0.0)
    np.testing.assert_allclose(balanced_kl(apart, unit, config), [2.0])


def test_a_negative_weight_is_refused():
    with pytest.raises(ConfigError, match=r"rep=-0\.1 must be 0 or more"):
        KLConfig(rep=-0.1)
