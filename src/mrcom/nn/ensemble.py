"""Perceptrons of several members as one module, and learned soft bounds of log-variances."""

import itertools
from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.nn.mlp import fresh_weights

Activation = Literal["silu", "relu"]
_ACTIVATIONS = {"silu": jax.nn.silu, "relu": jax.nn.relu}


class EnsembleLinear(eqx.Module):
    """x[e] @ weight[e] + bias[e] for every member e, in one batched product.

    Weights start as a normal cut off at two standard deviations of 1 / (2 sqrt(inputs)), biases
    at 0.
    """

    weight: Float[Array, "E I O"]
    bias: Float[Array, "E O"]

    def __init__(self, members: int, inputs: int, outputs: int, *, key: PRNGKeyArray):
        scale = 0.5 / max(inputs, 1) ** 0.5
        self.weight, self.bias = fresh_weights(key, scale, (members, inputs, outputs))

    def __call__(self, x: Float[Array, "E B I"]) -> Float[Array, "E B O"]:
        """Each member's map of its own rows."""
        y = x @ self.weight
        return y + jnp.broadcast_to(self.bias[:, None], y.shape)


class EnsembleMLP(eqx.Module):
    """Perceptrons of one shape, with the members on the first axis of every leaf.

    Members share nothing: a member's output depends on its own weights and its own rows alone.
    """

    layers: tuple[EnsembleLinear, ...]
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        members: int,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        activation: Activation,
        key: PRNGKeyArray,
    ):
        widths = [inputs, *hidden, outputs]
        self.layers = tuple(
            EnsembleLinear(members, below, above, key=jax.random.fold_in(key, i))
            for i, (below, above) in enumerate(itertools.pairwise(widths))
        )
        self.activation = activation

    @property
    def weights(self) -> tuple[Float[Array, "E _ _"], ...]:
        """Of every layer, from the input to the output; without biases."""
        return tuple(layer.weight for layer in self.layers)

    def __call__(self, x: Float[Array, "E *B I"]) -> Float[Array, "E *B O"]:
        """Each member's output for its own rows."""
        rows = x.reshape(x.shape[0], -1, x.shape[-1])
        for layer in self.layers[:-1]:
            rows = _ACTIVATIONS[self.activation](layer(rows))
        return self.layers[-1](rows).reshape(*x.shape[:-1], -1)


class SoftBounds(eqx.Module):
    """Learned limits of log-variances, entry by entry, which all members share.

        v <- max - softplus(max - v),   v <- min + softplus(v - min)

    Gradients pass on either side, so that an output cannot be stuck beyond a limit.
    """

    low: Float[Array, " O"]
    high: Float[Array, " O"]

    def __init__(self, width: int, *, low: float = -10.0, high: float = 0.5):
        self.low = jnp.full(width, low, jnp.float32)
        self.high = jnp.full(width, high, jnp.float32)

    def __call__(self, raw: Float[Array, "*B O"]) -> Float[Array, "*B O"]:
        """Log-variances between the limits."""
        high = jnp.broadcast_to(self.high, raw.shape)
        low = jnp.broadcast_to(self.low, raw.shape)
        below = high - jax.nn.softplus(high - raw)
        return low + jax.nn.softplus(below - low)
