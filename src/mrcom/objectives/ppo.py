"""The equations of proximal policy optimisation, on plain arrays.

Time runs forward here as a policy meets it: `action[t]` is chosen at `obs[t]` and `reward[t]`
answers it. In the storage convention of the other stages these are `action[t + 1]` and
`reward[t + 1]`.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def generalised_advantage(
    reward: Float[Array, "T *B"],
    cont: Float[Array, "T *B"],
    value: Float[Array, "T+1 *B"],
    *,
    discount: float,
    lambda_: float,
) -> Float[Array, "T *B"]:
    """Advantage of each action, as a mix over how many steps are looked ahead.

        delta_t = r_t + discount * c_t * v_{t+1} - v_t
        A_t = delta_t + discount * lambda * c_t * A_{t+1},  A_T = 0

    Args:
        reward: r_t, in the unit of one step of `value`: the critic's unit times
            1 - discount if values are kept in units of 1 / (1 - discount).
        cont: c_t, 0 where the episode truly ended after that action. A time limit is not an
            end: cut the arrays there and leave its value in `value[-1]`.
        value: v_0 .. v_T; the last one stands for everything after the arrays' end.
        discount: per control step.
        lambda_: 0 gives one-step differences, 1 the whole bootstrapped return minus v_t.

    Returns:
        A_0 .. A_{T-1}.

    Equation: schulman.gae
    """

    def backward(following: Array, step: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        r, c, now, after = step
        advantage = r + discount * c * (after + lambda_ * following) - now
        return advantage, advantage

    start = jnp.zeros_like(value[-1])
    steps = (reward, cont, value[:-1], value[1:])
    _, advantages = jax.lax.scan(backward, start, steps, reverse=True)
    return advantages


def clipped_surrogate(
    log_prob: Float[Array, "*B"],
    old_log_prob: Float[Array, "*B"],
    advantage: Float[Array, "*B"],
    *,
    clip: float,
) -> Float[Array, "*B"]:
    """The policy's gain, without reward for moving further than `clip`.

        rho = exp(log_prob - old_log_prob)
        L = min(rho A, clip(rho, 1 - clip, 1 + clip) A)

    To be maximised. Its gradient is zero where rho has left the interval to the better side.

    Equation: schulman.ppo_clip
    """
    ratio = jnp.exp(log_prob - old_log_prob)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def normal_log_prob(
    action: Float[Array, "*B A"], mean: Float[Array, "*B A"], log_std: Float[Array, " A"]
) -> Float[Array, "*B"]:
    """Log density of a diagonal normal, summed over the action's dimensions."""
    log_std = jnp.broadcast_to(log_std, mean.shape)
    scaled = (action - mean) * jnp.exp(-log_std)
    return -jnp.sum(0.5 * scaled**2 + log_std + 0.5 * math.log(2 * math.pi), axis=-1)


def normal_entropy(log_std: Float[Array, " A"]) -> Float[Array, ""]:
    """Entropy of a diagonal normal in nats."""
    return jnp.sum(log_std + 0.5 * math.log(2 * math.pi * math.e))


def normal_kl(
    mean: Float[Array, "*B A"],
    log_std: Float[Array, " A"],
    other_mean: Float[Array, "*B A"],
    other_log_std: Float[Array, " A"],
) -> Float[Array, "*B"]:
    """KL(first || other) of diagonal normals in nats, summed over dimensions."""
    log_std = jnp.broadcast_to(log_std, mean.shape)
    other_log_std = jnp.broadcast_to(other_log_std, mean.shape)
    ratio = jnp.exp(2 * (log_std - other_log_std))
    square = (mean - other_mean) ** 2 * jnp.exp(-2 * other_log_std)
    return jnp.sum(other_log_std - log_std + 0.5 * (ratio + square - 1), axis=-1)
