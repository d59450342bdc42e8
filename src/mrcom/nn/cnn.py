"""Convolutions between square pictures and vectors."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.nn.block_gru import BlockLinear
from mrcom.nn.mlp import PLAIN, LayerKind, LayerNorm, Linear, RMSNorm

KERNEL = 5
"""Height and width of a convolution."""
MULTIPLES = (2, 3, 4, 4)
"""Channels of each layer, in depths; every layer halves or doubles the picture's side."""
GROUPS = 8
"""Groups of the recurrent state that each make a share of the smallest picture's channels."""


class Conv(eqx.Module):
    """A convolution that keeps the side of a picture; borders are filled with zeros."""

    weight: Float[Array, "K K I O"]
    bias: Float[Array, " O"]

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray):
        flat = Linear(KERNEL * KERNEL * inputs, outputs, key=key)
        self.weight = flat.weight.reshape(KERNEL, KERNEL, inputs, outputs)
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: Float[Array, "B S S I"]) -> Float[Array, "B S S O"]:
        """The pictures' new channels."""
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, self.weight, (1, 1), "SAME", dimension_numbers=layout)
        return y + jnp.broadcast_to(self.bias, y.shape)


class ConvEncoder(eqx.Module):
    """Pictures to vectors: convolution, the largest of 2 x 2, normalisation, SiLU; four times."""

    layers: tuple[Conv, ...]
    norms: tuple[RMSNorm | LayerNorm, ...]

    def __init__(self, channels: int, depth: int, *, key: PRNGKeyArray, kind: LayerKind = PLAIN):
        widths = [channels, *(depth * multiple for multiple in MULTIPLES)]
        self.layers = tuple(
            Conv(widths[i], widths[i + 1], key=jax.random.fold_in(key, i))
            for i in range(len(MULTIPLES))
        )
        self.norms = tuple(kind.normaliser(width) for width in widths[1:])

    def __call__(self, x: Float[Array, "B S S C"]) -> Float[Array, "B E"]:
        """One vector of each picture."""
        for conv, norm in zip(self.layers, self.norms, strict=True):
            y = conv(x)
            rows, side, _, channels = y.shape
            largest = y.reshape(rows, side // 2, 2, side // 2, 2, channels).max((2, 4))
            x = jax.nn.silu(norm(largest))
        return x.reshape(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3])


class ConvDecoder(eqx.Module):
    """Vectors to pictures in [0, 1]: the smallest picture, then doubling and convolution.

    A memory makes the smallest picture's channels group by group, and the rest of the state adds
    to all of them.
    """

    memory: BlockLinear
    rest: Linear
    rest_norm: RMSNorm | LayerNorm
    rest_out: Linear
    norm: RMSNorm | LayerNorm
    layers: tuple[Conv, ...]
    norms: tuple[RMSNorm | LayerNorm, ...]
    least: int = eqx.field(static=True)

    def __init__(
        self,
        memory: int,
        rest: int,
        units: int,
        side: int,
        channels: int,
        depth: int,
        *,
        key: PRNGKeyArray,
        kind: LayerKind = PLAIN,
    ):
        """A new decoder; `units` is the width of the hidden layer that `rest` goes through."""
        keys = named_keys(key, "memory", "rest", "rest_out", "layers")
        widths = [depth * multiple for multiple in reversed(MULTIPLES)]
        self.least = smallest(side)
        size = self.least**2 * widths[0]
        if memory % GROUPS or widths[0] % GROUPS:
            raise ConfigError(
                f"A decoder of pictures needs multiples of {GROUPS}: a memory of {memory} units "
                f"and {widths[0]} channels are not both; the nearest are "
                f"{-(-memory // GROUPS) * GROUPS} and {-(-widths[0] // GROUPS) * GROUPS}."
            )
        self.memory = BlockLinear(GROUPS, memory // GROUPS, size // GROUPS, key=keys.memory)
        self.rest = kind.linear(rest, units, key=keys.rest)
        self.rest_norm = kind.normaliser(units)
        self.rest_out = Linear(units, size, key=keys.rest_out)
        self.norm = kind.normaliser(widths[0])
        outs = [*widths[1:], channels]
        self.layers = tuple(
            Conv(widths[i], outs[i], key=jax.random.fold_in(keys.layers, i))
            for i in range(len(widths))
        )
        self.norms = tuple(kind.normaliser(width) for width in widths[1:])

    def __call__(
        self, memory: Float[Array, "B D"], rest: Float[Array, "B R"]
    ) -> Float[Array, "B S S C"]:
        """One picture of each state."""
        rows, least = memory.shape[0], self.least
        (grouped,) = self.memory.shares(memory, 1)
        x = grouped.reshape(rows, GROUPS, least, least, -1)
        x = jnp.moveaxis(x, 1, 3).reshape(rows, least, least, -1)
        hidden = jax.nn.silu(self.rest_norm(self.rest(rest)))
        x = jax.nn.silu(self.norm(x + self.rest_out(hidden).reshape(x.shape)))
        for conv, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = jax.nn.silu(norm(conv(_doubled(x))))
        return jax.nn.sigmoid(self.layers[-1](_doubled(x)))


def smallest(side: int) -> int:
    """Side of a picture after all halvings.

    Raises:
        ConfigError: it cannot be halved so often.
    """
    shrink = 2 ** len(MULTIPLES)
    if side < shrink or side % shrink:
        nearest = max(1, round(side / shrink)) * shrink
        raise ConfigError(f"Pictures of side={side} must be multiples of {shrink}: {nearest}.")
    return side // shrink


def _doubled(x: Float[Array, "B S S C"]) -> Float[Array, "B P P C"]:
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
