"""A model that observes the last reward and the time."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_models as small

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.models.rssm_parts import RSSMConfig
from mrcom.models.timed import TimedConfig, TimedRSSM, elapsed
from mrcom.nn.mlp import LayerKind

RSSM = RSSMConfig(
    deter=8, hidden=8, stoch=3, classes=4, units=8, coder_units=10, encoder_layers=1,
    decoder_layers=1, prior_layers=1, posterior_layers=1, reward_bins=15, observe_reward=False,
    cell="gru", start="learned", reward_head="symlog_bins",
    layers=LayerKind("layer", 1e-3, bias=False),
)  # fmt: skip
CONFIG = TimedConfig(RSSM, total_steps=5)
LENGTH = 8


def model_of(config=CONFIG):
    """With a start that is not 0, and a posterior that a small difference can change."""
    model = TimedRSSM(config, small.OBS, small.ACT, key=root_key(0))
    where = lambda m: (m.rssm.start.vector, m.rssm.posterior_net.out.weight)
    vector = jax.random.normal(root_key(3), (RSSM.deter,))
    return eqx.tree_at(where, model, (vector, 30 * where(model)[1]))


MODEL = model_of()


def batch_of(seed=1):
    batch = small.batch_of(seed, length=LENGTH)
    return eqx.tree_at(lambda b: b.first, batch, batch.first.at[:, 0].set(True))


@eqx.filter_jit
def observe(batch, model=MODEL, key=None):
    return model.observe(batch, key=key)


@eqx.filter_jit
def correct(state, obs, action, reward, model=MODEL):
    return model.correct(state, obs, action, reward, key=None)[0]


def filtered(batch, model=MODEL):
    """State after every step, one at a time, as while acting."""
    state, states = (
        model.initial(small.prompt_of(batch), batch.obs_mask, batch.act_mask, batch.body),
        [],
    )
    for t in range(batch.reward.shape[1]):
        # While acting nothing led to the first step.
        action = batch.action[:, t] if t else jnp.zeros_like(batch.action[:, 0])
        state = correct(state, batch.obs[:, t], action, batch.reward[:, t], model)
        states.append(state)
    return states


def test_time_by_hand():
    first = jnp.array([[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 1, 0]], bool)
    wanted = [[0, 1, 2, 3, 4], [0, 1, 0, 1, 2], [0, 1, 2, 0, 1]]
    np.testing.assert_array_equal(elapsed(first), wanted)


def test_what_is_observed_besides_by_hand():
    extras = MODEL.extras(jnp.array([0.5, 0.25, 1.0]), jnp.array([0, 4, 9]))
    # 0/5, 4/5, and 9/5, which is past the end.
    np.testing.assert_allclose(extras, [[0.5, 0.0], [0.25, 0.8], [1.0, 1.0]])


def test_time_in_a_batch_is_time_while_acting():
    batch = batch_of()
    posterior = observe(batch)
    for t, state in enumerate(filtered(batch)):
        np.testing.assert_array_equal(state.steps, posterior.steps[:, t] + 1)
        np.testing.assert_array_equal(state.steps, t + 1)


def test_correcting_step_by_step_is_observing_the_sequence():
    batch = batch_of()
    features = observe(batch).feature
    for t, state in enumerate(filtered(batch)):
        np.testing.assert_allclose(MODEL.feature(state), features[:, t], atol=2e-5)


def test_a_state_found_in_a_sequence_goes_on_like_the_one_that_acted():
    batch = batch_of()
    index = jnp.array([3, LENGTH + 3])
    found, lived = MODEL.states_at(observe(batch), index), filtered(batch)[3]
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(lived), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5)


@pytest.mark.parametrize("what", ["reward", "time"])
def test_reward_and_time_are_encoded_and_decoded(what):
    batch = batch_of()
    if what == "reward":
        other = eqx.tree_at(lambda b: b.reward, batch, batch.reward + 2.0)
    else:  # an episode that began three steps later is three steps younger
        other = eqx.tree_at(lambda b: b.first, batch, batch.first.at[:, 0].set(False))
        late = lambda b: jnp.roll(b.first, 3, axis=1).at[:, 0].set(False)
        other = eqx.tree_at(lambda b: b.first, other, late(batch))
    one, two = observe(batch).rssm.token, observe(other).rssm.token
    assert not np.allclose(one[:, -1], two[:, -1], atol=1e-4)
    assert MODEL.decode_whole(observe(batch).feature).shape[-1] == small.OBS + 2


def test_without_the_reward_only_the_time_is_seen():
    config = dataclasses.replace(CONFIG, observe_reward=False)
    model, batch = model_of(config), batch_of()
    louder = eqx.tree_at(lambda b: b.reward, batch, batch.reward + 2.0)
    one, two = observe(batch, model).feature, observe(louder, model).feature
    np.testing.assert_array_equal(one, two)
    assert model.decode_whole(one).shape[-1] == small.OBS + 1


def test_an_observation_is_decoded_without_what_stands_beside_it():
    feature = observe(batch_of()).feature
    whole = MODEL.decode_whole(feature)
    np.testing.assert_array_equal(MODEL.decode(feature), whole[..., : small.OBS])


def test_padded_entries_change_nothing():
    batch = batch_of()
    one, two = observe(batch), observe(small.with_padding(batch, 9.0))
    np.testing.assert_array_equal(one.feature, two.feature)


def test_the_memory_goes_on_where_a_body_starts_anew():
    """Only a meta-episode's own first step forgets what came before."""
    batch, border = batch_of(), 4
    other = eqx.tree_at(lambda b: b.obs, batch, batch.obs.at[:, 1].add(2.0))
    after = lambda b: np.asarray(observe(b).rssm.deter[:, border:])
    assert not np.allclose(after(batch), after(other), atol=1e-4)
    begins = lambda b: eqx.tree_at(lambda x: x.first, b, b.first.at[:, border].set(True))
    np.testing.assert_array_equal(after(begins(batch)), after(begins(other)))


def test_the_learned_start_has_a_gradient_and_its_sample_is_the_priors_mode():
    def total(model):
        return jnp.sum(model.observe(batch_of(), key=None).feature ** 2)

    grads = eqx.filter_jit(eqx.filter_grad(total))(MODEL)
    assert np.abs(grads.rssm.start.vector).min() > 0
    state = MODEL.initial(
        small.prompt_of(batch_of()), jnp.ones((2, small.OBS)), jnp.ones((2, small.ACT))
    )
    np.testing.assert_allclose(state.rssm.deter[0], np.tanh(MODEL.rssm.start.vector), rtol=1e-6)
    logits = MODEL.rssm.prior_net(state.rssm.deter[0]).reshape(RSSM.stoch, RSSM.classes)
    np.testing.assert_array_equal(np.argmax(state.rssm.stoch[0], -1), np.argmax(logits, -1))


def test_a_reward_shown_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        TimedConfig(dataclasses.replace(RSSM, observe_reward=True))
