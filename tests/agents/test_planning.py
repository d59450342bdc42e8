"""Acting by planning: what a planner is told of candidates, from the policy down to the members."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
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


def planned():
    """An ensemble that is certain, where rollouts of other histories stand, and the answers."""
    agent = worlds.agent(without(CADM, "variance", "bounds"))
    louder = lambda leaf: leaf * 3 if eqx.is_inexact_array(leaf) else leaf
    nets = lambda s: s.model.members.nets
    state = agent.init(root_key(0))
    state = eqx.tree_at(nets, state, jax.tree.map(louder, nets(state)))
    batch = worlds.batch(agent.windows)
    prompt = Prompt(*(x[:, :0] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    planning = dataclasses.replace(agent.config.planning, planner=Asks())
    policy = PlanningPolicy(agent, state, worlds.masks_of(batch), prompt, planning, key=KEY)
    carry = policy.start(len(batch.obs))
    for t in range(3):
        step = (np.asarray(x[:, t]) for x in (batch.obs, batch.action, batch.reward))
        _, carry = policy.act(carry, *step)
    _, memory, answers = carry
    return state.model, memory.model, np.asarray(answers[:, :, :2])


def test_every_member_scores_every_rollout_in_its_own_context_however_often_it_is_asked():
    """Slow twin: one member, one rollout, one candidate at a time."""
    model, state, answers = planned()
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
            worth[n, j, e] += float(one.reward[0])
    assert np.all(np.abs(worth[..., 0] - worth[..., 1]) > 0.01)
    for asked in range(2):
        np.testing.assert_allclose(answers[..., asked], worth.mean(axis=-1), rtol=1e-3, atol=1e-5)
