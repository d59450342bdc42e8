"""Soft actor-critic on replayed features: what it learns from, and what must not matter to it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behaviour.replayed import any_model, windows
from mrcom.behaviour.critic import CriticConfig
from mrcom.behaviour.latent_sac import LatentSac, LatentSacConfig
from mrcom.behaviour.learning import transitions
from mrcom.behaviour.policy import ActorConfig
from mrcom.behaviour.sac import SACConfig
from mrcom.core.rng import root_key

F, A, T, NUM = 5, 3, 4, 6
CONFIG = LatentSacConfig(
    sac=SACConfig(actor=ActorConfig(units=8, layers=1), units=8, layers=1, discount=0.9),
    critic=CriticConfig(units=8, layers=1, slow_rate=0.1, slow_weight=0.0),
)
LEARNER = LatentSac(CONFIG, per_scenario=2)
MODEL = any_model()
SCENARIO = (4, 4, 1, 1)
ROWS = len(SCENARIO)


def numbers(seed=0):
    """Feature, action and reward of the rows."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=(ROWS, T, *shape)).astype(np.float32)
    return {"feature": draw(F), "action": np.tanh(draw(A)), "reward": np.abs(draw())}


@eqx.filter_jit
def update(state, posterior, batch, learner=LEARNER):
    return learner.update(state, MODEL, posterior, batch, key=root_key(3))


def learnt(state, *, scenario=SCENARIO, **given):
    return update(state, *windows(**(numbers() | given), scenario=scenario))[0]


@pytest.fixture(scope="module")
def start():
    """A state after two updates, so that no value is 0 any more."""
    state = LEARNER.init(F, A, NUM, key=root_key(0))
    for seed in (1, 2):
        state = learnt(state, **numbers(seed), scenario=(0, 0, 1, 1))
    return state


def same(left, right):
    leaves = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(one, two) for one, two in leaves)


def test_a_step_is_what_was_done_there_and_what_came_of_it():
    """What is stored with a step led into it: action 1 and reward .1 belong to step 0."""
    posterior, batch = windows(
        feature=[[[10.0], [20.0], [30.0], [40.0]]],
        action=np.array([[[9.0], [1.0], [2.0], [3.0]]]),
        reward=np.array([[9.0, 0.1, 0.2, 0.3]]),
        ends=np.array([[False, False, True, False]]),
        scenario=[0],
    )
    steps = transitions(posterior.expected, batch)
    assert steps.feature[0, :, 0].tolist() == [10, 20, 30]
    assert steps.action[0, :, 0].tolist() == [1, 2, 3]
    np.testing.assert_allclose(steps.reward, [[0.1, 0.2, 0.3]])
    assert steps.next_feature[0, :, 0].tolist() == [20, 30, 40]
    assert steps.cont.tolist() == [[1, 0, 1]]  # the second step led to the end
    assert steps.weight.tolist() == [[1, 1, 0]]  # after which nothing is known


def test_a_critics_loss_is_that_of_the_bellman_target_of_its_own_slow_copy(start):
    given = numbers()
    _, metrics = update(start, *windows(**given, scenario=SCENARIO))
    for place, scenario in enumerate((4, 1)):
        rows = start.critics.gather(jnp.array([scenario]))
        feature = jnp.asarray(given["feature"][2 * place : 2 * place + 2])
        value, slow = rows.online, rows.slow
        alone = lambda critic: jax.tree.map(lambda leaf: leaf[0], critic)
        errors = []
        for row in range(2):
            for t in range(T - 1):
                reward = given["reward"][2 * place + row, t + 1]
                target = 0.1 * reward + 0.9 * alone(slow)(feature[row, t + 1])
                errors.append(float(alone(value)(feature[row, t]) - target) ** 2 / 2)
        expected = pytest.approx(np.mean(errors), rel=1e-4)
        assert float(metrics["row/critic"][2 * place]) == expected
        assert float(metrics["row/critic"][2 * place + 1]) == expected


