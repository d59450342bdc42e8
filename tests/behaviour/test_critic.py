"""Critics of scenarios: apart from each other, and at a cost that their number does not change."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mrcom.behaviour.critic import (
    Critic,
    CriticConfig,
    fit_critics,
    fit_meta,
    init_critics,
    init_meta,
)
from mrcom.core.rng import root_key

CONFIG = CriticConfig(units=8, layers=1, learning_rate=1e-2)
F, M = 3, 5


@eqx.filter_jit
def fit(critics, scenario, feature, target, weight=None):
    weight = jnp.ones_like(target) if weight is None else weight
    rows, losses = fit_critics(critics.gather(scenario), feature, target, weight, CONFIG)
    return critics.scatter(scenario, rows), losses


def data(seed, num):
    feature = jax.random.normal(root_key(seed), (num, M, F))
    return feature, jnp.sum(feature, axis=-1)


def row(critics, index):
    return jax.tree.leaves(jax.tree.map(lambda leaf: np.asarray(leaf[index]), critics))


def test_values_start_at_zero():
    critics = init_critics(F, 4, CONFIG, key=root_key(0))
    feature, _ = data(0, 4)
    np.testing.assert_array_equal(critics.value(feature), jnp.zeros((4, M)))


def test_each_scenario_is_valued_by_its_own_critic():
    critics = init_critics(F, 4, CONFIG, key=root_key(0))
    for seed in range(3):
        critics, _ = fit(critics, jnp.array([0, 3]), *data(seed, 2))
    feature, _ = data(9, 2)
    values = critics.gather(jnp.array([3, 0])).value(feature)
    for k, scenario in enumerate([3, 0]):
        one = jax.tree.map(lambda leaf, i=scenario: leaf[i], critics.online)
        np.testing.assert_allclose(values[k], one(feature[k]), rtol=1e-5)
    assert not np.allclose(values[0], values[1])


def test_other_scenarios_data_changes_nothing_in_a_critic():
    start = init_critics(F, 6, CONFIG, key=root_key(0))
    feature, target = data(1, 3)
    after = {}
    for shift in (0.0, 100.0):  # the other two scenarios' data, and another target for them
        others = jnp.array([0.0, 1.0, 1.0])[:, None]
        critics = start
        for _ in range(3):
            critics, _ = fit(
                critics,
                jnp.array([4, 0, 2]),
                feature + shift * others[..., None],
                target - shift * others,
            )
        after[shift] = critics
    for one, two in zip(row(after[0.0], 4), row(after[100.0], 4), strict=True):
        np.testing.assert_array_equal(one, two)
    # The data did matter to those it belonged to.
    assert any(
        not np.array_equal(one, two)
        for one, two in zip(row(after[0.0], 2), row(after[100.0], 2), strict=True)
    )


def test_a_critic_outside_the_batch_stays_bit_for_bit_and_so_does_its_optimiser():
    start, _ = fit(init_critics(F, 6, CONFIG, key=root_key(0)), jnp.arange(6), *data(1, 6))
    after, _ = fit(start, jnp.array([4, 0]), *data(2, 2))
    for scenario in (1, 2, 3, 5):
        for one, two in zip(row(start, scenario), row(after, scenario), strict=True):
            np.testing.assert_array_equal(one, two)
    for scenario in (0, 4):
        # Every number moved, but for weights and moments into units whose gradient is 0.
        changed = [
            not np.array_equal(one, two)
            for one, two in zip(row(start, scenario), row(after, scenario), strict=True)
        ]
        assert all(changed)


def test_a_critic_learns_as_if_it_were_alone():
    together = init_critics(F, 6, CONFIG, key=root_key(0))
    alone = init_critics(F, 1, CONFIG, key=root_key(0))
    for seed in range(4):
        feature, target = data(seed, 3)
        together, _ = fit(together, jnp.array([5, 2, 1]), feature, target)
        alone, _ = fit(alone, jnp.array([0]), feature[1:2], target[1:2])
    for one, two in zip(row(together, 2), row(alone, 0), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_a_critic_has_the_adam_of_its_own_steps():
    """Scenario 1 joins late: its first step is Adam's first, not the fifth of scenario 0."""
    critics = init_critics(F, 2, CONFIG, key=root_key(0))
    one = jax.tree.map(lambda leaf: leaf[1], critics.online)
    feature, target = data(7, 1)

    def loss(critic: Critic):
        value = critic(feature[0])
        return 0.5 * jnp.mean((value - target[0]) ** 2 + value**2)

    grads = eqx.filter_grad(loss)(one)
    steps, _ = optax.adam(CONFIG.learning_rate, eps=1e-7).update(
        grads, optax.adam(CONFIG.learning_rate, eps=1e-7).init(one)
    )
    expected = eqx.apply_updates(one, steps)
    for seed in range(4):
        critics, _ = fit(critics, jnp.array([0]), *data(seed, 1))
    critics, _ = fit(critics, jnp.array([1]), feature, target)
    for mine, twin in zip(
        row(critics.online, 1), jax.tree.leaves(jax.tree.map(np.asarray, expected)), strict=True
    ):
        np.testing.assert_allclose(mine, twin, rtol=1e-4, atol=1e-6)


