"""The Jacobian of latent dynamics as a term of every method that has some."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_agents as worlds

from mrcom.agents import acting
from mrcom.agents.build import build_agent, method_named
from mrcom.agents.dreamer import loss_of
from mrcom.agents.latent_dynamics import columns_of, jacobian_term
from mrcom.agents.mamba import world_loss
from mrcom.agents.mamba_terms import World
from mrcom.agents.method import with_jacobian, without
from mrcom.agents.mrcom import model_loss
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.objectives.jacobian import JacobianConfig, mean_gain

KEY = root_key(1)
NAMES = ("mrcom", "dreamer", "mamba")
DEFAULT = JacobianConfig()
ALL = JacobianConfig(share=1.0)


def agent_of(name, weight=0.1, config=DEFAULT):
    method = with_jacobian(method_named(name), weight)
    return build_agent(method, "debug", layout=worlds.LAYOUT, num_scenarios=6, jacobian=config)


def rig(name, **changes):
    agent = agent_of(name, **changes)
    state, batch = agent.init(root_key(0)), worlds.batch(agent.windows)
    if name == "mamba":
        batch = eqx.tree_at(lambda b: b.first, batch, batch.first.at[:, 0].set(True))
    return agent, state, batch


def term_of(name, agent, state, batch, model):
    """The term of a model in place of the state's."""
    if name == "mrcom":
        seen = acting.normalised(state.filter, batch)
        return model_loss(model, agent, seen, state.behaviour, KEY)[1][1]["jacobian"]
    if name == "dreamer":
        learnt = eqx.tree_at(lambda parts: parts.model, state.learnt, model)
        return loss_of(learnt, agent, state, batch, KEY)[1][1]["jacobian"]
    world = World(model, state.local)
    return world_loss(world, agent, state, batch, KEY)[1][1]["jacobian"]


def moved_parts(model, grads):
    """Names of the model's parts that a gradient reaches; of nested ones the inner name."""
    inner = grads.rssm if hasattr(model, "rssm") else grads
    parts = {
        f.name: getattr(inner, f.name) for f in dataclasses.fields(inner) if f.name != "config"
    }
    nonzero = lambda part: any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(part))
    return {name for name, part in parts.items() if nonzero(part)}


@pytest.mark.parametrize(
    ("name", "learns"),
    [
        ("mrcom", {"dynamics"}),
        ("dreamer", {"cell", "prior_net"}),
        ("mamba", {"cell", "prior_net"}),
    ],
)
def test_the_jacobians_gradient_reaches_the_dynamics_and_not_the_encoder(name, learns):
    agent, state, batch = rig(name)
    gradient = eqx.filter_jit(
        eqx.filter_grad(lambda model: jnp.mean(term_of(name, agent, state, batch, model)))
    )
    grads = gradient(state.model)
    assert moved_parts(state.model, grads) == learns
    if name == "mrcom":
        posteriors = (grads.dynamics.stoch_posterior, grads.dynamics.aux_posterior)
        assert not any(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(posteriors))


@pytest.mark.parametrize("name", NAMES)
def test_the_jacobian_is_a_metric_and_a_finite_loss_of_an_update(name):
    agent, state, batch = rig(name)
    _, metrics = agent.update_model(state, batch, KEY)
    assert np.isfinite(float(metrics["loss"])) and float(metrics["loss/jacobian"]) > 0
    assert metrics["row/jacobian"].shape == (agent.windows.scenarios,)


def test_the_jacobian_of_one_hot_samples_is_that_of_their_probabilities():
    _, state, batch = rig("dreamer")
    model = state.model
    posterior = eqx.filter_jit(model.observe)(batch, key=KEY)
    start = model.states_at(posterior, jnp.arange(3))
    action = batch.action[:3, 1]

    @jax.jit
    def probabilities(feature):
        deter = model.remember(
            model.with_feature(start, feature).deter,
            model.with_feature(start, feature).stoch,
            action * start.act_mask,
        )
        probs = model._prior(deter).probs
        return jnp.concatenate([probs.reshape(3, -1), deter], axis=1)

    @jax.jit
    def by_prediction(feature):
        after, _ = model.predict(model.with_feature(start, feature), action, key=None)
        return model.feature(after)

    point = model.feature(start)
    gain = jax.jit(mean_gain, static_argnums=0)
    exact = gain(probabilities, point)
    np.testing.assert_allclose(gain(by_prediction, point), exact, rtol=1e-5)
    assert not np.allclose(probabilities(point), by_prediction(point)), "samples are one-hot"


