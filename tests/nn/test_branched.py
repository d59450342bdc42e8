import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mrcom.core.rng import root_key
from mrcom.nn.branched import BranchedLinear, BranchedMLP
from mrcom.nn.mlp import MLP

X, BRANCH = jax.random.normal(root_key(0), (3, 4, 5)), jnp.array([1, 0, 1])


def test_every_row_has_the_map_of_its_branch_whatever_axes_follow():
    linear = BranchedLinear(2, 5, 6, key=root_key(1))
    linear = eqx.tree_at(lambda m: m.bias, linear, jax.random.normal(root_key(2), (2, 6)))
    by_hand = [X[n] @ linear.weight[b] + linear.bias[b][None] for n, b in enumerate([1, 0, 1])]
    np.testing.assert_allclose(linear(X, BRANCH), jnp.stack(by_hand), rtol=1e-5, atol=1e-6)
    last = linear(X[:, 3], BRANCH)
    np.testing.assert_allclose(last, jnp.stack(by_hand)[:, 3], rtol=1e-5, atol=1e-6)


def test_branches_start_different():
    weight = BranchedLinear(2, 5, 6, key=root_key(1)).weight
    assert not jnp.allclose(weight[0], weight[1])


def test_with_equal_output_layers_it_is_the_perceptron_of_the_same_key():
    mlp = MLP(5, 8, 2, 4, key=root_key(1))
    branched = BranchedMLP(2, 5, 8, 2, 4, key=root_key(1))
    branched = eqx.tree_at(lambda m: m.out.weight, branched, jnp.stack([mlp.out.weight] * 2))
    np.testing.assert_allclose(branched(X, BRANCH), mlp(X), rtol=1e-5, atol=1e-6)
