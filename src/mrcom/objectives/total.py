"""From named loss terms to one number."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from mrcom.core.errors import ConfigError
from mrcom.core.types import Number


def total_loss(
    terms: Mapping[str, Float[Array, "B _"]], weights: Mapping[str, Number]
) -> Float[Array, ""]:
    """Weighted sum of loss terms, each averaged over batch and time.

    Args:
        terms: [B, T] each; a term that compares neighbouring steps may be one shorter.
        weights: under the same names.

    Raises:
        ConfigError: a name on one side only.

    Equation: mrcom.eq16
    """
    if terms.keys() != weights.keys():
        raise ConfigError(
            f"Loss terms and weights must have the same names. "
            f"Without a weight: {sorted(terms.keys() - weights.keys())}; "
            f"without a term: {sorted(weights.keys() - terms.keys())}. "
            f"A term is switched off by removing it from both, not by weight 0."
        )
    total = jnp.zeros(())
    for name, term in terms.items():
        total = total + weights[name] * jnp.mean(term)
    return total
