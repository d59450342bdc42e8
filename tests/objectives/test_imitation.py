"""Imitation: by hand, and without examples."""

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.objectives.imitation import imitation_loss


def test_is_minus_the_mean_over_shown_steps():
    log_prob = jnp.array([[-1.0, -3.0], [5.0, 7.0]])
    shown = jnp.array([[1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(imitation_loss(log_prob, shown), 2.0)


def test_does_not_depend_on_how_many_steps_are_not_shown():
    log_prob = jnp.array([-1.0, -3.0, 9.0, 9.0])
    few, many = jnp.array([1.0, 1.0, 0.0]), jnp.array([1.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(imitation_loss(log_prob[:3], few), imitation_loss(log_prob, many))


def test_is_zero_with_zero_gradient_where_nothing_is_shown():
    loss, slope = jax.value_and_grad(imitation_loss)(jnp.array([-1.0, -3.0]), jnp.zeros(2))
    assert loss == 0 and not slope.any()
