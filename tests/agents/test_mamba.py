"""The method as a whole, at its smallest size on invented data."""

import dataclasses
import itertools
import json
import pathlib
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents.agent import Agent
from mrcom.agents.mamba import MAMBA, actor_loss, build, world_loss
from mrcom.agents.mamba_config import SIZES, MambaConfig
from mrcom.agents.mamba_terms import ACTOR_TERMS, MODEL_TERMS, World, critic_term
from mrcom.agents.method import without
from mrcom.core.config import from_json, to_json
from mrcom.core.errors import ConfigError
from mrcom.core.numerics import symlog
from mrcom.core.rng import named_keys, root_key
from mrcom.core.types import Prompt
from mrcom.nn.heads import SymlogTwoHotHead

KEY = root_key(1)
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "methods" / "mamba.md"
SOME = ("reconstruction", "reward", "continue", "local_reconstruction", "local_reward",
        "local_continue")  # fmt: skip
# Mean of every term of `golden_case`; they change only with the method.
GOLDEN = {
    "continue": 0.57342,
    "kl_dyn": 1.03019,
    "kl_rep": 1.03019,
    "local_continue": 0.743952,
    "local_reconstruction": 2.69808,
    "local_reward": 5.40087,
    "reconstruction": 3.83267,
    "reward": 5.83403,
    "actor": 0.494443,
    "imitation": 4.28152,
    "critic": 7.58895,
}


def agent_of(method=MAMBA, updates=100):
    return build(method, "debug", layout=worlds.LAYOUT, num_scenarios=6, updates=updates)


AGENT = agent_of()
LENGTH = AGENT.windows.length


def batch_of(seed=0):
    """Invented meta-episodes, one of which ends early."""
    given = worlds.batch(AGENT.windows, seed=seed)
    return eqx.tree_at(
        lambda b: (b.is_terminal, b.first),
        given,
        (given.is_terminal.at[1, 9].set(True), given.first.at[:, 0].set(True)),
    )


@pytest.fixture(scope="module")
def state():
    """Before learning, with heads that no longer say 0."""
    fresh = AGENT.init(root_key(0))
    heads = lambda s: [
        s.model.rssm.reward_head.net.out.weight,
        s.local.reward_head.net.out.weight,
        s.behaviour.critic.net.out.weight,
        s.behaviour.slow.net.out.weight,
    ]
    drawn = [
        0.3 * jax.random.normal(jax.random.fold_in(KEY, i), leaf.shape)
        for i, leaf in enumerate(heads(fresh))
    ]
    return eqx.tree_at(heads, fresh, drawn)


def world_of(state):
    return World(state.model, state.local)


@eqx.filter_jit
def model_terms(state, batch, agent=AGENT, key=KEY):
    return world_loss(world_of(state), agent, state, batch, key)


@eqx.filter_jit
def actor_gradient(state, batch, agent=AGENT):
    _, (forward, _) = world_loss(world_of(state), agent, state, batch, KEY)
    given = agent, state.behaviour, jax.lax.stop_gradient(forward), KEY
    grads, (dream, terms) = eqx.filter_grad(actor_loss, has_aux=True)(state.behaviour.actor, *given)
    return grads, dream, terms


def size_of(grads):
    return sum(float(jnp.sum(jnp.abs(leaf))) for leaf in jax.tree.leaves(grads))


def test_it_is_an_agent_that_learns_from_beginnings():
    assert isinstance(AGENT, Agent)
    assert (AGENT.windows.place, AGENT.windows.context, AGENT.sub_episodes) == ("start", 0, 2)
    assert AGENT.stored == {}


def test_the_losses_are_the_weighted_sums_of_exactly_the_methods_terms(state):
    loss, (_, terms) = model_terms(state, batch_of())
    _, _, others = actor_gradient(state, batch_of())
    assert set(terms) == set(MODEL_TERMS) - {"jacobian"} and set(others) == set(ACTOR_TERMS)
    assert set(terms) | set(others) | {"critic"} == set(MAMBA.terms)
    by_hand = sum(MAMBA.terms[name] * float(jnp.mean(term)) for name, term in terms.items())
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


