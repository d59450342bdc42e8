import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import (
    ACT,
    CONFIG,
    LENGTH,
    ROWS,
    TRAINED,
    WINDOW,
    batch_of,
    model_with,
    prompt_of,
    with_padding,
)

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt
from mrcom.models.latent import ContextualConfig, Noise
from mrcom.objectives.meta_value import value_consistency

BATCH, KEY = batch_of(), root_key(5)
PARTS = [
    ("stoch", "deter", "aux", "context"),
    ("stoch", "aux", "context"),
    ("stoch", "deter", "context"),
    ("stoch", "deter", "aux"),
    ("stoch", "deter", "aux", "context", "reference"),
]
observe = eqx.filter_jit(lambda model, batch, key: model.observe(batch, key=key))
predict = eqx.filter_jit(lambda model, state, action, key: model.predict(state, action, key=key))
initial = eqx.filter_jit(lambda model, *given: model.initial(*given))
states_at = eqx.filter_jit(lambda model, *given: model.states_at(*given))
update = eqx.filter_jit(lambda model, *given: model.update(*given))


def begin(model, batch=BATCH):
    return initial(model, prompt_of(batch), batch.obs_mask, batch.act_mask)


def filtered(model, batch, noise):
    """States after each trained step, one step after the other."""
    state, states = begin(model, batch), []
    for t in range(WINDOW, LENGTH):
        at = None if noise is None else jax.tree.map(lambda x, t=t: x[:, t - WINDOW], noise)
        state, _ = update(model, state, batch.obs[:, t], batch.action[:, t], batch.reward[:, t], at)
        states.append(state)
    return states


def assert_close(left, right, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)


@pytest.mark.parametrize(
    ("parts", "noisy"), [(PARTS[0], False), *((parts, True) for parts in PARTS[:4])]
)
def test_filtering_a_sequence_equals_step_by_step(parts, noisy):
    model = model_with(parts=parts)
    shape = (ROWS, TRAINED)
    draw = lambda seed, width: jax.random.normal(root_key(seed), (*shape, width))
    noise = Noise(draw(1, 4), draw(2, model.config.aux_width)) if noisy else None
    posterior = eqx.filter_jit(lambda m: m.filter(BATCH, noise))(model)
    for t, state in enumerate(filtered(model, BATCH, noise)):
        at = states_at(model, posterior, jnp.arange(ROWS) * TRAINED + t)
        assert_close(state, at, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.feature(state), posterior.feature[:, t], atol=1e-5)


def test_the_prompt_leaves_the_context_after_exactly_one_window_of_real_steps():
    model = model_with()
    changed = eqx.tree_at(lambda b: b.obs, BATCH, BATCH.obs.at[:, :WINDOW].add(1.0))
    pairs = list(zip(filtered(model, BATCH, None), filtered(model, changed, None), strict=True))
    far = [float(jnp.max(jnp.abs(a.context - b.context))) for a, b in pairs]
    assert min(far[: WINDOW - 1]) > 1e-4, "the prompt still counts after m - 1 steps"
    assert max(far[WINDOW - 1 :]) == 0.0


def test_only_the_last_window_of_a_longer_prompt_counts():
    model, long = model_with(), batch_of(length=WINDOW + 3)
    whole = Prompt(long.obs, long.action, long.reward, long.valid)
    last = jax.tree.map(lambda x: x[:, 3:], whole)
    states = [initial(model, prompt, long.obs_mask, long.act_mask) for prompt in (whole, last)]
    assert_close(*states, rtol=1e-4, atol=1e-5)


def test_padded_entries_change_nothing():
    model = model_with(parts=PARTS[4])
    other = with_padding(BATCH, 7.0)
    assert_close(observe(model, BATCH, KEY), observe(model, other, KEY), rtol=0, atol=0)
    state, same = begin(model), begin(model, other)
    assert_close(state, same, rtol=0, atol=0)
    given = lambda b: (b.obs[:, 4], b.action[:, 4], b.reward[:, 4], None)
    state, same = update(model, state, *given(BATCH)), update(model, same, *given(other))
    assert_close(state, same, rtol=0, atol=0)
    step = lambda b: predict(model, state[0], b.action[:, 5], KEY)
    assert_close(step(BATCH), step(other), rtol=0, atol=0)


