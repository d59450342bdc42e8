"""The method as a whole, at its smallest size on invented data."""

import ast
import dataclasses
import json
import pathlib
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents import acting
from mrcom.agents.agent import Agent
from mrcom.agents.dreamer import DREAMER, TERMS, build, loss_of
from mrcom.agents.dreamer_config import SIZES, DreamerConfig
from mrcom.agents.method import without
from mrcom.behaviour.laprop import LaPropConfig
from mrcom.behaviour.sac import SACConfig, init_sac
from mrcom.core.config import from_json, to_json
from mrcom.core.errors import ConfigError
from mrcom.core.numerics import symlog
from mrcom.core.rng import root_key
from mrcom.core.types import Layout, Prompt
from mrcom.models.rssm_parts import RSSMConfig

KEY = root_key(1)
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "methods" / "dreamerv3.md"
# Means of the loss terms; they change only with the method.
GOLDEN = {
    "actor": -4.03259,
    "continue": 0.482655,
    "critic": 5.63088,
    "imitation": 3.14654,
    "kl_dyn": 1.11994,
    "kl_rep": 1.11994,
    "reconstruction": 2.90817,
    "replay_critic": 11.1503,
    "reward": 5.95465,
}


def agent_of(method=DREAMER, size="debug"):
    return build(method, size, layout=worlds.LAYOUT, num_scenarios=6)


AGENT = agent_of()


def batch_of(seed=0):
    """Invented windows with an end in the second row and a beginning in the third."""
    given = worlds.batch(AGENT.windows, seed=seed)
    start = AGENT.windows.context
    return eqx.tree_at(
        lambda b: (b.is_terminal, b.first),
        given,
        (given.is_terminal.at[1, -1].set(True), given.first.at[2, start + 3].set(True)),
    )


@pytest.fixture(scope="module")
def state():
    """Before learning, with heads that no longer say 0."""
    fresh = AGENT.init(root_key(0))
    heads = lambda s: [
        s.model.reward_head.net.out.weight,
        s.behaviour.critic.net.out.weight,
        s.behaviour.slow.net.out.weight,
    ]
    drawn = [
        0.3 * jax.random.normal(jax.random.fold_in(KEY, i), leaf.shape)
        for i, leaf in enumerate(heads(fresh))
    ]
    return eqx.tree_at(heads, fresh, drawn)


@eqx.filter_jit
def terms_of(state, batch, agent=AGENT):
    return loss_of(state.learnt, agent, state, batch, KEY)


def gradient(state, name):
    """Of one term alone."""
    alone = dataclasses.replace(AGENT, method=dataclasses.replace(DREAMER, weights=((name, 1.0),)))
    grad = eqx.filter_grad(lambda learnt: loss_of(learnt, alone, state, batch_of(), KEY)[0])
    learnt = eqx.filter_jit(grad)(state.learnt)
    moved = lambda part: any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(part))
    return {name: moved(getattr(learnt, name)) for name in ("model", "actor", "critic")}


def test_the_loss_is_the_weighted_sum_of_exactly_the_methods_terms(state):
    loss, (_, terms) = terms_of(state, batch_of())
    assert set(terms) == set(DREAMER.terms) == set(TERMS) - {"jacobian", "image", "l2"}
    by_hand = sum(weight * float(jnp.mean(terms[name])) for name, weight in DREAMER.weights)
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


def means(state, agent=AGENT):
    _, (_, terms) = terms_of(state, batch_of(), agent)
    return {name: float(jnp.mean(term)) for name, term in terms.items()}


def test_every_term_has_its_golden_value(state):
    assert means(state) == pytest.approx(GOLDEN, rel=1e-4)


@pytest.mark.parametrize(
    ("term", "moves"),
    [
        ("replay_critic", {"model", "critic"}),
        ("critic", {"critic"}),
        ("actor", {"actor"}),
        ("imitation", {"actor"}),
        ("kl_dyn", {"model"}),
        ("reward", {"model"}),
    ],
)
def test_a_terms_gradient_reaches_just_its_own_parts(state, term, moves):
    assert {part for part, moved in gradient(state, term).items() if moved} == moves


@pytest.mark.parametrize("name", ["replay_critic", "imitation", "kl_rep"])
def test_an_ablation_has_every_other_term_unchanged(state, name):
    ablated = dataclasses.replace(AGENT, method=without(DREAMER, name))
    others = {other: value for other, value in GOLDEN.items() if other != name}
    assert means(state, ablated) == pytest.approx(others, rel=1e-4)


def test_without_experts_nothing_is_imitated(state):
    batch = dataclasses.replace(batch_of(), expert=jnp.zeros(4, bool))
    _, (_, terms) = terms_of(state, batch)
    assert terms["imitation"].item() == 0.0
    assert terms_of(state, batch_of())[1][1]["imitation"].item() != 0.0


