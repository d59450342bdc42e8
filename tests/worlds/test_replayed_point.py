"""Soft actor-critic on replayed features, in worlds whose values and best actions are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behaviour.replayed import any_model, windows
from mrcom.behaviour.critic import CriticConfig
from mrcom.behaviour.latent_sac import LatentSac, LatentSacConfig
from mrcom.behaviour.policy import ActorConfig
from mrcom.behaviour.sac import SACConfig
from mrcom.core.rng import root_key
from worlds.probes import STEP, point_feature, point_reward

pytestmark = pytest.mark.learns

TARGETS = np.array([0.7, -0.4])
ROWS, STEPS = 8, 9
CONFIG = LatentSacConfig(
    sac=SACConfig(
        actor=ActorConfig(units=32, layers=1),
        units=64,
        layers=1,
        discount=0.8,
        actor_rate=3e-3,
        critic_rate=3e-3,
        temperature_rate=3e-3,
        slow_rate=0.02,
        target_entropy=-2.0,
    ),
    critic=CriticConfig(units=32, layers=1, learning_rate=3e-3, slow_rate=0.1, slow_weight=0.0),
)
LEARNER = LatentSac(CONFIG, per_scenario=ROWS // 2)


def told(place, scenario):
    """What is read of a point: its place, and which of the two scenarios it is in."""
    flag = jnp.broadcast_to(jnp.where(scenario == 0, 1.0, -1.0), place.shape)
    return jnp.concatenate([point_feature(place), flag[..., None]], axis=-1)


def point_windows(rng, scenario, act):
    """Random walks in both scenarios; the second action is padding where there is one."""
    action = rng.uniform(-1, 1, size=(ROWS, STEPS, act))
    place = np.empty((ROWS, STEPS))
    place[:, 0] = rng.uniform(-1.4, 1.4, size=ROWS)
    for t in range(1, STEPS):  # the action of a step led into it
        place[:, t] = np.clip(place[:, t - 1] + STEP * action[:, t, 0], -1.5, 1.5)
    target = TARGETS[scenario][:, None]
    place = jnp.asarray(place, jnp.float32)
    return windows(
        told(place, jnp.asarray(scenario)[:, None]),
        action,
        point_reward(place, jnp.asarray(target, jnp.float32)),
        scenario=scenario,
        act_mask=jnp.ones((ROWS, act)).at[:, 1:].set(0.0),
    )


def learn(batches, act, *, updates, num_scenarios=2):
    """The state after updates on some batches, again and again."""
    model, batches = any_model(), list(batches)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)

    @eqx.filter_jit
    def run(state):
        def body(state, number):
            posterior, batch = jax.tree.map(lambda x: x[number % len(batches)], stacked)
            key = jax.random.fold_in(root_key(1), number)
            return LEARNER.update(state, model, posterior, batch, key=key)[0], None

        return jax.lax.scan(body, state, jnp.arange(updates))[0]

    width = batches[0][0].expected.shape[-1]
    return run(LEARNER.init(width, act, num_scenarios, key=root_key(0)))


@pytest.mark.parametrize("act", [1, 2], ids=["plain", "padded"])
def test_one_policy_moves_to_the_target_of_every_scenario(act):
    rng, scenario = np.random.default_rng(0), np.repeat([1, 0], ROWS // 2)
    state = learn((point_windows(rng, scenario, act) for _ in range(200)), act, updates=2000)
    mask = jnp.ones(act).at[1:].set(0.0)
    for number, target in enumerate(TARGETS):
        place = jnp.linspace(-1.0, 1.0, 5)
        for _ in range(8):
            action = state.actor.mode(told(place, jnp.asarray(number)), mask)
            place = place + STEP * action[:, 0]
        np.testing.assert_allclose(place, target, atol=0.15)
        # There it collects almost 1 a step, for ever.
        feature = told(jnp.array([target], jnp.float32), jnp.asarray(number))
        value = state.sac.critics(feature, state.actor.mode(feature, mask))
        np.testing.assert_allclose(value, 1.0, atol=0.1)


def test_reward_one_for_ever_is_worth_one_to_its_scenario_and_a_half_a_half():
    """What the features cannot tell apart, the scenarios' own critics do; the meta value not."""
    rng, scenario = np.random.default_rng(1), np.repeat([1, 0], ROWS // 2)
    reward = np.where(scenario == 0, 1.0, 0.5)[:, None] * np.ones((1, STEPS))
    draw = lambda width: rng.normal(size=(ROWS, STEPS, width)).astype(np.float32)
    batches = (windows(draw(3), np.tanh(draw(1)), reward, scenario=scenario) for _ in range(100))
    state = learn(batches, 1, updates=800)
    feature = jnp.asarray(draw(3))[:2]
    values = state.critics.value(feature)
    np.testing.assert_allclose(values[0], 1.0, atol=0.1)
    np.testing.assert_allclose(values[1], 0.5, atol=0.1)
    np.testing.assert_allclose(state.meta.slow(feature), 0.75, atol=0.1)
