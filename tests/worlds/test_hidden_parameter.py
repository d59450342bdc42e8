"""A world whose dynamics a single step does not tell: only the last moves say which it is."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents.cadm import VANILLA, build
from mrcom.agents.method import without
from mrcom.core.rng import root_key
from mrcom.core.types import Batch, Layout
from mrcom.models.foresight import foresee

pytestmark = pytest.mark.learns

LAYOUT = Layout(("point",), 2, 1)
ROWS, FUTURE = 16, 3


def windows(seed, length):
    """Points that action 0 moves to the right in even scenarios and to the left in odd ones."""
    rng = np.random.default_rng(seed)
    action = rng.uniform(-1, 1, size=(ROWS, length, 1)).astype(np.float32)
    sign = np.where(np.arange(ROWS) % 2 == 0, 1.0, -1.0)[:, None, None]
    obs = rng.uniform(-1, 1, size=(ROWS, 1, 2)) + np.cumsum(
        0.3 * sign * action * np.array([1.0, 0.5]), axis=1
    )
    return Batch(
        obs=jnp.asarray(obs, jnp.float32),
        action=jnp.asarray(action),
        reward=jnp.asarray(np.exp(-np.square(obs[..., 0])), jnp.float32),
        is_terminal=jnp.zeros((ROWS, length), bool),
        first=jnp.zeros((ROWS, length), bool),
        valid=jnp.ones((ROWS, length)),
        obs_mask=jnp.ones((ROWS, 2)),
        act_mask=jnp.ones((ROWS, 1)),
        told=jnp.zeros((ROWS, 3)),
        scenario=jnp.arange(ROWS) % 2,
        body=jnp.zeros(ROWS, jnp.int32),
        expert=jnp.zeros(ROWS, bool),
        stored={},
    )


@eqx.filter_jit
def errors(model, batch):
    """Mean squared errors of change (in its standard deviations) and reward."""
    start = jnp.zeros((model.members.num, ROWS, 1), jnp.int32)
    said = foresee(model.members, batch, start, num=FUTURE)
    wrong = lambda one, two: jnp.mean(jnp.square(one - two))
    return wrong(said.mean, said.change), wrong(said.predicted, said.reward)


def learnt(method, batches, updates):
    """A model after some updates; the same batch again and again where there is one."""
    agent = build(
        method, "debug", layout=LAYOUT, num_scenarios=2, observe_reward=True, behaviour="sac",
        updates=0,
    )  # fmt: skip
    # Wide and fast enough to leave the plateau on which a product of two inputs begins.
    model = dataclasses.replace(agent.config.model, units=64, encoder=(64, 32))
    config = dataclasses.replace(agent.config, model=model, learning_rate=3e-3, futures=4)
    agent = dataclasses.replace(agent, config=config)
    length = agent.windows.context + agent.windows.length
    data = [windows(seed, length) for seed in range(batches)]
    state = agent.init(root_key(0))
    for number in range(updates):
        given, key = data[number % batches], jax.random.fold_in(root_key(1), number)
        state, _ = agent.update_model(state, given, key)
    return state.model, data[0], windows(999, length)


def test_one_batch_is_learnt_by_heart():
    model, seen, _ = learnt(VANILLA, 1, 400)
    change, reward = errors(model, seen)
    assert float(change) < 0.05 and float(reward) < 0.02


def test_the_context_tells_the_hidden_parameter_of_what_was_never_seen():
    """Without it nothing is better than the mean change, whose squared error is 1."""
    told, _, fresh = learnt(VANILLA, 50, 700)
    blind, _, _ = learnt(without(VANILLA, "context"), 50, 700)
    assert float(errors(told, fresh)[0]) < 0.05
    assert float(errors(blind, fresh)[0]) > 0.8