def test_what_is_dreamt_in_padded_entries_does_not_enter_the_context():
    model = model_with()
    _, statistics = predict(model, begin(model), BATCH.action[:, 4], KEY)
    assert not jnp.any(statistics.obs[1, 3:]) and jnp.all(statistics.obs[1, :3] != 0)


def test_the_stochastic_state_reads_action_and_context_and_no_memory():
    model, state = model_with(), begin(model_with())
    step = lambda state, action: predict(model, state, action, None)[1].stoch.mean
    action = BATCH.action[:, 4]
    plain = step(state, action)
    assert not jnp.allclose(plain, step(state, -action))
    moved = eqx.tree_at(lambda s: s.context, state, state.context + 1.0)
    assert not jnp.allclose(plain, step(moved, action))
    for part in (lambda s: s.deter, lambda s: s.aux, lambda s: s.stoch):
        other = eqx.tree_at(part, state, part(state) + 1.0)
        assert jnp.array_equal(plain, step(other, action))


def test_the_auxiliary_state_reads_context_and_its_past_and_no_action():
    model, state = model_with(), begin(model_with())
    step = lambda state, action: predict(model, state, action, None)[1].aux.mean
    action = BATCH.action[:, 4]
    plain = step(state, action)
    assert jnp.array_equal(plain, step(state, -action))
    for part in (lambda s: s.context, lambda s: s.aux):
        other = eqx.tree_at(part, state, part(state) + 1.0)
        assert not jnp.allclose(plain, step(other, action))


def test_one_step_predictions_equal_predicting_from_the_filtered_state():
    model = model_with()
    posterior = observe(model, BATCH, None)
    ahead = eqx.filter_jit(lambda m, p: m.next_features(p, num_samples=4, key=None))(
        model, posterior
    )
    assert ahead.shape == (1, ROWS, TRAINED - 1, CONFIG.feature)
    for t in range(TRAINED - 1):
        state = states_at(model, posterior, jnp.arange(ROWS) * TRAINED + t)
        following, _ = predict(model, state, BATCH.action[:, WINDOW + t + 1], None)
        np.testing.assert_allclose(ahead[0, :, t], model.feature(following), atol=1e-5)


def test_draws_of_one_step_predictions_have_the_priors_moments():
    model = model_with()
    posterior = observe(model, BATCH, KEY)
    ahead = eqx.filter_jit(lambda m, p: m.next_features(p, num_samples=4000, key=KEY))(
        model, posterior
    )
    stoch, aux = ahead[..., :4], ahead[..., -3:]
    for drawn, prior in ((stoch, posterior.stoch_prior), (aux, posterior.aux_prior)):
        np.testing.assert_allclose(drawn.mean(0), prior.mean[:, 1:], atol=0.1)
        np.testing.assert_allclose(drawn.std(0), prior.std[:, 1:], rtol=0.1)


def test_value_consistency_is_zero_where_the_model_is_exact():
    # Posteriors that ignore the observation and equal the priors: nothing can surprise.
    model = model_with()
    dynamics = model.dynamics
    blind = jnp.concatenate([dynamics.stoch_prior.hidden[0].weight, jnp.zeros((5, 16))])
    inputs = jnp.concatenate([dynamics.aux_prior.inputs.weight, jnp.zeros((5, 8))])
    exact = eqx.tree_at(
        lambda d: (d.stoch_posterior, d.aux_posterior),
        dynamics,
        (dynamics.stoch_prior, dynamics.aux_prior),
    )
    exact = eqx.tree_at(
        lambda d: (d.stoch_posterior.hidden[0].weight, d.aux_posterior.inputs.weight),
        exact,
        (blind, inputs),
    )
    value = lambda feature: jnp.sum(jnp.sin(3.0 * feature), axis=-1)

    @eqx.filter_jit
    def loss(dynamics):
        given = eqx.tree_at(lambda m: m.dynamics, model, dynamics)
        posterior = given.observe(BATCH, key=None)
        ahead = given.next_features(posterior, num_samples=1, key=None)
        return value_consistency(value(posterior.feature[:, 1:]), value(ahead), jnp.ones(()))

    assert jnp.max(loss(exact)) < 1e-9
    assert jnp.mean(loss(dynamics)) > 1e-3


