"""Simulations that an expert learns from, and what is known about their bodies."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from mrcom.behaviour.expert import NUM_PARAMETERS, Expert
from mrcom.behaviour.ppo import PPOConfig, PPOState, Rollout
from mrcom.behaviour.ppo_networks import MIN_STD, Mirror, plain_layers
from mrcom.core.errors import ConfigError
from mrcom.core.generators import named_generator
from mrcom.scenarios.bodies import body as body_named
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import Box, sample_scenarios
from mrcom.simulate.simulator import Simulator

Assist = Callable[[Float[np.ndarray, "N O"]], Float[np.ndarray, " N"]]
Starts = Callable[
    [np.random.Generator, int], tuple[Float[np.ndarray, "M Q"], Float[np.ndarray, "M V"]]
]
"""Draws so many states, as positions and velocities of joints, in which a body stands."""


@dataclasses.dataclass(frozen=True)
class ExpertConfig:
    """How an expert is trained."""

    ppo: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """The learner."""
    box: Box = dataclasses.field(default_factory=lambda: Box(20.0, 100.0))
    """Training scenarios are drawn from here."""
    groups: int = 4
    """Groups of simulations that start their episodes at different times."""
    group_size: int = 32
    """Simulations in a group, all different bodies."""
    horizon: int = 50
    """Steps between updates; divides an episode."""
    episode_steps: int = Simulator.episode_steps
    """Steps before new scenarios and initial states. Shorter episodes practise getting up more
    often; the limit never ends a value."""
    assist: float = 0.0
    """Weight at the start of a body's helping reward, where it has one."""
    assist_steps: float = 1e6
    """Environment steps over which that weight falls linearly to zero."""
    evaluate_every_s: float = 300.0
    """Seconds between evaluations with mode actions."""
    save_every_s: float = 60.0
    """Seconds between checkpoints."""

    def __post_init__(self) -> None:
        if self.episode_steps % self.horizon:
            near = min(
                (d for d in range(1, self.episode_steps + 1) if self.episode_steps % d == 0),
                key=lambda d: abs(d - self.horizon),
            )
            raise ConfigError(
                f"ExpertConfig.horizon={self.horizon} must divide an episode of "
                f"{self.episode_steps} steps; the nearest is {near}."
            )


def _swap(width: int, *pairs: tuple[int, int, int]) -> tuple[int, ...]:
    """Permutation that exchanges entries [a, a + n) and [b, b + n) for each (a, b, n)."""
    order = list(range(width))
    for a, b, n in pairs:
        order[a : a + n], order[b : b + n] = order[b : b + n], order[a : a + n]
    return tuple(order)


# The walker's legs: orientations of thigh, leg and foot, then joint speeds.
MIRRORS = {
    "walker": Mirror(_swap(24 + NUM_PARAMETERS, (2, 8, 6), (18, 21, 3)), _swap(6, (0, 3, 3)))
}


def hopper_stance(obs: Float[np.ndarray, "N O"]) -> Float[np.ndarray, " N"]:
    """How upright the hopper's trunk is times how high it is above the foot, in [0, 1].

    Heights are the default body's; 1 is reached well above the reward's gate of 0.6 m.
    """
    trunk, waist, hip, knee = obs[:, 1], obs[:, 2], obs[:, 3], obs[:, 4]
    pelvis = trunk + waist
    thigh = pelvis + hip
    height = 0.12 * np.cos(trunk) + 0.2 * np.cos(pelvis) + 0.33 * np.cos(thigh)
    height += 0.32 * np.cos(thigh + knee)
    return np.clip(np.cos(trunk), 0.0, 1.0) * np.clip(height / 0.8, 0.0, 1.0)


FALLEN = 0.6
"""Below this much of its helping reward a body has fallen."""

# Standing decides whether a hopper is rewarded at all. Without help it finds no reward; helped
# by height alone it learns to rock on its back and never leaves that.
ASSISTS: dict[str, Assist] = {"hopper": hopper_stance}


@dataclasses.dataclass(frozen=True)
class Stage:
    """Settings from some number of environment steps on."""

    start: int
    """The number."""
    config: ExpertConfig
    """The settings; sizes of networks are those of the first stage."""


def _later(start: int, first: ExpertConfig, *, ppo: dict[str, float], **changes: Any) -> Stage:
    learner = dataclasses.replace(first.ppo, **ppo)
    return Stage(start, dataclasses.replace(first, ppo=learner, **changes))


def _calm(start: int, min_log_std: float, episode_steps: int, first: ExpertConfig) -> Stage:
    ppo = {"entropy": 5e-4, "min_log_std": min_log_std}
    sizes = {"group_size": 64, "episode_steps": episode_steps}
    return _later(start, first, ppo=ppo, assist=0.0, **sizes)


_FIRST = ExpertConfig()
_HOPPER = ExpertConfig(PPOConfig(entropy=4e-3, initial_log_std=0.0), assist=1.0, assist_steps=6e6)
STAGES: dict[str, tuple[Stage, ...]] = {
    "hopper": (
        Stage(0, _HOPPER),
        _later(6_900_000, _HOPPER, ppo={"entropy": 0.0}, assist=0.5, assist_steps=1e12),
        _later(9_500_000, _HOPPER, ppo={"entropy": 5e-4, "min_log_std": -1.3}, assist_steps=16e6),
        _calm(10_900_000, -1.6, 500, _HOPPER),
    ),
    "walker": (
        Stage(0, _FIRST),
        _later(6_060_000, _FIRST, ppo={}, episode_steps=300),
        _calm(6_500_000, -1.9, 300, _FIRST),
    ),
    "cheetah": (Stage(0, _FIRST), _calm(8_500_000, -1.9, 500, _FIRST)),
}
"""How the experts that ship were trained."""


