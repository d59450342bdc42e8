"""The plain recurrent cell against its equations, number by number."""

import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.rng import root_key
from mrcom.nn.gru import NormedGRU
from mrcom.nn.mlp import LayerKind

D, Z, A, H = 3, 4, 2, 5
CELL = NormedGRU(D, Z, A, hidden=H, kind=LayerKind("layer", 1e-3, bias=False), key=root_key(0))
RNG = np.random.default_rng(0)
DETER, STOCH, ACTION = (jnp.asarray(RNG.normal(size=(2, n)), jnp.float32) for n in (D, Z, A))


def layer_norm(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_one_step_by_hand():
    read, gates = np.asarray(CELL.read.hidden[0].weight), np.asarray(CELL.gates.weight)
    for row in range(2):
        told = layer_norm(np.concatenate([STOCH[row], ACTION[row]]) @ read)
        told = told * sigmoid(told)
        reset, candidate, update = np.split(
            layer_norm(np.concatenate([DETER[row], told]) @ gates), 3
        )
        update = sigmoid(update - 1)
        wanted = update * np.tanh(sigmoid(reset) * candidate) + (1 - update) * DETER[row]
        np.testing.assert_allclose(CELL(DETER, STOCH, ACTION)[row], wanted, rtol=2e-5)


def test_no_linear_map_has_a_bias():
    assert CELL.gates.bias is None and CELL.read.hidden[0].bias is None


@pytest.mark.parametrize("part", ["deter", "stoch", "action"])
def test_every_input_matters(part):
    given = {"deter": DETER, "stoch": STOCH, "action": ACTION}
    other = given | {part: given[part] + 0.5}
    assert not np.allclose(CELL(**given), CELL(**other), atol=1e-3)
