"""Proximal policy optimisation on worlds whose answer is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.ppo import (
    PPOConfig,
    Rollout,
    Sample,
    init_ppo,
    ppo_loss,
    ppo_update,
    prepare,
)
from mrcom.behaviour.ppo_networks import (
    Layers,
    Mirror,
    Mirrored,
    RunningMoments,
    init_layers,
    plain_layers,
)
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key

SMALL = PPOConfig(
    hidden=(16,), discount=0.9, epochs=4, minibatches=2, learning_rate=3e-3, target_kl=0.03
)


def tree_equal(a, b):
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@jax.jit
def mean_action(state, obs):
    return state.networks.policy(state.moments.normalise(obs))


def sample_action(state, obs, key, step):
    """Actions drawn at raw observations; not yet clipped to [-1, 1]."""
    mean = mean_action(state, obs)
    noise = jax.random.normal(jax.random.fold_in(key, step), mean.shape)
    return mean + jnp.broadcast_to(jnp.exp(state.networks.log_std), mean.shape) * noise


def play(world, state, config, *, updates, num=64, steps=8, seed=0):
    """Updates on a world: (obs, action) -> (next obs, reward, cont)."""
    key = root_key(seed)
    obs = world.start(num)
    for update in range(updates):
        seen, actions, rewards, conts = [obs], [], [], []
        for step in range(steps):
            tick = jnp.asarray(update * steps + step)
            action = sample_action(state, jnp.asarray(obs), key, tick)
            obs, reward, cont = world.step(obs, np.asarray(action))
            seen.append(obs)
            actions.append(action)
            rewards.append(reward)
            conts.append(cont)
        rollout = Rollout(*(jnp.asarray(np.stack(x)) for x in (seen, actions, rewards, conts)))
        state, _ = ppo_update(state, rollout, jax.random.fold_in(key, 1_000_000 + update), config)
    return state


def value(state, obs):
    return state.networks.critic(state.moments.normalise(jnp.asarray(obs)))[..., 0]


class Bandit:
    """One step; reward 1 at action 0.5, less beside it."""

    def start(self, num):
        return np.ones((num, 1), np.float32)

    def step(self, obs, action):
        reward = 1 - (action[:, 0] - 0.5) ** 2
        return obs, reward.astype(np.float32), np.zeros(len(obs), np.float32)


@pytest.mark.learns
def test_one_step_bandit_finds_the_best_action_and_its_worth():
    config = dataclasses.replace(SMALL, discount=0.0, min_log_std=-3.0, entropy=0.0)
    state = play(Bandit(), init_ppo(config, 1, 1, root_key(0)), config, updates=150)
    obs = jnp.ones((1, 1))
    np.testing.assert_allclose(mean_action(state, obs), 0.5, atol=0.05)
    np.testing.assert_allclose(value(state, obs), 1.0, atol=0.05)


class TwoSteps:
    """Nothing at the first state; reward 1 at the second, then the episode truly ends."""

    def start(self, num):
        return np.tile([[1.0, 0.0]], (num, 1)).astype(np.float32)

    def step(self, obs, action):
        second = obs[:, 1] == 1
        return obs[:, ::-1].copy(), second.astype(np.float32), (~second).astype(np.float32)


@pytest.mark.learns
def test_two_steps_are_worth_the_discounted_reward():
    state = play(TwoSteps(), init_ppo(SMALL, 2, 1, root_key(0)), SMALL, updates=150)
    worth = value(state, np.eye(2, dtype=np.float32))
    # In units of 1 / (1 - discount): the last reward is worth 1 - discount.
    np.testing.assert_allclose(worth, [0.9 * 0.1, 0.1], atol=0.01)


class OneForEver:
    """Reward 1 at every step; rollouts are cut by the time limit only."""

    def start(self, num):
        return np.ones((num, 1), np.float32)

    def step(self, obs, action):
        return obs, np.ones(len(obs), np.float32), np.ones(len(obs), np.float32)


@pytest.mark.learns
def test_a_time_limit_does_not_end_the_value():
    # Four steps a rollout: were the limit an end, the value would stay below 1 - 0.9^4 = 0.34.
    state = init_ppo(SMALL, 1, 1, root_key(0))
    state = play(OneForEver(), state, SMALL, updates=250, steps=4)
    np.testing.assert_allclose(value(state, np.ones((1, 1), np.float32)), 1.0, atol=0.05)


def test_loss_by_hand():
    # A policy that answers 0 and a critic that answers 2, whatever they see.
    config = PPOConfig(clip=0.2, entropy=0.5, min_log_std=-9.0)
    state = init_ppo(config, 1, 1, root_key(0))
    networks = dataclasses.replace(
        state.networks,
        policy=Layers((jnp.zeros((1, 1)),), (jnp.zeros(1),)),
        critic=Layers((jnp.zeros((1, 1)),), (jnp.full(1, 2.0),)),
        log_std=jnp.zeros(1),
    )
    at_mean = -0.5 * np.log(2 * np.pi)
    sample = Sample(
        obs=jnp.zeros((2, 1)),
        action=jnp.zeros((2, 1)),
        advantage=jnp.array([1.0, 3.0]),  # normalised: -1, 1
        target=jnp.array([1.0, 5.0]),
        old_mean=jnp.zeros((2, 1)),
        old_log_prob=at_mean - jnp.log(jnp.array([1.5, 1.5])),  # both ratios are 1.5
    )
    loss, metrics = ppo_loss(networks, sample, jnp.zeros(1), config)
    gain = (-1.5 + 1.2) / 2
    value_loss = 0.5 * (1.0 + 9.0) / 2
    entropy = 0.5 * np.log(2 * np.pi * np.e)
    np.testing.assert_allclose(loss, -gain + value_loss - 0.5 * entropy, rtol=1e-5)
    np.testing.assert_allclose(metrics["kl"], 0.0, atol=1e-7)


def random_rollout(steps=6, num=5, obs=3, act=2, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    return Rollout(
        draw(steps + 1, num, obs), draw(steps, num, act), draw(steps, num), jnp.ones((steps, num))
    )


def test_the_first_gradient_step_starts_at_ratio_one():
    state = init_ppo(SMALL, 3, 2, root_key(0))
    sample = prepare(state, random_rollout(), SMALL)
    _, metrics = ppo_loss(state.networks, sample, state.networks.log_std, SMALL)
    np.testing.assert_allclose(metrics["gain"], 0.0, atol=1e-6)
    np.testing.assert_allclose(metrics["kl"], 0.0, atol=1e-6)


def test_update_is_a_function_of_its_arguments():
    state = init_ppo(SMALL, 3, 2, root_key(0))
    before = jax.tree.map(np.array, state)
    first, _ = ppo_update(state, random_rollout(), root_key(1), SMALL)
    again, _ = ppo_update(state, random_rollout(), root_key(1), SMALL)
    assert tree_equal(state, before)
    assert tree_equal(first, again)
    assert not tree_equal(first.networks, state.networks)


def test_exploration_never_falls_below_its_floor():
    config = dataclasses.replace(SMALL, min_log_std=-0.51)
    state = init_ppo(config, 3, 2, root_key(0))
    for number in range(20):
        rollout = random_rollout(seed=number)
        # Reward for actions near the mean: the policy would like to be certain.
        reward = -jnp.sum(rollout.action**2, axis=-1)
        rollout = dataclasses.replace(rollout, reward=reward)
        state, _ = ppo_update(state, rollout, root_key(number), config)
    assert (state.networks.log_std >= -0.51).all()


def test_running_moments_are_those_of_everything_seen():
    rng = np.random.default_rng(0)
    parts = [rng.normal(3.0, 2.0, size=(n, 4)).astype(np.float32) for n in (1, 50, 200)]
    moments = RunningMoments(jnp.zeros(4), jnp.ones(4), jnp.zeros(()))
    for part in parts:
        moments = moments.merge(jnp.asarray(part))
    whole = np.concatenate(parts)
    np.testing.assert_allclose(moments.mean, whole.mean(0), rtol=1e-4)
    np.testing.assert_allclose(moments.variance, whole.var(0), rtol=1e-4)


MIRROR = Mirror(obs=(0, 2, 1, 4, 3), act=(1, 0, 3, 2))


def mirrored_layers():
    layers = init_layers((5, 8, 8, 4), 1.0, root_key(0))
    layers = dataclasses.replace(layers, biases=tuple(b + 0.3 for b in layers.biases))
    return Mirrored(layers, MIRROR.obs, MIRROR.act)


def test_a_mirrored_network_answers_mirrored_inputs_with_mirrored_outputs():
    net = mirrored_layers()
    x = jax.random.normal(jax.random.key(0), (7, 5))
    expected = net(x)[:, jnp.array(MIRROR.act)]
    np.testing.assert_allclose(net(x[:, jnp.array(MIRROR.obs)]), expected, atol=1e-6)


def test_a_mirrored_network_is_an_ordinary_one_of_twice_the_width():
    net = mirrored_layers()
    x = jax.random.normal(jax.random.key(1), (7, 5))
    np.testing.assert_allclose(plain_layers(net)(x), net(x), atol=1e-5)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"discount=1\.5 .* nearest: 1"):
        PPOConfig(discount=1.5)
    with pytest.raises(ConfigError, match="epochs=0"):
        PPOConfig(epochs=0)
