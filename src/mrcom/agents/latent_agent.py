"""What every method with a latent world model does alike: filter, act, dream, predict."""

import abc
from typing import Any

from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mrcom.agents import acting
from mrcom.agents.acting import Carry
from mrcom.behaviour.actor_critic import Dream, dream_with
from mrcom.behaviour.policy import Actor
from mrcom.core.types import Batch, Masks, Prompt
from mrcom.models.world_model import DreamContext

State = Any
"""Has a `filter` (`acting.Filter`) and a `behaviour` with an `actor`."""


class AbstractLatentAgent(abc.ABC):
    """A method whose policy reads the state of its world model."""

    @property
    @abc.abstractmethod
    def dream_context(self) -> DreamContext:
        """Whether dreamt steps enter the context."""

    def start(self, state: State, masks: Masks, prompt: Prompt) -> Carry:
        """What is remembered before the first observation: the prompt, as context."""
        return acting.start(state.filter, masks, prompt)

    def act(
        self,
        state: State,
        carry: Carry,
        obs: Float[ArrayLike, "N O"],
        action: Float[ArrayLike, "N A"],
        reward: Float[ArrayLike, " N"],
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "N A"], Carry]:
        """Take in one step and choose the next action; its mode where `key` is None."""
        return acting.act(state.filter, self.actor(state), carry, obs, action, reward, key)

    def observe_step(
        self,
        state: State,
        carry: Carry,
        obs: Float[ArrayLike, "N O"],
        action: Float[ArrayLike, "N A"],
        reward: Float[ArrayLike, " N"],
    ) -> tuple[Float[Array, "N F"], Carry]:
        """Take in one step without acting; the feature that any policy may read."""
        return acting.observe_step(state.filter, carry, obs, action, reward, None)

    def actor(self, state: State) -> Actor:
        """The policy that was learnt in training."""
        return state.behaviour.actor

    def dream(
        self,
        state: State,
        start: Any,
        actor: Actor,
        *,
        horizon: int,
        key: PRNGKeyArray,
    ) -> Dream:
        """Dreams of a frozen model with any actor that reads its features."""
        dreams = dream_with(
            state.filter.model,
            start,
            start.act_mask,
            horizon=horizon,
            key=key,
            dream_context=self.dream_context,
        )
        return dreams(actor)

    def predict_open_loop(
        self,
        state: State,
        batch: Batch,
        *,
        horizon: int,
        num_samples: int,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, "K B H O"], Float[Array, "K B H"]]:
        """Observations (normalised) and rewards of the last steps, dreamt under their actions.

        The model filters all steps before the last `horizon` and sees none of those.
        """
        return acting.predict_open_loop(
            state.filter, batch, key, horizon=horizon, num_samples=num_samples
        )
