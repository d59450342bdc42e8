"""Planning: known optima, bounds, and particles that keep their member and its context."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.mpc import CrossEntropy, RandomShooting, dreamt_return, one_model
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt
from mrcom.models.dynamics_ensemble import DynamicsEnsemble
from mrcom.models.ensemble_parts import EnsembleConfig
from mrcom.models.world_model import AbstractWorldModel

KEY = jax.random.key(7)
BEST = jnp.array([[[0.5, -0.3], [0.1, 0.9], [0.0, 0.2]]])
MASK = jnp.ones((1, 2))
CEM = CrossEntropy(horizon=3, candidates=100, iterations=8, elites=10)


def quadratic(actions, key):
    """The best sequence is `BEST`."""
    return -jnp.sum(jnp.square(actions - BEST[:, None]), axis=(2, 3))


@eqx.filter_jit
def plan(planner, score, mask, key, before):
    return planner.plan(score, before, mask, key=key)


def noting(seen, score):
    """The same score, and what it is asked is kept."""

    def note(actions, key):
        jax.debug.callback(lambda given: seen.append(np.asarray(given)), actions)
        return score(actions, key)

    return note


def total(actions, key):
    return jnp.sum(actions, axis=(2, 3))


def planned(planner=CEM, score=quadratic, mask=MASK, key=KEY, before=None):
    before = jnp.zeros((1, planner.horizon, 2)) if before is None else before
    return plan(planner, score, mask, key, before)


def test_the_cross_entropy_method_finds_the_optimum_of_a_quadratic():
    np.testing.assert_allclose(planned(), BEST, atol=0.05)


def test_random_shooting_comes_near_it():
    """Of 20,000 uniform sequences of one step the best is hardly ever .1 away."""
    best = lambda actions, key: quadratic(jnp.pad(actions, ((0, 0), (0, 0), (0, 2), (0, 0))), key)
    found = planned(RandomShooting(horizon=1, candidates=20000), best)
    np.testing.assert_allclose(found[:, 0], BEST[:, 0], atol=0.1)


@pytest.mark.parametrize("planner", [CEM, RandomShooting(3, 50)], ids=["cem", "shooting"])
def test_padded_actions_are_exactly_0_and_others_within_their_bounds(planner):
    seen, mask = [], jnp.array([[1.0, 0.0]])
    found = planned(planner, noting(seen, total), mask, before=jnp.full((1, 3, 2), 0.9))
    jax.effects_barrier()
    assert len(seen) > 0
    for actions in (*seen, found):
        assert float(jnp.max(jnp.abs(actions))) <= 1.0
        assert not np.any(actions[..., 1])
    assert float(found[0, 0, 0]) > 0.5


def test_a_plan_begins_with_the_last_one_one_step_on():
    """Where nothing can be told apart and hardly anything varies, it stays there."""
    still = dataclasses.replace(CEM, variance=1e-8)
    before = jnp.array([[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]])
    found = planned(still, lambda actions, key: jnp.zeros(actions.shape[:2]), before=before)
    np.testing.assert_allclose(found, [[[0.3, 0.4], [0.5, 0.6], [0.0, 0.0]]], atol=1e-3)


def test_one_iteration_by_hand():
    """.1 of the old mean and .9 of the elites'."""
    seen, one = [], dataclasses.replace(CEM, iterations=1, elites=2, candidates=5)
    found = planned(one, noting(seen, total), before=jnp.full((1, 3, 2), 0.2))
    jax.effects_barrier()
    order = np.argsort(np.asarray(seen[0]).sum(axis=(2, 3))[0])
    elites = np.asarray(seen[0])[0, order[-2:]]
    mean = np.array([0.2, 0.2, 0.0])[:, None]
    np.testing.assert_allclose(found[0], 0.1 * mean + 0.9 * elites.mean(axis=0), rtol=1e-4)
    # None is further than two standard deviations of sqrt(min(.25, (room / 2)^2)) away.
    away = np.abs(np.asarray(seen[0]) - mean[None, None])
    assert np.all(away <= 2 * np.minimum(0.5, (1 - mean) / 2) + 1e-5)


def test_the_key_decides_everything():
    np.testing.assert_array_equal(planned(), planned())
    assert not np.array_equal(planned(), planned(key=jax.random.key(8)))


def test_as_many_elites_as_candidates_at_most():
    with pytest.raises(ConfigError, match="nearest is 5"):
        CrossEntropy(candidates=5, elites=6)


class Count(AbstractWorldModel):
    """A number that actions add to; arriving pays it. Noise is added where there is a key."""

    noise: float

    def initial(self, prompt, obs_mask, act_mask, body=None):
        return jnp.zeros(len(obs_mask))

    def observe(self, batch, *, key):
        raise NotImplementedError

    def states_at(self, posterior, index):
        raise NotImplementedError

    def correct(self, state, obs, action, reward, *, key):
        return state, None

    def predict(self, state, action, *, key, dream_context="push"):
        return state + action[..., 0] + self.noise * jax.random.normal(key, state.shape), None

    def feature(self, state):
        return state[..., None]

    def decode(self, feature, body=None):
        return feature

    def reward(self, feature):
        return feature[..., 0]

    def cont(self, feature):
        return jnp.ones(feature.shape[:-1])


