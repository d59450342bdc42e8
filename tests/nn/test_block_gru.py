"""The block-diagonal cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.nn.block_gru import BlockGRU, BlockLinear
from mrcom.nn.mlp import LayerKind, LayerNorm, RMSNorm

KIND = LayerKind("rms", 1e-4)


def cell(**changes):
    sizes = {"hidden": 5, "groups": 4, "kind": KIND, "key": root_key(0)} | changes
    return BlockGRU(8, 6, 3, **sizes)


def test_a_block_linear_is_a_matrix_with_blocks_on_its_diagonal():
    linear = BlockLinear(3, 2, 4, key=root_key(0))
    x = jax.random.normal(root_key(1), (5, 3, 2))
    whole = jax.scipy.linalg.block_diag(*linear.weight)
    np.testing.assert_allclose(linear(x).reshape(5, -1), x.reshape(5, -1) @ whole, atol=1e-6)


def test_a_closed_update_gate_remembers_and_an_open_one_forgets():
    deter, stoch, action = jnp.ones((2, 8)), jnp.ones((2, 6)), jnp.ones((2, 3))
    for bias, gone in ((-50.0, False), (50.0, True)):
        gates = cell().gates
        one = cell()
        object.__setattr__(gates, "bias", gates.bias.at[:, 4:].set(bias))
        object.__setattr__(one, "gates", gates)
        after = one(deter, stoch, action)
        assert bool(jnp.allclose(after, deter, atol=1e-5)) is not gone


def test_a_new_memory_stays_within_its_bounds():
    deter = jax.random.uniform(root_key(1), (7, 8), minval=-1.0)
    after = cell()(deter, 9 * jnp.ones((7, 6)), -9 * jnp.ones((7, 3)))
    assert jnp.all(jnp.abs(after) <= 1) and not jnp.allclose(after, deter)


def test_every_group_reads_the_sample_and_the_action():
    of = lambda stoch, action: cell()(jnp.zeros(8), stoch, action)
    still = of(jnp.zeros(6), jnp.zeros(3))
    for other in (of(jnp.ones(6), jnp.zeros(3)), of(jnp.zeros(6), jnp.ones(3))):
        assert jnp.all(other != still)


def test_groups_that_do_not_fit_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"groups=3; the nearest are 6 and 9"):
        cell(groups=3)


def test_another_kind_of_layer_has_its_norm_and_no_bias():
    other = cell(kind=LayerKind("layer", 1e-3, bias=False))
    assert isinstance(other.norm, LayerNorm) and isinstance(cell().norm, RMSNorm)
    assert other.memory.hidden[0].bias is None and other.norm.eps == 1e-3


def test_layer_norm_by_hand():
    norm = LayerNorm(2, 0.0 + 1e-12)
    np.testing.assert_allclose(norm(jnp.array([1.0, 5.0])), [-1.0, 1.0], rtol=1e-6)


def test_the_small_number_of_a_norm_is_its_argument():
    tiny = jnp.array([1e-2, 1e-2])
    np.testing.assert_allclose(RMSNorm(2, 1e-4)(tiny), 1 / np.sqrt(2), rtol=1e-4)
    np.testing.assert_allclose(RMSNorm(2)(tiny), 1.0, rtol=1e-2)


def test_an_unknown_norm_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="'layer'"):
        LayerKind("leyer")
