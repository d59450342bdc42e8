"""Returns: sums of future reward, exact or bootstrapped."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mrcom.core.types import Number


def lambda_return(
    reward: Float[Array, "*B T"],
    cont: Float[Array, "*B T"],
    value: Float[Array, "*B T+1"],
    *,
    discount: Number,
    lambda_: float | Float[Array, "*B T"],
) -> Float[Array, "*B T"]:
    """Mix of all n-step returns, geometrically weighted by `lambda_`.

        G_t = r_t + discount * c_t * [(1 - lambda) v_{t+1} + lambda G_{t+1}],  G_T = v_T

    Args:
        reward: r_t, received on moving from step t to t + 1. With our storage convention this
            is `batch.reward[:, 1:]`. In any unit that `value` has, too.
        cont: c_t in [0, 1], the probability that the episode goes on after that move.
        value: v_0 .. v_T; the last one is the bootstrap.
        discount: per control step, in [0, 1].
        lambda_: 0 gives one-step TD, 1 gives the bootstrapped Monte Carlo return; one for all
            steps, or one for each.

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


def replay_return(
    reward: Float[Array, "*B T"],
    terminal: Float[Array, "*B T"],
    last: Float[Array, "*B T"],
    bootstrap: Float[Array, "*B T"],
    *,
    discount: Number,
    lambda_: Number,
) -> Float[Array, "*B _"]:
    """Lambda-returns of replayed steps, which may belong to several episodes.

        G_t = r_{t+1} + live (1 - go) b_{t+1} + live go G_{t+1},  G_{T-1} = b_{T-1}

    where live = discount (1 - terminal_{t+1}) and go = lambda (1 - last_{t+1}): the chain is cut
    at an episode's last step, whose value stands for what a time limit left out.

    Args:
        reward: received on arriving at each step.
        terminal: 1 where the episode truly ended on arriving.
        last: 1 at an episode's last step, for whatever reason.
        bootstrap: what each step is believed to be worth.
        discount: per control step.
        lambda_: 0 gives one-step TD.

    Returns:
        G_0 .. G_{T-2}, one step less than given.

    Equation: dreamer.replay_return
    """
    return lambda_return(
        reward[..., 1:],
        1 - terminal[..., 1:],
        bootstrap,
        discount=discount,
        lambda_=lambda_ * (1 - last[..., 1:]),
    )
