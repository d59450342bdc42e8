"""Acting by planning with an agent's world model, instead of by its policy."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.agents.acting import Filter
from mrcom.agents.agent import Agent
from mrcom.behaviour.mpc import AbstractPlanner, RewardFn, Spread, dreamt_return, one_model
from mrcom.behaviour.observed_reward import ObservedReward
from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.core.types import Masks, Prompt
from mrcom.models.world_model import DreamContext

ORACLE = "planning-oracle"
PLANNERS: tuple[str, ...] = ("planning", ORACLE)
"""What scores call a planner with the rewards that its model learnt, and with the true ones."""

SpreadOf = Callable[[Any], Spread]
"""From a world model to how its members are told apart."""


@dataclasses.dataclass(frozen=True)
class Planning:
    """How to plan with a world model."""

    planner: AbstractPlanner
    """What searches."""
    particles: int = 4
    """Of each member of the model, in every candidate."""
    spread: SpreadOf = one_model
    """The model's members; by default the model is one."""
    dream_context: DreamContext = "frozen"
    """Whether dreamt steps enter the context, which is computed once a plan by default."""


@runtime_checkable
class Plans(Protocol):
    """The configuration of a method that can act by planning."""

    @property
    def planning(self) -> Planning:
        """How to."""
        ...


def planning_of(agent: Agent) -> Planning:
    """How an agent acts by planning.

    Raises:
        ConfigError: its method does not say.
    """
    config = getattr(agent, "config", None)
    if not isinstance(config, Plans):
        raise ConfigError(
            f"{type(agent).__name__} does not act by planning: its configuration has no "
            f"`planning`; the nearest methods that have are cadm and cadm-vanilla."
        )
    return config.planning


def described(planning: Planning, *, oracle: bool) -> str:
    """A planner and its numbers, for readers of a table."""
    numbers = vars(planning.planner) | {"particles": planning.particles}
    said = [f"{name} {value}" for name, value in numbers.items()]
    rewards = "true rewards" if oracle else "learnt rewards"
    return ", ".join([type(planning.planner).__name__, *said, rewards])


class PlanningPolicy:
    """An agent's world model and a planner as a rollout's policy.

    The model follows the episode; every step a new plan is made from where it stands, beginning
    with the last one, and its first action is carried out. With an oracle, which gives the true
    rewards of raw observations, plans are compared by it instead of by rewards that were learnt.
    """

    def __init__(
        self,
        agent: Agent,
        state: Any,
        masks: Masks,
        prompt: Prompt,
        planning: Planning,
        oracle: ObservedReward | None = None,
        *,
        key: PRNGKeyArray,
    ):
        self._agent, self._state, self._masks = agent, state, masks
        self._prompt, self._planning, self._key = prompt, planning, key
        self._oracle = oracle

    def start(self, num: int) -> tuple[int, Any, Float[Array, "N H A"]]:
        """The step counter, what the agent remembers, and an empty plan."""
        shape = (num, self._planning.planner.horizon, self._agent.layout.act)
        memory = self._agent.start(self._state, self._masks, self._prompt)
        return 0, memory, jnp.zeros(shape)

    def act(
        self,
        carry: tuple[int, Any, Float[Array, "N H A"]],
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
    ) -> tuple[np.ndarray, tuple[int, Any, Float[Array, "N H A"]]]:
        """The next action of every scenario."""
        step, memory, before = carry
        _, memory = self._agent.observe_step(self._state, memory, obs, action, reward)
        key = jax.random.fold_in(self._key, step)
        plan = _plan(self._planning, self._oracle, self._state.filter, memory.model, before, key)
        return np.asarray(plan[:, 0]), (step + 1, memory, plan)


@eqx.filter_jit
def _plan(
    planning: Planning,
    oracle: ObservedReward | None,
    given: Filter,
    state: Any,
    before: Float[Array, "N H A"],
    key: PRNGKeyArray,
) -> Float[Array, "N H A"]:
    models, states = planning.spread(given.model)(state)
    reward = None if oracle is None else _of_features(oracle, given, state.body)

    def score(actions: Float[Array, "N J H A"], key: PRNGKeyArray) -> Float[Array, "N J"]:
        return dreamt_return(
            models,
            states,
            actions,
            key=key,
            particles=planning.particles,
            reward=reward,
            dream_context=planning.dream_context,
        )

    keys = named_keys(key, "plan")
    return planning.planner.plan(score, before, state.act_mask, key=keys.plan)


def _of_features(oracle: ObservedReward, given: Filter, body: Array) -> RewardFn:
    """The oracle on a model's features: decoded, and in raw units again."""

    def reward(feature: Float[Array, "N J P F"]) -> Float[Array, "N J P"]:
        here = jnp.broadcast_to(body[:, None, None], feature.shape[:-1])
        obs = given.model.decode(feature, here)
        return oracle(obs * given.std[here] + given.mean[here])

    return reward
