"""Adaptation by soft actor-critic on a mixture of real and dreamt transitions."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents.agent import Agent, dreaming
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.sac import SACConfig, SACState, Transition, init_sac, sac_updates
from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.train.adapt_config import AdaptConfig
from mrcom.train.adapt_learner import Share
from mrcom.train.real_steps import RealSteps
from mrcom.train.views import Shown


@dataclasses.dataclass(frozen=True)
class SacLearner:
    """SAC for each target, whose dreams branch from the target's real states.

    An anchored policy is one worth keeping: where an episode earned less than the best, it goes
    back to the best, and is held tighter.
    """

    agent: Agent
    config: AdaptConfig
    """Its `sac` has the sizes of the networks."""
    shown: Shown
    """What policies read of a dream."""

    def dream_steps(self, num: int) -> int:
        """Dreamt steps of one target's `num` updates: some before each chunk of them."""
        if not self.config.dreams_at_all:
            return 0
        return -(-num // self.config.chunk) * self.config.dreams * self.config.last_horizon

    def begin(self, state: Any, width: int, *, key: PRNGKeyArray) -> SACState:
        """Policy and critics from training, or from nothing, as the configuration says.

        Raises:
            ConfigError: there are no critics to go on from.
        """
        act, config = self.agent.layout.act, self.config.sac
        if self.config.policy_init == "scratch":
            return init_sac(width, act, config, key=key)
        new = init_sac(width, act, config, key=key, actor=self.agent.actor(state))
        if self.config.critics == "new":
            return new
        if (learnt := self.agent.sac(state)) is None:
            raise ConfigError(
                "critics='training' of an adaptation: SAC learnt none in training, where another "
                "behaviour learnt to act; the nearest is critics='new'."
            )
        # Copies: the agent's state is kept.
        theirs = lambda s: (s.critics, s.slow, s.critic_moments)
        return eqx.tree_at(theirs, new, jax.tree.map(jnp.copy, theirs(learnt)))

    def judged(self, learning: SACState, best: Actor, *, better: bool) -> SACState:
        """Held less tightly after a better episode; back at the best, and tighter, after others."""
        if learning.origin is None:
            return learning
        step = self.config.anchor_step
        anchor = learning.anchor * (1 / step if better else step**2)
        return eqx.tree_at(lambda s: (s.actor, s.anchor), learning, (best, anchor))

    def learn(self, learning: SACState, state: Any, real: RealSteps, share: Share) -> SACState:
        """Updates on minibatches of real and, before each chunk, freshly dreamt transitions."""
        for first in range(0, share.num, self.config.chunk):
            num = min(self.config.chunk, share.num - first)
            learning, metrics = self._chunk(learning, state, real, share, num)
            share.check(metrics)
        return learning

    def _chunk(
        self, learning: SACState, state: Any, real: RealSteps, share: Share, num: int
    ) -> tuple[SACState, dict[str, Array]]:
        config, target, rng = self.config, share.target, share.rng
        made = int(learning.updates)
        key = jax.random.fold_in(share.key, made)
        num_real = round(config.sac.batch * config.real_share)
        batches = real.draw(target, rng, (num, num_real))
        if num_real == config.sac.batch:
            return _update(learning, batches, share.act_mask, key, config.sac)
        starts = real.draw_states(target, rng, config.dreams)
        longest, done = config.last_horizon, (made + num) / share.total
        horizon = round(config.first_horizon + done * (longest - config.first_horizon))
        at = rng.integers(config.dreams * horizon, size=(num, config.sac.batch - num_real))
        # Dreams are always of the longest horizon, so that nothing is compiled twice; the steps
        # beyond the present one are not drawn.
        index = jnp.asarray((at // horizon) * longest + at % horizon)
        drawn = (batches, starts, index)
        return _dream_and_update(self, state, learning, *drawn, share.act_mask, key)


@eqx.filter_jit
def _dream_and_update(
    learner: SacLearner,
    state: Any,
    learning: SACState,
    batches: Transition,
    starts: Any,
    index: Int[Array, "n B"],
    act_mask: Float[Array, " A"],
    key: PRNGKeyArray,
) -> tuple[SACState, dict[str, Array]]:
    agent, config, keys = learner.agent, learner.config, named_keys(key, "dream", "update")
    reads = learner.shown.of_dreams(agent, state, starts)
    dream = dreaming(agent).dream_from(
        state, starts, horizon=config.last_horizon, key=keys.dream, reads=reads
    )(learning.actor)
    read = reads(dream.feature)
    flat = lambda array: array.reshape(-1, *array.shape[2:])[index]
    dreamt = Transition(
        feature=flat(read[:, :-1]),
        action=flat(dream.action),
        reward=flat(dream.reward),
        next_feature=flat(read[:, 1:]),
        cont=flat(dream.cont),
        weight=jnp.ones(index.shape),
    )
    mixed = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), batches, dreamt)
    return sac_updates(learning, mixed, act_mask, config.sac, key=keys.update)


@eqx.filter_jit
def _update(
    learning: SACState,
    batches: Transition,
    act_mask: Float[Array, " A"],
    key: PRNGKeyArray,
    config: SACConfig,
) -> tuple[SACState, dict[str, Array]]:
    return sac_updates(learning, batches, act_mask, config, key=key)
