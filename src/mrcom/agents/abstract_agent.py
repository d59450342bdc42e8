"""What every method does alike, with a world model or without."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.agents.agent import Metrics
from mrcom.agents.method import Method
from mrcom.behaviour.critic import MetaValue
from mrcom.behaviour.latent_sac import LatentSacState
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.sac import SACState
from mrcom.core.types import Batch, Layout

State = Any
"""Has `mean` and `std` of each body's observations, and a `behaviour` with an `actor` and a `meta`
value."""


@dataclasses.dataclass(frozen=True)
class AbstractAgent(abc.ABC):
    """A method with its sizes fixed, and what it does like every other."""

    method: Method
    config: Any
    layout: Layout
    num_scenarios: int

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray) -> State:
        """The state before anything was learnt."""

    @abc.abstractmethod
    def learn(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """What `update` compiles."""

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """One step of all that learns; also what replay shall store.

        The given state's memory is handed over to the new one: do not use it again.
        """
        return _update((self, batch, key), state)

    @property
    def sub_episodes(self) -> int:
        """Equal parts of a collected episode: by default it is one."""
        return 1

    @property
    def stored(self) -> Mapping[str, jax.ShapeDtypeStruct]:
        """What updates keep of every trained step: by default nothing."""
        return {}

    def new_statistics(self) -> dict[str, Float[Array, "bodies O"]]:
        """Mean and standard deviation of each body's observations before any was seen."""
        shape = (len(self.layout.bodies), self.layout.obs)
        return {"mean": jnp.zeros(shape), "std": jnp.ones(shape)}

    def with_statistics(self, state: State, mean: np.ndarray, std: np.ndarray) -> State:
        """The state with new observation statistics, one row per body."""
        rows = (jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))
        return eqx.tree_at(lambda s: (s.mean, s.std), state, rows)

    def actor(self, state: State) -> Actor:
        """The policy that was learnt in training."""
        return state.behaviour.actor

    def meta_value(self, state: State) -> MetaValue:
        """The value that all training scenarios share."""
        return state.behaviour.meta

    def sac(self, state: State) -> SACState | None:
        """What soft actor-critic learnt in training; None where another behaviour learnt."""
        return state.behaviour.sac if isinstance(state.behaviour, LatentSacState) else None

    @property
    def discount(self) -> float:
        """Per control step, of every value learnt in training."""
        return float(self.config.discount)


@eqx.filter_jit(donate="all-except-first")
def _update(
    given: tuple[AbstractAgent, Batch, PRNGKeyArray], state: State
) -> tuple[State, Metrics]:
    agent, batch, key = given
    return agent.learn(state, batch, key)
