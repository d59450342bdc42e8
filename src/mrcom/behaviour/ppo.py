"""Proximal policy optimisation on plain observation vectors, many simulations side by side.

Values are kept in units of 1 / (1 - discount): a reward of 1 for ever is worth 1.
"""

import dataclasses
from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.behaviour.ppo_networks import (
    Layers,
    Mirror,
    Mirrored,
    RunningMoments,
    init_layers,
)
from mrcom.behaviour.steps import joined, start_moments
from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.objectives.ppo import (
    clipped_surrogate,
    generalised_advantage,
    normal_entropy,
    normal_kl,
    normal_log_prob,
)


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Settings of the learner. Defaults: our own short runs on the three bodies."""

    hidden: tuple[int, ...] = (128, 128)
    """Units of the hidden layers, of policy and critic alike."""
    discount: float = 0.99
    """Per control step."""
    lambda_: float = 0.95
    """Mix of the advantages' horizons."""
    clip: float = 0.2
    """How far a probability ratio may move from 1 with gain."""
    epochs: int = 5
    """Passes over each rollout."""
    minibatches: int = 8
    """Gradient steps in one pass."""
    learning_rate: float = 5e-4
    """At the start; afterwards it follows `target_kl`."""
    target_kl: float = 0.015
    """Nats by which one rollout's update should move the policy."""
    max_learning_rate: float = 2e-3
    """The adapted rate stays below."""
    min_learning_rate: float = 2e-5
    """The adapted rate stays above."""
    entropy: float = 1e-3
    """Weight of the policy's entropy per action dimension."""
    initial_log_std: float = -0.5
    """Log standard deviation of the actions at the start."""
    min_log_std: float = -2.5
    """Exploration never becomes smaller than this."""
    max_grad_norm: float = 1.0
    """Gradients of policy and critic are each clipped to this norm."""

    def __post_init__(self) -> None:
        for name in ("discount", "lambda_"):
            if not 0 <= getattr(self, name) <= 1:
                near = min(max(getattr(self, name), 0.0), 1.0)
                raise ConfigError(
                    f"PPOConfig.{name}={getattr(self, name)} must lie in [0, 1]; nearest: {near}."
                )
        for name in ("epochs", "minibatches", "learning_rate", "target_kl", "clip"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"PPOConfig.{name}={getattr(self, name)} must be above 0.")


class Networks(eqx.Module):
    """What the gradient steps change."""

    policy: Layers | Mirrored
    log_std: Float[Array, " A"]
    critic: Layers | Mirrored


class PPOState(eqx.Module):
    """Everything of the learner that changes during training."""

    networks: Networks
    moments: RunningMoments
    optimizer: optax.OptState
    learning_rate: Float[Array, ""]
    updates: Int[Array, ""]


class Rollout(eqx.Module):
    """T steps of N simulations; `obs` has M = T + 1 entries, all seen before any reset.

    `action[t]` was sampled at `obs[t]`, before clipping, and `reward[t]` answered it.
    """

    obs: Float[Array, "M N O"]
    action: Float[Array, "T N A"]
    reward: Float[Array, "T N"]
    cont: Float[Array, "T N"]


def init_ppo(
    config: PPOConfig, obs: int, act: int, key: PRNGKeyArray, *, mirror: Mirror | None = None
) -> PPOState:
    """A learner whose policy's mean is close to zero everywhere.

    Args:
        config: settings.
        obs: number of inputs.
        act: number of actions.
        key: of the initial weights.
        mirror: makes policy and critic respect this symmetry.
    """
    keys = named_keys(key, "policy", "critic")
    policy = init_layers((obs, *config.hidden, act), 0.01, keys.policy)
    critic = init_layers((obs, *config.hidden, 1), 0.1, keys.critic)
    networks = Networks(
        policy=policy if mirror is None else Mirrored(policy, mirror.obs, mirror.act),
        log_std=jnp.full(act, config.initial_log_std, jnp.float32),
        critic=critic if mirror is None else Mirrored(critic, mirror.obs, (0,)),
    )
    return PPOState(
        networks=networks,
        moments=RunningMoments(jnp.zeros(obs), jnp.ones(obs), jnp.ones(())),
        optimizer=start_moments(_optimizer(config), networks),
        learning_rate=jnp.asarray(config.learning_rate, jnp.float32),
        updates=jnp.zeros((), jnp.int32),
    )


def _optimizer(config: PPOConfig) -> optax.GradientTransformation:
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    groups: dict[Hashable, optax.GradientTransformation] = {"policy": clip, "critic": clip}

    def labels(networks: Networks) -> Any:
        group = lambda path, _: "critic" if path[0].name == "critic" else "policy"
        return jax.tree_util.tree_map_with_path(group, networks)

    return optax.chain(optax.partition(groups, labels), joined(optax.scale_by_adam(eps=1e-5)))