@pytest.mark.parametrize("name", NAMES)
def test_the_jacobian_term_is_unbiased_over_steps_and_probes(name):
    _, state, batch = rig(name)
    model = state.model
    batch = acting.normalised(state.filter, batch)
    posterior = eqx.filter_jit(model.observe)(batch, key=KEY)
    action = batch.action[:, -posterior.feature.shape[1] :]
    rows, length = action.shape[:2]
    index = (jnp.arange(rows)[:, None] * length + jnp.arange(length - 1)[None]).ravel()
    start = model.states_at(posterior, index)
    following = action[:, 1:].reshape(len(index), -1)

    def advance(feature):
        given = model.with_feature(start, feature), following
        return model.feature(model.predict(*given, key=None, dream_context="frozen")[0])

    exact = float(jnp.mean(eqx.filter_jit(mean_gain)(advance, model.feature(start))))
    estimate = lambda key: jnp.mean(
        jacobian_term(model, posterior, action, jnp.zeros((), jnp.int32), ALL, key)
    )
    drawn = np.asarray(eqx.filter_jit(jax.vmap(estimate))(jax.random.split(KEY, 300)))
    error = drawn.std() / np.sqrt(len(drawn))
    assert error < 0.05 * exact
    assert abs(drawn.mean() - exact) < 4 * error


def test_the_jacobian_of_some_blocks_is_about_these_alone():
    _, state, batch = rig("mrcom")
    widths = state.model.blocks
    assert list(widths) == ["stoch", "deter", "aux"]
    assert columns_of(widths, ("aux",)).tolist() == list(range(12, 16))
    assert columns_of(widths, ("aux", "stoch")).tolist() == [0, 1, 2, 3, 12, 13, 14, 15]
    assert columns_of(widths, ()) is None
    posterior = eqx.filter_jit(state.model.observe)(batch, key=KEY)
    action = batch.action[:, -posterior.feature.shape[1] :]
    term = eqx.filter_jit(jacobian_term)
    given = state.model, posterior, action, jnp.zeros((), jnp.int32)
    # The next u is told by context and action alone: no error of u is passed on in one step.
    assert float(jnp.max(term(*given, JacobianConfig(blocks=("stoch",)), KEY))) == 0.0
    assert float(jnp.min(term(*given, JacobianConfig(blocks=("deter",)), KEY))) > 0.0


def test_a_jacobian_of_a_part_that_was_taken_out_is_refused():
    method = with_jacobian(without(method_named("mrcom"), "deter"), 0.1)
    build = lambda block: build_agent(
        method, "debug", layout=worlds.LAYOUT, num_scenarios=6,
        jacobian=JacobianConfig(blocks=(block,)),
    )  # fmt: skip
    assert build("aux").config.jacobian.blocks == ("aux",)
    with pytest.raises(ConfigError, match="'deter'"):
        build("deter")
    with pytest.raises(ConfigError, match=r"Unknown .* 'dreamt_context'"):
        build("dreamt_context")


@pytest.mark.parametrize("blocks", [("stoch",), ()])
def test_a_jacobian_that_is_0_whatever_is_learnt_is_refused_with_the_reason(blocks):
    parts = () if blocks else ("deter", "aux")
    method = with_jacobian(without(method_named("mrcom"), *parts), 0.1)
    with pytest.raises(ConfigError, match=r"about .*stoch.* is 0 .* alone tell .* Add 'deter' or"):
        build_agent(
            method, "debug", layout=worlds.LAYOUT, num_scenarios=6,
            jacobian=JacobianConfig(blocks=blocks),
        )  # fmt: skip


@pytest.mark.parametrize("given", [{"jacobian": JacobianConfig(kind="vjp")},
                                   {"settings": ("jacobian.kind=vjp",)}])  # fmt: skip
@pytest.mark.parametrize("name", [*NAMES, "cadm", "sac"])
def test_settings_of_a_jacobian_that_is_not_taken_are_refused(name, given):
    said = (
        r"jacobian.kind='vjp' is about: give --jacobian WEIGHT, or leave it out"
        if name in NAMES
        else r"no latent dynamics.*mrcom, dreamer or mamba"
    )
    with pytest.raises(ConfigError, match=said):
        build_agent(method_named(name), "debug", layout=worlds.LAYOUT, num_scenarios=6, **given)


@pytest.mark.parametrize("name", ["cadm", "cadm-vanilla", "sac", "sac-told"])
def test_a_method_without_latent_dynamics_refuses_a_jacobian(name):
    with pytest.raises(ConfigError, match=r"no latent dynamics.*mrcom, dreamer or mamba"):
        agent_of(name)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_jacobian_weight_that_would_enlarge_errors_is_refused(weight):
    with pytest.raises(ConfigError, match="jacobian="):
        with_jacobian(method_named("mrcom"), weight)


def test_tables_say_the_weight_of_the_jacobian():
    assert with_jacobian(method_named("mrcom"), 0.01).name == "MrCoM + jacobian 0.01"
