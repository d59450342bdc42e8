"""Methods whose world model and behaviour learn in turn, and know nothing of each other."""

import abc
from typing import Any, Generic, TypeVar

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.agents import acting
from mrcom.agents.acting import Filter
from mrcom.agents.agent import Metrics
from mrcom.agents.latent_agent import AbstractLatentAgent
from mrcom.behaviour.imagination import Imagination
from mrcom.behaviour.latent_sac import LatentSac, LatentSacConfig
from mrcom.behaviour.learning import AbstractBehaviour, BehaviourState
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch
from mrcom.models.world_model import AbstractWorldModel, Posterior

Model = TypeVar("Model", bound=AbstractWorldModel)


class ModularState(eqx.Module, Generic[Model]):
    """Everything that changes while learning, and nothing else. This is the checkpoint."""

    model: Model
    moments: Any
    behaviour: BehaviourState
    mean: Float[Array, "bodies O"]
    """Of each body's observations."""
    std: Float[Array, "bodies O"]
    """Of each body's observations."""

    @property
    def filter(self) -> Filter:
        """What turns observations into features."""
        return Filter(self.model, self.mean, self.std)


class AbstractModularAgent(AbstractLatentAgent):
    """A method with a world model, and either behaviour on what that makes of a batch."""

    @abc.abstractmethod
    def learn_model(
        self, state: ModularState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[AbstractWorldModel, Any, Posterior, Metrics]:
        """The world model and its moments after learning from a normalised batch.

        Also what it made of the batch, a constant, and what to log.
        """

    @property
    def behaviour(self) -> AbstractBehaviour:
        """What learns to act."""
        config, per_scenario = self.config, self.windows.per_scenario
        if isinstance(config.behaviour, LatentSacConfig):
            return LatentSac(config.behaviour, per_scenario)
        dreams = config.starts, config.horizon, self.dream_context
        return Imagination(config.behaviour, *dreams, per_scenario)

    @property
    def discount(self) -> float:
        """Per control step, of every value learnt in training."""
        return float(self.config.behaviour.discount)

    @property
    def acts_on_samples(self) -> bool:
        """Only where that is what the behaviour learns on: SAC reads expected states."""
        return not isinstance(self.config.behaviour, LatentSacConfig)

    @property
    def dream_steps(self) -> int:
        """Dreamt steps of one update, as long as all scenarios have data."""
        return self.behaviour.dream_steps(self.windows.rows(self.num_scenarios))

    def learn(
        self, state: ModularState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[ModularState, Metrics]:
        """Learning of the world model, then of the behaviour on what it made of the batch."""
        keys = named_keys(key, "model")
        batch = acting.normalised(state.filter, batch)
        model, moments, posterior, metrics = self.learn_model(state, batch, keys.model)
        trained = acting.steps_of(batch, slice(-self.windows.length, None))
        # The behaviour takes its own names from the same key.
        behaviour, learnt = self.behaviour.update(
            state.behaviour, model, posterior, trained, key=key
        )
        return ModularState(model, moments, behaviour, state.mean, state.std), metrics | learnt

    @eqx.filter_jit
    def update_model(
        self, state: ModularState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[ModularState, Metrics]:
        """Learning of the world model alone; the given state can still be used."""
        batch = acting.normalised(state.filter, batch)
        model, moments, _, metrics = self.learn_model(state, batch, key)
        return eqx.tree_at(lambda s: (s.model, s.moments), state, (model, moments)), metrics
