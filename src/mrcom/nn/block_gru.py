"""A recurrent cell whose large matrices are block-diagonal."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.nn.mlp import Blocks, LayerKind, LayerNorm, Linear, RMSNorm


class BlockLinear(eqx.Module):
    """Each of G groups of a vector through a matrix of its own: a block-diagonal map."""

    weight: Float[Array, "G I O"]
    bias: Float[Array, "G O"] | None

    def __init__(
        self, groups: int, inputs: int, outputs: int, *, key: PRNGKeyArray, bias: bool = True
    ):
        """A new map; `inputs` and `outputs` are those of one group."""
        one = lambda k: Linear(inputs, outputs, key=jax.random.fold_in(key, k), bias=bias)
        maps = [one(k) for k in range(groups)]
        self.weight = jnp.stack([linear.weight for linear in maps])
        self.bias = jnp.zeros((groups, outputs)) if bias else None

    def __call__(self, x: Float[Array, "*B G I"]) -> Float[Array, "*B G O"]:
        """The map of every vector, group by group."""
        y = jnp.einsum("...gi,gio->...go", x, self.weight)
        return y if self.bias is None else y + jnp.broadcast_to(self.bias, y.shape)


class BlockGRU(eqx.Module):
    """Gated recurrent unit of G groups, each of which sees its own memory and all of the input.

    Three hidden layers read memory, sample and action. Every group of a hidden layer as wide as
    the memory reads its share of the memory beside all three, and gives the group's gates:

        r = sigmoid(reset), c = tanh(r candidate), u = sigmoid(update - 1)
        h' = u c + (1 - u) h

    Equation: dreamer.block_gru
    """

    memory: Blocks
    sample: Blocks
    action: Blocks
    hidden: BlockLinear
    norm: RMSNorm | LayerNorm
    gates: BlockLinear

    def __init__(
        self,
        deter: int,
        stoch: int,
        act: int,
        *,
        hidden: int,
        groups: int,
        kind: LayerKind,
        key: PRNGKeyArray,
    ):
        """A new cell for memories, flattened samples and actions of these widths.

        Raises:
            ConfigError: the memory cannot be divided into so many groups.
        """
        if deter % groups:
            low = deter // groups * groups
            raise ConfigError(
                f"deter={deter} must be a multiple of groups={groups}; the nearest are "
                f"{low} and {low + groups}."
            )
        keys = named_keys(key, "memory", "sample", "action", "hidden", "gates")
        self.memory = Blocks(deter, hidden, 1, key=keys.memory, kind=kind)
        self.sample = Blocks(stoch, hidden, 1, key=keys.sample, kind=kind)
        self.action = Blocks(act, hidden, 1, key=keys.action, kind=kind)
        size = deter // groups
        self.hidden = BlockLinear(groups, size + 3 * hidden, size, key=keys.hidden, bias=kind.bias)
        self.norm = kind.normaliser(deter)
        self.gates = BlockLinear(groups, size, 3 * size, key=keys.gates)

    def __call__(
        self,
        deter: Float[Array, "*B D"],
        stoch: Float[Array, "*B Z"],
        action: Float[Array, "*B A"],
    ) -> Float[Array, "*B D"]:
        """The next memory."""
        groups = self.gates.weight.shape[0]
        grouped = lambda x: x.reshape(*x.shape[:-1], groups, -1)
        flat = lambda x: x.reshape(*x.shape[:-2], -1)
        read = [self.memory(deter), self.sample(stoch), self.action(action)]
        told = jnp.concatenate(read, axis=-1)[..., None, :]
        told = jnp.broadcast_to(told, (*deter.shape[:-1], groups, told.shape[-1]))
        own = jnp.concatenate([grouped(deter), told], axis=-1)
        hidden = jax.nn.silu(self.norm(flat(self.hidden(own))))
        reset, candidate, update = jnp.split(self.gates(grouped(hidden)), 3, axis=-1)
        candidate = flat(jnp.tanh(jax.nn.sigmoid(reset) * candidate))
        update = flat(jax.nn.sigmoid(update - 1.0))
        return update * candidate + (1 - update) * deter
