"""Acting by planning: what a planner is told of candidates, from the policy down to the members."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents.cadm import CADM
from mrcom.agents.method import without
from mrcom.agents.planning import PlanningPolicy
from mrcom.behaviour.mpc import AbstractPlanner
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt

KEY = root_key(1)
STEPS, CANDIDATES = 2, 2


def told(rows):
    """Sequences that are always asked for, others in every row."""
    shape = (rows, CANDIDATES, STEPS, worlds.LAYOUT.act)
    return jnp.tanh(2 * jax.random.normal(root_key(5), shape))


@dataclasses.dataclass(frozen=True)
class Asks(AbstractPlanner):
    """Asks twice what fixed sequences are worth; its plan is the answers.

    Entry `[n, j, i]` is what the i-th asking said of candidate j in rollout n.
    """

    horizon: int = STEPS

    def plan(self, score, before, act_mask, *, key):
        said = [score(told(len(before)), jax.random.fold_in(key, number)) for number in range(2)]
        return jnp.zeros_like(before).at[:, :, :2].set(jnp.stack(said, axis=-1))


def planned(oracle=None):
    """An ensemble that is certain, where rollouts of other histories stand, and the answers."""
    agent = worlds.agent(without(CADM, "variance", "bounds"))
    louder = lambda leaf: leaf * 3 if eqx.is_inexact_array(leaf) else leaf
    nets = lambda s: s.model.members.nets
    state = agent.init(root_key(0))
    state = eqx.tree_at(nets, state, jax.tree.map(louder, nets(state)))
    scales = (state.mean + 0.5, jnp.linspace(0.5, 2.0, state.std.size).reshape(state.std.shape))
    state = eqx.tree_at(lambda s: (s.mean, s.std), state, scales)
    batch = worlds.batch(agent.windows)
    prompt = Prompt(*(x[:, :0] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    planning = dataclasses.replace(agent.config.planning, planner=Asks())
    policy = PlanningPolicy(agent, state, worlds.masks_of(batch), prompt, planning, oracle, key=KEY)
    carry = policy.start(len(batch.obs))
    for t in range(3):
        step = (np.asarray(x[:, t]) for x in (batch.obs, batch.action, batch.reward))
        _, carry = policy.act(carry, *step)
    _, memory, answers = carry
    return state, memory.model, np.asarray(answers[:, :, :2])


def alone(oracle=None):
    """Slow twin: one member, one rollout, one candidate at a time, beside the answers."""
    whole, state, answers = planned(oracle)
    model = whole.model
    step = eqx.filter_jit(
        lambda state, action: model.predict(state, action, key=None, dream_context="frozen")[0]
    )
    rows, members = len(answers), 2
    worth, actions = np.zeros((rows, CANDIDATES, members)), told(rows)
    for n, j, e in np.ndindex(worth.shape):
        one = jax.tree.map(lambda leaf, n=n: leaf[n : n + 1], state)
        one = dataclasses.replace(one, member=jnp.full(1, e))
        for t in range(STEPS):
            one = step(one, actions[n, j, t][None])
            worth[n, j, e] += reward_of(one, whole, n, oracle)
    return worth, answers


def reward_of(one, whole, n, oracle):
    """The learnt reward of arriving, or what an oracle says of row n."""
    if oracle is None:
        return float(one.reward[0])
    raw = one.obs[0] * whole.filter.std[one.body[0]] + whole.filter.mean[one.body[0]]
    return float(oracle(jnp.zeros((n + 1, len(raw))).at[n].set(raw))[n])


def told_by_row(obs):
    """Something of raw observations that differs from row to row."""
    scale = jnp.arange(1.0, len(obs) + 1).reshape(-1, *[1] * (obs.ndim - 2))
    return scale * jnp.sum(jnp.sin(obs), axis=-1)


@pytest.mark.parametrize("oracle", [None, told_by_row])
def test_every_member_scores_every_rollout_in_its_own_context_however_often_it_is_asked(oracle):
    worth, answers = alone(oracle)
    assert np.all(np.abs(worth[..., 0] - worth[..., 1]) > 0.01)
    for asked in range(2):
        np.testing.assert_allclose(answers[..., asked], worth.mean(axis=-1), rtol=1e-3, atol=1e-5)
