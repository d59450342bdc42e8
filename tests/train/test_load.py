"""A run in memory: what is shown of its dreams."""

import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents.cadm import CADM
from mrcom.agents.dreamer import DREAMER
from mrcom.agents.mamba import MAMBA
from mrcom.agents.method import without
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.behaviour.dream_env import DreamEnvConfig
from mrcom.core.numerics import symexp
from mrcom.core.rng import root_key
from mrcom.replay.normaliser import empty_normaliser
from mrcom.replay.prompts import make_prompts
from mrcom.scenarios.splits import split
from mrcom.train.collect import Experience
from mrcom.train.load import LoadedRun
from mrcom.train.log import Counters
from mrcom.train.run import Run, agent_of, empty_store
from mrcom.train.run_folder import RunFolder
from mrcom.train.settings import RunConfig, training_worlds

HOPPER = 15
"""Entries of its observation."""


def loaded(method, folder):
    """A run that has learnt nothing, with statistics of observations."""
    config = RunConfig(
        method, budget("debug"), split("table1-d-shell"), "debug", bodies=("hopper",), prompt="none"
    )
    worlds = training_worlds(config)
    agent = agent_of(config, worlds)
    num, layout = len(worlds.scenarios), worlds.layout
    none = make_prompts("none", num=num, layout=layout, window=agent.windows.context)
    seen = Experience(empty_store(config, agent, worlds), empty_normaliser(layout), none)
    statistics = np.full((1, layout.obs), 0.5), np.full((1, layout.obs), 2.0)
    state = agent.with_statistics(agent.init(root_key(0)), *statistics)
    return LoadedRun(Run(config, RunFolder(folder), worlds, agent, state, seen, Counters()))


@pytest.mark.parametrize("method", [DREAMER, MAMBA], ids=lambda method: method.name)
def test_dreams_show_normalised_observations_whatever_unit_the_model_decodes(method, tmp_path):
    given = loaded(method, tmp_path)
    scenario = given.run.worlds.scenarios[0]

    def first(seen):
        config = DreamEnvConfig(num_envs=3, horizon_steps=4, seen=seen)
        return given.dream_env(scenario, num_steps=6, config=config).reset(seed=0)[0]

    raw = symexp(given.run.state.model.decode(jnp.asarray(first("feature"))))[:, :HOPPER]
    np.testing.assert_allclose(first("observation"), (raw - 0.5) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "usual"),
    [(MRCOM, "push"), (without(MRCOM, "dreamt_context"), "frozen"), (CADM, "frozen")],
    ids=lambda given: getattr(given, "name", given),
)
def test_dreams_renew_the_context_where_those_of_the_run_do(method, usual, tmp_path):
    given = loaded(method, tmp_path)
    scenario = given.run.worlds.scenarios[0]
    assert given.dream_env(scenario, num_steps=1).config.dream_context == usual
    other = DreamEnvConfig(dream_context="push" if usual == "frozen" else "frozen")
    assert given.dream_env(scenario, num_steps=1, config=other).config == other


def test_a_context_that_is_not_renewed_is_the_same_at_the_end_of_a_dream(tmp_path):
    given = loaded(CADM, tmp_path)

    def contexts(**context):
        config = DreamEnvConfig(num_envs=3, **context)
        env = given.dream_env(given.run.worlds.scenarios[0], num_steps=6, config=config)
        first = env.reset(seed=0)[0]
        # CaDM's feature: observation, last reward, context.
        return [seen[:, HOPPER + 1 :] for seen in (first, env.step(np.ones((3, 4)))[0])]

    np.testing.assert_array_equal(*contexts())
    assert not np.allclose(*contexts(dream_context="push"))
