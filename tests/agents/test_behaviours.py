"""Either behaviour in the one slot: the whole agent at its smallest size on invented data."""

import dataclasses
import json

import equinox as eqx
import jax
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents import acting
from mrcom.agents.build import build_agent
from mrcom.agents.method import without
from mrcom.agents.modular_config import with_behaviour
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.mrcom_config import SIZES, MrComConfig
from mrcom.behaviour.actor_critic import ActorCriticConfig
from mrcom.behaviour.latent_sac import LatentSacConfig
from mrcom.core.config import from_json, to_json
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt
from mrcom.train.checkpoint import Checkpoints

KEY = root_key(1)


def same(left, right):
    leaves = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(one, two) for one, two in leaves if eqx.is_array(one))


@pytest.fixture(scope="module")
def learning():
    """States and metrics of three updates with SAC, made twice; every term counts."""
    agent, runs = worlds.agent(behaviour="sac", settings=("value_warmup=0",)), []
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
    masks = worlds.masks_of(batch)
    prompt = Prompt(*(x[:, :16] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    carry = agent.start(state, masks, prompt)
    step = (batch.obs[:, 0], batch.action[:, 0], batch.reward[:, 0])
    action, carry = agent.act(state, carry, *step, None)
    assert action.shape == batch.action[:, 0].shape
    assert np.array_equal(action * (1 - batch.act_mask), np.zeros_like(action))
    dream = agent.dream_from(state, carry.model, horizon=2, key=KEY)(agent.actor(state))
    assert dream.reward.shape == (len(action), 2)


@pytest.mark.parametrize(("behaviour", "sampled"), [("imagination", True), ("sac", False)])
def test_sac_acts_on_expected_states_and_the_actor_of_dreams_on_samples(behaviour, sampled):
    agent = worlds.agent(behaviour=behaviour)
    state, batch = agent.init(root_key(0)), worlds.batch(agent.windows)
    prompt = Prompt(*(x[:, :16] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    carry = agent.start(state, worlds.masks_of(batch), prompt)
    step = (batch.obs[:, 0], batch.action[:, 0], batch.reward[:, 0])
    mode, expected = agent.act(state, carry, *step, None)
    drawn, after = agent.act(state, carry, *step, KEY)
    assert not np.array_equal(drawn, mode)
    assert same(after.model, expected.model) == (not sampled)


def test_the_expected_feature_has_means_where_the_feature_has_samples():
    agent = worlds.agent()
    state, batch = agent.init(root_key(0)), worlds.batch(agent.windows)
    observe = eqx.filter_jit(state.model.observe)
    posterior = observe(acting.normalised(state.filter, batch), key=KEY)
    stoch, deter, aux = agent.model_config.split(posterior.expected)
    np.testing.assert_array_equal(stoch, posterior.stoch_posterior.mean)
    np.testing.assert_array_equal(deter, posterior.deter)
    np.testing.assert_array_equal(aux, posterior.aux_posterior.mean)
    assert not np.allclose(stoch, posterior.stoch)


def test_a_checkpoint_brings_all_of_it_back(learning, tmp_path):
    agent, state, _ = learning[0]
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(3, state, meta={})
    template = eqx.filter_eval_shape(agent.init, KEY)
    assert same(checkpoints.restore(template).state, state)


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


def test_what_experts_did_is_imitated_where_they_did_it():
    """By hand: an action is stored with the step that it led into."""
    agent = worlds.agent()
    state, given = agent.init(root_key(0)), worlds.batch(agent.windows)
    batch = acting.normalised(state.filter, given)
    posterior = state.model.observe(batch, key=KEY)
    length = agent.windows.length
    trained = acting.steps_of(batch, slice(-length, None))
    actor = state.behaviour.actor
    log_prob = eqx.filter_jit(lambda feature, mask, action: actor(feature, mask).log_prob(action))
    learn = eqx.filter_jit(agent.behaviour.update)
    _, metrics = learn(state.behaviour, state.model, posterior, trained, key=KEY)
    surprise = []
    for row in np.flatnonzero(batch.expert):
        for step in range(length - 1):
            seen = posterior.feature[row, step], batch.act_mask[row], trained.action[row, step + 1]
            surprise.append(-float(log_prob(*seen)))
    assert 0 < len(surprise) < batch.expert.size * (length - 1)
    np.testing.assert_allclose(metrics["actor/imitation"], np.mean(surprise), rtol=1e-4)


@pytest.mark.parametrize(("scenarios", "steps"), [(48, 3), (32, 2), (16, 2), (7, 1)])
def test_a_batch_is_shared_by_as_many_model_steps_as_can_be(scenarios, steps):
    assert SIZES["tiny"].steps_on(scenarios) == steps


def test_one_body_alone_learns_at_the_smallest_real_size():
    agent = build_agent(
        MRCOM, "tiny", layout=worlds.LAYOUT, num_scenarios=16, behaviour="imagination"
    )
    assert eqx.filter_eval_shape(agent.init, root_key(0)).behaviour.critics.num == 16


def test_a_frozen_context_dreams_otherwise_also_when_predictions_are_judged():
    agent = worlds.agent()
    frozen = dataclasses.replace(agent, method=without(agent.method, "dreamt_context"))
    state, batch = agent.init(root_key(0)), worlds.batch(agent.windows)
    # A new decoder says almost nothing, and the context would hardly change.
    state = eqx.tree_at(lambda s: s.model, state, jax.tree.map(_louder, state.model))
    both = [
        one.predict_open_loop(state, batch, horizon=4, num_samples=1, key=KEY)[0]
        for one in (agent, frozen)
    ]
    np.testing.assert_array_equal(both[0][:, :, 0], both[1][:, :, 0])
    assert not np.allclose(both[0][:, :, -1], both[1][:, :, -1], atol=1e-4)


def _louder(leaf):
    return leaf * 2 if eqx.is_inexact_array(leaf) else leaf
