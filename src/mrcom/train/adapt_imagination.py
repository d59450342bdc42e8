"""Adaptation by the actor-critic of training, continued in dreams of the target."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents.agent import Agent, dreaming
from mrcom.behaviour.actor_critic import (
    ActorCriticConfig,
    ActorCriticState,
    actor_critic_update,
    init_actor_critic,
)
from mrcom.behaviour.critic import Critic
from mrcom.behaviour.policy import Actor
from mrcom.core.rng import named_keys
from mrcom.train.adapt_config import AdaptConfig, ImaginationConfig
from mrcom.train.adapt_learner import Share
from mrcom.train.real_steps import RealSteps

STATES = 1024
"""Real states that the dreams between two episodes start from."""


@dataclasses.dataclass(frozen=True)
class ImaginationLearner:
    """One actor and one critic for each target, learning in dreams from its real states.

    The critic starts as the meta value: what all training scenarios share is what is known about
    a new one.
    """

    agent: Agent
    config: AdaptConfig

    def dream_steps(self, num: int) -> int:
        """Dreamt steps of one target's `num` updates."""
        return num * self.config.imagination.dreams * self.config.imagination.horizon

    def begin(self, state: Any, width: int, *, key: PRNGKeyArray) -> ActorCriticState:
        """A critic that equals the meta value, and a policy from training or from nothing."""
        meta = self.agent.meta_value(state)
        config = _sized(self.config.imagination.actor_critic, meta.online)
        new = init_actor_critic(width, self.agent.layout.act, 1, config, key=key)
        # Its slow copy starts as the same, like that of any new critic. Copies, because the
        # agent's state is kept.
        one = jax.tree.map(lambda leaf: jnp.copy(leaf)[None], meta.online)
        new = eqx.tree_at(lambda s: (s.critics.online, s.critics.slow), new, (one, one))
        if self.config.policy_init == "scratch":
            return new
        actor = jax.tree.map(jnp.copy, self.agent.actor(state))
        return eqx.tree_at(lambda s: s.actor, new, actor)

    def judged(self, learning: ActorCriticState, best: Actor, *, better: bool) -> ActorCriticState:
        """As it is: dreams alone teach it."""
        return learning

    def learn(
        self, learning: ActorCriticState, state: Any, real: RealSteps, share: Share
    ) -> ActorCriticState:
        """Updates in dreams, each from another draw of the target's real states."""
        states = real.draw_states(share.target, share.rng, STATES)
        meta = self.agent.meta_value(state)
        config = dataclasses.replace(
            self.config.imagination,
            actor_critic=_sized(self.config.imagination.actor_critic, meta.online),
        )
        at = share.rng.integers(STATES, size=(share.num, config.dreams))
        given = (self.agent, config)
        return _updates(given, state, learning, states, jnp.asarray(at), share.act_mask, share.key)


@eqx.filter_jit
def _updates(
    given: tuple[Agent, ImaginationConfig],
    state: Any,
    learning: ActorCriticState,
    states: Any,
    at: Int[Array, "n M"],
    act_mask: Float[Array, " A"],
    key: PRNGKeyArray,
) -> ActorCriticState:
    agent, config = given
    masks = jnp.broadcast_to(act_mask, (at.shape[1], act_mask.shape[0]))
    arrays, rest = eqx.partition(learning, eqx.is_array)

    def one(arrays: Any, rows: Int[Array, " M"]) -> tuple[Any, None]:
        learning = eqx.combine(arrays, rest)
        now = named_keys(jax.random.fold_in(key, learning.updates), "dream").dream
        start = jax.tree.map(lambda leaf: leaf[rows], states)
        dream = dreaming(agent).dream_from(state, start, horizon=config.horizon, key=now)
        alone = jnp.zeros(1, jnp.int32)
        learnt = actor_critic_update(learning, dream, alone, masks, config.actor_critic)
        return eqx.filter(learnt.state, eqx.is_array), None

    arrays, _ = jax.lax.scan(one, arrays, at)
    return eqx.combine(arrays, rest)


def _sized(config: ActorCriticConfig, value: Critic) -> ActorCriticConfig:
    """The configuration with a critic of the size of a given one."""
    units, layers = value.net.hidden[0].weight.shape[1], len(value.net.hidden)
    critic = dataclasses.replace(config.critic, units=units, layers=layers)
    return dataclasses.replace(config, critic=critic)
