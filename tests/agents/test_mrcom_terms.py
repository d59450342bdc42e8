"""MrCoM's own loss terms by hand: numbers worked out here, on states that are made up."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents import acting
from mrcom.agents.method import without
from mrcom.agents.mrcom import MRCOM, TERMS, Forward, model_loss
from mrcom.behaviour.critic import Critic, CriticConfig
from mrcom.core.rng import root_key
from mrcom.nn.distributions import Normal

KEY, OTHER = root_key(1), root_key(2)
LATENTS = ("kl_stoch", "kl_aux", "meta_state")
WEIGHTS = tuple((name, weight) for name, weight in MRCOM.weights if name in LATENTS)
ROWS, STEPS, ENTRIES = 4, 8, 4
U, H = 0, 12
"""Where u and h begin in a feature of 4 + 8 + 4 entries."""


def agent_with(method=MRCOM, **changes):
    agent = worlds.agent(method)
    return dataclasses.replace(agent, config=dataclasses.replace(agent.config, **changes))


def nothing(agent):
    """A state of zeros: every output of a network is its last bias."""
    shapes = eqx.filter_eval_shape(agent.init, root_key(0))
    zeros = lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype))
    is_array = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)
    return jax.tree.map(lambda leaf: zeros(leaf) if is_array(leaf) else leaf, shapes)


def bias_of(mean, std, min_std=0.1):
    """The last bias of a network whose Gaussian is to be N(mean, std^2) in each entry."""
    return jnp.asarray(np.repeat([mean, np.log(np.expm1(std - min_std))], ENTRIES), jnp.float32)


@pytest.fixture(scope="module")
def gaussians():
    """An agent whose Gaussians are the same at every step, in each of their 4 entries.

    q(u) = N(1, 1), p(u) = N(0, 4), r(u) = N(3, 1/4), q(h) = N(2, 1), p(h) = N(0, 4). Then its
    values, its model, a batch, what was filtered, and the terms.
    """
    agent = agent_with(dataclasses.replace(MRCOM, weights=WEIGHTS), meta_state="bound")
    state, batch = nothing(agent), worlds.batch(agent.windows)
    biases = lambda m: [
        m.dynamics.stoch_posterior.out.bias,
        m.dynamics.stoch_prior.out.bias,
        m.dynamics.reference.out.bias,
        m.dynamics.aux_posterior.out.bias,
        m.dynamics.aux_prior.out.bias,
    ]
    wanted = [(1.0, 1.0), (0.0, 2.0), (3.0, 0.5), (2.0, 1.0), (0.0, 2.0)]
    model = eqx.tree_at(biases, state.model, [bias_of(*one) for one in wanted])
    _, (posterior, terms) = eqx.filter_jit(model_loss)(model, agent, batch, state.behaviour, KEY)
    return agent, state.behaviour, model, batch, posterior, terms


def everywhere(value):
    return np.full((ROWS, STEPS), value)


def test_the_divergence_of_u_is_from_its_posterior_to_its_prior(gaussians):
    # KL(N(1, 1) || N(0, 4)) = ln 2 + (1 + 1) / 8 - 1/2; the other way round it is -ln 2 + 2.
    # Pulled with 1 on the prior and with 0.1 on the posterior.
    one = np.log(2) - 0.25
    np.testing.assert_allclose(gaussians[-1]["kl_stoch"], everywhere(1.1 * 4 * one), rtol=1e-5)


def test_the_divergence_of_h_is_from_its_posterior_to_its_prior(gaussians):
    # KL(N(2, 1) || N(0, 4)) = ln 2 + (1 + 4) / 8 - 1/2; the other way round it is -ln 2 + 7/2.
    # Pulled with 1 on both sides.
    one = np.log(2) + 0.125
    np.testing.assert_allclose(gaussians[-1]["kl_aux"], everywhere(2 * 4 * one), rtol=1e-5)


def test_the_bound_is_from_us_posterior_to_the_prior_that_only_it_teaches(gaussians):
    # KL(N(1, 1) || N(3, 1/4)) = -ln 2 + (1 + 4) / (1/2) - 1/2; the other way round, ln 2 + 13/8.
    one = 9.5 - np.log(2)
    np.testing.assert_allclose(gaussians[-1]["meta_state"], everywhere(1.1 * 4 * one), rtol=1e-5)


def test_only_the_bound_has_a_second_prior_of_u():
    bound, taken_out = agent_with(meta_state="bound"), without(MRCOM, "meta_state")
    assert "reference" in bound.model_config.parts
    assert "reference" not in worlds.agent().model_config.parts
    assert "reference" not in agent_with(taken_out, meta_state="bound").model_config.parts


def linear(*weights):
    """A value that is a weighted sum of the feature's entries; zero where nothing is said."""
    critic = Critic(16, CriticConfig(layers=0), key=KEY)
    rows = jnp.zeros_like(critic.net.out.weight)
    for entry, weight in weights:
        rows = rows.at[entry].set(weight)
    return eqx.tree_at(lambda c: c.net.out.weight, critic, rows)


