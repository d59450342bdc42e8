"""A whole agent in a world that always pays the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents.dreamer import DREAMER, build
from mrcom.agents.method import without
from mrcom.core.rng import root_key
from mrcom.core.types import Batch, Layout

pytestmark = pytest.mark.learns

REWARD, DISCOUNT = 0.5, 0.9


def batch_of(agent, rng, rows=4):
    """Noise to look at, noise to do, and the reward."""
    steps = agent.windows.context + agent.windows.length
    draw = lambda width: jnp.asarray(rng.normal(size=(rows, steps, width)), jnp.float32)
    return Batch(
        obs=draw(3),
        action=jnp.tanh(draw(2)),
        reward=jnp.full((rows, steps), REWARD),
        is_terminal=jnp.zeros((rows, steps), bool),
        first=jnp.zeros((rows, steps), bool),
        valid=jnp.ones((rows, steps)),
        obs_mask=jnp.ones((rows, 3)),
        act_mask=jnp.ones((rows, 2)),
        told=jnp.zeros((rows, 3)),
        scenario=jnp.arange(rows),
        body=jnp.zeros(rows, jnp.int32),
        expert=jnp.zeros(rows, bool),
        stored={},
    )


@pytest.mark.parametrize(
    ("method", "updates"),
    # Real rewards tell of the whole window at once, dreams of three steps at a time.
    [(DREAMER, 1500), (without(DREAMER, "replay_critic"), 2500)],
    ids=["whole", "dreams_alone"],
)
def test_a_constant_reward_is_worth_its_sum(method, updates):
    """.5 a step, of which each counts .9 of the one before: 5."""
    agent = build(method, "debug", layout=Layout(("one",), 3, 2), num_scenarios=4)
    model = dataclasses.replace(agent.config.model, discount=DISCOUNT)
    agent = dataclasses.replace(agent, config=dataclasses.replace(agent.config, model=model))
    state, values = agent.init(root_key(0)), []
    for number in range(updates):
        batch = batch_of(agent, np.random.default_rng(number))
        state, metrics = agent.update(state, batch, jax.random.fold_in(root_key(1), number))
        values.append(metrics["critic/value"])
    value = float(np.mean(values[-100:]))
    assert value == pytest.approx(REWARD / (1 - DISCOUNT), rel=0.1)