def test_one_step_predictions_teach_priors_cell_and_context():
    model = model_with()

    @eqx.filter_jit
    @eqx.filter_grad
    def grad(model):
        posterior = model.observe(BATCH, key=KEY)
        return jnp.sum(model.next_features(posterior, num_samples=2, key=KEY) ** 2)

    found = grad(model)
    for part in (
        found.dynamics.stoch_prior.out.weight,
        found.dynamics.aux_prior.out.weight,
        found.dynamics.cell.inputs.weight,
        found.dynamics.cell.recurrent.weight,
        found.context.embed.weight,
    ):
        assert jnp.any(part)


@pytest.mark.parametrize("parts", PARTS)
def test_a_part_taken_out_leaves_no_trace_in_the_feature(parts):
    model = model_with(parts=parts)
    width = 4 + 8 * ("deter" in parts) + 3 * ("aux" in parts)
    posterior = observe(model, BATCH, KEY)
    assert model.config.feature == width
    assert posterior.feature.shape == (ROWS, TRAINED, width)
    assert (posterior.reference is not None) is ("reference" in parts)
    assert jnp.all(jnp.isfinite(posterior.feature))


def test_states_of_no_width_have_finite_gradients():
    @eqx.filter_jit
    @eqx.filter_grad
    def grad(model):
        return jnp.sum(model.decode(model.observe(BATCH, key=KEY).feature) ** 2)

    found = grad(model_with(parts=("stoch", "context")))
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(found))


def test_without_context_the_past_and_the_prompt_change_nothing_but_the_memory():
    model = model_with(parts=("stoch", "deter", "aux"))
    changed = eqx.tree_at(lambda b: b.obs, BATCH, BATCH.obs.at[:, :WINDOW].add(1.0))
    assert jnp.array_equal(observe(model, BATCH, KEY).feature, observe(model, changed, KEY).feature)


def test_the_current_action_is_the_one_that_leads_to_the_next_step():
    current, previous = model_with(action_index="current"), model_with()
    shifted = jnp.concatenate([BATCH.action[:, 1:], jnp.zeros((ROWS, 1, ACT))], axis=1)
    moved = eqx.tree_at(lambda b: b.action, BATCH, shifted)
    assert jnp.array_equal(
        observe(current, BATCH, KEY).feature, observe(previous, moved, KEY).feature
    )
    previous.config.check_behaviour()
    with pytest.raises(ConfigError, match="action_index='current'"):
        current.config.check_behaviour()


def test_the_same_key_gives_the_same_states_and_another_one_others():
    model = model_with()
    first = observe(model, BATCH, KEY)
    assert_close(first, observe(model, BATCH, KEY), rtol=0, atol=0)
    assert not jnp.allclose(first.stoch, observe(model, BATCH, root_key(6)).stoch)


def test_rows_do_not_know_each_other():
    model = model_with()
    changed = eqx.tree_at(lambda b: (b.obs, b.reward), BATCH, replace_fn=lambda x: x.at[1].add(1.0))
    np.testing.assert_allclose(
        observe(model, BATCH, None).feature[0], observe(model, changed, None).feature[0], atol=1e-6
    )


def test_states_are_found_at_any_steps_in_any_order():
    model = model_with()
    posterior = observe(model, BATCH, KEY)
    state = states_at(model, posterior, jnp.array([7, 0, 11, 7]))
    features = posterior.feature.reshape(-1, CONFIG.feature)
    assert jnp.array_equal(model.feature(state), features[jnp.array([7, 0, 11, 7])])
    assert jnp.array_equal(state.obs_mask, BATCH.obs_mask[jnp.array([1, 0, 1, 1])])


def test_too_few_steps_are_refused():
    model = model_with()
    with pytest.raises(ConfigError, match="4 steps cannot fill a context window of 4: at least 5"):
        model.observe(batch_of(length=WINDOW), key=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": ("stoch", "detre")}, "Did you mean 'deter'"),
        ({"parts": ("deter", "aux")}, "must contain 'stoch'"),
        ({"reward_bins": 62}, "must be odd.* 61 and 63"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        ContextualConfig(**change)
