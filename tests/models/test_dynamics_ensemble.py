"""The ensemble of dynamics models: histories, contexts of members, and dreams."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import ACT, OBS, batch_of, with_padding

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt
from mrcom.models.dynamics_ensemble import DynamicsEnsemble
from mrcom.models.ensemble_parts import EnsembleConfig
from mrcom.models.foresight import foresee
from mrcom.models.history import empty_history, histories

CONFIG = EnsembleConfig(members=3, units=8, layers=1, encoder=(8,), context=2, window=3)
LENGTH = CONFIG.before + 6
BATCH, KEY = batch_of(length=LENGTH), root_key(5)
FIRST = 6
BEGUN = eqx.tree_at(lambda b: b.first, BATCH, BATCH.first.at[1, FIRST].set(True))
"""The second row's episode begins in its third trained step."""


@functools.cache
def model_with(**changes):
    model = DynamicsEnsemble(
        dataclasses.replace(CONFIG, **changes), OBS, ACT, bodies=2, key=root_key(0)
    )
    louder = lambda leaf: leaf * 3 if eqx.is_inexact_array(leaf) else leaf
    model = eqx.tree_at(lambda m: m.members.nets, model, jax.tree.map(louder, model.members.nets))
    return model.with_scales_of(BATCH)


MODEL = model_with()
observe = eqx.filter_jit(lambda model, batch: model.observe(batch, key=None))
predict = eqx.filter_jit(
    lambda model, state, action, key: model.predict(state, action, key=key, dream_context="frozen")[
        0
    ]
)
correct = eqx.filter_jit(lambda model, state, *seen: model.correct(state, *seen, key=None)[0])
foreseen = eqx.filter_jit(
    lambda model, batch, start, num: foresee(model.members, batch, start, num=num)
)


