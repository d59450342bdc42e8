"""What others did well, for an actor to imitate."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mrcom.behaviour.policy import AbstractActions, Actor
from mrcom.objectives.imitation import ACTION_LIMIT, imitation_loss


class Examples(eqx.Module):
    """Steps that were really taken, some of them by experts; constants.

    Attributes:
        feature: read there.
        action: taken there.
        act_mask: of each row.
        shown: 1 where an expert chose the action, else 0.
    """

    feature: Float[Array, "B T F"]
    action: Float[Array, "B T A"]
    act_mask: Float[Array, "B A"]
    shown: Float[Array, " B"]

    def loss(self, actor: Actor) -> Float[Array, ""]:
        """How unlikely the actor finds what experts did."""
        policy = actor(self.feature, self.act_mask[:, None])
        shown = jnp.broadcast_to(self.shown[:, None], self.feature.shape[:2])
        return unlikeness(policy, self.action, shown)


def unlikeness(
    policy: AbstractActions, action: Float[Array, "*B A"], shown: Float[Array, "*B"]
) -> Float[Array, ""]:
    """How unlikely a policy finds the actions of those who are `shown`."""
    action = jnp.clip(action, -ACTION_LIMIT, ACTION_LIMIT)
    return imitation_loss(policy.log_prob(action), shown)
