"""Policies in a world where the best action is known: a point, and a target on a line."""

import dataclasses

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
from worlds.probes import STEP, point_dream, point_feature, point_reward, point_starts

pytestmark = pytest.mark.learns

F, H, M, TARGET = 7, 6, 32, 0.7
IMAGINED = ActorCriticConfig(
    actor=ActorConfig(units=32, layers=1),
    critic=CriticConfig(units=32, layers=1, learning_rate=3e-3),
    discount=0.9,
    learning_rate=3e-3,
)
SAC = SACConfig(
    actor=ActorConfig(units=32, layers=1),
    units=64,
    layers=1,
    discount=0.8,
    actor_rate=3e-3,
    critic_rate=3e-3,
    temperature_rate=3e-3,
    slow_rate=0.02,
    target_entropy=-2.0,
)


def imagined_actor(config, act_mask, updates):
    """Learn in exact dreams of one scenario; the state afterwards."""
    mask = jnp.broadcast_to(act_mask, (M, act_mask.size))

    @eqx.filter_jit
    def learn(state):
        def body(state, t):
            key = jax.random.fold_in(root_key(3), t)
            place = point_starts(jax.random.fold_in(key, 0), M)
            dream_fn = point_dream(place, TARGET, mask, H, jax.random.fold_in(key, 1))
            return actor_critic_update(state, dream_fn, jnp.array([0]), mask, config).state, None

        return jax.lax.scan(body, state, jnp.arange(updates))[0]

    return learn(init_actor_critic(F, act_mask.size, 1, config, key=root_key(0)))


def final_places(actor, act_mask, steps=8):
    """Where the mode leads from five places."""
    place = jnp.linspace(-1.0, 1.0, 5)
    for _ in range(steps):
        place = place + STEP * actor.mode(point_feature(place), act_mask)[:, 0]
    return place


@pytest.mark.parametrize("gradient", ["dynamics", "reinforce"])
def test_the_actor_moves_to_the_target_in_its_dreams(gradient):
    mask = jnp.ones(1)
    config = dataclasses.replace(IMAGINED, gradient=gradient)
    state = imagined_actor(config, mask, 1000)
    np.testing.assert_allclose(final_places(state.actor, mask), TARGET, atol=0.15)
    # At the target the policy collects almost 1 a step, for ever.
    at_target = point_feature(jnp.array([[TARGET]]))
    assert state.critics.value(at_target)[0, 0] == pytest.approx(1.0, abs=0.12)


def test_a_padded_action_changes_nothing_that_is_learnt():
    """The second action is padding: only the width of the last layer differs."""
    mask = jnp.array([1.0, 0.0])
    state = imagined_actor(IMAGINED, mask, 1000)
    np.testing.assert_allclose(final_places(state.actor, mask), TARGET, atol=0.15)
    np.testing.assert_array_equal(
        state.actor.mode(point_feature(jnp.zeros(3)), mask)[:, 1], jnp.zeros(3)
    )


def transitions(rng, num, act_mask, *, ends):
    """Random steps of the point, [n, 64]; `ends` makes every step an episode of its own."""
    place = rng.uniform(-1.4, 1.4, size=(num, 64))
    action = rng.uniform(-1, 1, size=(num, 64, act_mask.size)) * np.asarray(act_mask)
    arrived = np.clip(place + STEP * action[..., 0], -1.5, 1.5)
    one = jnp.ones((num, 64))
    return Transition(
        feature=point_feature(jnp.asarray(place, jnp.float32)),
        action=jnp.asarray(action, jnp.float32),
        reward=point_reward(jnp.asarray(arrived, jnp.float32), TARGET),
        next_feature=point_feature(jnp.asarray(arrived, jnp.float32)),
        cont=one * (not ends),
        weight=one,
    )


def learnt_by_sac(act_mask, *, ends, updates=2000):
    batches = transitions(np.random.default_rng(0), updates, act_mask, ends=ends)
    state = init_sac(F, act_mask.size, SAC, key=root_key(0))
    return eqx.filter_jit(sac_updates)(state, batches, act_mask, SAC, key=root_key(1))[0]


def test_soft_actor_critic_solves_a_bandit():
    """One step, then the end: the best action from .5 leads to the target."""
    state = learnt_by_sac(jnp.ones(1), ends=True)
    feature = point_feature(jnp.array([0.5]))
    action = state.actor.mode(feature, jnp.ones(1))
    assert float(0.5 + STEP * action[0, 0]) == pytest.approx(TARGET, abs=0.1)
    # Its value is the reward there, 1, in units of 1 / (1 - discount).
    value = state.critics(feature, action) / (1 - SAC.discount)
    np.testing.assert_allclose(value, 1.0, atol=0.1)


@pytest.mark.parametrize("mask", [[1.0], [1.0, 0.0]], ids=["plain", "padded"])
def test_soft_actor_critic_moves_to_the_target(mask):
    mask = jnp.array(mask)
    state = learnt_by_sac(mask, ends=False)
    np.testing.assert_allclose(final_places(state.actor, mask), TARGET, atol=0.15)
    feature = point_feature(jnp.array([TARGET]))
    value = state.critics(feature, state.actor.mode(feature, mask))
    np.testing.assert_allclose(value, 1.0, atol=0.1)
