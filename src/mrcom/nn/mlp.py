"""Linear maps, normalisation and perceptrons, on the last axis of any array."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# Standard deviation of a unit normal cut off at two standard deviations.
_TRUNCATED_STD = 0.87962566


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
        draw = jax.random.truncated_normal(key, -2.0, 2.0, (inputs, outputs))
        self.weight = draw * ((scale / max(inputs, 1)) ** 0.5 / _TRUNCATED_STD)
        self.bias = jnp.zeros(outputs) if bias else None

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """The map of every vector."""
        y = x @ self.weight
        return y if self.bias is None else y + _like(self.bias, y)


class RMSNorm(eqx.Module):
    """Each vector divided by its root mean square, times a learned scale."""

    scale: Float[Array, " I"]

    def __init__(self, width: int):
        self.scale = jnp.ones(width)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B I"]:
        """The normalised vectors."""
        size = jnp.sum(jnp.square(x), axis=-1, keepdims=True) / max(x.shape[-1], 1)
        return x * jax.lax.rsqrt(size + 1e-6) * _like(self.scale, x)


class MLP(eqx.Module):
    """Hidden layers of linear, RMSNorm and SiLU, then one linear map."""

    hidden: tuple[Linear, ...]
    norms: tuple[RMSNorm, ...]
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
    ):
        widths = [inputs] + [units] * layers
        keys = [jax.random.fold_in(key, i) for i in range(layers + 1)]
        self.hidden = tuple(Linear(widths[i], units, key=keys[i]) for i in range(layers))
        self.norms = tuple(RMSNorm(units) for _ in range(layers))
        self.out = Linear(widths[-1], outputs, key=keys[-1], scale=out_scale)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """The output for every vector."""
        return self.out(hidden_layers(self.hidden, self.norms, x))


def hidden_layers(
    hidden: tuple[Linear, ...], norms: tuple[RMSNorm, ...], x: Float[Array, "*B I"]
) -> Float[Array, "*B J"]:
    """What the output layer of a perceptron reads."""
    for linear, norm in zip(hidden, norms, strict=True):
        x = jax.nn.silu(norm(linear(x)))
    return x


def _like(vector: Float[Array, " I"], x: Float[Array, "*B I"]) -> Float[Array, "*B I"]:
    return jnp.broadcast_to(vector, x.shape)
