"""Errors of the latent state: what is drawn, where it is added, and what reads it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_models as small

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.models.latent_error import NONE, PRESETS, LatentError, latent_error
from mrcom.models.rssm import RSSM
from mrcom.models.rssm_parts import RSSMConfig
from mrcom.models.timed import TimedConfig, TimedRSSM

KEY = root_key(0)
RECURRENT = RSSMConfig(deter=16, hidden=16, stoch=3, classes=4, units=16)
UNTOLD = dataclasses.replace(RECURRENT, observe_reward=False)
BATCH = small.batch_of()


def model_of(name):
    if name == "contextual":
        return small.model_with()
    if name == "timed":
        return TimedRSSM(TimedConfig(UNTOLD), small.OBS, small.ACT, key=KEY)
    return RSSM(RECURRENT, small.OBS, small.ACT, key=KEY)


MODELS = ("contextual", "rssm", "timed")


@eqx.filter_jit
def observe(model, error):
    return model.observe(BATCH, key=KEY, error=error)


def samples(model, posterior):
    """Of every step: all sampled entries, and the memory."""
    feature, parts, at = posterior.feature, {}, 0
    for name, width in model.blocks.items():
        parts[name] = feature[..., at : at + width]
        at += width
    sampled = [parts[name] for name in ("stoch", "aux") if name in parts]
    return jnp.concatenate(sampled, axis=-1), parts["deter"]


def test_no_error_draws_nothing():
    assert NONE.draw(KEY, (2, 3), 4) is None
    assert (
        LatentError(drift=(1.0, 1.0)).draw(KEY, (2, 3), 4).tolist() == np.ones((2, 3, 4)).tolist()
    )


@pytest.mark.parametrize("name", MODELS)
def test_without_an_error_every_number_is_as_before_bit_for_bit(name):
    model = model_of(name)
    plain = eqx.filter_jit(lambda m: m.observe(BATCH, key=KEY))(model)
    same = observe(model, NONE.draw(KEY, (2, 6), model.num_sampled))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", MODELS)
def test_an_error_of_one_step_is_in_its_sample_and_in_what_follows_from_it(name):
    model = model_of(name)
    length = observe(model, None).feature.shape[1]
    error = jnp.zeros((2, length, model.num_sampled)).at[:, 3].set(0.25)
    plain, wrong = (samples(model, observe(model, e)) for e in (None, error))
    apart = [np.abs(np.asarray(a - b)).max(axis=(0, 2)) for a, b in zip(plain, wrong, strict=True)]
    assert np.all(apart[0][:3] == 0) and np.all(apart[1][:3] == 0), "nothing knows it beforehand"
    np.testing.assert_allclose(wrong[0][:, 3] - plain[0][:, 3], 0.25, atol=1e-5)
    # The contextual model's memory reads u of its own step; a recurrent one that of the last.
    now = 3 if name == "contextual" else 4
    assert np.all(apart[1][:now] == 0) and apart[1][now] > 0


def test_expected_states_have_the_error_too():
    model, drift = model_of("contextual"), 2.0
    plain = observe(model, None)
    shift = jnp.full((*plain.feature.shape[:2], model.num_sampled), drift)
    wrong = observe(model, shift)
    stoch, deter, aux = model.config.split(wrong.expected)
    np.testing.assert_allclose(stoch - model.config.split(plain.expected)[0], drift, atol=1e-6)
    np.testing.assert_array_equal(deter, wrong.deter)
    np.testing.assert_allclose(aux - wrong.aux_posterior.mean, drift, atol=1e-6)
    # Where no sample is drawn, expected states are those that the model goes on from.
    drawn = eqx.filter_jit(lambda m: m.filter(BATCH, None, shift))(model)
    np.testing.assert_allclose(drawn.expected, drawn.feature, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_acting_adds_the_error_where_learning_does(name):
    model = model_of(name)
    prompt = small.prompt_of(BATCH)
    start = BATCH.obs_mask, BATCH.act_mask, BATCH.body
    state = eqx.filter_jit(model.initial)(prompt, *start)
    seen = BATCH.obs[:, 4], BATCH.action[:, 4], BATCH.reward[:, 4]
    shift = jnp.full((2, model.num_sampled), 0.25)
    correct, predict = eqx.filter_jit(model.correct), eqx.filter_jit(model.predict)
    plain, _ = correct(state, *seen, key=None)
    wrong, _ = correct(state, *seen, key=None, error=shift)
    feature = eqx.filter_jit(model.feature)
    step = lambda now: samples(model, type("P", (), {"feature": feature(now)[:, None]}))
    (a, memory), (b, other) = step(plain), step(wrong)
    np.testing.assert_allclose(b - a, 0.25, atol=1e-5)
    assert bool(jnp.any(memory != other)) == (name == "contextual")
    following = [predict(now, seen[1], key=None)[0] for now in (plain, wrong)]
    assert bool(jnp.any(step(following[0])[1] != step(following[1])[1]))


def test_mean_and_variance_are_those_asked_for():
    drawn = LatentError(drift=(2.0, 2.0), variance=(5.0, 5.0)).draw(KEY, (400,), 100)
    np.testing.assert_allclose(drawn.mean(), 2.0, atol=0.05)
    np.testing.assert_allclose(drawn.var(), 5.0, rtol=0.03)


def test_a_range_is_drawn_from_anew_at_every_step_for_all_entries_alike():
    drawn = np.asarray(LatentError(drift=(0.0, 5.0)).draw(KEY, (500, 4), 3))
    assert np.all(drawn == drawn[..., :1])
    assert 0 <= drawn.min() < 0.1 and 4.9 < drawn.max() <= 5.0
    np.testing.assert_allclose(drawn.mean(), 2.5, atol=0.15)
    spread = np.asarray(PRESETS["walker-drift"].draw(KEY, (2000,), 50))
    # Variance of N(mu, s2) with s2 ~ U[0, 5], within a step: 2.5 in the mean.
    np.testing.assert_allclose(spread.var(axis=1).mean(), 2.5, rtol=0.1)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("none", NONE),
        ("walker", LatentError((0.0, 0.0), (5.0, 5.0))),
        ("walker-drift", LatentError((0.0, 5.0), (0.0, 5.0))),
        ("quadruped", LatentError((0.0, 0.0), (0.1, 0.1))),
        ("0,5", LatentError((0.0, 0.0), (5.0, 5.0))),
        ("-1..5,0.1", LatentError((-1.0, 5.0), (0.1, 0.1))),
    ],
)
def test_an_error_is_read_from_its_name_or_its_numbers(text, error):
    assert latent_error(text) == error
    assert latent_error(error.text) == error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("walkr", "Did you mean 'walker'"),
        ("1", "Unknown latent error '1'"),
        ("1,2,3", "such as 0,5"),
        ("0,-1", r"variance=\(-1.0, -1.0\) must be 0 or more"),
        ("5..0,1", "the lower one first"),
        ("nan,1", "finite"),
    ],
)
def test_an_error_that_cannot_be_is_refused_in_one_sentence(text, said):
    with pytest.raises(ConfigError, match=said):
        latent_error(text)
