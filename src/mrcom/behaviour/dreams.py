"""Dreams with an actor: what behaviour in imagination learns from."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.behaviour.policy import AbstractActions, Actor, Reads
from mrcom.models.world_model import AbstractWorldModel, DreamContext, State, imagine


class Dream(eqx.Module):
    """H dreamt steps from each of M starts; rows are grouped by scenario.

    Attributes:
        feature: of the starts, then of every dreamt step: T = H + 1 of them.
        action: taken at steps 0 .. H-1.
        reward: received on arriving at steps 1 .. H, in task reward.
        cont: probability that the episode goes on from steps 1 .. H.
        policy: what the actions were drawn from, at features as constants; None where nobody says.
    """

    feature: Float[Array, "M T F"]
    action: Float[Array, "M H A"]
    reward: Float[Array, "M H"]
    cont: Float[Array, "M H"]
    policy: AbstractActions | None = None

    def answers(self, actor: Actor, act_mask: Float[Array, "M A"]) -> AbstractActions:
        """What an actor says at steps 0 .. H-1, [M, H]: it is asked only if it did not dream."""
        if self.policy is not None:
            return self.policy
        return actor(jax.lax.stop_gradient(self.feature[:, :-1]), act_mask[:, None])


DreamFn = Callable[[Actor], Dream]


def dream_with(
    model: AbstractWorldModel,
    start: State,
    act_mask: Float[Array, "M A"],
    *,
    horizon: int,
    key: PRNGKeyArray,
    dream_context: DreamContext = "push",
    reads: Reads | None = None,
) -> DreamFn:
    """Dreams of a world model from some of its states, for `actor_critic_update`.

    The policy reads features as constants, as in DreamerV1 and V2: a return's gradient reaches
    an action through the model, but not through later actions' answers to it.

    `start` is M states, constants here; `horizon` is the number of dreamt steps (H); the policy
    is shown what `reads` makes of features, by default themselves.
    """
    start = jax.lax.stop_gradient(start)

    def dream_fn(actor: Actor) -> Dream:
        def policy(
            feature: Float[Array, "M F"], key: PRNGKeyArray
        ) -> tuple[Float[Array, "M A"], AbstractActions]:
            read = feature if reads is None else reads(feature)
            actions = actor(jax.lax.stop_gradient(read), act_mask)
            return actions.sample(key)[0], actions

        dream = imagine(model, start, policy, horizon=horizon, key=key, dream_context=dream_context)
        arrived = dream.feature[:, 1:]
        said = model.reward(arrived), model.cont(arrived)
        return Dream(dream.feature, dream.action, *said, dream.aux)

    return dream_fn
