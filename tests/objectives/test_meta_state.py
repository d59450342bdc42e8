import jax
import jax.numpy as jnp
import numpy as np

from mrcom.core.rng import root_key
from mrcom.nn.distributions import Normal, kl_divergence
from mrcom.objectives.kl import KLConfig, balanced_kl
from mrcom.objectives.meta_state import meta_state_bound, meta_state_reweight
from mrcom.objectives.total import total_loss


def normal(seed, shape=(2, 3, 4)):
    mean, spread = jax.random.normal(root_key(seed), (2, *shape))
    return Normal(mean, jnp.exp(0.3 * spread))


POSTERIOR, PRIOR = normal(0), normal(1)


def test_reweighting_equals_a_larger_weight_of_the_divergence_exactly():
    kl = balanced_kl(POSTERIOR, PRIOR, KLConfig())
    terms = {"kl_stoch": kl, "meta_state": meta_state_reweight(kl)}
    both = total_loss(terms, {"kl_stoch": 1.0, "meta_state": 0.5})
    assert both == total_loss({"kl_stoch": kl}, {"kl_stoch": 1.5})
    assert terms["meta_state"] is kl


def test_reweighting_moves_what_the_larger_weight_moves():
    def loss(prior, weights):
        kl = balanced_kl(POSTERIOR, prior, KLConfig())
        terms = {"kl_stoch": kl, "meta_state": meta_state_reweight(kl)}
        return total_loss({name: terms[name] for name in weights}, weights)

    both = jax.grad(loss)(PRIOR, {"kl_stoch": 1.0, "meta_state": 1.0})
    larger = jax.grad(loss)(PRIOR, {"kl_stoch": 2.0})
    np.testing.assert_allclose(both.mean, larger.mean, rtol=1e-6)


def test_the_bound_is_above_the_information_and_tight_for_the_marginal():
    # o = 0 or 1 with equal chance, u = N(+-1, 1): I(u; o) by integration on a grid.
    posterior = Normal(jnp.array([[[1.0]], [[-1.0]]]), jnp.ones((2, 1, 1)))
    plain = KLConfig(free_nats=0.0, dyn=0.0, rep=1.0)
    bound = lambda mean, std: jnp.mean(
        meta_state_bound(
            posterior, Normal(jnp.full((2, 1, 1), mean), jnp.full((2, 1, 1), std)), plain
        )
    )
    u = np.linspace(-8, 8, 4001)
    p = np.exp(-0.5 * (u[None] - np.array([[1.0], [-1.0]])) ** 2) / np.sqrt(2 * np.pi)
    information = np.mean(np.sum(p * np.log(p / p.mean(0)), -1) * (u[1] - u[0]))
    best = float(bound(0.0, 2**0.5))  # the moments of the marginal: the best Gaussian
    assert information < best < min(float(bound(0.3, 1.4)), float(bound(0.0, 1.0)))
    np.testing.assert_allclose(best, 0.5 * np.log(2), rtol=1e-5)


def test_the_bound_is_from_the_posterior_even_where_other_divergences_are_as_printed():
    printed = KLConfig("as_printed", free_nats=0.0)
    bound = meta_state_bound(POSTERIOR, PRIOR, printed)
    np.testing.assert_allclose(bound, 1.1 * kl_divergence(POSTERIOR, PRIOR), rtol=1e-5)


def test_the_bound_teaches_the_reference_and_presses_the_posterior():
    config = KLConfig(free_nats=0.0, dyn=1.0, rep=0.1)
    loss = lambda pair: jnp.sum(meta_state_bound(*pair, config))
    posterior, reference = jax.grad(loss)((POSTERIOR, PRIOR))
    plain = jax.grad(lambda pair: jnp.sum(kl_divergence(*pair)))((POSTERIOR, PRIOR))
    np.testing.assert_allclose(posterior.mean, 0.1 * plain[0].mean, rtol=1e-5)
    np.testing.assert_allclose(reference.mean, plain[1].mean, rtol=1e-5)
