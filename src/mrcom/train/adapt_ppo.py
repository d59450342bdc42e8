"""Adaptation by proximal policy optimisation on a target's real steps, each used once."""

import dataclasses
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from mrcom.agents.agent import Agent
from mrcom.behaviour.critic import Critic, CriticConfig
from mrcom.behaviour.policy import Actor, ActorConfig
from mrcom.behaviour.steps import adam, descend, start_moments
from mrcom.core.rng import named_keys
from mrcom.objectives.ppo import clipped_surrogate, generalised_advantage
from mrcom.train.adapt_learner import Share
from mrcom.train.real_steps import RealSteps


@dataclasses.dataclass(frozen=True)
class PolicyOptimisation:
    """PPO on what policies read of a target. Values are in units of 1 / (1 - discount)."""

    discount: float = 0.99
    """Per control step."""
    lambda_: float = 0.95
    """Mix of the advantages' horizons."""
    clip: float = 0.2
    """How far a probability ratio may move from 1 with gain."""
    minibatches: int = 16
    """Parts of an episode's real steps; each update learns from one."""
    entropy: float = 1e-3
    """Weight of the policy's entropy per action dimension."""
    learning_rate: float = 3e-4
    """Of actor and critic."""
    max_norm: float = 1.0
    """Longest gradient of each; longer ones are shortened to it."""

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Of actor and critic, each its own."""
        return adam(self.learning_rate, eps=1e-5, max_norm=self.max_norm)


class PPOLearning(eqx.Module):
    """What changes while a target's policy is learnt."""

    actor: Actor
    critic: Critic
    actor_moments: PyTree[Array]
    critic_moments: PyTree[Array]
    updates: Int[Array, ""]
    used: Int[Array, ""]
    """Real steps that were learnt from."""


class Sample(eqx.Module):
    """Real steps as PPO learns from them."""

    feature: Float[Array, "R F"]
    action: Float[Array, "R A"]
    log_prob: Float[Array, " R"]
    """Of the action, under the policy that took it."""
    advantage: Float[Array, " R"]
    target: Float[Array, " R"]
    """Of the critic."""


