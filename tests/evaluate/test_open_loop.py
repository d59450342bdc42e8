import dataclasses
import json

import jax
import numpy as np
import pytest

from mrcom.core.config import to_json
from mrcom.core.errors import ConfigError, RunFolderError, TrainingDivergedError
from mrcom.core.types import Layout, Masks, Steps
from mrcom.evaluate.dreams import dreamt_starts, load_starts, save_starts
from mrcom.evaluate.open_loop import (
    Dreams,
    dream_blindly,
    errors_from_json,
    held_out_windows,
    open_loop,
    open_loop_errors,
    prediction_errors,
    rescaled,
)
from mrcom.replay.prompts import make_prompts

LAYOUT = Layout(("hopper", "walker"), obs=2, act=1)
MASKS = Masks(
    obs=np.array([[1, 0], [1, 1], [1, 0]], np.float32),
    act=np.ones((3, 1), np.float32),
    body=np.array([0, 1, 0]),
    told=np.zeros((3, 3), np.float32),
)
MEAN, STD = np.array([[10.0, 0], [0, 5]]), np.array([[20.0, 1], [16, 32]])


def moving_world(num_steps=40):
    """Every observation moves by its action, which is (row + 1) in each step."""
    action = np.repeat(np.arange(1.0, 4)[:, None, None], num_steps, 1).astype(np.float32)
    action[:, 0] = 0
    obs = np.cumsum(action, axis=1) * np.array([1, 2], np.float32) * MASKS.obs[:, None]
    zeros = np.zeros((3, num_steps), np.float32)
    return Steps(obs, action, 1 + zeros, zeros.astype(np.bool_))


def windows(length=7):
    prompts = make_prompts("none", num=3, layout=LAYOUT, window=2)
    return held_out_windows(
        moving_world(), LAYOUT, MASKS, prompts, np.random.default_rng(0),
        per_scenario=4, context=2, length=length - 5, horizon=5, seen=6,
    )  # fmt: skip


def history(context, length, place="anywhere", dream=4, seen=6):
    """Windows of a method that sees so much of the past, at places that no method decides."""
    prompts = make_prompts("none", num=3, layout=LAYOUT, window=context)
    return held_out_windows(
        moving_world(), LAYOUT, MASKS, prompts, np.random.default_rng(1), per_scenario=9,
        context=context, length=length, horizon=dream, seen=seen, place=place,
    )  # fmt: skip


def test_methods_of_all_windows_dream_at_the_same_places():
    """Each has its own history before them: short, longer than there is, or all there was."""
    several = [history(2, 3), history(0, 5), history(3, 80), history(0, 250, "start")]
    lengths = [batch.reward.shape[1] for batch in several]
    assert lengths == [2 + 3 + 4, 5 + 4, 3 + 6 + 4, 40]
    for batch in several[1:]:
        np.testing.assert_array_equal(batch.scenario, several[0].scenario)
        for name in ("obs", "action", "reward"):
            ours, theirs = getattr(batch, name), getattr(several[0], name)
            np.testing.assert_array_equal(ours[:, -7:], theirs[:, -7:])


def test_a_memory_from_the_first_step_on_gets_all_of_the_past_and_nothing_before():
    batch = jax.device_get(history(0, 250, "start"))
    beginning = np.argmax(batch.first, axis=1)
    assert (batch.first.sum(axis=1) == 1).all() and len(set(beginning)) > 5
    for row, first in enumerate(beginning):
        assert not batch.obs[row, :first].any() and not batch.valid[row, :first].any()
        assert batch.valid[row, first:].all()
        whole = moving_world().obs[batch.scenario[row], : 40 - first]
        np.testing.assert_array_equal(batch.obs[row, first:], whole)


def perfect_dream(batch, horizon):
    """Knows the world: each step adds the action, and twice that in the second dimension."""
    host = jax.device_get(batch)
    last, moves = host.obs[:, -horizon - 1, None], host.action[:, -horizon:].cumsum(axis=1)
    obs = last + moves * np.array([1, 2])
    mean, std = MEAN[host.body][:, None], STD[host.body][:, None]
    obs = (obs - mean) / std * host.obs_mask[:, None]
    return Dreams(obs[None], np.zeros((1, *obs.shape[:2])))


def test_errors_by_hand():
    # One start, dimensions 0 and 1 real, two samples with mean (1, 2) then (3, 0).
    prediction = np.array([[[[0.0, 2, 9], [3, 1, 9]]], [[[2.0, 2, 9], [3, -1, 9]]]])
    truth, last = np.array([[[1.0, 0, 5], [0, 0, 5]]]), np.array([[1.0, 4, 7]])
    got = prediction_errors(prediction, truth, last, np.array([[1.0, 1, 0]]), (1, 2))
    assert got.mse == (2.0, 4.5)  # (0 + 4) / 2, (9 + 0) / 2
    assert got.last_mse == (8.0, 8.5)  # (0 + 16) / 2, (1 + 16) / 2
    np.testing.assert_allclose(got.rmse, np.sqrt([2, 4.5]))
    np.testing.assert_allclose(got.ratio, np.sqrt([2 / 8, 4.5 / 8.5]))
    np.testing.assert_allclose(got.mse_ratio, [2 / 8, 4.5 / 8.5])
    assert got.at(1) == 0.5
    with pytest.raises(ConfigError, match="Horizon 3 was not measured"):
        got.at(3)


def test_predicting_the_last_observation_has_ratio_one():
    truth = np.random.default_rng(0).normal(size=(4, 5, 3))
    last = truth[:, 0] + 1
    guess = np.repeat(last[:, None], 5, axis=1)[None]
    got = prediction_errors(guess, truth, last, np.ones((4, 3)), (1, 5))
    assert got.ratio == (1, 1)


