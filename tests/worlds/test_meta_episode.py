"""A world whose hidden parameter the first half of an episode tells, and the second half needs."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents import acting
from mrcom.agents.mamba import MAMBA, build
from mrcom.core.rng import root_key
from mrcom.core.types import Batch, Layout

pytestmark = pytest.mark.learns

LAYOUT = Layout(("point",), 1, 1)
ROWS, LENGTH, BORDER, AHEAD = 4, 61, 30, 2
UPDATES = 3000
AGENT = build(MAMBA, "debug", layout=LAYOUT, num_scenarios=2)
# One bit is less than the nat that is free, and dreams need not know it then.
AGENT = dataclasses.replace(AGENT, config=dataclasses.replace(AGENT.config, free_nats=0.0))


def meta_episodes(seed, rows=ROWS):
    """What is seen is the action in even rows and its opposite in odd ones; where an episode or
    its second half begins, it is anything.
    """
    rng = np.random.default_rng(seed)
    action = rng.uniform(-1, 1, size=(rows, LENGTH)).astype(np.float32)
    sign = np.where(np.arange(rows) % 2 == 0, 1.0, -1.0)
    place = sign[:, None] * action
    place[:, [0, BORDER]] = rng.uniform(-1, 1, (rows, 2))
    action[:, 0] = 0
    return Batch(
        obs=jnp.asarray(place[..., None], jnp.float32),
        action=jnp.asarray(action)[..., None],
        reward=jnp.asarray(np.exp(-np.square(place)), jnp.float32),
        is_terminal=jnp.zeros((rows, LENGTH), bool),
        first=jnp.zeros((rows, LENGTH), bool).at[:, 0].set(True),
        valid=jnp.ones((rows, LENGTH)),
        obs_mask=jnp.ones((rows, 1)),
        act_mask=jnp.ones((rows, 1)),
        told=jnp.zeros((rows, 3)),
        scenario=jnp.arange(rows, dtype=jnp.int32) % 2,
        body=jnp.zeros(rows, jnp.int32),
        expert=jnp.zeros(rows, bool),
        stored={},
    )


def after(updates, batches):
    state, data = AGENT.init(root_key(0)), [meta_episodes(seed) for seed in range(batches)]
    for number in range(updates):
        key = jax.random.fold_in(root_key(1), number)
        state, metrics = AGENT.update_model(state, data[number % batches], key)
    return state, metrics


def error_after_the_border(state, batch):
    """Of predictions right after the one step of the second half that is seen, over the error of
    saying 0.
    """
    said, _ = AGENT.predict_open_loop(state, batch, horizon=AHEAD, num_samples=20, key=root_key(2))
    true = np.asarray(batch.obs[:, -AHEAD:])
    return np.mean((np.asarray(said).mean(0) - true) ** 2) / np.mean(true**2)


def test_the_first_half_tells_what_the_second_needs():
    state, _ = after(UPDATES, 60)
    fresh = meta_episodes(999, rows=64)
    whole = acting.steps_of(fresh, slice(0, BORDER + 1 + AHEAD))
    late = acting.steps_of(fresh, slice(BORDER, BORDER + 1 + AHEAD))
    late = eqx.tree_at(lambda b: b.first, late, late.first.at[:, 0].set(True))
    remembered, forgotten = (error_after_the_border(state, b) for b in (whole, late))
    assert remembered < 0.6
    assert forgotten > 0.9


def test_one_batch_is_learnt_by_heart():
    _, metrics = after(800, 1)
    _, fresh = after(1, 1)
    for name in ("reconstruction", "local_reconstruction", "reward", "local_reward"):
        assert float(metrics[f"loss/{name}"]) < 0.4 * float(fresh[f"loss/{name}"])
