"""Linear maps, normalisation and perceptrons, on the last axis of any array."""

import dataclasses
import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.errors import ConfigError, unknown
from mrcom.core.types import Number

# Standard deviation of a unit normal cut off at two standard deviations.
_TRUNCATED_STD = 0.87962566


@functools.partial(jax.jit, static_argnames="shape")
def fresh_weights(
    key: PRNGKeyArray, scale: Number, shape: tuple[int, ...]
) -> tuple[Float[Array, "*E I O"], Float[Array, "*E O"]]:
    """Matrices of a normal that is cut off at two standard deviations of `scale`, and zeros.

    One program for each shape; every operation by itself would be one.
    """
    weight = scale * jax.random.truncated_normal(key, -2.0, 2.0, shape)
    return weight, jnp.zeros((*shape[:-2], shape[-1]))


class Linear(eqx.Module):
    """x @ weight + bias, on the last axis.

    Weights start as a truncated normal with variance `scale` / inputs, so `scale` 0 starts at 0.
    """

    weight: Float[Array, "I O"]
    bias: Float[Array, " O"] | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        key: PRNGKeyArray,
        scale: float = 1.0,
        bias: bool = True,
    ):
        std = (scale / max(inputs, 1)) ** 0.5
        self.weight, zeros = fresh_weights(key, std / _TRUNCATED_STD, (inputs, outputs))
        self.bias = zeros if bias else None

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """The map of every vector."""
        # As one product of two matrices: with more axes in front, the weight's gradient would be a
        # sum over several of them, for which a compiler turns its operands round first.
        rows, weight = (rows_of(x) if x.ndim > 2 else x), self.weight
        if rows.ndim == 2 and len(rows) > weight.shape[0] > weight.shape[1]:
            # Its gradient is then output by input, and turned round when it is there: as input by
            # output, the longer side in front, the same product takes half as long again. Of few
            # rows the turning itself would cost more.
            weight = jax.lax.optimization_barrier(weight.T).T
        y = (rows @ weight).reshape(*x.shape[:-1], weight.shape[-1])
        return y if self.bias is None else y + _like(self.bias, y)


class RMSNorm(eqx.Module):
    """Each vector divided by its root mean square, times a learned scale."""

    scale: Float[Array, " I"]
    eps: float = eqx.field(static=True)

    def __init__(self, width: int, eps: float = 1e-6):
        self.scale = jnp.ones(width)
        self.eps = eps

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B I"]:
        """The normalised vectors."""
        size = jnp.sum(jnp.square(x), axis=-1, keepdims=True) / max(x.shape[-1], 1)
        return x * jax.lax.rsqrt(size + self.eps) * _like(self.scale, x)


class LayerNorm(eqx.Module):
    """Each vector less its mean, divided by its standard deviation, scaled and shifted."""

    scale: Float[Array, " I"]
    shift: Float[Array, " I"]
    eps: float = eqx.field(static=True)

    def __init__(self, width: int, eps: float = 1e-3):
        self.scale, self.shift = jnp.ones(width), jnp.zeros(width)
        self.eps = eps

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B I"]:
        """The normalised vectors."""
        width = max(x.shape[-1], 1)
        centred = x - jnp.sum(x, axis=-1, keepdims=True) / width
        size = jnp.sum(jnp.square(centred), axis=-1, keepdims=True) / width
        return centred * jax.lax.rsqrt(size + self.eps) * _like(self.scale, x) + _like(
            self.shift, x
        )


NORMS = {"rms": RMSNorm, "layer": LayerNorm}
"""Normalisations by name."""


@dataclasses.dataclass(frozen=True)
class LayerKind:
    """What a hidden layer is made of, besides its linear map and SiLU."""

    norm: str = "rms"
    """Name of the normalisation: `rms` or `layer`."""
    eps: float = 1e-6
    """Added to the square that a normalisation divides by."""
    bias: bool = True
    """Whether the linear map has a bias."""

    def __post_init__(self):
        if self.norm not in NORMS:
            raise unknown("normalisation", self.norm, NORMS)
        if self.eps <= 0:
            raise ConfigError(f"LayerKind.eps={self.eps} must be above 0; 1e-6 is the default.")

    def linear(self, inputs: int, units: int, *, key: PRNGKeyArray) -> Linear:
        """The linear map of a new hidden layer."""
        return Linear(inputs, units, key=key, bias=self.bias)

    def normaliser(self, width: int) -> RMSNorm | LayerNorm:
        """The normalisation of a new hidden layer."""
        return NORMS[self.norm](width, self.eps)


PLAIN = LayerKind()
"""RMSNorm after a linear map with a bias."""


class Blocks(eqx.Module):
    """Hidden layers alone: linear, normalisation, SiLU, as often as said."""

    hidden: tuple[Linear, ...]
    norms: tuple[RMSNorm | LayerNorm, ...]

    def __init__(
        self,
        inputs: int,
        units: int,
        layers: int,
        *,
        key: PRNGKeyArray,
        kind: LayerKind = PLAIN,
    ):
        widths = [inputs] + [units] * layers
        self.hidden = tuple(
            kind.linear(widths[i], units, key=jax.random.fold_in(key, i)) for i in range(layers)
        )
        self.norms = tuple(kind.normaliser(units) for _ in range(layers))

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B J"]:
        """The last layer's output for every vector."""
        return hidden_layers(self.hidden, self.norms, x)


class MLP(eqx.Module):
    """Hidden layers of linear, RMSNorm and SiLU, then one linear map.

    `kind` gives hidden layers another normalisation, or linear maps without a bias.
    """

    hidden: tuple[Linear, ...]
    norms: tuple[RMSNorm | LayerNorm, ...]
    out: Linear

    def __init__(
        self,
        inputs: int,
        units: int,
        layers: int,
        outputs: int,
        *,
        key: PRNGKeyArray,
        out_scale: float = 1.0,
        kind: LayerKind = PLAIN,
    ):
        body = Blocks(inputs, units, layers, key=key, kind=kind)
        self.hidden, self.norms = body.hidden, body.norms
        last = jax.random.fold_in(key, layers)
        self.out = Linear(units if layers else inputs, outputs, key=last, scale=out_scale)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """The output for every vector."""
        return self.out(hidden_layers(self.hidden, self.norms, x))


def hidden_layers(
    hidden: tuple[Linear, ...],
    norms: tuple[RMSNorm | LayerNorm, ...],
    x: Float[Array, "*B I"],
) -> Float[Array, "*B J"]:
    """What the output layer of a perceptron reads."""
    for linear, norm in zip(hidden, norms, strict=True):
        x = jax.nn.silu(norm(linear(x)))
    return x


def rows_of(x: Float[Array, "*B I"]) -> Float[Array, "N I"]:
    """All vectors of an array as the rows of a matrix, of which there may be none."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _like(vector: Float[Array, " I"], x: Float[Array, "*B I"]) -> Float[Array, "*B I"]:
    return jnp.broadcast_to(vector, x.shape)