@pytest.fixture(scope="module")
def meta_value(gaussians):
    """L_v as a function of the options and of how far learning is.

    At step t the first entry of u was t^2 and t^2 + t was expected; that of h was 0 and 1 was
    expected. The frozen meta-value is 3 u + 5 h, so that step t is expected 3 t + 5 too high;
    the one that still learns is 7 u.
    """
    agent, behaviour, model, batch, posterior, _ = gaussians
    step = jnp.broadcast_to(jnp.arange(float(STEPS))[:, None], posterior.stoch.shape)
    zero, half = jnp.zeros_like(step), jnp.full_like(step, 0.5)
    made_up = dataclasses.replace(
        posterior,
        stoch=step**2,
        aux=zero,
        stoch_prior=Normal(step**2 + step, half),
        aux_prior=Normal(zero + 1.0, half),
    )
    trained = acting.steps_of(batch, slice(-STEPS, None))
    values = (linear((U, 7.0)), linear((U, 3.0), (H, 5.0)))
    behaviour = eqx.tree_at(lambda b: (b.meta.online, b.meta.slow), behaviour, values)

    def term(*, key=KEY, updates=200, return_range=2.0, **options):
        told = (jnp.asarray(updates), jnp.asarray(return_range))
        known = eqx.tree_at(lambda b: (b.updates, b.return_range), behaviour, told)
        options = {"value_samples": 0, "value_warmup": 200, **options}
        forward = Forward(model, trained, made_up, jnp.zeros((ROWS, STEPS)), known, key, KEY)
        return np.asarray(
            TERMS["meta_value"](dataclasses.replace(agent.config, **options), forward)
        )

    return term


ERRORS = np.tile(3.0 * np.arange(1, STEPS) + 5.0, (ROWS, 1))
"""Of the values of steps 1 to 7: 8, 11, ..., 26."""


def test_a_step_is_judged_by_the_frozen_value_of_what_was_expected_of_it(meta_value):
    np.testing.assert_allclose(meta_value(), (ERRORS / 2.0) ** 2, rtol=1e-5)


def test_an_error_counts_in_shares_of_the_range_of_returns(meta_value):
    np.testing.assert_allclose(meta_value(return_range=5.0), (ERRORS / 5.0) ** 2, rtol=1e-5)


def test_a_range_below_the_floor_is_not_enlarged(meta_value):
    # A sum of rewards of 1 is 1 - 0.99 in the unit of values.
    for tiny in (0.0, 0.003):
        found = meta_value(return_range=tiny)
        np.testing.assert_allclose(found, (ERRORS / 0.01) ** 2, rtol=1e-4)


def test_values_that_are_not_warm_teach_the_model_nothing(meta_value):
    assert not meta_value(updates=199).any()
    assert not meta_value(updates=0).any()
    assert not meta_value(updates=200, value_warmup=201).any()
    assert meta_value(updates=201).all()


def test_without_samples_the_priors_mean_is_judged_whatever_the_key(meta_value):
    np.testing.assert_array_equal(meta_value(), meta_value(key=OTHER))
    drawn = [meta_value(value_samples=4, key=key) for key in (KEY, OTHER)]
    assert not np.allclose(*drawn)


def test_the_expectation_is_over_as_many_samples_as_were_asked_for(meta_value):
    # Of u and of h the deviation is 1/2: one sample's value has sqrt(3^2 + 5^2) / 2 = 2.9, the
    # mean of four has half of that. 784 draws are good to 2.5 %, and their mean to 0.05; with the
    # samples' spread inside the error it would be 0.3.
    keys = [jax.random.fold_in(KEY, number) for number in range(28)]
    found = [2.0 * np.sqrt(meta_value(value_samples=4, key=key)) - ERRORS for key in keys]
    np.testing.assert_allclose(np.std(found), np.sqrt(34) / 4, rtol=0.1)
    np.testing.assert_allclose(np.mean(found), 0.0, atol=0.2)