def test_starts_with_more_real_dimensions_weigh_more_and_padding_nothing():
    truth, last = np.zeros((2, 1, 2)), np.zeros((2, 2))
    prediction = np.array([[[[1.0, 1]], [[4, 77]]]])
    got = prediction_errors(prediction, truth, last, np.array([[1.0, 1], [1, 0]]), (1,))
    assert got.mse == ((1 + 1 + 16) / 3,)
    assert got.ratio == (float("inf"),)


def test_a_perfect_model_has_no_error_at_any_horizon_in_any_body():
    errors = open_loop(perfect_dream, windows(), LAYOUT, MEAN, STD, horizons=(1, 3, 5))
    assert list(errors) == ["hopper", "walker"]
    for error in errors.values():
        assert max(error.mse) < 1e-9
    # In h steps hoppers move by h and 3 h in units of 20, and the walker by 2 h in units of 16
    # and by 4 h in units of 32.
    steps = np.array([1, 3, 5])
    np.testing.assert_allclose(errors["hopper"].last_mse, steps**2 / 80, rtol=1e-5)
    np.testing.assert_allclose(errors["walker"].last_mse, steps**2 / 64, rtol=1e-5)


def test_errors_do_not_depend_on_the_unit_that_a_model_dreams_in():
    batch, unit = windows(), (MEAN.astype(np.float32), STD.astype(np.float32))
    wrong = lambda mean, std: (np.asarray(batch.obs)[:, -5:] + 1 - mean) / std
    errors = []
    for mean, std in (unit, (unit[0] + 3, unit[1] * 2)):
        rows = np.asarray(batch.body)
        own = wrong(mean[rows][:, None], std[rows][:, None])[None]
        pairs = [np.stack(pair) for pair in ((mean, unit[0]), (std, unit[1]))]
        dreams = rescaled(Dreams(own, np.zeros(own.shape[:3])), batch, *pairs)
        found = open_loop_errors(dreams, batch, LAYOUT, *unit, horizons=(1, 5))
        errors.append([error.mse for error in found.values()])
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-4)


def test_a_model_cannot_look_ahead():
    def dream(batch, horizon):
        assert not batch.obs[:, -horizon:].any() and not batch.reward[:, -horizon:].any()
        assert batch.action[:, -horizon:].all() and batch.obs[:, -horizon - 1, 0].any()
        return Dreams(np.zeros((2, 12, horizon, 2)), np.zeros((2, 12, horizon)))

    seen = windows()
    dream_blindly(dream, seen, 4)
    assert (
        seen.obs[:, -1, 0].all() and seen.reward[:, -4:].all()
    )  # the caller's windows are as they were


def test_horizons_beyond_the_dream_and_dreams_that_explode_are_refused():
    truth = np.zeros((1, 3, 2))
    with pytest.raises(ConfigError, match="Horizon 4 lies outside the dreams' 1 to 3"):
        prediction_errors(truth[None], truth, truth[:, 0], np.ones((1, 2)), (1, 4))
    with pytest.raises(TrainingDivergedError, match="not finite"):
        prediction_errors(truth[None] + np.nan, truth, truth[:, 0], np.ones((1, 2)), (1,))


def test_errors_survive_a_file():
    batch = windows()
    errors = open_loop_errors(
        dream_blindly(perfect_dream, batch, 5), batch, LAYOUT, MEAN, STD, horizons=(1, 5)
    )
    errors = {body: dataclasses.replace(error, budget="tiny") for body, error in errors.items()}
    written = json.loads(json.dumps(to_json(errors)))
    assert errors_from_json(written) == errors
    for error in written.values():  # of a version that did not say it
        del error["budget"]
    assert {error.budget for error in errors_from_json(written).values()} == {""}


def test_dreams_are_shown_in_raw_units_beside_what_happened(tmp_path):
    batch = windows(length=9)
    dreams = dream_blindly(perfect_dream, batch, 5)
    rows = np.flatnonzero(np.asarray(batch.body) == 1)[:2]
    shown = dreamt_starts(dreams, batch, rows, MEAN, STD, titles=["a", "b"], num_obs=2)
    np.testing.assert_allclose(shown[1].dreamt_obs[0], shown[1].real_obs, rtol=1e-5)
    whole = np.concatenate([shown[1].past_obs, shown[1].real_obs])
    np.testing.assert_array_equal(whole, batch.obs[rows[1]])
    save_starts(tmp_path / "d" / "walker.npz", "walker", 0.025, shown)
    body, control_dt, again = load_starts(tmp_path / "d" / "walker.npz")
    assert (body, control_dt, [s.title for s in again]) == ("walker", 0.025, ["a", "b"])
    np.testing.assert_array_equal(again[1].dreamt_obs, shown[1].dreamt_obs)


def test_what_the_past_does_not_hold_is_not_shown():
    # No prompt: the first two steps of a window that starts an episode are empty.
    prompts = make_prompts("none", num=3, layout=LAYOUT, window=2)
    batch = held_out_windows(
        moving_world(9), LAYOUT, MASKS, prompts, np.random.default_rng(0),
        per_scenario=1, context=2, length=4, horizon=5, seen=4,
    )  # fmt: skip
    dreams = dream_blindly(perfect_dream, batch, 5)
    (start,) = dreamt_starts(dreams, batch, np.array([0]), MEAN, STD, titles=["a"], num_obs=1)
    assert start.past_obs.shape == (4, 1) and start.dreamt_obs.shape == (1, 5, 1)


def test_a_missing_file_of_dreams_says_so(tmp_path):
    with pytest.raises(RunFolderError, match="cannot be read"):
        load_starts(tmp_path / "walker.npz")
