"""Critics in worlds whose values can be written down."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.actor_critic import ActorCriticConfig, actor_critic_update, init_actor_critic
from mrcom.behaviour.critic import CriticConfig
from mrcom.behaviour.policy import ActorConfig
from mrcom.behaviour.sac import SACConfig, Transition, init_sac, sac_updates
from mrcom.core.rng import root_key
from worlds.probes import fixed_dream

pytestmark = pytest.mark.learns

DISCOUNT = 0.9
CONFIG = ActorCriticConfig(
    actor=ActorConfig(units=8, layers=1),
    critic=CriticConfig(units=32, layers=1, learning_rate=3e-3, slow_rate=0.05),
    discount=DISCOUNT,
)
SAC = SACConfig(
    actor=ActorConfig(units=8, layers=1),
    units=32,
    layers=1,
    discount=DISCOUNT,
    critic_rate=3e-3,
    slow_rate=0.05,
    init_temperature=1e-6,
    temperature_rate=0.0,
)


def learnt_in(dream, num_scenarios, updates):
    """The state after learning from one dream again and again."""
    feature, reward, cont = dream
    mask, scenario = jnp.ones((feature.shape[0], 1)), jnp.arange(num_scenarios)

    @eqx.filter_jit
    def learn(state):
        def body(state, _):
            dream_fn = fixed_dream(feature, reward, cont, 1)
            return actor_critic_update(state, dream_fn, scenario, mask, CONFIG).state, None

        return jax.lax.scan(body, state, None, updates)[0]

    state = init_actor_critic(feature.shape[-1], 1, num_scenarios, CONFIG, key=root_key(0))
    return learn(state)


def test_reward_one_for_ever_is_worth_one_and_a_half_is_worth_a_half():
    """Two scenarios with other rewards; the features tell them apart, as contexts do."""
    noise = jax.random.normal(root_key(1), (16, 6, 3))
    which = jnp.repeat(jnp.array([1.0, 0.5]), 8)
    feature = jnp.concatenate([noise, jnp.broadcast_to(which[:, None, None], (16, 6, 1))], axis=-1)
    reward = jnp.broadcast_to(which[:, None], (16, 5))
    state = learnt_in((feature, reward, jnp.ones((16, 5))), 2, 1500)
    feature = feature[:, :-1]  # the last step of a dream is only bootstrapped from
    values = state.critics.value(feature.reshape(2, -1, 4))
    np.testing.assert_allclose(values[0], 1.0, atol=0.05)
    np.testing.assert_allclose(values[1], 0.5, atol=0.05)
    meta = state.meta.slow(feature[:, :: CONFIG.meta_stride])
    np.testing.assert_allclose(meta[:8], 1.0, atol=0.1)
    np.testing.assert_allclose(meta[8:], 0.5, atol=0.1)


def test_a_reward_two_steps_away_is_discounted_once():
    """0 -> 1 with reward 0, 1 -> end with reward 1: worth .09 and .1 in units of 1 / .1."""
    feature = jnp.broadcast_to(jnp.eye(3)[None], (8, 3, 3))
    reward = jnp.broadcast_to(jnp.array([0.0, 1.0]), (8, 2))
    cont = jnp.broadcast_to(jnp.array([1.0, 0.0]), (8, 2))
    state = learnt_in((feature, reward, cont), 1, 600)
    values = state.critics.value(jnp.eye(3)[None])[0]
    np.testing.assert_allclose(values[:2], [0.09, 0.1], atol=0.002)


def soft_critics(transitions, feature, updates=1500):
    """Values by SAC's critics, without entropy, after the same minibatch again and again."""
    state = init_sac(feature.shape[-1], 1, SAC, key=root_key(0))
    batches = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (updates, *leaf.shape)), transitions)
    state, _ = eqx.filter_jit(sac_updates)(state, batches, jnp.ones(1), SAC, key=root_key(1))
    return state.critics(feature, jnp.zeros((feature.shape[0], 1)))


def test_soft_critics_know_that_reward_one_for_ever_is_worth_one():
    feature = jax.random.normal(root_key(1), (32, 3))
    action = jax.random.uniform(root_key(2), (32, 1), minval=-1.0)
    one = jnp.ones(32)
    transitions = Transition(feature, action, one, feature[::-1], one, one)
    values = soft_critics(transitions, feature)
    np.testing.assert_allclose(values, 1.0, atol=0.1)
    assert float(jnp.mean(values)) == pytest.approx(1.0, abs=0.05)


def test_soft_critics_discount_a_reward_two_steps_away_once():
    feature = jnp.tile(jnp.eye(3)[:2], (8, 1))
    next_feature = jnp.tile(jnp.eye(3)[1:], (8, 1))
    action = jax.random.uniform(root_key(2), (16, 1), minval=-1.0)
    transitions = Transition(
        feature,
        action,
        jnp.tile(jnp.array([0.0, 1.0]), 8),
        next_feature,
        jnp.tile(jnp.array([1.0, 0.0]), 8),
        jnp.ones(16),
    )
    values = soft_critics(transitions, jnp.eye(3)[:2])
    np.testing.assert_allclose(values, [[0.09, 0.1]] * 2, atol=0.005)
