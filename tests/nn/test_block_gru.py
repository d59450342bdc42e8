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
    x = jax.random.normal(root_key(1), (5, 7, 6))
    whole = jax.scipy.linalg.block_diag(*linear.weight)
    object.__setattr__(linear, "bias", jnp.arange(12.0).reshape(3, 4))
    wanted = x @ whole + jnp.arange(12.0)[None, None]
    (every,) = linear.shares(x, 1)
    np.testing.assert_allclose(every, wanted, atol=1e-6)
    first, second = (part.reshape(5, 7, 3, 2) for part in linear.shares(x, 2))
    both = jnp.concatenate([first, second], axis=-1).reshape(5, 7, 12)
    np.testing.assert_allclose(both, wanted, atol=1e-6)


def test_a_step_is_that_of_the_formula_with_every_group_written_out():
    one = cell(groups=2)
    bias = jax.random.normal(root_key(5), one.gates.bias.shape)
    object.__setattr__(one.gates, "bias", bias)
    deter, stoch, action = (jax.random.normal(root_key(k), (3, n)) for k, n in enumerate((8, 6, 3)))
    read = [one.memory(deter), one.sample(stoch), one.action(action)]
    hidden = [
        jnp.concatenate([deter[:, 4 * g : 4 * g + 4], *read], -1) @ one.hidden.weight[g]
        + one.hidden.bias[g][None]
        for g in range(2)
    ]
    hidden = jax.nn.silu(one.norm(jnp.concatenate(hidden, -1)))
    for g in range(2):
        mine = slice(4 * g, 4 * g + 4)
        r, c, u = jnp.split(hidden[:, mine] @ one.gates.weight[g] + bias[g][None], 3, -1)
        u = jax.nn.sigmoid(u - 1)
        wanted = u * jnp.tanh(jax.nn.sigmoid(r) * c) + (1 - u) * deter[:, mine]
        np.testing.assert_allclose(one(deter, stoch, action)[:, mine], wanted, atol=1e-6)


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
