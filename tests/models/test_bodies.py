"""What a stem and an output layer of each body's own may change, and what they may not."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import (
    ACT,
    CONFIG,
    LENGTH,
    OBS,
    ROWS,
    TRAINED,
    WINDOW,
    batch_of,
    model_with,
    prompt_of,
    with_padding,
)

from mrcom.agents.mrcom import MRCOM, MrCom
from mrcom.agents.mrcom_config import SIZES
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Layout, Masks, Prompt
from mrcom.models.latent import ContextualConfig, Noise
from mrcom.models.world_model import imagine

MODEL, BATCH, KEY = model_with(bodies="stems", stem_units=OBS), batch_of(), root_key(5)
observe = eqx.filter_jit(lambda model, batch, key: model.observe(batch, key=key))
predict = eqx.filter_jit(lambda model, state, action, key: model.predict(state, action, key=key))
initial = eqx.filter_jit(lambda model, *given: model.initial(*given))
update = eqx.filter_jit(lambda model, *given: model.update(*given))


def begin(model, batch=BATCH):
    return initial(model, prompt_of(batch), batch.obs_mask, batch.act_mask, batch.body)


def at(batch, step, noise=None):
    return batch.obs[:, step], batch.action[:, step], batch.reward[:, step], noise


def everything(model, batch=BATCH):
    """What filtering, one step of it, dreaming and decoding make of a batch, body aside."""
    posterior = observe(model, batch, KEY)
    state, _ = update(model, begin(model, batch), *at(batch, WINDOW))
    dreamt, seen = predict(model, state, batch.action[:, WINDOW + 1], KEY)
    decoded = model.decode(posterior.feature, batch.body)
    return (
        posterior.feature,
        posterior.context,
        model.feature(dreamt),
        dreamt.context,
        decoded,
        seen,
    )


def assert_close(left, right, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)


def test_padded_entries_change_nothing():
    assert_close(everything(MODEL), everything(MODEL, with_padding(BATCH, 7.0)), rtol=0, atol=0)
    assert not jnp.any(everything(MODEL)[-1].obs[1, 3:])


def test_filtering_a_sequence_equals_step_by_step():
    draw = lambda seed, width: jax.random.normal(root_key(seed), (ROWS, TRAINED, width))
    noise = Noise(draw(1, CONFIG.stoch), draw(2, CONFIG.aux))
    posterior, state = eqx.filter_jit(MODEL.filter)(BATCH, noise), begin(MODEL)
    states_at = eqx.filter_jit(MODEL.states_at)
    for t in range(WINDOW, LENGTH):
        step = t - WINDOW
        state, _ = update(
            MODEL, state, *at(BATCH, t, jax.tree.map(lambda x, s=step: x[:, s], noise))
        )
        found = states_at(posterior, jnp.arange(ROWS) * TRAINED + step)
        assert_close(state, found, rtol=1e-5, atol=1e-5)


def test_stems_that_copy_and_equal_output_layers_are_the_padded_model():
    # Here a stem has as many outputs as an observation, so two of an action's stay 0.
    padded, copy = model_with(), jnp.eye(OBS)
    stems = eqx.tree_at(
        lambda m: (m.bodies.obs_stem.weight, m.bodies.action_stem.weight, m.decoder.out.weight),
        MODEL,
        (
            jnp.stack([copy] * 2),
            jnp.stack([copy[:ACT]] * 2),
            jnp.stack([padded.decoder.out.weight] * 2),
        ),
    )
    reading = lambda m: (
        m.context.embed.weight,
        m.dynamics.stoch_prior.hidden[0].weight,
        m.dynamics.stoch_posterior.hidden[0].weight,
        m.dynamics.cell.inputs.weight,
        m.dynamics.aux_posterior.inputs.weight,
    )
    width, idle = CONFIG.context.width, jnp.arange(ACT, OBS)
    first = (OBS, width, width, CONFIG.stoch)  # where a layer's inputs hold the action
    short = [
        jnp.delete(weight, start + idle, axis=0)
        for weight, start in zip(reading(stems), first, strict=False)
    ]
    padded = eqx.tree_at(reading, padded, (*short, reading(stems)[-1]))
    assert_close(everything(stems), everything(padded), rtol=1e-4, atol=1e-5)


def own_layers(model):
    stems = model.bodies
    return stems.obs_stem, stems.action_stem, model.decoder.out


@eqx.filter_jit
@eqx.filter_grad
def gradient(model, batch, counts):
    """Of something that all of a model's outputs enter, in the rows that count."""
    outputs = jax.tree.leaves(everything(model, batch))
    return sum(counts @ jnp.sum(jnp.sin(leaf.reshape(ROWS, -1)), axis=1) for leaf in outputs)


