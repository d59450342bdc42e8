"""PPO in a target: each real step is learnt from once, by what it was worth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents.build import build_agent
from mrcom.agents.model_free import SAC
from mrcom.behaviour.policy import ActorConfig
from mrcom.core.rng import named_generator, root_key
from mrcom.core.types import Layout
from mrcom.objectives.ppo import generalised_advantage
from mrcom.train.adapt_learner import Share
from mrcom.train.adapt_ppo import PolicyOptimisation, PPOLearner
from mrcom.train.real_steps import RealSteps

STEPS, CHUNK = 2000, 100


def learner(**changes):
    layout = Layout(("point",), 1, 1)
    agent = build_agent(SAC, "debug", layout=layout, num_scenarios=1)
    config = PolicyOptimisation(**({"learning_rate": 3e-3} | changes))
    return PPOLearner(agent, config, ActorConfig(units=32), "scratch")


def empty(num=STEPS):
    shape = lambda width: np.zeros((1, num, width), np.float32)
    return RealSteps(shape(1), shape(1), np.zeros((1, num), np.float32), shape(1), None)


def a_share(num=8):
    return Share(0, num, num, jnp.ones(1), named_generator(0, "ppo", num), root_key(2))


def test_a_policy_learns_to_answer_what_it_sees():
    """Reward 1 - (a - o)^2: the best action equals the observation."""
    rng, real, ppo = np.random.default_rng(0), empty(), learner(discount=0.0, minibatches=4)
    learning = ppo.begin(None, 1, key=root_key(0))
    for step in range(STEPS):
        if step % CHUNK == 0:
            seen = rng.uniform(-0.8, 0.8, (CHUNK + 1, 1)).astype(np.float32)
            act = jax.jit(lambda actor, key, seen: actor(seen, jnp.ones(1)).sample(key)[0])
            chosen = act(learning.actor, jax.random.fold_in(root_key(1), step), seen)
            chosen = np.asarray(chosen)
        at = step % CHUNK
        reward = 1 - np.square(chosen[at, 0] - seen[at, 0])
        real.add(seen[None, at], chosen[None, at], np.array([reward]), seen[None, at + 1], None)
        if at == CHUNK - 1:
            learning = ppo.learn(learning, None, real, a_share(40))
    see = jnp.array([[-0.6], [0.0], [0.6]])
    mode = learning.actor(see, jnp.ones(1)).mode()
    np.testing.assert_allclose(mode, see, atol=0.2)
    assert int(learning.updates) == 40 * STEPS // CHUNK and int(learning.used) == STEPS


def test_advantages_are_those_of_each_episode_alone():
    ppo, real = learner(), empty(6)
    rng = np.random.default_rng(1)
    path = rng.normal(size=(8, 1)).astype(np.float32)
    starts = [0, 1, 2, 4, 5, 6]  # the third step's end, path[3], is not where the fourth begins
    for n, at in enumerate(starts):
        real.add(path[None, at], np.zeros((1, 1)), np.array([0.1 * n]), path[None, at + 1], None)
    learning = ppo.begin(None, 1, key=root_key(0))
    learning = eqx.tree_at(
        lambda s: s.critic.net.out.weight, learning, learning.critic.net.out.weight + 0.3
    )
    steps = [array[0] for array in (real.feature, real.action, real.reward, real.next_feature)]
    found = ppo._sample(learning, *steps, a_share()).advantage
    value = learning.critic(jnp.asarray(path))
    for part, first in ((slice(0, 3), 0), (slice(3, 6), 4)):
        alone = generalised_advantage(
            jnp.asarray(steps[2][part]) * 0.01,
            jnp.ones(3),
            value[first : first + 4],
            discount=0.99,
            lambda_=0.95,
        )
        np.testing.assert_allclose(found[part], alone, rtol=1e-4, atol=1e-6)


def test_a_step_is_learnt_from_once():
    ppo, real = learner(), empty(8)
    for n in range(4):
        real.add(np.full((1, 1), n), np.zeros((1, 1)), np.ones(1), np.full((1, 1), n + 1), None)
    learning = ppo.learn(ppo.begin(None, 1, key=root_key(0)), None, real, a_share())
    for n in range(4, 8):
        real.add(np.full((1, 1), n), np.zeros((1, 1)), np.ones(1), np.full((1, 1), n + 1), None)
    before = real.feature.copy()
    real.feature[:, :4] = np.nan
    after = ppo.learn(learning, None, real, a_share())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    real.feature[:] = before
    assert int(after.used) == 8


@pytest.mark.parametrize("share", [1, 3])
def test_it_makes_as_many_updates_as_it_is_given(share):
    ppo, real = learner(), empty(8)
    for n in range(8):
        real.add(np.full((1, 1), n), np.zeros((1, 1)), np.ones(1), np.full((1, 1), n + 1), None)
    learning = ppo.learn(ppo.begin(None, 1, key=root_key(0)), None, real, a_share(share))
    assert int(learning.updates) == share
