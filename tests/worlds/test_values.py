"""Whole agents in a world whose values are known: 1, whatever is paid when."""

import jax.numpy as jnp
import numpy as np
import pytest

from agents.small_agents import masks_of
from mrcom.replay.prompts import make_prompts
from worlds.probes import LASTING, lasting_and_ending
from worlds.quick_agents import DISCOUNT, learnt, quick_agent

pytestmark = pytest.mark.learns

ROWS, UPDATES = 4, 1200
BINNED, IMAGINED, REPLAYED = ("critic",), ("scenarios", "meta"), ("scenarios", "meta", "twins")


def features(agent, state, batch):
    """Of every step of a batch's rows, as when acting."""
    prompt = make_prompts("none", num=ROWS, layout=LASTING, window=max(agent.windows.context, 1))
    carry, found = agent.start(state, masks_of(batch), prompt), []
    for step in range(batch.reward.shape[1]):
        seen = batch.obs[:, step], batch.action[:, step], batch.reward[:, step]
        feature, carry = agent.observe_step(state, carry, *seen)
        found.append(feature)
    return jnp.stack(found, axis=1)


def twins(behaviour, feature):
    return jnp.mean(behaviour.sac.critics(feature, jnp.zeros((len(feature), 1))), axis=0)


VALUES = {
    "critic": lambda behaviour, feature: behaviour.critic(feature),
    "scenarios": lambda behaviour, feature: behaviour.critics.value(feature) / (1 - DISCOUNT),
    "meta": lambda behaviour, feature: behaviour.meta.online(feature) / (1 - DISCOUNT),
    "twins": lambda behaviour, feature: (
        jnp.stack([twins(behaviour, f) for f in feature]) / (1 - DISCOUNT)
    ),
}
"""Of features [B, T, F], in sums of reward."""


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mrcom", IMAGINED),
        ("dreamer", BINNED),
        ("mamba", BINNED),
        ("cadm", REPLAYED),
        ("sac", REPLAYED),
    ],
    ids=["mrcom", "dreamer", "mamba", "cadm", "sac"],
)
def test_what_is_looked_forward_to_is_worth_one(name, values):
    """A tenth a step for ever is worth 1, and so is 1 right before the end; .9 a step earlier."""
    agent = quick_agent(name, LASTING, num_scenarios=ROWS, memory=9)
    length = agent.windows.context + agent.windows.length
    draw = lambda seed: lasting_and_ending(
        np.random.default_rng(seed), ROWS, length, discount=DISCOUNT
    )
    # One-step targets carry a value through time more slowly than lambda-returns.
    state = learnt(agent, draw, updates=2 * UPDATES if "twins" in values else UPDATES)
    feature = features(agent, state, draw(999))
    for value in values:
        lasting, ending = (
            np.asarray(VALUES[value](state.behaviour, feature))[kind::2] for kind in (0, 1)
        )
        np.testing.assert_allclose(lasting[:, -4:], 1.0, atol=0.1, err_msg=value)
        np.testing.assert_allclose(ending[:, -2], 1.0, atol=0.1, err_msg=value)
        np.testing.assert_allclose(ending[:, -3], DISCOUNT, atol=0.1, err_msg=value)
