"""The method as a whole, at its smallest size on invented data."""

import dataclasses
import pathlib
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents.method import without
from mrcom.agents.mrcom import MRCOM, TERMS, model_loss
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key

KEY = root_key(1)
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "metrics.md"


def losses(method, given=None):
    agent = worlds.agent(method)
    state = agent.init(root_key(0))
    batch = worlds.batch(agent.windows) if given is None else given
    loss = eqx.filter_jit(model_loss)
    return agent, loss(state.model, agent, batch, state.behaviour, KEY)


@pytest.fixture(scope="module")
def whole():
    return losses(MRCOM)


def test_the_loss_is_the_weighted_sum_of_exactly_the_methods_terms(whole):
    _, (loss, (_, terms)) = whole
    assert set(terms) == set(MRCOM.terms) == set(TERMS) - {"jacobian", "image"}
    by_hand = sum(weight * float(jnp.mean(terms[name])) for name, weight in MRCOM.weights)
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


def test_meta_state_as_printed_is_the_divergence_of_u_once_more(whole):
    _, (_, (_, terms)) = whole
    np.testing.assert_array_equal(terms["meta_state"], terms["kl_stoch"])


@pytest.mark.parametrize("name", ["deter", "context", "meta_state", "meta_value"])
def test_every_ablation_has_a_finite_loss_without_what_was_taken_out(name):
    agent, (loss, (posterior, terms)) = losses(without(MRCOM, name))
    assert np.isfinite(float(loss))
    assert name not in terms
    assert posterior.deter.shape[-1] == (0 if name == "deter" else 8)
    assert agent.model_config.feature == posterior.feature.shape[-1]


def test_without_context_what_came_before_the_trained_steps_changes_nothing():
    agent = worlds.agent(without(MRCOM, "context"))
    batch = worlds.batch(agent.windows)
    early = batch.obs.at[:, : agent.windows.context].add(1.0)
    other = eqx.tree_at(lambda b: b.obs, batch, early)
    _, (one, _) = losses(without(MRCOM, "context"), batch)
    _, (two, _) = losses(without(MRCOM, "context"), other)
    assert float(one) == float(two)
    _, (with_context, _) = losses(MRCOM, batch)
    _, (and_changed, _) = losses(MRCOM, other)
    assert float(with_context) != float(and_changed)


def test_an_unknown_loss_term_is_refused():
    wrong = dataclasses.replace(MRCOM, weights=(("kl_stock", 1.0),))
    with pytest.raises(ConfigError, match="kl_stoch"):
        worlds.agent(wrong)


@pytest.fixture(scope="module")
def learning():
    """States and metrics of three updates, made twice from the same seed; every term counts."""
    agent, runs = worlds.agent(settings=("value_warmup=0",)), []
    for _ in range(2):
        state, seen = agent.init(root_key(0)), []
        for number in range(3):
            batch = worlds.batch(agent.windows, seed=number)
            state, metrics = agent.update(state, batch, jax.random.fold_in(KEY, number))
            seen.append(jax.device_get(metrics))
        runs.append((agent, state, seen))
    return runs


def test_the_same_seed_gives_the_same_numbers_to_the_bit(learning):
    (_, one, seen), (_, two, again) = learning
    assert eqx.tree_equal(one, two)
    for a, b in zip(seen, again, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_every_part_learns(learning):
    agent, state, _ = learning[0]
    fresh = agent.init(root_key(0))
    for part in (
        lambda s: s.model,
        lambda s: s.behaviour.actor,
        lambda s: s.behaviour.critics.online,
        lambda s: s.behaviour.meta.online,
    ):
        assert not eqx.tree_equal(part(fresh), part(state))


def test_a_row_that_is_not_finite_is_the_only_one_that_is_reported(learning):
    agent = learning[0][0]
    state = agent.init(root_key(0))
    batch = worlds.batch(agent.windows)
    bad = eqx.tree_at(lambda b: b.reward, batch, batch.reward.at[2].set(jnp.nan))
    _, metrics = agent.update(state, bad, KEY)
    rows = {k: np.flatnonzero(~np.isfinite(v)) for k, v in metrics.items() if k[:4] == "row/"}
    assert rows["row/reward"].tolist() == [2]
    assert rows["row/continue"].tolist() in ([], [2])


def test_the_page_of_metrics_has_a_row_for_every_name(learning):
    logged = {name for name in learning[0][2][0] if not name.startswith("row/")}
    assert logged <= set(re.findall(r"^\| `([\w/]+)` \|", PAGE.read_text(), re.MULTILINE))


@pytest.mark.parametrize("part", ["deter", "context"])
def test_an_ablation_learns_in_several_model_steps_too(part):
    """A part that is taken out leaves arrays of width 0."""
    agent = worlds.agent(without(MRCOM, part))
    agent = dataclasses.replace(agent, config=dataclasses.replace(agent.config, model_steps=2))
    state = agent.init(root_key(0))
    _, metrics = agent.update_model(state, worlds.batch(agent.windows), root_key(1))
    assert np.isfinite(metrics["loss"])


GOLDEN = {
    "actor/entropy": 0.650519,
    "actor/gradient": 2.22657,
    "actor/imitation": 2.32954,
    "actor/return_range": 0.000196307,
    "gradient": 29.694,
    "loss": 34.8434,
    "loss/continue": 0.713646,
    "loss/kl_aux": 9.63206,
    "loss/kl_stoch": 3.87469,
    "loss/meta_state": 3.87469,
    "loss/meta_value": 2.09617e-06,
    "loss/reconstruction": 12.6113,
    "loss/reward": 4.13704,
}
"""What three updates on invented batches gave when the method was accepted."""


def test_no_change_made_for_another_method_moves_this_ones_losses(learning):
    _, _, seen = learning[0]
    found = {name: float(seen[-1][name]) for name in GOLDEN}
    assert found == pytest.approx(GOLDEN, rel=1e-3)
