"""Members of an ensemble share nothing but the bounds of their variances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.rng import root_key
from mrcom.nn.ensemble import EnsembleMLP, SoftBounds


def new(members=3, activation="silu"):
    return EnsembleMLP(members, 4, (8, 8), 2, activation=activation, key=root_key(0))


@pytest.mark.parametrize(("name", "function"), [("silu", jax.nn.silu), ("relu", jax.nn.relu)])
def test_a_members_output_is_that_of_its_own_layers(name, function):
    net, x = new(activation=name), jax.random.normal(root_key(1), (3, 5, 6, 4))
    out = net(x)
    for e in range(3):
        rows = x[e].reshape(-1, 4)
        for layer in net.layers[:-1]:
            rows = function(rows @ layer.weight[e] + jnp.tile(layer.bias[e], (30, 1)))
        last = rows @ net.layers[-1].weight[e]
        np.testing.assert_allclose(out[e].reshape(-1, 2), last, rtol=1e-4, atol=1e-6)


def test_another_members_rows_change_nothing():
    net, x = new(), jax.random.normal(root_key(1), (3, 6, 4))
    changed = net(x.at[0].add(1.0))
    np.testing.assert_array_equal(net(x)[1:], changed[1:])
    assert not np.allclose(net(x)[0], changed[0])


def test_weights_start_within_one_over_the_root_of_their_inputs():
    """Two standard deviations of 1 / (2 sqrt(inputs)) are 1 / sqrt(inputs)."""
    layer = EnsembleMLP(4, 100, (), 100, activation="relu", key=root_key(0)).layers[0]
    assert float(jnp.max(jnp.abs(layer.weight))) <= 0.1
    # A normal cut off at two standard deviations has .88 of its own.
    assert float(jnp.std(layer.weight)) == pytest.approx(0.05 * 0.8796, rel=0.02)
    assert not np.any(layer.bias)
    assert not np.allclose(layer.weight[0], layer.weight[1])


def test_log_variances_lie_between_their_bounds_and_keep_a_gradient():
    bounds, raw = SoftBounds(1), jnp.array([[-40.0], [-3.0], [40.0]])
    inside = bounds(raw)
    assert np.all(np.asarray(inside) <= 0.5 + 1e-4) and np.all(np.asarray(inside) >= -10.0)
    np.testing.assert_allclose(inside[:, 0], [-10.0, -3.0, 0.5], atol=0.05)
    slope = jax.grad(lambda x: jnp.sum(bounds(x)))(jnp.array([[2.0]]))
    assert 0 < float(slope[0, 0]) < 1