def test_padding_and_what_came_before_the_trained_steps_change_nothing(state):
    batch = batch_of()
    start = AGENT.windows.context
    loud = jnp.where(batch.obs_mask[:, None] > 0, batch.obs, 7.0).at[:, :start].add(3.0)
    action = jnp.where(batch.act_mask[:, None] > 0, batch.action, 0.7)
    other = dataclasses.replace(batch, obs=loud, action=action)
    for name, term in terms_of(state, other)[1][1].items():
        np.testing.assert_array_equal(term, terms_of(state, batch)[1][1][name])


def test_the_last_step_before_a_new_episode_has_no_replayed_value_to_learn(state):
    """The third row's episode begins anew three steps into the window."""
    term = terms_of(state, batch_of())[1][1]["replay_critic"]
    assert (np.asarray(term == 0).nonzero()[0].tolist(), int(term[2, 2])) == ([2], 0)


def test_a_dream_starts_in_every_trained_step(state):
    _, (forward, _) = terms_of(state, batch_of())
    rows, length = forward.batch.reward.shape
    np.testing.assert_array_equal(
        forward.imagined.feature[0].reshape(rows, length, -1), forward.posterior.feature
    )
    assert len(forward.imagined.feature) == AGENT.config.horizon
    assert AGENT.dream_steps == rows * length * AGENT.config.horizon


@pytest.fixture(scope="module")
def learning():
    """State and metrics of a few updates, made twice from the same seed."""
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


def test_every_part_learns_and_the_slow_critic_follows(learning):
    state, _ = learning[0]
    fresh = AGENT.init(root_key(0))
    parts = lambda s: (s.model, s.behaviour.actor, s.behaviour.critic, s.behaviour.slow)
    for old, new in zip(parts(fresh), parts(state), strict=True):
        assert not eqx.tree_equal(old, new)


def test_what_is_stored_has_the_promised_shapes_and_is_the_filtered_state(learning):
    _, seen = learning[0]
    for name, leaf in AGENT.stored.items():
        written = seen[0][f"stored/{name}"]
        assert written.shape == (4, AGENT.windows.length, *leaf.shape)
        assert written.dtype == leaf.dtype
    given = {name: jnp.asarray(seen[0][f"stored/{name}"][:, 3]) for name in AGENT.stored}
    batch = dataclasses.replace(batch_of(), stored=given)
    state = AGENT.init(root_key(0))
    _, (one, _) = terms_of(state, batch)
    _, (two, _) = terms_of(state, batch_of())
    assert not np.allclose(one.posterior.deter[:, 0], two.posterior.deter[:, 0])


def test_one_batch_can_be_learnt_by_heart():
    state, losses, batch = AGENT.init(root_key(0)), [], batch_of()
    for number in range(200):
        state, metrics = AGENT.update(state, batch, jax.random.fold_in(KEY, number))
        losses.append({name: float(metrics[f"loss/{name}"]) for name in DREAMER.terms})
    assert losses[-1]["reconstruction"] < 0.6 * losses[0]["reconstruction"]
    assert losses[-1]["reward"] < 0.5 * losses[0]["reward"]
    assert losses[-1]["imitation"] < 0.9 * losses[0]["imitation"]


def test_a_row_that_is_not_finite_is_named():
    given = batch_of()
    bad = dataclasses.replace(given, reward=given.reward.at[2].set(jnp.nan))
    _, metrics = AGENT.update(AGENT.init(root_key(0)), bad, KEY)
    assert np.flatnonzero(~np.isfinite(metrics["row/reward"])).tolist() == [2]


def test_the_model_alone_learns_and_the_policy_stays(learning):
    state, _ = learning[0]
    after, metrics = AGENT.update_model(state, batch_of(), KEY)
    assert eqx.tree_equal(after.behaviour, state.behaviour)
    assert not eqx.tree_equal(after.model, state.model)
    assert "loss/critic" not in metrics and np.isfinite(metrics["loss"])


