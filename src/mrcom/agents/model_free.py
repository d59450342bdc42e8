"""Soft actor-critic on what is seen, without a world model: what a model must be worth.

The policy reads the normalised observation and, where the protocol shows it, the last reward;
`SAC_TOLD` reads what experts read of the scenario, too, and so bounds what any method could gain
by finding that out. It learns from the same merged experience as every other method.
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from mrcom.agents.abstract_agent import AbstractAgent
from mrcom.agents.acting import standardised, steps_of
from mrcom.agents.agent import Agent, Metrics, Windows
from mrcom.agents.method import Method, named
from mrcom.agents.products import of_replay
from mrcom.behaviour.critic import CriticConfig
from mrcom.behaviour.latent_sac import LatentSac, LatentSacConfig, LatentSacState
from mrcom.behaviour.policy import ActorConfig
from mrcom.behaviour.sac import SACConfig
from mrcom.core.errors import ConfigError, unknown
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Layout, Masks, Prompt

SAC = Method(name="SAC", family="sac", parts=("observation",), weights=())
"""Knows of a scenario what can be seen."""
SAC_TOLD = Method(name="SAC, told", family="sac", parts=("observation", "told"), weights=())
"""Is told the scenario's target speed, torso length and torso size."""
NUM_TOLD = 3
"""These three."""


@dataclasses.dataclass(frozen=True)
class Size:
    """Widths and rates of one preset."""

    units: int
    """Of the actor's and the critics' hidden layers."""
    windows: Windows
    """Every transition of them is in the minibatch."""
    rate: float
    """Of the actor's and the critics' Adam."""
    temperature_rate: float = 3e-4
    """Of the temperature's."""
    layers: int = 2
    """Hidden layers of the actor and the critics."""


SIZES = {
    "debug": Size(16, Windows(scenarios=4, context=1, length=8), 1e-3, layers=1),
    "tiny": Size(128, Windows(scenarios=48, context=1, length=32), 9e-4, 9e-4),
    "small": Size(256, Windows(scenarios=48, context=1, length=32), 6e-4, 6e-4),
    "full": Size(256, Windows(scenarios=48, context=1, length=32), 3e-4),
}
"""The same names as every method's; rates as fast as those of the other methods' SAC."""


class State(eqx.Module):
    """Everything that changes while learning."""

    behaviour: LatentSacState
    mean: Float[Array, "bodies O"]
    """Of each body's observations."""
    std: Float[Array, "bodies O"]
    """Of each body's observations."""


class Seen(eqx.Module):
    """All that learning from replay reads of a posterior."""

    expected: Float[Array, "B T F"]


class Carry(eqx.Module):
    """What is known of N scenarios while acting; nothing is remembered."""

    obs_mask: Float[Array, "N O"]
    act_mask: Float[Array, "N A"]
    body: Int[Array, " N"]
    told: Float[Array, "N P"]


