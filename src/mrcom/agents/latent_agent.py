"""What every method with a latent world model does alike: filter, act, dream, predict."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mrcom.agents import acting
from mrcom.agents.abstract_agent import AbstractAgent
from mrcom.agents.acting import Carry
from mrcom.agents.agent import Windows
from mrcom.behaviour.dreams import DreamFn, dream_with
from mrcom.behaviour.policy import Reads
from mrcom.core.types import Batch, Masks, Prompt
from mrcom.models.world_model import AbstractWorldModel, DreamContext

State = Any
"""Has a `model`, a `filter` (`acting.Filter`) with the same model, and a `behaviour` with an
`actor` and a `meta` value."""


class AbstractLatentAgent(AbstractAgent):
    """A method whose policy reads the state of its world model."""

    @property
    def windows(self) -> Windows:
        """Which steps make a training batch."""
        return self.config.windows

    @property
    def dream_context(self) -> DreamContext:
        """Whether dreamt steps enter the context: by default it is that of a dream's start."""
        return "frozen"

    @property
    def acts_on_samples(self) -> bool:
        """Whether actions are drawn from samples of the state; else from its mean."""
        return True

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
        seen, actor = (obs, action, reward), self.actor(state)
        return acting.act(
            state.filter, actor, carry, *seen, key, sample_states=self.acts_on_samples
        )

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

    def model(self, state: State) -> AbstractWorldModel:
        """The world model."""
        return state.model

    def with_model(self, state: State, model: AbstractWorldModel) -> State:
        """The state with another world model in it."""
        return eqx.tree_at(lambda s: s.model, state, model)

    def dream_from(
        self,
        state: State,
        start: Any,
        *,
        horizon: int,
        key: PRNGKeyArray,
        reads: Reads | None = None,
    ) -> DreamFn:
        """Dreams of a frozen model, with a gradient to the actions, for actors yet to be given.

        Actors read features, or what `reads` makes of them.
        """
        return dream_with(
            state.filter.model,
            start,
            start.act_mask,
            horizon=horizon,
            key=key,
            dream_context=self.dream_context,
            reads=reads,
        )

    def expected(
        self, state: State, start: Any, feature: Float[Array, "M *T F"]
    ) -> tuple[Float[Array, "M *T O"], Float[Array, "M *T"]]:
        """Mean observation (normalised, as agents see it) and reward in dreams from `start`."""
        return acting.expected(state.filter, start, feature)

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
            state.filter,
            batch,
            key,
            horizon=horizon,
            num_samples=num_samples,
            dream_context=self.dream_context,
        )