def test_it_acts_dreams_and_predicts_in_normalised_units(learning):
    state = AGENT.with_statistics(learning[0][0], np.full((2, 5), 0.5), np.full((2, 5), 2.0))
    assert isinstance(AGENT, Agent)
    batch = batch_of()
    masks = worlds.masks_of(batch)
    prompt = Prompt(*(x[:, :16] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    carry = AGENT.start(state, masks, prompt)
    action, carry = AGENT.act(
        state, carry, batch.obs[:, 0], batch.action[:, 0], batch.reward[:, 0], None
    )
    np.testing.assert_array_equal(action * (1 - batch.act_mask), 0.0)
    dream = AGENT.dream_from(state, carry.model, horizon=2, key=KEY)(AGENT.actor(state))
    obs, reward = AGENT.expected(state, carry.model, dream.feature)
    raw = np.asarray(state.model.decode(dream.feature))
    by_hand = (np.sign(raw) * np.expm1(np.abs(raw)) - 0.5) / 2 * batch.obs_mask[:, None]
    np.testing.assert_allclose(obs, np.clip(by_hand, -10, 10), atol=1e-5)
    assert reward.shape == (4, 3)
    predicted, _ = AGENT.predict_open_loop(state, batch, horizon=3, num_samples=2, key=KEY)
    assert predicted.shape == (2, 4, 3, 5)
    np.testing.assert_array_equal(predicted[:, 1::2, :, 3:], 0.0)


def test_what_it_reads_is_the_symlog_of_raw_observations():
    state = AGENT.with_statistics(AGENT.init(root_key(0)), np.ones((2, 5)), np.full((2, 5), 9.0))
    batch = batch_of()
    seen = acting.normalised(state.filter, batch).obs
    np.testing.assert_allclose(seen, symlog(batch.obs) * batch.obs_mask[:, None], rtol=1e-6)


def test_predictions_do_not_read_what_training_stored(learning):
    state = learning[0][0]
    given = {
        "deter": jnp.ones((4, AGENT.config.model.deter), jnp.float16),
        "stoch": jnp.ones((4, AGENT.config.model.stoch), jnp.uint8),
    }
    amount = {"horizon": 3, "num_samples": 1, "key": KEY}
    one = AGENT.predict_open_loop(state, batch_of(), **amount)[0]
    two = AGENT.predict_open_loop(state, dataclasses.replace(batch_of(), stored=given), **amount)[0]
    np.testing.assert_array_equal(one, two)


def test_sac_goes_on_from_its_policy(learning):
    actor = AGENT.actor(learning[0][0])
    config = SACConfig(actor=actor.config, units=8, layers=1, anchor=0.1)
    assert init_sac(AGENT.config.model.feature, 3, config, key=KEY, actor=actor).origin is not None
    again = json.loads(json.dumps(to_json(config)))
    assert from_json(SACConfig, again) == config


def test_there_is_no_meta_value_to_go_on_with(learning):
    with pytest.raises(ConfigError, match="learner='sac'"):
        AGENT.meta_value(learning[0][0])


def test_the_smallest_published_size_has_the_published_number_of_parameters():
    """On the walker, without the slow critic: 24 observations, 6 actions, no reward."""
    small = build(
        DREAMER, "1M", layout=Layout(("walker",), 24, 6), num_scenarios=1, observe_reward=False
    )
    state = eqx.filter_eval_shape(small.init, root_key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(state.learnt)) == 640_867


def test_published_sizes_keep_the_published_rate_and_short_ones_hurry():
    rates = {name: config.optimizer for name, config in SIZES.items()}
    for name in ("1M", "12M", "25M", "full"):
        assert (rates[name].learning_rate, rates[name].warmup) == (4e-5, 1000)
    for name in ("debug", "tiny", "small"):
        assert rates[name].learning_rate > 4e-5 and rates[name].warmup < 1000


@pytest.mark.parametrize("size", SIZES)
def test_a_configuration_comes_back_from_json(size):
    text = json.dumps(to_json(SIZES[size]))
    assert from_json(DreamerConfig, json.loads(text)) == SIZES[size]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": without(DREAMER, "deter")}, "parts cannot"),
        ({"size": "2M"}, "2M"),
        ({"behaviour": "sac"}, "imagination"),
    ],
)
def test_what_it_cannot_do_is_refused(change, message):
    given = {"method": DREAMER, "size": "debug"} | change
    with pytest.raises(ConfigError, match=message):
        build(**given, layout=worlds.LAYOUT, num_scenarios=6)


def test_the_page_explains_every_name_that_is_logged(learning):
    logged = {name for name in learning[0][1][0] if not name.startswith(("row/", "stored/"))}
    rows = set(re.findall(r"^\| `([\w/]+)` \|", PAGE.read_text(), re.MULTILINE))
    assert logged <= rows


def test_a_default_on_the_page_is_the_default_in_the_code():
    kinds = {kind.__name__: kind for kind in (RSSMConfig, DreamerConfig, LaPropConfig)}
    found = re.findall(r"`(\w+)\.(\w+) = ([^`]+)`", PAGE.read_text())
    assert len(found) > 10
    for kind, field, value in found:
        fields = {f.name: f for f in dataclasses.fields(kinds[kind])}
        assert fields[field].default == ast.literal_eval(value), f"{kind}.{field}"


def test_a_single_task_fills_the_batch_with_windows_of_itself():
    layout = Layout(("walker",), 24, 6)
    alone, several = (build(DREAMER, "1M", layout=layout, num_scenarios=n) for n in (1, 20))
    assert alone.windows.rows(1) == several.windows.rows(20) == 16
    assert alone.windows.per_scenario == 16 and several.windows.per_scenario == 1
