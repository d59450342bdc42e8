import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import ACT, CONFIG, TRAINED, batch_of, model_with

from mrcom.core.rng import named_keys, root_key
from mrcom.models.world_model import AbstractWorldModel, imagine

MODEL, BATCH, KEY = model_with(), batch_of(), root_key(5)
POSTERIOR = eqx.filter_jit(lambda m: m.observe(BATCH, key=KEY))(MODEL)
STATE = MODEL.states_at(POSTERIOR, jnp.array([3, 8, 0]))
WEIGHT = jax.random.normal(root_key(6), (CONFIG.feature, ACT))


def policy(feature, key, weight=WEIGHT):
    noise = 0.1 * jax.random.normal(key, (*feature.shape[:-1], ACT))
    return jnp.tanh(feature @ weight + noise), jnp.sum(noise, axis=-1)


@eqx.filter_jit
def dream_of(model, state, weight=WEIGHT, dream_context="push", horizon=5):
    act = lambda feature, key: policy(feature, key, weight)
    return imagine(model, state, act, horizon=horizon, key=KEY, dream_context=dream_context)


def test_an_interface_cannot_be_made():
    with pytest.raises(TypeError):
        AbstractWorldModel()


@pytest.mark.parametrize("dream_context", ["push", "frozen"])
def test_a_dream_equals_acting_and_predicting_in_a_loop(dream_context):
    dream, state = dream_of(MODEL, STATE, dream_context=dream_context), STATE
    predict = eqx.filter_jit(
        lambda m, s, a, k: m.predict(s, a, key=k, dream_context=dream_context)[0]
    )
    np.testing.assert_allclose(dream.feature[:, 0], MODEL.feature(state))
    for step in range(5):
        keys = named_keys(jax.random.fold_in(KEY, step), "act", "predict")
        action, aux = policy(MODEL.feature(state), keys.act)
        state = predict(MODEL, state, action, keys.predict)
        np.testing.assert_allclose(dream.action[:, step], action, atol=1e-5)
        np.testing.assert_allclose(dream.aux[:, step], aux, atol=1e-6)
        np.testing.assert_allclose(dream.feature[:, step + 1], MODEL.feature(state), atol=1e-5)
    np.testing.assert_allclose(dream.last.context, state.context, atol=1e-5)


def test_a_frozen_context_stays_and_a_pushed_one_moves():
    frozen, pushed = (dream_of(MODEL, STATE, dream_context=c).last for c in ("frozen", "push"))
    assert jnp.array_equal(frozen.context, STATE.context)
    assert not jnp.any(jnp.all(jnp.isclose(pushed.context, STATE.context), axis=-1))


def test_after_a_window_of_dreamt_steps_only_the_dream_is_in_the_context():
    # Reality's last steps are exchanged for others, the filtered states kept: the memory that
    # is left after m dreamt steps no longer tells which it was.
    other = eqx.tree_at(lambda s: s.memory, STATE, MODEL.states_at(POSTERIOR, jnp.arange(3)).memory)
    constant = lambda feature, key: (jnp.zeros((3, ACT)), None)

    @eqx.filter_jit
    def pushed(memory):
        for _ in range(4):
            obs, reward = jnp.ones((3, 5)), jnp.ones(3)
            context, memory = MODEL.context.push(memory, obs, constant(None, None)[0], reward)
        return context

    assert jnp.array_equal(pushed(STATE.memory), pushed(other.memory))


def test_padded_actions_do_nothing_in_a_dream():
    loud = lambda feature, key: (policy(feature, key)[0].at[1, 2].set(9.0), None)
    plain = lambda feature, key: (policy(feature, key)[0], None)
    state = MODEL.states_at(POSTERIOR, jnp.array([0, TRAINED]))
    run = eqx.filter_jit(lambda act: imagine(MODEL, state, act, horizon=3, key=KEY).feature)
    assert STATE.act_mask.shape == (3, ACT) and state.act_mask[1, 2] == 0
    assert jnp.array_equal(run(loud), run(plain))


def test_gradients_flow_from_the_end_of_a_dream_to_its_first_action():
    def last_feature(first):
        act = lambda feature, key: (first, None)
        dream = imagine(MODEL, STATE, act, horizon=1, key=KEY)
        rest = lambda feature, key: (jnp.zeros((3, ACT)), None)
        return jnp.sum(imagine(MODEL, dream.last, rest, horizon=3, key=KEY).feature[:, -1])

    grad = eqx.filter_jit(jax.grad(last_feature))(jnp.zeros((3, ACT)))
    assert jnp.all(jnp.any(grad * STATE.act_mask != 0, axis=-1))
    assert not jnp.any(grad * (1 - STATE.act_mask))


@pytest.mark.parametrize("dream_context", ["push", "frozen"])
def test_a_dreams_gradient_equals_finite_differences(dream_context):
    direction = jax.random.normal(root_key(7), WEIGHT.shape)

    def value(amount):
        weight = 0.3 * WEIGHT + amount * direction
        return jnp.mean(dream_of(MODEL, STATE, weight, dream_context, horizon=3).feature ** 2)

    exact = jax.grad(value)(0.0)
    numeric = (value(3e-3) - value(-3e-3)) / 6e-3
    np.testing.assert_allclose(exact, numeric, rtol=0.05)
    assert abs(exact) > 1e-4


def test_dreams_of_rows_do_not_know_each_other():
    alone = MODEL.states_at(POSTERIOR, jnp.array([3, 9, 1]))
    quiet = lambda feature, key: (jnp.tanh(feature @ WEIGHT), None)
    run = eqx.filter_jit(lambda s: imagine(MODEL, s, quiet, horizon=3, key=KEY).feature[0])
    np.testing.assert_allclose(run(alone), run(STATE), atol=1e-6)
