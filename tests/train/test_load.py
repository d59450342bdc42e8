"""A run in memory: what is shown of its dreams."""

import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents.dreamer import DREAMER
from mrcom.agents.mamba import MAMBA
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
