"""Gains of a map: exact, estimated, along a drift, the largest; and when they teach."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.nn.categorical import categorical_of
from mrcom.nn.distributions import normal_of
from mrcom.nn.mlp import MLP
from mrcom.objectives.jacobian import (
    JacobianConfig,
    drift_gain,
    largest_gain,
    mean_gain,
    mean_gain_by_jvp,
    mean_gain_by_vjp,
    squared_gain,
    taught_when,
)

KEY = root_key(0)
POINT = jax.random.normal(root_key(1), (3, 5))
NET = MLP(5, 8, 2, 12, key=root_key(2))


@jax.jit
def gaussian(x):
    """The mean of a Gaussian of 6 entries."""
    return normal_of(NET(x), 0.1).mean


@jax.jit
def categorical(x):
    """The probabilities of 3 variables of 4 classes."""
    return categorical_of(NET(x).reshape(len(x), 3, 4), 0.01).probs.reshape(len(x), 12)


STEPS = {"gaussian": gaussian, "categorical": categorical}
ESTIMATES = {"jvp": mean_gain_by_jvp, "vjp": mean_gain_by_vjp}
exactly = jax.jit(mean_gain, static_argnums=0)


def jacobians(step):
    """Of each row, by jacfwd of one example."""
    return jax.vmap(jax.jacfwd(lambda row: step(row[None])[0]))(POINT)


@pytest.mark.parametrize("kind", STEPS)
def test_the_exact_jacobian_is_that_of_each_row_alone(kind):
    matrix = jacobians(STEPS[kind])
    by_hand = jnp.sum(matrix**2, axis=(1, 2)) / matrix.shape[1]
    np.testing.assert_allclose(exactly(STEPS[kind], POINT), by_hand, rtol=1e-4)


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("kind", STEPS)
def test_the_jacobian_estimate_is_unbiased_within_its_measured_error(kind, estimate):
    keys = jax.random.split(root_key(3), 4000)
    drawn = jax.vmap(lambda key: ESTIMATES[estimate](STEPS[kind], POINT, key, 1))(keys)
    error = jnp.std(drawn, axis=0) / jnp.sqrt(len(keys))
    exact = exactly(STEPS[kind], POINT)
    assert float(jnp.max(error / exact)) < 0.03, "or the test would let anything pass"
    assert float(jnp.max(jnp.abs(jnp.mean(drawn, axis=0) - exact) / error)) < 4.0


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_more_probes_are_the_mean_of_more_jacobian_estimates(estimate):
    one = ESTIMATES[estimate](gaussian, POINT, KEY, 1)
    many = ESTIMATES[estimate](gaussian, POINT, KEY, 4000)
    exact = exactly(gaussian, POINT)
    assert float(jnp.max(jnp.abs(many / exact - 1))) < 0.1
    assert float(jnp.max(jnp.abs(one / exact - 1))) > 0.1


@pytest.mark.parametrize("estimate", ESTIMATES.values())
def test_signs_find_the_jacobian_of_entries_that_do_not_mix_in_one_probe(estimate):
    scale = jnp.asarray([1.0, 2.0, 0.0, -3.0, 0.5])
    found = estimate(lambda x: x * scale[None], POINT, KEY, 1)
    np.testing.assert_allclose(found, np.full(3, (1 + 4 + 9 + 0.25) / 5), rtol=1e-5)


def test_the_directional_jacobian_is_the_gain_of_equal_errors_by_hand():
    # Entries that cancel see nothing of a drift; entries that add up see all of it.
    cancels = lambda x: x[:, :1] - x[:, 1:2]
    adds_up = lambda x: jnp.sum(x, axis=1, keepdims=True)
    np.testing.assert_allclose(drift_gain(cancels, POINT, KEY, 1), np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(drift_gain(adds_up, POINT, KEY, 1), np.full(3, 5.0), rtol=1e-5)


@pytest.mark.parametrize("kind", STEPS)
def test_the_spectral_jacobian_is_the_largest_singular_value_squared(kind):
    largest = jnp.linalg.svd(jacobians(STEPS[kind]), compute_uv=False)[:, 0] ** 2
    found = largest_gain(STEPS[kind], POINT, KEY, 60)
    np.testing.assert_allclose(found, largest, rtol=1e-3)
    assert bool(jnp.all(largest_gain(STEPS[kind], POINT, KEY, 1) <= largest * 1.0001))


def test_the_spectral_jacobian_has_iterations_of_its_own_and_finds_most_with_the_usual_number():
    matrix = jax.random.normal(root_key(4), (192, 192))
    largest = float(jnp.linalg.svd(matrix, compute_uv=False)[0] ** 2)
    point = jnp.zeros((64, 192))
    found = lambda **given: jnp.mean(
        squared_gain(lambda x: x @ matrix.T, point, KEY, JacobianConfig(kind="spectral", **given))
    )
    np.testing.assert_array_equal(found(probes=7), found(), "probes are another matter")
    assert float(found(iterations=1)) < 0.75 * largest
    assert 0.92 * largest < float(found()) < largest


def test_the_gradient_of_the_spectral_jacobian_is_that_of_the_singular_value():
    def by_svd(net):
        matrix = jax.vmap(jax.jacfwd(lambda row: net(row[None])[0]))(POINT)
        return jnp.sum(jnp.linalg.svd(matrix, compute_uv=False)[:, 0] ** 2)

    by_iteration = lambda net: jnp.sum(largest_gain(net, POINT, KEY, 300))
    ours, theirs = (eqx.filter_jit(eqx.filter_grad(f))(NET) for f in (by_iteration, by_svd))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3 * float(jnp.max(jnp.abs(b))) + 1e-6)


def test_a_jacobian_term_is_logged_at_any_time_but_teaches_on_schedule():
    config = JacobianConfig(start=10, half_life=5)
    term = lambda x, updates: jnp.sum(taught_when(x, jnp.asarray(updates), config))
    x = jnp.full((2, 3), 7.0)
    values = [float(term(x, updates)) for updates in (0, 10, 15, 20)]
    slopes = [float(jax.grad(term)(x, updates)[0, 0]) for updates in (9, 10, 15, 20)]
    assert values == [42.0] * 4
    np.testing.assert_allclose(slopes, [0.0, 1.0, 0.5, 0.25])
    always = JacobianConfig()
    slope = jax.grad(lambda x: jnp.sum(taught_when(x, jnp.asarray(999), always)))(x)
    np.testing.assert_array_equal(slope, np.ones((2, 3)))


@pytest.mark.parametrize("kind", ["jvp", "vjp", "directional", "spectral"])
def test_every_kind_of_jacobian_is_a_number_for_each_row(kind):
    gains = squared_gain(categorical, POINT, KEY, JacobianConfig(kind=kind))
    assert gains.shape == (3,) and bool(jnp.all(gains > 0))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "jpv"}, "Did you mean"),
        ({"probes": 0}, "probes=0 must be at least 1"),
        ({"iterations": 0}, "iterations=0 must be at least 1; the nearest is 1"),
        ({"share": 1.5}, r"the nearest is 1\.0"),
        ({"share": 0.0}, r"\(0, 1\]"),
        ({"start": -1}, "start=-1"),
        ({"half_life": -1}, "half_life=-1"),
    ],
)
def test_an_impossible_jacobian_is_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        JacobianConfig(**wrong)
