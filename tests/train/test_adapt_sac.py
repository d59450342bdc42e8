"""The anchor of an adaptation by SAC, and the real rewards that loosen or tighten it."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents.build import build_agent
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.behaviour.sac import SACConfig
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Layout
from mrcom.train.adapt_config import AdaptConfig
from mrcom.train.adapt_learner import Chunk
from mrcom.train.adapt_sac import SacLearner
from mrcom.train.adaptation import amount_of
from mrcom.train.real_steps import empty_real_steps
from mrcom.train.views import Shown

CHUNK, F, A = 4, 3, 2
SAC = SACConfig(units=8, batch=4, anchor=0.2, actor_start=1)
CONFIG = AdaptConfig(chunk=CHUNK, real_share=1.0, sac=SAC, anchor_step=3.0)


def anchors(rewards, config=CONFIG):
    """The anchor after each chunk of real steps with these mean rewards, one update a chunk."""
    agent = build_agent(MRCOM, "debug", layout=Layout(("one",), F, A), num_scenarios=1)
    learner = SacLearner(agent, config, Shown("feature", observe_reward=False))
    learning = learner.begin(agent.init(root_key(0)), agent.model_config.feature, key=root_key(1))
    width = agent.model_config.feature
    real = empty_real_steps(1, CHUNK * len(rewards), width, A, None, 1)
    found = []
    for number, reward in enumerate(rewards):
        for step in range(CHUNK):
            zero = np.zeros((1, width), np.float32)
            # The mean decides, not the last step.
            given = np.array([reward + (0.5 if step % 2 else -0.5)], np.float32)
            real.add(zero, np.zeros((1, A), np.float32), given, zero, None)
        chunk = Chunk(
            target=0,
            num=1,
            done=(number + 1) / len(rewards),
            act_mask=jnp.ones(A),
            rng=np.random.default_rng(number),
            key=root_key(number),
        )
        learning = learner.learn(learning, None, real, chunk)
        found.append(float(learning.anchor) / SAC.anchor)
    return found


def test_real_rewards_loosen_the_anchor_by_a_factor_and_tighten_it_by_its_square():
    # The second chunk was still made by the policy as it began: one update moves critics alone.
    assert anchors([1.0, 5.0, 6.0, 7.0, 0.0, 9.0]) == pytest.approx([1, 1, 1 / 3, 1 / 9, 1, 1 / 3])


def test_a_step_of_one_leaves_the_anchor_as_it_is():
    fixed = dataclasses.replace(CONFIG, anchor_step=1.0)
    assert anchors([1.0, 5.0, 6.0, 0.0], fixed) == pytest.approx([1] * 4)


def test_a_step_below_one_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"anchor_step=0\.5 must be at least 1; the nearest is 1"):
        AdaptConfig(anchor_step=0.5)


def test_an_episode_in_a_target_is_as_long_as_one_that_judges():
    tiny = budget("tiny")
    assert amount_of(tiny).episode_steps == tiny.evaluation_steps == 1000 != tiny.episode_steps
