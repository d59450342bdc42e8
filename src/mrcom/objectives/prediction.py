"""What a state says about its step: observation, reward, and whether the episode goes on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from mrcom.core.numerics import symlog, two_hot


def reconstruction(
    decoded: Float[Array, "B T O"],
    obs: Float[Array, "B T O"],
    obs_mask: Float[Array, "B O"],
    *,
    std: float = 1.0,
) -> Float[Array, "B T"]:
    """Negative log-likelihood of an observation, without its constant.

        sum_i  mask_i (o_i - decoded_i)^2 / (2 std^2)

    Observations are normalised; their padded entries may hold anything finite. `std` belongs to
    the decoder's Gaussian and is the same for every entry.

    Equation: mrcom.eq10
    """
    error = (decoded - obs) * obs_mask[:, None]
    return jnp.sum(jnp.square(error), axis=-1) / (2 * std**2)


def symlog_reconstruction(
    decoded: Float[Array, "B T O"], obs: Float[Array, "B T O"], obs_mask: Float[Array, "B O"]
) -> Float[Array, "B T"]:
    """Squared distance of what was decoded from the symlog of a raw observation.

        sum_i  mask_i (symlog(o_i) - decoded_i)^2

    Padded entries may hold anything finite.

    Equation: dreamer.symlog
    """
    error = (decoded - symlog(obs)) * obs_mask[:, None]
    return jnp.sum(jnp.square(error), axis=-1)


def image_reconstruction(
    drawn: Float[Array, "B T S S C"], image: UInt8[Array, "B T S S C"]
) -> Float[Array, "B T"]:
    """Squared distance of a drawn picture from the real one, in units of full brightness.

        sum over pixels and colours  (x / 255 - drawn)^2

    Equation: dreamer.image
    """
    error = drawn - image.astype(drawn.dtype) / 255
    return jnp.sum(jnp.square(error), axis=(-3, -2, -1))


def two_hot_loss(
    logits: Float[Array, "*B K"], target: Float[Array, "*B"], bins: Float[Array, " K"]
) -> Float[Array, "*B"]:
    """Cross-entropy between a two-hot number and predicted weights of the bins, in nats.

    The number is spread over the two bins around it so that their mean is the number itself.

    Equation: dreamer.two_hot
    """
    return -jnp.sum(two_hot(target, bins) * jax.nn.log_softmax(logits, axis=-1), axis=-1)


def reward_loss(
    logits: Float[Array, "*B K"], reward: Float[Array, "*B"], bins: Float[Array, " K"]
) -> Float[Array, "*B"]:
    """Cross-entropy between the two-hot reward and predicted weights of the bins, in nats."""
    return two_hot_loss(logits, reward, bins)


def continue_loss(logit: Float[Array, "*B"], cont: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Negative log-likelihood of going on (`cont` 1) or ending (0), in nats."""
    return jax.nn.softplus(logit) - cont * logit
