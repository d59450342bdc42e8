"""Behaviour from imagination: the actor-critic on dreams that start in replayed windows."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from mrcom.behaviour.actor_critic import (
    ActorCriticConfig,
    ActorCriticState,
    actor_critic_update,
    init_actor_critic,
)
from mrcom.behaviour.dreams import dream_with
from mrcom.behaviour.examples import Examples
from mrcom.behaviour.learning import AbstractBehaviour, Metrics, transitions
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch
from mrcom.models.world_model import AbstractWorldModel, DreamContext, Posterior


@dataclasses.dataclass(frozen=True)
class Imagination(AbstractBehaviour):
    """The actor-critic in dreams."""

    config: ActorCriticConfig
    starts: int
    """Steps of each window that dreams start from."""
    horizon: int
    """Steps of a dream."""
    dream_context: DreamContext
    """Whether dreamt steps enter the context."""
    per_scenario: int
    """Rows of a batch that belong to one scenario."""

    def init(
        self, feature: int, act: int, num_scenarios: int, *, key: PRNGKeyArray
    ) -> ActorCriticState:
        """Actor, critics and meta value before anything is learnt."""
        return init_actor_critic(feature, act, num_scenarios, self.config, key=key)

    def update(
        self,
        state: ActorCriticState,
        model: AbstractWorldModel,
        posterior: Posterior,
        batch: Batch,
        *,
        key: PRNGKeyArray,
    ) -> tuple[ActorCriticState, Metrics]:
        """One dream from steps of every window, and one step of everything on it."""
        keys = named_keys(key, "starts", "dream")
        rows, length = posterior.feature.shape[:2]
        at = jax.random.randint(keys.starts, (rows, self.starts), 0, length)
        index = (jnp.arange(rows)[:, None] * length + at).ravel()
        start = model.states_at(posterior, index)
        dream = dream_with(
            model,
            start,
            start.act_mask,
            horizon=self.horizon,
            key=keys.dream,
            dream_context=self.dream_context,
        )
        scenario = batch.scenario[:: self.per_scenario]
        steps, shown = transitions(posterior.feature, batch), batch.expert.astype(jnp.float32)
        examples = Examples(steps.feature, steps.action, batch.act_mask, shown)
        learnt = actor_critic_update(state, dream, scenario, start.act_mask, self.config, examples)
        of_rows = jnp.repeat(learnt.critic_loss, self.per_scenario)
        return learnt.state, {"row/critic": of_rows, **learnt.metrics}

    def dream_steps(self, rows: int) -> int:
        """Dreamt steps of one update on so many rows."""
        return rows * self.starts * self.horizon
