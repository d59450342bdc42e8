import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.numerics import symexp_bins, two_hot
from mrcom.core.rng import root_key
from mrcom.nn.heads import BernoulliHead, TwoHotHead, two_hot_mean


@pytest.mark.parametrize(("num_bins", "limit"), [(255, 20.0), (63, 4.0)])
def test_equal_weights_on_opposite_bins_cancel_exactly(num_bins, limit):
    bins = symexp_bins(num_bins, limit)
    assert two_hot_mean(jnp.zeros((3, num_bins)), bins).tolist() == [0.0, 0.0, 0.0]
    far = jnp.zeros((1, num_bins)).at[0, 0].set(5.0).at[0, -1].set(5.0)
    assert two_hot_mean(far, bins).tolist() == [0.0]


def test_the_mean_undoes_two_hot():
    bins, x = symexp_bins(63, 4.0), jnp.array([-3.0, 0.0, 0.37, 1.0, 50.0])
    logits = jnp.log(two_hot(x, bins) + 1e-12)
    np.testing.assert_allclose(two_hot_mean(logits, bins), x, rtol=1e-4, atol=1e-5)


def test_a_fresh_reward_is_zero_and_its_bins_are_no_parameter():
    head = TwoHotHead(4, 8, 1, 63, 4.0, key=root_key(0))
    assert head(jax.random.normal(root_key(1), (2, 5, 4))).tolist() == [[0.0] * 5] * 2
    shapes = {leaf.shape for leaf in jax.tree.leaves(head)}
    assert head.bins.shape == (63,) and shapes == {(4, 8), (8,), (8, 63), (63,)}


def test_an_event_has_one_log_odds_per_state():
    head = BernoulliHead(4, 8, 1, key=root_key(0))
    assert head(jnp.ones((2, 5, 4))).shape == (2, 5)