def test_a_dreamt_return_is_the_undiscounted_sum_of_rewards_in_any_world_model():
    """From 1 by .5, then by -.25: 1.5 + 1.25; from 2 by 0 twice: 4."""
    models, states = one_model(Count(jnp.zeros(())))(jnp.array([1.0, 2.0]))
    actions = jnp.array([[[[0.5], [-0.25]]], [[[0.0], [0.0]]]])
    found = dreamt_return(models, states, actions, key=KEY, particles=2)
    np.testing.assert_allclose(found, [[2.75], [4.0]])
    other = lambda feature: feature[..., 0] * 2
    found = dreamt_return(models, states, actions, key=KEY, particles=2, reward=other)
    np.testing.assert_allclose(found, [[5.5], [8.0]])


def test_particles_have_noise_of_their_own_and_their_mean_is_returned():
    models, states = one_model(Count(jnp.ones(())))(jnp.zeros(1))
    find = lambda num: dreamt_return(
        models, states, jnp.zeros((1, 200, 1, 1)), key=KEY, particles=num
    )
    assert float(jnp.std(find(1))) == pytest.approx(1.0, rel=0.2)
    assert float(jnp.std(find(16))) == pytest.approx(0.25, rel=0.2)


CONFIG = EnsembleConfig(
    parts=("context", "ensemble"), members=5, units=8, layers=1, encoder=(8,), context=2, window=3
)
OBS, ACT, ROWS = 3, 2, 3


def ensemble():
    """A model that is certain, and states of three rollouts with contexts all of their own."""
    model = DynamicsEnsemble(CONFIG, OBS, ACT, key=root_key(0))
    louder = lambda leaf: leaf * 3 if eqx.is_inexact_array(leaf) else leaf
    model = eqx.tree_at(lambda m: m.members.nets, model, jax.tree.map(louder, model.members.nets))
    none = Prompt(jnp.zeros((ROWS, 1, OBS)), jnp.zeros((ROWS, 1, ACT)), *[jnp.zeros((ROWS, 1))] * 2)
    state = model.initial(none, jnp.ones((ROWS, OBS)), jnp.ones((ROWS, ACT)))
    for t in range(3):
        draw = lambda *shape, t=t: jax.random.normal(jax.random.fold_in(KEY, t), (ROWS, *shape))
        state, _ = model.correct(state, draw(OBS), jnp.tanh(draw(ACT)), draw(), key=None)
    return model, state


def test_every_particle_of_every_rollout_is_dreamt_by_its_member_in_its_members_context():
    """Slow twin: one member, one rollout, one candidate at a time, from its own context."""
    model, state = ensemble()
    actions = jnp.tanh(jax.random.normal(KEY, (ROWS, 2, 2, ACT)))
    score = eqx.filter_jit(
        lambda model, state, actions: dreamt_return(
            *model.alone(state), actions, key=KEY, particles=4
        )
    )
    found = score(model, state, actions)
    step = eqx.filter_jit(
        lambda model, state, action: model.predict(state, action, key=None, dream_context="frozen")[
            0
        ]
    )
    for n, j in ((0, 0), (2, 1)):
        total = 0.0
        for e in range(5):
            one = jax.tree.map(lambda leaf, n=n: leaf[n : n + 1], state)
            one = dataclasses.replace(one, member=jnp.full(1, e))
            for t in range(2):
                one = step(model, one, actions[n, j, t][None])
                total += float(one.reward[0]) / 5
        assert float(found[n, j]) == pytest.approx(total, rel=1e-3)
    swapped = dataclasses.replace(state, context=state.context[:, ::-1])
    assert not np.allclose(score(model, swapped, actions), found, atol=1e-3)


def test_every_iteration_of_a_plan_asks_the_same_contexts():
    """With several rollouts, a sequence's return is the same whenever it is asked for, and that
    of the rollout alone.
    """
    model, state = ensemble()
    told = jnp.full((ROWS, 4, 3, ACT), 0.25)
    asked = []

    def score(actions, key):
        models, states = model.alone(state)
        found = dreamt_return(models, states, told, key=key, particles=1)
        jax.debug.callback(lambda given: asked.append(np.asarray(given)), found)
        return dreamt_return(models, states, actions, key=key, particles=1)

    few = CrossEntropy(horizon=3, candidates=4, iterations=3, elites=2)
    plan(few, score, jnp.ones((ROWS, ACT)), KEY, jnp.zeros((ROWS, 3, ACT)))
    jax.effects_barrier()
    assert len(asked) == 3
    np.testing.assert_array_equal(asked[0], asked[1])
    np.testing.assert_array_equal(asked[0], asked[2])
    alone = jax.tree.map(lambda leaf: leaf[1:2], state)
    one = dreamt_return(*model.alone(alone), told[1:2], key=KEY, particles=1)
    np.testing.assert_allclose(one, asked[0][1:2], rtol=1e-4)
