"""SAC's updates: what they equal, and what must not matter to them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.policy import Actor, ActorConfig
from mrcom.behaviour.sac import SACConfig, SACState, Transition, init_sac, sac_update, sac_updates
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key

F, A, B, NUM = 4, 3, 6, 4
CONFIG = SACConfig(actor=ActorConfig(units=8, layers=1), units=8, layers=1)
MASK = jnp.array([1.0, 1.0, 0.0])


def minibatches(seed=0, num=NUM):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=(num, B, *shape)), jnp.float32)
    return Transition(
        feature=draw(F),
        action=jnp.tanh(draw(A)),
        reward=draw(),
        next_feature=draw(F),
        cont=jnp.ones((num, B)),
        weight=jnp.ones((num, B)),
    )


one_by_one = eqx.filter_jit(sac_update)
at_once = eqx.filter_jit(sac_updates)


def run(state: SACState, batches: Transition, config: SACConfig = CONFIG):
    return at_once(state, batches, MASK, config, key=root_key(9))


@pytest.fixture(scope="module")
def start():
    return init_sac(F, A, CONFIG, key=root_key(0))


def same(left, right):
    return all(
        np.array_equal(one, two)
        for one, two in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )


def close(left, right):
    for one, two in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6)


def test_many_updates_at_once_equal_one_after_the_other(start):
    batches, slow = minibatches(), start
    for i in range(NUM):
        batch = jax.tree.map(lambda leaf, i=i: leaf[i], batches)
        slow, _ = one_by_one(slow, batch, MASK, CONFIG, key=jax.random.fold_in(root_key(9), i))
    fast, _ = run(start, batches)
    close(fast, slow)
    assert fast.updates == NUM


def test_where_a_row_of_updates_is_cut_does_not_matter(start):
    batches = minibatches()
    half = [jax.tree.map(lambda leaf, s=s: leaf[s], batches) for s in (slice(2), slice(2, 4))]
    close(run(run(start, half[0])[0], half[1])[0], run(start, batches)[0])


def test_an_update_is_repeatable_and_leaves_the_old_state(start):
    before = jax.tree.map(np.array, start)
    assert same(run(start, minibatches())[0], run(start, minibatches())[0])
    assert same(start, before)


def test_what_stands_in_padded_action_entries_changes_nothing(start):
    batches = minibatches()
    other = eqx.tree_at(lambda b: b.action, batches, batches.action.at[..., 2].set(0.7))
    assert same(run(start, batches)[0], run(start, other)[0])


def test_a_mask_for_every_row_is_the_one_mask_where_all_are_equal(start):
    batch = jax.tree.map(lambda leaf: leaf[0], minibatches(num=1))
    one, seen = one_by_one(start, batch, MASK, CONFIG, key=root_key(9))
    rows, again = one_by_one(start, batch, jnp.tile(MASK, (B, 1)), CONFIG, key=root_key(9))
    close((one, seen), (rows, again))


def test_what_stands_in_the_padded_entries_of_a_row_changes_nothing(start):
    batch = jax.tree.map(lambda leaf: leaf[0], minibatches(num=1))
    mask = jnp.ones((B, A)).at[1, 1:].set(0.0)
    after = []
    for row in (None, 1, 2):
        action = batch.action if row is None else batch.action.at[row, 1:].set(0.7)
        given = eqx.tree_at(lambda b: b.action, batch, action)
        after.append(one_by_one(start, given, mask, CONFIG, key=root_key(9))[0])
    assert same(after[0], after[1])
    assert not same(after[0], after[2])


def test_the_target_entropy_of_rows_counts_their_own_dimensions(start):
    # A new policy has .7 nats per dimension, and rows here have 2 dimensions on average.
    batch = jax.tree.map(lambda leaf: leaf[0], minibatches(num=1))
    mask = jnp.tile(jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), (B // 2, 1))
    for target, sign in [(0.3, -1), (1.2, 1)]:
        config = dataclasses.replace(CONFIG, target_entropy=target)
        after, seen = one_by_one(start, batch, mask, config, key=root_key(9))
        assert jnp.sign(after.log_temperature - start.log_temperature) == sign
        assert float(seen["actor/entropy"]) == pytest.approx(0.7, abs=0.4)


def test_every_row_has_its_own_error(start):
    batch = jax.tree.map(lambda leaf: leaf[0], minibatches(num=1))
    bad = eqx.tree_at(lambda b: b.reward, batch, batch.reward.at[2].set(jnp.nan))
    _, metrics = one_by_one(start, bad, MASK, CONFIG, key=root_key(9))
    assert np.flatnonzero(~np.isfinite(metrics["row/critic"])).tolist() == [2]
    _, metrics = one_by_one(start, batch, MASK, CONFIG, key=root_key(9))
    # Half the sum over critics is the loss.
    both = CONFIG.num_critics / 2 * jnp.mean(metrics["row/critic"])
    assert float(both) == pytest.approx(float(metrics["critic/loss"]), rel=1e-5)


def test_nothing_after_the_end_of_an_episode_matters(start):
    ended = eqx.tree_at(lambda b: b.cont, minibatches(num=1), jnp.zeros((1, B)))
    other = eqx.tree_at(lambda b: b.next_feature, ended, ended.next_feature + 5.0)
    one, two = run(start, ended)[0], run(start, other)[0]
    assert same(one.critics, two.critics)
    going_on = eqx.tree_at(lambda b: b.cont, other, jnp.ones((1, B)))
    assert not same(run(start, going_on)[0].critics, two.critics)


def test_a_row_of_weight_zero_teaches_the_networks_nothing(start):
    light = eqx.tree_at(lambda b: b.weight, minibatches(num=1), jnp.ones((1, B)).at[:, 0].set(0.0))
    other = eqx.tree_at(
        lambda b: (b.reward, b.action),
        light,
        (light.reward.at[:, 0].add(9.0), light.action.at[:, 0].multiply(-1.0)),
    )
    one, two = run(start, light)[0], run(start, other)[0]
    assert same((one.critics, one.actor), (two.critics, two.actor))
    assert not same(run(start, minibatches(num=1))[0].critics, one.critics)


def test_slow_critics_follow_by_their_rate(start):
    after, _ = run(start, minibatches(num=1))
    expected = jax.tree.map(
        lambda old, new: old + CONFIG.slow_rate * (new - old), start.slow, after.critics
    )
    close(after.slow, expected)
    assert not same(after.slow, start.slow)


def test_twin_critics_start_apart_and_near_zero(start):
    values = start.critics(jnp.ones((1, F)), jnp.ones((1, A)))
    assert values.shape == (2, 1)
    assert values[0, 0] != values[1, 0]
    np.testing.assert_allclose(values, 0.0, atol=0.1)


def test_the_policy_waits_until_its_start(start):
    config = dataclasses.replace(CONFIG, actor_start=NUM)
    after, _ = run(start, minibatches(), config)
    assert same(after.actor, start.actor)
    assert after.log_temperature == start.log_temperature
    assert not same(after.critics, start.critics)
    assert not same(run(after, minibatches(), config)[0].actor, start.actor)


def test_the_policy_moves_every_so_many_updates(start):
    config = dataclasses.replace(CONFIG, actor_every=2)
    one, _ = run(start, minibatches(num=1), config)
    two, _ = run(one, minibatches(num=1), config)
    three, _ = run(two, minibatches(num=1), config)
    assert not same(one.actor, start.actor)
    assert same(two.actor, one.actor)
    assert not same(three.actor, two.actor)


def test_every_is_at_least_one():
    with pytest.raises(ConfigError, match="actor_every=0 must be at least 1"):
        SACConfig(actor_every=0)


def test_a_given_policy_is_taken_over_and_the_critics_are_new(start):
    actor = Actor(F, A, CONFIG.actor, key=root_key(7))
    state = init_sac(F, A, CONFIG, key=root_key(0), actor=actor)
    assert same(state.actor, actor)
    assert not same(state.actor, start.actor)
    assert same(state.critics, start.critics)


def test_temperature_falls_while_entropy_is_above_its_target(start):
    # A new policy is spread wide: far above -1 nat per dimension, far below 2.
    for target, sign in [(-1.0, -1), (2.0, 1)]:
        config = dataclasses.replace(CONFIG, target_entropy=target)
        after, _ = run(start, minibatches(), config)
        assert jnp.sign(after.log_temperature - start.log_temperature) == sign


def test_an_anchor_holds_the_policy_where_it_started_and_leaves_critics_free(start):
    def learnt(anchor):
        config = dataclasses.replace(CONFIG, anchor=anchor, actor_rate=1e-2)
        state = init_sac(F, A, config, key=root_key(0), actor=start.actor)
        return run(state, minibatches(num=100), config)[0]

    def moved(state):
        feature = minibatches(seed=5).feature[0]
        return float(jnp.mean(state.actor(feature, MASK).divergence(start.actor(feature, MASK))))

    free, held = learnt(0.0), learnt(1e3)
    assert free.origin is None
    assert same(held.origin, start.actor)
    assert moved(held) < 0.01 < 0.1 < moved(free)
    assert not same(held.critics, start.critics)


def test_an_anchor_weighs_rows_like_every_other_loss(start):
    config = dataclasses.replace(CONFIG, anchor=1.0, actor_rate=1e-2)
    state = init_sac(F, A, config, key=root_key(0), actor=start.actor)
    # The first update starts at the origin, where the divergence has no slope.
    state = run(state, minibatches(num=3), config)[0]
    batches = minibatches(seed=1, num=1)
    light = dataclasses.replace(batches, weight=batches.weight.at[:, 0].set(0.0))
    other = dataclasses.replace(light, feature=light.feature.at[:, 0].set(3.0))
    one, two = (run(state, given, config)[0] for given in (light, other))
    close(one.actor, two.actor)
    assert not same(one.actor, run(state, batches, config)[0].actor)
