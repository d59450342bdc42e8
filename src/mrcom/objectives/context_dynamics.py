"""Losses of dynamics models with a context: one context for several steps, both ways in time.

Axis E: members; S: starts of a window; J: the transitions that follow a start.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def known_steps(first: Bool[Array, "B L"], valid: Float[Array, "B L"]) -> Bool[Array, "B L"]:
    """Whether a step was seen in the episode itself, and is neither padding nor a prompt's.

    Where an episode starts inside a window, nothing before its first step counts.
    """
    started = jnp.cumsum(first, axis=1) > 0
    within = ~jnp.any(first, axis=1, keepdims=True)
    return (started | within) & (valid > 0)


def follows(
    known: Bool[Array, "B L"], first: Bool[Array, "B L"], ended: Bool[Array, "B L"]
) -> Bool[Array, "B L"]:
    """Whether a step came out of the one before it, by the action stored with it.

    Not an episode's first step, not what comes after its end, and not a window's first step,
    whose predecessor is unknown.
    """
    moved = known[:, 1:] & known[:, :-1] & ~first[:, 1:] & ~ended[:, :-1]
    return jnp.concatenate([jnp.zeros_like(moved[:, :1]), moved], axis=1)


def future_mask(
    followed: Bool[Array, "B L"], start: Int[Array, "E B S"], num: int
) -> Float[Array, "E B S J"]:
    """1 for each of the `num` transitions after a start that exists and belongs to its episode.

    Transition j leads from step start + j to the next. From the first one missing on, at the end
    of the window or of the episode, none counts.
    """
    length = followed.shape[1]
    arrives = start[..., None] + jnp.arange(1, num + 1)[None, None, None]
    rows = jnp.arange(followed.shape[0])[None, :, None, None]
    there = followed[rows, jnp.minimum(arrives, length - 1)] & (arrives < length)
    return jnp.cumprod(there.astype(jnp.float32), axis=-1)


def forward_loss(
    mean: Float[Array, "E B S J O"],
    log_variance: Float[Array, "E B S J O"],
    change: Float[Array, "E B S J O"],
    obs_mask: Float[Array, "B O"],
    exists: Float[Array, "E B S J"],
) -> Float[Array, "B S"]:
    """How badly members predict a state's change, summed over members.

        sum_e mean_{j, i} [(mu - delta)^2 exp(-v) + v]

    The mean is over a row's transitions that exist and its real entries. With a log-variance v
    of 0 it is the mean squared error.

    Equation: cadm.forward
    """
    error = jnp.square(mean - change) * jnp.exp(-log_variance) + log_variance
    return _mean_of_real(error, obs_mask, exists)


def backward_loss(
    mean: Float[Array, "E B S J O"],
    change: Float[Array, "E B S J O"],
    obs_mask: Float[Array, "B O"],
    exists: Float[Array, "E B S J"],
) -> Float[Array, "B S"]:
    """How badly members say from a state where it came from, summed over members.

        sum_e mean_{j, i} (b - delta_back)^2

    `change` is the one from the next state back to the state before.

    Equation: cadm.backward
    """
    return _mean_of_real(jnp.square(mean - change), obs_mask, exists)


def reward_error(
    predicted: Float[Array, "E B S J"],
    reward: Float[Array, "E B S J"],
    exists: Float[Array, "E B S J"],
) -> Float[Array, "B S"]:
    """Squared error of the reward of arriving, summed over members."""
    return _over_transitions(jnp.square(predicted - reward), exists)


def bound_penalty(low: Float[Array, " O"], high: Float[Array, " O"]) -> Float[Array, ""]:
    """Sum of the upper minus sum of the lower limits: keeps learned bounds of variances tight."""
    return jnp.sum(high) - jnp.sum(low)


def layer_rates(hidden: int, out: float) -> tuple[float, ...]:
    """Weight decay of each layer: 2.5e-5 more for each up to 7.5e-5, then the output's."""
    return (*(min(2.5e-5 * (i + 1), 7.5e-5) for i in range(hidden)), out)


def weight_decay(weights: Sequence[Array], rates: Sequence[float]) -> Float[Array, ""]:
    """Half the sum of squared weights, each layer at its own rate; members are summed."""
    total = jnp.zeros(())
    for weight, rate in zip(weights, rates, strict=True):
        total = total + 0.5 * rate * jnp.sum(jnp.square(weight))
    return total


def _mean_of_real(
    error: Float[Array, "E B S J O"], obs_mask: Float[Array, "B O"], exists: Float[Array, "E B S J"]
) -> Float[Array, "B S"]:
    real = jnp.broadcast_to(obs_mask[None, :, None, None], error.shape)
    count = jnp.maximum(jnp.sum(obs_mask, axis=-1), 1.0)[None, :, None, None]
    per_entry = jnp.sum(jnp.where(real > 0, error, 0.0), axis=-1)
    return _over_transitions(per_entry / jnp.broadcast_to(count, per_entry.shape), exists)


def _over_transitions(
    error: Float[Array, "E B S J"], exists: Float[Array, "E B S J"]
) -> Float[Array, "B S"]:
    """Sum over members of what, averaged over starts, is the mean over a row's transitions."""
    num = jnp.mean(jnp.sum(exists, axis=-1), axis=-1, keepdims=True)
    total = jnp.sum(jnp.where(exists > 0, error, 0.0), axis=-1)
    share = jax.lax.stop_gradient(jnp.where(num > 0, 1.0 / jnp.maximum(num, 1e-6), 0.0))
    return jnp.sum(total * jnp.broadcast_to(share, total.shape), axis=0)
