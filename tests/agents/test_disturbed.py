"""Acting, and learning, on a latent state that is wrong."""

import dataclasses

import equinox as eqx
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents import acting
from mrcom.agents.agent import AgentPolicy
from mrcom.agents.build import build_agent, method_named
from mrcom.agents.disturbed import DisturbedPolicy
from mrcom.agents.dreamer import loss_of
from mrcom.agents.mamba import world_loss
from mrcom.agents.mamba_terms import World
from mrcom.agents.mrcom import model_loss
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt
from mrcom.models.latent_error import NONE, LatentError
from mrcom.replay.prompts import make_prompts
from mrcom.simulate.rollout import RandomPolicy

KEY = root_key(0)
WRONG = LatentError(drift=(0.5, 0.5), variance=(1.0, 1.0))
NAMES = ("mrcom", "dreamer", "mamba")


def agent_of(name, error=NONE):
    return build_agent(
        method_named(name), "debug", layout=worlds.LAYOUT, num_scenarios=6, latent_error=error
    )


def actions(name, error, seed=0):
    """Of three steps in every row of a batch; None acts undisturbed."""
    agent = agent_of(name)
    state, batch = agent.init(KEY), worlds.batch(agent.windows)
    masks, rows = worlds.masks_of(batch), len(batch.body)
    prompt: Prompt = make_prompts(
        "none", num=rows, layout=worlds.LAYOUT, window=agent.windows.context
    )
    policy = AgentPolicy(agent, state, masks, prompt)
    if error is not None:
        policy = DisturbedPolicy(policy, error, seed=seed)
    carry, action, taken = policy.start(rows), np.zeros((rows, worlds.LAYOUT.act), np.float32), []
    for step in range(3):
        seen = np.asarray(batch.obs[:, step]), action, np.asarray(batch.reward[:, step])
        action, carry = policy.act(carry, *seen)
        taken.append(action)
    return np.stack(taken)


@pytest.mark.parametrize("name", NAMES)
def test_no_latent_error_acts_as_before_and_another_does_not(name):
    plain = actions(name, None)
    np.testing.assert_array_equal(actions(name, NONE), plain)
    wrong = actions(name, WRONG)
    assert np.abs(wrong - plain).max() > 1e-4
    np.testing.assert_array_equal(actions(name, WRONG), wrong)
    assert np.any(actions(name, WRONG, seed=1) != wrong)


def test_every_step_has_an_error_of_its_own():
    agent = agent_of("dreamer")
    state, masks = agent.init(KEY), worlds.masks_of(worlds.batch(agent.windows))
    prompt = make_prompts("none", num=4, layout=worlds.LAYOUT, window=agent.windows.context)
    policy = DisturbedPolicy(AgentPolicy(agent, state, masks, prompt), WRONG, seed=0)
    source = policy.start(4)[1].disturbance
    first, source = source.next(4, 8)
    second, _ = source.next(4, 8)
    assert first.shape == (4, 8) and np.abs(np.asarray(first - second)).min() > 0


def test_a_policy_without_a_latent_state_has_no_error_of_it():
    masks = worlds.masks_of(worlds.batch(agent_of("mrcom").windows))
    with pytest.raises(ConfigError, match="without a latent state"):
        DisturbedPolicy(RandomPolicy(masks, seed=0), WRONG, seed=0).start(4)


def loss_with(name, error):
    """The world model's loss on a batch."""
    agent = agent_of(name, error)
    state, batch = agent.init(KEY), worlds.batch(agent.windows)
    if name == "mrcom":
        seen = acting.normalised(state.filter, batch)
        return eqx.filter_jit(model_loss)(state.model, agent, seen, state.behaviour, KEY)[0]
    if name == "dreamer":
        return eqx.filter_jit(loss_of)(state.learnt, agent, state, batch, KEY)[0]
    first = eqx.tree_at(lambda b: b.first, batch, batch.first.at[:, 0].set(True))
    world = World(state.model, state.local)
    return eqx.filter_jit(world_loss)(world, agent, state, first, KEY)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_latent_error_of_learning_moves_the_loss_which_stays_finite(name):
    plain, wrong = (float(loss_with(name, error)) for error in (NONE, WRONG))
    assert np.isfinite([plain, wrong]).all() and plain != wrong


@pytest.mark.parametrize("name", ["cadm", "sac"])
def test_a_method_without_a_latent_state_refuses_an_error_of_it(name):
    with pytest.raises(ConfigError, match=r"no latent state.*0.5,1.*mrcom, dreamer or mamba"):
        agent_of(name, WRONG)
    assert dataclasses.is_dataclass(agent_of(name))