def means(state, agent=AGENT):
    _, (_, terms) = model_terms(state, batch_of(), agent)
    _, dream, others = actor_gradient(state, batch_of(), agent)
    critic = critic_term(agent.config, state.behaviour.critic, state.behaviour.slow, dream)
    return {name: float(jnp.mean(x)) for name, x in (terms | others | {"critic": critic}).items()}


def test_every_term_has_its_golden_value(state):
    assert means(state) == pytest.approx(GOLDEN, rel=1e-4)


@pytest.mark.parametrize("name", ["local_reconstruction", "imitation", "kl_rep"])
def test_an_ablation_has_every_other_term_unchanged(state, name):
    others = {other: value for other, value in GOLDEN.items() if other != name}
    assert means(state, agent_of(without(MAMBA, name))) == pytest.approx(others, rel=1e-4)


def test_nothing_after_the_horizon_matters_and_the_horizon_grows_by_the_formula(state):
    """From 16 of 61 steps to all of them after half of 100 updates: 16 + 45 n / 50."""
    batch = batch_of()
    for updates, until in ((0, 16), (10, 25), (49, 61), (80, 61)):
        now = eqx.tree_at(lambda s: s.updates, state, jnp.asarray(updates))
        loss, (forward, _) = model_terms(now, batch)
        assert int(forward.until) == until
        later = jax.tree.map(lambda x: x, batch)
        later = eqx.tree_at(
            lambda b: (b.obs, b.reward), later,
            (batch.obs.at[:, until:].add(3.0), batch.reward.at[:, until:].add(3.0)),
        )  # fmt: skip
        assert float(model_terms(now, later)[0]) == float(loss)
        one, two = (actor_gradient(now, b)[0] for b in (batch, later))
        assert eqx.tree_equal(one, two)
        last = eqx.tree_at(lambda b: b.obs, batch, batch.obs.at[:, until - 1].add(3.0))
        assert float(model_terms(now, last)[0]) != float(loss)


@eqx.filter_jit
def subsampled_terms(forward):
    return {name: MODEL_TERMS[name](AGENT.config, forward) for name in SOME}


def at_steps_of(state, batch, step):
    """Every subsampled term, on steps of one's own choice."""
    _, (forward, _) = model_terms(state, batch)
    forward = eqx.tree_at(lambda f: f.step, forward, step)
    return {name: np.asarray(term) for name, term in subsampled_terms(forward).items()}


def test_random_steps_estimate_the_whole_loss_without_bias(state):
    batch, rows = batch_of(), 4
    until = int(model_terms(state, batch)[1][0].until)
    each = at_steps_of(state, batch, jnp.tile(jnp.arange(until)[None], (rows, 1)))
    draws = [
        model_terms(state, batch, key=jax.random.fold_in(KEY, n))[1][0].step for n in range(400)
    ]
    for term in each.values():
        by_step = term.reshape(rows, until, -1).mean(axis=2)
        found = [np.take_along_axis(by_step, np.asarray(d), axis=1).mean() for d in draws]
        error = np.std(found) / np.sqrt(len(found))
        assert abs(np.mean(found) - by_step.mean()) < 4 * error
    # And what a draw is worth is what its steps are worth.
    drawn = at_steps_of(state, batch, draws[0])
    for name, term in drawn.items():
        by_step = each[name].reshape(rows, until, -1).mean(axis=2)
        wanted = np.take_along_axis(by_step, np.asarray(draws[0]), axis=1)
        np.testing.assert_allclose(term.reshape(rows, AGENT.config.some, -1).mean(2), wanted,
                                   rtol=1e-4)  # fmt: skip


