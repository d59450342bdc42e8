"""The small-error expansion: by hand, against closed forms, and the order of what is left."""

import functools
import operator

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from mrcom.core.rng import root_key
from mrcom.theory.sde import (
    ErrorProcess,
    Expansion,
    Joint,
    begin,
    joint_drift,
    joint_noise,
    linear_orders,
)

MATRIX = np.array([[-0.5, 1.5], [-1.5, -0.3]])
START, DRIFT = np.array([1.0, -0.5]), np.array([0.6, -0.3])
TIME, STD = 1.0, 0.3


def quadratic(x):
    return 0.5 * jnp.sum(jnp.square(x))


def linear(x):
    return jnp.asarray(MATRIX, x.dtype) @ x


def bent(x):
    return jnp.tanh(linear(x)) + 0.5 * jnp.sin(x)


@functools.partial(jax.jit, static_argnames=("field", "paths", "steps"))
def solve(field, error: ErrorProcess, *, paths: int, steps: int) -> Joint:
    """By diffrax: everything at the end of some paths, the same noise for every error."""
    flat, unflatten = ravel_pytree(begin(jnp.asarray(START, jnp.float32)))
    added = lambda x: ravel_pytree(joint_noise(jnp.asarray(STD), error, x[:2], x[2:]))[0]
    matrix = jax.jacobian(added)(jnp.zeros(4))
    drift = lambda t, y, args: ravel_pytree(joint_drift(field, error, unflatten(y)))[0]

    def one(key):
        path = diffrax.UnsafeBrownianPath(shape=(4,), key=key)
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(drift), diffrax.ControlTerm(lambda t, y, args: matrix, path)
        )
        found = diffrax.diffeqsolve(
            *(terms, diffrax.Heun(), 0.0, TIME, TIME / steps, flat),
            max_steps=steps + 2,
            adjoint=diffrax.ForwardMode(),
        )
        return unflatten(found.ys[-1])

    keys = jax.vmap(functools.partial(jax.random.fold_in, root_key(0)))(jnp.arange(paths))
    return jax.vmap(one)(keys)


def ends(field, eps, *, drift=1.0, error_std=1.0, paths=2000) -> Joint:
    mean = jnp.asarray(drift * DRIFT, jnp.float32)
    error = ErrorProcess(mean, jnp.asarray(error_std), jnp.asarray(eps))
    return solve(field, error, paths=paths, steps=50)


def expanded(loss, end: Joint) -> Expansion:
    return jax.vmap(functools.partial(Expansion, loss))(end)


def test_orders_of_one_dimension_by_hand():
    # dx = -x dt + 0.5 dW, error 2 dt + 3 dB, from x_0 = 1 to time 1: Phi = e^-t,
    # int Phi = 1 - e^-1, int Phi^2 = (1 - e^-2) / 2.
    got = linear_orders(-np.eye(1), np.ones(1), 0.5, np.full(1, 2.0), 3.0, 1.0)
    once, squares = 1 - np.exp(-1), (1 - np.exp(-2)) / 2
    np.testing.assert_allclose(got[0], 0.5 * (np.exp(-2) + 0.25 * squares), rtol=1e-5)
    np.testing.assert_allclose(got[1], np.exp(-1) * 2 * once, rtol=1e-5)
    np.testing.assert_allclose(got[2], 0.5 * (4 * once**2 + 9 * squares), rtol=1e-5)


def test_the_fundamental_solution_of_a_linear_latent_is_the_matrix_exponential():
    end = ends(linear, 0.1)
    exact = jax.scipy.linalg.expm(jnp.asarray(MATRIX * TIME, jnp.float32))
    np.testing.assert_allclose(end.fundamental[0], exact, atol=1e-3)
    np.testing.assert_array_equal(end.fundamental[0], end.fundamental[1])


def test_monte_carlo_meets_the_closed_form_of_a_linear_latent():
    exact = linear_orders(MATRIX, START, STD, DRIFT, 1.0, TIME)
    found = expanded(quadratic, ends(linear, 0.1))
    for value, terms in zip(exact, (found.clean, found.first, found.second), strict=True):
        assert abs(terms.mean() - value) < 4 * terms.std() / np.sqrt(2000)
    # Given the path, the mean of the first order is known without the encoder's noise.
    assert abs(found.bias.mean() - exact[1]) < 4 * found.bias.std() / np.sqrt(2000)
    assert found.bias.std() < 0.8 * found.first.std()


def test_a_quadratic_loss_of_a_linear_latent_has_no_third_order():
    found = expanded(quadratic, ends(linear, 0.5))
    assert jnp.abs(found.remainder(jnp.asarray(0.5), 1)).max() > 0.05
    np.testing.assert_allclose(found.remainder(jnp.asarray(0.5), 2), 0, atol=1e-5)


def test_without_drift_the_first_order_is_zero_in_the_mean():
    found = expanded(quadratic, ends(bent, 0.1, drift=0.0))
    np.testing.assert_array_equal(found.bias, 0)
    assert abs(found.first.mean()) < 4 * found.first.std() / np.sqrt(2000)
    drifting = expanded(quadratic, ends(bent, 0.1))
    assert abs(drifting.first.mean()) > 10 * drifting.first.std() / np.sqrt(2000)


def test_the_remainder_after_order_k_is_of_order_k_plus_1():
    loss = lambda x: jnp.sum(jnp.cos(x)) + x[0] * x[1]
    eps = np.array([0.1, 0.2, 0.4])
    found = [expanded(loss, ends(bent, float(e))) for e in eps]
    for order in range(3):
        left = [
            jnp.abs(f.remainder(jnp.asarray(e), order)).mean()
            for f, e in zip(found, eps, strict=True)
        ]
        slope = np.polyfit(np.log(eps), np.log(left), 1)[0]
        assert abs(slope - (order + 1)) < 0.25, (order, slope)


def test_without_error_nothing_differs():
    end = ends(bent, 0.0, drift=0.0, error_std=0.0)
    np.testing.assert_allclose(end.exact, end.clean, rtol=0, atol=1e-5)
    for name in ("first", "second", "pulled"):
        np.testing.assert_array_equal(operator.attrgetter(name)(end), 0)
