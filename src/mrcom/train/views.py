"""What a policy reads: the frozen model's state, or the observation itself."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mrcom.agents.agent import Agent
from mrcom.behaviour.policy import Actor
from mrcom.core.rng import named_keys, root_key
from mrcom.core.types import Masks, Prompt
from mrcom.replay.normaliser import normalise


@runtime_checkable
class View(Protocol):
    """Turns what N scenarios show, step by step, into what their policies read."""

    def start(self) -> Any:
        """What is remembered at an episode's start."""
        ...

    def see(
        self,
        carry: Any,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[Float[Array, "N F"], Any]:
        """The features after one more step."""
        ...


class LatentView:
    """The filtered state of a frozen world model."""

    def __init__(self, agent: Agent, state: Any, masks: Masks, prompt: Prompt):
        self._agent, self._state, self._masks, self._prompt = agent, state, masks, prompt

    def start(self) -> Any:
        """The model's memory, filled by the prompts."""
        return self._agent.start(self._state, self._masks, self._prompt)

    def see(
        self,
        carry: Any,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[Float[Array, "N F"], Any]:
        """The model's feature after one more step."""
        return self._agent.observe_step(self._state, carry, obs, action, reward)


class ObservationView:
    """Normalised observation and, where the protocol shows it, the last reward. No memory."""

    def __init__(self, masks: Masks, mean: np.ndarray, std: np.ndarray, *, observe_reward: bool):
        self._masks, self._mean, self._std = masks, mean, std
        self._observe_reward = observe_reward

    def start(self) -> None:
        """Nothing."""

    def see(
        self,
        carry: None,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[Float[Array, "N F"], None]:
        """The observation in units of its standard deviation."""
        seen = normalise(obs, self._masks.body, self._masks.obs, self._mean, self._std)
        if self._observe_reward:
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
        feature, memory = self._view.see(memory, obs, action, reward)
        key = None if self._key is None else jax.random.fold_in(self._key, step)
        chosen = act_each(self._actors, feature, jnp.asarray(self._masks.act), key)
        return np.asarray(chosen), (step + 1, memory)


@eqx.filter_jit
def act_each(
    actors: Actor, feature: Float[Array, "N F"], act_mask: Float[Array, "N A"], key: Any
) -> Float[Array, "N A"]:
    """Each actor's own action: a sample, or its mode where `key` is None."""
    policy = eqx.filter_vmap(lambda actor, row, mask: actor(row, mask))(actors, feature, act_mask)
    return policy.mode() if key is None else policy.sample(key)[0]