def test_local_terms_by_hand(state):
    """Each pair: the state of step t, the embedding of t + k, and what came at t + k + 1."""
    batch = batch_of()
    _, (forward, terms) = model_terms(state, batch)
    until, config = int(forward.until), AGENT.config
    feature, token = forward.posterior.feature, forward.posterior.rssm.token
    wanted = np.zeros((4, config.some, 3))
    for row in range(4):
        for place, t in enumerate(np.asarray(forward.step[row])):
            for number, k in enumerate((-1, 0, 1)):
                if t + k < 0 or t + k + 1 >= until:
                    continue
                read = jnp.concatenate([feature[row, t], token[row, t + k]])
                time = min((t + k + 1) / config.model.total_steps, 1.0)
                meant = np.r_[
                    np.asarray(batch.obs[row, t + k + 1]), batch.reward[row, t + k + 1], time
                ]
                mask = np.r_[np.asarray(batch.obs_mask[row]), 1, 1]
                error = mask * (
                    np.asarray(state.local.decode(read)) - np.asarray(symlog(jnp.asarray(meant)))
                )
                wanted[row, place, number] = np.sum(error**2)
    np.testing.assert_allclose(terms["local_reconstruction"], wanted.reshape(4, -1), rtol=1e-3)
    assert (wanted == 0).any() and (wanted > 0).any()


def test_padding_changes_nothing(state):
    batch = batch_of()
    obs = jnp.where(batch.obs_mask[:, None] > 0, batch.obs, 7.0)
    action = jnp.where(batch.act_mask[:, None] > 0, batch.action, 0.7)
    other = dataclasses.replace(batch, obs=obs, action=action)
    one, two = model_terms(state, batch), model_terms(state, other)
    for name, term in one[1][1].items():
        np.testing.assert_array_equal(term, two[1][1][name])
    assert eqx.tree_equal(actor_gradient(state, batch)[0], actor_gradient(state, other)[0])


def only(name):
    """The actor learns from one term alone, and entropy is worth nothing."""
    method = dataclasses.replace(MAMBA, weights=((name, 1.0),))
    agent = agent_of(method)
    return dataclasses.replace(agent, config=dataclasses.replace(agent.config, entropy_weight=0.0))


def test_the_actors_gradient_comes_through_the_dynamics(state):
    """Where an action moves nothing in the model, the actor has nothing to learn from dreams."""
    assert size_of(actor_gradient(state, batch_of(), only("actor"))[0]) > 1e-6
    where = lambda s: s.model.rssm.cell.read.hidden[0].weight
    deaf = eqx.tree_at(where, state, where(state).at[-worlds.LAYOUT.act :].set(0.0))
    assert size_of(actor_gradient(deaf, batch_of(), only("actor"))[0]) == 0.0


def test_the_actors_loss_is_of_advantages_by_hand(state):
    """-(G - v) / max(1, S), faded; the value's own gradient reaches earlier actions."""
    _, dream, terms = actor_gradient(state, batch_of(), only("actor"))
    scale = max(AGENT.config.scale_floor, float(dream.return_range))
    wanted = -np.mean(dream.weight * (dream.returns - dream.value)) / scale
    np.testing.assert_allclose(terms["actor"][0, 0], wanted, rtol=1e-4)
    assert float(jnp.abs(dream.value).max()) > 1e-3


def test_experts_are_imitated_at_random_steps_within_the_horizon(state):
    """By hand: an action is stored with the step that it led into."""
    batch = batch_of()
    _, (forward, _) = model_terms(state, batch)
    found = actor_gradient(state, batch)[2]["imitation"]
    actor, until, surprise = state.behaviour.actor, int(forward.until), []
    for row in np.flatnonzero(batch.expert):
        for t in np.minimum(np.asarray(forward.step[row]), until - 2):
            done = jnp.clip(batch.action[row, t + 1], -0.99, 0.99)
            policy = actor(forward.posterior.feature[row, t], batch.act_mask[row])
            surprise.append(-float(policy.log_prob(done)))
    np.testing.assert_allclose(found, np.mean(surprise), rtol=1e-4)
    nobody = dataclasses.replace(batch, expert=jnp.zeros(4, bool))
    assert float(actor_gradient(state, nobody)[2]["imitation"][0, 0]) == 0.0


