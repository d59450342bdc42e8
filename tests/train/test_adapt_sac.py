"""The anchor of an adaptation by SAC, and the real episodes that loosen or tighten it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents.build import build_agent
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.behaviour import sac
from mrcom.behaviour.sac import SACConfig, init_sac
from mrcom.core.errors import ConfigError, TrainingDivergedError
from mrcom.core.rng import root_key
from mrcom.core.types import Layout
from mrcom.train.adapt_config import AdaptConfig
from mrcom.train.adapt_learner import Share
from mrcom.train.adapt_sac import SacLearner
from mrcom.train.adaptation import amount_of
from mrcom.train.real_steps import empty_real_steps
from mrcom.train.views import Shown

F, A = 3, 2
SAC = SACConfig(units=8, batch=4, anchor=0.2)
CONFIG = AdaptConfig(chunk=2, real_share=1.0, sac=SAC, anchor_step=3.0)


@pytest.fixture(scope="module")
def agent():
    return build_agent(MRCOM, "debug", layout=Layout(("one",), F, A), num_scenarios=1)


def learner_of(agent, config=CONFIG):
    """A learner, and its learning after some updates on random steps."""
    width, rng = agent.model_config.feature, np.random.default_rng(0)
    learner = SacLearner(agent, config, Shown("feature", observe_reward=False))
    learning = learner.begin(agent.init(root_key(0)), width, key=root_key(1))
    real = empty_real_steps(1, 8, width, A, None, 1)
    for _ in range(8):
        real.add(*rng.normal(size=(1, 1, width)), *rng.uniform(size=(1, 1, A)),
                 rng.uniform(size=1), *rng.normal(size=(1, 1, width)), None)  # fmt: skip
    share = Share(0, 5, 10, jnp.ones(A), np.random.default_rng(1), root_key(2))
    return learner, learner.learn(learning, None, real, share)


def test_a_better_episode_loosens_the_anchor_and_another_tightens_it_by_the_square(agent):
    learner, learnt = learner_of(agent)
    assert float(learnt.anchor) == pytest.approx(0.2) and int(learnt.updates) == 5
    best = agent.actor(agent.init(root_key(3)))
    assert not eqx.tree_equal(learnt.actor, best)
    worse = learner.judged(learnt, best, better=False)
    assert float(worse.anchor) == pytest.approx(0.2 * 9)
    assert eqx.tree_equal(worse.actor, best)
    better = learner.judged(learnt, learnt.actor, better=True)
    assert float(better.anchor) == pytest.approx(0.2 / 3)
    assert eqx.tree_equal(better.actor, learnt.actor)


def test_what_is_not_finite_is_named_with_its_target(agent, monkeypatch):
    real = sac.actor_loss
    monkeypatch.setattr(sac, "actor_loss", lambda *args, **of: jnp.nan * real(*args, **of))
    share = Share(0, 1, 1, jnp.ones(A), np.random.default_rng(1), root_key(2), "a slow hopper")
    # Of a size that no other test compiles, or the loss would be the old one.
    config = dataclasses.replace(CONFIG, sac=dataclasses.replace(SAC, batch=3))
    learner = SacLearner(agent, config, Shown("feature", observe_reward=False))
    learning = learner.begin(agent.init(root_key(0)), agent.model_config.feature, key=root_key(1))
    steps = empty_real_steps(1, 3, agent.model_config.feature, A, None, 1)
    steps.count = 3
    said = "'actor/gradient' of the policy of target a slow hopper; nothing of this adaptation"
    with pytest.raises(TrainingDivergedError, match=said):
        learner.learn(learning, None, steps, share)


@pytest.mark.parametrize("behaviour", ["sac", "imagination"])
def test_critics_go_on_from_those_that_sac_learnt_in_training(behaviour):
    agent = build_agent(
        MRCOM, "debug", layout=Layout(("one",), F, A), num_scenarios=1, behaviour=behaviour
    )
    state, width = agent.init(root_key(0)), agent.model_config.feature
    learner = SacLearner(agent, CONFIG, Shown("feature", observe_reward=False))
    given, new = agent.sac(state), init_sac(width, A, SAC, key=root_key(1))
    fresh = dataclasses.replace(learner, config=dataclasses.replace(CONFIG, critics="new"))
    learnt = fresh.begin(state, width, key=root_key(1))
    assert eqx.tree_equal(learnt.actor, agent.actor(state))
    assert eqx.tree_equal(learnt.critics, new.critics)
    if behaviour == "imagination":
        assert given is None
        with pytest.raises(ConfigError, match=r"SAC learnt none in training.*critics='new'"):
            learner.begin(state, width, key=root_key(1))
        return
    # Slow copies lag behind in training, and do so here.
    given = eqx.tree_at(lambda s: s.slow, given, jax.tree.map(lambda leaf: leaf + 1, given.slow))
    state = eqx.tree_at(lambda s: s.behaviour.sac, state, given)
    learnt = learner.begin(state, width, key=root_key(1))
    assert eqx.tree_equal((learnt.critics, learnt.slow), (given.critics, given.slow))
    scratch = dataclasses.replace(CONFIG, policy_init="scratch")
    nothing = dataclasses.replace(learner, config=scratch).begin(state, width, key=root_key(1))
    assert eqx.tree_equal(nothing.critics, new.critics)


def test_a_policy_from_nothing_goes_on_whatever_it_earned(agent):
    free = dataclasses.replace(CONFIG, sac=dataclasses.replace(SAC, anchor=0.0))
    learner, learnt = learner_of(agent, free)
    best = agent.actor(agent.init(root_key(3)))
    assert eqx.tree_equal(learner.judged(learnt, best, better=False), learnt)


def test_a_step_of_one_leaves_the_anchor_as_it_is(agent):
    learner, learnt = learner_of(agent, dataclasses.replace(CONFIG, anchor_step=1.0))
    for better in (True, False):
        judged = learner.judged(learnt, learnt.actor, better=better)
        assert float(judged.anchor) == pytest.approx(0.2)


def test_a_step_below_one_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"anchor_step=0\.5 must be at least 1; the nearest is 1"):
        AdaptConfig(anchor_step=0.5)


def test_an_episode_in_a_target_is_as_long_as_one_that_judges():
    tiny = budget("tiny")
    assert amount_of(tiny).episode_steps == tiny.evaluation_steps == 1000 != tiny.episode_steps
