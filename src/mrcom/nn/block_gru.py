"""A recurrent cell whose large matrices are block-diagonal."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.errors import check_multiple
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

    def shares(self, x: Float[Array, "*B D"], num: int) -> list[Float[Array, "*B E"]]:
        """The map of a vector: `num` vectors, each an equal share of every group's outputs."""
        y = products(by_group(x, self.weight.shape[0]), self.weight)
        biases = [None] * num if self.bias is None else jnp.split(self.bias, num, axis=-1)
        parts = zip(jnp.split(y, num, axis=-1), biases, strict=True)
        return [biased(joined(part), bias) for part, bias in parts]


def products(x: Float[Array, "G *B I"], weight: Float[Array, "G I O"]) -> Float[Array, "G *B O"]:
    """Every group's vectors times its matrix; groups in front, where products are fast."""
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    y = jax.lax.dot_general(flat, weight, (((2,), (1,)), ((0,), (0,))))
    return y.reshape(*x.shape[:-1], weight.shape[-1])


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
        check_multiple(f"deter={deter} must be a multiple of groups={groups}", deter, groups)
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
        read = [self.memory(deter), self.sample(stoch), self.action(action)]
        # What every group is told meets all groups' weights in one product, instead of once each.
        own, told = jnp.split(self.hidden.weight, [deter.shape[-1] // groups], axis=1)
        hidden = joined(products(by_group(deter, groups), own))
        hidden = biased(hidden + jnp.concatenate(read, axis=-1) @ joined(told), self.hidden.bias)
        hidden = jax.nn.silu(self.norm(hidden))
        reset, candidate, update = self.gates.shares(hidden, 3)
        update = jax.nn.sigmoid(update - 1.0)
        candidate = jnp.tanh(jax.nn.sigmoid(reset) * candidate)
        return update * candidate + (1 - update) * deter


def by_group(x: Float[Array, "*B D"], groups: int) -> Float[Array, "G *B I"]:
    """A vector's groups, in front."""
    return jnp.moveaxis(x.reshape(*x.shape[:-1], groups, -1), -2, 0)


def joined(x: Float[Array, "G *B I"]) -> Float[Array, "*B D"]:
    """The inverse of `by_group`."""
    x = jnp.moveaxis(x, 0, -2)
    return x.reshape(*x.shape[:-2], -1)


def biased(x: Float[Array, "*B D"], bias: Float[Array, "G I"] | None) -> Float[Array, "*B D"]:
    """Joined groups with their biases. On whole rows: group by group this would cost more time
    than the products.
    """
    return x if bias is None else x + jnp.broadcast_to(bias.reshape(-1), x.shape)
