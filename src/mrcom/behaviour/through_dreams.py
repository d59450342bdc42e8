"""Dreams that an actor learns from by the gradient of their returns, judged by bins of value.

Values are sums of reward here, not multiplied by 1 - discount: bins cover every magnitude.
"""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from mrcom.behaviour.dreams import DreamFn
from mrcom.behaviour.policy import Actor
from mrcom.nn.heads import BinnedHead
from mrcom.objectives.imagination import dream_weight, return_range
from mrcom.objectives.returns import lambda_return


class Judged(eqx.Module):
    """M dreams of H steps and what they are worth. Gradients reach the actor's parameters."""

    feature: Float[Array, "M H F"]
    """Read before each action. A constant."""
    reward: Float[Array, "M H"]
    value: Float[Array, "M H"]
    """Its gradient goes to the actions before the step."""
    returns: Float[Array, "M H"]
    """Their gradient goes through the dream to the actions."""
    entropy: Float[Array, "M H"]
    """Of the policy, at features as constants."""
    weight: Float[Array, "M H"]
    """How much each step still counts. A constant."""
    return_range: Float[Array, ""]
    """The running one, after these dreams. A constant."""


def judged(
    actor: Actor,
    dream_fn: DreamFn,
    act_mask: Float[Array, "M A"],
    goes_on: Float[Array, " M"],
    critic: BinnedHead,
    running: Float[Array, ""],
    *,
    discount: float,
    lambda_: float,
    scale_rate: float,
) -> Judged:
    """One dream of an actor, with lambda-returns that the critic itself bootstraps.

    Args:
        actor: what is differentiated.
        dream_fn: dreams whose features have a gradient to the actions.
        act_mask: of every dream.
        goes_on: 0 where the start of a dream is an episode's end, else 1.
        critic: a constant here.
        running: range of returns before these dreams.
        discount: per control step; the model's `cont` does not hold it.
        lambda_: of the returns.
        scale_rate: share by which the range of returns moves.
    """
    dream = dream_fn(actor)
    value = jax.lax.stop_gradient(critic)(dream.feature)
    returns = lambda_return(dream.reward, dream.cont, value, discount=discount, lambda_=lambda_)
    feature = jax.lax.stop_gradient(dream.feature[:, :-1])
    now = return_range(returns, 1)
    return Judged(
        feature=feature,
        reward=dream.reward,
        value=value[:, :-1],
        returns=returns,
        entropy=dream.answers(actor, act_mask).entropy(),
        weight=goes_on[:, None] * dream_weight(dream.cont, discount=discount),
        return_range=jax.lax.stop_gradient(running + scale_rate * (now - running)),
    )