def test_slow_copies_follow_by_their_rate():
    before = init_critics(F, 2, CONFIG, key=root_key(0))
    after, _ = fit(before, jnp.array([1]), *data(0, 1))
    expected = jax.tree.map(
        lambda old, new: old + CONFIG.slow_rate * (new - old), before.slow, after.online
    )
    for mine, twin in zip(row(after.slow, 1), row(expected, 1), strict=True):
        np.testing.assert_allclose(mine, twin, rtol=1e-5, atol=1e-8)


def test_weight_zero_teaches_nothing():
    critics, index = init_critics(F, 1, CONFIG, key=root_key(0)), jnp.array([0])
    feature, target = data(0, 1)
    weight = jnp.array([[1.0, 1.0, 0.0, 0.0, 0.0]])
    one, loss = fit(critics, index, feature, target, weight)
    two, same = fit(critics, index, feature, target.at[:, 2:].add(50.0), weight)
    assert loss[0] == pytest.approx(float(same[0]))
    for left, right in zip(row(one, 0), row(two, 0), strict=True):
        np.testing.assert_array_equal(left, right)


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def test_cost_does_not_grow_with_the_number_of_scenarios():
    num = 1013  # a prime that no other axis has
    critics = init_critics(F, num, CONFIG, key=root_key(0))
    jaxpr = jax.make_jaxpr(lambda *args: jax.tree.leaves(fit(*args)))(
        critics, jnp.array([7, 9]), *data(0, 2)
    )
    touching = {
        equation.primitive.name
        for equation in equations(jaxpr.jaxpr)
        for variable in (*equation.invars, *equation.outvars)
        if num in getattr(variable.aval, "shape", ())
    }
    assert {"gather", "scatter"} <= touching
    # `jit` only passes the arrays on.
    assert touching <= {"gather", "scatter", "jit", "pjit"}


def test_meta_value_learns_the_scenarios_values_and_its_copy_follows():
    config = dataclasses.replace(CONFIG, units=32, slow_rate=0.1)
    meta = init_meta(F, config, key=root_key(0))
    feature = jax.random.normal(root_key(1), (64, F))
    target = jnp.tanh(feature[:, 0])
    fit_once = eqx.filter_jit(lambda meta: fit_meta(meta, feature, target, config))
    for _ in range(300):
        meta, loss = fit_once(meta)
    assert loss < 1e-2
    np.testing.assert_allclose(meta.slow(feature), target, atol=0.4)
    assert float(jnp.mean((meta.slow(feature) - target) ** 2)) < 2e-2


def test_meta_value_sends_no_gradient_to_features_or_scenario_values():
    meta = init_meta(F, CONFIG, key=root_key(0))
    total = lambda feature, value: fit_meta(meta, feature, value, CONFIG)[1]
    for grad in jax.jit(jax.grad(total, argnums=(0, 1)))(jnp.ones((4, F)), jnp.ones(4)):
        np.testing.assert_array_equal(grad, jnp.zeros_like(grad))
