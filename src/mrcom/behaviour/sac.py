"""Soft actor-critic on feature vectors, real or dreamt, with twin critics.

Values are in units of 1 / (1 - discount): reward 1 for ever, without entropy, is worth 1.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from mrcom.behaviour.policy import AbstractActions, Actor, ActorConfig
from mrcom.behaviour.steps import adam, descend, follow, start_moments
from mrcom.core.errors import check_least, check_shares
from mrcom.core.rng import named_keys
from mrcom.nn.mlp import MLP
from mrcom.objectives.sac import actor_loss, critic_loss, soft_target, temperature_loss


@dataclasses.dataclass(frozen=True)
class SACConfig:
    """Sizes and rates: those of Haarnoja et al. 2018b, where not said otherwise.

    Ours: normalisation inside the networks, which keeps values bounded at many updates per real
    step, and a temperature that starts near what rewards in [0, 1] need.
    """

    actor: ActorConfig = dataclasses.field(default_factory=ActorConfig)
    """The policy."""
    units: int = 256
    """Width of the critics' hidden layers."""
    layers: int = 2
    """Hidden layers of the critics."""
    num_critics: int = 2
    """The least of their values is the target's."""
    batch: int = 256
    """Transitions in a minibatch."""
    discount: float = 0.99
    """Per control step."""
    actor_rate: float = 3e-4
    """Of the actor's Adam."""
    critic_rate: float = 3e-4
    """Of the critics' Adam."""
    temperature_rate: float = 3e-4
    """Of the temperature's Adam."""
    slow_rate: float = 0.005
    """Share by which slow critics move to their originals at each update."""
    target_entropy: float = -1.0
    """Nats per real action dimension."""
    init_temperature: float = 0.1
    """Reward per nat."""
    actor_start: int = 0
    """Updates before policy and temperature move: new critics would spoil a learnt policy."""
    anchor: float = 0.0
    """Reward per nat by which the policy differs from the one it started from, at first; 0 sets it
    free. Values of little experience err. Real rewards move it: `AdaptConfig.anchor_step`."""
    actor_every: int = 1
    """Updates of the critics for each of the policy."""

    def __post_init__(self):
        check_least(self, 1, "units", "num_critics", "batch", "actor_every")
        check_shares(self, "discount", "slow_rate")


class Transition(eqx.Module):
    """Steps of acting, with any leading axes.

    Attributes:
        feature: what the policy read: a model's feature or a normalised observation.
        action: taken then.
        reward: received on arriving at the next step, in task reward.
        next_feature: read there.
        cont: 0 where the episode ended there for good; 1 at a time limit.
        weight: of the step in all losses; 1 unless there is a reason.
    """

    feature: Float[Array, "*B F"]
    action: Float[Array, "*B A"]
    reward: Float[Array, "*B"]
    next_feature: Float[Array, "*B F"]
    cont: Float[Array, "*B"]
    weight: Float[Array, "*B"]


class Critics(eqx.Module):
    """Several values of a feature and an action, stacked on the first axis of every leaf."""

    net: MLP

    def __init__(self, inputs: int, config: SACConfig, *, key: PRNGKeyArray):
        new = lambda k: MLP(  # Values start near 0: their whole range is about 1.
            inputs, config.units, config.layers, 1, key=jax.random.fold_in(key, k), out_scale=1e-4
        )
        nets = [new(k) for k in range(config.num_critics)]
        self.net = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)

    def __call__(
        self, feature: Float[Array, "B F"], action: Float[Array, "B A"]
    ) -> Float[Array, "K B"]:
        """Each critic's value of every pair."""
        pair = jnp.concatenate([feature, action], axis=-1)
        return eqx.filter_vmap(lambda net, x: net(x), in_axes=(0, None))(self.net, pair)[..., 0]


Besides = Callable[[AbstractActions], Array]  # a loss of the policy at a minibatch's features
Learner = tuple[Actor, PyTree[Array], Float[Array, ""], PyTree[Array]]
"""Actor, its moments, log-temperature, its moments."""


