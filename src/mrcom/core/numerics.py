"""Small numerical functions that several layers share."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def symlog(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sign(x) ln(1 + |x|)."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The inverse of `symlog`."""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


def symexp_bins(num_bins: int, limit: float = 20.0) -> Float[Array, " K"]:
    """An odd number of bins, symmetric about 0: symexp of an even grid on [-limit, limit].

    Source: DreamerV3's current code, which uses 255 bins and a limit of 20.
    """
    half = symexp(jnp.linspace(-limit, 0.0, (num_bins - 1) // 2 + 1))
    return jnp.concatenate([half, -half[:-1][::-1]])


def two_hot(x: Float[Array, "*B"], bins: Float[Array, " K"]) -> Float[Array, "*B K"]:
    """Weights on the two bins around x whose mean is x; one bin where x lies outside."""
    x = jnp.clip(x, bins[0], bins[-1])
    above = jnp.clip(jnp.searchsorted(bins, x, side="right"), 1, bins.shape[0] - 1)
    low, high = bins[above - 1], bins[above]
    share = (x - low) / (high - low)
    return (1 - share)[..., None] * jax.nn.one_hot(above - 1, bins.shape[0]) + share[
        ..., None
    ] * jax.nn.one_hot(above, bins.shape[0])


def percentile_range(
    x: Float[Array, "..."], low: float = 5.0, high: float = 95.0
) -> Float[Array, ""]:
    """Distance between two percentiles of all entries."""
    return jnp.percentile(x, high) - jnp.percentile(x, low)