def test_returns_and_weights_by_hand(state):
    """G = r + .997 c (.05 v' + .95 G'); steps fade by .997 c, and an ended start counts nothing."""
    _, dream, _ = actor_gradient(state, batch_of())
    config = AGENT.config
    assert dream.returns.shape == (4 * config.starts, config.horizon)
    # The continue head is new: what it says of a step is the ratio of two weights.
    row = int(np.argmax(dream.weight[:, 0]))
    weight, cont = np.asarray(dream.weight[row]), []
    assert weight[0] == 1.0
    for now, then in itertools.pairwise(weight):
        cont.append(then / now / config.discount)
    assert all(0 < c < 1 for c in cont)
    for h in range(config.horizon - 1):
        value, following = float(dream.value[row, h + 1]), float(dream.returns[row, h + 1])
        wanted = float(dream.reward[row, h]) + 0.997 * cont[h] * (0.05 * value + 0.95 * following)
        np.testing.assert_allclose(dream.returns[row, h], wanted, rtol=1e-4, atol=1e-6)


def test_the_running_range_of_returns_moves_by_a_hundredth(state):
    _, dream, _ = actor_gradient(state, batch_of())
    returns = np.asarray(dream.returns)
    now = np.percentile(returns, 95) - np.percentile(returns, 5)
    np.testing.assert_allclose(dream.return_range, 0.01 * now, rtol=1e-4)


def test_bins_are_even_in_the_symlog():
    head = SymlogTwoHotHead(2, 4, 1, 255, 20.0, key=KEY)
    assert (head.bins.shape, float(head.bins[0]), float(head.bins[127])) == ((255,), -20.0, 0.0)
    np.testing.assert_allclose(np.diff(head.bins), 40 / 254, rtol=1e-3)
    assert float(head(jnp.ones(2))) == 0.0
    # All weight half-way between two bins: the number whose symlog lies there, not their mean.
    sure = eqx.tree_at(lambda h: h.net.out.bias, head,
                       jnp.full(255, -100.0).at[jnp.array([140, 142])].set(0.0))  # fmt: skip
    np.testing.assert_allclose(sure(jnp.ones(2)), np.expm1(14 * 40 / 254), rtol=1e-4)


@pytest.fixture(scope="module")
def learning():
    """States and metrics of three updates, made twice from the same seed."""
    runs = []
    for _ in range(2):
        state, seen = AGENT.init(root_key(0)), []
        for number in range(3):
            state, metrics = AGENT.update(state, batch_of(number), jax.random.fold_in(KEY, number))
            seen.append(jax.device_get(metrics))
        runs.append((state, seen))
    return runs


def test_the_same_seed_gives_the_same_numbers_to_the_bit(learning):
    (one, seen), (two, again) = learning
    assert eqx.tree_equal(one, two)
    for a, b in zip(seen, again, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)
        assert all(np.isfinite(value).all() for value in a.values())


def test_every_part_learns(learning):
    fresh, (state, _) = AGENT.init(root_key(0)), learning[0]
    for part in (
        lambda s: s.model,
        lambda s: s.model.rssm.start,
        lambda s: s.local,
        lambda s: s.behaviour.actor,
        lambda s: s.behaviour.critic,
        lambda s: s.behaviour.slow,
        lambda s: s.behaviour.return_range,
    ):
        assert not eqx.tree_equal(part(fresh), part(state))


def test_behaviour_never_moves_the_world_model(state):
    batch, key = batch_of(), named_keys(KEY, "world", "actor").world
    alone, _ = AGENT.update_model(state, batch, key)
    both, _ = AGENT.update(jax.tree.map(jnp.copy, state), batch, KEY)
    for one, two in ((alone.model, both.model), (alone.local, both.local)):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert eqx.tree_equal(alone.behaviour, state.behaviour)


