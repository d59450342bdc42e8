"""Clipping by a tensor's own length, normalisation, momentum, rate."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.laprop import LaPropConfig, clip_by_own_length
from mrcom.core.errors import ConfigError

CONFIG = LaPropConfig(warmup=0, learning_rate=0.1)


def clipped(grad, param):
    optimizer = clip_by_own_length(0.5, 1e-3)
    return optimizer.update(jnp.asarray(grad), optimizer.init(None), jnp.asarray(param))[0]


def test_a_long_gradient_is_cut_to_its_share_of_the_whole_tensor():
    """Length 10 against a tensor of length 5: half of that is left."""
    np.testing.assert_allclose(clipped([[6.0], [8.0]], [[3.0], [4.0]]), [[1.5], [2.0]], rtol=1e-6)


def test_a_short_gradient_stays_and_an_empty_tensor_has_a_least_length():
    np.testing.assert_allclose(clipped([0.3, 0.4], [3.0, 4.0]), [0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(clipped([1.0, 0.0], [0.0, 0.0]), [5e-4, 0.0], rtol=1e-5)


def test_the_first_step_has_the_length_of_the_rate_in_every_entry():
    params = jnp.array([10.0, 10.0])
    optimizer = CONFIG.optimizer
    moves, _ = optimizer.update(jnp.array([1e-3, -2.0]), optimizer.init(params), params)
    np.testing.assert_allclose(moves, [-0.1, 0.1], rtol=1e-4)


def test_momentum_follows_normalisation():
    """By hand: g = 1, then 2, whose normalised sizes are 1 and 2 / sqrt((.999 + 4) / 1.999)."""
    optimizer, params = CONFIG.optimizer, jnp.array([100.0])
    moves, state = optimizer.update(jnp.array([1.0]), optimizer.init(params), params)
    moves, state = optimizer.update(jnp.array([2.0]), state, params)
    second = 2 / np.sqrt((0.999 * 0.001 + 0.001 * 4) / (1 - 0.999**2))
    mean = (0.9 * 0.1 + 0.1 * second) / (1 - 0.81)
    np.testing.assert_allclose(moves, [-0.1 * mean], rtol=1e-3)


def test_the_rate_rises_along_a_line_and_stays():
    params = jnp.array([100.0])
    optimizer = dataclasses.replace(CONFIG, warmup=4).optimizer
    state, rates = optimizer.init(params), []
    for _ in range(6):
        moves, state = optimizer.update(jnp.array([1.0]), state, params)
        rates.append(-float(moves[0]))
    np.testing.assert_allclose(rates, [0, 0.025, 0.05, 0.075, 0.1, 0.1], rtol=1e-3, atol=1e-9)


def test_without_parameters_it_says_what_it_needs():
    with pytest.raises(ConfigError, match="parameters"):
        clip_by_own_length(0.3, 1e-3).update(jnp.ones(1), None, None)