def begin(model=MODEL, batch=BATCH):
    nothing = Prompt(*(x[:, :2] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    return model.initial(nothing, batch.obs_mask, batch.act_mask, batch.body)


def later(model=MODEL, batch=BATCH):
    """States after all trained steps."""
    posterior = observe(model, batch)
    rows, steps = posterior.reward.shape
    return model.states_at(posterior, jnp.arange(rows) * steps + steps - 1)


def test_slots_fill_from_the_first_on_and_then_shift():
    """Moves 1 .. 5 into three slots."""
    history, seen = empty_history((1,), 3, 1), []
    for number in range(1, 6):
        history = history.pushed(jnp.full((1, 1), float(number)), jnp.ones(1, bool))
        seen.append(history.moves[0, :, 0].tolist())
    assert seen == [[1, 0, 0], [1, 2, 0], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    unmoved = history.pushed(jnp.full((1, 1), 9.0), jnp.zeros(1, bool))
    assert eqx.tree_equal(unmoved, history)


def test_histories_of_a_whole_sequence_begin_anew_where_no_move_was_made():
    moves = jnp.arange(7.0)[None, :, None]
    followed = jnp.array([[False, True, True, False, True, True, True]])
    found = histories(moves, followed, 2)
    assert found.count.tolist() == [[0, 1, 2, 0, 1, 2, 2]]
    assert found.moves[0, :, :, 0].tolist() == [
        [0, 0], [1, 0], [1, 2], [0, 0], [4, 0], [4, 5], [5, 6],
    ]  # fmt: skip


@pytest.mark.parametrize("observe_reward", [True, False])
def test_step_by_step_equals_the_whole_sequence(observe_reward):
    """From an episode's first step, which row 1 takes inside the window."""
    model = model_with(observe_reward=observe_reward)
    reset = eqx.tree_at(lambda b: b.reward, BEGUN, BEGUN.reward.at[1, FIRST].set(0.0))
    posterior = observe(model, reset)
    state = begin(model)
    for t in range(FIRST, LENGTH):
        seen = (reset.obs[:, t], reset.action[:, t], reset.reward[:, t])
        state = correct(model, state, *seen)
        here = t - CONFIG.before
        feature = model.feature(state)[1]
        np.testing.assert_allclose(feature, posterior.feature[1, here], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            state.context[1], posterior.context[1, here], rtol=1e-4, atol=1e-5
        )


def test_what_stood_before_an_episodes_first_step_changes_nothing():
    """The first row's window lies inside its episode, and so does what stood before."""
    other = eqx.tree_at(lambda b: b.obs, BEGUN, BEGUN.obs.at[:, :FIRST].add(1.0))
    one, two = observe(MODEL, BEGUN).context, observe(MODEL, other).context
    after = FIRST - CONFIG.before
    np.testing.assert_array_equal(one[1, after:], two[1, after:])
    assert not np.allclose(one[0, after], two[0, after])


def test_the_first_move_of_an_episode_is_in_the_next_context_and_in_the_loss():
    after = FIRST - CONFIG.before
    assert observe(MODEL, BEGUN).history.count[1].tolist() == [0, 0, 0, 1, 2, 3]
    start = jnp.full((3, 2, 1), after)
    assert foreseen(MODEL, BEGUN, start, 2).exists[:, 1, 0].tolist() == [[1, 1]] * 3


def test_padded_entries_change_nothing():
    other = with_padding(BATCH, 7.0)
    one, two = observe(MODEL, BATCH), observe(MODEL, other)
    np.testing.assert_array_equal(one.feature, two.feature)
    moved = [predict(MODEL, later(batch=b), b.action[:, 3], None) for b in (BATCH, other)]
    np.testing.assert_array_equal(MODEL.feature(moved[0]), MODEL.feature(moved[1]))
    assert not np.any(moved[0].obs[1, 3:])
    scales = MODEL.with_scales_of(BATCH).members.scales, MODEL.with_scales_of(other).members.scales
    assert eqx.tree_equal(*scales)


def test_one_context_serves_all_transitions_after_a_start():
    """What happens after the start changes predictions only where it is their own state."""
    start, t = jnp.zeros((3, 2, 1), jnp.int32), CONFIG.before
    one = foreseen(MODEL, BATCH, start, 4)
    other = eqx.tree_at(lambda b: b.obs, BATCH, BATCH.obs.at[:, t + 1].add(1.0))
    two = foreseen(MODEL, other, start, 4)
    np.testing.assert_array_equal(one.mean[..., 0, :], two.mean[..., 0, :])
    assert not np.allclose(one.mean[..., 1, :], two.mean[..., 1, :])  # told the true state
    np.testing.assert_array_equal(one.mean[..., 2:, :], two.mean[..., 2:, :])
    before = eqx.tree_at(lambda b: b.obs, BATCH, BATCH.obs.at[:, t - 1].add(1.0))
    three = foreseen(MODEL, before, start, 4)
    for j in range(4):
        assert not np.allclose(one.mean[..., j, :], three.mean[..., j, :])


def test_foresight_is_what_each_member_says_with_its_own_context():
    """Slow twin: one member, one row, one start, one transition at a time."""
    start = jax.random.randint(root_key(3), (3, 2, 2), 0, 5)
    said = foreseen(MODEL, BATCH, start, 3)
    posterior, members = observe(MODEL, BATCH), MODEL.members
    for e, b, s, j in ((0, 0, 0, 0), (1, 1, 1, 2), (2, 0, 1, 1)):
        t = int(start[e, b, s])
        if t + j > 4:
            continue
        at = CONFIG.before + t + j
        mask, body = BATCH.act_mask[b], BATCH.body[b]
        told = members.told(
            members.every(BATCH.obs[b, at] * BATCH.obs_mask[b]),
            members.every(BATCH.action[b, at + 1] * mask),
            posterior.context[b, t],
            mask,
            body,
        )
        mean, _ = members.changes(told)
        np.testing.assert_allclose(said.mean[e, b, s, j], mean[e], rtol=1e-3, atol=1e-4)
        change = (BATCH.obs[b, at + 1] - BATCH.obs[b, at]) * BATCH.obs_mask[b]
        centre, scale = members.scales.of_change(body)
        np.testing.assert_allclose(
            said.change[e, b, s, j], (change - centre) / scale, rtol=1e-3, atol=1e-4
        )
        assert float(said.reward[e, b, s, j]) == float(BATCH.reward[b, at + 1])


def test_a_dream_stays_with_its_member_and_real_steps_set_it_free():
    state = later()
    assert state.member.tolist() == [-1, -1]
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], 40, axis=0), state)
    action = jnp.broadcast_to(BATCH.action[:, 0], (40, 2, ACT))
    members = []
    for t in range(3):
        many = predict(MODEL, many, action, jax.random.fold_in(KEY, t))
        members.append(np.asarray(many.member))
    assert set(members[0].ravel().tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(members[0], members[2])
    seen = BATCH.obs[:, 0], BATCH.action[:, 0], BATCH.reward[:, 0]
    assert correct(MODEL, predict(MODEL, state, action[0], KEY), *seen).member.tolist() == [-1, -1]


def test_without_a_key_a_prediction_is_the_mean_of_members_alone_with_their_own_contexts():
    """And a member alone has its own weights and context and no others."""
    state, action = later(), BATCH.action[:, 2]
    models, states = MODEL.alone(state)
    said = []
    for e in range(3):
        model, own = jax.tree.map(lambda leaf, e=e: leaf[e], (models, states))
        np.testing.assert_array_equal(own.context[:, 0], state.context[:, e])
        with_own = dataclasses.replace(state, member=jnp.full(2, e))
        alone = predict(model, own, action, None)
        np.testing.assert_allclose(
            alone.obs, predict(MODEL, with_own, action, None).obs, rtol=1e-4, atol=1e-5
        )
        said.append(alone.obs)
    mean = predict(MODEL, state, action, None).obs
    np.testing.assert_allclose(mean, jnp.mean(jnp.stack(said), axis=0), rtol=1e-4, atol=1e-5)
    assert not np.allclose(said[0], said[1], atol=1e-3)


def test_a_frozen_context_is_the_starts_and_a_pushed_one_is_not():
    state, action = later(), BATCH.action[:, 2]
    np.testing.assert_array_equal(predict(MODEL, state, action, KEY).context, state.context)
    pushed, _ = MODEL.predict(state, action, key=KEY, dream_context="push")
    assert not np.allclose(pushed.context, state.context, atol=1e-4)


def test_samples_have_the_deviation_that_is_said_and_certain_models_have_none():
    state, action = later(), BATCH.action[:, 2]
    one = dataclasses.replace(state, member=jnp.zeros(2, jnp.int32))
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], 4000, axis=0), one)
    drawn = predict(MODEL, many, jnp.broadcast_to(action, (4000, 2, ACT)), KEY).obs[:, 0]
    _, said = MODEL.predict(one, action, key=None)
    np.testing.assert_allclose(jnp.std(drawn, axis=0), said.std[0], rtol=0.08)
    sure = model_with(parts=("context",))
    moved = [predict(sure, later(sure), action, key).obs for key in (KEY, None)]
    np.testing.assert_allclose(*moved, rtol=1e-5)