@dataclasses.dataclass(frozen=True)
class ModelFree(AbstractAgent):
    """The method with its sizes fixed."""

    config: LatentSacConfig
    windows: Windows
    observe_reward: bool

    def __post_init__(self):
        self.method.check_terms(())
        for part in self.method.parts:
            if part not in ("observation", "told"):
                raise unknown("part of a policy's input", part, ("observation", "told"))
        if "observation" not in self.method.parts:
            raise ConfigError("A policy that sees nothing cannot act: keep 'observation'.")

    @property
    def dream_steps(self) -> int:
        """None: nothing is dreamt."""
        return 0

    @property
    def behaviour(self) -> LatentSac:
        """What learns to act."""
        return LatentSac(self.config, self.windows.per_scenario)

    def init(self, key: PRNGKeyArray) -> State:
        """The state before anything was learnt."""
        width = self.layout.obs + self.observe_reward
        width += NUM_TOLD if "told" in self.method.parts else 0
        behaviour = self.behaviour.init(width, self.layout.act, self.num_scenarios, key=key)
        return State(behaviour, **self.new_statistics())

    def start(self, state: State, masks: Masks, prompt: Prompt) -> Carry:
        """What is known before the first observation; prompts say nothing to it."""
        arrays = (masks.obs, masks.act, masks.body, masks.told)
        return Carry(*[jnp.asarray(array) for array in arrays])

    def observe_step(
        self,
        state: State,
        carry: Carry,
        obs: Float[ArrayLike, "N O"],
        action: Float[ArrayLike, "N A"],
        reward: Float[ArrayLike, " N"],
    ) -> tuple[Float[Array, "N F"], Carry]:
        """Take in one step without acting; what the policy reads."""
        seen = (jnp.asarray(obs), jnp.asarray(reward))
        return self._feature(state, *seen, carry.body, carry.obs_mask, carry.told), carry

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
        return _act((self, key), state, carry, jnp.asarray(obs), jnp.asarray(reward)), carry

    def learn(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """One step of everything."""
        trained = steps_of(batch, slice(-self.windows.length, None))
        rows = lambda x: x[:, None]
        feature = self._feature(
            state,
            trained.obs,
            trained.reward,
            rows(batch.body),
            rows(batch.obs_mask),
            rows(batch.told),
        )
        # SAC on replayed steps never asks a model.
        key = named_keys(key, "behaviour").behaviour
        learnt, metrics = self.behaviour.update(
            state.behaviour, None, Seen(feature), trained, key=key
        )
        return State(learnt, state.mean, state.std), {"loss": metrics["twin/loss"], **metrics}

    def _feature(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        reward: Float[Array, "*B"],
        body: Int[Array, "..."],
        obs_mask: Float[Array, "... O"],
        told: Float[Array, "... P"],
    ) -> Float[Array, "*B F"]:
        parts = [standardised(obs, state.mean[body], state.std[body]) * obs_mask]
        if self.observe_reward:
            parts.append(reward[..., None])
        if "told" in self.method.parts:
            parts.append(jnp.broadcast_to(told, (*obs.shape[:-1], told.shape[-1])))
        return jnp.concatenate(parts, axis=-1)


@eqx.filter_jit
def _act(
    given: tuple[ModelFree, PRNGKeyArray | None],
    state: State,
    carry: Carry,
    obs: Float[Array, "N O"],
    reward: Float[Array, " N"],
) -> Float[Array, "N A"]:
    agent, key = given
    feature = agent._feature(state, obs, reward, carry.body, carry.obs_mask, carry.told)
    policy = agent.actor(state)(feature, carry.act_mask)
    return policy.mode() if key is None else policy.sample(key)[0]


def build(
    method: Method,
    size: str,
    *,
    layout: Layout,
    num_scenarios: int,
    observe_reward: bool,
    behaviour: str,
    updates: int,
) -> Agent:
    """The agent of this method at a size; its rates do not fall, however many updates follow.

    Raises:
        ConfigError: no such size, a part that it does not know, or a behaviour that needs a model.
    """
    chosen = named("size", size, SIZES)
    method.check_behaviour(behaviour, own="sac", because="has no world model to dream with")
    config = _configured(chosen)
    return ModelFree(method, config, layout, num_scenarios, chosen.windows, observe_reward)


def operations(size: Size, rows: int, obs: int, act: int) -> int:
    """Floating-point operations that one update on `rows` windows cannot do without.

    Those of matrix products alone, a multiplication and its addition as two; `products` says what
    counts how often. `obs` and `act` are padded widths; the last reward is seen, too.
    """
    return 2 * of_replay(_configured(size), rows * (size.windows.length - 1), obs + 1, act)


def _configured(size: Size) -> LatentSacConfig:
    units, layers, rate = size.units, size.layers, size.rate
    actor = ActorConfig(units=units, layers=layers)
    sac = SACConfig(
        actor=actor,
        units=units,
        layers=layers,
        actor_rate=rate,
        critic_rate=rate,
        temperature_rate=size.temperature_rate,
    )
    critic = CriticConfig(units, layers, rate, slow_rate=0.1, slow_weight=0.0)
    return LatentSacConfig(sac=sac, critic=critic)