class SACState(eqx.Module):
    """Everything that changes while SAC learns, and the policy it began as.

    `origin` is the policy at the start, None without an anchor; `anchor` is its weight now.
    """

    actor: Actor
    origin: Actor | None
    anchor: Float[Array, ""]
    critics: Critics
    slow: Critics
    log_temperature: Float[Array, ""]
    actor_moments: PyTree[Array]
    critic_moments: PyTree[Array]
    temperature_moments: PyTree[Array]
    updates: Int[Array, ""]


def init_sac(
    feature: int, act: int, config: SACConfig, *, key: PRNGKeyArray, actor: Actor | None = None
) -> SACState:
    """A learner before its first update; the policy is new, or a given `actor`'s copy.

    `feature` is the width of what policy and critics read, `act` that of a padded action.
    """
    keys = named_keys(key, "policy", "critics")
    if actor is None:
        actor = Actor(feature, act, config.actor, key=keys.policy)
    critics = Critics(feature + act, config, key=keys.critics)
    log_temperature = jnp.log(jnp.asarray(config.init_temperature, jnp.float32))
    return SACState(
        # Copies: who gives the old state away must not lose the actor.
        actor=jax.tree.map(jnp.copy, actor),
        origin=jax.tree.map(jnp.copy, actor) if config.anchor else None,
        anchor=jnp.asarray(config.anchor, jnp.float32),
        critics=critics,
        slow=jax.tree.map(jnp.copy, critics),
        log_temperature=log_temperature,
        actor_moments=start_moments(adam(config.actor_rate), actor),
        critic_moments=start_moments(adam(config.critic_rate), critics),
        temperature_moments=start_moments(adam(config.temperature_rate), log_temperature),
        updates=jnp.zeros((), jnp.int32),
    )


def sac_update(
    state: SACState,
    batch: Transition,
    act_mask: Float[Array, "... A"],
    config: SACConfig,
    *,
    key: PRNGKeyArray,
    besides: Besides | None = None,
    weight: float | Float[Array, ""] = 1.0,
) -> tuple[SACState, dict[str, Float[Array, "..."]]]:
    """One step of critics, actor and temperature on one minibatch [B, ...].

    `act_mask` is of each row, or one for all. Bodies share a temperature, whose target counts all
    real dimensions. The actor minimises `weight` times `besides`, too. `row/`: one for each row.
    """
    keys = named_keys(key, "now", "next")
    critics, critic_moments, metrics = _fit_critics(state, batch, act_mask, config, keys.next)
    now = (state.actor, state.actor_moments, state.log_temperature, state.temperature_moments)
    given = (state.origin, state.anchor, critics, batch, act_mask, config, keys.now)
    fitted = lambda: _fit_actor(now, *given, besides, weight)
    if config.actor_start == 0 and config.actor_every == 1:
        after = fitted()
    else:
        moves = (state.updates >= config.actor_start) & (state.updates % config.actor_every == 0)
        after = jax.lax.cond(moves, fitted, lambda: (now, (jnp.zeros(()), jnp.zeros(()))))
    (actor, actor_moments, log_temperature, temperature_moments), (norm, other) = after
    learnt = SACState(
        actor=actor,
        origin=state.origin,
        anchor=state.anchor,
        critics=critics,
        slow=follow(state.slow, critics, config.slow_rate),
        log_temperature=log_temperature,
        actor_moments=actor_moments,
        critic_moments=critic_moments,
        temperature_moments=temperature_moments,
        updates=state.updates + 1,
    )
    metrics |= {"actor/temperature": jnp.exp(state.log_temperature), "actor/gradient": norm}
    return learnt, metrics | ({} if besides is None else {"actor/besides": other})


