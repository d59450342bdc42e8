"""Returns: sums of future reward, exact or bootstrapped."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def lambda_return(
    reward: Float[Array, "*B T"],
    cont: Float[Array, "*B T"],
    value: Float[Array, "*B T+1"],
    *,
    discount: float,
    lambda_: float,
) -> Float[Array, "*B T"]:
    """Mix of all n-step returns, geometrically weighted by `lambda_`.

        G_t = r_t + discount * c_t * [(1 - lambda) v_{t+1} + lambda G_{t+1}],  G_T = v_T

    Args:
        reward: r_t, received on moving from step t to t + 1. With our storage convention this
            is `batch.reward[:, 1:]`. In any unit that `value` has, too.
        cont: c_t in [0, 1], the probability that the episode goes on after that move.
        value: v_0 .. v_T; the last one is the bootstrap.
        discount: per control step, in [0, 1].
        lambda_: 0 gives one-step TD, 1 gives the bootstrapped Monte Carlo return.

    Returns:
        G_0 .. G_{T-1}. Gradients flow through every input; callers stop them.

    Equation: dreamer.lambda_return
    """
    follow = discount * cont
    now = reward + follow * (1 - lambda_) * value[..., 1:]

    def backward(
        following: Float[Array, "*B"], step: tuple[Float[Array, "*B"], Float[Array, "*B"]]
    ) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
        now, share = step
        total = now + share * following
        return total, total

    steps = (jnp.moveaxis(now, -1, 0), jnp.moveaxis(follow * lambda_, -1, 0))
    _, returns = jax.lax.scan(backward, value[..., -1], steps, reverse=True)
    return jnp.moveaxis(returns, 0, -1)
