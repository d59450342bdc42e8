"""The recurrent state-space model: filtering, forgetting, going on."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import ACT, OBS, batch_of, prompt_of, with_padding

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.models.rssm import RSSM
from mrcom.models.rssm_parts import RSSMConfig, packed, unpacked
from mrcom.models.world_model import imagine

CONFIG = RSSMConfig(
    deter=16, groups=4, hidden=8, stoch=3, classes=4, units=12, reward_bins=15, discount=0.9
)
KEY = root_key(5)


def model_with(**changes):
    """A model whose reward head does not start at 0."""
    model = RSSM(dataclasses.replace(CONFIG, **changes), OBS, ACT, key=root_key(0))
    drawn = jax.random.normal(root_key(9), model.reward_head.net.out.weight.shape)
    return eqx.tree_at(lambda m: m.reward_head.net.out.weight, model, drawn)


MODEL, BATCH = model_with(), batch_of()
observe = eqx.filter_jit(lambda model, batch, key=KEY: model.observe(batch, key=key))


def begun(batch, *at):
    """The batch with episodes that start at some steps."""
    first = jnp.zeros(batch.first.shape, bool)
    for step in at:
        first = first.at[:, step].set(True)
    return eqx.tree_at(lambda b: b.first, batch, first)


def steps(batch, which):
    per_step = lambda b: (b.obs, b.action, b.reward, b.is_terminal, b.first, b.valid)
    return eqx.tree_at(per_step, batch, [x[:, which] for x in per_step(batch)])


def test_filtering_step_by_step_equals_observing_the_sequence():
    batch = begun(BATCH, 0)
    whole = observe(MODEL, batch, None)
    state = MODEL.initial(prompt_of(batch), batch.obs_mask, batch.act_mask, batch.body)
    for t in range(batch.reward.shape[1]):
        action = jnp.where(batch.first[:, t, None], 0.0, batch.action[:, t])
        seen = batch.obs[:, t], action, batch.reward[:, t]
        state, _ = MODEL.correct(state, *seen, key=None)
        np.testing.assert_allclose(MODEL.feature(state), whole.feature[:, t], atol=1e-5)


def test_a_first_step_forgets_everything_and_the_action_that_led_there():
    batch = begun(BATCH, 4)
    other = eqx.tree_at(
        lambda b: (b.obs, b.action),
        batch,
        (batch.obs.at[:, :4].add(1.0), batch.action.at[:, :5].add(0.5)),
    )
    one, two = observe(MODEL, batch), observe(MODEL, other)
    np.testing.assert_array_equal(one.feature[:, 4:], two.feature[:, 4:])
    assert not np.allclose(one.feature[:, :4], two.feature[:, :4])
    later = eqx.tree_at(lambda b: b.action, batch, batch.action.at[:, 5].add(0.5))
    assert not np.allclose(one.deter[:, 5], observe(MODEL, later).deter[:, 5])


def test_a_window_in_two_parts_goes_on_from_what_was_stored():
    """Exactly up to the precision of half floats."""
    batch = begun(BATCH, 0)
    whole = observe(MODEL, batch, None)
    kept = {
        "deter": whole.deter[:, 4].astype(jnp.float16),
        "stoch": packed(whole.stoch[:, 4]),
    }
    part = dataclasses.replace(steps(batch, slice(5, None)), stored=kept)
    np.testing.assert_allclose(observe(MODEL, part, None).deter, whole.deter[:, 5:], atol=1e-3)
    fresh = observe(MODEL, dataclasses.replace(part, stored={}), None)
    assert not np.allclose(fresh.deter, whole.deter[:, 5:], atol=1e-2)


def test_stored_zeros_are_an_episodes_start():
    zeros = {
        "deter": jnp.zeros((2, CONFIG.deter), jnp.float16),
        "stoch": jnp.zeros((2, CONFIG.stoch), jnp.uint8),
    }
    batch = eqx.tree_at(lambda b: b.action, BATCH, BATCH.action.at[:, 0].set(0.0))
    stored = observe(MODEL, dataclasses.replace(begun(batch), stored=zeros))
    np.testing.assert_array_equal(stored.feature, observe(MODEL, begun(batch, 0)).feature)


def test_samples_are_packed_without_loss_and_nothing_stays_nothing():
    stoch = jax.nn.one_hot(jnp.array([[0, 3, 2]]), 4)
    np.testing.assert_array_equal(packed(stoch), [[1, 4, 3]])
    np.testing.assert_array_equal(unpacked(packed(stoch), 4), stoch)
    np.testing.assert_array_equal(unpacked(packed(0 * stoch), 4), 0 * stoch)


def test_padded_entries_change_nothing():
    loud, quiet = (observe(MODEL, with_padding(BATCH, value)) for value in (7.0, 0.0))
    np.testing.assert_array_equal(loud.feature, quiet.feature)
    state = MODEL.states_at(quiet, jnp.array([0, 10]))
    action = jnp.ones((2, ACT))
    after, _ = MODEL.predict(state, action, key=KEY)
    padded, _ = MODEL.predict(state, action.at[1, 2].set(9.0), key=KEY)
    np.testing.assert_array_equal(MODEL.feature(after), MODEL.feature(padded))


def test_an_action_beyond_one_counts_as_one_and_passes_a_gradient():
    state = MODEL.states_at(observe(MODEL, BATCH), jnp.array([3]))
    at = lambda size: jnp.array([[0.0, 0.3, -0.2]]) + size * jnp.array([[1.0, 0.0, 0.0]])
    far = jax.jit(lambda size: MODEL.predict(state, at(size), key=None)[0].deter)
    np.testing.assert_allclose(far(1.0), far(3.0), atol=1e-6)
    assert not np.allclose(far(1.0), far(0.5), atol=1e-4)
    grad = jax.grad(lambda size: jnp.sum(far(size)))
    np.testing.assert_allclose(grad(4.0), grad(1.0) / 4, rtol=1e-3)


def test_the_reward_is_an_input_only_where_it_may_be_seen():
    louder = eqx.tree_at(lambda b: b.reward, BATCH, BATCH.reward + 1)
    assert not np.allclose(observe(MODEL, BATCH).feature, observe(MODEL, louder).feature)
    blind = model_with(observe_reward=False)
    np.testing.assert_array_equal(observe(blind, BATCH).feature, observe(blind, louder).feature)


def test_the_discount_is_taken_out_of_what_the_continue_head_was_taught():
    feature = observe(MODEL, BATCH).feature
    sure = eqx.tree_at(lambda m: m.cont_head.net.out.bias, MODEL, jnp.full(1, 40.0))
    np.testing.assert_allclose(sure.cont(feature), 1.0)
    taught = jax.nn.sigmoid(MODEL.cont_logit(feature))
    np.testing.assert_allclose(MODEL.cont(feature), np.minimum(taught / 0.9, 1.0), rtol=1e-6)


def test_a_dream_begins_in_a_filtered_state_and_follows_the_prior():
    posterior = observe(MODEL, BATCH)
    state = MODEL.states_at(posterior, jnp.array([3, 12]))
    np.testing.assert_array_equal(state.deter[1], posterior.deter[1, 2])
    still = lambda feature, key: (jnp.zeros((2, ACT)), None)
    dream = imagine(MODEL, state, still, horizon=3, key=KEY)
    np.testing.assert_array_equal(dream.feature[:, 0], MODEL.feature(state))
    stoch = dream.feature[..., : CONFIG.flat_stoch].reshape(2, 4, CONFIG.stoch, CONFIG.classes)
    np.testing.assert_allclose(stoch.sum(-1), 1.0, atol=1e-6)
    assert MODEL.decode(dream.feature).shape == (2, 4, OBS)


@pytest.mark.parametrize("name", ["cell", "start"])
def test_an_unknown_part_is_refused(name):
    with pytest.raises(ConfigError, match=f"RSSMConfig.{name}"):
        dataclasses.replace(CONFIG, **{name: "zeroes"})


def test_an_even_number_of_bins_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="15 and 17"):
        dataclasses.replace(CONFIG, reward_bins=16)
