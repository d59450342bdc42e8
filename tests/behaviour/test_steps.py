"""An optimiser that joins tensors makes the steps of one that goes from tensor to tensor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mrcom.behaviour.steps import SMALL, adam, descend, joined, start_moments
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key


def tensors(*shapes):
    keys = jax.random.split(root_key(3), len(shapes))
    return {
        str(n): jax.random.normal(key, s)
        for n, (key, s) in enumerate(zip(keys, shapes, strict=True))
    }


def stepped(optimizer, params, num=3):
    moments = start_moments(optimizer, params)
    for k in range(num):
        grads = jax.tree.map(lambda x, k=k: jnp.sin(x * (k + 1)), params)
        params, moments = descend(optimizer, params, grads, moments)
    return params


@pytest.mark.parametrize(
    "params",
    [
        tensors((3, 2), (), (SMALL + 1,), (4,), (2, SMALL)),
        tensors((SMALL + 1,)),
        tensors((SMALL,), (1, 1)),
        tensors(()),
    ],
    ids=["both", "only large", "only small", "a number"],
)
def test_the_steps_are_those_of_each_tensor_by_itself(params):
    each = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1, eps=1e-7))
    ours = stepped(adam(0.1, eps=1e-7, max_norm=1.0), params)
    for name, expected in stepped(each, params).items():
        assert ours[name].shape == expected.shape
        np.testing.assert_allclose(ours[name], expected, rtol=2e-5, atol=2e-6)


def test_small_tensors_are_one_to_the_optimiser_and_large_ones_stay():
    params = tensors((3, 2), (), (SMALL + 1,), (4,))
    moments = start_moments(joined(optax.trace(0.9)), params)
    assert [x.shape for x in jax.tree.leaves(moments)] == [(11,), (SMALL + 1,)]


def test_without_a_longest_gradient_none_is_shortened():
    params = tensors((5,))
    ours = stepped(adam(0.1), params)
    np.testing.assert_array_equal(ours["0"], stepped(optax.adam(0.1), params)["0"])


def test_gradients_of_no_length_are_refused():
    with pytest.raises(ConfigError, match=r"max_norm=0\.0 must be above 0"):
        adam(1e-3, max_norm=0.0)
