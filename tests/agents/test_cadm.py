"""The method as a whole, at its smallest size on invented data."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents import acting
from mrcom.agents.agent import Agent
from mrcom.agents.cadm import CADM, TERMS, VANILLA, build, draw_starts, model_loss
from mrcom.agents.cadm_config import SIZES
from mrcom.agents.method import without
from mrcom.agents.planning import PlanningPolicy
from mrcom.behaviour.mpc import CrossEntropy
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt

KEY = root_key(1)


def new(method=CADM, behaviour="sac", observe_reward=True):
    return build(
        method,
        "debug",
        layout=worlds.LAYOUT,
        num_scenarios=6,
        observe_reward=observe_reward,
        behaviour=behaviour,
        updates=0,
    )


def losses(method, given=None):
    """The loss and every term of a fresh agent, with starts that no key decides."""
    agent = new(method)
    model = agent.init(jax.random.key(0)).model
    batch = worlds.batch(agent.windows) if given is None else given
    model = model.with_scales_of(batch)
    rows, members = len(batch.reward), agent.model_config.num_members
    start = jnp.arange(members * rows * 2).reshape(members, rows, 2) % (agent.windows.length - 1)
    return eqx.filter_jit(model_loss)(model.members.nets, model, agent, batch, start)


@pytest.fixture(scope="module")
def whole():
    return losses(CADM)


def test_the_loss_is_the_weighted_sum_of_exactly_the_methods_terms(whole):
    loss, terms = whole
    assert set(terms) == set(CADM.terms) == set(TERMS)
    by_hand = sum(weight * float(jnp.mean(terms[name])) for name, weight in CADM.weights)
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


GOLDEN = {
    "backward": 1.922872,
    "bounds": 52.5,
    "decay": 0.0007183905,
    "forward": 2.279504,
    "reward": 0.2320907,
}


def test_every_term_has_the_number_it_always_had(whole):
    """Fixed seed, invented batch. Changed on purpose only, and said so."""
    _, terms = whole
    found = {name: float(jnp.mean(term)) for name, term in terms.items()}
    assert found == pytest.approx(GOLDEN, rel=1e-4)


def test_vanilla_is_one_model_that_is_sure():
    loss, terms = losses(VANILLA)
    assert set(terms) == set(VANILLA.terms) == set(CADM.terms) - {"bounds"}
    agent = new(VANILLA)
    nets = agent.init(jax.random.key(0)).model.members.nets
    assert nets.bounds is None and nets.forward.weights[0].shape[0] == 1
    assert nets.forward.weights[-1].shape[-1] == worlds.LAYOUT.obs
    assert np.isfinite(float(loss)) and float(jnp.min(terms["forward"])) >= 0


def test_a_model_that_is_sure_is_planned_with_in_one_particle_at_every_size():
    given = {"layout": worlds.LAYOUT, "num_scenarios": 6, "observe_reward": True}
    given |= {"behaviour": "sac", "updates": 0}
    for size, config in SIZES.items():
        assert build(VANILLA, size, **given).config.planning.particles == 1
        assert build(CADM, size, **given).config.planning.particles == config.particles
    assert SIZES["full"].particles == 4


def test_without_context_what_came_before_the_trained_steps_changes_no_prediction():
    agent = new()
    batch = worlds.batch(agent.windows)
    early = batch.obs.at[:, : agent.windows.context].add(1.0)
    other = eqx.tree_at(lambda b: b.obs, batch, early)
    for method, same in ((without(CADM, "context"), True), (CADM, False)):
        found = []
        model = new(method).init(KEY).model.with_scales_of(batch)
        for given in (batch, other):
            start = jnp.zeros((2, len(batch.reward), 1), jnp.int32)
            loss = eqx.filter_jit(model_loss)(model.members.nets, model, new(method), given, start)
            found.append(float(jnp.mean(loss[1]["forward"])))
        assert (found[0] == found[1]) is same


def test_terms_and_parts_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="'backward'"):
        new(dataclasses.replace(CADM, weights=(("backwards", 1.0),)))
    with pytest.raises(ConfigError, match="variance"):
        new(without(CADM, "variance"))
    with pytest.raises(ConfigError, match="ensemble"):
        new(dataclasses.replace(CADM, parts=("ensembles", "variance")))


def test_every_member_draws_starts_of_its_own_and_the_key_decides_them():
    agent = new()
    start = draw_starts(agent, 50, KEY)
    assert set(np.unique(start)) == set(range(agent.windows.length - 1))
    assert not np.array_equal(start[0], start[1])
    np.testing.assert_array_equal(start, draw_starts(agent, 50, KEY))


def test_published_sizes():
    config = SIZES["full"]
    model, planner = config.model, config.planner
    assert (model.members, model.units, model.layers) == (5, 200, 4)
    assert (model.encoder, model.context, model.window) == ((256, 128, 64), 10, 10)
    assert (config.future, config.learning_rate, config.particles) == (10, 1e-3, 4)
    assert planner == CrossEntropy(30, 200, 5, 50, 0.25, 0.1)


@pytest.fixture(scope="module")
def learning():
    """States and metrics of three updates, made twice from the same seed."""
    agent, runs = new(), []
    for _ in range(2):
        state, seen = agent.init(root_key(0)), []
        for number in range(3):
            batch = worlds.batch(agent.windows, seed=number)
            state, metrics = agent.update(state, batch, jax.random.fold_in(KEY, number))
            seen.append(jax.device_get(metrics))
        runs.append((agent, state, seen))
    return runs


def test_the_seed_decides_everything(learning):
    (_, one, seen), (_, two, again) = learning
    assert eqx.tree_equal(one, two)
    for a, b in zip(seen, again, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_every_part_learns(learning):
    agent, state, _ = learning[0]
    fresh = agent.init(root_key(0))
    assert isinstance(agent, Agent)
    for part in (
        lambda s: s.model.members.nets.encoder,
        lambda s: s.model.members.nets.forward,
        lambda s: s.model.members.nets.backward,
        lambda s: s.model.members.nets.reward,
        lambda s: s.model.members.nets.bounds,
        lambda s: s.model.members.scales,
        lambda s: s.behaviour.actor,
        lambda s: s.behaviour.critics.online,
    ):
        assert not eqx.tree_equal(part(fresh), part(state))


def test_a_row_that_is_not_finite_is_the_only_one_that_is_reported(learning):
    agent = learning[0][0]
    batch = worlds.batch(agent.windows)
    bad = eqx.tree_at(lambda b: b.reward, batch, batch.reward.at[2].set(jnp.nan))
    _, metrics = agent.update(agent.init(root_key(0)), bad, KEY)
    rows = {k: np.flatnonzero(~np.isfinite(v)) for k, v in metrics.items() if k[:4] == "row/"}
    assert rows["row/reward"].tolist() == [2]
    assert rows["row/forward"].tolist() == []


def begun(agent, state):
    """A batch, its masks, an empty prompt and what is remembered at first."""
    batch = worlds.batch(agent.windows)
    masks = worlds.masks_of(batch)
    prompt = Prompt(*(x[:, :2] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    return batch, masks, prompt


def test_what_was_learnt_acts_dreams_and_predicts(learning):
    agent, state, _ = learning[0]
    batch, masks, prompt = begun(agent, state)
    step = (batch.obs[:, 0], batch.action[:, 0], batch.reward[:, 0])
    action, carry = agent.act(state, agent.start(state, masks, prompt), *step, None)
    assert action.shape == batch.action[:, 0].shape
    assert not np.any(action * (1 - batch.act_mask))
    dream = agent.dream_from(state, carry.model, horizon=2, key=KEY)(agent.actor(state))
    assert dream.reward.shape == (len(action), 2) and np.all(dream.cont == 1)
    obs, reward = agent.predict_open_loop(state, batch, horizon=3, num_samples=2, key=KEY)
    assert obs.shape == (2, len(action), 3, worlds.LAYOUT.obs) and reward.shape == obs.shape[:3]
    assert np.all(np.abs(obs) <= acting.CLIP) and not np.any(obs[:, 1, :, 3:])
    seen, told = agent.expected(state, carry.model, dream.feature)
    np.testing.assert_allclose(told[:, 1:], dream.reward)
    assert seen.shape == (len(action), 3, worlds.LAYOUT.obs)


def test_planning_acts_within_bounds_and_its_key_decides_everything(learning):
    agent, state, _ = learning[0]
    batch, masks, prompt = begun(agent, state)
    planning = agent.config.planning
    step = [np.asarray(x[:, 0]) for x in (batch.obs, batch.action, batch.reward)]
    found = []
    for key in (KEY, KEY, root_key(2)):
        policy = PlanningPolicy(agent, state, masks, prompt, planning, key=key)
        carry, actions = policy.start(len(masks.obs)), []
        for _ in range(2):
            action, carry = policy.act(carry, *step)
            actions.append(action)
        found.append(np.stack(actions))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert np.all(np.abs(found[0]) <= 1) and not np.any(found[0] * (1 - masks.act))
    assert not np.array_equal(found[0][0], found[0][1])


def test_it_learns_in_its_own_dreams_too():
    agent = new(VANILLA, behaviour="imagination")
    _, metrics = agent.update(agent.init(root_key(0)), worlds.batch(agent.windows), KEY)
    assert agent.dream_steps == 4 * agent.config.starts * agent.config.horizon
    assert all(np.isfinite(value).all() for value in metrics.values())
