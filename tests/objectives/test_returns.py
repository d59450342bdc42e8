import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.rng import root_key
from mrcom.objectives.returns import lambda_return

R, C, V = jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]), jnp.array([9.0, 10.0, 20.0])


def test_two_steps_by_hand():
    # G_1 = 2 + .5*20 = 12;  G_0 = 1 + .5*(.5*10 + .5*12) = 6.5
    np.testing.assert_allclose(lambda_return(R, C, V, discount=0.5, lambda_=0.5), [6.5, 12.0])


def test_lambda_zero_is_one_step_td():
    np.testing.assert_allclose(lambda_return(R, C, V, discount=0.9, lambda_=0.0), R + 0.9 * V[1:])


def test_lambda_one_is_the_bootstrapped_sum():
    # 1 + .9*2 + .81*20 = 19
    np.testing.assert_allclose(lambda_return(R, C, V, discount=0.9, lambda_=1.0)[0], 19.0)


def test_nothing_after_the_end_of_an_episode_matters():
    ended = jnp.array([0.0, 1.0])
    a = lambda_return(R, ended, V, discount=0.9, lambda_=0.95)
    b = lambda_return(R, ended, V + 100.0, discount=0.9, lambda_=0.95)
    assert a[0] == b[0] == R[0]


def test_a_batch_equals_a_python_loop_over_it():
    reward, cont = jax.random.uniform(root_key(0), (2, 3, 4, 6))
    value = jax.random.normal(root_key(1), (3, 4, 7))
    together = lambda_return(reward, cont, value, discount=0.97, lambda_=0.9)
    for row in np.ndindex(3, 4):
        g = float(value[row][-1])
        for t in reversed(range(6)):
            follow = 0.1 * float(value[row][t + 1]) + 0.9 * g
            g = float(reward[row][t]) + 0.97 * float(cont[row][t]) * follow
            np.testing.assert_allclose(together[row][t], g, rtol=1e-5, atol=1e-5)


def test_reward_one_for_ever_is_worth_one_over_one_minus_discount():
    forever = lambda_return(
        jnp.ones(5), jnp.ones(5), jnp.full(6, 100.0), discount=0.99, lambda_=0.8
    )
    np.testing.assert_allclose(forever, 100.0, rtol=1e-5)


def test_wrong_length_is_refused():
    with pytest.raises(Exception, match="value"):
        lambda_return(R, C, V[:2], discount=0.9, lambda_=0.95)
