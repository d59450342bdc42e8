"""Experience of many scenarios at once, merged into one store."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NotRequired, TypedDict, Unpack

import jax
import numpy as np
from jaxtyping import Float

from mrcom.agents.agent import Agent, AgentPolicy
from mrcom.agents.disturbed import DisturbedPolicy
from mrcom.behaviour.expert import ExpertPolicy
from mrcom.core.progress import Bar
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.core.types import Masks, Prompt, Steps
from mrcom.models.latent_error import NONE, LatentError
from mrcom.replay.normaliser import Normaliser
from mrcom.replay.store import Store
from mrcom.simulate.rollout import Policy, RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator
from mrcom.train.settings import Worlds

EXPERT_NOISE = 0.3
"""Standard deviation of the noise on experts' actions while they collect."""


@dataclasses.dataclass
class Experience:
    """What the host has seen so far."""

    store: Store
    normaliser: Normaliser
    prompt: Prompt

    def state_dict(self) -> dict[str, np.ndarray]:
        """What changes besides the steps themselves, as arrays, for a checkpoint."""
        prompt = {
            name: np.asarray(value)
            for name, value in vars(self.prompt).items()
            if value is not None
        }
        return {
            f"{part}.{name}": value
            for part, arrays in (
                ("written", self.store.written_dict()),
                ("normaliser", self.normaliser.state_dict()),
                ("prompt", prompt),
            )
            for name, value in arrays.items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The statistics and prompts of a `state_dict`; the store stays as it is."""
        self.normaliser = self.normaliser.restored(_part(state, "normaliser"))
        self.prompt = Prompt(**jax.device_put(_part(state, "prompt")))

    def restore_store(
        self, rounds: Iterable[tuple[Steps, bool]], state: Mapping[str, np.ndarray]
    ) -> None:
        """Fill an empty store with rounds as they were added, and what updates wrote beside them.

        Args:
            rounds: one trajectory of every scenario, and whether experts made them.
            state: a `state_dict` that was made when exactly these rounds had been added.
        """
        every = np.arange(self.store.num_scenarios)
        for steps, expert in rounds:
            self.store.add(every, steps, expert=expert)
        self.store.restore_written(_part(state, "written"))

    def add(self, steps: Steps, worlds: Worlds, *, expert: bool) -> None:
        """Take in one trajectory of every scenario; `expert` says who made them."""
        self.store.add(np.arange(len(worlds.scenarios)), steps, expert=expert)
        self.normaliser = self.normaliser.updated(steps.obs, worlds.masks)


def _part(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    start = f"{name}."
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}


class Acting(TypedDict):
    """How much `rollout` acts, as it says."""

    num_steps: int
    sub_episodes: NotRequired[int]
    progress: NotRequired[Bar | None]


def collect_random(
    simulator: Simulator, worlds: Worlds, *, seed: int, **amount: Unpack[Acting]
) -> Steps:
    """One episode in every scenario with uniformly random actions."""
    return rollout(simulator, RandomPolicy(worlds.masks, seed=seed), seed=seed, **amount)


class Disturbed:
    """A policy whose actions are disturbed by Gaussian noise, and clipped to [-1, 1]."""

    def __init__(self, policy: Policy, masks: Masks, *, std: float, seed: int):
        """A policy.

        Args:
            std: of the noise, each action dimension its own.
        """
        self._policy, self._mask, self._std, self._seed = policy, masks.act, std, seed

    def start(self, num: int) -> tuple[np.random.Generator, Any]:
        """A generator of its own for every episode's start, and the policy's memory."""
        return named_generator(self._seed, "disturbed"), self._policy.start(num)

    def act(
        self,
        carry: tuple[np.random.Generator, Any],
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[Float[np.ndarray, "N A"], tuple[np.random.Generator, Any]]:
        """The policy's actions with noise."""
        rng, memory = carry
        chosen, memory = self._policy.act(memory, obs, action, reward)
        noise = self._std * rng.standard_normal(chosen.shape) * self._mask
        return np.clip(chosen + noise, -1, 1).astype(np.float32), (rng, memory)


def collect_with_experts(
    simulator: Simulator, worlds: Worlds, *, seed: int, **amount: Unpack[Acting]
) -> Steps:
    """One episode in every scenario with its expert's actions, disturbed."""
    expert = ExpertPolicy(worlds.scenarios, worlds.layout, plain_obs=simulator.plain_obs)
    policy = Disturbed(expert, worlds.masks, std=EXPERT_NOISE, seed=seed)
    return rollout(simulator, policy, seed=seed, **amount)


def collect_with_agent(
    simulator: Simulator,
    agent: Agent,
    state: Any,
    worlds: Worlds,
    prompt: Prompt,
    *,
    seed: int,
    error: LatentError = NONE,
    **amount: Unpack[Acting],
) -> Steps:
    """One episode in every scenario with the agent's sampled actions.

    It acts on latent states with an `error`, where there is one.
    """
    key = named_keys(root_key(seed), "collect").collect
    policy: Policy = AgentPolicy(agent, state, worlds.masks, prompt, key)
    if error != NONE:
        policy = DisturbedPolicy(policy, error, seed=seed)
    return rollout(simulator, policy, seed=seed, **amount)


def returns_by_body(steps: Steps, worlds: Worlds, sub_episodes: int) -> dict[str, float]:
    """Mean returns of each body's scenarios, of whole episodes and of their parts, to be logged."""
    gained = steps.reward[:, 1:].reshape(len(steps.reward), sub_episodes, -1).sum(axis=2)
    found = {}
    for index, body in enumerate(worlds.layout.bodies):
        parts = gained[worlds.masks.body == index].mean(axis=0)
        found[f"return/{body}"] = float(parts.sum())
        if sub_episodes > 1:
            found |= {f"return/{body}/part{k + 1}": float(x) for k, x in enumerate(parts)}
    return found
