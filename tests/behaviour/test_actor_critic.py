"""One update in a dream: what it computes, and what it leaves alone."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.actor_critic import (
    ActorCriticConfig,
    actor_critic_update,
    actor_loss,
    init_actor_critic,
)
from mrcom.behaviour.critic import CriticConfig
from mrcom.behaviour.dreams import Dream, dream_with
from mrcom.behaviour.examples import Examples
from mrcom.behaviour.policy import ActorConfig
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt
from mrcom.models.context import ContextConfig
from mrcom.models.contextual import ContextualModel
from mrcom.models.latent import ContextualConfig
from worlds.probes import fixed_dream, point_dream, point_starts

SMALL = ActorCriticConfig(
    actor=ActorConfig(units=8, layers=1), critic=CriticConfig(units=8, layers=1)
)
F, A, H = 7, 2, 3
MASK = jnp.ones((4, A))


def rows(tree, index):
    return [np.asarray(leaf[index]) for leaf in jax.tree.leaves(tree)]


@eqx.filter_jit
def update(state, scenario, place, target, key, config=SMALL):
    return actor_critic_update(
        state, point_dream(place, target, MASK, H, key), scenario, MASK, config
    )


@pytest.fixture(scope="module")
def begun():
    """A state after a few updates of scenarios 2 and 0, of 4."""
    state = init_actor_critic(F, A, 4, SMALL, key=root_key(0))
    for seed in range(2):
        place = point_starts(root_key(seed), 4)
        state = update(state, jnp.array([2, 0]), place, jnp.ones(4), root_key(9 + seed)).state
    return state


def test_loss_is_what_a_plain_loop_computes(begun):
    """A slow twin of the whole loss, with lists and a dream that is written out."""
    config = dataclasses.replace(SMALL, discount=0.9, lambda_=0.5, entropy_weight=0.1)
    rng = np.random.default_rng(0)
    feature = rng.normal(size=(4, H + 1, F)).astype(np.float32)
    reward, cont = rng.uniform(size=(2, 4, H)).astype(np.float32)
    scenario = jnp.array([2, 0])
    dream_fn = fixed_dream(jnp.asarray(feature), jnp.asarray(reward), jnp.asarray(cont), A)
    loss, learnt = eqx.filter_jit(actor_loss)(
        begun.actor,
        dream_fn,
        begun.critics.gather(scenario),
        MASK,
        begun.return_range,
        begun.updates,
        config,
    )
    total, returns = 0.0, np.zeros((4, H))
    entropy = np.asarray(eqx.filter_jit(lambda a, f: a(f, jnp.ones(A)).entropy())(
        begun.actor, jnp.asarray(feature)
    ))  # fmt: skip
    value = np.asarray(eqx.filter_jit(lambda c, f: c.value(f))(
        begun.critics.gather(scenario), jnp.asarray(feature).reshape(2, -1, F)
    )).reshape(4, H + 1)  # fmt: skip
    for m in range(4):
        following = value[m, H]
        for t in reversed(range(H)):
            mixed = 0.5 * value[m, t + 1] + 0.5 * following
            following = returns[m, t] = 0.1 * reward[m, t] + 0.9 * cont[m, t] * mixed
    np.testing.assert_allclose(learnt.returns, returns, rtol=1e-4, atol=1e-6)
    spans = [np.subtract(*np.percentile(returns[k : k + 2], [95, 5])) for k in (0, 2)]
    rate = 1 / (int(begun.updates) + 1)
    running = (1 - rate) * float(begun.return_range) + rate * np.mean(spans)
    np.testing.assert_allclose(learnt.return_range, running, rtol=1e-4)
    scale = max(running, 0.1)  # a reward of 1, in units of 1 / (1 - discount)
    for m in range(4):
        weight = 1.0
        for t in range(H):
            total += weight * (returns[m, t] / scale + 0.1 * entropy[m, t])
            weight *= 0.9 * cont[m, t]
    np.testing.assert_allclose(loss, -total / (4 * H), rtol=1e-4)


def test_dynamics_gradient_is_that_of_the_return(begun):
    """Finite differences of the whole loss along one parameter of the actor."""
    # A policy that reads features as constants gives finite differences something else to see,
    # so one step is dreamt: then no later action could answer.
    config = dataclasses.replace(SMALL, entropy_weight=0.0)
    place, target = point_starts(root_key(5), 4), jnp.ones(4)
    critics = begun.critics.gather(jnp.array([2, 0]))

    @eqx.filter_jit
    def loss(shift):
        actor = eqx.tree_at(
            lambda a: a.net.out.bias, begun.actor, begun.actor.net.out.bias.at[0].add(shift)
        )
        dream_fn = point_dream(place, target, MASK, 1, root_key(6))
        one = jnp.asarray(0.0)
        return actor_loss(actor, dream_fn, critics, MASK, one, jnp.asarray(0), config)[0]

    # The range of returns is a constant to the gradient, but not to the differences: both
    # see a range below the floor here.
    slope = jax.jit(jax.grad(loss))(jnp.asarray(0.0))
    difference = (loss(jnp.asarray(1e-2)) - loss(jnp.asarray(-1e-2))) / 2e-2
    assert abs(slope) > 1e-3
    assert slope == pytest.approx(float(difference), rel=0.05)


def test_reinforce_needs_no_differentiable_dream(begun):
    config = dataclasses.replace(SMALL, gradient="reinforce")
    place, critics = point_starts(root_key(5), 4), begun.critics.gather(jnp.array([2, 0]))
    through = point_dream(place, jnp.ones(4), MASK, H, root_key(6))
    opaque = lambda actor: jax.lax.stop_gradient(through(actor))
    args = (critics, MASK, begun.return_range, begun.updates, config)
    slope = eqx.filter_jit(
        lambda actor, dream_fn: eqx.filter_grad(
            lambda actor: actor_loss(actor, dream_fn, *args)[0]
        )(actor)
    )
    one, two = slope(begun.actor, through), slope(begun.actor, opaque)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(left, right)
    assert any(np.any(leaf != 0.0) for leaf in jax.tree.leaves(one))


def test_scenarios_outside_the_batch_are_left_alone_bit_for_bit(begun):
    after = update(
        begun, jnp.array([2, 3]), point_starts(root_key(1), 4), jnp.ones(4), root_key(2)
    ).state
    for scenario, changes in [(0, False), (1, False), (2, True), (3, True)]:
        same = all(
            np.array_equal(one, two)
            for one, two in zip(
                rows(begun.critics, scenario), rows(after.critics, scenario), strict=True
            )
        )
        assert same is not changes


def test_another_scenarios_dream_changes_nothing_in_a_critic(begun):
    place = point_starts(root_key(1), 4)
    one, two = (
        update(begun, jnp.array([1, 3]), place, jnp.array([0.5, 0.5, far, far]), root_key(2)).state
        for far in (0.5, -3.0)
    )
    for left, right in zip(rows(one.critics, 1), rows(two.critics, 1), strict=True):
        np.testing.assert_array_equal(left, right)
    assert any(
        not np.array_equal(left, right)
        for left, right in zip(rows(one.critics, 3), rows(two.critics, 3), strict=True)
    )


def test_an_update_is_repeatable_counts_itself_and_leaves_the_old_state(begun):
    before = [np.array(leaf) for leaf in jax.tree.leaves(begun)]
    args = (jnp.array([2, 3]), point_starts(root_key(1), 4), jnp.ones(4), root_key(2))
    one, two = update(begun, *args), update(begun, *args)
    for left, right in zip(jax.tree.leaves(one.state), jax.tree.leaves(two.state), strict=True):
        np.testing.assert_array_equal(left, right)
    for leaf, kept in zip(jax.tree.leaves(begun), before, strict=True):
        np.testing.assert_array_equal(leaf, kept)
    assert one.state.updates == begun.updates + 1
    assert one.critic_loss.shape == (2,)
    assert all(np.isfinite(value) for value in one.metrics.values())


def test_a_dream_of_the_world_model_has_the_shapes_that_learning_wants():
    model = ContextualModel(
        ContextualConfig(
            stoch=4,
            deter=8,
            aux=2,
            units=8,
            layers=1,
            context=ContextConfig(window=4, width=12, heads=3, layers=2),
        ),
        5,
        A,
        key=root_key(0),
    )
    prompt = Prompt(jnp.ones((4, 4, 5)), jnp.ones((4, 4, A)), jnp.ones((4, 4)), jnp.ones((4, 4)))
    mask = jnp.array([[1.0, 0.0]] * 4)
    start = model.initial(prompt, jnp.ones((4, 5)), mask)
    state = init_actor_critic(14, A, 2, SMALL, key=root_key(1))
    # A new reward head says 0 everywhere; a gradient needs a slope.
    head = model.reward_head.net.out.weight
    model = eqx.tree_at(
        lambda m: m.reward_head.net.out.weight, model, jax.random.normal(root_key(3), head.shape)
    )

    @eqx.filter_jit
    def learn(state):
        dream_fn = dream_with(model, start, mask, horizon=H, key=root_key(2))
        config = dataclasses.replace(SMALL, entropy_weight=0.0)
        return actor_critic_update(state, dream_fn, jnp.arange(2), mask, config)

    learnt = learn(state)
    dream = learnt.dream
    assert isinstance(dream, Dream)
    assert dream.feature.shape == (4, H + 1, 14)
    assert dream.action.shape == (4, H, A)
    assert dream.reward.shape == dream.cont.shape == (4, H)
    np.testing.assert_array_equal(dream.action[..., 1], 0.0)
    np.testing.assert_allclose(dream.feature[:, 0], model.feature(start), rtol=1e-6)
    # Without an entropy bonus, only gradients through the model can move the actor.
    assert learnt.metrics["actor/gradient"] > 0


def test_an_unknown_gradient_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'dynamic'.*'dynamics'"):
        ActorCriticConfig(gradient="dynamic")


def examples_of(action, shown, mask=MASK):
    """Two steps in each of four rows."""
    feature = jnp.ones((4, 2, F)) * jnp.arange(4)[:, None, None]
    return Examples(feature, jnp.broadcast_to(action, (4, 2, A)), mask, jnp.asarray(shown))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_examples_pull_the_actor_by_their_weight(begun, weight):
    config = dataclasses.replace(SMALL, imitation=weight, entropy_weight=0.0, learning_rate=1e-2)
    place, scenario = point_starts(root_key(1), 4), jnp.array([2, 0])
    shown = examples_of(jnp.array([0.5, -0.7]), [1.0, 1.0, 1.0, 1.0])

    @eqx.filter_jit
    def learn(state, key):
        dream = point_dream(place, jnp.ones(4), MASK, H, key)
        return actor_critic_update(state, dream, scenario, MASK, config, shown).state

    state = begun
    for number in range(200):
        state = learn(state, jax.random.fold_in(root_key(3), number))
    mode = state.actor.mode(shown.feature, MASK[:, None])
    error = np.abs(mode - shown.action).max()
    assert error < 0.15 if weight else error > 0.3


def test_only_shown_steps_and_real_actions_count_as_examples(begun):
    mask = jnp.array([[1.0, 0.0]] * 4)
    shown = [1.0, 0.0, 1.0, 0.0]
    loss = eqx.filter_jit(lambda examples: examples.loss(begun.actor))
    one = examples_of(jnp.array([0.3, 0.1]), shown, mask)
    two = dataclasses.replace(
        one, action=one.action.at[1].set(-0.9).at[3].set(0.9).at[:, :, 1].set(-0.4)
    )
    assert loss(one) == loss(two)
    assert loss(one) != loss(dataclasses.replace(one, action=one.action.at[2].set(-0.9)))


def test_an_action_at_its_bound_is_a_finite_example(begun):
    at_bound = examples_of(jnp.array([1.0, -1.0]), jnp.ones(4))
    assert np.isfinite(at_bound.loss(begun.actor))
    inside = examples_of(jnp.array([0.99, -0.99]), jnp.ones(4))
    np.testing.assert_array_equal(at_bound.loss(begun.actor), inside.loss(begun.actor))