def test_a_feature_holds_the_observation_the_last_reward_and_the_first_members_context():
    state = later()
    feature = MODEL.feature(state)
    np.testing.assert_array_equal(MODEL.decode(feature), state.obs)
    np.testing.assert_array_equal(MODEL.reward(feature), BATCH.reward[:, -1])
    np.testing.assert_array_equal(feature[:, OBS + 1 :], state.context[:, 0])
    np.testing.assert_array_equal(MODEL.cont(feature), jnp.ones(2))


def test_a_reward_that_agents_do_not_see_reaches_no_feature():
    model = model_with(observe_reward=False)
    other = eqx.tree_at(lambda b: b.reward, BATCH, BATCH.reward + 1.0)
    one, two = observe(model, BATCH).feature, observe(model, other).feature
    np.testing.assert_array_equal(one, two)
    states = [correct(model, later(model), b.obs[:, 0], b.action[:, 0], b.reward[:, 0]) for b in
              (BATCH, other)]  # fmt: skip
    np.testing.assert_array_equal(*(model.feature(state) for state in states))


def test_scales_are_those_of_the_moves_of_their_body():
    followed = np.ones(LENGTH - 1, bool)
    followed[FIRST - 1] = False  # into the first step of row 1's episode
    followed[: FIRST - 1] = False
    change = np.diff(np.asarray(BEGUN.obs[1]), axis=0)[followed]
    fresh = DynamicsEnsemble(CONFIG, OBS, ACT, bodies=2, key=KEY).with_scales_of(BEGUN)
    mean, std = fresh.members.scales.of_change(jnp.array([1]))
    np.testing.assert_allclose(mean[0, :3], change.mean(axis=0)[:3], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(std[0, :3], change.std(axis=0)[:3], rtol=1e-3)


def test_too_short_a_batch_is_refused():
    with pytest.raises(ConfigError, match="at least 5"):
        MODEL.observe(batch_of(length=4), key=None)


def test_encoders_read_changes_as_they_are_scaled_actions_and_zeros_in_unused_slots():
    change, action = jnp.arange(1.0, OBS + 1), jnp.array([0.5, -0.5, 0.25])
    move = jnp.concatenate([change, action])[None]
    history = empty_history((1,), 3, OBS + ACT).pushed(move, jnp.ones(1, bool))
    body = jnp.zeros(1, jnp.int32)
    read = MODEL.members.read(history, jnp.ones((1, ACT)), body).reshape(3, OBS + ACT)
    np.testing.assert_array_equal(read[0, :OBS], change)
    mean, std = MODEL.members.scales.of_action(body)
    assert np.all(np.abs(mean) > 1e-3)
    np.testing.assert_allclose(read[0, OBS:], (action - mean[0]) / std[0], rtol=1e-5)
    assert not np.any(read[1:])
