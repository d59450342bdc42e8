"""What every method can do, and how one acts in a rollout."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, UInt8

from mrcom.behaviour.critic import MetaValue
from mrcom.behaviour.dreams import DreamFn
from mrcom.behaviour.policy import Actor, Reads
from mrcom.behaviour.sac import SACState
from mrcom.core.errors import ConfigError, check_least
from mrcom.core.types import Batch, Layout, Masks, Prompt
from mrcom.models.world_model import AbstractWorldModel, DreamContext

State = Any  # everything that changes while a method learns: a pytree, and the checkpoint
Carry = Any  # what a method remembers while it acts: a pytree
Metrics = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Windows:
    """Which steps make a training batch."""

    scenarios: int = 16
    """Distinct scenarios in a batch."""
    per_scenario: int = 1
    """Windows of each of them."""
    context: int = 16
    """Steps before the trained ones (W): the burn-in of the context."""
    length: int = 32
    """Steps that are trained on (T)."""
    place: Literal["anywhere", "start"] = "anywhere"
    """Where windows lie: anywhere, or at the beginnings of episodes."""

    def __post_init__(self):
        check_least(self, 1, "scenarios", "per_scenario", "length")
        check_least(self, 0, "context")

    def rows(self, num_scenarios: int) -> int:
        """Rows of a batch when so many scenarios have data."""
        return min(self.scenarios, num_scenarios) * self.per_scenario

    def length_in(self, steps: int) -> int:
        """Steps that are trained on where the longest episode has so many, its first included.

        Windows at beginnings may be whole episodes, and end where those do.
        """
        return self.length if self.place == "anywhere" else min(self.length, steps)


@runtime_checkable
class Learner(Protocol):
    """What learns from batches."""

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """One step of learning. The old state's memory may be handed over: do not reuse it."""
        ...


@runtime_checkable
class Agent(Learner, Protocol):
    """A method with its sizes fixed. Immutable: what changes is in the state."""

    def learn(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """What `update` compiles."""
        ...

    @property
    def layout(self) -> Layout:
        """Common widths of the bodies it was built for."""
        ...

    @property
    def windows(self) -> Windows:
        """Which steps make a training batch."""
        ...

    @property
    def sub_episodes(self) -> int:
        """Equal parts of a collected episode; at the beginning of each the body starts anew."""
        ...

    @property
    def dream_steps(self) -> int:
        """Dreamt steps of one update."""
        ...

    @property
    def stored(self) -> Mapping[str, jax.ShapeDtypeStruct]:
        """What updates keep of every trained step, for `Batch.stored`: an update's metric named
        `stored/NAME`, `[B, T, ...]`, is written beside the steps in replay.
        """
        ...

    def init(self, key: PRNGKeyArray) -> State:
        """The state before anything was learnt."""
        ...

    def with_statistics(self, state: State, mean: np.ndarray, std: np.ndarray) -> State:
        """The state with new observation statistics, one row per body."""
        ...

    def start(self, state: State, masks: Masks, prompt: Prompt) -> Carry:
        """What is remembered before the first observation."""
        ...

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
        ...

    def observe_step(
        self,
        state: State,
        carry: Carry,
        obs: Float[ArrayLike, "N O"],
        action: Float[ArrayLike, "N A"],
        reward: Float[ArrayLike, " N"],
    ) -> tuple[Float[Array, "N F"], Carry]:
        """Take in one step without acting; the feature that any policy may read."""
        ...

    def actor(self, state: State) -> Actor:
        """The policy that was learnt in training."""
        ...

    def meta_value(self, state: State) -> MetaValue:
        """The value that all training scenarios share."""
        ...

    def sac(self, state: State) -> SACState | None:
        """What soft actor-critic learnt in training; None where another behaviour learnt."""
        ...

    @property
    def discount(self) -> float:
        """Per control step, of every value learnt in training."""
        ...


@runtime_checkable
class PromptReader(Protocol):
    """A method that begins with a prompt: steps that fill its context before anything real."""

    @property
    def prompt_steps(self) -> int:
        """Actions that a prompt shows; 0 where this form of the method reads none."""
        ...


@runtime_checkable
class WorldModelAgent(Agent, Protocol):
    """A method that can dream."""

    @property
    def dream_context(self) -> DreamContext:
        """Whether dreamt steps enter the context."""
        ...

    def model(self, state: State) -> AbstractWorldModel:
        """The world model."""
        ...

    def with_model(self, state: State, model: AbstractWorldModel) -> State:
        """The state with another world model in it."""
        ...

    def update_model(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """One step of learning of the world model alone. The old state can still be used."""
        ...

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
        ...

    def expected(
        self, state: State, start: Any, feature: Float[Array, "M *T F"]
    ) -> tuple[Float[Array, "M *T O"], Float[Array, "M *T"]]:
        """Mean observation (normalised, as agents see it) and reward in dreams from `start`."""
        ...

    def predict_open_loop(
        self, state: State, batch: Batch, *, horizon: int, num_samples: int, key: PRNGKeyArray
    ) -> tuple[Float[Array, "K B H O"], Float[Array, "K B H"]]:
        """Observations (normalised) and rewards of the last steps, dreamt under their actions."""
        ...


def dreaming(agent: Agent) -> WorldModelAgent:
    """The same agent, as one that can dream.

    Raises:
        ConfigError: it has no world model.
    """
    if not isinstance(agent, WorldModelAgent):
        raise ConfigError(
            f"{type(agent).__name__} has no world model to dream with; learn from real steps "
            f"alone (real_share=1.0), or choose another method."
        )
    return agent


def with_picture(carry: Carry, image: Any) -> Carry:
    """What a model remembers, with the pictures that it is to take in next, where there are any."""
    return carry if image is None else dataclasses.replace(carry, image=jnp.asarray(image))


class AgentPolicy:
    """An agent as a rollout's policy. Without a key it acts by its mode."""

    def __init__(
        self,
        agent: Agent,
        state: State,
        masks: Masks,
        prompt: Prompt,
        key: PRNGKeyArray | None = None,
    ):
        self._agent, self._state, self._masks = agent, state, masks
        self._prompt, self._key = prompt, key
        self._image: np.ndarray | None = None

    def show(self, image: UInt8[np.ndarray, "N S S 3"]) -> None:
        """What the next action is chosen on, beside the observation."""
        self._image = image

    def start(self, num: int) -> tuple[int, Carry]:
        """The step counter and what the agent remembers."""
        return 0, self._agent.start(self._state, self._masks, self._prompt)

    def act(
        self,
        carry: tuple[int, Carry],
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
    ) -> tuple[np.ndarray, tuple[int, Carry]]:
        """The next action of every scenario."""
        step, memory = carry
        key = None if self._key is None else jax.random.fold_in(self._key, step)
        memory = with_picture(memory, self._image)
        chosen, memory = self._agent.act(self._state, memory, obs, action, reward, key)
        return np.asarray(chosen), (step + 1, memory)
