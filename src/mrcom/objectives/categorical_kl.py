"""How far categorical prior and posterior may differ, and which of them has to move."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mrcom.core.types import Number
from mrcom.nn.categorical import Categorical


def dynamics_kl(
    posterior: Categorical, prior: Categorical, *, free_nats: Number
) -> Float[Array, "*B"]:
    """What moves the prior: max(free, KL(sg(q) || p)).

    The divergence is summed over all variables before it is compared with the free nats.

    Equation: dreamer.kl_dyn
    """
    return jnp.maximum(posterior.stopped().divergence(prior), free_nats)


def representation_kl(
    posterior: Categorical, prior: Categorical, *, free_nats: Number
) -> Float[Array, "*B"]:
    """What moves the posterior: max(free, KL(q || sg(p))).

    Equation: dreamer.kl_rep
    """
    return jnp.maximum(posterior.divergence(prior.stopped()), free_nats)
