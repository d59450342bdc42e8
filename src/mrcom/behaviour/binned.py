"""An actor and a critic over bins of value, and the dreams that both learn from.

Values are sums of reward here, not multiplied by 1 - discount: bins cover every magnitude.
"""

from typing import Generic, NoReturn, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.behaviour.policy import Actor
from mrcom.core.errors import ConfigError
from mrcom.core.types import Number
from mrcom.models.rssm import RSSM
from mrcom.models.rssm_parts import State
from mrcom.models.world_model import roll
from mrcom.nn.heads import BinnedHead, TwoHotHead, two_hot_mean
from mrcom.objectives.imagination import return_range, weight_from_start
from mrcom.objectives.returns import lambda_return

Head = TypeVar("Head", bound=BinnedHead)


class Behaviour(eqx.Module, Generic[Head]):
    """How to act, and what it is worth."""

    actor: Actor
    critic: Head
    slow: Head
    """A copy that follows the critic."""
    return_range: Float[Array, ""]
    """Running range of returns, in reward."""

    @property
    def meta(self) -> NoReturn:
        """No value that another learner could go on with.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "This critic is a distribution over bins, in reward: a learner that starts from a "
            "meta value cannot use it. Adapt with learner='sac'."
        )


class Imagined(eqx.Module):
    """M dreams of H steps, and what they are worth. Constants, but for `logits`.

    What is wide has time in front, as it was dreamt: moving it would copy it.
    """

    feature: Float[Array, "H M F"]
    """Read before each action."""
    action: Float[Array, "H M A"]
    act_mask: Float[Array, "M A"]
    reward: Float[Array, "M H"]
    logits: Float[Array, "H M K"]
    """The critic's of each feature, with a gradient to its parameters alone."""
    value: Float[Array, "M H"]
    """What they mean."""
    slow: Float[Array, "H M"]
    """What the slow critic says of each feature."""
    returns: Float[Array, "M H"]
    weight: Float[Array, "M H"]
    """How much each step still counts."""
    return_range: Float[Array, ""]
    """The running one, after these dreams."""


def imagined(
    model: RSSM,
    start: State,
    actor: Actor,
    critic: TwoHotHead,
    slow: TwoHotHead,
    running: Float[Array, ""],
    *,
    horizon: int,
    lambda_: Number,
    scale_rate: Number,
    key: PRNGKeyArray,
) -> Imagined:
    """Dreams from M states, with lambda-returns that the critic itself bootstraps.

    The discount is in what the model's continue head was taught: nothing else fades the future.

    Args:
        model: a constant here, like `start` and `actor`.
        start: states of the model, with the masks of their bodies.
        actor: that acts in the dreams.
        critic: that is to be taught.
        slow: the copy that follows it.
        running: range of returns before these dreams.
        horizon: dreamt steps.
        lambda_: of the returns.
        scale_rate: share by which the range of returns moves.
        key: of actions and samples.
    """
    model, start, actor, slow = jax.lax.stop_gradient((model, start, actor, slow))

    # Heads without a gradient read a step's features at once: all steps' together would have left
    # the processor's caches by then.
    def policy(
        feature: Float[Array, "M F"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "M A"], tuple[Float[Array, " M"], ...]]:
        action, _ = actor.sample(feature, start.act_mask, key)
        return action, (model.reward(feature), model.cont_logit(feature), slow(feature))

    dreamt = jax.lax.stop_gradient(roll(model, start, policy, horizon=horizon, key=key))
    last, (feature, action, (reward, cont, slow_value)) = dreamt
    last = model.feature(last)
    logits = critic.logits(feature)
    # The last states only bootstrap: beside the others they would be one more copy of all.
    every = lambda before, at_last: jnp.concatenate([before, at_last[None]]).T
    mean = lambda logits: two_hot_mean(logits, critic.bins)
    value = every(mean(logits), mean(critic.logits(last)))
    reward = every(reward, model.reward(last))[:, 1:]
    cont = jax.nn.sigmoid(every(cont, model.cont_logit(last)))
    returns = lambda_return(reward, cont[:, 1:], value, discount=1.0, lambda_=lambda_)
    now = return_range(returns, 1)
    rest = {
        "value": value[:, :-1],
        "reward": reward,
        "returns": returns,
        "return_range": running + scale_rate * (now - running),
    }
    return Imagined(
        feature=feature,
        action=action,
        act_mask=start.act_mask,
        logits=logits,
        slow=slow_value,
        weight=weight_from_start(cont),
        **jax.lax.stop_gradient(rest),
    )
