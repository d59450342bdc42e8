"""Open-loop errors of models that learnt with latent errors, by horizon."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents import acting
from mrcom.agents.latent_dynamics import jacobian_term
from mrcom.core.rng import named_keys, root_key
from mrcom.core.types import Steps
from mrcom.evaluate.latent_study import (
    DREAMT,
    Cell,
    Curves,
    divergence,
    mean_squared_gain,
    measured,
    open_loop_curves,
    probe_of,
)
from mrcom.evaluate.open_loop import hide_future
from mrcom.evaluate.scores import append_record, read_records
from mrcom.models.latent_error import NONE, LatentError
from mrcom.objectives.jacobian import JacobianConfig
from mrcom.scenarios.scenario import Scenario
from mrcom.train.latent_study import AMOUNTS, agent_with, common_layout

HORIZON = 4
KEY = root_key(3)
DRIFT = LatentError(drift=(2.0, 2.0))
LAYOUT = common_layout()
HOPPER = Scenario("hopper", 1.0)


@pytest.fixture(scope="module")
def agent():
    return agent_with("no penalty", "none", AMOUNTS["debug"])


@pytest.fixture(scope="module")
def state(agent):
    return agent.init(root_key(0))


@pytest.fixture(scope="module")
def probe():
    rng, rows = np.random.default_rng(0), 3
    wide = lambda width, real: (
        rng.normal(size=(rows, 30, width)).astype(np.float32) * (np.arange(width) < real)
    )
    obs, action = wide(LAYOUT.obs, 15), np.tanh(wide(LAYOUT.act, 4))
    reward = rng.random((rows, 30)).astype(np.float32)
    steps = Steps(obs, action, reward, np.zeros((rows, 30), bool))
    return probe_of(
        [steps, steps], HOPPER, LAYOUT, context=2, per_episode=2, horizon=HORIZON, episodes=2,
        steps=5, seed=0,
    )  # fmt: skip


def curves(state, batch, error=NONE):
    return open_loop_curves(state.filter, batch, KEY, horizon=HORIZON, error=error)


def test_observation_and_reward_errors_are_those_of_the_open_loop_by_hand(state, probe):
    found, batch = curves(state, probe.windows), probe.windows
    obs, reward = acting.predict_open_loop(
        state.filter,
        hide_future(batch, HORIZON),
        named_keys(KEY, "dream").dream,
        horizon=HORIZON,
        num_samples=DREAMT,
        dream_context="frozen",
    )
    real = np.clip(np.asarray(batch.obs)[:, -HORIZON:, :15], -10, 10)  # mean 0 and deviation 1
    apart = np.asarray(obs).mean(axis=0)[..., :15] - real
    np.testing.assert_allclose(found.obs, (apart**2).mean(axis=(0, 2)), rtol=1e-4)
    wrong = np.asarray(reward).mean(axis=0) - np.asarray(batch.reward)[:, -HORIZON:]
    np.testing.assert_allclose(found.reward, (wrong**2).mean(axis=0), rtol=1e-4)


def test_latent_errors_are_in_variances_of_what_the_model_filters_itself(state, probe):
    batch, model = dataclasses.replace(probe.windows, stored={}), state.model
    found = curves(state, probe.windows)
    dreamt = acting.dreamt_features(
        state.filter, batch, named_keys(KEY, "dream").dream, HORIZON, DREAMT, "frozen"
    )
    seen = acting.normalised(state.filter, batch)
    real = np.asarray(eqx.filter_jit(model.observe)(seen, key=None).feature)[:, -HORIZON:]
    variance = real.reshape(-1, real.shape[-1]).var(axis=0).mean()
    by_hand = ((np.asarray(dreamt).mean(axis=0) - real) ** 2).mean(axis=(0, 2)) / variance
    np.testing.assert_allclose(found.latent, by_hand, rtol=1e-4)


def test_dreams_see_nothing_of_what_they_are_judged_by(state, probe):
    batch = probe.windows
    later = dataclasses.replace(batch, reward=batch.reward.at[:, -HORIZON:].add(1.0))
    # Only the truth moves: E (r^ - r - 1)^2 = E (r^ - r)^2 - 2 E (r^ - r) + 1.
    before, after = curves(state, batch), curves(state, later)
    assert before.obs == after.obs
    assert before.reward != after.reward


def test_an_error_of_the_start_is_in_the_dreams_and_not_in_what_they_are_judged_by(state, probe):
    exact, erring = curves(state, probe.windows), curves(state, probe.windows, DRIFT)
    assert erring.latent[0] != pytest.approx(exact.latent[0], rel=1e-3)
    shifted = LatentError(drift=(1e-6, 1e-6))
    np.testing.assert_allclose(
        curves(state, probe.windows, shifted).latent, exact.latent, rtol=1e-3
    )


def test_every_round_gives_windows_with_room_for_the_dream(probe):
    rows, length = probe.windows.reward.shape
    assert rows == 2 * 3 * 2
    assert length >= HORIZON + 2
    np.testing.assert_array_equal(probe.windows.obs_mask.sum(axis=1), 15)


def test_the_gain_is_the_mean_over_all_steps_but_for_the_draw_of_some(state, probe):
    gain = float(mean_squared_gain(state.filter, probe.windows, KEY))
    seen = acting.normalised(state.filter, dataclasses.replace(probe.windows, stored={}))
    posterior = eqx.filter_jit(state.model.observe)(seen, key=KEY)
    many = JacobianConfig(probes=32, share=1.0)
    given = state.model, posterior, seen.action, jnp.zeros((), int), many, root_key(9)
    assert gain == pytest.approx(float(eqx.filter_jit(jacobian_term)(*given).mean()), rel=0.3)


@pytest.mark.parametrize(
    ("obs", "gain", "reason"),
    [
        ((0.5, 9.9), 1.0, ""),
        ((0.5, 10.5, 2.0), 1.0, "wrong by 10.5 variances"),
        ((0.5, float("nan")), 1.0, "not finite"),
        ((0.5,), float("inf"), "not finite"),
    ],
)
def test_a_model_diverged_where_it_is_not_finite_or_wrong_beyond_the_bound(obs, gain, reason):
    found = divergence(Curves((0.1,), obs, (0.1,)), gain)
    assert (reason in found) if reason else found == ""


def test_a_cell_is_measured_and_comes_back_from_its_file(agent, state, probe, tmp_path):
    empty = Cell("hopper", "no penalty", "drift", 0, "debug", 4)
    cell = measured(empty, agent, state, DRIFT, probe)
    assert cell.key == empty.key and not cell.diverged
    assert len(cell.erring.obs) == HORIZON and cell.erring != cell.exact
    assert 0 <= cell.episode_return <= 5
    failed = dataclasses.replace(empty, seed=1, diverged="not finite")
    for one in (cell, failed):
        append_record(tmp_path / "cells.jsonl", one)
    assert read_records(tmp_path / "cells.jsonl", Cell) == [cell, failed]


def test_without_an_error_erring_dreams_are_exact_ones(agent, state, probe):
    cell = measured(Cell("hopper", "no penalty", "none", 0, "debug", 4), agent, state, NONE, probe)
    assert cell.erring == cell.exact
    assert cell.apart is None, "one and the same dream"


def test_dreams_with_and_without_an_error_are_compared_with_each_other(agent, state, probe):
    """By hand; and an error of next to nothing leaves next to nothing."""
    empty, near = Cell("hopper", "no penalty", "drift", 0, "debug", 4), LatentError((1e-6, 1e-6))
    found = measured(empty, agent, state, DRIFT, probe).apart
    assert max(*measured(empty, agent, state, near, probe).apart.obs) < 1e-6 * min(found.obs)
    batch, model = probe.windows, state.model
    keys = named_keys(root_key(probe.seed), "dream", "gain")
    keys = named_keys(keys.dream, "dream", "error")
    shift = DRIFT.draw(
        keys.error, (len(batch.reward), batch.reward.shape[1] - HORIZON), model.num_sampled
    )
    hidden = hide_future(batch, HORIZON)
    dream = lambda *wrong: acting.dreamt_features(
        state.filter, hidden, keys.dream, HORIZON, DREAMT, "frozen", *wrong
    )
    wrong, right = (np.asarray(model.reward(f)).mean(axis=0) for f in (dream(shift), dream()))
    np.testing.assert_allclose(found.reward, ((wrong - right) ** 2).mean(axis=0), rtol=1e-3)
    seen = acting.normalised(state.filter, dataclasses.replace(batch, stored={}))
    real = np.asarray(eqx.filter_jit(model.observe)(seen, key=None).feature)[:, -HORIZON:]
    variance = real.reshape(-1, real.shape[-1]).var(axis=0).mean()
    wrong, right = (np.asarray(f).mean(axis=0) for f in (dream(shift), dream()))
    by_hand = ((wrong - right) ** 2).mean(axis=(0, 2)) / variance
    np.testing.assert_allclose(found.latent, by_hand, rtol=1e-3)