def sac_updates(
    state: SACState,
    batches: Transition,
    act_mask: Float[Array, "... A"],
    config: SACConfig,
    *,
    key: PRNGKeyArray,
) -> tuple[SACState, dict[str, Float[Array, ""]]]:
    """Many updates in one call, one per minibatch [n, B, ...]; metrics are their means.

    Keys are folded from the learner's own count of updates: splits into calls do not matter.
    """

    def body(state: SACState, batch: Transition) -> tuple[SACState, dict[str, Array]]:
        now = jax.random.fold_in(key, state.updates)
        return sac_update(state, batch, act_mask, config, key=now)

    state, metrics = jax.lax.scan(body, state, batches)
    return state, jax.tree.map(jnp.mean, metrics)


def _fit_actor(
    now: Learner,
    origin: Actor | None,
    anchor: Float[Array, ""],
    critics: Critics,
    batch: Transition,
    act_mask: Float[Array, "... A"],
    config: SACConfig,
    key: PRNGKeyArray,
    besides: Besides | None,
    weight: float | Float[Array, ""],
) -> tuple[Learner, tuple[Float[Array, ""], Float[Array, ""]]]:
    actor, actor_moments, log_temperature, temperature_moments = now

    def loss_of(actor: Actor) -> tuple[Float[Array, ""], tuple[Array, Array]]:
        policy = actor(batch.feature, act_mask)
        action, log_prob = policy.sample(key)
        loss = actor_loss(
            critics(batch.feature, action),
            log_prob,
            batch.weight,
            temperature=jnp.exp(log_temperature),
            discount=config.discount,
        )
        if origin is not None:
            moved = policy.divergence(jax.lax.stop_gradient(origin(batch.feature, act_mask)))
            loss += anchor * (1 - config.discount) * jnp.mean(batch.weight * moved)
        other = jnp.zeros(()) if besides is None else besides(policy)
        return loss + weight * other, (log_prob, other)

    grads, (log_prob, other) = eqx.filter_grad(loss_of, has_aux=True)(actor)
    actor, actor_moments = descend(adam(config.actor_rate), actor, grads, actor_moments)
    target_entropy = config.target_entropy * _real_dimensions(act_mask)
    grad = jax.grad(temperature_loss)(log_temperature, log_prob, target_entropy=target_entropy)
    log_temperature, temperature_moments = descend(
        adam(config.temperature_rate), log_temperature, grad, temperature_moments
    )
    learnt = actor, actor_moments, log_temperature, temperature_moments
    return learnt, (optax.tree.norm(grads), other)


def _fit_critics(
    state: SACState,
    batch: Transition,
    act_mask: Float[Array, "... A"],
    config: SACConfig,
    key: PRNGKeyArray,
) -> tuple[Critics, PyTree[Array], dict[str, Float[Array, "..."]]]:
    next_action, next_log_prob = state.actor.sample(batch.next_feature, act_mask, key)
    target = soft_target(
        batch.reward,
        batch.cont,
        state.slow(batch.next_feature, next_action),
        next_log_prob,
        temperature=jnp.exp(state.log_temperature),
        discount=config.discount,
    )

    def loss_of(critics: Critics) -> tuple[Float[Array, ""], Float[Array, "K B"]]:
        mask = jnp.broadcast_to(act_mask, batch.action.shape)
        value = critics(batch.feature, batch.action * mask)
        return critic_loss(value, target, batch.weight), value

    (loss, value), grads = eqx.filter_value_and_grad(loss_of, has_aux=True)(state.critics)
    critics, moments = descend(adam(config.critic_rate), state.critics, grads, state.critic_moments)
    metrics = {
        "actor/entropy": -jnp.mean(next_log_prob) / _real_dimensions(act_mask),
        "critic/loss": loss,
        "critic/value": jnp.mean(value),
        "critic/target": jnp.mean(target),
        "critic/disagreement": jnp.mean(jnp.std(value, axis=0)),
        "row/critic": jnp.mean((value - target[None]) ** 2, axis=0),
    }
    return critics, moments, metrics


def _real_dimensions(act_mask: Float[Array, "... A"]) -> Float[Array, ""]:
    """Real action dimensions; their mean where rows have masks of their own."""
    return jnp.mean(jnp.sum(act_mask, axis=-1))