def test_a_row_that_is_not_finite_is_the_only_one_that_is_reported(state):
    batch = batch_of()
    bad = eqx.tree_at(lambda b: b.reward, batch, batch.reward.at[2, 3:].set(jnp.nan))
    _, metrics = AGENT.update_model(state, bad, KEY)
    assert np.flatnonzero(~np.isfinite(metrics["row/reward"])).tolist() == [2]


def test_what_was_learnt_acts_predicts_and_dreams(learning):
    (state, _), batch = learning[0], batch_of()
    masks = worlds.masks_of(batch)
    prompt = Prompt(*(x[:, :0] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    carry = AGENT.start(state, masks, prompt)
    for t in range(2):
        step = (batch.obs[:, t], batch.action[:, t], batch.reward[:, t])
        action, carry = AGENT.act(state, carry, *step, KEY)
    assert carry.model.steps.tolist() == [2] * 4
    assert np.array_equal(action * (1 - batch.act_mask), np.zeros_like(action))
    dream = AGENT.dream_from(state, carry.model, horizon=2, key=KEY)(AGENT.actor(state))
    obs, reward = AGENT.expected(state, carry.model, dream.feature)
    assert obs.shape == (4, 3, worlds.LAYOUT.obs) and reward.shape == (4, 3)
    assert not np.any(np.asarray(obs) * (1 - np.asarray(batch.obs_mask))[:, None])
    obs, reward = AGENT.predict_open_loop(state, batch, horizon=4, num_samples=2, key=KEY)
    assert obs.shape == (2, 4, 4, worlds.LAYOUT.obs) and reward.shape == (2, 4, 4)


def test_a_meta_value_is_refused_with_what_to_do(learning):
    with pytest.raises(ConfigError, match="sac"):
        AGENT.meta_value(learning[0][0])


def test_the_page_explains_every_metric(learning):
    logged = {name for name in learning[0][1][0] if not name.startswith("row/")}
    _, table = PAGE.read_text().split("## Metrics")
    assert logged == set(re.findall(r"^\| `([\w/]+)` \|", table, re.MULTILINE))


@pytest.mark.parametrize("size", SIZES)
def test_a_configuration_comes_back_from_json(size):
    text = json.dumps(to_json(SIZES[size]))
    assert from_json(MambaConfig, json.loads(text)) == SIZES[size]


def test_the_largest_size_has_the_authors_numbers():
    config = SIZES["full"]
    rssm = config.model.rssm
    assert (rssm.deter, rssm.hidden, rssm.stoch, rssm.classes) == (512, 64, 16, 16)
    assert (rssm.units, rssm.head_layers, rssm.coder, rssm.encoder_layers) == (128, 2, 512, 4)
    assert (config.some, config.starts, config.horizon, config.discount) == (64, 512, 10, 0.997)
    assert [(r.learning_rate, r.eps, r.max_norm) for r in (
        config.model_rates, config.actor_rates, config.critic_rates)] == [
        (1e-4, 1e-8, 1000.0), (3e-5, 1e-5, 100.0), (3e-5, 1e-5, 100.0)]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: without(MAMBA, "deter"), "parts"),
        (lambda: dataclasses.replace(MAMBA, weights=(("local_rewards", 1.0),)), "local_reward"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        agent_of(change())


def test_a_horizon_without_a_single_move_is_refused():
    with pytest.raises(ConfigError, match="first_steps=1 must be at least 2"):
        MambaConfig(first_steps=1)
    assert MambaConfig(first_steps=2).first_steps == 2


def test_a_behaviour_of_others_is_refused():
    with pytest.raises(ConfigError, match="'imagination'"):
        build(MAMBA, "debug", layout=worlds.LAYOUT, num_scenarios=6, behaviour="sac")
