"""Imitation: what somebody who knew how did, was good."""

import jax.numpy as jnp
from jaxtyping import Array, Float

ACTION_LIMIT = 0.99
"""Shown actions are moved to within this of 0: at a bound a squashed density has no mode."""


def imitation_loss(log_prob: Float[Array, "*B"], shown: Float[Array, "*B"]) -> Float[Array, ""]:
    """Minus the mean log-probability of shown actions; 0 where nothing was shown.

    `log_prob` is the policy's of the action taken at every step, `shown` 1 where it is an example
    and 0 where it is not.
    """
    return -jnp.sum(shown * log_prob) / jnp.maximum(jnp.sum(shown), 1.0)
