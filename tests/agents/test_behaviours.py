"""Either behaviour in the one slot: the whole agent at its smallest size on invented data."""

import json
import pathlib
import re

import equinox as eqx
import jax
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents.mrcom_config import SIZES, MrComConfig, with_behaviour
from mrcom.behaviour.actor_critic import ActorCriticConfig
from mrcom.behaviour.latent_sac import LatentSacConfig
from mrcom.core.config import from_json, to_json
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Masks, Prompt
from mrcom.train.checkpoint import Checkpoints

KEY = root_key(1)
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "metrics.md"


def same(left, right):
    leaves = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(one, two) for one, two in leaves if eqx.is_array(one))


@pytest.fixture(scope="module")
def learning():
    """States and metrics of three updates with SAC, made twice from the same seed."""
    agent, runs = worlds.agent(behaviour="sac"), []
    for _ in range(2):
        state, seen = agent.init(root_key(0)), []
        for number in range(3):
            batch = worlds.batch(agent.windows, seed=number)
            state, metrics = agent.update(state, batch, jax.random.fold_in(KEY, number))
            seen.append(jax.device_get(metrics))
        runs.append((agent, state, seen))
    return runs


def test_a_few_updates_are_finite_and_the_same_seed_gives_the_same_numbers(learning):
    (_, one, seen), (_, two, again) = learning
    assert same(one, two)
    for a, b in zip(seen, again, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)
        assert all(np.isfinite(value).all() for value in a.values())


def test_every_part_learns(learning):
    agent, state, _ = learning[0]
    fresh = agent.init(root_key(0))
    for part in (
        lambda s: s.model,
        lambda s: s.behaviour.actor,
        lambda s: s.behaviour.sac.critics,
        lambda s: s.behaviour.critics.online,
        lambda s: s.behaviour.meta.online,
    ):
        assert not same(part(fresh), part(state))


def test_a_row_that_is_not_finite_is_named_by_its_critic(learning):
    agent = learning[0][0]
    batch = worlds.batch(agent.windows)
    bad = eqx.tree_at(lambda b: b.reward, batch, batch.reward.at[2].set(np.nan))
    _, metrics = agent.update(agent.init(root_key(0)), bad, KEY)
    for name in ("row/reward", "row/critic", "row/twin"):
        assert np.flatnonzero(~np.isfinite(metrics[name])).tolist() == [2]


def test_what_was_learnt_acts_and_dreams(learning):
    agent, state, _ = learning[0]
    batch = worlds.batch(agent.windows)
    masks = Masks(*(np.asarray(x) for x in (batch.obs_mask, batch.act_mask, batch.body)))
    prompt = Prompt(*(x[:, :16] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    carry = agent.start(state, masks, prompt)
    step = (batch.obs[:, 0], batch.action[:, 0], batch.reward[:, 0])
    action, carry = agent.act(state, carry, *step, None)
    assert action.shape == batch.action[:, 0].shape
    assert np.array_equal(action * (1 - batch.act_mask), np.zeros_like(action))
    dream = agent.dream(state, carry.model, agent.actor(state), horizon=2, key=KEY)
    assert dream.reward.shape == (len(action), 2)


def test_a_checkpoint_brings_all_of_it_back(learning, tmp_path):
    agent, state, _ = learning[0]
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(3, state, meta={})
    template = eqx.filter_eval_shape(agent.init, KEY)
    assert same(checkpoints.restore(template).state, state)
    checkpoints.close()


def test_the_page_of_metrics_has_a_row_for_every_name(learning):
    logged = {name for name in learning[0][2][0] if not name.startswith("row/")}
    rows = set(re.findall(r"^\| `([\w/]+)` \|", PAGE.read_text(), re.MULTILINE))
    assert logged <= rows


def test_only_imagination_dreams_while_it_learns():
    rows, config = 4, SIZES["debug"]
    assert worlds.agent().dream_steps == rows * config.starts * config.horizon
    assert worlds.agent(behaviour="sac").dream_steps == 0


def test_sac_has_the_networks_and_the_horizon_of_the_size():
    for config in SIZES.values():
        assert with_behaviour(config, "imagination") == config
        given, other = config.behaviour, with_behaviour(config, "sac").behaviour
        assert isinstance(given, ActorCriticConfig) and isinstance(other, LatentSacConfig)
        assert (other.sac.actor, other.discount) == (given.actor, given.discount)
        assert other.critic.units == given.critic.units


@pytest.mark.parametrize("name", ["imagination", "sac"])
def test_a_configuration_with_either_comes_back_from_json(name):
    config = with_behaviour(SIZES["debug"], name)
    text = json.dumps(to_json(config))
    assert from_json(MrComConfig, json.loads(text)) == config


def test_an_unknown_behaviour_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'imagine'.*'imagination'"):
        worlds.agent(behaviour="imagine")