def test_what_happens_to_one_body_moves_no_other_bodys_layers():
    for row in range(ROWS):
        found = own_layers(gradient(MODEL, BATCH, jnp.eye(ROWS)[row]))
        for leaf in jax.tree.leaves(found):
            assert jnp.any(leaf[row]) and not jnp.any(leaf[1 - row])


def test_another_bodys_data_change_nothing_in_this_bodys_gradient():
    other = eqx.tree_at(lambda b: (b.obs, b.reward), BATCH, replace_fn=lambda x: x.at[1].add(0.5))
    both = jnp.ones(ROWS)
    pair = [jax.tree.leaves(own_layers(gradient(MODEL, b, both))) for b in (BATCH, other)]
    for before, after in zip(*pair, strict=True):
        assert jnp.array_equal(before[0], after[0]) and not jnp.array_equal(before[1], after[1])


def test_a_dream_keeps_its_body_and_depends_on_it():
    state = MODEL.states_at(observe(MODEL, BATCH, KEY), jnp.array([TRAINED, 0, TRAINED + 3]))
    assert jnp.array_equal(state.body, jnp.array([1, 0, 1]))
    act = lambda feature, key: (jnp.tanh(feature[:, :ACT]), None)
    dream = eqx.filter_jit(lambda state: imagine(MODEL, state, act, horizon=3, key=KEY))
    one = dream(state)
    two = dream(dataclasses.replace(state, body=1 - state.body))
    assert jnp.array_equal(one.last.body, state.body)
    changed = jnp.any(one.feature != two.feature, axis=-1)
    assert jnp.all(changed[:, 1:]) and not jnp.any(changed[:, 0])


def test_a_padded_model_remembers_no_body():
    padded = model_with()
    assert begin(padded).body is None and observe(padded, BATCH, KEY).body is None


def test_stems_without_a_body_are_refused():
    with pytest.raises(ConfigError, match=r"bodies='stems' needs .* pass `body`"):
        MODEL.initial(prompt_of(BATCH), BATCH.obs_mask, BATCH.act_mask)
    with pytest.raises(ConfigError, match="got None"):
        MODEL.decode(jnp.zeros((1, CONFIG.feature)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bodies": "stem"}, "ContextualConfig.bodies 'stem'. Did you mean 'stems'"),
        ({"stem_units": 0}, "stem_units=0 must be at least 1; the nearest is 1"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        ContextualConfig(**change)


@pytest.mark.learns
def test_the_method_learns_acts_and_predicts_with_stems():
    size = SIZES["debug"]
    model = dataclasses.replace(size.model, bodies="stems", stem_units=8)
    size = dataclasses.replace(size, model=model, learning_rate=3e-3)
    agent = MrCom(MRCOM, size, Layout(("long", "short"), OBS, ACT), 4)
    window, rows = agent.windows.context, agent.windows.scenarios
    batch = batch_of(rows=rows, length=window + agent.windows.length)
    fresh, state, losses = agent.init(root_key(0)), agent.init(root_key(0)), []
    for _ in range(8):
        state, metrics = agent.update(state, batch, KEY)
        losses.append(float(metrics["loss"]))
    assert np.all(np.isfinite(losses)) and losses[-1] < 0.9 * losses[0]
    pairs = zip(*(jax.tree.leaves(own_layers(s.model)) for s in (fresh, state)), strict=True)
    assert all(jnp.any(a[body] != b[body]) for a, b in pairs for body in (0, 1))

    arrays = (batch.obs_mask, batch.act_mask, batch.body, batch.told)
    masks = Masks(*(np.asarray(array) for array in arrays))
    prompt = Prompt(*(x[:, :window] for x in (batch.obs, batch.action, batch.reward, batch.valid)))
    carry = agent.start(state, masks, prompt)
    action, carry = agent.act(state, carry, *at(batch, window)[:3], KEY)
    dream = agent.dream_from(state, carry.model, horizon=2, key=KEY)(agent.actor(state))
    obs, _ = agent.predict_open_loop(state, batch, horizon=3, num_samples=2, key=KEY)
    assert obs.shape == (2, rows, 3, OBS) and not jnp.any(obs[:, 1::2, :, 3:])
    assert all(jnp.all(jnp.isfinite(x)) for x in (action, obs, dream.feature, dream.reward))
