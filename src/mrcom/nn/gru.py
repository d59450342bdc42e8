"""A gated recurrent unit whose gates are normalised together."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.rng import named_keys
from mrcom.nn.mlp import Blocks, LayerKind, LayerNorm, Linear, RMSNorm


class NormedGRU(eqx.Module):
    """One hidden layer reads sample and action; it and the memory give all three gates.

        reset, candidate, update = norm(W [h, x])
        h' = u c + (1 - u) h,  c = tanh(sigmoid(reset) candidate), u = sigmoid(update - 1)

    Equation: dreamer.gru
    """

    read: Blocks
    gates: Linear
    norm: RMSNorm | LayerNorm

    def __init__(
        self,
        deter: int,
        stoch: int,
        act: int,
        *,
        hidden: int,
        kind: LayerKind,
        key: PRNGKeyArray,
    ):
        """A new cell for memories, flattened samples and actions of these widths."""
        keys = named_keys(key, "read", "gates")
        self.read = Blocks(stoch + act, hidden, 1, key=keys.read, kind=kind)
        self.gates = Linear(deter + hidden, 3 * deter, key=keys.gates, bias=kind.bias)
        self.norm = kind.normaliser(3 * deter)

    def __call__(
        self,
        deter: Float[Array, "*B D"],
        stoch: Float[Array, "*B Z"],
        action: Float[Array, "*B A"],
    ) -> Float[Array, "*B D"]:
        """The next memory."""
        told = self.read(jnp.concatenate([stoch, action], axis=-1))
        gates = self.norm(self.gates(jnp.concatenate([deter, told], axis=-1)))
        reset, candidate, update = jnp.split(gates, 3, axis=-1)
        candidate = jnp.tanh(jax.nn.sigmoid(reset) * candidate)
        update = jax.nn.sigmoid(update - 1.0)
        return update * candidate + (1 - update) * deter
