"""What a policy reads: the world model's state, or the observation itself."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from mrcom.agents.agent import Agent, dreaming, with_picture
from mrcom.behaviour.policy import Actor, Reads
from mrcom.core.rng import named_keys, root_key
from mrcom.core.types import Masks, Prompt
from mrcom.replay.normaliser import normalise
from mrcom.replay.prompts import choose_prompts


@dataclasses.dataclass(frozen=True)
class Shown:
    """What policies are shown of dreams: the same as their view shows of what is real."""

    reads: str
    """The model's `feature`, or the `observation`."""
    observe_reward: bool
    """Whether the last reward stands beside an observation."""

    def of_dreams(self, agent: Agent, state: Any, start: Any) -> Reads:
        """From the features of dreams that begin in M states to what a policy reads there.

        An observation is the decoded mean, beside it the predicted reward; both of the start
        too, of which only a feature is kept.
        """

        def read(feature: Float[Array, "M *T F"]) -> Float[Array, "M *T V"]:
            if self.reads == "feature":
                return feature
            obs, reward = dreaming(agent).expected(state, start, feature)
            parts = [obs, reward[..., None]] if self.observe_reward else [obs]
            return jnp.concatenate(parts, axis=-1)

        return read


@runtime_checkable
class View(Protocol):
    """Turns what N scenarios show, step by step, into what their policies read."""

    @property
    def shown(self) -> Shown:
        """What this is in dreams."""
        ...

    def start(self) -> Any:
        """What is remembered at an episode's start."""
        ...

    def see(
        self,
        carry: Any,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
        image: UInt8[np.ndarray, "N S S 3"] | None = None,
    ) -> tuple[Float[Array, "N F"], Any]:
        """The features after one more step; with its pictures, where agents see some."""
        ...


class LatentView:
    """The filtered state of one world model, for all rows."""

    def __init__(self, agent: Agent, state: Any, masks: Masks, prompt: Prompt):
        self._agent, self._state, self._masks = agent, state, masks
        self.prompt = prompt
        """Of each row."""
        self.shown = Shown("feature", observe_reward=False)
        """What this is in dreams."""

    def rows(self, at: Int[np.ndarray, " n"], state: Any) -> "LatentView":
        """Some of the rows, each as often as it is named, filtered by the model of `state`."""
        masks = self._masks.rows(at)
        return LatentView(self._agent, state, masks, choose_prompts(self.prompt, at))

    def start(self) -> Any:
        """The model's memory, filled by the prompts."""
        return self._agent.start(self._state, self._masks, self.prompt)

    def see(
        self,
        carry: Any,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
        image: UInt8[np.ndarray, "N S S 3"] | None = None,
    ) -> tuple[Float[Array, "N F"], Any]:
        """The model's feature after one more step."""
        return self._agent.observe_step(
            self._state, with_picture(carry, image), obs, action, reward
        )

    def states(self, carry: Any) -> Any:
        """The model's states of all rows, which dreams may start from."""
        return carry.model

    def follow(
        self,
        obs: Float[np.ndarray, "N T O"],
        action: Float[np.ndarray, "N T A"],
        reward: Float[np.ndarray, "N T"],
        image: UInt8[np.ndarray, "N T S S 3"] | None = None,
    ) -> tuple[Float[Array, "N T F"], Any]:
        """Features and memories after every step of whole episodes: those of `see`, at once."""
        return _follow(self._agent, self._state, self.start(), (obs, action, reward), image)


