"""Soft actor-critic: targets and losses.

Values are in units of 1 / (1 - discount): reward 1 for ever, without entropy, is worth 1. The
temperature is in reward per nat, so it means the same at every discount.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mrcom.core.types import Number


def soft_target(
    reward: Float[Array, " B"],
    cont: Float[Array, " B"],
    next_value: Float[Array, "K B"],
    next_log_prob: Float[Array, " B"],
    *,
    temperature: Float[Array, ""],
    discount: Number,
) -> Float[Array, " B"]:
    """One-step target with the least of K critics and the next action's entropy.

        y = (1 - discount) r + discount c [min_k q_k(s', a') - (1 - discount) alpha log pi(a'|s')]

    No gradient flows through it. `cont` is 0 where the episode ended for good and 1 at a time
    limit; `next_value` is the K slow critics' at an action drawn now.

    Equation: sac.target
    """
    unit = 1 - discount
    soft = jnp.min(next_value, axis=0) - unit * temperature * next_log_prob
    return jax.lax.stop_gradient(unit * reward + discount * cont * soft)


def critic_loss(
    value: Float[Array, "K B"], target: Float[Array, " B"], weight: Float[Array, " B"]
) -> Float[Array, ""]:
    """Half the weighted squared distance to the target, summed over critics.

    Equation: sac.critic
    """
    squared = (value - jax.lax.stop_gradient(target)[None]) ** 2
    return 0.5 * jnp.sum(jnp.mean(weight[None] * squared, axis=1))


def actor_loss(
    value: Float[Array, "K B"],
    log_prob: Float[Array, " B"],
    weight: Float[Array, " B"],
    *,
    temperature: Float[Array, ""],
    discount: Number,
) -> Float[Array, ""]:
    """What the policy minimises: (1 - discount) alpha log pi - min_k q_k.

    `value` is that of the K critics at the policy's own action, with its gradient to the action;
    `log_prob` belongs to that action. The temperature is a constant here.

    Equation: sac.actor
    """
    alpha = jax.lax.stop_gradient(temperature)
    return jnp.mean(weight * ((1 - discount) * alpha * log_prob - jnp.min(value, axis=0)))


def temperature_loss(
    log_temperature: Float[Array, ""],
    log_prob: Float[Array, " B"],
    *,
    target_entropy: Float[Array, ""],
) -> Float[Array, ""]:
    """Rises with the temperature while entropy is above its target, falls below it.

    The logarithm itself is multiplied, as implementations do, instead of its exponential.

    Equation: sac.temperature
    """
    surplus = jax.lax.stop_gradient(-jnp.mean(log_prob) - target_entropy)
    return log_temperature * surplus