def stages_of(body: str) -> tuple[Stage, ...]:
    """Those of a body; one with the defaults for yours."""
    return STAGES.get(body, (Stage(0, _FIRST),))


def settings_at(stages: Sequence[Stage], env_steps: int) -> ExpertConfig:
    """The settings after so many environment steps."""
    return [stage.config for stage in stages if stage.start <= env_steps][-1]


@dataclasses.dataclass(frozen=True)
class Actor:
    """The policy as simulations meet it during one horizon."""

    expert: Expert
    """Gives the mean."""
    std: Float[np.ndarray, " A"]
    """Of the actions around it."""


def actor_of(state: PPOState, body: str) -> Actor:
    """The learner's policy with its exploration, in NumPy."""
    return Actor(export_expert(state, body, {}), np.exp(np.asarray(state.networks.log_std)))


def export_expert(state: PPOState, body: str, record: Mapping[str, Any]) -> Expert:
    """The learner's policy as a weight file's content."""
    layers = plain_layers(state.networks.policy)
    std = np.maximum(np.sqrt(np.asarray(state.moments.variance)), MIN_STD)
    return Expert(
        body,
        np.asarray(state.moments.mean),
        std,
        tuple(np.asarray(w) for w in layers.weights),
        tuple(np.asarray(b) for b in layers.biases),
        record,
    )


class Group:
    """Simulations whose episodes start together, each time with new scenarios.

    With starts of its own, they begin there, and there again wherever the body has fallen, which
    ends the value: for a policy that need not get up.
    """

    def __init__(
        self,
        body: str,
        config: ExpertConfig,
        seed: int,
        age: int,
        num_threads: int,
        starts: Starts | None = None,
    ):
        self._body, self._config, self._seed, self._starts = body, config, seed, starts
        self._simulator = Simulator(self._draw(), num_threads=num_threads)
        self._returns = np.zeros(config.group_size)
        self._begin()
        self._age, self._whole = age, age == 0

    def _draw(self) -> list[Scenario]:
        size = self._config.group_size
        return sample_scenarios(
            self._body, self._config.box, size, self._seed, stream="expert training"
        )

    def _begin(self) -> None:
        obs = self._simulator.reset(seed=self._seed)
        self._rng = named_generator(self._seed, "starts")
        if self._starts is not None:
            obs = self._restart(np.arange(self._simulator.num), self._starts)
        self._parameters = np.stack([s.parameters() for s in self._simulator.scenarios])
        self.inputs = np.concatenate([obs, self._parameters], axis=1)
        self._returns[:] = 0
        self._age, self._whole = 0, True
        self._seed += 1

    def _restart(self, rows: np.ndarray, starts: Starts) -> Float[np.ndarray, "N O"]:
        return self._simulator.place(rows, *starts(self._rng, len(rows)))

    def collect(
        self, actor: Actor, key: PRNGKeyArray, assist: Assist | None, weight: float
    ) -> tuple[Rollout, list[tuple[float, float]]]:
        """One horizon of steps, and (speed share, return) of episodes that it completed.

        Returns of shorter episodes are scaled to the length of a whole one.

        The policy runs in NumPy: for a few dozen rows a call into JAX would cost as much as
        the simulation itself.
        """
        steps, size = self._config.horizon, self._config.group_size
        body = body_named(self._body)
        noise = np.asarray(jax.random.normal(key, (steps, size, body.act))) * actor.std
        obs = np.zeros((steps + 1, *self.inputs.shape), np.float32)
        action = np.zeros((steps, size, body.act), np.float32)
        reward, cont = np.zeros((2, steps, size), np.float32)
        obs[0], cont[:] = self.inputs, 1
        for t in range(steps):
            seen = obs[t, :, : body.obs]
            action[t] = actor.expert.mean_action(seen, self._parameters) + noise[t]
            seen, reward[t] = self._simulator.step(np.clip(action[t], -1.0, 1.0))
            self._returns += reward[t]
            if assist is not None:
                reward[t] += weight * assist(seen)
                if self._starts is not None and (fallen := assist(seen) < FALLEN).any():
                    cont[t, fallen] = 0
                    seen = self._restart(np.flatnonzero(fallen), self._starts)
            obs[t + 1, :, : body.obs], obs[t + 1, :, body.obs :] = seen, self._parameters
        self._simulator.check()
        self.inputs = obs[-1]
        self._age += steps
        finished = []
        if self._age >= self._config.episode_steps:
            # The last observation stays in this rollout: the limit does not end its value.
            if self._whole:
                returns = self._returns * (Simulator.episode_steps / self._config.episode_steps)
                finished = list(zip(self._parameters[:, 0].tolist(), returns.tolist(), strict=True))
            self._simulator.set_scenarios(self._draw())
            self._begin()
        whole = Rollout(
            jnp.asarray(obs), jnp.asarray(action), jnp.asarray(reward), jnp.asarray(cont)
        )
        return whole, finished


def make_groups(
    body: str,
    config: ExpertConfig,
    seed: int,
    iterations: int,
    num_threads: int | None,
    starts: Starts | None = None,
) -> list[Group]:
    """Groups with evenly spread ages; resumed ones draw scenarios of their own."""
    chunks = config.episode_steps // config.horizon
    threads = num_threads or len(os.sched_getaffinity(0))
    return [
        Group(
            body,
            config,
            seed * 10_000_019 + g * 1_000_003 + iterations,
            (g * chunks // config.groups) * config.horizon,
            threads,
            starts,
        )
        for g in range(config.groups)
    ]