def test_other_scenarios_data_change_nothing_in_a_critic(start):
    given = numbers()
    one = learnt(start)
    other = {name: array.copy() for name, array in given.items()}
    other["feature"][2:] += 1.0
    other["reward"][2:] *= 3.0
    two = learnt(start, **other)
    row = lambda state, scenario: jax.tree.map(lambda leaf: leaf[scenario], state.critics)
    assert same(row(one, 4), row(two, 4))
    assert not same(row(one, 1), row(two, 1))
    for absent in (0, 2, 3, 5):
        assert same(row(one, absent), row(start, absent))
    assert not same(row(one, 4), row(start, 4))


def test_nothing_learnt_has_a_gradient_into_the_world_model(start):
    given = numbers()

    def total(feature):
        posterior, batch = windows(**given, scenario=SCENARIO)
        posterior = eqx.tree_at(lambda p: p.expected, posterior, feature)
        after, metrics = LEARNER.update(start, MODEL, posterior, batch, key=root_key(3))
        leaves = [leaf for leaf in jax.tree.leaves(after) if eqx.is_inexact_array(leaf)]
        return sum(jnp.sum(leaf) for leaf in [*leaves, *metrics.values()])

    feature = jnp.asarray(given["feature"])
    value, grad = eqx.filter_jit(jax.value_and_grad(total))(feature)
    np.testing.assert_array_equal(grad, jnp.zeros_like(feature))
    assert float(value) != float(eqx.filter_jit(total)(feature + 1.0))


def test_padded_entries_of_a_rows_actions_change_nothing(start):
    mask = jnp.ones((ROWS, A)).at[:2, 2].set(0.0)
    given = numbers()["action"]
    one = learnt(start, act_mask=mask)
    padded, real = given.copy(), given.copy()
    padded[:2, :, 2], real[2:, :, 2] = 0.7, 0.7
    assert same(one, learnt(start, act_mask=mask, action=padded))
    assert not same(one.sac.critics, learnt(start, act_mask=mask, action=real).sac.critics)


def test_an_update_is_repeatable_counts_itself_and_leaves_the_old_state(start):
    before = jax.tree.map(np.array, start)
    assert same(learnt(start), learnt(start))
    assert same(start, before)
    assert learnt(start).updates == start.updates + 1


def test_every_part_moves(start):
    after = learnt(start)
    for part in (
        lambda s: s.actor,
        lambda s: s.sac.critics,
        lambda s: s.critics.online,
        lambda s: s.critics.slow,
        lambda s: s.meta.online,
        lambda s: s.return_range,
    ):
        assert not same(part(after), part(start))


def test_a_row_that_is_not_finite_names_its_scenario_alone(start):
    reward = numbers()["reward"].copy()
    reward[2, 1] = np.nan
    _, metrics = update(start, *windows(**numbers() | {"reward": reward}, scenario=SCENARIO))
    assert np.flatnonzero(~np.isfinite(metrics["row/critic"])).tolist() == [2, 3]
    assert np.flatnonzero(~np.isfinite(metrics["row/twin"])).tolist() == [2]


def test_nothing_is_dreamt():
    assert LEARNER.dream_steps(48) == 0


def test_experts_steps_are_examples_and_other_rows_are_not(start):
    """By hand; where there are none, the actor is that of SAC alone."""
    given = numbers()
    posterior, batch = windows(**given, scenario=SCENARIO)
    shown = eqx.tree_at(lambda b: b.expert, batch, batch.expert.at[1].set(True))
    after, metrics = update(start, posterior, shown)
    log_prob = []
    for t in range(T - 1):
        action = jnp.clip(batch.action[1, t + 1], -0.99, 0.99)
        policy = start.actor(posterior.expected[1, t], jnp.ones(A))
        log_prob.append(float(policy.log_prob(action)))
    assert float(metrics["actor/imitation"]) == pytest.approx(-np.mean(log_prob), rel=1e-4)
    plain, none = update(start, posterior, batch)
    assert float(none["actor/imitation"]) == 0.0
    off = LatentSac(dataclasses.replace(CONFIG, imitation=0.0), per_scenario=2)
    assert same(plain.actor, update(start, posterior, batch, off)[0].actor)
    assert same(plain.actor, update(start, posterior, shown, off)[0].actor)
    assert not same(plain.actor, after.actor)
    assert same(plain.critics, after.critics)
