"""Learning from values: targets, weights and losses of actor and critic.

All values and returns are in units of 1 / (1 - discount): reward 1 for ever is worth 1.
Dreams are [M, H]: M dreams of H steps. Targets are the same of replayed steps.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mrcom.core.numerics import percentile_range
from mrcom.core.types import Number
from mrcom.objectives.prediction import two_hot_loss
from mrcom.objectives.returns import lambda_return


def value_target(
    reward: Float[Array, "M H"],
    cont: Float[Array, "M H"],
    value: Float[Array, "M H+1"],
    *,
    discount: Number,
    lambda_: Number,
) -> Float[Array, "M H"]:
    """Lambda-returns in our unit of value; `lambda_` 0 gives the one-step targets of Eq. 14.

        y = (1 - discount) r + discount c v(s')      where `lambda_` is 0

    Rewards are received on arriving at the next step, in task reward; `cont` is the probability
    that the episode goes on from there, so that a terminal step bootstraps with 0 (a time limit
    is no terminal step); values are of every step, the start included. Gradients flow through
    every input; callers stop them where a target is meant.

    Equation: mrcom.eq14
    """
    return lambda_return((1 - discount) * reward, cont, value, discount=discount, lambda_=lambda_)


def dream_weight(cont: Float[Array, "M H"], *, discount: Number) -> Float[Array, "M H"]:
    """How much each step of a dream still counts: 1, then the product of discount * cont.

    Step t has the weight of the moves before it, so the start of a dream always counts.
    """
    before = jnp.concatenate([jnp.ones_like(cont[:, :1]), discount * cont[:, :-1]], axis=1)
    return jax.lax.stop_gradient(jnp.cumprod(before, axis=1))


def weight_from_start(cont: Float[Array, "M T"]) -> Float[Array, "M H"]:
    """How much each step of a dream still counts where `cont` holds the discount as well.

    `cont` is of the start and of all H = T - 1 dreamt steps. Step t has the product of its own
    and all before it, so that a start where the episode is over counts for nothing.

    Equation: dreamer.weight
    """
    return jax.lax.stop_gradient(cont[:, :1] * dream_weight(cont[:, 1:], discount=1.0))


def return_range(returns: Float[Array, "M H"], num_groups: int) -> Float[Array, ""]:
    """Distance of the 5th and 95th percentile within a scenario, averaged over scenarios.

    Rows are grouped by scenario, equally many of each. Differences between scenarios say
    nothing about actions, so they are left out. With one group this is DreamerV3's range.

    Equation: dreamer.return_range
    """
    # DEVIATION(dreamer): within each scenario, not over the whole batch. Between a scenario worth
    # .2 and one worth .9 the range would be .7 however little the actions of either matter.
    grouped = jax.lax.stop_gradient(returns).reshape(num_groups, -1)
    return jnp.mean(jax.vmap(percentile_range)(grouped))


def dynamics_loss(
    returns: Float[Array, "M H"],
    entropy: Float[Array, "M H"],
    weight: Float[Array, "M H"],
    *,
    scale: Float[Array, ""],
    entropy_weight: Number,
) -> Float[Array, ""]:
    """Minus the scaled return, differentiated through the dream, minus an entropy bonus.

    `returns` carry their gradient to the actions that led to them; `scale` is a constant.

    Equation: dreamer.actor_dynamics
    """
    objective = returns / jax.lax.stop_gradient(scale) + entropy_weight * entropy
    return -jnp.mean(weight * objective)


def reinforce_loss(
    log_prob: Float[Array, "M H"],
    returns: Float[Array, "M H"],
    value: Float[Array, "M H"],
    entropy: Float[Array, "M H"],
    weight: Float[Array, "M H"],
    *,
    scale: Float[Array, ""],
    entropy_weight: Number,
) -> Float[Array, ""]:
    """Minus log-probability times scaled advantage, minus an entropy bonus.

    `log_prob` is that of the dreamt actions, which are constants here; `value`, the baseline,
    that of the steps they were taken from.

    Equation: dreamer.actor_reinforce
    """
    advantage = jax.lax.stop_gradient((returns - value) / scale)
    return -jnp.mean(weight * (log_prob * advantage + entropy_weight * entropy))


def critic_loss(
    value: Float[Array, "*B"],
    target: Float[Array, "*B"],
    slow: Float[Array, "*B"],
    weight: Float[Array, "*B"],
    *,
    slow_weight: Number,
) -> Float[Array, "*B"]:
    """Half the weighted squared distance to the target and to the slow copy's value.

    Only `value` is differentiated. The second part keeps a critic from running after its own
    bootstraps, as in DreamerV3, where both parts are cross-entropies.

    Equation: dreamer.critic
    """
    # DEVIATION(dreamer): squares of scalars instead of cross-entropies over bins. Rewards lie in
    # [0, 1] and so do our values, so there are no unknown orders of magnitude to cover.
    target, slow = jax.lax.stop_gradient((target, slow))
    return 0.5 * weight * ((value - target) ** 2 + slow_weight * (value - slow) ** 2)


def binned_critic_loss(
    logits: Float[Array, "*B K"],
    target: Float[Array, "*B"],
    slow: Float[Array, "*B"],
    weight: Float[Array, "*B"],
    bins: Float[Array, " K"],
    *,
    slow_weight: Number,
) -> Float[Array, "*B"]:
    """Weighted cross-entropies of a value's bins with the target and the slow copy's value.

    Only `logits` are differentiated.

    Equation: dreamer.critic_bins
    """
    target, slow, weight = jax.lax.stop_gradient((target, slow, weight))
    distance = two_hot_loss(logits, target, bins)
    return weight * (distance + slow_weight * two_hot_loss(logits, slow, bins))
