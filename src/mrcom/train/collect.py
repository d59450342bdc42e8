"""Experience of many scenarios at once, merged into one store."""

import dataclasses
from typing import Any

import jax
import numpy as np

from mrcom.agents.agent import Agent, AgentPolicy
from mrcom.core.rng import named_keys, root_key
from mrcom.core.types import Prompt, Steps
from mrcom.replay.normaliser import Normaliser
from mrcom.replay.store import Store
from mrcom.simulate.rollout import RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator
from mrcom.train.settings import Worlds


@dataclasses.dataclass
class Experience:
    """What the host has seen so far."""

    store: Store
    normaliser: Normaliser
    prompt: Prompt

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for a checkpoint."""
        prompt = {name: np.asarray(value) for name, value in vars(self.prompt).items()}
        return {
            f"{part}.{name}": value
            for part, arrays in (
                ("store", self.store.state_dict()),
                ("normaliser", self.normaliser.state_dict()),
                ("prompt", prompt),
            )
            for name, value in arrays.items()
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """The inverse of `state_dict`."""

        def part(name: str) -> dict[str, np.ndarray]:
            return {
                key.removeprefix(f"{name}."): value
                for key, value in state.items()
                if key.startswith(f"{name}.")
            }

        self.store.restore(part("store"))
        self.normaliser = self.normaliser.restored(part("normaliser"))
        self.prompt = Prompt(**jax.device_put(part("prompt")))

    def add(self, steps: Steps, worlds: Worlds) -> None:
        """Take in one trajectory of every scenario."""
        self.store.add(np.arange(len(worlds.scenarios)), steps)
        self.normaliser = self.normaliser.updated(steps.obs, worlds.masks)


def collect_random(simulator: Simulator, worlds: Worlds, *, num_steps: int, seed: int) -> Steps:
    """One episode in every scenario with uniformly random actions."""
    policy = RandomPolicy(worlds.masks, seed=seed)
    return rollout(simulator, policy, num_steps=num_steps, seed=seed)


def collect_with_agent(
    simulator: Simulator,
    agent: Agent,
    state: Any,
    worlds: Worlds,
    prompt: Prompt,
    *,
    num_steps: int,
    seed: int,
) -> Steps:
    """One episode in every scenario with the agent's sampled actions."""
    key = named_keys(root_key(seed), "collect").collect
    policy = AgentPolicy(agent, state, worlds.masks, prompt, key)
    return rollout(simulator, policy, num_steps=num_steps, seed=seed)
