"""SAC without a world model: what its policy reads, and that it learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents.agent import WorldModelAgent, dreaming
from mrcom.agents.build import METHODS, build_agent
from mrcom.agents.method import without
from mrcom.agents.model_free import SAC, SAC_TOLD
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.replay.prompts import make_prompts

KEY = root_key(1)


def steps_of(method, told):
    """Features after one step of a batch's rows, and the agent that saw it."""
    agent = worlds.agent(method)
    batch = worlds.batch(agent.windows)
    masks = dataclasses.replace(worlds.masks_of(batch), told=told(len(batch.body)))
    state = agent.init(root_key(0))
    state = agent.with_statistics(state, np.full((2, 5), 2.0), np.full((2, 5), 4.0))
    prompt = make_prompts("none", num=len(batch.body), layout=worlds.LAYOUT, window=1)
    carry = agent.start(state, masks, prompt)
    seen = (batch.obs[:, 0], batch.action[:, 0], batch.reward[:, 0])
    return batch, agent.observe_step(state, carry, *seen)[0], agent, state, carry, seen


def some(rows):
    return np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)


def test_a_policy_reads_the_normalised_observation_the_last_reward_and_what_it_is_told():
    batch, feature, *_ = steps_of(SAC_TOLD, some)
    obs, mask = batch.obs[:, 0], batch.obs_mask
    np.testing.assert_allclose(feature[:, :5], (obs - 2) / 4 * mask, rtol=1e-6)
    np.testing.assert_allclose(feature[:, 5], batch.reward[:, 0])
    np.testing.assert_allclose(feature[:, 6:], some(len(obs)))


def test_who_is_told_nothing_acts_the_same_whatever_the_scenario_is():
    choices = []
    for told in (some, lambda rows: np.zeros((rows, 3), np.float32)):
        _, feature, agent, state, carry, seen = steps_of(SAC, told)
        choices.append((feature, agent.act(state, carry, *seen, None)[0]))
        assert feature.shape[1] == 6
    for one, other in zip(*choices, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", ["tiny", "small", "full"])
def test_it_learns_at_the_rates_of_the_sac_of_methods_with_a_model(size):
    def rates(name):
        agent = build_agent(
            METHODS[name], size, layout=worlds.LAYOUT, num_scenarios=6, behaviour="sac"
        )
        sac = (agent.config if name == "sac" else agent.config.behaviour).sac
        return sac.actor_rate, sac.critic_rate, sac.temperature_rate

    assert rates("sac") == rates("mrcom") == rates("cadm")


def test_padded_actions_are_zero():
    batch, _, agent, state, carry, seen = steps_of(SAC, some)
    action, _ = agent.act(state, carry, *seen, KEY)
    assert not np.any(np.asarray(action)[np.asarray(batch.act_mask) == 0])


def test_training_reads_the_same_as_acting_and_learns():
    agent = worlds.agent(SAC_TOLD)
    state, batch = agent.init(root_key(0)), worlds.batch(agent.windows)
    losses = []
    for number in range(30):
        state, metrics = agent.update(state, batch, jax.random.fold_in(KEY, number))
        losses.append(float(metrics["critic/loss"]))
        assert all(bool(jnp.isfinite(value).all()) for value in metrics.values())
    assert losses[-1] < losses[0]
    assert float(metrics["actor/imitation"]) < 2.0


def test_it_cannot_dream_and_says_so():
    agent = worlds.agent(SAC)
    assert not isinstance(agent, WorldModelAgent)
    with pytest.raises(ConfigError, match=r"real_share=1\.0"):
        dreaming(agent)


def test_what_it_sees_cannot_be_taken_out():
    with pytest.raises(ConfigError, match="observation"):
        worlds.agent(without(SAC, "observation"))