@dataclasses.dataclass(frozen=True)
class PPOLearner:
    """PPO for each target: on (observation, context) where the model's feature is that."""

    agent: Agent
    config: PolicyOptimisation
    actor: ActorConfig
    """Size of the policy and, by its width, of the critic."""
    policy_init: str
    """`behaviour` starts from what was learnt in training, `scratch` from nothing."""

    def dream_steps(self, num: int) -> int:
        """None: what is dreamt was not done by this policy in this world."""
        return 0

    def begin(self, state: Any, width: int, *, key: PRNGKeyArray) -> PPOLearning:
        """A new critic, and a policy from training or from nothing."""
        keys = named_keys(key, "policy", "critic")
        if self.policy_init == "behaviour":
            actor = jax.tree.map(jnp.copy, self.agent.actor(state))
        else:
            actor = Actor(width, self.agent.layout.act, self.actor, key=keys.policy)
        critic = Critic(width, CriticConfig(units=self.actor.units), key=keys.critic)
        moments = [start_moments(self.config.optimizer, net) for net in (actor, critic)]
        zero = jnp.zeros((), jnp.int32)
        return PPOLearning(actor, critic, *moments, updates=zero, used=zero)

    def judged(self, learning: PPOLearning, best: Actor, *, better: bool) -> PPOLearning:
        """As it is: each step moves the policy only as far as its own steps tell."""
        return learning

    def learn(
        self, learning: PPOLearning, state: Any, real: RealSteps, share: Share
    ) -> PPOLearning:
        """Updates on the last episode's steps, which this very policy took."""
        new = slice(int(learning.used), real.count)
        steps = real.feature, real.action, real.reward, real.next_feature
        sample = self._sample(learning, *[array[share.target, new] for array in steps], share)
        num = real.count - int(learning.used)
        size = max(1, num // self.config.minibatches)
        passes = -(-share.num // self.config.minibatches)
        order = np.concatenate([share.rng.permutation(num) for _ in range(passes + 1)])
        at = order[: share.num * size].reshape(share.num, size)
        after = _updates(learning, sample, jnp.asarray(at), share.act_mask, self.config)
        return eqx.tree_at(lambda s: s.used, after, jnp.asarray(real.count, jnp.int32))

    def _sample(
        self,
        learning: PPOLearning,
        feature: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        next_feature: np.ndarray,
        share: Share,
    ) -> Sample:
        value, next_value = (
            _values(learning.critic, feature),
            _values(learning.critic, next_feature),
        )
        # An episode's last step leads to a state that the next step does not start from.
        breaks = np.flatnonzero((next_feature[:-1] != feature[1:]).any(axis=1)) + 1
        advantages = []
        for first, end in itertools.pairwise([0, *breaks, len(reward)]):
            part = slice(first, end)
            advantages.append(
                generalised_advantage(
                    jnp.asarray(reward[part]) * (1 - self.config.discount),
                    jnp.ones(end - first),
                    jnp.append(value[part], next_value[end - 1]),
                    discount=self.config.discount,
                    lambda_=self.config.lambda_,
                )
            )
        advantage = jnp.concatenate(advantages)
        given = jnp.asarray(feature), jnp.asarray(action)
        return Sample(
            *given, _log_prob(learning.actor, *given, share.act_mask), advantage, advantage + value
        )


def ppo_loss(
    actor: Actor, sample: Sample, act_mask: Float[Array, " A"], config: PolicyOptimisation
) -> Float[Array, ""]:
    """The policy's loss on a minibatch; advantages are standardised in it."""
    policy = actor(sample.feature, act_mask)
    advantage = sample.advantage - jnp.mean(sample.advantage)
    advantage = advantage / (jnp.std(advantage) + 1e-8)
    log_prob = policy.log_prob(sample.action)
    gain = clipped_surrogate(log_prob, sample.log_prob, advantage, clip=config.clip)
    return -jnp.mean(gain) - config.entropy * jnp.mean(policy.entropy())


@eqx.filter_jit
def _values(critic: Critic, feature: Float[Array | np.ndarray, "R F"]) -> Float[Array, " R"]:
    return critic(jnp.asarray(feature))


@eqx.filter_jit
def _log_prob(
    actor: Actor, feature: Float[Array, "R F"], action: Float[Array, "R A"], act_mask: Array
) -> Float[Array, " R"]:
    return actor(feature, act_mask).log_prob(action)


@eqx.filter_jit
def _updates(
    learning: PPOLearning,
    sample: Sample,
    at: Int[Array, "n B"],
    act_mask: Float[Array, " A"],
    config: PolicyOptimisation,
) -> PPOLearning:
    # What is not an array cannot be carried through the loop.
    arrays, rest = eqx.partition(learning, eqx.is_array)

    def step(now: PyTree, rows: Int[Array, " B"]) -> tuple[PyTree, None]:
        learning: PPOLearning = eqx.combine(now, rest)
        part = jax.tree.map(lambda x: x[rows], sample)
        of_actor = eqx.filter_grad(ppo_loss)(learning.actor, part, act_mask, config)
        of_critic = eqx.filter_grad(
            lambda critic: 0.5 * jnp.mean(jnp.square(critic(part.feature) - part.target))
        )(learning.critic)
        optimizer = config.optimizer
        actor = descend(optimizer, learning.actor, of_actor, learning.actor_moments)
        critic = descend(optimizer, learning.critic, of_critic, learning.critic_moments)
        after = PPOLearning(
            actor[0], critic[0], actor[1], critic[1], learning.updates + 1, learning.used
        )
        return eqx.filter(after, eqx.is_array), None

    arrays, _ = jax.lax.scan(step, arrays, at)
    return eqx.combine(arrays, rest)
