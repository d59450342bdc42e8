"""Learning to act in dreams: one actor for all scenarios, one critic for each."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from mrcom.behaviour.critic import (
    CriticConfig,
    MetaValue,
    ScenarioCritics,
    fit_critics,
    fit_meta,
    init_critics,
    init_meta,
)
from mrcom.behaviour.dreams import Dream, DreamFn
from mrcom.behaviour.examples import Examples
from mrcom.behaviour.policy import Actor, ActorConfig
from mrcom.behaviour.steps import adam, descend, running_mean, start_moments
from mrcom.core.errors import check_least, check_shares, unknown
from mrcom.objectives.imagination import (
    dream_weight,
    dynamics_loss,
    reinforce_loss,
    return_range,
    value_target,
)

GRADIENTS = ("dynamics", "reinforce")


@dataclasses.dataclass(frozen=True)
class ActorCriticConfig:
    """Actor-critic on dreams. Defaults follow DreamerV3 where nothing else is said."""

    actor: ActorConfig = dataclasses.field(default_factory=ActorConfig)
    """The policy."""
    critic: CriticConfig = dataclasses.field(default_factory=CriticConfig)
    """Critics and meta value."""
    gradient: str = "dynamics"
    """`dynamics` differentiates returns through the dream; `reinforce` weighs log-probabilities
    by advantages and needs no differentiable dream."""
    discount: float = 0.99
    """Per control step."""
    lambda_: float = 0.95
    """0 is the one-step target of Eq. 14."""
    entropy_weight: float = 1e-3
    """Per nat, against returns divided by their range."""
    imitation: float = 1.0
    """Weight of the experts' steps in a batch as examples, where experts collected any; 0 learns
    from dreams alone."""
    learning_rate: float = 1e-4
    """Of the actor's Adam."""
    max_norm: float = 1.0
    """Longest gradient of the actor; longer ones are shortened to it."""
    meta_stride: int = 4
    """The meta value learns from the starts of dreams and every so many steps after them."""
    scale_rate: float = 0.01
    """Share by which the range of returns moves at each update."""
    scale_floor: float = 1.0
    """Ranges below this reward are not enlarged; a sum of rewards, not our unit of value."""

    def __post_init__(self):
        if self.gradient not in GRADIENTS:
            raise unknown("actor gradient", self.gradient, GRADIENTS)
        check_least(self, 1, "meta_stride")
        check_shares(self, "discount", "lambda_", "scale_rate")

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The actor's."""
        return adam(self.learning_rate, eps=1e-7, max_norm=self.max_norm)


class ActorCriticState(eqx.Module):
    """Everything that changes while behaviour is learnt.

    Attributes:
        return_range: running mean of the range of returns, in our unit of value.
        updates: how many have been made.
    """

    actor: Actor
    moments: PyTree[Array]
    critics: ScenarioCritics
    meta: MetaValue
    return_range: Float[Array, ""]
    updates: Int[Array, ""]


class ActorCriticUpdate(eqx.Module):
    """What an update gives back.

    Attributes:
        dream: the dream that was learnt from; a constant.
        metrics: numbers to log.
        critic_loss: of each scenario of the batch, to name a guilty one.
    """

    state: ActorCriticState
    dream: Dream
    metrics: dict[str, Float[Array, ""]]
    critic_loss: Float[Array, " S"]


class ActorLoss(eqx.Module):
    """What the actor's loss leaves for the critics; constants."""

    dream: Dream
    returns: Float[Array, "M H"]
    value: Float[Array, "M H+1"]
    weight: Float[Array, "M H"]
    entropy: Float[Array, "M H"]
    return_range: Float[Array, ""]


def init_actor_critic(
    feature: int, act: int, num_scenarios: int, config: ActorCriticConfig, *, key: PRNGKeyArray
) -> ActorCriticState:
    """Actor, critics and meta value before anything is learnt.

    `feature` is the width of what they read, `act` that of a padded action; each of the
    `num_scenarios` training scenarios has a critic.
    """
    actor = Actor(feature, act, config.actor, key=key)
    return ActorCriticState(
        actor=actor,
        moments=start_moments(config.optimizer, actor),
        critics=init_critics(feature, num_scenarios, config.critic, key=key),
        meta=init_meta(feature, config.critic, key=key),
        return_range=jnp.zeros(()),
        updates=jnp.zeros((), jnp.int32),
    )


