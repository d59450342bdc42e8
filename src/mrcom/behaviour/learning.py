"""What learns to act inside a method, whatever it learns from."""

import abc
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.behaviour.critic import MetaValue, ScenarioCritics
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.sac import Transition
from mrcom.core.types import Batch
from mrcom.models.world_model import AbstractWorldModel, Posterior

Metrics = dict[str, Array]


@runtime_checkable
class BehaviourState(Protocol):
    """What every state of a behaviour has, and others read."""

    @property
    def actor(self) -> Actor:
        """The policy, one for all scenarios."""
        ...

    @property
    def critics(self) -> ScenarioCritics:
        """Each training scenario's own value."""
        ...

    @property
    def meta(self) -> MetaValue:
        """The value for all of them, which the world model is trained with."""
        ...

    @property
    def return_range(self) -> Float[Array, ""]:
        """Running mean of the range of returns, in our unit of value."""
        ...

    @property
    def updates(self) -> Int[Array, ""]:
        """How many have been made."""
        ...


class AbstractBehaviour(abc.ABC):
    """A policy and values that learn from what a world model made of a batch."""

    @abc.abstractmethod
    def init(self, feature: int, act: int, num_scenarios: int, *, key: PRNGKeyArray) -> Any:
        """Actor, critics and meta value before anything is learnt: a `BehaviourState`.

        `feature` is the width of what they read, `act` that of a padded action; each of the
        `num_scenarios` training scenarios has a critic.
        """

    @abc.abstractmethod
    def update(
        self,
        state: Any,
        model: AbstractWorldModel,
        posterior: Posterior,
        batch: Batch,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Any, Metrics]:
        """One update of everything, and what to log.

        Args:
            state: before the update.
            model: the world model, a constant.
            posterior: what it made of the batch, a constant.
            batch: the T trained steps, normalised. Its rows are grouped by scenario, equally
                many of each.
            key: of everything random here.

        Returns:
            The state after it, and metrics. Those under `row/` have one number for each row of
            the batch; `row/critic` names a scenario whose values are no longer finite.
        """

    @abc.abstractmethod
    def dream_steps(self, rows: int) -> int:
        """Dreamt steps of one update on so many rows."""


def transitions(feature: Float[Array, "B T F"], batch: Batch) -> Transition:
    """The T - 1 moves between the trained steps of every window, [B, T - 1]. Constants.

    What was done at step t is stored with step t + 1, which it led into, and so are the reward
    of arriving there and whether the episode ended there. A move after the end has no weight.

    Args:
        feature: of the T steps, as the model filtered them.
        batch: the same steps.
    """
    ended = batch.is_terminal.astype(feature.dtype)
    steps = Transition(
        feature=feature[:, :-1],
        action=batch.action[:, 1:],
        reward=batch.reward[:, 1:],
        next_feature=feature[:, 1:],
        cont=1.0 - ended[:, 1:],
        weight=1.0 - ended[:, :-1],
    )
    return jax.lax.stop_gradient(steps)
