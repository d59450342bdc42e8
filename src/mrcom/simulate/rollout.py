"""THE rollout: collection, evaluation and prompts all call it."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from mrcom.core.errors import ConfigError, TrainingDivergedError
from mrcom.core.generators import named_generator
from mrcom.core.progress import Bar, SilentBar
from mrcom.core.steps import Masks, Steps
from mrcom.simulate.simulator import Simulator


@runtime_checkable
class Policy(Protocol):
    """How to act in N scenarios at once."""

    def start(self, num: int) -> Any:
        """What the policy remembers at the start of an episode."""
        ...

    def act(
        self,
        carry: Any,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[Float[np.ndarray, "N A"], Any]:
        """The next action and memory.

        Args:
            carry: what `start` or the last `act` gave.
            obs: what is observed now.
            action: the action that led here; zero at the start.
            reward: received on arriving here; zero at the start.
        """
        ...


@runtime_checkable
class SeesPictures(Protocol):
    """A policy that is shown a picture of every scenario before each of its actions."""

    def show(self, image: UInt8[np.ndarray, "N S S 3"]) -> None:
        """What the next action is chosen on, beside the observation."""
        ...


class RandomPolicy:
    """Uniform in [-1, 1] on every real action."""

    def __init__(self, masks: Masks, seed: int = 0):
        self._mask, self._seed = masks.act, seed

    def start(self, num: int) -> np.random.Generator:
        """A generator of its own for every episode's start: the same each time."""
        return named_generator(self._seed, "random_policy")

    def act(
        self,
        carry: np.random.Generator,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[Float[np.ndarray, "N A"], np.random.Generator]:
        """Uniform actions, whatever is observed."""
        return carry.uniform(-1, 1, self._mask.shape).astype(np.float32) * self._mask, carry


def rollout(
    simulator: Simulator,
    policy: Policy,
    *,
    num_steps: int = Simulator.episode_steps,
    seed: int,
    sub_episodes: int = 1,
    progress: Bar | None = None,
) -> Steps:
    """One trajectory of every scenario, from a reset.

    Args:
        simulator: the scenarios; all of them are reset.
        policy: how to act.
        num_steps: transitions; the result has one entry more, the initial state.
        seed: of the initial states and the observations' noise.
        sub_episodes: equal parts of the trajectory. At the end of each but the last the bodies are
            put into new initial states of the same scenarios, and nothing else notices. The step
            that is the border holds the new observation, the action carried out last and the
            reward that it gave: every action has its reward, and where it led is not seen.
        progress: advanced by one at every step.

    Raises:
        TrainingDivergedError: a simulation diverged, or an action is not finite; names the
            scenario.
    """
    if num_steps < 1:
        raise ConfigError(f"num_steps={num_steps} must be at least 1.")
    if sub_episodes < 1 or num_steps % sub_episodes:
        raise ConfigError(
            f"num_steps={num_steps} cannot be divided into sub_episodes={sub_episodes} equal "
            f"parts; the nearest that can is {_divisible(num_steps, max(sub_episodes, 1))}."
        )
    part = num_steps // sub_episodes
    bar = SilentBar() if progress is None else progress
    mask = simulator.masks.act
    num, length = simulator.num, num_steps + 1
    obs = np.zeros((num, length, simulator.layout.obs), np.float32)
    action = np.zeros((num, length, simulator.layout.act), np.float32)
    reward = np.zeros((num, length), np.float32)
    obs[:, 0] = simulator.reset(seed=seed)
    first = simulator.image()
    image = None if first is None else np.repeat(first[:, None], length, axis=1)
    carry = policy.start(num)
    for t in range(num_steps):
        if image is not None and isinstance(policy, SeesPictures):
            policy.show(image[:, t])
        chosen, carry = policy.act(carry, obs[:, t], action[:, t], reward[:, t])
        action[:, t + 1] = chosen * mask
        if not (finite := np.isfinite(action[:, t + 1]).all(axis=1)).all():
            name = simulator.scenarios[int(np.argmin(finite))].name
            raise TrainingDivergedError(f"An action is not finite in scenario {name}.")
        obs[:, t + 1], reward[:, t + 1] = simulator.step(action[:, t + 1])
        simulator.check()
        if (t + 1) % part == 0 and t + 1 < num_steps:
            obs[:, t + 1] = simulator.reset()
        if image is not None:
            image[:, t + 1] = simulator.image()
        bar.advance(1)
    return Steps(obs, action, reward, np.zeros((num, length), bool), image)


def _divisible(num_steps: int, parts: int) -> int:
    """The number nearest to `num_steps` that has so many equal parts, each at least 1."""
    return max(1, (num_steps + parts // 2) // parts) * parts