def actor_critic_update(
    state: ActorCriticState,
    dream_fn: DreamFn,
    scenario: Int[Array, " S"],
    act_mask: Float[Array, "M A"],
    config: ActorCriticConfig,
    examples: Examples | None = None,
) -> ActorCriticUpdate:
    """One dream; one step of the actor, the scenarios' critics and the meta value.

    Memory and time do not grow with the number of training scenarios, provided that the caller
    gives the old state away (`eqx.filter_jit(donate=...)`), else all critics are copied.

    Args:
        state: before the update.
        dream_fn: dreams with the actor it is given. With `dynamics` it must let gradients from
            features, rewards and conts through to the actions.
        scenario: the distinct scenarios dreamt of; the dream's M rows belong to them in
            this order, equally many each.
        act_mask: of every row.
        config: the one that the state was made with.
        examples: what to imitate, with the weight that the configuration gives it.
    """
    rows = state.critics.gather(scenario)

    def loss_of(actor: Actor) -> tuple[Float[Array, ""], tuple[ActorLoss, Float[Array, ""]]]:
        loss, learnt = actor_loss(
            actor, dream_fn, rows, act_mask, state.return_range, state.updates, config
        )
        unlike = jnp.zeros(()) if examples is None else examples.loss(actor)
        return loss + config.imitation * unlike, (learnt, unlike)

    grads, (learnt, unlike) = eqx.filter_grad(loss_of, has_aux=True)(state.actor)
    actor, moments = descend(config.optimizer, state.actor, grads, state.moments)
    num = scenario.shape[0]
    seen = learnt.dream.feature[:, :-1]
    data = [_by_scenario(array, num) for array in (seen, learnt.returns, learnt.weight)]
    rows, losses = fit_critics(rows, *data, config.critic)
    some = slice(None, -1, config.meta_stride)
    meta, meta_loss = fit_meta(
        state.meta, learnt.dream.feature[:, some], learnt.value[:, some], config.critic
    )
    after = ActorCriticState(
        actor=actor,
        moments=moments,
        critics=state.critics.scatter(scenario, rows),
        meta=meta,
        return_range=learnt.return_range,
        updates=state.updates + 1,
    )
    metrics = {
        "actor/gradient": optax.tree.norm(grads),
        "actor/entropy": jnp.mean(learnt.entropy) / jnp.mean(jnp.sum(act_mask, axis=-1)),
        "actor/return_range": learnt.return_range,
        "actor/imitation": unlike,
        "actor/dreamt_reward": jnp.mean(learnt.dream.reward),
        "actor/dreamt_return": jnp.mean(learnt.returns),
        "critic/loss": jnp.mean(losses),
        "critic/value": jnp.mean(learnt.value),
        "meta/loss": meta_loss,
    }
    return ActorCriticUpdate(after, learnt.dream, metrics, losses)


def actor_loss(
    actor: Actor,
    dream_fn: DreamFn,
    rows: ScenarioCritics,
    act_mask: Float[Array, "M A"],
    running_range: Float[Array, ""],
    updates: Int[Array, ""],
    config: ActorCriticConfig,
) -> tuple[Float[Array, ""], ActorLoss]:
    """Loss of the actor on a fresh dream, and the dream with what was computed on it.

    Differentiate it with respect to the actor only: critics and range are constants.

    `rows` are the critics of the scenarios dreamt of, `running_range` the mean range of returns
    after `updates` updates.
    """
    num = rows.num
    through = config.gradient == "dynamics"
    dream = dream_fn(actor if through else jax.lax.stop_gradient(actor))
    values = rows.value(_by_scenario(dream.feature, num))
    value = values.reshape(dream.feature.shape[:2])
    returns = value_target(
        dream.reward, dream.cont, value, discount=config.discount, lambda_=config.lambda_
    )
    weight = dream_weight(dream.cont, discount=config.discount)
    now = return_range(returns, num)
    # DEVIATION(dreamer): the running range is a plain mean until that is slower than the rate,
    # instead of starting at 0, so that short runs do not begin with returns blown up.
    running = running_mean(running_range, now, updates, config.scale_rate)
    scale = jnp.maximum(running, config.scale_floor * (1 - config.discount))
    # What a frozen actor said would teach nothing: then it is asked again.
    policy = (dream if through else dataclasses.replace(dream, policy=None)).answers(
        actor, act_mask
    )
    entropy = policy.entropy()
    if through:
        loss = dynamics_loss(
            returns, entropy, weight, scale=scale, entropy_weight=config.entropy_weight
        )
    else:
        loss = reinforce_loss(
            policy.log_prob(jax.lax.stop_gradient(dream.action)),
            returns,
            value[:, :-1],
            entropy,
            weight,
            scale=scale,
            entropy_weight=config.entropy_weight,
        )
    learnt = ActorLoss(dream, returns, value, weight, entropy, running)
    return loss, jax.lax.stop_gradient(learnt)


def _by_scenario(array: Float[Array, "M H *F"], num: int) -> Float[Array, "S MH *F"]:
    """All steps of a scenario's dreams in one row."""
    return array.reshape(num, -1, *array.shape[2:])
