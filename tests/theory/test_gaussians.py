"""Total variation and sensitivity of Gaussians, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf

from mrcom.theory.diagnosis import WORTH, Amount
from mrcom.theory.gaussians import from_unit_normal, gram, sensitivity
from mrcom.theory.looks import STRIDE


def test_total_variation_of_shifted_normals_is_an_error_function():
    # Of two unit normals at a distance d: erf(d / (2 sqrt 2)).
    mean = np.array([[0.0, 0], [0.6, 0.8], [3, 4], [30, 40]])
    exact = erf(np.linalg.norm(mean, axis=1) / 8**0.5)
    got = from_unit_normal(mean, np.ones_like(mean))
    np.testing.assert_allclose(got, exact, atol=0.02)
    assert got[0] == 0 and got[3] == 1


def test_total_variation_of_a_wider_normal_equals_an_integral():
    x = np.linspace(-30, 30, 200001)
    one = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    other = np.exp(-0.5 * (x / 2) ** 2) / np.sqrt(8 * np.pi)
    exact = 0.5 * np.abs(one - other).sum() * (x[1] - x[0])
    got = from_unit_normal(np.zeros((1, 1)), np.full((1, 1), 2.0))
    np.testing.assert_allclose(got, exact, atol=0.02)


def test_gram_is_that_of_each_rows_own_jacobian():
    weight = jax.random.normal(jax.random.key(0), (3, 5))
    step = lambda x: jnp.sin(x) @ weight.T
    point = jax.random.normal(jax.random.key(1), (4, 5))
    jacobians = jax.vmap(jax.jacfwd(lambda row: step(row[None])[0]))(point)
    exact = jacobians @ jnp.swapaxes(jacobians, 1, 2)
    np.testing.assert_allclose(gram(step, point), exact, rtol=1e-4, atol=1e-5)


def test_sensitivity_bounds_the_total_variation_of_a_small_step_closely():
    matrix = np.array([[2.0, 0.3], [0.1, 0.5]])
    std = np.array([0.5, 2.0])
    found = sensitivity((matrix @ matrix.T)[None], std[None])[0]
    np.testing.assert_allclose(found, 0.5 * np.linalg.norm(matrix / std[:, None], 2))
    direction = np.linalg.svd(matrix / std[:, None])[2][0]
    step = 0.1 * direction
    actual = erf(np.linalg.norm(matrix @ step / std) / 8**0.5)
    assert 0.75 * found * 0.1 < actual <= found * 0.1


def test_what_the_usual_number_of_looks_at_a_perfect_model_give_is_said_of_eps_t():
    amount, rng, found = Amount(), np.random.default_rng(0), []
    num = 3 * amount.windows * len(range(0, amount.horizon, STRIDE))
    for _ in range(20):
        errors = rng.normal(size=(num, 24))
        found.append(from_unit_normal(errors.mean(axis=0)[None], errors.std(axis=0)[None])[0])
    said = f"{num} independent steps of 24 quantities give {np.mean(found):.2f}"
    assert said in WORTH["eps_T"]