class LatentViews:
    """The filtered states of several world models, each of some rows."""

    def __init__(self, views: Sequence[LatentView], rows: Sequence[Int[np.ndarray, " n"]]):
        """A view.

        Args:
            views: one of each model, of its rows only.
            rows: where they stand; together all rows, each once.
        """
        self._views, self._rows = tuple(views), tuple(rows)
        self._back = np.argsort(np.concatenate(self._rows))
        self.shown = self._views[0].shown
        """What this is in dreams."""

    def start(self) -> tuple[Any, ...]:
        """Each model's memory."""
        return tuple(view.start() for view in self._views)

    def see(
        self,
        carry: tuple[Any, ...],
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
        image: UInt8[np.ndarray, "N S S 3"] | None = None,
    ) -> tuple[Float[Array, "N F"], tuple[Any, ...]]:
        """Each row's feature after one more step, by its own model."""
        parts = [
            view.see(memory, obs[at], action[at], reward[at], None if image is None else image[at])
            for view, memory, at in zip(self._views, carry, self._rows, strict=True)
        ]
        features, memories = zip(*parts, strict=True)
        return jnp.concatenate(features)[self._back], memories

    def states(self, carry: tuple[Any, ...]) -> Any:
        """The models' states of all rows, which dreams may start from."""
        parts = [memory.model for memory in carry]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[self._back], *parts)


class ObservationView:
    """Normalised observation and, where the protocol shows it, the last reward. No memory."""

    def __init__(self, masks: Masks, mean: np.ndarray, std: np.ndarray, *, observe_reward: bool):
        self._masks, self._mean, self._std = masks, mean, std
        self.shown = Shown("observation", observe_reward)
        """What this is in dreams."""

    def start(self) -> None:
        """Nothing."""

    def see(
        self,
        carry: None,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
        image: UInt8[np.ndarray, "N S S 3"] | None = None,
    ) -> tuple[Float[Array, "N F"], None]:
        """The observation in units of its standard deviation; pictures are not looked at."""
        seen = normalise(obs, self._masks.body, self._masks.obs, self._mean, self._std)
        if self.shown.observe_reward:
            seen = np.concatenate([seen, reward[:, None]], axis=1)
        return jnp.asarray(seen, jnp.float32), None


class ActorsPolicy:
    """One actor per scenario as a rollout's policy."""

    def __init__(
        self,
        view: View,
        actors: Actor,
        which: Int[np.ndarray, " N"],
        masks: Masks,
        seed: int | None = None,
    ):
        """A policy.

        Args:
            actors: stacked on the first axis of every leaf.
            which: the actor of each of N scenarios.
            seed: sample actions with this seed; act by the mode where it is None.
        """
        self._view, self._masks = view, masks
        self._actors = jax.tree.map(lambda leaf: leaf[which], actors)
        self._key = None if seed is None else named_keys(root_key(seed), "actors").actors
        self._image: np.ndarray | None = None

    def show(self, image: UInt8[np.ndarray, "N S S 3"]) -> None:
        """What the next action is chosen on, beside the observation."""
        self._image = image

    def start(self, num: int) -> tuple[int, Any]:
        """The step counter and what the view remembers."""
        return 0, self._view.start()

    def act(
        self,
        carry: tuple[int, Any],
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[Float[np.ndarray, "N A"], tuple[int, Any]]:
        """The next action of every scenario."""
        step, memory = carry
        feature, memory = self._view.see(memory, obs, action, reward, self._image)
        key = None if self._key is None else jax.random.fold_in(self._key, step)
        chosen = act_each(self._actors, feature, jnp.asarray(self._masks.act), key)
        return np.asarray(chosen), (step + 1, memory)


@eqx.filter_jit
def _follow(
    agent: Agent, state: Any, memory: Any, vectors: tuple[Any, Any, Any], image: Any
) -> tuple[Float[Array, "N T F"], Any]:
    def step(memory: Any, seen: tuple[Any, Any]) -> tuple[Any, tuple[Array, Any]]:
        vectors, image = seen
        feature, memory = agent.observe_step(state, with_picture(memory, image), *vectors)
        return memory, (feature, memory)

    by_time = lambda array: jnp.moveaxis(jnp.asarray(array), 1, 0)
    _, followed = jax.lax.scan(step, memory, jax.tree.map(by_time, (vectors, image)))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), followed)


@eqx.filter_jit
def act_each(
    actors: Actor, feature: Float[Array, "N F"], act_mask: Float[Array, "N A"], key: Any
) -> Float[Array, "N A"]:
    """Each actor's own action: a sample, or its mode where `key` is None."""
    policy = eqx.filter_vmap(lambda actor, row, mask: actor(row, mask))(actors, feature, act_mask)
    return policy.mode() if key is None else policy.sample(key)[0]
