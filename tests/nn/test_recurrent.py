import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mrcom.core.rng import root_key
from mrcom.nn.recurrent import GRUCell, RecurrentNormal

X = jax.random.normal(root_key(0), (4, 3))
DETER = jax.random.normal(root_key(1), (4, 6))


def test_a_step_by_hand():
    cell = GRUCell(3, 6, key=root_key(2))
    gates = X @ cell.inputs.weight + DETER @ cell.recurrent.weight
    gates = gates / jnp.sqrt(jnp.mean(gates**2, -1, keepdims=True))
    reset, candidate, update = gates[:, :6], gates[:, 6:12], gates[:, 12:]
    candidate = jnp.tanh(jax.nn.sigmoid(reset) * candidate)
    update = jax.nn.sigmoid(update - 1)
    expected = update * candidate + (1 - update) * DETER
    np.testing.assert_allclose(cell(cell.project(X), DETER), expected, rtol=1e-4, atol=1e-5)


def test_a_closed_update_gate_keeps_the_memory():
    cell = GRUCell(3, 6, key=root_key(2))
    shut = jnp.zeros(18).at[12:].set(-1e6)
    cell = eqx.tree_at(lambda c: (c.inputs.bias, c.norm.scale), cell, (shut, jnp.full(18, 100.0)))
    np.testing.assert_allclose(cell(cell.project(X), DETER), DETER, rtol=1e-6)


def test_a_memory_of_no_width_works():
    cell = GRUCell(3, 0, key=root_key(2))
    assert cell(cell.project(X), jnp.zeros((4, 0))).shape == (4, 0)


def test_a_recurrent_gaussian_reads_its_inputs_and_its_own_past():
    net = RecurrentNormal(3, 2, 8, min_std=0.1, key=root_key(3))
    past = jax.random.normal(root_key(4), (4, 2))
    normal = net(net.project(X), past)
    assert jnp.all(normal.std > 0.1)
    assert not jnp.allclose(net(net.project(X), past + 1).mean, normal.mean)
    assert not jnp.allclose(net(net.project(X + 1), past).mean, normal.mean)