class Sample(eqx.Module):
    """One entry per action, as the gradient steps read them; observations normalised."""

    obs: Float[Array, "B O"]
    action: Float[Array, "B A"]
    advantage: Float[Array, " B"]
    target: Float[Array, " B"]
    old_mean: Float[Array, "B A"]
    old_log_prob: Float[Array, " B"]


def ppo_loss(
    networks: Networks,
    sample: Sample,
    old_log_std: Float[Array, " A"],
    config: PPOConfig,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Policy and critic losses of one minibatch, and what to watch."""
    log_std = jnp.maximum(networks.log_std, config.min_log_std)
    mean = networks.policy(sample.obs)
    value = networks.critic(sample.obs)[..., 0]
    log_prob = normal_log_prob(sample.action, mean, log_std)
    advantage = sample.advantage
    advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-8)
    gain = clipped_surrogate(log_prob, sample.old_log_prob, advantage, clip=config.clip)
    value_loss = 0.5 * jnp.mean((value - sample.target) ** 2)
    kl = normal_kl(sample.old_mean, old_log_std, mean, log_std)
    loss = -jnp.mean(gain) + value_loss - config.entropy * normal_entropy(log_std)
    return loss, {"kl": jnp.mean(kl), "value_loss": value_loss, "gain": jnp.mean(gain)}


def prepare(state: PPOState, rollout: Rollout, config: PPOConfig) -> Sample:
    """Advantages, critic targets and old log probabilities, before any gradient step."""
    obs = state.moments.normalise(rollout.obs)
    value = state.networks.critic(obs)[..., 0]
    advantage = generalised_advantage(
        rollout.reward * (1 - config.discount),
        rollout.cont,
        value,
        discount=config.discount,
        lambda_=config.lambda_,
    )
    mean = state.networks.policy(obs[:-1])
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    return Sample(
        obs=flat(obs[:-1]),
        action=flat(rollout.action),
        advantage=flat(advantage),
        target=flat(advantage + value[:-1]),
        old_mean=flat(mean),
        old_log_prob=flat(normal_log_prob(rollout.action, mean, state.networks.log_std)),
    )


@eqx.filter_jit
def ppo_update(
    state: PPOState, rollout: Rollout, key: PRNGKeyArray, config: PPOConfig
) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
    """All epochs on one rollout; the normaliser takes it in afterwards.

    The learning rate follows the KL divergence from the acting policy after each gradient
    step, as in Schulman's adaptive rule: divided by 1.2 above twice the target, multiplied by
    1.2 below half of it.
    """
    sample = prepare(state, rollout, config)
    old_log_std = state.networks.log_std
    size = sample.advantage.shape[0]
    used = size - size % config.minibatches
    optimizer = _optimizer(config)

    def gradient_step(carry, rows):
        networks, moments, rate = carry
        part = jax.tree.map(lambda x: x[rows], sample)
        grad, metrics = jax.grad(ppo_loss, has_aux=True)(networks, part, old_log_std, config)
        rate = jnp.where(metrics["kl"] > 2 * config.target_kl, rate / 1.2, rate)
        low = (metrics["kl"] < 0.5 * config.target_kl) & (metrics["kl"] > 0)
        rate = jnp.where(low, rate * 1.2, rate)
        rate = jnp.clip(rate, config.min_learning_rate, config.max_learning_rate)
        step, moments = optimizer.update(grad, moments)
        networks = jax.tree.map(lambda p, s: p - rate * s, networks, step)
        log_std = jnp.clip(networks.log_std, config.min_log_std, 0.5)
        networks = dataclasses.replace(networks, log_std=log_std)
        return (networks, moments, rate), metrics

    def epoch(carry, number):
        order = jax.random.permutation(jax.random.fold_in(key, number), size)[:used]
        return jax.lax.scan(gradient_step, carry, order.reshape(config.minibatches, -1))

    start = (state.networks, state.optimizer, state.learning_rate)
    (networks, moments, rate), metrics = jax.lax.scan(epoch, start, jnp.arange(config.epochs))
    last = {name: jnp.mean(values[-1]) for name, values in metrics.items()}
    explained = 1 - jnp.var(sample.advantage) / (jnp.var(sample.target) + 1e-8)
    new = PPOState(
        networks=networks,
        moments=state.moments.merge(rollout.obs[:-1].reshape(-1, rollout.obs.shape[-1])),
        optimizer=moments,
        learning_rate=rate,
        updates=state.updates + 1,
    )
    std = jnp.mean(jnp.exp(networks.log_std))
    return new, last | {"learning_rate": rate, "std": std, "explained_variance": explained}
